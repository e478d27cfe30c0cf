/* test_peer.c - the peer's view: silence, one-way links, the nonce handshake,
 * recorded traffic in all its forms, order over links, lateness and loss. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "peer.h"

static struct peer a, b;	/* node 0 and 1, with two links each */
static bool disk_fails;		/* no new boot becomes durable */

static void
boot(struct peer *p, uint8_t node, uint32_t n, uint32_t peer_boot, int64_t now)
{
	uint8_t nonce[16];

	memset(nonce, (int)(node * 100 + n), sizeof(nonce));
	peer_init(p, node, n, nonce, peer_boot, now);
	assert_int_equal(peer_add_link(p, 250, 1000, 2000), 0);
	assert_int_equal(peer_add_link(p, 500, 1000, 2000), 1);
}

static int
setup(void **state)
{
	(void)state;
	disk_fails = false;
	boot(&a, 0, 1, 0, 0);
	boot(&b, 1, 1, 0, 0);
	return 0;
}

static enum frame_rc
say(struct peer *from, struct peer *to, unsigned link, int64_t now, struct frame *copy)
{
	struct frame f = { .role = 5 };

	peer_stamp(from, link, now, &f);
	f.gen = (uint64_t)now;
	if (copy != NULL)
		*copy = f;
	if (to != NULL && !disk_fails)
		peer_kept(to, f.boot);
	return to == NULL ? FRAME_OK : peer_accept(to, link, &f, now);
}

static struct peer_view
look(struct peer *p, int64_t now)
{
	struct peer_view v;

	peer_look(p, now, &v);
	return v;
}

/* a learns b's nonce, b echoes a's. */
static void
meet(int64_t now)
{
	assert_int_equal(say(&a, &b, 0, now, NULL), FRAME_OK);
	assert_int_equal(say(&b, &a, 0, now + 1, NULL), FRAME_OK);
	assert_int_equal(say(&a, &b, 0, now + 2, NULL), FRAME_OK);
}

static void
handshake(void **state)
{
	(void)state;
	assert_false(look(&a, 1999).silent);	/* has not listened long enough */
	assert_true(look(&a, 2001).silent);
	say(&a, &b, 0, 3000, NULL);
	/* b hears, but a has proved nothing yet */
	assert_false(look(&b, 3000).alive);
	assert_false(look(&b, 3000).silent);
	say(&b, &a, 0, 3001, NULL);
	assert_true(look(&a, 3001).alive);
	say(&a, &b, 0, 3002, NULL);
	assert_true(look(&b, 3002).alive);
	assert_int_equal(look(&b, 3002).f.gen, 3002);
	assert_false(look(&b, 5002).silent);
	assert_true(look(&b, 5003).silent);
	assert_false(look(&b, 5003).alive);
}

static void
one_way(void **state)
{
	struct peer_view v;

	(void)state;
	meet(100);
	/* From now on nothing of a reaches b; b goes on sending. */
	for (int64_t now = 250; now < 8000; now += 250) {
		say(&a, NULL, 0, now, NULL);
		say(&b, &a, 0, now, NULL);
	}
	v = look(&a, 8000);
	assert_false(v.alive);
	assert_false(v.silent);		/* so nobody may presume that b is gone */
	assert_int_equal(peer_link_state(&a, 0, 8000), PEER_LINK_ONE_WAY);
}

static void
replays(void **state)
{
	struct frame first, f, old;
	struct peer before;

	(void)state;
	say(&b, NULL, 0, 50, &first);
	meet(100);
	say(&b, &a, 0, 200, &f);
	before = a;
	assert_int_equal(peer_accept(&a, 0, &f, 201), FRAME_REPLAY);
	assert_int_equal(a.link[0].stat.refused[FRAME_REPLAY], 1);
	before.link[0].stat = a.link[0].stat;
	assert_memory_equal(&a, &before, sizeof(a));
	/* b restarts: what it said before is dead, on every link. */
	old = f;
	boot(&b, 1, 2, 1, 300);
	say(&b, &a, 0, 310, NULL);
	assert_false(look(&a, 310).alive);	/* until the new boot echoes us */
	old.seq += 1000;
	assert_int_equal(peer_accept(&a, 0, &old, 320), FRAME_OLD_BOOT);
	assert_int_equal(peer_accept(&a, 1, &old, 320), FRAME_OLD_BOOT);
	say(&a, &b, 0, 330, NULL);
	say(&b, &a, 0, 340, NULL);
	assert_true(look(&a, 340).alive);
	/* a restarts: the boot of b is known, but a frame from before proves nothing. */
	say(&b, NULL, 0, 350, &old);
	boot(&a, 0, 2, 2, 400);
	assert_int_equal(peer_accept(&a, 0, &old, 410), FRAME_OK);
	assert_false(look(&a, 410).alive);
	assert_false(look(&a, 410).have);
	old = first;
	assert_int_equal(peer_accept(&a, 0, &old, 420), FRAME_OLD_BOOT);
}

/* A boot that could not be written down breaks the silence, and commands nothing: our
 * next life would not know that its frames are old. */
static void
not_durable(void **state)
{
	(void)state;
	meet(100);
	boot(&b, 1, 2, 1, 1000);
	disk_fails = true;
	for (int64_t now = 1000; now < 9000; now += 250) {
		say(&a, &b, 0, now, NULL);
		assert_int_equal(say(&b, &a, 0, now + 10, NULL), FRAME_OK);
		assert_false(look(&a, now + 10).silent);
		assert_false(look(&a, now + 10).alive);
		assert_false(look(&a, now + 10).have);
	}
	disk_fails = false;
	say(&b, &a, 0, 9010, NULL);
	assert_true(look(&a, 9010).alive);
	assert_int_equal(look(&a, 9010).f.gen, 9010);
}

