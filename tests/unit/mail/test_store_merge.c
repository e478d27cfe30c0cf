/* test_store_merge.c - two stores that had the same records up to a fork and then went on
 * alone: what the one has that stays, when it took over what the other one changed.
 * Random histories against a judge that looks at the rows of both sides, before and
 * after, and knows nothing of how the merge works; interrupted, begun again, and a
 * second time.  MERGE_RUNS and MERGE_SEED choose how many and which. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "change_file.h"
#include "change_set.h"
#include "fake_syncd.h"
#include "fs.h"
#include "log.h"
#include "merge_node.h"
#include "shard_priv.h"
#include "store_priv.h"

/* ---- the rows of one side ---- */

struct row {
	uint64_t box, user;
	uint32_t validity, uid, flags;
	uint64_t modseq;
	uint8_t sha[32], guid[16], box_guid[16];
	bool gone;
	char words[64], name[64];
};
struct rows { struct row *v; size_t n; };

static struct rows
look(struct node *n)
{
	static const char sql[] = "SELECT m.box, b.user, b.uidvalidity, m.uid, m.flags, m.modseq,"
	    " m.sha, m.guid, b.guid, m.keywords, b.name, b.deleted_lsn > 0 FROM messages m JOIN"
	    " boxes b ON b.id = m.box UNION ALL SELECT m.box, b.user, b.uidvalidity, m.uid,"
	    " m.flags, m.modseq, m.sha, m.guid, b.guid, '', b.name, 1 FROM tombstones m JOIN boxes"
	    " b ON b.id = m.box";
	struct rows r = { 0 };
	sqlite3_stmt *st;

	assert_int_equal(sqlite3_prepare_v2(shard_of(n)->rd, sql, -1, &st, NULL), SQLITE_OK);
	while (sqlite3_step(st) == SQLITE_ROW) {
		struct row *x;

		r.v = mem_grow(r.v, r.n + 1, sizeof(*r.v));
		x = &r.v[r.n++];
		memset(x, 0, sizeof(*x));
		x->box = (uint64_t)sqlite3_column_int64(st, 0);
		x->user = (uint64_t)sqlite3_column_int64(st, 1);
		x->validity = (uint32_t)sqlite3_column_int64(st, 2);
		x->uid = (uint32_t)sqlite3_column_int64(st, 3);
		x->flags = (uint32_t)sqlite3_column_int64(st, 4);
		x->modseq = (uint64_t)sqlite3_column_int64(st, 5);
		memcpy(x->sha, sqlite3_column_blob(st, 6), 32);
		memcpy(x->guid, sqlite3_column_blob(st, 7), 16);
		memcpy(x->box_guid, sqlite3_column_blob(st, 8), 16);
		snprintf(x->words, sizeof(x->words), "%s", sqlite3_column_text(st, 9));
		snprintf(x->name, sizeof(x->name), "%s", sqlite3_column_text(st, 10));
		x->gone = sqlite3_column_int(st, 11) != 0;
	}
	sqlite3_finalize(st);
	return r;
}

/* The message with this id that is there; and how many there are. */
static const struct row *
find(const struct rows *r, const uint8_t guid[16], unsigned *n)
{
	const struct row *found = NULL;

	*n = 0;
	for (size_t i = 0; i < r->n; i++)
		if (!r->v[i].gone && memcmp(r->v[i].guid, guid, 16) == 0) {
			found = &r->v[i];
			++*n;
		}
	return found;
}

/* loose: one side did not know all, so what it may have changed counts as changed. */
static bool loose;

static bool
touched(const struct node *n, const struct row *was, const struct row *is)
{
	if (was->modseq != is->modseq)
		return true;
	if (loose)			/* a copy leaves no trace but its record */
		return false;
	for (size_t i = 0; i < n->ncopied; i++)
		if (n->copied[i].box == is->box && memcmp(n->copied[i].guid, is->guid, 16) == 0)
			return true;
	return false;
}

/* ---- the judge ---- */

static void
same_place(const struct row *want, const struct row *got)
{
	assert_int_equal(want->box, got->box);
	assert_int_equal(want->uid, got->uid);
	assert_memory_equal(want->sha, got->sha, 32);
}

