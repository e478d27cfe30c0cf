/* policy_demote.c - giving up in order: drain, addresses, resources right to left,
 * syncd, released mark (durable if the disk takes it), RELEASE.  When it is urgent,
 * syncd is told at the same moment as the addresses go: nothing may be acknowledged by
 * a node that should not serve.
 *
 * A resource that does not stop, or an address that does not go, keeps the node
 * here, with an alarm and without RELEASE: nobody may take what is still held.
 *
 * A resource that was found at the start, and that no agent ever started here, is another
 * matter: it served nobody under this pair.  It is no reason for a reset, since the node
 * would find the same after that, and none for the other node to wait: this one goes on
 * idle, bars itself, and tries to stop it. */
#include "hook.h"
#include "policy_int.h"

#define START_GRACE_MS 1000	/* a start may end by itself when this node gives up */
#define STOPS_MAX 2	/* what does not stop at the second attempt will not at the third */

static void
step(struct turn *t, enum demote_step s)
{
	t->p->demote = s;
	t->p->step_ms = t->v->now_ms;
	t->p->asked = false;
}

static void
tell_syncd(struct turn *t)
{
	struct policy_action *a;

	if (!t->p->conf->syncd || t->p->syncd_told || !t->v->syncd_up)
		return;
	a = turn_add(t, ACT_SYNCD_DEMOTE);
	a->no = t->p->gen.no;
	a->ms = t->p->urgent ? 0 : t->p->conf->drain_ms;
	t->p->syncd_told = true;
}

void
demote_begin(struct turn *t, enum demote_how how, bool release, enum policy_reason reason)
{
	struct policy *p = t->p;

	p->urgent = how == DEMOTE_URGENT;
	p->release = release;
	p->released_lsn = 0;
	p->syncd_told = false;
	p->alone_no = p->outdate_out = 0;
	res_release(t);
	if (p->role == ROLE_ACTIVE)
		p->served_ms = t->v->now_ms;
	p->reason = reason;
	turn_role(t, ROLE_DEMOTE, policy_reason_text(reason));
	step(t, how == DEMOTE_PLANNED ? DEM_DRAIN : DEM_VIP);
	if (p->urgent)
		tell_syncd(t);
	for (unsigned i = 0; i < p->conf->nvips && how != DEMOTE_PLANNED; i++) {
		p->vip_busy[i] = true;
		turn_add(t, ACT_VIP_DOWN)->index = (int)i;
	}
	p->asked = how != DEMOTE_PLANNED;
	p->retry_ms = t->v->now_ms + p->conf->retry_ms;
	p->self_fenced = false;
	for (unsigned i = 0; i < p->conf->nvips; i++)
		p->vip_failed[i] = 0;
}

/* With a watchdog this node ends, and the other one may take over; without, only an
 * operator helps. */
static void
does_not_stop(struct turn *t, unsigned times, const char *text)
{
	turn_alarm(t, ALARM_STOP_FAILED, true, text);
	if (times < STOPS_MAX || t->v->watchdog_ms == 0 || t->p->self_fenced || t->p->found
	    || policy_maintained(t->p, t->v))
		return;
	t->p->self_fenced = true;
	turn_note(t, "%s: the watchdog shall end this node", text);
	turn_add(t, ACT_SELF_FENCE);
}

static void
st_drain(struct turn *t)
{
	struct policy *p = t->p;
	bool busy = false;

	for (unsigned i = 0; i < p->conf->nres; i++) {
		struct policy_res *r = &p->res[i];

		if (!p->asked && p->conf->res[i].drain && r->state == RES_UP && !r->busy) {
			r->busy = true;
			turn_add(t, ACT_RES_DRAIN)->index = (int)i;
		}
		busy = busy || (r->busy && r->state != RES_STARTING);
	}
	p->asked = true;
	if (!busy)
		step(t, DEM_VIP);
}

