/* ship.c - shipping the log to the standby and receiving it.
 *
 *   active:   peer's FACTS -> search for the common point (SHIP_SEARCH: HASH_ASK, HASH)
 *             -> TRUNCATE when the peer has more -> batches (SHIP_MATCHED)
 *   standby:  says FACTS when asked by the active's FACTS, takes batches that follow its
 *             tip, acknowledges what its disk has
 *
 * Safe against: an older active (NEWER), a gap (FACTS again), a peer whose history
 * is not ours (SPLIT: nothing is thrown away, the session waits for an operator).
 * Memory is bounded by the link's high-water mark; a lagging standby is fed out of
 * the segments. */
#include "ship.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "agent_link.h"
#include "clock.h"
#include "core.h"
#include "hook.h"
#include "log.h"
#include "log_tail.h"
#include "mem.h"
#include "owners.h"
#include "peer_wire.h"
#include "trim.h"
#include "wire.h"

#define BATCH_BYTES (1u << 20)
#define BATCH_RECORDS 1024

enum ship_state { SHIP_IDLE, SHIP_SEARCH, SHIP_CUTTING, SHIP_MATCHED, SHIP_STUCK };

struct facts {
	uint32_t seq, echo;
	uint8_t role, insync, split, seeding;
	uint64_t fence_no, oldest, tip, durable, commit;
	uint8_t hash[16];
	struct history history;
};

struct ship {
	struct syncd *s;
	enum ship_state state;
	struct event *pump;
	struct facts peer;
	bool up, peer_known;
	uint64_t lo, hi, asked;		/* search: equal at lo, hi is the most */
	uint64_t next;			/* active: first record not sent yet */
	uint8_t next_prev[16];		/* chain hash before it */
	uint64_t told_commit;
	struct feed_reader reader;
	uint64_t acked;			/* standby: last ACK sent */
	bool gap_told;
	bool follows;			/* standby: a batch fitted since the peer's last FACTS */
	bool insync_told;
	uint32_t seq;			/* of our last FACTS */
	uint64_t peer_trim;
	uint64_t fork;			/* active: the last LSN that a peer in SPLIT shares */
	bool fork_known;
	char trouble[128];
};

static void
send_body(struct ship *h, uint8_t type, struct wire_out *w)
{
	struct span body = wire_out_span(w);

	peerlink_send(h->s->peer, type, &body, 1);
	wire_out_clear(w);
}

static void
trouble(struct ship *h, const char *text)
{
	if (strcmp(h->trouble, text) != 0 && text[0] != '\0')
		log_warnx("peer log: %s", text);
	snprintf(h->trouble, sizeof(h->trouble), "%s", text);
}

const char *
ship_trouble(const struct ship *h)
{
	return h->trouble[0] != '\0' ? h->trouble : NULL;
}

uint64_t
ship_peer_trim(const struct ship *h)
{
	return h->peer_trim;
}

bool
ship_peer_split(const struct ship *h, uint64_t *tip)
{
	if (tip != NULL)
		*tip = h->peer.tip;
	return h->up && h->peer_known && h->peer.split && h->peer.role != DATA_ACTIVE;
}

bool
ship_fork(const struct ship *h, uint64_t *fork)
{
	*fork = h->fork;
	return h->fork_known && ship_peer_split(h, NULL);
}

const struct history *
ship_peer_history(const struct ship *h)
{
	return &h->peer.history;
}

/* ---- facts ---- */

void
ship_facts(struct ship *h)
{
	const struct commit *c = &h->s->commit;
	struct log_tip tip = feed_tip(h->s->feed);
	struct wire_out w;

	if (!h->up)
		return;
	if (c->role == DATA_ACTIVE) {
		h->state = SHIP_IDLE;	/* whatever was known of the peer is asked anew */
		h->fork_known = false;
	}
	wire_out_init(&w);
	wire_put_u32(&w, ++h->seq);
	wire_put_u32(&w, h->peer_known ? h->peer.seq : 0);
	wire_put_u8(&w, (uint8_t)c->role);
	wire_put_u8(&w, c->insync);
	wire_put_u8(&w, c->split);
	wire_put_u8(&w, c->seeding);
	wire_put_u64(&w, c->fence_no);
	wire_put_u64(&w, feed_oldest(h->s->feed));
	wire_put_u64(&w, tip.lsn);
	wire_put_raw(&w, tip.hash, 16);
	wire_put_u64(&w, c->durable_lsn);
	wire_put_u64(&w, c->commit_lsn);
	history_put(&w, feed_history(h->s->feed));
	send_body(h, PEER_FACTS, &w);
}

