/* sim_agent.c - an agent around the real policy, peer view and frames.  It executes
 * the actions as the daemon does, with results that come later, fail sometimes, or
 * never, because the node was cut off in the middle of the list. */
#include <string.h>

#include "sim.h"

#define TICK_MS 50		/* as agent.c */

static int64_t
keepalive(unsigned link)
{
	return link == 2 ? 500 : 250;
}

static bool
syncd_up(const struct node *x)
{
	return x->syncd && x->link_known;
}

static void
random_id(struct sim *s, uint8_t id[16])
{
	uint64_t part[2] = { sim_random(s, UINT64_MAX), sim_random(s, UINT64_MAX) };

	memcpy(id, part, 16);
}

static void
view(struct sim *s, int n, struct policy_view *v)
{
	struct node *x = &s->n[n];

	memset(v, 0, sizeof(*v));
	v->now_ms = s->now;
	v->wall_ms = s->now + x->wall;
	random_id(s, v->random);
	peer_look(&x->peer, s->now, &v->peer);
	v->ping_ok = s->now - x->ping_lost < 1000;
	v->ping_score = v->ping_ok;
	v->syncd_up = syncd_up(x);
	v->data = x->data;
	v->local_known = true;
	v->group_started = x->group;
	v->cannot = x->cannot;
	v->quorum = x->quorum;
	v->quorum_peer = x->quorum_peer;
	v->watchdog_ms = x->armed ? WATCHDOG_MS : 0;
	v->saved = x->saved;
	v->answers = s->now < x->answers_ms;
}

static void
post_frame(struct sim *s, int from, unsigned link, const uint8_t *buf, int len, int64_t delay)
{
	struct msg *m = sim_post(s, M_FRAME, !from, 0, delay);

	m->link = link;
	m->len = len;
	memcpy(m->u.bytes, buf, (size_t)len);
}

static void
send_frame(struct sim *s, int n, unsigned link)
{
	struct node *x = &s->n[n];
	struct policy_view v;
	struct frame f;
	uint8_t buf[FRAME_MAX];
	int64_t late = (link == 2 ? 70 : 1) + (int64_t)sim_random(s, link == 2 ? 60 : 6);
	int len;

	view(s, n, &v);
	policy_fill(&x->policy, &v, &f);
	peer_stamp(&x->peer, link, s->now, &f);
	len = frame_encode(&f, (const uint8_t *)"clusterX", &s->keys[n][link].key[0], buf, sizeof(buf));
	attack_tape(s, n, link, buf, len);
	if (s->cut[n][link] || sim_random(s, 100) < s->loss)
		return;
	late += (int64_t)sim_random(s, (uint64_t)s->slow[n][link]);
	post_frame(s, n, link, buf, len, late);
	/* Networks repeat and delay; the peer must not mind. */
	if ((s->plan->noise & NOISE_TWICE) != 0 && sim_chance(s, 5))
		post_frame(s, n, link, buf, len, late + (int64_t)sim_random(s, 8000));
}

/* Now, and again when it is due. */
static void
send_all(struct sim *s, int n)
{
	for (unsigned l = 0; l < LINKS; l++) {
		s->n[n].send_at[l] = s->now + keepalive(l);
		send_frame(s, n, l);
	}
}

void
agent_answer(struct sim *s, int n, const struct policy_event *e, int64_t delay)
{
	sim_post(s, M_EVENT, n, s->n[n].agent_life, delay)->u.ev = *e;
}

/* Does any machine on the LAN answer for the peer's addresses or the VIP? */
static enum policy_probe
probe(const struct sim *s, int n, const struct policy_action *a)
{
	const struct node *y = &s->n[!n];

	if (!sim_path(s, 1) || !y->up || s->now < y->paused_until)
		return PROBE_CLEAR;
	if (a->on)
		return PROBE_TAKEN;
	return y->vip ? PROBE_TAKEN : PROBE_CLEAR;
}

