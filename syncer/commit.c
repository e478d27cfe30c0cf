/* commit.c - the rules of two copies (see commit.h for the diagram).
 *
 * One function answers "how far is committed": advance().  In a generation that is
 * not alone it is the smaller of both nodes' durable LSNs, so nothing here needs a
 * clock to be safe: time only decides when to ask the agent for another generation.
 * What was written but never confirmed stays undecided and is never refused, though
 * who waits for it is told so when acknowledgements are denied; only held appends,
 * which were not written, are refused.  Does not know records or sockets. */
#include "commit.h"

#include <assert.h>
#include <string.h>

#include "hook.h"

#define ASK_AGAIN_MS 1000	/* JOIN_WANTED is repeated while nobody answers */

static struct commit_act *
act(struct commit_acts *a, enum commit_act_type type)
{
	struct commit_act *x;

	assert(a->n < COMMIT_ACTS_MAX);
	x = &a->act[a->n++];
	memset(x, 0, sizeof(*x));
	x->type = type;
	return x;
}

static void
changed(struct commit_acts *a)
{
	for (size_t i = a->n; i-- > 0;)
		if (a->act[i].type == COMMIT_CHANGED)
			return;
	act(a, COMMIT_CHANGED);
}

static void
refuse_request(struct commit_acts *a, uint16_t request, uint64_t no, const char *why)
{
	struct commit_act *x = act(a, COMMIT_REFUSED);

	x->request = request;
	x->no = no;
	x->reason = why;
}

static void
refuse_held(struct commit *c, enum owner_refusal why, struct commit_acts *a)
{
	if (c->held == 0)
		return;
	act(a, COMMIT_REFUSE)->refusal = why;
	c->held = c->held_bytes = 0;
}

static void
release_held(struct commit *c, struct commit_acts *a)
{
	if (c->held == 0)
		return;
	act(a, COMMIT_RELEASE);
	c->held = c->held_bytes = 0;
}

/* May this generation acknowledge with one copy?  Under the strict rule no kind
 * may, whoever wrote it. */
static bool
alone(const struct commit *c)
{
	if (!c->conf.ship)
		return true;
	return gen_kind_alone((enum gen_kind)c->gen.kind) && c->conf.rule != COMMIT_STRICT;
}

/* What speaks against the standby.  The strict rule needs it however slow it is; and when
 * this disk is no faster nothing is won without it. */
static uint8_t
against_peer(const struct commit *c)
{
	uint8_t t = c->peer_trouble;

	if (c->conf.rule == COMMIT_STRICT)
		return t & DATA_PEER_FULL;
	return (c->trouble & DATA_SLOW) != 0 ? t & (uint8_t)~DATA_PEER_SLOW : t;
}

static uint64_t
min64(uint64_t x, uint64_t y)
{
	return x < y ? x : y;
}

static uint64_t
max64(uint64_t x, uint64_t y)
{
	return x > y ? x : y;
}

/* How far both rules and disks allow; the only place that decides it. */
static uint64_t
committable(const struct commit *c)
{
	uint64_t both = min64(c->durable_lsn, c->peer_durable_lsn);

	if (c->role == DATA_STANDBY)
		return hook_on("read-uncommitted") ? c->durable_lsn
		    : min64(c->durable_lsn, c->told_lsn);
	if ((c->fenced && !hook_on("fenced-acknowledges")) || c->failed || c->promoting)
		return 0;
	if (hook_on("ack-before-peer") && c->mode == DATA_SYNC)
		return c->durable_lsn;
	if (gen_kind_alone((enum gen_kind)c->gen.kind) || !c->conf.ship) {
		/* what came before an alone generation is settled by its record, which
		 * therefore has to be durable first */
		if (c->durable_lsn < c->gen.start_lsn)
			return 0;
		return alone(c) ? c->durable_lsn : max64(c->gen.start_lsn, both);
	}
	return both;
}

static void finish_demote(struct commit *, struct commit_acts *);

