/* test_mutf7.c - mailbox names: both ways, and what must not be let in. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "mutf7.h"

static const struct {
	const char *wire, *utf8;
} good[] = {
	{ "INBOX", "INBOX" },
	{ "a&-b", "a&b" },
	{ "Entw&APw-rfe", "Entw\xc3\xbcrfe" },
	{ "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
	    "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e" },
	{ "&2D3eAA-", "\xf0\x9f\x98\x80" },
	{ "&AOQ-&-&AOQ-", "\xc3\xa4&\xc3\xa4" },
};
static const char *const bad[] = { "a&b", "&", "&AOQ", "&AOQ-&AOQ-", "&AGEAYg-", "&2D0-",
	"&3gA-", "&AAA-", "&AO-", "&====-", "caf\xc3\xa9", "a\x01", "&AOR-", "&U/BTFw-" };

static void
test_both_ways(void **state)
{
	char out[200];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(mutf7_decode(span_of(good[i].wire), out, sizeof(out)), 0);
		assert_string_equal(out, good[i].utf8);
		assert_int_equal(mutf7_encode(good[i].utf8, out, sizeof(out)), 0);
		assert_string_equal(out, good[i].wire);
	}
}

static void
test_refused(void **state)
{
	char out[200];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (mutf7_decode(span_of(bad[i]), out, sizeof(out)) != -1)
			fail_msg("%s was taken as %s", bad[i], out);
	assert_int_equal(mutf7_encode("\xff", out, sizeof(out)), -1);
	assert_int_equal(mutf7_decode(span_of("abcdef"), out, 6), -1);
	assert_int_equal(mutf7_decode(span_of("abcde"), out, 6), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
