/* verify.c - see verify.h.  The thread reads segments and nothing else of this process; it
 * hands over how far it is, and at its end what it found, under a lock.  Shards are asked
 * all at once: each owner takes its own in turn, and says so often that it gets further.  A
 * run ends when the log and each shard have answered, or their owners are gone or get no
 * further for owner-stall-s, or when who asked is gone. */
#include "verify.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "clock.h"
#include "core.h"
#include "ctl.h"
#include "log.h"
#include "log_verify.h"
#include "mem.h"
#include "owners.h"
#include "ship.h"

#define NICE 10
#define TELL_MS 5000		/* between two parts that only say how far it is */
#define WAIT_MS 200
#define REPORT_MAX (64u << 10)

enum shard_state { SHARD_ASKED, SHARD_DONE, SHARD_FAILED };

struct part {			/* one shard */
	uint16_t shard;
	enum shard_state state;
	uint64_t done, of;
	int64_t moved_ms;		/* its owner was heard of then */
};

struct look {			/* the log's thread, and what it works on */
	pthread_t thread;
	pthread_mutex_t lock;
	bool stop, ended;
	uint64_t done, of;
	uint64_t rate;
	int64_t began_ms;
	int event_fd, rc, err;
	struct log_verify log;
};

struct verify {
	struct syncd *s;
	struct event *ev;		/* of the look's event_fd, or NULL */
	struct look *look;		/* NULL: the log is looked through */
	bool running, repair;
	bool asked;			/* by an operator, not by the clock */
	bool stopped;			/* who asked is gone */
	bool log_moved;			/* cut or reset since it began */
	uint32_t run;
	struct part *parts;
	size_t nparts;
	struct ctl_call *call;		/* NULL: nobody waits */
	json_t *failures;		/* texts: what could not be looked at */
	json_int_t bad, mended, records, messages;
	bool whole_bad;			/* an index, or the log: not to be mended piece by piece */
	bool refilled;			/* and this node is filled anew for that */
	uint64_t bytes;
	int64_t began_ms, told_ms, due_ms;
	json_t *last;			/* the summary of the last run */
};

/* ---- the log's thread ---------------------------------------------------- */

/* Not faster than it may be; what it waits for is the end of the time, or a stop. */
static bool
go_on(void *arg, uint64_t done, uint64_t of)
{
	struct look *l = arg;
	bool stop;

	for (;;) {
		int64_t due = l->rate == 0 ? 0 : (int64_t)((double)done * 1000 / (double)l->rate);
		int64_t ahead = due - (clock_ms() - l->began_ms);
		struct timespec rest = { 0, (ahead < WAIT_MS ? ahead : WAIT_MS) * 1000000 };

		pthread_mutex_lock(&l->lock);
		l->done = done;
		l->of = of;
		stop = l->stop;
		pthread_mutex_unlock(&l->lock);
		if (stop || ahead <= 0)
			return !stop;
		nanosleep(&rest, NULL);
	}
}

static void *
look(void *arg)
{
	struct look *l = arg;
	const uint64_t one = 1;
	int rc;

	if (setpriority(PRIO_PROCESS, (id_t)gettid(), NICE) == -1)
		log_warn("cannot verify at a low priority");
	rc = log_verify_run(&l->log);
	pthread_mutex_lock(&l->lock);
	l->rc = rc;
	l->err = errno;
	l->ended = true;
	pthread_mutex_unlock(&l->lock);
	if (write(l->event_fd, &one, sizeof(one)) != sizeof(one))
		log_warn("eventfd");
	return NULL;
}

static void
look_free(struct verify *v)
{
	struct look *l = v->look;

	if (l == NULL)
		return;
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_mutex_unlock(&l->lock);
	pthread_join(l->thread, NULL);
	pthread_mutex_destroy(&l->lock);
	event_free(v->ev);
	v->ev = NULL;
	close(l->event_fd);
	free(l->log.spans);
	free(l);
	v->look = NULL;
}

/* ---- what was found ------------------------------------------------------ */

static void
tell(struct verify *v, json_t *part)
{
	v->told_ms = clock_ms();
	if (v->call != NULL)
		ctl_part(v->call, part);
	else
		json_decref(part);
}

static void
failure(struct verify *v, const char *text)
{
	log_warnx("verify: %s", text);
	json_array_append_new(v->failures, json_string(text));
}

