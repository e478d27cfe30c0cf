/* shard_changes.c - see shard_changes.h.
 *
 * MODSEQ grows with the log of a shard, so a message that changed since the fork has one
 * at or above the smallest in the tail: those rows are read by the index.  Which of
 * them are new, which flags were set by whom, and what mailboxes were called is taken
 * from the records; what was removed, from the tombstones.
 *
 * Limits of what can be known: a flag that a record set is taken to have been the other
 * way round (merge.h); a mailbox under a name that was renamed is taken to have moved
 * with it; a mailbox made or renamed behind the tail's end counts as it is now. */
#include "shard_changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "keywords.h"
#include "mem.h"
#include "ownertail.h"
#include "shard_priv.h"

#define ALL_FLAGS (FLAG_SEEN | FLAG_ANSWERED | FLAG_FLAGGED | FLAG_DELETED | FLAG_DRAFT)

struct pair { uint64_t lsn, from, to; uint32_t src, dst; bool move; };
struct event {				/* of a mailbox, in the order of the log */
	enum { MADE, RENAMED, DELETED } what;
	bool children;
	uint64_t user, box;
	char *from, *to;
};
struct row {				/* a message while all are put in order */
	struct merge_msg m;
	struct changes_msg x;
};
struct work {
	struct changes *c;
	sqlite3 *db;
	struct owner_tail *tail;
	uint64_t low, high;		/* MODSEQs of the tail */
	uint64_t applied, last;		/* LSNs: of the index, of the tail's end */
	uint8_t (*added)[16];		/* GUIDs, sorted */
	struct pair *pairs;
	struct event *events;
	uint64_t *users;		/* whose mailboxes are told */
	uint64_t *inboxes;		/* mailboxes that took the messages of an INBOX */
	struct row *rows;
	size_t nadded, npairs, nevents, nusers, ninboxes, nrows;
};

/* v with room for one more than n. */
static void *
room(void *v, size_t n, size_t size)
{
	return (n & (n - 1)) == 0 ? mem_grow(v, n == 0 ? 1 : n * 2, size) : v;
}

static void
add_guid(struct work *w, const uint8_t guid[16])
{
	w->added = room(w->added, w->nadded, sizeof(*w->added));
	memcpy(w->added[w->nadded++], guid, 16);
}

static void
add_user(struct work *w, uint64_t user)
{
	if (w->nusers > 0 && w->users[w->nusers - 1] == user)
		return;
	w->users = room(w->users, w->nusers, sizeof(*w->users));
	w->users[w->nusers++] = user;
}

static void
add_event(struct work *w, const struct event *e)
{
	w->events = room(w->events, w->nevents, sizeof(*w->events));
	w->events[w->nevents++] = *e;
	add_user(w, e->user);
}

static void
used(struct work *w, uint64_t modseq)
{
	if (modseq < w->low)
		w->low = modseq;
	if (modseq > w->high)
		w->high = modseq;
}

/* ---- the records ---- */

static void
see_made(struct work *w, const struct rec_box *b)
{
	add_event(w, &(struct event){ .what = MADE, .user = b->user, .box = b->id });
	if (b->id > w->high)
		w->high = b->id;
}

static void
see_mail(struct work *w, struct rec_mail *m)
{
	struct rec_box b;
	struct rec_entry e;

	for (unsigned i = 0; i < m->nboxes; i++) {
		rec_mail_box(m, &b);
		see_made(w, &b);
	}
	for (unsigned i = 0; i < m->nentries; i++) {
		rec_mail_entry(m, &e);
		add_guid(w, e.guid);
		used(w, e.modseq);
	}
}

