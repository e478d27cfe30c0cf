/* policy_active.c - what the active node does: gives way to a newer one, gives up
 * when it is isolated or cut off from its clients, answers syncd's wishes.
 *
 * Acknowledging alone is granted on evidence only: the standby's own mark,
 * an operator's word, or the presumption (silence, ping, free addresses).  A node
 * that slept may not presume: the other one may have served and died meanwhile. */
#include <stdio.h>

#include "hook.h"
#include "policy_int.h"

void
active_begin(struct turn *t)
{
	struct policy *p = t->p;

	move_can(t);
	p->alone_no = p->outdate_out = p->newer_no = 0;
	p->isolated_ms = p->syncd_gone_ms = p->data_standby_ms = p->ping_less_ms = -1;
	p->failback_ms = p->slow_ms = p->full_ms = -1;
	p->contest_ms = t->v->now_ms;	/* the addresses were asked for just now */
	p->refused = p->announce = p->log_lost = false;
	p->repromote = false;
	res_begin(t);
	turn_alarm(t, ALARM_RES_FAILED, false, "");
	turn_alarm(t, ALARM_NO_LEADER, false, "");
	turn_alarm(t, ALARM_ALONE, gen_kind_alone((enum gen_kind)p->gen.kind) && p->conf->syncd,
	    "one copy only");
	switch_made(t);
	turn_role(t, ROLE_ACTIVE, "services run");
	/* A planned switchover that came back to us has failed. */
	if (p->op.op == OP_SWITCHOVER || p->op.op == OP_STANDBY)
		turn_op_done(t, 17, "the other node could not take over; this one serves again",
		    "hactl status");
	else
		turn_op_done(t, 0, "this node is active", "");
	/* The number is on the disk since the beginning; where the generation starts in the
	 * log, and the line of history, are written when clients are served again. */
	turn_save(t);
}

/* The other node will not take over: it said so before it fell silent. */
static bool
both_maintained(const struct turn *t)
{
	return policy_maintenance_ms(t->p, t->v->now_ms) > 0 && t->v->peer.have
	    && (t->v->peer.f.flags & FRAME_F_MAINTENANCE) != 0;
}

/* When somebody was last heard, at the latest: both have been silent for so long that it is
 * known.  Before this process ran, or while it slept, nobody listened. */
static int64_t
last_sign(const struct turn *t)
{
	const struct policy *p = t->p;
	int64_t at = t->v->now_ms - p->conf->known_ms;

	if (at < p->start_ms)
		at = p->start_ms;
	return at < p->awake_ms ? p->awake_ms : at;
}

bool
active_must_leave(struct turn *t)
{
	struct policy *p = t->p;
	const struct policy_view *v = t->v;
	bool cut;

	if (policy_outranked(p, v)) {
		demote_begin(t, DEMOTE_URGENT, false, REASON_NEWER);
		return true;
	}
	if (policy_peer_serves(v) && v->peer.f.role == ROLE_ACTIVE && !p->alarm[ALARM_SPLIT])
		contest_soon(t);
	turn_alarm(t, ALARM_SPLIT, policy_peer_serves(v) && v->peer.f.role == ROLE_ACTIVE,
	    "both nodes are active; the other one has to give way");
	if (proof_quorum_lost(p, v, 0) && !both_maintained(t)) {
		turn_alarm(t, ALARM_ISOLATED, true, "no quorum and no peer");
		demote_begin(t, DEMOTE_URGENT, true, REASON_NO_QUORUM);
		return true;
	}
	cut = p->conf->pings && v->peer.silent && !v->ping_ok && !both_maintained(t)
	    && !p->peer_is_off;
	if (!cut)
		p->isolated_ms = -1;
	else if (p->isolated_ms < 0)
		p->isolated_ms = last_sign(t);
	if (!cut || v->now_ms - p->isolated_ms < p->conf->isolated_ms)
		return false;
	turn_alarm(t, ALARM_ISOLATED, true, "no peer and no ping target");
	demote_begin(t, DEMOTE_URGENT, true, REASON_ISOLATED);
	return true;
}

void
active_join(struct turn *t)
{
	const struct policy_event *e = &t->v->ev;
	struct policy *p = t->p;

	if (e->type != EV_SYNCD || e->msg != AL_JOIN_WANTED || e->no != t->v->data.gen.no)
		return;
	p->gen = turn_gen(t, GEN_JOIN);
	p->alone_no = 0;
	turn_add(t, ACT_SYNCD_GRANT)->gen = p->gen;
}

