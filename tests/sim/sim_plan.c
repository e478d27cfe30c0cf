/* sim_plan.c - the faults of a schedule: chosen by its seed before it begins, so that
 * some of them can be left out again.  Carrying them out, undoing them, and the search
 * for the shortest list that still breaks a promise.
 *
 * A plan that may not split the pair leaves out a cut that would take its last path, and in
 * it nobody says that a node is off which lives. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

#define ROLLS 12		/* worlds that each candidate of a shrunk plan is tried in */
#define OPERATOR_MS 700		/* he asks again */
#define YEAR_MS (365LL * 86400 * 1000)

static const char *const names[FAULTS] = { "power cut", "hang", "agent dies", "agent hangs",
	"syncd dies", "switchover", "loss", "delay", "cut", "all cut", "ping cut", "clock step",
	"standby", "maintenance", "fence device", "voter cut", "failover" };

static const char *const moods[FENCE_MOODS] = { "works", "fails", "hangs", "is late", "is blind" };
static const char *const mode_names[] = { "serial+ping", "fencing", "quorum", "manual" };

static uint64_t
pick(uint64_t *state, uint64_t below)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31) % below;
}

static enum fault_kind
pick_kind(const struct plan *p, uint64_t *r)
{
	static const enum fault_kind bag[] = { FAULT_POWER, FAULT_POWER, FAULT_POWER, FAULT_HANG,
		FAULT_HANG, FAULT_AGENT_DIES, FAULT_AGENT_HANGS, FAULT_SYNCD_DIES,
		FAULT_SWITCHOVER, FAULT_SWITCHOVER, FAULT_LOSS, FAULT_DELAY, FAULT_CUT, FAULT_CUT,
		FAULT_CUT, FAULT_PING, FAULT_CLOCK, FAULT_CUT_ALL, FAULT_CUT_ALL };
	size_t n = sizeof(bag) / sizeof(bag[0]);
	uint64_t own = pick(r, 100);

	if (p->mode == POLICY_FENCING && own < 20)
		return FAULT_FENCE;
	if (p->mode == POLICY_QUORUM && own < 20)
		return FAULT_VOTER;
	if (own >= 93)
		return own >= 97 ? FAULT_STANDBY : FAULT_MAINTENANCE;
	if (own >= (p->operator || p->mode == POLICY_MANUAL ? 60 : 90))
		return FAULT_FAILOVER;
	return bag[pick(r, p->may_split ? n : n - 2)];
}

/* Who does not look before he speaks splits the pair as surely as a cut of every path. */
static int64_t
pick_words(const struct plan *p, uint64_t *r)
{
	int64_t words = (int64_t)pick(r, WORD_WRONG);	/* the three below */

	return p->may_split && pick(r, 3) == 0 ? words | WORD_OFF | WORD_WRONG : words;
}

static struct fault
pick_fault(const struct plan *p, uint64_t *r)
{
	struct fault f = { .kind = pick_kind(p, r), .node = (int)pick(r, 2),
		.link = (unsigned)pick(r, LINKS), .dir = (int)pick(r, 3) };

	f.after = 100 + (int64_t)pick(r, p->single ? 4000 : 3500);
	f.ms = 200 + (int64_t)pick(r, 8000);
	if (f.kind == FAULT_AGENT_DIES || f.kind == FAULT_SYNCD_DIES)
		f.ms = 100 + (int64_t)pick(r, 900);
	else if (f.kind == FAULT_CLOCK)
		f.arg = ((int64_t)pick(r, 41) - 20) * YEAR_MS;
	else if (f.kind == FAULT_FENCE)
		f.arg = 1 + (int64_t)pick(r, FENCE_MOODS - 1);
	else if (f.kind == FAULT_LOSS)
		f.arg = (int64_t)pick(r, 25) + 1;
	else if (f.kind == FAULT_DELAY)
		f.arg = 100 + (int64_t)pick(r, 6000);
	else if (f.kind == FAULT_FAILOVER)
		f.arg = pick_words(p, r);
	if (f.kind == FAULT_FAILOVER)
		f.ms = 3000 + (int64_t)pick(r, 9000);
	if (f.kind == FAULT_FENCE || f.kind == FAULT_VOTER)
		f.ms = 3000 + (int64_t)pick(r, 20000);	/* others happen meanwhile */
	return f;
}

