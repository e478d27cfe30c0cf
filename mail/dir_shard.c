/* dir_shard.c - the directory's SQLite file, changed only by records of the log.
 *
 * Applying is deterministic: every record carries all that it needs; index_db.c sees to
 * it that it happens once.  Two proposals that contradict each other are settled by their
 * order in the log: the second one finds the first one's result. */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "dir_id.h"
#include "dir_shard.h"
#include "index_db.h"
#include "mem.h"

enum sql {
	SQL_DOMAIN, SQL_DOMAIN_ADD, SQL_DOMAIN_DELETE,
	SQL_DOMAIN_USED, SQL_USER, SQL_USER_ADD, SQL_USER_PASSWORD, SQL_USER_SUSPEND,
	SQL_USER_DELETE, SQL_OLDEST, SQL_ALIAS_ADD, SQL_ALIAS_DELETE, SQL_ALIAS_DELETE_ALL,
	SQL_ALIAS, SQL_ALIASES, SQL_DOMAINS, SQL_USERS, SQL_LAYOUT,
	SQL_LAYOUT_ADD, SQL_ID_USED, SQL_GONE, SQL_GONE_ADD, SQL_GONE_USER, SQL_GONE_DELETE, SQL_N
};

static const char *const sql[SQL_N] = {
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
	[SQL_LAYOUT] = "SELECT value FROM meta WHERE name = 'shards'",
	[SQL_LAYOUT_ADD] = "INSERT OR IGNORE INTO meta VALUES ('shards', ?)",
	[SQL_ID_USED] = "SELECT 1 FROM user WHERE id = ?1 UNION ALL "
			"SELECT 1 FROM gone WHERE id = ?1 LIMIT 1",
	[SQL_GONE] = "SELECT id FROM gone ORDER BY id",
	[SQL_GONE_ADD] = "INSERT INTO gone SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM user "
			 "WHERE id = ?1) AND NOT EXISTS (SELECT 1 FROM gone WHERE id = ?1)",
	[SQL_GONE_USER] = "INSERT OR IGNORE INTO gone SELECT id FROM user WHERE address = ?",
	[SQL_GONE_DELETE] = "DELETE FROM gone WHERE id = ?",
};

static const char schema[]
    = "CREATE TABLE IF NOT EXISTS domain (name TEXT PRIMARY KEY, created_ms INTEGER NOT NULL)"
      " WITHOUT ROWID;"
      "CREATE TABLE IF NOT EXISTS user (id INTEGER PRIMARY KEY, shard INTEGER NOT NULL,"
      " address TEXT NOT NULL UNIQUE, domain TEXT NOT NULL, hash TEXT NOT NULL,"
      " suspended INTEGER NOT NULL, created_ms INTEGER NOT NULL);"
      "CREATE INDEX IF NOT EXISTS user_domain ON user (domain, created_ms);"
      "CREATE TABLE IF NOT EXISTS alias (address TEXT NOT NULL, domain TEXT NOT NULL,"
      " target TEXT NOT NULL, PRIMARY KEY (address, target)) WITHOUT ROWID;"
      "CREATE INDEX IF NOT EXISTS alias_domain ON alias (domain);"
      "CREATE TABLE IF NOT EXISTS gone (id INTEGER PRIMARY KEY);";

struct dir_shard {
	struct index_db *db;
};

static sqlite3_stmt *
get(struct dir_shard *s, enum sql n)
{
	return index_db_get(s->db, (int)n);
}

static void
bind_text(sqlite3_stmt *q, int i, const char *text)
{
	/* Static: the text outlives the step, and get() resets before the next use. */
	sqlite3_bind_text(q, i, text, -1, SQLITE_STATIC);
}

struct dir_shard *
dir_shard_open(const char *dir)
{
	struct dir_shard *s = mem_alloc(sizeof(*s));

	s->db = index_db_open(dir, schema, sql, SQL_N);
	return s;
}

void
dir_shard_close(struct dir_shard *s)
{
	if (s == NULL)
		return;
	index_db_close(s->db);
	free(s);
}

struct index_db *
dir_shard_index(struct dir_shard *s)
{
	return s->db;
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

	wire_get_str(in, name, sizeof(name));
	if (!wire_in_done(in))
		return MAIL_BAD;
	if (!add) {
		q = get(s, SQL_DOMAIN_USED);
		bind_text(q, 1, name);
		if (index_db_has(s->db, q))
			return MAIL_EXISTS;
	}
	q = get(s, add ? SQL_DOMAIN_ADD : SQL_DOMAIN_DELETE);
	bind_text(q, 1, name);
	if (add)
		sqlite3_bind_int64(q, 2, ms);
	if (index_db_change(s->db, q) == 1)
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
	if (index_db_change(s->db, q) != 1)
		return MAIL_EXISTS;
	q = get(s, SQL_GONE_DELETE);	/* a merge may bring somebody back */
	sqlite3_bind_int64(q, 1, (sqlite3_int64)id);
	index_db_change(s->db, q);
	return MAIL_OK;
}