static void
advance(struct commit *c, struct commit_acts *a)
{
	uint64_t lsn = committable(c);
	bool serving = commit_serving(c);
	struct commit_act *x;

	if (lsn <= c->commit_lsn)
		return;
	c->commit_lsn = lsn;
	x = act(a, COMMIT_ADVANCE);
	x->lsn = lsn;
	if (c->role == DATA_ACTIVE)
		x->copies = alone(c) ? 1 : 2;
	if (serving != commit_serving(c))
		changed(a);
	if (c->drain_until_ms != 0 && c->commit_lsn >= c->tip_lsn)
		finish_demote(c, a);
}

/* ---- modes of the active ---- */

static void
freeze(struct commit *c, int64_t since_ms, struct commit_acts *a)
{
	c->mode = DATA_FROZEN;
	c->frozen_ms = since_ms;
	c->asked_ms = 0;
	c->denied = false;
	c->alone_ms = 0;
	c->alone_from_lsn = 0;
	changed(a);
}

static void
enter_alone(struct commit *c, int64_t now_ms, struct commit_acts *a)
{
	c->mode = c->peer_matched ? DATA_JOINING : DATA_SOLO;
	c->left_out = against_peer(c) != 0 || (c->late && c->peer_matched);
	if (c->alone_ms == 0) {
		c->alone_ms = now_ms;
		c->alone_from_lsn = c->commit_lsn + 1;
	}
	c->frozen_ms = c->asked_ms = c->stable_ms = c->join_asked_ms = 0;
	c->denied = false;
	release_held(c, a);
	changed(a);
}

static void
enter_sync(struct commit *c, int64_t now_ms, struct commit_acts *a)
{
	c->mode = DATA_SYNC;
	c->frozen_ms = c->asked_ms = c->alone_ms = c->stable_ms = c->join_asked_ms = 0;
	c->alone_from_lsn = 0;
	c->denied = c->left_out = c->late = false;
	c->oldest_ms = c->tip_lsn > c->peer_durable_lsn ? now_ms : 0;
	c->oldest_lsn = c->tip_lsn;
	release_held(c, a);
	changed(a);
}

/* The mode that the newest generation's kind calls for, from a standing start. */
static void
enter_kind(struct commit *c, int64_t now_ms, struct commit_acts *a)
{
	if (alone(c))
		enter_alone(c, now_ms, a);
	else
		freeze(c, now_ms, a);
}

static void
deny(struct commit *c, struct commit_acts *a)
{
	if (!c->denied) {
		c->denied = true;
		if (c->tip_lsn > c->commit_lsn)
			act(a, COMMIT_UNDECIDED);
		changed(a);
	}
	refuse_held(c, OWNER_NOT_TWICE, a);
}

/* Back to two copies without a new generation: the same standby, which never lost
 * its belief, has everything again. */
static void
try_thaw(struct commit *c, int64_t now_ms, struct commit_acts *a)
{
	if (c->role != DATA_ACTIVE || c->mode != DATA_FROZEN || c->promoting || c->fenced)
		return;
	if (c->gen.kind != GEN_JOIN || !c->peer_matched || !c->peer_insync)
		return;
	if (c->peer_durable_lsn >= c->tip_lsn)
		enter_sync(c, now_ms, a);
}

static void
standby_mode(struct commit *c, struct commit_acts *a)
{
	enum data_mode m = DATA_WAIT;

	if (c->role != DATA_STANDBY)
		return;
	if (c->split)
		m = DATA_SPLIT;
	else if (c->insync)
		m = DATA_INSYNC;
	else if (c->seeding || (c->peer_up && c->peer_active))
		m = DATA_TARGET;
	if (m != c->mode) {
		c->mode = m;
		changed(a);
	}
}

/* ---- set-up ---- */

void
commit_init(struct commit *c, const struct commit_conf *conf)
{
	memset(c, 0, sizeof(*c));
	c->conf = *conf;
	c->role = DATA_STANDBY;
	c->mode = DATA_WAIT;
}