/* A cut of every path is the double fault that only the presumption does not survive. */
static void
pick_mode(struct plan *p, uint64_t *r)
{
	static const enum policy_mode modes[] = { POLICY_SERIAL_PING, POLICY_SERIAL_PING,
		POLICY_SERIAL_PING, POLICY_SERIAL_PING, POLICY_FENCING, POLICY_FENCING,
		POLICY_FENCING, POLICY_QUORUM, POLICY_QUORUM, POLICY_MANUAL };

	p->mode = modes[pick(r, sizeof(modes) / sizeof(modes[0]))];
	p->watchdog = pick(r, 100) < 30 || p->mode == POLICY_QUORUM;
	p->strict = pick(r, 100) < 10;
	p->bare = pick(r, 100) < 12;
	p->operator = pick(r, 100) < 8;
	p->preferred = pick(r, 100) < 15 ? (int)pick(r, 2) : -1;
	p->may_split = pick(r, 1000) < (p->mode == POLICY_SERIAL_PING ? 150 : 500);
}

/* He takes the node that was away, behind as it is, instead of the one that serves. */
static void
hasty(struct fault *f, const struct fault *before)
{
	f->node = before->node;
	f->arg |= WORD_LOSS | WORD_OFF | WORD_PULL;
	f->ms += 4000;
}

/* Mostly short ones: what breaks a promise is rarely a long story, and when it is, some
 * schedules tell long ones. */
void
plan_make(struct plan *p, uint64_t seed)
{
	static const int64_t clients[] = { 20, 60, 60, 150, 150, 150, 400 };
	uint64_t r = seed * 2 + 1, size;

	memset(p, 0, sizeof(*p));
	p->seed = seed;
	p->roll = seed;
	pick_mode(p, &r);
	p->single = !p->operator && pick(&r, 1000) < 400;
	p->noise = NOISES;
	p->client_ms = clients[pick(&r, sizeof(clients) / sizeof(clients[0]))];
	size = pick(&r, 100);
	p->n = 1 + (unsigned)pick(&r, size < 60 ? 3 : size < 92 ? 8 : FAULTS_MAX);
	for (unsigned i = 0; i < p->n; i++)
		p->f[i] = pick_fault(p, &r);
	for (unsigned i = 1; i < p->n && p->operator; i++)
		if (p->f[i].kind == FAULT_FAILOVER && pick(&r, 2) == 0)
			hasty(&p->f[i], &p->f[i - 1]);
	/* The first one often when the pair is in step, and sometimes while it starts. */
	p->f[0].after = pick(&r, 4) == 0 ? 300 + (int64_t)pick(&r, 4000)
	    : 4000 + (int64_t)pick(&r, 4000);
	p->tail_ms = (int64_t)pick(&r, 5000);
}

static void
fault_text(const struct fault *f, char *to, size_t size)
{
	int n = snprintf(to, size, "%s", names[f->kind]);

	if (f->kind == FAULT_CUT || f->kind == FAULT_DELAY)
		n += snprintf(to + n, size - (size_t)n, " of link %u %s", f->link,
		    f->dir == 2 ? "both ways" : f->dir == 0 ? "from node 0" : "from node 1");
	else if (f->kind != FAULT_LOSS && f->kind != FAULT_CUT_ALL)
		n += snprintf(to + n, size - (size_t)n, " of node %d", f->node);
	if (f->kind == FAULT_LOSS)
		n += snprintf(to + n, size - (size_t)n, " of %lld per cent", (long long)f->arg);
	if (f->kind == FAULT_DELAY)
		n += snprintf(to + n, size - (size_t)n, " up to %lld ms", (long long)f->arg);
	if (f->kind == FAULT_FENCE)
		n += snprintf(to + n, size - (size_t)n, " %s", moods[f->arg]);
	if (f->kind == FAULT_FAILOVER)
		n += snprintf(to + n, size - (size_t)n, "%s%s%s",
		    (f->arg & WORD_PULL) != 0 ? ", the other one switched off" : "",
		    (f->arg & WORD_LOSS) != 0 ? ", loss accepted" : "",
		    (f->arg & WORD_WRONG) != 0 ? ", \"it is off\" without a look"
		    : (f->arg & WORD_OFF) != 0 ? ", \"it is off\" when it is" : "");
	if (f->kind == FAULT_CLOCK)
		snprintf(to + n, size - (size_t)n, " by %lld years", (long long)(f->arg / YEAR_MS));
	else if (f->kind != FAULT_SWITCHOVER)
		snprintf(to + n, size - (size_t)n, " for %lld ms", (long long)f->ms);
}

