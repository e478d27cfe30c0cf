/* test_shard_sql.c - statements of a shard: all of them compile, and none is compiled
 * before it is needed but those that end a transaction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "fs.h"
#include "log.h"
#include "shard_priv.h"

static char dir[64];

static int
set_up(void **state)
{
	char err[300];

	log_init("test", true, LOG_LEVEL_ERR);
	snprintf(dir, sizeof(dir), "/tmp/test_shard_sql.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	return (*state = shard_open(dir, err, sizeof(err))) == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	shard_close(*state);
	return fs_remove_tree(dir);
}

/* The first: nothing has used the shard yet. */
static void
test_none_before(void **state)
{
	const struct shard *sh = *state;
	int n = 0;

	for (int i = 0; i < W_COUNT; i++)
		n += sh->w[i] != NULL;
	for (int i = 0; i < R_COUNT; i++)
		n += sh->r[i] != NULL;
	assert_int_equal(n, 4);
	assert_non_null(sh->w[W_BEGIN]);
	assert_non_null(sh->w[W_COMMIT]);
	assert_non_null(sh->w[W_ROLLBACK]);
	assert_non_null(sh->w[W_STATE_SET]);
}

static void
test_all_compile(void **state)
{
	struct shard *sh = *state;

	for (int i = 0; i < W_COUNT; i++) {
		sqlite3_stmt *st = shard_w(sh, (enum shard_write)i);

		assert_non_null(st);
		assert_ptr_equal(st, shard_w(sh, (enum shard_write)i));
	}
	for (int i = 0; i < R_COUNT; i++)
		assert_non_null(shard_r(sh, (enum shard_readq)i));
}

/* A file that lost a table since it was opened is an error, not a crash. */
static void
test_does_not_compile(void **state)
{
	struct shard *sh = *state;

	assert_int_equal(sqlite3_exec(sh->db, "DROP TABLE missing", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_finalize(sh->w[W_MISSING_DEL]);
	sh->w[W_MISSING_DEL] = NULL;
	assert_null(shard_w(sh, W_MISSING_DEL));
	assert_int_equal(sql_run(shard_w(sh, W_MISSING_DEL), "b", "01234567890123456789012345678901"), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_none_before),
		cmocka_unit_test(test_all_compile), cmocka_unit_test(test_does_not_compile) };

	return cmocka_run_group_tests_name("shard_sql", tests, set_up, tear_down);
}
