/* test_mirror_pack.c - packs of messages: what goes in comes out, compression helps
 * where it can and costs nothing where it cannot, and hostile packs stay small. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <zstd.h>

#include "mem.h"
#include "mirror_pack.h"
#include "mirror_wire.h"

static uint32_t seed = 5;

static void
fill(uint8_t *p, size_t n, bool noise)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = noise ? (uint8_t)(seed >> 24) : (uint8_t)("mail for you\n"[i % 13]);
	}
}

static size_t
there_and_back(struct mirror_pack *out, struct mirror_pack *in, const uint8_t *p, size_t n)
{
	struct wire_in body;
	struct span s;
	uint8_t type;
	size_t size;

	mirror_pack_add(out, MM_DATA, p, n);
	mirror_pack_add(out, MM_BATCH_END, NULL, 0);
	s = mirror_pack_take(out);
	size = s.len;
	assert_true(size <= MIRROR_BODY_MAX);
	assert_int_equal(mirror_pack_open(in, s), 0);
	assert_int_equal(mirror_pack_next(in, &type, &body), 1);
	assert_int_equal(type, MM_DATA);
	assert_int_equal(body.left, n);
	assert_memory_equal(body.p, p, n);
	assert_int_equal(mirror_pack_next(in, &type, &body), 1);
	assert_int_equal(type, MM_BATCH_END);
	assert_int_equal(body.left, 0);
	assert_int_equal(mirror_pack_next(in, &type, &body), 0);
	assert_false(mirror_pack_waiting(out));
	return size;
}

static void
round_trip(void **state)
{
	static const size_t sizes[] = { 0, 1, 100, 4096, 65536, 2 * 65536, MIRROR_PACK_MAX - 10 };
	static const int levels[] = { 0, 1, 3, 19 };
	uint8_t *p = mem_alloc(MIRROR_PACK_MAX);

	(void)state;
	for (size_t l = 0; l < sizeof(levels) / sizeof(levels[0]); l++) {
		struct mirror_pack *a = mirror_pack_new(levels[l]), *b = mirror_pack_new(0);

		for (size_t i = 0; i < 3 * sizeof(sizes) / sizeof(sizes[0]); i++) {
			size_t n = sizes[i % (sizeof(sizes) / sizeof(sizes[0]))];

			fill(p, n, i % 2 == 0);
			(void)there_and_back(a, b, p, n);
		}
		mirror_pack_free(a);
		mirror_pack_free(b);
	}
	free(p);
}

/* Text shrinks, and the second time even more; noise never grows by more than a head,
 * and is soon not even tried. */
static void
sizes(void **state)
{
	struct mirror_pack *a = mirror_pack_new(3), *b = mirror_pack_new(3);
	uint8_t *p = mem_alloc(65536);
	size_t first;

	(void)state;
	fill(p, 65536, true);
	for (size_t i = 0; i < 65536; i++)
		p[i] = (uint8_t)('a' + p[i] % 16);
	first = there_and_back(a, b, p, 65536);
	assert_true(first < 40000);
	assert_true(there_and_back(a, b, p, 65536) < 200);	/* seen before */
	for (int i = 0; i < 200; i++) {
		fill(p, 65536, true);
		assert_true(there_and_back(a, b, p, 65536) < 65536 + 64);
	}
	mirror_pack_free(a);
	mirror_pack_free(b);
	free(p);
}

static double
cpu_s(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_SELF, &u);
	return (double)u.ru_utime.tv_sec + (double)u.ru_utime.tv_usec / 1e6;
}

static double
cost(int level, const uint8_t *p)
{
	struct mirror_pack *a = mirror_pack_new(level);
	double began = cpu_s();

	for (int i = 0; i < 128; i++) {		/* repeated far outside of the window */
		mirror_pack_add(a, MM_DATA, p + (size_t)i % 64 * 65536, 65536);
		(void)mirror_pack_take(a);
	}
	mirror_pack_free(a);
	return cpu_s() - began;
}

