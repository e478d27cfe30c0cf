/* exit_watch.h - the end of a process, also of one that is no child, seen when it
 * happens and not when somebody looks.
 *
 * A number can be another's by now: a pid file names a process only when that process
 * was there before the file was written. */
#ifndef HAGENT_EXIT_WATCH_H
#define HAGENT_EXIT_WATCH_H

#include <sys/types.h>

struct event_base;
struct exit_watch;
typedef void exit_watch_cb(void *arg); /* once, from the loop */

/* NULL: ESRCH it has ended; ESTALE the number is another process's; or what the kernel
 * says.  The file is only read when it is a plain one. */
struct exit_watch *exit_watch_file(
    struct event_base *, const char *pidfile, exit_watch_cb *, void *);
/* A child, or a process that another program has just named. */
struct exit_watch *exit_watch_child(struct event_base *, pid_t, exit_watch_cb *, void *);
pid_t exit_watch_pid(const struct exit_watch *);
void exit_watch_free(struct exit_watch *); /* NULL is fine */

#endif
