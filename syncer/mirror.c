/* mirror.c - syncd's side of mirroring: when a pass runs, and the relay between the
 * worker (mirror_worker.h) and the bulk connection.  Implements mirror_new() of
 * seed.h.
 *
 * One pass at a time, started by the active's clock or by `hactl sync now`.  This
 * process never reads a tree.  It relays messages unread, slows either side down when
 * the other is slow, and tells the worker at once when role, generation or connection
 * change: the worker then ends its pass. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "bulk.h"
#include "clock.h"
#include "ctl.h"
#include "hex.h"
#include "hook.h"
#include "ipc.h"
#include "log.h"
#include "mem.h"
#include "mend.h"
#include "mirror_conf.h"
#include "mirror_guard.h"
#include "mirror_plan.h"
#include "mirror_result.h"
#include "mirror_wire.h"
#include "seed.h"
#include "seed_link.h"
#include "split.h"
#include "syncd_conf.h"

#define TICK_MS 500
#define FIRST_MS 3000		/* after this node became active */
#define RETRY_MS 15000		/* after a pass that failed */
#define BULK_WAIT_MS 10000	/* for the bulk connection, when somebody waits */
#define BULK_AGAIN_MS 3000
#define UNSENT_HIGH (1u << 20)
#define UNREAD_HIGH (1u << 20)	/* of a dry run's rows, by hactl */

struct tree_state {
	const struct mirror_tree *conf;
	int64_t due_ms;
	bool asked;			/* by sync-now */
	bool have_last, last_source;
	struct mirror_result last;
	int64_t last_wall_ms;
	/* What the worker said of its change source; source[0] = 0: nothing yet. */
	char source[24], source_why[120];
	uint64_t watches;
	int64_t walked_wall_ms;
};

struct mirror {
	struct mirror_host host;
	struct ipc *super, *worker;
	struct bulk *bulk;
	struct seed *seed;
	struct mend *mend;
	struct event *timer;
	int64_t bulk_asked_ms;		/* 0: not asked */
	bool peer_up;
	struct gen told;		/* what the active says it is; no = 0: nothing yet */
	struct mirror_view view;
	struct tree_state *trees;
	size_t ntrees;

	struct tree_state *running;	/* NULL: no pass of ours */
	uint32_t pass;
	char phase[40];
	uint64_t done, of, sent;
	int64_t began_ms;

	struct ctl_call *call;		/* sync-now; NULL when its client hung up */
	bool waiting, accept, full, dry;
	int64_t asked_ms;
	json_t *passes;
	struct mirror_result worst;
};

static void pass_over(struct mirror *, struct tree_state *, const struct mirror_result *);
static void look(struct mirror *);

/* ---- what this node is ------------------------------------------------- */

static struct mirror_view
view_now(const struct mirror *m)
{
	const struct commit *c = m->host.commit;
	/* Where no log is shipped the generation comes by word, never an older one. */
	bool by_word = !c->conf.ship && c->role == DATA_STANDBY && m->told.no >= c->gen.no;
	const struct gen *gen = by_word ? &m->told : &c->gen;
	bool whole = !c->split && gen->no != 0;

	return (struct mirror_view){
		.active = c->role == DATA_ACTIVE && whole && !c->fenced && !c->promoting &&
		    !c->failed,
		.standby = c->role == DATA_STANDBY && whole && !c->seeding,
		.connected = m->bulk != NULL,
		.gen = *gen };
}

/* To the standby's op_message(). */
static void
tell_peer(struct mirror *m)
{
	struct wire_out w;

	if (m->host.commit->conf.ship || !m->peer_up || !m->view.active)
		return;
	wire_out_init(&w);
	gen_put(&w, &m->view.gen);
	m->host.send(m->host.arg, wire_out_span(&w));
	wire_out_clear(&w);
}

static void
tell_worker(struct mirror *m)
{
	struct wire_out w;

	m->view = view_now(m);
	if (m->worker == NULL)
		return;
	wire_out_init(&w);
	wire_put_u8(&w, m->view.active);
	wire_put_u8(&w, m->view.standby);
	wire_put_u8(&w, m->view.connected);
	gen_put(&w, &m->view.gen);
	(void)ipc_send(m->worker, MW_STATE, 0, w.p, w.len, -1);
	wire_out_clear(&w);
}

