/* merge.c - what becomes of the messages when two histories of a shard are made one;
 * see merge.h.  Both sides' changes are sorted by mailbox and message and walked side by
 * side; what is not listed by a side is there as it was.  n log n, and no more memory
 * than a pointer for each change and the result. */
#include "merge.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hook.h"
#include "keywords.h"
#include "mem.h"
#include "merge_int.h"
#include "sha256.h"

/* Where not known which side changed a flag: off, when either says so. */
#define SAFE_OFF ((uint32_t)(FLAG_DELETED | FLAG_SEEN))

struct merge_text {
	struct merge_text *next;
	char *text;
};

const char *
merge_verb_name(enum merge_verb v)
{
	static const char *const names[] = { "box-delete", "box-rename", "box-renumber",
		"box-reserve", "box-create", "add", "flags", "remove" };

	return (unsigned)v < sizeof(names) / sizeof(names[0]) ? names[v] : "?";
}

/* ---- flags --------------------------------------------------------------- */

/* A flag has two values, so two sides that both changed one agree. */
uint32_t
merge_bits(uint32_t at_base, uint32_t to_base, uint32_t at, uint32_t to)
{
	uint32_t known = (at | (to & ~to_base)) & ~(to_base & ~to), unsure = at_base ^ to_base;
	uint32_t safe = ((at | to) & ~SAFE_OFF) | (at & to & SAFE_OFF);

	return (known & ~unsure) | (safe & unsure);
}

/* The words of set that `in` has (has) or lacks. */
static void
words_of(const char *set, const char *in, bool has, char *out)
{
	struct span rest = span_of(set), w;
	size_t at = 0;

	out[0] = '\0';
	while (span_cut(&rest, ' ', &w)) {
		if (w.len == 0 || keywords_has(in, w) != has || at + w.len + 1 > STORE_KEYWORDS_MAX)
			continue;
		if (at > 0)
			out[at++] = ' ';
		memcpy(out + at, w.p, w.len);
		at += w.len;
		out[at] = '\0';
	}
}

void
merge_words(const char *at_base, const char *to_base, const char *at, const char *to, char *out)
{
	char diff[STORE_KEYWORDS_MAX + 1], less[STORE_KEYWORDS_MAX + 1];

	words_of(to_base, to, false, less);		/* gone there, */
	words_of(less, at_base, true, diff);		/* and not added here */
	keywords_apply(STORE_FLAGS_REMOVE, at, diff, less);
	words_of(to, to_base, false, diff);
	keywords_apply(STORE_FLAGS_ADD, less, diff, out);
}

static bool
same_words(const char *a, const char *b)
{
	return strcmp(a == NULL ? "" : a, b == NULL ? "" : b) == 0;
}

/* Flags, keywords, or a copy: somebody dealt with it since the sides parted. */
static bool
touched(const struct merge_msg *m)
{
	return m->what == MERGE_ADDED ||
	    (m->what == MERGE_CHANGED && !hook_on("merge-honours-removal") && (m->copied || m->flags != m->base_flags ||
	    !same_words(m->keywords, m->base_keywords)));
}

/* ---- the result ----------------------------------------------------------- */

struct merge_op *
merge_op_add(struct merge *m, enum merge_verb verb, const struct merge_fate *f)
{
	struct merge_op *op;

	if ((m->nops & (m->nops - 1)) == 0)	/* grows at each power of two */
		m->ops = mem_grow(m->ops, m->nops == 0 ? 1 : m->nops * 2, sizeof(*m->ops));
	op = &m->ops[m->nops++];
	*op = (struct merge_op){ .verb = verb, .user = f->user };
	memcpy(op->box, f->guid, 16);
	return op;
}

const char *
merge_keep(struct merge *m, char *text)
{
	struct merge_text *t = mem_alloc(sizeof(*t));

	t->text = text;
	t->next = m->texts;
	m->texts = t;
	return text;
}

void
merge_clear(struct merge *m)
{
	struct merge_text *t;

	while ((t = m->texts) != NULL) {
		m->texts = t->next;
		free(t->text);
		free(t);
	}
	free(m->ops);
	memset(m, 0, sizeof(*m));
}

void
merge_derive(const uint8_t guid[16], const void *p, size_t len, uint8_t out[16])
{
	struct span parts[] = { SPAN("mailpair merge"), { (const char *)guid, 16 }, { p, len } };
	uint8_t sha[SHA256_LEN];

	if (sha256_spans(parts, 3, sha) == -1)
		abort();		/* out of memory, as mem.h does */
	memcpy(out, sha, 16);
}

/* ---- order ---------------------------------------------------------------- */

