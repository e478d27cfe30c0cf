/* sim_guard.c - what a node may stand on besides silence: a fence device that works,
 * fails, hangs, is late or blind; a third voter with a vote for one side; and a watchdog
 * that resets a node whose agent does not turn.
 *
 * Checked (I15): a device that said "off" has switched off; a promotion by quorum has
 * the quorum.  That the other one cannot serve any more is checked by what it does.
 * And (I16): who starts begins to serve when the other node confirmed that it has nothing
 * newer, or as the holder of its newest generation after a cold start, or when an operator
 * said so: then the generation's kind says it, too. */
#include "sim.h"

#define TOKEN_MS 1000		/* who counts the votes misses somebody after this */
#define FENCE_LIMIT_MS 3000
#define NEVER (-1000000)

void
guard_setup(struct sim *s)
{
	s->holder = -1;
	s->holder_lost = -1;
	for (int n = 0; n < 2; n++) {
		s->n[n].off_ms = NEVER;
		s->n[n].peer_seen = s->n[n].voter_seen = NEVER;
	}
}

/* ---- the watchdog ---- */

void
guard_pet(struct sim *s, int n)
{
	struct node *x = &s->n[n];

	if (!s->plan->watchdog || x->self_fence)
		return;
	x->armed = true;
	x->petted_ms = s->now;
}

/* The executor pets for half a time-out after the agent's last turn. */
static void
bark(struct sim *s, int n)
{
	struct node *x = &s->n[n];

	if (!x->armed || !x->up || s->now - x->petted_ms <= WATCHDOG_MS * 3 / 2)
		return;
	sim_say(s, "node %d: the watchdog resets it", n);
	s->barked++;
	sim_power_off(s, n, 1500 + (int64_t)sim_random(s, 2000));
}

/* ---- the third voter ---- */

static bool
ethernet(const struct sim *s)
{
	return (sim_path(s, 0) && s->slow[0][0] == 0 && s->slow[1][0] == 0)
	    || (sim_path(s, 1) && s->slow[0][1] == 0 && s->slow[1][1] == 0);
}

/* The vote goes to one side only, and to the other one when the voter misses its holder
 * for so long that this one misses the voter, too. */
static void
vote(struct sim *s)
{
	bool alive[2], together = true;

	for (int n = 0; n < 2; n++) {
		alive[n] = s->now - s->n[n].voter_seen < TOKEN_MS;
		together = together && alive[n] && s->now - s->n[n].peer_seen < TOKEN_MS;
	}
	if (together) {
		s->holder = -1;
	} else if (s->holder < 0) {
		s->holder = alive[0] ? 0 : 1;
	} else if (!alive[s->holder] && alive[!s->holder]) {
		if (s->holder_lost < 0)
			s->holder_lost = s->now;
		if (s->now - s->holder_lost < TOKEN_MS)
			return;
		s->holder = !s->holder;
	}
	s->holder_lost = -1;
}

static void
look(struct sim *s, int n)
{
	struct node *x = &s->n[n];
	bool device = s->now - x->voter_seen < TOKEN_MS && (s->holder < 0 || s->holder == n);

	if (!sim_runs(s, n) || s->now < x->vote_at)
		return;
	x->quorum_peer = s->now - x->peer_seen < TOKEN_MS;
	x->quorum = x->quorum_peer || device ? QUORUM_HAVE : QUORUM_LOST;
}

void
guard_world(struct sim *s)
{
	bool linked = ethernet(s) && sim_runs(s, 0) && sim_runs(s, 1);

	for (int n = 0; n < 2; n++)
		bark(s, n);
	if (s->plan->mode != POLICY_QUORUM)
		return;
	for (int n = 0; n < 2; n++) {
		if (linked && s->now >= s->n[0].vote_at && s->now >= s->n[1].vote_at)
			s->n[n].peer_seen = s->now;
		if (sim_runs(s, n) && !s->voter_cut[n])
			s->n[n].voter_seen = s->now;
	}
	vote(s);
	for (int n = 0; n < 2; n++)
		look(s, n);
}

/* ---- the fence device ---- */

static void
switch_off(struct sim *s, int victim, int64_t delay)
{
	sim_post(s, M_FENCED, victim, 0, delay);
}

void
guard_fenced(struct sim *s, int victim)
{
	sim_say(s, "node %d: fenced", victim);
	s->fenced++;
	sim_power_off(s, victim, 3000 + (int64_t)sim_random(s, 6000));
}

