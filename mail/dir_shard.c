/* dir_shard.c - the directory's SQLite file, changed only by records of the log.
 *
 * Applying is deterministic and idempotent: every record carries all that it needs,
 * applied_lsn is set in the same transaction, and a record at or below it is skipped.
 * Two proposals that contradict each other are settled by their order in the log: the
 * second one finds the first one's result.  Any error of SQLite is fatal. */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir_shard.h"
#include "fs.h"
#include "log.h"
#include "mem.h"

enum sql {
	SQL_BEGIN, SQL_COMMIT, SQL_TRY, SQL_UNDO, SQL_TRIED, SQL_APPLIED, SQL_SET_APPLIED, SQL_DOMAIN, SQL_DOMAIN_ADD,
	SQL_DOMAIN_DELETE, SQL_DOMAIN_USED, SQL_USER, SQL_USER_ADD, SQL_USER_PASSWORD,
	SQL_USER_SUSPEND, SQL_USER_DELETE, SQL_OLDEST, SQL_ALIAS_ADD, SQL_ALIAS_DELETE,
	SQL_ALIAS_DELETE_ALL, SQL_ALIAS, SQL_ALIASES, SQL_DOMAINS, SQL_USERS, SQL_N
};

static const char *const sql[SQL_N] = {
	[SQL_BEGIN] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_TRY] = "SAVEPOINT try",
	[SQL_UNDO] = "ROLLBACK TO try",
	[SQL_TRIED] = "RELEASE try",
	[SQL_APPLIED] = "SELECT value FROM meta WHERE name = 'applied_lsn'",
	[SQL_SET_APPLIED] = "UPDATE meta SET value = ? WHERE name = 'applied_lsn'",
	[SQL_DOMAIN] = "SELECT 1 FROM domain WHERE name = ?",
	[SQL_DOMAIN_ADD] = "INSERT OR IGNORE INTO domain (name, created_ms) VALUES (?, ?)",
	[SQL_DOMAIN_DELETE] = "DELETE FROM domain WHERE name = ?",
	[SQL_DOMAIN_USED] = "SELECT 1 FROM user WHERE domain = ?1 UNION ALL "
			    "SELECT 1 FROM alias WHERE domain = ?1 LIMIT 1",
	[SQL_USER] = "SELECT id, shard, suspended, created_ms, address, hash FROM user "
		     "WHERE address = ?",
	[SQL_USER_ADD] = "INSERT OR IGNORE INTO user (id, shard, address, domain, hash, suspended, "
			 "created_ms) VALUES (?, ?, ?, ?, ?, 0, ?)",
	[SQL_USER_PASSWORD] = "UPDATE user SET hash = ?2 WHERE address = ?1",
	[SQL_USER_SUSPEND] = "UPDATE user SET suspended = ?2 WHERE address = ?1",
	[SQL_USER_DELETE] = "DELETE FROM user WHERE address = ?",
	[SQL_OLDEST] = "SELECT id, shard, suspended, created_ms, address, hash FROM user "
		       "WHERE domain = ? ORDER BY created_ms, address LIMIT 1",
	[SQL_ALIAS_ADD] = "INSERT OR IGNORE INTO alias (address, domain, target) VALUES (?, ?, ?)",
	[SQL_ALIAS_DELETE] = "DELETE FROM alias WHERE address = ? AND target = ?",
	[SQL_ALIAS_DELETE_ALL] = "DELETE FROM alias WHERE address = ?",
	[SQL_ALIAS] = "SELECT address, target FROM alias WHERE address = ? ORDER BY target",
	[SQL_ALIASES] = "SELECT address, target FROM alias ORDER BY address, target",
	[SQL_DOMAINS] = "SELECT name, created_ms, (SELECT count(*) FROM user WHERE domain = name), "
			"(SELECT count(DISTINCT address) FROM alias WHERE domain = name) "
			"FROM domain ORDER BY name",
	[SQL_USERS] = "SELECT id, shard, suspended, created_ms, address, hash FROM user "
		      "WHERE ?1 IS NULL OR domain = ?1 ORDER BY domain, address",
};

