/* test_envelope.c - addresses as people and programs write them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "envelope.h"

static const struct {
	const char *in, *shown;		/* name|route|mailbox|host; "-" is none */
} cases[] = {
	{ "", "" },
	{ "a@b.c", "-|-|a|b.c;" },
	{ "<a@b.c>", "-|-|a|b.c;" },
	{ "A B <a@b.c>", "A B|-|a|b.c;" },
	{ "\"B, A\" <a@b.c>", "B, A|-|a|b.c;" },
	{ "\"say \\\"x\\\"\" <a@b.c>", "say \"x\"|-|a|b.c;" },
	{ "a@b.c (A (x) B)", "A (x) B|-|a|b.c;" },
	{ "a@b.c, d@e.f", "-|-|a|b.c;-|-|d|e.f;" },
	{ ", ,a@b.c,,", "-|-|a|b.c;" },
	{ "g: a@b.c, d@e.f;, h@i", "-|-|g|-;-|-|a|b.c;-|-|d|e.f;-|-|-|-;-|-|h|i;" },
	{ "undisclosed-recipients:;", "-|-|undisclosed-recipients|-;-|-|-|-;" },
	{ "g: a@b.c", "-|-|g|-;-|-|a|b.c;-|-|-|-;" },
	{ "<@x,@y:a@b.c>", "-|@x,@y|a|b.c;" },
	{ "\"quo ted\"@b.c", "-|-|quo ted|b.c;" },
	{ "a@[192.0.2.1]", "-|-|a|[192.0.2.1];" },
	{ "root", "-|-|root|MISSING_DOMAIN;" },
	{ "<>", "-|-|MISSING_MAILBOX|MISSING_DOMAIN;" },
	{ "A <a@b.c", "A|-|a|b.c;" },
	{ "a @ b . c", "-|-|a|b.c;" },
	{ "=?utf-8?q?x?= <a@b.c>", "=?utf-8?q?x?=|-|a|b.c;" },
	{ "\"open <a@b.c>", "-|-|open <a@b.c>|MISSING_DOMAIN;" },
	{ "A\r\n B <a@b.c>", "A B|-|a|b.c;" },
	{ "a@b@c", "-|-|a|b;" },
};

static void
show(struct span in, char *out)
{
	struct address_parser p;
	struct address a;

	out[0] = '\0';
	address_init(&p, in);
	while (address_next(&p, &a))
		sprintf(out + strlen(out), "%s|%s|%s|%s;", a.name != NULL ? a.name : "-",
		    a.route != NULL ? a.route : "-", a.mailbox != NULL ? a.mailbox : "-",
		    a.host != NULL ? a.host : "-");
	address_clear(&p);
}

static void
test_addresses(void **state)
{
	char shown[1000];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		show(span_of(cases[i].in), shown);
		if (strcmp(shown, cases[i].shown) != 0)
			fail_msg("%s: %s", cases[i].in, shown);
	}
}

/* Every prefix ends, inside its own memory. */
static void
test_prefixes(void **state)
{
	char shown[1000], *copy;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t n = 0; n < strlen(cases[i].in); n++) {
			copy = malloc(n + 1);
			memcpy(copy, cases[i].in, n);
			show((struct span) { copy, n }, shown);
			free(copy);
		}
}

static void
test_text(void **state)
{
	size_t len;
	char *text = header_text(span_of("  a\r\n b \r\n"), &len);

	(void)state;
	assert_string_equal(text, "a b");
	assert_int_equal(len, 3);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
