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

/* Not while it may draw clients to old data. */
static void
announce_turn(struct turn *t)
{
	struct policy *p = t->p;

	if (!p->announce || policy_just_woke(p, t->v))
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
