/* test_imap_parse.c - the words of IMAP, whole and every prefix; and commands put
 * together from bytes in pieces of every size. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "imap_fetch.h"
#include "imap_input.h"
#include "imap_parse.h"
#include "imap_search.h"
#include "store.h"

static struct arena arena;

enum what { ATOM, ASTRING, SET, FLAGS, BARE_FLAGS, DATETIME, DATE, FETCH, SEARCH };

static enum parse
parse(enum what what, struct span in, char *shown, size_t size)
{
	struct imap_cur c;
	struct span s;
	struct imap_set set;
	struct imap_flags f;
	struct imap_fetch fetch;
	struct search_node *node;
	int64_t n;
	enum parse rc = PARSE_BAD;

	shown[0] = '\0';
	arena_clear(&arena);
	imap_cur_init(&c, in, &arena);
	switch (what) {
	case ATOM:
	case ASTRING:
		rc = what == ATOM ? imap_get_atom(&c, &s) : imap_get_astring(&c, &s);
		if (rc == PARSE_OK)
			snprintf(shown, size, "%.*s", (int)s.len, s.p);
		break;
	case SET:
		rc = imap_get_set(&c, &set);
		for (size_t i = 0; rc == PARSE_OK && i < set.n; i++)
			snprintf(shown + strlen(shown), size - strlen(shown), "%u:%u ",
			    set.r[i].lo, set.r[i].hi);
		break;
	case FLAGS:
	case BARE_FLAGS:
		rc = imap_get_flags(&c, what == BARE_FLAGS, &f);
		if (rc == PARSE_OK)
			snprintf(shown, size, "%u %s", f.bits, f.keywords);
		break;
	case DATETIME:
	case DATE:
		rc = what == DATE ? imap_get_date(&c, &n) : imap_get_datetime(&c, &n);
		if (rc == PARSE_OK)
			snprintf(shown, size, "%lld", (long long)n);
		break;
	case FETCH:
		rc = imap_get_fetch(&c, &fetch);
		if (rc == PARSE_OK)
			snprintf(shown, size, "%u %d", fetch.items, fetch.sets_seen);
		break;
	case SEARCH:
		return imap_get_search(&c, &node) == SEARCH_OK ? PARSE_OK : PARSE_BAD;
	}
	if (rc == PARSE_OK && c.p != c.end)
		return PARSE_BAD;
	return rc;
}

static const struct {
	enum what what;
	const char *in;
	enum parse rc;
	const char *shown;
} cases[] = {
	{ ATOM, "abc", PARSE_OK, "abc" },
	{ ATOM, "", PARSE_MORE, "" },
	{ ATOM, "(", PARSE_BAD, "" },
	{ ATOM, "a]", PARSE_BAD, "" },
	{ ASTRING, "a]", PARSE_OK, "a]" },
	{ ASTRING, "\"a b\"", PARSE_OK, "a b" },
	{ ASTRING, "\"a\\\"\\\\b\"", PARSE_OK, "a\"\\b" },
	{ ASTRING, "\"a\\b\"", PARSE_BAD, "" },
	{ ASTRING, "\"a", PARSE_MORE, "" },
	{ ASTRING, "\"\"", PARSE_OK, "" },
	{ ASTRING, "{3}\r\nabc", PARSE_OK, "abc" },
	{ ASTRING, "{3+}\r\nabc", PARSE_OK, "abc" },
	{ ASTRING, "{4}\r\nabc", PARSE_MORE, "" },
	{ ASTRING, "{0}\r\n", PARSE_OK, "" },
	{ ASTRING, "{99999999999}\r\n", PARSE_BAD, "" },
	{ ASTRING, "{-1}\r\n", PARSE_BAD, "" },
	{ SET, "1", PARSE_OK, "1:1 " },
	{ SET, "1:*,7,9:3", PARSE_OK, "1:0 7:7 9:3 " },
	{ SET, "*", PARSE_OK, "0:0 " },
	{ SET, "0", PARSE_BAD, "" },
	{ SET, "1,", PARSE_MORE, "" },
	{ SET, "1:", PARSE_MORE, "" },
	{ SET, "4294967295", PARSE_OK, "4294967295:4294967295 " },
	{ SET, "4294967296", PARSE_BAD, "" },
	{ SET, "1::2", PARSE_BAD, "" },
	{ FLAGS, "()", PARSE_OK, "0 " },
	{ FLAGS, "(\\Seen \\deleted)", PARSE_OK, "9 " },
	{ FLAGS, "(b a B $x)", PARSE_OK, "0 $x a b" },
	{ FLAGS, "(\\Recent)", PARSE_BAD, "" },
	{ FLAGS, "(\\*)", PARSE_BAD, "" },
	{ FLAGS, "\\Seen", PARSE_BAD, "" },
	{ BARE_FLAGS, "\\Seen x", PARSE_OK, "1 x" },
	{ DATETIME, "\" 1-Jan-1970 00:00:00 +0000\"", PARSE_OK, "0" },
	{ DATETIME, "\"24-Dec-2025 10:00:00 +0100\"", PARSE_OK, "1766566800" },
	{ DATETIME, "\"29-Feb-2024 23:59:60 -0130\"", PARSE_OK, "1709256600" },
	{ DATETIME, "\"24-Dex-2025 10:00:00 +0100\"", PARSE_BAD, "" },
	{ DATETIME, "\"24-Dec-2025 25:00:00 +0100\"", PARSE_BAD, "" },
	{ DATE, "1-Jan-1970", PARSE_OK, "0" },
	{ DATE, "\"2-Jan-1970\"", PARSE_OK, "1" },
	{ DATE, "32-Jan-1970", PARSE_BAD, "" },
	{ FETCH, "ALL", PARSE_OK, "29 0" },
	{ FETCH, "(FLAGS UID)", PARSE_OK, "3 0" },
	{ FETCH, "(FLAGS FAST)", PARSE_BAD, "" },
	{ FETCH, "BODY", PARSE_OK, "32 0" },
	{ FETCH, "BODY[]", PARSE_OK, "0 1" },
	{ FETCH, "BODY.PEEK[]<0.1>", PARSE_OK, "0 0" },
	{ FETCH, "BODY[]<0.0>", PARSE_BAD, "" },
	{ FETCH, "BODY[1.2.HEADER.FIELDS (a \"b\")]", PARSE_OK, "0 1" },
	{ FETCH, "BODY[1.]", PARSE_BAD, "" },
	{ FETCH, "BODY[.1]", PARSE_BAD, "" },
	{ FETCH, "BODY[HEADER.FIELDS ()]", PARSE_BAD, "" },
	{ FETCH, "BODY[HEADERS]", PARSE_BAD, "" },
	{ FETCH, "RFC822.PEEK ", PARSE_BAD, "" },
	{ FETCH, "RFC822.PEEK", PARSE_MORE, "" },
	{ SEARCH, "CHARSET UTF-8 OR SEEN NOT (FROM \"x\" 1:*)", PARSE_OK, "" },
	{ SEARCH, "UID 1:2 LARGER 5 SINCE 1-Jan-2024", PARSE_OK, "" },
	{ SEARCH, "()", PARSE_BAD, "" },
	{ SEARCH, "OR SEEN", PARSE_BAD, "" },
	{ SEARCH, "SUBJECT", PARSE_BAD, "" },
};

/* A prefix of something valid is never called bad; and nothing reads past the end:
 * each prefix is in memory of its own, for the sanitizer. */
