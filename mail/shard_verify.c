/* shard_verify.c - looks at a whole shard: `mailctl store stat`, `store verify` and the
 * shard's part of `hactl sync verify`.
 *
 * verify promises: each page of index.db is what was written, every message row has its
 * object with the right size and hash, reference counts and mailbox counters are what the
 * rows say, and each mailbox's digest equals the sum over its messages; what is not so is
 * named in "bad".
 * The index is read in one snapshot, so changes that go on meanwhile do not disturb it;
 * the objects, which may take hours, in runs of their own, so that the write-ahead log
 * is not kept; one that goes meanwhile is not missed.
 * Runs as a job on a thread of its own; changes nothing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "hex.h"
#include "hook.h"
#include "mem.h"
#include "page_sum.h"
#include "shard_job.h"
#include "shard_priv.h"

#define BAD_MAX 100		/* named one by one; the count goes on */
#define OBJECTS_RUN 500		/* objects of one look into the index */

struct verify {
	struct shard_job *job;
	sqlite3 *db;
	json_t *bad, *boxes;
	json_int_t nbad, messages, objects, bytes;
	bool failed;
	int64_t began_ms;		/* of the objects */
};

static void
bad(struct verify *v, const char *what, const char *detail)
{
	if (++v->nbad <= BAD_MAX)
		json_array_append_new(v->bad, json_pack("{s:s, s:s}", "what", what, "name", detail));
}

static void
index_bad(struct verify *v, const char *what, const char *detail)
{
	v->job->index_bad = true;
	bad(v, what, detail);
}

/* A damaged file is what was looked for; anything else is a failure to look. */
static void
sql_failed(struct verify *v)
{
	if (page_sum_damage(v->db)) {
		index_bad(v, "index.db is damaged", sqlite3_errmsg(v->db));
		return;
	}
	if (!v->job->stop)
		snprintf(v->job->error, sizeof(v->job->error), "%s: %s", v->job->dir,
		    sqlite3_errmsg(v->db));
	v->failed = true;
}

static sqlite3_stmt *
query(struct verify *v, const char *sql)
{
	sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(v->db, sql, -1, &st, NULL) != SQLITE_OK) {
		sql_failed(v);
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
	if (rc != SQLITE_DONE)
		sql_failed(v);
	sqlite3_finalize(st);
	return false;
}

/* Not faster than it may be. */
static void
pace(struct verify *v)
{
	struct shard_job *j = v->job;
	int64_t due = j->rate == 0 ? 0 : (int64_t)((double)j->done * 1000 / (double)j->rate);
	int64_t ahead = due - (clock_ms() - v->began_ms);
	struct timespec rest;

	for (; ahead > 0 && !j->stop; ahead -= 200) {
		int64_t ms = ahead < 200 ? ahead : 200;

		rest = (struct timespec){ 0, ms * 1000000 };
		nanosleep(&rest, NULL);
	}
}

