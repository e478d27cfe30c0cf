/* pace.h - is the log's disk slow?  Pure: times are arguments, of one clock that does
 * not step.
 *
 * Slow: in the window more than one sync in a hundred took longer than the limit (their
 * p99 is above it), such syncs took at least half of the time, and they have been coming
 * for a whole window.  So one hiccup is none, however few syncs there are.  Not slow any
 * more: a whole window without one. */
#ifndef SYNCER_PACE_H
#define SYNCER_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_PARTS 10		/* of a window; the oldest falls out at a time */

struct pace {
	int64_t limit_ms, part_ms;
	int64_t part_no;		/* of the newest part: time / part_ms */
	struct pace_part {
		uint32_t syncs, slow;
		int64_t slow_ms;	/* that these took */
	} part[PACE_PARTS];
	int64_t begun_ms;		/* the sync under way; -1 none */
	int64_t since_ms;		/* slow ones have been coming since; -1 not */
	int64_t last_ms;		/* when the last of them ended, or was seen to last */
	bool slow;
};

void pace_init(struct pace *, int64_t limit_ms, int64_t window_ms);
void pace_begin(struct pace *, int64_t now_ms);
void pace_end(struct pace *, int64_t now_ms);
/* Also a sync that does not end counts, from the limit on. */
bool pace_slow(struct pace *, int64_t now_ms);

#endif
