/* shard_apply.c - records become rows: messages, flags, removals, copies.
 *
 * Everything here is deterministic: it looks at the record and the rows, never at a
 * clock, the file system's state (except whether an object is already there) or
 * which node this is.  Mailbox structure is in shard_apply_box.c.
 * Failure: -1 with errno; the caller rolls the whole transaction back and the same
 * records come again.  A record that makes no sense is logged and changes nothing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "hook.h"
#include "keywords.h"
#include "log.h"
#include "mem.h"
#include "shard_priv.h"

/* ---- rows ---- */

void
shard_event(struct shard *sh, int what, uint64_t box, uint32_t uid, const void *origin)
{
	if (sh->nevents == sh->events_cap) {
		sh->events_cap = sh->events_cap == 0 ? 64 : sh->events_cap * 2;
		sh->events = mem_grow(sh->events, sh->events_cap, sizeof(*sh->events));
	}
	sh->events[sh->nevents++] = (struct shard_event){ .what = (uint8_t)what, .uid = uid,
		.box = box, .origin = origin };
}

void
outcome_uids(struct shard_uids *u, uint32_t uid)
{
	if (u->n == u->cap) {
		u->cap = u->cap == 0 ? 64 : u->cap * 2;
		u->v = mem_grow(u->v, u->cap, sizeof(*u->v));
	}
	u->v[u->n++] = uid;
}

int
box_get(struct shard *sh, uint64_t id, struct box_row *b)
{
	sqlite3_stmt *st = shard_w(sh, W_BOX_GET);
	int rc = sql_run(st, "i", (int64_t)id);

	if (rc != 1)
		return rc;
	b->id = (uint64_t)sqlite3_column_int64(st, 0);
	b->user = (uint64_t)sqlite3_column_int64(st, 1);
	b->uidvalidity = (uint32_t)sqlite3_column_int64(st, 2);
	b->uidnext = (uint32_t)sqlite3_column_int64(st, 3);
	b->modseq = (uint64_t)sqlite3_column_int64(st, 4);
	b->gap_gen = (uint64_t)sqlite3_column_int64(st, 5);
	b->exists = (uint32_t)sqlite3_column_int64(st, 6);
	b->unseen = (uint32_t)sqlite3_column_int64(st, 7);
	b->digest = (uint64_t)sqlite3_column_int64(st, 8);
	b->reserve = (uint32_t)sqlite3_column_int64(st, 9);
	sqlite3_reset(st);
	return 1;
}

int
box_set(struct shard *sh, const struct box_row *b)
{
	return sql_run(shard_w(sh, W_BOX_SET), "iiiiiii", (int64_t)b->uidnext, (int64_t)b->modseq,
	    (int64_t)b->gap_gen, (int64_t)b->exists, (int64_t)b->unseen, (int64_t)b->digest,
	    (int64_t)b->id);
}

static void
msg_read(sqlite3_stmt *st, struct msg_row *m)
{
	const void *sha, *guid;
	const char *kw = (const char *)sqlite3_column_text(st, 2);

	memset(m, 0, offsetof(struct msg_row, keywords));
	m->uid = (uint32_t)sqlite3_column_int64(st, 0);
	m->flags = (uint32_t)sqlite3_column_int64(st, 1);
	if (span_copy(span_of(kw), m->keywords, sizeof(m->keywords)) == -1)
		m->keywords[0] = '\0';
	m->modseq = (uint64_t)sqlite3_column_int64(st, 3);
	m->size = (uint64_t)sqlite3_column_int64(st, 4);
	m->internal_s = sqlite3_column_int64(st, 5);
	if ((sha = sqlite3_column_blob(st, 6)) != NULL && sqlite3_column_bytes(st, 6) == 32)
		memcpy(m->sha, sha, 32);
	if ((guid = sqlite3_column_blob(st, 7)) != NULL && sqlite3_column_bytes(st, 7) == 16)
		memcpy(m->guid, guid, 16);
}

int
msg_next(struct shard *sh, uint64_t box, uint32_t from, struct msg_row *m)
{
	sqlite3_stmt *st = shard_w(sh, W_MSG_NEXT);
	int rc = sql_run(st, "ii", (int64_t)box, (int64_t)from);

	if (rc != 1)
		return rc;
	msg_read(st, m);
	sqlite3_reset(st);
	return 1;
}

