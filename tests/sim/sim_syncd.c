/* sim_syncd.c - a syncd around the real commit rules (syncer/commit.c) and a log of real
 * records (sim_log.c): a disk that takes time, a session with the other syncd that ships
 * records, finds where the logs part, cuts a tail or calls it a split, and clients that
 * wait for their acknowledgement.  Modelled: the messages of the session (PROTOCOL.md),
 * of which the search's questions are answered at once; owners are a number. */
#include <assert.h>
#include <string.h>

#include "sim.h"

static void
append_own(struct sim *s, int n, uint32_t id, const struct gen *g, struct commit_acts *a)
{
	struct node *x = &s->n[n];

	log_append(s, n, id, g);
	x->pending[x->tip] = id != 0;
	commit_written(&x->c, x->tip, x->log[x->tip].hash, g, s->now, a);
}

static void
state(struct sim *s, int n)
{
	struct node *x = &s->n[n];
	struct msg *m = sim_post(s, M_STATE, n, x->agent_life, 1 + (int64_t)sim_random(s, 3));

	sim_in_order(s, m, LANE_TO_AGENT);
	commit_state(&x->c, &m->st);
	m->st.peer_heard_ms = x->last_seen_ms < 0 ? -1 : s->now - x->last_seen_ms;
	m->no = x->syncd_life;
}

static void
tell(struct sim *s, int n, enum agentlink_type type, const struct commit_act *a)
{
	struct msg *m = sim_post(s, M_EVENT, n, s->n[n].agent_life, 2 + (int64_t)sim_random(s, 4));

	sim_in_order(s, m, LANE_TO_AGENT);
	m->ev = (struct policy_event) { .type = EV_SYNCD, .msg = type, .gen = a->gen, .no = a->no,
		.lsn = a->lsn, .drained = a->drained };
	if (type == AL_REFUSED)
		m->ev.no = a->request;
	m->no = s->n[n].syncd_life;	/* lost with the connection */
}

static void
facts(struct sim *s, int n)
{
	struct node *x = &s->n[n];
	struct msg *m;

	if (s->session == 0)
		return;
	m = sim_post(s, M_FACTS, !n, s->session, 1 + (int64_t)sim_random(s, 4));
	m->gen = x->c.gen;
	m->no = x->c.fence_no;
	m->lsn = x->c.role == DATA_STANDBY ? x->durable : x->tip;
	m->flag = x->c.role == DATA_ACTIVE && !x->c.fenced && !x->c.promoting;
	m->ms = x->c.insync;
	m->slot = s->nfacts++ % FACTS_MAX;
	s->facts[m->slot].order = m->order;
	s->facts[m->slot].h = x->history;
}

/* To a standby whose log is known to be the beginning of ours, and to no other. */
static void
told(struct sim *s, int n)
{
	const struct commit *c = &s->n[n].c;
	struct msg *m;

	if (s->session == 0 || c->role != DATA_ACTIVE || !c->peer_matched)
		return;
	m = sim_post(s, M_TOLD, !n, s->session, 2);
	m->no = c->gen.no;
	m->lsn = c->commit_lsn;
}

static void
advance(struct sim *s, int n, uint64_t lsn)
{
	struct node *x = &s->n[n];

	for (uint64_t i = x->answered + 1; i <= lsn; i++) {
		if (!x->pending[i])
			continue;
		x->pending[i] = false;
		if (x->c.role != DATA_ACTIVE)
			continue;
		/* I4: whoever acknowledges must be the newest that ever did, or complete what
		 * the newer one had received before it took over. */
		if (x->c.gen.no < s->acked_gen && !s->excused
		    && memcmp(s->n[!n].log[i].hash, x->log[i].hash, 16) != 0)
			sim_fail(s, "I4: node %d acknowledged in gen %llu after gen %llu", n,
			    (unsigned long long)x->c.gen.no, (unsigned long long)s->acked_gen);
		if (x->c.gen.no > s->acked_gen)
			s->acked_gen = x->c.gen.no;
		s->acked[x->log[i].id] = true;
		s->nacked++;
	}
	x->answered = lsn;
	told(s, n);
}

static void
forget_clients(struct node *x)
{
	memset(x->pending, 0, sizeof(x->pending));
	x->answered = 0;
}