static bool
get_facts(struct wire_in *in, struct facts *f)
{
	f->seq = wire_get_u32(in);
	f->echo = wire_get_u32(in);
	f->role = wire_get_u8(in);
	f->insync = wire_get_u8(in);
	f->split = wire_get_u8(in);
	f->seeding = wire_get_u8(in);
	f->fence_no = wire_get_u64(in);
	f->oldest = wire_get_u64(in);
	f->tip = wire_get_u64(in);
	wire_get_raw(in, f->hash, 16);
	f->durable = wire_get_u64(in);
	f->commit = wire_get_u64(in);
	history_get(in, &f->history);
	return wire_in_done(in) && f->role <= DATA_ACTIVE && f->durable <= f->tip;
}

static void
send_newer(struct ship *h)
{
	const struct commit *c = &h->s->commit;
	struct gen g = c->gen;
	struct wire_out w;

	if (g.no < c->fence_no)
		g.no = c->fence_no;	/* known by number only */
	wire_out_init(&w);
	gen_put(&w, &g);
	send_body(h, PEER_NEWER, &w);
}

/* ---- active: the common point ---- */

static void
need_seed(struct ship *h)
{
	struct syncd *s = h->s;

	h->state = SHIP_STUCK;
	trouble(h, "the standby is older than the oldest record kept: it has to be seeded");
	if (s->mirror != NULL && s->mirror_ops->seed_wanted != NULL)
		s->mirror_ops->seed_wanted(s->mirror);
}

/* Damage is no proof of anything: a copy must not be replaced because the log from
 * which it was made cannot be read. */
static void
damaged(struct ship *h, const char *where, uint64_t lsn)
{
	char text[sizeof(h->trouble)];

	h->state = SHIP_STUCK;
	(void)snprintf(text, sizeof(text), "%s cannot be read at lsn=%llu: it is damaged", where,
	    (unsigned long long)lsn);
	if (strcmp(h->trouble, text) != 0)
		log_err("%s; nothing is sent or replaced", text);
	memcpy(h->trouble, text, sizeof(text));
}

static void
split(struct ship *h, uint64_t fork, const char *why)
{
	struct wire_out w;

	h->state = SHIP_STUCK;
	trouble(h, why);
	wire_out_init(&w);
	wire_put_u64(&w, fork);
	wire_put_u64(&w, feed_tip(h->s->feed).lsn);
	wire_put_str(&w, why);
	send_body(h, PEER_SPLIT, &w);
}

static void
matched(struct ship *h, uint64_t lsn, const uint8_t hash[16])
{
	struct syncd *s = h->s;
	struct commit_acts acts = { .n = 0 };
	bool insync = h->peer.insync && history_last(&h->peer.history).no == s->commit.gen.no;

	h->state = SHIP_MATCHED;
	h->next = lsn + 1;
	memcpy(h->next_prev, hash, 16);
	h->told_commit = 0;
	trouble(h, "");
	log_info("peer log matched lsn=%llu tip=%llu", (unsigned long long)lsn,
	    (unsigned long long)feed_tip(s->feed).lsn);
	fitness_acked(s, h->peer.durable < lsn ? h->peer.durable : lsn);
	commit_peer_matched(&s->commit, h->peer.durable < lsn ? h->peer.durable : lsn, insync,
	    clock_ms(), &acts);
	core_run(s, &acts);
	ship_kick(h);
}

