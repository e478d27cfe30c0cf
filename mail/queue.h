/* queue.h - the process "maild: queue": mail to other hosts, kept in the replicated
 * log until a smart host has taken it or the sender was told that it will not. */
#ifndef MAIL_QUEUE_H
#define MAIL_QUEUE_H

#include "child.h"

int queue_main(const struct child_start *);

#endif