/* A mailbox's digest is the sum over its messages, so it follows each change at the
 * cost of that change. */
uint64_t
msg_digest(const struct msg_row *m)
{
	uint8_t buf[4 + 4 + 32 + 16 + STORE_KEYWORDS_MAX], sha[32];
	size_t n = strlen(m->keywords);

	wire_store32(buf, m->uid);
	wire_store32(buf + 4, m->flags);
	memcpy(buf + 8, m->sha, 32);
	memcpy(buf + 40, m->guid, 16);
	memcpy(buf + 56, m->keywords, n);
	sha256(buf, 56 + n, sha);
	return wire_load64(sha);
}

/* Was this very row added before, under the same UID?  A proposal that was repeated
 * after a reconnection looks so. */
static int
msg_is_repeat(struct shard *sh, uint64_t box, const struct msg_row *m)
{
	sqlite3_stmt *st = shard_w(sh, W_TOMB_GET);
	struct msg_row have;
	int rc = msg_next(sh, box, m->uid, &have);

	if (rc == 1 && have.uid == m->uid)
		return memcmp(have.guid, m->guid, 16) == 0;
	if (rc != -1 && (rc = sql_run(st, "ii", (int64_t)box, (int64_t)m->uid)) == 1) {
		rc = sqlite3_column_bytes(st, 0) == 16 &&
		    memcmp(sqlite3_column_blob(st, 0), m->guid, 16) == 0;
		sqlite3_reset(st);
	}
	return rc;
}

void
modseq_used(struct shard *sh, uint64_t modseq)
{
	if (modseq > sh->now.modseq)
		sh->now.modseq = modseq;
}

int
msg_add(struct shard *sh, struct box_row *b, struct msg_row *m, const void *origin)
{
	uint32_t free_uid;

	modseq_used(sh, m->modseq);
	if (m->uid < b->uidnext) {
		int rc = msg_is_repeat(sh, b->id, m);

		if (rc != 0)
			return rc == 1 ? 0 : -1;
		free_uid = b->uidnext > b->reserve ? b->uidnext : b->reserve;
		log_err("store %s: box %llu uid %u was given before; %u instead", sh->dir,
		    (unsigned long long)b->id, m->uid, free_uid);
		m->uid = free_uid;
	}
	if (m->uid >= b->uidnext && m->uid - b->uidnext >= SHARD_UID_GAP)
		b->gap_gen = sh->now.gap_gen;
	if (sql_run(shard_w(sh, W_MSG_ADD), "iiitiiibg", (int64_t)b->id, (int64_t)m->uid,
	    (int64_t)m->flags, m->keywords, (int64_t)m->modseq, (int64_t)m->size,
	    m->internal_s, m->sha, m->guid) == -1 ||
	    sql_run(shard_w(sh, W_OBJ_REF), "bi", m->sha, (int64_t)m->size) == -1)
		return -1;
	b->uidnext = m->uid + 1;
	b->exists++;
	b->unseen += (m->flags & FLAG_SEEN) == 0;
	b->digest += msg_digest(m);
	if (m->modseq > b->modseq)
		b->modseq = m->modseq;
	shard_event(sh, STORE_NEW, b->id, m->uid, origin);
	return 0;
}

int
object_unref(struct shard *sh, uint64_t lsn, int64_t ms, const uint8_t sha[32])
{
	return sql_run(shard_w(sh, W_OBJ_UNREF), "iib", (int64_t)lsn, ms, sha) == -1 ? -1 :
	    sql_run(shard_w(sh, W_MISSING_GONE), "b", sha);
}

int
msg_gone(struct shard *sh, struct box_row *b, const struct msg_row *m, uint64_t modseq,
    const struct owner_record *rec, const void *origin)
{
	modseq_used(sh, modseq);
	if (sql_run(shard_w(sh, W_MSG_DEL), "ii", (int64_t)b->id, (int64_t)m->uid) == -1 ||
	    sql_run(shard_w(sh, W_TOMB_ADD), "iiiiiiiibg", (int64_t)b->id, (int64_t)m->uid,
	    (int64_t)modseq, (int64_t)rec->lsn, rec->time_ms, (int64_t)m->flags,
	    (int64_t)m->size, m->internal_s, m->sha, m->guid) == -1 ||
	    object_unref(sh, rec->lsn, rec->time_ms, m->sha) == -1)
		return -1;
	b->exists--;
	b->unseen -= (m->flags & FLAG_SEEN) == 0;
	b->digest -= msg_digest(m);
	if (modseq > b->modseq)
		b->modseq = modseq;
	shard_event(sh, STORE_GONE, b->id, m->uid, origin);
	return 0;
}

