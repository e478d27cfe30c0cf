/* Two histories of the queue become one: random pairs against a model that applies records
 * as queue_shard.c does and knows nothing of how the merge works, and a few cases by hand.
 * MERGE_PAIRS and MERGE_SEED choose how many pairs and which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mem.h"
#include "merge_queue.h"
#include "owner.h"

enum { MSGS = 128, RCPTS = 4, RECORDS = 400, NAMES = 256 };
enum fate { NONE, DELIVERED, BOUNCED, REMOVED };

struct mmsg {
	bool here, held, warned;
	uint64_t id;
	unsigned name;			/* which message it is, whatever its id */
	int64_t created, next;
	uint32_t attempts;
	bool is[RCPTS], failed[RCPTS];
};
struct mrec { uint8_t type; char *p; size_t n; int64_t ms; };
struct model {
	struct mmsg msg[MSGS];
	unsigned nmsgs;
	enum fate fate[NAMES][RCPTS];
	uint64_t ever[MSGS * 2], adopted[MSGS];
	unsigned never, nadopted;
	struct mrec rec[RECORDS];	/* since the sides parted */
	unsigned nrecs;
};

static uint64_t state;
static unsigned names;			/* given so far */
static unsigned ids;			/* from 1 to this */
static int64_t clock_now;

static unsigned
any(unsigned n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)((state >> 20) % n);
}

static struct mmsg *
of(struct model *m, uint64_t id)
{
	for (unsigned i = 0; i < m->nmsgs; i++)
		if (m->msg[i].here && m->msg[i].id == id)
			return &m->msg[i];
	return NULL;
}

static bool
used(const uint64_t *v, unsigned n, uint64_t id)
{
	for (unsigned i = 0; i < n; i++)
		if (v[i] == id)
			return true;
	return false;
}

static void
address_of(unsigned name, unsigned i, char *out, size_t size)
{
	snprintf(out, size, "r%u.%u@far.test", name, i);
}

/* ---- records, as queue_shard.c applies them -------------------------------- */

static void
finish(struct mmsg *x)
{
	bool left = false;

	for (unsigned i = 0; i < RCPTS; i++)
		left = left || x->is[i];
	x->here = left;
}

static struct mmsg *
new_msg(struct model *m, uint64_t id, const char *trace)
{
	struct mmsg *x = &m->msg[m->nmsgs++];

	assert_true(m->nmsgs <= MSGS && m->never < MSGS * 2);
	memset(x, 0, sizeof(*x));
	x->here = true;
	x->id = id;
	x->name = (unsigned)strtoul(trace, NULL, 10);
	if (!used(m->ever, m->never, id))
		m->ever[m->never++] = id;
	return x;
}

static bool
put_enqueue(struct model *m, struct span payload, int64_t ms)
{
	struct queue_enqueue e;
	struct mmsg *x;

	assert_int_equal(queue_enqueue_get(payload, &e), PARSE_OK);
	if (of(m, e.id) != NULL)
		return false;
	x = new_msg(m, e.id, e.trace);
	x->created = x->next = ms;
	for (unsigned i = 0; i < e.nrcpts; i++)
		x->is[i] = true;
	return true;
}

static bool
put_adopt(struct model *m, struct span payload)
{
	struct queue_adopt_rcpt r;
	struct queue_adopt a;
	char address[64];
	struct mmsg *x;

	assert_int_equal(queue_adopt_get(payload, &a), PARSE_OK);
	if (of(m, a.id) != NULL)
		return false;
	x = new_msg(m, a.id, a.trace);
	x->created = a.created_ms;
	x->next = a.next_ms;
	x->attempts = a.attempts;
	x->held = a.held;
	x->warned = a.warned;
	for (unsigned i = 0; i < a.nrcpts; i++) {
		queue_adopt_next(&a.rcpts, &r);
		address_of(x->name, r.index, address, sizeof(address));
		assert_string_equal(r.address, address);
		x->is[r.index] = true;
		x->failed[r.index] = r.failed;
	}
	m->adopted[m->nadopted++] = a.id;
	return true;
}

static bool
put_result(struct model *m, struct span payload)
{
	struct queue_result r;
	struct wire_in list;
	struct mmsg *x;
	int64_t next;
	uint64_t id;
	uint16_t n;

	assert_int_equal(queue_result_get(payload, &id, &next, &n, &list), PARSE_OK);
	if ((x = of(m, id)) == NULL)
		return false;
	x->attempts++;
	x->next = next;
	while (n-- > 0) {
		queue_result_next(&list, &r);
		if (!x->is[r.rcpt])
			return false;
		if (r.outcome == QUEUE_DONE) {
			x->is[r.rcpt] = false;
			m->fate[x->name][r.rcpt] = DELIVERED;
		} else if (r.outcome == QUEUE_FAIL)
			x->failed[r.rcpt] = true;
	}
	finish(x);
	return true;
}

