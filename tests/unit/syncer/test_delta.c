/* test_delta.c - signature, delta and patch: whole and in pieces of every size, and
 * hostile input.  Each case runs the whole chain and compares bytes and digest. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <event2/buffer.h>

#include "delta.h"
#include "hex.h"
#include "wire.h"

#define BIG (40u * 1024)

static uint8_t *
noise(size_t n, uint32_t seed)
{
	uint8_t *p = malloc(n + 1);

	assert_non_null(p);
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (uint8_t)(seed >> 24);
	}
	return p;
}

/* Feeds data in pieces; everything that comes out goes to `to`. */
static enum delta_rc
feed(struct delta *d, const uint8_t *p, size_t n, size_t piece, struct evbuffer *to)
{
	struct evbuffer *in = evbuffer_new(), *out = evbuffer_new();
	enum delta_rc rc = DELTA_MORE;
	size_t at = 0;

	while (rc == DELTA_MORE) {
		if (at < n && evbuffer_get_length(in) < piece + 16) {	/* a head is 12 */
			size_t k = n - at < piece ? n - at : piece;

			evbuffer_add(in, p + at, k);
			at += k;
		}
		rc = delta_step(d, in, at == n, out);
		assert_true(evbuffer_get_length(out) <= 128u << 10);
		evbuffer_add_buffer(to, out);
	}
	evbuffer_free(in);
	evbuffer_free(out);
	return rc;
}

static uint8_t *
flat(struct evbuffer *b, size_t *n)
{
	uint8_t *p;

	*n = evbuffer_get_length(b);
	p = malloc(*n + 1);
	assert_non_null(p);
	evbuffer_remove(b, p, *n);
	return p;
}

static int
basis_file(const uint8_t *p, size_t n)
{
	int fd = memfd_create("basis", MFD_CLOEXEC);

	assert_int_equal(write(fd, p, n), (ssize_t)n);
	return fd;
}

static bool short_sums;

static struct evbuffer *
signature(const uint8_t *p, size_t n, size_t piece)
{
	struct evbuffer *b = evbuffer_new();
	struct delta *d = short_sums ? delta_sig_short(n) : delta_sig_new(n);

	assert_int_equal(feed(d, p, n, piece, b), DELTA_DONE);
	delta_free(d);
	return b;
}

static struct delta_sums *
load(struct evbuffer *sig, size_t piece)
{
	struct evbuffer *none = evbuffer_new();
	struct delta *d = delta_load_new();
	struct delta_sums *sums;
	size_t n;
	uint8_t *p = flat(sig, &n);

	assert_int_equal(feed(d, p, n, piece, none), DELTA_DONE);
	assert_int_equal(evbuffer_get_length(none), 0);
	sums = delta_take_sums(d);
	assert_non_null(sums);
	delta_free(d);
	evbuffer_free(none);
	free(p);
	return sums;
}

/* The whole chain; returns how many bytes of the new file came from the basis. */
static uint64_t
chain(const uint8_t *old, size_t nold, const uint8_t *new, size_t nnew, size_t piece)
{
	struct evbuffer *sig = signature(old, nold, piece), *delta = evbuffer_new(),
	    *result = evbuffer_new();
	struct delta_sums *sums = load(sig, piece);
	struct delta *make = delta_make_new(sums, true), *patch;
	uint8_t a[32], b[32], c[32], *p, *r;
	uint64_t literal, matched;
	int fd = basis_file(old, nold);
	size_t n, nr;

	assert_int_equal(feed(make, new, nnew, piece, delta), DELTA_DONE);
	delta_digest(make, a);
	delta_stats(make, &literal, &matched);
	p = flat(delta, &n);
	patch = delta_patch_new(fd, nnew, true);
	assert_int_equal(feed(patch, p, n, piece, result), DELTA_DONE);
	delta_digest(patch, b);
	sha256(new, nnew, c);
	r = flat(result, &nr);
	assert_int_equal(nr, nnew);
	assert_memory_equal(r, new, nnew);
	assert_memory_equal(a, c, 32);
	assert_memory_equal(b, c, 32);
	assert_int_equal(literal + matched, nnew);
	delta_free(make);
	delta_free(patch);
	delta_sums_free(sums);
	evbuffer_free(sig);
	evbuffer_free(delta);
	evbuffer_free(result);
	free(p);
	free(r);
	close(fd);
	return matched;
}

