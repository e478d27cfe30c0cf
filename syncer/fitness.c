/* fitness.c - keeps commit.c and the other node informed of what fitness.h names.
 *
 * A node that follows stops taking records while there is still room for its own marks:
 * below half of low-water-size, until there is all of it again.  The active then goes
 * on alone; when there is room this node says FACTS, and is sent what it lacks.  Decides
 * nothing: the rule is in commit.c. */
#include "fitness.h"

#include "clock.h"
#include "core.h"
#include "log.h"
#include "peer_wire.h"
#include "ship.h"

static void
send_trouble(struct syncd *s)
{
	struct wire_out w;
	struct span body;

	wire_out_init(&w);
	wire_put_u8(&w, s->commit.trouble);
	body = wire_out_span(&w);
	peerlink_send(s->peer, PEER_TROUBLE, &body, 1);
	wire_out_clear(&w);
}

/* ---- the other node ---- */

static uint8_t
peer_trouble(const struct fitness *f)
{
	unsigned t = f->lags ? DATA_PEER_LAGS : 0;

	t |= (f->peer & DATA_SLOW) != 0 ? DATA_PEER_SLOW : 0;
	t |= (f->peer & DATA_FULL) != 0 ? DATA_PEER_FULL : 0;
	return (uint8_t)t;
}

static void
peer_changed(struct syncd *s)
{
	struct commit_acts acts;

	if (!s->commit.peer_up || peer_trouble(&s->fitness) == s->commit.peer_trouble)
		return;
	acts.n = 0;
	commit_peer_trouble(&s->commit, peer_trouble(&s->fitness), clock_ms(), &acts);
	core_run(s, &acts);
}

void
fitness_up(struct syncd *s)
{
	s->fitness.peer = 0;
	if (s->commit.trouble != 0)
		send_trouble(s);
}

void
fitness_heard(struct syncd *s, struct wire_in *in)
{
	uint8_t t = wire_get_u8(in) & DATA_OWN_TROUBLE;

	if (!wire_in_done(in))
		return;
	log_info("the other node's log disk slow=%d full=%d", (t & DATA_SLOW) != 0,
	    (t & DATA_FULL) != 0);
	s->fitness.peer = t;
	peer_changed(s);
}

/* One that is off lags without end, which says nothing about it. */
static void
tell_lag(struct syncd *s, uint64_t bytes)
{
	struct fitness *f = &s->fitness;

	if (s->commit.role != DATA_ACTIVE)
		f->lags_told = false;
	if (s->commit.role != DATA_ACTIVE || !s->commit.peer_up || f->lags == f->lags_told)
		return;
	log_warnx("the standby %s bytes=%llu lag-max-size=%llu",
	    f->lags ? "is too far behind" : "has come closer again", (unsigned long long)bytes,
	    (unsigned long long)s->conf.lag_max_size);
	f->lags_told = f->lags;
}

static void
look_at_lag(struct syncd *s)
{
	uint64_t bytes = lag_bytes(&s->fitness.lag), max = s->conf.lag_max_size;

	s->fitness.lags = max != 0 && bytes > (s->fitness.lags ? max / 2 : max);
	tell_lag(s, bytes);
	peer_changed(s);
}

void
fitness_appended(struct syncd *s, uint64_t lsn, size_t bytes)
{
	lag_appended(&s->fitness.lag, lsn, bytes);
	look_at_lag(s);
}

void
fitness_acked(struct syncd *s, uint64_t lsn)
{
	lag_acked(&s->fitness.lag, lsn);
	look_at_lag(s);
}

/* ---- this node ---- */

/* Room again: what was sent meanwhile was not taken, so the active has to look where this
 * log ends. */
static void
own_changed(struct syncd *s, uint8_t trouble)
{
	struct commit_acts acts = { .n = 0 };
	bool room = (s->commit.trouble & ~trouble & DATA_FULL) != 0;

	commit_trouble(&s->commit, trouble, &acts);
	core_run(s, &acts);
	if (!s->commit.peer_up)
		return;
	send_trouble(s);
	if (room && s->commit.role == DATA_STANDBY)
		ship_facts(s->ship);
}

void
fitness_room(struct syncd *s, uint64_t free_bytes)
{
	uint64_t low = s->conf.low_water_size;

	s->fitness.short_room = free_bytes < (s->fitness.short_room ? low : low / 2);
}

void
fitness_tick(struct syncd *s, int64_t now_ms)
{
	bool slow = log_writer_slow(s->writer, now_ms);
	bool full = s->fitness.short_room || s->no_room;
	uint8_t trouble = (uint8_t)((slow ? DATA_SLOW : 0) | (full ? DATA_FULL : 0));

	if (trouble == s->commit.trouble)
		return;
	if (slow != ((s->commit.trouble & DATA_SLOW) != 0))
		log_warnx("the disk of the log is %s slow-sync-ms=%d slow-window-ms=%d",
		    slow ? "slow" : "not slow any more", s->conf.slow_sync_ms,
		    s->conf.slow_window_ms);
	own_changed(s, trouble);
}