/* Both have it: per flag, who changed it wins; else, or where that cannot be known, the
 * safe side. */
static void
judge_flags(const struct row *f, const struct row *x, const struct row *y, const struct row *got)
{
	uint32_t off = FLAG_SEEN | FLAG_DELETED;

	for (uint32_t bit = 1; bit < 32; bit <<= 1) {
		uint32_t was = f->flags & bit, xa = x->flags & bit, yb = y->flags & bit;
		uint32_t is = got->flags & bit, safe = (bit & off) != 0 ? xa & yb : xa | yb;
		uint32_t three = xa != was ? xa : yb;

		if (xa == yb)
			assert_int_equal(is, xa);
		else
			assert_true(is == three || is == safe);
	}
}

/* A message that was there when they parted. */
static void
judge_old(const struct row *f, const struct rows *xs, const struct rows *ys,
    const struct rows *rs)
{
	unsigned nx, ny, n;
	const struct row *x = find(xs, f->guid, &nx), *y = find(ys, f->guid, &ny);
	const struct row *got = find(rs, f->guid, &n);
	bool stays = x != NULL && y != NULL ? true : x != NULL ? touched(&a, f, x) :
	    y != NULL && touched(&b, f, y);

	assert_true(nx <= 1 && ny <= 1 && n <= 1);
	if (!loose || stays || (x == NULL && y == NULL))
		assert_int_equal(n, stays);
	if (n == 0)
		return;
	assert_memory_equal(got->sha, f->sha, 32);
	assert_int_equal(got->user, f->user);
	if (x != NULL)
		same_place(x, got);
	if (x != NULL && y != NULL)
		judge_flags(f, x, y, got);
	if (x == NULL) {
		assert_int_equal(got->flags, y->flags);
		assert_string_equal(got->words, y->words);
	}
}

static void
judge_new(const struct rows *fs, const struct rows *xs, const struct rows *rs, bool winner)
{
	const struct row *got;
	unsigned n;

	for (size_t i = 0; i < xs->n; i++) {
		const struct row *x = &xs->v[i];

		if (x->gone || find(fs, x->guid, &n) != NULL)
			continue;
		got = find(rs, x->guid, &n);
		assert_int_equal(n, 1);
		assert_memory_equal(got->sha, x->sha, 32);
		assert_int_equal(got->user, x->user);
		assert_int_equal(got->flags, x->flags);
		assert_string_equal(got->words, x->words);
		if (winner)
			same_place(x, got);
	}
}

/* No number that a client saw names another message: in a mailbox, and under a name. */
static void
judge_uids(const struct rows *seen, const struct rows *rs)
{
	for (size_t i = 0; i < seen->n; i++)
		for (size_t k = 0; k < rs->n; k++) {
			const struct row *s = &seen->v[i], *r = &rs->v[k];

			if (s->validity != r->validity || s->uid != r->uid || s->user != r->user)
				continue;
			if (memcmp(s->box_guid, r->box_guid, 16) != 0 &&
			    (r->gone || strcmp(s->name, r->name) != 0))
				continue;
			assert_memory_equal(s->guid, r->guid, 16);
		}
}

static void
judge(const struct rows *fs, const struct rows *xs, const struct rows *ys, const struct rows *rs)
{
	unsigned n;

	for (size_t i = 0; i < fs->n; i++)
		if (!fs->v[i].gone)
			judge_old(&fs->v[i], xs, ys, rs);
	judge_new(fs, xs, rs, true);
	judge_new(fs, ys, rs, false);
	for (size_t i = 0; i < rs->n; i++)	/* and nothing that nobody had */
		assert_true(rs->v[i].gone || find(xs, rs->v[i].guid, &n) != NULL ||
		    find(ys, rs->v[i].guid, &n) != NULL);
	judge_uids(xs, rs);
	judge_uids(ys, rs);
}

/* ---- subscriptions ---- */