static void
st_vip(struct turn *t)
{
	struct policy *p = t->p;
	bool all = true;

	if (!p->asked || t->v->now_ms >= p->retry_ms) {
		p->asked = true;
		p->retry_ms = t->v->now_ms + p->conf->retry_ms;
		for (unsigned i = 0; i < p->conf->nvips; i++)
			if (p->vip_up[i] && !p->vip_busy[i]) {
				p->vip_busy[i] = true;
				turn_add(t, ACT_VIP_DOWN)->index = (int)i;
			}
	}
	for (unsigned i = 0; i < p->conf->nvips; i++)
		all = all && !p->vip_up[i] && !p->vip_busy[i];
	if (t->v->ev.type == EV_VIP && !t->v->ev.up && !t->v->ev.ok)
		does_not_stop(t, ++p->vip_failed[t->v->ev.index], "an address could not be removed");
	if (all) {
		step(t, DEM_RES);
		turn_add(t, ACT_SEND_NOW);	/* the other node may ask for the addresses */
	}
}

/* True when resource i is down. */
static bool
stop_one(struct turn *t, unsigned i)
{
	struct policy *p = t->p;
	struct policy_res *r = &p->res[i];

	if (r->state == RES_DOWN || (r->state == RES_UNKNOWN && !r->busy))
		return true;
	/* A start that goes on and on, perhaps for what this node gives up for, is cut short. */
	if (r->busy && r->state == RES_STARTING && t->v->now_ms - p->step_ms >= START_GRACE_MS) {
		r->cut = true;
		r->state = RES_STOPPING;
		turn_add(t, ACT_RES_STOP)->index = (int)i;
		return false;
	}
	if (r->busy || (r->state == RES_STOPPING && t->v->now_ms < p->retry_ms))
		return false;
	r->busy = true;
	r->state = RES_STOPPING;
	turn_add(t, ACT_RES_STOP)->index = (int)i;
	return false;
}

/* True when every resource is down. */
static bool
stop_all(struct turn *t)
{
	for (unsigned i = t->p->conf->nres; i > 0; i--)
		if (!stop_one(t, i - 1) && !hook_on("release-before-stopped"))
			return false;
	return true;
}

void
demote_stuck(struct turn *t)
{
	const struct policy_event *e = &t->v->ev;
	struct policy *p = t->p;

	if (!p->stuck)
		return;
	if (e->type == EV_RES && e->verb == POLICY_STOP && e->result == POLICY_FAILED)
		p->retry_ms = t->v->now_ms + p->conf->retry_ms;
	if (!stop_all(t))
		return;
	p->stuck = p->found = false;
	turn_alarm(t, ALARM_STOP_FAILED, false, "");
	turn_note(t, "what was found at the start has stopped");
	turn_add(t, ACT_SEND_NOW);
}

static void
st_res(struct turn *t)
{
	struct policy *p = t->p;
	const struct policy_event *e = &t->v->ev;

	if (e->type == EV_RES && e->verb == POLICY_STOP && e->result == POLICY_FAILED) {
		/* It stays: no answer may leave this node, and nobody gets a RELEASE. */
		p->urgent = true;
		tell_syncd(t);
		p->retry_ms = t->v->now_ms + p->conf->retry_ms;
		does_not_stop(t, ++p->res[e->index].stop_failed, "a resource does not stop");
		turn_op_done(t, 18, "a resource does not stop on this node",
		    "hactl status");
		if (p->found && p->res[e->index].stop_failed >= STOPS_MAX) {
			p->stuck = true;
			step(t, DEM_JOIN);
			return;
		}
	}
	if (!stop_all(t))
		return;
	turn_alarm(t, ALARM_STOP_FAILED, false, "");
	group_tell(t, false);
	step(t, DEM_JOIN);
}

/* After a failed start only we may hold the newest generation.  Give the other node
 * time to join it, so that it may take over without loss. */
static void
st_join(struct turn *t)
{
	const struct policy *p = t->p;

	active_join(t);
	if (p->conf->syncd && p->start_failed && !p->urgent && t->v->syncd_up && t->v->peer.alive
	    && t->v->data.role == DATA_ACTIVE && t->v->data.mode != DATA_SYNC
	    && t->v->now_ms - p->step_ms < p->conf->join_wait_ms)
		return;
	step(t, DEM_SYNCD);
}

