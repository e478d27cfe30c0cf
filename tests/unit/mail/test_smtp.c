/* test_smtp.c - the pure parts of SMTP: envelope addresses, and the text of a message
 * in one piece, byte by byte and in all splits in two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "address.h"
#include "smtp_data.h"

static const struct path_case {
	const char *in;
	bool null, bare;
	enum parse rc;
	const char *out, *rest;
} paths[] = {
	{ "<a@b.example>", false, false, PARSE_OK, "a@b.example", "" },
	{ "<a@b.example> SIZE=1", false, false, PARSE_OK, "a@b.example", " SIZE=1" },
	{ "<A.b+c@B.Example>", false, false, PARSE_OK, "A.b+c@B.Example", "" },
	{ "<>", true, false, PARSE_OK, "", "" },
	{ "<>", false, false, PARSE_BAD, "", "" },
	{ "<postmaster>", false, true, PARSE_OK, "postmaster", "" },
	{ "<postmaster>", false, false, PARSE_BAD, "", "" },
	{ "<someone>", false, true, PARSE_BAD, "", "" },
	{ "<@x,@y:a@b>", false, false, PARSE_OK, "a@b", "" },
	{ "<@x,@y>", false, false, PARSE_BAD, "", "" },
	{ "<\"a\"@b>", false, false, PARSE_OK, "a@b", "" },
	{ "<\"a b\"@b>", false, false, PARSE_OK, "\"a b\"@b", "" },
	{ "<\"a>b\"@b>", false, false, PARSE_OK, "\"a>b\"@b", "" },
	{ "<\"a\\\"b\"@b>", false, false, PARSE_OK, "\"a\\\"b\"@b", "" },
	{ "<\"\"@b>", false, false, PARSE_BAD, "", "" },
	{ "<\"a@b>", false, false, PARSE_BAD, "", "" },
	{ "<a@[192.0.2.1]>", false, false, PARSE_OK, "a@[192.0.2.1]", "" },
	{ "<a@[IPv6:2001:db8::1]>", false, false, PARSE_OK, "a@[IPv6:2001:db8::1]", "" },
	{ "<a@[1>", false, false, PARSE_BAD, "", "" },
	{ "<.a@b>", false, false, PARSE_BAD, "", "" },
	{ "<a.@b>", false, false, PARSE_BAD, "", "" },
	{ "<a..b@c>", false, false, PARSE_BAD, "", "" },
	{ "<a@b..c>", false, false, PARSE_BAD, "", "" },
	{ "<a@-b>", false, false, PARSE_BAD, "", "" },
	{ "<a@b-.c>", false, false, PARSE_BAD, "", "" },
	{ "<a@b.>", false, false, PARSE_BAD, "", "" },
	{ "<a@>", false, false, PARSE_BAD, "", "" },
	{ "<@b>", false, false, PARSE_BAD, "", "" },
	{ "<a@b@c>", false, false, PARSE_BAD, "", "" },
	{ "<a b@c>", false, false, PARSE_BAD, "", "" },
	{ "a@b", false, false, PARSE_BAD, "", "" },
	{ "<a@b", false, false, PARSE_BAD, "", "" },
	{ "", false, false, PARSE_BAD, "", "" },
	{ "<", false, false, PARSE_BAD, "", "" },
	{ "<\x80@b>", false, false, PARSE_BAD, "", "" },
	{ "<a@\xc3\xb6.example>", false, false, PARSE_BAD, "", "" },
};

static void
test_paths(void **state)
{
	char out[ADDRESS_MAX + 1], big[400];
	struct span rest;

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		const struct path_case *c = &paths[i];

		if (address_path(span_of(c->in), c->null, c->bare, out, &rest) != c->rc)
			fail_msg("%s", c->in);
		if (c->rc != PARSE_OK)
			continue;
		assert_string_equal(out, c->out);
		assert_true(span_is(rest, c->rest));
	}
	memset(big, 'a', sizeof(big));
	memcpy(big + 65, "@b.example", 11);
	assert_int_equal(address_mailbox(span_of(big), out), PARSE_BAD);	/* 65 bytes */
	assert_int_equal(address_mailbox(span_of(big + 1), out), PARSE_OK);
}