static const char schema[]
    = "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);"
      "INSERT OR IGNORE INTO meta VALUES ('schema', 1), ('applied_lsn', 0);"
      "CREATE TABLE IF NOT EXISTS domain (name TEXT PRIMARY KEY, created_ms INTEGER NOT NULL)"
      " WITHOUT ROWID;"
      "CREATE TABLE IF NOT EXISTS user (id INTEGER PRIMARY KEY, shard INTEGER NOT NULL,"
      " address TEXT NOT NULL UNIQUE, domain TEXT NOT NULL, hash TEXT NOT NULL,"
      " suspended INTEGER NOT NULL, created_ms INTEGER NOT NULL);"
      "CREATE INDEX IF NOT EXISTS user_domain ON user (domain, created_ms);"
      "CREATE TABLE IF NOT EXISTS alias (address TEXT NOT NULL, domain TEXT NOT NULL,"
      " target TEXT NOT NULL, PRIMARY KEY (address, target)) WITHOUT ROWID;"
      "CREATE INDEX IF NOT EXISTS alias_domain ON alias (domain);";

struct dir_shard {
	char *dir, *path;
	sqlite3 *db;
	sqlite3_stmt *stmt[SQL_N];
	int lock;			/* of the folder: one owner at a time */
	uint64_t applied;
	bool open;			/* a transaction is */
};

static _Noreturn void
broken(struct dir_shard *s, const char *what)
{
	log_fatal("directory %s: %s: %s", s->path, what, sqlite3_errmsg(s->db));
}

static sqlite3_stmt *
get(struct dir_shard *s, enum sql n)
{
	if (s->stmt[n] == NULL
	    && sqlite3_prepare_v3(s->db, sql[n], -1, SQLITE_PREPARE_PERSISTENT, &s->stmt[n], NULL)
		!= SQLITE_OK)
		broken(s, sql[n]);
	sqlite3_reset(s->stmt[n]);
	sqlite3_clear_bindings(s->stmt[n]);
	return s->stmt[n];
}

static void
bind_text(sqlite3_stmt *q, int i, const char *text)
{
	/* Static: the text outlives the step, and get() resets before the next use. */
	sqlite3_bind_text(q, i, text, -1, SQLITE_STATIC);
}

/* True when there is a row. */
static bool
row(struct dir_shard *s, sqlite3_stmt *q)
{
	int rc = sqlite3_step(q);

	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		broken(s, sqlite3_sql(q));
	return rc == SQLITE_ROW;
}

/* Runs a change; how many rows it changed. */
static int
change(struct dir_shard *s, sqlite3_stmt *q)
{
	if (row(s, q))
		broken(s, "a change gave a row");
	sqlite3_reset(q);
	return sqlite3_changes(s->db);
}

/* ---- opening ------------------------------------------------------------- */

static void
db_open(struct dir_shard *s)
{
	sqlite3_stmt *q;

	if (sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL)
	    != SQLITE_OK)
		broken(s, "open");
	sqlite3_busy_timeout(s->db, 5000);
	if (sqlite3_exec(s->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;", NULL, NULL,
		NULL) != SQLITE_OK
	    || sqlite3_exec(s->db, schema, NULL, NULL, NULL) != SQLITE_OK)
		broken(s, "schema");
	q = get(s, SQL_APPLIED);
	if (!row(s, q))
		broken(s, "no applied_lsn");
	s->applied = (uint64_t)sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
}

static void
db_close(struct dir_shard *s)
{
	for (int i = 0; i < SQL_N; i++) {
		sqlite3_finalize(s->stmt[i]);
		s->stmt[i] = NULL;
	}
	if (sqlite3_close(s->db) != SQLITE_OK)
		broken(s, "close");
	s->db = NULL;
}

struct dir_shard *
dir_shard_open(const char *dir)
{
	struct dir_shard *s = mem_alloc(sizeof(*s));

	s->dir = mem_dup(dir);
	s->path = mem_printf("%s/index.db", dir);
	/* The process before us may still be ending: its last commit comes first. */
	s->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->lock == -1 || flock(s->lock, LOCK_EX) == -1)
		log_fatal("cannot lock %s: %s", dir, strerror(errno));
	db_open(s);
	return s;
}

void
dir_shard_close(struct dir_shard *s)
{
	if (s == NULL)
		return;
	dir_shard_commit(s);
	db_close(s);
	close(s->lock);
	free(s->dir);
	free(s->path);
	free(s);
}

uint64_t
dir_shard_applied(const struct dir_shard *s)
{
	return s->applied;
}

/* ---- applying ------------------------------------------------------------ */

static const char *
domain_of(const char *address)
{
	const char *at = strrchr(address, '@');

	return at != NULL ? at + 1 : "";
}

