/* queue_retry.h - when a message is tried again, when its sender is warned, and when
 * it is given back.  Pure: times are wall clock ms, given by the caller. */
#ifndef MAIL_QUEUE_RETRY_H
#define MAIL_QUEUE_RETRY_H

#include <stdint.h>

struct queue_retry {
	uint32_t min_s, max_s;		/* first and longest pause */
	uint32_t lifetime_s, warn_s;	/* warn_s 0: never */
};

/* The time of the next attempt after `attempts` (1 or more) that failed.  Pauses double
 * and differ a little with the seed, so that what failed together does not come back
 * together; the last attempt is at the end of the lifetime. */
int64_t queue_retry_next(const struct queue_retry *, uint32_t attempts, int64_t created_ms,
    int64_t now_ms, uint64_t seed);
/* What was made at this time or before is given back now, or its sender warned
 * (INT64_MIN: nobody). */
int64_t queue_retry_expired(const struct queue_retry *, int64_t now_ms);
int64_t queue_retry_warned(const struct queue_retry *, int64_t now_ms);
/* The pause in ms before the smart host is connected to again, after so many failed
 * connections in a row: one second, doubling, never above min_s. */
int64_t queue_retry_host_ms(const struct queue_retry *, uint32_t failures);

#endif
