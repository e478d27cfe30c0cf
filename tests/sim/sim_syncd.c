/* sim_syncd.c - a syncd around the real commit rules (syncer/commit.c) and a log of real
 * records (sim_log.c): a disk that takes time, a session with the other syncd that ships
 * records, finds where the logs part, cuts a tail or calls it a split, and clients that
 * wait for their acknowledgement.  Modelled: the messages of the session (PROTOCOL.md),
 * of which the search's questions are answered at once; owners are a number. */
#include <assert.h>
#include <string.h>

#include "sim.h"

#define SYNCD_TICK_MS 50	/* as core.c */
#define STATE_MS 200

static void
append_own(struct sim *s, int n, uint32_t id, const struct gen *g, struct commit_acts *a)
{
	struct node *x = &s->n[n];

	log_append(s, n, id, g);
	store.log[n].pending[x->tip] = id != 0;
	commit_written(&x->c, x->tip, store.log[n].rec[x->tip].hash, g, s->now, a);
}

static void
state(struct sim *s, int n)
{
	struct node *x = &s->n[n];
	struct msg *m = sim_post(s, M_STATE, n, x->agent_life, 1 + (int64_t)sim_random(s, 3));

	commit_state(&x->c, &m->u.st);
	m->u.st.peer_heard_ms = x->last_seen_ms < 0 ? -1 : s->now - x->last_seen_ms;
	m->no = x->syncd_life;
}

static void
tell(struct sim *s, int n, enum agentlink_type type, const struct commit_act *a)
{
	struct msg *m = sim_post(s, M_SYNCD_SAYS, n, s->n[n].agent_life,
	    2 + (int64_t)sim_random(s, 4));

	m->u.ev = (struct policy_event) { .type = EV_SYNCD, .msg = type, .gen = a->gen, .no = a->no,
		.lsn = a->lsn, .drained = a->drained };
	if (type == AL_REFUSED)
		m->u.ev.no = a->request;
	m->no = s->n[n].syncd_life;	/* lost with the connection */
}

/* again: whatever the active knew of this log before is void (ship_facts() when there is
 * room again). */
static void
send_facts(struct sim *s, int n, bool again)
{
	struct node *x = &s->n[n];
	struct msg *m;

	if (s->session == 0)
		return;
	m = sim_post(s, M_FACTS, !n, s->session, 1 + (int64_t)sim_random(s, 4));
	m->u.gen = x->c.gen;
	m->no = x->c.fence_no;
	m->lsn = x->c.role == DATA_STANDBY ? x->durable : x->tip;
	m->flag = x->c.role == DATA_ACTIVE && !x->c.fenced && !x->c.promoting;
	m->ms = x->c.insync;
	m->len = again;
	m->slot = s->nfacts++ % FACTS_MAX;
	s->facts_order[m->slot] = m->order;
	store.facts[m->slot] = x->history;
}

