/* policy_switch.c - the history of switches, the same on both nodes.
 *
 * The node that becomes active writes the line: it knows why, from where, and how long
 * nobody served.  The line rides in its frames as long as it is active, and the other
 * node writes down what it is told; so a node that was down learns the last switch when
 * it comes back, but none before that.  No decision depends on it.
 *
 * The outage counts from the moment somebody was last heard to serve, or began to stop
 * serving, to the end of "address up".  -1: this node does not know of anybody before. */
#include <stdio.h>
#include <string.h>

#include "policy_int.h"

#define NOBODY 255
#define OUTAGE_UNKNOWN UINT32_MAX

const char *
policy_reason_text(enum policy_reason r)
{
	static const char *const texts[] = {
		[REASON_NONE] = "",
		[REASON_PLANNED] = "planned switchover",
		[REASON_KEPT_OUT] = "kept out by an operator",
		[REASON_SHUTDOWN] = "shut down in order",
		[REASON_PING] = "no ping target answered the active node",
		[REASON_ISOLATED] = "isolated: no peer and no ping target",
		[REASON_RESOURCE] = "a resource could not be kept running",
		[REASON_ADDRESS] = "an address could not be set",
		[REASON_SYNCD] = "syncd was gone",
		[REASON_SAVE] = "the generation could not be made durable",
		[REASON_REFUSED] = "syncd refused the promotion",
		[REASON_TAKEN] = "a service address was in use elsewhere",
		[REASON_START] = "a resource did not start",
		[REASON_NEWER] = "the other node has a newer generation",
		[REASON_STRANGE] = "services ran, but under no generation of this node",
		[REASON_RELEASE] = "the active node released",
		[REASON_REBOOT] = "the active node restarted",
		[REASON_MEETING] = "both met, newest history on the new one",
		[REASON_SILENCE] = "the active node was silent",
		[REASON_HOLDER] = "alone after a restart, and the last that could acknowledge",
		[REASON_OFF] = "an operator said that the other node is off",
		[REASON_FAILOVER] = "failover by an operator",
		[REASON_FENCED] = "the active node was silent, and verified off",
		[REASON_QUORUM] = "the active node was silent, without quorum",
		[REASON_NO_QUORUM] = "no quorum and no peer",
		[REASON_FAILBACK] = "back to the preferred node",
		[REASON_SLOW] = "the log's disk of the active node was slow",
		[REASON_FULL] = "the log's disk of the active node was full",
		[REASON_INDEX] = "an index of the active node was lost",
	};

	return (unsigned)r < REASONS ? texts[r] : "unknown";
}

static void
history(struct turn *t, const struct state_switch *sw)
{
	turn_add(t, ACT_HISTORY)->sw = *sw;
}

static void
describe(struct state_switch *sw, enum policy_reason reason)
{
	sw->planned = reason == REASON_PLANNED || reason == REASON_KEPT_OUT
	    || reason == REASON_SHUTDOWN;
	snprintf(sw->reason, sizeof(sw->reason), "%s", policy_reason_text(reason));
}

void
switch_made(struct turn *t)
{
	struct policy *p = t->p;

	p->told.wall_ms = t->v->wall_ms;
	p->told.from = p->last_active;
	p->told.to = p->conf->node;
	p->told.outage_ms = p->served_ms != 0 ? t->v->now_ms - p->served_ms : -1;
	p->told_reason = p->reason;
	describe(&p->told, p->reason);
	move_made(t);
	p->last_active = p->conf->node;
	history(t, &p->told);
}

/* lsn: wall clock ms << 16 | reason << 8 | kind << 4 | from + 1 */
struct control
switch_control(const struct policy *p)
{
	const struct state_switch *sw = &p->told;
	bool known = sw->outage_ms >= 0 && sw->outage_ms < (int64_t)OUTAGE_UNKNOWN;
	uint64_t from = sw->from == NOBODY ? 0 : sw->from + 1u;

	return (struct control) { .type = CTRL_SWITCH, .gen = sw->gen,
		.arg = known ? (uint32_t)sw->outage_ms : OUTAGE_UNKNOWN,
		.lsn = (uint64_t)sw->wall_ms << 16 | (uint64_t)p->told_reason << 8
		    | (uint64_t)(sw->kind & 15) << 4 | from };
}

void
switch_heard(struct turn *t)
{
	const struct control *c = peer_control(&t->v->peer, CTRL_SWITCH);
	struct policy *p = t->p;
	struct state_switch sw;
	unsigned from;

	if (c == NULL || c->gen <= p->heard_switch)
		return;
	p->heard_switch = c->gen;
	from = c->lsn & 15;
	sw = (struct state_switch) { .gen = c->gen, .wall_ms = (int64_t)(c->lsn >> 16),
		.kind = c->lsn >> 4 & 15, .to = !p->conf->node,
		.from = from == 1 || from == 2 ? (uint8_t)(from - 1) : NOBODY,
		.outage_ms = c->arg == OUTAGE_UNKNOWN ? -1 : (int64_t)c->arg };
	describe(&sw, (enum policy_reason)(c->lsn >> 8 & 255));
	history(t, &sw);
}
