/* store_worker.c - the process `maild: store`: one store, one set of sessions, and the
 * channels to gates, queue and parent.
 *
 * Promises: an SM_DELIVER is answered once, when every shard it names has answered;
 * OK only when all said OK.  Sessions start when the user's INBOX is there.
 * When this node stops serving, sessions are told BYE; deliveries under way still
 * end.  What can fail: a shard that cannot be opened ends the process with a
 * message; the parent starts it again.
 * Runs as mailstore, sees files below the state directory and has no network but the
 * streams that the gates hand over. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <jansson.h>

#include "clock.h"
#include "ctl.h"
#include "daemon.h"
#include "ipc.h"
#include "log.h"
#include "maild_conf.h"
#include "mailipc.h"
#include "mem.h"
#include "session.h"
#include "store_admin.h"
#include "store_worker.h"
#include "wire.h"

#define DELIVER_USERS_MAX 4096

struct worker {
	struct event_base *base;
	const struct maild_conf *conf;
	struct child *child;
	struct store *store;
	struct session_set *sessions;
	struct event *tick;
	uint64_t applied_told;
};

/* ---- deliveries ---- */

struct delivery {			/* one SM_DELIVER */
	struct worker *w;
	enum child_kind from;
	unsigned index;
	uint32_t id;
	unsigned open;
	char trace[64];
	int64_t since;
	enum mail_rc rc;
	uint64_t gen, lsn;
	uint8_t copies;
};

struct target { uint64_t user; uint16_t shard; };

static void
delivery_end(struct delivery *d)
{
	struct ipc *ipc = child_peer(d->w->child, d->from, d->index);
	struct wire_out out;

	log_info("store deliver id=%s rc=%s gen=%llu lsn=%llu copies=%u ms=%lld",
	    log_safe(d->trace), mail_rc_name(d->rc), (unsigned long long)d->gen,
	    (unsigned long long)d->lsn, d->copies, (long long)(clock_ms() - d->since));
	wire_out_init(&out);
	wire_put_u8(&out, (uint8_t)d->rc);
	wire_put_u64(&out, d->gen);
	wire_put_u64(&out, d->lsn);
	wire_put_u8(&out, d->copies);
	if (ipc != NULL && ipc_send(ipc, SM_DELIVER_ANSWER, d->id, out.p, out.len, -1) == -1)
		log_warn("store: an answer to %s is lost", child_kind_name(d->from));
	wire_out_clear(&out);
	free(d);
}

static void
on_delivered(void *arg, const struct store_result *r)
{
	struct delivery *d = arg;

	if (r->rc != MAIL_OK)
		d->rc = r->rc;
	if (r->lsn > d->lsn) {
		d->lsn = r->lsn;
		d->gen = r->gen;
	}
	if (d->copies == 0 || r->copies < d->copies)
		d->copies = r->copies;
	if (--d->open == 0)
		delivery_end(d);
}

static int
by_shard(const void *a, const void *b)
{
	const struct target *x = a, *y = b;

	if (x->shard != y->shard)
		return x->shard < y->shard ? -1 : 1;
	return x->user < y->user ? -1 : x->user > y->user;
}

/* One store_deliver() for each shard; a user named twice gets one copy. */
static void
deliver_targets(struct delivery *d, struct target *t, size_t n, int fd)
{
	uint64_t *users = mem_array(n + 1, sizeof(*users));
	size_t m;

	qsort(t, n, sizeof(*t), by_shard);
	d->open = 1;
	for (size_t i = 0; i < n;) {
		uint16_t shard = t[i].shard;

		for (m = 0; i < n && t[i].shard == shard && m < 1000; i++)
			if (m == 0 || users[m - 1] != t[i].user)
				users[m++] = t[i].user;
		d->open++;
		store_deliver(d->w->store, shard, users, m, fd, on_delivered, d);
	}
	free(users);
	if (--d->open == 0)
		delivery_end(d);
}

static void
on_deliver(struct worker *w, enum child_kind from, unsigned index, const struct ipc_msg *m)
{
	struct delivery *d = mem_alloc(sizeof(*d));
	struct target *t;
	struct wire_in in;
	size_t n;

	d->w = w;
	d->from = from;
	d->index = index;
	d->id = m->id;
	d->since = clock_ms();
	wire_in_init(&in, m->body.p, m->body.len);
	wire_get_str(&in, d->trace, sizeof(d->trace));
	wire_get_span16(&in);		/* return path: it is in the message already */
	n = wire_get_u16(&in);
	t = mem_array(n + 1, sizeof(*t));
	for (size_t i = 0; i < n; i++) {
		t[i].user = wire_get_u64(&in);
		t[i].shard = wire_get_u16(&in);
	}
	if (!wire_in_done(&in) || n == 0 || n > DELIVER_USERS_MAX || m->fd == -1) {
		d->rc = MAIL_BAD;
		delivery_end(d);
	} else {
		deliver_targets(d, t, n, m->fd);
	}
	free(t);
	if (m->fd != -1)
		close(m->fd);
}

/* ---- sessions ---- */