void
plan_print(const struct plan *p)
{
	static const char *const noises[] = { "frames repeated", "scripts fail",
		"agent dies in the middle", "rot", "attacks", "state not written" };
	char text[120];

	printf("plan of seed %llu: mode %s%s%s%s%s%s%s, a message each %lld ms\n",
	    (unsigned long long)p->seed, mode_names[p->mode], p->watchdog ? ", watchdog" : "",
	    p->bare ? ", no syncd" : p->strict ? ", commit strict" : "",
	    p->preferred < 0 ? "" : p->preferred == 0 ? ", node 0 preferred" : ", node 1 preferred",
	    p->operator ? ", a busy operator" : "", p->single ? ", single faults" : "",
	    p->may_split ? ", may split" : "", (long long)p->client_ms);
	for (unsigned i = 0; i < sizeof(noises) / sizeof(noises[0]); i++)
		if ((p->noise & 1u << i) != 0)
			printf("  now and then: %s\n", noises[i]);
	for (unsigned i = 0; i < p->n; i++) {
		fault_text(&p->f[i], text, sizeof(text));
		printf("  after %6lld ms: %s\n", (long long)p->f[i].after, text);
	}
}

/* ---- carrying out ---- */

static bool
good_path(const struct sim *s)
{
	for (unsigned l = 0; l < LINKS; l++)
		if (sim_path(s, l) && s->slow[0][l] == 0 && s->slow[1][l] == 0)
			return true;
	return false;
}

static void
set_cut(struct sim *s, const struct fault *f, bool on)
{
	for (unsigned l = 0; l < LINKS; l++)
		for (int n = 0; n < 2; n++)
			if (f->kind == FAULT_CUT_ALL || (l == f->link && (f->dir == n || f->dir == 2)))
				s->cut[n][l] = on;
}

static void
set_delay(struct sim *s, const struct fault *f, int64_t ms)
{
	for (int n = 0; n < 2; n++)
		if (f->dir == n || f->dir == 2)
			s->slow[n][f->link] = ms;
}

/* About node `about`, on node n. */
static void
operator(struct sim *s, int n, enum policy_op op, int about, int64_t ms)
{
	struct policy_event e = { .type = EV_OP, .op = op, .id = 77, .index = -1,
		.op_node = (uint8_t)about, .ms = ms };

	if (sim_runs(s, n) && s->now >= s->n[n].agent_paused)
		agent_event(s, n, &e);
}

static void
excuse(struct sim *s, int n, const char *what)
{
	sim_say(s, "node %d %s, and lives", !n, what);
	s->excused = true;
}

/* `hactl failover` on the node of the fault.  False: he need not ask any more. */
static bool
failover(struct sim *s, const struct fault *f)
{
	struct node *x = &s->n[f->node];
	const struct node *y = &s->n[!f->node];
	bool off = (f->arg & WORD_OFF) != 0 && (!y->up || (f->arg & WORD_WRONG) != 0);
	struct policy_event e = { .type = EV_OP, .op = OP_FAILOVER, .id = 78, .index = -1,
		.op_node = (uint8_t)f->node, .peer_is_off = off,
		.accept_loss = (f->arg & WORD_LOSS) != 0 };
	bool serves = x->policy.role == ROLE_ACTIVE || x->policy.role == ROLE_PROMOTE;

	if (!x->agent || !sim_runs(s, f->node) || s->now < x->agent_paused)
		return true;
	x->asked = true;
	x->accepts = e.accept_loss;
	if (off)
		x->told_ms = s->now;
	agent_event(s, f->node, &e);
	if (off && y->up && x->policy.peer_is_off)
		excuse(s, f->node, "was called off");
	/* A presumption may be wrong about a node that hung.  Where it needs nobody to acknowledge,
	 * it goes on until it hears of the one that took over with a loss accepted. */
	if (!serves && x->policy.role == ROLE_PROMOTE && s->plan->mode == POLICY_SERIAL_PING && y->up
	    && y->c.role == DATA_ACTIVE && gen_kind_alone((enum gen_kind)y->c.gen.kind))
		excuse(s, f->node, "was presumed off");
	return !serves;
}

