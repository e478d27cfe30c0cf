/* policy_res.c - the resources of the active node: a failure is mended here while the
 * budget lasts, then on the other node; what an operator stopped stays stopped.
 *
 * The group is one line.  What stands to the right of a resource depends on it: an
 * operator's stop or restart takes those down first, right to left, and starts them
 * again behind it.  A failure restarts only what failed.  A failure is forgotten when
 * the window has passed without another one, each in a window of its own.
 *
 *   died, or status not running ──→ stop ──→ start ──→ up
 *     └── the budget is used up ──→ FAILED: the other node takes the group, or, when it
 *                                   cannot, stop and start again after retry_ms */
#include "policy_int.h"

/* Everything from here on to the right is to be down. */
static unsigned
down_from(const struct policy *p)
{
	unsigned i = 0;

	while (i < p->conf->nres && !p->res[i].held)
		i++;
	return p->cycle >= 0 && (unsigned)p->cycle < i ? (unsigned)p->cycle : i;
}

static void
forget(struct policy_res *r, int64_t now, int64_t window)
{
	while (r->failures > 0 && now - r->failed_ms >= window) {
		r->failures--;
		r->failed_ms += window;
	}
}

static void
ask(struct turn *t, unsigned i, enum policy_act act, enum policy_res_state state)
{
	t->p->res[i].busy = true;
	t->p->res[i].state = state;
	turn_add(t, act)->index = (int)i;
}

static void
restart(struct turn *t, unsigned i)
{
	t->p->res[i].restarting = true;
	ask(t, i, ACT_RES_STOP, RES_STOPPING);
}

static void
failed(struct turn *t, unsigned i)
{
	struct policy *p = t->p;
	struct policy_res *r = &p->res[i];

	r->checked_ms = t->v->now_ms;
	r->died = false;
	/* Whoever works on this node may have stopped it. */
	if (policy_maintained(p, t->v)) {
		r->state = RES_FAILED;
		turn_alarm(t, ALARM_RES_FAILED, true, "a resource does not run, in maintenance");
		return;
	}
	forget(r, t->v->now_ms, p->conf->res[i].window_ms);
	r->failures++;
	r->failed_ms = t->v->now_ms;
	if (r->failures <= p->conf->res[i].restarts || i >= down_from(p)) {
		turn_note(t, "resource %u failed: restart %u", i, r->failures);
		restart(t, i);
		return;
	}
	r->state = RES_FAILED;
	turn_alarm(t, ALARM_RES_FAILED, true, "a resource cannot be kept running here");
	if (policy_peer_ready(t->v))
		(void)move_failed(t, REASON_RESOURCE);
}

/* ---- what the executor says ---------------------------------------------- */

/* In every role.  A result that comes when the role has changed: the state follows it
 * all the same. */
void
res_note(struct turn *t)
{
	const struct policy_event *e = &t->v->ev;
	struct policy_res *r;

	if ((e->type != EV_RES && e->type != EV_DIED) || e->index < 0 ||
	    (unsigned)e->index >= t->p->conf->nres)
		return;
	r = &t->p->res[e->index];
	if (e->type == EV_DIED) {
		r->died = r->state == RES_UP; /* else a stop or start is at it already */
		return;
	}
	if (e->verb == POLICY_STATUS) {
		r->asking = false;
		return;
	}
	if (r->cut && e->verb == POLICY_START)
		return; /* its stop follows */
	r->cut = false;
	r->busy = false; /* in every role: the role may end in this very turn */
	r->died = false; /* of the run before */
	if (t->p->role == ROLE_ACTIVE ||
	    (t->p->role == ROLE_PROMOTE && e->verb == POLICY_START))
		return;
	r->restarting = false;
	if (e->verb == POLICY_STOP && e->result != POLICY_FAILED)
		r->state = RES_DOWN;
	else if (e->verb == POLICY_START)
		r->state =
		    RES_UP; /* also a failed one may have left something: stop it */
}

/* A stop that nobody needed for a restart: an operator's. */
static void
stopped(struct turn *t, unsigned i, enum policy_res_result result)
{
	struct policy *p = t->p;
	struct policy_res *r = &p->res[i];

	if (result != POLICY_FAILED) {
		r->state = RES_DOWN;
		return;
	}
	/* Half stopped, perhaps: the next status tells, and it is mended as a failure. */
	r->state = RES_UP;
	r->look = true;
	res_release(t);
	turn_op_done(t, 18, "a resource does not stop; it is looked after again",
	    "hactl resource list");
}

/* In maintenance a failed one is watched too: nobody else will mend it. */
static bool
asked_about(const struct turn *t, const struct policy_res *r)
{
	return r->state == RES_UP
	    || (r->state == RES_FAILED && policy_maintained(t->p, t->v));
}

void
res_event(struct turn *t)
{
	const struct policy_event *e = &t->v->ev;
	unsigned i = (unsigned)e->index;
	struct policy_res *r;

	if (e->index < 0 || i >= t->p->conf->nres)
		return;
	r = &t->p->res[i];
	/* A status that another verb has overtaken says nothing any more. */
	if (e->verb == POLICY_STATUS && (r->busy || !asked_about(t, r)))
		return;
	r->checked_ms = t->v->now_ms;
	if (e->verb == POLICY_STOP && r->restarting) {
		/* Whether or not it stopped: starting what runs is harmless. */
		r->restarting = false;
		if (i < down_from(t->p))
			ask(t, i, ACT_RES_START, RES_STARTING);
		else
			stopped(t, i, e->result);
	} else if (e->verb == POLICY_STOP) {
		stopped(t, i, e->result);
	} else if (e->verb != POLICY_DRAIN && e->result == POLICY_RUNNING) {
		r->state = RES_UP;
		turn_alarm(t, ALARM_RES_FAILED, !policy_healthy(t->p), "");
	} else if (e->verb != POLICY_DRAIN) {
		failed(t, i);
	}
}