static void
see_copy(struct work *w, uint64_t lsn, struct rec_copy *c)
{
	used(w, c->modseq);
	if (c->move)
		used(w, c->gone_modseq);
	for (unsigned i = 0; i < c->n; i++) {
		struct rec_range r = rec_range_get(&c->pairs);

		w->pairs = room(w->pairs, w->npairs, sizeof(*w->pairs));
		w->pairs[w->npairs++] = (struct pair){ .lsn = lsn, .from = c->from, .to = c->to,
			.src = r.lo, .dst = r.hi, .move = c->move };
	}
}

static void
see_rename(struct work *w, const struct rec_rename *r)
{
	used(w, r->modseq);
	if (!r->inbox) {
		add_event(w, &(struct event){ .what = RENAMED, .children = true, .user = r->user,
		    .box = r->box, .from = mem_dup(r->from), .to = mem_dup(r->to) });
		return;
	}
	see_made(w, &r->made);
	w->inboxes = room(w->inboxes, w->ninboxes, sizeof(*w->inboxes));
	w->inboxes[w->ninboxes++] = r->made.id;
}

static void
see_merge_box(struct work *w, const struct rec_merge_box *r)
{
	struct event e = { .user = r->user, .box = r->box };

	used(w, r->modseq);
	if (r->verb == REC_MBOX_RENUMBER || r->verb == REC_MBOX_RESERVE)
		return;
	e.what = r->verb == REC_MBOX_CREATE ? MADE : r->verb == REC_MBOX_RENAME ? RENAMED :
	    DELETED;
	if (e.what == RENAMED) {
		e.from = mem_dup(r->from);
		e.to = mem_dup(r->name);
	}
	add_event(w, &e);
}

static void
see_box_record(struct work *w, const struct owner_record *rec)
{
	struct rec_create c;
	struct rec_box b;
	struct rec_delete d;
	struct rec_rename r;
	struct rec_merge_box m;

	if (rec->type == REC_BOX_CREATE && rec_create_decode(rec->payload, &c)) {
		for (unsigned i = 0; i < c.n; i++) {
			rec_create_box(&c, &b);
			see_made(w, &b);
		}
	} else if (rec->type == REC_BOX_DELETE && rec_delete_decode(rec->payload, &d)) {
		used(w, d.modseq);
		add_event(w, &(struct event){ .what = DELETED, .user = d.user, .box = d.box });
	} else if (rec->type == REC_BOX_RENAME && rec_rename_decode(rec->payload, &r)) {
		see_rename(w, &r);
	} else if (rec->type == REC_MERGE_BOX && rec_merge_box_decode(rec->payload, &m)) {
		see_merge_box(w, &m);
	}
}

static void
see_subscribe(struct work *w, struct span payload)
{
	struct rec_subscribe r;
	struct changes_sub *s;

	if (!rec_subscribe_decode(payload, &r))
		return;
	s = changes_add_sub(w->c);
	s->user = r.user;
	s->on = r.on;
	s->name = changes_text(w->c, r.name);
}

/* A record that makes no sense was not applied, so it is not looked at either. */
static void
see(struct work *w, const struct owner_record *rec)
{
	struct rec_mail m;
	struct rec_key key;
	struct rec_flags f;
	struct rec_copy c;
	struct rec_sets s;
	struct wire_in in;
	struct gen g;

	switch (rec->type) {
	case OWNER_REC_GENERATION:
		wire_in_init(&in, rec->payload.p, rec->payload.len);
		gen_get(&in, &g);
		if (wire_in_ok(&in) && g.no << 40 < w->low)
			w->low = g.no << 40;
		break;
	case REC_DELIVER:
	case REC_APPEND:
		if (rec_mail_decode(rec->payload, &m))
			see_mail(w, &m);
		break;
	case REC_MERGE_ADD:
		if (rec_added_decode(rec->payload, &key, &m))
			see_mail(w, &m);
		break;
	case REC_FLAGS:
		if (rec_flags_decode(rec->payload, &f))
			used(w, f.modseq);
		break;
	case REC_EXPUNGE:
		if (rec_expunge_decode(rec->payload, &f))
			used(w, f.modseq);
		break;
	case REC_COPY:
		if (rec_copy_decode(rec->payload, &c))
			see_copy(w, rec->lsn, &c);
		break;
	case REC_MERGE_SET:
		if (rec_sets_decode(rec->payload, &s))
			used(w, s.modseq);
		break;
	case REC_BOX_SUBSCRIBE:
		see_subscribe(w, rec->payload);
		break;
	default:
		see_box_record(w, rec);
	}
}

