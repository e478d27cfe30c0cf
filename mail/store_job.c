/* store_job.c - threads beside the loop for what takes long: one for checkpoints, snapshots
 * and mending, one for verifying, which may take hours; and the answers to syncd about
 * seeding.
 *
 * The threads touch jobs only (shard_job.h), taken from a queue each and given back
 * through a common one, with an eventfd to wake the loop.  One job a shard and thread at
 * a time; an index that arrives meanwhile waits for its end, and ends a verifying. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fs.h"
#include "log.h"
#include "mem.h"
#include "shard_job.h"
#include "store_priv.h"

#define VERIFY_NICE 10

struct operation {			/* one store_operate() */
	enum store_op op;
	json_t *shards;
	long complaints;
	unsigned open;
	void (*done)(void *, json_t *, long);
	void *arg;
};

struct task {
	TAILQ_ENTRY(task) next;
	struct store_shard *ss;
	struct shard_job *job;
	struct operation *op;		/* or NULL */
};
TAILQ_HEAD(task_list, task);

struct lane {
	struct store_jobs *js;
	pthread_t thread;
	pthread_cond_t wake;
	struct task_list todo;
	struct shard_job *now;		/* being run */
};

struct store_jobs {
	struct store *st;
	pthread_mutex_t lock;
	struct lane quick, slow;	/* slow: SHARD_VERIFY */
	struct task_list done;
	const struct shard_job *last;	/* of slow, and how far it was */
	uint64_t last_at;
	bool stop;
	int event_fd;
	struct event *ev;
};

static void *
worker(void *arg)
{
	struct lane *l = arg;
	struct store_jobs *js = l->js;
	const uint64_t one = 1;
	struct task *t;

	/* who serves goes before who only looks */
	if (l == &js->slow && setpriority(PRIO_PROCESS, (id_t)gettid(), VERIFY_NICE) == -1)
		log_warn("store: cannot verify at a low priority");
	pthread_mutex_lock(&js->lock);
	while (!js->stop) {
		if ((t = TAILQ_FIRST(&l->todo)) == NULL) {
			pthread_cond_wait(&l->wake, &js->lock);
			continue;
		}
		TAILQ_REMOVE(&l->todo, t, next);
		l->now = t->job;
		pthread_mutex_unlock(&js->lock);
		shard_job_run(t->job);
		pthread_mutex_lock(&js->lock);
		l->now = NULL;
		TAILQ_INSERT_TAIL(&js->done, t, next);
		if (write(js->event_fd, &one, sizeof(one)) != sizeof(one))
			log_warn("store: eventfd");
	}
	pthread_mutex_unlock(&js->lock);
	return NULL;
}

static void
job_put(struct store_shard *ss, struct shard_job *job, struct operation *op)
{
	struct store_jobs *js = ss->st->jobs;
	struct lane *l = job->kind == SHARD_VERIFY ? &js->slow : &js->quick;
	struct task *t;

	t = mem_alloc(sizeof(*t));
	t->ss = ss;
	t->job = job;
	t->op = op;
	*(job->kind == SHARD_VERIFY ? &ss->verifying : &ss->job) += 1;
	pthread_mutex_lock(&js->lock);
	TAILQ_INSERT_TAIL(&l->todo, t, next);
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&js->lock);
}

static int
job_begin(struct store_shard *ss, enum shard_job_kind kind, struct operation *op)
{
	struct shard_job *job = shard_job_new(ss->sh, kind);

	if (job == NULL)
		return -1;
	job_put(ss, job, op);
	return 0;
}

/* ---- ends ---- */

static void
operation_part(struct operation *op, struct task *t)
{
	struct shard_job *j = t->job;
	json_t *o = j->report != NULL ? json_incref(j->report) : json_object();

	json_object_set_new(o, "shard", json_integer(t->ss->n));
	if (j->kind == SHARD_CHECKPOINT)
		json_object_set_new(o, "checkpoint_lsn", json_integer((json_int_t)j->lsn));
	if (t->ss->degraded)
		json_object_set_new(o, "degraded", json_true());
	if (!j->ok) {
		json_object_set_new(o, "error", json_string(j->error));
		op->complaints = -1;
	} else if (op->complaints >= 0) {
		op->complaints += (long)json_integer_value(json_object_get(o, "bad_count"));
	}
	json_array_append_new(op->shards, o);
}

static void
operation_end(struct operation *op)
{
	op->done(op->arg, json_pack("{s:o}", "shards", op->shards), op->complaints);
	free(op);
}

static void
index_now(struct store_shard *ss)
{
	int fd = ss->index_fd;
	bool ok;

	ss->index_fd = -1;
	changes_drop_held(ss, MAIL_NOT_ACTIVE);
	ss->dirty = false;
	ok = shard_index_install(ss->sh, ss->index_lsn, fd) == 0;
	store_trusts(ss);
	if (!ok)
		log_warn("store shard=%u: cannot install the index", ss->n);
	else
		log_info("store shard=%u seeded lsn=%llu", ss->n, (unsigned long long)ss->index_lsn);
	close(fd);
	ss->seen_lsn = 0;
	if (ok)
		ss->degraded = ss->stopped = false;
	owner_offer_answer(ss->st->owner, ss->log_no, ok);
	owner_attach(ss->st->owner, ss->log_no, shard_attach_from(ss->sh));
}

