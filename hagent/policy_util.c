/* policy_util.c - the small words in which the policy is written: actions, alarms,
 * new generations, and the questions that several roles ask of the view. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "hook.h"
#include "policy_int.h"

#define FORCED_LEAP 1000	/* generations that the other node made unheard, at most */

const char *
ha_role_name(enum ha_role r)
{
	static const char *const names[] = { "boot", "wait", "target", "standby", "promote",
		"active", "demote" };

	return (unsigned)r < sizeof(names) / sizeof(names[0]) ? names[r] : "unknown";
}

const char *
policy_act_name(enum policy_act a)
{
	static const char *const names[] = { "save", "syncd-promote", "syncd-demote",
		"syncd-grant", "syncd-deny", "syncd-outdate", "res-start", "res-stop",
		"res-status", "res-drain", "group", "vip-up", "vip-down", "probe", "announce",
		"send-now", "alarm", "note", "history", "op-done", "exit", "fence",
		"self-fence" };

	return (unsigned)a < sizeof(names) / sizeof(names[0]) ? names[a] : "unknown";
}

/* A number that is not durable must not reach a log, nor the other node. */
bool
policy_act_needs_save(enum policy_act a)
{
	return a == ACT_SYNCD_PROMOTE || a == ACT_SYNCD_GRANT || a == ACT_SEND_NOW;
}

const char *
policy_alarm_name(enum policy_alarm a)
{
	static const char *const names[] = { "isolated", "contested", "stop-failed",
		"resource-failed", "syncd", "alone", "split", "no-leader", "config", "refused",
		"links", "fence", "quorum", "flapping", "disk",
		"mute" };

	return (unsigned)a < sizeof(names) / sizeof(names[0]) ? names[a] : "unknown";
}

const char *
policy_op_name(enum policy_op op)
{
	static const char *const names[] = { "nothing", "switchover", "failover", "standby",
		"online", "cleanup", "the end of hagentd", "resource start", "resource stop",
		"resource restart", "maintenance" };

	return (unsigned)op < sizeof(names) / sizeof(names[0]) ? names[op] : "unknown";
}

const char *
policy_changing(const struct policy *p)
{
	return p->role == ROLE_PROMOTE ? "this node is changing its role: it becomes active"
	    : p->role == ROLE_DEMOTE ? "this node is changing its role: it stops being active"
	    : p->role == ROLE_BOOT ? "this node has just started: what runs here is not known yet"
	                           : "";
}

const char *
policy_res_state_name(enum policy_res_state s)
{
	static const char *const names[] = { "unknown", "down", "starting", "up", "stopping",
		"failed" };

	return (unsigned)s < sizeof(names) / sizeof(names[0]) ? names[s] : "unknown";
}

/* A full list would lose an action.  The limit is twice what the worst step needs
 * with the largest configuration. */
struct policy_action *
turn_add(struct turn *t, enum policy_act act)
{
	struct policy_action *a = &t->out->a[t->out->n];

	assert(t->out->n < POLICY_ACTIONS_MAX);
	t->out->n++;
	memset(a, 0, sizeof(*a));
	a->act = act;
	return a;
}

void
turn_note(struct turn *t, const char *fmt, ...)
{
	struct policy_action *a = turn_add(t, ACT_NOTE);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->text, sizeof(a->text), fmt, ap);
	va_end(ap);
}

void
turn_alarm(struct turn *t, enum policy_alarm alarm, bool on, const char *text)
{
	struct policy_action *a;

	if (t->p->alarm[alarm] == on)
		return;
	t->p->alarm[alarm] = on;
	a = turn_add(t, ACT_ALARM);
	a->alarm = alarm;
	a->on = on;
	snprintf(a->text, sizeof(a->text), "%s", text);
}

void
turn_role(struct turn *t, enum ha_role role, const char *why)
{
	if (t->p->role == role)
		return;
	turn_note(t, "role %s -> %s: %s", ha_role_name(t->p->role), ha_role_name(role), why);
	t->p->role = role;
	t->p->since_ms = t->p->step_ms = t->v->now_ms;
	turn_add(t, ACT_SEND_NOW);
}

void
turn_save(struct turn *t)
{
	turn_add(t, ACT_SAVE)->no = ++t->p->save_no;
	t->p->saved_ms = t->v->now_ms;
}

bool
turn_saved(const struct turn *t)
{
	return t->v->saved >= t->p->save_no;
}

static uint64_t
max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* The highest number heard of is a forced one of this node's: nothing came in between. */
static bool
forced_here(const struct policy *p, uint64_t above)
{
	const struct gen *g = state_newest(&p->marks);

	return g != NULL && g->kind == GEN_FORCED && g->node == p->conf->node && g->no == above;
}

/* Above every number that this node ever heard of, so that order of numbers is
 * order of time wherever the nodes could speak.  An operator forces what could not speak:
 * his choice is above whatever the other node may have made meanwhile, too. */
struct gen
turn_gen(struct turn *t, enum gen_kind kind)
{
	struct policy *p = t->p;
	uint64_t above = max64(p->marks.fixed, p->newer_no);
	struct gen g;

	if (t->v->peer.have)
		above = max64(above, max64(t->v->peer.f.fixed, t->v->peer.f.gen));
	if (t->v->syncd_up)
		above = max64(above, t->v->data.gen.no);
	if (kind == GEN_FORCED && !forced_here(p, above))
		above += FORCED_LEAP;
	memset(&g, 0, sizeof(g));
	g.no = gen_next_no(above, p->conf->node);
	memcpy(g.id, t->v->random, sizeof(g.id));
	g.kind = (uint8_t)kind;
	g.node = p->conf->node;
	g.insync = (uint8_t)(gen_kind_alone(kind) ? 1u << p->conf->node : 3u);
	g.wall_ms = t->v->wall_ms;
	state_add_gen(&p->marks, &g);
	p->marks.fixed = max64(p->marks.fixed, g.no);
	if (!hook_on("number-not-durable"))
		turn_save(t);
	return g;
}