static void
resource(struct sim *s, int n, const struct policy_action *a)
{
	struct node *x = &s->n[n];
	struct policy_event e = { .type = EV_RES, .index = a->index };
	bool bad = !s->healing && (s->plan->noise & NOISE_RESOURCE) != 0 && sim_chance(s, 10);

	switch (a->act) {
	case ACT_RES_START:
		e.verb = POLICY_START;
		e.result = bad ? POLICY_FAILED : POLICY_RUNNING;
		x->res[a->index] = true;
		break;
	case ACT_RES_STOP:
		e.verb = POLICY_STOP;
		e.result = bad ? POLICY_FAILED : POLICY_STOPPED;
		x->res[a->index] = bad && x->res[a->index];
		break;
	case ACT_RES_STATUS:
		e.verb = POLICY_STATUS;
		e.result = x->res[a->index] ? POLICY_RUNNING : POLICY_STOPPED;
		break;
	default:
		e.verb = POLICY_DRAIN;
		e.result = POLICY_STOPPED;
		break;
	}
	agent_answer(s, n, &e, 20 + (int64_t)sim_random(s, 200));
}

/* Nobody serves while the other one begins. */
static void
check_release(struct sim *s, int n, const struct policy_action *a)
{
	const struct node *y = &s->n[!n];
	bool runs = y->vip;

	for (int i = 0; i < NRES; i++)
		runs = runs || y->res[i];
	if (a->act == ACT_SYNCD_PROMOTE && s->n[n].policy.role == ROLE_PROMOTE
	    && s->n[n].policy.proof == PROOF_RELEASE && y->up && runs)
		sim_fail(s, "node %d was released while services run on the other node", n);
}

static void
to_syncd(struct sim *s, int n, const struct policy_action *a)
{
	struct node *x = &s->n[n];
	struct msg *m;

	if (!syncd_up(x))
		return;
	if (a->gen.no != 0) {
		sim_gen(s, &a->gen);
		if (x->disk.marks.fixed < a->gen.no)
			sim_fail(s, "node %d used gen %llu before it was durable", n,
			    (unsigned long long)a->gen.no);
		sim_say(s, "node %d: gen %llu %s", n, (unsigned long long)a->gen.no,
		    gen_kind_name((enum gen_kind)a->gen.kind));
		s->solos += gen_kind_alone((enum gen_kind)a->gen.kind);
		check_release(s, n, a);
		guard_check(s, n, a);
		if (a->act == ACT_SYNCD_GRANT)
			guard_grant(s, n, &a->gen);
		/* I15: silence must have been there, unless it goes on after a restart of
		 * syncd. */
		if (a->gen.kind == GEN_PRESUMED
		    && (a->act == ACT_SYNCD_GRANT || x->c.gen.kind != GEN_PRESUMED)
		    && (s->now - x->heard_ms <= DEAD_MS || (s->reach_ms[n] >= 0
		    && s->now - s->reach_ms[n] > 2 * DEAD_MS)))
			sim_fail(s, "I15: node %d presumed although the peer's frames arrive", n);
	}
	m = sim_post(s, M_TO_SYNCD, n, x->syncd_life, 1 + (int64_t)sim_random(s, 4));
	m->act = a->act;
	m->u.gen = a->gen;
	m->no = a->no;
	m->ms = (int)a->ms;
}

static bool
save(struct sim *s, int n, uint64_t no)
{
	struct node *x = &s->n[n];

	if (!s->healing && (s->plan->noise & NOISE_STATE) != 0 && sim_chance(s, 5)) {
		sim_say(s, "node %d: its state cannot be written", n);
		return false;
	}
	x->disk.marks = x->policy.marks;
	x->saved = no;
	return true;
}

static void
vip(struct sim *s, int n, const struct policy_action *a)
{
	struct policy_event e = { .type = EV_VIP, .index = a->index, .up = a->act == ACT_VIP_UP,
		.ok = true };

	s->n[n].vip = e.up;
	s->promotions += s->plan->bare && e.up;
	if (s->plan->bare && e.up && s->n[n].disk.marks.fixed < s->n[n].policy.gen.no)
		sim_fail(s, "node %d serves in gen %llu before it is durable", n,
		    (unsigned long long)s->n[n].policy.gen.no);
	sim_say(s, "node %d: vip %s", n, e.up ? "up" : "down");
	agent_answer(s, n, &e, 5 + (int64_t)sim_random(s, 30));
}