static void
perform_one(struct sim *s, int n, struct commit_act *a, struct commit_acts *more)
{
	struct node *x = &s->n[n];

	switch (a->type) {
	case COMMIT_WRITE_GEN:
		append_own(s, n, 0, &a->gen, more);
		break;
	case COMMIT_RELEASE:
		for (unsigned i = 0; i < x->nheld; i++)
			append_own(s, n, x->held[i], NULL, more);
		x->nheld = 0;
		break;
	case COMMIT_REFUSE:
		x->nheld = 0;
		break;
	case COMMIT_UNDECIDED:
		break;	/* clients wait as long as it takes */
	case COMMIT_ADVANCE:
		if (a->lsn > x->known)
			x->known = a->lsn;	/* goes to the owners on either node */
		advance(s, n, a->lsn);
		break;
	case COMMIT_ALONE_WANTED:
		tell(s, n, AL_ALONE_WANTED, a);
		break;
	case COMMIT_JOIN_WANTED:
		tell(s, n, AL_JOIN_WANTED, a);
		break;
	case COMMIT_PROMOTED:
		/* One that is late and older than what acknowledges now has to give way. */
		if (!s->excused && a->gen.no > s->acked_gen && !sim_has_acked(s, n))
			sim_fail(s, "I1: node %d was promoted without everything acknowledged", n);
		s->promotions++;
		tell(s, n, AL_PROMOTED, a);
		break;
	case COMMIT_REFUSED:
		tell(s, n, AL_REFUSED, a);
		break;
	case COMMIT_DEMOTED:
		forget_clients(x);
		tell(s, n, AL_DEMOTED, a);
		break;
	case COMMIT_MARK:
		sim_post(s, M_MARKED, n, x->syncd_life, 3)->no = a->no;
		break;
	case COMMIT_OUTDATED:
		tell(s, n, AL_OUTDATED, a);
		break;
	case COMMIT_ADOPTED:
		tell(s, n, AL_ADOPTED, a);
		break;
	case COMMIT_NEWER:
		tell(s, n, AL_NEWER, a);
		break;
	case COMMIT_CHANGED:
		state(s, n);
		facts(s, n);
		break;
	}
}

void
syncd_perform(struct sim *s, int n, struct commit_acts *a)
{
	struct commit_acts more = { .n = 0 };

	for (size_t i = 0; i < a->n; i++)
		perform_one(s, n, &a->act[i], &more);
	a->n = 0;
	if (more.n > 0)
		syncd_perform(s, n, &more);
}

void
syncd_start(struct sim *s, int n)
{
	struct node *x = &s->n[n];
	struct commit_conf cc = { .node = (unsigned)n, .rule = COMMIT_AUTO, .ship = true,
		.hold_ms = 2000, .stable_ms = 3000, .silent_ms = 2000, .held_max_bytes = 60,
		.join_lag = 64 };
	struct gen g;

	x->syncd = true;
	x->syncd_life = (uint32_t)++s->order;
	x->nheld = 0;
	x->link_known = false;
	x->last_seen_ms = -1;
	forget_clients(x);
	log_recover(s, n);
	x->known = sim_random(s, (x->known < x->tip ? x->known : x->tip) + 1);
	commit_init(&x->c, &cc);
	g = history_last(&x->history);
	commit_recovered(&x->c, &g, x->tip, x->log[x->tip].hash, x->mark);
	x->connect_at = s->now + 100;
}

void
syncd_stop(struct sim *s, int n, bool power)
{
	struct node *x = &s->n[n];

	if (x->syncd || power)
		log_crash(s, n, power);
	if (!x->syncd)
		return;
	x->syncd = x->link_known = false;
	x->syncd_life = 0;
	s->session = 0;
	s->session_cut = -1;
}

static void
ship(struct sim *s, int n)
{
	struct node *x = &s->n[n];
	struct msg *m;
	struct span raw;
	uint64_t upto;

	if (s->session == 0 || x->c.role != DATA_ACTIVE || !x->c.peer_matched)
		return;
	upto = gen_kind_alone((enum gen_kind)x->c.gen.kind)
	    || x->durable < x->c.gen.start_lsn ? x->durable : x->tip;
	while (x->shipped < upto && s->nq < QUEUE_MAX / 2) {
		m = sim_post(s, M_BATCH, !n, s->session, 1 + (int64_t)sim_random(s, 4));
		m->no = x->c.gen.no;
		m->lsn = x->shipped + 1;
		memcpy(m->prev, x->log[x->shipped].hash, 16);
		raw = log_raw(x, ++x->shipped);
		assert(raw.len <= sizeof(m->bytes));
		m->len = (int)raw.len;
		memcpy(m->bytes, raw.p, raw.len);
	}
}

static void
gone(struct sim *s)
{
	s->session = 0;
	s->session_cut = -1;
	for (int n = 0; n < 2; n++) {
		struct commit_acts a = { .n = 0 };

		if (!s->n[n].syncd)
			continue;
		commit_peer_down(&s->n[n].c, s->now, &a);
		syncd_perform(s, n, &a);
		s->n[n].connect_at = s->now + 100 + (int64_t)sim_random(s, 300);
	}
}