/* The two logs are equal up to lsn and not further. */
static void
found(struct ship *h, uint64_t lsn)
{
	uint8_t hash[16];
	struct wire_out w;

	if (h->peer.split) {		/* it stays as it is until an operator says more */
		h->fork = lsn;
		h->fork_known = true;
		h->state = SHIP_STUCK;
		trouble(h, "two histories: the standby holds records acknowledged alone");
		return;
	}
	if (lsn + 1 < feed_oldest(h->s->feed)) {
		need_seed(h);
		return;
	}
	if (feed_hash(h->s->feed, lsn, hash) == -1) {
		damaged(h, "the log of this node", lsn);
		return;
	}
	if (h->peer.tip == lsn) {
		matched(h, lsn, hash);
		return;
	}
	h->state = SHIP_CUTTING;
	wire_out_init(&w);
	wire_put_u64(&w, h->s->commit.gen.no);
	wire_put_u64(&w, lsn);
	wire_put_raw(&w, hash, 16);
	send_body(h, PEER_TRUNCATE, &w);
}

static void
ask_hash(struct ship *h, uint64_t lsn)
{
	struct wire_out w;

	h->asked = lsn;
	wire_out_init(&w);
	wire_put_u64(&w, lsn);
	send_body(h, PEER_HASH_ASK, &w);
}

/* One step of the search: equal is what is known about the record asked for. */
static void
search_step(struct ship *h, bool equal)
{
	if (equal)
		h->lo = h->asked;
	else
		h->hi = h->asked - 1;
	if (h->lo >= h->hi)
		found(h, h->lo);
	else
		ask_hash(h, h->lo + (h->hi - h->lo + 1) / 2);
}

static void
no_common(struct ship *h)
{
	static const char why[] = "two histories: no generation in common";

	h->state = SHIP_STUCK;
	trouble(h, why);
	if (!h->peer.split)
		split(h, 0, why);
}

static void
search_start(struct ship *h)
{
	struct syncd *s = h->s;
	struct history_log mine = { feed_history(s->feed), feed_oldest(s->feed),
		feed_tip(s->feed).lsn };
	struct history_log theirs = { &h->peer.history, h->peer.oldest, h->peer.tip };

	h->state = SHIP_SEARCH;
	if (h->peer.seeding) {
		need_seed(h);
	} else if (h->peer.tip == 0) {
		found(h, 0);
	} else if (!history_common(&mine, &theirs, &h->lo, &h->hi)) {
		no_common(h);
	} else if (h->lo >= h->hi) {
		found(h, h->lo);
	} else {
		ask_hash(h, h->hi);
	}
}

static void
got_hash(struct ship *h, struct wire_in *in)
{
	uint64_t lsn = wire_get_u64(in);
	uint8_t known = wire_get_u8(in), theirs[16], mine[16];

	wire_get_raw(in, theirs, 16);
	if (!wire_in_done(in) || h->state != SHIP_SEARCH || lsn != h->asked)
		return;
	/* what one of us has trimmed had been committed on both */
	if (known == PEER_HASH_BAD)
		damaged(h, "the standby's log", lsn);
	else if (known == PEER_HASH_TRIMMED)
		search_step(h, true);
	else if (feed_hash(h->s->feed, lsn, mine) == 0)
		search_step(h, memcmp(mine, theirs, 16) == 0);
	else if (errno == ERANGE)
		search_step(h, true);
	else
		damaged(h, "the log of this node", lsn);
}

static void
got_hash_ask(struct ship *h, struct wire_in *in)
{
	uint64_t lsn = wire_get_u64(in);
	uint8_t hash[16] = { 0 };
	struct wire_out w;
	uint8_t known = PEER_HASH_KNOWN;

	if (!wire_in_done(in))
		return;
	if (feed_hash(h->s->feed, lsn, hash) == -1) {
		known = errno == ERANGE ? PEER_HASH_TRIMMED : PEER_HASH_BAD;
		if (known == PEER_HASH_BAD)
			log_warn("cannot read the log lsn=%llu", (unsigned long long)lsn);
	}
	wire_out_init(&w);
	wire_put_u64(&w, lsn);
	wire_put_u8(&w, known);
	wire_put_raw(&w, hash, 16);
	send_body(h, PEER_HASH, &w);
}