/* False: the state could not be saved. */
static bool
execute(struct sim *s, int n, const struct policy_action *a)
{
	struct policy_event e = { .type = EV_PROBE, .no = a->no };

	switch (a->act) {
	case ACT_SAVE:
		return save(s, n, a->no);
	case ACT_SYNCD_PROMOTE: case ACT_SYNCD_DEMOTE: case ACT_SYNCD_GRANT:
	case ACT_SYNCD_DENY: case ACT_SYNCD_OUTDATE:
		to_syncd(s, n, a);
		break;
	case ACT_RES_START: case ACT_RES_STOP: case ACT_RES_STATUS: case ACT_RES_DRAIN:
		resource(s, n, a);
		break;
	case ACT_GROUP:
		s->n[n].group = a->on;
		s->n[n].cannot = a->cannot;
		break;
	case ACT_VIP_UP: case ACT_VIP_DOWN:
		vip(s, n, a);
		break;
	case ACT_PROBE:
		e.probe = probe(s, n, a);
		agent_answer(s, n, &e, 200 + (int64_t)sim_random(s, 200));
		break;
	case ACT_SEND_NOW:
		send_all(s, n);
		break;
	case ACT_NOTE:
		sim_say(s, "node %d: %s", n, a->text);
		break;
	case ACT_ALARM:
		sim_say(s, "node %d: alarm %s %s %s", n, policy_alarm_name(a->alarm),
		    a->on ? "on" : "off", a->text);
		break;
	case ACT_OP_DONE:
		sim_say(s, "node %d: operation ended %d: %s", n, a->code, a->text);
		break;
	case ACT_FENCE:
		guard_fence(s, n, a->no);
		break;
	case ACT_SELF_FENCE:
		s->n[n].self_fence = true;
		break;
	case ACT_ANNOUNCE: case ACT_HISTORY: case ACT_EXIT:
		break;
	}
	return true;
}

/* As agent_act() does. */
static void
perform(struct sim *s, int n, const struct policy_actions *acts, unsigned upto)
{
	bool saved = true;

	for (unsigned i = 0; i < upto; i++) {
		if (!saved && policy_act_needs_save(acts->a[i].act))
			continue;
		if (!execute(s, n, &acts->a[i]))
			saved = false;
		else if (acts->a[i].act == ACT_SAVE)
			saved = true;
	}
}

void
agent_event(struct sim *s, int n, const struct policy_event *e)
{
	static struct policy_actions acts;
	struct node *x = &s->n[n];
	struct policy_view v;
	enum ha_role was;
	unsigned upto;

	if (!x->agent)
		return;
	guard_turn(s, n);
	view(s, n, &v);
	v.ev = *e;
	guard_heard(s, n, &v);
	was = x->policy.role;
	policy_step(&x->policy, &v, &acts);
	guard_role(s, n, was);
	guard_answers(s, n, &v);
	/* Now and then the agent dies between two actions of one list. */
	upto = acts.n;
	if (acts.n > 2 && !s->healing && (s->plan->noise & NOISE_MIDDLE) != 0 && sim_chance(s, 2))
		upto = (unsigned)sim_random(s, acts.n);
	perform(s, n, &acts, upto);
	if (upto < acts.n) {
		sim_say(s, "node %d: agent dies in the middle of its actions", n);
		agent_stop(s, n);
		x->agent_at = s->now + 200 + (int64_t)sim_random(s, 800);
	}
}

enum frame_rc
agent_take(struct sim *s, int n, unsigned link, const uint8_t *p, int len)
{
	struct node *x = &s->n[n];
	struct frame_expect want = { .sender = (uint8_t)!n, .channel = (uint8_t)link,
		.keys = &s->keys[!n][link] };
	enum frame_rc rc;
	struct frame f;

	memcpy(want.cluster, "clusterX", 8);
	rc = frame_decode(p, (size_t)len, &want, &f);
	if (rc != FRAME_OK) {
		peer_refused(&x->peer, link, rc);
		return rc;
	}
	if (f.boot > x->disk.peer_boot)
		x->disk.peer_boot = f.boot;
	peer_kept(&x->peer, f.boot);
	return peer_accept(&x->peer, link, &f, s->now);
}