void
commit_recovered(struct commit *c, const struct gen *gen, uint64_t tip_lsn,
    const uint8_t tip_hash[16], uint64_t outdated_no)
{
	c->gen = *gen;
	c->fence_no = max64(c->fence_no, gen->no);
	c->tip_lsn = c->durable_lsn = tip_lsn;
	memcpy(c->tip_hash, tip_hash, 16);
	memcpy(c->durable_hash, tip_hash, 16);
	c->outdated_no = outdated_no;
	c->adopt_no = 0;
	c->insync = false;
	c->commit_lsn = min64(c->commit_lsn, tip_lsn);
	c->told_lsn = min64(c->told_lsn, tip_lsn);
}

/* ---- the agent ---- */

static const char *
promote_refusal(const struct commit *c, const struct gen *g)
{
	bool forced = g->kind == GEN_FORCED;

	if (c->failed)
		return "the log cannot be written";
	if (c->seeding)
		return "this node's state is being copied from the peer and is not whole";
	if (g->node != c->conf.node || g->kind == GEN_NONE || g->kind == GEN_JOIN)
		return "the generation is not one of this node's promotion";
	if (g->no < c->fence_no || (g->no <= c->gen.no && !gen_same(g, &c->gen)))
		return "a newer generation is known";
	if (c->outdated_no >= c->gen.no && c->outdated_no != 0 && !forced)
		return "this node is marked outdated";
	if (c->split && !forced)
		return "two histories: an operator has to choose";
	return NULL;
}

static void
promoted(struct commit *c, int64_t now_ms, struct commit_acts *a)
{
	c->promoting = false;
	act(a, COMMIT_PROMOTED)->gen = c->gen;
	enter_kind(c, now_ms, a);
	advance(c, a);
}

static void
write_gen(struct commit *c, const struct gen *g, struct commit_acts *a)
{
	struct commit_act *x = act(a, COMMIT_WRITE_GEN);

	c->fence_no = g->no;
	x->gen = *g;
	x->lsn = x->gen.start_lsn = c->tip_lsn + 1;
	memcpy(x->gen.start_hash, c->tip_hash, 16);
	c->pending = x->gen;
}

void
commit_promote(struct commit *c, const struct gen *g, int64_t now_ms, struct commit_acts *a)
{
	const char *why = promote_refusal(c, g);

	if (why != NULL) {
		refuse_request(a, AL_PROMOTE, g->no, why);
		return;
	}
	if (c->promoting && gen_same(g, &c->pending))
		return;			/* asked again: the answer is on its way */
	if (c->role == DATA_ACTIVE && !c->promoting && gen_same(g, &c->gen)) {
		act(a, COMMIT_PROMOTED)->gen = c->gen;
		return;
	}
	c->role = DATA_ACTIVE;
	c->mode = DATA_FROZEN;
	c->frozen_ms = now_ms;
	c->insync = c->split = c->fenced = c->denied = c->peer_insync = false;
	c->peer_matched = false;
	c->drain_until_ms = 0;
	c->alone_ms = 0;
	c->serve_lsn = c->tip_lsn;	/* whatever is in this log now is history */
	if (gen_same(g, &c->gen)) {
		promoted(c, now_ms, a);
	} else {
		c->promoting = true;
		write_gen(c, g, a);
	}
	changed(a);
}

static void
finish_demote(struct commit *c, struct commit_acts *a)
{
	struct commit_act *x;

	c->role = DATA_STANDBY;
	c->mode = DATA_WAIT;
	c->told_lsn = c->commit_lsn;
	c->drain_until_ms = 0;
	c->promoting = c->fenced = c->insync = c->peer_matched = c->denied = false;
	c->peer_active = false;
	c->frozen_ms = c->asked_ms = c->alone_ms = c->stable_ms = 0;
	c->alone_from_lsn = 0;
	x = act(a, COMMIT_DEMOTED);
	x->no = c->gen.no;
	x->lsn = c->durable_lsn;
	x->drained = c->commit_lsn >= c->tip_lsn;
	changed(a);
	standby_mode(c, a);
}

void
commit_demote(struct commit *c, uint64_t no, int drain_ms, int64_t now_ms,
    struct commit_acts *a)
{
	(void)no;	/* whichever generation: to stop serving is always right */
	if (c->role == DATA_STANDBY) {
		struct commit_act *x = act(a, COMMIT_DEMOTED);

		x->no = c->gen.no;
		x->lsn = c->durable_lsn;
		x->drained = c->commit_lsn >= c->tip_lsn;
		return;
	}
	refuse_held(c, OWNER_NOT_ACTIVE, a);
	c->drain_until_ms = now_ms + (drain_ms > 0 ? drain_ms : 0);
	if (c->commit_lsn >= c->tip_lsn || c->fenced || c->failed || drain_ms <= 0)
		finish_demote(c, a);
}