static int
read_tail(struct work *w)
{
	struct owner_record rec;
	int rc;

	while ((rc = owner_tail_next(w->tail, &rec)) == 1) {
		w->last = rec.lsn;
		if (rec.lsn > w->c->fork)
			see(w, &rec);
	}
	return rc;
}

/* ---- the index ---- */

static sqlite3_stmt *
query(struct work *w, const char *sql)
{
	sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(w->db, sql, -1, &st, NULL) != SQLITE_OK) {
		errno = sql_errno(w->db);
		return NULL;
	}
	return st;
}

/* One row of one number. */
static int
number(struct work *w, const char *sql, uint64_t bind, uint64_t *n)
{
	sqlite3_stmt *st = query(w, sql);
	int rc = -1;

	if (st == NULL)
		return -1;
	if (sqlite3_bind_parameter_count(st) > 0)
		sqlite3_bind_int64(st, 1, (int64_t)bind);
	if (sqlite3_step(st) == SQLITE_ROW) {
		*n = (uint64_t)sqlite3_column_int64(st, 0);
		rc = 0;
	} else {
		errno = sql_errno(w->db);
	}
	sqlite3_finalize(st);
	return rc;
}

static void
blob(sqlite3_stmt *st, int col, void *dst, size_t n)
{
	const void *p = sqlite3_column_blob(st, col);

	if (p != NULL && (size_t)sqlite3_column_bytes(st, col) == n)
		memcpy(dst, p, n);
	else
		memset(dst, 0, n);
}

static int
guid_cmp(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

static bool
is_added(const struct work *w, uint64_t box, const uint8_t guid[16])
{
	for (size_t i = 0; i < w->ninboxes; i++)
		if (w->inboxes[i] == box)
			return true;
	return w->nadded > 0 &&
	    bsearch(guid, w->added, w->nadded, sizeof(*w->added), guid_cmp) != NULL;
}

/* box, uid, flags, keywords, size, internal_s, sha, guid, modseq, box's GUID, user */
#define ROW "m.box, m.uid, m.flags, m.keywords, m.size, m.internal_s, m.sha, m.guid, m.modseq," \
	" b.guid, b.user"
#define TOMB "m.box, m.uid, m.flags, '', m.size, m.internal_s, m.sha, m.guid, m.modseq," \
	" b.guid, b.user"

static void
row_read(struct work *w, sqlite3_stmt *st, struct row *r)
{
	memset(r, 0, sizeof(*r));
	r->x.box_id = (uint64_t)sqlite3_column_int64(st, 0);
	r->m.uid = (uint32_t)sqlite3_column_int64(st, 1);
	r->m.flags = r->m.base_flags = (uint32_t)sqlite3_column_int64(st, 2);
	r->m.keywords = r->m.base_keywords =
	    changes_text(w->c, (const char *)sqlite3_column_text(st, 3));
	r->m.size = (uint64_t)sqlite3_column_int64(st, 4);
	r->m.internal_s = sqlite3_column_int64(st, 5);
	blob(st, 6, r->m.sha, 32);
	blob(st, 7, r->m.guid, 16);
	r->x.modseq = (uint64_t)sqlite3_column_int64(st, 8);
	blob(st, 9, r->m.box, 16);
	add_user(w, (uint64_t)sqlite3_column_int64(st, 10));
}

static struct row *
row_add(struct work *w, const struct row *r)
{
	w->rows = room(w->rows, w->nrows, sizeof(*w->rows));
	w->rows[w->nrows] = *r;
	return &w->rows[w->nrows++];
}

/* What the message is, when its row is there (gone: no more). */
static void
row_take(struct work *w, struct row *r, bool gone)
{
	bool added = is_added(w, r->x.box_id, r->m.guid);
	bool late = w->applied > w->last && r->x.modseq > w->high;

	if (gone && added)
		return;
	r->m.what = gone ? MERGE_REMOVED : added ? MERGE_ADDED : MERGE_CHANGED;
	r->x.unknown = r->m.what == MERGE_CHANGED && (!w->c->whole || late);
	if (r->x.unknown) {
		r->m.base_flags = ~r->m.flags & ALL_FLAGS;
		r->m.base_keywords = NULL;
		r->m.copied = late;
	}
	row_add(w, r);
}

static int
rows_read(struct work *w, const char *sql, uint64_t a, uint64_t b, bool gone)
{
	sqlite3_stmt *st = query(w, sql);
	struct row r;
	int rc;

	if (st == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, (int64_t)a);
	if (sqlite3_bind_parameter_count(st) > 1)
		sqlite3_bind_int64(st, 2, (int64_t)b);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW && w->nrows < CHANGES_MSGS_MAX) {
		row_read(w, st, &r);
		row_take(w, &r, gone);
	}
	if (rc != SQLITE_DONE)
		errno = rc == SQLITE_ROW ? EFBIG : sql_errno(w->db);
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? 0 : -1;
}

