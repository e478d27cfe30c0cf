/* log_writer.c - the writer thread: takes the whole queue, appends, one fdatasync,
 * reports, again.  The two threads share the two lists and the flags under one lock;
 * records are only read here, their reference counts belong to the main thread.
 * Cannot: retry a failed sync, or reorder. */
#include "log_writer.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "clock.h"
#include "log.h"
#include "log_store.h"
#include "mem.h"
#include "pace.h"

#define GROUP_MAX 1024		/* records in one append call */
#define FULL_AGAIN_MS 500

struct log_writer {
	struct log_store *store;
	struct log_writer_ops ops;
	void *arg;
	struct event *event;
	int wake_fd;
	size_t bytes;			/* main thread: put and not reported durable */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more, idle;
	struct logrec *in, **in_end;	/* to be written */
	struct logrec *out, **out_end;	/* durable, to be reported */
	bool busy, stop, full, full_told;
	struct pace pace;		/* of the syncs */
	struct log_writer_count count;
	int err;			/* the log is dead: why */
	bool err_told;
};

struct logrec *
logrec_new(size_t payload)
{
	struct logrec *r = mem_alloc(sizeof(*r) + record_size(payload));

	r->refs = 1;
	r->len = record_size(payload);
	return r;
}

void
logrec_ref(struct logrec *r)
{
	r->refs++;
}

void
logrec_unref(struct logrec *r)
{
	if (r == NULL)
		return;
	assert(r->refs > 0);
	if (--r->refs == 0)
		free(r);
}

static void
wake_main(struct log_writer *w)
{
	uint64_t one = 1;

	while (write(w->wake_fd, &one, sizeof(one)) == -1 && errno == EINTR)
		;
}

/* ---- the thread ---- */

static void
say_full(struct log_writer *w, bool full)
{
	pthread_mutex_lock(&w->lock);
	w->full = full;
	pthread_mutex_unlock(&w->lock);
	wake_main(w);
}

/* No room for another segment: nothing is lost yet, so wait for room. */
static bool
wait_for_room(struct log_writer *w)
{
	struct timespec t;
	bool stop;

	say_full(w, true);
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += FULL_AGAIN_MS * 1000000L;
	t.tv_sec += t.tv_nsec / 1000000000L;
	t.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&w->lock);
	while (!w->stop && pthread_cond_timedwait(&w->more, &w->lock, &t) == 0)
		;
	stop = w->stop;
	pthread_mutex_unlock(&w->lock);
	return !stop;
}

static int
append_group(struct log_writer *w, const struct span *s, size_t n)
{
	size_t at = 0, done;
	bool was_full = false;

	while (at < n) {
		if (log_store_append(w->store, s + at, n - at, &done) == -1) {
			at += done;
			if (errno != ENOSPC || !wait_for_room(w))
				return -1;
			was_full = true;
			continue;
		}
		at += done;
	}
	if (was_full)
		say_full(w, false);
	return 0;
}

static int
timed_sync(struct log_writer *w)
{
	int rc, saved;

	pthread_mutex_lock(&w->lock);
	pace_begin(&w->pace, clock_ms());
	pthread_mutex_unlock(&w->lock);
	rc = log_store_sync(w->store);
	saved = errno;
	pthread_mutex_lock(&w->lock);
	pace_end(&w->pace, clock_ms());
	pthread_mutex_unlock(&w->lock);
	errno = saved;
	return rc;
}

static void
count_batch(struct log_writer *w, uint64_t records, uint64_t bytes)
{
	pthread_mutex_lock(&w->lock);
	w->count.syncs++;
	w->count.records += records;
	w->count.bytes += bytes;
	if (records > w->count.batch_max)
		w->count.batch_max = records;
	pthread_mutex_unlock(&w->lock);
}

static int
write_list(struct log_writer *w, struct logrec *list)
{
	struct span s[GROUP_MAX];
	uint64_t records = 0, bytes = 0;

	while (list != NULL) {
		size_t n = 0;

		for (; list != NULL && n < GROUP_MAX; list = list->next) {
			bytes += list->len;
			s[n++] = (struct span){ (const char *)list->raw, list->len };
		}
		records += n;
		if (append_group(w, s, n) == -1)
			return -1;
	}
	if (timed_sync(w) == -1)
		return -1;
	count_batch(w, records, bytes);
	return 0;
}

