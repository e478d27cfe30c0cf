/* test_span.c - spans and their little parsers. */
#include "span.h"
#include "unit.h"

static void
test_u64(void **state)
{
	static const struct { const char *in; uint64_t max; enum parse rc; uint64_t out; } cases[] = {
		{ "0", UINT64_MAX, PARSE_OK, 0 },
		{ "7", 7, PARSE_OK, 7 },
		{ "8", 7, PARSE_BAD, 0 },
		{ "007", 7, PARSE_OK, 7 },
		{ "18446744073709551615", UINT64_MAX, PARSE_OK, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, PARSE_BAD, 0 },
		{ "4294967297", UINT32_MAX, PARSE_BAD, 0 },	/* 2^32 + 1 would wrap to 1 */
		{ "99999999999999999999999", UINT64_MAX, PARSE_BAD, 0 },
		{ "", 9, PARSE_BAD, 0 }, { "-1", 9, PARSE_BAD, 0 }, { "+1", 9, PARSE_BAD, 0 },
		{ " 1", 9, PARSE_BAD, 0 }, { "1 ", 9, PARSE_BAD, 0 }, { "0x1", 9, PARSE_BAD, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t out = 4711;

		assert_int_equal(span_u64(span_of(cases[i].in), cases[i].max, &out), cases[i].rc);
		assert_int_equal(out, cases[i].rc == PARSE_OK ? cases[i].out : 4711);
	}
}

static void
test_cut(void **state)
{
	static const struct { const char *in; size_t n; const char *tokens[4]; } cases[] = {
		{ "a,b,c", 3, { "a", "b", "c" } }, { "a,", 2, { "a", "" } }, { "", 1, { "" } },
		{ ",", 2, { "", "" } }, { "abc", 1, { "abc" } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct span rest = span_of(cases[i].in), token;
		size_t n = 0;

		while (span_cut(&rest, ',', &token)) {
			assert_true(n < cases[i].n);
			assert_true(span_is(token, cases[i].tokens[n++]));
		}
		assert_int_equal(n, cases[i].n);
	}
}

static void
test_compare(void **state)
{
	(void)state;
	assert_true(span_is_nocase(SPAN("StArTtLs"), "STARTTLS"));
	assert_false(span_is_nocase(SPAN("STARTTL"), "STARTTLS"));
	assert_false(span_is_nocase(SPAN("[\\]"), "{|}"));	/* 0x20 apart, no letters */
	assert_false(span_is(SPAN("a\0b"), "a"));
	assert_true(span_eq(span_of(NULL), span_of("")));
	assert_true(span_starts_nocase(SPAN("mail from:<a>"), "MAIL FROM:"));
	assert_false(span_starts_nocase(SPAN("mail"), "MAIL FROM:"));
	assert_true(span_is(span_trim(SPAN(" \t a b\t ")), "a b"));
	assert_true(span_is(span_trim(SPAN(" \t ")), ""));
}

static void
test_copy(void **state)
{
	char buf[4] = "xyz", *dup;

	(void)state;
	assert_int_equal(span_copy(SPAN("abcd"), buf, sizeof(buf)), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_string_equal(buf, "xyz");
	assert_int_equal(span_copy(SPAN("abc"), buf, sizeof(buf)), 0);
	assert_string_equal(buf, "abc");
	dup = span_dup((struct span){ NULL, 0 });
	assert_string_equal(dup, "");
	free(dup);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_u64),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
