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
    {"smart-host-credentials-file = \"/etc/x\"\n", "smart-host-credentials-file = \"/etc/x\"\n"},
    {"run with --passwd=abc now\n", "run with --passwd= REDACTED\n"},
    {"a=1 password hunter2\n", "(line with a secret) REDACTED\n"},
    {"-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\nabc=\n-----END EC PRIVATE "
     "KEY-----\nafter\n",
	"(private key) REDACTED\n\n\n\nafter\n"},
    {"fence \"ipmi\" {\n\tagent = \"fence_ipmilan\"\n\targs = { \"ip=10.0.0.9\", "
     "\"x=hunter2\" }\n"
     "}\nresource \"r\" {\n\targs = { \"a\" }\n}\n",
	"fence \"ipmi\" {\n\tagent = \"fence_ipmilan\"\n\targs = REDACTED\n}\n"
	"resource \"r\" {\n\targs = { \"a\" }\n}\n"},
    {"fence \"y\" {\n\targs = {\n\t\t\"ip=10.0.0.9\",\n\t\t\"apikey=hunter2\" }\n\tlevel = 1\n}\n"
     "args = 1\n",
	"fence \"y\" {\n\targs = REDACTED\n\n\n\tlevel = 1\n}\nargs = 1\n"},
    {"apikey=hunter2\n", "apikey= REDACTED\n"},
    {"fence \"x\" { args = { \"a=hunter2\" } }\nping = { \"192.0.2.1\" }\n",
	"fence \"x\" { args = REDACTED }\nping = { \"192.0.2.1\" }\n"},
    {"OCF_RESKEY_ip=192.0.2.5\nOCF_RESKEY_pwd=x\n", "OCF_RESKEY_ip=192.0.2.5\nOCF_RESKEY_pwd= REDACTED\n"},
    {"bypass the passes of keepalive\n", "bypass the passes of keepalive\n"},
    {"key-file = \"/etc/mailpair/cluster.key\"\n", "key-file = \"/etc/mailpair/cluster.key\"\n"},
    {"{\"token\":\"hunter2\",\"epoch\":7}\n", "{\"token\": REDACTED,\"epoch\":7}\n"},
    {"-----BEGIN PRIVATE KEY-----\\nhunter2\\n-----END PRIVATE KEY-----\nafter\n",
	"(private key) REDACTED\nafter\n"},
};

/* What must not be there afterwards: hunter2, wherever the layout puts it; what must:
 * "stays", which is no part of it.  %s stands for each name of a secret. */
static const char *const layouts[] = {
    "params = { \"%s=hunter2\", \"a=stays\" }\n",
    "params = { \"a=stays\", \"%s=hunter2\" }\n",
    "params={\"a=stays\",\"%s=hunter2\",\"b=c\"}\n",
    "params = {\n\t\"a=stays\",\n\t\"%s=hunter2\",\n\t\"b=c\"\n}\n",
    "params += { '%s=hunter2' }\na = stays\n",
    "params = { \"%s=two words hunter2\" }\na = stays\n",
    "params = { \"%s=a\\\"hunter2\" }\na = stays\n",
    "params = { \"%s=a\nhunter2\", \"a=stays\" }\n",
    "params = { \"%s=a\"hunter2, \"a=stays\" }\n",
    "params = { \"%s = hunter2\" } # stays\n",
    "params = { a=stays, %s=hunter2 }\n",
    "a=stays %s=hunter2 b=c\n",
    "a=stays;%s=hunter2;b=c\n",
    "a=stays\t%s\t=\thunter2\tb=c\n",
    "%s\t=\t\"hunter2\"\t# stays\n",
    "%s = 'hunter2'; a = stays\n",
    "%s=\"a\"hunter2\na = stays\n",
    "%s=it's hunter2\na = stays\n",
    "%s =\n\n\t\"hunter2\"\na = stays\n",
    "%s = \\\n hunter2\na = stays\n",
    "%s = a\\\nhunter2\na = stays\n",
    "%s = # a comment\n\"hunter2\"\na = stays\n",
    "%s = // a comment\n\"hunter2\"\na = stays\n",
    "%s /* a */ = /* b\n */ \"hunter2\"\na = stays\n",
    "%s = #hunter2\n\na = \"b\"\n# stays\n",
    "# %s = hunter2\na = stays\n",
    "/* stays %s = \"hunter2\" */\n",
    "// %s: hunter2\na = stays\n",
    "%s = { \"a\", \"hunter2\" }\na = stays\n",
    "%s = {\n\t\"}\",\n# }\n/*/ } */\n\t\"hunter2\" }\na = stays\n",
    "%s { x = \"hunter2\" }\na = stays\n",
    "\"%s\" : \"hunter2\", \"a\": \"stays\"\n",
    "\"text\": \"%s=\\\"hunter2\\\" x\", \"a\": \"stays\"\n",
    "\"%s\": [ \"hunter2\" ], \"a\": \"stays\"\n",
    "run --%s hunter2\na = stays\n",
    "run --%s=hunter2\na = stays\n",
    "args = { \"--stays\", \"--%s\", \"hunter2\" }\n",
    "command = \"x --%s hunter2 y\"\na = stays\n",
    "my_%s=hunter2\na = stays\n",
    "OCF_RESKEY_%s2=hunter2\na = stays\n",
    "%s = \"never closed hunter2\n",
    "%s = hunter2",
};