struct login {				/* waits for the user's INBOX */
	struct worker *w;
	int fd;
	enum mail_service service;
	uint64_t user;
	uint16_t shard;
	char *address, *sid, *ip, *tls, *tag, *early;
	size_t early_len;
};

static void
login_free(struct login *l)
{
	free(l->address);
	free(l->sid);
	free(l->ip);
	free(l->tls);
	free(l->tag);
	free(l->early);
	free(l);
}

static void
on_ready(void *arg, const struct store_result *r)
{
	struct login *l = arg;
	const struct session_login in = { .service = l->service, .user = l->user,
		.shard = l->shard, .address = l->address, .sid = l->sid, .ip = l->ip, .tls = l->tls,
		.tag = l->tag, .early = { l->early, l->early_len } };

	/* Without an INBOX the session says so itself, in its protocol's words. */
	if (r->rc != MAIL_OK)
		log_warnx("store session=%s: the mailboxes of a new user are not made: %s",
		    log_safe(l->sid), mail_rc_name(r->rc));
	session_start(l->w->sessions, l->fd, &in);
	login_free(l);
}

static void
on_session(struct worker *w, const struct ipc_msg *m)
{
	struct login *l = mem_alloc(sizeof(*l));
	struct wire_in in;
	struct span early;

	l->w = w;
	l->fd = m->fd;
	wire_in_init(&in, m->body.p, m->body.len);
	l->service = (enum mail_service)wire_get_u8(&in);
	l->user = wire_get_u64(&in);
	l->shard = wire_get_u16(&in);
	l->address = span_dup(wire_get_span16(&in));
	l->sid = span_dup(wire_get_span16(&in));
	l->ip = span_dup(wire_get_span16(&in));
	l->tls = span_dup(wire_get_span16(&in));
	l->tag = span_dup(wire_get_span16(&in));
	early = wire_get_bytes(&in);
	l->early = mem_copy(early.p == NULL ? "" : early.p, early.len);
	l->early_len = early.len;
	if (!wire_in_done(&in) || m->fd == -1 || l->service < MAIL_POP3 ||
	    l->service > MAIL_IMAPS || !store_has_shard(w->store, l->shard)) {
		log_warnx("store: a session that makes no sense was handed over");
		if (m->fd != -1)
			close(m->fd);
		login_free(l);
		return;
	}
	store_user_ready(w->store, l->shard, l->user, on_ready, l);
}

/* ---- the parent ---- */

static void
on_serve(struct worker *w, const struct ipc_msg *m)
{
	struct wire_in in;
	uint8_t on;

	wire_in_init(&in, m->body.p, m->body.len);
	on = wire_get_u8(&in);
	if (!wire_in_ok(&in))
		return;
	if (on == 0)
		session_bye_all(w->sessions, "this server stops serving");
	ipc_send(child_peer(w->child, CHILD_PARENT, 0), PM_SERVING, m->id, &on, 1, -1);
}

struct ctl {				/* one PM_CTL */
	struct worker *w;
	uint32_t id;
};

static void
ctl_answer(struct worker *w, uint32_t id, json_t *answer)
{
	struct ipc *parent = child_peer(w->child, CHILD_PARENT, 0);
	char *text = json_dumps(answer, JSON_COMPACT);

	/* A report of very many mailboxes may not fit a message: without the digests. */
	if (text != NULL && strlen(text) > IPC_BODY_MAX / 2) {
		json_t *shards = json_object_get(answer, "shards"), *one;
		size_t i;

		json_array_foreach(shards, i, one)
			json_object_del(one, "digests");
		free(text);
		text = json_dumps(answer, JSON_COMPACT);
	}
	if (parent != NULL && text != NULL)
		ipc_send(parent, PM_CTL_ANSWER, id, text, strlen(text), -1);
	free(text);
	json_decref(answer);
}

static void
on_operated(void *arg, json_t *report, long complaints)
{
	struct ctl *c = arg;

	json_object_set_new(report, "exit", json_integer(complaints == 0 ? CTL_OK :
	    complaints < 0 ? CTL_HALF_DONE : CTL_CRITICAL));
	if (complaints < 0)
		json_object_set_new(report, "error", json_string("not every shard could be asked"));
	else if (complaints > 0)
		json_object_set_new(report, "error", json_string("the store is damaged"));
	json_object_set_new(report, "sessions",
	    json_integer((json_int_t)session_count(c->w->sessions)));
	ctl_answer(c->w, c->id, report);
	free(c);
}

static void
on_ctl(struct worker *w, const struct ipc_msg *m)
{
	static const struct { const char *name; enum store_op op; } ops[] = {
		{ "store.stat", STORE_OP_STAT }, { "store.verify", STORE_OP_VERIFY },
		{ "store.checkpoint", STORE_OP_CHECKPOINT },
	};
	json_t *q = json_loadb(m->body.p, m->body.len, 0, NULL);
	const char *name = json_string_value(json_object_get(q, "op"));
	struct ctl *c;

	for (size_t i = 0; name != NULL && i < sizeof(ops) / sizeof(*ops); i++) {
		if (strcmp(name, ops[i].name) != 0)
			continue;
		c = mem_alloc(sizeof(*c));
		c->w = w;
		c->id = m->id;
		store_operate(w->store, ops[i].op, on_operated, c);
		json_decref(q);
		return;
	}
	json_decref(q);
	ctl_answer(w, m->id, json_pack("{s:i, s:s}", "exit", CTL_USAGE, "error",
	    "no such operation"));
}