static enum mail_rc
apply_domain(struct dir_shard *s, bool add, int64_t ms, struct wire_in *in)
{
	char name[ADDRESS_DOMAIN_MAX + 1];
	sqlite3_stmt *q;
	bool used;

	wire_get_str(in, name, sizeof(name));
	if (!wire_in_done(in))
		return MAIL_BAD;
	if (!add) {
		q = get(s, SQL_DOMAIN_USED);
		bind_text(q, 1, name);
		used = row(s, q);
		sqlite3_reset(q);
		if (used)
			return MAIL_EXISTS;
	}
	q = get(s, add ? SQL_DOMAIN_ADD : SQL_DOMAIN_DELETE);
	bind_text(q, 1, name);
	if (add)
		sqlite3_bind_int64(q, 2, ms);
	if (change(s, q) == 1)
		return MAIL_OK;
	return add ? MAIL_EXISTS : MAIL_UNKNOWN;
}

static enum mail_rc
apply_user_add(struct dir_shard *s, int64_t ms, struct wire_in *in)
{
	char address[ADDRESS_MAX + 1], hash[DIR_HASH_MAX];
	uint64_t id = wire_get_u64(in);
	uint16_t shard = wire_get_u16(in);
	sqlite3_stmt *q;

	wire_get_str(in, address, sizeof(address));
	wire_get_str(in, hash, sizeof(hash));
	if (!wire_in_done(in) || id == 0 || id > INT64_MAX)
		return MAIL_BAD;
	if (!dir_shard_domain(s, domain_of(address)))
		return MAIL_UNKNOWN;
	q = get(s, SQL_USER_ADD);
	sqlite3_bind_int64(q, 1, (sqlite3_int64)id);
	sqlite3_bind_int(q, 2, shard);
	bind_text(q, 3, address);
	bind_text(q, 4, domain_of(address));
	bind_text(q, 5, hash);
	sqlite3_bind_int64(q, 6, ms);
	return change(s, q) == 1 ? MAIL_OK : MAIL_EXISTS;
}

static enum mail_rc
apply_user(struct dir_shard *s, enum dir_record type, struct wire_in *in)
{
	char address[ADDRESS_MAX + 1], hash[DIR_HASH_MAX];
	sqlite3_stmt *q;
	uint8_t on = 0;

	wire_get_str(in, address, sizeof(address));
	if (type == DIR_USER_PASSWORD)
		wire_get_str(in, hash, sizeof(hash));
	else if (type == DIR_USER_SUSPEND)
		on = wire_get_u8(in);
	if (!wire_in_done(in))
		return MAIL_BAD;
	q = get(s, type == DIR_USER_PASSWORD ? SQL_USER_PASSWORD
		: type == DIR_USER_SUSPEND   ? SQL_USER_SUSPEND
					     : SQL_USER_DELETE);
	bind_text(q, 1, address);
	if (type == DIR_USER_PASSWORD)
		bind_text(q, 2, hash);
	else if (type == DIR_USER_SUSPEND)
		sqlite3_bind_int(q, 2, on != 0);
	return change(s, q) == 1 ? MAIL_OK : MAIL_UNKNOWN;
}

static enum mail_rc
apply_alias(struct dir_shard *s, bool add, struct wire_in *in)
{
	char address[ADDRESS_MAX + 1], target[ADDRESS_MAX + 1];
	sqlite3_stmt *q;
	unsigned n;
	int changed = 0;

	wire_get_str(in, address, sizeof(address));
	n = wire_get_u16(in);
	if (!wire_in_ok(in))
		return MAIL_BAD;
	if (add && !dir_shard_domain(s, domain_of(address)))
		return MAIL_UNKNOWN;
	if (!add && n == 0) {
		q = get(s, SQL_ALIAS_DELETE_ALL);
		bind_text(q, 1, address);
		changed = change(s, q);
	}
	for (; n > 0; n--) {
		wire_get_str(in, target, sizeof(target));
		if (!wire_in_ok(in))
			return MAIL_BAD;
		q = get(s, add ? SQL_ALIAS_ADD : SQL_ALIAS_DELETE);
		bind_text(q, 1, address);
		bind_text(q, 2, add ? domain_of(address) : target);
		if (add)
			bind_text(q, 3, target);
		changed += change(s, q);
	}
	if (changed > 0)
		return MAIL_OK;
	return add ? MAIL_EXISTS : MAIL_UNKNOWN;
}

