/* notify.h - tells the script of `notify` what happened; root's half.
 *
 * One run at a time, in the order of the messages, each under notify-timeout-ms, at most
 * notify-max in a minute.  QUEUE_MAX messages wait; those that find no room are counted,
 * and the next run is told how many it missed.  Whether the script succeeds changes
 * nothing but a line in the log. */
#ifndef HAGENT_NOTIFY_H
#define HAGENT_NOTIFY_H

#include <stdbool.h>
#include <sys/types.h>

#include "hagent_conf.h"
#include "wire.h"

#define NOTIFY_TEXT 240

struct event_base;
struct notify;

struct notify *notify_new(struct event_base *, const struct hagent_conf *);
void notify_free(struct notify *);
/* The body of EX_NOTIFY.  -1 and EBADMSG when it is none. */
int notify_take(struct notify *, struct wire_in *);
/* The caller's SIGCHLD: was it the script's process? */
bool notify_reaped(struct notify *, pid_t, int wait_status);

#endif