static void
task_end(struct task *t)
{
	struct store_shard *ss = t->ss;
	struct shard_job *j = t->job;
	struct operation *op = t->op;

	*(j->kind == SHARD_VERIFY ? &ss->verifying : &ss->job) -= 1;
	shard_job_end(ss->sh, j);
	store_trusts(ss);
	if (!j->ok)
		log_warnx("store shard=%u: %s", ss->n, j->error);
	if (j->kind == SHARD_CHECKPOINT && j->ok)
		owner_checkpoint(ss->st->owner, ss->log_no, j->lsn);
	if (j->kind == SHARD_SNAPSHOT) {
		owner_snapshot_done(ss->st->owner, ss->log_no, j->lsn, j->ok ? j->index_fd : -1,
		    j->ok ? j->list_fd : -1);
		if (j->ok)
			j->index_fd = j->list_fd = -1;
	}
	if (j->kind == SHARD_MEND)
		mend_placed(ss, j->sha, j->ok, j->error);
	if (j->kind == SHARD_CHANGES) {
		owner_changes_done(ss->st->owner, ss->log_no, j->ok ? j->changes_fd : -1);
		if (j->ok)
			j->changes_fd = -1;
		close(j->tail_fd);
	}
	if (j->kind == SHARD_MERGE)
		store_merge_planned(ss, j);
	if (j->kind == SHARD_VERIFY && op == NULL)
		verify_looked(ss, j);
	if (op != NULL) {
		operation_part(op, t);
		if (--op->open == 0)
			operation_end(op);
	}
	shard_job_free(j);
	free(t);
	if (ss->index_fd != -1 && ss->job == 0 && ss->verifying == 0)
		index_now(ss);
}

static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	struct store_jobs *js = arg;
	struct task *t;
	uint64_t n;

	(void)what;
	if (read(fd, &n, sizeof(n)) != sizeof(n))
		return;
	for (;;) {
		pthread_mutex_lock(&js->lock);
		if ((t = TAILQ_FIRST(&js->done)) != NULL)
			TAILQ_REMOVE(&js->done, t, next);
		pthread_mutex_unlock(&js->lock);
		if (t == NULL)
			return;
		task_end(t);
	}
}

/* ---- making ---- */

static bool
lane_start(struct lane *l, struct store_jobs *js)
{
	l->js = js;
	TAILQ_INIT(&l->todo);
	return pthread_cond_init(&l->wake, NULL) == 0 &&
	    pthread_create(&l->thread, NULL, worker, l) == 0;
}

struct store_jobs *
jobs_new(struct store *st)
{
	struct store_jobs *js = mem_alloc(sizeof(*js));

	js->st = st;
	TAILQ_INIT(&js->done);
	js->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	js->ev = event_new(st->base, js->event_fd, EV_READ | EV_PERSIST, on_event, js);
	if (js->event_fd == -1 || js->ev == NULL || pthread_mutex_init(&js->lock, NULL) != 0 ||
	    !lane_start(&js->quick, js) || !lane_start(&js->slow, js))
		log_fatal("store: cannot start a thread");
	event_add(js->ev, NULL);
	return js;
}

static void
tasks_free(struct task_list *list)
{
	struct task *t;

	while ((t = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, t, next);
		if (t->job->kind == SHARD_CHANGES)
			close(t->job->tail_fd);
		if (t->op != NULL && --t->op->open == 0) {
			json_decref(t->op->shards);
			free(t->op);
		}
		shard_job_free(t->job);
		free(t);
	}
}

void
jobs_free(struct store_jobs *js)
{
	pthread_mutex_lock(&js->lock);
	js->stop = true;
	if (js->slow.now != NULL)
		js->slow.now->stop = true;
	pthread_cond_signal(&js->quick.wake);
	pthread_cond_signal(&js->slow.wake);
	pthread_mutex_unlock(&js->lock);
	pthread_join(js->quick.thread, NULL);
	pthread_join(js->slow.thread, NULL);
	tasks_free(&js->quick.todo);
	tasks_free(&js->slow.todo);
	tasks_free(&js->done);
	event_free(js->ev);
	close(js->event_fd);
	pthread_mutex_destroy(&js->lock);
	pthread_cond_destroy(&js->quick.wake);
	pthread_cond_destroy(&js->slow.wake);
	free(js);
}

/* ---- what the loop asks for ---- */

void
jobs_checkpoint(struct store *st)
{
	struct shard_facts f;

	for (size_t i = 0; i < st->nshards; i++) {
		struct store_shard *ss = st->shards[i];

		shard_facts(ss->sh, &f);
		if (!ss->job && !f.recovering && f.applied_lsn > f.checkpoint_lsn &&
		    job_begin(ss, SHARD_CHECKPOINT, NULL) == -1)
			log_warn("store shard=%u: no checkpoint", ss->n);
	}
}

