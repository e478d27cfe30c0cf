/* policy_proof.c - what makes silence a proof: a fence that was verified, a quorum
 * with the end of the other node's watchdog lease, or the presumption.
 *
 * Promises: a fence that failed, timed out or could not tell is no proof, and neither
 * is one that was asked for before the silence began; the fact ends when the other
 * node is heard.  A view of the quorum that still counts the other node as a member
 * proves nothing.  Never asks for a fence while anything of the other node is heard,
 * nor on a node that may itself be the one that is cut off. */
#include <stdio.h>

#include "hook.h"
#include "policy_int.h"

#define LEASE_MARGIN_MS 1000	/* between two clocks' ideas of a second, and a slow reset */

static bool
uses_quorum(const struct policy *p)
{
	return p->conf->quorum_require || p->conf->mode == POLICY_QUORUM;
}

bool
proof_quorate(const struct policy *p, const struct policy_view *v)
{
	return !uses_quorum(p) || v->quorum == QUORUM_HAVE || hook_on("quorum-ignored");
}

/* Has this node been without quorum and without an answer of the peer for isolated-ms and
 * so much more?  The other node may be quorate and count the end of our lease; it began
 * its count after the frame of ours that it answered last, not after its last one came
 * here.  An operator's word that the peer is off outweighs it. */
bool
proof_quorum_lost(const struct policy *p, const struct policy_view *v, int64_t more_ms)
{
	int64_t wait = p->conf->isolated_ms + more_ms;

	return p->unquorate_ms >= 0 && v->now_ms - p->unquorate_ms >= wait
	    && v->now_ms - v->peer.answers_ms >= wait && !p->peer_is_off;
}

/* The peer's last words count: whoever armed no watchdog has no lease that ends. */
static bool
peer_armed(const struct policy *p, const struct policy_view *v)
{
	return v->peer.have && (v->peer.f.flags & FRAME_F_WATCHDOG) != 0 && p->conf->watchdog_ms > 0;
}

/* What one of several counts still needs to be above the lease. */
static int64_t
still(int64_t counted_ms, int64_t lease_ms, int64_t left_ms)
{
	int64_t more = counted_ms > lease_ms ? 0 : lease_ms + 1 - counted_ms;

	return more > left_ms ? more : left_ms;
}

/* How long until its watchdog has certainly fired, when it is armed: 0 now, -1 time alone
 * does not tell.  It is petted for half a time-out after the agent hangs, and fires after a
 * whole one. */
static int64_t
lease_left(const struct policy *p, const struct policy_view *v)
{
	int64_t lease = 2 * p->conf->watchdog_ms + LEASE_MARGIN_MS, left;

	if (hook_on("lease-not-waited"))
		return 0;
	if (p->conf->mode != POLICY_QUORUM)
		return peer_armed(p, v) ? still(v->peer.silent_ms, lease, 0) : 0;
	if (!peer_armed(p, v) || p->quorum_ms < 0 || p->peer_maint_ms == INT64_MAX)
		return -1;
	/* A node that lives without quorum gives up after isolated-ms, and is reset when not
	 * everything has stopped retry-ms later; but not before a maintenance that
	 * both have is over there. */
	lease += p->conf->isolated_ms + p->conf->retry_ms;
	left = still(v->peer.silent_ms, lease, 0);
	left = still(v->now_ms - p->quorum_ms, lease, left);
	return still(v->now_ms - p->peer_maint_ms, lease, left);
}

bool
proof_lease_over(const struct policy *p, const struct policy_view *v)
{
	return lease_left(p, v) == 0;
}

static const char lease_why[] = "the other node's watchdog may not have fired yet";

int64_t
policy_lease_ms(const struct policy *p, const struct policy_view *v)
{
	const char *why = "";

	return policy_evidence(p, v, &why) == PROOF_NONE && why == lease_why ? lease_left(p, v) : 0;
}