static void
got_frame(struct sim *s, const struct msg *m)
{
	struct node *x = &s->n[m->node];
	struct policy_event e = { .type = EV_TICK };
	enum frame_rc rc;

	if (!x->agent)
		return;
	rc = agent_take(s, m->node, m->link, m->u.bytes, m->len);
	if (rc == FRAME_OK) {
		attack_taken(s, m->node, m);
		x->heard_ms = s->now;
		agent_event(s, m->node, &e);
	} else if (rc != FRAME_REPLAY && rc != FRAME_OLD_BOOT) {
		sim_fail(s, "own frame refused: %s", frame_rc_name(rc));
	}
	if ((s->plan->noise & NOISE_ATTACK) != 0 && sim_chance(s, 60))
		attack(s);
}

static void
tick(struct sim *s, int n)
{
	struct policy_event e = { .type = EV_TICK };

	sim_post(s, M_TICK, n, s->n[n].agent_life, TICK_MS);
	if (!s->ping_cut[n])
		s->n[n].ping_lost = s->now;
	guard_pet(s, n);
	agent_event(s, n, &e);
}

/* The timer of one link; frames may have gone meanwhile. */
static void
beat(struct sim *s, int n, unsigned link)
{
	struct node *x = &s->n[n];

	if (s->now >= x->send_at[link]) {
		x->send_at[link] = s->now + keepalive(link);
		send_frame(s, n, link);
	}
	sim_post(s, M_SEND, n, x->agent_life, x->send_at[link] - s->now)->link = link;
}

void
agent_message(struct sim *s, struct msg *m)
{
	struct node *x = &s->n[m->node];
	struct policy_event e = { .type = EV_TICK };
	bool connected = x->syncd && m->no == x->syncd_life;

	switch (m->kind) {
	case M_FRAME:
		got_frame(s, m);
		break;
	case M_TICK:
		tick(s, m->node);
		break;
	case M_SEND:
		beat(s, m->node, m->link);
		break;
	case M_STATE:
		if (!connected)
			break;
		x->data = m->u.st;
		x->link_known = true;
		agent_event(s, m->node, &e);
		break;
	case M_SYNCD_SAYS:
		if (connected)
			agent_event(s, m->node, &m->u.ev);
		break;
	case M_EVENT:
		agent_event(s, m->node, &m->u.ev);
		break;
	default:
		break;
	}
}

void
agent_start(struct sim *s, int n)
{
	struct node *x = &s->n[n];
	uint8_t nonce[16];

	random_id(s, nonce);
	x->agent = true;
	x->agent_life = (uint32_t)++s->order;
	x->agent_since = s->now;
	x->agent_paused = 0;
	x->disk.boot++;
	x->saved = 0;
	x->link_known = x->confirmed = x->served = x->asked = x->accepts = false;
	x->word_ms = x->told_ms = -1;
	x->heard_ms = s->now;	/* silence is counted from here */
	x->ping_lost = s->now - 1000;
	policy_init(&x->policy, &s->conf[n], &x->disk.marks, x->disk.boot, s->now);
	peer_init(&x->peer, (uint8_t)n, x->disk.boot, nonce, x->disk.peer_boot, s->now);
	for (unsigned l = 0; l < LINKS; l++) {
		peer_add_link(&x->peer, keepalive(l), 1000, DEAD_MS);
		x->send_at[l] = s->now + (int64_t)sim_random(s, 100);
		sim_post(s, M_SEND, n, x->agent_life, x->send_at[l] - s->now)->link = l;
	}
	sim_post(s, M_TICK, n, x->agent_life, 1);
	guard_pet(s, n);
}

void
agent_stop(struct sim *s, int n)
{
	s->n[n].agent = false;
	s->n[n].agent_life = 0;
}