static bool
put_reported(struct model *m, struct span payload)
{
	struct wire_in list;
	struct mmsg *x;
	uint64_t id;
	uint16_t n, i;

	assert_int_equal(queue_reported_get(payload, &id, &n, &list), PARSE_OK);
	if ((x = of(m, id)) == NULL)
		return false;
	if (n == 0)
		x->warned = true;
	while (n-- > 0) {
		i = wire_get_u16(&list);
		if (!x->is[i] || !x->failed[i])
			return false;
		x->is[i] = false;
		m->fate[x->name][i] = BOUNCED;
	}
	finish(x);
	return true;
}

static bool
put_operator(struct model *m, uint8_t type, struct span payload)
{
	uint64_t id = wire_load64(payload.p);
	bool any_one = false;

	for (unsigned i = 0; i < m->nmsgs; i++) {
		struct mmsg *x = &m->msg[i];

		if (!x->here || (id != 0 && x->id != id))
			continue;
		any_one = true;
		if (type == QUEUE_HOLD || (type == QUEUE_RELEASE && x->held))
			x->held = type == QUEUE_HOLD;
		if (type != QUEUE_DELETE)
			continue;
		for (unsigned j = 0; j < RCPTS; j++)
			if (x->is[j])
				m->fate[x->name][j] = REMOVED;
		x->here = false;
	}
	return any_one;
}

static bool
put(struct model *m, uint8_t type, struct span payload, int64_t ms)
{
	assert_true(m->nrecs < RECORDS);
	m->rec[m->nrecs++] = (struct mrec){ type, mem_copy(payload.p, payload.len), payload.len, ms };
	switch (type) {
	case QUEUE_BLOB:
		return true;
	case QUEUE_ENQUEUE:
		return put_enqueue(m, payload, ms);
	case QUEUE_ADOPT:
		return put_adopt(m, payload);
	case QUEUE_RESULT:
		return put_result(m, payload);
	case QUEUE_REPORTED:
		return put_reported(m, payload);
	default:
		return put_operator(m, type, payload);
	}
}

static void
forget(struct model *m, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(m->rec[i].p);
	m->nrecs -= n;
	memmove(m->rec, m->rec + n, m->nrecs * sizeof(*m->rec));
}

/* ---- what happens to a queue ------------------------------------------------ */

static uint64_t
new_id(const struct model *m)
{
	uint64_t id;

	do
		id = 1 + any(ids);
	while (used(m->ever, m->never, id));
	return id;
}

static void
do_enqueue(struct model *m)
{
	struct queue_enqueue e = { .id = new_id(m), .size = 1, .sender = "me@our.test",
		.nrcpts = (uint16_t)(1 + any(RCPTS)) };
	char address[RCPTS][64];
	const char *list[RCPTS];
	struct wire_out w;

	assert_true(names < NAMES);
	snprintf(e.trace, sizeof(e.trace), "%u", names);
	for (unsigned i = 0; i < RCPTS; i++) {
		address_of(names, i, address[i], sizeof(address[i]));
		list[i] = address[i];
	}
	names++;
	wire_out_init(&w);
	queue_enqueue_put(&w, &e, list);
	wire_put_u8(&w, 'x');
	put(m, QUEUE_ENQUEUE, wire_out_span(&w), ++clock_now);
	wire_out_clear(&w);
}

static void
do_attempt(struct model *m, struct mmsg *x, bool all)
{
	struct queue_result r[RCPTS];
	struct wire_out w;
	uint16_t n = 0;

	for (unsigned i = 0; i < RCPTS; i++)
		if (x->is[i] && !x->failed[i] && (all || any(3) != 0))
			r[n++] = (struct queue_result){ (uint16_t)i,
				all ? QUEUE_DONE : (enum queue_outcome)(1 + any(3)), "x" };
	if (n == 0)
		return;
	wire_out_init(&w);
	queue_result_put(&w, x->id, ++clock_now, r, n);
	put(m, QUEUE_RESULT, wire_out_span(&w), clock_now);
	wire_out_clear(&w);
}

static void
do_report(struct model *m, struct mmsg *x)
{
	uint16_t list[RCPTS], n = 0;
	struct wire_out w;

	for (unsigned i = 0; i < RCPTS; i++)
		if (x->is[i] && x->failed[i])
			list[n++] = (uint16_t)i;
	wire_out_init(&w);
	queue_reported_put(&w, x->id, list, n);	/* none: warned */
	put(m, QUEUE_REPORTED, wire_out_span(&w), ++clock_now);
	wire_out_clear(&w);
}

static void
do_number(struct model *m, uint8_t type, uint64_t id)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, id);
	put(m, type, wire_out_span(&w), ++clock_now);
	wire_out_clear(&w);
}

