/* test_mirror_place.c - files get their names after their bytes were synced, never before;
 * with a disk that the test lets wait, and fail. */
#define _GNU_SOURCE
#include "mirror_rig.h"

#include <pthread.h>
#include <semaphore.h>

#include "mirror_chan.h"
#include "mirror_place.h"
#include "mirror_target.h"
#include "tree_apply.h"

struct place_rig {
	struct rig *r;
	struct mirror_chan c;
	struct mirror_result result;
	struct mirror_target t;
	struct mirror_place *p;
	int syncd;			/* the other end of c */
	unsigned files;
};

/* The disk. */
static sem_t may_sync, syncing;
static bool slow;
static int sync_error;
static unsigned syncs, fsyncs;

static int
disk(unsigned *count)
{
	++*count;
	if (slow) {
		sem_post(&syncing);
		sem_wait(&may_sync);
	}
	errno = sync_error;
	return sync_error == 0 ? 0 : -1;
}

int
syncfs(int fd)
{
	(void)fd;
	return disk(&syncs);
}

int
fsync(int fd)
{
	(void)fd;
	return disk(&fsyncs);
}

/* Until the thread is at the disk. */
static void
at_disk(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_MS / 1000;
	if (sem_timedwait(&syncing, &until) == -1)
		fail_msg("nothing is synced");
}

static void
node_state(struct place_rig *x, bool active)
{
	struct side side = x->r->side[1];

	x->r->side[1].fd = x->syncd;
	state(x->r, 1, active, !active, true);
	x->r->side[1] = side;
}

static int
rig_setup(void **state_)
{
	struct place_rig *x = mem_alloc(sizeof(*x));
	int pair[2];

	assert_int_equal(setup((void **)&x->r), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	mirror_chan_init(&x->c, pair[0]);
	x->syncd = pair[1];
	mirror_chan_begin(&x->c, false, 1, &x->r->gen);
	node_state(x, false);
	assert_int_equal(mirror_chan_look(&x->c), 0);
	x->t = (struct mirror_target){ .c = &x->c, .tree = &x->r->side[1].tree,
		.r = &x->result, .root = open(x->r->side[1].path, O_RDONLY | O_DIRECTORY) };
	assert_true(x->t.root != -1);
	assert_int_equal(mkdir(at(x->r, 1, "d"), 0755), 0);
	x->p = mirror_place_new(&x->t);
	assert_int_equal(sem_init(&may_sync, 0, 0), 0);
	assert_int_equal(sem_init(&syncing, 0, 0), 0);
	slow = false;
	sync_error = 0;
	syncs = fsyncs = 0;
	*state_ = x;
	return 0;
}

static int
rig_teardown(void **state_)
{
	struct place_rig *x = *state_;

	mirror_place_free(x->p);
	close(x->t.root);
	close(x->syncd);
	mirror_chan_clear(&x->c);
	sem_destroy(&may_sync);
	sem_destroy(&syncing);
	assert_int_equal(teardown((void **)&x->r), 0);
	free(x);
	return 0;
}

static char *
name_of(unsigned i)
{
	static char name[32];

	(void)snprintf(name, sizeof(name), "%s%u", i % 2 ? "d/" : "", i);
	return name;
}

static void
add(struct place_rig *x, unsigned n, uint64_t bytes)
{
	struct tree_tmp tmp;

	for (unsigned i = 0; i < n; i++) {
		char *name = name_of(x->files++);

		assert_int_equal(tree_tmp_open(&tmp, x->t.root, name), 0);
		assert_int_equal(write(tmp.fd, name, strlen(name)), (ssize_t)strlen(name));
		mirror_place_add(x->p, &tmp, NULL, bytes);
		assert_null(tmp.path);
	}
}

static unsigned
named(const struct place_rig *x)
{
	unsigned n = 0;

	for (unsigned i = 0; i < x->files; i++)
		n += exists(x->r, 1, name_of(i));
	return n;
}

static void
step_until(struct place_rig *x, unsigned want)
{
	for (int i = 0; i < WAIT_MS && named(x) < want; i++) {
		assert_int_equal(mirror_place_step(x->p), 0);
		(void)poll(NULL, 0, 1);
	}
	assert_int_equal(named(x), want);
}

/* A large group by one syncfs, a small one file by file, and no name before. */
static void
synced_first(void **state_)
{
	static const unsigned sizes[] = { 1, 4, 5, 300 };
	struct place_rig *x = *state_;
	unsigned all = 0;

	slow = true;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		syncs = fsyncs = 0;
		add(x, sizes[i], 3);
		assert_int_equal(named(x), all);
		assert_int_equal(mirror_place_step(x->p), 0);
		for (unsigned k = 0; k < (sizes[i] <= 4 ? sizes[i] : 1); k++) {
			at_disk();
			assert_int_equal(mirror_place_step(x->p), 0);
			assert_int_equal(named(x), all);
			sem_post(&may_sync);
		}
		all += sizes[i];
		step_until(x, all);
		assert_int_equal(syncs, sizes[i] > 4);
		assert_int_equal(fsyncs, sizes[i] > 4 ? 0 : sizes[i]);
	}
	assert_int_equal(x->result.created, all);
	assert_int_equal(strays(x->r), 0);
}

