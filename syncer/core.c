/* core.c - carries out what commit.c decides: writes generation records, lets the
 * owners, the peer and the agent know, keeps the two durable marks (outdated,
 * seeding).  No rule lives here.  What can fail is the log: then the process ends. */
#include "core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "agent_link.h"
#include "clock.h"
#include "fs.h"
#include "log.h"
#include "mem.h"
#include "owners.h"
#include "ship.h"
#include "trim.h"
#include "verify.h"
#include "wire.h"

#define TICK_MS 50	/* for time-outs only; nothing that commits waits for it */

/* ---- durable marks ---- */

static uint64_t
read_outdated(const struct syncd *s)
{
	char *path = mem_printf("%s/outdated", s->conf.log_directory), *buf = NULL;
	uint64_t no = 0;
	size_t len;

	if (fs_read(path, 32, &buf, &len) == 0 &&
	    span_u64(span_trim((struct span){ buf, len }), UINT64_MAX - 1, &no) != PARSE_OK)
		no = UINT64_MAX - 1;	/* unreadable: never in sync without an operator */
	free(buf);
	free(path);
	return no;
}

static int
write_outdated(const struct syncd *s, uint64_t no)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)no);

	return fs_replace(s->conf.log_directory, "outdated", text, (size_t)n, 0600);
}

static bool
seeding_marked(const struct syncd *s)
{
	char *path = mem_printf("%s/seeding", s->conf.log_directory);
	bool marked = access(path, F_OK) == 0;

	free(path);
	return marked;
}

int
core_mark_seeding(struct syncd *s, bool on)
{
	struct commit_acts acts = { .n = 0 };
	int rc = on ? fs_replace(s->conf.log_directory, "seeding", "", 0, 0600)
		    : fs_unlink_durable(s->conf.log_directory, "seeding");

	if (rc == -1)
		return -1;
	commit_seeding(&s->commit, on, &acts);
	core_run(s, &acts);
	return 0;
}

/* As for one that was away for too long.  Marked first, so that it is never promoted with
 * what it has.  An active node's copy is not touched: the other one has to serve before. */
bool
core_refill(struct syncd *s, const char *why)
{
	const struct commit *c = &s->commit;

	if (c->role != DATA_STANDBY || c->seeding ||
	    (c->mode != DATA_INSYNC && c->mode != DATA_TARGET) || !ship_seed_may(s->ship))
		return false;
	if (core_mark_seeding(s, true) == -1) {
		log_warn("%s: cannot mark this node as damaged", why);
		return false;
	}
	log_err("%s: this node is filled anew from the other one", why);
	/* The active took it for one that follows its log: it is asked anew. */
	peerlink_drop(s->peer, "this node has to be filled anew");
	return true;
}

/* ---- acts ---- */

static void
append_written(struct syncd *s, struct record *r, const struct gen *g, struct commit_acts *a)
{
	feed_append(s->feed, r, s->commit.durable_lsn);
	commit_written(&s->commit, r->lsn, r->hash, g, clock_ms(), a);
	fitness_appended(s, r->lsn, record_size(r->payload.len));
	ship_kick(s->ship);
}

static void
write_gen(struct syncd *s, const struct gen *g, struct commit_acts *a)
{
	struct log_tip tip = feed_tip(s->feed);
	struct gen gen = *g;
	struct record r = { .gen_no = g->no, .shard = SHARD_PAIR, .type = RECORD_GEN };
	struct wire_out w;

	gen.start_lsn = tip.lsn + 1;
	memcpy(gen.start_hash, tip.hash, 16);
	wire_out_init(&w);
	gen_put(&w, &gen);
	r.payload = wire_out_span(&w);
	r.time_ms = clock_wall_ms();
	append_written(s, &r, &gen, a);
	wire_out_clear(&w);
	log_info("generation no=%llu kind=%s lsn=%llu", (unsigned long long)gen.no,
	    gen_kind_name((enum gen_kind)gen.kind), (unsigned long long)r.lsn);
}

uint64_t
core_write(struct syncd *s, uint16_t shard, uint8_t type, uint64_t origin, struct span payload)
{
	struct commit_acts acts = { .n = 0 };
	struct record r = { .gen_no = s->commit.gen.no, .origin = origin, .shard = shard,
		.type = type, .payload = payload, .time_ms = clock_wall_ms() };

	append_written(s, &r, NULL, &acts);
	core_run(s, &acts);
	return r.lsn;
}

