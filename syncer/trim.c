/* trim.c - which whole segments may go.  For the oldest full segment the last LSN of
 * each shard in it is found once, by reading it in pieces; it is not needed here any
 * more when every one of these shards has a checkpoint at or past that.  It goes when the
 * peer says the same, or when the log is over retain-size or the peer was away for retain-s:
 * then the peer, if it is still away, has to be seeded.  Without all own checkpoints nothing
 * ever goes. */
#include "trim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "clock.h"
#include "core.h"
#include "hook.h"
#include "log.h"
#include "mem.h"
#include "owners.h"
#include "ship.h"

#define SCAN_RUN 256		/* records looked at before others have their turn */

struct trim {
	struct syncd *s;
	struct event *scan;
	struct feed_reader reader;
	uint64_t first, last;		/* the segment that is scanned or known; 0: none */
	uint64_t at;			/* next record to look at */
	uint64_t shard_last[SHARD_MAX];	/* in this segment; 0: no record */
	uint64_t own, keep_from;
	int64_t peer_ms;		/* when the peer was here last, or this process began */
	uint64_t bad;			/* the record that could not be read: said once */
};

static void
on_scan(evutil_socket_t fd, short what, void *arg)
{
	struct trim *t = arg;
	struct record r;

	(void)fd;
	(void)what;
	for (int n = 0; n < SCAN_RUN && t->at <= t->last; n++, t->at++) {
		if (feed_read(t->s->feed, &t->reader, t->at, &r) != 1) {
			if (t->bad != t->at)
				log_err("cannot read the log lsn=%llu: %s; it is kept from there on",
				    (unsigned long long)t->at, strerror(errno));
			t->bad = t->at;
			return;		/* tried again when the segment is looked at anew */
		}
		if (r.shard < SHARD_MAX)
			t->shard_last[r.shard] = r.lsn;
	}
	if (t->at <= t->last)
		event_active(t->scan, EV_TIMEOUT, 0);
	else
		feed_reader_clear(&t->reader);
}

/* So much, or for so long, nobody is waited for. */
static bool
over(const struct trim *t)
{
	const struct syncd_conf *c = &t->s->conf;

	return log_store_bytes(t->s->store) > c->retain_size
	    || clock_ms() - t->peer_ms > (int64_t)c->retain_s * 1000;
}

static bool
needed_here(const struct trim *t)
{
	if (t->last >= t->s->commit.commit_lsn)
		return true;
	/* What is kept for a standby that is being seeded; not at the price of the disk when
	 * it is away. */
	if (t->keep_from != 0 && t->last >= t->keep_from && (t->s->commit.peer_up || !over(t)))
		return true;
	for (uint16_t shard = SHARD_PAIR + 1; shard < SHARD_MAX && !hook_on("trim-ignores-own"); shard++)
		if (t->shard_last[shard] > owners_checkpoint(t->s->owners, shard))
			return true;
	return false;
}

static void
look_at(struct trim *t, uint64_t first, uint64_t last)
{
	memset(t->shard_last, 0, sizeof(t->shard_last));
	t->first = t->at = first;
	t->last = last;
	event_active(t->scan, EV_TIMEOUT, 0);
}

void
trim_second(struct trim *t)
{
	struct syncd *s = t->s;
	uint64_t first, last;

	if (s->commit.peer_up)
		t->peer_ms = clock_ms();
	if (!log_store_oldest_full(s->store, &first, &last) || last > s->commit.durable_lsn)
		return;
	if (t->first != first) {
		look_at(t, first, last);
		return;
	}
	if (t->at <= t->last || needed_here(t))
		return;
	t->own = t->last;
	if (s->conf.ship_log && !over(t) && ship_peer_trim(s->ship) < t->last &&
	    !hook_on("trim-ignores-peer"))
		return;
	if (log_store_trim(s->store, t->last) > 0)
		log_info("log trimmed to lsn=%llu", (unsigned long long)t->last);
}

void
trim_log_changed(struct trim *t)
{
	uint64_t tip;

	if (t == NULL)
		return;			/* the log is being opened */
	tip = feed_tip(t->s->feed).lsn;
	t->first = t->last = t->at = 0;
	if (t->own > tip)
		t->own = tip;
}

uint64_t
trim_own(const struct trim *t)
{
	return t->own;
}

void
trim_keep_from(struct trim *t, uint64_t lsn)
{
	t->keep_from = lsn;
}

struct trim *
trim_new(struct syncd *s)
{
	struct trim *t = mem_alloc(sizeof(*t));

	t->s = s;
	t->peer_ms = clock_ms();
	t->scan = event_new(s->base, -1, 0, on_scan, t);
	return t;
}

void
trim_free(struct trim *t)
{
	if (t == NULL)
		return;
	feed_reader_clear(&t->reader);
	event_free(t->scan);
	free(t);
}