static const size_t pieces[] = { 1, 7, 1000, 65536, (size_t)1 << 30 };

static void
same_in_pieces(void **state)
{
	uint8_t *old = noise(BIG, 1), *new = noise(BIG, 1);

	(void)state;
	memmove(new + 1000, new + 900, BIG - 1000);	/* 100 bytes in the middle */
	new[30000] ^= 1;
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
		for (int k = 0; k < 2; k++) {
			short_sums = k == 1;
			assert_true(chain(old, BIG, new, BIG, pieces[i]) > BIG * 8 / 10);
		}
	short_sums = false;
	free(old);
	free(new);
}

static void
small_and_empty(void **state)
{
	uint8_t *a = noise(5000, 2), *b = noise(5000, 3);
	static const size_t sizes[] = { 0, 1, 255, 256, 257, 5000 };

	(void)state;
	for (size_t i = 0; i < 6; i++)
		for (size_t k = 0; k < 6; k++) {
			chain(a, sizes[i], b, sizes[k], 7);
			short_sums = true;
			chain(a, sizes[i], a, sizes[k], 1000);
			short_sums = false;
		}
	free(a);
	free(b);
}

/* Block lengths by the file's, and that nothing outgrows DELTA_SIG_MAX. */
static void
short_blocks(void **state)
{
	static const struct { uint64_t size; uint32_t block; } files[] = {
		{ 0, 512 }, { 4096, 512 }, { 1 << 20, 2048 }, { 16 << 20, 8192 },
		{ 200 << 20, 8192 }, { 1 << 30, 16384 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct evbuffer *b = evbuffer_new();
		struct delta *d = delta_sig_short(files[i].size);
		size_t n;
		uint8_t *p;

		assert_int_equal(feed(d, NULL, 0, 1, b), DELTA_DONE);
		p = flat(b, &n);
		assert_int_equal(n, 12);
		assert_int_equal(wire_load32(p + 4), files[i].block);
		assert_int_equal(wire_load32(p + 8), 8);
		assert_true(files[i].size / files[i].block * 12 < DELTA_SIG_MAX);
		delta_free(d);
		evbuffer_free(b);
		free(p);
	}
}

static void
hostile_signatures(void **state)
{
	static const struct { uint32_t magic, block, strong; size_t n; } heads[] = {
		{ 0x72730136, 2048, 8, 12 },		/* MD4 */
		{ 0x72730146, 2048, 16, 12 },
		{ 0x72730137, 2048, 32, 12 },		/* BLAKE2, old rolling sum */
		{ 0x72730236, 2048, 32, 12 },		/* a delta */
		{ 0x72730147, 0, 32, 12 },
		{ 0x72730147, 1, 32, 12 },
		{ 0x72730147, 0xffffffff, 32, 12 },
		{ 0x72730147, 2048, 7, 12 },
		{ 0x72730147, 2048, 16, 12 },
		{ 0x72730147, 2048, 0, 12 },
		{ 0x72730147, 2048, 33, 12 },
		{ 0x72730147, 2048, 32, 11 },		/* cut */
		{ 0x72730147, 2048, 32, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		for (size_t k = 0; k < 5; k++) {
			struct evbuffer *none = evbuffer_new();
			struct delta *d = delta_load_new();
			uint8_t head[12];

			wire_store32(head, heads[i].magic);
			wire_store32(head + 4, heads[i].block);
			wire_store32(head + 8, heads[i].strong);
			assert_int_equal(feed(d, head, heads[i].n, pieces[k], none), DELTA_FAIL);
			assert_null(delta_take_sums(d));
			delta_free(d);
			evbuffer_free(none);
		}
}

static void
endless_signature(void **state)
{
	struct evbuffer *in = evbuffer_new(), *out = evbuffer_new();
	struct delta *d = delta_load_new();
	uint8_t head[12], *junk = noise(36 * 1000, 4);
	enum delta_rc rc = DELTA_MORE;
	size_t fed = 0;

	(void)state;
	wire_store32(head, 0x72730147);
	wire_store32(head + 4, 256);
	wire_store32(head + 8, 32);
	evbuffer_add(in, head, sizeof(head));
	while (rc == DELTA_MORE && fed < 2 * (size_t)DELTA_SIG_MAX) {
		evbuffer_add(in, junk, 36 * 1000);
		fed += 36 * 1000;
		rc = delta_step(d, in, false, out);
	}
	assert_int_equal(rc, DELTA_FAIL);
	assert_true(fed <= DELTA_SIG_MAX + 36 * 1000);
	delta_free(d);
	evbuffer_free(in);
	evbuffer_free(out);
	free(junk);
}

static enum delta_rc
patch_with(const uint8_t *p, size_t n, uint64_t max, size_t piece)
{
	static const uint8_t basis[100];
	struct evbuffer *out = evbuffer_new();
	int fd = basis_file(basis, sizeof(basis));
	struct delta *d = delta_patch_new(fd, max, true);
	enum delta_rc rc = feed(d, p, n, piece, out);

	delta_free(d);
	evbuffer_free(out);
	close(fd);
	return rc;
}

static void
hostile_deltas(void **state)
{
	/* 0x45: copy, 1 byte position, 1 byte length; 0x54: 8 and 8; 0x44: literal of 8 */
	static const struct { const char *text; size_t n; uint64_t max; enum delta_rc rc; } t[] = {
		{ "rs\x02" "6\x45\x00\x64\x00", 8, 100, DELTA_DONE },	/* all of the basis */
		{ "rs\x02" "6\x45\x00\x64\x00", 8, 99, DELTA_FAIL },	/* one byte too large */
		{ "rs\x02" "6\x45\x00\x65\x00", 8, 1000, DELTA_FAIL },	/* past its end */
		{ "rs\x02" "6\x45\xff\x01\x00", 8, 1000, DELTA_FAIL },
		{ "rs\x02" "6\x45\x00\x00\x00", 8, 1000, DELTA_FAIL },	/* of no length */
		{ "rs\x02" "6\x54\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x01",
		    21, 1000, DELTA_FAIL },				/* position -1 */
		{ "rs\x02" "6\x54\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff",
		    21, 1000, DELTA_FAIL },
		{ "rs\x02" "6\x44\x7f\xff\xff\xff\xff\xff\xff\xff" "abc", 16, 1000, DELTA_FAIL },
		{ "rs\x02" "6", 4, 1000, DELTA_FAIL },			/* no end */
		{ "rs\x02" "6\x55", 5, 1000, DELTA_FAIL },		/* reserved command */
		{ "rs\x01" "G\x00", 5, 1000, DELTA_FAIL },		/* no delta */
		{ "", 0, 1000, DELTA_FAIL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		for (size_t k = 0; k < 5; k++) {
			enum delta_rc rc = patch_with((const uint8_t *)t[i].text, t[i].n, t[i].max,
			    pieces[k]);

			if (rc != t[i].rc)
				print_error("case %zu piece %zu\n", i, pieces[k]);
			assert_int_equal(rc, t[i].rc);
		}
}

static void
garbage(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 3000; i++) {
		uint8_t *p = noise(200, i);

		memcpy(p, "rs\x02" "6", 4);
		(void)patch_with(p, 200, 1 << 20, i % 2 != 0 ? 200 : 13);
		free(p);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_in_pieces),
		cmocka_unit_test(small_and_empty),
		cmocka_unit_test(short_blocks),
		cmocka_unit_test(hostile_signatures),
		cmocka_unit_test(endless_signature),
		cmocka_unit_test(hostile_deltas),
		cmocka_unit_test(garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