/* A frame that was held back for long is life, but its contents command nothing. */
static void
delayed(void **state)
{
	struct frame f;

	(void)state;
	meet(100);
	say(&b, NULL, 0, 200, &f);
	assert_int_equal(peer_accept(&a, 0, &f, 9000), FRAME_OK);
	assert_false(look(&a, 9000).alive);
	assert_int_equal(a.last.gen, 101);
}

static void
order(void **state)
{
	struct frame slow;

	(void)state;
	meet(100);
	say(&a, &b, 1, 150, NULL);
	say(&b, NULL, 1, 200, &slow);	/* on the serial line */
	say(&b, &a, 0, 210, NULL);
	assert_int_equal(look(&a, 210).f.gen, 210);
	assert_int_equal(peer_accept(&a, 1, &slow, 320), FRAME_OK);
	assert_int_equal(look(&a, 320).f.gen, 210);
	assert_int_equal(look(&a, 320).links_alive, 2);
}

static void
statistics(void **state)
{
	int64_t now = 1000;

	(void)state;
	meet(100);
	for (int i = 0; i < 200; i++, now += 250) {
		say(&a, &b, 0, now, NULL);
		if (i % 10 == 9)
			say(&b, NULL, 0, now, NULL);
		else
			say(&b, &a, 0, now + (i % 50 == 8 ? 100 : 0), NULL);
	}
	assert_int_equal(a.link[0].stat.lost, 19);	/* the last one is not missed yet */
	assert_int_equal(peer_late_ms(&a.link[0].stat, 50), 0);
	assert_true(peer_late_ms(&a.link[0].stat, 99) >= 64);
	assert_true(a.link[0].stat.late_max_ms >= 100);
}

/* A frame that was overtaken is not lost, and not late. */
static void
overtaken(void **state)
{
	struct frame f[4];

	(void)state;
	meet(100);
	for (int i = 0; i < 4; i++)
		say(&b, NULL, 0, 1000 + 250 * i, &f[i]);
	assert_int_equal(peer_accept(&a, 0, &f[0], 1000), FRAME_OK);
	assert_int_equal(peer_accept(&a, 0, &f[3], 1750), FRAME_OK);
	assert_int_equal(a.link[0].stat.lost, 2);
	assert_int_equal(peer_accept(&a, 0, &f[1], 1800), FRAME_OK);
	assert_int_equal(a.link[0].stat.lost, 1);
	assert_int_equal(peer_accept(&a, 0, &f[1], 1800), FRAME_REPLAY);
	assert_int_equal(a.link[0].stat.lost, 1);
	assert_int_equal(a.link[0].stat.refused[FRAME_REPLAY], 1);
}

/* Buckets and the highest one, as they are shown. */
static void
histogram(void **state)
{
	static const struct {
		uint32_t late[PEER_BUCKETS];
		int64_t max;
		unsigned percent;
		int64_t ms;
	} rows[] = {
		{ { 0 }, 0, 99, 0 },
		{ { 100 }, 0, 99, 0 },
		{ { 99, 1 }, 1, 99, 0 },
		{ { 98, 2 }, 1, 99, 1 },
		{ { 50, 0, 0, 50 }, 5, 50, 0 },
		{ { 50, 0, 0, 50 }, 5, 99, 5 },	/* of 4-7, but none was above 5 */
		{ { 50, 0, 0, 50 }, 7, 99, 7 },
		{ { [PEER_BUCKETS - 1] = 1 }, 90000, 50, 90000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct peer_link_stat s = { .late_max_ms = rows[i].max };

		memcpy(s.late, rows[i].late, sizeof(s.late));
		if (peer_late_ms(&s, rows[i].percent) != rows[i].ms)
			fail_msg("row %zu: %lld", i, (long long)peer_late_ms(&s, rows[i].percent));
	}
}

/* Nothing that is said of a link changes by time alone before the moment that is told,
 * and something does at it. */
static void
next_moment(void **state)
{
	int64_t now = 1000, next;

	(void)state;
	assert_int_equal(peer_next_ms(&a, 0), 2001);	/* from our start: silent */
	meet(100);
	for (int i = 0; i < 8; i++, now += 250) {
		say(&a, &b, 0, now, NULL);
		say(&b, &a, 0, now, NULL);
	}
	now -= 250;
	for (int changes = 0; (next = peer_next_ms(&a, now)) != INT64_MAX; changes++) {
		assert_true(next > now && changes < 10);
		for (unsigned l = 0; l < 2; l++)
			assert_int_equal(peer_link_state(&a, l, next - 1),
			    peer_link_state(&a, l, now));
		assert_int_equal(look(&a, next - 1).silent, look(&a, now).silent);
		assert_int_equal(look(&a, next - 1).links_alive, look(&a, now).links_alive);
		now = next;
	}
	assert_true(look(&a, now).silent);
	assert_int_equal(peer_link_state(&a, 0, now), PEER_LINK_DEAD);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup(handshake, setup),
		cmocka_unit_test_setup(one_way, setup), cmocka_unit_test_setup(replays, setup),
		cmocka_unit_test_setup(not_durable, setup),
		cmocka_unit_test_setup(delayed, setup), cmocka_unit_test_setup(order, setup),
		cmocka_unit_test_setup(statistics, setup),
		cmocka_unit_test_setup(overtaken, setup), cmocka_unit_test(histogram),
		cmocka_unit_test_setup(next_moment, setup) };

	return cmocka_run_group_tests_name("peer", tests, NULL, NULL);
}
