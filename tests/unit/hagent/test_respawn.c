/* test_respawn.c - helpers are started again, give up when they say so, and end with us.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "fs.h"
#include "respawn.h"

#define LIMIT_MS 10000

static char dir[] = "/tmp/test_respawn.XXXXXX";

struct seen {
	struct exec_helper last;
	unsigned runs, waits, off, enough, ended;
};

static void
on_changed(void *arg, uint16_t helper, const struct exec_helper *h)
{
	struct seen *s = arg;

	(void)helper;
	s->last = *h;
	s->runs += h->state == HELPER_RUNS;
	s->waits += h->state == HELPER_WAITS;
	s->off += h->state == HELPER_OFF;
	s->enough += h->state == HELPER_ENOUGH;
}

static void
on_ended(void *arg)
{
	((struct seen *)arg)->ended++;
}

static const struct respawn_ops ops = {on_changed, on_ended};

static struct hagent_conf
conf_of(const char *text, bool active_only)
{
	struct hagent_conf c = {.cluster = "c", .node = {"n1", "n2"}, .nrespawns = 1};

	c.respawns[0] = (struct respawn_conf){.name = "h",
	    .command = {"/bin/sh", "-c", (char *)(uintptr_t)text, NULL},
	    .user = "",
	    .active_only = active_only,
	    .delay_ms = 20,
	    .delay_max_ms = 80};
	return c;
}

/* Turns the loop until *counter has reached n, or for ms when counter is NULL. */
static void
turn(struct event_base *base, struct respawns *rs, const unsigned *counter, unsigned n,
    int ms)
{
	int64_t until = clock_ms() + ms;
	struct timeval tick = {0, 5000};
	pid_t pid;
	int st;

	while ((counter == NULL || *counter < n) && clock_ms() < until) {
		event_base_loopexit(base, &tick);
		event_base_dispatch(base);
		while ((pid = waitpid(-1, &st, WNOHANG)) > 0)
			assert_true(respawns_reaped(rs, pid, st));
	}
	if (counter != NULL)
		assert_true(*counter >= n);
}

static void
again_and_again(void **state)
{
	struct hagent_conf c = conf_of(
	    "echo \"$MAILPAIR_HELPER of $MAILPAIR_NODE $HOME\" >&2; exit 3", false);
	struct event_base *base = event_base_new();
	struct seen s = {.ended = 0};
	struct respawns *rs = respawns_new(base, &c, &ops, &s);
	int64_t began = clock_ms();

	(void)state;
	turn(base, rs, &s.waits, 4, LIMIT_MS);
	/* 20 + 40 + 80 between the four ends. */
	assert_true(clock_ms() - began >= 140);
	assert_int_equal(s.last.starts, 4);
	assert_string_equal(s.last.words, "h of n1 ");
	respawns_stop(rs);
	assert_int_equal(s.ended, 1);
	turn(base, rs, NULL, 0, 150);
	assert_int_equal(s.last.starts, 4);
	assert_int_equal(s.last.state, HELPER_OFF);
	respawns_free(rs);
	event_base_free(base);
}

static void
enough(void **state)
{
	struct hagent_conf c = conf_of("exit 100", true);
	struct event_base *base = event_base_new();
	struct seen s = {.ended = 0};
	struct respawns *rs = respawns_new(base, &c, &ops, &s);

	(void)state;
	turn(base, rs, NULL, 0, 50);
	assert_int_equal(s.runs, 0);
	for (unsigned i = 1; i <= 2; i++) {
		respawns_active(rs, true);
		turn(base, rs, &s.enough, i, LIMIT_MS);
		turn(base, rs, NULL, 0, 150);
		assert_int_equal(s.last.state, HELPER_ENOUGH);
		assert_int_equal(s.runs, i);
		respawns_active(rs, false); /* what it said counts for this time only */
	}
	respawns_stop(rs);
	assert_int_equal(s.ended, 1);
	respawns_free(rs);
	event_base_free(base);
}

static void
with_the_role(void **state)
{
	struct hagent_conf c = conf_of("exec sleep 1000", true);
	struct event_base *base = event_base_new();
	struct seen s = {.ended = 0};
	struct respawns *rs = respawns_new(base, &c, &ops, &s);

	(void)state;
	respawns_active(rs, true);
	assert_int_equal(s.runs, 1);
	/* Off and on before it has ended: it is started once more, without a pause. */
	respawns_active(rs, false);
	respawns_active(rs, true);
	turn(base, rs, &s.runs, 2, LIMIT_MS);
	assert_int_equal(s.waits, 0);
	respawns_active(rs, false);
	turn(base, rs, &s.off, 1, LIMIT_MS);
	respawns_active(rs, true);
	respawns_stop(rs);
	assert_int_equal(s.ended, 0); /* not before it has ended */
	turn(base, rs, &s.ended, 1, LIMIT_MS);
	assert_int_equal(s.last.state, HELPER_OFF);
	respawns_free(rs);
	event_base_free(base);
}

/* Who ignores TERM is killed. */
static void
stubborn(void **state)
{
	struct hagent_conf c =
	    conf_of("trap '' TERM; : >$0/up; while :; do sleep 1; done", false);
	struct event_base *base = event_base_new();
	struct seen s = {.ended = 0};
	struct respawns *rs;
	char up[64];
	int64_t until = clock_ms() + LIMIT_MS;

	(void)state;
	c.respawns[0].command[3] = dir;
	rs = respawns_new(base, &c, &ops, &s);
	snprintf(up, sizeof(up), "%s/up", dir);
	while (access(up, F_OK) == -1 && clock_ms() < until)
		turn(base, rs, NULL, 0, 10);
	respawns_stop(rs);
	turn(base, rs, &s.ended, 1, LIMIT_MS);
	respawns_free(rs);
	event_base_free(base);
}

static void
as_a_user(void **state)
{
	struct hagent_conf c = conf_of("id -un >&2; exit 100", false);
	struct event_base *base = event_base_new();
	struct seen s = {.ended = 0};
	struct respawns *rs;

	(void)state;
	c.respawns[0].user = "nobody";
	rs = respawns_new(base, &c, &ops, &s);
	turn(base, rs, &s.enough, 1, LIMIT_MS);
	assert_string_equal(s.last.words, "nobody");
	respawns_stop(rs);
	respawns_free(rs);
	event_base_free(base);
}

static int
make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) == NULL;
}

static int
remove_dir(void **state)
{
	(void)state;
	return fs_remove_tree(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(again_and_again),
	    cmocka_unit_test(enough), cmocka_unit_test(with_the_role),
	    cmocka_unit_test(stubborn), cmocka_unit_test(as_a_user)};

	return geteuid() == 0 ? cmocka_run_group_tests(tests, make_dir, remove_dir) : 0;
}
