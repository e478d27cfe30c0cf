/* lag.c - marks of how long the log was, one each LAG_STEP bytes.  Marks stay when the
 * standby has passed them: after a reconnect it may turn out to have less. */
#include "lag.h"

void
lag_init(struct lag *l)
{
	l->first = l->n = 0;
	l->bytes = l->have = 0;
}

static struct lag_mark *
mark_at(struct lag *l, unsigned i)
{
	return &l->mark[(l->first + i) % LAG_MARKS];
}

void
lag_appended(struct lag *l, uint64_t lsn, size_t bytes)
{
	struct lag_mark *last = l->n > 0 ? mark_at(l, l->n - 1) : NULL;

	l->bytes += bytes;
	if (last != NULL && l->bytes - last->bytes < LAG_STEP)
		return;
	if (l->n == LAG_MARKS)
		l->first = (l->first + 1) % LAG_MARKS;
	else
		l->n++;
	*mark_at(l, l->n - 1) = (struct lag_mark) { lsn, l->bytes };
}

void
lag_acked(struct lag *l, uint64_t lsn)
{
	unsigned low = 0, high = l->n;

	while (low < high) {		/* how many marks lie at or before lsn */
		unsigned mid = low + (high - low) / 2;

		if (mark_at(l, mid)->lsn <= lsn)
			low = mid + 1;
		else
			high = mid;
	}
	if (low > 0)
		l->have = mark_at(l, low - 1)->bytes;
	else
		l->have = l->n < LAG_MARKS ? 0 : mark_at(l, 0)->bytes;
}

uint64_t
lag_bytes(const struct lag *l)
{
	return l->bytes - l->have;
}
