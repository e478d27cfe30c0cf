/* test_packet.c - what is announced and asked for, and what counts as a claim. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "packet.h"

static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 }, other[6] = { 2, 0, 0, 0, 0, 2 };
static const uint8_t a4[4] = { 192, 0, 2, 5 };
static const uint8_t a6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 5 };

static void
arp(void **state)
{
	struct packet p;

	(void)state;
	packet_garp(&p, other, a4, true);
	assert_int_equal(p.len, 28);
	assert_true(packet_claims4(p.data, p.len, a4, mac));
	assert_false(packet_claims4(p.data, p.len, a4, other));	/* our own */
	for (size_t n = 0; n < p.len; n++)
		assert_false(packet_claims4(p.data, n, a4, mac));
	packet_arp_probe(&p, other, a4);	/* a question is no claim */
	assert_false(packet_claims4(p.data, p.len, a4, mac));
}

/* RFC 1071: over data with its checksum the sum is all ones. */
static uint32_t
sum_with_pseudo(const struct packet *p)
{
	uint32_t s = 58 + (uint32_t)(p->len - 40);

	for (size_t i = 8; i < p->len; i += 2)
		s += (uint32_t)(p->data[i] << 8 | p->data[i + 1]);
	while (s >> 16 != 0)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

static void
neighbour(void **state)
{
	struct packet p;

	(void)state;
	packet_na(&p, other, a6);
	assert_int_equal(p.len, 72);
	assert_int_equal(sum_with_pseudo(&p), 0xffff);
	assert_true(packet_claims6(p.data, p.len, other, a6, mac));
	assert_false(packet_claims6(p.data, p.len, mac, a6, mac));
	for (size_t n = 0; n < 64; n++)
		assert_false(packet_claims6(p.data, n, other, a6, mac));
	packet_ns(&p, a6);
	assert_int_equal(p.len, 64);
	assert_int_equal(sum_with_pseudo(&p), 0xffff);
	assert_false(packet_claims6(p.data, p.len, other, a6, mac));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(arp), cmocka_unit_test(neighbour) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
