/* policy_maint.c - maintenance: for a limited time no role changes by itself, nothing is
 * fenced, no resource is restarted or moved.  Operators' commands go on working.
 *
 * Both nodes have it: the one that was asked asks the other, and again when that one
 * comes back without.  It is counted by the monotonic clock; the deadline on the disk is
 * of the wall clock, for a restart, and follows when that clock is set. */
#include <stdio.h>

#include "policy_int.h"

#define WALL_STEP_MS 1000	/* a deviation above this is a clock that was set */

int64_t
policy_maintenance_ms(const struct policy *p, int64_t now_ms)
{
	return p->maint_until_ms > now_ms ? p->maint_until_ms - now_ms : 0;
}

bool
policy_maintained(const struct policy *p, const struct policy_view *v)
{
	return policy_maintenance_ms(p, v->now_ms) > 0
	    || (v->peer.alive && (v->peer.f.flags & FRAME_F_MAINTENANCE) != 0);
}

static void
keep(struct turn *t)
{
	struct policy *p = t->p;
	int64_t left = policy_maintenance_ms(p, t->v->now_ms);

	p->marks.maint_wall_ms = left > 0 ? t->v->wall_ms + left : 0;
	turn_save(t);
}

/* A resource that was stopped meanwhile is looked at before it is called failed, also one
 * whose end is seen and not polled for, and an address that was taken away comes back. */
static void
resume(struct turn *t)
{
	struct policy *p = t->p;

	for (unsigned i = 0; i < p->conf->nres; i++) {
		p->res[i].failures = 0;
		p->res[i].look = true;
		if (p->res[i].state == RES_FAILED && !p->res[i].busy && p->role == ROLE_ACTIVE)
			p->res[i].state = RES_UP;
	}
	if (p->role == ROLE_ACTIVE)
		turn_add(t, ACT_ANNOUNCE);
}

void
maint_set(struct turn *t, int64_t ms)
{
	struct policy *p = t->p;
	bool was = p->marks.maint_wall_ms != 0;

	p->maint_until_ms = ms > 0 ? t->v->now_ms + ms : 0;
	p->marks.maint_ms = ms > 0 ? ms : 0;
	keep(t);
	if (ms > 0)
		turn_note(t, "maintenance for %lld s", (long long)ms / 1000);
	else if (was)
		turn_note(t, "maintenance ends");
	if (was && ms <= 0)
		resume(t);
	turn_add(t, ACT_SEND_NOW);
}

/* What is left of it after a restart.  A clock that lies makes it at most as long as
 * it was meant to be. */
static void
load(struct turn *t)
{
	struct policy *p = t->p;
	int64_t left = p->marks.maint_wall_ms - t->v->wall_ms;

	p->maint_loaded = true;
	if (p->marks.maint_wall_ms == 0)
		return;
	if (left > p->marks.maint_ms)
		left = p->marks.maint_ms;
	if (left > 0)
		p->maint_until_ms = t->v->now_ms + left;
}

void
maint_turn(struct turn *t)
{
	struct policy *p = t->p;
	int64_t off;

	if (!p->maint_loaded)
		load(t);
	if (p->marks.maint_wall_ms == 0)
		return;
	if (p->maint_until_ms <= t->v->now_ms) {
		maint_set(t, 0);
		return;
	}
	off = p->marks.maint_wall_ms - t->v->wall_ms - policy_maintenance_ms(p, t->v->now_ms);
	if (off > WALL_STEP_MS || off < -WALL_STEP_MS)
		keep(t);
	if (t->v->peer.alive && t->v->peer.boot != p->maint_told_boot && p->req_op == OP_NONE
	    && (t->v->peer.f.flags & FRAME_F_MAINTENANCE) == 0)
		op_tell_maintenance(t, policy_maintenance_ms(p, t->v->now_ms), 0);
}