/* Pieces of a message that never came, swept later; the other side may have the id. */
static void
do_sweep(struct model *m)
{
	uint64_t id = new_id(m);
	struct wire_out w;

	wire_out_init(&w);
	queue_blob_put(&w, id, 0);
	wire_put_u8(&w, 'x');
	put(m, QUEUE_BLOB, wire_out_span(&w), ++clock_now);
	wire_out_clear(&w);
	do_number(m, QUEUE_DELETE, id);
}

static void
act(struct model *m)
{
	struct mmsg *x = m->nmsgs > 0 ? &m->msg[any(m->nmsgs)] : NULL;
	unsigned what = any(16);

	if (what < 5 || x == NULL || !x->here)
		do_enqueue(m);
	else if (what < 10)
		do_attempt(m, x, false);
	else if (what < 12)
		do_report(m, x);
	else if (what == 12)
		do_number(m, QUEUE_HOLD, any(8) == 0 ? 0 : x->id);
	else if (what == 13)
		do_number(m, QUEUE_RELEASE, any(8) == 0 ? 0 : x->id);
	else if (what == 14)
		do_number(m, any(2) == 0 ? QUEUE_DELETE : QUEUE_RETRY, x->id);
	else
		do_sweep(m);
}

/* ---- the merge ------------------------------------------------------------------ */

static void
side_of(const struct model *m, struct merge_queue_side *s, bool whole)
{
	char address[64], trace[16];

	merge_queue_init(s, whole);
	for (unsigned i = 0; i < m->nmsgs; i++) {
		const struct mmsg *x = &m->msg[i];
		struct merge_queue_msg *o;

		if (!x->here)
			continue;
		o = merge_queue_msg(s, x->id);
		o->here = true;
		snprintf(trace, sizeof(trace), "%u", x->name);
		o->trace = mem_dup(trace);
		o->sender = mem_dup("me@our.test");
		o->size = 1;
		o->created_ms = x->created;
		o->next_ms = x->next;
		o->attempts = x->attempts;
		o->held = x->held;
		o->warned = x->warned;
		for (unsigned j = RCPTS; j-- > 0;) {
			address_of(x->name, j, address, sizeof(address));
			if (x->is[j])
				merge_queue_rcpt(o, (uint16_t)j, x->failed[j], address, "why");
		}
	}
	for (unsigned i = 0; i < m->nadopted; i++)
		merge_queue_adopted(s, m->adopted[i]);
	for (unsigned i = 0; i < m->nrecs; i++)
		assert_true(merge_queue_record(s, m->rec[i].type,
		    (struct span){ m->rec[i].p, m->rec[i].n }, m->rec[i].ms));
}

static enum queue_record
payload(const struct merge_queue_op *op, struct wire_out *w)
{
	struct queue_adopt a = { .id = op->id, .nrcpts = (uint16_t)op->n };

	if (op->verb != MERGE_QUEUE_ADOPT)
		return merge_queue_payload(op, w);
	a.size = op->msg->size;
	a.created_ms = op->msg->created_ms;
	a.next_ms = op->msg->next_ms;
	a.attempts = op->msg->attempts;
	a.held = op->msg->held;
	a.warned = op->msg->warned;
	snprintf(a.trace, sizeof(a.trace), "%s", op->msg->trace);
	snprintf(a.sender, sizeof(a.sender), "%s", op->msg->sender);
	queue_adopt_put(w, &a);
	for (size_t i = 0; i < op->n; i++)
		queue_adopt_rcpt_put(w, op->rcpts[i]->index, op->rcpts[i]->failed,
		    op->rcpts[i]->address, op->rcpts[i]->reply);
	wire_put_u8(w, 'x');
	return QUEUE_ADOPT;
}

/* How many changes; each has an effect.  The fates of the model stay those of its own
 * side: what the merge finishes was not sent from here. */
static size_t
merge_into(struct model *w, const struct model *l, bool w_whole, bool l_whole)
{
	struct merge_queue_side a, b;
	struct model *before = mem_copy(w, sizeof(*w));
	struct merge_queue m;
	struct wire_out body;
	size_t n;

	side_of(w, &a, w_whole);
	side_of(l, &b, l_whole);
	merge_queue(&m, &a, &b);
	for (size_t i = 0; i < m.nops; i++) {
		enum queue_record type;

		wire_out_init(&body);
		type = payload(&m.ops[i], &body);
		if (getenv("MERGE_SAY") != NULL)
			print_message("  verb %d id %llu n %zu\n", m.ops[i].verb,
			    (unsigned long long)m.ops[i].id, m.ops[i].n);
		if (!put(w, (uint8_t)type, wire_out_span(&body), ++clock_now))
			fail_msg("op %zu verb %d id %llu had no effect", i, m.ops[i].verb,
			    (unsigned long long)m.ops[i].id);
		wire_out_clear(&body);
	}
	memcpy(w->fate, before->fate, sizeof(w->fate));
	n = m.nops;
	merge_queue_free(&m);
	merge_queue_clear(&a);
	merge_queue_clear(&b);
	free(before);
	return n;
}

