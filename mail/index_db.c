/* index_db.c - one SQLite file, one connection, changed only by records of the log.
 *
 * Applying is idempotent: applied_lsn is set in the transaction of the record, and a
 * record at or below it is skipped.  What a record does is the caller's; whether it
 * comes, and when it is durable, is decided here.  After a failure the transaction is
 * undone, and nothing is applied until index_db_resume(): a record is never skipped
 * because of a disk.  A file that cannot be opened counts as one that fails: every
 * statement is NULL then, which SQLite takes for an empty one.
 *
 * A sync that fails is not among that: the kernel has given up what it was to keep, says so
 * only once, and the write-ahead log on the disk may end before what the file holds.  The
 * file "suspect" says so, and the process ends; who opens next makes a new file of
 * what can be read.  So SQLite may sync where its errors are seen only: not by itself
 * behind a commit, and not when it closes. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "clock.h"
#include "fs.h"
#include "index_aside.h"
#include "index_db.h"
#include "index_file.h"
#include "log.h"
#include "mem.h"
#include "page_sum.h"
#include "span.h"

#define SAY_MS 1000			/* between two lines about failing */
#define WAL_PAGES 1000			/* then a commit begins the write-ahead log anew */

enum sql { SQL_BEGIN, SQL_COMMIT, SQL_TRY, SQL_UNDO, SQL_TRIED, SQL_APPLIED, SQL_SET_APPLIED,
	SQL_N };

static const char *const own_sql[SQL_N] = {
	[SQL_BEGIN] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_TRY] = "SAVEPOINT try",
	[SQL_UNDO] = "ROLLBACK TO try",
	[SQL_TRIED] = "RELEASE try",
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
	sqlite3 *db;			/* NULL: it could not be opened */
	sqlite3_stmt *own[SQL_N], **stmt;
	int lock;			/* of the folder: one owner at a time */
	uint64_t applied, committed;
	bool open;			/* a transaction is */
	enum mail_rc undo;		/* why the open transaction cannot be kept */
	enum mail_rc why;		/* why nothing is applied */
	uint64_t failures;
	int64_t said_ms;
	int wal_pages;
	bool damaged;			/* why it could not be opened */
	bool unfilled;			/* it is lost, and waits for one from the peer */
};

/* ---- failing ------------------------------------------------------------- */

/* What the disk, or who filled it, may do to us for a while.  All else is a mistake of
 * ours, or a damaged file: the process ends, and the node hands over. */
static bool
is_the_disk(int code)
{
	switch (code & 0xff) {
	case SQLITE_FULL:
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
	case SQLITE_ABORT:		/* what an undone transaction leaves */
		return true;
	default:
		return false;
	}
}

static bool
sync_failed(sqlite3 *db)
{
	int code = sqlite3_extended_errcode(db);

	return code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC;
}

static _Noreturn void
lost(struct index_db *x, const char *what)
{
	if (index_file_suspect(x->dir, true) == -1)
		log_err("%s: a sync failed, and it cannot be noted: %s; seed this node anew",
		    x->path, strerror(errno));
	log_fatal("%s: %s: a sync failed: %s", x->path, what, sqlite3_errmsg(x->db));
}

static void
failed(struct index_db *x, const char *what)
{
	int code = sqlite3_errcode(x->db), e = sqlite3_system_errno(x->db);
	int64_t now = clock_ms();

	if (sync_failed(x->db))
		lost(x, what);
	if (!is_the_disk(code))
		log_fatal("%s: %s: %s", x->path, what, sqlite3_errmsg(x->db));
	x->failures++;
	x->undo = (code & 0xff) == SQLITE_FULL || e == ENOSPC || e == EDQUOT ? MAIL_DISK_FULL
									     : MAIL_TEMP;
	if (x->said_ms != 0 && now - x->said_ms < SAY_MS)
		return;
	x->said_ms = now;
	log_err("%s: %s: %s", x->path, what, sqlite3_errmsg(x->db));
}

