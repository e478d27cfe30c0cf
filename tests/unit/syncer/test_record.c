/* test_record.c - records: round trip, every shorter input, every flipped bit, and the
 * two ways to compute CRC-32C. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crc32c.h"
#include "mem.h"
#include "record.h"

static const uint8_t prev[16] = { 1, 2, 3 };

static uint8_t *
make(size_t payload, struct record *r)
{
	uint8_t *raw = mem_alloc(record_size(payload));
	char *text = mem_alloc(payload + 1);

	for (size_t i = 0; i < payload; i++)
		text[i] = (char)(i * 7);
	*r = (struct record){ .lsn = 42, .gen_no = 6, .origin = 0x1122334455667788u,
		.time_ms = 1700000000123, .synced = 40, .shard = 17, .type = 9,
		.payload = { text, payload } };
	record_encode(r, prev, raw);
	free(text);
	return raw;
}

static void
test_crc(void **state)
{
	uint8_t buf[100];

	(void)state;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c_table(0, "123456789", 9), 0xe3069283u);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 31);
	for (size_t n = 0; n <= sizeof(buf); n++)
		assert_int_equal(crc32c(0, buf, n), crc32c_table(0, buf, n));
}

static void
test_round_trip(void **state)
{
	static const size_t sizes[] = { 0, 1, 7, 8, 9, 1000, RECORD_PAYLOAD_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct record r, d;
		uint8_t *raw = make(sizes[i], &r);
		struct span in = { (char *)raw, record_size(sizes[i]) };
		size_t used;

		assert_int_equal(record_decode(in, &d, &used), PARSE_OK);
		assert_int_equal(used, in.len);
		assert_int_equal(used % RECORD_ALIGN, 0);
		assert_true(d.lsn == 42 && d.gen_no == 6 && d.origin == r.origin &&
		    d.time_ms == r.time_ms && d.synced == 40 && d.shard == 17 && d.type == 9);
		assert_int_equal(d.payload.len, sizes[i]);
		assert_memory_equal(d.hash, r.hash, 16);
		assert_true(record_follows(&d, prev));
		free(raw);
	}
}

static void
test_short_input(void **state)
{
	struct record r, d;
	uint8_t *raw = make(100, &r);
	size_t used;

	(void)state;
	for (size_t n = 0; n < record_size(100); n++) {
		struct span in = { (char *)raw, n };

		assert_int_equal(record_decode(in, &d, &used), PARSE_MORE);
	}
	free(raw);
}

static void
test_bit_flips(void **state)
{
	struct record r, d;
	uint8_t *raw = make(40, &r);
	size_t len = RECORD_HEADER + 40, used;
	struct span in = { (char *)raw, record_size(40) };

	(void)state;
	for (size_t bit = 0; bit < len * 8; bit++) {
		raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
		/* a longer length only asks for more; nothing may pass */
		assert_int_not_equal(record_decode(in, &d, &used), PARSE_OK);
		raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(record_decode(in, &d, &used), PARSE_OK);
	free(raw);
}

static void
test_stamp_and_chain(void **state)
{
	static const uint8_t other[16] = { 9 };
	struct record r, d;
	uint8_t *raw = make(10, &r);
	struct span in = { (char *)raw, record_size(10) };
	size_t used;

	(void)state;
	record_stamp(raw, 7);
	assert_int_equal(record_decode(in, &d, &used), PARSE_OK);
	assert_int_equal(d.synced, 7);
	assert_memory_equal(d.hash, r.hash, 16);
	assert_true(record_follows(&d, prev));
	assert_false(record_follows(&d, other));
	free(raw);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_short_input),
		cmocka_unit_test(test_bit_flips),
		cmocka_unit_test(test_stamp_and_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
