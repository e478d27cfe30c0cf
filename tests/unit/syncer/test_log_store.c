/* test_log_store.c - the log's files: append and read over segment borders, every
 * position of a torn tail, damage in the middle, cut, reset, trim. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fs.h"
#include "log.h"
#include "log_segment.h"
#include "log_store.h"
#include "mem.h"

#define SEG (64u << 10)

static char dir[64];

static int
set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test-log-store-XXXXXX");
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	return fs_remove_tree(dir);
}

static struct log_store *
reopen(struct log_store *s, uint64_t seg)
{
	char err[256];

	log_store_close(s);
	s = log_store_open(dir, seg, err, sizeof(err));
	if (s == NULL && errno != EBADMSG)
		fail_msg("%s", err);
	return s;
}

/* One record behind the tip; its payload says its LSN. */
static void
put(struct log_store *s, size_t payload, uint64_t synced)
{
	struct log_tip tip = log_store_tip(s);
	char *text = mem_alloc(payload + 1);
	uint8_t *raw = mem_alloc(record_size(payload));
	struct record r = { .lsn = tip.lsn + 1, .gen_no = 2, .shard = 16, .type = 1,
		.synced = synced, .payload = { text, payload } };
	struct span in;
	size_t done;

	memset(text, (int)(r.lsn & 0xff), payload);
	record_encode(&r, tip.hash, raw);
	in = (struct span){ (char *)raw, record_size(payload) };
	assert_int_equal(log_store_append(s, &in, 1, &done), 0);
	assert_int_equal(done, 1);
	free(raw);
	free(text);
}

static void
fill(struct log_store *s, int n, size_t payload)
{
	for (int i = 0; i < n; i++)
		put(s, payload, log_store_tip(s).lsn);
	assert_int_equal(log_store_sync(s), 0);
}

static void
check_reads(struct log_store *s, uint64_t from)
{
	uint64_t tip = log_store_tip(s).lsn;
	uint8_t *buf;
	size_t len, used;
	struct record r;

	for (uint64_t lsn = from; lsn <= tip;) {
		assert_int_equal(log_store_read(s, lsn, 10000, &buf, &len), 0);
		assert_true(len > 0);
		for (size_t at = 0; at < len; at += used, lsn++) {
			struct span in = { (char *)buf + at, len - at };

			assert_int_equal(record_decode(in, &r, &used), PARSE_OK);
			assert_true(r.lsn == lsn);
			assert_int_equal((uint8_t)r.payload.p[0], lsn & 0xff);
		}
		free(buf);
	}
	assert_int_equal(log_store_read(s, tip + 1, 100, &buf, &len), 0);
	assert_int_equal(len, 0);
}

static void
test_borders(void **state)
{
	struct log_store *s = reopen(NULL, SEG);
	uint8_t hash[16], again[16];

	(void)state;
	fill(s, 300, 1000);	/* five segments and more */
	check_reads(s, 1);
	assert_int_equal(log_store_hash(s, 150, hash), 0);
	s = reopen(s, SEG);
	assert_int_equal(log_store_tip(s).lsn, 300);
	check_reads(s, 1);
	check_reads(s, 299);
	assert_int_equal(log_store_hash(s, 150, again), 0);
	assert_memory_equal(hash, again, 16);
	fill(s, 10, 20);
	assert_int_equal(log_store_trim(s, 120), 2);
	assert_true(log_store_oldest(s) > 60 && log_store_oldest(s) <= 121);
	check_reads(s, log_store_oldest(s));
	assert_int_equal(log_store_hash(s, log_store_oldest(s) - 1, hash), 0);
	assert_int_equal(log_store_hash(s, log_store_oldest(s) - 2, hash), -1);
	assert_int_equal(errno, ERANGE);
	s = reopen(s, SEG);
	assert_int_equal(log_store_tip(s).lsn, 310);
	log_store_close(s);
}

static int
open_segment(uint64_t first)
{
	char path[128], name[SEGMENT_NAME_MAX];

	segment_name(first, name);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return open(path, O_RDWR);
}

/* The last record is torn at every position: gone behind it, or garbage. */
static void
test_torn_tail(void **state)
{
	struct log_store *s = reopen(NULL, SEG);
	size_t size = record_size(100), start = SEGMENT_HEADER + 5 * size;
	uint8_t *keep = mem_alloc(size), *torn = mem_alloc(size);
	int fd;

	(void)state;
	fill(s, 6, 100);
	fd = open_segment(1);
	assert_int_equal(fs_pread_all(fd, keep, size, (off_t)start), size);
	/* behind the payload there is only padding, which may be missing */
	for (size_t n = 0; n < RECORD_HEADER + 100; n++) {
		memset(torn, n & 1 ? 0xa5 : 0, size);
		memcpy(torn, keep, n);
		if (memcmp(torn, keep, RECORD_HEADER + 100) == 0)
			continue;
		assert_int_equal(fs_pwrite_all(fd, torn, size, (off_t)start), 0);
		s = reopen(s, SEG);
		assert_non_null(s);
		assert_int_equal(log_store_tip(s).lsn, 5);
		check_reads(s, 1);
		fill(s, 1, 100);
		s = reopen(s, SEG);
		assert_int_equal(log_store_tip(s).lsn, 6);
		assert_int_equal(fs_pread_all(fd, torn, size, (off_t)start), size);
	}
	close(fd);
	free(keep);
	free(torn);
	log_store_close(s);
}