static void *
writer_main(void *arg)
{
	struct log_writer *w = arg;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct logrec *list = w->in, **end = w->in_end;
		int err = 0;

		if (list == NULL || w->err != 0) {
			w->busy = false;
			pthread_cond_broadcast(&w->idle);
			if (w->stop)
				break;
			pthread_cond_wait(&w->more, &w->lock);
			continue;
		}
		w->busy = true;
		w->in = NULL;
		w->in_end = &w->in;
		pthread_mutex_unlock(&w->lock);
		if (write_list(w, list) == -1)
			err = errno != 0 ? errno : EIO;
		pthread_mutex_lock(&w->lock);
		if (err != 0) {
			w->err = err;
			if (w->in == NULL)
				w->in_end = end;
			*end = w->in;	/* never durable; freed by the main thread */
			w->in = list;
		} else {
			*w->out_end = list;
			w->out_end = end;
		}
		wake_main(w);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- the main thread ---- */

/* Reports what is durable: one call for the last record of the list. */
static void
report(struct log_writer *w)
{
	struct logrec *list, *r;
	bool full, full_changed, failed;
	uint8_t hash[16];
	uint64_t lsn = 0;
	int err;

	pthread_mutex_lock(&w->lock);
	list = w->out;
	w->out = NULL;
	w->out_end = &w->out;
	full = w->full;
	full_changed = full != w->full_told;
	w->full_told = full;
	err = w->err;
	failed = err != 0 && !w->err_told;
	w->err_told = err != 0;
	pthread_mutex_unlock(&w->lock);
	while ((r = list) != NULL) {
		list = r->next;
		r->next = NULL;
		w->bytes -= r->len;
		lsn = r->lsn;
		memcpy(hash, r->hash, 16);
		logrec_unref(r);
	}
	if (lsn != 0)
		w->ops.durable(w->arg, lsn, hash);
	if (full_changed)
		w->ops.full(w->arg, full);
	if (failed)
		w->ops.failed(w->arg, err);
}

static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;

	(void)what;
	while (read(fd, &count, sizeof(count)) == -1 && errno == EINTR)
		;
	report(arg);
}

struct log_writer *
log_writer_new(struct event_base *base, struct log_store *store,
    const struct log_writer_ops *ops, void *arg)
{
	struct log_writer *w = mem_alloc(sizeof(*w));
	pthread_condattr_t attr;

	w->store = store;
	w->ops = *ops;
	w->arg = arg;
	w->in_end = &w->in;
	w->out_end = &w->out;
	pace_init(&w->pace, INT_MAX, PACE_PARTS);
	pthread_mutex_init(&w->lock, NULL);
	/* a wall clock that is set back must not put off the next look at a full disk */
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->more, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&w->idle, NULL);
	w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (w->wake_fd == -1)
		log_fatal("eventfd: %s", strerror(errno));
	w->event = event_new(base, w->wake_fd, EV_READ | EV_PERSIST, on_wake, w);
	event_add(w->event, NULL);
	if (pthread_create(&w->thread, NULL, writer_main, w) != 0)
		log_fatal("cannot start the writer thread");
	return w;
}

void
log_writer_free(struct log_writer *w)
{
	struct logrec *r;

	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	*w->out_end = w->in;
	while ((r = w->out) != NULL) {
		w->out = r->next;
		logrec_unref(r);
	}
	event_free(w->event);
	close(w->wake_fd);
	pthread_cond_destroy(&w->more);
	pthread_cond_destroy(&w->idle);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

void
log_writer_put(struct log_writer *w, struct logrec *r)
{
	logrec_ref(r);
	w->bytes += r->len;
	r->next = NULL;
	pthread_mutex_lock(&w->lock);
	*w->in_end = r;
	w->in_end = &r->next;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
}

void
log_writer_pace(struct log_writer *w, int slow_ms, int window_ms)
{
	pthread_mutex_lock(&w->lock);
	pace_init(&w->pace, slow_ms, window_ms);
	pthread_mutex_unlock(&w->lock);
}

bool
log_writer_slow(struct log_writer *w, int64_t now_ms)
{
	bool slow;

	pthread_mutex_lock(&w->lock);
	slow = pace_slow(&w->pace, now_ms);
	pthread_mutex_unlock(&w->lock);
	return slow;
}

struct log_writer_count
log_writer_count(struct log_writer *w)
{
	struct log_writer_count c;

	pthread_mutex_lock(&w->lock);
	c = w->count;
	pthread_mutex_unlock(&w->lock);
	return c;
}

size_t
log_writer_bytes(const struct log_writer *w)
{
	return w->bytes;
}

bool
log_writer_settle(struct log_writer *w)
{
	bool ok;

	pthread_mutex_lock(&w->lock);
	while ((w->in != NULL || w->busy) && w->err == 0 && !w->full)
		pthread_cond_wait(&w->idle, &w->lock);
	ok = w->err == 0 && !w->full;
	pthread_mutex_unlock(&w->lock);
	report(w);
	return ok;
}