/* ---- what has to hold -------------------------------------------------------------- */

static const struct mmsg *
named(const struct model *m, unsigned name, unsigned i)
{
	const struct mmsg *found = NULL;

	for (unsigned j = 0; j < m->nmsgs; j++)
		if (m->msg[j].here && m->msg[j].name == name && m->msg[j].is[i]) {
			assert_null(found);	/* twice in one queue */
			found = &m->msg[j];
		}
	return found;
}

static void
check(const struct model *w, const struct model *l, const struct model *r, bool w_whole,
    bool l_whole)
{
	for (unsigned name = 0; name < names; name++)
		for (unsigned i = 0; i < RCPTS; i++) {
			const struct mmsg *a = named(w, name, i), *b = named(l, name, i);
			const struct mmsg *is = named(r, name, i);
			bool ended = w->fate[name][i] != NONE || l->fate[name][i] != NONE;

			if (a == NULL && b == NULL)
				assert_null(is);
			else if ((w->fate[name][i] != NONE && (w_whole || l_whole)) ||
			    (l->fate[name][i] != NONE && l_whole))
				assert_null(is);	/* never again */
			else if (!ended) {
				assert_non_null(is);	/* never lost */
				assert_int_equal(is->failed[i], (a != NULL && a->failed[i]) ||
				    (b != NULL && b->failed[i]));
				assert_int_equal(is->warned, (a != NULL && a->warned) ||
				    (b != NULL && b->warned));
				assert_int_equal(is->created, a != NULL ? a->created : b->created);
				if (a != NULL)
					assert_int_equal(is->next, a->next);
				else
					assert_true(is->next == b->next && is->held == b->held &&
					    is->attempts == b->attempts);
			}
		}
}

static void
copy(struct model *to, const struct model *from)
{
	*to = *from;
	for (unsigned i = 0; i < to->nrecs; i++)
		to->rec[i].p = mem_copy(from->rec[i].p, from->rec[i].n);
}

static void
deliver_all(struct model *m)
{
	unsigned n = m->nmsgs;

	for (unsigned i = 0; i < n; i++)
		if (m->msg[i].here) {
			do_attempt(m, &m->msg[i], true);
			if (m->msg[i].here)
				do_report(m, &m->msg[i]);
		}
}

static void
one_pair(bool w_whole, bool l_whole)
{
	static struct model base, w, l, r;
	unsigned n;

	memset(&base, 0, sizeof(base));
	names = 0;
	/* Few, so that two sides choose the same.  A side that has forgotten which message an
	 * id was of cannot tell them apart. */
	ids = w_whole && l_whole ? 60 : 1u << 30;
	for (n = any(12); n > 0; n--)
		act(&base);
	forget(&base, base.nrecs);
	copy(&w, &base);
	copy(&l, &base);
	for (n = any(15); n > 0; n--)
		act(&w);
	for (n = any(15); n > 0; n--)
		act(&l);
	if (!w_whole)
		forget(&w, any(w.nrecs + 1));
	if (!l_whole)
		forget(&l, any(l.nrecs + 1));
	copy(&r, &w);
	merge_into(&r, &l, w_whole, l_whole);
	check(&w, &l, &r, w_whole, l_whole);
	if (w_whole || l_whole)
		assert_int_equal(merge_into(&r, &l, w_whole, l_whole), 0);
	if (w_whole && l_whole) {
		deliver_all(&r);
		assert_int_equal(merge_into(&r, &l, true, true), 0);
		forget(&r, r.nrecs);	/* the log was trimmed since */
		assert_int_equal(merge_into(&r, &l, false, true), 0);
	}
	forget(&w, w.nrecs);
	forget(&l, l.nrecs);
	forget(&r, r.nrecs);
}

static unsigned long
number(const char *name, unsigned long otherwise)
{
	const char *v = getenv(name);

	return v != NULL ? strtoul(v, NULL, 10) : otherwise;
}

static void
random_pairs(void **unused)
{
	unsigned long n = number("MERGE_PAIRS", 4000), seed = number("MERGE_SEED", 1);

	(void)unused;
	for (unsigned long i = 0; i < n; i++) {
		state = (seed + i) * 0x9e3779b97f4a7c15ull | 1;
		for (int j = 0; j < 8; j++)
			any(2);
		if (getenv("MERGE_SAY") != NULL)
			print_message("seed %lu\n", seed + i);
		one_pair(any(8) != 0, any(8) != 0);
	}
	print_message("pairs=%lu seed=%lu\n", n, seed);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_pairs),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
