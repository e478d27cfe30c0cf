/* realtime.h - a process that is not late because others use the processor or the
 * memory. */
#ifndef HAGENT_REALTIME_H
#define HAGENT_REALTIME_H

#include <stdbool.h>

struct realtime {
	bool scheduled, locked;
	char why[120];		/* what was asked for and could not be had; "" */
};

/* Called as root, before the way down: round-robin scheduling of the lowest priority,
 * which no child inherits, and memory that stays.  What cannot be had is logged once as
 * a warning and noted; the process goes on without. */
void realtime_enter(struct realtime *, bool schedule, bool lock);
/* Ordinary scheduling again; memory that is locked stays so.  -1 with errno. */
int realtime_leave(void);

#endif
