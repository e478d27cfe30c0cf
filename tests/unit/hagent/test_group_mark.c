/* test_group_mark.c - the mark of a started group comes, stays, goes, and is nothing else's. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "fs.h"
#include "group_mark.h"

static char dir[64];

static int
setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_group_mark.XXXXXX");
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	return fs_remove_tree(dir);
}

static void
comes_and_goes(void **state)
{
	(void)state;
	assert_false(group_mark_is(dir));
	assert_int_equal(group_mark_set(dir, false), 0);
	assert_int_equal(group_mark_set(dir, true), 0);
	assert_int_equal(group_mark_set(dir, true), 0);
	assert_true(group_mark_is(dir));
	assert_int_equal(group_mark_set(dir, false), 0);
	assert_false(group_mark_is(dir));
}

static void
is_a_file_of_its_own(void **state)
{
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/group-started", dir);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_false(group_mark_is(dir));
	assert_int_equal(group_mark_set(dir, true), -1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_false(group_mark_is(dir));
	assert_int_equal(group_mark_set(dir, true), -1);
	assert_int_equal(group_mark_set(dir, false), -1);
}

static void
fails_honestly(void **state)
{
	char deep[2048];

	(void)state;
	memset(deep, 'd', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	assert_false(group_mark_is(deep));
	assert_int_equal(group_mark_set(deep, true), -1);
	assert_int_equal(errno, ENAMETOOLONG);
	assert_int_equal(group_mark_set("/nowhere/at/all", true), -1);
	assert_int_equal(errno, ENOENT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(comes_and_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(is_a_file_of_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(fails_honestly, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