/* May this node send a tree away?  The worker asks again for each message. */
static bool
may_send(const struct mirror *m)
{
	return m->view.active || hook_on("mirror-wrong-direction");
}

/* ---- the relay --------------------------------------------------------- */

static void
on_worker_drained(struct ipc *ipc, void *arg)
{
	struct mirror *m = arg;

	(void)ipc;
	if (m->bulk != NULL)
		bulk_read_enable(m->bulk, true);
}

static void
on_bulk_frame(void *arg, uint8_t type, struct span whole)
{
	struct mirror *m = arg;

	if (type >= MD_WANT && type <= MM_SEED_LAST) {
		mend_frame(m->mend, type, (struct span){ whole.p + MIRROR_HEAD,
		    whole.len - MIRROR_HEAD });
		return;
	}
	if (type >= MM_SEED_FIRST && type < MD_WANT) {
		seed_frame(m->seed, type, whole);
		return;
	}
	if (type >= MM_SPLIT_FIRST && type <= MM_SPLIT_LAST) {
		split_frame(m->host.split, type, whole);
		return;
	}
	if (m->worker == NULL || ipc_send(m->worker, MW_PEER, 0, whole.p, whole.len, -1) == -1)
		return;			/* the sender's patience ends the pass */
	if (m->bulk != NULL && ipc_unsent(m->worker) > UNSENT_HIGH) {
		bulk_read_enable(m->bulk, false);
		ipc_on_drained(m->worker, UNSENT_HIGH / 4, on_worker_drained);
	}
}

static void
drop_bulk(struct mirror *m)
{
	bulk_free(m->bulk);
	m->bulk = NULL;
	m->bulk_asked_ms = 0;
	if (m->worker != NULL)
		ipc_read_enable(m->worker, true);	/* what it says goes nowhere */
	seed_down(m->seed);
	mend_down(m->mend);
	split_down(m->host.split);
	tell_worker(m);
}

static void
on_bulk_gone(void *arg, const char *why)
{
	log_info("mirror bulk connection %s", why);
	drop_bulk(arg);
}

static void
on_bulk_room(void *arg)
{
	struct mirror *m = arg;

	if (m->worker != NULL)
		ipc_read_enable(m->worker, true);
	seed_room(m->seed);
	split_room(m->host.split);
}

static void
on_bulk_first(void *arg)
{
	mend_room(((struct mirror *)arg)->mend);
}

static void
take_peer_message(struct mirror *m, struct span whole)
{
	if (m->bulk == NULL || whole.len < MIRROR_HEAD)
		return;
	if ((uint8_t)whole.p[0] < MM_READY && !may_send(m))
		return;			/* a source's words from a node that is none */
	bulk_relay(m->bulk, whole);
	if (bulk_unsent(m->bulk) > UNSENT_HIGH)
		ipc_read_enable(m->worker, false);
}

/* ---- the worker -------------------------------------------------------- */

static struct tree_state *
find_tree(struct mirror *m, const char *path)
{
	for (size_t i = 0; i < m->ntrees; i++)
		if (strcmp(m->trees[i].conf->path, path) == 0)
			return &m->trees[i];
	return NULL;
}

static void
take_progress(struct mirror *m, struct span body)
{
	struct wire_in in;
	char phase[40];

	wire_in_init(&in, body.p, body.len);
	wire_get_str(&in, phase, sizeof(phase));
	if (!wire_in_ok(&in))
		return;
	memcpy(m->phase, phase, sizeof(m->phase));
	m->done = wire_get_u64(&in);
	m->of = wire_get_u64(&in);
	m->sent = wire_get_u64(&in);
}