/* One TLS connection over one of the two Ethernet paths. */
void
syncd_session(struct sim *s)
{
	bool both = s->n[0].syncd && s->n[1].syncd && s->n[0].up && s->n[1].up;
	bool awake = sim_runs(s, 0) && sim_runs(s, 1);
	unsigned link = sim_path(s, 0) ? 0 : 1;

	if (s->session != 0) {
		bool ok = both && awake && sim_path(s, s->session_link);

		if (ok)
			s->session_cut = -1;
		else if (s->session_cut < 0)
			s->session_cut = s->now;
		if (!both || (!ok && s->now - s->session_cut > 1000))
			gone(s);
		return;
	}
	for (int n = 0; n < 2; n++)
		if (s->n[n].syncd && s->n[n].c.peer_up)
			gone(s);
	if (!both || !awake || !sim_path(s, link) || s->now < s->n[0].connect_at
	    || s->now < s->n[1].connect_at)
		return;
	s->session = (uint32_t)++s->order;
	s->session_link = link;
	for (int n = 0; n < 2; n++) {
		struct commit_acts a = { .n = 0 };

		commit_peer_up(&s->n[n].c, s->now, &a);
		syncd_perform(s, n, &a);
		facts(s, n);
	}
}

static void
split(struct sim *s, int n, uint64_t fork)
{
	struct node *y = &s->n[!n];
	struct commit_acts a = { .n = 0 };

	sim_say(s, "node %d: two histories behind lsn %llu", !n, (unsigned long long)fork);
	commit_split(&y->c, &a);
	syncd_perform(s, !n, &a);
	if (!s->excused)
		sim_fail(s, "split between the nodes without a double fault");
}

/* The standby n throws a tail away: nothing that only it has may be promised. */
static void
give_way(struct sim *s, int n, uint64_t fork)
{
	struct node *x = &s->n[n];
	struct commit_acts a = { .n = 0 };
	struct gen g;

	for (uint64_t i = fork + 1; i <= x->tip; i++)
		if (x->log[i].id != 0 && s->acked[x->log[i].id] && !s->excused)
			sim_fail(s, "I1: node %d cuts lsn %llu, which was acknowledged", n,
			    (unsigned long long)i);
	sim_say(s, "node %d drops its tail %llu..%llu", n, (unsigned long long)fork + 1,
	    (unsigned long long)x->tip);
	log_cut(s, n, fork);
	forget_clients(x);
	if (x->known > fork)
		x->known = fork;
	x->syncd_life = (uint32_t)++s->order;	/* what the disk was doing is void */
	g = history_last(&x->history);
	commit_recovered(&x->c, &g, fork, x->log[fork].hash, x->mark);
	syncd_perform(s, n, &a);
	facts(s, n);
}

/* The standby's log against ours: a prefix, or a tail that is cut, or a split. */
static void
match(struct sim *s, int n, const struct msg *m)
{
	struct node *x = &s->n[n], *y = &s->n[!n];
	struct commit_acts a = { .n = 0 };
	uint64_t fork = 0;

	if (y->c.split)
		return;
	if (!log_common(s, &fork) || log_tail(y, fork) == HISTORY_TAIL_ACKED) {
		split(s, n, fork);
	} else if (y->tip > fork) {
		give_way(s, !n, fork);
	} else {
		x->shipped = fork;
		commit_peer_matched(&x->c, fork, m->ms != 0, s->now, &a);
		syncd_perform(s, n, &a);
		told(s, n);
	}
}

/* Did the other one, since our newest generation, enter one that may hold what we lack?
 * The same question as in ship.c, of the history that came with its facts. */
static bool
alone_since(const struct history *p, const struct gen *own, uint64_t no)
{
	size_t i = p->n;

	if (history_last(p).no != no)
		return true;
	for (; i > 0 && !gen_same(&p->gen[i - 1], own); i--)
		if (p->gen[i - 1].kind != GEN_CLEAN && p->gen[i - 1].kind != GEN_JOIN)
			return true;
	return i == 0;
}

static void
got_facts(struct sim *s, int n, const struct msg *m)
{
	struct node *x = &s->n[n];
	struct commit_acts a = { .n = 0 };
	struct gen g = m->gen;

	assert(s->facts[m->slot].order == m->order);
	if (g.no > x->c.gen.no || m->no > x->c.fence_no) {
		if (m->no > g.no)
			g = (struct gen) { .no = m->no, .kind = GEN_CLEAN, .node = (uint8_t)!n };
		if (x->c.role == DATA_ACTIVE || !m->flag)
			commit_peer_newer(&x->c, &g, &a);
	}
	if (m->flag && x->c.role == DATA_STANDBY)
		commit_active_seen(&x->c, m->gen.no,
		    alone_since(&s->facts[m->slot].h, &x->c.gen, m->gen.no), &a);
	syncd_perform(s, n, &a);
	/* An active that speaks is answered, though nothing may have changed here. */
	if (m->flag && x->c.role == DATA_STANDBY)
		facts(s, n);
	if (x->c.role == DATA_ACTIVE && !m->flag && !x->c.fenced && !x->c.promoting
	    && s->n[!n].c.role == DATA_STANDBY
	    && (!x->c.peer_matched || x->shipped > x->tip))
		match(s, n, m);
}