static void
log_bad(struct verify *v, const struct log_verify_bad *b)
{
	char file[1200];

	(void)snprintf(file, sizeof(file), "%s/%016llx.seg", v->s->conf.log_directory,
	    (unsigned long long)b->segment);
	log_err("verify: %s at offset %llu lsn=%llu: %s", file, (unsigned long long)b->offset,
	    (unsigned long long)b->lsn, b->what);
	tell(v, json_pack("{s:s, s:I, s:I, s:s, s:b}", "file", file, "offset",
	    (json_int_t)b->offset, "lsn", (json_int_t)b->lsn, "what", b->what, "mended", 0));
}

static void finish(struct verify *);

static void
on_looked(evutil_socket_t fd, short what, void *arg)
{
	struct verify *v = arg;
	struct look *l = v->look;
	char text[200];

	(void)fd;
	(void)what;
	if (l->rc == -1) {
		(void)snprintf(text, sizeof(text), "the log cannot be read: %s", strerror(l->err));
		failure(v, text);
	} else if (v->stopped) {
		failure(v, "the log was not looked through: who asked is gone");
	} else if (v->log_moved) {
		failure(v, "the log was cut while it was looked through: repeat it");
	} else {
		v->records = (json_int_t)l->log.records;
		v->bytes += l->log.bytes;
		v->bad += (json_int_t)l->log.nbad;
		v->whole_bad = v->whole_bad || l->log.nbad > 0;
		for (size_t i = 0; i < l->log.nbad && i < LOG_VERIFY_BAD_MAX; i++)
			log_bad(v, &l->log.bad[i]);
	}
	look_free(v);
	finish(v);
}

static struct part *
part_of(struct verify *v, uint16_t shard)
{
	for (size_t i = 0; v->running && i < v->nparts; i++)
		if (v->parts[i].shard == shard && v->parts[i].state == SHARD_ASKED)
			return &v->parts[i];
	return NULL;
}

static void
shard_failed(struct verify *v, struct part *p, const char *why)
{
	char text[400];

	p->state = SHARD_FAILED;
	(void)snprintf(text, sizeof(text), "shard %u was not looked through: %.300s", p->shard, why);
	failure(v, text);
	finish(v);
}

/* One line for each thing that is bad; its words come from another process. */
static void
shard_bad(struct verify *v, uint16_t shard, json_t *one)
{
	const char *what = json_string_value(json_object_get(one, "what"));
	const char *name = json_string_value(json_object_get(one, "name"));
	bool mended = json_is_true(json_object_get(one, "mended"));
	char text[500];

	(void)snprintf(text, sizeof(text), "%.200s %.200s", what != NULL ? what : "",
	    name != NULL ? name : "");
	log_err("verify: shard %u: %s%s", shard, log_safe(text), mended ? ": mended" : "");
	tell(v, json_pack("{s:i, s:s, s:s, s:b}", "shard", shard, "what", what != NULL ? what : "",
	    "name", name != NULL ? name : "", "mended", mended));
}

static json_int_t
count_of(json_t *o, const char *name)
{
	json_int_t n = json_integer_value(json_object_get(o, name));

	return n < 0 ? 0 : n;
}

void
verify_shard_done(struct verify *v, uint16_t shard, uint32_t run, bool ok, struct span report)
{
	struct part *p = run == v->run ? part_of(v, shard) : NULL;
	json_t *o, *one;
	const char *why;
	size_t i;

	if (p == NULL)
		return;
	o = report.len > REPORT_MAX ? NULL : json_loadb(report.p, report.len, 0, NULL);
	why = json_string_value(json_object_get(o, "error"));
	if (!ok || !json_is_object(o)) {
		shard_failed(v, p, why != NULL ? log_safe(why) : "its owner's report makes no sense");
		json_decref(o);
		return;
	}
	p->state = SHARD_DONE;
	v->bad += count_of(o, "bad_count");
	v->mended += count_of(o, "mended");
	v->whole_bad = v->whole_bad || json_is_true(json_object_get(o, "index_bad"));
	v->messages += count_of(o, "objects");
	v->bytes += (uint64_t)count_of(o, "bytes");
	json_array_foreach(json_object_get(o, "bad"), i, one)
		shard_bad(v, shard, one);
	json_decref(o);
	finish(v);
}

void
verify_shard_progress(struct verify *v, uint16_t shard, uint32_t run, uint64_t done, uint64_t of)
{
	struct part *p = run == v->run ? part_of(v, shard) : NULL;

	if (p != NULL) {
		p->done = done;
		p->of = of;
		p->moved_ms = clock_ms();
	}
}

void
verify_shard_gone(struct verify *v, uint16_t shard)
{
	struct part *p = v == NULL ? NULL : part_of(v, shard);

	if (p != NULL)
		shard_failed(v, p, "its owner went away");
}

void
verify_log_changed(struct verify *v)
{
	if (v != NULL)
		v->log_moved = true;
}

/* ---- a run --------------------------------------------------------------- */

