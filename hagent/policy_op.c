/* policy_op.c - what operators ask for: checked first, refused with the rule and the
 * way around it, carried out here or passed to the other node as a request that
 * rides in the frames until it is answered.
 *
 * Exit codes are those of hactl: 0 done, 13 conflict, 14 refused by a safety rule,
 * 15 peer needed, 16 timed out, 17 failed and rolled back, 18 failed half-way. */
#include <stdio.h>

#include "policy_int.h"

static bool
resource_op(enum policy_op op)
{
	return op == OP_RES_START || op == OP_RES_STOP || op == OP_RES_RESTART;
}

/* NULL, or why the other node cannot take over now. */
static const char *
hand_over_check(const struct turn *t)
{
	const struct frame *f = &t->v->peer.f;

	if (!t->v->peer.alive)
		return "the other node is not heard";
	if ((f->flags & FRAME_F_KEPT_OUT) != 0)
		return "the other node is kept out by an operator";
	if ((f->flags & FRAME_F_HEALTHY) == 0)
		return "resources failed on the other node";
	if ((f->flags & FRAME_F_TAKE) == 0)
		return "the other node's data is not in step";
	return policy_peer_ready(t->v) ? NULL : "the other node is not ready";
}

static void
refuse(struct turn *t, const struct policy_event *e, int code, const char *text,
    const char *hint)
{
	turn_answer(t, e->id, code, text, hint);
}

/* What stands in the way, by its name. */
static void
refuse_busy(struct turn *t, const struct policy_event *e, const char *what, enum policy_op op,
    int64_t since_ms)
{
	char text[POLICY_TEXT];

	snprintf(text, sizeof(text), "%s is under way for %lld s: %s", what,
	    (long long)(t->v->now_ms - since_ms) / 1000, policy_op_name(op));
	refuse(t, e, 13, text, "hactl status -w");
}

static void
refuse_request(struct turn *t, const struct policy_event *e)
{
	refuse_busy(t, e, "another request to the other node", t->p->req_op, t->p->req_ms);
}

static void
refuse_changing(struct turn *t, const struct policy_event *e)
{
	refuse(t, e, 13, policy_changing(t->p), "hactl status -w");
}

static void
begin(struct turn *t, const struct policy_event *e, bool remote)
{
	t->p->op.op = e->op;
	t->p->op.id = e->id;
	t->p->op.remote = remote;
	t->p->op.start_ms = t->v->now_ms;
}

static void
hand_over(struct turn *t, const struct policy_event *e, enum policy_reason reason)
{
	const char *no = hand_over_check(t);

	if (no != NULL) {
		refuse(t, e, t->v->peer.alive ? 14 : 15, no, "hactl status");
		return;
	}
	if (e->dry_run) {
		refuse(t, e, 0, "the other node is ready to take over", "");
		return;
	}
	begin(t, e, false);
	if (e->op == OP_STANDBY) {
		t->p->marks.kept_out = true;
		turn_save(t);
	}
	demote_begin(t, DEMOTE_PLANNED, true, reason);
}

static void
forward(struct turn *t, const struct policy_event *e)
{
	struct policy *p = t->p;

	if (!t->v->peer.alive) {
		refuse(t, e, 15, "the other node is not heard", "hactl links");
	} else if (p->req_op != OP_NONE) {
		refuse_request(t, e);
	} else {
		p->req_op = e->op;
		p->req_id = p->boot << 12 | ((p->req_id + 1) & 0xfff);
		p->req_caller = e->id;
		p->req_ms = t->v->now_ms;
		p->req_arg = e->op == OP_MAINTENANCE ? e->ms : e->index > 0 ? e->index : 0;
		turn_add(t, ACT_SEND_NOW);
	}
}

void
op_tell_maintenance(struct turn *t, int64_t ms, uint32_t caller)
{
	struct policy_event e = { .op = OP_MAINTENANCE, .id = caller, .ms = ms };

	t->p->maint_told_boot = t->v->peer.boot;
	forward(t, &e);
}

static void
op_maintenance(struct turn *t, const struct policy_event *e)
{
	bool on = e->ms > 0;

	if (e->dry_run) {
		refuse(t, e, 0, on ? "both nodes would be in maintenance"
		    : "maintenance would end on both nodes", "");
	} else if (t->v->peer.alive && t->p->req_op != OP_NONE) {
		refuse_request(t, e);
	} else {
		maint_set(t, e->ms);
		if (t->v->peer.alive)
			op_tell_maintenance(t, e->ms, e->id);
		else
			refuse(t, e, 0, on ? "in maintenance; the other node is not heard, and is "
			    "told when it is back" : "maintenance ends here; the other node is not "
			    "heard", "");
	}
}

