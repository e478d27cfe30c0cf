/* test_line.c - the same table of inputs whole and byte by byte. */
#include <event2/buffer.h>

#include "line.h"
#include "unit.h"

#define MAX 8

struct line_case {
	const char *in;
	size_t len;
	const char *strict, *lenient;	/* what comes out: lines, each behind '>'; '!' = BAD */
};
#define IN(s) s, sizeof(s) - 1

static const struct line_case cases[] = {
	{ IN(""), "", "" },
	{ IN("\r\n"), ">", ">" },
	{ IN("abc\r\n"), ">abc", ">abc" },
	{ IN("abc\r\ndef\r\n"), ">abc>def", ">abc>def" },
	{ IN("12345678\r\n"), ">12345678", ">12345678" },
	{ IN("123456789\r\nx\r\n"), "!>x", "!>x" },
	{ IN("1234567890123\r\nx\r\n"), "!>x", "!>x" },
	{ IN("abc\ndef\r\n"), "!>def", ">abc>def" },
	{ IN("abc\rdef\r\nx\r\n"), "!>x", "!>x" },
	{ IN("abc\r\r\nx\r\n"), "!>x", "!>x" },
	{ IN("a\0c\r\nx\r\n"), "!>x", "!>x" },
	{ IN("\n"), "!", ">" },
	{ IN("abc\r"), "", "" },
	{ IN("12345678\r"), "", "" },
	{ IN("123456789\r"), "!", "!" },
	{ IN("12345678\n"), "!", ">12345678" },
	{ IN("12345678\rx"), "!", "!" },
};

struct reader {
	struct evbuffer *in;
	bool lenient, skipping;
	char out[128];
};

/* What a session does with its input. */
static void
take(struct reader *r)
{
	struct line line;
	enum parse rc;

	for (;;) {
		if (r->skipping && evbuffer_get_length(r->in) == 0)
			return;
		if (r->skipping)
			r->skipping = !line_skip(r->in);
		if (r->skipping)
			return;
		rc = (r->lenient ? line_get_lf : line_get)(r->in, MAX, &line);
		if (rc == PARSE_MORE)
			return;
		if (rc == PARSE_OK) {
			strcat(r->out, ">");
			strcat(r->out, line.text);
			assert_int_equal(strlen(line.text), line.len);
		} else {
			assert_null(line.text);
			strcat(r->out, "!");
			r->skipping = true;
		}
		line_free(&line);
	}
}

static void
feed(const struct line_case *c, bool lenient, size_t step)
{
	struct reader r = { evbuffer_new(), lenient, false, "" };

	for (size_t i = 0; i < c->len; i += step) {
		evbuffer_add(r.in, c->in + i, c->len - i < step ? c->len - i : step);
		take(&r);
	}
	assert_string_equal(r.out, lenient ? c->lenient : c->strict);
	evbuffer_free(r.in);
}

static void
test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		for (int lenient = 0; lenient < 2; lenient++)
			for (size_t step = 1; step <= 20; step++)
				feed(&cases[i], lenient != 0, step);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_table) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
