/* test_seed.c - seeding between two struct seed over a pair of bufferevents, with
 * owners and logs played by this program: what arrives, in which order, what is
 * skipped, what a cut and a wrong role do. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "bulk.h"
#include "clock.h"
#include "fs.h"
#include "hex.h"
#include "seed.h"
#include "seed_link.h"

#define OBJECTS 1200		/* more than two batches */
#define LARGE 120		/* each so many-th object is of */
#define LARGE_BYTES (1500u << 10)
#define INDEX (300u << 10)
#define INDEX_LARGE (6u << 20)	/* of shard 16, where bytes are counted */
#define WINDOW 70000		/* bytes that may wait to be read: a little over one message */

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
	bool stale;			/* the owner has an older index of shard 16 */
	char spool[64];
};

static struct {
	struct event_base *base;
	struct end end[2];		/* 0: active */
	uint8_t sha[OBJECTS][32];
	int stop_at;			/* objects offered: leave the loop here */
	uint64_t bytes;			/* over the connection, both directions */
	uint64_t break_at;		/* the loop is left at so many of them */
	bool large;
} w;

/* Bytes that do not compress or repeat, the same for the same seed. */
static void
noise(uint8_t *p, size_t n, uint32_t seed)
{
	uint64_t x = 0x9e3779b97f4a7c15ull * (seed + 1);

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (uint8_t)(x >> 32);
	}
}

/* Object i; the next call overwrites it. */
static char *
content(int i, size_t *n)
{
	static char text[LARGE_BYTES];

	*n = i % LARGE == LARGE / 2 ? LARGE_BYTES : 64;
	noise((uint8_t *)text, *n, (uint32_t)i);
	return text;
}

/* The index of a shard, as SQLite writes one: each page has a head of its own, and rows that
 * run on.  The older one lacks some rows at the beginning, so that no page is the same. */
