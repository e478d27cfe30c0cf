/* sim.c - seeded schedules of faults over a simulated pair, and the promises of
 * the design as checks after each step.
 *
 *   sim [-n SCHEDULES] [-s FIRST_SEED] [-b BUG] [-v]
 *
 * Exit 0 when every schedule keeps the promises, 1 at the first that does not; its
 * seed is printed, and `sim -n 1 -s SEED -v` tells the story.  -b switches on a
 * planned mistake (only in a build with HOOKS=1).
 *
 * Real: hagent's policy, peer view, frames and their keys, the durable marks; syncer's
 * rules of commit, records with CRC and chain, recovery's scan, the history of generations
 * and what it says of a tail.  Modelled: the mail server (a counter), resource scripts
 * (results that come late or never), files (bytes that a crash tears), the session of the
 * syncds (there or not, in order), the clock. */
#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hook.h"
#include "sim.h"

#define FAULTS_MS 45000
#define HEAL_MS 45000

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

struct msg *
sim_post(struct sim *s, enum msg_kind kind, int node, uint32_t life, int64_t delay)
{
	struct msg *m;

	assert(s->nq < QUEUE_MAX);
	m = &s->q[s->nq++];
	memset(m, 0, offsetof(struct msg, bytes));
	memset(&m->ev, 0, sizeof(*m) - offsetof(struct msg, ev));
	m->at = s->now + (delay > 0 ? delay : 1);
	m->order = ++s->order;
	m->kind = kind;
	m->node = node;
	m->life = life;
	if (kind >= M_FACTS)
		sim_in_order(s, m, LANE_PEER);
	return m;
}

void
sim_in_order(struct sim *s, struct msg *m, enum lane lane)
{
	int64_t *last = &s->lane_at[m->node][lane];

	if (m->at < *last)
		m->at = *last;
	*last = m->at;
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
	for (unsigned i = 0; i < s->ngens; i++) {
		if (s->gens[i].no != g->no)
			continue;
		if (memcmp(s->gens[i].id, g->id, 16) != 0)
			sim_fail(s, "generation %llu was used twice", (unsigned long long)g->no);
		return;
	}
	if (s->ngens < 512)
		s->gens[s->ngens++] = *g;
}

bool
sim_has_acked(struct sim *s, int n)
{
	static bool here[IDS_MAX];
	const struct node *x = &s->n[n];

	memset(here, 0, sizeof(here));
	for (uint64_t i = 1; i <= x->tip; i++)
		here[x->log[i].id] = true;
	for (uint32_t id = 1; id <= s->next_id; id++)
		if (s->acked[id] && !here[id])
			return false;
	return true;
}

/* ---- the world ---- */

static void
power_off(struct sim *s, int n)
{
	struct node *x = &s->n[n];

	agent_stop(s, n);
	syncd_stop(s, n, true);
	x->up = x->vip = x->group = false;
	memset(x->res, 0, sizeof(x->res));
	x->agent_at = x->syncd_at = -1;
}

static void
power_on(struct sim *s, int n)
{
	s->n[n].up = true;
	s->n[n].up_at = -1;
	s->n[n].paused_until = 0;
	s->n[n].agent_at = s->now + 100 + (int64_t)sim_random(s, 500);
	s->n[n].syncd_at = s->now + 100 + (int64_t)sim_random(s, 500);
}