/* Its owner is told, and what it may still answer is skipped. */
static void
give_up(struct verify *v, struct part *p, const char *why)
{
	owners_verify_stop(v->s->owners, p->shard);
	shard_failed(v, p, why);
}

static void
on_call_gone(struct ctl_call *call, void *arg)
{
	struct verify *v = arg;

	if (v->call != call)
		return;
	v->call = NULL;
	v->stopped = true;
	log_info("verify: who asked is gone, it ends");
	if (v->look != NULL) {
		pthread_mutex_lock(&v->look->lock);
		v->look->stop = true;
		pthread_mutex_unlock(&v->look->lock);
	}
	for (size_t i = 0; i < v->nparts; i++)
		if (v->parts[i].state == SHARD_ASKED)
			give_up(v, &v->parts[i], "who asked is gone");
}

static void
find_stalled(struct verify *v, int64_t now)
{
	int64_t limit = (int64_t)v->s->conf.owner_stall_s * 1000;

	for (size_t i = 0; v->running && i < v->nparts; i++)
		if (v->parts[i].state == SHARD_ASKED && now - v->parts[i].moved_ms > limit)
			give_up(v, &v->parts[i], "its owner gets no further (owner-stall-s); look at "
			    "maild, or restart it");
}

static json_t *
summary(const struct verify *v)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O}", "bad", v->bad, "mended",
	    v->mended, "records", v->records, "messages", v->messages, "bytes",
	    (json_int_t)v->bytes, "duration_ms", (json_int_t)(clock_ms() - v->began_ms), "ended_ms",
	    (json_int_t)clock_wall_ms(), "not_looked_at", v->failures);
}

static const char *
next_step(const struct verify *v)
{
	if (v->refilled)
		return "hactl sync status";
	if (!v->repair)
		return "hactl sync verify --repair";
	if (v->whole_bad && v->s->commit.role == DATA_ACTIVE)
		return "hactl switchover, and then, here: hactl sync verify --repair";
	return "see syncd(8), DIAGNOSTICS";
}

static void
answer(struct verify *v)
{
	json_int_t left = v->bad - v->mended;
	bool all = json_array_size(v->failures) == 0;
	enum ctl_exit code = left > 0 ? CTL_CRITICAL : !all ? CTL_HALF_DONE :
	    v->bad > 0 ? CTL_WARNING : CTL_OK;
	struct ctl_call *call = v->call;
	char text[160];

	v->call = NULL;
	if (call == NULL)
		return;
	(void)snprintf(text, sizeof(text), "%lld damaged, %lld mended from the other node",
	    (long long)v->bad, (long long)v->mended);
	ctl_done(call, code, json_pack("{s:O}", "verify", v->last), code == CTL_OK ? NULL :
	    code == CTL_HALF_DONE ? "not everything could be looked at" : text,
	    v->refilled ? "an index or the log is damaged: this node is filled anew from the other one" :
	    all ? NULL : json_string_value(json_array_get(v->failures, 0)),
	    left > 0 ? next_step(v) : all ? NULL : "hactl sync verify");
}

static void
finish(struct verify *v)
{
	if (!v->running || v->look != NULL)
		return;
	for (size_t i = 0; i < v->nparts; i++)
		if (v->parts[i].state == SHARD_ASKED)
			return;
	v->running = false;
	json_decref(v->last);
	v->last = summary(v);
	log_info("verified records=%lld messages=%lld bytes=%llu bad=%lld mended=%lld ms=%lld",
	    (long long)v->records, (long long)v->messages, (unsigned long long)v->bytes,
	    (long long)v->bad, (long long)v->mended, (long long)(clock_ms() - v->began_ms));
	/* Not by itself: while it is filled anew this node cannot take over. */
	if (v->asked && v->repair && v->whole_bad && !v->log_moved && !v->stopped)
		v->refilled = core_refill(v->s, "verify: an index or the log is damaged");
	answer(v);
}

static void
start_log(struct verify *v)
{
	struct look *l = mem_alloc(sizeof(*l));

	v->look = l;
	v->log_moved = false;
	l->rate = v->s->conf.verify_rate;
	l->began_ms = clock_ms();
	l->log.dir = v->s->conf.log_directory;
	l->log.spans = log_store_spans(v->s->store, &l->log.nspans, &l->log.tip);
	l->log.go_on = go_on;
	l->log.arg = l;
	l->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	v->ev = event_new(v->s->base, l->event_fd, EV_READ, on_looked, v);
	if (l->event_fd == -1 || v->ev == NULL || event_add(v->ev, NULL) == -1 ||
	    pthread_mutex_init(&l->lock, NULL) != 0 ||
	    pthread_create(&l->thread, NULL, look, l) != 0)
		log_fatal("cannot start a thread");
}