void
store_operate(struct store *st, enum store_op what,
    void (*done)(void *arg, json_t *report, long complaints), void *arg)
{
	static const enum shard_job_kind kinds[] = { [STORE_OP_STAT] = SHARD_STAT,
		[STORE_OP_VERIFY] = SHARD_VERIFY, [STORE_OP_CHECKPOINT] = SHARD_CHECKPOINT };
	struct operation *op = mem_alloc(sizeof(*op));

	op->op = what;
	op->shards = json_array();
	op->done = done;
	op->arg = arg;
	op->open = 1;
	for (size_t i = 0; i < st->nshards; i++) {
		op->open++;
		if (job_begin(st->shards[i], kinds[what], op) == -1) {
			op->open--;
			op->complaints = -1;
		}
	}
	if (--op->open == 0)
		operation_end(op);
}

/* ---- seeding ---- */

void
job_owner_snapshot(struct store_shard *ss)
{
	if (job_begin(ss, SHARD_SNAPSHOT, NULL) == -1)
		owner_snapshot_done(ss->st->owner, ss->log_no, 0, -1, -1);
}

void
job_object_wanted(struct store_shard *ss, const uint8_t sha[32])
{
	owner_object_answer(ss->st->owner, ss->log_no, sha, shard_object_open(ss->sh, sha));
}

void
job_object_offered(struct store_shard *ss, const uint8_t sha[32], int fd)
{
	bool ok = fd == -1 ? shard_object_have(ss->sh, sha) == 1 :
	    shard_object_install(ss->sh, sha, fd) == 0;

	if (fd != -1) {
		if (!ok)
			log_warn("store shard=%u: cannot take over an object", ss->n);
		close(fd);
	}
	owner_offer_answer(ss->st->owner, ss->log_no, ok);
}

void
job_index_offered(struct store_shard *ss, uint64_t lsn, int fd)
{
	if (ss->index_fd != -1) {	/* each offer has its answer */
		close(ss->index_fd);
		owner_offer_answer(ss->st->owner, ss->log_no, false);
	}
	ss->index_fd = fd;
	ss->index_lsn = lsn;
	if (ss->verifying > 0)
		job_verify_stop(ss);
	if (ss->job == 0 && ss->verifying == 0)
		index_now(ss);
}

struct shard_job *
job_verify(struct store_shard *ss, uint64_t rate)
{
	struct shard_job *job = shard_job_new(ss->sh, SHARD_VERIFY);

	if (job == NULL)
		return NULL;
	job->rate = rate;
	job_put(ss, job, NULL);
	return job;
}

/* Those that wait find it set when they begin. */
void
job_verify_stop(struct store_shard *ss)
{
	struct store_jobs *js = ss->st->jobs;
	struct task *t;

	pthread_mutex_lock(&js->lock);
	if (js->slow.now != NULL && strcmp(js->slow.now->dir, shard_dir(ss->sh)) == 0)
		js->slow.now->stop = true;
	TAILQ_FOREACH(t, &js->slow.todo, next)
		if (t->ss == ss)
			t->job->stop = true;
	pthread_mutex_unlock(&js->lock);
}

bool
jobs_verify_moves(struct store *st)
{
	struct store_jobs *js = st->jobs;
	const struct shard_job *j;
	uint64_t at;
	bool moves;

	pthread_mutex_lock(&js->lock);
	j = js->slow.now;
	at = j != NULL ? j->done + j->steps : 0;
	moves = j == NULL || j != js->last || at != js->last_at;
	js->last = j;
	js->last_at = at;
	pthread_mutex_unlock(&js->lock);
	return moves;
}

int
job_mend(struct store_shard *ss, const uint8_t sha[32], int fd)
{
	struct shard_job *job = shard_job_new(ss->sh, SHARD_MEND);

	if (job == NULL) {
		close(fd);
		return -1;
	}
	memcpy(job->sha, sha, 32);
	job->from_fd = fd;
	job_put(ss, job, NULL);
	return 0;
}

/* ---- merging ---- */

void
job_changes(struct store_shard *ss, uint64_t fork, bool whole, int tail_fd)
{
	struct shard_job *job = ss->stopped || ss->degraded ? NULL :
	    shard_job_new(ss->sh, SHARD_CHANGES);

	if (job == NULL) {
		close(tail_fd);
		owner_changes_done(ss->st->owner, ss->log_no, -1);
		return;
	}
	job->shard = ss->log_no;
	job->fork = fork;
	job->whole = whole;
	job->tail_fd = tail_fd;
	job_put(ss, job, NULL);
}

int
job_merge(struct store_shard *ss, const struct owner_merge *m)
{
	struct shard_job *job = shard_job_new(ss->sh, SHARD_MERGE);

	if (job == NULL)
		return -1;
	job->shard = ss->log_no;
	job->fork = m->fork;
	job->whole = m->whole;
	job->stamp = m->stamp;
	job->tail_fd = m->tail_fd;
	job->theirs_fd = m->theirs_fd;
	job_put(ss, job, NULL);
	return 0;
}
