/* test_layout.c - the file that fixes the number of shards: made once, then law. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fs.h"
#include "layout.h"
#include "log.h"
#include "maild_conf.h"
#include "mem.h"

static char dir[64];
static struct maild_conf conf = { .state_dir = dir };

static int
check(unsigned shards)
{
	char err[512] = "";
	int rc;

	conf.shards = shards;
	rc = layout_check(&conf, err, sizeof(err));
	if (rc == -1 && strstr(err, "/shards/layout") == NULL)
		fail_msg("no file in \"%s\"", err);
	return rc;
}

static void
test_number(void **state)
{
	char *shards;

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_layout.XXXXXX");
	assert_non_null(mkdtemp(dir));
	shards = mem_printf("%s/shards", dir);
	assert_int_equal(fs_mkdirs(shards, 0755), 0);
	assert_int_equal(check(16), 0);		/* nothing is made yet */
	assert_int_equal(check(8), 0);
	conf.shards = 16;
	assert_int_equal(layout_make(&conf), 0);
	assert_int_equal(check(16), 0);
	assert_int_equal(check(8), -1);
	assert_int_equal(check(17), -1);
	assert_int_equal(layout_make(&conf), 0);	/* 17 now: the file stays */
	assert_int_equal(check(16), 0);
	assert_int_equal(layout_set(&conf, 1024), 0);	/* the log says so */
	assert_int_equal(check(1024), 0);
	assert_int_equal(check(16), -1);
	assert_int_equal(fs_remove_tree(dir), 0);
	free(shards);
}

static void
test_text(void **state)
{
	static const struct { const char *text; int rc; } cases[] = {
		{ "mailpair-layout 1\nshards 16\n", 0 },
		{ "", -1 },
		{ "mailpair-layout 1\n", -1 },
		{ "mailpair-layout 2\nshards 16\n", -1 },
		{ "mailpair-layout 1\nshards 0\n", -1 },
		{ "mailpair-layout 1\nshards -16\n", -1 },
		{ "mailpair-layout 1\nshards 1025\n", -1 },
		{ "mailpair-layout 1\nshards 4294967312\n", -1 },	/* 2^32 + 16 */
		{ "mailpair-layout 1\nshards 16\nmore\n", -1 },
	};
	char *shards;

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_layout.XXXXXX");
	assert_non_null(mkdtemp(dir));
	shards = mem_printf("%s/shards", dir);
	assert_int_equal(fs_mkdirs(shards, 0755), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(fs_replace(shards, "layout", cases[i].text,
		    strlen(cases[i].text), 0644), 0);
		if (check(16) != cases[i].rc)
			fail_msg("case %zu", i);
	}
	assert_int_equal(fs_remove_tree(dir), 0);
	free(shards);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_number),
		cmocka_unit_test(test_text),
	};

	log_init("test_layout", true, LOG_LEVEL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