/* It marked itself, and why it was asked to: what syncd has against it. */
static const char *
outdated_why(const struct policy_view *v)
{
	unsigned t = v->data.trouble;

	return (t & DATA_PEER_FULL) != 0 ? "the standby is left out: its log's disk is full"
	    : (t & DATA_PEER_SLOW) != 0 ? "the standby is left out: its log's disk is slow"
	    : (t & DATA_PEER_LAGS) != 0 ? "the standby is left out: it is too far behind"
	    : (t & DATA_PEER_LATE) != 0 ? "the standby is left out: it does not answer in time"
	                                : "the standby marked itself outdated";
}

/* Not what crossed a grant to join: the standby's mark is older than that, and it may be in
 * step by now. */
static void
alone_wanted(struct turn *t)
{
	const struct policy_event *e = &t->v->ev;
	struct policy *p = t->p;

	if (e->no != t->v->data.gen.no || e->no < p->gen.no || p->alone_no != 0)
		return;
	p->alone_no = e->no;
	p->alone_ms = t->v->now_ms;
	p->alone_in_step = t->v->data.mode == DATA_SYNC;
	p->outdate_out = p->gen.no;
	turn_add(t, ACT_SEND_NOW);
}

static void
grant_alone(struct turn *t, enum gen_kind kind, const char *why)
{
	struct policy *p = t->p;

	p->gen = turn_gen(t, kind);
	p->alone_no = p->outdate_out = 0;
	turn_add(t, ACT_SYNCD_GRANT)->gen = p->gen;
	turn_alarm(t, ALARM_ALONE, true, why);
	turn_note(t, "acknowledging alone, gen=%llu kind=%s: %s", (unsigned long long)p->gen.no,
	    gen_kind_name(kind), why);
}

void
active_alone_marked(struct turn *t)
{
	const struct policy_event *e = &t->v->ev;
	struct policy *p = t->p;

	if (e->type == EV_SYNCD && e->msg == AL_ALONE_WANTED)
		alone_wanted(t);
	if (p->alone_no != 0 && p->peer_outdated >= p->alone_no && proof_quorate(p, t->v))
		grant_alone(t, GEN_SOLO, outdated_why(t->v));
}

static bool
alone_proved(struct turn *t, const char **why)
{
	const struct policy_view *v = t->v;
	struct policy *p = t->p;

	if (hook_on("solo-without-evidence")) {
		grant_alone(t, GEN_SOLO, "planned mistake");
		return true;
	}
	if (p->peer_is_off && v->peer.silent && !p->slept) {
		grant_alone(t, p->accept_loss ? GEN_FORCED : GEN_SOLO,
		    "an operator said that the other node is off");
		return true;
	}
	*why = "a quorum is required and this node has none";
	if (!proof_quorate(p, v))
		return false;
	if (p->peer_outdated >= p->alone_no) {
		grant_alone(t, GEN_SOLO, outdated_why(v));
		return true;
	}
	*why = "nothing proves that the other node is down";
	if (!policy_silent(p, v) || p->slept)
		return false;
	switch (proof_of_silence(p, v, why)) {
	case PROOF_FENCE:
		grant_alone(t, GEN_SOLO, "the other node is verified off");
		return true;
	case PROOF_QUORUM:
		grant_alone(t, GEN_SOLO, "the other node is silent and without quorum");
		return true;
	case PROOF_SILENCE:
		grant_alone(t, GEN_PRESUMED, "the other node is silent on every link");
		return true;
	default:
		return false;
	}
}

/* Asked for while in step, when nobody waited.  Now the standby is out and syncd holds the
 * answers back: the time for evidence begins anew, once. */
static void
alone_out_of_step(struct turn *t)
{
	struct policy *p = t->p;

	if (!p->alone_in_step || t->v->data.mode == DATA_SYNC)
		return;
	p->alone_in_step = false;
	p->alone_ms = t->v->now_ms;
}

