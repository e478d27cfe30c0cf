/* test_seed.c - seeding between two struct seed over a pair of bufferevents, with
 * owners and logs played by this program: what arrives, in which order, what is
 * skipped, what a cut and a wrong role do. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
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
#include "seed.h"
#include "seed_link.h"

#define OBJECTS 1200		/* more than two batches */
#define INDEX (300u << 10)

struct end {
	struct mirror_host host;
	struct commit commit;
	struct seed *seed;
	struct bulk *bulk;
	bool has[OBJECTS];		/* the target's objects */
	int offered;			/* objects with content */
	int indexes, order_bad, started, done;
	uint64_t done_lsn, kept;
	size_t ngens;
	int fail_index;
	int silent_at;			/* the owner dies over this object; 0: never */
	bool died, absent, more_shards, split;
};

static struct {
	struct event_base *base;
	struct end end[2];		/* 0: active */
	uint8_t sha[OBJECTS][32];
	int stop_at;			/* objects offered: leave the loop here */
} w;

static void
content(int i, char text[32])
{
	(void)snprintf(text, 32, "object number %d\n", i);
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
memory(const void *p, size_t n)
{
	int fd = memfd_create("seed-test", MFD_CLOEXEC);

	assert_int_equal(fs_write_all(fd, p, n), 0);
	return fd;
}

/* ---- the active's owner: shard 16 has all objects, shard 17 has none ---- */

static size_t
shards(void *arg, uint16_t *s, size_t max)
{
	assert_true(max >= 3);
	s[0] = 16;
	s[1] = 17;
	s[2] = 18;
	return ((struct end *)arg)->more_shards ? 3 : 2;
}

static bool
absent(void *arg, uint16_t *shard)
{
	*shard = 17;
	return ((struct end *)arg)->absent;
}

/* Does the owner die over this object instead of answering? */
static bool
dies(struct end *e, int i)
{
	if (e->silent_at != i || i == 0)
		return false;
	e->silent_at = 0;
	return e->died = true;
}

static int
ask_snapshot(void *arg, uint16_t shard)
{
	struct end *e = arg;
	char *index = malloc(INDEX);

	memset(index, shard, INDEX);
	seed_snapshot(e->seed, shard, shard == 16 ? 70 : 3, true, memory(index, INDEX));
	seed_snapshot_list(e->seed, shard, true,
	    memory(w.sha, shard == 16 ? sizeof(w.sha) : 0));
	free(index);
	return 0;
}

static int
ask_object(void *arg, uint16_t shard, const uint8_t sha[32])
{
	struct end *e = arg;
	int i = number_of(sha);
	char text[32];

	content(i, text);
	if (i == 8)
		text[1] ^= 4;		/* rotten: it must not hold up the others */
	if (dies(e, i))
		return 0;
	if (i == 7)		/* expunged since the snapshot */
		seed_object(e->seed, shard, sha, false, -1);
	else
		seed_object(e->seed, shard, sha, true, memory(text, strlen(text)));
	return 0;
}

/* The log begins at 51: shard 17, idle at 3, counts as 50. */
static uint64_t
oldest(void *arg)
{
	(void)arg;
	return 51;
}

static void
keep_from(void *arg, uint64_t lsn)
{
	((struct end *)arg)->kept = lsn;
}

static int
point(void *arg, uint64_t lsn, uint8_t hash[16], struct gen *gens, size_t max, size_t *n)
{
	struct end *e = arg;

	assert_int_equal(lsn, 50);
	assert_true(max >= 2);
	memset(hash, 0x5a, 16);
	gens[0] = gens[1] = e->commit.gen;
	*n = 2;
	return 0;
}

/* ---- the standby's owner ---- */

static int
offer_object(void *arg, uint16_t shard, const uint8_t sha[32], int fd)
{
	struct end *e = arg;
	int i = number_of(sha);
	char got[64] = "", want[32];

	e->order_bad += e->indexes > 0 && shard == 16;
	if (fd != -1) {
		content(i, want);
		assert_true(fs_pread_all(fd, got, sizeof(got) - 1, 0) > 0);
		assert_string_equal(got, want);
		close(fd);
		e->has[i] = true;
		if (++e->offered == w.stop_at)
			event_base_loopbreak(w.base);
	}
	if (fd == -1 || !dies(e, i))
		seed_offer(e->seed, shard, e->has[i]);
	return 0;
}

static int
offer_index(void *arg, uint16_t shard, uint64_t lsn, int fd)
{
	struct end *e = arg;

	assert_int_equal(lsn, shard == 16 ? 70 : 50);
	assert_int_equal(lseek(fd, 0, SEEK_END), INDEX);
	close(fd);
	e->indexes++;
	seed_offer(e->seed, shard, e->fail_index-- <= 0);
	return 0;
}

static bool
seed_may_(void *arg)
{
	return !((struct end *)arg)->split;
}

static void
seed_start_(void *arg)
{
	((struct end *)arg)->started++;
}

static int
seed_done_(void *arg, uint64_t lsn, const uint8_t hash[16], const struct gen *gens, size_t n)
{
	struct end *e = arg;

	(void)gens;
	assert_int_equal(hash[3], 0x5a);
	e->done++;
	e->done_lsn = lsn;
	e->ngens = n;
	return 0;
}

/* ---- the rig ---- */

static void
on_frame(void *arg, uint8_t type, struct span whole)
{
	seed_frame(((struct end *)arg)->seed, type, whole);
}

static void
on_gone(void *arg, const char *why)
{
	(void)arg;
	fail_msg("bulk: %s", why);
}

static void
on_room(void *arg)
{
	seed_room(((struct end *)arg)->seed);
}

static void
connect_ends(void)
{
	static const struct bulk_ops ops = { on_frame, on_gone, on_room };
	struct bufferevent *pair[2];

	assert_int_equal(bufferevent_pair_new(w.base, BEV_OPT_DEFER_CALLBACKS, pair), 0);
	for (int i = 0; i < 2; i++) {
		w.end[i].bulk = bulk_new(pair[i], &ops, &w.end[i]);
		seed_up(w.end[i].seed, w.end[i].bulk);
	}
}

static void
cut(void)
{
	for (int i = 0; i < 2; i++) {
		seed_down(w.end[i].seed);
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
		char text[32];

		content(i, text);
		sha256(text, strlen(text), w.sha[i]);
	}
	for (int i = 0; i < 2; i++) {
		struct end *e = &w.end[i];

		e->commit.role = i == 0 ? DATA_ACTIVE : DATA_STANDBY;
		e->commit.gen = gen_make(i == 0 ? 8 : 2, 0, GEN_SOLO, 1, 1);
		e->host = (struct mirror_host){ .arg = e, .base = w.base, .commit = &e->commit,
			.spool_dir = "/tmp", .worker_fd = -1, .shards = shards,
			.absent = absent,
			.ask_snapshot = ask_snapshot, .ask_object = ask_object,
			.offer_object = offer_object, .offer_index = offer_index,
			.oldest = oldest, .keep_from = keep_from, .point = point, .seed_may = seed_may_, .seed_start = seed_start_,
			.seed_done = seed_done_ };
		e->seed = seed_new(&e->host);
	}
	connect_ends();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		seed_free(w.end[i].seed);
		bulk_free(w.end[i].bulk);
	}
	event_base_free(w.base);
	return 0;
}