/* The newest word about this name behind lsn: -1 none; also whether a merge made it. */
static int
said(const struct node *n, uint64_t lsn, uint64_t user, const char *name)
{
	struct rec_subscribe r;
	struct rec_merge_box m;
	int word = -1;

	for (size_t i = 0; i < n->f.n; i++) {
		const struct fake_record *x = &n->f.log[i];
		struct span body = { x->payload, x->len };

		if (!x->committed || x->lsn <= lsn)
			continue;
		if (x->type == REC_BOX_SUBSCRIBE && rec_subscribe_decode(body, &r) &&
		    r.user == user && strcmp(r.name, name) == 0)
			word = r.on;
		if (x->type == REC_MERGE_BOX && rec_merge_box_decode(body, &m) &&
		    m.verb == REC_MBOX_CREATE && m.user == user && strcmp(m.name, name) == 0)
			return 2;
	}
	return word;
}

static bool
subscribed(const struct node *n, uint64_t user, const char *name)
{
	sqlite3_stmt *st = NULL;
	bool yes;

	assert_int_equal(sqlite3_prepare_v2(shard_of(n)->rd, "SELECT 1 FROM subscriptions WHERE"
	    " user = ? AND name = ?", -1, &st, NULL), SQLITE_OK);
	yes = sql_run(st, "it", (int64_t)user, name) == 1;
	sqlite3_finalize(st);
	return yes;
}

/* What a client of a said holds, else what one of b said. */
static void
judge_subs(uint64_t fork)
{
	for (uint64_t user = 1; user <= USERS; user++)
		for (size_t i = 0; i < 7; i++) {
			int x = said(&a, fork, user, names[i]), y = said(&b, fork, user, names[i]);

			/* the first delivery subscribes to Sent, whatever was said */
			if (strcmp(names[i], "Sent") != 0 && x != 2 && (x != -1 || y != -1))
				assert_int_equal(subscribed(&a, user, names[i]), x != -1 ? x : y);
		}
}

/* ---- the index is a function of the log; the objects are whole ---- */

struct text { char *p; size_t len; };

static void
dump_line(const char *line, void *arg)
{
	struct text *t = arg;
	size_t n = strlen(line);

	t->p = mem_grow(t->p, t->len + n + 2, 1);
	memcpy(t->p + t->len, line, n);
	t->len += n;
	t->p[t->len++] = '\n';
	t->p[t->len] = '\0';
}

static void
replay_is_same(void)
{
	char *dir = mem_printf("%s/again", a.dir), err[256] = "";
	struct shard *sh = shard_open(dir, err, sizeof(err));
	struct text x = { 0 }, y = { 0 };
	struct shard_outcome out;

	assert_non_null(sh);
	for (size_t i = 0; i < a.f.n; i++) {
		const struct fake_record *r = &a.f.log[i];
		const struct owner_record rec = { .lsn = r->lsn, .gen_no = r->gen_no, .type = r->type,
			.time_ms = (int64_t)(1700000000000ull + r->lsn),
			.payload = { r->payload, r->len } };

		if (r->committed)
			assert_int_equal(shard_apply(sh, &rec, NULL, &out), 0);
	}
	assert_int_equal(shard_commit(sh), 0);
	assert_int_equal(shard_dump(sh, dump_line, &x), 0);
	assert_int_equal(shard_dump(shard_of(&a), dump_line, &y), 0);
	assert_string_equal(x.p, y.p);
	free(x.p);
	free(y.p);
	shard_close(sh);
	fs_remove_tree(dir);
	free(dir);
}

static void
on_verify(void *arg, json_t *report, long complaints)
{
	if (complaints != 0)
		json_dumpf(report, stderr, 0);
	*(long *)arg = complaints;
	json_decref(report);
}

static void
verify(struct node *n)
{
	long complaints = -2;

	store_operate(n->st, STORE_OP_VERIFY, on_verify, &complaints);
	UNTIL(complaints != -2);
	assert_int_equal(complaints, 0);
}

/* ---- random histories ---- */

/* What all runs together did: a case that never came up is not tested. */
static const char *const kinds_of_work[] = { "added", "removed", "kept", "flags",
	"boxes_created", "boxes_deleted", "boxes_renamed", "boxes_kept", "names" };
static json_int_t work_done[9];

static void
sum_up(json_t *r)
{
	for (size_t i = 0; i < 9; i++)
		work_done[i] += count(r, kinds_of_work[i]);
}