/* 8 MiB of noise: the CPU that is spent on trying is a small part of what compressing as
 * much text takes. */
static void
noise_is_cheap(void **state)
{
	uint8_t *p = mem_alloc(4 << 20);
	double plain, tried, text;

	(void)state;
	fill(p, 4 << 20, true);
	plain = cost(0, p);
	tried = cost(9, p);
	for (size_t i = 0; i < 4 << 20; i++)
		p[i] = (uint8_t)('a' + p[i] % 16);
	text = cost(9, p);
	if (tried > plain + text / 4 + 0.02)
		fail_msg("plain %.3f s, tried %.3f s, text %.3f s", plain, tried, text);
	free(p);
}

static int
opens(const uint8_t *p, size_t n)
{
	struct mirror_pack *b = mirror_pack_new(3);
	int rc = mirror_pack_open(b, (struct span){ (const char *)p, n });

	mirror_pack_free(b);
	return rc;
}

/* A pack of `len` claimed bytes whose zstd stream has the given content and window. */
static size_t
hostile(uint8_t *dst, size_t cap, uint32_t claimed, const uint8_t *p, size_t n, int window)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	size_t k;

	assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window)));
	assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0)));
	k = ZSTD_compress2(c, dst + 5, cap - 5, p, n);
	assert_false(ZSTD_isError(k));
	dst[0] = 1;
	wire_store32(dst + 1, claimed);
	ZSTD_freeCCtx(c);
	return 5 + k;
}

static void
hostile_packs(void **state)
{
	static const uint8_t plain[] = { 0, 0, 0, 0, 5, 0, 0, 0, 0, 4 };
	uint8_t bad[64], *p = mem_alloc(64 << 20), *z = mem_alloc(1 << 20);
	struct rusage before, after;
	size_t n;

	(void)state;
	assert_int_equal(opens(plain, sizeof(plain)), 0);
	for (size_t i = 0; i < sizeof(plain); i++)		/* cut anywhere */
		assert_int_equal(opens(plain, i), -1);
	memcpy(bad, plain, sizeof(plain));
	bad[0] = 2;						/* neither plain nor zstd */
	assert_int_equal(opens(bad, sizeof(plain)), -1);
	memcpy(bad, plain, sizeof(plain));
	bad[8] = 1;						/* a message longer than its pack */
	assert_int_equal(opens(bad, sizeof(plain)), -1);
	bad[5] = 0xff;
	assert_int_equal(opens(bad, sizeof(plain)), -1);
	assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
	/* 64 MiB of zeros in some kilobytes, whatever it claims to be. */
	n = hostile(z, 1 << 20, 100, p, 64 << 20, 20);
	assert_int_equal(opens(z, n), -1);
	n = hostile(z, 1 << 20, MIRROR_PACK_MAX, p, 64 << 20, 20);
	assert_int_equal(opens(z, n), -1);
	n = hostile(z, 1 << 20, 64 << 20, p, 64 << 20, 20);
	assert_int_equal(opens(z, n), -1);
	n = hostile(z, 1 << 20, 200, p, 100, 20);		/* less than it claims */
	assert_int_equal(opens(z, n), -1);
	n = hostile(z, 1 << 20, 1000, p, 64 << 20, 27);		/* a window of 128 MiB */
	assert_int_equal(opens(z, n), -1);
	assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
	assert_true(after.ru_maxrss - before.ru_maxrss < 100 << 10);	/* p, z and 4 MiB */
	for (int i = 0; i < 20000; i++) {			/* noise of all kinds */
		n = 1 + (size_t)i % 60;
		fill(bad, n, true);
		bad[0] = (uint8_t)(i % 2);
		(void)opens(bad, n);
	}
	free(p);
	free(z);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(sizes),
		cmocka_unit_test(noise_is_cheap),
		cmocka_unit_test(hostile_packs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
