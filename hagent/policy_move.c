/* policy_move.c - giving the role away although nothing forces to: the other node sees
 * more ping targets, has the better disk or an index that is lost here, or is the preferred
 * one; and how often that may happen.
 *
 * Promise: in the window no more than moves_max moves by choice in either direction are
 * begun, counting those that brought the role here.  Then the active node stays where it
 * is.  Never stands in the way of taking over from a node that is gone.
 *
 * A move because something does not run here is counted, but not held back: staying would
 * help nobody.  It does not go to and fro: a node that gave the role away for this is not
 * healthy, so it is not given back by choice.  When neither node can start the group, each
 * takes what the other one releases, after a pause that grows. */
#include "policy_int.h"

/* A reign that began because the other node saw fewer ping targets is not ended for the
 * same reason before it lasted this many times the wait: when targets come and go on
 * both nodes in turn, moving helps nobody. */
#define PING_REST 20

/* Mail is refused meanwhile, so not long: a syncd looks at its room each second, and the
 * other node's next frame says what it found. */
#define FULL_MS 3000

#define PAUSE_DOUBLED 5		/* times at most: 32 * retry_ms */

static bool
by_choice(enum policy_reason r)
{
	return r == REASON_PING || r == REASON_RESOURCE || r == REASON_SYNCD
	    || r == REASON_FAILBACK || r == REASON_SLOW || r == REASON_FULL
	    || r == REASON_INDEX;
}

/* Wall clocks play no part: the times are those of this node, of its own moves and of
 * those that made it active. */
static void
remember(struct turn *t)
{
	struct policy *p = t->p;

	p->move_ms[p->nmoves++ % POLICY_MOVES_MAX] = t->v->now_ms;
}

static unsigned
recent(const struct turn *t)
{
	const struct policy *p = t->p;
	unsigned n = 0, all = p->nmoves < POLICY_MOVES_MAX ? p->nmoves : POLICY_MOVES_MAX;

	for (unsigned i = 0; i < all; i++)
		n += t->v->now_ms - p->move_ms[i] < p->conf->moves_window_ms;
	return n;
}

void
move_made(struct turn *t)
{
	if (by_choice(t->p->reason) && t->p->last_active != t->p->conf->node)
		remember(t);
}

bool
move_begin(struct turn *t, enum demote_how how, enum policy_reason reason)
{
	if (policy_maintained(t->p, t->v))
		return false;
	if (recent(t) >= t->p->conf->moves_max) {
		turn_alarm(t, ALARM_FLAPPING, true,
		    "too many moves in a short time: this node keeps the role");
		return false;
	}
	remember(t);
	demote_begin(t, how, true, reason);
	return true;
}

void
move_cannot(struct turn *t)
{
	struct policy *p = t->p;

	if (t->v->now_ms - p->cannot_ms >= p->conf->moves_window_ms)
		p->cannot = 0;
	p->cannot++;
	p->cannot_ms = t->v->now_ms;
	p->start_failed = true;
	group_tell(t, p->group_on);
}

void
move_can(struct turn *t)
{
	if (!t->p->start_failed)
		return;
	t->p->start_failed = false;
	group_tell(t, t->p->group_on);
}

int64_t
move_pause(const struct policy *p)
{
	unsigned over = p->cannot > p->conf->moves_max ? p->cannot - p->conf->moves_max : 0;

	return p->conf->retry_ms << (over < PAUSE_DOUBLED ? over : PAUSE_DOUBLED);
}

/* Something does not run here any more: the other node shall try, and not give it back
 * by choice. */
bool
move_failed(struct turn *t, enum policy_reason reason)
{
	if (policy_maintained(t->p, t->v))
		return false;
	remember(t);
	move_cannot(t);
	demote_begin(t, DEMOTE_MOVE, true, reason);
	return true;
}

void
move_forget(struct turn *t)
{
	t->p->nmoves = t->p->cannot = 0;
	turn_alarm(t, ALARM_FLAPPING, false, "");
}

/* An older program tells no score, but whether it sees any target. */
static unsigned
peer_score(const struct policy_view *v)
{
	return v->peer.f.score != 0 ? v->peer.f.score
	                            : (v->peer.f.flags & FRAME_F_PING) != 0;
}

static unsigned
own_score(const struct policy_view *v)
{
	return v->ping_score < UINT8_MAX ? v->ping_score : UINT8_MAX;
}

/* Where fewer targets are seen the role does not stay: ping_turn() there gives it back. */
static bool
peer_sees_enough(const struct turn *t)
{
	return !t->p->conf->pings || peer_score(t->v) >= own_score(t->v);
}

/* It says that of its own disk. */
static bool
peer_disk_bad(const struct policy_view *v)
{
	return (v->peer.f.flags & (FRAME_F_SLOW | FRAME_F_FULL)) != 0;
}

/* Clients may not reach this node, but probably the other one: it sees more of the
 * targets, in an answer to a frame that we sent after the wait, and is ready.  When it
 * sees as few, the targets are ill and not the path.  Not to a bad disk: the role would come
 * back for that. */