const char *
policy_unproven(const struct policy *p, const struct policy_view *v, char *buf, size_t size)
{
	int64_t lease_ms = policy_lease_ms(p, v);
	const char *why = "";

	if (policy_evidence(p, v, &why) != PROOF_NONE || lease_ms <= 0)
		return why;
	snprintf(buf, size, "%s: its lease ends in %lld s", why, (long long)(lease_ms + 999) / 1000);
	return buf;
}

static enum policy_proof
presumption(const struct policy *p, const struct policy_view *v, const char **why)
{
	*why = "no ping target answers: this node may be the one that is cut off";
	if (!p->conf->pings || !v->ping_ok)
		return PROOF_NONE;
	/* The ring notices a dead node later than our links do; until then this quorum is
	 * the one of before, which a node that is cut off has as well. */
	*why = "who gives the quorum still counts the other node as a member";
	if (uses_quorum(p) && v->quorum_peer)
		return PROOF_NONE;
	*why = lease_why;
	if (!proof_lease_over(p, v))
		return PROOF_NONE;
	*why = p->probe == PROBE_TAKEN ? "an address of the other node still answers"
	                               : "the address probe has no result yet";
	return policy_probe_clear(p, v) ? PROOF_SILENCE : PROOF_NONE;
}

static enum policy_proof
quorum(const struct policy *p, const struct policy_view *v, const char **why)
{
	*why = "who gives the quorum still counts the other node as a member";
	if (v->quorum_peer)
		return PROOF_NONE;
	*why = "the other node said that no watchdog is armed there";
	if (!peer_armed(p, v))
		return PROOF_NONE;
	/* How long it goes on without a quorum is in its configuration, not in ours. */
	*why = "the other node's configuration is another one";
	if (v->peer.f.config != p->conf->config)
		return PROOF_NONE;
	*why = v->now_ms < p->peer_maint_ms
	    ? "the other node may be in maintenance, and does not give up by itself"
	    : lease_why;
	return proof_lease_over(p, v) ? PROOF_QUORUM : PROOF_NONE;
}

/* The caller knows that every channel is silent. */
enum policy_proof
proof_of_silence(const struct policy *p, const struct policy_view *v, const char **why)
{
	*why = "a quorum is required and this node has none";
	if (!proof_quorate(p, v))
		return PROOF_NONE;
	/* Whoever is cut off from its clients would give up again at once. */
	*why = "no ping target answers: this node may be the one that is cut off";
	if (p->conf->mode != POLICY_MANUAL && p->conf->pings && !v->ping_ok)
		return PROOF_NONE;
	switch (p->conf->mode) {
	case POLICY_SERIAL_PING:
		return presumption(p, v, why);
	case POLICY_QUORUM:
		return quorum(p, v, why);
	case POLICY_FENCING:
		*why = p->fence.out ? "the other node is being fenced: no answer yet"
		    : p->fence.failed > 0 ? "the fence device did not confirm that the other node is off"
		                          : "the other node is not fenced";
		return p->fence.off ? PROOF_FENCE : PROOF_NONE;
	case POLICY_MANUAL:
		break;
	}
	*why = "the other node is silent, but nothing proves that it is down";
	return PROOF_NONE;
}

/* The delay counts from the first wish: the node with the longer one loses the race
 * when both live and hear nothing of each other. */
void
proof_fence(struct turn *t)
{
	const struct policy_view *v = t->v;
	struct policy *p = t->p;

	if (p->conf->mode != POLICY_FENCING || p->fence.out || p->fence.off
	    || policy_maintained(p, v) || !policy_silent(p, v)
	    || (p->conf->pings && !v->ping_ok) || !proof_quorate(p, v))
		return;
	if (p->fence.wanted_ms < 0)
		p->fence.wanted_ms = v->now_ms;
	if (v->now_ms - p->fence.wanted_ms < p->conf->fence_delay_ms
	    || v->now_ms < p->fence.retry_ms)
		return;
	p->fence.out = true;
	p->fence.asked_ms = v->now_ms;
	turn_add(t, ACT_FENCE)->no = ++p->fence.no;
	turn_note(t, "the other node is silent: fencing it, attempt %u", p->fence.failed + 1);
}