/* syncd waits for an answer while the evidence is looked for. */
static void
alone_turn(struct turn *t)
{
	struct policy *p = t->p;
	const struct policy_view *v = t->v;
	const char *why = "";
	struct policy_action *a;

	alone_out_of_step(t);
	if (p->alone_no == 0 || alone_proved(t, &why))
		return;
	if (!p->slept && policy_silent(p, v)) {
		proof_fence(t);
		if (p->conf->mode == POLICY_SERIAL_PING && p->conf->pings && v->ping_ok)
			turn_probe_due(t, true);
	}
	if (v->now_ms - p->alone_ms < p->conf->evidence_ms)
		return;
	/* In step still: nobody waits, and there is no need to go without a proof. */
	if (v->data.rule == COMMIT_AVAILABLE && v->data.mode != DATA_SYNC && proof_quorate(p, v)) {
		grant_alone(t, GEN_UNSAFE, "commit = available, without any proof");
		return;
	}
	a = turn_add(t, ACT_SYNCD_DENY);
	a->no = p->alone_no;
	snprintf(a->text, sizeof(a->text), "%s", why);
	p->alone_no = 0;
}

/* syncd is standby although we are active: it was restarted.  It serves again only
 * under a new generation; of the same sort as before, because what was true of the
 * other node then is true now.  Unless the standby was granted to join since: its disk
 * may have that record when ours lost it. */
static void
repromote(struct turn *t)
{
	struct policy *p = t->p;
	enum gen_kind kind = (enum gen_kind)t->v->data.gen.kind;

	if (!gen_kind_alone(kind) || !gen_kind_alone((enum gen_kind)p->gen.kind)
	    || t->v->data.gen.node != p->conf->node)
		kind = GEN_CLEAN;
	else if (kind != GEN_PRESUMED && kind != GEN_UNSAFE)
		kind = GEN_SOLO;
	p->gen = turn_gen(t, kind);
	p->newer_no = 0;
	p->repromote = true;
	p->alone_no = 0;
	p->step_ms = t->v->now_ms;
	turn_add(t, ACT_SYNCD_PROMOTE)->gen = p->gen;
	turn_note(t, "syncd is promoted again, gen=%llu", (unsigned long long)p->gen.no);
}

/* Who slept may have been replaced by a node that acknowledged alone, and that went
 * on to a generation which needs both: its frames tell. */
static bool
replaced(const struct turn *t, uint64_t no)
{
	const struct peer_view *peer = &t->v->peer;

	if (peer->alive && peer->f.gen >= no)
		return policy_peer_alone(t->v) > policy_alone(t->p, t->v);
	return t->p->slept;
}

/* The other node's log has a newer generation.  One that needs both copies was never
 * acknowledged in: it fell over, or its node hung, before we heard its number.  Else
 * its data counts, not ours. */
static void
newer(struct turn *t, uint64_t no, enum gen_kind kind)
{
	struct policy *p = t->p;

	if (no > p->marks.fixed)
		p->marks.fixed = no;
	if (gen_kind_alone(kind) || policy_outranked(p, t->v) || replaced(t, no))
		demote_begin(t, DEMOTE_URGENT, false, REASON_NEWER);
	else if (!p->repromote)
		repromote(t);
}

static void
syncd_event(struct turn *t)
{
	struct policy *p = t->p;
	const struct policy_event *e = &t->v->ev;

	switch (e->msg) {
	case AL_PROMOTED:
		p->repromote = p->repromote && e->gen.no != p->gen.no;
		p->data_standby_ms = -1;
		break;
	case AL_ALONE_WANTED:
		alone_wanted(t);
		break;
	case AL_REFUSED:
		if (e->no == AL_PROMOTE) {
			p->refused = true;
			demote_begin(t, DEMOTE_URGENT, true, REASON_REFUSED);
		} else {
			p->gen = t->v->data.gen;
		}
		break;
	case AL_NEWER:
		newer(t, e->gen.no, (enum gen_kind)e->gen.kind);
		break;
	default:
		active_join(t);
		break;
	}
}

/* A grant whose number could not be saved, or that syncd never got, is none. */
static void
follow_log(struct turn *t)
{
	struct policy *p = t->p;
	const struct policy_view *v = t->v;

	if (v->syncd_up && v->data.role == DATA_ACTIVE && !p->repromote
	    && v->data.gen.no != p->gen.no && v->now_ms - p->saved_ms > p->conf->retry_ms)
		p->gen = v->data.gen;
}

