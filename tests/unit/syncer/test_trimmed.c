/* test_trimmed.c - what is remembered of a log's trimmed records. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fs.h"
#include "trimmed.h"

static char dir[64];

static int
setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_trimmed.XXXXXX");
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	return fs_remove_tree(dir);
}

static void
test_kept(void **state)
{
	static struct trimmed t, again;
	static uint64_t last[SHARD_MAX];

	(void)state;
	assert_int_equal(trimmed_load(&t, dir), 0);
	assert_int_equal(trimmed_last(&t, 16), 0);
	last[16] = 40;
	last[SHARD_MAX - 1] = 41;
	trimmed_add(&t, last);
	last[16] = 0;			/* the next segment holds none of it */
	last[SHARD_MAX - 1] = 90;
	trimmed_add(&t, last);
	assert_int_equal(trimmed_save(&t, dir), 0);
	assert_int_equal(trimmed_load(&again, dir), 0);
	assert_int_equal(trimmed_last(&again, 16), 40);
	assert_int_equal(trimmed_last(&again, 17), 0);
	assert_int_equal(trimmed_last(&again, SHARD_MAX - 1), 90);
	trimmed_reset(&again, 70);	/* the old one's numbers mean nothing there */
	assert_int_equal(trimmed_save(&again, dir), 0);
	assert_int_equal(trimmed_load(&t, dir), 0);
	assert_int_equal(trimmed_last(&t, 17), 70);
	assert_int_equal(trimmed_last(&t, SHARD_MAX - 1), 70);
}

/* All shards, with the longest numbers, fit. */
static void
test_full(void **state)
{
	static struct trimmed t;

	(void)state;
	for (unsigned i = 0; i < SHARD_MAX; i++)
		t.shard[i] = UINT64_MAX - 1;
	t.base = UINT64_MAX - 1;
	assert_int_equal(trimmed_save(&t, dir), 0);
	assert_int_equal(trimmed_load(&t, dir), 0);
	assert_true(trimmed_last(&t, SHARD_MAX - 1) == UINT64_MAX - 1);
}

static void
test_damaged(void **state)
{
	static const char *const texts[] = { "", "mailpair-trimmed 2\nbase 0\n",
		"mailpair-trimmed 1\nbase x\n", "mailpair-trimmed 1\nbase 4\n1040 7\n",
		"mailpair-trimmed 1\nbase 4\n16 7\n16", "mailpair-trimmed 1\nbase 4\n16 -7\n" };
	static struct trimmed t;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		assert_int_equal(fs_replace(dir, "trimmed", texts[i], strlen(texts[i]), 0600), 0);
		assert_int_equal(trimmed_load(&t, dir), -1);
		assert_int_equal(errno, EBADMSG);
		assert_int_equal(trimmed_last(&t, 16), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
