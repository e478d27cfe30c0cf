/* queue_shard.c - the queue's SQLite file, changed only by records of the log.
 *
 * Applying is deterministic; index_db.c sees to it that it happens once.  A message is
 * there with its ENQUEUE, if all its bytes are; it goes, bytes and all, with its last
 * recipient. */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "index_db.h"
#include "log.h"
#include "mem.h"
#include "queue_shard.h"

enum sql {
	SQL_CHUNK_ADD, SQL_CHUNKS, SQL_TEXT, SQL_CHUNKS_DELETE, SQL_ADD, SQL_RCPT_ADD, SQL_HAVE,
	SQL_DONE, SQL_DEFER, SQL_FAIL, SQL_ATTEMPT, SQL_REPORTED, SQL_WARNED, SQL_LEFT,
	SQL_DELETE, SQL_RCPTS_DELETE, SQL_HOLD, SQL_RELEASE, SQL_RETRY, SQL_COUNT, SQL_MESSAGE,
	SQL_RCPTS, SQL_NEXT, SQL_ADOPT, SQL_ADOPT_RCPT, SQL_ADOPTED_ADD, SQL_ADOPTED,
	SQL_ADOPTED_IS, SQL_WANT,
	SQL_N = SQL_WANT + QUEUE_WANTS
};

static const char *const sql[SQL_N] = {
	[SQL_CHUNK_ADD] = "INSERT OR REPLACE INTO chunk (message, at, bytes) VALUES (?, ?, ?)",
	[SQL_CHUNKS] = "SELECT at, bytes FROM chunk WHERE message = ? ORDER BY at",
	[SQL_TEXT] = "SELECT at, bytes FROM chunk WHERE message = ?1 AND at <= ?2 "
		     "ORDER BY at DESC LIMIT 1",
	[SQL_CHUNKS_DELETE] = "DELETE FROM chunk WHERE message = ?",
	[SQL_ADD] = "INSERT INTO message (id, trace, sender, flags, size, created_ms, next_ms, "
		    "attempts, held, warned) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 0, 0, 0)",
	[SQL_RCPT_ADD] = "INSERT OR IGNORE INTO rcpt (message, idx, address, failed, reply) "
			 "VALUES (?, ?, ?, 0, '')",
	[SQL_HAVE] = "SELECT 1 FROM message WHERE id = ?",
	[SQL_DONE] = "DELETE FROM rcpt WHERE message = ?1 AND idx = ?2",
	[SQL_DEFER] = "UPDATE rcpt SET reply = ?3 WHERE message = ?1 AND idx = ?2 AND failed = 0",
	[SQL_FAIL] = "UPDATE rcpt SET reply = ?3, failed = 1 WHERE message = ?1 AND idx = ?2",
	[SQL_ATTEMPT] = "UPDATE message SET attempts = attempts + 1, next_ms = ?2 WHERE id = ?1",
	[SQL_REPORTED] = "DELETE FROM rcpt WHERE message = ?1 AND idx = ?2 AND failed = 1",
	[SQL_WARNED] = "UPDATE message SET warned = 1 WHERE id = ?",
	[SQL_LEFT] = "SELECT 1 FROM rcpt WHERE message = ? LIMIT 1",
	[SQL_DELETE] = "DELETE FROM message WHERE id = ?",
	[SQL_RCPTS_DELETE] = "DELETE FROM rcpt WHERE message = ?",
	[SQL_HOLD] = "UPDATE message SET held = 1 WHERE ?1 = 0 OR id = ?1",
	[SQL_RELEASE] = "UPDATE message SET held = 0, next_ms = ?2 WHERE (?1 = 0 OR id = ?1) "
			"AND held = 1",
	[SQL_RETRY] = "UPDATE message SET next_ms = ?2 WHERE ?1 = 0 OR id = ?1",
	[SQL_COUNT] = "SELECT count(*) FROM message",
	[SQL_MESSAGE] = "SELECT trace, sender, flags, size, created_ms, next_ms, attempts, held, "
			"warned, (SELECT count(*) FROM rcpt WHERE message = id AND failed = 0), "
			"(SELECT count(*) FROM rcpt WHERE message = id AND failed = 1) "
			"FROM message WHERE id = ?",
	[SQL_RCPTS] = "SELECT idx, failed, address, reply FROM rcpt WHERE message = ? AND idx >= ? "
		      "ORDER BY idx LIMIT ?",
	[SQL_NEXT] = "SELECT min(next_ms) FROM message WHERE held = 0",
	[SQL_ADOPT] = "INSERT INTO message (id, trace, sender, flags, size, created_ms, next_ms, "
		      "attempts, held, warned) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[SQL_ADOPT_RCPT] = "INSERT INTO rcpt (message, idx, failed, address, reply) "
			   "VALUES (?, ?, ?, ?, ?)",
	[SQL_ADOPTED_ADD] = "INSERT OR IGNORE INTO adopted (id) VALUES (?)",
	[SQL_ADOPTED] = "SELECT id FROM adopted ORDER BY id",
	[SQL_ADOPTED_IS] = "SELECT 1 FROM adopted WHERE id = ?",
	/* A message with failures only has nothing to send, and waits for its report. */
	[SQL_WANT + QUEUE_WANT_SEND] = "SELECT id FROM message WHERE held = 0 AND (next_ms <= ?1 "
				       "OR next_ms > ?2) AND EXISTS (SELECT 1 FROM rcpt WHERE "
				       "message = id AND failed = 0) ORDER BY next_ms LIMIT ?3",
	[SQL_WANT + QUEUE_WANT_EXPIRE] = "SELECT id FROM message WHERE held = 0 AND created_ms <= ?1 "
					 "AND EXISTS (SELECT 1 FROM rcpt WHERE message = id AND "
					 "failed = 0) ORDER BY created_ms LIMIT ?3",
	[SQL_WANT + QUEUE_WANT_WARN] = "SELECT id FROM message WHERE warned = 0 AND held = 0 AND "
				       "created_ms <= ?1 ORDER BY created_ms LIMIT ?3",
	[SQL_WANT + QUEUE_WANT_REPORT] = "SELECT DISTINCT message FROM rcpt WHERE failed = 1 LIMIT ?3",
	[SQL_WANT + QUEUE_WANT_SWEEP] = "SELECT DISTINCT message FROM chunk WHERE message NOT IN "
					"(SELECT id FROM message) LIMIT ?3",
	[SQL_WANT + QUEUE_WANT_LIST] = "SELECT id FROM message WHERE id > ?1 ORDER BY id LIMIT ?3",
};