/* A bad record that was durable before a later one was written is damage. */
static void
test_damage(void **state)
{
	struct log_store *s = reopen(NULL, SEG);
	size_t size = record_size(100);
	struct stat before, after;
	uint8_t byte;
	int fd;

	(void)state;
	fill(s, 6, 100);
	fd = open_segment(1);
	for (size_t bit = 0; bit < (RECORD_HEADER + 100) * 8; bit += 37) {
		off_t at = (off_t)(SEGMENT_HEADER + 2 * size + bit / 8);

		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		fstat(fd, &before);
		s = reopen(s, SEG);
		assert_null(s);
		fstat(fd, &after);
		assert_true(before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
		byte ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	s = reopen(s, SEG);
	assert_int_equal(log_store_tip(s).lsn, 6);
	close(fd);
	log_store_close(s);
}

/* A batch whose first record did not reach the disk: not damage. */
static void
test_torn_batch(void **state)
{
	struct log_store *s = reopen(NULL, SEG);
	size_t size = record_size(100);
	uint8_t *zero = mem_alloc(size);
	int fd;

	(void)state;
	fill(s, 3, 100);
	for (int i = 0; i < 4; i++)
		put(s, 100, 3);		/* one batch: 3 was durable */
	fd = open_segment(1);
	assert_int_equal(fs_pwrite_all(fd, zero, size, (off_t)(SEGMENT_HEADER + 3 * size)), 0);
	close(fd);
	s = reopen(s, SEG);
	assert_non_null(s);
	assert_int_equal(log_store_tip(s).lsn, 3);
	fill(s, 2, 100);
	s = reopen(s, SEG);
	assert_int_equal(log_store_tip(s).lsn, 5);
	free(zero);
	log_store_close(s);
}

/* A bad record at rest is never given out. */
static void
test_rot(void **state)
{
	struct log_store *s = reopen(NULL, SEG);
	uint8_t *buf, byte = 0x77;
	size_t len;
	int fd;

	(void)state;
	fill(s, 100, 1000);
	fd = open_segment(1);
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)(SEGMENT_HEADER + 20 * record_size(1000) + 500)), 1);
	close(fd);
	s = reopen(s, SEG);
	assert_non_null(s);
	assert_int_equal(log_store_read(s, 21, 100, &buf, &len), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(log_store_read(s, 22, 100, &buf, &len), 0);
	free(buf);
	log_store_close(s);
}

static void
test_cut(void **state)
{
	static const uint64_t to[] = { 299, 200, 129, 56, 55, 1, 0 };
	struct log_store *s = reopen(NULL, SEG);
	char path[160], name[32];
	struct stat st;

	(void)state;
	fill(s, 300, 1000);
	for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
		snprintf(name, sizeof(name), "cut-%zu", i);
		assert_int_equal(log_store_cut(s, to[i], name), 0);
		assert_int_equal(log_store_tip(s).lsn, to[i]);
		snprintf(path, sizeof(path), "%s/forks/%s/tail", dir, name);
		assert_int_equal(stat(path, &st), 0);
		assert_true(st.st_size > 1000);
		s = reopen(s, SEG);
		assert_int_equal(log_store_tip(s).lsn, to[i]);
		check_reads(s, 1);
	}
	fill(s, 5, 100);
	check_reads(s, 1);
	log_store_close(s);
}

static void
test_reset(void **state)
{
	struct log_store *s = reopen(NULL, SEG);
	struct log_tip tip = { .lsn = 5000, .hash = { 4, 5, 6 } };
	struct history h = { .n = 1, .gen = { { .no = 8, .start_lsn = 4000, .kind = GEN_JOIN } } },
		known;
	uint8_t hash[16];

	(void)state;
	fill(s, 200, 1000);
	assert_int_equal(log_store_reset(s, &tip, &h), 0);
	assert_int_equal(log_store_tip(s).lsn, 5000);
	fill(s, 3, 100);
	s = reopen(s, SEG);
	assert_int_equal(log_store_tip(s).lsn, 5003);
	assert_int_equal(log_store_oldest(s), 5001);
	assert_int_equal(log_store_hash(s, 5000, hash), 0);
	assert_memory_equal(hash, tip.hash, 16);
	log_store_history(s, &known);
	assert_int_equal(history_last(&known).no, 8);
	check_reads(s, 5001);
	log_store_close(s);
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(test_borders),
		EACH(test_torn_tail),
		EACH(test_damage),
		EACH(test_torn_batch),
		EACH(test_rot),
		EACH(test_cut),
		EACH(test_reset),
	};

	log_init("test", true, LOG_LEVEL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