/* What comes while the disk is busy shares the next sync. */
static void
gathered(void **state_)
{
	struct place_rig *x = *state_;

	slow = true;
	add(x, 10, 3);
	assert_int_equal(mirror_place_step(x->p), 0);
	at_disk();
	for (int i = 0; i < 20; i++) {
		add(x, 10, 3);
		assert_int_equal(mirror_place_step(x->p), 0);
	}
	assert_int_equal(named(x), 0);
	assert_int_equal(syncs, 1);
	sem_post(&may_sync);
	sem_post(&may_sync);
	assert_int_equal(mirror_place_finish(x->p), 0);
	assert_int_equal(syncs, 2);
	assert_int_equal(named(x), 210);
}

static void *
let_sync(void *arg)
{
	(void)arg;
	(void)poll(NULL, 0, 700);
	sem_post(&may_sync);
	sem_post(&may_sync);
	return NULL;
}

/* Too much has gathered: it waits for the disk, and gives signs of life meanwhile. */
static void
bounded(void **state_)
{
	struct place_rig *x = *state_;
	pthread_t thread;
	uint8_t h[12];

	slow = true;
	add(x, 10, 3);
	assert_int_equal(mirror_place_step(x->p), 0);
	add(x, 8, 8u << 20);
	assert_int_equal(pthread_create(&thread, NULL, let_sync, NULL), 0);
	assert_int_equal(mirror_place_step(x->p), 0);
	assert_int_equal(named(x), 10);
	assert_int_equal(recv(x->syncd, h, sizeof(h), MSG_DONTWAIT), (ssize_t)sizeof(h));
	assert_int_equal(wire_load16(h + 4), MW_PEER);
	assert_int_equal(mirror_place_finish(x->p), 0);
	assert_int_equal(named(x), 18);
	pthread_join(thread, NULL);
}

/* A sync that fails is believed: no names, the pass is over, nothing stays. */
static void
sync_fails(void **state_)
{
	struct place_rig *x = *state_;

	for (unsigned n = 2; n <= 20; n *= 10) {
		sync_error = EIO;
		add(x, n, 3);
		assert_int_equal(mirror_place_finish(x->p), -1);
		assert_non_null(strstr(x->c.why, strerror(EIO)));
		sync_error = 0;
		assert_int_equal(named(x), 0);
		mirror_place_free(x->p);
		assert_int_equal(strays(x->r), 0);
		x->p = mirror_place_new(&x->t);
	}
}

/* The node becomes active while its disk is busy: its tree is its own now. */
static void
active_meanwhile(void **state_)
{
	struct place_rig *x = *state_;

	slow = true;
	add(x, 10, 3);
	assert_int_equal(mirror_place_step(x->p), 0);
	at_disk();
	add(x, 10, 3);
	node_state(x, true);
	sem_post(&may_sync);
	sem_post(&may_sync);
	assert_int_equal(mirror_place_finish(x->p), -1);
	assert_int_equal(named(x), 0);
	mirror_place_free(x->p);
	x->p = NULL;
	assert_int_equal(strays(x->r), 0);
}

/* A directory that went meanwhile is trouble with one file, no more. */
static void
directory_gone(void **state_)
{
	struct place_rig *x = *state_;

	add(x, 10, 3);
	assert_int_equal(rename(at(x->r, 1, "d"), at(x->r, 1, "e")), 0);
	assert_int_equal(mirror_place_finish(x->p), 0);
	assert_int_equal(named(x), 5);
	assert_int_equal(x->result.errors, 5);
}

int
main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
	static const struct CMUnitTest tests[] = { T(synced_first), T(gathered), T(bounded),
		T(sync_fails), T(active_meanwhile), T(directory_gone) };

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
