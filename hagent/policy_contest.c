/* policy_contest.c - does another host answer for our service addresses while we serve?
 *
 * Asked each vip_check_ms, and at once when a path came back or both nodes are seen to
 * serve.  Whoever answers is no proof of anything and changes no role: the alarm says
 * so, and our announcement wins the caches of switches and hosts back. */
#include "policy_int.h"

void
announce_soon(struct turn *t)
{
	t->p->announce = true;
}

/* A node that just woke and has not heard the other one since: that one may serve by now.
 * After deadtime it has spoken, or is silent. */
static bool
just_woke(const struct policy *p, const struct policy_view *v)
{
	return p->slept && v->now_ms - p->awake_ms <= p->conf->dead_ms;
}

/* The peer takes over deadtime after the last frame at the earliest, and a step that comes
 * within half of that finds that what the last one said still holds.  So an agent that
 * restarts at once goes on, and one that stood still does not. */
int64_t
policy_answers_until(const struct policy *p, const struct policy_view *v)
{
	bool replaced = (p->slept && !v->answers)
	    || (policy_peer_serves(v) && v->peer.f.gen > p->gen.no);

	if (p->role == ROLE_BOOT || (replaced && !gen_kind_alone(p->gen.kind)))
		return 0;
	return v->now_ms + p->conf->dead_ms / 2;
}

/* Not while it may draw clients to old data. */
static void
announce_turn(struct turn *t)
{
	struct policy *p = t->p;

	if (!p->announce || just_woke(p, t->v))
		return;
	p->announce = false;
	turn_add(t, ACT_ANNOUNCE);
}

void
contest_soon(struct turn *t)
{
	t->p->contest_ms = t->v->now_ms - t->p->conf->vip_check_ms;
}

static void
answered(struct turn *t)
{
	const struct policy_event *e = &t->v->ev;

	if (e->type != EV_PROBE || e->no != t->p->contest_no)
		return;
	if (e->probe == PROBE_TAKEN) {
		turn_alarm(t, ALARM_CONTESTED, true, "another host answers for a service address");
		announce_soon(t);
	} else if (e->probe == PROBE_CLEAR) {
		turn_alarm(t, ALARM_CONTESTED, false, "");
	}
}

void
contest_turn(struct turn *t)
{
	struct policy *p = t->p;

	answered(t);
	announce_turn(t);
	/* Evidence for syncd comes first, and probes share one place. */
	if (p->conf->vip_check_ms == 0 || p->conf->nvips == 0 || p->probe_out || p->alone_no != 0
	    || t->v->now_ms - p->contest_ms < p->conf->vip_check_ms)
		return;
	p->contest_ms = t->v->now_ms;
	turn_probe(t, false, false);
	p->contest_no = p->probe_no;
}