void
commit_grant(struct commit *c, const struct gen *g, int64_t now_ms, struct commit_acts *a)
{
	const char *why = NULL;

	(void)now_ms;
	if (c->role != DATA_ACTIVE || c->promoting || c->drain_until_ms != 0)
		why = "this node is not active";
	else if (c->fenced || c->failed)
		why = "this node acknowledges nothing any more";
	else if (g->no <= c->gen.no || g->node != c->conf.node)
		why = "a newer generation is known";
	else if (g->kind == GEN_JOIN && !c->peer_matched)
		why = "the standby is gone";
	else if (g->kind == GEN_JOIN && against_peer(c) != 0)
		why = "the standby cannot follow";
	else if (g->kind != GEN_JOIN && !gen_kind_alone((enum gen_kind)g->kind))
		why = "not a kind that can be granted";
	else if (g->kind != GEN_JOIN && c->conf.rule == COMMIT_STRICT)
		why = "commit = strict";
	if (why != NULL)
		refuse_request(a, AL_GRANT, g->no, why);
	else
		write_gen(c, g, a);
}

void
commit_deny(struct commit *c, uint64_t no, int64_t now_ms, struct commit_acts *a)
{
	(void)now_ms;
	if (c->role == DATA_ACTIVE && c->mode == DATA_FROZEN && no == c->gen.no)
		deny(c, a);
}

void
commit_outdate(struct commit *c, uint64_t no, struct commit_acts *a)
{
	if (c->role != DATA_STANDBY) {
		refuse_request(a, AL_OUTDATE, no, "this node is active");
		return;
	}
	if (hook_on("ignore-outdate")) {
		act(a, COMMIT_OUTDATED)->no = no;
		return;
	}
	if (c->gen.no <= no)
		c->insync = false;
	if (c->outdated_no >= no) {
		act(a, COMMIT_OUTDATED)->no = no;
	} else if (c->mark_wanted < no) {
		c->mark_wanted = no;
		act(a, COMMIT_MARK)->no = no;
	}
	standby_mode(c, a);
	changed(a);
}

void
commit_marked(struct commit *c, struct commit_acts *a)
{
	if (c->mark_wanted == 0)
		return;
	c->outdated_no = c->mark_wanted;
	c->mark_wanted = 0;
	act(a, COMMIT_OUTDATED)->no = c->outdated_no;
	changed(a);
}

/* ---- owners ---- */

bool
commit_serving(const struct commit *c)
{
	return c->role == DATA_ACTIVE && !c->fenced && !c->promoting && !c->failed &&
	    c->commit_lsn >= c->serve_lsn;
}

uint8_t
commit_copies(const struct commit *c)
{
	if (!commit_serving(c))
		return 0;
	switch (c->mode) {
	case DATA_SYNC:
		return 2;
	case DATA_SOLO:
	case DATA_JOINING:
		return 1;
	default:
		return 0;
	}
}

enum commit_verdict
commit_append(struct commit *c, size_t bytes, enum owner_refusal *why)
{
	if (c->failed)
		*why = OWNER_FAILED;
	else if (!commit_serving(c) || c->drain_until_ms != 0)
		*why = OWNER_NOT_ACTIVE;
	else if (c->full)
		*why = OWNER_DISK_FULL;
	else if (c->mode != DATA_FROZEN)
		return COMMIT_DO_WRITE;
	else if (c->denied)
		*why = OWNER_NOT_TWICE;
	else if (c->held_bytes + bytes > c->conf.held_max_bytes)
		*why = OWNER_BUSY;
	else {
		c->held++;
		c->held_bytes += bytes;
		return COMMIT_DO_HOLD;
	}
	return COMMIT_DO_REFUSE;
}

