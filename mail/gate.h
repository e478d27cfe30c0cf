/* gate.h - a gate process: accepts clients, speaks SMTP, and POP3 and IMAP up to the
 * login.  See gate.c. */
#ifndef MAIL_GATE_H
#define MAIL_GATE_H

#include "child.h"

int gate_main(const struct child_start *);	/* returns the exit code */

#endif