/* ---- objects ---- */

static int
object_row(struct shard *sh, const uint8_t sha[32], int64_t *refs)
{
	sqlite3_stmt *st = shard_w(sh, W_OBJ_GET);
	int rc = sql_run(st, "b", sha);

	*refs = 0;
	if (rc == 1) {
		*refs = sqlite3_column_int64(st, 0);
		sqlite3_reset(st);
	}
	return rc;
}

/* 1 = a message has it.  Otherwise its file may be gone: it is unlinked behind a
 * removal of its row that a power cut can undo. */
static int
object_held(struct shard *sh, const uint8_t sha[32])
{
	int64_t refs;

	return object_row(sh, sha, &refs) == -1 ? -1 : refs > 0;
}

/* The bytes are lost here, though the record is committed: the row stands, verify
 * reports it, and the peer has them. */
static int
object_missing(struct shard *sh, const uint8_t sha[32], uint64_t lsn)
{
	char hex[65];

	log_err("store %s: object %s of record %llu is damaged or incomplete", sh->dir,
	    hex_encode(sha, 32, hex), (unsigned long long)lsn);
	return sql_run(shard_w(sh, W_MISSING_ADD), "bi", sha, (int64_t)lsn);
}

/* Puts the object of a message in place, from the record or from its pieces. */
static int
object_store(struct shard *sh, struct rec_mail *m, uint64_t lsn)
{
	uint8_t is[32];
	int rc;

	if (m->inlined) {
		sha256(m->content.p, m->content.len, is);
		if (memcmp(is, m->sha, 32) != 0) {
			log_err("store %s: record %llu names another hash than its content has",
			    sh->dir, (unsigned long long)lsn);
			memcpy(m->sha, is, 32);		/* same on both nodes: the bytes count */
		}
		return object_put(sh, m->sha, m->content);
	}
	rc = object_part_finish(sh, m->sha, m->size);
	if (rc == 1 && (rc = object_check(sh->objects_fd, m->sha, m->size)) != -1)
		rc = rc == 0;		/* there: a crash after the rename, before the commit */
	if (rc == 1)
		rc = object_missing(sh, m->sha, lsn);
	return rc;
}

int
mail_object(struct shard *sh, struct rec_mail *m, uint64_t lsn)
{
	int rc = object_held(sh, m->sha);

	if (rc == -1 || (rc == 0 && object_store(sh, m, lsn) == -1))
		return -1;
	return m->inlined ? 0 : object_part_unlink(sh, m->sha) == -1 ? -1 :
	    sql_run(shard_w(sh, W_PART_DEL), "b", m->sha);
}

static int
apply_blob(struct shard *sh, const struct owner_record *rec)
{
	struct rec_blob b;
	int rc;

	if (!rec_blob_decode(rec->payload, &b))
		return 1;
	if ((rc = object_held(sh, b.sha)) == -1)
		return -1;
	/* A piece of what is here already is not written; its row keeps the object, should
	 * the messages that have it go before the one behind the pieces comes. */
	if (rc == 0 && object_part_write(sh, &b) == -1)
		return -1;
	return sql_run(shard_w(sh, W_PART_SET), "bii", b.sha, (int64_t)rec->lsn, rec->time_ms);
}

static int
apply_part_drop(struct shard *sh, const struct owner_record *rec)
{
	uint8_t sha[32];

	if (!rec_drop_decode(rec->payload, sha))
		return 1;
	if (object_part_unlink(sh, sha) == -1)
		return -1;
	return sql_run(shard_w(sh, W_PART_DEL), "b", sha);
}

/* ---- DELIVER, APPEND ---- */

/* The mailbox of an entry.  A delivery is never dropped: should its mailbox be gone,
 * it goes to the INBOX, which is made when there is none. */
