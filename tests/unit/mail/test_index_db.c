/* test_index_db.c - what a full disk and a write that fails do to an index_db: the
 * transaction goes, the record comes again, and nothing is skipped or fatal.
 *
 * The disk is made to fail by a limit on the size of files (EFBIG, which SQLite calls
 * an I/O error); a real full one is a small tmpfs, which needs root. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "fs.h"
#include "index_db.h"
#include "index_file.h"
#include "log.h"
#include "mem.h"

#define BODY 4000

static const char schema[] = "CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, body TEXT);";
static const char *const sql[] = { "INSERT INTO t VALUES (?, ?)", "SELECT count(*) FROM t" };
static char dir[64], body[BODY + 1];

static enum mail_rc
insert(void *arg, const struct owner_record *r)
{
	struct index_db *x = arg;
	sqlite3_stmt *q = index_db_get(x, 0);

	sqlite3_bind_int64(q, 1, (sqlite3_int64)r->lsn);
	sqlite3_bind_text(q, 2, body, -1, SQLITE_STATIC);
	return index_db_change(x, q) == 1 ? MAIL_OK : MAIL_EXISTS;
}

/* One record in a transaction of its own; why it is not kept. */
static enum mail_rc
put(struct index_db *x, uint64_t lsn)
{
	struct owner_record r = { .lsn = lsn, .shard = SHARD_QUEUE, .type = 1 };
	enum mail_rc rc = index_db_apply(x, &r, insert, x);

	if (rc != MAIL_OK)
		return rc;
	return index_db_commit(x) == 0 ? MAIL_OK : index_db_why(x);
}

static int64_t
rows(struct index_db *x)
{
	sqlite3_stmt *q = index_db_get(x, 1);
	int64_t n = index_db_row(x, q) ? sqlite3_column_int64(q, 0) : -1;

	sqlite3_reset(q);
	return n;
}

static int
setup(void **state)
{
	(void)state;
	memset(body, 'x', BODY);
	snprintf(dir, sizeof(dir), "/tmp/test_index_db.XXXXXX");
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	return fs_remove_tree(dir);
}

/* No file may become larger than bytes; 0: as large as it likes. */
static void
limit(size_t bytes)
{
	struct rlimit l;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
	l.rlim_cur = bytes != 0 ? bytes : l.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

/* Applies until the disk says no; what was refused is not there, and not skipped. */
static uint64_t
fill(struct index_db *x, enum mail_rc expected)
{
	uint64_t lsn = 1;

	for (; lsn < 5000 && put(x, lsn) == MAIL_OK; lsn++)
		continue;
	assert_true(lsn < 5000);
	assert_int_equal(index_db_why(x), expected);
	assert_int_equal(index_db_applied(x), lsn - 1);
	assert_int_equal(put(x, lsn + 1), expected);	/* not in front of the other */
	assert_int_equal(index_db_applied(x), lsn - 1);
	assert_int_equal(rows(x), lsn - 1);
	/* Again, and still no room: the same answer, and nothing is fatal. */
	assert_int_equal(index_db_resume(x), 0);
	assert_int_equal(put(x, lsn), expected);
	assert_int_equal(index_db_resume(x), 0);
	return lsn;
}

static void
goes_on(struct index_db *x, uint64_t lsn)
{
	assert_int_equal(put(x, lsn), MAIL_OK);
	assert_int_equal(put(x, lsn + 1), MAIL_OK);
	assert_int_equal(rows(x), lsn + 1);
	assert_int_equal(index_db_checkpoint(x), lsn + 1);
}

static void
test_write_fails(void **state)
{
	struct index_db *x = index_db_open(dir, schema, sql, 2);
	uint64_t lsn;

	(void)state;
	limit(1u << 20);
	lsn = fill(x, MAIL_TEMP);
	limit(0);
	goes_on(x, lsn);
	index_db_close(x);
	x = index_db_open(dir, schema, sql, 2);
	assert_int_equal(index_db_applied(x), lsn + 1);
	assert_int_equal(rows(x), lsn + 1);
	index_db_close(x);
}

/* Several records in one transaction: all of it goes, and comes again. */
static void
test_batch(void **state)
{
	struct index_db *x = index_db_open(dir, schema, sql, 2);
	struct owner_record r = { .shard = SHARD_QUEUE, .type = 1 };

	(void)state;
	assert_int_equal(put(x, 1), MAIL_OK);
	limit(64u << 10);
	for (r.lsn = 2; r.lsn < 100; r.lsn++)
		index_db_apply(x, &r, insert, x);
	assert_int_equal(index_db_commit(x), -1);
	assert_int_equal(index_db_applied(x), 1);
	limit(0);
	assert_int_equal(index_db_resume(x), 0);
	for (r.lsn = 1; r.lsn < 100; r.lsn++)
		assert_int_equal(index_db_apply(x, &r, insert, x), MAIL_OK);
	assert_int_equal(index_db_commit(x), 0);
	assert_int_equal(rows(x), 99);
	index_db_close(x);
}

/* A file that cannot be opened is tried again, too; looks find nothing, and say so. */
static void
test_open_fails(void **state)
{
	char *path = mem_printf("%s/index.db", dir);
	struct index_db *x;
	uint64_t failures;

	(void)state;
	assert_int_equal(mkdir(path, 0700), 0);
	x = index_db_open(dir, schema, sql, 2);
	assert_int_equal(index_db_why(x), MAIL_TEMP);
	failures = index_db_failures(x);
	assert_int_equal(rows(x), -1);
	assert_true(index_db_failures(x) > failures);
	assert_int_equal(put(x, 1), MAIL_TEMP);
	assert_int_equal(index_db_checkpoint(x), 0);
	assert_int_equal(index_db_resume(x), -1);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(index_db_resume(x), 0);
	assert_int_equal(put(x, 1), MAIL_OK);
	assert_int_equal(rows(x), 1);
	index_db_close(x);
	free(path);
}

static void
damage(const char *how)
{
	char *path = mem_printf("%s/index.db", dir), *wal = mem_printf("%s/index.db-wal", dir);
	static const char junk[100] = "not a database";
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd != -1);
	assert_true(unlink(wal) == 0 || errno == ENOENT);
	if (strcmp(how, "header") == 0)
		assert_int_equal(pwrite(fd, junk, sizeof(junk), 0), sizeof(junk));
	else if (strcmp(how, "empty") == 0)
		assert_int_equal(ftruncate(fd, 0), 0);
	else if (strcmp(how, "page, and a sync had failed") == 0)
		assert_true(pwrite(fd, junk, sizeof(junk), lseek(fd, 0, SEEK_END) - 2000) ==
		    sizeof(junk) && index_file_suspect(dir, true) == 0);
	else
		assert_int_equal(unlink(path), 0);
	close(fd);
	free(wal);
	free(path);
}