void
turn_probe(struct turn *t, bool peer_too, bool peer_only)
{
	struct policy_action *a;

	if (t->p->probe_out)
		return;
	a = turn_add(t, ACT_PROBE);
	a->no = ++t->p->probe_no;
	a->on = peer_too;
	a->index = peer_only;
	t->p->probe_out = true;
	t->p->probe_vips = !peer_only;
	t->p->probe_peer = peer_too;
	t->p->probe_ms = t->v->now_ms;
	t->p->probe = PROBE_UNKNOWN;
}

/* While evidence is looked for: the last one did not ask for the peer's own addresses,
 * or is getting old. */
void
turn_probe_due(struct turn *t, bool peer_only)
{
	const struct policy *p = t->p;

	if (!p->probe_peer || t->v->now_ms - p->probe_ms > p->conf->probe_fresh_ms / 2)
		turn_probe(t, true, peer_only);
}

/* Addresses that nobody answers for, the other node's own among them, asked after the
 * silence began. */
bool
policy_probe_clear(const struct policy *p, const struct policy_view *v)
{
	int64_t age = v->now_ms - p->probe_ms;

	return !p->probe_out && p->probe == PROBE_CLEAR && age <= p->conf->probe_fresh_ms
	    && age <= v->peer.silent_ms && p->probe_peer;
}

/* Every channel is silent: also the one between the two syncds, which may speak less often
 * than the links do.  A node that was
 * paused itself has not listened, and begins to count anew. */
bool
policy_silent(const struct policy *p, const struct policy_view *v)
{
	int64_t often = 2 * (int64_t)v->data.peer_every_ms;
	bool data_heard = v->syncd_up && v->data.peer_connected && v->data.peer_heard_ms >= 0
	    && v->data.peer_heard_ms <= (often > p->conf->dead_ms ? often : p->conf->dead_ms);

	return v->peer.silent && !data_heard && v->now_ms - p->awake_ms > p->conf->dead_ms;
}

void
turn_answer(struct turn *t, uint32_t id, int code, const char *text, const char *hint)
{
	struct policy_action *a = turn_add(t, ACT_OP_DONE);

	a->id = id;
	a->code = code;
	snprintf(a->text, sizeof(a->text), "%s", text);
	snprintf(a->hint, sizeof(a->hint), "%s", hint);
}

/* The operation under way ends: the operator here or on the peer hears of it. */
void
turn_op_done(struct turn *t, int code, const char *text, const char *hint)
{
	struct policy *p = t->p;

	if (p->op.op == OP_NONE)
		return;
	if (p->op.remote) {
		p->ans_id = p->op.id;
		p->ans_code = code;
		turn_add(t, ACT_SEND_NOW);
		turn_note(t, "request of the peer: %s", text);
	} else {
		turn_answer(t, p->op.id, code, text, hint);
	}
	p->op.op = OP_NONE;
}

struct gen
policy_newest(const struct policy *p, const struct policy_view *v)
{
	const struct gen *g;

	if (p->conf->syncd)
		return v->data.gen;
	g = state_newest(&p->marks);
	return g != NULL ? *g : (struct gen) { .no = 0 };
}

bool
policy_peer_serves(const struct policy_view *v)
{
	return v->peer.alive && (v->peer.f.role == ROLE_ACTIVE || v->peer.f.role == ROLE_PROMOTE);
}

/* Two nodes serve, and both know this comparison: which one goes?  Numbers carry the node
 * and are never equal.  But a generation that needs both copies holds nothing that the
 * other node has not: its number may be the higher one because its node hung before
 * anybody heard of it, and meanwhile the other one was acknowledging alone. */
bool
policy_outranked(const struct policy *p, const struct policy_view *v)
{
	bool there = gen_kind_alone((enum gen_kind)v->peer.f.gen_kind);
	bool here = gen_kind_alone((enum gen_kind)p->gen.kind);

	if (!policy_peer_serves(v))
		return false;
	return there != here ? there : v->peer.f.gen > p->gen.no;
}

bool
policy_peer_ready(const struct policy_view *v)
{
	unsigned want = FRAME_F_TAKE | FRAME_F_HEALTHY;

	return v->peer.alive && v->peer.f.role == ROLE_STANDBY && (v->peer.f.flags & want) == want
	    && (v->peer.f.flags & (FRAME_F_KEPT_OUT | FRAME_F_LEAVING)) == 0;
}

bool
policy_idle(const struct policy *p)
{
	return p->role == ROLE_WAIT || p->role == ROLE_TARGET || p->role == ROLE_STANDBY;
}

bool
policy_res_failed(const struct policy *p)
{
	for (unsigned i = 0; i < p->conf->nres; i++)
		if (p->res[i].state == RES_FAILED)
			return true;
	return false;
}

bool
policy_healthy(const struct policy *p)
{
	return !p->start_failed && !p->stuck && !policy_res_failed(p);
}

bool
policy_barred(const struct policy *p)
{
	return p->marks.kept_out || p->leaving || p->unguarded || p->stuck;
}

bool
policy_fit(const struct policy *p)
{
	return policy_healthy(p) && !p->unguarded;
}
