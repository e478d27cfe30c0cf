/* daemon_box.h - the system call filters; used by daemon.c only. */
#ifndef LIB_DAEMON_BOX_H
#define LIB_DAEMON_BOX_H

#include "daemon.h"

/* Set by the Makefile with SAN=1: the sanitizers need a few calls more. */
#ifndef MAILPAIR_SAN
#define MAILPAIR_SAN 0
#endif
enum { DAEMON_SANITIZED = MAILPAIR_SAN };

int daemon_box_enter(enum daemon_box);	/* -1 with errno */

#endif