/* Refused at some place, perhaps with a restart of the process, until it comes through. */
static json_t *
merge_interrupted(uint64_t fork, int theirs)
{
	json_t *r;
	bool ok;

	for (unsigned i = 0;; i++) {
		a.f.refuse_at = i < 4 ? a.f.n + any(12) : 0;
		r = merge(fork, false, theirs, &ok);
		a.f.refuse_at = 0;
		if (ok)
			return r;
		assert_non_null(json_object_get(r, "error"));
		json_decref(r);
		if (any(2) == 0) {
			store_free(a.st);
			node_up(&a);
		}
	}
}

static void
one_run(uint64_t s)
{
	static const enum gen_kind kinds[] = { GEN_FORCED, GEN_PRESUMED, GEN_UNSAFE };
	struct rows fs, xs, ys, rs;
	uint64_t fork;
	json_t *r;
	size_t n;
	bool ok;
	int theirs;

	seed = s * 0x9e3779b97f4a7c15u + 1;
	set_up(NULL);
	for (unsigned i = 20 + any(30); i > 0; i--)
		act(&a);
	a.ncopied = 0;
	fork = part(kinds[any(3)], kinds[any(2)]);
	fs = look(&a);
	for (unsigned i = any(50); i > 0; i--)
		act(&a);
	for (unsigned i = any(50); i > 0; i--)
		act(&b);
	xs = look(&a);
	ys = look(&b);
	theirs = changes_of_b(fork, fork);
	n = a.f.n;
	r = merge(fork, true, theirs, &ok);
	assert_true(ok);
	assert_int_equal(a.f.n, n);	/* dry */
	sum_up(r);
	json_decref(r);
	r = any(2) == 0 ? merge_interrupted(fork, theirs) : merge(fork, false, theirs, &ok);
	if (!a.f.merged_ok)
		fail_msg("seed %llu: %s", (unsigned long long)s, a.f.merged);
	assert_int_equal(count(r, "missing"), 0);
	json_decref(r);
	rs = look(&a);
	judge(&fs, &xs, &ys, &rs);
	judge_subs(fork);
	n = a.f.n;
	r = merge(fork, false, theirs, &ok);	/* a second time */
	assert_true(ok);
	assert_int_equal(count(r, "proposed"), 0);
	assert_int_equal(a.f.n, n);
	json_decref(r);
	verify(&a);
	replay_is_same();
	free(fs.v);
	free(xs.v);
	free(ys.v);
	free(rs.v);
	tear_down(NULL);
}

static void
test_random(void **state)
{
	const char *runs = getenv("MERGE_RUNS"), *from = getenv("MERGE_SEED");
	uint64_t s = from == NULL ? 1 : strtoull(from, NULL, 10);
	long n = runs == NULL ? 60 : strtol(runs, NULL, 10);

	(void)state;
	for (long i = 0; i < n; i++, s++) {
		if (getenv("MERGE_SHOW") != NULL)
			fprintf(stderr, "seed %llu\n", (unsigned long long)s);
		one_run(s);
	}
	for (size_t i = 0; i < 9; i++) {
		print_message("%s=%lld ", kinds_of_work[i], (long long)work_done[i]);
		assert_true(n < 60 || work_done[i] > 0);
	}
	print_message("\n");
}

/* Until they part, and behind it: xs and ys are what each side has then. */
struct sides { uint64_t fork; struct rows f, x, y; };

static void
sides_make(struct sides *s, uint64_t from)
{
	seed = from * 0x9e3779b97f4a7c15u + 1;
	set_up(NULL);
	for (unsigned i = 20 + any(30); i > 0; i--)
		act(&a);
	a.ncopied = 0;
	s->fork = part(GEN_FORCED, GEN_PRESUMED);
	s->f = look(&a);
	for (unsigned i = 10 + any(30); i > 0; i--)
		act(&a);
	for (unsigned i = 10 + any(30); i > 0; i--)
		act(&b);
	s->x = look(&a);
	s->y = look(&b);
}

static void
sides_end(struct sides *s)
{
	free(s->f.v);
	free(s->x.v);
	free(s->y.v);
	tear_down(NULL);
}