/* ---- active: batches ---- */

/* An active that acknowledges by itself sends only what its own disk has.  Else a
 * power cut here leaves the standby with more, in a generation where "more" may mean
 * acknowledged: it would be called a split. */
static uint64_t
may_send(const struct commit *c)
{
	bool both = !gen_kind_alone((enum gen_kind)c->gen.kind) &&
	    c->durable_lsn >= c->gen.start_lsn;

	return both ? UINT64_MAX : c->durable_lsn;
}

/* Collects whole records from h->next on; returns how many. */
static uint32_t
collect(struct ship *h, struct wire_out *body)
{
	struct record r;
	uint64_t upto = may_send(&h->s->commit);
	uint32_t n = 0;
	int rc = 0;

	while (n < BATCH_RECORDS && h->next + n <= upto && body->len < BATCH_BYTES &&
	    (rc = feed_read(h->s->feed, &h->reader, h->next + n, &r)) == 1) {
		size_t padded = record_size(r.payload.len);

		wire_put_raw(body, r.raw.p, padded);
		memcpy(h->next_prev, r.hash, 16);
		n++;
	}
	if (rc == -1) {
		if (errno == ERANGE)
			need_seed(h);
		else
			damaged(h, "the log of this node", h->next + n);
	}
	return n;
}

static bool
send_batch(struct ship *h)
{
	struct syncd *s = h->s;
	uint8_t prev[16];
	struct wire_out head, body;
	struct span parts[2];
	uint32_t n;

	memcpy(prev, h->next_prev, 16);
	wire_out_init(&body);
	n = collect(h, &body);
	if (n > 0) {
		wire_out_init(&head);
		wire_put_u64(&head, s->commit.gen.no);
		wire_put_u64(&head, s->commit.commit_lsn);
		wire_put_u64(&head, h->next);
		wire_put_raw(&head, prev, 16);
		wire_put_u32(&head, n);
		parts[0] = wire_out_span(&head);
		parts[1] = wire_out_span(&body);
		peerlink_send(s->peer, PEER_BATCH, parts, 2);
		wire_out_clear(&head);
		h->next += n;
		h->told_commit = s->commit.commit_lsn;
	}
	wire_out_clear(&body);
	return n > 0;
}

void
ship_flush(struct ship *h)
{
	const struct commit *c = &h->s->commit;
	struct wire_out w;

	if (!h->up || h->state != SHIP_MATCHED || !h->s->conf.ship_log)
		return;
	while (h->state == SHIP_MATCHED && c->role == DATA_ACTIVE &&
	    (c->peer_trouble & DATA_PEER_FULL) == 0 &&
	    peerlink_unsent(h->s->peer) < h->s->conf.unsent_max && send_batch(h))
		;
	if (h->told_commit >= c->commit_lsn)
		return;
	h->told_commit = c->commit_lsn;
	wire_out_init(&w);
	wire_put_u64(&w, c->gen.no);
	wire_put_u64(&w, c->commit_lsn);
	send_body(h, PEER_COMMIT, &w);
}

static void
on_pump(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	ship_flush(arg);
}

void
ship_kick(struct ship *h)
{
	if (h->up && h->state == SHIP_MATCHED)
		event_active(h->pump, EV_TIMEOUT, 0);
}

static void
got_ack(struct ship *h, struct wire_in *in)
{
	struct commit_acts acts = { .n = 0 };
	uint64_t no = wire_get_u64(in), lsn = wire_get_u64(in);
	bool insync = wire_get_u8(in) != 0;

	if (!wire_in_done(in) || h->state != SHIP_MATCHED)
		return;
	commit_peer_ack(&h->s->commit, no, lsn, insync, clock_ms(), &acts);
	core_run(h->s, &acts);
	fitness_acked(h->s, h->s->commit.peer_durable_lsn);
}

/* ---- standby ---- */

