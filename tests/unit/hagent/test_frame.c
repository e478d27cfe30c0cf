/* test_frame.c - the frame: round trips, every refusal, mutated and replayed frames,
 * and the serial wrapper byte by byte with noise and torn starts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "frame.h"

static struct frame_keys keys[2];
static uint8_t cluster[16];

static int
setup(void **state)
{
	uint8_t key[32];

	(void)state;
	memset(key, 7, sizeof(key));
	for (uint8_t s = 0; s < 2; s++) {
		keys[s].nkeys = 1;
		assert_int_equal(frame_derive(key, 1, "mail.example.org", "udp", 0, s,
		    &keys[s].key[0]), 0);
	}
	return frame_cluster_id("mail.example.org", cluster);
}

static struct frame
sample(unsigned ncontrols)
{
	struct frame f = { .type = FRAME_HEARTBEAT, .sender = 1, .role = 5, .mode = 3,
		.flags = FRAME_F_SYNCD | FRAME_F_TAKE, .config = 0xabcdef01, .boot = 9, .seq = 1234567,
		.order = 99, .gen = 41, .fixed = 43, .gen_kind = GEN_JOIN, .gen_node = 1,
		.durable = 1000, .applied = 990, .echo_boot = 4, .echo_seq = 77, .key_id = 1,
		.score = 250 };

	memset(f.nonce, 3, 16);
	memset(f.echo_nonce, 4, 16);
	for (unsigned i = 0; i < ncontrols; i++)
		f.controls[f.ncontrols++] = (struct control) { (uint8_t)(CTRL_RELEASE + i), i, 41 + i,
			1000 + i };
	return f;
}

static struct frame_expect
expect(void)
{
	struct frame_expect x = { .sender = 1, .channel = 0, .keys = &keys[1] };

	memcpy(x.cluster, cluster, 8);
	return x;
}

static void
round_trip(void **state)
{
	struct frame_expect x = expect();

	(void)state;
	for (unsigned n = 0; n <= FRAME_CONTROLS; n++) {
		struct frame f = sample(n), g;
		uint8_t buf[FRAME_MAX];
		int len = frame_encode(&f, cluster, &keys[1].key[0], buf, sizeof(buf));

		assert_true(len > 0 && len <= FRAME_MAX);
		assert_int_equal(frame_decode(buf, (size_t)len, &x, &g), FRAME_OK);
		assert_memory_equal(&f, &g, sizeof(f));
	}
}

static void
refusals(void **state)
{
	struct frame f = sample(1), g = { .boot = 55 };
	struct frame_expect x = expect(), y;
	uint8_t buf[FRAME_MAX + 8];
	size_t len = (size_t)frame_encode(&f, cluster, &keys[1].key[0], buf, FRAME_MAX);
	uint8_t key[32] = { 1 };
	struct frame_keys other = { .nkeys = 1 };

	(void)state;
	assert_int_equal(frame_decode(buf, 10, &x, &g), FRAME_SHORT);
	assert_int_equal(frame_decode(buf, sizeof(buf), &x, &g), FRAME_SHORT);
	assert_int_equal(frame_decode(buf, len - 1, &x, &g), FRAME_LENGTH);
	y = x;
	y.cluster[0] ^= 1;
	assert_int_equal(frame_decode(buf, len, &y, &g), FRAME_CLUSTER);
	y = x;
	y.sender = 0;			/* our own frame comes back */
	assert_int_equal(frame_decode(buf, len, &y, &g), FRAME_SENDER);
	y = x;
	y.channel = 1;			/* recorded on another link */
	assert_int_equal(frame_decode(buf, len, &y, &g), FRAME_CHANNEL);
	y = x;
	frame_derive(key, 1, "mail.example.org", "udp", 0, 1, &other.key[0]);
	y.keys = &other;
	assert_int_equal(frame_decode(buf, len, &y, &g), FRAME_BAD_MAC);
	other.key[0].id = 2;
	assert_int_equal(frame_decode(buf, len, &y, &g), FRAME_KEY);
	/* The other direction's and the other channel's keys differ, too. */
	assert_memory_not_equal(keys[0].key[0].secret, keys[1].key[0].secret, 32);
	y.keys = &keys[0];
	assert_int_equal(frame_decode(buf, len, &y, &g), FRAME_BAD_MAC);
	assert_int_equal(g.boot, 55);	/* never written on failure */
}

static void
two_keys(void **state)
{
	struct frame f = sample(0), g;
	struct frame_expect x = expect();
	struct frame_keys both = { .nkeys = 2 };
	uint8_t buf[FRAME_MAX], key[32] = { 9 };
	size_t len = (size_t)frame_encode(&f, cluster, &keys[1].key[0], buf, sizeof(buf));

	(void)state;
	frame_derive(key, 2, "mail.example.org", "udp", 0, 1, &both.key[0]);
	both.key[1] = keys[1].key[0];
	x.keys = &both;
	assert_int_equal(frame_decode(buf, len, &x, &g), FRAME_OK);
}