/* Turns the loop; time is what the test says. */
static void
turn(int64_t ahead_ms, int turns)
{
	for (int i = 0; i < turns; i++) {
		seed_tick(w.end[0].seed, clock_ms() + ahead_ms);
		event_base_loop(w.base, EVLOOP_NONBLOCK);
	}
}

static void
whole(void **state)
{
	struct end *t = &w.end[1];

	(void)state;
	for (int i = 0; i < 100; i++)
		t->has[i * 3] = true;
	seed_begin(w.end[0].seed);
	turn(0, 30000);
	assert_int_equal(t->done, 1);
	assert_int_equal(t->done_lsn, 50);
	assert_int_equal(t->ngens, 2);
	assert_int_equal(t->started, 1);
	assert_int_equal(t->indexes, 2);
	assert_int_equal(t->order_bad, 0);
	assert_int_equal(t->offered, OBJECTS - 100 - 2);	/* not 7, which is gone, and not 8 */
	assert_int_equal(w.end[0].kept, 50);
	w.end[0].commit.peer_matched = true;
	w.end[0].commit.peer_durable_lsn = 50;
	turn(0, 2);
	assert_int_equal(w.end[0].kept, 0);
}

static void
cut_and_again(void **state)
{
	struct end *t = &w.end[1];
	int before;

	(void)state;
	seed_begin(w.end[0].seed);
	w.stop_at = 600;
	for (int n = 0; t->offered < 600 && n < 30000; n++)
		turn(0, 1);
	before = t->offered;
	cut();
	connect_ends();
	turn(0, 30000);
	assert_int_equal(t->done, 1);
	assert_int_equal(t->started, 2);
	assert_true(before >= 600 && t->offered == OBJECTS - 2);	/* none twice */
}