static void
send_ack(struct ship *h, uint64_t lsn)
{
	const struct commit *c = &h->s->commit;
	struct wire_out w;

	h->acked = lsn;
	h->insync_told = c->insync;
	wire_out_init(&w);
	wire_put_u64(&w, c->fence_no);
	wire_put_u64(&w, lsn);
	wire_put_u8(&w, c->insync);
	send_body(h, PEER_ACK, &w);
}

static bool
taking(const struct ship *h)
{
	const struct commit *c = &h->s->commit;

	return h->up && c->role == DATA_STANDBY && c->peer_active && !c->split && !c->seeding;
}

/* The disk has more; the acknowledgement comes before any other work. */
void
ship_durable(struct ship *h)
{
	struct syncd *s = h->s;

	if (log_writer_bytes(s->writer) <= s->conf.pending_max / 2)
		peerlink_read_enable(s->peer, true);
	if (taking(h) && s->commit.durable_lsn != h->acked)
		send_ack(h, s->commit.durable_lsn);
	ship_kick(h);
}

void
ship_changed(struct ship *h)
{
	if (taking(h) && h->s->commit.insync != h->insync_told)
		send_ack(h, h->s->commit.durable_lsn);
}

static bool
take_records(struct ship *h, struct span in, uint32_t n, uint64_t lsn, struct commit_acts *acts)
{
	struct syncd *s = h->s;
	struct record r;
	struct gen g;
	size_t used;

	for (; n > 0; n--, lsn++) {
		if (record_decode(in, &r, &used) != PARSE_OK || r.lsn != lsn ||
		    !record_follows(&r, s->commit.tip_hash))
			return false;
		in.p += used;
		in.len -= used;
		feed_receive(s->feed, &r, s->commit.durable_lsn);
		commit_written(&s->commit, r.lsn, r.hash, feed_gen(&r, &g) ? &g : NULL,
		    clock_ms(), acts);
		core_run(s, acts);
	}
	return in.len == 0;
}

static void
refuse_batch(struct ship *h, enum commit_batch why)
{
	if (why == COMMIT_BATCH_OLD || h->s->commit.role == DATA_ACTIVE) {
		send_newer(h);
	} else if (why == COMMIT_BATCH_GAP && !h->gap_told) {
		h->gap_told = true;	/* the rest of what is on the way needs no answer */
		ship_facts(h);
	}
}

static void
got_batch(struct ship *h, struct wire_in *in)
{
	struct syncd *s = h->s;
	struct commit_acts acts = { .n = 0 };
	uint64_t no = wire_get_u64(in), commit = wire_get_u64(in), first = wire_get_u64(in);
	enum commit_batch verdict;
	uint8_t prev[16];
	uint32_t n;

	wire_get_raw(in, prev, 16);
	n = wire_get_u32(in);
	if (!wire_in_ok(in)) {
		peerlink_drop(s->peer, "broken batch");
		return;
	}
	verdict = commit_batch(&s->commit, no, first, prev);
	if (verdict != COMMIT_BATCH_OK) {
		refuse_batch(h, verdict);
		return;
	}
	h->gap_told = false;
	h->follows = true;
	if (!take_records(h, wire_get_rest(in), n, first, &acts)) {
		log_warnx("peer sent a record that does not follow the log");
		peerlink_drop(s->peer, "broken record");
		return;
	}
	if (hook_on("ack-before-fsync"))
		send_ack(h, s->commit.tip_lsn);
	commit_told(&s->commit, commit, &acts);
	core_run(s, &acts);
	if (log_writer_bytes(s->writer) > s->conf.pending_max)
		peerlink_read_enable(s->peer, false);
}

static void
got_commit(struct ship *h, struct wire_in *in)
{
	struct commit_acts acts = { .n = 0 };
	uint64_t no = wire_get_u64(in), lsn = wire_get_u64(in);

	if (!wire_in_done(in) || no < h->s->commit.fence_no)
		return;
	commit_told(&h->s->commit, lsn, &acts);
	core_run(h->s, &acts);
}

