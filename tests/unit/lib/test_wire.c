/* test_wire.c - encoding, and decoding of every truncation of it; generations and the
 * agent's state, which ride on it. */
#include "agentlink.h"
#include "gen.h"
#include "unit.h"
#include "wire.h"

static void
put_all(struct wire_out *o)
{
	wire_put_u8(o, 0xfe);
	wire_put_u16(o, 0xfedc);
	wire_put_u32(o, 0xfedcba98);
	wire_put_u64(o, 0xfedcba9876543210);
	wire_put_str(o, "text");
	wire_put_bytes(o, "\0\1", 2);
	wire_put_str(o, NULL);
	wire_put_raw(o, "rest", 4);
}

/* True when everything came out as it went in. */
static bool
get_all(struct wire_in *in)
{
	char text[8], empty[1];
	bool same = wire_get_u8(in) == 0xfe;

	same &= wire_get_u16(in) == 0xfedc;
	same &= wire_get_u32(in) == 0xfedcba98;
	same &= wire_get_u64(in) == 0xfedcba9876543210;
	wire_get_str(in, text, sizeof(text));
	same &= strcmp(text, "text") == 0;
	same &= span_eq(wire_get_bytes(in), SPAN("\0\1"));
	wire_get_str(in, empty, sizeof(empty));
	same &= wire_in_ok(in) && span_is(wire_get_rest(in), "rest");
	return same && wire_in_done(in);
}

static void
test_round_trip(void **state)
{
	struct wire_out o;
	struct wire_in in;

	(void)state;
	wire_out_init(&o);
	put_all(&o);
	assert_int_equal(o.p[0], 0xfe);
	assert_int_equal(o.p[1], 0xfe);		/* big-endian */
	for (size_t len = 0; len <= o.len; len++) {
		/* An exact copy, so that a sanitizer sees a byte read behind the end. */
		uint8_t *copy = malloc(len == 0 ? 1 : len);

		memcpy(copy, o.p, len);
		wire_in_init(&in, copy, len);
		assert_int_equal(get_all(&in), len == o.len);
		free(copy);
	}
	wire_out_clear(&o);
}

static void
test_failure_stays(void **state)
{
	struct wire_in in;
	uint8_t raw[4] = "xxxx";

	(void)state;
	wire_in_init(&in, "\1\2\3", 3);
	assert_int_equal(wire_get_u32(&in), 0);
	assert_int_equal(wire_get_u8(&in), 0);	/* though one byte would be there */
	wire_get_raw(&in, raw, sizeof(raw));
	assert_memory_equal(raw, "\0\0\0\0", 4);
	assert_int_equal(wire_get_rest(&in).len, 0);
	assert_false(wire_in_ok(&in));
}

static void
test_strings(void **state)
{
	static const struct { const char *in; size_t len; size_t size; bool ok; } cases[] = {
		{ "\0\3abc", 5, 4, true }, { "\0\3abc", 5, 3, false }, { "\0\3a\0c", 5, 4, false },
		{ "\0\4abc", 5, 9, false }, { "\xff\xff", 2, 9, false }, { "\0\0", 2, 1, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct wire_in in;
		char dst[16] = "zzzzzzzzzzz";

		wire_in_init(&in, cases[i].in, cases[i].len);
		wire_get_str(&in, dst, cases[i].size);
		assert_int_equal(wire_in_ok(&in), cases[i].ok);
		if (!cases[i].ok)
			assert_string_equal(dst, "");
	}
	struct wire_in in;

	wire_in_init(&in, "\xff\xff\xff\xff" "abc", 7);
	assert_int_equal(wire_get_bytes(&in).len, 0);
	assert_false(wire_in_ok(&in));
}

static void
test_gen(void **state)
{
	struct gen g = gen_make(7, 0, GEN_TAKEOVER, 3, 1234), back, other = gen_make(7, 0,
	    GEN_TAKEOVER, 3, 1234);
	struct wire_out o;
	struct wire_in in;

	(void)state;
	assert_int_equal(gen_next_no(0, 0), 2);
	assert_int_equal(gen_next_no(0, 1), 1);
	assert_int_equal(gen_next_no(1, 1), 3);
	assert_int_equal(gen_next_no(2, 1), 3);
	assert_int_equal(g.no, 8);
	assert_false(gen_same(&g, &other));	/* equal number, another id */
	wire_out_init(&o);
	gen_put(&o, &g);
	for (size_t len = 0; len <= o.len; len++) {
		wire_in_init(&in, o.p, len);
		gen_get(&in, &back);
		assert_int_equal(wire_in_done(&in), len == o.len);
		assert_int_equal(back.no, len == o.len ? 8 : 0);
	}
	assert_true(gen_same(&g, &back));
	assert_int_equal(back.wall_ms, 1234);
	o.p[48] = GEN_MERGE + 1;		/* a kind that nobody writes */
	wire_in_init(&in, o.p, o.len);
	gen_get(&in, &back);
	assert_false(wire_in_ok(&in));
	wire_out_clear(&o);
}

static void
test_kinds(void **state)
{
	static const struct { enum gen_kind kind; const char *name; bool alone, gap; } cases[] = {
		{ GEN_NONE, "none", false, false }, { GEN_CLEAN, "clean", false, false },
		{ GEN_JOIN, "join", false, false }, { GEN_TAKEOVER, "takeover", true, true },
		{ GEN_PRESUMED, "presumed", true, true }, { GEN_SOLO, "solo", true, false },
		{ GEN_UNSAFE, "unsafe", true, false }, { GEN_FORCED, "forced", true, true },
		{ GEN_MERGE, "merge", false, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_string_equal(gen_kind_name(cases[i].kind), cases[i].name);
		assert_int_equal(gen_kind_alone(cases[i].kind), cases[i].alone);
		assert_int_equal(gen_kind_gap(cases[i].kind), cases[i].gap);
	}
	assert_string_equal(gen_kind_name((enum gen_kind)99), "unknown");
}

static void
test_state(void **state)
{
	struct data_state s = { .role = DATA_ACTIVE, .mode = DATA_SOLO, .rule = COMMIT_AVAILABLE,
		.gen = gen_make(1, 1, GEN_SOLO, 2, 5), .durable_lsn = 10, .commit_lsn = 9,
		.applied_lsn = 8, .at_risk = 7, .alone_since_ms = 6, .peer_heard_ms = -1,
		.peer_every_ms = 250 }, back;
	struct wire_out o;
	struct wire_in in;

	(void)state;
	wire_out_init(&o);
	agentlink_put_state(&o, &s);
	for (size_t len = 0; len <= o.len; len++) {
		wire_in_init(&in, o.p, len);
		agentlink_get_state(&in, &back);
		assert_int_equal(wire_in_done(&in), len == o.len);
	}
	assert_int_equal(back.peer_heard_ms, -1);
	assert_int_equal(back.peer_every_ms, 250);
	assert_int_equal(back.at_risk, 7);
	assert_true(gen_same(&back.gen, &s.gen));
	o.p[1] = 99;
	wire_in_init(&in, o.p, o.len);
	agentlink_get_state(&in, &back);
	assert_false(wire_in_ok(&in));
	assert_string_equal(data_mode_name(DATA_FROZEN), "frozen");
	assert_string_equal(data_role_name(DATA_STANDBY), "standby");
	assert_string_equal(commit_rule_name(COMMIT_STRICT), "strict");
	wire_out_clear(&o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_failure_stays),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_gen),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