static void
op_switchover(struct turn *t, const struct policy_event *e)
{
	struct policy *p = t->p;
	bool me = e->op_node == p->conf->node;

	if (p->role == ROLE_ACTIVE) {
		if (me)
			refuse(t, e, 13, "this node is active already", "");
		else
			hand_over(t, e, REASON_PLANNED);
	} else if (policy_peer_serves(t->v) && !me) {
		refuse(t, e, 13, "the other node is active already", "");
	} else if (!policy_peer_serves(t->v)) {
		refuse(t, e, 15, "no node is active that could hand over", "hactl failover");
	} else if (!policy_complete(p, t->v) || p->marks.kept_out || !policy_fit(p)) {
		refuse(t, e, 14, "this node could not take over: kept out, failed, unguarded or not in step",
		    "hactl status");
	} else if (e->dry_run) {
		refuse(t, e, 0, "this node is ready to take over", "");
	} else {
		forward(t, e);
	}
}

/* Nothing but the proof is missing. */
static bool
could_promote(const struct turn *t)
{
	const struct policy *p = t->p;

	return policy_idle(p) && policy_complete(p, t->v) && !policy_barred(p);
}

/* The search for evidence begins now, so that to repeat it is a useful hint. */
static void
refuse_unproven(struct turn *t, const struct policy_event *e)
{
	char text[POLICY_TEXT], hint[POLICY_TEXT];
	const char *why = policy_unproven(t->p, t->v, text, sizeof(text));
	int64_t lease_ms = policy_lease_ms(t->p, t->v);

	if (!t->v->peer.silent) {
		refuse(t, e, 14, why, "hactl switchover");
		return;
	}
	turn_probe(t, true, false);
	if (!e->dry_run && could_promote(t) && proof_fence_again(t))
		why = "the fence device did not confirm that the other node is off; it is "
		    "asked again now";
	if (lease_ms > 0)
		snprintf(hint, sizeof(hint), "wait %lld s and repeat, or switch the other node off "
		    "and run: hactl failover --peer-is-off", (long long)(lease_ms + 999) / 1000);
	else
		snprintf(hint, sizeof(hint), "hactl failover --peer-is-off  # when the other node is "
		    "switched off");
	refuse(t, e, 14, why, hint);
}

/* The active node goes on alone by an operator's word.  Who slept does not know whether the
 * other one took over meanwhile, and accepted mail before it was switched off. */
static void
failover_active(struct turn *t, const struct policy_event *e)
{
	struct policy *p = t->p;
	bool off = e->peer_is_off && t->v->peer.silent;
	bool missing = p->conf->syncd && p->slept
	    && !gen_kind_alone((enum gen_kind)t->v->data.gen.kind);

	if (off && missing && !e->accept_loss) {
		refuse(t, e, 14, "the other node may have served meanwhile: accepted mail may be missing here",
		    "hactl failover --peer-is-off --accept-loss");
		return;
	}
	if (off && !e->dry_run) {
		p->peer_is_off = true;
		p->accept_loss = p->accept_loss || missing;
		p->slept = false;	/* nothing is missing, or that was accepted */
	}
	refuse(t, e, e->peer_is_off ? 0 : 13, "this node is active already", "");
}

static void
op_failover(struct turn *t, const struct policy_event *e)
{
	struct policy *p = t->p;
	const char *why = "";
	enum policy_proof proof;

	if (e->op_node != p->conf->node) {
		refuse(t, e, 14, "it is the node that takes over that must decide",
		    "hactl failover  # on the other node");
		return;
	}
	if (p->role == ROLE_ACTIVE) {
		failover_active(t, e);
		return;
	}
	if (e->peer_is_off && t->v->peer.silent && !e->dry_run)
		p->peer_is_off = true;
	proof = policy_evidence(p, t->v, &why);
	if (proof == PROOF_NONE && !(e->peer_is_off && t->v->peer.silent)) {
		refuse_unproven(t, e);
	} else if (!policy_idle(p)) {
		refuse_changing(t, e);
	} else if (p->unguarded) {
		refuse(t, e, 14, "the watchdog of this node is required and not armed",
		    "hactl watchdog test");
	} else if (p->stuck) {
		refuse(t, e, 14, "a resource was found here at the start and does not stop",
		    "hactl resource list");
	} else if (!policy_complete(p, t->v) && !policy_holder(p, t->v)
	    && proof != PROOF_MEETING && !e->accept_loss) {
		refuse(t, e, 14, "accepted mail may be missing on this node",
		    "hactl failover --accept-loss");
	} else if (e->dry_run) {
		refuse(t, e, 0, "this node would take over", "");
	} else {
		begin(t, e, false);
		promote_begin(t, PROOF_OPERATOR, GEN_FORCED, REASON_FAILOVER);
	}
}