/* Standby: what is here stays as it is, and the active hears why. */
static void
keep_out(struct ship *h, uint64_t fork)
{
	struct commit_acts acts = { .n = 0 };

	log_err("two histories: lsn %llu to %llu here were acknowledged and the active "
		"node does not have them; nothing is thrown away, this node stays out",
	    (unsigned long long)fork + 1, (unsigned long long)feed_tip(h->s->feed).lsn);
	commit_split(&h->s->commit, &acts);
	core_run(h->s, &acts);
	split(h, fork, "two histories: the standby holds records acknowledged alone");
}

static void
cut(struct ship *h, uint64_t fork)
{
	struct syncd *s = h->s;
	struct log_tip tip = feed_tip(s->feed);
	char name[64];

	snprintf(name, sizeof(name), "gen-%llu-lsn-%llu",
	    (unsigned long long)history_last(feed_history(s->feed)).no,
	    (unsigned long long)fork + 1);
	/* First: a crash behind it leaves a node that asks to be seeded. */
	if (log_tail_given(s, fork) && core_mark_seeding(s, true) == -1) {
		log_warn("cannot mark the log as being seeded; its tail stays");
		peerlink_drop(s->peer, "the tail cannot be cut");
		return;
	}
	if (!log_writer_settle(s->writer) || feed_cut(s->feed, fork, name) == -1)
		core_log_lost(s, "the tail cannot be cut", errno);
	log_warnx("log tail set aside from=%llu to=%llu in=forks/%s: never acknowledged",
	    (unsigned long long)fork + 1, (unsigned long long)tip.lsn, name);
	core_log_changed(s);
	owners_cut(s->owners, fork);
	agent_link_state(s->agent);
	ship_facts(h);
}

static void
got_truncate(struct ship *h, struct wire_in *in)
{
	struct syncd *s = h->s;
	uint64_t no = wire_get_u64(in), fork = wire_get_u64(in);
	uint8_t theirs[16], mine[16];
	bool known;

	wire_get_raw(in, theirs, 16);
	if (!wire_in_done(in) || s->commit.role != DATA_STANDBY)
		return;
	if (no < s->commit.fence_no) {
		send_newer(h);
		return;
	}
	known = feed_hash(s->feed, fork, mine) == 0;
	if (known ? memcmp(mine, theirs, 16) != 0 : errno != ERANGE) {
		ship_facts(h);	/* it knows us as we were */
		return;
	}
	/* A place that is trimmed here cannot be cut at, and never has to be: what is trimmed
	 * was committed.  A place behind our tip is of older FACTS. */
	if (log_tail(h->s, fork) != HISTORY_TAIL_ACKED) {
		if (known)
			cut(h, fork);
		else
			ship_facts(h);
		return;
	}
	keep_out(h, fork);
	ship_facts(h);		/* what it is now: the active looks for the fork */
}

/* The last LSN that can be equal on both, from the lists alone: all that can be known
 * when the active has trimmed the place. */
static uint64_t
common_most(const struct ship *h)
{
	struct feed *f = h->s->feed;
	struct history_log mine = { feed_history(f), feed_oldest(f), feed_tip(f).lsn };
	struct history_log theirs = { &h->peer.history, h->peer.oldest, h->peer.tip };
	uint64_t lo, hi;

	return history_common(&mine, &theirs, &lo, &hi) ? hi : 0;
}

bool
ship_seed_may(struct ship *h)
{
	struct syncd *s = h->s;
	uint64_t fork;
	uint8_t hash[16];

	if (s->commit.split || !h->up || !h->peer_known || h->peer.role != DATA_ACTIVE)
		return false;
	if (s->commit.seeding || h->follows || feed_tip(s->feed).lsn == 0)
		return true;	/* it was allowed before; or the log is a piece of theirs */
	fork = common_most(h);
	switch (log_tail(h->s, fork)) {
	case HISTORY_TAIL_NONE:
		return true;
	case HISTORY_TAIL_UNACKED:
		if (feed_hash(s->feed, fork, hash) == 0) {
			cut(h, fork);	/* with its copy, which the seed would not leave */
			return true;
		}
		break;
	case HISTORY_TAIL_ACKED:
		break;
	}
	keep_out(h, fork);
	return false;
}