static void
deliver(struct sim *s)
{
	static struct msg now[QUEUE_MAX];
	unsigned n = 0, k = 0;

	for (unsigned i = 0; i < s->nq; i++) {
		struct msg *m = &s->q[i];
		bool frame = m->kind == M_FRAME, peer = m->kind >= M_FACTS;
		bool wait = m->at > s->now || !sim_runs(s, m->node)
		    || (peer && !sim_path(s, s->session_link));

		if (frame ? !s->n[m->node].up : false)
			continue;
		if (wait && (!peer || m->life == s->session)) {
			if (k != i)
				s->q[k] = *m;
			k++;
		} else if (!wait) {
			now[n++] = *m;
		}
	}
	s->nq = k;
	/* In the order in which they were due; few at a time. */
	for (unsigned i = 1; i < n; i++)
		for (unsigned j = i; j > 0 && (now[j].at < now[j - 1].at
		    || (now[j].at == now[j - 1].at && now[j].order < now[j - 1].order)); j--) {
			struct msg t = now[j];

			now[j] = now[j - 1];
			now[j - 1] = t;
		}
	for (unsigned i = 0; i < n; i++) {
		const struct node *x = &s->n[now[i].node];
		uint32_t life = now[i].kind >= M_FACTS ? s->session
		    : now[i].kind == M_FRAME             ? 0
		    : now[i].kind <= M_STATE             ? x->agent_life
		                                         : x->syncd_life;

		if (now[i].life != life || !x->up)
			continue;
		if (now[i].kind <= M_TO_SYNCD)
			agent_message(s, &now[i]);
		else
			syncd_message(s, &now[i]);
	}
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

static void
check(struct sim *s)
{
	bool any = false;

	for (unsigned l = 0; l < LINKS; l++)
		any = any || sim_path(s, l);
	/* The double fault that the mode serial+ping does not survive, and only that. */
	if (s->n[0].up && s->n[1].up && !any)
		s->excused = true;
	for (int n = 0; n < 2; n++) {
		bool hears = false;

		for (unsigned l = 0; l < LINKS; l++)
			hears = hears || !s->cut[!n][l];
		if (!hears || !sim_runs(s, 0) || !sim_runs(s, 1) || !s->n[0].agent || !s->n[1].agent)
			s->reach_ms[n] = -1;
		else if (s->reach_ms[n] < 0)
			s->reach_ms[n] = s->now;
	}
	if (!(s->n[0].vip && s->n[1].vip && sim_runs(s, 0) && sim_runs(s, 1)))
		s->two_vips = s->now;
	else if (s->now - s->two_vips > 4000 && !s->excused)
		sim_fail(s, "the address is up on both nodes");
}

static void
step(struct sim *s)
{
	s->now += STEP_MS;
	deliver(s);
	syncd_session(s);
	for (int n = 0; n < 2; n++) {
		supervise(s, n);
		if (!sim_runs(s, n))
			continue;
		syncd_step(s, n);
		agent_step(s, n);
		if (s->now % 20 == 0 && s->n[n].vip)
			syncd_client(s, n);
	}
	check(s);
}

/* ---- schedules ---- */

static void
heal(struct sim *s)
{
	memset(s->cut, 0, sizeof(s->cut));
	s->ping_cut[0] = s->ping_cut[1] = false;
	s->loss = 0;
}

static void
fault_operator(struct sim *s, int n)
{
	struct policy_event e = { .type = EV_OP, .op = OP_SWITCHOVER, .id = 77,
		.op_node = (uint8_t)!n };

	sim_say(s, "FAULT switchover asked on node %d", n);
	s->switchovers++;
	agent_event(s, n, &e);
}

static void
fault_cut(struct sim *s, bool all)
{
	unsigned l = (unsigned)sim_random(s, LINKS);
	int dir = (int)sim_random(s, 3);

	for (unsigned i = 0; i < LINKS; i++)
		for (int n = 0; n < 2; n++)
			if (all || (i == l && dir != !n))
				s->cut[n][i] = true;
	/* The LAN carries the ping targets as well: now and then the whole port dies. */
	if (l == 1 && dir == 2 && !all && sim_chance(s, 300))
		s->ping_cut[sim_random(s, 2)] = true;
	sim_say(s, "FAULT cut %s link %u dir %d", all ? "every" : "one", l, dir);
}

static void
fault_process(struct sim *s, int n)
{
	struct node *x = &s->n[n];

	if (sim_chance(s, 500) && x->agent) {
		sim_say(s, "FAULT agent of node %d dies", n);
		agent_stop(s, n);
		x->agent_at = s->now + 100 + (int64_t)sim_random(s, 900);
	} else if (x->syncd) {
		sim_say(s, "FAULT syncd of node %d dies", n);
		syncd_stop(s, n, false);
		x->syncd_at = s->now + 100 + (int64_t)sim_random(s, 900);
	}
}

static void
fault(struct sim *s, bool may_split)
{
	int n = (int)sim_random(s, 2);

	switch (sim_random(s, may_split ? 9 : 8)) {
	case 0:
	case 1:
		if (!s->n[n].up)
			break;
		sim_say(s, "FAULT power cut of node %d", n);
		power_off(s, n);
		s->n[n].up_at = s->now + 500 + (int64_t)sim_random(s, 15000);
		break;
	case 2:
		sim_say(s, "FAULT node %d hangs", n);
		s->n[n].paused_until = s->now + 200 + (int64_t)sim_random(s, 8000);
		break;
	case 3:
		fault_process(s, n);
		break;
	case 4:
		fault_operator(s, n);
		break;
	case 5:
		s->loss = (unsigned)sim_random(s, 25);
		sim_say(s, "FAULT %u per cent of the frames are lost", s->loss);
		break;
	case 6:
		sim_say(s, "FAULT healed");
		heal(s);
		break;
	case 7:
		fault_cut(s, false);
		break;
	default:
		fault_cut(s, true);
		break;
	}
	/* Without the wish for it, one path always stays. */
	if (!may_split && !sim_path(s, 0) && !sim_path(s, 1) && !sim_path(s, 2))
		heal(s);
}

static bool
in_step(const struct sim *s)
{
	for (int n = 0; n < 2; n++)
		if (s->n[n].policy.role == ROLE_ACTIVE && s->n[n].c.mode == DATA_SYNC
		    && s->n[n].vip && s->n[n].agent && s->n[!n].policy.role == ROLE_STANDBY)
			return true;
	return false;
}

static void
setup(struct sim *s, uint64_t seed, bool trace)
{
	memset(s, 0, sizeof(*s));
	s->seed = s->rnd = seed;
	s->trace = trace;
	s->session_cut = -1;
	for (int n = 0; n < 2; n++) {
		struct policy_conf *c = &s->conf[n];

		*c = (struct policy_conf) { .node = (uint8_t)n, .mode = POLICY_SERIAL_PING,
			.cold_last_active = true, .syncd = true, .pings = true, .nres = NRES, .nvips = 1,
			.dead_ms = DEAD_MS, .initdead_ms = 6000, .isolated_ms = 2000, .ping_handover_ms = 1500,
			.evidence_ms = 1500, .probe_fresh_ms = 1000, .drain_ms = 500,
			.syncd_wait_ms = 3000, .join_wait_ms = 5000, .switch_ms = 20000,
			.retry_ms = 1000 };
		for (int i = 0; i < NRES; i++) {
			c->res[i].restarts = 3;
			c->res[i].window_ms = 60000;
			c->res[i].monitor_ms = 1000;
		}
		for (unsigned l = 0; l < LINKS; l++) {
			s->keys[n][l].nkeys = 1;
			memset(s->keys[n][l].key[0].secret, 1 + n * 3 + (int)l, 32);
		}
		s->reach_ms[n] = -1;
		state_init(&s->n[n].disk, (const uint8_t *)"0123456789abcdef", (uint8_t)n);
		power_on(s, n);
	}
}

static void
finish(struct sim *s)
{
	int64_t until;

	sim_say(s, "HEAL everything");
	s->healing = true;
	heal(s);
	for (int n = 0; n < 2; n++) {
		s->n[n].paused_until = 0;
		if (!s->n[n].up)
			power_on(s, n);
	}
	for (until = s->now + HEAL_MS; s->now < until && s->why[0] == '\0';) {
		step(s);
		if (in_step(s) && s->now % 1000 == 0)
			break;
	}
	if (s->excused || s->why[0] != '\0')
		return;
	if (!in_step(s))
		sim_fail(s, "no recovery: roles %s/%s modes %s/%s",
		    ha_role_name(s->n[0].policy.role), ha_role_name(s->n[1].policy.role),
		    data_mode_name(s->n[0].c.mode), data_mode_name(s->n[1].c.mode));
	for (int n = 0; n < 2; n++)
		if (s->n[n].policy.role == ROLE_ACTIVE && !sim_has_acked(s, n))
			sim_fail(s, "I1: acknowledged messages are missing at the end");
}

static void
run(struct sim *s, uint64_t seed, bool trace)
{
	bool may_split, single;
	int64_t next;

	setup(s, seed, trace);
	may_split = sim_chance(s, 150);
	single = sim_chance(s, 400);
	next = 8000 + (int64_t)sim_random(s, 6000);
	while (s->now < FAULTS_MS && s->why[0] == '\0') {
		step(s);
		if (s->now < next)
			continue;
		/* Single faults: each followed by a return to two copies. */
		if (single && !in_step(s)) {
			if (s->now > next + 6000 && !sim_path(s, 0))
				heal(s);
			continue;
		}
		fault(s, may_split);
		next = s->now + (int64_t)sim_random(s, single ? 9000 : 6000);
	}
	finish(s);
}

/* False for a name that the policy, the commit rules and the log do not know, and in a
 * build without hooks. */
static bool
bug(const char *name)
{
	static const char *const known[] = { "promote-without-belief", "solo-without-evidence",
		"release-of-any-generation", "ack-before-peer", "accept-old-generation",
		"keep-torn-record" };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(name, known[i]) == 0)
			return setenv("MAILPAIR_HOOK", name, 1) == 0 && hook_on(name);
	return false;
}

int
main(int argc, char **argv)
{
	static struct sim s;
	unsigned long n = 1000, first = 1, promotions = 0, solos = 0, excused = 0, acked = 0;
	bool trace = false;
	int c;

	while ((c = getopt(argc, argv, "n:s:b:v")) != -1) {
		if (c == 'n')
			n = strtoul(optarg, NULL, 10);
		else if (c == 's')
			first = strtoul(optarg, NULL, 10);
		else if (c == 'v')
			trace = true;
		else if (c != 'b' || !bug(optarg))
			return 10;
	}
	for (unsigned long i = 0; i < n; i++) {
		run(&s, first + i, trace);
		promotions += s.promotions;
		solos += s.solos;
		excused += s.excused;
		acked += s.nacked;
		if (s.why[0] == '\0')
			continue;
		printf("seed=%lu violation: %s\n", first + i, s.why);
		return 1;
	}
	printf("schedules=%lu acknowledged=%lu promotions=%lu alone=%lu split=%lu violations=0\n", n,
	    acked, promotions, solos, excused);
	return 0;
}
