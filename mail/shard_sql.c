/* shard_sql.c - the index file of a shard: its tables, its two connections, and its
 * prepared statements.
 *
 * Statements are compiled when they are first needed: maild answers after a restart as
 * soon as its shards are open.
 *
 * Promise: WAL, synchronous=NORMAL; after a process crash the last committed
 * transaction is there, after a power cut at least what the last checkpoint held.
 * The write-ahead log is brought into the file by the checkpoint job, not here.
 * Failure: -1 with ENOSPC, EIO or EBADMSG (the file is damaged). */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"
#include "page_sum.h"
#include "shard_priv.h"

#define SHARD_SCHEMA 2

static const char schema[] =
    "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), applied_lsn INTEGER NOT NULL,"
    " modseq INTEGER NOT NULL, uidvalidity INTEGER NOT NULL, gen_no INTEGER NOT NULL,"
    " gen_kind INTEGER NOT NULL, gen_node INTEGER NOT NULL, gap_gen INTEGER NOT NULL,"
    " last_ms INTEGER NOT NULL);"
    "INSERT INTO state VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0);"
    "CREATE TABLE boxes (id INTEGER PRIMARY KEY, user INTEGER NOT NULL, name TEXT NOT NULL,"
    " guid BLOB NOT NULL, special TEXT NOT NULL, uidvalidity INTEGER NOT NULL,"
    " uidnext INTEGER NOT NULL, modseq INTEGER NOT NULL, gap_gen INTEGER NOT NULL,"
    " exist INTEGER NOT NULL, unseen INTEGER NOT NULL, digest INTEGER NOT NULL,"
    " deleted_lsn INTEGER NOT NULL, deleted_ms INTEGER NOT NULL);"
    "CREATE UNIQUE INDEX boxes_name ON boxes (user, name) WHERE deleted_lsn = 0;"
    "CREATE INDEX boxes_dead ON boxes (deleted_ms) WHERE deleted_lsn > 0 AND exist > 0;"
    "CREATE TABLE messages (box INTEGER NOT NULL, uid INTEGER NOT NULL,"
    " flags INTEGER NOT NULL, keywords TEXT NOT NULL, modseq INTEGER NOT NULL,"
    " size INTEGER NOT NULL, internal_s INTEGER NOT NULL, sha BLOB NOT NULL,"
    " guid BLOB NOT NULL, PRIMARY KEY (box, uid)) WITHOUT ROWID;"
    "CREATE INDEX messages_modseq ON messages (box, modseq);"
    "CREATE TABLE tombstones (box INTEGER NOT NULL, uid INTEGER NOT NULL,"
    " modseq INTEGER NOT NULL, lsn INTEGER NOT NULL, ms INTEGER NOT NULL,"
    " flags INTEGER NOT NULL, size INTEGER NOT NULL, internal_s INTEGER NOT NULL,"
    " sha BLOB NOT NULL, guid BLOB NOT NULL, PRIMARY KEY (box, uid)) WITHOUT ROWID;"
    "CREATE TABLE objects (sha BLOB PRIMARY KEY, size INTEGER NOT NULL,"
    " refs INTEGER NOT NULL, zero_lsn INTEGER NOT NULL, zero_ms INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE INDEX objects_dead ON objects (zero_ms) WHERE refs = 0;"
    "CREATE TABLE parts (sha BLOB PRIMARY KEY, first_lsn INTEGER NOT NULL,"
    " first_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE missing (sha BLOB PRIMARY KEY, lsn INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE subscriptions (user INTEGER NOT NULL, name TEXT NOT NULL,"
    " PRIMARY KEY (user, name)) WITHOUT ROWID;"
    "PRAGMA user_version = 1;";

/* From each version to the next; a new index takes all the steps. */
static const char *const upgrades[SHARD_SCHEMA] = {
	[1] = "ALTER TABLE boxes ADD COLUMN reserve INTEGER NOT NULL DEFAULT 0;"
	    "CREATE TABLE merged (fork INTEGER NOT NULL, box BLOB NOT NULL, guid BLOB NOT NULL,"
	    " PRIMARY KEY (fork, box, guid)) WITHOUT ROWID;"
	    "PRAGMA user_version = 2;",
};

#define BOX_FACTS "SELECT id, name, uidvalidity, uidnext, exist, unseen, modseq, gap_gen," \
	" special, EXISTS (SELECT 1 FROM subscriptions s WHERE s.user = boxes.user AND" \
	" s.name = boxes.name), user, reserve FROM boxes "
#define MSG_ROW "SELECT uid, flags, keywords, modseq, size, internal_s, sha, guid FROM messages "