void
guard_fence(struct sim *s, int n, uint64_t no)
{
	struct policy_event e = { .type = EV_FENCE, .no = no };
	int64_t took = 200 + (int64_t)sim_random(s, 1500);

	switch (s->fence[n]) {
	case FENCE_WORKS:
		switch_off(s, !n, took);
		took += 1 + (int64_t)sim_random(s, 300);
		e.ok = true;
		break;
	case FENCE_HANGS:
		took = FENCE_LIMIT_MS;
		break;
	case FENCE_LATE:
		took = FENCE_LIMIT_MS;
		switch_off(s, !n, took + (int64_t)sim_random(s, 3000));
		break;
	case FENCE_BLIND:
		switch_off(s, !n, took);
		took += 1 + (int64_t)sim_random(s, 300);
		break;
	default:
		break;
	}
	agent_answer(s, n, &e, took);
}

/* ---- I15 ---- */

/* The standby marked itself, durably or while its disk took nothing and its syncd believes
 * nothing; or a device switched it off since it was heard. */
static bool
excluded(const struct sim *s, int n)
{
	const struct node *x = &s->n[n], *y = &s->n[!n];

	return y->off_ms >= x->heard_ms || y->disk.marks.outdated >= x->c.gen.no
	    || (y->policy.marks.outdated >= x->c.gen.no && y->c.insync == 0);
}

void
guard_check(struct sim *s, int n, const struct policy_action *a)
{
	const struct node *x = &s->n[n];
	bool begins = a->act == ACT_SYNCD_PROMOTE && x->policy.role == ROLE_PROMOTE;
	bool alone = a->act == ACT_SYNCD_GRANT && gen_kind_alone((enum gen_kind)a->gen.kind)
	    && !gen_kind_alone((enum gen_kind)x->c.gen.kind)	/* asked twice */
	    && (x->told_ms < 0 || x->told_ms < x->heard_ms);	/* an operator's word */

	if (s->plan->mode == POLICY_FENCING && ((begins && x->policy.proof == PROOF_FENCE) || alone)
	    && !excluded(s, n))
		sim_fail(s, "I15: node %d counts the other one as off, and it is not", n);
	if (s->plan->mode == POLICY_QUORUM && ((begins && x->policy.proof == PROOF_QUORUM) || alone)
	    && x->quorum != QUORUM_HAVE)
		sim_fail(s, "I15: node %d goes on alone without the quorum", n);
	if (a->gen.kind == GEN_PRESUMED && (begins || alone)
	    && s->plan->mode != POLICY_SERIAL_PING && x->policy.told_reason != REASON_HOLDER
	    && x->policy.reason != REASON_HOLDER)
		sim_fail(s, "I15: node %d presumes in a mode of proofs", n);
}

/* ---- I16 ---- */

static struct gen
newest(const struct sim *s, int n)
{
	const struct gen *g = state_newest(&s->n[n].disk.marks);

	if (!s->plan->bare)
		return history_last(&s->n[n].history);
	return g != NULL ? *g : (struct gen) { .no = 0 };
}

/* The newest one that may hold what no other node has. */
static uint64_t
newest_alone(const struct sim *s, int n)
{
	const struct history *h = &s->n[n].history;

	for (size_t i = h->n; i-- > 0;)
		if (gen_kind_alone((enum gen_kind)h->gen[i].kind))
			return h->gen[i].no;
	return 0;
}

void
guard_heard_of(struct sim *s, int n, uint64_t no)
{
	if (no > s->n[n].heard_no)
		s->n[n].heard_no = no;
}

bool
guard_unheard(const struct sim *s, int n)
{
	return s->parted && s->n[n].heard_no < s->acked_gen;
}

static bool
has_gen(const struct history *h, uint64_t no)
{
	for (size_t i = h->n; i-- > 0;)
		if (h->gen[i].no == no)
			return true;
	return false;
}

bool
guard_forced_too(const struct sim *s, int n)
{
	const struct history *h = &s->n[n].history;

	for (size_t i = h->n; i-- > 0;)
		if (h->gen[i].kind == GEN_FORCED && !has_gen(&s->n[!n].history, h->gen[i].no))
			return true;
	return false;
}

bool
guard_knows(const struct sim *s, int n)
{
	uint64_t no = newest_alone(s, !n);

	return no == 0 || has_gen(&s->n[n].history, no);
}

/* A word of the other one came: does it acknowledge, or hold, anything without this node?
 * In a pair without logs the word itself is all there is.  When there are two lines, each
 * lacks something; and after a double fault, who could follow it once still can. */