/* What the disk holds, not what is still in memory. */
static bool
object_sound(const struct verify *v, const uint8_t *sha, uint64_t size)
{
	char name[72];
	int fd;

	object_name(sha, name);
	fd = openat(v->job->objects_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return false;
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	return hook_on("verify-believes") || object_good(v->job->objects_fd, sha, size);
}

/* Is it wanted still? */
static bool
wanted(struct verify *v, const uint8_t *sha)
{
	sqlite3_stmt *st = query(v, "SELECT 1 FROM objects WHERE sha = ? AND refs > 0");
	bool yes;

	if (st == NULL)
		return false;
	sqlite3_bind_blob(st, 1, sha, 32, SQLITE_STATIC);
	yes = sqlite3_step(st) == SQLITE_ROW;
	sqlite3_finalize(st);
	return yes;
}

static void
verify_object(struct verify *v, const uint8_t sha[32], uint64_t size)
{
	struct shard_job *j = v->job;
	char hex[65];

	if (!object_sound(v, sha, size) && wanted(v, sha)) {
		bad(v, "object missing or damaged", hex_encode(sha, 32, hex));
		if ((j->nbad_objects & (j->nbad_objects + 1)) == 0)
			j->bad_objects = mem_grow(j->bad_objects, 2 * j->nbad_objects + 2, 32);
		if (j->nbad_objects < SHARD_BAD_OBJECTS)
			memcpy(j->bad_objects[j->nbad_objects++], sha, 32);
	}
	v->objects++;
	v->bytes += (json_int_t)size;
	j->done += size;
	pace(v);
}

/* The next of them, in the order of their names; 0: there are none. */
static size_t
objects_run(struct verify *v, const uint8_t after[32], uint8_t (*sha)[32], uint64_t *size)
{
	sqlite3_stmt *st = query(v, "SELECT sha, size FROM objects WHERE refs > 0 AND sha > ?"
	    " ORDER BY sha LIMIT 500");
	size_t n = 0;

	if (st != NULL)
		sqlite3_bind_blob(st, 1, after, 32, SQLITE_STATIC);
	while (next_row(v, st)) {
		const void *name = sqlite3_column_blob(st, 0);

		if (name == NULL || sqlite3_column_bytes(st, 0) != 32 || n == OBJECTS_RUN)
			continue;		/* said before */
		memcpy(sha[n], name, 32);
		size[n++] = (uint64_t)sqlite3_column_int64(st, 1);
	}
	return n;
}

/* Each object is read and compared with its name. */
static void
verify_objects(struct verify *v)
{
	uint8_t (*sha)[32] = mem_array(OBJECTS_RUN, 32), after[32] = { 0 };
	uint64_t *size = mem_array(OBJECTS_RUN, sizeof(*size));
	size_t n = 1;

	v->began_ms = clock_ms();
	while (n > 0 && !v->job->stop) {
		n = objects_run(v, after, sha, size);
		for (size_t i = 0; i < n && !v->job->stop; i++)
			verify_object(v, sha[i], size[i]);
		if (n > 0)
			memcpy(after, sha[n - 1], 32);
	}
	free(sha);
	free(size);
}

/* Do rows and counts of the objects agree? */
static void
verify_rows(struct verify *v)
{
	sqlite3_stmt *st = query(v, "SELECT hex(sha) FROM (SELECT sha, count(*) AS n FROM messages"
	    " GROUP BY sha) AS m LEFT JOIN objects o USING (sha) WHERE o.refs IS NULL OR"
	    " o.refs != m.n");

	while (next_row(v, st))
		index_bad(v, "references counted wrong", (const char *)sqlite3_column_text(st, 0));
	st = query(v, "SELECT count(*) FROM objects WHERE typeof(sha) != 'blob' OR"
	    " length(sha) != 32");
	while (next_row(v, st))
		if (sqlite3_column_int64(st, 0) != 0)
			index_bad(v, "object row without a hash", "");
	st = query(v, "SELECT coalesce(sum(size), 0) FROM objects WHERE refs > 0");
	while (next_row(v, st))
		v->job->of = (uint64_t)sqlite3_column_int64(st, 0);
}

/* Reads every page, which compares its sum, and SQLite's own order of them. */
static void
verify_pages(struct verify *v)
{
	sqlite3_stmt *st = query(v, "PRAGMA integrity_check(20)");

	while (next_row(v, st)) {
		const char *text = (const char *)sqlite3_column_text(st, 0);

		if (text == NULL || strcmp(text, "ok") != 0)
			index_bad(v, "index.db is damaged", text != NULL ? text : "");
	}
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
		sql_failed(v);
	v->messages += n;
	snprintf(hex, sizeof(hex), "%016llx", (unsigned long long)digest);
	name = mem_printf("%lld/%s", (long long)sqlite3_column_int64(box, 1),
	    (const char *)sqlite3_column_text(box, 2));
	if (digest != said)
		index_bad(v, "mailbox digest is not that of its messages", name);
	if (n != sqlite3_column_int64(box, 3) || unseen != sqlite3_column_int64(box, 4))
		index_bad(v, "mailbox counters are wrong", name);
	if (last >= (uint32_t)sqlite3_column_int64(box, 6))
		index_bad(v, "UIDNEXT is not above every UID", name);
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
		json_object_set_new(o, "index_bad", json_boolean(v->job->index_bad));
		json_object_set(o, "bad", v->bad);
		json_object_set(o, "digests", v->boxes);
	}
	return o;
}

static int
on_progress(void *arg)
{
	struct shard_job *j = arg;

	j->steps++;
	return j->stop;
}

static void
verify_all(struct verify *v)
{
	sqlite3_progress_handler(v->db, 100000, on_progress, v->job);
	if (sqlite3_exec(v->db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
		sql_failed(v);
	verify_pages(v);
	verify_boxes(v);
	verify_rows(v);
	verify_missing(v);
	/* after damage SQLite may have ended it */
	if (!sqlite3_get_autocommit(v->db) &&
	    sqlite3_exec(v->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		sql_failed(v);
	verify_objects(v);
	if (v->job->stop) {
		snprintf(v->job->error, sizeof(v->job->error), "%s: stopped", v->job->dir);
		v->failed = true;
	}
}

int
shard_verify_run(struct shard_job *j)
{
	struct verify v = { .job = j, .db = shard_sql_extra(j->dir, true) };
	bool damaged = v.db == NULL && errno == EBADMSG;

	if (v.db == NULL && (!damaged || j->kind == SHARD_STAT))
		return -1;
	v.bad = json_array();
	v.boxes = json_array();
	if (damaged) {
		index_bad(&v, "index.db is damaged", "it cannot be opened");
		j->report = json_pack("{s:I, s:b, s:O, s:O}", "bad_count", v.nbad, "index_bad", 1,
		    "bad", v.bad, "digests", v.boxes);
	} else {
		if (j->kind == SHARD_STAT)
			stat_numbers(&v);
		else
			verify_all(&v);
		j->report = report(&v);
	}
	json_decref(v.bad);
	json_decref(v.boxes);
	sqlite3_close(v.db);
	errno = EIO;
	return v.failed ? -1 : 0;
}
