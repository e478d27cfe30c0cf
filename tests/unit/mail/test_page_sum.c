/* test_page_sum.c - a copy that is larger than its cache has good sums on every page, also
 * when the original has none. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs.h"
#include "log.h"
#include "mem.h"
#include "page_sum.h"

#define READ (SQLITE_OPEN_READWRITE)
#define MAKE (SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)

static void
run(sqlite3 *db, const char *sql)
{
	char *err = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &err) != SQLITE_OK)
		fail_msg("%s: %s", sql, err);
}

static void
fill(sqlite3 *db)
{
	run(db, "PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB);"
	    " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)"
	    " INSERT INTO t SELECT i, randomblob(1000) FROM n;"
	    " PRAGMA wal_checkpoint(TRUNCATE)");
}

static int64_t
number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st = NULL;
	int64_t n;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	if (sqlite3_step(st) != SQLITE_ROW)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return n;
}

/* The reserve of a file, and whether every page of it is good: 12,000 rows. */
static int
whole(const char *path)
{
	uint8_t head[100];
	FILE *f = fopen(path, "rb");
	sqlite3 *db = NULL;

	assert_non_null(f);
	assert_int_equal(fread(head, 1, sizeof(head), f), sizeof(head));
	fclose(f);
	assert_int_equal(page_sum_open(path, &db, READ), SQLITE_OK);
	assert_int_equal(number(db, "SELECT sum(length(b)) FROM t"), 12000 * 1000);
	assert_int_equal(number(db, "SELECT count(*) FROM pragma_integrity_check WHERE"
	    " integrity_check = 'ok'"), 1);
	sqlite3_close(db);
	return head[20];
}

static void
large_copy(void **state)
{
	char dir[] = "/tmp/test_page_sum.XXXXXX", *one, *two, *cmd;
	sqlite3 *db = NULL;

	(void)state;
	assert_non_null(mkdtemp(dir));
	one = mem_printf("%s/one", dir);
	two = mem_printf("%s/two", dir);
	cmd = mem_printf("VACUUM INTO '%s'", two);
	for (int plain = 0; plain < 2; plain++) {
		remove(one);
		remove(two);
		assert_int_equal(plain ? sqlite3_open_v2(one, &db, MAKE, NULL) :
		    page_sum_open(one, &db, MAKE), SQLITE_OK);
		fill(db);
		sqlite3_close(db);
		assert_int_equal(whole(one), plain ? 0 : 8);
		assert_int_equal(page_sum_open(one, &db, READ), SQLITE_OK);
		run(db, cmd);
		sqlite3_close(db);
		assert_int_equal(whole(two), 8);
	}
	free(cmd);
	free(two);
	free(one);
	assert_int_equal(fs_remove_tree(dir), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(large_copy) };

	log_init("test_page_sum", true, LOG_LEVEL_ERR);
	return cmocka_run_group_tests_name("page_sum", tests, NULL, NULL);
}