/* ---- the active node's turn ---------------------------------------------- */

static void
look_after(struct turn *t, unsigned i)
{
	struct policy *p = t->p;
	struct policy_res *r = &p->res[i];
	int64_t age = t->v->now_ms - r->checked_ms;
	bool due = r->look ||
	    (p->conf->res[i].monitor_ms > 0 && age >= p->conf->res[i].monitor_ms);

	forget(r, t->v->now_ms, p->conf->res[i].window_ms);
	if (r->busy)
		return;
	if (r->state == RES_UP && r->died) {
		failed(t, i);
	} else if (due && asked_about(t, r) && !r->asking) {
		r->asking = true;
		r->look = false;
		turn_add(t, ACT_RES_STATUS)->index = (int)i;
	} else if (r->state != RES_FAILED || policy_maintained(p, t->v)) {
		return;
	} else if (policy_peer_ready(t->v) && move_failed(t, REASON_RESOURCE)) {
		return;
	} else if (age >= p->conf->retry_ms) {
		restart(t, i);	/* nobody else can take it: go on trying */
	}
}

/* True when everything from `from` on is down. */
static bool
take_down(struct turn *t, unsigned from)
{
	for (unsigned i = t->p->conf->nres; i > from; i--) {
		const struct policy_res *r = &t->p->res[i - 1];

		if (r->state == RES_DOWN)
			continue;
		if (!r->busy)
			ask(t, i - 1, ACT_RES_STOP, RES_STOPPING);
		return false;
	}
	return true;
}

/* True when everything before `to` is up. */
static bool
bring_up(struct turn *t, unsigned to)
{
	for (unsigned i = 0; i < to; i++) {
		const struct policy_res *r = &t->p->res[i];

		if (r->state == RES_UP)
			continue;
		if (r->state == RES_DOWN)
			ask(t, i, ACT_RES_START, RES_STARTING);
		return false;
	}
	return true;
}

static void
follow_operator(struct turn *t)
{
	struct policy *p = t->p;
	bool there = false;

	if (take_down(t, down_from(p))) {
		p->cycle = -1;
		there = bring_up(t, down_from(p));
	}
	if (p->op.op < OP_RES_START || p->op.op > OP_RES_RESTART)
		return;
	if (there)
		turn_op_done(t, 0,
		    p->op.op == OP_RES_STOP ? "stopped, until it is started again"
					    : "started",
		    "");
	else if (policy_res_failed(p))
		turn_op_done(t, 18, "a resource does not start", "hactl resource list");
}

void
res_turn(struct turn *t)
{
	struct policy *p = t->p;
	unsigned to = down_from(p);

	for (unsigned i = 0; i < to && p->role == ROLE_ACTIVE; i++)
		look_after(t, i);
	if (p->role == ROLE_ACTIVE)
		follow_operator(t);
}

/* This node serves now: what runs is up, except what ended since it was started. */
void
res_begin(struct turn *t)
{
	struct policy *p = t->p;

	for (unsigned i = 0; i < p->conf->nres; i++)
		p->res[i] = (struct policy_res){
		    .state = RES_UP, .checked_ms = t->v->now_ms, .died = p->res[i].died};
	p->cycle = -1;
}

/* ---- operators ------------------------------------------------------------ */

void
group_tell(struct turn *t, bool on)
{
	struct policy_action *a = turn_add(t, ACT_GROUP);

	a->on = t->p->group_on = on;
	a->cannot = t->p->start_failed;
	for (unsigned i = 0; i < t->p->conf->nres; i++)
		if (t->p->res[i].held)
			a->no |= 1u << i;
}

void
res_release(struct turn *t)
{
	struct policy *p = t->p;
	bool held = false;

	p->cycle = -1;
	for (unsigned i = 0; i < p->conf->nres; i++) {
		held = held || p->res[i].held;
		p->res[i].held = false;
	}
	if (held)
		group_tell(t, true);
}

/* NULL, or why not. */
static const char *
op_check(const struct policy *p, const struct policy_event *e)
{
	unsigned first = 0;

	if (e->index < 0 || (unsigned)e->index >= p->conf->nres)
		return "no such resource";
	while (first < p->conf->nres && !p->res[first].held)
		first++;
	if (e->op == OP_RES_START && first < (unsigned)e->index)
		return "a resource before it is stopped by an operator";
	if (e->op == OP_RES_RESTART && first <= (unsigned)e->index)
		return "it, or a resource before it, is stopped by an operator";
	return NULL;
}

void
res_op(struct turn *t, const struct policy_event *e)
{
	struct policy *p = t->p;
	const char *why = op_check(p, e);
	struct policy_res *r;

	if (why != NULL || e->dry_run) {
		turn_answer(t, e->id, why != NULL ? 13 : 0,
		    why != NULL ? why : "this node would do it",
		    why != NULL ? "hactl resource list" : "");
		return;
	}
	r = &p->res[e->index];
	if (e->op == OP_RES_RESTART)
		p->cycle = e->index;
	else if (r->held != (e->op == OP_RES_STOP)) {
		r->held = e->op == OP_RES_STOP;
		group_tell(t, true);
	}
	if (e->op == OP_RES_START && r->state == RES_FAILED)
		restart(t, (unsigned)e->index);
	if (e->op != OP_RES_STOP)
		r->failures = 0;
	p->op.op = e->op;
	p->op.id = e->id;
	p->op.remote = false;
	p->op.start_ms = t->v->now_ms;
}