void
guard_heard(struct sim *s, int n, const struct policy_view *v)
{
	struct node *x = &s->n[n];
	const struct commit *c = &s->n[!n].c;
	bool alone = c->role == DATA_ACTIVE && gen_kind_alone((enum gen_kind)c->gen.kind);

	if (v->peer.alive)
		guard_heard_of(s, n, v->peer.f.fixed);
	if (!v->peer.alive || x->peer.last_ms == x->word_ms || x->served
	    || (x->confirmed && s->excused))
		return;
	x->word_ms = x->peer.last_ms;
	x->confirmed = s->plan->bare || (!alone && newest_alone(s, !n) <= newest(s, n).no
	    && (s->excused || sim_has_acked(s, n) || (s->parted && guard_forced_too(s, n))));
}

/* Cold start: its newest generation is its own, and nobody acknowledged in a newer one. */
static bool
holder(const struct sim *s, int n)
{
	const struct policy_conf *c = &s->conf[n];
	struct gen g = newest(s, n);

	return c->cold_last_active && s->now - s->n[n].agent_since >= c->initdead_ms
	    && g.no != 0 && g.node == n
	    && (s->excused || s->acked_gen <= g.no || guard_unheard(s, n));
}

/* Also what an active node is granted that had slept: somebody has to have said so. */
static void
forced(struct sim *s, int n, uint64_t no)
{
	struct node *x = &s->n[n];

	s->forced++;
	if (x->accepts) {
		x->loss_gen = no;
		s->parted = true;	/* also when it dies before it goes on */
	}
	x->confirmed = x->confirmed || s->plan->bare;	/* else when it is in the log */
	if (!x->asked)
		sim_fail(s, "I16: node %d calls gen %llu forced, and no operator said so", n,
		    (unsigned long long)no);
}

void
guard_grant(struct sim *s, int n, const struct gen *g)
{
	if (g->kind == GEN_FORCED)
		forced(s, n, g->no);
}

/* ---- the lease of the services ---- */

void
guard_turn(struct sim *s, int n)
{
	struct node *x = &s->n[n];

	if (s->now - x->turn_ms > DEAD_MS / 2) {
		x->asleep_ms = x->turn_ms;
		x->awake_ms = s->now;
	}
	x->turn_ms = s->now;
}

/* I7: the other one began to serve while this one made no step, and serves still.  Alone,
 * this one need not believe that, and an operator may have told it otherwise. */
static bool
replaced(const struct sim *s, int n)
{
	const struct node *x = &s->n[n], *y = &s->n[!n];
	const struct gen *g = &x->policy.gen;

	return x->policy.role == ROLE_ACTIVE && sim_runs(s, !n) && y->agent
	    && y->policy.role == ROLE_ACTIVE && y->serves_ms > x->asleep_ms
	    && y->serves_ms < x->awake_ms && x->serves_ms <= x->asleep_ms
	    && x->told_ms < x->awake_ms && (!gen_kind_alone(g->kind) || g->node != n);
}

void
guard_answers(struct sim *s, int n, const struct policy_view *v)
{
	struct node *x = &s->n[n];
	int64_t until = policy_answers_until(&x->policy, v);

	if (until != 0)
		x->answers_ms = until == POLICY_NO_ANSWERS ? 0 : until;
	if (s->now < x->answers_ms && replaced(s, n))
		sim_fail(s, "I7: node %d answers clients, and the other one took over while it slept", n);
}

void
guard_role(struct sim *s, int n, enum ha_role before)
{
	struct node *x = &s->n[n];
	enum ha_role now = x->policy.role;

	x->served = x->served || now == ROLE_ACTIVE;
	if (now == ROLE_ACTIVE && before != ROLE_ACTIVE && before != ROLE_BOOT)
		x->serves_ms = s->now;
	if (now != ROLE_PROMOTE || before == ROLE_PROMOTE)
		return;
	/* The other line may only have hung, and needs nobody to acknowledge when it goes on. */
	if (s->parted && x->policy.proof == PROOF_SILENCE && s->n[!n].up && !guard_knows(s, n))
		s->excused = true;
	if (x->policy.gen.kind == GEN_FORCED)
		forced(s, n, x->policy.gen.no);
	else if (!x->confirmed && !x->served && !holder(s, n))
		sim_fail(s, "I16: node %d started, and serves in gen %llu without being asked", n,
		    (unsigned long long)x->policy.gen.no);
}
