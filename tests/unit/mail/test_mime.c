/* test_mime.c - the structure of good and broken mail; header fields; decoded text. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mime.h"
#include "mime_text.h"

#define MP "Content-Type: multipart/mixed; boundary=x\r\n\r\n"

/* L leaf, M(...) multipart, R(...) message; with the body of leaves in quotes */
static void
show(const struct mime *m, int i, char *out)
{
	const struct mime_part *p = &m->part[i];

	if (p->kind == MIME_LEAF) {
		sprintf(out + strlen(out), "'%.*s'", (int)p->body.len, p->body.p);
		return;
	}
	strcat(out, p->kind == MIME_MULTIPART ? "M(" : "R(");
	for (int c = p->child; c >= 0; c = m->part[c].next)
		show(m, c, out);
	strcat(out, ")");
}

static const struct {
	const char *in, *shown;
} cases[] = {
	{ "", "''" },
	{ "A: b\r\n\r\ntext", "'text'" },
	{ "A: b\r\n", "''" },
	{ "\r\ntext", "'text'" },
	{ MP "pre\r\n--x\r\n\r\none\r\n--x\r\n\r\ntwo\r\n--x--\r\nepi", "M('one''two')" },
	{ MP "--x\r\n\r\none", "M('one')" },
	{ MP "--x\r\n\r\none\r\n--x\r\n", "M('one''')" },
	{ MP "--x\r\nA: b\r\n--x--", "M('')" },
	{ MP "--x  \r\n\r\none\r\n--x-- \t\r\n", "M('one')" },
	{ MP "no parts here", "'no parts here'" },
	{ "Content-Type: multipart/mixed\r\n\r\nno boundary", "'no boundary'" },
	{ MP "--x\n\none\n--x--\n", "M('one')" },
	{ MP "--x\r\nContent-Type: multipart/alternative; boundary=\"xx y\"\r\n\r\n"
	  "--xx y\r\n\r\ninner\r\n--x\r\n\r\nouter\r\n--x--", "M(M('inner')'outer')" },
	{ MP "--x\r\nContent-Type: message/rfc822\r\n\r\nS: t\r\n\r\nin\r\n--x--", "M(R('in'))" },
	{ "Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\n\r\nx",
	  "R(R('x'))" },
	{ "Content-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\nS: t\r\n\r\nin\r\n--x--",
	  "M(R('in'))" },
	{ "Content-Type: garbage\r\n\r\nx", "'x'" },
	{ "content-type:\r\n multipart/mixed;\r\n\tboundary=x\r\n\r\n--x\r\n\r\no\r\n--x--", "M('o')" },
};

static void
test_structure(void **state)
{
	char shown[1000];
	struct mime m;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		shown[0] = '\0';
		mime_parse(&m, span_of(cases[i].in));
		show(&m, 0, shown);
		mime_clear(&m);
		if (strcmp(shown, cases[i].shown) != 0)
			fail_msg("case %zu: %s", i, shown);
	}
}

/* Each prefix is a message too: it has a structure, inside its own memory. */
static void
test_prefixes(void **state)
{
	struct mime m;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t n = 0; n <= strlen(cases[i].in); n++) {
			char *copy = malloc(n + 1);

			memcpy(copy, cases[i].in, n);
			mime_parse(&m, (struct span) { copy, n });
			for (size_t k = 0; k < m.n; k++) {
				assert_true(m.part[k].head.p >= copy);
				assert_true(m.part[k].body.p + m.part[k].body.len <= copy + n);
			}
			mime_clear(&m);
			free(copy);
		}
}

static void
test_bounds(void **state)
{
	const size_t depth = 500, parts = MIME_PARTS_MAX * 2;
	char *text = malloc(depth * 80 + parts * 10 + 100), *p = text;
	struct mime m;

	(void)state;
	for (size_t i = 0; i < depth; i++)
		p += sprintf(p, "Content-Type: multipart/mixed; boundary=b%04zu\r\n\r\n--b%04zu\r\n", i, i);
	mime_parse(&m, (struct span) { text, (size_t)(p - text) });
	assert_true(m.n <= MIME_DEPTH_MAX + 2);
	mime_clear(&m);
	p = text + sprintf(text, MP);
	for (size_t i = 0; i < parts; i++)
		p += sprintf(p, "--x\r\n\r\n");
	mime_parse(&m, (struct span) { text, (size_t)(p - text) });
	assert_int_equal(m.n, MIME_PARTS_MAX);
	mime_clear(&m);
	p = text;
	for (size_t i = 0; i < depth; i++)
		p += sprintf(p, "Content-Type: message/rfc822\r\n\r\n");
	mime_parse(&m, (struct span) { text, (size_t)(p - text) });
	assert_true(m.n <= MIME_DEPTH_MAX + 1);
	mime_clear(&m);
	free(text);
}

static const struct {
	const char *in, *text;
} words[] = {
	{ " plain ", "plain" },
	{ "=?utf-8?Q?a_b=C3=BC?=", "a b\xc3\xbc" },
	{ "=?ISO-8859-1?q?=FC?= =?utf-8?B?w7w=?=", "\xc3\xbc\xc3\xbc" },
	{ "=?utf-8?q?a?=\r\n =?utf-8?q?b?= c", "ab c" },
	{ "=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c" },
	{ "=?utf-8?X?a?=", "=?utf-8?X?a?=" },
	{ "=?utf-8?q?a", "=?utf-8?q?a" },
	{ "=?utf-8*en?q?a?=", "a" },
	{ "=?", "=?" },
	{ "=\?\?\?\?\?=", "=\?\?\?\?\?=" },
};

static void
test_words(void **state)
{
	char *text;

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		text = text_header(span_of(words[i].in));
		if (strcmp(text, words[i].text) != 0)
			fail_msg("case %zu: %s", i, text);
		free(text);
	}
	text = text_fold(span_of("A\xc3\x9c \xd0\x9f \xce\xa3 \xfc"));
	assert_string_equal(text, "a\xc3\xbc \xd0\xbf \xcf\x83 \xc3\xbc");
	free(text);
}

/* A needle is found wherever it lies, also across the blocks. */
static void
test_match(void **state)
{
	struct text_match m;
	struct mime mime;
	const size_t len = 100000;
	char *text = malloc(len + 100), *body;

	(void)state;
	body = text + sprintf(text, "Content-Type: text/plain; charset=utf-8\r\n\r\n");
	for (size_t at = 0; at < len - 20; at += 997) {
		memset(body, 'x', len - 50);
		memcpy(body + at % (len - 100), "N\xc3\x96" "edle", 7);
		mime_parse(&mime, (struct span) { text, (size_t)(body - text) + len - 50 });
		text_match_init(&m, "n\xc3\xb6" "edle");
		text_body(&mime.part[0], &m);
		assert_true(text_match_end(&m));
		text_match_clear(&m);
		mime_clear(&mime);
	}
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_structure),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_match),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
