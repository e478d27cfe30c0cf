/* shard_read.c - what sessions ask of a shard, from its reading connection, which sees
 * committed transactions only.
 *
 * Each question is one prepared statement on an index: its cost follows the answer,
 * not the store.  A mailbox that was not written since a takeover without release
 * shows UIDNEXT and HIGHESTMODSEQ as if the gap had been taken already, because the
 * node before may have shown higher numbers than this one knows. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"
#include "shard_priv.h"

static enum mail_rc
read_failed(struct shard *sh)
{
	if (!sh->unfilled)	/* that was said once */
		log_warn("store %s: cannot read index.db", sh->dir);
	return MAIL_TEMP;
}

static void
copy_text(sqlite3_stmt *st, int col, char *dst, size_t size)
{
	const char *s = (const char *)sqlite3_column_text(st, col);

	if (s == NULL || span_copy(span_of(s), dst, size) == -1)
		dst[0] = '\0';
}

static void
box_read(struct shard *sh, sqlite3_stmt *st, struct store_box *b)
{
	uint64_t gap_gen = (uint64_t)sqlite3_column_int64(st, 7);

	memset(b, 0, sizeof(*b));
	b->id = (uint64_t)sqlite3_column_int64(st, 0);
	copy_text(st, 1, b->name, sizeof(b->name));
	b->uidvalidity = (uint32_t)sqlite3_column_int64(st, 2);
	b->uidnext = (uint32_t)sqlite3_column_int64(st, 3);
	b->exists = (uint32_t)sqlite3_column_int64(st, 4);
	b->unseen = (uint32_t)sqlite3_column_int64(st, 5);
	b->modseq = (uint64_t)sqlite3_column_int64(st, 6);
	copy_text(st, 8, b->special, sizeof(b->special));
	b->subscribed = sqlite3_column_int(st, 9) != 0;
	b->uid_free = (uint32_t)sqlite3_column_int64(st, 11);
	if (b->uid_free < b->uidnext)
		b->uid_free = b->uidnext;
	if (gap_gen >= sh->committed.gap_gen)
		return;
	b->uidnext += SHARD_UID_GAP;
	b->uid_free += SHARD_UID_GAP;
	if (b->modseq < sh->committed.gap_gen << 40)
		b->modseq = sh->committed.gap_gen << 40;
}

bool
shard_name_clean(const char *name, char clean[STORE_NAME_MAX + 1])
{
	struct span s = span_of(name);
	bool inbox = span_starts_nocase(s, "INBOX") && (s.len == 5 || s.p[5] == '/');

	if (s.len == 0 || s.len > STORE_NAME_MAX || s.p[0] == '/' || s.p[s.len - 1] == '/' ||
	    strstr(name, "//") != NULL)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	memcpy(clean, name, s.len + 1);
	if (inbox)
		for (size_t i = 0; i < 5; i++)
			clean[i] = "INBOX"[i];
	return true;
}

enum mail_rc
shard_box_by_name(struct shard *sh, uint64_t user, const char *name, struct store_box *b)
{
	sqlite3_stmt *st = shard_r(sh, R_BOX_NAME);
	char clean[STORE_NAME_MAX + 1];
	int rc;

	if (!shard_name_clean(name, clean))
		return MAIL_UNKNOWN;
	rc = sql_run(st, "it", (int64_t)user, clean);
	if (rc == -1)
		return read_failed(sh);
	if (rc == 0)
		return MAIL_UNKNOWN;
	box_read(sh, st, b);
	sqlite3_reset(st);
	return MAIL_OK;
}

enum mail_rc
shard_box_by_id(struct shard *sh, uint64_t box, struct store_box *b)
{
	sqlite3_stmt *st = shard_r(sh, R_BOX_ID);
	int rc = sql_run(st, "i", (int64_t)box);

	if (rc == -1)
		return read_failed(sh);
	if (rc == 0)
		return MAIL_UNKNOWN;
	box_read(sh, st, b);
	sqlite3_reset(st);
	return MAIL_OK;
}

enum mail_rc
shard_box_by_guid(struct shard *sh, const uint8_t guid[16], struct store_box *b)
{
	sqlite3_stmt *st = shard_r(sh, R_BOX_GUID);
	int rc = sql_run(st, "g", guid);

	if (rc == -1)
		return read_failed(sh);
	if (rc == 0)
		return MAIL_UNKNOWN;
	box_read(sh, st, b);
	sqlite3_reset(st);
	return MAIL_OK;
}