/* An active that has trimmed the place where the logs part would seed this node.  What
 * was acknowledged here behind that place must be seen before. */
static void
check_before_seed(struct ship *h)
{
	const struct commit *c = &h->s->commit;
	uint64_t fork = common_most(h);

	if (!h->s->conf.ship_log || c->split || c->seeding || fork + 1 >= h->peer.oldest)
		return;
	if (log_tail(h->s, fork) == HISTORY_TAIL_ACKED)
		keep_out(h, fork);
}

/* ---- both ---- */

static void
got_split(struct ship *h, struct wire_in *in)
{
	struct commit_acts acts = { .n = 0 };
	uint64_t fork = wire_get_u64(in), tip = wire_get_u64(in);
	char why[128];

	wire_get_str(in, why, sizeof(why));
	if (!wire_in_done(in))
		return;
	log_err("two histories: fork at lsn=%llu, here tip=%llu, peer tip=%llu: %s",
	    (unsigned long long)fork, (unsigned long long)feed_tip(h->s->feed).lsn,
	    (unsigned long long)tip, log_safe(why));
	h->state = SHIP_STUCK;
	trouble(h, "two histories: see the other node");
	/* The active stays; of two that are not, each says so of itself. */
	if (h->peer_known && h->peer.role == DATA_ACTIVE)
		commit_split(&h->s->commit, &acts);
	core_run(h->s, &acts);
}

static void
got_newer(struct ship *h, struct wire_in *in)
{
	struct commit_acts acts = { .n = 0 };
	struct gen g;

	gen_get(in, &g);
	if (!wire_in_done(in))
		return;
	commit_peer_newer(&h->s->commit, &g, &acts);
	core_run(h->s, &acts);
}

/* Did the active, since our newest generation, enter one that may hold what we lack?
 * CLEAN and JOIN cannot: they acknowledge with us only.  Yes, too, when its history does not reach back to ours, or not up to its fence. */
static bool
alone_since(const struct ship *h)
{
	const struct history *p = &h->peer.history;
	const struct gen *own = &h->s->commit.gen;
	size_t i = p->n;

	if (!h->s->conf.ship_log || history_last(p).no != h->peer.fence_no)
		return true;
	while (i > 0 && !gen_same(&p->gen[i - 1], own)) {
		if (p->gen[i - 1].kind != GEN_CLEAN && p->gen[i - 1].kind != GEN_JOIN)
			return true;
		i--;
	}
	return i == 0;
}

/* The facts of an active peer, as a standby hears them. */
static void
active_facts(struct ship *h)
{
	struct commit_acts acts = { .n = 0 };

	if (h->peer.fence_no < h->s->commit.fence_no) {
		send_newer(h);
		return;
	}
	commit_active_seen(&h->s->commit, h->peer.fence_no, alone_since(h), &acts);
	core_run(h->s, &acts);
	check_before_seed(h);
	h->gap_told = h->follows = false;
	h->acked = 0;
	ship_facts(h);
}

/* An active that was heard while this node was one too is the one to follow now; it has
 * said who it is, and does not say it again. */
void
ship_role(struct ship *h)
{
	if (h->up && h->peer_known && h->peer.role == DATA_ACTIVE &&
	    h->s->commit.role == DATA_STANDBY)
		active_facts(h);
	else
		ship_facts(h);
}

static void
got_facts(struct ship *h, struct wire_in *in)
{
	struct syncd *s = h->s;
	struct commit_acts acts = { .n = 0 };
	struct gen newest;

	if (!get_facts(in, &h->peer)) {
		peerlink_drop(s->peer, "broken facts");
		return;
	}
	h->peer_known = true;
	if (s->commit.role == DATA_STANDBY) {
		if (h->peer.role == DATA_ACTIVE)
			active_facts(h);
		return;
	}
	if (h->peer.fence_no > s->commit.fence_no) {
		newest = history_last(&h->peer.history);
		newest.no = h->peer.fence_no;
		commit_peer_newer(&s->commit, &newest, &acts);
		core_run(s, &acts);
	} else if (h->peer.role == DATA_ACTIVE) {
		send_newer(h);
	} else if (s->conf.ship_log && h->peer.echo == h->seq) {
		/* an answer to what we said last; anything older is about to be repeated */
		search_start(h);
	}
}