static const char schema[]
    = "CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY, trace TEXT NOT NULL,"
      " sender TEXT NOT NULL, flags INTEGER NOT NULL, size INTEGER NOT NULL,"
      " created_ms INTEGER NOT NULL, next_ms INTEGER NOT NULL, attempts INTEGER NOT NULL,"
      " held INTEGER NOT NULL, warned INTEGER NOT NULL);"
      "CREATE INDEX IF NOT EXISTS message_next ON message (held, next_ms);"
      "CREATE INDEX IF NOT EXISTS message_created ON message (held, created_ms);"
      "CREATE INDEX IF NOT EXISTS message_warned ON message (warned, held, created_ms);"
      "CREATE TABLE IF NOT EXISTS rcpt (message INTEGER NOT NULL, idx INTEGER NOT NULL,"
      " address TEXT NOT NULL, failed INTEGER NOT NULL, reply TEXT NOT NULL,"
      " PRIMARY KEY (message, idx)) WITHOUT ROWID;"
      "CREATE INDEX IF NOT EXISTS rcpt_failed ON rcpt (message) WHERE failed = 1;"
      "CREATE TABLE IF NOT EXISTS chunk (message INTEGER NOT NULL, at INTEGER NOT NULL,"
      " bytes BLOB NOT NULL, UNIQUE (message, at));"
      "CREATE TABLE IF NOT EXISTS adopted (id INTEGER PRIMARY KEY);";

struct queue_shard {
	struct index_db *db;
};

/* The statement with up to three whole numbers bound in their order. */
static sqlite3_stmt *
get(struct queue_shard *s, int n, int64_t a, int64_t b, int64_t c)
{
	sqlite3_stmt *q = index_db_get(s->db, n);
	const int64_t v[] = { a, b, c };
	int params = sqlite3_bind_parameter_count(q);

	for (int i = 0; i < 3 && i < params; i++)
		sqlite3_bind_int64(q, i + 1, v[i]);
	return q;
}

struct queue_shard *
queue_shard_open(const char *dir)
{
	struct queue_shard *s = mem_alloc(sizeof(*s));

	s->db = index_db_open(dir, schema, sql, SQL_N);
	return s;
}

void
queue_shard_close(struct queue_shard *s)
{
	if (s == NULL)
		return;
	index_db_close(s->db);
	free(s);
}

struct index_db *
queue_shard_index(struct queue_shard *s)
{
	return s->db;
}

/* ---- applying ------------------------------------------------------------ */

