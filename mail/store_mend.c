/* store_mend.c - objects that are missing here, or are not what their name says: syncd
 * gets them from the other node, a job puts them in place, and whoever waits is told.
 *
 * Promise: done() once for each call, never from inside it, at most mend_ms later.
 * MAIL_OK: the object on the disk is good again, durably.  An object is asked for once,
 * however many sessions read it.  What the disk did is said as an error once for each
 * object, mended or not: somebody has to look at the disk. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "hex.h"
#include "log.h"
#include "mem.h"
#include "store_priv.h"

#define MENDING_MAX 1024

struct waiter {
	TAILQ_ENTRY(waiter) next;
	store_done_cb *done;
	void *arg;
};

struct mending {
	TAILQ_ENTRY(mending) next;
	struct store_shard *ss;
	uint8_t sha[32];
	int64_t until_ms;
	bool placing;			/* the job has it */
	bool ended;			/* to be told, from the loop */
	enum mail_rc rc;
	TAILQ_HEAD(, waiter) waiters;
};

static struct mending *
find(const struct store *st, const struct store_shard *ss, const uint8_t sha[32])
{
	struct mending *m;

	TAILQ_FOREACH(m, &st->mending, next)
		if (!m->ended && m->ss == ss && memcmp(m->sha, sha, 32) == 0)
			return m;
	return NULL;
}

static void
mending_free(struct store *st, struct mending *m)
{
	struct waiter *w;

	TAILQ_REMOVE(&st->mending, m, next);
	st->nmending--;
	while ((w = TAILQ_FIRST(&m->waiters)) != NULL) {
		TAILQ_REMOVE(&m->waiters, w, next);
		free(w);
	}
	free(m);
}

/* One that is told may ask for another, or forget itself. */
static void
tell(struct mending *m)
{
	struct store_result r = { .rc = m->rc };
	struct waiter *w;

	while ((w = TAILQ_FIRST(&m->waiters)) != NULL) {
		TAILQ_REMOVE(&m->waiters, w, next);
		w->done(w->arg, &r);
		free(w);
	}
}

static void
on_ended(evutil_socket_t fd, short what, void *arg)
{
	struct store *st = arg;
	struct mending *m, *after;

	(void)fd;
	(void)what;
	for (m = TAILQ_FIRST(&st->mending); m != NULL; m = after) {
		if (m->ended)
			tell(m);
		after = TAILQ_NEXT(m, next);
		if (m->ended)
			mending_free(st, m);
	}
}

static void
end(struct mending *m, enum mail_rc rc, const char *how)
{
	const struct timeval now = { 0, 0 };
	struct store *st = m->ss->st;
	char hex[65];

	hex_encode(m->sha, 32, hex);
	if (rc == MAIL_OK)
		log_err("store shard=%u object %s was missing or damaged: mended from the other node",
		    m->ss->n, hex);
	else
		log_err("store shard=%u object %s is missing or damaged, and not mended: %s",
		    m->ss->n, hex, how);
	*(rc == MAIL_OK ? &st->mended : &st->unmended) += 1;
	m->rc = rc;
	m->ended = true;
	evtimer_add(st->mend_ev, &now);
}

static struct mending *
begin(struct store *st, struct store_shard *ss, const uint8_t sha[32])
{
	struct mending *m = mem_alloc(sizeof(*m));

	m->ss = ss;
	memcpy(m->sha, sha, 32);
	m->until_ms = clock_ms() + st->conf.mend_ms;
	TAILQ_INIT(&m->waiters);
	TAILQ_INSERT_TAIL(&st->mending, m, next);
	st->nmending++;
	if (st->nmending > MENDING_MAX)
		end(m, MAIL_TEMP, "too many at once");
	else if (owner_mend(st->owner, ss->log_no, sha) == -1)
		end(m, MAIL_TEMP, "syncd is not there");
	return m;
}

void
store_mend(struct store *st, uint16_t shard, const uint8_t sha[32], store_done_cb *done,
    void *arg)
{
	struct store_shard *ss = store_find(st, shard);
	struct mending *m = find(st, ss, sha);
	struct waiter *w = mem_alloc(sizeof(*w));

	assert(ss != NULL);
	if (m == NULL)
		m = begin(st, ss, sha);
	w->done = done;
	w->arg = arg;
	TAILQ_INSERT_TAIL(&m->waiters, w, next);
}

void
mend_answer(struct store_shard *ss, const uint8_t sha[32], enum owner_mend rc, int fd)
{
	struct mending *m = find(ss->st, ss, sha);

	if (m == NULL || m->placing) {		/* too late, or asked for twice */
		if (fd != -1)
			close(fd);
	} else if (rc != OWNER_MEND_OK) {
		end(m, MAIL_TEMP, rc == OWNER_MEND_ABSENT ? "the other node has none" :
		    rc == OWNER_MEND_BAD ? "the other node's copy is damaged too" :
		    "the other node cannot be asked");
	} else if (job_mend(ss, sha, fd) == -1) {
		end(m, MAIL_TEMP, "no descriptor");
	} else {
		m->placing = true;
	}
}

void
mend_placed(struct store_shard *ss, const uint8_t sha[32], bool ok, const char *error)
{
	struct mending *m = find(ss->st, ss, sha);

	if (m != NULL)
		end(m, ok ? MAIL_OK : MAIL_TEMP, error);
}

void
mends_tick(struct store *st, int64_t now_ms)
{
	struct mending *m;

	TAILQ_FOREACH(m, &st->mending, next)
		if (!m->ended && now_ms >= m->until_ms)
			end(m, MAIL_TEMP, "no answer in time");
}

void
mends_forget(struct store *st, const void *arg)
{
	struct mending *m;
	struct waiter *w, *after;

	TAILQ_FOREACH(m, &st->mending, next)
		for (w = TAILQ_FIRST(&m->waiters); w != NULL; w = after) {
			after = TAILQ_NEXT(w, next);
			if (w->arg == arg) {
				TAILQ_REMOVE(&m->waiters, w, next);
				free(w);
			}
		}
}

void
mends_init(struct store *st)
{
	TAILQ_INIT(&st->mending);
	if ((st->mend_ev = evtimer_new(st->base, on_ended, st)) == NULL)
		log_fatal("store: no event");
}

void
mends_free(struct store *st)
{
	struct mending *m;

	while ((m = TAILQ_FIRST(&st->mending)) != NULL)
		mending_free(st, m);
	event_free(st->mend_ev);
}