void
plan_operator(struct sim *s, const struct msg *m)
{
	const struct fault *f = &s->plan->f[m->no];
	uint64_t no = m->no, until = m->lsn;
	struct msg *next;

	if (s->healing || (uint64_t)s->now >= until || !failover(s, f))
		return;
	next = sim_post(s, M_OPERATOR, 0, 0, OPERATOR_MS);
	next->no = no;
	next->lsn = until;
}

void
plan_online(struct sim *s)
{
	for (int n = 0; n < 2; n++)
		if (s->n[n].agent && s->n[n].policy.marks.kept_out)
			operator(s, n, OP_ONLINE, n, 0);
}

void
plan_end(struct sim *s, const struct fault *f)
{
	char text[120];

	if (s->healing)
		return;
	fault_text(f, text, sizeof(text));
	sim_say(s, "end of: %s", text);
	switch (f->kind) {
	case FAULT_CUT:
	case FAULT_CUT_ALL:
		set_cut(s, f, false);
		break;
	case FAULT_DELAY:
		set_delay(s, f, 0);
		break;
	case FAULT_LOSS:
		s->loss = 0;
		break;
	case FAULT_PING:
		s->ping_cut[f->node] = false;
		break;
	case FAULT_STANDBY:
		operator(s, f->node, OP_ONLINE, f->node, 0);
		break;
	case FAULT_FENCE:
		s->fence[f->node] = FENCE_WORKS;
		break;
	case FAULT_VOTER:
		s->voter_cut[f->node] = false;
		break;
	default:
		break;
	}
}

void
plan_heal(struct sim *s)
{
	memset(s->cut, 0, sizeof(s->cut));
	memset(s->slow, 0, sizeof(s->slow));
	memset(s->voter_cut, 0, sizeof(s->voter_cut));
	memset(s->fence, 0, sizeof(s->fence));
	s->ping_cut[0] = s->ping_cut[1] = false;
	s->loss = 0;
}

static void
process_dies(struct sim *s, const struct fault *f)
{
	struct node *x = &s->n[f->node];

	if (f->kind == FAULT_AGENT_DIES && x->agent) {
		agent_stop(s, f->node);
		x->agent_at = s->now + f->ms;
	} else if (f->kind == FAULT_SYNCD_DIES && x->syncd) {
		syncd_stop(s, f->node, false);
		x->syncd_at = s->now + f->ms;
	}
}

/* What lasts, and needs its end told. */
static void
path_fault(struct sim *s, const struct fault *f, unsigned i)
{
	switch (f->kind) {
	case FAULT_LOSS:
		s->loss = (unsigned)f->arg;
		break;
	case FAULT_DELAY:
		set_delay(s, f, f->arg);
		break;
	case FAULT_PING:
		s->ping_cut[f->node] = true;
		break;
	case FAULT_FENCE:
		s->fence[f->node] = (enum fence_mood)f->arg;
		break;
	case FAULT_VOTER:
		s->voter_cut[f->node] = true;
		break;
	default:
		set_cut(s, f, true);
		break;
	}
	if (!s->plan->may_split && !good_path(s)) {
		sim_say(s, "left out: it would take the last path");
		f->kind == FAULT_DELAY ? set_delay(s, f, 0) : set_cut(s, f, false);
		return;
	}
	sim_post(s, M_FAULT_END, 0, 0, f->ms)->no = i;
}

/* What waits for the end of a pause is due then, so no pause ends earlier. */
static void
longer(int64_t *until, int64_t ms)
{
	if (*until < ms)
		*until = ms;
}

