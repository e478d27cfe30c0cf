/* paths.h - where things are; the Makefile sets the three roots. */
#ifndef LIB_PATHS_H
#define LIB_PATHS_H

#ifndef PATH_ETC
#define PATH_ETC "/etc/mailpair"
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