static void
chunk_add(struct queue_shard *s, uint64_t id, uint64_t at, struct span bytes)
{
	sqlite3_stmt *q = get(s, SQL_CHUNK_ADD, (int64_t)id, (int64_t)at, 0);

	sqlite3_bind_blob64(q, 3, bytes.p, bytes.len, SQLITE_STATIC);
	index_db_change(s->db, q);
}

static enum mail_rc
apply_blob(struct queue_shard *s, struct span payload)
{
	uint64_t id, at;
	struct span bytes;

	if (queue_blob_get(payload, &id, &at, &bytes) != PARSE_OK)
		return MAIL_BAD;
	if (index_db_has(s->db, get(s, SQL_HAVE, (int64_t)id, 0, 0)))
		return MAIL_EXISTS;	/* a message that was announced never changes */
	chunk_add(s, id, at, bytes);
	return MAIL_OK;
}

/* Do the BLOBs give the bytes that are announced? */
static bool
complete(struct queue_shard *s, uint64_t id, uint64_t size, const uint8_t want[32])
{
	sqlite3_stmt *q = get(s, SQL_CHUNKS, (int64_t)id, 0, 0);
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8_t sha[32];
	uint64_t at = 0;
	bool whole = true;

	if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
		log_fatal("no SHA-256");
	while (index_db_row(s->db, q)) {
		size_t n = (size_t)sqlite3_column_bytes(q, 1);

		whole = whole && (uint64_t)sqlite3_column_int64(q, 0) == at;
		EVP_DigestUpdate(md, sqlite3_column_blob(q, 1), n);
		at += n;
	}
	sqlite3_reset(q);
	EVP_DigestFinal_ex(md, sha, NULL);
	EVP_MD_CTX_free(md);
	return whole && at == size && memcmp(sha, want, sizeof(sha)) == 0;
}

static enum mail_rc
apply_enqueue(struct queue_shard *s, struct span payload, int64_t ms)
{
	char address[ADDRESS_MAX + 1];
	struct queue_enqueue e;
	sqlite3_stmt *q;

	if (queue_enqueue_get(payload, &e) != PARSE_OK)
		return MAIL_BAD;
	if (index_db_has(s->db, get(s, SQL_HAVE, (int64_t)e.id, 0, 0)))
		return MAIL_EXISTS;
	if (e.content.len > 0)
		chunk_add(s, e.id, 0, e.content);
	else if (!complete(s, e.id, e.size, e.sha))
		return MAIL_BAD;
	q = get(s, SQL_ADD, (int64_t)e.id, 0, 0);
	sqlite3_bind_text(q, 2, e.trace, -1, SQLITE_STATIC);
	sqlite3_bind_text(q, 3, e.sender, -1, SQLITE_STATIC);
	sqlite3_bind_int(q, 4, e.flags);
	sqlite3_bind_int64(q, 5, (int64_t)e.size);
	sqlite3_bind_int64(q, 6, ms);
	index_db_change(s->db, q);
	for (uint16_t i = 0; i < e.nrcpts; i++) {
		queue_rcpt_next(&e.rcpts, address);
		q = get(s, SQL_RCPT_ADD, (int64_t)e.id, i, 0);
		sqlite3_bind_text(q, 3, address, -1, SQLITE_STATIC);
		index_db_change(s->db, q);
	}
	return MAIL_OK;
}

static enum mail_rc
apply_adopt(struct queue_shard *s, struct span payload)
{
	struct queue_adopt_rcpt r;
	struct queue_adopt a;
	sqlite3_stmt *q;

	if (queue_adopt_get(payload, &a) != PARSE_OK)
		return MAIL_BAD;
	/* Also one that is sent and gone since. */
	if (index_db_has(s->db, get(s, SQL_HAVE, (int64_t)a.id, 0, 0)) ||
	    index_db_has(s->db, get(s, SQL_ADOPTED_IS, (int64_t)a.id, 0, 0)))
		return MAIL_EXISTS;
	if (a.content.len > 0)
		chunk_add(s, a.id, 0, a.content);
	else if (!complete(s, a.id, a.size, a.sha))
		return MAIL_BAD;
	q = get(s, SQL_ADOPT, (int64_t)a.id, 0, 0);
	sqlite3_bind_text(q, 2, a.trace, -1, SQLITE_STATIC);
	sqlite3_bind_text(q, 3, a.sender, -1, SQLITE_STATIC);
	sqlite3_bind_int(q, 4, a.flags);
	sqlite3_bind_int64(q, 5, (int64_t)a.size);
	sqlite3_bind_int64(q, 6, a.created_ms);
	sqlite3_bind_int64(q, 7, a.next_ms);
	sqlite3_bind_int64(q, 8, a.attempts);
	sqlite3_bind_int(q, 9, a.held);
	sqlite3_bind_int(q, 10, a.warned);
	index_db_change(s->db, q);
	for (uint16_t i = 0; i < a.nrcpts; i++) {
		queue_adopt_next(&a.rcpts, &r);
		q = get(s, SQL_ADOPT_RCPT, (int64_t)a.id, r.index, r.failed);
		sqlite3_bind_text(q, 4, r.address, -1, SQLITE_STATIC);
		sqlite3_bind_text(q, 5, r.reply, -1, SQLITE_STATIC);
		index_db_change(s->db, q);
	}
	index_db_change(s->db, get(s, SQL_ADOPTED_ADD, (int64_t)a.id, 0, 0));
	return MAIL_OK;
}