static const char *const write_sql[W_COUNT] = {
	[W_BEGIN] = "BEGIN IMMEDIATE",
	[W_COMMIT] = "COMMIT",
	[W_ROLLBACK] = "ROLLBACK",
	[W_STATE_SET] = "UPDATE state SET applied_lsn = ?, modseq = ?, uidvalidity = ?,"
	    " gen_no = ?, gen_kind = ?, gen_node = ?, gap_gen = ?, last_ms = ?",
	[W_BOX_GET] = "SELECT id, user, uidvalidity, uidnext, modseq, gap_gen, exist, unseen,"
	    " digest, reserve FROM boxes WHERE id = ? AND deleted_lsn = 0",
	[W_BOX_FIND] = "SELECT id FROM boxes WHERE user = ? AND name = ? AND deleted_lsn = 0",
	[W_BOX_ADD] = "INSERT OR IGNORE INTO boxes VALUES"
	    " (?, ?, ?, ?, ?, ?, 1, ?, ?, 0, 0, 0, 0, 0, 0)",
	[W_BOX_SET] = "UPDATE boxes SET uidnext = ?, modseq = ?, gap_gen = ?, exist = ?,"
	    " unseen = ?, digest = ? WHERE id = ?",
	[W_BOX_KILL] = "UPDATE boxes SET deleted_lsn = ?, deleted_ms = ? WHERE id = ?",
	[W_BOX_NAME] = "UPDATE OR IGNORE boxes SET name = ? WHERE id = ?",
	/* names in [prefix "/", prefix "0"): '0' follows '/' */
	[W_BOX_UNDER] = "SELECT id, name FROM boxes WHERE user = ? AND name > ? AND name < ?"
	    " AND deleted_lsn = 0 ORDER BY name LIMIT 1",
	[W_MSG_ADD] = "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[W_MSG_NEXT] = MSG_ROW "WHERE box = ? AND uid >= ? ORDER BY uid LIMIT 1",
	[W_MSG_FLAGS] = "UPDATE messages SET flags = ?, keywords = ?, modseq = ?"
	    " WHERE box = ? AND uid = ?",
	[W_MSG_DEL] = "DELETE FROM messages WHERE box = ? AND uid = ?",
	[W_TOMB_ADD] = "INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[W_TOMB_GET] = "SELECT guid FROM tombstones WHERE box = ? AND uid = ?",
	[W_OBJ_GET] = "SELECT refs FROM objects WHERE sha = ?",
	[W_OBJ_REF] = "INSERT INTO objects VALUES (?, ?, 1, 0, 0)"
	    " ON CONFLICT (sha) DO UPDATE SET refs = refs + 1",
	[W_OBJ_UNREF] = "UPDATE objects SET refs = refs - 1, zero_lsn = ?, zero_ms = ?"
	    " WHERE sha = ? AND refs > 0",
	[W_OBJ_DEAD] = "SELECT sha FROM objects WHERE refs = 0 AND zero_ms <= ? AND"
	    " zero_lsn <= ? AND NOT EXISTS (SELECT 1 FROM parts WHERE parts.sha = objects.sha)"
	    " LIMIT 1",
	[W_OBJ_DEL] = "DELETE FROM objects WHERE sha = ? AND refs = 0",
	[W_PART_SET] = "INSERT OR IGNORE INTO parts VALUES (?, ?, ?)",
	[W_PART_DEL] = "DELETE FROM parts WHERE sha = ?",
	[W_PART_FIRST] = "SELECT sha, first_lsn FROM parts ORDER BY first_lsn LIMIT 1",
	[W_SUB_ADD] = "INSERT OR IGNORE INTO subscriptions VALUES (?, ?)",
	[W_SUB_DEL] = "DELETE FROM subscriptions WHERE user = ? AND name = ?",
	[W_MISSING_ADD] = "INSERT OR IGNORE INTO missing VALUES (?, ?)",
	[W_MISSING_DEL] = "DELETE FROM missing WHERE sha = ?",
	[W_MISSING_GONE] = "DELETE FROM missing WHERE sha = ?1 AND NOT EXISTS (SELECT 1 FROM"
	    " objects WHERE sha = ?1 AND refs > 0)",
	[W_BOX_DEAD] = "SELECT id, deleted_lsn, deleted_ms FROM boxes WHERE deleted_lsn > 0 AND"
	    " exist > 0 AND deleted_ms <= ? LIMIT 1",
	[W_BOX_REAPED] = "UPDATE boxes SET exist = 0, unseen = 0 WHERE id = ?",
	[W_REUSE_UIDS] = "UPDATE boxes SET uidnext = 1 + coalesce((SELECT max(uid) FROM messages"
	    " WHERE box = boxes.id), 0)",
	[W_BOX_IS] = "SELECT 1 FROM boxes WHERE id = ? AND name = ? AND deleted_lsn = 0",
	[W_BOX_GUID] = "SELECT id FROM boxes WHERE guid = ? AND deleted_lsn = 0",
	[W_BOX_RENUMBER] = "UPDATE boxes SET uidvalidity = ? WHERE id = ?",
	[W_BOX_RESERVE] = "UPDATE boxes SET reserve = max(reserve, ?1), uidnext = max(uidnext, CASE WHEN ?3 THEN ?1"
	    " ELSE 0 END) WHERE id = ?2",
	[W_MSG_LATER] = "SELECT 1 FROM messages WHERE box = ? AND modseq > ? LIMIT 1",
	[W_MERGED_GET] = "SELECT 1 FROM merged WHERE fork = ? AND box = ? AND guid = ?",
	[W_MERGED_ADD] = "INSERT OR IGNORE INTO merged VALUES (?, ?, ?)",
	[W_MERGED_OLD] = "DELETE FROM merged WHERE fork < ?",
};