static void
take_source(struct mirror *m, struct span body)
{
	char path[1200], source[sizeof(m->trees->source)], why[sizeof(m->trees->source_why)];
	uint64_t watches, walked;
	struct tree_state *t;
	struct wire_in in;

	wire_in_init(&in, body.p, body.len);
	wire_get_str(&in, path, sizeof(path));
	wire_get_str(&in, source, sizeof(source));
	wire_get_str(&in, why, sizeof(why));
	watches = wire_get_u64(&in);
	walked = wire_get_u64(&in);
	if (!wire_in_done(&in) || (t = find_tree(m, path)) == NULL)
		return;
	memcpy(t->source, source, sizeof(source));
	memcpy(t->source_why, why, sizeof(why));
	t->watches = watches;
	t->walked_wall_ms = (int64_t)walked;
}

static void
on_call_drained(struct ctl_call *call, void *arg)
{
	struct mirror *m = arg;

	(void)call;
	if (m->worker != NULL)
		ipc_read_enable(m->worker, true);
}

/* Rows of a dry run go on to who asked for it, no faster than they are read there. */
static void
take_plan(struct mirror *m, uint32_t pass, struct span body)
{
	struct wire_in in;

	if (m->running == NULL || pass != m->pass || m->call == NULL)
		return;
	wire_in_init(&in, body.p, body.len);
	while (in.left > 0) {
		json_t *row = mirror_plan_row(&in, m->running->conf->path);

		if (row == NULL) {
			log_warnx("mirror %s: malformed row of a dry run", m->running->conf->path);
			return;
		}
		ctl_part(m->call, row);
	}
	if (ctl_unread(m->call) > UNREAD_HIGH) {
		ipc_read_enable(m->worker, false);
		ctl_on_drained(m->call, on_call_drained, m);
	}
}

static void
take_done(struct mirror *m, uint32_t pass, struct span body)
{
	struct mirror_result r;
	struct tree_state *t;
	struct wire_in in;
	char path[1200];
	bool source;

	wire_in_init(&in, body.p, body.len);
	source = wire_get_u8(&in) != 0;
	wire_get_str(&in, path, sizeof(path));
	if (mirror_result_get(&in, &r) == -1 || (t = find_tree(m, path)) == NULL)
		return;
	if (!r.dry_run) {
		t->have_last = true;
		t->last_source = source;
		t->last = r;
		t->last_wall_ms = clock_wall_ms();
	}
	if (source && m->running == t && pass == m->pass)
		pass_over(m, t, &r);
	else if (!source)
		m->phase[0] = '\0';
}

static void
on_worker_msg(struct ipc *ipc, const struct ipc_msg *msg, void *arg)
{
	struct mirror *m = arg;

	(void)ipc;
	switch (msg->type) {
	case MW_PEER: take_peer_message(m, msg->body); break;
	case MW_PROGRESS: take_progress(m, msg->body); break;
	case MW_SOURCE: take_source(m, msg->body); break;
	case MW_PLAN: take_plan(m, msg->id, msg->body); break;
	case MW_DONE: take_done(m, msg->id, msg->body); break;
	default: break;
	}
}

static void
on_worker_gone(struct ipc *ipc, const char *why, void *arg)
{
	struct mirror *m = arg;
	struct mirror_result r = { 0 };

	(void)why;
	ipc_free(ipc);
	m->worker = NULL;
	m->phase[0] = '\0';
	if (m->running == NULL)
		return;
	mirror_result_fail(&r, MIRROR_FAILED, "%s: the mirror worker died",
	    m->running->conf->path);
	mirror_result_hint(&r, "repeat it: hactl sync now");
	pass_over(m, m->running, &r);
}

static void
on_super_msg(struct ipc *ipc, const struct ipc_msg *msg, void *arg)
{
	struct mirror *m = arg;

	(void)ipc;
	if (msg->type != MW_READY || msg->fd == -1)
		return;
	ipc_free(m->worker);
	m->worker = ipc_new(m->host.base, msg->fd, IPC_BODY_MAX, on_worker_msg, on_worker_gone,
	    m);
	tell_worker(m);
	look(m);
}

static void
on_super_gone(struct ipc *ipc, const char *why, void *arg)
{
	struct mirror *m = arg;

	log_err("mirror: the worker's supervisor is gone (%s); restart syncd to mirror again",
	    why);
	ipc_free(ipc);
	m->super = NULL;
}

/* ---- passes ------------------------------------------------------------ */