static void
facts(struct sim *s, int n)
{
	send_facts(s, n, false);
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

/* Message id of record i is acknowledged to its client. */
static void
acknowledge(struct sim *s, int n, uint64_t i)
{
	const struct node *x = &s->n[n];
	const struct rec *mine = &store.log[n].rec[i];

	/* I4: whoever acknowledges must be the newest that ever did, or complete what
	 * the newer one had received before it took over. */
	if (x->c.gen.no < s->acked_gen && !s->excused
	    && memcmp(store.log[!n].rec[i].hash, mine->hash, 16) != 0)
		sim_fail(s, "I4: node %d acknowledged in gen %llu after gen %llu", n,
		    (unsigned long long)x->c.gen.no, (unsigned long long)s->acked_gen);
	if (x->c.fenced)
		sim_fail(s, "I4: node %d acknowledged behind the fence of gen %llu", n,
		    (unsigned long long)x->c.newer.no);
	if (x->c.gen.no > s->acked_gen)
		s->acked_gen = x->c.gen.no;
	if (store.acked[mine->id] != ACKED_NOT)
		return;
	store.acked[mine->id] = ACKED;
	s->acks++;
	for (int k = 0; k < 2; k++)
		s->missing[k] += store.here[k][mine->id] == 0;
}

static void
advance(struct sim *s, int n, uint64_t lsn)
{
	struct node *x = &s->n[n];
	bool *pending = store.log[n].pending;

	for (uint64_t i = x->answered + 1; i <= lsn; i++) {
		if (pending[i] && x->c.role == DATA_ACTIVE)
			acknowledge(s, n, i);
		pending[i] = false;
	}
	x->answered = lsn;
	told(s, n);
}

static void
forget_clients(struct sim *s, int n)
{
	memset(store.log[n].pending, 0, (store.log[n].top + 1) * sizeof(bool));
	s->n[n].answered = 0;
}

static void
perform_one(struct sim *s, int n, struct commit_act *a, struct commit_acts *more)
{
	struct node *x = &s->n[n];

	switch (a->type) {
	case COMMIT_WRITE_GEN:
		x->confirmed = x->confirmed || a->gen.kind == GEN_FORCED;
		if (!x->c.promoting && gen_kind_alone((enum gen_kind)a->gen.kind))
			sim_goes_on(s, n, &a->gen);
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
		s->promotions++;
		sim_goes_on(s, n, &a->gen);
		tell(s, n, AL_PROMOTED, a);
		break;
	case COMMIT_REFUSED:
		sim_say(s, "node %d: syncd refuses: %s", n, a->reason);
		tell(s, n, AL_REFUSED, a);
		break;
	case COMMIT_DEMOTED:
		forget_clients(s, n);
		tell(s, n, AL_DEMOTED, a);
		break;
	case COMMIT_MARK:
		sim_post(s, M_MARKED, n, x->syncd_life, 3)->no = a->no;
		break;
	case COMMIT_OUTDATED:
		tell(s, n, AL_OUTDATED, a);
		break;
	case COMMIT_ADOPTED:
		x->confirmed = x->confirmed || x->c.insync;	/* the other one took it in */
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

/* The disk: one group after the other, 1 to 20 ms. */
static void
disk(struct sim *s, int n)
{
	struct node *x = &s->n[n];

	if (x->tip <= x->syncing || x->syncing > x->durable)
		return;
	x->syncing = x->tip;
	sim_post(s, M_DURABLE, n, x->disk_life, 1 + (int64_t)sim_random(s, x->disk_slow ? 1500 : 20))
	    ->lsn = x->tip;
}

static void
ship(struct sim *s, int n)
{
	struct node *x = &s->n[n];
	struct msg *m;
	struct span raw;
	uint64_t upto;

	if (s->session == 0 || x->c.role != DATA_ACTIVE || !x->c.peer_matched
	    || (x->c.peer_trouble & DATA_PEER_FULL) != 0)
		return;
	upto = gen_kind_alone((enum gen_kind)x->c.gen.kind)
	    || x->durable < x->c.gen.start_lsn ? x->durable : x->tip;
	while (x->shipped < upto && s->nq < QUEUE_MAX / 2) {
		m = sim_post(s, M_BATCH, !n, s->session, 1 + (int64_t)sim_random(s, 4));
		m->no = x->c.gen.no;
		m->lsn = x->shipped + 1;
		memcpy(m->prev, store.log[n].rec[x->shipped].hash, 16);
		raw = log_raw(n, ++x->shipped);
		assert(raw.len <= sizeof(m->u.bytes));
		m->len = (int)raw.len;
		memcpy(m->u.bytes, raw.p, raw.len);
	}
}

void
syncd_perform(struct sim *s, int n, struct commit_acts *a)
{
	struct commit_acts more;

	while (a->n > 0) {
		more.n = 0;
		for (size_t i = 0; i < a->n; i++)
			perform_one(s, n, &a->act[i], &more);
		for (size_t i = 0; i < more.n; i++)
			a->act[i] = more.act[i];
		a->n = more.n;
	}
	disk(s, n);
	ship(s, n);
}

void
syncd_start(struct sim *s, int n)
{
	struct node *x = &s->n[n];
	struct commit_conf cc = { .node = (unsigned)n, .ship = true,
		.rule = s->plan->strict ? COMMIT_STRICT : COMMIT_AUTO, .hold_ms = 2000,
		.stable_ms = 3000, .silent_ms = 2000, .held_max_bytes = 60, .join_lag = 64 };
	struct gen g;

	x->syncd = true;
	x->syncd_life = x->disk_life = (uint32_t)++s->order;
	x->nheld = 0;
	x->link_known = false;
	x->last_seen_ms = -1;
	forget_clients(s, n);
	log_recover(s, n);
	x->known = sim_random(s, (x->known < x->tip ? x->known : x->tip) + 1);
	commit_init(&x->c, &cc);
	g = history_last(&x->history);
	commit_recovered(&x->c, &g, x->tip, store.log[n].rec[x->tip].hash, x->mark);
	x->connect_at = s->now + 100;
	x->state_at = s->now;
	sim_post(s, M_SYNCD_TICK, n, x->syncd_life, 1 + (int64_t)sim_random(s, SYNCD_TICK_MS));
	sim_post(s, M_CLIENT, n, x->syncd_life, s->plan->client_ms);
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
	x->syncd_life = x->disk_life = 0;
	s->session = 0;
	s->session_cut = -1;
}

static void
gone(struct sim *s)
{
	s->session = 0;
	s->session_cut = -1;
	for (int n = 0; n < 2; n++) {
		struct commit_acts a;

		a.n = 0;
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
		struct commit_acts a;

		a.n = 0;
		commit_peer_up(&s->n[n].c, s->now, &a);
		syncd_perform(s, n, &a);
		facts(s, n);
	}
}

static void
split(struct sim *s, int n, uint64_t fork)
{
	struct node *y = &s->n[!n];
	struct commit_acts a;

	a.n = 0;
	sim_say(s, "node %d: two histories behind lsn %llu", !n, (unsigned long long)fork);
	commit_split(&y->c, &a);
	syncd_perform(s, !n, &a);
	if (!s->excused && !s->parted)
		sim_fail(s, "split between the nodes without a double fault");
}

/* The standby n throws a tail away: nothing that only it has may be promised. */
static void
give_way(struct sim *s, int n, uint64_t fork)
{
	struct node *x = &s->n[n];
	struct commit_acts a;
	struct gen g;

	a.n = 0;
	for (uint64_t i = fork + 1; i <= x->tip; i++)
		if (store.log[n].rec[i].id != 0 && store.acked[store.log[n].rec[i].id] != ACKED_NOT
		    && !store.here[!n][store.log[n].rec[i].id])
			sim_fail(s, "I1: node %d cuts lsn %llu, which was acknowledged", n,
			    (unsigned long long)i);
	sim_say(s, "node %d drops its tail %llu..%llu", n, (unsigned long long)fork + 1,
	    (unsigned long long)x->tip);
	log_cut(s, n, fork);
	forget_clients(s, n);
	if (x->known > fork)
		x->known = fork;
	x->disk_life = (uint32_t)++s->order;	/* what the disk was doing is void */
	g = history_last(&x->history);
	commit_recovered(&x->c, &g, fork, store.log[n].rec[fork].hash, x->mark);
	syncd_perform(s, n, &a);
	facts(s, n);
}

/* The standby's log against ours: a prefix, or a tail that is cut, or a split. */
static void
match(struct sim *s, int n, const struct msg *m)
{
	struct node *x = &s->n[n], *y = &s->n[!n];
	struct commit_acts a;
	uint64_t fork = 0;

	a.n = 0;
	if (y->c.split)
		return;
	if (!log_common(s, &fork) || log_tail(s, !n, fork) == HISTORY_TAIL_ACKED) {
		split(s, n, fork);
	} else if (y->tip > fork) {
		give_way(s, !n, fork);
	} else {
		x->shipped = fork;
		commit_peer_matched(&x->c, y->durable < fork ? y->durable : fork, m->ms != 0, s->now,
		    &a);
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
	struct commit_acts a;
	struct gen g = m->u.gen;

	a.n = 0;
	guard_heard_of(s, n, g.no);
	assert(s->facts_order[m->slot] == m->order);
	if (g.no > x->c.gen.no || m->no > x->c.fence_no) {
		if (m->no > g.no)
			g = (struct gen) { .no = m->no, .kind = GEN_CLEAN, .node = (uint8_t)!n };
		if (x->c.role == DATA_ACTIVE || !m->flag)
			commit_peer_newer(&x->c, &g, &a);
	}
	if (m->flag && x->c.role == DATA_STANDBY)
		commit_active_seen(&x->c, m->u.gen.no,
		    alone_since(&store.facts[m->slot], &x->c.gen, m->u.gen.no), &a);
	syncd_perform(s, n, &a);
	/* An active that speaks is answered, though nothing may have changed here. */
	if (m->flag && x->c.role == DATA_STANDBY)
		facts(s, n);
	if (x->c.role == DATA_ACTIVE && !m->flag && !x->c.fenced && !x->c.promoting
	    && s->n[!n].c.role == DATA_STANDBY
	    && (!x->c.peer_matched || x->shipped > x->tip || m->len != 0))
		match(s, n, m);
}

static void
got_batch(struct sim *s, int n, struct msg *m)
{
	struct node *x = &s->n[n];
	struct commit_acts a;
	uint64_t fence = x->c.fence_no;
	enum commit_batch rc = commit_batch(&x->c, m->no, m->lsn, m->prev);
	struct gen g;
	bool is_gen;

	a.n = 0;
	if (rc == COMMIT_BATCH_OLD)
		facts(s, n);
	if (rc != COMMIT_BATCH_OK)
		return;
	if (m->no < fence)
		sim_fail(s, "node %d took a batch of gen %llu behind the fence %llu", n,
		    (unsigned long long)m->no, (unsigned long long)fence);
	if (!log_take(s, n, (struct span){ (const char *)m->u.bytes, (size_t)m->len }, &g, &is_gen)) {
		sim_fail(s, "node %d got a record that does not follow its log", n);
		return;
	}
	commit_written(&x->c, x->tip, store.log[n].rec[x->tip].hash, is_gen ? &g : NULL, s->now, &a);
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

static void
client(struct sim *s, int n, struct commit_acts *a)
{
	struct node *x = &s->n[n];
	enum owner_refusal why;

	sim_post(s, M_CLIENT, n, x->syncd_life, s->plan->client_ms);
	if (!x->vip || s->next_id >= IDS_MAX - 1 || x->tip > LOG_MAX - 200)
		return;
	switch (commit_append(&x->c, 1, &why)) {
	case COMMIT_DO_WRITE:
		append_own(s, n, ++s->next_id, NULL, a);
		break;
	case COMMIT_DO_HOLD:
		x->held[x->nheld++] = ++s->next_id;
		break;
	case COMMIT_DO_REFUSE:
		break;
	}
}

static void
disk_mood(struct sim *s, struct node *x)
{
	if (s->healing)
		x->disk_slow = x->disk_full = x->lags = false;
	else if (sim_chance(s, 10))
		x->disk_slow = sim_chance(s, 400);
	else if (sim_chance(s, 10))
		x->lags = sim_chance(s, 300);
	else if (sim_chance(s, 10))
		x->disk_full = sim_chance(s, 200);
}

/* What fitness.c finds, and hears from the other node. */
static void
disk_moods(struct sim *s, int n, struct commit_acts *a)
{
	struct node *x = &s->n[n];
	unsigned t;
	bool room;

	if (!s->plan->disks)
		return;
	disk_mood(s, x);
	room = (x->c.trouble & DATA_FULL) != 0 && !x->disk_full;
	t = (x->disk_slow ? DATA_SLOW : 0) | (x->disk_full ? DATA_FULL : 0);
	commit_trouble(&x->c, (uint8_t)t, a);
	commit_full(&x->c, x->disk_full, a);
	if (room && x->c.role == DATA_STANDBY)
		send_facts(s, n, true);
	if (s->session == 0)
		return;
	t = s->n[!n].disk_slow ? DATA_PEER_SLOW : 0;
	t |= s->n[!n].disk_full ? DATA_PEER_FULL : 0;
	t |= x->lags ? DATA_PEER_LAGS : 0;
	commit_peer_trouble(&x->c, (uint8_t)t, s->now, a);
}

static void
tick(struct sim *s, int n, struct commit_acts *a)
{
	struct node *x = &s->n[n];

	sim_post(s, M_SYNCD_TICK, n, x->syncd_life, SYNCD_TICK_MS);
	disk_moods(s, n, a);
	commit_tick(&x->c, s->now, a);
	probe_fence(s, n);
	if (s->now < x->state_at)
		return;
	x->state_at = s->now + STATE_MS;
	state(s, n);
}

static void
durable(struct sim *s, int n, uint64_t lsn, struct commit_acts *a)
{
	struct node *x = &s->n[n];

	if (lsn > x->durable && lsn <= x->tip)
		x->durable = lsn;
	commit_durable(&x->c, lsn, store.log[n].rec[lsn].hash, s->now, a);
}

static void
answer_batches(struct sim *s, int n)
{
	const struct node *x = &s->n[n];
	struct msg *k;

	if (x->c.role != DATA_STANDBY || s->session == 0)
		return;
	k = sim_post(s, M_ACK, !n, s->session, 1 + (int64_t)sim_random(s, 4));
	k->no = x->c.gen.no;
	k->lsn = x->durable;
	k->flag = x->c.insync;
}

/* By the agent of this node. */
static void
asked(struct sim *s, const struct msg *m, struct commit_acts *a)
{
	struct commit *c = &s->n[m->node].c;

	switch (m->act) {
	case ACT_SYNCD_PROMOTE:
		commit_promote(c, &m->u.gen, s->now, a);
		break;
	case ACT_SYNCD_DEMOTE:
		commit_demote(c, m->no, m->ms, s->now, a);
		break;
	case ACT_SYNCD_GRANT:
		commit_grant(c, &m->u.gen, s->now, a);
		break;
	case ACT_SYNCD_DENY:
		commit_deny(c, m->no, s->now, a);
		break;
	default:
		commit_outdate(c, m->no, a);
		break;
	}
}

void
syncd_message(struct sim *s, struct msg *m)
{
	struct node *x = &s->n[m->node];
	struct commit_acts a;
	enum msg_kind kind = m->kind;
	int n = m->node;

	a.n = 0;
	if (!x->syncd)
		return;
	if (kind >= M_FACTS)
		x->last_seen_ms = s->now;
	switch (kind) {
	case M_SYNCD_TICK:
		tick(s, n, &a);
		break;
	case M_CLIENT:
		client(s, n, &a);
		break;
	case M_DURABLE:
		durable(s, n, m->lsn, &a);
		break;
	case M_MARKED:
		x->mark = m->no > x->mark ? m->no : x->mark;
		commit_marked(&x->c, &a);
		break;
	case M_TO_SYNCD:
		asked(s, m, &a);
		break;
	case M_FACTS:
		got_facts(s, n, m);
		break;
	case M_BATCH:
		got_batch(s, n, m);
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
	syncd_perform(s, n, &a);
	if (kind == M_DURABLE)
		answer_batches(s, n);
}
