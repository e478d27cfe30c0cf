/* test_mend.c - objects asked for between two struct mend over a pair of bufferevents,
 * owners played by this program: what arrives, in which order, what is said of a missing
 * or rotten one, and what a cut, a silent owner and a silent node end in. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <event2/bufferevent.h>
#include <event2/event.h>

#include "bulk.h"
#include "clock.h"
#include "fs.h"
#include "hex.h"
#include "mend.h"
#include "mirror_wire.h"
#include "seed.h"

#define OBJECTS 40

enum copy { GOOD, ABSENT, ROTTEN, SILENT, NOBODY };

struct end {
	struct mirror_host host;
	struct commit commit;
	struct mend *mend;
	struct bulk *bulk;
	enum copy has[OBJECTS];
	bool asked[OBJECTS];		/* its owner was asked and is silent */
	int answers, order_bad;
	enum owner_mend rc[OBJECTS];
	bool told[OBJECTS];
};

static struct {
	struct event_base *base;
	struct end end[2];
	uint8_t sha[OBJECTS][32];
	int stop_at;			/* this frame of bytes: nothing more is read */
	bool stopped;
} w;

/* Up to some megabytes, so that it takes many turns. */
static size_t
size_of(int i)
{
	return i == 0 ? 0 : (size_t)i * (size_t)i * 3000 + 1;
}

static char *
content(int i)
{
	char *p = malloc(size_of(i) + 1);

	for (size_t k = 0; k < size_of(i); k++)
		p[k] = (char)(k * 31 + (size_t)i);
	return p;
}

static int
number_of(const uint8_t sha[32])
{
	for (int i = 0; i < OBJECTS; i++)
		if (memcmp(w.sha[i], sha, 32) == 0)
			return i;
	fail_msg("an object that nobody has");
	return -1;
}

static int
ask_object(void *arg, uint16_t shard, const uint8_t sha[32])
{
	struct end *e = arg;
	int i = number_of(sha), fd;
	char *p;

	assert_int_equal(shard, 16 + i % 3);
	if (e->has[i] == NOBODY)
		return -1;
	if (e->has[i] == SILENT) {
		e->asked[i] = true;
		return 0;
	}
	if (e->has[i] == ABSENT) {
		assert_true(mend_object(e->mend, shard, sha, false, -1));
		return 0;
	}
	p = content(i);
	if (e->has[i] == ROTTEN)
		p[size_of(i) / 2] ^= 8;
	fd = memfd_create("mend-test", MFD_CLOEXEC);
	assert_int_equal(fs_write_all(fd, p, size_of(i)), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	free(p);
	assert_true(mend_object(e->mend, shard, sha, true, fd));
	return 0;
}

static void
mended(void *arg, uint16_t shard, const uint8_t sha[32], enum owner_mend rc, int fd)
{
	struct end *e = arg;
	int i = number_of(sha);
	char *p, *want = content(i);

	assert_int_equal(shard, 16 + i % 3);
	assert_int_equal(rc == OWNER_MEND_OK, fd != -1);
	if (fd != -1) {
		p = malloc(size_of(i) + 1);
		assert_int_equal(read(fd, p, size_of(i) + 1), size_of(i));
		assert_memory_equal(p, want, size_of(i));
		free(p);
		close(fd);
	}
	free(want);
	for (int k = i + 1; k < OBJECTS; k++)
		e->order_bad += e->told[k];
	e->told[i] = true;
	e->rc[i] = rc;
	e->answers++;
}

/* ---- the rig ---- */

static void
on_frame(void *arg, uint8_t type, struct span whole)
{
	if (w.stopped)
		return;
	w.stopped = type == MD_DATA && w.stop_at > 0 && --w.stop_at == 0;
	mend_frame(((struct end *)arg)->mend, type,
	    (struct span){ whole.p + MIRROR_HEAD, whole.len - MIRROR_HEAD });
}

static void
on_gone(void *arg, const char *why)
{
	(void)arg;
	fail_msg("bulk: %s", why);
}

static void
on_nothing(void *arg)
{
	(void)arg;		/* there is nothing but mending */
}

static void
on_room(void *arg)
{
	mend_room(((struct end *)arg)->mend);
}

static void
connect_ends(void)
{
	static const struct bulk_ops ops = { on_frame, on_gone, on_nothing, on_room };
	struct bufferevent *pair[2];

	assert_int_equal(bufferevent_pair_new(w.base, BEV_OPT_DEFER_CALLBACKS, pair), 0);
	for (int i = 0; i < 2; i++) {
		w.end[i].bulk = bulk_new(pair[i], &ops, &w.end[i]);
		mend_up(w.end[i].mend, w.end[i].bulk);
	}
}

static void
cut(void)
{
	for (int i = 0; i < 2; i++) {
		mend_down(w.end[i].mend);
		bulk_free(w.end[i].bulk);
		w.end[i].bulk = NULL;
	}
}

static int
setup(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	w.base = event_base_new();
	for (int i = 0; i < OBJECTS; i++) {
		char *p = content(i);

		sha256(p, size_of(i), w.sha[i]);
		free(p);
	}
	for (int i = 0; i < 2; i++) {
		struct end *e = &w.end[i];

		e->host = (struct mirror_host){ .arg = e, .base = w.base, .commit = &e->commit,
			.spool_dir = "/tmp", .worker_fd = -1, .ask_object = ask_object,
			.mended = mended };
		e->mend = mend_new(&e->host);
		mend_peer(e->mend, true);
	}
	connect_ends();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		mend_free(w.end[i].mend);
		bulk_free(w.end[i].bulk);
	}
	event_base_free(w.base);
	return 0;
}