static int
read_index(struct work *w)
{
	uint64_t low = w->low > INT64_MAX ? INT64_MAX : w->low, fork = w->c->fork;

	if (rows_read(w, "SELECT " ROW " FROM boxes b CROSS JOIN messages m INDEXED BY"
	    " messages_modseq ON m.box = b.id AND m.modseq >= ?1 WHERE b.modseq >= ?1 AND"
	    " b.deleted_lsn = 0", low, 0, false) == -1)
		return -1;
	if (rows_read(w, "SELECT " TOMB " FROM boxes b CROSS JOIN tombstones m ON m.box = b.id"
	    " WHERE b.modseq >= ?1 AND m.lsn > ?2", low, fork, true) == -1)
		return -1;
	return rows_read(w, "SELECT " ROW " FROM boxes b CROSS JOIN messages m ON m.box = b.id"
	    " WHERE b.deleted_lsn > ?1", fork, 0, true);
}

/* ---- copies: the GUID of each, and what a copy was made of ---- */

static int
source_row(struct work *w, sqlite3_stmt *st, const struct pair *p, struct row *r)
{
	int rc = sql_run(st, "ii", (int64_t)p->from, (int64_t)p->src);

	if (rc == 1) {
		row_read(w, st, r);
		sqlite3_reset(st);
	}
	return rc;
}

/* The rule is that of shard_apply.c. */
static void
copy_guid(const struct row *r, const struct pair *p, uint8_t guid[16])
{
	uint8_t buf[28], sha[32];

	memcpy(buf, r->m.guid, 16);
	wire_store64(buf + 16, p->lsn);
	wire_store32(buf + 24, p->dst);
	sha256(buf, sizeof(buf), sha);
	memcpy(guid, sha, 16);
}