static void
op_keep_out(struct turn *t, const struct policy_event *e)
{
	struct policy *p = t->p;

	if (e->op_node != p->conf->node && e->dry_run) {
		refuse(t, e, t->v->peer.alive ? 0 : 15, t->v->peer.alive
		    ? "the other node would be asked" : "the other node is not heard", "");
	} else if (e->op_node != p->conf->node) {
		forward(t, e);
	} else if (e->op == OP_STANDBY && p->role == ROLE_ACTIVE) {
		hand_over(t, e, REASON_KEPT_OUT);
	} else if (!policy_idle(p) && e->op == OP_STANDBY) {
		refuse_changing(t, e);
	} else {
		bool out = e->op == OP_STANDBY;

		if (e->dry_run) {
			refuse(t, e, 0, out ? "would be kept out" : "would be back in the pair", "");
			return;
		}
		p->marks.kept_out = out;
		if (!out) {
			move_can(t);
			p->cannot = 0;
			if (!policy_res_failed(p))
				turn_alarm(t, ALARM_RES_FAILED, false, "");
		}
		turn_save(t);
		turn_add(t, ACT_SEND_NOW);
		refuse(t, e, 0, out ? "kept out" : "back in the pair", "");
	}
}

static void
op_cleanup(struct turn *t, const struct policy_event *e)
{
	struct policy *p = t->p;

	if (p->role == ROLE_BOOT) {
		refuse_changing(t, e);
		return;
	}
	if (e->dry_run) {
		refuse(t, e, 0, "failures would be forgotten", "");
		return;
	}
	for (unsigned i = 0; i < p->conf->nres; i++) {
		struct policy_res *r = &p->res[i];

		if (e->index >= 0 && (unsigned)e->index != i)
			continue;
		r->failures = 0;
		if (r->state == RES_FAILED && !r->busy)
			r->state = policy_idle(p) ? RES_DOWN : RES_UP;
		r->look = true;		/* at once */
	}
	move_can(t);
	if (policy_idle(p))
		p->retry_ms = 0;
	move_forget(t);
	turn_alarm(t, ALARM_RES_FAILED, false, "");
	refuse(t, e, 0, "failures forgotten", "");
}

/* A resource is a number here: the other node means the same one by it only with the same
 * configuration. */
static void
op_resource(struct turn *t, const struct policy_event *e)
{
	if (t->p->role == ROLE_ACTIVE)
		res_op(t, e);
	else if (!policy_peer_serves(t->v))
		refuse(t, e, 15, "no node is active", "hactl status");
	else if (t->v->peer.f.config != t->p->conf->config)
		refuse(t, e, 14, "the two nodes have different configurations",
		    "hactl resource list  # on the active node");
	else if (e->dry_run)
		refuse(t, e, 0, "the active node would be asked", "");
	else
		forward(t, e);
}

/* The daemon ends in order.  A standby marks itself, so that the active need not
 * presume anything; an active hands over, or at least stops. */
static void
op_shutdown(struct turn *t, const struct policy_event *e)
{
	struct policy *p = t->p;

	begin(t, e, false);
	p->leaving = true;
	if (p->role == ROLE_ACTIVE || p->role == ROLE_PROMOTE) {
		demote_begin(t, DEMOTE_PLANNED, true, REASON_SHUTDOWN);
	} else if (policy_idle(p) && policy_peer_serves(t->v)) {
		uint64_t gen = policy_newest(p, t->v).no;

		if (gen > p->marks.outdated)
			p->marks.outdated = gen;
		p->complete = 0;
		turn_save(t);
		p->outdate_save = p->save_no;
		if (p->conf->syncd && t->v->syncd_up)
			turn_add(t, ACT_SYNCD_OUTDATE)->no = gen;
		turn_add(t, ACT_SEND_NOW);
	}
}

/* Only the word counts here: each operation knows what it must check. */
static void
dispatch(struct turn *t, const struct policy_event *e)
{
	if (t->p->op.op != OP_NONE && e->op != OP_SHUTDOWN && !e->dry_run) {
		refuse_busy(t, e, "another operation", t->p->op.op, t->p->op.start_ms);
		return;
	}
	switch (e->op) {
	case OP_SWITCHOVER:
		op_switchover(t, e);
		break;
	case OP_FAILOVER:
		op_failover(t, e);
		break;
	case OP_STANDBY:
	case OP_ONLINE:
		op_keep_out(t, e);
		break;
	case OP_CLEANUP:
		op_cleanup(t, e);
		break;
	case OP_SHUTDOWN:
		op_shutdown(t, e);
		break;
	case OP_RES_START:
	case OP_RES_STOP:
	case OP_RES_RESTART:
		op_resource(t, e);
		break;
	case OP_MAINTENANCE:
		op_maintenance(t, e);
		break;
	case OP_NONE:
		break;
	}
}

