/* paths.h - where things are, and the version; the Makefile sets them. */
#ifndef LIB_PATHS_H
#define LIB_PATHS_H

#ifndef PATH_ETC
#define PATH_ETC "/etc/mailpair"
#endif
#ifndef MAILPAIR_VERSION
#define MAILPAIR_VERSION "unknown"
#endif
#ifndef PATH_VAR
#define PATH_VAR "/var/lib/mailpair"
#endif
#ifndef PATH_RUN
#define PATH_RUN "/run/mailpair"
#endif
#ifndef PATH_LIB
#define PATH_LIB "/usr/lib/mailpair"
#endif

#endif