/* Without the records behind lsn. */
static void
tail_cut(int fd, uint64_t lsn)
{
	struct owner_tail t;
	struct owner_record rec;
	off_t at = 0;

	assert_int_equal(owner_tail_open(&t, fd), 0);
	while (owner_tail_next(&t, &rec) == 1 && rec.lsn <= lsn)
		at = t.at;
	owner_tail_close(&t);
	assert_int_equal(ftruncate(fd, at), 0);
}

/* Where a log has lost its first records, or the tail is older than the index, nothing
 * is lost either; only removals may not hold. */
static void
test_not_all_known(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 24; i++) {
		uint64_t from, until;
		struct sides s;
		struct rows rs;
		int theirs, tail = -1;
		json_t *r;
		bool ok;

		sides_make(&s, 1000 + i);
		loose = true;
		from = i % 3 == 0 ? s.fork + (b.f.lsn - s.fork) / 2 : s.fork;
		theirs = changes_of_b(s.fork, from);
		from = s.fork + (a.f.lsn - s.fork) / 2;
		until = a.f.lsn;
		if (i % 3 == 1)		/* only the second half */
			tail = fake_tail(&a.f, SHARD, from);
		if (i % 3 == 2) {	/* only the first */
			tail = fake_tail(&a.f, SHARD, s.fork);
			tail_cut(tail, from);
		}
		r = merge_with(s.fork, i % 3 != 1, false, tail, theirs, &ok);
		if (!ok)
			fail_msg("run %llu: %s", (unsigned long long)i, a.f.merged);
		assert_true(a.f.lsn >= until);
		json_decref(r);
		rs = look(&a);
		judge(&s.f, &s.x, &s.y, &rs);
		r = merge(s.fork, false, theirs, &ok);
		assert_true(ok);
		assert_int_equal(count(r, "proposed"), 0);
		json_decref(r);
		verify(&a);
		replay_is_same();
		free(rs.v);
		sides_end(&s);
		loose = false;
	}
}

/* Who removed the messages that are gone: the records of the merge, or a client? */
static bool
gone_by_merge(uint64_t lsn)
{
	for (size_t i = 0; i < a.f.n; i++)
		if (a.f.log[i].committed && a.f.log[i].lsn == lsn)
			return a.f.log[i].type == REC_MERGE_SET || a.f.log[i].type == REC_MERGE_BOX;
	return false;
}

/* The record that took it away: its own tombstone, or its mailbox's end. */
static uint64_t
gone_lsn(const uint8_t guid[16])
{
	static const char sql[] = "SELECT lsn FROM tombstones WHERE guid = ?1 UNION ALL SELECT"
	    " b.deleted_lsn FROM messages m JOIN boxes b ON b.id = m.box WHERE m.guid = ?1 AND"
	    " b.deleted_lsn > 0 ORDER BY lsn DESC LIMIT 1";
	sqlite3_stmt *st;
	uint64_t lsn = 0;

	assert_int_equal(sqlite3_prepare_v2(shard_of(&a)->rd, sql, -1, &st, NULL), SQLITE_OK);
	sqlite3_bind_blob(st, 1, guid, 16, SQLITE_STATIC);
	if (sqlite3_step(st) == SQLITE_ROW)
		lsn = (uint64_t)sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return lsn;
}

/* All that either side had is there once, or a client removed it, or one side had removed
 * what the other one had not touched. */
static void
judge_busy(const struct sides *s, const struct rows *rs)
{
	unsigned n, nf, ny;

	for (size_t i = 0; i < s->y.n; i++) {
		const uint8_t *guid = s->y.v[i].guid;

		if (s->y.v[i].gone || find(rs, guid, &n) != NULL || find(&s->f, guid, &nf) != NULL)
			continue;
		assert_true(gone_lsn(guid) > 0 && !gone_by_merge(gone_lsn(guid)));
	}
	for (size_t i = 0; i < s->x.n; i++) {
		const uint8_t *guid = s->x.v[i].guid;

		if (s->x.v[i].gone || find(rs, guid, &n) != NULL)
			continue;
		assert_true(gone_lsn(guid) > 0);
		if (gone_by_merge(gone_lsn(guid)))
			assert_true(find(&s->f, guid, &nf) != NULL &&
			    find(&s->y, guid, &ny) == NULL);
	}
	for (size_t i = 0; i < rs->n; i++)
		if (!rs->v[i].gone) {
			find(rs, rs->v[i].guid, &n);
			assert_int_equal(n, 1);
		}
	judge_uids(&s->x, rs);
	judge_uids(&s->y, rs);
}