static void
mark(struct syncd *s, uint64_t no, struct commit_acts *a)
{
	if (write_outdated(s, no) == -1) {
		log_warn("cannot write the outdated mark no=%llu", (unsigned long long)no);
		return;		/* no answer: the agent asks again */
	}
	commit_marked(&s->commit, a);
}

static void
changed(struct syncd *s)
{
	struct commit *c = &s->commit;

	if (c->alone_ms == 0)
		s->alone_wall_ms = 0;
	else if (s->alone_wall_ms == 0)
		s->alone_wall_ms = clock_wall_ms();
	if (c->role != s->seen_role || c->mode != s->seen_mode)
		log_info("role=%s mode=%s gen=%llu kind=%s lsn=%llu commit=%llu peer=%llu",
		    data_role_name(c->role), data_mode_name(c->mode),
		    (unsigned long long)c->gen.no, gen_kind_name((enum gen_kind)c->gen.kind),
		    (unsigned long long)c->tip_lsn, (unsigned long long)c->commit_lsn,
		    (unsigned long long)c->peer_durable_lsn);
	if (c->role != s->seen_role) {
		s->seen_role = c->role;
		ship_role(s->ship);
	}
	s->seen_mode = c->mode;
	owners_role(s->owners);
	ship_changed(s->ship);
	agent_link_state(s->agent);
	if (s->mirror != NULL && s->mirror_ops->changed != NULL)
		s->mirror_ops->changed(s->mirror);
}

static void
run_one(struct syncd *s, const struct commit_act *x, struct commit_acts *a)
{
	switch (x->type) {
	case COMMIT_WRITE_GEN:
		write_gen(s, &x->gen, a);
		break;
	case COMMIT_RELEASE:
		owners_release(s->owners);
		break;
	case COMMIT_REFUSE:
		owners_refuse(s->owners, x->refusal);
		break;
	case COMMIT_UNDECIDED:
		owners_undecided(s->owners);
		break;
	case COMMIT_ADVANCE:
		s->ack_copies = x->copies;
		owners_kick(s->owners);
		ship_kick(s->ship);
		break;
	case COMMIT_MARK:
		mark(s, x->no, a);
		break;
	case COMMIT_CHANGED:
		changed(s);
		break;
	case COMMIT_PROMOTED:
		ship_facts(s->ship);
		agent_link_act(s->agent, x);
		break;
	case COMMIT_DEMOTED:
		ship_flush(s->ship);	/* the peer learns the last commit first */
		agent_link_act(s->agent, x);
		break;
	default:
		agent_link_act(s->agent, x);
		break;
	}
}

void
core_run(struct syncd *s, struct commit_acts *a)
{
	for (size_t i = 0; i < a->n; i++) {
		struct commit_act x = a->act[i];

		run_one(s, &x, a);
	}
	a->n = 0;
}

/* ---- the writer's reports ---- */

static void
on_durable(void *arg, uint64_t lsn, const uint8_t hash[16])
{
	struct syncd *s = arg;
	struct commit_acts acts = { .n = 0 };

	commit_durable(&s->commit, lsn, hash, clock_ms(), &acts);
	ship_durable(s->ship);
	owners_room(s->owners);
	core_run(s, &acts);
}

/* What could not be synced may still be read back from memory, so this process must
 * not go on, and the next one trusts nothing that is not known durable (LOG.md).  In a
 * generation of two copies the other node has all that was acknowledged: the mark keeps
 * this one from being promoted until it has caught up from there. */
void
core_log_lost(struct syncd *s, const char *what, int err)
{
	const struct commit *c = &s->commit;
	bool two = c->conf.ship && c->gen.no != 0 &&
	    !gen_kind_alone((enum gen_kind)c->gen.kind);

	log_err("log lost: %s: %s; nothing is acknowledged any more, syncd ends", what,
	    strerror(err));
	if (two && write_outdated(s, c->gen.no) == -1)
		log_warn("cannot write the outdated mark no=%llu",
		    (unsigned long long)c->gen.no);
	agent_link_log_lost(s->agent);
	log_fatal("ends because its disk cannot be trusted; HINT look at the disk, then "
	    "hactl status: the other node takes over if it is in step");
}

static void
on_failed(void *arg, int err)
{
	core_log_lost(arg, "a write or sync failed", err);
}

/* Each of the two causes holds by itself: room for others is no segment for us yet, and
 * a segment that could be made leaves no more room than there was. */
static void
room_changed(struct syncd *s)
{
	struct commit_acts acts = { .n = 0 };

	commit_full(&s->commit, s->low_room || s->no_room, &acts);
	core_run(s, &acts);
}

