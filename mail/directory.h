/* directory.h - the directory process: who has a mailbox, and whose password is right.
 * See directory.c. */
#ifndef MAIL_DIRECTORY_H
#define MAIL_DIRECTORY_H

#include "child.h"

int directory_main(const struct child_start *);	/* returns the exit code */

#endif