static void
st_syncd(struct turn *t)
{
	struct policy *p = t->p;
	const struct policy_event *e = &t->v->ev;

	tell_syncd(t);
	if (e->type == EV_SYNCD && e->msg == AL_DEMOTED) {
		/* What the log says: a grant may not have reached it any more. */
		p->gen.no = e->no;
		p->released_lsn = e->lsn;
		step(t, DEM_SAVE);
	} else if (!p->conf->syncd || (t->v->syncd_up && t->v->data.role == DATA_STANDBY)) {
		p->gen = policy_newest(p, t->v);
		p->released_lsn = t->v->data.durable_lsn;
		step(t, DEM_SAVE);
	} else if (!t->v->syncd_up
	    && (p->log_lost || t->v->now_ms - p->step_ms >= p->conf->syncd_wait_ms)) {
		/* It does not run or does not answer.  In a generation of two copies it can
		 * acknowledge nothing once the other node has a newer one. */
		step(t, DEM_SAVE);
	}
}

static void
st_save(struct turn *t)
{
	struct policy *p = t->p;

	if (p->release && !p->asked) {
		p->asked = true;
		p->marks.released = p->gen.no;
		turn_save(t);
		return;
	}
	/* A disk that takes nothing must not keep the other node from serving.  Nothing of this
	 * node goes on in this generation without the mark either: syncd is a standby or gone, what
	 * was started is stopped and known as stopped, and a new number cannot be made durable. */
	if (p->release && !turn_saved(t))
		turn_note(t, "released, though the mark cannot be written; it is tried again");
	/* Belief of our own: everything that was ever acknowledged is here.  Who could not
	 * even begin to serve has no such belief: syncd may know of something newer.  It
	 * releases all the same, so that the other node may take it back.  Nor has one that
	 * an operator forced before that is in the log. */
	if (p->release && !p->refused && (!p->conf->syncd || t->v->syncd_up)
	    && (p->proof != PROOF_OPERATOR || p->gen.no >= p->told.gen)) {
		p->complete = p->gen.no;
		p->complete_boot = t->v->peer.boot;
	}
	p->retry_ms = p->start_failed ? t->v->now_ms + move_pause(p) : 0;
	turn_role(t, ROLE_WAIT, policy_reason_text(p->reason));
	if (p->leaving)
		turn_add(t, ACT_EXIT);
}

/* In mode quorum the other node counts on it that what runs here is down, or this node
 * reset, when the lease is over: no goodbye to clients, and no slow stop.  What was only
 * found at the start is of no reign that the other node could count the end of: it is
 * no reason for a reset here either, while a quorum may take long to form. */
static void
hurry(struct turn *t)
{
	struct policy *p = t->p;

	if (p->conf->mode != POLICY_QUORUM || p->demote > DEM_RES
	    || policy_maintained(p, t->v) || !proof_quorum_lost(p, t->v, 0))
		return;
	if (p->demote == DEM_DRAIN) {
		p->urgent = true;
		tell_syncd(t);
		step(t, DEM_VIP);
	}
	if (proof_quorum_lost(p, t->v, p->conf->retry_ms))
		does_not_stop(t, STOPS_MAX, "without a quorum, and not everything has stopped in time");
}

void
demote_turn(struct turn *t)
{
	struct policy *p = t->p;
	enum demote_step s;

	hurry(t);
	do {
		s = p->demote;
		switch (s) {
		case DEM_DRAIN:
			st_drain(t);
			break;
		case DEM_VIP:
			st_vip(t);
			break;
		case DEM_RES:
			st_res(t);
			break;
		case DEM_JOIN:
			st_join(t);
			break;
		case DEM_SYNCD:
			st_syncd(t);
			break;
		case DEM_SAVE:
			st_save(t);
			break;
		}
	} while (p->role == ROLE_DEMOTE && p->demote != s);
}
