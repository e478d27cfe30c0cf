/* test_log_verify.c - a log on the disk is read again: clean ones are clean, also while
 * they grow and are trimmed; and bits turned over at random places are found, or change
 * nothing that a reader gets.
 * FLIPS: how many (100); SEED: which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "hex.h"
#include "log.h"
#include "log_segment.h"
#include "log_store.h"
#include "log_verify.h"
#include "mem.h"
#include "owner.h"

#define SEG (32u << 10)
#define RECORDS 240

static char dir[64], copy[80];
static uint64_t seed;
static uint8_t sums[RECORDS + 1][32];	/* of each record's payload */

static uint64_t
number_of(const char *name, uint64_t otherwise)
{
	const char *v = getenv(name);

	return v != NULL ? strtoull(v, NULL, 10) : otherwise;
}

static uint64_t
rnd(uint64_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % n;
}

static void
put(struct log_store *s, uint8_t type, uint16_t shard, struct span payload)
{
	struct log_tip tip = log_store_tip(s);
	uint8_t *raw = mem_alloc(record_size(payload.len));
	struct record r = { .lsn = tip.lsn + 1, .gen_no = 2, .shard = shard, .type = type,
		.synced = tip.lsn, .payload = payload };
	struct span in;
	size_t done;

	record_encode(&r, tip.hash, raw);
	in = (struct span){ (char *)raw, record_size(payload.len) };
	assert_int_equal(log_store_append(s, &in, 1, &done), 0);
	if (r.lsn <= RECORDS)
		sha256(payload.p, payload.len, sums[r.lsn]);
	free(raw);
}

/* Records of all sizes, each twentieth a generation. */
static void
grow(struct log_store *s, int n)
{
	for (int i = 0; i < n; i++) {
		struct log_tip tip = log_store_tip(s);
		struct gen g = gen_make(tip.lsn, tip.lsn & 1, GEN_CLEAN, 3, 5);
		char text[2000];
		struct wire_out w;

		if (i % 20 == 0) {
			g.start_lsn = tip.lsn + 1;
			memcpy(g.start_hash, tip.hash, 16);
			wire_out_init(&w);
			gen_put(&w, &g);
			put(s, RECORD_GEN, SHARD_PAIR, wire_out_span(&w));
			wire_out_clear(&w);
			continue;
		}
		for (size_t k = 0; k < sizeof(text); k++)
			text[k] = (char)rnd(256);
		put(s, 1, 16, (struct span){ text, (size_t)rnd(sizeof(text)) });
	}
	assert_int_equal(log_store_sync(s), 0);
}

static struct log_store *
open_log(const char *at)
{
	char err[256];
	struct log_store *s = log_store_open(at, SEG, err, sizeof(err));

	if (s == NULL && errno != EBADMSG)
		fail_msg("%s", err);
	return s;
}

static int
setup(void **state)
{
	(void)state;
	log_init("test_log_verify", true, LOG_LEVEL_ERR);
	seed = number_of("SEED", 4);
	snprintf(dir, sizeof(dir), "/tmp/test-log-verify-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(copy, sizeof(copy), "%s/copy", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	return fs_remove_tree(dir);
}

static bool
always(void *arg, uint64_t done, uint64_t of)
{
	(void)arg;
	assert_true(done <= of);
	return true;
}

static void
begin(struct log_verify *v, struct log_store *s, const char *at)
{
	memset(v, 0, sizeof(*v));
	v->dir = at;
	v->spans = log_store_spans(s, &v->nspans, &v->tip);
	v->go_on = always;
}

static void
check_clean(struct log_verify *v, uint64_t records)
{
	assert_int_equal(log_verify_run(v), 0);
	if (v->nbad > 0)
		fail_msg("%s at %llu in %llu", v->bad[0].what,
		    (unsigned long long)v->bad[0].offset, (unsigned long long)v->bad[0].segment);
	assert_int_equal(v->records, records);
	free(v->spans);
}

static void
test_clean(void **state)
{
	struct log_store *s = open_log(dir);
	struct log_verify v;

	(void)state;
	begin(&v, s, dir);
	check_clean(&v, 0);
	grow(s, RECORDS);
	begin(&v, s, dir);
	assert_true(v.nspans > 5);
	check_clean(&v, RECORDS);
	/* grown since, and trimmed since */
	begin(&v, s, dir);
	grow(s, RECORDS);
	check_clean(&v, RECORDS);
	begin(&v, s, dir);
	assert_true(log_store_trim(s, 100) > 0);
	assert_int_equal(log_verify_run(&v), 0);
	assert_int_equal(v.nbad, 0);
	assert_in_range(v.records, RECORDS, 2 * RECORDS - 1);
	free(v.spans);
	log_store_close(s);
}

static bool
twice(void *arg, uint64_t done, uint64_t of)
{
	(void)done;
	(void)of;
	return ++*(int *)arg < 2;
}

static void
test_stopped(void **state)
{
	struct log_store *s = open_log(dir);
	struct log_verify v;
	int calls = 0;

	(void)state;
	grow(s, RECORDS);
	begin(&v, s, dir);
	v.go_on = twice;
	v.arg = &calls;
	assert_int_equal(log_verify_run(&v), 0);
	assert_true(v.stopped);
	assert_int_equal(v.nbad, 0);
	assert_int_equal(calls, 2);
	free(v.spans);
	log_store_close(s);
}

/* Segments that are right by themselves and do not belong together. */
static void
test_foreign_segment(void **state)
{
	char from[200], to[200], *buf, name[SEGMENT_NAME_MAX];
	struct log_store *s = open_log(dir);
	struct log_verify v;
	size_t len;

	(void)state;
	grow(s, RECORDS);
	begin(&v, s, dir);
	log_store_close(s);
	assert_int_equal(fs_mkdirs(copy, 0700), 0);
	seed = number_of("SEED", 4) + 7;
	s = open_log(copy);
	grow(s, 40);			/* of another history */
	log_store_close(s);
	segment_name(1, name);
	snprintf(from, sizeof(from), "%s/%s", copy, name);
	snprintf(to, sizeof(to), "%s/%s", dir, name);
	assert_int_equal(fs_read(from, SEG, &buf, &len), 0);
	assert_int_equal(fs_replace(dir, name, buf, len, 0600), 0);
	free(buf);
	assert_int_equal(log_verify_run(&v), 0);
	assert_true(v.nbad > 0);
	free(v.spans);
}

/* ---- bits turned over ---- */

static void
copy_segments(const struct log_verify *v)
{
	char path[200], name[SEGMENT_NAME_MAX], *buf;
	size_t len;

	assert_int_equal(fs_remove_tree(copy), 0);
	assert_int_equal(mkdir(copy, 0700), 0);
	for (size_t i = 0; i < v->nspans; i++) {
		int fd;

		segment_name(v->spans[i].first, name);
		snprintf(path, sizeof(path), "%s/%s", dir, name);
		assert_int_equal(fs_read(path, SEG, &buf, &len), 0);
		snprintf(path, sizeof(path), "%s/%s", copy, name);
		assert_true((fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600)) >= 0);
		assert_int_equal(fs_write_all(fd, buf, len), 0);
		close(fd);
		free(buf);
	}
}