static void
got_applied(struct ship *h, struct wire_in *in)
{
	uint64_t applied = wire_get_u64(in), may_trim = wire_get_u64(in);

	if (!wire_in_done(in))
		return;
	h->s->commit.peer_applied_lsn = applied;
	/* Of a log that is not known to be ours the number means nothing. */
	if (h->s->commit.role == DATA_ACTIVE ? h->state == SHIP_MATCHED : h->follows)
		h->peer_trim = may_trim;
}

static void
got_trouble(struct ship *h, struct wire_in *in)
{
	fitness_heard(h->s, in);
}

static void
got_mirror(struct ship *h, struct span body)
{
	struct syncd *s = h->s;

	if (s->mirror != NULL && s->mirror_ops->message != NULL)
		s->mirror_ops->message(s->mirror, body);
}

void
ship_frame(struct ship *h, uint8_t type, struct span body)
{
	static const struct {
		uint8_t type;
		void (*got)(struct ship *, struct wire_in *);
	} verbs[] = {
		{ PEER_BATCH, got_batch }, { PEER_ACK, got_ack }, { PEER_COMMIT, got_commit },
		{ PEER_FACTS, got_facts }, { PEER_HASH_ASK, got_hash_ask },
		{ PEER_HASH, got_hash }, { PEER_TRUNCATE, got_truncate },
		{ PEER_SPLIT, got_split }, { PEER_NEWER, got_newer },
		{ PEER_APPLIED, got_applied }, { PEER_TROUBLE, got_trouble },
	};
	struct wire_in in;

	if (type == PEER_MIRROR) {
		got_mirror(h, body);
		return;
	}
	wire_in_init(&in, body.p, body.len);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (verbs[i].type == type) {
			verbs[i].got(h, &in);
			return;
		}
	}
	log_debug("peer sent an unknown frame type=%u", type);
}

void
ship_up(struct ship *h)
{
	struct commit_acts acts = { .n = 0 };

	log_info("peer connected path=%s", peerlink_path(h->s->peer));
	h->up = true;
	h->state = SHIP_IDLE;
	h->peer_known = h->gap_told = h->insync_told = h->fork_known = false;
	h->acked = 0;
	commit_peer_up(&h->s->commit, clock_ms(), &acts);
	fitness_up(h->s);
	ship_facts(h);
	core_run(h->s, &acts);
	if (h->s->mirror != NULL && h->s->mirror_ops->peer != NULL)
		h->s->mirror_ops->peer(h->s->mirror, true);
}

void
ship_down(struct ship *h, const char *why)
{
	struct commit_acts acts = { .n = 0 };

	log_warnx("peer lost: %s", log_safe(why));
	h->up = false;
	h->state = SHIP_IDLE;
	feed_reader_clear(&h->reader);
	commit_peer_down(&h->s->commit, clock_ms(), &acts);
	core_run(h->s, &acts);
	if (h->s->mirror != NULL && h->s->mirror_ops->peer != NULL)
		h->s->mirror_ops->peer(h->s->mirror, false);
}

void
ship_second(struct ship *h)
{
	struct wire_out w;

	if (!h->up)
		return;
	wire_out_init(&w);
	wire_put_u64(&w, owners_applied(h->s->owners));
	wire_put_u64(&w, trim_own(h->s->trim));
	send_body(h, PEER_APPLIED, &w);
}

struct ship *
ship_new(struct syncd *s)
{
	struct ship *h = mem_alloc(sizeof(*h));

	h->s = s;
	h->pump = event_new(s->base, -1, 0, on_pump, h);
	return h;
}

void
ship_free(struct ship *h)
{
	if (h == NULL)
		return;
	feed_reader_clear(&h->reader);
	event_free(h->pump);
	free(h);
}
