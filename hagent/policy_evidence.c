/* policy_evidence.c - what may be believed: is this node's data complete (P1), and
 * does surely, or very probably, nobody else serve (P2).
 *
 * Promise: silence alone is never a proof; policy_proof.c says what makes it one.
 * "Unknown" (no answer yet, a probe that could not be made) is no.
 *
 * Known limit: when both meet, the longer log leads, also on a node that cannot serve or is
 * kept out, and also when what is longer was never acknowledged (a generation of two copies).
 * The other node waits then, and says why, until that one is mended or switched off. */
#include <stddef.h>

#include "hook.h"
#include "policy_int.h"

static bool
vetoed(const struct policy *p, const struct policy_view *v)
{
	if (hook_on("ignore-outdate"))
		return false;
	if (!p->conf->syncd)
		return p->marks.outdated != 0 && p->marks.outdated >= p->marks.fixed;
	return v->data.outdated != 0 || v->data.mode == DATA_SPLIT
	    || (p->marks.outdated != 0 && p->marks.outdated >= v->data.gen.no);
}

/* P1.  Either syncd's volatile belief, or our own: we were the last active, said
 * RELEASE, and nobody can have acknowledged without us since. */
bool
policy_complete(const struct policy *p, const struct policy_view *v)
{
	if (hook_on("promote-without-belief") && v->syncd_up && v->data.role == DATA_STANDBY)
		return true;
	if (vetoed(p, v) || p->slept)
		return false;
	if (!p->conf->syncd)
		return p->peer_active_boot != 0 || p->complete != 0;
	if (p->alone_heard > v->data.gen.no)
		return false;
	if (!v->syncd_up || v->data.role != DATA_STANDBY)
		return false;
	return v->data.insync != 0 || (p->complete != 0 && p->complete == v->data.gen.no);
}

/* The holder of a generation that only this node could extend: no other node can
 * have acknowledged anything newer, so it may go on alone after a restart.  The
 * holder of a generation of two copies does not know that, and waits. */
bool
policy_holder(const struct policy *p, const struct policy_view *v)
{
	struct gen g = policy_newest(p, v);

	if (g.no == 0 || g.node != p->conf->node || vetoed(p, v))
		return false;
	if (!p->conf->syncd)
		return p->marks.released != g.no;
	return v->syncd_up && v->data.role == DATA_STANDBY
	    && gen_kind_alone((enum gen_kind)g.kind);
}

/* The newest generation of this log in which one node acknowledged by itself.  What
 * was acknowledged since is on both disks, so it says more than the newest number: a
 * generation that needs both, and that the other node never got, holds nothing. */
uint64_t
policy_alone(const struct policy *p, const struct policy_view *v)
{
	const struct state_marks *m = &p->marks;
	uint64_t upto = policy_newest(p, v).no;

	for (unsigned i = m->ngens; p->conf->syncd && i-- > 0;)
		if (m->gens[i].no <= upto && gen_kind_alone((enum gen_kind)m->gens[i].kind))
			return m->gens[i].no;
	return 0;
}

uint64_t
policy_peer_alone(const struct policy_view *v)
{
	const struct control *c = peer_control(&v->peer, CTRL_ALONE);

	return c != NULL ? c->gen : 0;
}

static bool
peer_data_known(const struct policy_view *v)
{
	return (v->peer.f.flags & (FRAME_F_SYNCD | FRAME_F_NO_SYNCD)) != 0
	    && (v->peer.f.flags & FRAME_F_DATA_ACTIVE) == 0;
}

static bool
peer_idle(const struct policy_view *v)
{
	return v->peer.alive
	    && (v->peer.f.role == ROLE_WAIT || v->peer.f.role == ROLE_TARGET
	        || v->peer.f.role == ROLE_STANDBY);
}

/* Both nodes are idle: who has the newest history?  The same comparison on both, so that
 * exactly one says yes. */