static void
on_full(void *arg, bool full)
{
	struct syncd *s = arg;

	log_warnx("log disk %s", full ? "full: appends are refused" : "takes a segment again");
	s->no_room = full;
	room_changed(s);
	fitness_tick(s, clock_ms());
}

/* ---- time ---- */

static void
check_room(struct syncd *s)
{
	uint64_t room;
	unsigned used;
	bool low;

	if (s->conf.low_water_size == 0 ||
	    fs_free(s->conf.log_directory, &room, &used) == -1)
		return;
	fitness_room(s, room);
	low = room < s->conf.low_water_size;
	if (low == s->low_room)
		return;
	log_warnx("disk %s free=%llu low-water-size=%llu",
	    low ? "below the low-water mark" : "above the low-water mark again",
	    (unsigned long long)room, (unsigned long long)s->conf.low_water_size);
	s->low_room = low;
	room_changed(s);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct syncd *s = arg;
	struct commit_acts acts = { .n = 0 };
	int64_t now = clock_ms();

	(void)fd;
	(void)what;
	fitness_tick(s, now);
	commit_tick(&s->commit, now, &acts);
	core_run(s, &acts);
	if (now - s->second_ms < 1000)
		return;
	s->second_ms = now;
	check_room(s);
	ship_second(s->ship);
	trim_second(s->trim);
	owners_second(s->owners);
	verify_second(s->verify);
	agent_link_state(s->agent);
}

void
core_start_timer(struct syncd *s)
{
	const struct timeval tv = { 0, TICK_MS * 1000 };

	s->tick = event_new(s->base, -1, EV_PERSIST, on_tick, s);
	event_add(s->tick, &tv);
}

/* ---- set-up ---- */

void
core_log_changed(struct syncd *s)
{
	struct log_tip tip = feed_tip(s->feed);
	struct gen g = history_last(feed_history(s->feed));

	lag_init(&s->fitness.lag);
	verify_log_changed(s->verify);
	trim_log_changed(s->trim);
	commit_recovered(&s->commit, &g, tip.lsn, tip.hash, s->commit.outdated_no);
}

int
core_open(struct syncd *s)
{
	static const struct log_writer_ops ops = { on_durable, on_failed, on_full };
	const struct syncd_conf *c = &s->conf;
	struct commit_conf cc = { .node = c->node, .rule = c->commit, .ship = c->ship_log,
		.hold_ms = c->hold_ms, .stable_ms = c->rejoin_stable_ms,
		.silent_ms = c->silent_ms, .held_max_bytes = c->pending_max,
		.join_lag = (uint64_t)c->join_lag };
	struct commit_acts acts = { .n = 0 };
	char err[512];
	struct log_tip tip;
	struct gen g;

	s->store = log_store_open(c->log_directory, c->segment_size, err, sizeof(err));
	if (s->store == NULL) {
		log_err("cannot use the log: %s", err);
		return -1;
	}
	s->writer = log_writer_new(s->base, s->store, &ops, s);
	log_writer_pace(s->writer, c->slow_sync_ms, c->slow_window_ms);
	s->feed = feed_new(s->store, s->writer, c->recent_size);
	commit_init(&s->commit, &cc);
	tip = feed_tip(s->feed);
	g = history_last(feed_history(s->feed));
	commit_recovered(&s->commit, &g, tip.lsn, tip.hash, read_outdated(s));
	if (seeding_marked(s))
		commit_seeding(&s->commit, true, &acts);
	s->seen_role = s->commit.role;
	s->seen_mode = s->commit.mode;
	log_info("log open gen=%llu lsn=%llu oldest=%llu", (unsigned long long)g.no,
	    (unsigned long long)tip.lsn, (unsigned long long)feed_oldest(s->feed));
	return 0;
}

void
core_close(struct syncd *s)
{
	if (s->tick != NULL)
		event_free(s->tick);
	log_writer_free(s->writer);
	feed_free(s->feed);
	log_store_close(s->store);
}

void
core_state(struct syncd *s, struct data_state *st)
{
	int64_t heard = peerlink_heard_ms(s->peer);

	commit_state(&s->commit, st);
	st->applied_lsn = owners_applied(s->owners);
	st->trouble |= owners_any_lost(s->owners) ? DATA_NO_INDEX : 0;
	st->alone_since_ms = s->alone_wall_ms;
	st->peer_heard_ms = heard < 0 ? -1 : clock_ms() - heard;
	st->peer_every_ms = (uint32_t)s->conf.ping_ms;	/* the file is the same over there */
}