static size_t
set_aside(void)
{
	char *pattern = mem_printf("%s/damaged-*", dir);
	glob_t found;
	size_t n = glob(pattern, 0, NULL, &found) == 0 ? found.gl_pathc : 0;

	globfree(&found);
	free(pattern);
	return n;
}

/* One that is damaged, empty or gone: what is left is kept, no record is asked for and none is
 * given to the peer, over restarts too, until an index from there is in place. */
static void
test_lost(void **state)
{
	static const char *const how[] = { "header", "empty", "gone",
		"page, and a sync had failed" };
	struct index_db *x = index_db_open(dir, schema, sql, 2);
	uint64_t lsn, failures;
	int fd;

	(void)state;
	for (uint64_t n = 1; n < 50; n++)
		assert_int_equal(put(x, n), MAIL_OK);
	assert_int_equal(index_db_attach_from(x), 49);
	for (size_t i = 0; i < sizeof(how) / sizeof(*how); i++) {
		fd = index_db_snapshot(x, &lsn);
		assert_true(fd != -1);
		index_db_close(x);
		damage(how[i]);
		x = index_db_open(dir, schema, sql, 2);
		assert_int_equal(index_db_why(x), MAIL_OK);
		assert_true(index_db_attach_from(x) == OWNER_FROM_LOST);
		failures = index_db_failures(x);
		assert_int_equal(rows(x), -1);	/* not "none" */
		assert_true(index_db_failures(x) > failures);
		assert_int_equal(index_db_snapshot(x, &lsn), -1);
		assert_int_equal(set_aside(), i + 1);
		index_db_close(x);
		x = index_db_open(dir, schema, sql, 2);
		assert_true(index_db_attach_from(x) == OWNER_FROM_LOST);
		assert_int_equal(index_db_replace(x, fd), 0);
		close(fd);
		assert_int_equal(index_db_attach_from(x), 49);
		assert_int_equal(rows(x), 49);
		index_db_close(x);
		x = index_db_open(dir, schema, sql, 2);
		assert_int_equal(index_db_attach_from(x), 49);
		assert_int_equal(set_aside(), i + 1);
	}
	index_db_close(x);
}

/* Not a byte is left: with the file open, and for one that starts then. */
static void
test_disk_full(void **state)
{
	struct index_db *x;
	char *ballast = mem_printf("%s/ballast", dir);
	static char block[65536];
	uint64_t lsn;
	FILE *f;

	(void)state;
	if (unshare(CLONE_NEWNS) == -1 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1
	    || mount("none", dir, "tmpfs", 0, "size=2m") == -1) {
		free(ballast);
		skip();
	}
	x = index_db_open(dir, schema, sql, 2);
	assert_int_equal(put(x, 1), MAIL_OK);
	assert_non_null(f = fopen(ballast, "w"));
	setvbuf(f, NULL, _IONBF, 0);
	while (fwrite(block, 1, sizeof(block), f) == sizeof(block))
		continue;
	fclose(f);
	lsn = index_db_applied(x) + 1;
	while (put(x, lsn) == MAIL_OK)	/* the WAL's last page may have room */
		lsn++;
	assert_int_equal(index_db_why(x), MAIL_DISK_FULL);
	assert_int_equal(rows(x), lsn - 1);
	index_db_close(x);
	x = index_db_open(dir, schema, sql, 2);
	index_db_resume(x);
	assert_int_not_equal(put(x, lsn), MAIL_OK);
	assert_int_equal(unlink(ballast), 0);
	assert_int_equal(index_db_resume(x), 0);
	goes_on(x, lsn);
	index_db_close(x);
	assert_int_equal(umount(dir), 0);
	free(ballast);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_write_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_open_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disk_full, setup, teardown),
	};

	log_init("test_index_db", true, LOG_LEVEL_ERR);
	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
