/* policy_promote.c - from proof to service: number fixed, syncd's record, resources
 * left to right, addresses last.  Beside them, or before, the segment is asked whether
 * somebody has the addresses; none goes up before that is answered.
 *
 * A step that fails leads through the demotion, so whatever was started is stopped
 * again; with a release at its end, so that the other node may try. */
#include "policy_int.h"

#define SAVE_MS 100	/* a save that is not reported by now has failed */

/* What was asked before the promotion counts when nobody of the pair had the addresses
 * any more at that time; what came back as anything but "free" is asked again. */
static int64_t
probe_since(const struct turn *t)
{
	const struct policy *p = t->p;

	if (!p->probe_out && p->probe != PROBE_CLEAR)
		return t->v->now_ms;
	if (p->proof == PROOF_RELEASE && p->freed_ms != 0)
		return p->freed_ms;
	return t->v->peer.silent ? t->v->now_ms - t->v->peer.silent_ms : t->v->now_ms;
}

/* A node that hung, and is off by now, may have answered until then: its kernel does. */
static bool
answered_by_fenced(const struct policy *p)
{
	return p->proof == PROOF_FENCE && p->probe == PROBE_TAKEN && p->probe_ms < p->since_ms;
}

static bool
probe_counts(const struct turn *t)
{
	const struct policy *p = t->p;

	return p->probe_vips && p->probe_ms >= p->probe_since_ms && !answered_by_fenced(p)
	    && t->v->now_ms - p->probe_ms <= p->conf->probe_fresh_ms;
}

void
promote_begin(struct turn *t, enum policy_proof proof, enum gen_kind kind,
    enum policy_reason reason)
{
	struct policy *p = t->p;

	p->proof = proof;
	p->promote = PRO_SYNCD;
	p->asked = false;
	p->repromote = p->syncd_told = p->slept = p->refused = false;
	p->declined = p->alone_no = p->outdate_out = 0;
	p->complete = 0;
	p->found = false;
	p->probe_since_ms = probe_since(t);
	p->freed_ms = 0;
	if (p->conf->nvips > 0 && !probe_counts(t))
		turn_probe(t, false, false);	/* first: the answer takes longest */
	p->gen = turn_gen(t, kind);
	/* The epoch that people see; the other node may join under a later number. */
	p->told = (struct state_switch) { .gen = p->gen.no, .kind = p->gen.kind };
	p->reason = reason;
	turn_role(t, ROLE_PROMOTE, policy_reason_text(reason));
	if (p->conf->syncd)
		turn_add(t, ACT_SYNCD_PROMOTE)->gen = p->gen;
}

static void
step(struct turn *t, enum promote_step s)
{
	t->p->promote = s;
	t->p->step_ms = t->v->now_ms;
	t->p->asked = false;
}

static void
fail(struct turn *t, enum policy_reason reason)
{
	move_cannot(t);
	t->p->retry_ms = t->v->now_ms + t->p->conf->retry_ms;
	demote_begin(t, DEMOTE_MOVE, true, reason);
}

static void
st_syncd(struct turn *t)
{
	struct policy *p = t->p;
	const struct policy_event *e = &t->v->ev;

	if (!turn_saved(t) && t->v->now_ms - p->saved_ms < SAVE_MS)
		return;		/* perhaps it was asked for in this very turn */
	if (!turn_saved(t)) {
		turn_alarm(t, ALARM_REFUSED, true, "ha/state cannot be written");
		fail(t, REASON_SAVE);
	} else if (!p->conf->syncd) {
		step(t, PRO_RES);
	} else if (e->type == EV_SYNCD && e->msg == AL_PROMOTED && e->gen.no == p->gen.no) {
		p->gen = e->gen;
		state_add_gen(&p->marks, &p->gen);
		turn_alarm(t, ALARM_REFUSED, false, "");
		step(t, PRO_RES);
	} else if (e->type == EV_SYNCD && e->msg == AL_REFUSED && e->no == AL_PROMOTE) {
		turn_alarm(t, ALARM_REFUSED, true, "syncd refused the promotion");
		p->refused = true;
		fail(t, REASON_REFUSED);
	} else if (!t->v->syncd_up || t->v->now_ms - p->step_ms > 3 * p->conf->syncd_wait_ms) {
		fail(t, REASON_SYNCD);
	}
}