static enum mail_rc
drop(struct queue_shard *s, uint64_t id)
{
	int n = index_db_change(s->db, get(s, SQL_DELETE, (int64_t)id, 0, 0));

	index_db_change(s->db, get(s, SQL_RCPTS_DELETE, (int64_t)id, 0, 0));
	n += index_db_change(s->db, get(s, SQL_CHUNKS_DELETE, (int64_t)id, 0, 0));
	return n > 0 ? MAIL_OK : MAIL_UNKNOWN;
}

static void
delete_finished(struct queue_shard *s, uint64_t id)
{
	if (!index_db_has(s->db, get(s, SQL_LEFT, (int64_t)id, 0, 0)))
		drop(s, id);
}

static enum mail_rc
apply_result(struct queue_shard *s, struct span payload)
{
	struct queue_result r;
	struct wire_in list;
	sqlite3_stmt *q;
	int64_t next;
	uint64_t id;
	uint16_t n;

	if (queue_result_get(payload, &id, &next, &n, &list) != PARSE_OK)
		return MAIL_BAD;
	if (index_db_change(s->db, get(s, SQL_ATTEMPT, (int64_t)id, next, 0)) == 0)
		return MAIL_UNKNOWN;
	while (n-- > 0) {
		queue_result_next(&list, &r);
		q = get(s, r.outcome == QUEUE_DONE ? SQL_DONE
			: r.outcome == QUEUE_FAIL  ? SQL_FAIL
						   : SQL_DEFER, (int64_t)id, r.rcpt, 0);
		if (r.outcome != QUEUE_DONE)
			sqlite3_bind_text(q, 3, r.reply, -1, SQLITE_STATIC);
		index_db_change(s->db, q);
	}
	delete_finished(s, id);
	return MAIL_OK;
}

static enum mail_rc
apply_reported(struct queue_shard *s, struct span payload)
{
	struct wire_in list;
	uint64_t id;
	uint16_t n;

	if (queue_reported_get(payload, &id, &n, &list) != PARSE_OK)
		return MAIL_BAD;
	if (!index_db_has(s->db, get(s, SQL_HAVE, (int64_t)id, 0, 0)))
		return MAIL_UNKNOWN;
	if (n == 0)
		index_db_change(s->db, get(s, SQL_WARNED, (int64_t)id, 0, 0));
	while (n-- > 0)
		index_db_change(s->db, get(s, SQL_REPORTED, (int64_t)id, wire_get_u16(&list), 0));
	delete_finished(s, id);
	return MAIL_OK;
}

static enum mail_rc
apply_operator(struct queue_shard *s, const struct owner_record *r)
{
	struct wire_in in;
	uint64_t id;
	int n;

	wire_in_init(&in, r->payload.p, r->payload.len);
	id = wire_get_u64(&in);
	if (!wire_in_done(&in) || id > INT64_MAX || (id == 0 && r->type == QUEUE_DELETE))
		return MAIL_BAD;
	if (r->type == QUEUE_DELETE)
		return drop(s, id);
	n = index_db_change(s->db, get(s, r->type == QUEUE_HOLD ? SQL_HOLD
		: r->type == QUEUE_RELEASE	   ? SQL_RELEASE
						   : SQL_RETRY, (int64_t)id, r->time_ms, 0));
	return n > 0 || id == 0 ? MAIL_OK : MAIL_UNKNOWN;
}

static enum mail_rc
apply(void *shard, const struct owner_record *r)
{
	struct queue_shard *s = shard;

	switch (r->type) {
	case OWNER_REC_GENERATION:
		return MAIL_OK;
	case QUEUE_BLOB:
		return apply_blob(s, r->payload);
	case QUEUE_ENQUEUE:
		return apply_enqueue(s, r->payload, r->time_ms);
	case QUEUE_ADOPT:
		return apply_adopt(s, r->payload);
	case QUEUE_RESULT:
		return apply_result(s, r->payload);
	case QUEUE_REPORTED:
		return apply_reported(s, r->payload);
	case QUEUE_HOLD:
	case QUEUE_RELEASE:
	case QUEUE_RETRY:
	case QUEUE_DELETE:
		return apply_operator(s, r);
	default:
		return MAIL_BAD;
	}
}

