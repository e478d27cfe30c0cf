/* index_verify.c - see index_verify.h.  The thread writes into its struct until it says
 * through the eventfd that it is done; the loop reads from there on. */
#include "index_verify.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <event2/event.h>
#include <jansson.h>

#include "log.h"
#include "mem.h"
#include "page_sum.h"

#define NICE 10
#define TICK_S 5

struct index_verify {
	char *path;
	void (*done)(void *, bool, const char *);
	void (*moves)(void *);
	void *arg;
	pthread_t thread;
	atomic_bool stop;
	_Atomic uint64_t steps;
	uint64_t seen;			/* steps, when it was looked last */
	int event_fd;
	struct event *ev, *tick;
	/* the thread's until it has written to event_fd */
	json_t *report;
	bool ok;
};

static int
on_progress(void *arg)
{
	struct index_verify *v = arg;

	v->steps++;
	return v->stop;
}

static void
add_bad(json_t *bad, const char *text)
{
	json_array_append_new(bad, json_pack("{s:s, s:s}", "what", "index.db is damaged", "name",
	    text != NULL ? text : ""));
}

static void
look(struct index_verify *v)
{
	json_t *bad = json_array();
	sqlite3_stmt *st = NULL;
	sqlite3 *db = NULL;
	int rc = page_sum_open(v->path, &db, SQLITE_OPEN_READWRITE);

	if (rc == SQLITE_OK) {
		sqlite3_busy_timeout(db, 5000);
		/* Only who sees a sync fail may make one. */
		sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
		sqlite3_progress_handler(db, 100000, on_progress, v);
		rc = sqlite3_prepare_v2(db, "PRAGMA integrity_check(20)", -1, &st, NULL);
	}
	while (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(st, 0);

		if (text == NULL || strcmp(text, "ok") != 0)
			add_bad(bad, text);
		rc = SQLITE_OK;
	}
	v->ok = rc == SQLITE_DONE;
	if (!v->ok && db != NULL && page_sum_damage(db)) {
		add_bad(bad, sqlite3_errmsg(db));
		v->ok = true;
	}
	if (v->ok)
		v->report = json_pack("{s:i, s:b, s:o}", "bad_count", (int)json_array_size(bad),
		    "index_bad", json_array_size(bad) > 0, "bad", bad);
	else
		v->report = json_pack("{s:s}", "error", db != NULL ? sqlite3_errmsg(db) : "no memory");
	if (!v->ok)
		json_decref(bad);
	sqlite3_finalize(st);
	sqlite3_close(db);
}

static void *
thread(void *arg)
{
	struct index_verify *v = arg;
	const uint64_t one = 1;

	if (setpriority(PRIO_PROCESS, (id_t)gettid(), NICE) == -1)
		log_warn("cannot verify at a low priority");
	look(v);
	if (write(v->event_fd, &one, sizeof(one)) != sizeof(one))
		log_warn("eventfd");
	return NULL;
}

static void
on_done(evutil_socket_t fd, short what, void *arg)
{
	struct index_verify *v = arg;
	char *text = json_dumps(v->report, JSON_COMPACT);

	(void)fd;
	(void)what;
	if (text == NULL)
		log_fatal("out of memory");
	event_del(v->ev);
	event_del(v->tick);
	v->done(v->arg, v->ok, text);
	free(text);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct index_verify *v = arg;
	uint64_t steps = v->steps;

	(void)fd;
	(void)what;
	if (steps == v->seen)
		return;
	v->seen = steps;
	v->moves(v->arg);
}

struct index_verify *
index_verify_new(struct event_base *base, const char *path,
    void (*done)(void *arg, bool ok, const char *report), void (*moves)(void *arg), void *arg)
{
	const struct timeval tv = { TICK_S, 0 };
	struct index_verify *v = mem_alloc(sizeof(*v));

	v->path = mem_dup(path);
	v->done = done;
	v->moves = moves;
	v->arg = arg;
	v->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	v->ev = event_new(base, v->event_fd, EV_READ | EV_PERSIST, on_done, v);
	v->tick = event_new(base, -1, EV_PERSIST, on_tick, v);
	if (v->event_fd == -1 || v->ev == NULL || event_add(v->ev, NULL) == -1 ||
	    v->tick == NULL || event_add(v->tick, &tv) == -1 ||
	    pthread_create(&v->thread, NULL, thread, v) != 0)
		log_fatal("cannot start a thread");
	return v;
}

void
index_verify_free(struct index_verify *v)
{
	if (v == NULL)
		return;
	v->stop = true;
	pthread_join(v->thread, NULL);
	event_free(v->ev);
	event_free(v->tick);
	close(v->event_fd);
	json_decref(v->report);
	free(v->path);
	free(v);
}