enum mail_rc
shard_box_user(struct shard *sh, uint64_t box, uint64_t *user)
{
	sqlite3_stmt *st = shard_r(sh, R_BOX_ID);
	int rc = sql_run(st, "i", (int64_t)box);

	if (rc == -1)
		return read_failed(sh);
	if (rc == 0)
		return MAIL_UNKNOWN;
	*user = (uint64_t)sqlite3_column_int64(st, 10);
	sqlite3_reset(st);
	return MAIL_OK;
}

bool
shard_box_children(struct shard *sh, uint64_t user, const char *name)
{
	sqlite3_stmt *st = shard_r(sh, R_CHILD);
	char *lo = mem_printf("%s/", name), *hi = mem_printf("%s0", name);
	bool yes = sql_run(st, "itt", (int64_t)user, lo, hi) == 1;

	sqlite3_reset(st);
	free(lo);
	free(hi);
	return yes;
}

/* Emits the parents of b->name that no mailbox has and that were not emitted for the
 * name before: all names under one parent stand together in byte order. */
static void
list_parents(struct shard *sh, uint64_t user, const struct store_box *b, const char *before,
    void (*each)(const struct store_box *, void *), void *arg)
{
	struct store_box parent;
	const char *slash = b->name;

	while ((slash = strchr(slash, '/')) != NULL) {
		size_t n = (size_t)(slash - b->name);

		slash++;
		if (strncmp(before, b->name, n + 1) == 0)
			continue;
		memset(&parent, 0, sizeof(parent));
		memcpy(parent.name, b->name, n);
		if (shard_box_by_name(sh, user, parent.name, &parent) == MAIL_OK)
			continue;
		memset(&parent, 0, sizeof(parent));
		memcpy(parent.name, b->name, n);
		parent.noselect = true;
		each(&parent, arg);
	}
}

static enum mail_rc
list_subscribed(struct shard *sh, uint64_t user,
    void (*each)(const struct store_box *, void *), void *arg)
{
	sqlite3_stmt *st = shard_r(sh, R_SUB_LIST);
	struct store_box b;
	char name[STORE_NAME_MAX + 1];
	int rc = sql_run(st, "i", (int64_t)user);

	for (; rc == 1; rc = sqlite3_step(st) == SQLITE_ROW) {
		copy_text(st, 0, name, sizeof(name));
		if (shard_box_by_name(sh, user, name, &b) != MAIL_OK) {
			memset(&b, 0, sizeof(b));
			memcpy(b.name, name, sizeof(name));
			b.noselect = true;
		}
		b.subscribed = true;
		each(&b, arg);
	}
	return sqlite3_reset(st) == SQLITE_OK && rc == 0 ? MAIL_OK : read_failed(sh);
}

enum mail_rc
shard_box_list(struct shard *sh, uint64_t user, bool subscribed_only,
    void (*each)(const struct store_box *, void *), void *arg)
{
	sqlite3_stmt *st = shard_r(sh, R_BOX_LIST);
	char before[STORE_NAME_MAX + 1] = "";
	struct store_box b;
	int rc;

	if (subscribed_only)
		return list_subscribed(sh, user, each, arg);
	rc = sql_run(st, "i", (int64_t)user);
	for (; rc == 1; rc = sqlite3_step(st) == SQLITE_ROW) {
		box_read(sh, st, &b);
		list_parents(sh, user, &b, before, each, arg);
		memcpy(before, b.name, sizeof(before));
		each(&b, arg);
	}
	return sqlite3_reset(st) == SQLITE_OK && rc == 0 ? MAIL_OK : read_failed(sh);
}

static void
msg_read(sqlite3_stmt *st, struct store_msg *m)
{
	const char *kw = (const char *)sqlite3_column_text(st, 2);
	const void *sha = sqlite3_column_blob(st, 6), *guid;

	memset(m, 0, sizeof(*m));
	m->uid = (uint32_t)sqlite3_column_int64(st, 0);
	m->flags = (uint32_t)sqlite3_column_int64(st, 1);
	m->keywords = kw != NULL && kw[0] != '\0' ? (char *)(uintptr_t)kw : NULL;
	m->modseq = (uint64_t)sqlite3_column_int64(st, 3);
	m->size = (uint64_t)sqlite3_column_int64(st, 4);
	m->internal_s = sqlite3_column_int64(st, 5);
	if (sha != NULL && sqlite3_column_bytes(st, 6) == 32)
		memcpy(m->sha, sha, 32);
	guid = sqlite3_column_blob(st, 7);
	if (guid != NULL && sqlite3_column_bytes(st, 7) == 16)
		memcpy(m->guid, guid, 16);
}

