/* store_worker.h - the process `maild: store`: owner of the shards n with n % stores ==
 * index, deliveries from gates and queue, and all IMAP and POP3 sessions of their
 * users. */
#ifndef MAIL_STORE_WORKER_H
#define MAIL_STORE_WORKER_H

#include "child.h"

int store_worker_main(const struct child_start *);	/* returns the exit code */

#endif
