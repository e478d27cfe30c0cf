/* shard_merge.c - the two jobs of a merge: on the side that gives way, writing what it
 * changed; on the one that stays, what follows from both sides (merge.h), and the report.
 *
 * Promise: nothing is proposed twice for one fork: messages of the other side that a run
 * before this one dealt with are left out, by the table `merged`.  A message that the
 * other side changed and that is neither here nor was removed here counts as new.
 * Reads one snapshot of the index; changes nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "hook.h"
#include "mem.h"
#include "merge_plan.h"
#include "ownertail.h"
#include "shard_changes.h"
#include "shard_job.h"
#include "shard_priv.h"

#define LINES_MAX 100
#define LINE_TEXT_MAX 150

static const uint8_t no_guid[16];	/* in a key: the mailbox itself was dealt with */

static int
failed(struct shard_job *j, const char *what)
{
	int e = errno;

	if (j->error[0] == '\0')
		snprintf(j->error, sizeof(j->error), "%s: %s: %s", j->dir, what, strerror(e));
	errno = e;
	return -1;
}

/* c with what this shard changed; db has a read transaction open. */
static int
own_changes(struct shard_job *j, struct changes *c, sqlite3 *db, const struct changes *theirs)
{
	size_t n = theirs == NULL ? 0 : theirs->nboxes;
	uint64_t *users = mem_array(n + 1, sizeof(*users));
	struct owner_tail tail;
	int rc = -1;

	*c = (struct changes){ .shard = j->shard, .fork = j->fork, .whole = j->whole };
	for (size_t i = 0; i < n; i++)
		users[i] = theirs->boxes[i].user;
	if (owner_tail_open(&tail, j->tail_fd) == 0) {
		rc = shard_changes(c, db, &tail, users, n);
		owner_tail_close(&tail);
	}
	free(users);
	return rc;
}

/* A connection in the middle of a read transaction. */
static sqlite3 *
snapshot(struct shard_job *j)
{
	sqlite3 *db = shard_sql_extra(j->dir, true);

	if (db == NULL || sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK)
		return db;
	errno = sql_errno(db);
	sqlite3_close(db);
	return NULL;
}

/* ---- the side that gives way ---- */

int
shard_changes_run(struct shard_job *j)
{
	sqlite3 *db = snapshot(j);
	struct changes c;
	int rc = -1, e;

	if (db == NULL || own_changes(j, &c, db, NULL) == -1) {
		rc = failed(j, "changes since the fork");
	} else {
		j->changes_fd = changes_write(&c, j->dir, j->objects_fd);
		rc = j->changes_fd == -1 ? failed(j, "writing changes") : 0;
		changes_clear(&c);
	}
	e = errno;
	sqlite3_close(db);
	errno = e;
	return rc;
}

/* ---- the side that stays ---- */

void
merge_plan_free(struct merge_plan *p)
{
	if (p == NULL)
		return;
	merge_clear(&p->m);
	changes_clear(&p->ours);
	changes_clear(&p->theirs);
	free(p->sets);
	free(p->subs);
	json_decref(p->report);
	free(p);
}

/* 1 = a run before this one dealt with it. */
static int
is_settled(sqlite3_stmt *st, const struct changes *c, const uint8_t box[16],
    const uint8_t guid[16])
{
	int rc = sql_run(st, "igg", (int64_t)c->fork, box, guid);

	if (rc == 1)
		sqlite3_reset(st);
	return rc;
}

static int
settled_msgs(struct changes *c, sqlite3_stmt *st)
{
	size_t n = 0;
	int rc = 0;

	for (size_t i = 0; i < c->nmsgs && rc != -1; i++)
		if ((rc = is_settled(st, c, c->msgs[i].box, c->msgs[i].guid)) == 0) {
			c->msgs[n] = c->msgs[i];
			c->msg_more[n++] = c->msg_more[i];
		}
	c->nmsgs = n;
	return rc == -1 ? -1 : 0;
}

