/* policy_answers.c - until when may the services here tell clients what they know?  The
 * agent passes it on as a lease (lib/lease.h).
 *
 * Who stood still may have been replaced: its word is over then, and the other node's word, or
 * an operator's, has to come first.  Who knows that it was replaced takes its word back. */
#include "hook.h"
#include "policy_int.h"

/* A node that just woke and has not heard the other one since: that one may serve by now.
 * After deadtime it has spoken, or is silent. */
bool
policy_just_woke(const struct policy *p, const struct policy_view *v)
{
	return p->slept && v->now_ms - p->awake_ms <= p->conf->dead_ms;
}

/* What it gives up was another node's already. */
static bool
gave_way(const struct policy *p)
{
	return p->role == ROLE_DEMOTE && (p->reason == REASON_NEWER || p->reason == REASON_STRANGE);
}

/* The peer takes over deadtime after the last frame at the earliest, and a step that comes
 * within half of that finds that what the last one said still holds.  So an agent that
 * restarts at once goes on, and one that stood still does not. */
int64_t
policy_answers_until(const struct policy *p, const struct policy_view *v)
{
	bool alone = gen_kind_alone((enum gen_kind)p->gen.kind) && p->gen.node == p->conf->node;

	if (p->role == ROLE_BOOT)
		return 0;
	if (policy_outranked(p, v) || gave_way(p))
		return POLICY_NO_ANSWERS;
	/* Alone, who has taken over (by an operator's word, or because both presumed) is heard
	 * within deadtime, if it can be heard at all. */
	if (p->slept && !v->answers && (!alone || policy_just_woke(p, v))
	    && !hook_on("answer-after-pause"))
		return 0;
	return v->now_ms + p->conf->dead_ms / 2;
}

/* A short pause, or a restart of the agent, is over before. */
void
answers_turn(struct turn *t)
{
	struct policy *p = t->p;

	if (p->role != ROLE_ACTIVE || t->v->answers)
		p->mute_ms = -1;
	else if (p->mute_ms < 0)
		p->mute_ms = t->v->now_ms;
	/* Where syncd is not, nobody holds the lease. */
	turn_alarm(t, ALARM_MUTE, p->conf->syncd && p->mute_ms >= 0
	    && t->v->now_ms - p->mute_ms > p->conf->dead_ms && policy_answers_until(p, t->v) <= 0,
	    "mail clients are not answered: this node stood still, and the other one, which may have "
	    "taken over, is not heard, or its syncd is not");
}