static int
entry_box(struct shard *sh, const struct owner_record *rec, const struct rec_entry *e,
    struct box_row *b)
{
	struct rec_box inbox = { .user = e->user, .id = e->modseq, .name = "INBOX",
		.subscribe = true, .uidvalidity = sh->now.uidvalidity + 1 };
	sqlite3_stmt *st = shard_w(sh, W_BOX_FIND);
	uint64_t id;
	int rc = box_get(sh, e->box, b);

	if (rc != 0 || rec->type != REC_DELIVER)
		return rc;
	if ((rc = sql_run(st, "it", (int64_t)e->user, "INBOX")) == -1)
		return -1;
	if (rc == 1) {
		id = (uint64_t)sqlite3_column_int64(st, 0);
		sqlite3_reset(st);
	} else {
		memcpy(inbox.guid, e->guid, 16);
		if (apply_create_box(sh, &inbox, rec, &id) == -1)
			return -1;
	}
	return box_get(sh, id, b);
}

static int
apply_entry(struct shard *sh, const struct owner_record *rec, const struct rec_mail *m,
    const struct rec_entry *e, const void *origin, struct shard_outcome *out)
{
	struct msg_row row = { .uid = e->uid, .flags = e->flags, .modseq = e->modseq,
		.size = m->size, .internal_s = e->internal_s };
	struct box_row b;
	int rc = entry_box(sh, rec, e, &b);

	if (rc == 0)
		out->rc = MAIL_UNKNOWN;
	if (rc != 1)
		return rc;
	memcpy(row.sha, m->sha, 32);
	memcpy(row.guid, e->guid, 16);
	memcpy(row.keywords, e->keywords, sizeof(row.keywords));
	if (msg_add(sh, &b, &row, origin) == -1 || box_set(sh, &b) == -1)
		return -1;
	outcome_uids(&sh->dst, row.uid);
	out->uidvalidity = b.uidvalidity;
	return 0;
}

static int
apply_mail(struct shard *sh, const struct owner_record *rec, const void *origin,
    struct shard_outcome *out)
{
	struct rec_mail m;
	struct rec_box box;
	struct rec_entry e;
	uint64_t id;

	if (!rec_mail_decode(rec->payload, &m))
		return 1;
	if (mail_object(sh, &m, rec->lsn) == -1)
		return -1;
	for (unsigned i = 0; i < m.nboxes; i++) {
		rec_mail_box(&m, &box);
		if (apply_create_box(sh, &box, rec, &id) == -1)
			return -1;
	}
	for (unsigned i = 0; i < m.nentries; i++) {
		rec_mail_entry(&m, &e);
		if (apply_entry(sh, rec, &m, &e, origin, out) == -1)
			return -1;
	}
	return 0;
}

/* ---- FLAGS, EXPUNGE ---- */

int
msg_flags(struct shard *sh, const struct rec_flags *f, struct box_row *b, struct msg_row *m,
    const void *origin)
{
	char kw[STORE_KEYWORDS_MAX + 1];
	uint32_t flags = f->op == STORE_FLAGS_SET ? f->flags :
	    f->op == STORE_FLAGS_ADD ? m->flags | f->flags : m->flags & ~f->flags;

	keywords_apply(f->op, m->keywords, f->keywords, kw);
	if (flags == m->flags && strcmp(kw, m->keywords) == 0)
		return 0;
	b->digest -= msg_digest(m);
	b->unseen -= (m->flags & FLAG_SEEN) == 0;
	m->flags = flags;
	memcpy(m->keywords, kw, sizeof(kw));
	b->digest += msg_digest(m);
	b->unseen += (m->flags & FLAG_SEEN) == 0;
	b->modseq = f->modseq > b->modseq ? f->modseq : b->modseq;
	shard_event(sh, STORE_FLAGS, b->id, m->uid, origin);
	return sql_run(shard_w(sh, W_MSG_FLAGS), "itiii", (int64_t)m->flags, m->keywords,
	    (int64_t)f->modseq, (int64_t)b->id, (int64_t)m->uid);
}

/* Walks the messages of the ranges; rows are fetched one at a time, because each is
 * changed behind the cursor. */