static void
on_message(void *arg, enum child_kind from, unsigned index, struct ipc *ipc,
    const struct ipc_msg *m)
{
	struct worker *w = arg;
	bool parent = from == CHILD_PARENT;

	(void)ipc;
	if (!parent && m->type == SM_DELIVER) {
		on_deliver(w, from, index, m);
		return;
	}
	if (from == CHILD_GATE && m->type == SM_SESSION) {
		on_session(w, m);
		return;
	}
	if (m->fd != -1)
		close(m->fd);
	if (parent && m->type == PM_SERVE)
		on_serve(w, m);
	else if (parent && m->type == PM_CTL)
		on_ctl(w, m);
	else if (!parent || m->type != PM_RELOAD)
		log_debug("store: message %u from %s skipped", m->type, child_kind_name(from));
}

static void
on_peer(void *arg, enum child_kind kind, unsigned index, bool up)
{
	(void)arg;
	log_debug("store: channel to %s %u is %s", child_kind_name(kind), index,
	    up ? "up" : "down");
}

/* ---- state ---- */

static void
on_role(void *arg, const struct owner_role *role)
{
	struct worker *w = arg;

	w->applied_told = store_applied(w->store);
	child_state(w->child, role, w->applied_told);
	if (!role->active && role->live)
		session_bye_all(w->sessions, "this server is standby now");
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval second = { 1, 0 };
	struct worker *w = arg;

	(void)fd;
	(void)what;
	if (store_applied(w->store) != w->applied_told) {
		w->applied_told = store_applied(w->store);
		child_state(w->child, store_role(w->store), w->applied_told);
	}
	evtimer_add(w->tick, &second);
}

/* ---- start ---- */

static void
store_make(struct worker *w, unsigned index)
{
	static const struct store_hooks hooks = { .role = on_role };
	const struct maild_conf *mc = w->conf;
	char *dir = mem_printf("%s/shards", mc->state_dir), err[300];
	struct store_conf sc;
	uint16_t *mine;
	size_t n = 0;

	store_conf_default(&sc);
	sc.dir = dir;
	sc.owner_path = mc->owner_socket;
	sc.low_water = mc->store_low_water;
	sc.message_max = mc->message_size_max + MAIL_TRACE_MAX;
	sc.undelete_ms = (int64_t)mc->undelete_s * 1000;
	sc.checkpoint_ms = (int64_t)mc->checkpoint_s * 1000;
	sc.checkpoint_records = mc->checkpoint_records;
	sc.pending_bytes_max = mc->store_pending_max;
	w->store = store_new(w->base, &sc, &hooks, w);
	mine = mem_array(mc->shards + 1, sizeof(*mine));
	for (unsigned i = 0; i < mc->shards; i++)
		if (mail_store_of((uint16_t)i, mc->stores) == index)
			mine[n++] = (uint16_t)i;
	if (store_make_shards(w->store, mine, n, err, sizeof(err)) == -1)
		log_fatal("store: %s", err);
	for (size_t i = 0; i < n; i++)
		if (store_add_shard(w->store, mine[i], err, sizeof(err)) == -1)
			log_fatal("store shard=%u: %s", mine[i], err);
	free(mine);
	free(dir);
}

static void
worker_init(struct worker *w, const struct child_start *start)
{
	static const struct child_ops ops = { .message = on_message, .peer = on_peer };
	const struct timeval second = { 1, 0 };
	const struct session_limits limits = { .idle_s = start->conf->imap_idle_s,
		.pop3_idle_s = start->conf->pop3_idle_s, .line_max = start->conf->imap_line_max,
		.literal_max = start->conf->imap_literal_max,
		.append_max = start->conf->message_size_max,
		.append_memory_max = start->conf->data_memory_max,
		.per_user = start->conf->sessions_per_user };

	w->conf = start->conf;
	if ((w->base = event_base_new()) == NULL)
		log_fatal("store: no event base");
	w->child = child_new(w->base, start, &ops, w);
	store_make(w, start->index);
	w->sessions = session_set_new(w->base, w->store, &limits, start->lease);
	w->tick = evtimer_new(w->base, on_tick, w);
	if (w->tick == NULL)
		log_fatal("store: no event");
	evtimer_add(w->tick, &second);
}

int
store_worker_main(const struct child_start *start)
{
	struct worker w = { 0 };

	daemon_drop("mailstore", NULL, DAEMON_BOX_STORE);
	worker_init(&w, start);
	event_base_dispatch(w.base);
	session_set_free(w.sessions);
	store_free(w.store);
	event_free(w.tick);
	child_free(w.child);
	event_base_free(w.base);
	return 0;
}
