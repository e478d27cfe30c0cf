/* test_pace.c - when a disk is slow, and how far behind a standby is: pace.h, lag.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lag.h"
#include "pace.h"

/* Syncs of took ms, each begun gap ms after the one before had ended, until end; when it
 * was called slow first, or -1. */
static int64_t
play(struct pace *p, int64_t *now, int64_t end, int64_t took, int64_t gap)
{
	int64_t first = -1;

	while (*now < end) {
		pace_begin(p, *now);
		*now += took;
		pace_end(p, *now);
		*now += gap;
		if (pace_slow(p, *now) && first < 0)
			first = *now;
	}
	return first;
}

static void
a_slow_disk(void **state)
{
	struct pace p;
	int64_t now = 100000, first;

	(void)state;
	pace_init(&p, 1000, 10000);
	assert_int_equal(play(&p, &now, 130000, 5, 10), -1);
	first = play(&p, &now, 150000, 1200, 10);
	assert_in_range(first, 140000, 141500);		/* a whole window of it */
	now += 9000;
	assert_true(pace_slow(&p, now));
	assert_int_not_equal(play(&p, &now, now + 900, 5, 10), -1);	/* not over yet */
	(void)play(&p, &now, now + 2000, 5, 10);
	assert_false(pace_slow(&p, now));
}

/* However few syncs there are, single ones that take long are no slow disk. */
static void
hiccups(void **state)
{
	struct pace p;
	int64_t now = 100000;

	(void)state;
	pace_init(&p, 1000, 10000);
	assert_int_equal(play(&p, &now, 200000, 1500, 6000), -1);
	/* Half of the time is too much. */
	assert_int_not_equal(play(&p, &now, 300000, 3000, 2000), -1);
	/* At the limit is not above it. */
	pace_init(&p, 1000, 10000);
	assert_int_equal(play(&p, &now, 400000, 1000, 0), -1);
}

/* p99: one slow sync in a hundred is not more than one in a hundred. */
static void
a_share(void **state)
{
	struct pace p;
	int64_t now = 100000;

	(void)state;
	pace_init(&p, 1000, 10000);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(play(&p, &now, now + 1000, 1, 0), -1);
		assert_int_equal(play(&p, &now, now + 1, 5500, 0), -1);
	}
	for (int i = 0; i < 10; i++)
		if (play(&p, &now, now + 50, 1, 0) >= 0 || play(&p, &now, now + 1, 5500, 0) >= 0)
			return;
	fail_msg("one in fifty is not called slow");
}

static void
one_that_does_not_end(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p, 1000, 10000);
	pace_begin(&p, 100000);
	for (int64_t t = 100000; t < 110000; t += 50)
		assert_false(pace_slow(&p, t));
	assert_true(pace_slow(&p, 110000));
	pace_end(&p, 115000);
	assert_true(pace_slow(&p, 124000));
	assert_false(pace_slow(&p, 126000));
}

static void
lag(void **state)
{
	static struct lag l;
	uint64_t lsn = 0;

	(void)state;
	lag_init(&l);
	assert_int_equal(lag_bytes(&l), 0);
	for (int i = 0; i < 1000; i++)
		lag_appended(&l, ++lsn, 10000);
	assert_int_equal(lag_bytes(&l), 10000000);
	lag_acked(&l, 500);
	assert_in_range(lag_bytes(&l), 5000000, 5000000 + 2 * LAG_STEP);
	lag_acked(&l, lsn);
	assert_in_range(lag_bytes(&l), 0, 2 * LAG_STEP);
	lag_acked(&l, 100);			/* it came back with less */
	assert_in_range(lag_bytes(&l), 9000000, 9000000 + 2 * LAG_STEP);
	lag_acked(&l, 0);
	assert_int_equal(lag_bytes(&l), 10000000);
}

/* Older than the marks that are kept: at least what these count. */
static void
lag_of_old(void **state)
{
	static struct lag l;
	uint64_t lsn = 0;

	(void)state;
	lag_init(&l);
	for (int i = 0; i < 3 * LAG_MARKS; i++)
		lag_appended(&l, ++lsn, LAG_STEP);
	lag_acked(&l, 5);
	assert_int_equal(lag_bytes(&l), (uint64_t)(LAG_MARKS - 1) * LAG_STEP);
	lag_acked(&l, lsn - 10);
	assert_int_equal(lag_bytes(&l), 10 * LAG_STEP);
	lag_init(&l);
	assert_int_equal(lag_bytes(&l), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slow_disk),
		cmocka_unit_test(hiccups),
		cmocka_unit_test(a_share),
		cmocka_unit_test(one_that_does_not_end),
		cmocka_unit_test(lag),
		cmocka_unit_test(lag_of_old),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
