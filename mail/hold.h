/* hold.h - answers wait while the agent's lease has run out (lease.h): what a gate's
 * connection and a worker's session do alike. */
#ifndef MAIL_HOLD_H
#define MAIL_HOLD_H

#include <stdbool.h>

struct bufferevent;
struct lease;

/* True: nothing may leave by this stream, and its writing is switched off; to be asked again
 * LEASE_LOOK_MS later.  *held, false at first, is what the last call said.  To be asked behind
 * each piece of work that made an answer, as what it was made from may be old. */
bool hold_stream(const struct lease *, struct bufferevent *, bool *held);

#endif
