/* test_log_scan.c - where a log ends: every cut, every flipped bit and every lost piece of
 * a run of records, with what was known durable when they were written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "log_scan.h"

#define RUN 6

static const uint8_t before[16] = { 9, 8, 7 };

struct run {
	uint8_t bytes[2048];
	size_t at[RUN + 2];	/* of record i, 1-based; at[RUN + 1]: the end */
	size_t len;		/* zeros follow the end */
};

/* Records 11, 12, ... behind LSN 10; `synced` of each. */
static void
make(struct run *x, const uint64_t synced[RUN])
{
	uint8_t hash[16];
	size_t at = 0;

	memset(x, 0, sizeof(*x));
	memcpy(hash, before, 16);
	for (size_t i = 1; i <= RUN; i++) {
		struct record r = { .lsn = 10 + i, .gen_no = 4, .shard = 3, .type = 2,
			.synced = synced[i - 1],
			.payload = { "abcdefghijklmnopqrstuvwxyz", 5 + i } };

		x->at[i] = at;
		record_encode(&r, hash, x->bytes + at);
		memcpy(hash, r.hash, 16);
		at += record_size(r.payload.len);
	}
	x->at[RUN + 1] = at;
	x->len = at + 256;
}

static enum log_end
scan(const struct run *x, struct log_scan *c)
{
	struct record r;
	uint64_t lsn = 10;

	log_scan_init(c, (struct span){ (const char *)x->bytes, x->len }, 10, before);
	while (log_scan_next(c, &r))
		assert_int_equal(r.lsn, ++lsn);
	assert_int_equal(c->last, lsn);
	return log_scan_end(c);
}

static const uint64_t one_batch[RUN] = { 10, 10, 10, 10, 10, 10 };
static const uint64_t singly[RUN] = { 10, 11, 12, 13, 14, 15 };

static void
test_whole(void **state)
{
	struct log_scan c;
	struct run x;

	(void)state;
	make(&x, singly);
	assert_int_equal(scan(&x, &c), LOG_END_CLEAN);
	assert_int_equal(c.last, 10 + RUN);
	assert_int_equal(c.end, x.at[RUN + 1]);
	assert_int_equal(c.synced, 15);
	x.len = x.at[RUN + 1];	/* a full segment: nothing behind */
	assert_int_equal(scan(&x, &c), LOG_END_CLEAN);
	assert_int_equal(c.last, 10 + RUN);
	x.len = 0;
	assert_int_equal(scan(&x, &c), LOG_END_CLEAN);
	assert_int_equal(c.last, 10);
}

/* An interrupted write ends at any byte: the whole records before it stay, no more.
 * (The last bytes of a record are padding, zero anyway.) */
static void
test_cut_anywhere(void **state)
{
	struct log_scan c;
	struct run x;

	(void)state;
	for (size_t n = 0; n <= 6 * 104; n++) {
		size_t whole = 0, end;
		enum log_end rc;

		make(&x, one_batch);
		if (n > x.at[RUN + 1])
			break;
		memset(x.bytes + n, 0, sizeof(x.bytes) - n);
		while (whole < RUN && x.at[whole + 1] + RECORD_HEADER + 6 + whole <= n)
			whole++;
		end = x.at[whole + 1];
		rc = scan(&x, &c);
		assert_int_equal(c.last, 10 + whole);
		assert_int_equal(c.end, end);
		assert_int_equal(rc, n > end ? LOG_END_TORN : LOG_END_CLEAN);
		x.len = n;	/* and where the file ends with it */
		(void)scan(&x, &c);
		assert_true(c.last <= 10 + whole);
	}
}

/* Any bit of any record: the log ends before it; behind it stand records that were
 * written when it was durable, or not. */
static void
test_bits(void **state)
{
	struct log_scan c;
	struct run x;

	(void)state;
	for (size_t i = 1; i <= RUN; i++)
		for (size_t bit = 0; bit < 8 * (RECORD_HEADER + 5 + i); bit++) {
			make(&x, singly);
			x.bytes[x.at[i] + bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_int_equal(scan(&x, &c), i < RUN ? LOG_END_DAMAGED : LOG_END_TORN);
			assert_int_equal(c.last, 10 + i - 1);
			make(&x, one_batch);
			x.bytes[x.at[i] + bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_int_equal(scan(&x, &c), LOG_END_TORN);
			assert_int_equal(c.last, 10 + i - 1);
		}
}

/* A batch that reached the disk in another order: records 13 and 15 did not. */
static void
test_any_order(void **state)
{
	static const struct {
		uint64_t synced14, synced16;
		enum log_end want;
	} t[] = {
		{ 10, 10, LOG_END_TORN },
		{ 12, 12, LOG_END_TORN },	/* up to 12 was durable, and 12 is there */
		{ 13, 10, LOG_END_DAMAGED },
		{ 12, 13, LOG_END_DAMAGED },
		{ 12, 15, LOG_END_DAMAGED },
	};
	struct log_scan c;
	struct run x;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		const uint64_t synced[RUN] = { 10, 10, 10, t[i].synced14, 10, t[i].synced16 };

		make(&x, synced);
		memset(x.bytes + x.at[3], 0, x.at[4] - x.at[3]);
		memset(x.bytes + x.at[5], 0, x.at[6] - x.at[5]);
		assert_int_equal(scan(&x, &c), t[i].want);
		assert_int_equal(c.last, 12);
	}
}

/* Whole, right records that are not the next ones are not taken: of another log, or of
 * another place in this one. */
static void
test_strangers(void **state)
{
	static const uint8_t other[16] = { 1 };
	struct log_scan c;
	struct run x, y;
	struct record r;

	(void)state;
	make(&x, one_batch);
	log_scan_init(&c, (struct span){ (const char *)x.bytes, x.len }, 10, other);
	assert_false(log_scan_next(&c, &r));
	log_scan_init(&c, (struct span){ (const char *)x.bytes, x.len }, 9, before);
	assert_false(log_scan_next(&c, &r));
	assert_int_equal(log_scan_end(&c), LOG_END_DAMAGED);	/* 10 had been durable */
	make(&y, one_batch);
	r = (struct record){ .lsn = 13, .gen_no = 4, .shard = 3, .type = 2, .synced = 10,
		.payload = { "abcdefghijklmnopqrstuvwxyz", 8 } };
	record_encode(&r, other, y.bytes + y.at[3]);	/* the LSN is right, the chain is not */
	assert_int_equal(scan(&y, &c), LOG_END_TORN);
	assert_int_equal(c.last, 12);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_bits),
		cmocka_unit_test(test_any_order),
		cmocka_unit_test(test_strangers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