static void
log_pass(const struct tree_state *t, const struct mirror_result *r)
{
	if (r->dry_run)
		log_info("mirror %s dry run entries=%llu deletes=%llu", t->conf->path,
		    (unsigned long long)r->entries, (unsigned long long)r->deleted);
	else if (r->outcome == MIRROR_OK)
		log_info("mirror %s ok walk=%s entries=%llu looked_at=%llu created=%llu changed=%llu deleted=%llu"
		    " sent=%llu literal=%llu matched=%llu busy=%llu ms=%llu", t->conf->path,
		    r->full ? "full" : "changes", (unsigned long long)r->entries,
		    (unsigned long long)r->looked, (unsigned long long)r->created,
		    (unsigned long long)r->changed, (unsigned long long)r->deleted,
		    (unsigned long long)r->bytes_sent, (unsigned long long)r->literal,
		    (unsigned long long)r->matched, (unsigned long long)r->busy,
		    (unsigned long long)r->duration_ms);
	else if (r->outcome == MIRROR_REFUSED)
		log_err("mirror refused: %s (%s)", log_safe(r->error), log_safe(r->why));
	else
		log_warnx("mirror failed: %s (%s)", log_safe(r->error), log_safe(r->why));
}

static bool
anything_asked(const struct mirror *m)
{
	for (size_t i = 0; i < m->ntrees; i++)
		if (m->trees[i].asked)
			return true;
	return m->running != NULL && m->waiting;
}

/* The whole of a sync-now is done: one answer. */
static void
answer(struct mirror *m)
{
	static const enum ctl_exit exits[] = { CTL_OK, CTL_REFUSED, CTL_HALF_DONE };
	const struct mirror_result *w = &m->worst;
	struct ctl_call *call = m->call;
	json_t *data = json_pack("{s:o}", "passes", m->passes);

	m->waiting = false;
	m->call = NULL;
	m->passes = NULL;
	if (call == NULL)
		json_decref(data);
	else
		ctl_done(call, exits[w->outcome], data, w->error[0] != '\0' ? w->error : NULL,
		    w->why[0] != '\0' ? w->why : NULL, w->hint[0] != '\0' ? w->hint : NULL);
}

static void
add_result(struct mirror *m, const struct tree_state *t, const struct mirror_result *r)
{
	json_t *j = mirror_result_json(r, t->conf->path);

	if (m->call != NULL)
		ctl_part(m->call, json_deep_copy(j));
	json_array_append_new(m->passes, j);
	if (r->outcome != MIRROR_OK && m->worst.outcome == MIRROR_OK)
		m->worst = *r;
}

static void
pass_over(struct mirror *m, struct tree_state *t, const struct mirror_result *r)
{
	int64_t now = clock_ms(), wait = t->conf->interval_ms;

	log_pass(t, r);
	if (r->outcome == MIRROR_FAILED && wait > RETRY_MS)
		wait = RETRY_MS;
	if (!r->dry_run)
		t->due_ms = t->conf->interval_ms == 0 ? INT64_MAX : now + wait;
	m->running = NULL;
	m->phase[0] = '\0';
	if (t->asked) {
		t->asked = false;
		add_result(m, t, r);
	}
	if (m->waiting && !anything_asked(m))
		answer(m);
	look(m);
}

static void
start_pass(struct mirror *m, struct tree_state *t)
{
	uint8_t flags = 0;
	struct wire_out w;

	if (t->asked && m->accept)
		flags |= MIRROR_ACCEPT_DELETES;
	if (t->asked && m->full)
		flags |= MIRROR_FULL_WALK;
	if (t->asked && m->dry)
		flags |= MIRROR_DRY_RUN;
	m->running = t;
	random_bytes(&m->pass, sizeof(m->pass));
	m->began_ms = clock_ms();
	m->done = m->of = m->sent = 0;
	(void)snprintf(m->phase, sizeof(m->phase), "starting");
	wire_out_init(&w);
	wire_put_str(&w, t->conf->path);
	wire_put_u8(&w, flags);
	(void)ipc_send(m->worker, MW_RUN, m->pass, w.p, w.len, -1);
	wire_out_clear(&w);
}