void
commit_unheld(struct commit *c, size_t n, size_t bytes)
{
	assert(n <= c->held && bytes <= c->held_bytes);
	c->held -= n;
	c->held_bytes -= bytes;
}

/* ---- the log ---- */

void
commit_written(struct commit *c, uint64_t lsn, const uint8_t hash[16], const struct gen *gen,
    int64_t now_ms, struct commit_acts *a)
{
	c->tip_lsn = lsn;
	memcpy(c->tip_hash, hash, 16);
	if (c->role == DATA_ACTIVE && c->oldest_ms == 0 &&
	    (c->mode == DATA_SYNC || c->mode == DATA_JOINING)) {
		c->oldest_ms = now_ms;
		c->oldest_lsn = lsn;
	}
	if (gen == NULL)
		return;
	c->gen = *gen;
	c->fence_no = max64(c->fence_no, gen->no);
	if (c->role == DATA_STANDBY) {
		c->adopt_no = gen->no;
		c->insync = false;
		standby_mode(c, a);
	} else if (!c->promoting) {
		c->peer_insync = false;
		if (gen->kind == GEN_JOIN)
			enter_sync(c, now_ms, a);
		else
			enter_kind(c, now_ms, a);
	}
}

/* A generation record that came from the active is on our disk. */
static void
adopted(struct commit *c, struct commit_acts *a)
{
	c->adopt_no = 0;
	act(a, COMMIT_ADOPTED)->gen = c->gen;
	c->insync = c->gen.kind == GEN_JOIN && (c->gen.insync & (1u << c->conf.node)) != 0 &&
	    c->gen.no == c->fence_no && c->gen.no > c->outdated_no &&
	    c->gen.no > c->mark_wanted;
	changed(a);
	standby_mode(c, a);
}

void
commit_durable(struct commit *c, uint64_t lsn, const uint8_t hash[16], int64_t now_ms,
    struct commit_acts *a)
{
	if (lsn <= c->durable_lsn)
		return;
	c->durable_lsn = lsn;
	memcpy(c->durable_hash, hash, 16);
	if (c->role == DATA_ACTIVE && c->promoting && lsn >= c->gen.start_lsn &&
	    gen_same(&c->gen, &c->pending))
		promoted(c, now_ms, a);
	if (c->role == DATA_STANDBY && c->adopt_no != 0 && lsn >= c->gen.start_lsn)
		adopted(c, a);
	advance(c, a);
}

void
commit_failed(struct commit *c, struct commit_acts *a)
{
	if (c->failed)
		return;
	c->failed = true;
	c->insync = false;
	refuse_held(c, OWNER_FAILED, a);
	changed(a);
	standby_mode(c, a);
	if (c->drain_until_ms != 0)
		finish_demote(c, a);
}

void
commit_full(struct commit *c, bool full, struct commit_acts *a)
{
	if (c->full == full)
		return;
	c->full = full;
	if (full)
		refuse_held(c, OWNER_DISK_FULL, a);
	changed(a);
}

void
commit_trouble(struct commit *c, uint8_t trouble, struct commit_acts *a)
{
	if (c->trouble == trouble)
		return;
	c->trouble = trouble;
	changed(a);
}

/* ---- the peer ---- */

void
commit_peer_trouble(struct commit *c, uint8_t trouble, int64_t now_ms, struct commit_acts *a)
{
	if (c->peer_trouble == trouble)
		return;
	c->peer_trouble = trouble;
	changed(a);
	commit_tick(c, now_ms, a);
}

void
commit_peer_up(struct commit *c, int64_t now_ms, struct commit_acts *a)
{
	commit_peer_down(c, now_ms, a);
	c->peer_up = true;
	changed(a);
}

void
commit_peer_down(struct commit *c, int64_t now_ms, struct commit_acts *a)
{
	if (c->peer_up)
		changed(a);
	c->peer_up = c->peer_matched = c->peer_active = c->peer_insync = false;
	c->peer_trouble = 0;
	c->late = false;
	c->stable_ms = c->join_asked_ms = 0;
	standby_mode(c, a);
	if (c->role != DATA_ACTIVE)
		return;
	/* who waits has waited since then */
	if (c->mode == DATA_SYNC)
		freeze(c, c->oldest_ms != 0 ? c->oldest_ms : now_ms, a);
	else if (c->mode == DATA_JOINING)
		c->mode = DATA_SOLO;
}