static int
ranges_walk(struct shard *sh, const struct owner_record *rec, struct rec_flags *f,
    const void *origin, struct shard_outcome *out)
{
	struct box_row b;
	struct msg_row m;
	int rc = box_get(sh, f->box, &b);

	if (rc == 0)
		out->rc = MAIL_UNKNOWN;
	if (rc != 1)
		return rc;
	modseq_used(sh, f->modseq);
	for (unsigned i = 0; i < f->n; i++) {
		struct rec_range r = rec_range_get(&f->ranges);
		uint64_t at = r.lo;

		while (at <= r.hi && (rc = msg_next(sh, b.id, (uint32_t)at, &m)) == 1 &&
		    m.uid <= r.hi) {
			if (rec->type == REC_FLAGS)
				rc = msg_flags(sh, f, &b, &m, origin);
			else if (f->op == 0 || (m.flags & FLAG_DELETED) != 0)
				rc = msg_gone(sh, &b, &m, f->modseq, rec, origin);
			if (rc == -1)
				return -1;
			at = (uint64_t)m.uid + 1;
		}
		if (rc == -1)
			return -1;
	}
	return box_set(sh, &b);
}

/* ---- COPY, MOVE ---- */

/* Each copy is a message of its own: POP3 names messages by it. */
static void
copy_guid(struct msg_row *m, uint64_t lsn, uint32_t uid)
{
	uint8_t buf[28], sha[32];

	memcpy(buf, m->guid, 16);
	wire_store64(buf + 16, lsn);
	wire_store32(buf + 24, uid);
	sha256(buf, sizeof(buf), sha);
	memcpy(m->guid, sha, 16);
}

static int
copy_one(struct shard *sh, const struct owner_record *rec, const struct rec_copy *c,
    struct rec_range pair, struct box_row *from, struct box_row *to, const void *origin)
{
	struct msg_row m, copy;
	int rc = msg_next(sh, c->from, pair.lo, &m);

	if (rc != 1 || m.uid != pair.lo)
		return rc == -1 ? -1 : 0;	/* removed by something before this */
	copy = m;
	copy.uid = pair.hi;
	copy.modseq = c->modseq;
	copy_guid(&copy, rec->lsn, pair.hi);
	if (msg_add(sh, to, &copy, origin) == -1 || box_set(sh, to) == -1)
		return -1;
	outcome_uids(&sh->src, pair.lo);
	outcome_uids(&sh->dst, copy.uid);
	if (!c->move)
		return 0;
	if (from->id == to->id)
		*from = *to;
	if (msg_gone(sh, from, &m, c->gone_modseq, rec, origin) == -1 || box_set(sh, from) == -1)
		return -1;
	if (from->id == to->id)
		*to = *from;
	return 0;
}

static int
apply_copy(struct shard *sh, const struct owner_record *rec, const void *origin,
    struct shard_outcome *out)
{
	struct rec_copy c;
	struct box_row from, to;
	int rc = 1;

	if (!rec_copy_decode(rec->payload, &c))
		return 1;
	if ((rc = box_get(sh, c.from, &from)) == 1)
		rc = box_get(sh, c.to, &to);
	if (rc == 0)
		out->rc = MAIL_UNKNOWN;
	if (rc != 1)
		return rc;
	for (unsigned i = 0; i < c.n; i++)
		if (copy_one(sh, rec, &c, rec_range_get(&c.pairs), &from, &to, origin) == -1)
			return -1;
	out->uidvalidity = to.uidvalidity;
	return 0;
}

/* ---- one record ---- */

static int
apply_generation(struct shard *sh, const struct owner_record *rec)
{
	struct wire_in in;
	struct gen g;

	wire_in_init(&in, rec->payload.p, rec->payload.len);
	gen_get(&in, &g);
	if (!wire_in_ok(&in))
		return 1;
	sh->now.gen_no = g.no;
	sh->now.gen_kind = g.kind;
	sh->now.gen_node = g.node;
	if (!gen_kind_gap(g.kind))
		return 0;
	if (sh->reuse_uids)
		return sql_run(shard_w(sh, W_REUSE_UIDS), "");
	sh->now.gap_gen = g.no;
	return 0;
}

/* 0, 1 = makes no sense, -1 = failed */
static int
apply_record(struct shard *sh, const struct owner_record *rec, const void *origin,
    struct shard_outcome *out)
{
	struct rec_flags f;

