/* test_store_mend.c - rotten and missing objects: found whenever they are read, got from
 * the other node, put in place; what is never served, and what a reader is told.
 * FLIPS: how many random bits are turned over (100); SEED: which. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>

#include "fake_syncd.h"
#include "log.h"
#include "object_map.h"
#include "store_admin.h"

#define USER 7
#define MESSAGES 6

static const size_t sizes[MESSAGES] = { 1, 17, 1000, 4096, 70000, 300000 };
static struct {
	struct event_base *base;
	struct fake_syncd f;
	struct store *st;
	struct store_conf conf;
	char dir[64];
	char *text[MESSAGES];
	struct store_msg msg[MESSAGES];
	unsigned told;
	enum mail_rc rc;
	uint64_t seed;
} w;

#define UNTIL(cond) do { \
	int64_t end_ = clock_ms() + 10000; \
	while (!(cond)) { \
		if (clock_ms() > end_) \
			fail_msg("waited in vain: %s", #cond); \
		fake_loop(w.base, 1); \
	} \
} while (0)

static uint64_t
rnd(uint64_t n)
{
	w.seed = w.seed * 6364136223846793005u + 1442695040888963407u;
	return (w.seed >> 33) % n;
}

static uint64_t
number_of(const char *name, uint64_t otherwise)
{
	const char *v = getenv(name);

	return v != NULL ? strtoull(v, NULL, 10) : otherwise;
}

static void
done(void *arg, const struct store_result *r)
{
	(void)arg;
	w.told++;
	w.rc = r->rc;
}

static void
deliver(int i)
{
	uint64_t user = USER;
	int fd = memfd_create("message", MFD_CLOEXEC);

	w.text[i] = malloc(sizes[i] + 1);
	for (size_t k = 0; k < sizes[i]; k++)
		w.text[i][k] = (char)('a' + rnd(26));
	assert_int_equal(fs_write_all(fd, w.text[i], sizes[i]), 0);
	store_deliver(w.st, 0, &user, 1, fd, done, NULL);
	close(fd);
}

static int
setup(void **state)
{
	struct store_box box;
	char err[256] = "";

	(void)state;
	memset(&w, 0, sizeof(w));
	w.seed = number_of("SEED", 4);
	log_init("test_store_mend", true, LOG_LEVEL_ERR);
	w.base = event_base_new();
	snprintf(w.dir, sizeof(w.dir), "/tmp/test_mend.XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	fake_start(&w.f, w.base, w.dir);
	store_conf_default(&w.conf);
	w.conf.dir = w.dir;
	w.conf.owner_path = w.f.path;
	w.conf.low_water = 0;
	w.conf.mend_ms = 500;
	w.st = store_new(w.base, &w.conf, NULL, NULL);
	if (store_add_shard(w.st, 0, err, sizeof(err)) == -1)
		fail_msg("%s", err);
	UNTIL(store_role(w.st)->active);
	for (int i = 0; i < MESSAGES; i++)
		deliver(i);
	UNTIL(w.told == MESSAGES);
	assert_int_equal(store_box_by_name(w.st, 0, USER, "INBOX", &box), MAIL_OK);
	for (int i = 0; i < MESSAGES; i++) {
		assert_int_equal(store_message(w.st, 0, box.id, (uint32_t)i + 1, &w.msg[i]), MAIL_OK);
		assert_int_equal(w.msg[i].size, sizes[i]);
	}
	w.told = 0;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	store_free(w.st);
	fake_stop(&w.f);
	event_base_free(w.base);
	fs_remove_tree(w.dir);
	for (int i = 0; i < MESSAGES; i++) {
		free(w.text[i]);
		free(w.msg[i].keywords);
	}
	return 0;
}

static void
path_of(int i, char *path, size_t size)
{
	char hex[65];

	hex_encode(w.msg[i].sha, 32, hex);
	snprintf(path, size, "%s/store-00/objects/%.2s/%s", w.dir, hex, hex);
}

static void
flip(int i, uint64_t bit)
{
	char path[200];
	uint8_t c;
	int fd;

	path_of(i, path, sizeof(path));
	assert_true((fd = open(path, O_RDWR)) >= 0);
	assert_int_equal(fs_pread_all(fd, &c, 1, (off_t)(bit / 8)), 1);
	c ^= (uint8_t)(1u << bit % 8);
	assert_int_equal(fs_pwrite_all(fd, &c, 1, (off_t)(bit / 8)), 0);
	close(fd);
}

/* The bytes that a session would send: 0 and they are right, or -1. */
static int
read_it(int i)
{
	struct object_map o = { 0 };

	if (object_map_open(&o, w.st, 0, &w.msg[i]) == -1)
		return -1;
	assert_int_equal(o.text.len, sizes[i]);
	assert_memory_equal(o.text.p, w.text[i], sizes[i]);
	object_map_close(&o);
	return 0;
}