void
commit_peer_matched(struct commit *c, uint64_t lsn, bool insync, int64_t now_ms,
    struct commit_acts *a)
{
	if (c->role != DATA_ACTIVE)
		return;
	c->peer_matched = true;
	c->peer_durable_lsn = lsn;
	c->peer_insync = insync;
	if (c->mode == DATA_SOLO)
		c->mode = DATA_JOINING;
	if (c->mode != DATA_SYNC) {
		c->oldest_ms = c->tip_lsn > lsn ? now_ms : 0;
		c->oldest_lsn = c->tip_lsn;
	}
	changed(a);
	try_thaw(c, now_ms, a);
	advance(c, a);
	commit_tick(c, now_ms, a);
}

void
commit_peer_ack(struct commit *c, uint64_t no, uint64_t lsn, bool insync, int64_t now_ms,
    struct commit_acts *a)
{
	if (c->role != DATA_ACTIVE || !c->peer_matched || no != c->gen.no || lsn > c->tip_lsn)
		return;
	if (lsn > c->peer_durable_lsn)
		c->peer_durable_lsn = lsn;
	if (lsn >= c->gen.start_lsn)
		c->peer_insync = insync;
	if (c->peer_durable_lsn >= c->tip_lsn) {
		c->oldest_ms = 0;
	} else if (c->peer_durable_lsn >= c->oldest_lsn) {
		c->oldest_ms = now_ms;
		c->oldest_lsn = c->tip_lsn;
	}
	advance(c, a);
	try_thaw(c, now_ms, a);
	if (c->mode != DATA_SYNC)
		commit_tick(c, now_ms, a);
}

void
commit_peer_newer(struct commit *c, const struct gen *g, struct commit_acts *a)
{
	if (g->no <= c->gen.no && g->no <= c->fence_no)
		return;
	if (c->role == DATA_STANDBY) {
		c->fence_no = max64(c->fence_no, g->no);
		return;
	}
	if (!c->fenced) {
		c->fenced = true;
		c->newer = *g;
		c->promoting = false;
		refuse_held(c, OWNER_NOT_ACTIVE, a);
		act(a, COMMIT_NEWER)->gen = *g;
		changed(a);
	}
	if (c->drain_until_ms != 0)
		finish_demote(c, a);
}

void
commit_split(struct commit *c, struct commit_acts *a)
{
	if (c->split || c->role != DATA_STANDBY)
		return;
	c->split = true;
	c->insync = false;
	changed(a);
	standby_mode(c, a);
}

void
commit_settle(struct commit *c, struct commit_acts *a)
{
	if (!c->split || c->role != DATA_STANDBY)
		return;
	c->told_lsn = c->tip_lsn;
	advance(c, a);
}

void
commit_merged(struct commit *c, struct commit_acts *a)
{
	if (!c->split || c->role != DATA_STANDBY)
		return;
	c->split = false;
	changed(a);
	standby_mode(c, a);
}

void
commit_seeding(struct commit *c, bool on, struct commit_acts *a)
{
	c->seeding = on;
	c->insync = false;
	changed(a);
	standby_mode(c, a);
}

enum commit_batch
commit_batch(struct commit *c, uint64_t gen_no, uint64_t first_lsn, const uint8_t prev_hash[16])
{
	if (gen_no < c->fence_no && !hook_on("accept-old-generation"))
		return COMMIT_BATCH_OLD;
	if (c->role != DATA_STANDBY || c->split || c->failed || c->seeding)
		return COMMIT_BATCH_NOT_STANDBY;
	if ((c->trouble & DATA_FULL) != 0)
		return COMMIT_BATCH_FULL;
	if (first_lsn != c->tip_lsn + 1 || memcmp(prev_hash, c->tip_hash, 16) != 0)
		return COMMIT_BATCH_GAP;
	c->fence_no = max64(c->fence_no, gen_no);
	return COMMIT_BATCH_OK;
}