static char *
index_of(uint16_t shard, bool old, size_t *n)
{
	size_t rows = old ? 90 : 0;
	char *p, *row;

	*n = shard == 16 && w.large ? INDEX_LARGE : INDEX;
	p = malloc(*n);
	row = malloc(*n + 90);
	assert_true(p != NULL && row != NULL);
	noise((uint8_t *)row, *n + 90, 100000u + shard);
	for (size_t i = 0; i < *n; i += 4096) {
		size_t len = *n - i < 4096 ? *n - i : 4096;

		noise((uint8_t *)p + i, 100, (uint32_t)(i + old));
		memcpy(p + i + 100, row + rows, len - 100);
		rows += len - 100;
	}
	free(row);
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
	bool own = e == &w.end[1];	/* the standby's own owner */
	size_t n;
	char *index = index_of(shard, own, &n);

	if (own && !e->stale)
		n = 0;			/* nothing in it */
	seed_snapshot(e->seed, shard, shard == 16 ? 70 : 3, true, memory(index, n));
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
	size_t n;
	char *text = content(i, &n);

	if (i == 8)
		text[1] ^= 4;		/* rotten: it must not hold up the others */
	if (dies(e, i))
		return 0;
	if (i == 7)		/* expunged since the snapshot */
		seed_object(e->seed, shard, sha, false, -1);
	else
		seed_object(e->seed, shard, sha, true, memory(text, n));
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
	static char got[LARGE_BYTES + 1];
	size_t n;
	char *want;

	e->order_bad += e->indexes > 0 && shard == 16;
	if (fd != -1) {
		want = content(i, &n);
		assert_int_equal(fs_pread_all(fd, got, sizeof(got), 0), n);
		assert_memory_equal(got, want, n);
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
	size_t n;
	char *want = index_of(shard, false, &n), *got = malloc(n + 1);

	assert_int_equal(lsn, shard == 16 ? 70 : 50);
	assert_int_equal(fs_pread_all(fd, got, n + 1, 0), n);
	assert_memory_equal(got, want, n);
	free(want);
	free(got);
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

static int
seed_start_(void *arg)
{
	((struct end *)arg)->started++;
	return 0;
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
on_bytes(struct evbuffer *b, const struct evbuffer_cb_info *info, void *arg)
{
	(void)b;
	(void)arg;
	w.bytes += info->n_added;
	if (w.break_at != 0 && w.bytes >= w.break_at)
		event_base_loopbreak(w.base);
}

static void
connect_ends(void)
{
	static const struct bulk_ops ops = { on_frame, on_gone, on_room, NULL };
	struct bufferevent *pair[2];

	assert_int_equal(bufferevent_pair_new(w.base, BEV_OPT_DEFER_CALLBACKS, pair), 0);
	for (int i = 0; i < 2; i++) {
		w.end[i].bulk = bulk_new(pair[i], &ops, &w.end[i]);
		bufferevent_setwatermark(pair[i], EV_READ, 0, WINDOW);
		assert_non_null(evbuffer_add_cb(bufferevent_get_input(pair[i]), on_bytes, NULL));
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
		size_t n;
		char *text = content(i, &n);

		sha256(text, n, w.sha[i]);
	}
	for (int i = 0; i < 2; i++) {
		struct end *e = &w.end[i];

		(void)snprintf(e->spool, sizeof(e->spool), "/tmp/test_seed.XXXXXX");
		assert_non_null(mkdtemp(e->spool));
		e->commit.role = i == 0 ? DATA_ACTIVE : DATA_STANDBY;
		e->commit.gen = gen_make(i == 0 ? 8 : 2, 0, GEN_SOLO, 1, 1);
		e->host = (struct mirror_host){ .arg = e, .base = w.base, .commit = &e->commit,
			.spool_dir = e->spool, .worker_fd = -1, .shards = shards,
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
		assert_int_equal(fs_remove_tree(w.end[i].spool), 0);
	}
	/* what a connection put off is let go */
	event_base_loop(w.base, EVLOOP_NONBLOCK);
	event_base_free(w.base);
	return 0;
}

/* Turns the loop, little more when a seeding ends; time is what the test says. */
static void
turn(int64_t ahead_ms, int turns)
{
	int done = w.end[1].done, left = 50;

	for (int i = 0; i < turns && (w.end[1].done == done || left-- > 0); i++) {
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

/* How many bytes a seeding takes that nothing disturbs. */
static uint64_t
undisturbed(void)
{
	w.large = true;
	seed_begin(w.end[0].seed);
	turn(0, 30000);
	assert_int_equal(w.end[1].done, 1);
	return w.bytes;
}

/* A new pair, where bytes are counted. */
static void
afresh(void)
{
	(void)teardown(NULL);
	(void)setup(NULL);
	w.large = true;
	seed_begin(w.end[0].seed);
}

/* Turns the loop until so many more bytes have come, or the seeding is done. */
static void
turn_bytes(int64_t ahead_ms, uint64_t bytes)
{
	w.break_at = w.bytes + bytes;
	for (int n = 0; n < 30000 && w.bytes < w.break_at && w.end[1].done == 0; n++)
		turn(ahead_ms, 1);
	w.break_at = 0;
}

/* The standby's process is killed: what is left is the folder, and the owner. */
static void
kill_target(void)
{
	struct end *t = &w.end[1];

	cut();
	seed_free(t->seed);
	t->seed = seed_new(&t->host);
	connect_ends();
}

/* The connection cut at twelve places, the process killed at each second of them: each
 * attempt goes on where the last one was. */
static void
cut_at_bytes(void **state)
{
	uint64_t once = undisturbed();
	struct end *t = &w.end[1];
	int64_t ahead = 0;

	(void)state;
	afresh();
	for (int cuts = 0; cuts < 12; cuts++, ahead += 10000) {
		turn_bytes(ahead, once / 16 + 977 * (uint64_t)cuts);
		assert_int_equal(t->done, 0);
		if (cuts % 2 == 0) {
			cut();
			connect_ends();
		} else {
			kill_target();
		}
	}
	turn(ahead, 30000);
	assert_int_equal(t->done, 1);
	assert_int_equal(t->offered, OBJECTS - 2);	/* none twice, and all that there are */
	assert_true(w.bytes > once && w.bytes <= once + once / 5);
}

/* A standby that has an older state of the index gets what differs. */
static void
stale_index(void **state)
{
	uint64_t once = undisturbed();
	struct end *t = &w.end[1];

	(void)state;
	afresh();
	t->stale = true;
	memset(t->has, 1, sizeof(t->has));
	assert_true(once > INDEX_LARGE);
	assert_true(undisturbed() < INDEX_LARGE / 5 * 2);
	assert_int_equal(t->indexes, 2);
}

/* Opens the only file of the folder whose name ends so. */
static int
left_over(const struct end *e, const char *ending)
{
	char path[400];
	struct dirent *d;
	DIR *dir;
	int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/seed", e->spool);
	if ((dir = opendir(path)) == NULL)
		return -1;
	while (fd == -1 && (d = readdir(dir)) != NULL)
		if (strlen(d->d_name) > strlen(ending) &&
		    strcmp(d->d_name + strlen(d->d_name) - strlen(ending), ending) == 0)
			fd = openat(dirfd(dir), d->d_name, O_RDWR);
	closedir(dir);
	return fd;
}

/* What a power cut may leave: a piece with other bytes, one that is too long.  It costs an
 * attempt, no more. */
static void
damaged_piece(void **state)
{
	struct end *t = &w.end[1];
	int64_t ahead = 0;
	int fd;

	(void)state;
	seed_begin(w.end[0].seed);
	for (int round = 0; round < 2; round++) {
		for (int n = 0; n < 30000 && (fd = left_over(t, ".part")) == -1; n++)
			turn_bytes(ahead, 1000);
		for (int n = 0; n < 20 && lseek(fd, 0, SEEK_END) < 200000; n++)
			turn_bytes(ahead, 50000);
		assert_true(lseek(fd, 0, SEEK_END) >= 200000);
		kill_target();
		if (round == 0)
			assert_int_equal(pwrite(fd, "rotten", 6, 100000), 6);
		else
			assert_int_equal(ftruncate(fd, LARGE_BYTES + 1), 0);
		close(fd);
		ahead += 10000;
	}
	for (int n = 0; n < 4 && t->done == 0; n++, ahead += 10000)
		turn(ahead, 20000);
	assert_int_equal(t->done, 1);
	assert_int_equal(t->offered, OBJECTS - 2);
	assert_int_equal(left_over(t, "t"), -1);	/* nothing is left */
}

/* A node that serves needs nothing of what arrived before it did. */
static void
swept(void **state)
{
	struct end *t = &w.end[1];
	char path[100];
	int fd = -1;

	(void)state;
	seed_begin(w.end[0].seed);
	for (int n = 0; n < 30000 && (fd = left_over(t, ".part")) == -1; n++)
		turn_bytes(0, 1000);
	assert_int_not_equal(fd, -1);
	close(fd);
	cut();
	t->commit.role = DATA_ACTIVE;
	seed_changed(t->seed);
	(void)snprintf(path, sizeof(path), "%s/seed", t->spool);
	assert_int_equal(access(path, F_OK), -1);
	connect_ends();
}

static void
progress(void **state)
{
	struct seed_progress p = { .shard = 4, .shards = 8, .object = 0, .objects = 99,
		.since_ms = 1000 };

	(void)state;
	assert_int_equal(seed_progress_share(&p), 500);
	assert_int_equal(seed_progress_left_ms(&p, 61000), 60000);
	p.object = 99;			/* all but the index */
	assert_int_equal(seed_progress_share(&p), (4000 + 990) / 8);
	p.shard = 7;
	p.object = 500;			/* more than was announced */
	assert_int_equal(seed_progress_share(&p), 1000);
	assert_int_equal(seed_progress_left_ms(&p, 61000), 0);
	p = (struct seed_progress){ .since_ms = 1000 };
	assert_int_equal(seed_progress_share(&p), 0);
	assert_int_equal(seed_progress_left_ms(&p, 61000), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cut_at_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(stale_index, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_piece, setup, teardown),
		cmocka_unit_test_setup_teardown(swept, setup, teardown),
		cmocka_unit_test(progress),
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