/* ---- statements ---------------------------------------------------------- */

static sqlite3_stmt *
ready(struct index_db *x, sqlite3_stmt **q, const char *sql)
{
	if (x->db == NULL) {
		x->failures++;
		return NULL;
	}
	if (*q == NULL
	    && sqlite3_prepare_v3(x->db, sql, -1, SQLITE_PREPARE_PERSISTENT, q, NULL)
		!= SQLITE_OK) {
		failed(x, sql);
		return NULL;
	}
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
	if (x->unfilled) {	/* what it does not hold may be in the one that was lost */
		x->failures++;
		return NULL;
	}
	return ready(x, &x->stmt[n], x->sql[n]);
}

bool
index_db_row(struct index_db *x, sqlite3_stmt *q)
{
	int rc = q != NULL ? sqlite3_step(q) : SQLITE_DONE;

	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		failed(x, sqlite3_sql(q));
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
	uint64_t before = x->failures;

	if (index_db_row(x, q))
		log_fatal("%s: a change gave a row", x->path);
	sqlite3_reset(q);
	return q == NULL || x->failures != before ? 0 : sqlite3_changes(x->db);
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
db_close(struct index_db *x)
{
	for (int i = 0; i < SQL_N; i++)
		sqlite3_finalize(x->own[i]);
	for (int i = 0; i < x->n; i++)
		sqlite3_finalize(x->stmt[i]);
	memset(x->own, 0, sizeof(x->own));
	memset(x->stmt, 0, (size_t)x->n * sizeof(*x->stmt));
	if (sqlite3_close(x->db) != SQLITE_OK)
		log_fatal("%s: close: %s", x->path, sqlite3_errmsg(x->db));
	x->db = NULL;
}

/* What SQLite does by itself after a commit; but it does not say what became of it. */
static int
on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct index_db *x = arg;

	if (pages >= x->wal_pages
	    && sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) != SQLITE_OK
	    && sync_failed(db))
		lost(x, "checkpoint");
	return SQLITE_OK;
}

static void
open_failed(struct index_db *x, const char *what)
{
	if (!page_sum_damage(x->db)) {
		failed(x, what);
		return;
	}
	x->damaged = true;
	x->undo = MAIL_TEMP;
	x->failures++;
	log_err("%s: %s: %s", x->path, what, sqlite3_errmsg(x->db));
}

