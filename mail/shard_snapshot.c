/* shard_snapshot.c - a frozen copy of a shard's index for seeding the peer, and the
 * list of the objects that it needs.
 *
 * The copy is made by VACUUM INTO from one read transaction, so deliveries go on; it
 * is self-contained (no write-ahead log).  It asks for records from before the first
 * piece of any unfinished object.  Both files are unlinked before they are handed
 * out: they live as long as their descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs.h"
#include "mem.h"
#include "page_sum.h"
#include "shard_job.h"
#include "shard_priv.h"

/* 0, with the first column of the single row */
static int
number(sqlite3 *db, const char *sql, uint64_t *n)
{
	sqlite3_stmt *st = NULL;
	int rc = -1;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW) {
		*n = (uint64_t)sqlite3_column_int64(st, 0);
		rc = 0;
	}
	sqlite3_finalize(st);
	return rc;
}

static int
list_objects(sqlite3 *copy, int fd)
{
	sqlite3_stmt *st = NULL;
	char buf[32 * 512];
	size_t n = 0;
	int rc;

	if (sqlite3_prepare_v2(copy, "SELECT sha FROM objects WHERE refs > 0 ORDER BY sha", -1, &st,
	    NULL) != SQLITE_OK)
		return -1;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		if (sqlite3_column_bytes(st, 0) != 32)
			break;
		memcpy(buf + n, sqlite3_column_blob(st, 0), 32);
		if ((n += 32) == sizeof(buf)) {
			if (fs_write_all(fd, buf, n) == -1)
				break;
			n = 0;
		}
	}
	sqlite3_finalize(st);
	return rc == SQLITE_DONE && fs_write_all(fd, buf, n) == 0 ? 0 : -1;
}

static int
open_gone(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd != -1)
		unlink(path);
	return fd;
}

/* What the copy says about itself: it holds a later moment than the job was asked at. */
static int
describe(struct shard_job *j, const char *path, const char *list)
{
	sqlite3 *copy = NULL;
	uint64_t applied, first;
	int fd, rc = -1;

	if (page_sum_open(path, &copy, SQLITE_OPEN_READONLY) == SQLITE_OK &&
	    number(copy, "SELECT applied_lsn FROM state", &applied) == 0 &&
	    number(copy, "SELECT coalesce(min(first_lsn), 0) FROM parts", &first) == 0 &&
	    (fd = open_gone(list, O_RDWR | O_CREAT | O_TRUNC)) != -1) {
		j->lsn = first != 0 && first <= applied ? first - 1 : applied;
		j->list_fd = fd;
		rc = list_objects(copy, fd);
	}
	sqlite3_close(copy);
	return rc;
}

int
shard_snapshot_run(struct shard_job *j)
{
	char *path = mem_printf("%s/snapshot.db", j->dir);
	char *list = mem_printf("%s/snapshot.list", j->dir);
	sqlite3 *db = shard_sql_extra(j->dir, false);
	sqlite3_stmt *st = NULL;
	int rc = -1;

	if (db != NULL && (unlink(path) == 0 || errno == ENOENT) &&
	    sqlite3_prepare_v2(db, "VACUUM INTO ?", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_bind_text(st, 1, path, -1, SQLITE_STATIC) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_DONE && describe(j, path, list) == 0 &&
	    (j->index_fd = open_gone(path, O_RDONLY)) != -1)
		rc = 0;
	else if (db != NULL)
		snprintf(j->error, sizeof(j->error), "%s: snapshot: %s", j->dir,
		    sqlite3_errcode(db) == SQLITE_OK ? strerror(errno) : sqlite3_errmsg(db));
	sqlite3_finalize(st);
	sqlite3_close(db);
	if (rc == -1)
		unlink(path);
	free(path);
	free(list);
	return rc;
}