static void
turn(int64_t ahead_ms, int turns)
{
	for (int i = 0; i < turns; i++) {
		mend_tick(w.end[0].mend, clock_ms() + ahead_ms);
		event_base_loop(w.base, EVLOOP_NONBLOCK);
	}
}

static void
want(struct end *e, int i)
{
	mend_want(e->mend, (uint16_t)(16 + i % 3), w.sha[i]);
}

static void
test_all(void **state)
{
	(void)state;
	/* both at once: neither waits for the other */
	for (int i = 0; i < OBJECTS; i++) {
		want(&w.end[0], i);
		want(&w.end[1], i);
	}
	turn(0, 5000);
	for (int e = 0; e < 2; e++) {
		assert_int_equal(w.end[e].answers, OBJECTS);
		assert_int_equal(w.end[e].order_bad, 0);
		for (int i = 0; i < OBJECTS; i++)
			assert_int_equal(w.end[e].rc[i], OWNER_MEND_OK);
	}
}

static void
test_not_to_be_had(void **state)
{
	static const enum owner_mend expect[] = { [GOOD] = OWNER_MEND_OK,
		[ABSENT] = OWNER_MEND_ABSENT, [ROTTEN] = OWNER_MEND_BAD,
		[SILENT] = OWNER_MEND_NO_PEER, [NOBODY] = OWNER_MEND_NO_PEER };

	(void)state;
	for (int i = 1; i < 21; i++) {
		w.end[1].has[i] = (enum copy)(i % 5);
		want(&w.end[0], i);
	}
	for (int k = 0; k < 21; k++) {	/* a silent one ends by its time */
		turn(0, 200);
		turn(11000, 1);
	}
	assert_int_equal(w.end[0].answers, 20);
	for (int i = 1; i < 21; i++)
		assert_int_equal(w.end[0].rc[i], expect[i % 5]);
}

/* A late answer belongs to no later question. */
static void
test_late(void **state)
{
	(void)state;
	w.end[1].has[4] = SILENT;
	want(&w.end[0], 4);
	turn(0, 50);
	assert_true(w.end[1].asked[4]);
	turn(11000, 1);
	assert_int_equal(w.end[0].rc[4], OWNER_MEND_NO_PEER);
	want(&w.end[0], 5);
	/* the owner answers at last: it is not asked for any more */
	turn(0, 50);
	assert_false(mend_object(w.end[1].mend, 16 + 4 % 3, w.sha[4], false, -1));
	turn(0, 200);
	assert_int_equal(w.end[0].rc[5], OWNER_MEND_OK);
	assert_int_equal(w.end[0].answers, 2);
}

static void
test_owner_gone(void **state)
{
	(void)state;
	w.end[1].has[4] = SILENT;
	want(&w.end[0], 4);
	turn(0, 50);
	mend_gone(w.end[1].mend, 20);	/* another's */
	turn(0, 50);
	assert_int_equal(w.end[0].answers, 0);
	mend_gone(w.end[1].mend, 16 + 4 % 3);
	turn(0, 50);
	assert_int_equal(w.end[0].rc[4], OWNER_MEND_NO_PEER);
	assert_int_equal(w.end[0].answers, 1);
}

static void
test_cut(void **state)
{
	(void)state;
	w.stop_at = 30;			/* of about 70 */
	want(&w.end[0], 39);
	want(&w.end[0], 2);
	turn(0, 100);
	assert_true(w.stopped);
	cut();
	w.stopped = false;
	assert_int_equal(w.end[0].answers, 0);
	assert_true(mend_wants_bulk(w.end[0].mend));
	connect_ends();
	turn(0, 500);
	assert_int_equal(w.end[0].answers, 2);
	assert_int_equal(w.end[0].rc[39], OWNER_MEND_OK);
	assert_int_equal(w.end[0].rc[2], OWNER_MEND_OK);
	assert_false(mend_wants_bulk(w.end[0].mend));
}

static void
test_no_peer(void **state)
{
	(void)state;
	w.stop_at = 30;			/* of about 70 */
	want(&w.end[0], 39);
	want(&w.end[0], 2);
	turn(0, 100);
	assert_true(w.stopped);
	cut();
	w.stopped = false;
	mend_peer(w.end[0].mend, false);
	assert_int_equal(w.end[0].answers, 2);
	want(&w.end[0], 3);
	assert_int_equal(w.end[0].answers, 3);
	for (int i = 2; i < 4; i++)
		assert_int_equal(w.end[0].rc[i], OWNER_MEND_NO_PEER);
	mend_peer(w.end[0].mend, true);
	connect_ends();
	want(&w.end[0], 3);
	turn(0, 200);
	assert_int_equal(w.end[0].rc[3], OWNER_MEND_OK);
}

/* Frames cut short, of no question, and of types to come change nothing. */
static void
test_strange_frames(void **state)
{
	uint8_t body[64] = { 0 };

	(void)state;
	w.end[1].has[4] = SILENT;
	want(&w.end[0], 4);
	turn(0, 50);
	for (uint8_t type = MD_WANT; type <= MM_SEED_LAST; type++)
		for (size_t n = 0; n < sizeof(body); n++)
			if (type != MD_WANT || n != 38)
				mend_frame(w.end[0].mend, type,
				    (struct span){ (char *)body, n });
	assert_int_equal(w.end[0].answers, 0);
	w.end[1].has[4] = GOOD;
	want(&w.end[0], 5);
	mend_gone(w.end[1].mend, 16 + 4 % 3);
	turn(0, 200);
	assert_int_equal(w.end[0].rc[5], OWNER_MEND_OK);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = { T(test_all), T(test_not_to_be_had), T(test_late),
		T(test_owner_gone), T(test_cut), T(test_no_peer), T(test_strange_frames) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