static int
key_cmp(const struct merge_msg *a, const uint8_t box[16], const uint8_t guid[16])
{
	int c = memcmp(a->box, box, 16);

	return c != 0 ? c : memcmp(a->guid, guid, 16);
}

static int
by_key(const void *a, const void *b)
{
	const struct merge_msg *const *x = a, *const *y = b;

	return key_cmp(*x, (*y)->box, (*y)->guid);
}

/* The changes of one side in the order of their keys; NULL with EINVAL: one is there
 * twice, or of a mailbox that the side does not name. */
static const struct merge_msg **
sorted(const struct merge_work *w, const struct merge_side *s, bool winner)
{
	const struct merge_msg **v = mem_array(s->nmsgs + 1, sizeof(struct merge_msg *));
	const struct merge_fate *f;
	bool good = true;

	for (size_t i = 0; i < s->nmsgs; i++)
		v[i] = &s->msgs[i];
	qsort(v, s->nmsgs, sizeof(struct merge_msg *), by_key);
	for (size_t i = 0; i < s->nmsgs && good; i++) {
		f = merge_fate_find(w, v[i]->box);
		good = f != NULL && (winner ? f->a : f->b) != NULL &&
		    (i == 0 || by_key(&v[i - 1], &v[i]) != 0);
	}
	if (good)
		return v;
	free(v);
	errno = EINVAL;
	return NULL;
}