/* In two rounds, because what a copy was made of may be a copy itself. */
static int
read_copies(struct work *w, bool mark)
{
	sqlite3_stmt *alive = query(w, mark ? "SELECT " ROW " FROM messages m JOIN boxes b ON"
	    " b.id = m.box WHERE m.box = ? AND m.uid = ? AND b.deleted_lsn = 0" : "SELECT " ROW
	    " FROM messages m JOIN boxes b ON b.id = m.box WHERE m.box = ? AND m.uid = ?");
	sqlite3_stmt *gone = query(w, "SELECT " TOMB " FROM tombstones m JOIN boxes b ON b.id ="
	    " m.box WHERE m.box = ? AND m.uid = ?");
	uint8_t guid[16];
	struct row r;
	int rc = alive == NULL || gone == NULL ? -1 : 0;

	for (size_t i = 0; i < w->npairs && rc != -1; i++) {
		const struct pair *p = &w->pairs[i];

		if ((rc = source_row(w, alive, p, &r)) == 0 && !mark)
			rc = source_row(w, gone, p, &r);
		if (rc != 1)
			continue;
		if (!mark) {
			copy_guid(&r, p, guid);
			add_guid(w, guid);
		} else if (!p->move && !is_added(w, p->from, r.m.guid)) {
			r.m.what = MERGE_CHANGED;
			r.m.copied = true;
			row_add(w, &r);
		}
	}
	sqlite3_finalize(alive);
	sqlite3_finalize(gone);
	return rc == -1 ? -1 : 0;
}

/* ---- one entry for each message ---- */

static int
by_place(const void *p, const void *q)
{
	const struct row *a = p, *b = q;

	if (a->x.box_id != b->x.box_id)
		return a->x.box_id < b->x.box_id ? -1 : 1;
	return a->m.uid < b->m.uid ? -1 : a->m.uid > b->m.uid;
}

/* A row that is there goes before a tombstone of the same message. */
static int
by_key(const void *p, const void *q)
{
	const struct row *a = p, *b = q;
	int c = memcmp(a->m.box, b->m.box, 16);

	if (c != 0 || (c = memcmp(a->m.guid, b->m.guid, 16)) != 0)
		return c;
	return (a->m.what == MERGE_REMOVED) - (b->m.what == MERGE_REMOVED);
}

/* The same row twice: it changed, and a copy was made of it. */
static void
join_rows(struct work *w)
{
	size_t n = 0;

	if (w->nrows > 0)
		qsort(w->rows, w->nrows, sizeof(*w->rows), by_place);
	for (size_t i = 0; i < w->nrows; i++) {
		struct row *last = n == 0 ? NULL : &w->rows[n - 1];

		if (last == NULL || by_place(last, &w->rows[i]) != 0) {
			w->rows[n++] = w->rows[i];
			continue;
		}
		if (w->rows[i].x.unknown) {
			w->rows[i].m.copied |= last->m.copied;
			*last = w->rows[i];
		} else {
			last->m.copied |= w->rows[i].m.copied;
		}
	}
	w->nrows = n;
}

static void
emit_rows(struct work *w)
{
	struct changes_msg *x;
	struct merge_msg *m;

	if (w->nrows > 0)
		qsort(w->rows, w->nrows, sizeof(*w->rows), by_key);
	for (size_t i = 0; i < w->nrows; i++) {
		const struct row *r = &w->rows[i];

		if (i > 0 && memcmp(r[-1].m.box, r->m.box, 16) == 0 &&
		    memcmp(r[-1].m.guid, r->m.guid, 16) == 0)
			continue;
		m = changes_add_msg(w->c, &x);
		*m = r->m;
		*x = r->x;
	}
}

/* ---- what flags and keywords were ---- */

static void
flags_back(struct work *w, struct row *r, const struct rec_flags *f)
{
	char words[STORE_KEYWORDS_MAX + 1];
	uint32_t said = f->op == STORE_FLAGS_SET ? ALL_FLAGS : f->flags;

	r->m.base_flags = (r->m.base_flags & ~said) | (~r->m.flags & said & ALL_FLAGS);
	if (f->op == STORE_FLAGS_SET) {
		r->m.base_keywords = NULL;
		return;
	}
	if (f->keywords[0] == '\0')
		return;
	keywords_apply(f->op == STORE_FLAGS_ADD ? STORE_FLAGS_REMOVE : STORE_FLAGS_ADD,
	    r->m.base_keywords, f->keywords, words);
	r->m.base_keywords = changes_text(w->c, words);
}

