/* test_redact.c - what leaves the machine in a report, as a table of texts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redact.h"

#define KEY "0123456789abcdef0123456789ABCDEF"

static const struct {
	const char *in, *out;
} cases[] = {
    {"cluster = \"mail\"\n", "cluster = \"mail\"\n"},
    {"no end of line", "no end of line\n"},
    {"", ""},
    {"\n\n", "\n\n"},
    {"key " KEY " end\n", "key REDACTED end\n"},
    {"key " KEY KEY "\n", "key REDACTED\n"},
    {"certificate = \"sha256:" KEY KEY "\"\n", "certificate = \"sha256:" KEY KEY "\"\n"},
    {"digest 0123456789abcdef\n", "digest 0123456789abcdef\n"},
    {"password = \"x y\"\n", "password = REDACTED\n"},
    {"  Secret: abc\n", "  Secret: REDACTED\n"},
    {"smart-host-credentials-file = \"/etc/x\"\n", "(line with a secret) REDACTED\n"},
    {"run with --passwd=abc now\n", "run with --passwd= REDACTED\n"},
    {"a=1 password hunter2\n", "(line with a secret) REDACTED\n"},
    {"-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\nabc=\n-----END EC PRIVATE "
     "KEY-----\nafter\n",
	"(private key) REDACTED\n\n\n\nafter\n"},
    {"fence \"ipmi\" {\n\tagent = \"fence_ipmilan\"\n\targs = { \"ip=10.0.0.9\", "
     "\"x=hunter2\" }\n"
     "}\nresource \"r\" {\n\targs = { \"a\" }\n}\n",
	"fence \"ipmi\" {\n\tagent = \"fence_ipmilan\"\n\targs = { REDACTED }\n}\n"
	"resource \"r\" {\n\targs = { \"a\" }\n}\n"},
    {"fence \"y\" {\n\targs = {\n\t\t\"ip=10.0.0.9\",\n\t\t\"apikey=hunter2\" }\n\tlevel = 1\n}\n"
     "args = 1\n",
	"fence \"y\" {\n\targs = { REDACTED }\nREDACTED\nREDACTED\n\tlevel = 1\n}\nargs = 1\n"},
    {"apikey=hunter2\n", "apikey= REDACTED\n"},
    {"fence \"x\" { args = { \"a=hunter2\" } }\nping = { \"192.0.2.1\" }\n",
	"(fence section) REDACTED\nping = { \"192.0.2.1\" }\n"},
};

static char *
redacted(struct span in)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	redact(in, f);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void
texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = redacted(span_of(cases[i].in));

		if (strcmp(text, cases[i].out) != 0)
			fail_msg("case %zu: %s", i, text);
		free(text);
	}
}

/* Nothing in front of or behind a key hides it. */
static void
a_key_anywhere(void **state)
{
	char in[200];

	(void)state;
	for (size_t at = 0; at < 64; at++) {
		char *text;

		memset(in, ' ' + (int)(at % 13), sizeof(in));
		memcpy(in + at, KEY KEY, 64);
		text = redacted((struct span){in, sizeof(in)});
		assert_null(strstr(text, KEY));
		free(text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(texts), cmocka_unit_test(a_key_anywhere)};

	return cmocka_run_group_tests_name("redact", tests, NULL, NULL);
}