/* 0; or -1, with nothing open and why set. */
static int
db_open_as_is(struct index_db *x)
{
	uint64_t before = x->failures;
	sqlite3_stmt *q;

	x->undo = MAIL_OK;
	x->damaged = false;
	if (page_sum_open(x->path, &x->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)
	    != SQLITE_OK)
		open_failed(x, "open");
	sqlite3_db_config(x->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_wal_hook(x->db, on_commit, x);
	sqlite3_busy_timeout(x->db, 5000);
	if (x->failures == before
	    && (sqlite3_exec(x->db, own_schema, NULL, NULL, NULL) != SQLITE_OK
		|| sqlite3_exec(x->db, x->schema, NULL, NULL, NULL) != SQLITE_OK))
		open_failed(x, "schema");
	q = x->failures == before ? own(x, SQL_APPLIED) : NULL;
	if (x->failures == before && sqlite3_step(q) != SQLITE_ROW) {
		if (sqlite3_errcode(x->db) != SQLITE_DONE)
			open_failed(x, "applied_lsn");
		else
			log_fatal("%s: no applied_lsn", x->path);
	}
	if (x->failures != before) {
		x->why = x->undo;
		db_close(x);
		return -1;
	}
	x->applied = x->committed = (uint64_t)sqlite3_column_int64(q, 0);
	x->unfilled = index_unfilled(x->dir);
	sqlite3_reset(q);
	return 0;
}

/* Syncs the write-ahead log, writes the file and syncs it. */
static int
checkpoint(struct index_db *x, int how)
{
	int rc = x->db != NULL ? sqlite3_wal_checkpoint_v2(x->db, NULL, how, NULL, NULL) : SQLITE_OK;

	if (rc == SQLITE_OK)
		return 0;
	if (sync_failed(x->db))
		lost(x, "checkpoint");
	if ((rc & 0xff) == SQLITE_IOERR && sqlite3_system_errno(x->db) != ENOSPC
	    && sqlite3_system_errno(x->db) != EDQUOT)
		log_fatal("%s: checkpoint failed: %s", x->dir, sqlite3_errmsg(x->db));
	log_warnx("%s: checkpoint failed: %s", x->dir, sqlite3_errmsg(x->db));
	return -1;
}

/* What is left of a lost one is kept, and an empty one takes its place: unfilled. */
static int
db_begin_anew(struct index_db *x, const char *what)
{
	char *why = mem_printf("%s %s", x->path, what);
	int rc = index_set_aside(x->dir, why);

	free(why);
	if (rc == 0)
		return db_open_as_is(x);
	log_warn("%s: cannot be set aside", x->path);
	x->failures++;
	x->why = MAIL_TEMP;
	return -1;
}

static int
db_open_some(struct index_db *x)
{
	if (index_file_gone(x->dir))
		return db_begin_anew(x, "is gone, but was in use");
	if (db_open_as_is(x) == 0)
		return 0;
	return x->damaged ? db_begin_anew(x, "is damaged") : -1;
}

/* The mark of a file that is not suspect.  Its room is taken at the first opening; without it
 * the mark is made when it is needed.  The file is durable before (index_file_gone()). */
static void
mark_sound(struct index_db *x)
{
	if (index_file_marked(x->dir))
		return;
	if (checkpoint(x, SQLITE_CHECKPOINT_TRUNCATE) == -1 || fs_sync_dir(x->dir) == -1)
		log_warn("%s: cannot be made durable", x->path);
	else if (index_file_suspect(x->dir, false) == -1)
		log_warn("%s/suspect: cannot be written", x->dir);
}

static int
db_open(struct index_db *x)
{
	if (db_open_some(x) == -1)
		return -1;
	x->why = MAIL_OK;
	if (!index_file_is_suspect(x->dir)) {
		mark_sound(x);
		return 0;
	}
	log_warnx("%s: a sync had failed; the file is written anew", x->path);
	if (index_file_anew(x->db, x->dir) == 0) {
		db_close(x);
		if (index_file_install(x->dir) == 0)
			return db_open_as_is(x);
	} else if (page_sum_met(x->db)) {
		db_close(x);
		return db_begin_anew(x, "is damaged");
	} else {
		db_close(x);
	}
	x->failures++;
	x->why = MAIL_TEMP;
	return -1;
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
	x->wal_pages = WAL_PAGES;
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
	index_db_commit(x);		/* what fails comes again from the log */
	checkpoint(x, SQLITE_CHECKPOINT_TRUNCATE);
	db_close(x);
	close(x->lock);
	free(x->stmt);
	free(x->dir);
	free(x->path);
	free(x);
}

/* ---- records ------------------------------------------------------------- */

const char *
index_db_path(const struct index_db *x)
{
	return x->path;
}

uint64_t
index_db_applied(const struct index_db *x)
{
	return x->applied;
}

uint64_t
index_db_attach_from(const struct index_db *x)
{
	return x->unfilled ? OWNER_FROM_LOST : x->applied;
}

enum mail_rc
index_db_why(const struct index_db *x)
{
	return x->why;
}

uint64_t
index_db_failures(const struct index_db *x)
{
	return x->failures;
}

/* Back to the last commit. */
static void
undo(struct index_db *x)
{
	x->why = x->undo;
	x->undo = MAIL_OK;
	x->open = false;
	x->applied = x->committed;
	/* SQLite may have undone it by itself.  What cannot be undone goes with the file. */
	if (!sqlite3_get_autocommit(x->db)
	    && sqlite3_exec(x->db, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
		db_close(x);
}

int
index_db_resume(struct index_db *x)
{
	x->why = MAIL_OK;
	return x->db != NULL ? 0 : db_open(x);
}

static void
begin(struct index_db *x)
{
	if (x->open)
		return;
	x->undo = MAIL_OK;
	index_db_change(x, own(x, SQL_BEGIN));
	x->open = true;
}

enum mail_rc
index_db_apply(struct index_db *x, const struct owner_record *r,
    enum mail_rc (*apply)(void *, const struct owner_record *), void *arg)
{
	enum mail_rc rc = MAIL_OK;
	sqlite3_stmt *q;

	if (x->why != MAIL_OK)
		return x->why;
	if (r->lsn <= x->applied)
		return MAIL_OK;
	begin(x);
	if (x->undo == MAIL_OK)
		rc = apply(arg, r);
	if (x->undo == MAIL_OK) {
		q = own(x, SQL_SET_APPLIED);
		sqlite3_bind_int64(q, 1, (sqlite3_int64)r->lsn);
		index_db_change(x, q);
	}
	if (x->undo != MAIL_OK) {
		undo(x);
		return x->why;
	}
	if (rc == MAIL_BAD)
		log_warnx("%s: record lsn=%llu type=%u is malformed or incomplete, skipped", x->dir,
		    (unsigned long long)r->lsn, r->type);
	x->applied = r->lsn;
	return rc;
}

enum mail_rc
index_db_try(struct index_db *x, const struct owner_record *r,
    enum mail_rc (*apply)(void *, const struct owner_record *), void *arg)
{
	uint64_t before = x->failures;
	enum mail_rc rc = MAIL_OK;

	if (x->why != MAIL_OK)
		return x->why;
	index_db_change(x, own(x, SQL_TRY));
	if (x->failures == before)
		rc = apply(arg, r);
	/* A failure may have taken the transaction, and the savepoint with it. */
	if (x->failures == before || !sqlite3_get_autocommit(x->db)) {
		index_db_change(x, own(x, SQL_UNDO));
		index_db_change(x, own(x, SQL_TRIED));
	}
	return x->failures == before ? rc : x->undo;
}

int
index_db_commit(struct index_db *x)
{
	if (!x->open)
		return 0;
	if (x->undo == MAIL_OK)
		index_db_change(x, own(x, SQL_COMMIT));
	if (x->undo != MAIL_OK) {
		undo(x);
		return -1;
	}
	x->open = false;
	x->committed = x->applied;
	return 0;
}

void
index_db_wal_pages(struct index_db *x, int pages)
{
	x->wal_pages = pages;
}

uint64_t
index_db_checkpoint(struct index_db *x)
{
	if (index_db_commit(x) == -1 || x->db == NULL)
		return 0;
	return checkpoint(x, SQLITE_CHECKPOINT_FULL) == 0 ? x->applied : 0;
}

/* ---- seeding ------------------------------------------------------------- */

int
index_db_snapshot(struct index_db *x, uint64_t *lsn)
{
	index_db_commit(x);
	*lsn = x->applied;
	return x->db != NULL && !x->unfilled ? index_file_copy(x->db, x->dir) : -1;
}

int
index_db_replace(struct index_db *x, int fd)
{
	int rc;

	if (index_file_receive(x->dir, fd, own_sql[SQL_APPLIED]) == -1)
		return -1;
	index_db_commit(x);
	db_close(x);
	rc = index_file_install(x->dir);
	if (rc == 0 && x->unfilled && (rc = index_filled(x->dir)) == -1)
		log_warn("%s: cannot be marked as filled", x->dir);
	x->why = MAIL_OK;
	return db_open(x) == -1 ? -1 : rc;
}