enum mail_rc
queue_shard_apply(struct queue_shard *s, const struct owner_record *r)
{
	return index_db_apply(s->db, r, apply, s);
}

/* ---- looking ------------------------------------------------------------- */

uint64_t
queue_shard_count(struct queue_shard *s)
{
	sqlite3_stmt *q = get(s, SQL_COUNT, 0, 0, 0);
	uint64_t n = index_db_row(s->db, q) ? (uint64_t)sqlite3_column_int64(q, 0) : 0;

	sqlite3_reset(q);
	return n;
}

bool
queue_shard_message(struct queue_shard *s, uint64_t id, struct queue_message *m)
{
	sqlite3_stmt *q = get(s, SQL_MESSAGE, (int64_t)id, 0, 0);
	bool found = index_db_row(s->db, q);

	if (found) {
		m->id = id;
		index_db_text(q, 0, m->trace, sizeof(m->trace));
		index_db_text(q, 1, m->sender, sizeof(m->sender));
		m->flags = (uint8_t)sqlite3_column_int(q, 2);
		m->size = (uint64_t)sqlite3_column_int64(q, 3);
		m->created_ms = sqlite3_column_int64(q, 4);
		m->next_ms = sqlite3_column_int64(q, 5);
		m->attempts = (uint32_t)sqlite3_column_int64(q, 6);
		m->held = sqlite3_column_int(q, 7) != 0;
		m->warned = sqlite3_column_int(q, 8) != 0;
		m->pending = (uint32_t)sqlite3_column_int64(q, 9);
		m->failed = (uint32_t)sqlite3_column_int64(q, 10);
	}
	sqlite3_reset(q);
	return found;
}

size_t
queue_shard_rcpts(struct queue_shard *s, uint64_t id, uint16_t from, struct queue_rcpt *out,
    size_t max)
{
	sqlite3_stmt *q = get(s, SQL_RCPTS, (int64_t)id, from, (int64_t)max);
	size_t n = 0;

	for (; n < max && index_db_row(s->db, q); n++) {
		out[n].index = (uint16_t)sqlite3_column_int(q, 0);
		out[n].failed = sqlite3_column_int(q, 1) != 0;
		index_db_text(q, 2, out[n].address, sizeof(out[n].address));
		index_db_text(q, 3, out[n].reply, sizeof(out[n].reply));
	}
	sqlite3_reset(q);
	return n;
}

size_t
queue_shard_text(struct queue_shard *s, uint64_t id, uint64_t at, char *buf, size_t n)
{
	sqlite3_stmt *q = get(s, SQL_TEXT, (int64_t)id, (int64_t)at, 0);
	size_t got = 0;

	if (index_db_row(s->db, q)) {
		uint64_t start = (uint64_t)sqlite3_column_int64(q, 0);
		size_t have = (size_t)sqlite3_column_bytes(q, 1);

		if (at - start < have) {
			got = have - (size_t)(at - start);
			got = got < n ? got : n;
			memcpy(buf, (const char *)sqlite3_column_blob(q, 1) + (at - start), got);
		}
	}
	sqlite3_reset(q);
	return got;
}

void
queue_shard_adopted(struct queue_shard *s, void (*each)(uint64_t, void *), void *arg)
{
	sqlite3_stmt *q = get(s, SQL_ADOPTED, 0, 0, 0);

	while (index_db_row(s->db, q))
		each((uint64_t)sqlite3_column_int64(q, 0), arg);
	sqlite3_reset(q);
}

size_t
queue_shard_want(struct queue_shard *s, enum queue_want want, int64_t a, int64_t b, uint64_t *ids,
    size_t max)
{
	sqlite3_stmt *q = get(s, SQL_WANT + (int)want, a, b, (int64_t)max);
	size_t n = 0;

	while (n < max && index_db_row(s->db, q))
		ids[n++] = (uint64_t)sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
	return n;
}

int64_t
queue_shard_next(struct queue_shard *s)
{
	sqlite3_stmt *q = get(s, SQL_NEXT, 0, 0, 0);
	int64_t next = INT64_MAX;

	if (index_db_row(s->db, q) && sqlite3_column_type(q, 0) != SQLITE_NULL)
		next = sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
	return next;
}