static size_t
first_at(const struct work *w, uint64_t box, uint32_t uid)
{
	const struct row key = { .m.uid = uid, .x.box_id = box };
	size_t lo = 0, hi = w->nrows;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (by_place(&w->rows[mid], &key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void
see_flags(struct work *w, struct rec_flags *f)
{
	for (unsigned i = 0; i < f->n; i++) {
		struct rec_range r = rec_range_get(&f->ranges);

		for (size_t k = first_at(w, f->box, r.lo); k < w->nrows &&
		    w->rows[k].x.box_id == f->box && w->rows[k].m.uid <= r.hi; k++)
			if (w->rows[k].m.what == MERGE_CHANGED && !w->rows[k].x.unknown)
				flags_back(w, &w->rows[k], f);
	}
}

/* What a merge set is all of the flags, as a client's SET. */
static void
see_set(struct work *w, const struct rec_set *s)
{
	const struct rec_flags f = { .op = STORE_FLAGS_SET };
	size_t k = first_at(w, s->box, s->uid);

	if (s->what == REC_SET_FLAGS && k < w->nrows && w->rows[k].x.box_id == s->box &&
	    w->rows[k].m.uid == s->uid && w->rows[k].m.what == MERGE_CHANGED &&
	    !w->rows[k].x.unknown)
		flags_back(w, &w->rows[k], &f);
}

static int
read_flags(struct work *w)
{
	struct owner_record rec;
	struct rec_flags f;
	struct rec_sets r;
	struct rec_set s;
	int rc;

	owner_tail_rewind(w->tail);
	while ((rc = owner_tail_next(w->tail, &rec)) == 1) {
		if (rec.lsn <= w->c->fork)
			continue;
		if (rec.type == REC_FLAGS && rec_flags_decode(rec.payload, &f))
			see_flags(w, &f);
		if (rec.type != REC_MERGE_SET || !rec_sets_decode(rec.payload, &r))
			continue;
		for (unsigned i = 0; i < r.n; i++) {
			rec_set_get(&r, &s);
			see_set(w, &s);
		}
	}
	return rc;
}

/* ---- mailboxes ---- */

struct mbox {
	struct merge_box b;
	struct changes_box x;
	char *at;			/* its name while the events are taken back; NULL: none */
	bool made;
};

static int
number_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void
users_sort(struct work *w)
{
	size_t n = 0;

	if (w->nusers > 0)
		qsort(w->users, w->nusers, sizeof(*w->users), number_cmp);
	for (size_t i = 0; i < w->nusers; i++)
		if (n == 0 || w->users[n - 1] != w->users[i])
			w->users[n++] = w->users[i];
	w->nusers = n;
}

static void
mbox_read(struct work *w, sqlite3_stmt *st, struct mbox *m)
{
	const char *name = (const char *)sqlite3_column_text(st, 3);
	bool alive = sqlite3_column_int64(st, 6) == 0;

	memset(m, 0, sizeof(*m));
	m->x.id = (uint64_t)sqlite3_column_int64(st, 0);
	m->b.user = (uint64_t)sqlite3_column_int64(st, 1);
	blob(st, 2, m->b.guid, 16);
	m->b.base_name = changes_text(w->c, name);	/* unless an event says something else */
	m->b.name = alive ? m->b.base_name : NULL;
	m->b.special = changes_text(w->c, (const char *)sqlite3_column_text(st, 4));
	m->b.uidvalidity = (uint32_t)sqlite3_column_int64(st, 5);
	m->x.uidnext = (uint32_t)sqlite3_column_int64(st, 7);
	m->x.subscribed = sqlite3_column_int(st, 8) != 0;
	m->at = mem_dup(alive ? name : NULL);
	m->made = m->x.id > w->high || (!w->c->whole && m->x.id >= w->low);
}

/* The UIDNEXT that clients were shown, with a gap that waits for the next write. */
#define SHOWN_NEXT "max(uidnext, reserve) + CASE WHEN gap_gen < (SELECT gap_gen FROM state)" \
	" THEN 65536 ELSE 0 END"
_Static_assert(SHARD_UID_GAP == 65536, "SHOWN_NEXT has it as text");

static int
mboxes_read(struct work *w, struct mbox **v, size_t *n)
{
	sqlite3_stmt *st = query(w, "SELECT id, user, guid, name, special, uidvalidity,"
	    " deleted_lsn, " SHOWN_NEXT ", EXISTS (SELECT 1 FROM subscriptions s WHERE"
	    " s.user = boxes.user AND s.name = boxes.name) FROM boxes WHERE user = ?1 AND"
	    " deleted_lsn = 0 UNION ALL SELECT id, user, guid, name, special, uidvalidity,"
	    " deleted_lsn, " SHOWN_NEXT ", 0 FROM boxes WHERE user = ?1 AND deleted_lsn >"
	    " ?2");
	int rc = st == NULL ? -1 : SQLITE_DONE;

	for (size_t i = 0; i < w->nusers && rc == SQLITE_DONE; i++) {
		sqlite3_reset(st);
		sqlite3_bind_int64(st, 1, (int64_t)w->users[i]);
		sqlite3_bind_int64(st, 2, (int64_t)w->c->fork);
		while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
			*v = room(*v, *n, sizeof(**v));
			mbox_read(w, st, &(*v)[(*n)++]);
		}
	}
	if (rc != SQLITE_DONE && st != NULL)
		errno = sql_errno(w->db);
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? 0 : -1;
}

/* Takes the last event back that has not been taken back yet.  v: the user's. */
static void
event_back(const struct event *e, struct mbox *v, size_t n)
{
	size_t to = e->to == NULL ? 0 : strlen(e->to);

	for (size_t i = 0; i < n; i++) {
		char *at = v[i].at;

		if (e->what == DELETED && v[i].x.id == e->box && at == NULL) {
			v[i].at = mem_dup(v[i].b.base_name);
		} else if (e->what == MADE && v[i].x.id == e->box) {
			v[i].made = true;
			v[i].at = NULL;
			free(at);
		} else if (e->what == RENAMED && at != NULL && strncmp(at, e->to, to) == 0 &&
		    ((at[to] == '\0' && v[i].x.id == e->box) || (at[to] == '/' && e->children))) {
			v[i].at = mem_printf("%s%s", e->from, at + to);
			free(at);
		}
	}
}

static void
events_back(struct work *w, struct mbox *v, size_t n)
{
	for (size_t k = w->nevents; k-- > 0;) {
		const struct event *e = &w->events[k];
		size_t lo = 0, hi = n, end;

		while (lo < hi) {	/* in the order of the users */
			size_t mid = lo + (hi - lo) / 2;

			if (v[mid].b.user < e->user)
				lo = mid + 1;
			else
				hi = mid;
		}
		for (end = lo; end < n && v[end].b.user == e->user; end++)
			;
		event_back(e, v + lo, end - lo);
	}
}

/* A mailbox that lives goes before one of the same GUID that was deleted. */
static int
by_guid(const void *p, const void *q)
{
	const struct mbox *a = p, *b = q;
	int c = memcmp(a->b.guid, b->b.guid, 16);

	if (c != 0)
		return c;
	if ((a->b.name == NULL) != (b->b.name == NULL))
		return a->b.name == NULL ? 1 : -1;
	return a->x.id > b->x.id ? -1 : a->x.id < b->x.id;
}

static int
read_boxes(struct work *w)
{
	struct changes_box *x;
	struct merge_box *b;
	struct mbox *v = NULL;
	size_t n = 0;
	int rc;

	users_sort(w);
	if ((rc = mboxes_read(w, &v, &n)) == 0) {
		events_back(w, v, n);
		if (n > 0)
			qsort(v, n, sizeof(*v), by_guid);
		for (size_t i = 0; i < n; i++) {
			if (i > 0 && memcmp(v[i - 1].b.guid, v[i].b.guid, 16) == 0)
				continue;
			b = changes_add_box(w->c, &x);
			*b = v[i].b;
			*x = v[i].x;
			if (v[i].made)
				b->base_name = NULL;
			else if (v[i].at != NULL && strcmp(v[i].at, b->base_name) != 0 &&
			    strlen(v[i].at) <= STORE_NAME_MAX)
				b->base_name = changes_text(w->c, v[i].at);
		}
	}
	for (size_t i = 0; i < n; i++)
		free(v[i].at);
	free(v);
	return rc;
}

/* ---- subscriptions ---- */

static int
sub_cmp(const void *p, const void *q)
{
	const struct changes_sub *const *x = p, *const *y = q;
	int c = (*x)->user != (*y)->user ? ((*x)->user < (*y)->user ? -1 : 1) :
	    strcmp((*x)->name, (*y)->name);

	return c != 0 ? c : *x < *y ? -1 : *x > *y;	/* the same: in the order of the log */
}

/* The newest word about each name. */
static void
join_subs(struct changes *c)
{
	struct changes_sub **v = mem_array(c->nsubs + 1, sizeof(*v));
	struct changes_sub *out = mem_array(c->nsubs + 1, sizeof(*out));
	size_t n = 0;

	for (size_t i = 0; i < c->nsubs; i++)
		v[i] = &c->subs[i];
	if (c->nsubs > 0)
		qsort(v, c->nsubs, sizeof(struct changes_sub *), sub_cmp);
	for (size_t i = 0; i < c->nsubs; i++)
		if (i + 1 == c->nsubs || v[i]->user != v[i + 1]->user ||
		    strcmp(v[i]->name, v[i + 1]->name) != 0)
			out[n++] = *v[i];
	free(v);
	free(c->subs);
	c->subs = out;
	c->nsubs = n;
}

/* ---- all of it ---- */

/* Without all records: from the newest MODSEQ that is known to be older than the fork. */
static int
find_low(struct work *w)
{
	uint64_t before;

	if (w->c->whole)
		return 0;
	if (number(w, "SELECT coalesce(max(modseq), 0) FROM tombstones WHERE lsn <= ?", w->c->fork,
	    &before) == -1)
		return -1;
	if (before + 1 < w->low)
		w->low = before + 1;
	return 0;
}

static int
collect(struct work *w)
{
	if (number(w, "SELECT applied_lsn FROM state", 0, &w->applied) == -1 ||
	    number(w, "SELECT modseq FROM state", 0, &w->c->modseq) == -1 ||
	    read_tail(w) == -1 || find_low(w) == -1 || read_copies(w, false) == -1)
		return -1;
	if (w->nadded > 0)
		qsort(w->added, w->nadded, sizeof(*w->added), guid_cmp);
	if (read_index(w) == -1 || read_copies(w, true) == -1)
		return -1;
	join_rows(w);
	if (read_flags(w) == -1)
		return -1;
	emit_rows(w);
	join_subs(w->c);
	return read_boxes(w);
}

int
shard_changes(struct changes *c, sqlite3 *db, struct owner_tail *tail, const uint64_t *users,
    size_t nusers)
{
	struct work w = { .c = c, .db = db, .tail = tail, .low = UINT64_MAX };
	int rc, e;

	for (size_t i = 0; i < nusers; i++)
		add_user(&w, users[i]);
	rc = collect(&w);
	e = errno;
	for (size_t i = 0; i < w.nevents; i++) {
		free(w.events[i].from);
		free(w.events[i].to);
	}
	free(w.added);
	free(w.pairs);
	free(w.events);
	free(w.users);
	free(w.inboxes);
	free(w.rows);
	if (rc == -1)
		changes_clear(c);
	errno = e;
	return rc;
}