static void
got_batch(struct sim *s, int n, struct msg *m)
{
	struct node *x = &s->n[n];
	struct commit_acts a = { .n = 0 };
	uint64_t fence = x->c.fence_no;
	enum commit_batch rc = commit_batch(&x->c, m->no, m->lsn, m->prev);
	struct gen g;
	bool is_gen;

	if (rc == COMMIT_BATCH_OLD)
		facts(s, n);
	if (rc != COMMIT_BATCH_OK)
		return;
	if (m->no < fence)
		sim_fail(s, "node %d took a batch of gen %llu behind the fence %llu", n,
		    (unsigned long long)m->no, (unsigned long long)fence);
	if (!log_take(s, n, (struct span){ (const char *)m->bytes, (size_t)m->len }, &g, &is_gen)) {
		sim_fail(s, "node %d got a record that does not follow its log", n);
		return;
	}
	commit_written(&x->c, x->tip, x->log[x->tip].hash, is_gen ? &g : NULL, s->now, &a);
	syncd_perform(s, n, &a);
}

/* A batch of an older generation that would fit otherwise: the fencing token alone
 * must keep it out.  Asked of a copy. */
static void
probe_fence(struct sim *s, int n)
{
	struct commit copy;

	if (s->n[n].c.role != DATA_STANDBY || s->n[n].c.fence_no < 3 || !sim_chance(s, 5))
		return;
	copy = s->n[n].c;
	if (commit_batch(&copy, copy.fence_no - 1, copy.tip_lsn + 1, copy.tip_hash)
	    == COMMIT_BATCH_OK)
		sim_fail(s, "node %d would take a batch of an older generation", n);
}

void
syncd_message(struct sim *s, struct msg *m)
{
	struct node *x = &s->n[m->node];
	struct commit_acts a = { .n = 0 };

	if (!x->syncd)
		return;
	if (m->kind >= M_FACTS)
		x->last_seen_ms = s->now;
	switch (m->kind) {
	case M_DURABLE:
		if (m->lsn > x->durable && m->lsn <= x->tip)
			x->durable = m->lsn;
		commit_durable(&x->c, m->lsn, x->log[m->lsn].hash, s->now, &a);
		break;
	case M_MARKED:
		x->mark = m->no > x->mark ? m->no : x->mark;
		commit_marked(&x->c, &a);
		break;
	case M_FACTS:
		got_facts(s, m->node, m);
		break;
	case M_BATCH:
		got_batch(s, m->node, m);
		break;
	case M_ACK:
		commit_peer_ack(&x->c, m->no, m->lsn, m->flag, s->now, &a);
		break;
	case M_TOLD:
		if (m->no >= x->c.fence_no)
			commit_told(&x->c, m->lsn, &a);
		break;
	default:
		break;
	}
	syncd_perform(s, m->node, &a);
	if (m->kind == M_DURABLE && x->c.role == DATA_STANDBY && s->session != 0) {
		struct msg *k = sim_post(s, M_ACK, !m->node, s->session, 1 + (int64_t)sim_random(s, 4));

		k->no = x->c.gen.no;
		k->lsn = x->durable;
		k->flag = x->c.insync;
	}
}

void
syncd_client(struct sim *s, int n)
{
	struct node *x = &s->n[n];
	struct commit_acts a = { .n = 0 };
	enum owner_refusal why;
	uint32_t id;

	if (!x->syncd || s->next_id >= IDS_MAX - 1 || x->tip > LOG_MAX - 200)
		return;
	switch (commit_append(&x->c, 1, &why)) {
	case COMMIT_DO_WRITE:
		id = ++s->next_id;
		append_own(s, n, id, NULL, &a);
		break;
	case COMMIT_DO_HOLD:
		x->held[x->nheld++] = ++s->next_id;
		break;
	case COMMIT_DO_REFUSE:
		break;
	}
	syncd_perform(s, n, &a);
}

void
syncd_step(struct sim *s, int n)
{
	struct node *x = &s->n[n];
	struct commit_acts a = { .n = 0 };

	if (!x->syncd)
		return;
	/* The disk: one group after the other, 1 to 20 ms. */
	if (x->tip > x->syncing && x->syncing <= x->durable) {
		x->syncing = x->tip;
		sim_post(s, M_DURABLE, n, x->syncd_life, 1 + (int64_t)sim_random(s, 20))->lsn = x->tip;
	}
	commit_tick(&x->c, s->now, &a);
	syncd_perform(s, n, &a);
	ship(s, n);
	probe_fence(s, n);
	if (s->now % 200 == 0)
		state(s, n);
}