static struct tree_state *
next_due(struct mirror *m, int64_t now)
{
	struct tree_state *best = NULL;

	for (size_t i = 0; i < m->ntrees; i++) {
		struct tree_state *t = &m->trees[i];

		if (t->asked)
			return t;
		if (t->due_ms <= now && (best == NULL || t->due_ms < best->due_ms))
			best = t;
	}
	return best;
}

static void
need_bulk(struct mirror *m, int64_t now)
{
	if (m->bulk != NULL || !m->peer_up ||
	    (m->bulk_asked_ms != 0 && now - m->bulk_asked_ms < BULK_AGAIN_MS))
		return;
	m->bulk_asked_ms = now;
	m->host.want_bulk(m->host.arg);
}

/* Nothing will come of what was asked for: every tree that waits gets this. */
static void
give_up(struct mirror *m, const char *why)
{
	struct mirror_result r = { 0 };

	mirror_result_fail(&r, MIRROR_FAILED, "no pass was run: %s", why);
	mirror_result_hint(&r, "hactl status");
	for (size_t i = 0; i < m->ntrees; i++)
		if (m->trees[i].asked && &m->trees[i] != m->running) {
			m->trees[i].asked = false;
			add_result(m, &m->trees[i], &r);
		}
	if (m->waiting && !anything_asked(m))
		answer(m);
}

/* Starts what is due and possible now. */
static void
look(struct mirror *m)
{
	int64_t now = clock_ms();
	struct tree_state *t;

	if (m->running != NULL)
		return;
	if (m->waiting && !may_send(m))
		give_up(m, "this node is not active");
	else if (m->waiting && !m->peer_up)
		give_up(m, "the standby is not connected");
	else if (m->waiting && (m->bulk == NULL || m->worker == NULL) &&
	    now - m->asked_ms > BULK_WAIT_MS)
		give_up(m, m->worker == NULL ? "there is no mirror worker" :
		    "no bulk connection to the standby");
	if (!may_send(m) || (t = next_due(m, now)) == NULL)
		return;
	if (m->bulk == NULL)
		need_bulk(m, now);
	else if (m->worker != NULL)
		start_pass(m, t);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct mirror *m = arg;

	(void)fd;
	(void)what;
	if (seed_wants_bulk(m->seed) || mend_wants_bulk(m->mend) ||
	    split_wants_bulk(m->host.split))
		need_bulk(m, clock_ms());
	seed_tick(m->seed, clock_ms());
	mend_tick(m->mend, clock_ms());
	split_tick(m->host.split, clock_ms());
	look(m);
}

/* ---- what syncd calls -------------------------------------------------- */

static void
op_bulk(struct mirror *m, struct bufferevent *bev)
{
	static const struct bulk_ops ops = { on_bulk_frame, on_bulk_gone, on_bulk_room,
		on_bulk_first };

	if (bev == NULL)
		return;			/* asked for again by the tick */
	if (m->bulk != NULL)
		drop_bulk(m);
	m->bulk = bulk_new(bev, &ops, m);
	bulk_limit(m->bulk, m->host.conf->bandwidth_limit);
	tell_worker(m);
	seed_up(m->seed, m->bulk);
	mend_up(m->mend, m->bulk);
	split_up(m->host.split, m->bulk);
	look(m);
}

static void
op_message(struct mirror *m, struct span body)
{
	struct wire_in in;
	struct gen gen;

	wire_in_init(&in, body.p, body.len);
	gen_get(&in, &gen);
	if (!wire_in_done(&in) || gen.no < m->told.no)
		return;
	m->told = gen;
	tell_worker(m);
}

static void
op_peer(struct mirror *m, bool up)
{
	m->peer_up = up;
	if (!up && m->bulk != NULL)
		drop_bulk(m);
	mend_peer(m->mend, up);
	tell_peer(m);
	look(m);
}

static void
op_changed(struct mirror *m)
{
	bool was = m->view.active;

	tell_worker(m);
	tell_peer(m);
	for (size_t i = 0; i < m->ntrees && !was && m->view.active; i++)
		if (m->trees[i].conf->interval_ms > 0)
			m->trees[i].due_ms = clock_ms() + FIRST_MS;
	seed_changed(m->seed);
	split_changed(m->host.split);
	look(m);
}

