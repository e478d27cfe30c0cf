/* merge_queue.c - what becomes of the messages to other hosts when two histories of the
 * queue are made one; see merge_queue.h.
 *
 * The winner's queue is taken as it is.  What the loser finished is finished in it, what
 * only the loser has is put into it, unless the winner finished it: that is the case when
 * its records say so, when the message was there before the sides parted, or when an
 * earlier merge brought it. */
#include "merge_queue.h"

#include <stdlib.h>
#include <string.h>

#include "hook.h"
#include "mem.h"
#include "sha256.h"

#define RESULTS_MAX 500			/* of one record */

struct work {
	struct merge_queue *out;
	const struct merge_queue_side *w, *l;
};

/* ---- looking up ----------------------------------------------------------- */

static int
by_id(const void *a, const void *b)
{
	uint64_t x = ((const struct merge_queue_msg *)a)->id;
	uint64_t y = ((const struct merge_queue_msg *)b)->id;

	return x < y ? -1 : x > y;
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int
by_rcpt(const void *a, const void *b)
{
	return (int)((const struct merge_queue_rcpt *)a)->index -
	    (int)((const struct merge_queue_rcpt *)b)->index;
}

static int
by_done(const void *a, const void *b)
{
	return (int)((const struct merge_queue_done *)a)->index -
	    (int)((const struct merge_queue_done *)b)->index;
}

static void
sort(void *v, size_t n, size_t size, int (*cmp)(const void *, const void *))
{
	if (n > 1)
		qsort(v, n, size, cmp);
}

static void
prepare(struct merge_queue_side *s)
{
	sort(s->msgs, s->nmsgs, sizeof(*s->msgs), by_id);
	sort(s->adopted, s->nadopted, sizeof(*s->adopted), by_number);
	for (size_t i = 0; i < s->nmsgs; i++) {
		struct merge_queue_msg *m = &s->msgs[i];

		sort(m->rcpts, m->nrcpts, sizeof(*m->rcpts), by_rcpt);
		sort(m->done, m->ndone, sizeof(*m->done), by_done);
	}
	free(s->slots);
	s->slots = NULL;
	s->nslots = 0;
}

static const struct merge_queue_msg *
msg_of(const struct merge_queue_side *s, uint64_t id)
{
	struct merge_queue_msg key = { .id = id };

	return s->nmsgs > 0 ? bsearch(&key, s->msgs, s->nmsgs, sizeof(key), by_id) : NULL;
}

static const struct merge_queue_done *
done_of(const struct merge_queue_msg *m, uint16_t index)
{
	struct merge_queue_done key = { .index = index };

	return m != NULL && m->ndone > 0 ?
	    bsearch(&key, m->done, m->ndone, sizeof(key), by_done) : NULL;
}

static const struct merge_queue_rcpt *
rcpt_of(const struct merge_queue_msg *m, uint16_t index)
{
	struct merge_queue_rcpt key = { .index = index };

	return m->nrcpts > 0 ? bsearch(&key, m->rcpts, m->nrcpts, sizeof(key), by_rcpt) : NULL;
}

static bool
was_adopted(const struct merge_queue_side *s, uint64_t id)
{
	return s->nadopted > 0 &&
	    bsearch(&id, s->adopted, s->nadopted, sizeof(id), by_number) != NULL;
}

/* Are these one message?  Who knows nothing but the id believes so. */
static bool
same(const struct merge_queue_msg *a, const struct merge_queue_msg *b)
{
	if (a->trace == NULL || b->trace == NULL)
		return true;
	return strcmp(a->trace, b->trace) == 0 && strcmp(a->sender, b->sender) == 0 &&
	    a->size == b->size && a->created_ms == b->created_ms;
}

/* ---- the result ----------------------------------------------------------- */

static struct merge_queue_op *
op_add(struct work *k, enum merge_queue_verb verb, uint64_t id)
{
	struct merge_queue *m = k->out;

	if ((m->nops & (m->nops - 1)) == 0)	/* grows at each power of two */
		m->ops = mem_grow(m->ops, m->nops == 0 ? 1 : m->nops * 2, sizeof(*m->ops));
	m->ops[m->nops] = (struct merge_queue_op){ .verb = verb, .id = id };
	return &m->ops[m->nops++];
}

void
merge_queue_free(struct merge_queue *m)
{
	for (size_t i = 0; i < m->nops; i++) {
		free(m->ops[i].rcpts);
		free(m->ops[i].results);
	}
	free(m->ops);
	memset(m, 0, sizeof(*m));
}

enum queue_record
merge_queue_payload(const struct merge_queue_op *op, struct wire_out *w)
{
	if (op->verb == MERGE_QUEUE_RESULT) {
		queue_result_put(w, op->id, op->next_ms, op->results, (uint16_t)op->n);
		return QUEUE_RESULT;
	}
	if (op->verb == MERGE_QUEUE_WARNED) {
		queue_reported_put(w, op->id, NULL, 0);
		return QUEUE_REPORTED;
	}
	wire_put_u64(w, op->id);
	return op->verb == MERGE_QUEUE_HOLD ? QUEUE_HOLD :
	    op->verb == MERGE_QUEUE_RELEASE ? QUEUE_RELEASE : QUEUE_DELETE;
}

/* ---- a message that both have --------------------------------------------- */

static struct queue_result *
result_add(struct work *k, const struct merge_queue_msg *a, uint16_t index,
    enum queue_outcome outcome)
{
	struct merge_queue *m = k->out;
	struct merge_queue_op *op = m->nops > 0 ? &m->ops[m->nops - 1] : NULL;
	struct queue_result *r;

	if (op == NULL || op->verb != MERGE_QUEUE_RESULT || op->id != a->id ||
	    op->n == RESULTS_MAX) {
		op = op_add(k, MERGE_QUEUE_RESULT, a->id);
		op->next_ms = a->next_ms;
		op->results = mem_array(a->nrcpts < RESULTS_MAX ? a->nrcpts : RESULTS_MAX,
		    sizeof(*op->results));
	}
	r = &op->results[op->n++];
	r->rcpt = index;
	r->outcome = outcome;
	return r;
}

static void
recipients(struct work *k, const struct merge_queue_msg *a, const struct merge_queue_msg *b)
{
	struct merge_queue_report *rep = &k->out->report;

	for (size_t i = 0; i < a->nrcpts; i++) {
		const struct merge_queue_rcpt *r = &a->rcpts[i], *o = rcpt_of(b, r->index);
		const struct merge_queue_done *done = done_of(b, r->index);

		if (done != NULL && !hook_on("queue-merge-done-ignored")) {
			result_add(k, a, r->index, QUEUE_DONE);
			rep->delivered += !done->bounced;
			rep->bounced += done->bounced;
		} else if (o != NULL && o->failed && !r->failed) {
			struct queue_result *res = result_add(k, a, r->index, QUEUE_FAIL);

			if (span_copy(span_of(o->reply), res->reply, sizeof(res->reply)) == -1)
				res->reply[0] = '\0';
			rep->failed++;
		}
	}
}

/* Will anything be left of it when the loser's marks are applied? */
static bool
outlives(const struct merge_queue_msg *a, const struct merge_queue_msg *b)
{
	for (size_t i = 0; i < a->nrcpts; i++)
		if (done_of(b, a->rcpts[i].index) == NULL)
			return true;
	return false;
}

static void
reconcile(struct work *k, const struct merge_queue_msg *a, const struct merge_queue_msg *b)
{
	struct merge_queue_report *rep = &k->out->report;
	bool ours = a->hold || k->w->hold_all || !k->w->whole;

	if (b->removed) {
		op_add(k, MERGE_QUEUE_DELETE, a->id);
		rep->removed++;
		return;
	}
	/* Held before it could be sent to who is left. */
	if (b->here && (b->hold || k->l->hold_all) && b->held != a->held && !ours &&
	    outlives(a, b)) {
		op_add(k, b->held ? MERGE_QUEUE_HOLD : MERGE_QUEUE_RELEASE, a->id);
		rep->held += b->held;
		rep->released += !b->held;
	}
	if (b->here && b->warned && !a->warned && outlives(a, b)) {
		op_add(k, MERGE_QUEUE_WARNED, a->id);
		rep->warned++;
	}
	recipients(k, a, b);
}

/* ---- a message that only the loser has ------------------------------------- */

static void
adopt(struct work *k, const struct merge_queue_msg *a, const struct merge_queue_msg *b, uint64_t id)
{
	struct merge_queue_report *rep = &k->out->report;
	const struct merge_queue_rcpt **list = mem_array(b->nrcpts + 1,
	    sizeof(struct merge_queue_rcpt *));
	struct merge_queue_op *op;
	size_t n = 0;

	for (size_t i = 0; i < b->nrcpts; i++)
		if (done_of(a, b->rcpts[i].index) == NULL)
			list[n++] = &b->rcpts[i];
	rep->finished += b->nrcpts - n;
	if (n == 0) {
		free(list);
		return;
	}
	op = op_add(k, MERGE_QUEUE_ADOPT, id);
	op->msg = b;
	op->rcpts = list;
	op->n = n;
	rep->adopted++;
	rep->recipients += n;
	rep->unsure += !k->l->whole && !b->made;
}

/* The n-th other id of a message whose own has become another one's. */
static uint64_t
derived(const struct merge_queue_msg *b, uint32_t n)
{
	uint8_t be[20], sha[SHA256_LEN];
	struct span parts[] = { SPAN("mailpair queue"), { (const char *)be, sizeof(be) },
		span_of(b->trace) };

	wire_store64(be, b->id);
	wire_store64(be + 8, (uint64_t)b->created_ms);
	wire_store32(be + 16, n);
	if (sha256_spans(parts, 3, sha) == -1)
		abort();		/* out of memory, as mem.h does */
	return wire_load64(sha) & INT64_MAX;
}

/* An earlier merge brought it, under its own id or another one. */
static bool
was_brought(const struct work *k, const struct merge_queue_msg *b)
{
	return (was_adopted(k->w, b->id) || was_adopted(k->w, derived(b, 0))) &&
	    !hook_on("queue-merge-again");
}

static uint64_t
other_id(const struct work *k, const struct merge_queue_msg *b)
{
	uint64_t id;
	uint32_t n = 0;

	do
		id = derived(b, n++);
	while (id == 0 || msg_of(k->w, id) != NULL || msg_of(k->l, id) != NULL);
	return id;
}

/* Was it there when the sides parted?  Then the winner had it, and finished it. */
static bool
was_there(const struct work *k, const struct merge_queue_msg *b)
{
	return k->l->whole && !b->made;
}

static void
only_loser(struct work *k, const struct merge_queue_msg *a, const struct merge_queue_msg *b)
{
	if (was_brought(k, b) || (a != NULL && a->removed) || was_there(k, b))
		k->out->report.finished += b->nrcpts;
	else if (!hook_on("queue-merge-drops"))
		adopt(k, a, b, b->id);
}

void
merge_queue(struct merge_queue *out, struct merge_queue_side *winner,
    struct merge_queue_side *loser)
{
	struct work k = { out, winner, loser };

	memset(out, 0, sizeof(*out));
	prepare(winner);
	prepare(loser);
	for (size_t i = 0; i < loser->nmsgs; i++) {
		const struct merge_queue_msg *b = &loser->msgs[i], *a = msg_of(winner, b->id);

		if (a != NULL && !same(a, b)) {
			if (b->here && !was_there(&k, b) && !was_adopted(winner, derived(b, 0))) {
				adopt(&k, NULL, b, other_id(&k, b));
				out->report.renamed++;
			}
		} else if (a != NULL && a->here)
			reconcile(&k, a, b);
		else if (b->here)
			only_loser(&k, a, b);
	}
}