static enum mail_rc
mend(int i, enum owner_mend rc, const char *text, size_t len)
{
	w.f.mend_rc = rc;
	w.f.mend_text = text;
	w.f.mend_len = len;
	w.told = 0;
	store_mend(w.st, 0, w.msg[i].sha, done, NULL);
	assert_int_equal(w.told, 0);
	UNTIL(w.told > 0);
	assert_int_equal(w.told, 1);
	return w.rc;
}

/* Turned over anywhere, each bit is found, and the message is whole again afterwards. */
static void
test_rotten_never_served(void **state)
{
	uint64_t flips = number_of("FLIPS", 100);

	(void)state;
	for (uint64_t n = 0; n < flips; n++) {
		int i = (int)rnd(MESSAGES);

		assert_int_equal(read_it(i), 0);
		flip(i, rnd(sizes[i] * 8));
		assert_int_equal(read_it(i), -1);
		assert_int_equal(errno, EBADMSG);
		assert_int_equal(mend(i, OWNER_MEND_OK, w.text[i], sizes[i]), MAIL_OK);
		assert_int_equal(read_it(i), 0);
	}
	assert_int_equal(w.f.mends, flips);
	print_message("# objects: flips=%llu found=%llu served=0\n", (unsigned long long)flips,
	    (unsigned long long)flips);
}

static void
test_missing_and_short(void **state)
{
	char path[200];

	(void)state;
	path_of(2, path, sizeof(path));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(read_it(2), -1);
	assert_int_equal(mend(2, OWNER_MEND_OK, w.text[2], sizes[2]), MAIL_OK);
	assert_int_equal(read_it(2), 0);
	assert_int_equal(truncate(path, 10), 0);
	assert_int_equal(read_it(2), -1);
	assert_int_equal(mend(2, OWNER_MEND_OK, w.text[2], sizes[2]), MAIL_OK);
	assert_int_equal(read_it(2), 0);
}

/* Its folder went too. */
static void
test_folder_gone(void **state)
{
	char path[200], *cut;

	(void)state;
	path_of(3, path, sizeof(path));
	assert_int_equal(unlink(path), 0);
	cut = strrchr(path, '/');
	*cut = '\0';
	if (rmdir(path) == -1)
		assert_int_equal(errno, ENOTEMPTY);
	assert_int_equal(mend(3, OWNER_MEND_OK, w.text[3], sizes[3]), MAIL_OK);
	assert_int_equal(read_it(3), 0);
}

/* The other node has none, or rotten bytes, or cannot be asked: the damaged file stays
 * what it is, the reader is told to come again, and nothing is served. */
static void
test_not_mended(void **state)
{
	static const enum owner_mend no[] = { OWNER_MEND_ABSENT, OWNER_MEND_BAD,
		OWNER_MEND_NO_PEER };
	char *wrong = malloc(sizes[4]);

	(void)state;
	flip(4, 77);
	for (size_t k = 0; k < 3; k++) {
		assert_int_equal(mend(4, no[k], "", 0), MAIL_TEMP);
		assert_int_equal(read_it(4), -1);
	}
	memcpy(wrong, w.text[4], sizes[4]);
	wrong[9] ^= 1;
	assert_int_equal(mend(4, OWNER_MEND_OK, wrong, sizes[4]), MAIL_TEMP);
	assert_int_equal(mend(4, OWNER_MEND_OK, w.text[4], sizes[4] - 1), MAIL_TEMP);
	assert_int_equal(read_it(4), -1);
	assert_int_equal(mend(4, OWNER_MEND_OK, w.text[4], sizes[4]), MAIL_OK);
	assert_int_equal(read_it(4), 0);
	free(wrong);
}