static void
carry_out(struct sim *s, const struct fault *f, unsigned i)
{
	struct node *x = &s->n[f->node];
	struct msg *m;
	char text[120];

	fault_text(f, text, sizeof(text));
	sim_say(s, "FAULT %s", text);
	switch (f->kind) {
	case FAULT_POWER:
		if (x->up)
			sim_power_off(s, f->node, f->ms);
		break;
	case FAULT_HANG:
		longer(&x->paused_until, s->now + f->ms);
		x->vote_at = x->paused_until + (int64_t)sim_random(s, 1000);
		break;
	case FAULT_AGENT_HANGS:
		longer(&x->agent_paused, s->now + f->ms);
		break;
	case FAULT_AGENT_DIES:
	case FAULT_SYNCD_DIES:
		process_dies(s, f);
		break;
	case FAULT_SWITCHOVER:
		operator(s, f->node, OP_SWITCHOVER, !f->node, 0);
		break;
	case FAULT_MAINTENANCE:
		operator(s, f->node, OP_MAINTENANCE, f->node, f->ms);
		break;
	case FAULT_STANDBY:
		operator(s, f->node, OP_STANDBY, f->node, 0);
		sim_post(s, M_FAULT_END, 0, 0, f->ms)->no = i;
		break;
	case FAULT_CLOCK:
		x->wall += f->arg;
		break;
	case FAULT_FAILOVER:
		if ((f->arg & WORD_PULL) != 0 && s->n[!f->node].up)
			sim_power_off(s, !f->node, f->ms);
		m = sim_post(s, M_OPERATOR, 0, 0, 1);
		m->no = i;
		m->lsn = (uint64_t)(s->now + f->ms);
		break;
	default:
		path_fault(s, f, i);
		break;
	}
}

void
plan_due(struct sim *s)
{
	const struct plan *p = s->plan;

	if (s->next_fault >= p->n || s->now < s->next_at || (p->single && !sim_in_step(s)))
		return;
	carry_out(s, &p->f[s->next_fault], s->next_fault);
	s->next_fault++;
	s->next_at = s->now + (s->next_fault < p->n ? p->f[s->next_fault].after : p->tail_ms);
}

/* ---- shrinking ---- */

static bool
breaks(struct sim *s, struct plan *p)
{
	uint64_t roll = p->roll;

	for (unsigned i = 0; i < ROLLS; i++) {
		p->roll = i == 0 ? roll : p->seed * 1000 + i;
		sim_run(s, p, false);
		if (s->why[0] != '\0')
			return true;
	}
	p->roll = roll;
	return false;
}

static struct plan
without(const struct plan *p, unsigned i)
{
	struct plan q = *p;

	if (i + 1 < q.n)
		q.f[i + 1].after += q.f[i].after;
	else
		q.tail_ms += q.f[i].after;
	memmove(&q.f[i], &q.f[i + 1], (q.n - i - 1) * sizeof(q.f[0]));
	q.n--;
	return q;
}

static bool
try(struct sim *s, struct plan *p, struct plan q)
{
	if (!breaks(s, &q))
		return false;
	*p = q;
	return true;
}

static bool
shrink_once(struct sim *s, struct plan *p)
{
	bool any = false;
	struct plan q;

	for (unsigned i = p->n; i-- > 0;)
		any = try(s, p, without(p, i)) || any;
	for (unsigned bit = 1; bit < NOISES; bit <<= 1) {
		q = *p;
		q.noise &= ~bit;
		if (q.noise != p->noise)
			any = try(s, p, q) || any;
	}
	for (unsigned i = 0; i < p->n; i++) {
		q = *p;
		q.f[i].ms = q.f[i].ms / 2 / 100 * 100;
		if (q.f[i].kind != FAULT_SWITCHOVER && q.f[i].kind != FAULT_CLOCK
		    && q.f[i].ms >= 200)
			any = try(s, p, q) || any;
	}
	if (p->client_ms < 400) {
		q = *p;
		q.client_ms *= 2;
		any = try(s, p, q) || any;
	}
	return any;
}

void
plan_shrink(struct sim *s, struct plan *p)
{
	for (int i = 0; i < 8 && shrink_once(s, p); i++)
		;
}