static void
try_prefixes(enum what what, const char *in)
{
	char shown[512], *copy;
	size_t len = strlen(in);

	for (size_t n = 0; n < len; n++) {
		copy = malloc(n + 1);
		memcpy(copy, in, n);
		if (parse(what, (struct span) { copy, n }, shown, sizeof(shown)) == PARSE_BAD &&
		    what != SEARCH)
			fail_msg("prefix %zu of %s is bad", n, in);
		free(copy);
	}
}

static void
test_words(void **state)
{
	char shown[512];
	enum parse rc;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		rc = parse(cases[i].what, span_of(cases[i].in), shown, sizeof(shown));
		if (rc != cases[i].rc || (rc == PARSE_OK && strcmp(shown, cases[i].shown) != 0))
			fail_msg("case %zu %s: rc=%d %s", i, cases[i].in, (int)rc, shown);
		if (rc == PARSE_OK)
			try_prefixes(cases[i].what, cases[i].in);
	}
}

/* Deep nesting and endless lists end in an error, not in the stack. */
static void
test_bounds(void **state)
{
	static char deep[200001], shown[8];

	(void)state;
	memset(deep, '(', 200000);
	assert_int_equal(parse(SEARCH, (struct span) { deep, 200000 }, shown, sizeof(shown)),
	    PARSE_BAD);
	for (size_t i = 0; i + 4 <= 200000; i += 4)
		memcpy(deep + i, "NOT ", 4);
	assert_int_equal(parse(SEARCH, (struct span) { deep, 200000 }, shown, sizeof(shown)),
	    PARSE_BAD);
}