static enum mail_rc
apply(struct dir_shard *s, const struct owner_record *r)
{
	struct wire_in in;

	wire_in_init(&in, r->payload.p, r->payload.len);
	switch (r->type) {
	case OWNER_REC_GENERATION:
		return MAIL_OK;
	case DIR_DOMAIN_ADD:
	case DIR_DOMAIN_DELETE:
		return apply_domain(s, r->type == DIR_DOMAIN_ADD, r->time_ms, &in);
	case DIR_USER_ADD:
		return apply_user_add(s, r->time_ms, &in);
	case DIR_USER_PASSWORD:
	case DIR_USER_SUSPEND:
	case DIR_USER_DELETE:
		return apply_user(s, (enum dir_record)r->type, &in);
	case DIR_ALIAS_ADD:
	case DIR_ALIAS_DELETE:
		return apply_alias(s, r->type == DIR_ALIAS_ADD, &in);
	default:
		return MAIL_BAD;
	}
}

enum mail_rc
dir_shard_apply(struct dir_shard *s, const struct owner_record *r)
{
	sqlite3_stmt *q;
	enum mail_rc rc;

	if (r->lsn <= s->applied)
		return MAIL_OK;
	if (!s->open)
		change(s, get(s, SQL_BEGIN));
	s->open = true;
	rc = apply(s, r);
	if (rc == MAIL_BAD)
		log_warnx("directory: record lsn=%llu type=%u is malformed, skipped",
		    (unsigned long long)r->lsn, r->type);
	q = get(s, SQL_SET_APPLIED);
	sqlite3_bind_int64(q, 1, (sqlite3_int64)r->lsn);
	change(s, q);
	s->applied = r->lsn;
	return rc;
}

enum mail_rc
dir_shard_try(struct dir_shard *s, enum dir_record type, struct span payload)
{
	struct owner_record r = { .type = (uint8_t)type, .payload = payload };
	enum mail_rc rc;

	change(s, get(s, SQL_TRY));
	rc = apply(s, &r);
	change(s, get(s, SQL_UNDO));
	change(s, get(s, SQL_TRIED));
	return rc;
}

void
dir_shard_commit(struct dir_shard *s)
{
	if (!s->open)
		return;
	change(s, get(s, SQL_COMMIT));
	s->open = false;
}

/* ---- checkpoint and seeding ---------------------------------------------- */

uint64_t
dir_shard_checkpoint(struct dir_shard *s)
{
	dir_shard_commit(s);
	/* FULL writes and syncs the database file, so that all applied is in it. */
	if (sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_FULL, NULL, NULL)
	    != SQLITE_OK) {
		log_warnx("directory: checkpoint failed: %s", sqlite3_errmsg(s->db));
		return 0;
	}
	return s->applied;
}

int
dir_shard_snapshot(struct dir_shard *s, uint64_t *lsn)
{
	char *path = mem_printf("%s/snapshot.db", s->dir), *cmd;
	int fd = -1;

	dir_shard_commit(s);
	unlink(path);
	cmd = sqlite3_mprintf("VACUUM INTO %Q", path);
	if (cmd == NULL)
		log_fatal("out of memory");
	if (sqlite3_exec(s->db, cmd, NULL, NULL, NULL) != SQLITE_OK)
		log_warnx("directory: snapshot failed: %s", sqlite3_errmsg(s->db));
	else
		fd = open(path, O_RDONLY | O_CLOEXEC);
	unlink(path);
	sqlite3_free(cmd);
	free(path);
	*lsn = s->applied;
	return fd;
}

static int
copy_to(int from, const char *path)
{
	int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), rc = 0;
	char buf[65536];
	ssize_t n;

	if (to == -1)
		return -1;
	for (off_t at = 0; rc == 0 && (n = fs_pread_all(from, buf, sizeof(buf), at)) != 0; at += n)
		rc = n == -1 || fs_write_all(to, buf, (size_t)n) == -1 ? -1 : 0;
	if (rc == 0)
		rc = fsync(to);
	return close(to) == -1 ? -1 : rc;
}