static void
op_seed_wanted(struct mirror *m)
{
	seed_begin(m->seed);
	if (seed_wants_bulk(m->seed))
		need_bulk(m, clock_ms());
}

static void
on_call_gone(struct ctl_call *call, void *arg)
{
	struct mirror *m = arg;

	if (m->call != call)
		return;
	m->call = NULL;
	if (m->worker != NULL)
		ipc_read_enable(m->worker, true);	/* it may have waited for the client */
}

static void
refuse_call(struct mirror *m, struct ctl_call *call, enum ctl_exit code, const char *error,
    const char *hint)
{
	(void)m;
	ctl_done(call, code, NULL, error, NULL, hint);
}

static size_t
mark_asked(struct mirror *m, const char *path)
{
	size_t n = 0;

	for (size_t i = 0; i < m->ntrees; i++)
		if (path == NULL || strcmp(path, m->trees[i].conf->path) == 0) {
			m->trees[i].asked = true;
			n++;
		}
	return n;
}

static void
op_sync_now(struct mirror *m, struct ctl_call *call, json_t *request)
{
	const char *path = json_string_value(json_object_get(request, "path"));
	char *hint;

	if (m->waiting) {
		refuse_call(m, call, CTL_CONFLICT, "another sync now is running", "hactl sync status");
	} else if (!may_send(m)) {
		hint = mem_printf("run it on %s", m->host.node_names[1 - m->host.node] != NULL ?
		    m->host.node_names[1 - m->host.node] : "the active node");
		refuse_call(m, call, CTL_REFUSED,
		    "this node is not active; trees go from the active to the standby", hint);
		free(hint);
	} else if (!m->peer_up) {
		refuse_call(m, call, CTL_NO_PEER, "the standby is not connected", "hactl status");
	} else if (mark_asked(m, path) == 0) {
		refuse_call(m, call, CTL_NOT_FOUND, path == NULL ? "no tree is mirrored" :
		    "no mirror block has this path", "see mirror in syncd.conf(5)");
	} else {
		m->call = call;
		m->waiting = true;
		m->accept = json_is_true(json_object_get(request, "accept_deletes"));
		m->full = json_is_true(json_object_get(request, "full"));
		m->dry = json_is_true(json_object_get(request, "dry_run"));
		m->asked_ms = clock_ms();
		m->passes = json_array();
		m->worst = (struct mirror_result){ 0 };
		ctl_on_gone(call, on_call_gone, m);
		look(m);
	}
}

static json_t *
tree_status(const struct mirror *m, const struct tree_state *t, int64_t now)
{
	bool on = m->running == t;
	json_t *j = json_pack("{s:s, s:I, s:s}", "path", t->conf->path, "interval_s",
	    (json_int_t)(t->conf->interval_ms / 1000), "state",
	    on ? "running" : t->asked ? "waiting" : "idle");

	if (on) {
		json_object_set_new(j, "phase", json_string(m->phase));
		json_object_set_new(j, "done", json_integer((json_int_t)m->done));
		json_object_set_new(j, "of", json_integer((json_int_t)m->of));
		json_object_set_new(j, "bytes_sent", json_integer((json_int_t)m->sent));
		json_object_set_new(j, "running_ms", json_integer(now - m->began_ms));
	} else if (may_send(m) && t->due_ms != INT64_MAX) {
		json_object_set_new(j, "next_in_s",
		    json_integer(t->due_ms > now ? (t->due_ms - now) / 1000 : 0));
	}
	if (t->source[0] != '\0') {
		json_object_set_new(j, "change_source", json_string(t->source));
		if (t->source_why[0] != '\0')
			json_object_set_new(j, "change_source_why", json_string(t->source_why));
		json_object_set_new(j, "watches", json_integer((json_int_t)t->watches));
		if (t->walked_wall_ms > 0)
			json_object_set_new(j, "full_walk_ago_ms",
			    json_integer(clock_wall_ms() - t->walked_wall_ms));
	}
	if (t->have_last) {
		json_t *last = mirror_result_json(&t->last, t->conf->path);

		json_object_set_new(last, "as", json_string(t->last_source ? "source" : "target"));
		json_object_set_new(last, "ended_ms", json_integer(t->last_wall_ms));
		json_object_set_new(j, "last", last);
	}
	return j;
}