static const struct {
	const char *in;
	const char *events;	/* C command, L literal taken, B bad; then the text */
} streams[] = {
	{ "a NOOP\r\n", "C[a NOOP]" },
	{ "a NOOP\n", "C[a NOOP]" },
	{ "a X {3}\r\nabc\r\n", "LC[a X {3}\r\nabc]" },
	{ "a X {3+}\r\nabc {0}\r\n y\r\n", "LLC[a X {3+}\r\nabc {0}\r\n y]" },
	{ "a {2}\r\n\r\n\r\nb\r\n", "LC[a {2}\r\n\r\n]C[b]" },
	{ "a \"{3}\"\r\n", "C[a \"{3}\"]" },
	{ "0123456789012345678901234567890123456789\r\nb\r\n", "BC[b]" },
	{ "\r\n", "C[]" },
};

static void
run_stream(const char *in, size_t piece, char *events)
{
	struct imap_input input;
	size_t len = strlen(in), at = 0, used, n;
	enum imap_in rc;
	struct span text;

	events[0] = '\0';
	imap_input_init(&input, 32);
	while (at < len) {
		n = len - at < piece ? len - at : piece;
		rc = imap_input_feed(&input, in + at, n, &used);
		assert_true(used <= n);
		at += used;
		if (rc == IMAP_IN_LITERAL) {
			strcat(events, "L");
			imap_input_take(&input);
		} else if (rc == IMAP_IN_COMMAND) {
			text = imap_input_text(&input);
			sprintf(events + strlen(events), "C[%.*s]", (int)text.len, text.p);
			imap_input_next(&input);
		} else if (rc == IMAP_IN_BAD) {
			strcat(events, "B");
			imap_input_next(&input);
		}
	}
	imap_input_clear(&input);
}

static void
test_input(void **state)
{
	char events[1000];

	(void)state;
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++)
		for (size_t piece = 1; piece < 60; piece++) {
			run_stream(streams[i].in, piece, events);
			if (strcmp(events, streams[i].events) != 0)
				fail_msg("stream %zu by %zu: %s", i, piece, events);
		}
}

static void
test_literal_mark(void **state)
{
	uint64_t n;
	bool plus;

	(void)state;
	assert_true(imap_literal_mark(SPAN("a {12}"), &n, &plus) && n == 12 && !plus);
	assert_true(imap_literal_mark(SPAN("{0+}"), &n, &plus) && n == 0 && plus);
	assert_true(imap_literal_mark(SPAN("{99999999999999999999999}"), &n, &plus) &&
	    n == UINT64_MAX / 2);
	assert_false(imap_literal_mark(SPAN("{}"), &n, &plus));
	assert_false(imap_literal_mark(SPAN("{+}"), &n, &plus));
	assert_false(imap_literal_mark(SPAN("12}"), &n, &plus));
	assert_false(imap_literal_mark(SPAN("{1a}"), &n, &plus));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_input),
		cmocka_unit_test(test_literal_mark),
	};
	int rc;

	arena_init(&arena, 4u << 20);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	arena_clear(&arena);
	return rc;
}