void
commit_active_seen(struct commit *c, uint64_t no, bool alone, struct commit_acts *a)
{
	if (c->role != DATA_STANDBY || no < c->fence_no)
		return;
	/* What was acknowledged in generations that need both is here, even when their own
	 * record is not: an active that dies now can be followed. */
	if (no > c->gen.no && alone)
		c->insync = false;
	if (hook_on("join-before-caught-up"))
		c->insync = true;
	c->fence_no = no;
	c->peer_active = true;
	standby_mode(c, a);
}

void
commit_told(struct commit *c, uint64_t lsn, struct commit_acts *a)
{
	if (c->role != DATA_STANDBY || lsn <= c->told_lsn)
		return;
	c->told_lsn = lsn;
	advance(c, a);
}

/* ---- time ---- */

/* The standby is on the line and close; how long it must stay so first. */
static int64_t
join_due(const struct commit *c, int64_t now_ms)
{
	if (c->mode == DATA_FROZEN || c->mode == DATA_SYNC)
		return now_ms;
	/* an alone generation that did not last needs no proof of stability */
	if (!c->left_out && c->stable_ms - c->alone_ms < c->conf.hold_ms)
		return now_ms;
	/* what it lets wait is seen after silent_ms */
	return c->stable_ms + c->conf.stable_ms + (c->left_out ? c->conf.silent_ms : 0);
}

static bool
join_possible(const struct commit *c)
{
	if (!c->peer_matched || c->promoting || c->fenced || c->failed || !c->conf.ship)
		return false;
	if (against_peer(c) != 0)
		return false;
	if (c->mode == DATA_SYNC)	/* an outdated standby in a generation of two */
		return !c->peer_insync && c->peer_durable_lsn >= c->gen.start_lsn;
	if (c->mode == DATA_FROZEN && c->peer_insync && c->gen.kind == GEN_JOIN)
		return false;		/* it thaws by itself */
	return true;
}

/* A batch waits for the standby, and has for long. */
static bool
answers_late(const struct commit *c, int64_t now_ms)
{
	return c->oldest_ms != 0 && now_ms - c->oldest_ms >= c->conf.silent_ms;
}

static void
tick_join(struct commit *c, int64_t now_ms, struct commit_acts *a)
{
	if (!join_possible(c) || answers_late(c, now_ms) || c->tip_lsn > c->peer_durable_lsn + c->conf.join_lag) {
		if (c->mode != DATA_SYNC)
			c->stable_ms = 0;
		return;
	}
	if (c->stable_ms == 0)
		c->stable_ms = now_ms;
	if (now_ms < join_due(c, now_ms))
		return;
	if (c->join_asked_ms != 0 && now_ms - c->join_asked_ms < ASK_AGAIN_MS)
		return;
	c->join_asked_ms = now_ms;
	act(a, COMMIT_JOIN_WANTED)->no = c->gen.no;
}

/* A standby that is there, and of which it is known that it will hold up the mail.  Its own
 * durable word, that it is out, is all that is needed then.  That it is slow is no hurry: who
 * is slow himself knows it by then. */
static bool
may_leave_out(const struct commit *c, int64_t now_ms)
{
	uint8_t t = against_peer(c);

	if (c->slow_ms == 0 || now_ms - c->slow_ms < c->conf.hold_ms)
		t &= (uint8_t)~DATA_PEER_SLOW;
	return c->conf.ship && c->peer_matched && t != 0 && c->conf.rule != COMMIT_STRICT;
}

static void
tick_slow(struct commit *c, int64_t now_ms)
{
	if ((against_peer(c) & DATA_PEER_SLOW) == 0)
		c->slow_ms = 0;
	else if (c->slow_ms == 0)
		c->slow_ms = now_ms;
}

/* Both acknowledge still, and go on to until the grant is here. */
static void
tick_sync(struct commit *c, int64_t now_ms, struct commit_acts *a)
{
	if (!may_leave_out(c, now_ms) || c->promoting || c->fenced || c->failed || c->drain_until_ms != 0)
		return;
	if (c->asked_ms != 0 && now_ms - c->asked_ms < c->conf.hold_ms)
		return;
	c->asked_ms = now_ms;
	act(a, COMMIT_ALONE_WANTED)->no = c->gen.no;
}