static int
guid_cmp(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

/* A mailbox stays as long as any of its messages does. */
static int
settled_boxes(struct changes *c, sqlite3_stmt *st)
{
	uint8_t (*open)[16] = mem_array(c->nmsgs + 1, sizeof(*open));
	size_t n = 0;
	int rc = 0;

	for (size_t i = 0; i < c->nmsgs; i++)
		memcpy(open[i], c->msgs[i].box, 16);
	if (c->nmsgs > 0)
		qsort(open, c->nmsgs, sizeof(*open), guid_cmp);
	for (size_t i = 0; i < c->nboxes && rc != -1; i++) {
		const uint8_t *guid = c->boxes[i].guid;
		bool has = c->nmsgs > 0 && bsearch(guid, open, c->nmsgs, sizeof(*open), guid_cmp) != NULL;

		if (has || (rc = is_settled(st, c, guid, no_guid)) == 0) {
			c->boxes[n] = c->boxes[i];
			c->box_more[n++] = c->box_more[i];
		}
	}
	free(open);
	c->nboxes = n;
	return rc == -1 ? -1 : 0;
}

/* Leaves out what was dealt with. */
static int
leave_settled(struct merge_plan *p, sqlite3 *db, size_t *settled)
{
	sqlite3_stmt *st = NULL;
	struct changes *c = &p->theirs;
	size_t before = c->nmsgs;
	int rc;

	*settled = 0;
	if (hook_on("merge-takes-twice"))
		return 0;
	if (sqlite3_prepare_v2(db, "SELECT 1 FROM merged WHERE fork = ? AND box = ? AND guid = ?",
	    -1, &st, NULL) != SQLITE_OK) {
		errno = sql_errno(db);
		return -1;
	}
	rc = settled_msgs(c, st) == -1 ? -1 : settled_boxes(c, st);
	sqlite3_finalize(st);
	*settled = before - c->nmsgs;
	return rc;
}

const struct merge_box *
merge_plan_box(const struct merge_plan *p, const uint8_t guid[16],
    const struct changes_box **more)
{
	size_t lo = 0, hi = p->ours.nboxes;

	while (lo < hi) {		/* shard_changes() gives them in this order */
		size_t mid = lo + (hi - lo) / 2;
		int c = memcmp(p->ours.boxes[mid].guid, guid, 16);

		if (c == 0) {
			*more = &p->ours.box_more[mid];
			return &p->ours.boxes[mid];
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static int
msg_cmp(const void *a, const void *b, void *arg)
{
	const struct changes *c = arg;
	const struct merge_msg *x = &c->msgs[*(const size_t *)a], *y = &c->msgs[*(const size_t *)b];
	int rc = memcmp(x->box, y->box, 16);

	return rc != 0 ? rc : memcmp(x->guid, y->guid, 16);
}

/* Indexes of the first n messages in the order of their keys. */
static size_t *
keys_sorted(struct changes *c, size_t n)
{
	size_t *v = mem_array(n + 1, sizeof(*v));

	for (size_t i = 0; i < n; i++)
		v[i] = i;
	if (n > 0)
		qsort_r(v, n, sizeof(*v), msg_cmp, c);
	return v;
}

static const struct merge_msg *
find(const struct changes *c, const size_t *order, size_t n, const uint8_t box[16],
    const uint8_t guid[16])
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct merge_msg *m = &c->msgs[order[mid]];
		int rc = memcmp(m->box, box, 16);

		if (rc == 0 && (rc = memcmp(m->guid, guid, 16)) == 0)
			return m;
		if (rc < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* The row of a message that the other side changed and this one did not.  1 = it is
 * there, and told as ours from now on. */
static int
look_up(struct merge_plan *p, sqlite3_stmt *st, uint64_t box, const struct merge_msg *b,
    bool unknown)
{
	int rc = sql_run(st, "ii", (int64_t)box, (int64_t)b->uid);
	struct changes_msg *x;
	struct merge_msg *m;

	if (rc != 1)
		return rc;
	if (sqlite3_column_bytes(st, 6) != 16 || sqlite3_column_bytes(st, 5) != 32 ||
	    memcmp(sqlite3_column_blob(st, 6), b->guid, 16) != 0) {
		sqlite3_reset(st);
		return 0;
	}
	m = changes_add_msg(&p->ours, &x);
	memcpy(m->box, b->box, 16);
	memcpy(m->guid, b->guid, 16);
	m->what = MERGE_CHANGED;
	m->uid = b->uid;
	m->flags = m->base_flags = (uint32_t)sqlite3_column_int64(st, 0);
	m->keywords = m->base_keywords =
	    changes_text(&p->ours, (const char *)sqlite3_column_text(st, 1));
	m->size = (uint64_t)sqlite3_column_int64(st, 3);
	m->internal_s = sqlite3_column_int64(st, 4);
	memcpy(m->sha, sqlite3_column_blob(st, 5), 32);
	x->box_id = box;
	x->modseq = (uint64_t)sqlite3_column_int64(st, 2);
	if (unknown)			/* merge.h: not known at all */
		m->base_flags = ~b->base_flags;
	sqlite3_reset(st);
	return 1;
}

/* What the other side changed or removed is looked at here, so that what was seen is
 * what each proposal is about. */
static int
look_all(struct merge_plan *p, sqlite3 *db)
{
	size_t n = p->ours.nmsgs, *order = keys_sorted(&p->ours, n);
	const struct changes_box *more;
	sqlite3_stmt *st = NULL;
	int rc = 0;

	if (sqlite3_prepare_v2(db, "SELECT flags, keywords, modseq, size, internal_s, sha, guid FROM"
	    " messages WHERE box = ? AND uid = ?", -1, &st, NULL) != SQLITE_OK) {
		errno = sql_errno(db);
		rc = -1;
	}
	for (size_t i = 0; i < p->theirs.nmsgs && rc != -1; i++) {
		struct merge_msg *b = &p->theirs.msgs[i];
		const struct merge_box *box = merge_plan_box(p, b->box, &more);

		if (b->what == MERGE_ADDED || find(&p->ours, order, n, b->box, b->guid) != NULL)
			continue;
		rc = box == NULL || box->name == NULL ? 0 :
		    look_up(p, st, more->id, b, p->theirs.msg_more[i].unknown);
		if (rc == 0 && b->what == MERGE_CHANGED && (box == NULL || box->name != NULL))
			b->what = MERGE_ADDED;
	}
	sqlite3_finalize(st);
	free(order);
	return rc == -1 ? -1 : 0;
}

/* ---- the report ---- */

/* At most LINE_TEXT_MAX bytes, cut at a whole character. */
static json_t *
short_text(const char *s)
{
	size_t n = strlen(s);

	if (n > LINE_TEXT_MAX)
		for (n = LINE_TEXT_MAX; n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80; n--)
			;
	return json_stringn(s, n);
}

void
merge_plan_conflict(struct merge_plan *p, uint64_t user, const char *what, const char *box,
    const char *detail)
{
	json_t *lines = json_object_get(p->report, "conflicts");
	json_t *left = json_object_get(p->report, "conflicts_left_out");

	if (json_array_size(lines) >= LINES_MAX)
		json_integer_set(left, json_integer_value(left) + 1);
	else
		json_array_append_new(lines, json_pack("{s:I, s:s, s:o?, s:o?}", "user",
		    (json_int_t)user, "what", what, "mailbox", short_text(box), "detail",
		    short_text(detail)));
}

static const struct merge_box *
their_box(const struct merge_plan *p, const size_t *order, const uint8_t guid[16])
{
	size_t lo = 0, hi = p->theirs.nboxes;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct merge_box *b = &p->theirs.boxes[order[mid]];
		int c = memcmp(b->guid, guid, 16);

		if (c == 0)
			return b;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static int
box_cmp(const void *a, const void *b, void *arg)
{
	const struct changes *c = arg;

	return memcmp(c->boxes[*(const size_t *)a].guid, c->boxes[*(const size_t *)b].guid, 16);
}

static void
conflict_names(struct merge_plan *p, const size_t *boxes)
{
	for (size_t i = 0; i < p->nbox; i++) {
		const struct merge_op *op = &p->m.ops[i];
		const struct merge_box *b = op->from != NULL ? op->from :
		    their_box(p, boxes, op->box);

		if ((op->verb == MERGE_BOX_CREATE || op->verb == MERGE_BOX_RENAME) && b != NULL &&
		    b->name != NULL && strcmp(b->name, op->name) != 0)
			merge_plan_conflict(p, op->user, "name", b->name, op->name);
	}
}

/* Removals that do not hold, and ids that stand for two messages. */
static void
conflict_msgs(struct merge_plan *p, const size_t *op_of, const size_t *boxes,
    const size_t *ours, size_t nours)
{
	for (size_t i = 0; i < p->theirs.nmsgs; i++) {
		const struct merge_msg *b = &p->theirs.msgs[i];
		const struct merge_msg *a = find(&p->ours, ours, nours, b->box, b->guid);
		const struct merge_op *op = op_of[i] == 0 ? NULL : &p->m.ops[op_of[i] - 1];
		const struct merge_box *box = their_box(p, boxes, b->box);
		const char *name = box == NULL ? "" : box->name != NULL ? box->name :
		    box->base_name != NULL ? box->base_name : "";
		char hex[33];

		hex_encode(b->guid, 16, hex);
		if (op != NULL && op->verb == MERGE_ADD && memcmp(op->guid, b->guid, 16) != 0)
			merge_plan_conflict(p, op->user, "damaged", name, hex);
		else if ((op != NULL && op->verb == MERGE_ADD && a != NULL &&
		    a->what == MERGE_REMOVED) || (op == NULL && b->what == MERGE_REMOVED &&
		    a != NULL && a->what != MERGE_REMOVED && box != NULL && box->name != NULL))
			merge_plan_conflict(p, box == NULL ? 0 : box->user, "kept", name, hex);
	}
}

static void
report_make(struct merge_plan *p, size_t settled)
{
	const struct merge_report *r = &p->m.report;

	p->report = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I,"
	    " s:I, s:I, s:I, s:I, s:[], s:I}",
	    "winner", (json_int_t)r->winner_msgs, "loser", (json_int_t)r->loser_msgs,
	    "added", (json_int_t)r->added, "same", (json_int_t)r->same,
	    "removed", (json_int_t)r->removed, "kept", (json_int_t)r->kept,
	    "flags", (json_int_t)r->flags, "damaged", (json_int_t)r->damaged,
	    "boxes_created", (json_int_t)r->boxes_created,
	    "boxes_deleted", (json_int_t)r->boxes_deleted,
	    "boxes_renamed", (json_int_t)r->boxes_renamed,
	    "boxes_kept", (json_int_t)r->boxes_kept, "names", (json_int_t)r->names,
	    "subscriptions", (json_int_t)p->nsubs, "settled", (json_int_t)settled, "missing", (json_int_t)0,
	    "to_propose", (json_int_t)(p->nbox + p->nadd + p->nsets + p->nsubs), "conflicts",
	    "conflicts_left_out", (json_int_t)0);
	if (p->report == NULL)
		abort();		/* out of memory, as mem.h does */
}

/* ---- from the ops to what is proposed ---- */

void
merge_plan_set(const struct merge_plan *p, size_t i, struct rec_set *s)
{
	const struct plan_set *x = &p->sets[i];
	const struct changes_msg *more;

	memset(s, 0, sizeof(*s));
	s->what = REC_SET_NOTE;
	s->key.fork = p->theirs.fork;
	memcpy(s->key.box, x->box, 16);
	memcpy(s->key.guid, x->guid, 16);
	if (x->op == NULL)
		return;
	more = &p->ours.msg_more[x->a - p->ours.msgs];
	s->what = x->op->verb == MERGE_FLAGS ? REC_SET_FLAGS : REC_SET_REMOVE;
	s->box = more->box_id;
	s->seen = more->modseq;
	s->uid = x->a->uid;
	s->flags = x->op->flags;
	if (x->op->keywords != NULL &&
	    span_copy(span_of(x->op->keywords), s->keywords, sizeof(s->keywords)) == -1)
		s->keywords[0] = '\0';	/* merge_words() bounds them */
}

static void
set_add(struct merge_plan *p, const struct merge_op *op, const struct merge_msg *b,
    const size_t *ours, size_t nours)
{
	const struct merge_msg *a = op == NULL ? NULL :
	    find(&p->ours, ours, nours, op->box, op->guid);

	/* Removed there, and never here: nothing to do. */
	p->sets[p->nsets++] = (struct plan_set){ b->box, b->guid, a == NULL ? NULL : op, a };
}

static void
finish(struct merge_plan *p, size_t settled)
{
	size_t nours = p->ours.nmsgs, n = p->theirs.nmsgs, *op_of = mem_array(n + 1, sizeof(*op_of));
	size_t *ours = keys_sorted(&p->ours, nours);
	size_t *boxes = mem_array(p->theirs.nboxes + 1, sizeof(*boxes));

	for (size_t i = 0; i < p->theirs.nboxes; i++)
		boxes[i] = i;
	if (p->theirs.nboxes > 0)
		qsort_r(boxes, p->theirs.nboxes, sizeof(*boxes), box_cmp, &p->theirs);
	for (size_t i = 0; i < p->m.nops; i++) {
		const struct merge_op *op = &p->m.ops[i];

		p->nbox += op->verb <= MERGE_BOX_CREATE;
		p->nadd += op->verb == MERGE_ADD;
		if (op->msg != NULL)
			op_of[op->msg - p->theirs.msgs] = i + 1;
	}
	p->sets = mem_array(n + p->theirs.nboxes + 1, sizeof(*p->sets));
	for (size_t i = p->nbox + p->nadd; i < p->m.nops; i++)
		set_add(p, &p->m.ops[i], p->m.ops[i].msg, ours, nours);
	for (size_t i = 0; i < n; i++)
		if (op_of[i] == 0)
			set_add(p, NULL, &p->theirs.msgs[i], ours, nours);
	for (size_t i = 0; i < p->theirs.nboxes; i++)
		p->sets[p->nsets++] = (struct plan_set){ p->theirs.boxes[i].guid, no_guid, NULL,
			NULL };
	report_make(p, settled);
	conflict_names(p, boxes);
	conflict_msgs(p, op_of, boxes, ours, nours);
	free(op_of);
	free(ours);
	free(boxes);
}

/* ---- subscriptions: a word of this side counts more than one of the other ---- */

static int
sub_cmp(const void *p, const void *q)
{
	const struct changes_sub *a = p, *b = q;

	return a->user != b->user ? (a->user < b->user ? -1 : 1) : strcmp(a->name, b->name);
}

static int
subs_plan(struct merge_plan *p, sqlite3 *db)
{
	const struct changes *c = &p->theirs;
	sqlite3_stmt *st = NULL;
	int rc = 0;

	if (sqlite3_prepare_v2(db, "SELECT 1 FROM subscriptions WHERE user = ? AND name = ?", -1,
	    &st, NULL) != SQLITE_OK) {
		errno = sql_errno(db);
		return -1;
	}
	p->subs = mem_array(c->nsubs + 1, sizeof(struct changes_sub *));
	for (size_t i = 0; i < c->nsubs && rc != -1; i++) {
		const struct changes_sub *s = &c->subs[i];

		if (p->ours.nsubs > 0 &&
		    bsearch(s, p->ours.subs, p->ours.nsubs, sizeof(*s), sub_cmp) != NULL)
			continue;
		if ((rc = sql_run(st, "it", (int64_t)s->user, s->name)) == 1)
			sqlite3_reset(st);
		if (rc != -1 && (rc == 1) != s->on)
			p->subs[p->nsubs++] = s;
	}
	sqlite3_finalize(st);
	return rc == -1 ? -1 : 0;
}

static void
uids_told(struct changes *c)
{
	for (size_t i = 0; i < c->nboxes; i++)
		c->boxes[i].uidnext = c->box_more[i].uidnext;
}

static int
plan_make(struct shard_job *j, struct merge_plan *p, sqlite3 *db)
{
	struct merge_side a, b;
	size_t settled;

	if (changes_read(&p->theirs, j->theirs_fd, j->shard, j->fork) == -1)
		return failed(j, "the other side's changes");
	if (own_changes(j, &p->ours, db, &p->theirs) == -1)
		return failed(j, "changes since the fork");
	if (leave_settled(p, db, &settled) == -1 || look_all(p, db) == -1 ||
	    subs_plan(p, db) == -1)
		return failed(j, "index");
	uids_told(&p->ours);
	uids_told(&p->theirs);
	a = (struct merge_side){ p->ours.boxes, p->ours.nboxes, p->ours.msgs, p->ours.nmsgs };
	b = (struct merge_side){ p->theirs.boxes, p->theirs.nboxes, p->theirs.msgs,
		p->theirs.nmsgs };
	if (merge_shard(&p->m, &a, &b, j->stamp) == -1)
		return failed(j, "the changes do not fit together");
	finish(p, settled);
	return 0;
}

int
shard_merge_run(struct shard_job *j)
{
	sqlite3 *db = snapshot(j);
	int rc = -1, e;

	if (db == NULL)
		return failed(j, "index.db");
	j->plan = mem_alloc(sizeof(*j->plan));
	rc = plan_make(j, j->plan, db);
	e = errno;
	sqlite3_close(db);
	errno = e;
	return rc;
}
