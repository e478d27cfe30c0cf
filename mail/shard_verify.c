/* shard_verify.c - looks at a whole shard: `mailctl store stat` and `store verify`.
 *
 * verify promises: every message row has its object with the right size and hash,
 * reference counts and mailbox counters are what the rows say, and each mailbox's
 * digest equals the sum over its messages; what is not so is named in "bad".
 * It reads one snapshot, so changes that go on meanwhile do not disturb it.
 * Runs as a job on a thread of its own; changes nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "mem.h"
#include "shard_job.h"
#include "shard_priv.h"

#define BAD_MAX 100		/* named one by one; the count goes on */

struct verify {
	struct shard_job *job;
	sqlite3 *db;
	json_t *bad, *boxes;
	json_int_t nbad, messages, objects, bytes;
	bool failed;
};

static sqlite3_stmt *
query(struct verify *v, const char *sql)
{
	sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(v->db, sql, -1, &st, NULL) != SQLITE_OK) {
		snprintf(v->job->error, sizeof(v->job->error), "%s: %s", v->job->dir,
		    sqlite3_errmsg(v->db));
		v->failed = true;
		return NULL;
	}
	return st;
}

static bool
next_row(struct verify *v, sqlite3_stmt *st)
{
	int rc = st == NULL ? SQLITE_DONE : sqlite3_step(st);

	if (rc == SQLITE_ROW)
		return true;
	if (rc != SQLITE_DONE) {
		snprintf(v->job->error, sizeof(v->job->error), "%s: %s", v->job->dir,
		    sqlite3_errmsg(v->db));
		v->failed = true;
	}
	sqlite3_finalize(st);
	return false;
}

static void
bad(struct verify *v, const char *what, const char *detail)
{
	if (++v->nbad <= BAD_MAX)
		json_array_append_new(v->bad, json_pack("{s:s, s:s}", "what", what, "name", detail));
}

/* Do rows, counts and hashes of the objects agree? */
static void
verify_objects(struct verify *v)
{
	sqlite3_stmt *st = query(v, "SELECT sha, size, refs FROM objects");
	char hex[65];

	while (next_row(v, st)) {
		const uint8_t *sha = sqlite3_column_blob(st, 0);

		if (sha == NULL || sqlite3_column_bytes(st, 0) != 32) {
			bad(v, "object row without a hash", "");
			continue;
		}
		hex_encode(sha, 32, hex);
		v->objects++;
		v->bytes += sqlite3_column_int64(st, 1);
		if (sqlite3_column_int64(st, 2) > 0 && !object_good(v->job->objects_fd, sha,
		    (uint64_t)sqlite3_column_int64(st, 1)))
			bad(v, "object missing or damaged", hex);
	}
	st = query(v, "SELECT hex(sha) FROM (SELECT sha, count(*) AS n FROM messages GROUP BY sha)"
	    " AS m LEFT JOIN objects o USING (sha) WHERE o.refs IS NULL OR o.refs != m.n");
	while (next_row(v, st))
		bad(v, "references counted wrong", (const char *)sqlite3_column_text(st, 0));
}

static uint64_t
row_digest(sqlite3_stmt *st)
{
	struct msg_row m = { 0 };
	const void *sha = sqlite3_column_blob(st, 3), *guid = sqlite3_column_blob(st, 4);

	m.uid = (uint32_t)sqlite3_column_int64(st, 0);
	m.flags = (uint32_t)sqlite3_column_int64(st, 1);
	if (span_copy(span_of((const char *)sqlite3_column_text(st, 2)), m.keywords,
	    sizeof(m.keywords)) == -1)
		m.keywords[0] = '\0';
	if (sha != NULL && sqlite3_column_bytes(st, 3) == 32)
		memcpy(m.sha, sha, 32);
	if (guid != NULL && sqlite3_column_bytes(st, 4) == 16)
		memcpy(m.guid, guid, 16);
	return msg_digest(&m);
}