/* Whatever a fence section looks like, its arguments go. */
static const char *const fences[] = {
    "fence \"a\" {\n args = { \"hunter2\" }\n agent = \"stays\"\n}\n",
    "fence \"a\" { args = { \"hunter2\" } level = 1 agent = \"stays\" }\n",
    "a = 1 } fence \"a\" { args += { \"hunter2\" } } # stays\n",
    "/* x */ fence a { args = { 'hunter2' } } # stays\n",
    "FENCE\n\"a\" # c\n{\nargs =\n{ \"x\",\n\"hunter2\"\n}\nstays = 1\n}\n",
    "fence \"}\" { x = \"}\" # }\n // }\n /*/ } */\n args = { \"hunter2\" } stays = 1 }\n",
    "fence \"a\" { x = \"\\\\\" y = '}' args = { \"a}\",\n\"hunter2\" } stays = 1 }\n",
    "fence \"a\" { # it's\n args = { \"# }\", \"hunter2\" } stays = 1 }\n",
    "fence \"a\" { password = y args = {\n\"hunter2\"\n} }\nstays = 1\n",
    "fence \"a\" { # secret }\n args = { \"hunter2\" } stays = 1 }\n",
    "fence \"a\" { x { y = 1 } args = {\n\"hunter2\" } stays = 1 }\n",
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

static void
check_hidden(const char *in)
{
	char *text = redacted(span_of(in));
	size_t lines = 0, out_lines = 0;

	for (const char *p = in; *p != '\0'; p++)
		lines += *p == '\n' || p[1] == '\0';
	for (const char *p = text; *p != '\0'; p++)
		out_lines += *p == '\n';
	if (strstr(text, "hunter2") != NULL)
		fail_msg("it is still there: %s\nof: %s", text, in);
	if (strstr(in, "stays") != NULL && strstr(text, "stays") == NULL)
		fail_msg("too much is gone: %s\nof: %s", text, in);
	if (lines != out_lines)
		fail_msg("lines are gone: %s\nof: %s", text, in);
	free(text);
}

static void
hostile_layouts(void **state)
{
	static const char *const names[] = {"pass", "passwd", "password", "pwd", "secret", "key",
	    "token", "community", "Passwd", "PWD", "ApiKey", "login_pass", "admin-pwd", "psk",
	    "ssh_key", "credentials", "passphrase"};

	(void)state;
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
			const char *at = strstr(layouts[i], "%s");
			char in[300];

			snprintf(in, sizeof(in), "%.*s%s%s", (int)(at - layouts[i]), layouts[i],
			    names[k], at + 2);
			check_hidden(in);
		}
	for (size_t i = 0; i < sizeof(fences) / sizeof(fences[0]); i++)
		check_hidden(fences[i]);
}

/* Each beginning and each end of every layout: nothing is read outside of it. */
static void
torn(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
		for (size_t len = 0; len <= strlen(layouts[i]); len++) {
			char *copy = malloc(len > 0 ? len : 1);

			assert_non_null(copy);
			memcpy(copy, layouts[i], len);
			free(redacted((struct span){copy, len}));
			memcpy(copy, layouts[i] + strlen(layouts[i]) - len, len);
			free(redacted((struct span){copy, len}));
			free(copy);
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
	    cmocka_unit_test(texts), cmocka_unit_test(hostile_layouts), cmocka_unit_test(torn),
	    cmocka_unit_test(a_key_anywhere)};

	return cmocka_run_group_tests_name("redact", tests, NULL, NULL);
}