static enum mail_rc
apply_gone(struct dir_shard *s, struct wire_in *in)
{
	uint64_t id = wire_get_u64(in);
	sqlite3_stmt *q;

	if (!wire_in_done(in) || id == 0 || id > INT64_MAX)
		return MAIL_BAD;
	q = get(s, SQL_GONE_ADD);
	sqlite3_bind_int64(q, 1, (sqlite3_int64)id);
	return index_db_change(s->db, q) == 1 ? MAIL_OK : MAIL_EXISTS;
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
	if (type == DIR_USER_DELETE) {
		q = get(s, SQL_GONE_USER);
		bind_text(q, 1, address);
		index_db_change(s->db, q);
	}
	q = get(s, type == DIR_USER_PASSWORD ? SQL_USER_PASSWORD
		: type == DIR_USER_SUSPEND   ? SQL_USER_SUSPEND
					     : SQL_USER_DELETE);
	bind_text(q, 1, address);
	if (type == DIR_USER_PASSWORD)
		bind_text(q, 2, hash);
	else if (type == DIR_USER_SUSPEND)
		sqlite3_bind_int(q, 2, on != 0);
	return index_db_change(s->db, q) == 1 ? MAIL_OK : MAIL_UNKNOWN;
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
		changed = index_db_change(s->db, q);
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
		changed += index_db_change(s->db, q);
	}
	if (changed > 0)
		return MAIL_OK;
	return add ? MAIL_EXISTS : MAIL_UNKNOWN;
}

static enum mail_rc
apply_layout(struct dir_shard *s, struct wire_in *in)
{
	uint16_t n = wire_get_u16(in);
	sqlite3_stmt *q;

	if (!wire_in_done(in) || n == 0)
		return MAIL_BAD;
	q = get(s, SQL_LAYOUT_ADD);
	sqlite3_bind_int(q, 1, n);
	return index_db_change(s->db, q) == 1 ? MAIL_OK : MAIL_EXISTS;
}

static enum mail_rc
apply(void *shard, const struct owner_record *r)
{
	struct dir_shard *s = shard;
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
	case DIR_LAYOUT:
		return apply_layout(s, &in);
	case DIR_ID_GONE:
		return apply_gone(s, &in);
	default:
		return MAIL_BAD;
	}
}

enum mail_rc
dir_shard_apply(struct dir_shard *s, const struct owner_record *r)
{
	return index_db_apply(s->db, r, apply, s);
}

enum mail_rc
dir_shard_try(struct dir_shard *s, enum dir_record type, struct span payload)
{
	struct owner_record r = { .type = (uint8_t)type, .payload = payload };

	return index_db_try(s->db, &r, apply, s);
}

/* ---- looking up ---------------------------------------------------------- */

unsigned
dir_shard_layout(struct dir_shard *s)
{
	sqlite3_stmt *q = get(s, SQL_LAYOUT);
	unsigned n = index_db_row(s->db, q) ? (unsigned)sqlite3_column_int(q, 0) : 0;

	sqlite3_reset(q);
	return n;
}

uint64_t
dir_shard_new_id(struct dir_shard *s, const char *address)
{
	sqlite3_stmt *q;
	uint64_t id;
	uint32_t n = 0;
	bool used;

	do {
		id = dir_id(address, n++);
		q = get(s, SQL_ID_USED);
		sqlite3_bind_int64(q, 1, (sqlite3_int64)id);
		used = index_db_has(s->db, q);
	} while (used);
	return id;
}

bool
dir_shard_domain(struct dir_shard *s, const char *name)
{
	sqlite3_stmt *q = get(s, SQL_DOMAIN);

	bind_text(q, 1, name);
	return index_db_has(s->db, q);
}

static void
user_row(sqlite3_stmt *q, struct dir_user *u)
{
	u->id = (uint64_t)sqlite3_column_int64(q, 0);
	u->shard = (uint16_t)sqlite3_column_int(q, 1);
	u->suspended = sqlite3_column_int(q, 2) != 0;
	u->created_ms = sqlite3_column_int64(q, 3);
	index_db_text(q, 4, u->address, sizeof(u->address));
	index_db_text(q, 5, u->hash, sizeof(u->hash));
}

static bool
one_user(struct dir_shard *s, enum sql n, const char *key, struct dir_user *u)
{
	sqlite3_stmt *q = get(s, n);
	bool found;

	bind_text(q, 1, key);
	if ((found = index_db_row(s->db, q)))
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

	while (index_db_row(s->db, q))
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
	while (index_db_row(s->db, q)) {
		user_row(q, &u);
		each(&u, arg);
	}
	sqlite3_reset(q);
}

void
dir_shard_gone(struct dir_shard *s, void (*each)(uint64_t, void *), void *arg)
{
	sqlite3_stmt *q = get(s, SQL_GONE);

	while (index_db_row(s->db, q))
		each((uint64_t)sqlite3_column_int64(q, 0), arg);
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
	for (; index_db_row(s->db, q); n++)
		if (each != NULL)
			each((const char *)sqlite3_column_text(q, 0),
			    (const char *)sqlite3_column_text(q, 1), arg);
	sqlite3_reset(q);
	return n;
}