static const struct data_case {
	const char *in, *out, *left;
	bool bare, long_line, date, message_id;
	uint32_t received;
} datas[] = {
	{ ".\r\n", "", "", 0, 0, 0, 0, 0 },
	{ ".\r\nQUIT\r\n", "", "QUIT\r\n", 0, 0, 0, 0, 0 },
	{ "a\r\n.\r\n", "a\r\n", "", 0, 0, 0, 0, 0 },
	{ "..\r\n..x\r\n.y\r\n.\r\n", ".\r\n.x\r\ny\r\n", "", 0, 0, 0, 0, 0 },
	{ "a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", "", 1, 0, 0, 0, 0 },
	{ "a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", "", 1, 0, 0, 0, 0 },
	{ "a\r\n.\n.\r\n.\r\n", "a\r\n\n.\r\n", "", 1, 0, 0, 0, 0 },
	{ "a\r\n.\r.\r\n.\r\n", "a\r\n\r.\r\n", "", 1, 0, 0, 0, 0 },
	{ "a\rb\r\n.\r\n", "a\rb\r\n", "", 1, 0, 0, 0, 0 },
	{ "a\r\r\n.\r\n", "a\r\r\n", "", 1, 0, 0, 0, 0 },
	{ "12345678901234567890\r\n.\r\n", "12345678901234567890\r\n", "", 0, 1, 0, 0, 0 },
	{ "Date: x\r\nMESSAGE-id: y\r\n\r\nb\r\n.\r\n", "Date: x\r\nMESSAGE-id: y\r\n\r\nb\r\n", "",
	    0, 0, 1, 1, 0 },
	{ "a: b\r\n\r\nDate: x\r\n.\r\n", "a: b\r\n\r\nDate: x\r\n", "", 0, 0, 0, 0, 0 },
	{ "Received: 1\r\nX:\r\nreceived: 2\r\n.\r\n", "Received: 1\r\nX:\r\nreceived: 2\r\n", "", 0,
	    0, 0, 0, 2 },
	{ "Dated: x\r\n.\r\n", "Dated: x\r\n", "", 0, 0, 0, 0, 0 },
};

/* Feeds the case in pieces of n bytes (the first of `first`), and compares. */
static void
run_data(const struct data_case *c, size_t first, size_t n)
{
	size_t len = strlen(c->in), at = 0, have = 0, taken, got;
	struct smtp_data d;
	char out[512];
	enum parse rc = PARSE_MORE;

	smtp_data_init(&d, 15);
	for (size_t piece = first; rc == PARSE_MORE && at < len; piece = n) {
		if (piece > len - at)
			piece = len - at;
		rc = smtp_data_step(&d, (struct span){ c->in + at, piece }, &taken, out + have, &got);
		at += taken;
		have += got;
	}
	out[have] = '\0';
	assert_int_equal(rc, PARSE_OK);
	assert_string_equal(out, c->out);
	assert_string_equal(c->in + at, c->left);
	assert_int_equal(d.size, strlen(c->out));
	assert_int_equal(d.bare, c->bare);
	assert_int_equal(d.long_line, c->long_line);
	assert_int_equal(d.date, c->date);
	assert_int_equal(d.message_id, c->message_id);
	assert_int_equal(d.received, c->received);
}

static void
test_data(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(datas) / sizeof(datas[0]); i++) {
		run_data(&datas[i], 1000, 1000);
		run_data(&datas[i], 1, 1);
		for (size_t split = 1; split < strlen(datas[i].in); split++)
			run_data(&datas[i], split, 1000);
	}
}

/* Without the true end it never ends, whatever looks like one. */
static void
test_no_end(void **state)
{
	static const char *const ins[] = { "a\n.\n", "a\r.\r", "a\r\n.", "a\r\n.\r", "a\r\n..\r\n",
		"\n.\r\n", "\r.\r\n", "a.\r\n" };
	struct smtp_data d;
	size_t taken, got;
	char out[64];

	(void)state;
	for (size_t i = 0; i < sizeof(ins) / sizeof(ins[0]); i++) {
		smtp_data_init(&d, 100);
		if (smtp_data_step(&d, span_of(ins[i]), &taken, out, &got) != PARSE_MORE)
			fail_msg("case %zu", i);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_no_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
