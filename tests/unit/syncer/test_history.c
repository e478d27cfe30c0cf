/* test_history.c - where two logs part, as a table; and which tails may be cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "history.h"

/* "no:start:kind ..." with the number as id; kinds as letters */
struct side {
	struct { uint64_t no, start; enum gen_kind kind; } g[4];
	uint64_t oldest, tip;
};

static void
build(const struct side *s, struct history *h)
{
	memset(h, 0, sizeof(*h));
	for (size_t i = 0; i < 4 && s->g[i].no != 0; i++) {
		struct gen g = { .no = s->g[i].no, .start_lsn = s->g[i].start,
			.kind = (uint8_t)s->g[i].kind };

		g.id[0] = (uint8_t)g.no;
		history_add(h, &g);
	}
}

static const struct {
	const char *name;
	struct side a, b;
	bool common;
	uint64_t lo, hi;
} commons[] = {
	{ "both empty", { .oldest = 1 }, { .oldest = 1 }, true, 0, 0 },
	{ "new standby", { { { 2, 1, GEN_CLEAN } }, 1, 10 }, { .oldest = 1 }, true, 0, 0 },
	{ "behind in the same", { { { 2, 1, GEN_CLEAN } }, 1, 10 },
	    { { { 2, 1, GEN_CLEAN } }, 1, 7 }, true, 0, 7 },
	{ "taken over", { { { 2, 1, GEN_CLEAN }, { 3, 8, GEN_PRESUMED } }, 1, 20 },
	    { { { 2, 1, GEN_CLEAN } }, 1, 12 }, true, 0, 7 },
	{ "newer on both", { { { 2, 1, GEN_CLEAN }, { 3, 8, GEN_PRESUMED } }, 1, 20 },
	    { { { 2, 1, GEN_CLEAN }, { 4, 10, GEN_SOLO } }, 1, 12 }, true, 0, 7 },
	{ "one more common", { { { 2, 1, GEN_CLEAN }, { 4, 5, GEN_JOIN } }, 1, 20 },
	    { { { 2, 1, GEN_CLEAN }, { 4, 5, GEN_JOIN } }, 1, 20 }, true, 4, 20 },
	{ "strangers", { { { 2, 1, GEN_CLEAN } }, 1, 9 }, { { { 3, 1, GEN_CLEAN } }, 1, 9 }, true,
	    0, 0 },
	{ "strangers, trimmed", { { { 2, 1, GEN_CLEAN } }, 5, 9 },
	    { { { 3, 1, GEN_CLEAN } }, 1, 9 }, false, 0, 0 },
	{ "trimmed, empty peer", { { { 2, 1, GEN_CLEAN } }, 5, 9 }, { .oldest = 1 }, true, 0, 0 },
};

static void
test_common(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(commons) / sizeof(commons[0]); i++) {
		struct history ha, hb;
		struct history_log a = { &ha, commons[i].a.oldest, commons[i].a.tip };
		struct history_log b = { &hb, commons[i].b.oldest, commons[i].b.tip };
		uint64_t lo = 99, hi = 99;

		build(&commons[i].a, &ha);
		build(&commons[i].b, &hb);
		for (int turn = 0; turn < 2; turn++) {
			bool ok = turn == 0 ? history_common(&a, &b, &lo, &hi)
					    : history_common(&b, &a, &lo, &hi);

			if (ok != commons[i].common ||
			    (ok && (lo != commons[i].lo || hi != commons[i].hi)))
				fail_msg("%s turn %d: %d %llu %llu", commons[i].name, turn, ok,
				    (unsigned long long)lo, (unsigned long long)hi);
		}
	}
}

static const struct {
	const char *name;
	struct side log;
	uint64_t fork, committed;
	bool data;
	enum history_tail want;
} tails[] = {
	{ "nothing", { { { 2, 1, GEN_JOIN } }, 1, 9 }, 9, 9, false, HISTORY_TAIL_NONE },
	{ "in step", { { { 2, 1, GEN_JOIN } }, 1, 9 }, 5, 5, true, HISTORY_TAIL_UNACKED },
	{ "committed", { { { 2, 1, GEN_JOIN } }, 1, 9 }, 5, 6, true, HISTORY_TAIL_ACKED },
	{ "alone", { { { 2, 1, GEN_SOLO } }, 1, 9 }, 5, 0, true, HISTORY_TAIL_ACKED },
	{ "settled alone", { { { 2, 1, GEN_JOIN }, { 4, 8, GEN_SOLO } }, 1, 8 }, 5, 5, true,
	    HISTORY_TAIL_ACKED },
	{ "only a generation", { { { 2, 1, GEN_JOIN }, { 4, 8, GEN_SOLO } }, 1, 8 }, 7, 7, false,
	    HISTORY_TAIL_UNACKED },
	{ "fork at an alone start", { { { 2, 1, GEN_JOIN }, { 4, 8, GEN_SOLO } }, 1, 9 }, 7, 7,
	    true, HISTORY_TAIL_ACKED },
	{ "unknown past", { { { 2, 50, GEN_JOIN } }, 1, 60 }, 10, 0, true, HISTORY_TAIL_ACKED },
};

static void
test_tail(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
		struct history h;

		build(&tails[i].log, &h);
		if (history_tail(&h, tails[i].fork, tails[i].log.tip, tails[i].committed,
			tails[i].data) != tails[i].want)
			fail_msg("%s", tails[i].name);
	}
}

static void
test_wire(void **state)
{
	struct history h = { .n = 0 }, back;
	struct wire_out w;
	struct wire_in in;

	(void)state;
	for (uint64_t i = 1; i <= HISTORY_MAX + 10; i++) {
		struct gen g = { .no = i, .start_lsn = i * 10 };

		history_add(&h, &g);
	}
	assert_int_equal(h.n, HISTORY_MAX);
	assert_int_equal(h.gen[0].no, 11);
	wire_out_init(&w);
	history_put(&w, &h);
	wire_in_init(&in, w.p, w.len);
	history_get(&in, &back);
	assert_true(wire_in_done(&in));
	assert_int_equal(back.n, h.n);
	assert_int_equal(history_last(&back).no, HISTORY_MAX + 10);
	for (size_t n = 0; n < w.len; n++) {
		wire_in_init(&in, w.p, n);
		history_get(&in, &back);
		assert_false(wire_in_ok(&in));
	}
	wire_out_clear(&w);
	history_cut(&h, 500);
	assert_int_equal(history_last(&h).no, 50);
	assert_int_equal(history_at(&h, 305)->no, 30);
	assert_null(history_at(&h, 100));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_common),
		cmocka_unit_test(test_tail),
		cmocka_unit_test(test_wire),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
