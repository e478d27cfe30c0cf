/* queue_retry.c - the queue's schedule.  A clock that was set back must not put a
 * message off for longer than one pause: nothing here looks further than max_s from
 * now.  Nothing can fail. */
#include "queue_retry.h"

#define SPREAD 8			/* pauses differ by up to one eighth */

static int64_t
doubled(int64_t first, int64_t most, uint32_t times)
{
	int64_t pause = first;

	while (times-- > 0 && pause < most)
		pause *= 2;
	return pause < most ? pause : most;
}

int64_t
queue_retry_next(const struct queue_retry *r, uint32_t attempts, int64_t created_ms, int64_t now_ms,
    uint64_t seed)
{
	int64_t most = (int64_t)r->max_s * 1000, end = created_ms + (int64_t)r->lifetime_s * 1000;
	int64_t pause = doubled((int64_t)r->min_s * 1000, most, attempts > 0 ? attempts - 1 : 0);
	int64_t next = now_ms + pause - (int64_t)(seed % 1000) * (pause / SPREAD) / 1000;

	return now_ms < end && next > end ? end : next;
}

int64_t
queue_retry_expired(const struct queue_retry *r, int64_t now_ms)
{
	return now_ms - (int64_t)r->lifetime_s * 1000;
}

int64_t
queue_retry_warned(const struct queue_retry *r, int64_t now_ms)
{
	return r->warn_s == 0 ? INT64_MIN : now_ms - (int64_t)r->warn_s * 1000;
}

int64_t
queue_retry_host_ms(const struct queue_retry *r, uint32_t failures)
{
	if (failures == 0)
		return 0;
	return doubled(1000, (int64_t)r->min_s * 1000, failures - 1);
}