static const char *const read_sql[R_COUNT] = {
	[R_BOX_NAME] = BOX_FACTS "WHERE user = ? AND name = ? AND deleted_lsn = 0",
	[R_BOX_ID] = BOX_FACTS "WHERE id = ? AND deleted_lsn = 0",
	[R_BOX_GUID] = BOX_FACTS "WHERE guid = ? AND deleted_lsn = 0",
	[R_BOX_LIST] = BOX_FACTS "WHERE user = ? AND deleted_lsn = 0 ORDER BY name",
	[R_SUB_LIST] = "SELECT name FROM subscriptions WHERE user = ? ORDER BY name",
	[R_CHILD] = "SELECT 1 FROM boxes WHERE user = ? AND name > ? AND name < ? AND"
	    " deleted_lsn = 0 LIMIT 1",
	[R_MSGS] = MSG_ROW "WHERE box = ? AND uid >= ? ORDER BY uid",
	[R_MSGS_SINCE] = MSG_ROW "INDEXED BY messages_modseq WHERE box = ? AND modseq > ?"
	    " AND uid >= ? ORDER BY uid",
	[R_UIDS] = "SELECT uid FROM messages WHERE box = ? AND uid >= ? AND uid <= ? ORDER BY uid",
	[R_BOX_COUNT] = "SELECT count(*) FROM boxes WHERE user = ? AND deleted_lsn = 0",
	[R_MSG] = MSG_ROW "WHERE box = ? AND uid = ?",
};

int
sql_errno(sqlite3 *db)
{
	int e;

	if (page_sum_damage(db))
		return EBADMSG;
	switch (sqlite3_errcode(db)) {
	case SQLITE_FULL:
		return ENOSPC;
	case SQLITE_BUSY:
		return EAGAIN;
	default:
		e = sqlite3_system_errno(db);
		return e == ENOSPC || e == EDQUOT ? ENOSPC : EIO;
	}
}

bool
sql_sync_failed(sqlite3 *db)
{
	int e = sqlite3_extended_errcode(db);

	return e == SQLITE_IOERR_FSYNC || e == SQLITE_IOERR_DIR_FSYNC;
}

static int
bind_one(sqlite3_stmt *st, int at, char kind, va_list *ap)
{
	struct span s;

	switch (kind) {
	case 'i':
		return sqlite3_bind_int64(st, at, va_arg(*ap, int64_t));
	case 't':
		return sqlite3_bind_text(st, at, va_arg(*ap, const char *), -1, SQLITE_STATIC);
	case 'T':
		s = va_arg(*ap, struct span);
		return sqlite3_bind_text(st, at, s.p, (int)s.len, SQLITE_STATIC);
	case 'b':
		return sqlite3_bind_blob(st, at, va_arg(*ap, const void *), 32, SQLITE_STATIC);
	default:
		assert(kind == 'g');
		return sqlite3_bind_blob(st, at, va_arg(*ap, const void *), 16, SQLITE_STATIC);
	}
}

int
sql_run(sqlite3_stmt *st, const char *fmt, ...)
{
	va_list ap;
	int rc = SQLITE_OK;

	if (st == NULL)
		return -1;
	va_start(ap, fmt);
	for (int i = 0; fmt[i] != '\0' && rc == SQLITE_OK; i++)
		rc = bind_one(st, i + 1, fmt[i], &ap);
	va_end(ap);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		return 1;
	if (rc != SQLITE_DONE) {
		int e = sql_errno(sqlite3_db_handle(st));

		sqlite3_reset(st);
		errno = e;
		return -1;
	}
	sqlite3_reset(st);
	return 0;
}