/* FRAMES=1000000 for the long run. */
static void
mutated(void **state)
{
	const char *env = getenv("FRAMES");
	unsigned long n = env != NULL ? strtoul(env, NULL, 10) : 100000;
	struct frame_expect x = expect();
	struct frame f = sample(2), g;
	uint8_t good[FRAME_MAX], buf[FRAME_MAX];
	size_t len = (size_t)frame_encode(&f, cluster, &keys[1].key[0], good, sizeof(good));
	uint64_t r = 88172645463325252u;

	(void)state;
	for (unsigned long i = 0; i < n; i++) {
		size_t cut = len;

		memcpy(buf, good, sizeof(buf));
		for (unsigned k = 0; k < 1 + i % 3; k++) {
			r ^= r << 13;
			r ^= r >> 7;
			r ^= r << 17;
			buf[r % len] ^= (uint8_t)(1u << (r >> 32) % 8);
		}
		if (i % 7 == 0)
			cut = (size_t)(r >> 20) % len;
		if (memcmp(buf, good, len) == 0 && cut == len)
			continue;	/* the flips undid each other */
		assert_int_not_equal(frame_decode(buf, cut, &x, &g), FRAME_OK);
	}
}

static void
window(void **state)
{
	static const struct {
		uint64_t seq;
		bool take;
	} t[] = { { 1, true }, { 1, false }, { 5, true }, { 3, true }, { 3, false }, { 2, true },
		{ 100, true }, { 36, false }, { 37, true }, { 37, false }, { 99, true }, { 1000, true },
		{ 936, false }, { 937, true }, { UINT64_MAX, true }, { 1000, false } };
	struct frame_window w = { 0, 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		assert_int_equal(frame_window_take(&w, t[i].seq), t[i].take);
}

static void
serial(void **state)
{
	struct frame f = sample(FRAME_CONTROLS);
	uint8_t buf[FRAME_MAX], line[SERIAL_MAX], out[FRAME_MAX];
	int len = frame_encode(&f, cluster, &keys[1].key[0], buf, sizeof(buf)), n;
	struct serial_in in;
	size_t got = 0;

	(void)state;
	n = serial_wrap(buf, (size_t)len, line, sizeof(line));
	assert_true(n > len && n <= SERIAL_MAX);
	serial_in_init(&in);
	/* A torn start, a whole one, noise of all sorts, a whole one. */
	for (int i = n / 2; i < n; i++)
		got += serial_feed(&in, line[i], out) != 0;
	assert_int_equal(got, 0);
	for (int round = 0; round < 300; round++) {
		size_t last = 0;

		for (int i = 0; i < round; i++)
			got += serial_feed(&in, (uint8_t)(1 + i * 7 % 255), out) != 0;
		for (int i = 0; i < n; i++)
			if ((last = serial_feed(&in, line[i], out)) != 0)
				got++;
		assert_int_equal(last, len);
		assert_memory_equal(out, buf, (size_t)len);
		assert_int_equal(got, round + 1);
	}
	/* One flipped bit anywhere, and no frame comes out. */
	for (int i = 0; i < n; i++) {
		for (int k = 0; k < n; k++)
			assert_int_equal(serial_feed(&in, k == i ? line[k] ^ 0x10 : line[k], out), 0);
		serial_feed(&in, 0, out);
	}
	assert_int_equal(serial_wrap(buf, FRAME_MAX + 1, line, sizeof(line)), -1);
}

static void
serial_sizes(void **state)
{
	(void)state;
	for (size_t len = 1; len <= FRAME_MAX; len++)
		for (int fill = 0; fill < 3; fill++) {
			uint8_t raw[FRAME_MAX], line[SERIAL_MAX], out[FRAME_MAX];
			struct serial_in in;
			size_t got = 0;
			int n;

			for (size_t i = 0; i < len; i++)
				raw[i] = fill == 0 ? 0 : fill == 1 ? 0xff : (uint8_t)(i % 3);
			n = serial_wrap(raw, len, line, sizeof(line));
			assert_true(n > 0);
			serial_in_init(&in);
			for (int i = 0; i < n; i++)
				got += serial_feed(&in, line[i], out);
			assert_int_equal(got, len);
			assert_memory_equal(out, raw, len);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(round_trip), cmocka_unit_test(refusals),
		cmocka_unit_test(two_keys), cmocka_unit_test(mutated), cmocka_unit_test(window),
		cmocka_unit_test(serial), cmocka_unit_test(serial_sizes) };

	return cmocka_run_group_tests_name("frame", tests, setup, NULL);
}