static const struct merge_msg *
find(const struct merge_msg *const *v, size_t n, const uint8_t box[16], const uint8_t guid[16])
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = key_cmp(v[mid], box, guid);

		if (c == 0)
			return v[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* ---- one message ---------------------------------------------------------- */

enum verdict { LEAVE, ADD, FLAGS, REMOVE };

/* The loser removed it.  NULL: the winner has it as it was. */
static enum verdict
judge_removed(const struct merge_msg *a)
{
	if (a == NULL)
		return REMOVE;
	return a->what == MERGE_REMOVED || touched(a) ? LEAVE : REMOVE;
}

/* b: the loser's change; a: the winner's, or NULL.  there: the winner has the mailbox. */
static enum verdict
judge(const struct merge_msg *a, const struct merge_msg *b, bool there)
{
	if (b->what == MERGE_REMOVED)
		return judge_removed(a);
	if (a == NULL && there && b->what == MERGE_CHANGED)
		return FLAGS;
	if (a == NULL || a->what == MERGE_REMOVED)
		return touched(b) ? ADD : LEAVE;
	return memcmp(a->sha, b->sha, 32) != 0 ? ADD : FLAGS;
}

/* First walk: what the mailboxes have to know. */
static void
count(struct merge_work *w)
{
	size_t i = 0, j = 0;

	while (i < w->na || j < w->nb) {
		int c = i == w->na ? 1 : j == w->nb ? -1 : by_key(&w->a[i], &w->b[j]);
		const uint8_t *box = c <= 0 ? w->a[i]->box : w->b[j]->box;
		const struct merge_msg *a = c <= 0 ? w->a[i++] : NULL;
		const struct merge_msg *b = c >= 0 ? w->b[j++] : NULL;
		struct merge_fate *f = merge_fate_find(w, box);

		if (a != NULL && a->what != MERGE_REMOVED && touched(a))
			f->holds++;
		if (b != NULL && judge(a, b, merge_alive(f->a)) == ADD)
			f->news++;
	}
}

static void
op_flags(struct merge_work *w, const struct merge_fate *f, const struct merge_msg *a,
    const struct merge_msg *b)
{
	char words[STORE_KEYWORDS_MAX + 1];
	uint32_t at = a != NULL ? a->flags : b->base_flags, bits;
	const char *at_words = a != NULL ? a->keywords : b->base_keywords;
	bool known = b->what == MERGE_CHANGED && (a == NULL || a->what == MERGE_CHANGED);
	uint32_t to_base = known ? b->base_flags : 0;
	struct merge_op *op;

	bits = merge_bits(!known ? ~to_base : a != NULL ? a->base_flags : to_base, to_base, at,
	    b->flags);
	merge_words(!known ? NULL : a != NULL ? a->base_keywords : b->base_keywords,
	    known ? b->base_keywords : NULL, at_words, b->keywords, words);
	if (bits == at && same_words(words, at_words))
		return;
	op = merge_op_add(w->out, MERGE_FLAGS, f);
	memcpy(op->guid, a != NULL ? a->guid : b->guid, 16);
	op->msg = b;
	op->flags = bits;
	op->keywords = merge_keep(w->out, mem_dup(words));
	w->out->report.flags++;
}

/* The winner has this id with other bytes: one of the two is not what it was. */
static void
op_add_other(struct merge_work *w, const struct merge_fate *f, const struct merge_msg *b,
    struct merge_op *op)
{
	uint8_t guid[16];

	merge_derive(b->guid, b->sha, sizeof(b->sha), guid);
	if (find(w->a, w->na, f->guid, guid) != NULL) {
		w->out->nops--;		/* a merge before this one did it */
		return;
	}
	memcpy(op->guid, guid, 16);
	w->out->report.damaged++;
	w->out->report.added++;
}

static void
op_add(struct merge_work *w, const struct merge_fate *f, const struct merge_msg *b)
{
	const struct merge_fate *to = f->into != NULL ? f->into : f;
	const struct merge_msg *a = find(w->a, w->na, to->guid, b->guid);
	struct merge_op *op;

	if (a != NULL && a->what != MERGE_REMOVED && memcmp(a->sha, b->sha, 32) == 0) {
		w->out->report.same++;
		op_flags(w, to, a, b);
		return;
	}
	assert(to->make || merge_alive(to->a));
	op = merge_op_add(w->out, MERGE_ADD, to);
	memcpy(op->guid, b->guid, 16);
	op->msg = b;
	op->from = f->b;
	op->keep = to->keep;
	op->flags = b->flags;
	op->keywords = merge_keep(w->out, mem_dup(b->keywords == NULL ? "" : b->keywords));
	if (a != NULL && a->what != MERGE_REMOVED)
		op_add_other(w, to, b, op);
	else
		w->out->report.added++;
}

static void
op_remove(struct merge_work *w, const struct merge_fate *f, const struct merge_msg *b)
{
	struct merge_op *op;

	w->out->report.removed++;
	if (f->drop || !merge_alive(f->a))
		return;			/* it goes with its mailbox */
	op = merge_op_add(w->out, MERGE_REMOVE, f);
	memcpy(op->guid, b->guid, 16);
	op->msg = b;
}

/* Second walk, when it is known what becomes of the mailboxes. */
static void
messages(struct merge_work *w)
{
	struct merge_report *r = &w->out->report;

	for (size_t j = 0; j < w->nb; j++) {
		const struct merge_msg *b = w->b[j], *a = find(w->a, w->na, b->box, b->guid);
		const struct merge_fate *f = merge_fate_find(w, b->box);

		switch (judge(a, b, merge_alive(f->a))) {
		case ADD:
			r->kept += a != NULL && a->what == MERGE_REMOVED;
			op_add(w, f, b);
			break;
		case FLAGS:
			r->same += b->what == MERGE_ADDED;
			op_flags(w, f, a, b);
			break;
		case REMOVE:
			op_remove(w, f, b);
			break;
		case LEAVE:
			r->kept += b->what == MERGE_REMOVED && a != NULL && a->what != MERGE_REMOVED;
			break;
		}
	}
}

/* By kind; new messages by mailbox and in the order in which the loser's clients saw
 * them; the rest by their keys. */
static int
by_turn(const void *p, const void *q)
{
	const struct merge_op *a = p, *b = q;
	int c;

	if (a->verb != b->verb)
		return a->verb < b->verb ? -1 : 1;
	if ((c = memcmp(a->box, b->box, 16)) != 0)
		return c;
	if (a->verb == MERGE_ADD && a->from != b->from)
		return memcmp(a->from->guid, b->from->guid, 16);
	if (a->verb == MERGE_ADD && a->msg->uid != b->msg->uid)
		return a->msg->uid < b->msg->uid ? -1 : 1;
	return memcmp(a->guid, b->guid, 16);
}

int
merge_shard(struct merge *out, const struct merge_side *winner, const struct merge_side *loser,
    const char *stamp)
{
	struct merge_work w = { .out = out, .stamp = stamp, .na = winner->nmsgs,
		.nb = loser->nmsgs };
	size_t boxes;
	int rc = -1;

	memset(out, 0, sizeof(*out));
	if (merge_fates(&w, winner, loser) == 0 && (w.a = sorted(&w, winner, true)) != NULL &&
	    (w.b = sorted(&w, loser, false)) != NULL) {
		out->report.winner_msgs = w.na;
		out->report.loser_msgs = w.nb;
		count(&w);
		merge_boxes(&w);
		boxes = out->nops;	/* their order is made already */
		messages(&w);
		if (out->nops > boxes)
			qsort(out->ops + boxes, out->nops - boxes, sizeof(*out->ops), by_turn);
		rc = 0;
	}
	free(w.fates);
	free(w.a);
	free(w.b);
	return rc;
}
