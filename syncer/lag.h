/* lag.h - how many bytes of the log the standby does not have on its disk yet.  Pure.
 *
 * Counts what was appended since this process began, in steps of LAG_STEP: a little too
 * much rather than too little, except that what is older than the marks kept (LAG_MARKS
 * steps), or than the process, is not counted. */
#ifndef SYNCER_LAG_H
#define SYNCER_LAG_H

#include <stddef.h>
#include <stdint.h>

#define LAG_MARKS 4096
#define LAG_STEP (64u << 10)

struct lag {
	struct lag_mark {
		uint64_t lsn, bytes;	/* everything up to lsn was so many bytes */
	} mark[LAG_MARKS];		/* a ring, oldest first */
	unsigned first, n;
	uint64_t bytes;			/* appended */
	uint64_t have;			/* of these, at least so many are on the standby */
};

void lag_init(struct lag *);		/* nothing is known: the log was cut, or is new */
void lag_appended(struct lag *, uint64_t lsn, size_t bytes);
/* The standby has everything up to lsn; less than before after it was cut. */
void lag_acked(struct lag *, uint64_t lsn);
uint64_t lag_bytes(const struct lag *);

#endif