static int
db_open(const char *path, int flags, sqlite3 **db, char *err, size_t errlen)
{
	static const char pragmas[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
	    "PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -4096; PRAGMA trusted_schema = 0;"
	    "PRAGMA cell_size_check = 1; PRAGMA temp_store = MEMORY;";

	if (page_sum_open(path, db, flags | SQLITE_OPEN_NOMUTEX) == SQLITE_OK) {
		sqlite3_busy_timeout(*db, 5000);
		if (sqlite3_exec(*db, pragmas, NULL, NULL, NULL) == SQLITE_OK)
			return 0;
	}
	snprintf(err, errlen, "%s: %s", path, *db == NULL ? "no memory" : sqlite3_errmsg(*db));
	errno = *db == NULL ? ENOMEM : sql_errno(*db);
	sqlite3_close(*db);
	*db = NULL;
	return -1;
}

static sqlite3_stmt *
ready(sqlite3 *db, const char *sql, sqlite3_stmt **st)
{
	if (*st == NULL && sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, st, NULL) !=
	    SQLITE_OK)
		errno = sql_errno(db);
	return *st;
}

sqlite3_stmt *
shard_w(struct shard *sh, enum shard_write n)
{
	return ready(sh->db, write_sql[n], &sh->w[n]);
}

sqlite3_stmt *
shard_r(struct shard *sh, enum shard_readq n)
{
	if (sh->unfilled) {	/* what it does not hold may be in the one that was lost */
		errno = ENODATA;
		return NULL;
	}
	return ready(sh->rd, read_sql[n], &sh->r[n]);
}

/* What a transaction needs to begin and to end, also while the disk refuses; nothing may
 * have to be compiled then.  The others are many, and most shards need few of them. */
static int
prepare(struct shard *sh, char *err, size_t errlen)
{
	static const enum shard_write first[] = { W_BEGIN, W_COMMIT, W_ROLLBACK, W_STATE_SET };

	for (size_t i = 0; i < sizeof(first) / sizeof(*first); i++)
		if (shard_w(sh, first[i]) == NULL) {
			snprintf(err, errlen, "index.db: %s", sqlite3_errmsg(sh->db));
			return -1;
		}
	return 0;
}

/* Each step is a transaction: a crash leaves the version before it or the one behind. */
static int
schema_step(sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK &&
	    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	return -1;
}

static int
schema_ready(sqlite3 *db, char *err, size_t errlen)
{
	sqlite3_stmt *st = NULL;
	int version = -1;

	if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		version = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	if (version > SHARD_SCHEMA) {
		snprintf(err, errlen, "index.db has format %d, this program reads %d", version,
		    SHARD_SCHEMA);
		errno = EPROTO;
		return -1;
	}
	if (version == 0)
		version = schema_step(db, schema) == 0 ? 1 : -1;
	while (version > 0 && version < SHARD_SCHEMA)
		version = schema_step(db, upgrades[version]) == 0 ? version + 1 : -1;
	if (version == SHARD_SCHEMA)
		return 0;
	snprintf(err, errlen, "index.db: %s", sqlite3_errmsg(db));
	errno = sql_errno(db);
	return -1;
}

int
shard_state_load(struct shard *sh)
{
	sqlite3_stmt *st = NULL;
	struct shard_state *s = &sh->committed;
	int rc = -1;

	if (sqlite3_prepare_v2(sh->db, "SELECT applied_lsn, modseq, uidvalidity, gen_no, gen_kind,"
	    " gen_node, gap_gen, last_ms FROM state", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW) {
		s->applied_lsn = (uint64_t)sqlite3_column_int64(st, 0);
		s->modseq = (uint64_t)sqlite3_column_int64(st, 1);
		s->uidvalidity = (uint32_t)sqlite3_column_int64(st, 2);
		s->gen_no = (uint64_t)sqlite3_column_int64(st, 3);
		s->gen_kind = (uint8_t)sqlite3_column_int(st, 4);
		s->gen_node = (uint8_t)sqlite3_column_int(st, 5);
		s->gap_gen = (uint64_t)sqlite3_column_int64(st, 6);
		s->last_ms = sqlite3_column_int64(st, 7);
		sh->now = *s;
		rc = 0;
	} else {
		errno = sql_errno(sh->db);
	}
	sqlite3_finalize(st);
	return rc;
}

int
shard_sql_make(const char *path, char *err, size_t errlen)
{
	static const char quick[] = "PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL;";
	sqlite3 *db = NULL;
	int rc = -1;

	if (page_sum_open(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
	    SQLITE_OPEN_NOMUTEX) == SQLITE_OK &&
	    sqlite3_exec(db, quick, NULL, NULL, NULL) == SQLITE_OK)
		rc = schema_ready(db, err, errlen);
	else
		snprintf(err, errlen, "%s: %s", path,
		    db == NULL ? "no memory" : sqlite3_errmsg(db));
	/* Only the file itself is given its name, so all must be in it; closing would take the
	 * write-ahead log in as well, but does not say when it cannot. */
	if (rc == 0 && sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) !=
	    SQLITE_OK) {
		snprintf(err, errlen, "%s: %s", path, sqlite3_errmsg(db));
		rc = -1;
	}
	if (sqlite3_close(db) != SQLITE_OK && rc == 0) {
		snprintf(err, errlen, "%s: cannot be closed", path);
		rc = -1;
	}
	return rc;
}