/* True: the role goes to the other node.  A syncd that lost its log comes back refusing. */
static bool
without_syncd(struct turn *t)
{
	const struct policy_view *v = t->v;
	struct policy *p = t->p;

	if (v->syncd_up) {
		p->log_lost = p->log_lost && p->syncd_gone_ms < 0;
		p->syncd_gone_ms = -1;
		turn_alarm(t, ALARM_SYNCD, false, "");
		return false;
	}
	if (p->syncd_gone_ms < 0) {
		p->syncd_gone_ms = v->now_ms;
		p->repromote = false;
		p->alone_no = 0;
		turn_alarm(t, ALARM_SYNCD, true, "syncd is gone");
	}
	return (p->log_lost || v->now_ms - p->syncd_gone_ms > p->conf->syncd_wait_ms)
	    && policy_peer_ready(v) && move_failed(t, REASON_SYNCD);
}

static void
syncd_turn(struct turn *t)
{
	struct policy *p = t->p;
	const struct policy_view *v = t->v;

	follow_log(t);
	if (without_syncd(t))
		return;
	if (!v->syncd_up || v->data.role == DATA_ACTIVE || p->repromote)
		p->data_standby_ms = -1;
	else if (p->data_standby_ms < 0)
		p->data_standby_ms = v->now_ms;
	else if (v->now_ms - p->data_standby_ms > 500 && !p->slept)
		repromote(t);
	/* The same from the frames: a NEWER that syncd told may have met no agent. */
	if (v->peer.alive && (v->peer.f.flags & FRAME_F_SYNCD) != 0 && v->peer.f.gen > p->gen.no)
		newer(t, v->peer.f.gen, (enum gen_kind)v->peer.f.gen_kind);
	if (p->repromote && v->now_ms - p->step_ms > 3 * p->conf->syncd_wait_ms)
		p->repromote = false;
	/* Not while a grant to go on alone is on its way, nor while the standby, which answers
	 * still, is asked to go. */
	if (!v->syncd_up || v->data.mode != DATA_SYNC || v->data.gen.no != p->gen.no)
		return;
	if (p->alone_no == 0 || (v->data.trouble & DATA_PEER_TROUBLE) == 0)
		p->outdate_out = 0;
	turn_alarm(t, ALARM_ALONE, false, "");
}

/* After a restart of the agent: they go up once more, and one cannot. */
static void
address_failed(struct turn *t)
{
	move_cannot(t);
	demote_begin(t, DEMOTE_MOVE, true, REASON_ADDRESS);
}

/* Everything that was asked for since the agent began runs. */
static bool
all_serve(const struct policy *p)
{
	for (unsigned i = 0; i < p->conf->nres; i++) {
		const struct policy_res *r = &p->res[i];

		if (r->state != RES_UP || r->look || r->asking || r->busy)
			return false;
	}
	for (unsigned i = 0; i < p->conf->nvips; i++)
		if (!p->vip_up[i] || p->vip_busy[i])
			return false;
	return true;
}

/* The agent before this one was giving the role away, because something did not run here,
 * and had not come far: go on with that when the other node is ready.  Nobody would serve
 * without it: then this node does, and when all runs for so long that the other one would
 * have been heard, it can. */
static void
gave_up_turn(struct turn *t)
{
	struct policy *p = t->p;

	if (!p->start_failed)
		return;
	if (policy_peer_ready(t->v)) {
		(void)move_failed(t, REASON_RESOURCE);
	} else if (t->v->now_ms - p->since_ms >= p->conf->initdead_ms && all_serve(p)) {
		move_can(t);
		turn_alarm(t, ALARM_RES_FAILED, false, "");
	}
}

void
active_turn(struct turn *t)
{
	const struct policy_event *e = &t->v->ev;

	if (active_must_leave(t))
		return;
	turn_alarm(t, ALARM_ISOLATED, false, "");
	if (e->type == EV_SYNCD)
		syncd_event(t);
	else if (e->type == EV_RES)
		res_event(t);
	else if (e->type == EV_VIP && e->up && !e->ok)
		address_failed(t);
	if (t->p->role == ROLE_ACTIVE)
		gave_up_turn(t);
	if (t->p->role == ROLE_ACTIVE && t->p->conf->syncd)
		syncd_turn(t);
	if (t->p->role == ROLE_ACTIVE)
		alone_turn(t);
	if (t->p->role == ROLE_ACTIVE)
		contest_turn(t);
	if (t->p->role == ROLE_ACTIVE)
		move_turn(t);
	if (t->p->role == ROLE_ACTIVE)
		res_turn(t);
}