	switch (rec->type) {
	case OWNER_REC_GENERATION:
		return apply_generation(sh, rec);
	case REC_DELIVER:
	case REC_APPEND:
		return apply_mail(sh, rec, origin, out);
	case REC_BLOB:
		return apply_blob(sh, rec);
	case REC_FLAGS:
		if (!rec_flags_decode(rec->payload, &f))
			return 1;
		return ranges_walk(sh, rec, &f, origin, out);
	case REC_EXPUNGE:
		if (!rec_expunge_decode(rec->payload, &f))
			return 1;
		return ranges_walk(sh, rec, &f, origin, out);
	case REC_COPY:
		return apply_copy(sh, rec, origin, out);
	case REC_PART_DROP:
		return apply_part_drop(sh, rec);
	case REC_MERGE_ADD:
	case REC_MERGE_BOX:
	case REC_MERGE_SET:
		return apply_merge_record(sh, rec, origin, out);
	default:
		return apply_box_record(sh, rec, origin, out);
	}
}

/* After a power cut: the index is ahead of what the disk may hold of the objects.
 * Those that it needs are looked at, and written again from the log. */
static int
recover_object(struct shard *sh, const struct owner_record *rec)
{
	struct rec_mail m;
	struct rec_blob b;
	struct rec_key key;
	bool blob = rec->type == REC_BLOB;
	const uint8_t *sha = blob ? b.sha : m.sha;
	int64_t refs;
	int rc;

	if (blob ? !rec_blob_decode(rec->payload, &b) : rec->type == REC_MERGE_ADD ?
	    !rec_added_decode(rec->payload, &key, &m) : !rec_mail_decode(rec->payload, &m))
		return 0;
	if ((rc = object_row(sh, sha, &refs)) == -1)
		return -1;
	if (!blob && rc == 0)		/* removed since */
		return object_part_unlink(sh, sha);
	if (rc == 1 && !sh->suspect && (memcmp(sha, sh->good, 32) == 0 ||
	    object_good(sh->objects_fd, sha, blob ? b.total : m.size))) {
		memcpy(sh->good, sha, 32);
		return blob ? 0 : object_part_unlink(sh, sha);
	}
	if (blob)
		return object_part_write(sh, &b);
	return object_store(sh, &m, rec->lsn);
}

/* A record that is applied already. */
static int
recover(struct shard *sh, const struct owner_record *rec)
{
	bool object = rec->type == REC_DELIVER || rec->type == REC_APPEND ||
	    rec->type == REC_BLOB || rec->type == REC_MERGE_ADD;
	uint8_t sha[32];

	if (!sh->recovering)
		return 0;
	if (rec->type == REC_PART_DROP && rec_drop_decode(rec->payload, sha) &&
	    object_part_unlink(sh, sha) == -1)
		return -1;
	if (object && recover_object(sh, rec) == -1)
		return -1;
	if (rec->lsn >= sh->recover_until) {
		sh->recovering = false;
		log_info("store %s: objects up to record %llu are in order", sh->dir,
		    (unsigned long long)rec->lsn);
	}
	return 0;
}

static int
begin(struct shard *sh)
{
	if (sh->open)
		return 0;
	if (sql_run(shard_w(sh, W_BEGIN), "") == -1)
		return -1;
	sh->open = true;
	return 0;
}

int
shard_apply(struct shard *sh, const struct owner_record *rec, const void *origin,
    struct shard_outcome *out)
{
	int rc;

	*out = (struct shard_outcome){ .rc = MAIL_OK };
	sh->src.n = sh->dst.n = 0;
	if (begin(sh) == -1)
		return -1;
	if (rec->lsn <= sh->now.applied_lsn && !hook_on("replay-twice"))
		return recover(sh, rec);
	if ((rc = apply_record(sh, rec, origin, out)) == -1)
		return -1;
	if (rc == 1) {
		log_err("store %s: record %llu of type %u makes no sense; it changes nothing",
		    sh->dir, (unsigned long long)rec->lsn, rec->type);
		out->rc = MAIL_BAD;
	}
	sh->recovering = false;
	sh->now.applied_lsn = rec->lsn;
	sh->now.last_ms = rec->time_ms;
	out->src = sh->src.n > 0 ? sh->src.v : NULL;
	out->dst = sh->dst.v;
	out->n = sh->dst.n;
	return 0;
}