static json_t *
op_status(struct mirror *m)
{
	json_t *trees = json_array();
	int64_t now = clock_ms();

	for (size_t i = 0; i < m->ntrees; i++)
		json_array_append_new(trees, tree_status(m, &m->trees[i], now));
	return json_pack("{s:o, s:b, s:b, s:o, s:o}", "trees", trees, "worker", m->worker != NULL,
	    "bulk", m->bulk != NULL, "seed", seed_status(m->seed), "mend",
	    mend_status(m->mend));
}

static void
op_free(struct mirror *m)
{
	if (m->waiting)
		give_up(m, "syncd ends");
	bulk_free(m->bulk);
	m->bulk = NULL;
	seed_free(m->seed);
	mend_free(m->mend);
	ipc_free(m->worker);
	ipc_free(m->super);
	event_free(m->timer);
	if (m->passes != NULL)
		json_decref(m->passes);
	free(m->trees);
	free(m);
}

static void op_snapshot(void *, uint16_t, uint64_t, bool, int);
static void op_snapshot_list(void *, uint16_t, bool, int);
static void op_object(void *, uint16_t, const uint8_t[32], bool, int);
static void op_offer(void *, uint16_t, bool);
static void op_gone(void *, uint16_t, unsigned);

static void
op_snapshot(void *arg, uint16_t shard, uint64_t lsn, bool ok, int fd)
{
	seed_snapshot(((struct mirror *)arg)->seed, shard, lsn, ok, fd);
}

static void
op_snapshot_list(void *arg, uint16_t shard, bool ok, int fd)
{
	seed_snapshot_list(((struct mirror *)arg)->seed, shard, ok, fd);
}

static void
op_object(void *arg, uint16_t shard, const uint8_t sha[32], bool ok, int fd)
{
	struct mirror *m = arg;

	if (!mend_object(m->mend, shard, sha, ok, fd))
		seed_object(m->seed, shard, sha, ok, fd);
}

static void
op_offer(void *arg, uint16_t shard, bool ok)
{
	seed_offer(((struct mirror *)arg)->seed, shard, ok);
}

static void
op_gone(void *arg, uint16_t shard, unsigned offers)
{
	struct mirror *m = arg;

	seed_gone(m->seed, shard, offers);
	mend_gone(m->mend, shard);
}

static void
op_mend(void *arg, uint16_t shard, const uint8_t sha[32])
{
	struct mirror *m = arg;

	mend_want(m->mend, shard, sha);
	if (mend_wants_bulk(m->mend))
		need_bulk(m, clock_ms());
}

struct mirror *
mirror_new(const struct mirror_host *host, const struct mirror_ops **ops)
{
	static const struct mirror_ops table = { op_bulk, op_message, op_peer, op_changed,
		op_seed_wanted, op_sync_now, op_status, op_free,
		{ op_snapshot, op_snapshot_list, op_object, op_offer, op_gone, op_mend } };
	struct timeval tick = { 0, TICK_MS * 1000 };
	struct mirror *m = mem_alloc(sizeof(*m));

	m->host = *host;
	m->ntrees = host->trees != NULL ? host->trees->ntrees : 0;
	m->trees = mem_array(m->ntrees + 1, sizeof(*m->trees));
	for (size_t i = 0; i < m->ntrees; i++)
		m->trees[i] = (struct tree_state){ .conf = &host->trees->trees[i],
			.due_ms = host->trees->trees[i].interval_ms == 0 ? INT64_MAX : 0 };
	m->seed = seed_new(&m->host);
	m->mend = mend_new(&m->host);
	m->view = view_now(m);
	m->timer = event_new(host->base, -1, EV_PERSIST, on_tick, m);
	if (m->timer == NULL || event_add(m->timer, &tick) == -1)
		log_fatal("mirror: no timer");
	if (host->worker_fd > 0)
		m->super = ipc_new(host->base, host->worker_fd, IPC_BODY_MAX, on_super_msg,
		    on_super_gone, m);
	*ops = &table;
	return m;
}