static void
tick_frozen(struct commit *c, int64_t now_ms, struct commit_acts *a)
{
	if (c->promoting || c->fenced || c->failed || c->drain_until_ms != 0)
		return;
	if (now_ms - c->frozen_ms < c->conf.hold_ms && !may_leave_out(c, now_ms))
		return;
	if (c->conf.rule == COMMIT_STRICT) {
		deny(c, a);
		return;
	}
	if (c->asked_ms != 0) {
		if (now_ms - c->asked_ms < c->conf.hold_ms)
			return;
		deny(c, a);	/* nobody answered, or DENY: the client is told */
	}
	c->asked_ms = now_ms;
	act(a, COMMIT_ALONE_WANTED)->no = c->gen.no;
}

void
commit_tick(struct commit *c, int64_t now_ms, struct commit_acts *a)
{
	if (c->role != DATA_ACTIVE)
		return;
	if (c->drain_until_ms != 0 && now_ms >= c->drain_until_ms) {
		finish_demote(c, a);
		return;
	}
	tick_slow(c, now_ms);
	if (c->mode == DATA_SYNC && answers_late(c, now_ms)) {
		c->late = true;
		freeze(c, c->oldest_ms, a);
	}
	if (c->mode == DATA_FROZEN)
		tick_frozen(c, now_ms, a);
	else if (c->mode == DATA_SYNC)
		tick_sync(c, now_ms, a);
	tick_join(c, now_ms, a);
}

int64_t
commit_next_ms(const struct commit *c, int64_t now_ms)
{
	int64_t next = INT64_MAX, t;

	if (c->role != DATA_ACTIVE)
		return next;
	if (c->drain_until_ms != 0)
		next = c->drain_until_ms;
	if (c->mode == DATA_SYNC && c->oldest_ms != 0)
		next = next < c->oldest_ms + c->conf.silent_ms ? next
							      : c->oldest_ms + c->conf.silent_ms;
	if (c->mode == DATA_FROZEN && !(c->conf.rule == COMMIT_STRICT && c->denied)) {
		t = (c->asked_ms != 0 ? c->asked_ms : c->frozen_ms) + c->conf.hold_ms;
		if (c->asked_ms == 0 && may_leave_out(c, now_ms))
			t = now_ms;
		next = t < next ? t : next;
	}
	if (c->mode == DATA_SYNC && may_leave_out(c, now_ms)) {
		t = c->asked_ms != 0 ? c->asked_ms + c->conf.hold_ms : now_ms;
		next = t < next ? t : next;
	}
	if (c->stable_ms != 0) {
		t = join_due(c, now_ms);
		if (c->join_asked_ms != 0 && t < c->join_asked_ms + ASK_AGAIN_MS)
			t = c->join_asked_ms + ASK_AGAIN_MS;
		next = t < next ? t : next;
	}
	return next;
}

void
commit_state(const struct commit *c, struct data_state *s)
{
	uint64_t seen = max64(c->peer_durable_lsn, c->alone_from_lsn - 1);

	memset(s, 0, sizeof(*s));
	s->role = (uint8_t)c->role;
	s->mode = (uint8_t)c->mode;
	s->insync = c->insync;
	s->outdated = c->outdated_no != 0 && c->outdated_no >= c->gen.no;
	s->peer_connected = c->peer_up;
	s->empty = c->gen.no == 0 && c->tip_lsn == 0;
	s->rule = (uint8_t)c->conf.rule;
	s->trouble = c->trouble | c->peer_trouble | (c->full ? DATA_FULL : 0) |
	    (c->late ? DATA_PEER_LATE : 0);
	s->gen = c->gen;
	s->durable_lsn = c->durable_lsn;
	memcpy(s->durable_hash, c->durable_hash, 16);
	s->commit_lsn = c->commit_lsn;
	s->peer_durable_lsn = c->peer_durable_lsn;
	s->peer_applied_lsn = c->peer_applied_lsn;
	if (c->alone_from_lsn != 0 && c->commit_lsn > seen)
		s->at_risk = c->commit_lsn - seen;
}