/* Two readers, one question; and one that went away hears nothing. */
static void
test_readers(void **state)
{
	int gone = 0;

	(void)state;
	flip(5, 1000);
	w.f.mend_rc = OWNER_MEND_OK;
	w.f.mend_text = w.text[5];
	w.f.mend_len = sizes[5];
	store_mend(w.st, 0, w.msg[5].sha, done, NULL);
	store_mend(w.st, 0, w.msg[5].sha, done, &gone);
	store_mend(w.st, 0, w.msg[5].sha, done, NULL);
	store_forget(w.st, &gone);
	UNTIL(w.told == 2);
	assert_int_equal(w.rc, MAIL_OK);
	assert_int_equal(w.f.mends, 1);
	assert_int_equal(read_it(5), 0);
}

static void
test_no_answer(void **state)
{
	(void)state;
	flip(1, 3);
	w.f.mend_silent = true;
	assert_int_equal(mend(1, OWNER_MEND_OK, w.text[1], sizes[1]), MAIL_TEMP);
	w.f.mend_silent = false;
	assert_int_equal(mend(1, OWNER_MEND_OK, w.text[1], sizes[1]), MAIL_OK);
	assert_int_equal(read_it(1), 0);
}

static void
test_no_syncd(void **state)
{
	(void)state;
	flip(1, 3);
	ipc_free(w.f.ipc);
	w.f.ipc = NULL;
	evutil_closesocket(w.f.listen_fd);
	w.f.listen_fd = -1;
	event_del(w.f.accept);
	assert_int_equal(mend(1, OWNER_MEND_OK, w.text[1], sizes[1]), MAIL_TEMP);
	assert_int_equal(read_it(1), -1);
}

static void
ask_verify(uint32_t run, bool repair)
{
	struct wire_out o;

	wire_out_init(&o);
	wire_put_u16(&o, 16);
	wire_put_u32(&o, run);
	wire_put_u64(&o, 0);
	wire_put_u8(&o, repair);
	fake_send(&w.f, OWN_VERIFY, &o);
}

/* A shard looks through itself, mends what it is asked to, and a question that comes
 * again is the only one that is answered. */
static void
test_verify(void **state)
{
	char hex[65];

	(void)state;
	ask_verify(1, false);
	UNTIL(w.f.verified_run == 1);
	assert_true(w.f.verified_ok);
	assert_non_null(strstr(w.f.verified, "\"bad_count\":0"));
	flip(3, 100);
	hex_encode(w.msg[3].sha, 32, hex);
	ask_verify(2, false);
	UNTIL(w.f.verified_run == 2);
	assert_non_null(strstr(w.f.verified, "\"bad_count\":1"));
	assert_non_null(strstr(w.f.verified, "\"mended\":0"));
	assert_non_null(strstr(w.f.verified, hex));
	assert_int_equal(w.f.mends, 0);
	w.f.mend_rc = OWNER_MEND_OK;
	w.f.mend_text = w.text[3];
	w.f.mend_len = sizes[3];
	for (uint32_t run = 3; run < 8; run++)
		ask_verify(run, true);
	UNTIL(w.f.verified_run == 7);
	assert_true(w.f.verified_ok);
	assert_int_equal(read_it(3), 0);
	ask_verify(8, false);
	UNTIL(w.f.verified_run == 8);
	assert_non_null(strstr(w.f.verified, "\"bad_count\":0"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { T(test_rotten_never_served), T(test_missing_and_short),
		T(test_folder_gone), T(test_not_mended), T(test_readers), T(test_no_answer),
		T(test_no_syncd), T(test_verify) };

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