void
op_event(struct turn *t)
{
	dispatch(t, &t->v->ev);
}

/* A request of the peer, once: it asks us to hand over, or about ourselves. */
static void
peer_request(struct turn *t)
{
	const struct control *c = peer_control(&t->v->peer, CTRL_REQUEST);
	struct policy_event e = { .type = EV_OP };
	struct policy *p = t->p;
	unsigned first = t->out->n;

	if (c == NULL || c->arg == p->req_seen)
		return;
	p->req_seen = c->arg;
	e.op = (enum policy_op)c->gen;
	e.id = c->arg;
	e.op_node = p->conf->node;
	e.index = c->lsn < p->conf->nres ? (int)c->lsn : -1;
	if (resource_op(e.op) && p->role != ROLE_ACTIVE)
		return;		/* it is not passed on again */
	if (e.op == OP_MAINTENANCE) {
		maint_set(t, c->lsn < POLICY_MAINTENANCE_MAX_MS ? (int64_t)c->lsn
		    : POLICY_MAINTENANCE_MAX_MS);
		p->maint_told_boot = t->v->peer.boot;
		p->ans_id = e.id;
		p->ans_code = 0;
		return;
	}
	if (e.op == OP_SWITCHOVER)
		e.op_node = !p->conf->node;
	else if (e.op != OP_STANDBY && e.op != OP_ONLINE && !resource_op(e.op))
		return;
	dispatch(t, &e);
	/* An immediate answer goes to the peer, not to a local operator. */
	for (unsigned i = first; i < t->out->n; i++) {
		struct policy_action *a = &t->out->a[i];

		if (a->act != ACT_OP_DONE || a->id != e.id)
			continue;
		p->ans_id = e.id;
		p->ans_code = a->code;
		a->act = ACT_SEND_NOW;
	}
	if (p->op.op != OP_NONE && p->op.id == e.id)
		p->op.remote = true;
}

static const char *
answer_text(int code)
{
	return code == 0 ? "done by the other node"
	    : code == 17 ? "the other node tried, and rolled back"
	                 : "refused by the other node";
}

static void
own_request(struct turn *t)
{
	const struct control *c = peer_control(&t->v->peer, CTRL_ANSWER);
	struct policy *p = t->p;
	enum policy_op op = p->req_op;

	if (op == OP_NONE)
		return;
	/* Asked to hand over to us: done when we serve, whoever tells it first. */
	if (op == OP_SWITCHOVER && p->role == ROLE_ACTIVE) {
		p->req_op = OP_NONE;
		turn_answer(t, p->req_caller, 0, "this node is active", "");
	} else if (c != NULL && c->arg == p->req_id) {
		p->req_op = OP_NONE;
		turn_answer(t, p->req_caller, (int)c->gen, answer_text((int)c->gen),
		    c->gen == 0 ? "" : "hactl status");
	} else if (t->v->now_ms - p->req_ms > p->conf->switch_ms) {
		p->req_op = OP_NONE;
		turn_answer(t, p->req_caller, 16, "no answer in time; it may still go on",
		    "hactl status -w");
	}
}

void
op_turn(struct turn *t)
{
	struct policy *p = t->p;

	peer_request(t);
	own_request(t);
	if ((p->op.op == OP_SWITCHOVER || p->op.op == OP_STANDBY) && policy_idle(p)) {
		if (policy_peer_serves(t->v) && t->v->peer.f.role == ROLE_ACTIVE)
			turn_op_done(t, 0, "the other node is active", "");
		else if (t->v->now_ms - p->op.start_ms > p->conf->switch_ms)
			turn_op_done(t, 16, "the other node does not serve yet", "hactl status -w");
	}
	if (p->op.op == OP_FAILOVER && policy_idle(p))
		turn_op_done(t, 17, "this node could not take over", "hactl status");
	if (resource_op(p->op.op) && p->role != ROLE_ACTIVE)
		turn_op_done(t, 18, "this node is not active any more", "hactl status");
	/* Two heartbeats' time for the last words of a standby. */
	if (p->op.op == OP_SHUTDOWN && policy_idle(p)
	    && t->v->now_ms - p->op.start_ms > p->conf->probe_fresh_ms / 4) {
		turn_op_done(t, 0, "left in order", "");
		turn_add(t, ACT_EXIT);
	}
}
