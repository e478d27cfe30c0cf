/* sim_world.c - the virtual time of a schedule: messages and timers in the order in
 * which they are due, power, supervision, and the checks that stand after each step.
 *
 * Everything that happens is a message of the queue.  One for a process that does not
 * run any more is dropped; one for a process that hangs waits until it goes on, as in a
 * socket's buffer; one over a stream never overtakes another. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

#define WORLD_MS 25		/* supervision, session of the syncds, checks */
#define HEAL_MS 45000
#define PATIENCE_MS 30000	/* a plan of single faults waits for the pair; not for ever */

struct sim_store store;

uint64_t
sim_random(struct sim *s, uint64_t below)
{
	uint64_t z = s->rnd += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return below == 0 ? 0 : (z ^ z >> 31) % below;
}

bool
sim_chance(struct sim *s, unsigned per_mille)
{
	return sim_random(s, 1000) < per_mille;
}

void
sim_say(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->trace)
		return;
	printf("%6lld.%03lld ", (long long)s->now / 1000, (long long)s->now % 1000);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

void
sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (s->why[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
	sim_say(s, "VIOLATION %s", s->why);
}

bool
sim_runs(const struct sim *s, int n)
{
	return s->n[n].up && s->now >= s->n[n].paused_until;
}

bool
sim_path(const struct sim *s, unsigned link)
{
	return !s->cut[0][link] && !s->cut[1][link];
}

void
sim_gen(struct sim *s, const struct gen *g)
{
	for (unsigned i = s->ngens; i-- > 0;) {
		if (s->gens[i].no != g->no)
			continue;
		if (memcmp(s->gens[i].id, g->id, 16) != 0)
			sim_fail(s, "generation %llu was used twice", (unsigned long long)g->no);
		return;
	}
	if (s->ngens < sizeof(s->gens) / sizeof(s->gens[0]))
		s->gens[s->ngens++] = *g;
}

bool
sim_has_acked(const struct sim *s, int n)
{
	return s->missing[n] == 0;
}

/* The operator took the node as it is.  What it lacks, the other one has to have. */
static void
fork_here(struct sim *s, int n, const struct gen *g)
{
	s->forked = true;
	s->acked_gen = g->no;
	for (uint32_t id = 1; id <= s->next_id; id++) {
		if (store.acked[id] != ACKED || store.here[n][id] != 0)
			continue;
		if (store.here[!n][id] == 0)
			sim_fail(s, "I5: message %u, which was acknowledged, is in neither log", id);
		store.acked[id] = ACKED_LOST;
	}
	s->missing[n] = s->missing[!n] = 0;
	for (uint32_t id = 1; id <= s->next_id; id++)
		s->missing[!n] += store.acked[id] == ACKED && store.here[!n][id] == 0;
}

void
sim_goes_on(struct sim *s, int n, const struct gen *g)
{
	bool all = sim_has_acked(s, n), loss = g->no == s->n[n].loss_gen;

	if (s->excused)
		return;
	/* One that is late and older than what acknowledges now has to give way; and whom an
	 * operator forced is followed, unless he forced the other one as well, unheard. */
	if (loss ? !all || !guard_knows(s, n)
	    : !all && (guard_unheard(s, n) || (s->parted && guard_forced_too(s, n))))
		fork_here(s, n, g);
	else if (!all && g->no > s->acked_gen)
		sim_fail(s, "I1: node %d goes on without everything acknowledged", n);
}

bool
sim_in_step(const struct sim *s)
{
	for (int n = 0; n < 2; n++)
		if (s->n[n].policy.role == ROLE_ACTIVE && s->n[n].vip && s->n[n].agent
		    && (s->plan->bare || s->n[n].c.mode == DATA_SYNC)
		    && s->n[!n].policy.role == ROLE_STANDBY && s->n[!n].agent)
			return true;
	return false;
}

/* ---- the queue: a heap of indices ---- */

static bool
before(uint16_t x, uint16_t y)
{
	const struct msg *a = &store.q[x], *b = &store.q[y];

	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void
push(struct sim *s, uint16_t m)
{
	unsigned i = s->nq++;

	while (i > 0 && before(m, s->heap[(i - 1) / 2])) {
		s->heap[i] = s->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	s->heap[i] = m;
}

static uint16_t
pop(struct sim *s)
{
	uint16_t top = s->heap[0], last = s->heap[--s->nq];
	unsigned i = 0, k;

	while ((k = 2 * i + 1) < s->nq) {
		if (k + 1 < s->nq && before(s->heap[k + 1], s->heap[k]))
			k++;
		if (!before(s->heap[k], last))
			break;
		s->heap[i] = s->heap[k];
		i = k;
	}
	s->heap[i] = last;
	return top;
}

/* The stream that carries it; -1: none. */
static int
lane(enum msg_kind kind)
{
	switch (kind) {
	case M_STATE:
	case M_SYNCD_SAYS:
		return 0;
	case M_TO_SYNCD:
		return 1;
	default:
		return kind >= M_FACTS ? 2 : -1;
	}
}

struct msg *
sim_post(struct sim *s, enum msg_kind kind, int node, uint32_t life, int64_t delay)
{
	struct msg *m;
	int k = lane(kind);
	uint16_t i;

	assert(s->nfree > 0);
	i = s->free[--s->nfree];
	m = &store.q[i];
	*m = (struct msg) { .at = s->now + (delay > 0 ? delay : 1), .order = ++s->order, .kind = kind,
		.node = node, .life = life };
	if (kind >= M_FACTS)
		m->at += (int64_t)sim_random(s, (uint64_t)s->slow[!node][s->session_link] / 2);
	if (k >= 0 && m->at < s->lane_at[node][k])
		m->at = s->lane_at[node][k];
	if (k >= 0)
		s->lane_at[node][k] = m->at;
	push(s, i);
	return m;
}

static uint32_t
life(const struct sim *s, const struct msg *m)
{
	const struct node *x = &s->n[m->node];

	if (m->kind < M_TICK)
		return 0;
	if (m->kind >= M_FACTS)
		return s->session;
	if (m->kind == M_DURABLE)
		return x->disk_life;
	return m->kind >= M_SYNCD_TICK ? x->syncd_life : x->agent_life;
}

/* Until when it has to wait; 0: not. */
static int64_t
waits(struct sim *s, const struct msg *m)
{
	struct node *x = &s->n[m->node];
	int64_t until = x->paused_until;

	if (m->kind < M_FRAME)
		return 0;
	if (m->kind < M_SYNCD_TICK && x->agent_paused > until)
		until = x->agent_paused;
	if (m->kind < M_FACTS)
		return until > s->now ? until : 0;
	if (x->blocked > until)
		until = x->blocked;
	if (until <= s->now && !sim_path(s, s->session_link))
		until = s->now + WORLD_MS;
	if (until <= s->now)
		return 0;
	x->blocked = until;	/* nothing overtakes it */
	return until;
}

/* ---- the nodes ---- */

void
sim_power_off(struct sim *s, int n, int64_t off_ms)
{
	struct node *x = &s->n[n];

	agent_stop(s, n);
	syncd_stop(s, n, true);
	x->up = x->vip = x->group = x->cannot = x->armed = x->self_fence = false;
	x->off_ms = s->now;
	x->answers_ms = 0;	/* on a tmpfs */
	memset(x->res, 0, sizeof(x->res));
	x->agent_at = x->syncd_at = -1;
	x->up_at = s->now + off_ms;
}

static void
power_on(struct sim *s, int n)
{
	struct node *x = &s->n[n];

	x->up = true;
	x->up_at = -1;
	x->paused_until = x->agent_paused = x->vote_at = 0;
	x->quorum = QUORUM_NONE;
	x->quorum_peer = false;
	x->agent_at = s->now + 100 + (int64_t)sim_random(s, 500);
	x->syncd_at = s->plan->bare ? -1 : s->now + 100 + (int64_t)sim_random(s, 500);
}

static void
supervise(struct sim *s, int n)
{
	struct node *x = &s->n[n];

	if (!x->up && x->up_at >= 0 && s->now >= x->up_at)
		power_on(s, n);
	if (!sim_runs(s, n))
		return;
	if (!x->syncd && x->syncd_at >= 0 && s->now >= x->syncd_at)
		syncd_start(s, n);
	if (!x->agent && x->agent_at >= 0 && s->now >= x->agent_at)
		agent_start(s, n);
}

/* ---- checks ---- */

static void
check_reach(struct sim *s, int n)
{
	bool hears = false;

	for (unsigned l = 0; l < LINKS; l++)
		hears = hears || (!s->cut[!n][l] && s->slow[!n][l] == 0);
	/* With losses a path that is there may be silent by chance. */
	if (!hears || s->loss > 0 || !sim_runs(s, 0) || !sim_runs(s, 1) || !s->n[0].agent || !s->n[1].agent
	    || s->now < s->n[0].agent_paused || s->now < s->n[1].agent_paused)
		s->reach_ms[n] = -1;
	else if (s->reach_ms[n] < 0)
		s->reach_ms[n] = s->now;
}

/* The agent could take the address down, if it knew that it should. */
static bool
holds(const struct sim *s, int n)
{
	return s->n[n].vip && sim_runs(s, n) && s->n[n].agent && s->now >= s->n[n].agent_paused;
}

static void
check(struct sim *s)
{
	bool any = false;

	for (unsigned l = 0; l < LINKS; l++)
		any = any || (sim_path(s, l) && s->slow[0][l] == 0 && s->slow[1][l] == 0);
	/* The double fault that the mode serial+ping does not survive, and only that. */
	if (s->plan->mode == POLICY_SERIAL_PING && s->n[0].up && s->n[1].up && !any)
		s->excused = true;
	for (int n = 0; n < 2; n++)
		check_reach(s, n);
	/* A presumption may be wrong about a node that hung: it then learns of the other
	 * one.  A proof is not wrong. */
	if (!holds(s, 0) || !holds(s, 1))
		s->two_vips = s->now;
	else if (s->now - s->two_vips >= (s->plan->mode == POLICY_SERIAL_PING ? 4000 : WORLD_MS)
	    && !s->excused)
		sim_fail(s, "the address is up on both nodes");
}

static void
world(struct sim *s)
{
	sim_post(s, M_WORLD, 0, 0, WORLD_MS);
	if (!s->healing)
		plan_due(s);
	guard_world(s);
	syncd_session(s);
	for (int n = 0; n < 2; n++)
		supervise(s, n);
	check(s);
}

static void
dispatch(struct sim *s, struct msg *m)
{
	if (m->kind == M_WORLD)
		world(s);
	else if (m->kind == M_FAULT_END)
		plan_end(s, &s->plan->f[m->no]);
	else if (m->kind == M_OPERATOR)
		plan_operator(s, m);
	else if (m->kind == M_FENCED)
		guard_fenced(s, m->node);
	else if (m->kind < M_SYNCD_TICK)
		agent_message(s, m);
	else
		syncd_message(s, m);
}

/* The next thing that happens. */
static void
step(struct sim *s)
{
	uint16_t i = pop(s);
	struct msg *m = &store.q[i];
	int64_t until;

	assert(m->at >= s->now);
	s->now = m->at;
	if (m->kind >= M_FRAME && (!s->n[m->node].up || m->life != life(s, m))) {
		s->free[s->nfree++] = i;
		return;
	}
	if ((until = waits(s, m)) != 0) {
		m->at = until;
		push(s, i);
		return;
	}
	dispatch(s, m);
	s->free[s->nfree++] = i;
}

/* ---- a schedule ---- */

static struct policy_conf
conf(const struct plan *p, int n)
{
	struct policy_conf c = { .node = (uint8_t)n, .mode = p->mode,
		.watchdog_ms = p->watchdog ? WATCHDOG_MS : 0, .watchdog_required = p->watchdog,
		.fence_delay_ms = n == 1 ? 800 : 0, .preferred = p->preferred,
		.failback = p->preferred < 0 ? FAILBACK_OFF : FAILBACK_AUTO,
		.failback_delay_ms = 3000,
		.cold_last_active = true, .syncd = !p->bare, .pings = true, .nres = NRES, .nvips = 1,
		.dead_ms = DEAD_MS, .initdead_ms = 6000, .isolated_ms = 2000,
		.ping_handover_ms = 1500, .evidence_ms = 1500, .probe_fresh_ms = 1000,
		.suspect_ms = DEAD_MS - 200,
		.drain_ms = 500, .syncd_wait_ms = 3000, .join_wait_ms = 5000, .switch_ms = 20000,
		.retry_ms = 1000, .fence_retry_max_ms = 8000, .moves_max = 8,
		.moves_window_ms = 60000, .vip_check_ms = 5000 };

	for (int i = 0; i < NRES; i++) {
		c.res[i].restarts = 3;
		c.res[i].window_ms = 60000;
		c.res[i].monitor_ms = 1000;
	}
	return c;
}

static void
setup(struct sim *s, const struct plan *p, bool trace)
{
	memset(store.acked, ACKED_NOT, s->next_id + 1);
	memset(store.here[0], 0, s->next_id + 1);
	memset(store.here[1], 0, s->next_id + 1);
	memset(s, 0, sizeof(*s));
	s->plan = p;
	s->rnd = p->roll;
	s->next_at = p->n > 0 ? p->f[0].after : p->tail_ms;
	s->trace = trace;
	s->session_cut = -1;
	for (unsigned i = 0; i < QUEUE_MAX; i++)
		s->free[i] = (uint16_t)(QUEUE_MAX - 1 - i);
	s->nfree = QUEUE_MAX;
	for (int n = 0; n < 2; n++) {
		log_reset(s, n);
		s->conf[n] = conf(p, n);
		for (unsigned l = 0; l < LINKS; l++) {
			s->keys[n][l].nkeys = 1;
			memset(s->keys[n][l].key[0].secret, 1 + n * 3 + (int)l, 32);
		}
		s->reach_ms[n] = -1;
		state_init(&s->n[n].disk, (const uint8_t *)"0123456789abcdef", (uint8_t)n);
		power_on(s, n);
	}
	guard_setup(s);
	sim_post(s, M_WORLD, 0, 0, 1);
}

static void
heal(struct sim *s)
{
	sim_say(s, "HEAL everything");
	s->healing = true;
	plan_heal(s);
	for (int n = 0; n < 2; n++)
		if (!s->n[n].up)
			s->n[n].up_at = s->now;
}

/* I5: two lines were found, one serves, and nobody touched the other one. */
static bool
split_told(const struct sim *s)
{
	for (int n = 0; n < 2; n++)
		if (s->n[n].policy.role == ROLE_ACTIVE && s->n[n].vip && s->n[n].agent
		    && s->n[n].c.role == DATA_ACTIVE && !s->n[n].c.fenced
		    && s->n[!n].agent && !s->n[!n].vip && s->n[!n].c.split)
			return true;
	return false;
}

/* Two lines meet as a split, and one does not: a fork may hold nothing. */
static bool
settled(const struct sim *s)
{
	return sim_in_step(s) || ((s->excused || s->parted) && split_told(s));
}

/* What was acknowledged is somewhere, whatever happened. */
static void
check_kept(struct sim *s)
{
	for (uint32_t id = 1; id <= s->next_id; id++)
		if (store.acked[id] != ACKED_NOT && store.here[0][id] == 0 && store.here[1][id] == 0)
			sim_fail(s, "I5: message %u, which was acknowledged, is in neither log", id);
}

/* In the end everything works: so must the pair. */
static void
finish(struct sim *s)
{
	int64_t until = s->now + HEAL_MS, look = s->now + 1000;

	heal(s);
	while (s->now < until && s->why[0] == '\0') {
		step(s);
		if (s->now < look)
			continue;
		plan_online(s);
		if (settled(s))
			break;
		look = s->now + 250;
	}
	if (s->why[0] != '\0')
		return;
	check_kept(s);
	if (!settled(s))
		sim_fail(s, "no recovery: roles %s/%s modes %s/%s",
		    ha_role_name(s->n[0].policy.role), ha_role_name(s->n[1].policy.role),
		    data_mode_name(s->n[0].c.mode), data_mode_name(s->n[1].c.mode));
	for (int n = 0; n < 2; n++)
		if (!s->excused && s->n[n].policy.role == ROLE_ACTIVE && !sim_has_acked(s, n))
			sim_fail(s, "I1: acknowledged messages are missing at the end");
}

void
sim_run(struct sim *s, const struct plan *p, bool trace)
{
	setup(s, p, trace);
	while (s->why[0] == '\0' && (s->next_fault < p->n || s->now < s->next_at)
	    && s->now - s->next_at < PATIENCE_MS)
		step(s);
	if (s->why[0] == '\0')
		finish(s);
}