static void
ping_turn(struct turn *t)
{
	struct policy *p = t->p;
	const struct policy_view *v = t->v;
	int64_t wait = p->conf->ping_handover_ms;

	if (!p->conf->pings || wait == 0 || !v->peer.alive || peer_score(v) <= own_score(v)) {
		p->ping_less_ms = -1;
		return;
	}
	if (p->ping_less_ms < 0)
		p->ping_less_ms = v->now_ms;
	/* A bad disk there is no reason to stay where no target is seen at all. */
	if (v->peer.answers_ms - p->ping_less_ms < wait || !policy_peer_ready(v)
	    || (peer_disk_bad(v) && own_score(v) > 0) || p->alone_no != 0)
		return;
	if (p->told_reason == REASON_PING && v->now_ms - p->since_ms < PING_REST * wait)
		return;
	(void)move_begin(t, DEMOTE_MOVE, REASON_PING);
}

/* An operator is at work: the role would change under what he wants. */
static bool
operator_at_work(const struct policy *p)
{
	bool held = false;

	for (unsigned i = 0; i < p->conf->nres; i++)
		held = held || p->res[i].held;
	return held || p->op.op != OP_NONE;
}

static bool
disk_fits(const struct turn *t)
{
	const struct policy *p = t->p;
	const struct policy_view *v = t->v;

	return v->syncd_up && v->data.mode == DATA_SYNC
	    && (v->data.trouble & DATA_PEER_TROUBLE) == 0 && p->alone_no == 0
	    && policy_peer_ready(v) && !peer_disk_bad(v) && peer_sees_enough(t)
	    && !operator_at_work(p);
}

/* This trouble of the disk here, and a standby without any, for so long.  A reign that
 * began for the same reason does not end for it within the window of the moves: when it is
 * both disks in turn, moving helps nobody. */
static bool
disk_due(struct turn *t, unsigned trouble, int64_t *since_ms, int64_t wait_ms,
    enum policy_reason reason)
{
	const struct policy *p = t->p;
	const struct policy_view *v = t->v;

	if ((v->data.trouble & trouble) == 0 || !disk_fits(t)) {
		*since_ms = -1;
		return false;
	}
	if (*since_ms < 0)
		*since_ms = v->now_ms;
	return v->now_ms - *since_ms >= wait_ms && (p->told_reason != reason
	    || v->now_ms - p->since_ms >= p->conf->moves_window_ms);
}

/* The disk here has no room for another message, or holds up every acknowledgement, and
 * the other node's, which has everything, is well; for so long that it would have said so by
 * now. */
static void
disk_turn(struct turn *t)
{
	struct policy *p = t->p;
	bool full = disk_due(t, DATA_FULL, &p->full_ms, FULL_MS, REASON_FULL);
	bool slow = disk_due(t, DATA_SLOW, &p->slow_ms, p->conf->syncd_wait_ms, REASON_SLOW);

	if (full || slow)
		(void)move_begin(t, DEMOTE_PLANNED, full ? REASON_FULL : REASON_SLOW);
}

/* What is in it cannot be served here, and is in the other node's. */
static void
index_turn(struct turn *t)
{
	const struct policy *p = t->p;
	const struct policy_view *v = t->v;

	if (v->syncd_up && (v->data.trouble & DATA_NO_INDEX) != 0 && v->data.mode == DATA_SYNC
	    && p->alone_no == 0 && policy_peer_ready(v) && !operator_at_work(p))
		(void)move_begin(t, DEMOTE_MOVE, REASON_INDEX);
}

/* The other node's disk was bad when it had the role.  As a standby it does less, and
 * may say nothing of that. */
static bool
left_a_bad_disk(const struct turn *t)
{
	const struct policy *p = t->p;

	return p->told_reason == REASON_SLOW
	    && t->v->now_ms - p->since_ms < p->conf->moves_window_ms;
}

/* The preferred node could have the role without loss and without coming back at once. */
static bool
failback_fits(const struct turn *t)
{
	const struct policy *p = t->p;
	const struct policy_view *v = t->v;

	return !operator_at_work(p) && p->conf->failback != FAILBACK_OFF
	    && p->conf->preferred == !p->conf->node
	    && policy_peer_ready(v) && !p->alarm[ALARM_FLAPPING]
	    && !peer_disk_bad(v) && !left_a_bad_disk(t)
	    && (!p->conf->syncd || (v->syncd_up && v->data.mode == DATA_SYNC))
	    && peer_sees_enough(t);
}

bool
policy_failback_due(const struct policy *p, const struct policy_view *v)
{
	return p->role == ROLE_ACTIVE && p->failback_ms >= 0
	    && v->now_ms - p->failback_ms >= p->conf->failback_delay_ms;
}

static void
failback_turn(struct turn *t)
{
	struct policy *p = t->p;

	if (!failback_fits(t))
		p->failback_ms = -1;
	else if (p->failback_ms < 0)
		p->failback_ms = t->v->now_ms;
	if (p->conf->failback == FAILBACK_AUTO && policy_failback_due(p, t->v))
		(void)move_begin(t, DEMOTE_PLANNED, REASON_FAILBACK);
}

void
move_turn(struct turn *t)
{
	struct policy *p = t->p;

	if (p->alarm[ALARM_FLAPPING] && recent(t) < p->conf->moves_max)
		turn_alarm(t, ALARM_FLAPPING, false, "");
	if (policy_maintained(p, t->v)) {
		p->ping_less_ms = p->failback_ms = p->slow_ms = p->full_ms = -1;
		return;
	}
	ping_turn(t);
	if (p->role == ROLE_ACTIVE)
		index_turn(t);
	if (p->role == ROLE_ACTIVE)
		disk_turn(t);
	if (p->role == ROLE_ACTIVE)
		failback_turn(t);
}