static void
owner_fails_once(void **state)
{
	struct end *t = &w.end[1];

	(void)state;
	t->fail_index = 1;
	seed_begin(w.end[0].seed);
	turn(0, 20000);
	assert_int_equal(t->done, 0);
	turn(10000, 20000);
	assert_int_equal(t->done, 1);
}

/* The owner of either side dies with a question open: the attempt ends, at once, and
 * the next one is whole. */
static void
owner_dies(void **state)
{
	struct end *t = &w.end[1];

	(void)state;
	for (int side = 0; side < 2; side++) {
		struct end *e = &w.end[side];

		e->silent_at = 700;
		seed_begin(w.end[0].seed);
		for (int n = 0; !e->died && n < 30000; n++)
			turn(side * 10000, 1);
		assert_true(e->died);
		turn(side * 10000, 300);
		assert_int_equal(t->done, side);
		seed_gone(e->seed, 16, side == 0 ? 0 : 1);
		turn(20000 + side * 10000, 30000);
		assert_int_equal(t->done, side + 1);
		assert_true(t->has[700]);
		memset(t->has, 0, sizeof(t->has));
		t->indexes = 0;
	}
}

static void
shard_without_owner(void **state)
{
	struct end *a = &w.end[0], *t = &w.end[1];

	(void)state;
	a->absent = true;
	seed_begin(a->seed);
	turn(0, 300);
	assert_int_equal(t->started, 0);	/* half of the state is none */
	a->absent = false;
	t->more_shards = true;
	turn(10000, 600);
	assert_true(t->started > 0);
	assert_int_equal(t->done, 0);		/* the standby has one that did not come */
	a->more_shards = true;
	turn(20000, 600);
	assert_int_equal(t->done, 1);
}

/* What the standby acknowledged alone is not replaced, and not even marked. */
static void
split_stays(void **state)
{
	struct end *t = &w.end[1];

	(void)state;
	t->split = true;
	seed_begin(w.end[0].seed);
	turn(0, 200);
	assert_int_equal(t->started + t->offered + t->indexes + t->done, 0);
	t->split = false;
	turn(10000, 30000);
	assert_int_equal(t->done, 1);
}

static void
wrong_roles(void **state)
{
	struct end *t = &w.end[1];

	(void)state;
	t->commit.gen.no = 100;			/* the sender is of an older generation */
	seed_begin(w.end[0].seed);
	turn(0, 200);
	assert_int_equal(t->started + t->offered + t->indexes + t->done, 0);
	t->commit.gen.no = 2;
	t->commit.role = DATA_ACTIVE;
	turn(10000, 200);
	assert_int_equal(t->started + t->offered + t->indexes + t->done, 0);
	w.end[0].commit.role = DATA_STANDBY;	/* nobody seeds from here */
	t->commit.role = DATA_STANDBY;
	turn(10000, 200);
	assert_int_equal(t->started, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whole, setup, teardown),
		cmocka_unit_test_setup_teardown(cut_and_again, setup, teardown),
		cmocka_unit_test_setup_teardown(owner_fails_once, setup, teardown),
		cmocka_unit_test_setup_teardown(owner_dies, setup, teardown),
		cmocka_unit_test_setup_teardown(shard_without_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(split_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_roles, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