static void
flip(uint64_t segment, uint64_t bit)
{
	char path[200], name[SEGMENT_NAME_MAX];
	uint8_t c;
	int fd;

	segment_name(segment, name);
	snprintf(path, sizeof(path), "%s/%s", copy, name);
	assert_true((fd = open(path, O_RDWR)) >= 0);
	assert_int_equal(fs_pread_all(fd, &c, 1, (off_t)(bit / 8)), 1);
	c ^= (uint8_t)(1u << bit % 8);
	assert_int_equal(fs_pwrite_all(fd, &c, 1, (off_t)(bit / 8)), 0);
	close(fd);
}

/* What a reader gets of a log with a flipped bit: the right bytes, or an error, or (of
 * the newest record only, which nothing says was durable) a log that ends before it. */
static uint64_t
read_all(struct log_store *s)
{
	uint64_t tip = log_store_tip(s).lsn, refused = 0;

	for (uint64_t lsn = 1; lsn <= tip;) {
		uint8_t *buf, is[32];
		size_t len, used;
		struct record r;

		if (log_store_read(s, lsn, 1, &buf, &len) == -1) {
			assert_int_equal(errno, EBADMSG);
			refused++;
			lsn++;
			continue;
		}
		for (size_t at = 0; at < len; at += used, lsn++) {
			struct span in = { (char *)buf + at, len - at };

			assert_int_equal(record_decode(in, &r, &used), PARSE_OK);
			assert_int_equal(r.lsn, lsn);
			sha256(r.payload.p, r.payload.len, is);
			assert_memory_equal(is, sums[lsn], 32);
		}
		free(buf);
	}
	return refused;
}

static void
test_flips(void **state)
{
	uint64_t flips = number_of("FLIPS", 100), found = 0, harmless = 0, refused = 0, cut = 0;
	struct log_store *s = open_log(dir);
	struct log_verify v;

	(void)state;
	grow(s, RECORDS);
	begin(&v, s, dir);
	log_store_close(s);
	copy_segments(&v);
	v.dir = copy;
	for (uint64_t n = 0; n < flips; n++) {
		const struct log_span *span = &v.spans[rnd(v.nspans)];
		uint64_t bit = rnd(SEG * 8), tip;

		flip(span->first, bit);
		v.nbad = v.records = 0;
		assert_int_equal(log_verify_run(&v), 0);
		if (v.nbad > 0) {
			found++;
			assert_int_equal(v.bad[0].segment, span->first);
			assert_true(v.bad[0].offset <= bit / 8);
		} else {
			harmless++;
			assert_int_equal(v.records, RECORDS);
		}
		s = open_log(copy);
		if (s == NULL) {
			refused++;
			assert_true(v.nbad > 0);
			flip(span->first, bit);
			continue;
		}
		tip = log_store_tip(s).lsn;
		cut += tip < RECORDS;
		assert_true(tip >= RECORDS - 1);
		if (read_all(s) > 0)
			assert_true(v.nbad > 0);
		else if (v.nbad > 0)
			/* only in what no reader is given: a header, or the cut record */
			assert_true(bit / 8 < SEGMENT_HEADER || tip < RECORDS);
		log_store_close(s);
		copy_segments(&v);
	}
	free(v.spans);
	print_message("# log: flips=%llu found=%llu harmless=%llu served=0 (refused at start %llu,"
	    " newest record cut %llu)\n", (unsigned long long)flips, (unsigned long long)found,
	    (unsigned long long)harmless, (unsigned long long)refused, (unsigned long long)cut);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { T(test_clean), T(test_stopped),
		T(test_foreign_segment), T(test_flips) };

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