int
shard_sql_open(struct shard *sh, char *err, size_t errlen)
{
	char *path = mem_printf("%s/index.db", sh->dir);
	int rc = -1;

	if (db_open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &sh->db, err, errlen) == 0 &&
	    schema_ready(sh->db, err, errlen) == 0 &&
	    db_open(path, SQLITE_OPEN_READWRITE, &sh->rd, err, errlen) == 0 &&
	    prepare(sh, err, errlen) == 0) {
		if (shard_state_load(sh) == 0)
			rc = 0;
		else
			snprintf(err, errlen, "%s: %s", path, sqlite3_errmsg(sh->db));
	}
	if (rc == -1)
		shard_sql_close(sh);
	free(path);
	return rc;
}

/* The first column of the first row; "" when there is none. */
static void
first_text(sqlite3 *db, const char *sql, char *text, size_t size)
{
	sqlite3_stmt *st = NULL;
	const char *is = NULL;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		is = (const char *)sqlite3_column_text(st, 0);
	snprintf(text, size, "%s", is != NULL ? is : "");
	sqlite3_finalize(st);
}

int
shard_sql_sound(const char *path, char *err, size_t errlen)
{
	char version[24] = "", applied[24] = "", check[200] = "";
	uint64_t form = 0, at = 0;
	sqlite3 *db = NULL;
	int rc = -1;

	if (page_sum_open(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX) == SQLITE_OK) {
		first_text(db, "PRAGMA user_version", version, sizeof(version));
		first_text(db, "SELECT applied_lsn FROM state", applied, sizeof(applied));
		first_text(db, "PRAGMA quick_check(1)", check, sizeof(check));
	}
	if (span_u64(span_of(version), INT32_MAX, &form) == PARSE_OK && form > SHARD_SCHEMA)
		snprintf(err, errlen, "it has format %llu, this program reads %d",
		    (unsigned long long)form, SHARD_SCHEMA);
	else if (strcmp(check, "ok") != 0)
		snprintf(err, errlen, "it is damaged: %s", check[0] != '\0' ? check :
		    sqlite3_errmsg(db));
	else if (form == 0 || span_u64(span_of(applied), INT64_MAX, &at) != PARSE_OK)
		snprintf(err, errlen, "it is not a shard's index");
	else
		rc = 0;
	sqlite3_close(db);
	if (rc == -1)
		errno = EBADMSG;
	return rc;
}

void
shard_sql_close(struct shard *sh)
{
	int e = errno;

	for (int i = 0; i < W_COUNT; i++)
		sqlite3_finalize(sh->w[i]);
	for (int i = 0; i < R_COUNT; i++)
		sqlite3_finalize(sh->r[i]);
	memset(sh->w, 0, sizeof(sh->w));
	memset(sh->r, 0, sizeof(sh->r));
	sqlite3_close(sh->rd);
	sqlite3_close(sh->db);
	sh->rd = sh->db = NULL;
	sh->open = false;
	errno = e;
}

sqlite3 *
shard_sql_extra(const char *dir, bool readonly)
{
	char *path = mem_printf("%s/index.db", dir), err[200];
	sqlite3 *db = NULL;

	/* A WAL reader needs to write the shared-memory file, so "readonly" is by query. */
	if (db_open(path, SQLITE_OPEN_READWRITE, &db, err, sizeof(err)) == -1) {
		int e = errno;

		log_warnx("store: %s", err);
		errno = e;
	} else if (readonly)
		sqlite3_exec(db, "PRAGMA query_only = 1", NULL, NULL, NULL);
	free(path);
	return db;
}