/* Clients go on while the merge runs. */
static void
test_busy(void **state)
{
	unsigned looked = 0, acted = 0;

	(void)state;
	for (uint64_t i = 0; i < 24; i++) {
		struct sides s;
		struct rows rs;
		int theirs;
		json_t *r;
		bool ok;

		sides_make(&s, 2000 + i);
		theirs = changes_of_b(s.fork, s.fork);
		fake_merge(&a.f, SHARD, s.fork, true, false, fake_tail(&a.f, SHARD, s.fork),
		    dup(theirs));
		for (; a.f.merges == 0; acted++)
			act(&a);
		if (!a.f.merged_ok)
			fail_msg("run %llu: %s", (unsigned long long)i, a.f.merged);
		r = json_loads(a.f.merged, 0, NULL);
		looked += count(r, "looks") > 1;
		json_decref(r);
		rs = look(&a);
		judge_busy(&s, &rs);
		r = merge(s.fork, false, theirs, &ok);
		assert_true(ok);
		assert_int_equal(count(r, "proposed"), 0);
		json_decref(r);
		verify(&a);
		replay_is_same();
		free(rs.v);
		sides_end(&s);
	}
	print_message("looked again %u times, %u changes meanwhile\n", looked, acted);
	assert_true(acted > 24);
}

static uint64_t
wire_fork(int fd)
{
	uint8_t fork[8];

	assert_int_equal(pread(fd, fork, sizeof(fork), 12), sizeof(fork));
	return wire_load64(fork);
}

/* The same file with bytes of its items changed, and a sum that is right. */
static int
spoilt(int from)
{
	struct change_in in;
	struct change_out out;
	struct wire_out w;
	struct span body;
	uint8_t type;

	assert_int_equal(change_in_open(&in, from, SHARD, wire_fork(from)), 0);
	change_out_open(&out, a.dir, SHARD, wire_fork(from), in.whole);
	wire_out_init(&w);
	while (change_in_next(&in, &type, &body) == 1) {
		uint64_t size = type == 4 ? wire_load64(body.p + 32) : 0, at;
		char *bytes = mem_alloc(size + 1);

		wire_put_raw(&w, body.p, body.len);
		if (type < 4 && any(40) == 0)
			for (unsigned i = 1 + any(3); i > 0; i--)
				w.p[any((unsigned)w.len)] ^= (uint8_t)(1u << any(8));
		change_out_item(&out, type, &w);
		at = change_in_skip(&in, size);
		assert_int_equal(fs_pread_all(from, bytes, size, (off_t)at), size);
		change_out_raw(&out, bytes, size);
		free(bytes);
	}
	change_in_close(&in);
	return change_out_end(&out);
}

/* A node that says nonsense under its own seal: refused, or merged, and never the end of
 * the process.  Some of it is carried out: what is here stays where it was. */
static void
test_nonsense(void **state)
{
	unsigned taken = 0, refused = 0;

	(void)state;
	for (uint64_t i = 0; i < 4; i++) {
		struct sides s;
		struct rows rs;
		int theirs;
		bool ok;

		sides_make(&s, 3000 + i);
		theirs = changes_of_b(s.fork, s.fork);
		for (int k = 0; k < 40; k++) {
			int fd = spoilt(theirs);

			assert_true(fd >= 0);
			json_decref(merge(s.fork, k % 10 != 0, fd, &ok));
			*(ok ? &taken : &refused) += 1;
			close(fd);
		}
		rs = look(&a);
		judge_uids(&s.x, &rs);
		verify(&a);
		replay_is_same();
		free(rs.v);
		sides_end(&s);
	}
	print_message("taken %u, refused %u\n", taken, refused);
	assert_true(taken > 0 && refused > 0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_random),
		cmocka_unit_test(test_not_all_known), cmocka_unit_test(test_busy),
		cmocka_unit_test(test_nonsense) };

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("store_merge", tests, NULL, NULL);
}
