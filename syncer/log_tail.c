/* log_tail.c - see log_tail.h. */
#include "log_tail.h"

#include "core.h"
#include "owners.h"

/* Does the log hold anything but generations behind lsn? */
static bool
has_data(struct feed *f, uint64_t lsn)
{
	struct feed_reader rd = { 0 };
	struct record r;
	struct gen g;
	bool data = false;
	int rc;

	while (!data && (rc = feed_read(f, &rd, ++lsn, &r)) != 0)
		data = rc == -1 || !feed_gen(&r, &g);
	feed_reader_clear(&rd);
	return data;
}

enum history_tail
log_tail(struct syncd *s, uint64_t fork)
{
	uint64_t committed = owners_known(s->owners), oldest = feed_oldest(s->feed);

	if (committed < s->commit.commit_lsn)
		committed = s->commit.commit_lsn;
	/* Only what is committed is ever trimmed; no owner has to be there to say so. */
	if (committed + 1 < oldest)
		committed = oldest - 1;
	return history_tail(feed_history(s->feed), fork, feed_tip(s->feed).lsn, committed,
	    has_data(s->feed, fork));
}

bool
log_tail_given(const struct syncd *s, uint64_t fork)
{
	const struct history *h = feed_history(s->feed);

	for (size_t i = h->n; i > 0 && h->gen[i - 1].start_lsn > fork; i--)
		if (gen_kind_alone((enum gen_kind)h->gen[i - 1].kind))
			return true;
	return owners_known(s->owners) > fork;
}
