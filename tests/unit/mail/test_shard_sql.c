/* test_shard_sql.c - statements of a shard: all of them compile, and none is compiled
 * before it is needed but those that end a transaction. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "fs.h"
#include "log.h"
#include "mem.h"
#include "page_sum.h"
#include "shard_job.h"
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

static int64_t
number(struct shard *sh, const char *sql)
{
	sqlite3_stmt *st = NULL;
	int64_t n;

	assert_int_equal(sqlite3_prepare_v2(sh->db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return n;
}

/* A file of the first form keeps what it holds, and one of a form to come is refused. */
static void
test_upgrade(void **state)
{
	char *other = mem_printf("%s/other", dir), err[300] = "";
	struct shard *sh = shard_open(other, err, sizeof(err));

	(void)state;
	assert_non_null(sh);
	assert_int_equal(sqlite3_exec(sh->db, "ALTER TABLE boxes DROP COLUMN reserve; DROP TABLE"
	    " merged; INSERT INTO boxes VALUES (5, 1, 'Old', x'00', '', 7, 9, 0, 0, 0, 0, 0, 0, 0);"
	    " PRAGMA user_version = 1", NULL, NULL, NULL), SQLITE_OK);
	shard_close(sh);
	assert_non_null(sh = shard_open(other, err, sizeof(err)));
	assert_int_equal(number(sh, "PRAGMA user_version"), 2);
	assert_int_equal(number(sh, "SELECT uidnext + reserve FROM boxes WHERE id = 5"), 9);
	assert_int_equal(number(sh, "SELECT count(*) FROM merged"), 0);
	sqlite3_exec(sh->db, "PRAGMA user_version = 3", NULL, NULL, NULL);
	shard_close(sh);
	assert_null(shard_open(other, err, sizeof(err)));
	assert_non_null(strstr(err, "format 3"));
	free(other);
}

/* A copy of the index at record `at`, changed by sql, and of its bytes those from `from` on
 * overwritten. */
static int
seed_of(struct shard *sh, const char *sql, off_t from)
{
	char *path = mem_printf("%s/seed", dir), *into = mem_printf("VACUUM INTO '%s'", path), junk[64];
	sqlite3 *db = NULL;
	int fd;

	memset(junk, 0x5a, sizeof(junk));
	unlink(path);
	assert_int_equal(sqlite3_exec(sh->db, into, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(page_sum_open(path, &db, SQLITE_OPEN_READWRITE), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd != -1);
	if (from >= 0)
		assert_int_equal(pwrite(fd, junk, sizeof(junk), from), sizeof(junk));
	free(into);
	free(path);
	return fd;
}

/* An index that ends before the record it was announced with, because the shard was idle: a
 * checkpoint of it says nothing that the next start refuses. */
static void
test_install_idle(void **state)
{
	char *other = mem_printf("%s/idle", dir), err[300] = "";
	struct shard *sh = shard_open(other, err, sizeof(err));
	struct shard_job *j;
	int fd;

	(void)state;
	assert_non_null(sh);
	fd = seed_of(sh, "UPDATE state SET applied_lsn = 7", -1);
	assert_int_equal(shard_index_install(sh, 20, fd), 0);
	close(fd);
	assert_non_null(j = shard_job_new(sh, SHARD_CHECKPOINT));
	shard_job_run(j);
	assert_true(j->ok);
	shard_job_end(sh, j);
	shard_job_free(j);
	shard_close(sh);
	if ((sh = shard_open(other, err, sizeof(err))) == NULL)
		fail_msg("%s", err);
	assert_int_equal(sh->checkpoint_lsn, 20);
	assert_int_equal(sh->committed.applied_lsn, 7);
	shard_close(sh);
	free(other);
}

/* An index from the other node is looked at before it takes the place of ours. */
static void
test_install_refused(void **state)
{
	static const struct { const char *sql; off_t from; uint64_t lsn; } bad[] = {
		{ "PRAGMA user_version = 3", -1, 5 },	/* of a format to come */
		{ "PRAGMA user_version = 0", -1, 5 },	/* would be made anew, empty */
		{ "SELECT 1", 0, 5 },			/* the header */
		{ "SELECT 1", 4096 * 2 + 100, 5 },	/* a page whose sum is wrong */
		{ "DROP TABLE state", -1, 5 },
		{ "DELETE FROM state", -1, 5 },
	};
	char *other = mem_printf("%s/installed", dir), err[300] = "", *extra;
	struct shard *sh = shard_open(other, err, sizeof(err));
	int fd;

	(void)state;
	assert_non_null(sh);
	assert_int_equal(sqlite3_exec(sh->db, "UPDATE state SET applied_lsn = 5", NULL, NULL, NULL),
	    SQLITE_OK);
	assert_int_equal(shard_state_load(sh), 0);
	log_init("test", true, LOG_LEVEL_ERR);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		fd = seed_of(sh, bad[i].sql, bad[i].from);
		errno = 0;
		assert_int_equal(shard_index_install(sh, bad[i].lsn, fd), -1);
		assert_int_equal(errno, EBADMSG);
		assert_int_equal(sh->committed.applied_lsn, 5);
		assert_int_equal(number(sh, "PRAGMA user_version"), 2);
		close(fd);
		extra = mem_printf("%s/index.db.new", other);
		assert_int_equal(access(extra, F_OK), -1);
		free(extra);
	}
	/* of the form before this one, and as it is */
	fd = seed_of(sh, "ALTER TABLE boxes DROP COLUMN reserve; DROP TABLE merged;"
	    "UPDATE state SET applied_lsn = 7; PRAGMA user_version = 1", -1);
	assert_int_equal(shard_index_install(sh, 7, fd), 0);
	close(fd);
	assert_int_equal(sh->committed.applied_lsn, 7);
	assert_int_equal(number(sh, "PRAGMA user_version"), 2);
	shard_close(sh);
	free(other);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_none_before),
		cmocka_unit_test(test_all_compile), cmocka_unit_test(test_does_not_compile), cmocka_unit_test(test_upgrade),
		cmocka_unit_test(test_install_idle),
		cmocka_unit_test(test_install_refused) };

	return cmocka_run_group_tests_name("shard_sql", tests, set_up, tear_down);
}