/* An operator waits: what is left of the pause after a failed attempt is not waited for. */
bool
proof_fence_again(struct turn *t)
{
	struct policy *p = t->p;
	int64_t retry_ms = p->fence.retry_ms;

	if (p->fence.failed == 0 || p->fence.out || t->v->now_ms >= retry_ms)
		return false;
	p->fence.retry_ms = t->v->now_ms;
	proof_fence(t);
	if (!p->fence.out)
		p->fence.retry_ms = retry_ms;
	return p->fence.out;
}

static int64_t
back_off(const struct policy *p)
{
	int64_t ms = p->conf->retry_ms;

	for (unsigned i = 1; i < p->fence.failed && ms < p->conf->fence_retry_max_ms; i++)
		ms *= 2;
	return ms < p->conf->fence_retry_max_ms ? ms : p->conf->fence_retry_max_ms;
}

static void
fence_answer(struct turn *t)
{
	const struct policy_event *e = &t->v->ev;
	struct policy *p = t->p;

	if (e->type != EV_FENCE || e->no != p->fence.no || !p->fence.out)
		return;
	p->fence.out = false;
	if (!e->ok && !hook_on("fence-unknown-is-off")) {
		p->fence.failed++;
		p->fence.retry_ms = t->v->now_ms + back_off(p);
		turn_alarm(t, ALARM_FENCE, true,
		    "the other node is silent, and could not be verified off");
	} else if (policy_silent(p, t->v)
	    && t->v->now_ms - t->v->peer.silent_ms <= p->fence.asked_ms) {
		p->fence.off = true;
		p->fence.failed = 0;
		turn_alarm(t, ALARM_FENCE, false, "");
		turn_note(t, "the other node is verified off");
	} else {
		turn_note(t, "the other node was heard while it was fenced: no proof");
	}
}

static void
since(int64_t *ms, bool is, int64_t now_ms)
{
	if (!is)
		*ms = -1;
	else if (*ms < 0)
		*ms = now_ms;
}

/* What the other node said of maintenance, and when ours of the same length is over:
 * an operator may end ours while it does not hear of that. */
static void
note_maintenance(struct turn *t)
{
	const struct policy_view *v = t->v;
	struct policy *p = t->p;

	if (!v->peer.alive)
		return;
	if ((v->peer.f.flags & FRAME_F_MAINTENANCE) == 0)
		p->peer_maint_ms = 0;
	else
		p->peer_maint_ms = p->maint_until_ms > v->now_ms ? p->maint_until_ms : INT64_MAX;
}

/* In mode quorum the node that has it excludes the one that has not: an idle one has to
 * forget that it is in step, before the lease is over that the other one waits for.  Only
 * that one's own word ends it (wake() in policy.c). */
static void
excluded(struct turn *t)
{
	const struct policy_view *v = t->v;
	struct policy *p = t->p;

	if (p->conf->mode != POLICY_QUORUM || !policy_idle(p) || !proof_quorum_lost(p, v, 0))
		return;
	if (!p->slept)
		turn_note(t, "no quorum and no peer: it may acknowledge without this node now");
	p->slept = true;
	p->awake_ms = v->now_ms;
	p->complete = 0;
}

void
proof_turn(struct turn *t)
{
	const struct policy_view *v = t->v;
	struct policy *p = t->p;
	bool lost = uses_quorum(p) && v->quorum != QUORUM_HAVE;

	fence_answer(t);
	note_maintenance(t);
	if (!policy_silent(p, v)) {
		p->fence.off = false;
		p->fence.failed = 0;
		p->fence.wanted_ms = -1;
		p->fence.retry_ms = 0;
		turn_alarm(t, ALARM_FENCE, false, "");
	}
	since(&p->unquorate_ms, lost, v->now_ms);
	since(&p->quorum_ms, v->quorum == QUORUM_HAVE && !v->quorum_peer, v->now_ms);
	excluded(t);
	turn_alarm(t, ALARM_QUORUM, lost && p->role != ROLE_BOOT, "this node has no quorum");
}