enum mail_rc
shard_messages(struct shard *sh, uint64_t box, uint32_t from_uid, uint64_t since_modseq,
    void (*each)(const struct store_msg *, void *), void *arg)
{
	sqlite3_stmt *st = shard_r(sh, since_modseq == 0 ? R_MSGS : R_MSGS_SINCE);
	struct store_msg m;
	int rc = since_modseq == 0 ? sql_run(st, "ii", (int64_t)box, (int64_t)from_uid) :
	    sql_run(st, "iii", (int64_t)box, (int64_t)since_modseq, (int64_t)from_uid);

	for (; rc == 1; rc = sqlite3_step(st) == SQLITE_ROW) {
		msg_read(st, &m);
		each(&m, arg);
	}
	return sqlite3_reset(st) == SQLITE_OK && rc == 0 ? MAIL_OK : read_failed(sh);
}

enum mail_rc
shard_message(struct shard *sh, uint64_t box, uint32_t uid, struct store_msg *m)
{
	sqlite3_stmt *st = shard_r(sh, R_MSG);
	int rc = sql_run(st, "ii", (int64_t)box, (int64_t)uid);

	if (rc == -1)
		return read_failed(sh);
	if (rc == 0)
		return MAIL_UNKNOWN;
	msg_read(st, m);
	m->keywords = mem_dup(m->keywords);
	sqlite3_reset(st);
	return MAIL_OK;
}

enum mail_rc
shard_uids(struct shard *sh, uint64_t box, uint32_t lo, uint32_t hi,
    void (*each)(uint32_t uid, void *), void *arg)
{
	sqlite3_stmt *st = shard_r(sh, R_UIDS);
	int rc = sql_run(st, "iii", (int64_t)box, (int64_t)lo, (int64_t)hi);

	for (; rc == 1; rc = sqlite3_step(st) == SQLITE_ROW)
		each((uint32_t)sqlite3_column_int64(st, 0), arg);
	return sqlite3_reset(st) == SQLITE_OK && rc == 0 ? MAIL_OK : read_failed(sh);
}

enum mail_rc
shard_box_count(struct shard *sh, uint64_t user, uint64_t *n)
{
	sqlite3_stmt *st = shard_r(sh, R_BOX_COUNT);

	if (sql_run(st, "i", (int64_t)user) != 1)
		return read_failed(sh);
	*n = (uint64_t)sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return MAIL_OK;
}

/* ---- dump ---- */

static int
dump_table(struct shard *sh, const char *sql, void (*line)(const char *, void *), void *arg)
{
	sqlite3_stmt *st = NULL;
	int rc;

	if (sqlite3_prepare_v2(sh->rd, sql, -1, &st, NULL) != SQLITE_OK)
		return -1;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW)
		line((const char *)sqlite3_column_text(st, 0), arg);
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? 0 : -1;
}

int
shard_dump(struct shard *sh, void (*line)(const char *, void *), void *arg)
{
	static const char *const tables[] = {
		"SELECT 'state ' || applied_lsn || ' ' || modseq || ' ' || uidvalidity || ' ' ||"
		" gen_no || ' ' || gen_kind || ' ' || gen_node || ' ' || gap_gen || ' ' || last_ms"
		" FROM state",
		"SELECT 'box ' || id || ' ' || user || ' ' || quote(name) || ' ' || hex(guid) || ' '"
		" || special || ' ' || uidvalidity || ' ' || uidnext || ' ' || modseq || ' ' ||"
		" gap_gen || ' ' || exist || ' ' || unseen || ' ' || digest || ' ' || deleted_lsn || ' ' ||"
		" reserve"
		" FROM boxes ORDER BY id",
		"SELECT 'msg ' || box || ' ' || uid || ' ' || flags || ' ' || quote(keywords) || ' '"
		" || modseq || ' ' || size || ' ' || internal_s || ' ' || hex(sha) || ' ' ||"
		" hex(guid) FROM messages ORDER BY box, uid",
		"SELECT 'tomb ' || box || ' ' || uid || ' ' || modseq || ' ' || lsn || ' ' || flags ||"
		" ' ' || hex(sha) || ' ' || hex(guid) FROM tombstones ORDER BY box, uid",
		"SELECT 'object ' || hex(sha) || ' ' || size || ' ' || refs FROM objects ORDER BY sha",
		"SELECT 'part ' || hex(sha) || ' ' || first_lsn FROM parts ORDER BY sha",
		"SELECT 'missing ' || hex(sha) || ' ' || lsn FROM missing ORDER BY sha",
		"SELECT 'merged ' || fork || ' ' || hex(box) || ' ' || hex(guid) FROM merged ORDER BY"
		" fork, box, guid",
		"SELECT 'sub ' || user || ' ' || quote(name) FROM subscriptions ORDER BY user, name",
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		if (dump_table(sh, tables[i], line, arg) == -1)
			return -1;
	return 0;
}