/* Is it a whole database of ours?  Asked before it takes the place of the old one. */
static bool
sound(const char *path)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *q = NULL;
	bool ok = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK
	    && sqlite3_prepare_v2(db, sql[SQL_APPLIED], -1, &q, NULL) == SQLITE_OK
	    && sqlite3_step(q) == SQLITE_ROW;

	sqlite3_finalize(q);
	q = NULL;
	ok = ok && sqlite3_prepare_v2(db, "PRAGMA quick_check", -1, &q, NULL) == SQLITE_OK
	    && sqlite3_step(q) == SQLITE_ROW
	    && strcmp((const char *)sqlite3_column_text(q, 0), "ok") == 0;
	sqlite3_finalize(q);
	sqlite3_close(db);
	return ok;
}

int
dir_shard_replace(struct dir_shard *s, int fd)
{
	char *tmp = mem_printf("%s/seed.db", s->dir);
	int rc = -1;

	if (copy_to(fd, tmp) == -1)
		log_warn("directory: cannot write the seed");
	else if (!sound(tmp))
		log_warnx("directory: the seed is damaged, refused");
	else {
		dir_shard_commit(s);
		db_close(s);		/* the last connection takes its WAL away */
		rc = rename(tmp, s->path) == -1 || fs_sync_dir(s->dir) == -1 ? -1 : 0;
		if (rc == -1)
			log_warn("directory: cannot put the seed in place");
		db_open(s);
	}
	unlink(tmp);
	free(tmp);
	return rc;
}

/* ---- looking up ---------------------------------------------------------- */

bool
dir_shard_domain(struct dir_shard *s, const char *name)
{
	sqlite3_stmt *q = get(s, SQL_DOMAIN);
	bool found;

	bind_text(q, 1, name);
	found = row(s, q);
	sqlite3_reset(q);
	return found;
}

static void
column(sqlite3_stmt *q, int i, char *dst, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(q, i);

	if (text == NULL || span_copy(span_of(text), dst, size) == -1)
		dst[0] = '\0';
}

static void
user_row(sqlite3_stmt *q, struct dir_user *u)
{
	u->id = (uint64_t)sqlite3_column_int64(q, 0);
	u->shard = (uint16_t)sqlite3_column_int(q, 1);
	u->suspended = sqlite3_column_int(q, 2) != 0;
	u->created_ms = sqlite3_column_int64(q, 3);
	column(q, 4, u->address, sizeof(u->address));
	column(q, 5, u->hash, sizeof(u->hash));
}

static bool
one_user(struct dir_shard *s, enum sql n, const char *key, struct dir_user *u)
{
	sqlite3_stmt *q = get(s, n);
	bool found;

	bind_text(q, 1, key);
	if ((found = row(s, q)))
		user_row(q, u);
	sqlite3_reset(q);
	return found;
}

bool
dir_shard_user(struct dir_shard *s, const char *address, struct dir_user *u)
{
	return one_user(s, SQL_USER, address, u);
}

bool
dir_shard_oldest(struct dir_shard *s, const char *domain, struct dir_user *u)
{
	return one_user(s, SQL_OLDEST, domain, u);
}

void
dir_shard_domains(struct dir_shard *s,
    void (*each)(const char *, int64_t, uint64_t, uint64_t, void *), void *arg)
{
	sqlite3_stmt *q = get(s, SQL_DOMAINS);

	while (row(s, q))
		each((const char *)sqlite3_column_text(q, 0), sqlite3_column_int64(q, 1),
		    (uint64_t)sqlite3_column_int64(q, 2), (uint64_t)sqlite3_column_int64(q, 3), arg);
	sqlite3_reset(q);
}

void
dir_shard_users(struct dir_shard *s, const char *domain,
    void (*each)(const struct dir_user *, void *), void *arg)
{
	sqlite3_stmt *q = get(s, SQL_USERS);
	struct dir_user u;

	if (domain != NULL)
		bind_text(q, 1, domain);
	while (row(s, q)) {
		user_row(q, &u);
		each(&u, arg);
	}
	sqlite3_reset(q);
}

uint64_t
dir_shard_aliases(struct dir_shard *s, const char *address,
    void (*each)(const char *, const char *, void *), void *arg)
{
	sqlite3_stmt *q = get(s, address != NULL ? SQL_ALIAS : SQL_ALIASES);
	uint64_t n = 0;

	if (address != NULL)
		bind_text(q, 1, address);
	for (; row(s, q); n++)
		if (each != NULL)
			each((const char *)sqlite3_column_text(q, 0),
			    (const char *)sqlite3_column_text(q, 1), arg);
	sqlite3_reset(q);
	return n;
}