static bool
newest_history(const struct policy *p, const struct policy_view *v)
{
	const struct frame *f = &v->peer.f;
	bool outdated = vetoed(p, v), peer_outdated = (f->flags & FRAME_F_OUTDATED) != 0;
	bool ill = !policy_fit(p), peer_ill = (f->flags & FRAME_F_HEALTHY) == 0;
	struct gen g = policy_newest(p, v);

	if (!peer_idle(v) || !peer_data_known(v))
		return false;
	if (p->conf->syncd && (!v->syncd_up || v->data.role != DATA_STANDBY))
		return false;
	/* Our log already holds what the other node made after it sent this frame. */
	if (g.no > f->fixed && g.node != p->conf->node)
		return false;
	/* Whoever asked for the mark served in a generation that is not older, and has
	 * everything; unless its disk was replaced since, and then nobody leads. */
	if (outdated != peer_outdated)
		return !outdated && g.no >= f->gen;
	if (policy_alone(p, v) != policy_peer_alone(v))
		return policy_alone(p, v) > policy_peer_alone(v);
	if (g.no != f->gen)
		return g.no > f->gen;
	if (p->conf->syncd && v->data.durable_lsn != f->durable)
		return v->data.durable_lsn > f->durable;
	/* Equal histories: the rest is taste, but the same taste on both nodes. */
	if (p->marks.kept_out != ((f->flags & FRAME_F_KEPT_OUT) != 0))
		return !p->marks.kept_out;
	if (ill != peer_ill)
		return !ill;
	return p->conf->node == 0;
}

/* Neither is complete.  By an answer to what was said since this node is awake: while it
 * slept, frames waited for it, and the other node may serve by now. */
bool
policy_leads(const struct policy *p, const struct policy_view *v)
{
	return (v->peer.f.flags & FRAME_F_TAKE) == 0 && v->peer.answers_ms >= p->awake_ms
	    && newest_history(p, v);
}

static const char maybe_newer[] = "the other node's data may be newer, or it shall take over "
    "itself";

/* Why this node does not lead. */
static const char *
behind_why(const struct policy_view *v)
{
	if ((v->peer.f.flags & FRAME_F_KEPT_OUT) != 0)
		return "the other node is kept out by an operator and its data may be newer";
	if ((v->peer.f.flags & FRAME_F_HEALTHY) == 0)
		return "the other node cannot serve and its data may be newer: mend it, or "
		    "switch it off";
	return maybe_newer;
}

/* P2 while the peer speaks. */
static enum policy_proof
alive_evidence(const struct policy *p, const struct policy_view *v, const char **why)
{
	const struct control *r = peer_control(&v->peer, CTRL_RELEASE);
	const struct control *d = peer_control(&v->peer, CTRL_DECLINE);
	bool complete = policy_complete(p, v);
	uint32_t then = p->complete != 0 ? p->complete_boot : p->peer_active_boot;
	uint64_t gen = policy_newest(p, v).no;

	*why = "the other node serves";
	if (!peer_idle(v))
		return PROOF_NONE;
	/* Also when its syncd is gone: what was acknowledged in this generation is here. */
	if (complete && r != NULL && (v->peer.f.flags & FRAME_F_DATA_ACTIVE) == 0
	    && (r->gen == gen || hook_on("release-of-any-generation"))
	    && r->gen != p->declined)
		return PROOF_RELEASE;
	*why = maybe_newer;
	if (!peer_data_known(v))
		return PROOF_NONE;
	if (complete && d != NULL && p->complete != 0 && d->gen == p->marks.released)
		return PROOF_RELEASE;
	if (!complete) {
		*why = behind_why(v);
		return policy_leads(p, v) ? PROOF_MEETING : PROOF_NONE;
	}
	/* While we did not say that we may take over, the other one may have begun to serve:
	 * from here on, only by an answer to that word. */
	if (p->take_ms < 0 || v->peer.answers_ms < p->take_ms)
		return PROOF_NONE;
	/* It restarted since it served, or since we handed over to it: what it could have
	 * acknowledged needed us. */
	if (then != 0 && v->peer.boot != then && (v->peer.f.flags & FRAME_F_TAKE) == 0)
		return PROOF_REBOOT;
	/* The other one is idle by its word and cannot take over.  After a while: what
	 * makes it complete may just have been on its way when its frame was sent. */
	if (v->now_ms - p->since_ms <= p->conf->dead_ms)
		return PROOF_NONE;
	if ((v->peer.f.flags & FRAME_F_TAKE) == 0)
		return PROOF_MEETING;
	/* Both are complete, and neither can take what the other released: a generation
	 * that nobody acknowledged in ended before its record came over. */
	return v->peer.f.gen != gen && newest_history(p, v) ? PROOF_MEETING : PROOF_NONE;
}

enum policy_proof
policy_evidence(const struct policy *p, const struct policy_view *v, const char **why)
{
	if (v->peer.alive)
		return alive_evidence(p, v, why);
	*why = "the other node is heard, but does not prove that it hears us";
	if (!policy_silent(p, v))
		return PROOF_NONE;
	if (p->peer_is_off)
		return PROOF_OPERATOR;
	return proof_of_silence(p, v, why);
}
