/* parent.h - maild's first process: root, never reads a foreign byte.  See parent.c. */
#ifndef MAIL_PARENT_H
#define MAIL_PARENT_H

#include <openssl/ssl.h>

struct maild_conf;

/* Makes the directories, starts all processes, runs until SIGTERM or SIGINT.  conf and
 * tls are borrowed.  Returns the exit code; calls daemon_ready() when nothing that the
 * configuration decides can go wrong any more. */
int parent_main(const struct maild_conf *, SSL_CTX *tls);

#endif