static void
st_res(struct turn *t)
{
	struct policy *p = t->p;
	const struct policy_event *e = &t->v->ev;

	if (e->type == EV_RES && e->verb == POLICY_START) {
		struct policy_res *r = &p->res[e->index];

		r->busy = false;
		r->checked_ms = t->v->now_ms;
		r->state = e->result == POLICY_RUNNING ? RES_UP : RES_FAILED;
		if (r->state == RES_FAILED) {
			turn_alarm(t, ALARM_RES_FAILED, true, "a resource did not start");
			fail(t, REASON_START);
			return;
		}
	}
	for (unsigned i = 0; i < p->conf->nres; i++) {
		struct policy_res *r = &p->res[i];

		if (r->state == RES_UP)
			continue;
		if (!r->busy) {
			r->busy = true;
			r->state = RES_STARTING;
			group_tell(t, true);
			turn_add(t, ACT_RES_START)->index = (int)i;
		}
		return;
	}
	step(t, PRO_DUPLICATE);
}

static void
st_duplicate(struct turn *t)
{
	struct policy *p = t->p;

	if (p->conf->nvips == 0) {
		step(t, PRO_VIP);
	} else if (p->probe_out) {
		return;
	} else if (!probe_counts(t)) {
		turn_probe(t, false, false);
	} else if (p->probe == PROBE_TAKEN) {
		turn_alarm(t, ALARM_CONTESTED, true, "a service address is in use elsewhere");
		fail(t, REASON_TAKEN);
	} else {
		turn_alarm(t, ALARM_CONTESTED, false, "");
		step(t, PRO_VIP);
	}
}

static void
st_vip(struct turn *t)
{
	struct policy *p = t->p;
	bool all = true;

	if (!p->asked) {
		p->asked = true;
		group_tell(t, true);
		for (unsigned i = 0; i < p->conf->nvips; i++) {
			p->vip_busy[i] = true;
			turn_add(t, ACT_VIP_UP)->index = (int)i;
		}
	}
	if (t->v->ev.type == EV_VIP && t->v->ev.up && !t->v->ev.ok) {
		fail(t, REASON_ADDRESS);
		return;
	}
	for (unsigned i = 0; i < p->conf->nvips; i++)
		all = all && p->vip_up[i];
	if (all)
		active_begin(t);
}

/* syncd found a newer generation over there and acknowledges nothing any more.  A grant
 * that it refused for this has given us a number which no log has: claiming that one
 * would drive the other node away. */
static bool
newer(struct turn *t)
{
	const struct policy_event *e = &t->v->ev;
	struct policy *p = t->p;

	if (e->type == EV_SYNCD && e->msg == AL_REFUSED && e->no != AL_PROMOTE)
		p->gen = t->v->data.gen;
	if (e->type != EV_SYNCD || e->msg != AL_NEWER)
		return false;
	if (e->gen.no > p->marks.fixed)
		p->marks.fixed = e->gen.no;
	demote_begin(t, DEMOTE_URGENT, false, REASON_NEWER);
	return true;
}

void
promote_turn(struct turn *t)
{
	struct policy *p = t->p;
	enum promote_step s;

	if (active_must_leave(t) || newer(t))
		return;
	/* The other node may join before we serve: it will be needed for every answer. */
	if (p->promote > PRO_SYNCD)
		active_join(t);
	/* Or be unable to, and say so: services that need an answer of syncd do not start. */
	if (p->promote > PRO_SYNCD)
		active_alone_marked(t);
	do {
		s = p->promote;
		switch (s) {
		case PRO_SYNCD:
			st_syncd(t);
			break;
		case PRO_RES:
			st_res(t);
			break;
		case PRO_DUPLICATE:
			st_duplicate(t);
			break;
		case PRO_VIP:
			st_vip(t);
			break;
		}
	} while (p->role == ROLE_PROMOTE && p->promote != s);
}