/* All are in the list before the first is asked: one may be gone at once. */
static void
start_shards(struct verify *v)
{
	uint16_t shards[SHARD_MAX], absent;
	char text[80];

	v->nparts = owners_shards(v->s->owners, shards, SHARD_MAX);
	v->parts = mem_grow(v->parts, v->nparts + 1, sizeof(*v->parts));
	for (size_t i = 0; i < v->nparts; i++)
		v->parts[i] = (struct part){ .shard = shards[i], .moved_ms = v->began_ms };
	for (size_t i = 0; i < v->nparts; i++)
		if (owners_verify(v->s->owners, shards[i], v->run, v->s->conf.verify_rate,
		    v->repair) == -1)
			shard_failed(v, &v->parts[i], "its owner went away, or has lost its index");
	if (owners_absent(v->s->owners, &absent)) {
		(void)snprintf(text, sizeof(text), "shard %u was not looked through: it has no owner with "
		    "an index",
		    absent);
		failure(v, text);
	} else if (v->nparts == 0) {
		failure(v, "no owner of a shard is there");
	}
}

static void
start(struct verify *v, bool asked, bool repair)
{
	v->running = true;
	v->asked = asked;
	v->stopped = false;
	v->repair = repair;
	v->run++;
	v->bad = v->mended = v->records = v->messages = 0;
	v->bytes = 0;
	v->whole_bad = v->refilled = false;
	v->began_ms = v->told_ms = clock_ms();
	json_decref(v->failures);
	v->failures = json_array();
	v->nparts = 0;
	start_log(v);
	start_shards(v);
}

void
verify_request(struct verify *v, struct ctl_call *call, json_t *request)
{
	if (ctl_uid(call) != 0 && ctl_uid(call) != geteuid()) {
		ctl_done(call, CTL_DENIED, NULL, "only root may verify", NULL, NULL);
	} else if (v->running) {
		ctl_done(call, CTL_CONFLICT, NULL, "everything is being looked through already", NULL,
		    "hactl sync status");
	} else {
		v->call = call;
		ctl_on_gone(call, on_call_gone, v);
		start(v, true, json_is_true(json_object_get(request, "repair")));
	}
}

/* ---- progress ------------------------------------------------------------ */

static json_t *
progress(const struct verify *v)
{
	uint64_t done = 0, of = 0;
	size_t ready = 0;

	for (size_t i = 0; i < v->nparts; i++) {
		done += v->parts[i].done;
		of += v->parts[i].of;
		ready += v->parts[i].state != SHARD_ASKED;
	}
	if (v->look != NULL) {
		pthread_mutex_lock(&v->look->lock);
		done += v->look->done;
		of += v->look->of;
		pthread_mutex_unlock(&v->look->lock);
	}
	return json_pack("{s:b, s:b, s:i, s:i, s:I, s:I, s:I, s:I}", "running", 1, "log_done",
	    v->look == NULL, "shards_done", (int)ready, "shards", (int)v->nparts, "done",
	    (json_int_t)done, "of", (json_int_t)of, "bad", v->bad, "running_ms",
	    (json_int_t)(clock_ms() - v->began_ms));
}

json_t *
verify_status(const struct verify *v)
{
	json_t *o = v->running ? progress(v) : json_pack("{s:b}", "running", 0);

	if (v->last != NULL)
		json_object_set(o, "last", v->last);
	return o;
}

void
verify_second(struct verify *v)
{
	int64_t now = clock_ms(), every = (int64_t)v->s->conf.verify_interval_h * 3600 * 1000;

	if (v->running && v->call != NULL && now - v->told_ms >= TELL_MS)
		tell(v, json_pack("{s:o}", "progress", progress(v)));
	find_stalled(v, now);
	if (every == 0)
		return;
	if (v->due_ms == 0)
		v->due_ms = now + every;
	if (v->running || now < v->due_ms)
		return;
	v->due_ms = now + every;
	log_info("verify: by itself, verify-interval-h=%d", v->s->conf.verify_interval_h);
	start(v, false, true);
}

struct verify *
verify_new(struct syncd *s)
{
	struct verify *v = mem_alloc(sizeof(*v));

	v->s = s;
	return v;
}

void
verify_free(struct verify *v)
{
	if (v == NULL)
		return;
	look_free(v);
	if (v->call != NULL)
		ctl_done(v->call, CTL_HALF_DONE, NULL, "syncd ends", NULL, "hactl sync verify");
	json_decref(v->failures);
	json_decref(v->last);
	free(v->parts);
	free(v);
}
