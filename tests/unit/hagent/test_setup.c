/* test_setup.c - answers of a new pair as a table, the files made of them, and the bundle
 * for the other node: whole, cut at every byte, and changed at every byte. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bundle.h"
#include "mem.h"
#include "setup.h"

#define C "cluster = mail.example.org\n"
#define N1 "node-1 = ha-1 192.0.2.11\n"
#define N2 "node-2 = ha-2 192.0.2.12\n"
#define S "second-path = eth1 10.1.0.1 10.1.0.2 /dev/ttyS0\n"
#define V "vip = 192.0.2.5/24 eth0\n"
#define P "ping = 192.0.2.1\n"

static const struct {
	const char *text;
	int line;	  /* of the mistake; 0 the whole */
	const char *want; /* in hagent.conf; with ! a mistake */
} cases[] = {
    {C N1 N2 S V P, 0, "\"ha-1=10.1.0.1\", \"ha-2=10.1.0.2\""},
    {C N1 N2 S V P, 0, "device = \"/dev/ttyS0\""},
    {"# all\r\n" P V S N2 N1 C "\n", 0, "vip \"192.0.2.5/24\" { interface = \"eth0\" }"},
    {C N1 N2 "second-path = /dev/ttyS1\n" V "ping = none\n", 0, "link \"ttyS1\""},
    {C N1 N2 "second-path = none\n" V P, 0, "ping = { \"192.0.2.1\" }"},
    {C "node-1 = a 2001:db8::1\nnode-2 = b 2001:db8::2\n" S
       "vip = 2001:db8::5/64 eth0\n" P,
	0, "\"a=2001:db8::1\""},
    {C N1 N2 S V, 0, "!missing"},
    {C C N1 N2 S V P, 2, "!twice"},
    {"colour = red\n", 1, "!name = answer"},
    {"cluster\n", 1, "!name = answer"},
    {"cluster = a\"b\n", 1, "!host name"},
    {"cluster = ${HOME}\n", 1, "!host name"},
    {"cluster = a b\n", 1, "!host name"},
    {"cluster =\n", 1, "!host name"},
    {C "node-1 = ha-1\n", 2, "!name and a literal"},
    {C "node-1 = ha-1 gw.example\n", 2, "!name and a literal"},
    {C "node-1 = -x 192.0.2.1\n", 2, "!name and a literal"},
    {"second-path = eth1 10.1.0.1\n", 1, "!expected INTERFACE"},
    {"second-path = eth1 10.1.0.1 10.1.0.2 /dev/ttyS0 x\n", 1, "!four words"},
    {"second-path = /dev/tty\"S0\n", 1, "!expected INTERFACE"},
    {"vip = 192.0.2.5 eth0\n", 1, "!ADDRESS/PREFIX"},
    {"vip = 192.0.2.5/0 eth0\n", 1, "!ADDRESS/PREFIX"},
    {"vip = 192.0.2.5/24\n", 1, "!ADDRESS/PREFIX"},
    {"vip = 192.0.2.5/24 eth0123456789abcdef\n", 1, "!ADDRESS/PREFIX"},
    {"ping = router\n", 1, "!literal address"},
    {C N1 "node-2 = ha-1 192.0.2.12\n" S V P, 0, "!same name"},
    {C N1 "node-2 = ha-2 192.0.2.11\n" S V P, 0, "!same address"},
    {C N1 "node-2 = ha-2 2001:db8::2\n" S V P, 0, "!same family"},
    {C N1 N2 "second-path = eth0 10.1.0.1 10.1.0.2\n" V P, 0, "!interface of the first"},
};

static char *
hagent_conf(const struct setup *s)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	setup_write_hagent(s, f);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void
answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct setup s = {.cluster = ""};
		int line = 0;
		const char *why = setup_answers(&s, span_of(cases[i].text), &line);
		bool bad = cases[i].want[0] == '!';
		char *text;

		if (why == NULL)
			why = setup_check(&s);
		if ((why != NULL) != bad ||
		    (bad && (strstr(why, cases[i].want + 1) == NULL ||
				line != cases[i].line)))
			fail_msg("case %zu: line %d: %s", i, line,
			    why == NULL ? "taken" : why);
		if (bad)
			continue;
		text = hagent_conf(&s);
		if (strstr(text, cases[i].want) == NULL)
			fail_msg("case %zu: %s", i, text);
		free(text);
	}
}

/* ---- bundle ------------------------------------------------------------------- */

static char *
sample(size_t *len)
{
	struct bundle b = {.node = "ha-2"};
	char *text = NULL;
	FILE *f = open_memstream(&text, len);

	assert_non_null(f);
	assert_int_equal(bundle_add(&b, "hagent.conf", 0644, mem_copy("a\0b", 3), 3), 0);
	assert_int_equal(bundle_add(&b, "tls/mail.key", 0600, mem_copy("", 0), 0), 0);
	bundle_write(&b, f);
	assert_int_equal(fclose(f), 0);
	bundle_clear(&b);
	return text;
}

static void
round_trip(void **state)
{
	struct bundle b;
	size_t len;
	char *text = sample(&len);

	(void)state;
	assert_null(bundle_read((struct span){text, len}, &b));
	assert_string_equal(b.node, "ha-2");
	assert_int_equal(b.n, 2);
	assert_string_equal(b.file[0].name, "hagent.conf");
	assert_int_equal(b.file[0].mode, 0644);
	assert_int_equal(b.file[0].len, 3);
	assert_memory_equal(b.file[0].data, "a\0b", 3);
	assert_int_equal(b.file[1].mode, 0600);
	assert_int_equal(b.file[1].len, 0);
	bundle_clear(&b);
	free(text);
}

static void
cut_and_changed(void **state)
{
	struct bundle b;
	size_t len;
	char *text = sample(&len), print[BUNDLE_PRINT], other[BUNDLE_PRINT];

	(void)state;
	bundle_fingerprint((struct span){text, len}, print);
	assert_int_equal(strlen(print), 19);
	for (size_t i = 0; i < len; i++)
		assert_non_null(bundle_read((struct span){text, i}, &b));
	for (size_t i = 0; i < len; i++) {
		char was = text[i];

		for (int bit = 0; bit < 8; bit++) {
			text[i] = (char)(was ^ 1 << bit);
			bundle_fingerprint((struct span){text, len}, other);
			assert_string_not_equal(print, other);
			if (bundle_read((struct span){text, len}, &b) == NULL)
				bundle_clear(&b);
		}
		text[i] = was;
	}
	free(text);
}

static void
names_stay_inside(void **state)
{
	static const char *const bad[] = {
	    "", "/etc/passwd", "../x", "a/../../x", "a b", "A", "x\n"};
	struct bundle b = {.n = 0};
	char *data = mem_copy("x", 1);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(bundle_add(&b, bad[i], 0600, data, 1), -1);
	assert_int_equal(bundle_add(&b, "x", 04755, data, 1), -1);
	free(data);
	assert_non_null(
	    bundle_read(SPAN("mailpair-join 1\nnode n\nfile ../x 0600 eA==\nend\n"), &b));
	assert_non_null(
	    bundle_read(SPAN("mailpair-join 1\nnode n\nfile x 4755 eA==\nend\n"), &b));
	assert_non_null(bundle_read(SPAN("mailpair-join 1\nnode n\nend\nmore\n"), &b));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers),
	    cmocka_unit_test(round_trip),
	    cmocka_unit_test(cut_and_changed),
	    cmocka_unit_test(names_stay_inside),
	};

	return cmocka_run_group_tests_name("setup", tests, NULL, NULL);
}