static void
verify_box(struct verify *v, sqlite3_stmt *box, sqlite3_stmt *rows)
{
	uint64_t digest = 0, said = (uint64_t)sqlite3_column_int64(box, 5);
	json_int_t n = 0, unseen = 0;
	uint32_t last = 0;
	char hex[17], *name;

	sqlite3_bind_int64(rows, 1, sqlite3_column_int64(box, 0));
	while (sqlite3_step(rows) == SQLITE_ROW) {
		digest += row_digest(rows);
		n++;
		unseen += (sqlite3_column_int(rows, 1) & FLAG_SEEN) == 0;
		last = (uint32_t)sqlite3_column_int64(rows, 0);
	}
	if (sqlite3_reset(rows) != SQLITE_OK)
		v->failed = true;
	v->messages += n;
	snprintf(hex, sizeof(hex), "%016llx", (unsigned long long)digest);
	name = mem_printf("%lld/%s", (long long)sqlite3_column_int64(box, 1),
	    (const char *)sqlite3_column_text(box, 2));
	if (digest != said)
		bad(v, "mailbox digest is not that of its messages", name);
	if (n != sqlite3_column_int64(box, 3) || unseen != sqlite3_column_int64(box, 4))
		bad(v, "mailbox counters are wrong", name);
	if (last >= (uint32_t)sqlite3_column_int64(box, 6))
		bad(v, "UIDNEXT is not above every UID", name);
	json_array_append_new(v->boxes, json_pack("{s:I, s:s, s:I, s:s}", "user",
	    (json_int_t)sqlite3_column_int64(box, 1), "name",
	    (const char *)sqlite3_column_text(box, 2), "messages", n, "digest", hex));
	free(name);
}

static void
verify_boxes(struct verify *v)
{
	sqlite3_stmt *st = query(v, "SELECT id, user, name, exist, unseen, digest, uidnext FROM"
	    " boxes WHERE deleted_lsn = 0 ORDER BY user, name");
	sqlite3_stmt *rows = query(v, "SELECT uid, flags, keywords, sha, guid FROM messages"
	    " WHERE box = ? ORDER BY uid");

	while (rows != NULL && next_row(v, st))
		verify_box(v, st, rows);
	sqlite3_finalize(rows);
}

static void
verify_missing(struct verify *v)
{
	sqlite3_stmt *st = query(v, "SELECT hex(sha) FROM missing");

	while (next_row(v, st))
		bad(v, "object was incomplete when its record was applied",
		    (const char *)sqlite3_column_text(st, 0));
}

/* Numbers that cost little; the counters of the mailboxes, not their messages. */
static void
stat_numbers(struct verify *v)
{
	sqlite3_stmt *st = query(v, "SELECT (SELECT coalesce(sum(exist), 0) FROM boxes WHERE"
	    " deleted_lsn = 0), count(*), coalesce(sum(size), 0) FROM objects");

	while (next_row(v, st)) {
		v->messages = sqlite3_column_int64(st, 0);
		v->objects = sqlite3_column_int64(st, 1);
		v->bytes = sqlite3_column_int64(st, 2);
	}
}

static json_t *
report(struct verify *v)
{
	json_t *o = json_pack("{s:I, s:I, s:I}", "messages", v->messages, "objects", v->objects,
	    "bytes", v->bytes);
	sqlite3_stmt *st = query(v, "SELECT applied_lsn, gen_no, (SELECT count(DISTINCT user)"
	    " FROM boxes WHERE deleted_lsn = 0), (SELECT count(*) FROM boxes WHERE"
	    " deleted_lsn = 0), (SELECT count(*) FROM tombstones) FROM state");

	while (next_row(v, st)) {
		json_object_set_new(o, "applied_lsn", json_integer(sqlite3_column_int64(st, 0)));
		json_object_set_new(o, "generation", json_integer(sqlite3_column_int64(st, 1)));
		json_object_set_new(o, "users", json_integer(sqlite3_column_int64(st, 2)));
		json_object_set_new(o, "mailboxes", json_integer(sqlite3_column_int64(st, 3)));
		json_object_set_new(o, "tombstones", json_integer(sqlite3_column_int64(st, 4)));
	}
	if (v->job->kind == SHARD_VERIFY) {
		json_object_set_new(o, "bad_count", json_integer(v->nbad));
		json_object_set(o, "bad", v->bad);
		json_object_set(o, "digests", v->boxes);
	}
	return o;
}

int
shard_verify_run(struct shard_job *j)
{
	struct verify v = { .job = j, .db = shard_sql_extra(j->dir, true) };

	if (v.db == NULL)
		return -1;
	v.bad = json_array();
	v.boxes = json_array();
	if (sqlite3_exec(v.db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
		v.failed = true;
	if (j->kind == SHARD_STAT) {
		stat_numbers(&v);
	} else {
		verify_boxes(&v);
		verify_objects(&v);
		verify_missing(&v);
	}
	j->report = report(&v);
	json_decref(v.bad);
	json_decref(v.boxes);
	sqlite3_close(v.db);
	errno = EIO;
	return v.failed ? -1 : 0;
}
