/* index_db.c - one SQLite file, one connection, changed only by records of the log.
 *
 * Applying is idempotent: applied_lsn is set in the transaction of the record, and a
 * record at or below it is skipped.  What a record does is the caller's; whether it
 * comes, and when it is durable, is decided here. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "index_db.h"
#include "index_file.h"
#include "log.h"
#include "mem.h"
#include "span.h"

enum sql { SQL_BEGIN, SQL_COMMIT, SQL_APPLIED, SQL_SET_APPLIED, SQL_N };

static const char *const own_sql[SQL_N] = {
	[SQL_BEGIN] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_APPLIED] = "SELECT value FROM meta WHERE name = 'applied_lsn'",
	[SQL_SET_APPLIED] = "UPDATE meta SET value = ? WHERE name = 'applied_lsn'",
};

static const char own_schema[]
    = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
      "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);"
      "INSERT OR IGNORE INTO meta VALUES ('schema', 1), ('applied_lsn', 0);";

struct index_db {
	char *dir, *path;
	const char *schema;
	const char *const *sql;
	int n;
	sqlite3 *db;
	sqlite3_stmt *own[SQL_N], **stmt;
	int lock;			/* of the folder: one owner at a time */
	uint64_t applied;
	bool open;			/* a transaction is */
};

static _Noreturn void
broken(struct index_db *x, const char *what)
{
	log_fatal("%s: %s: %s", x->path, what, sqlite3_errmsg(x->db));
}

/* ---- statements ---------------------------------------------------------- */

static sqlite3_stmt *
ready(struct index_db *x, sqlite3_stmt **q, const char *sql)
{
	if (*q == NULL
	    && sqlite3_prepare_v3(x->db, sql, -1, SQLITE_PREPARE_PERSISTENT, q, NULL)
		!= SQLITE_OK)
		broken(x, sql);
	sqlite3_reset(*q);
	sqlite3_clear_bindings(*q);
	return *q;
}

static sqlite3_stmt *
own(struct index_db *x, enum sql n)
{
	return ready(x, &x->own[n], own_sql[n]);
}

sqlite3_stmt *
index_db_get(struct index_db *x, int n)
{
	return ready(x, &x->stmt[n], x->sql[n]);
}

bool
index_db_row(struct index_db *x, sqlite3_stmt *q)
{
	int rc = sqlite3_step(q);

	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		broken(x, sqlite3_sql(q));
	return rc == SQLITE_ROW;
}

bool
index_db_has(struct index_db *x, sqlite3_stmt *q)
{
	bool found = index_db_row(x, q);

	sqlite3_reset(q);
	return found;
}

int
index_db_change(struct index_db *x, sqlite3_stmt *q)
{
	if (index_db_row(x, q))
		broken(x, "a change gave a row");
	sqlite3_reset(q);
	return sqlite3_changes(x->db);
}

void
index_db_text(sqlite3_stmt *q, int column, char *dst, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(q, column);

	if (text == NULL || span_copy(span_of(text), dst, size) == -1)
		dst[0] = '\0';
}

/* ---- opening ------------------------------------------------------------- */

static void
db_open(struct index_db *x)
{
	sqlite3_stmt *q;

	if (sqlite3_open_v2(x->path, &x->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL)
	    != SQLITE_OK)
		broken(x, "open");
	sqlite3_busy_timeout(x->db, 5000);
	if (sqlite3_exec(x->db, own_schema, NULL, NULL, NULL) != SQLITE_OK
	    || sqlite3_exec(x->db, x->schema, NULL, NULL, NULL) != SQLITE_OK)
		broken(x, "schema");
	q = own(x, SQL_APPLIED);
	if (!index_db_row(x, q))
		broken(x, "no applied_lsn");
	x->applied = (uint64_t)sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
}

static void
db_close(struct index_db *x)
{
	for (int i = 0; i < SQL_N; i++)
		sqlite3_finalize(x->own[i]);
	for (int i = 0; i < x->n; i++)
		sqlite3_finalize(x->stmt[i]);
	memset(x->own, 0, sizeof(x->own));
	memset(x->stmt, 0, (size_t)x->n * sizeof(*x->stmt));
	if (sqlite3_close(x->db) != SQLITE_OK)
		broken(x, "close");
	x->db = NULL;
}

struct index_db *
index_db_open(const char *dir, const char *schema, const char *const *sql, int n)
{
	struct index_db *x = mem_alloc(sizeof(*x));

	x->dir = mem_dup(dir);
	x->path = mem_printf("%s/index.db", dir);
	x->schema = schema;
	x->sql = sql;
	x->n = n;
	x->stmt = mem_array((size_t)n, sizeof(*x->stmt));
	/* The process before us may still be ending: its last commit comes first. */
	x->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (x->lock == -1 || flock(x->lock, LOCK_EX) == -1)
		log_fatal("cannot lock %s: %s", dir, strerror(errno));
	db_open(x);
	return x;
}

void
index_db_close(struct index_db *x)
{
	if (x == NULL)
		return;
	index_db_commit(x);
	db_close(x);
	close(x->lock);
	free(x->stmt);
	free(x->dir);
	free(x->path);
	free(x);
}

/* ---- records ------------------------------------------------------------- */

uint64_t
index_db_applied(const struct index_db *x)
{
	return x->applied;
}

enum mail_rc
index_db_apply(struct index_db *x, const struct owner_record *r,
    enum mail_rc (*apply)(void *, const struct owner_record *), void *arg)
{
	sqlite3_stmt *q;
	enum mail_rc rc;

	if (r->lsn <= x->applied)
		return MAIL_OK;
	if (!x->open)
		index_db_change(x, own(x, SQL_BEGIN));
	x->open = true;
	rc = apply(arg, r);
	if (rc == MAIL_BAD)
		log_warnx("%s: record lsn=%llu type=%u is malformed or incomplete, skipped", x->dir,
		    (unsigned long long)r->lsn, r->type);
	q = own(x, SQL_SET_APPLIED);
	sqlite3_bind_int64(q, 1, (sqlite3_int64)r->lsn);
	index_db_change(x, q);
	x->applied = r->lsn;
	return rc;
}

void
index_db_commit(struct index_db *x)
{
	if (!x->open)
		return;
	index_db_change(x, own(x, SQL_COMMIT));
	x->open = false;
}

uint64_t
index_db_checkpoint(struct index_db *x)
{
	index_db_commit(x);
	/* FULL syncs the WAL, writes the database file and syncs it. */
	if (sqlite3_wal_checkpoint_v2(x->db, NULL, SQLITE_CHECKPOINT_FULL, NULL, NULL)
	    != SQLITE_OK) {
		log_warnx("%s: checkpoint failed: %s", x->dir, sqlite3_errmsg(x->db));
		return 0;
	}
	return x->applied;
}

/* ---- seeding ------------------------------------------------------------- */

int
index_db_snapshot(struct index_db *x, uint64_t *lsn)
{
	index_db_commit(x);
	*lsn = x->applied;
	return index_file_copy(x->db, x->dir);
}

int
index_db_replace(struct index_db *x, int fd)
{
	int rc;

	if (index_file_receive(x->dir, fd, own_sql[SQL_APPLIED]) == -1)
		return -1;
	index_db_commit(x);
	db_close(x);			/* the last connection takes its WAL away */
	rc = index_file_install(x->dir);
	db_open(x);
	return rc;
}
