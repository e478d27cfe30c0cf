/* test_notify.c - the notify script: order, one at a time, hostile texts, the limits. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "clock.h"
#include "eventlog.h"
#include "fs.h"
#include "notify.h"

/* Below a folder that only root may write to, as the real ones. */
static char dir[64], script[96], out[96];
static struct event_base *base;
static struct notify *n;
static struct hagent_conf conf;

static int
setup(void **state)
{
	(void)state;
	strncpy(dir, "/var/lib/test_notify.XXXXXX", sizeof(dir) - 1);
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(script, sizeof(script), "%s/s", dir);
	snprintf(out, sizeof(out), "%s/out", dir);
	memset(&conf, 0, sizeof(conf));
	conf.notify = script;
	conf.notify_timeout_ms = 5000;
	conf.notify_max = 1000;
	conf.cluster = (char *)"c.example";
	conf.node[0] = (char *)"ha-1";
	base = event_base_new();
	n = notify_new(base, &conf);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	notify_free(n);
	event_base_free(base);
	return fs_remove_tree(dir);
}

static void
put(const char *body)
{
	char text[1000];

	snprintf(text, sizeof(text), "#!/bin/sh\n%s\n", body);
	assert_int_equal(fs_replace(dir, "s", text, strlen(text), 0755), 0);
}

static int
tell(uint8_t kind, const char *text)
{
	struct wire_out w;
	struct wire_in in;
	int rc;

	wire_out_init(&w);
	wire_put_u8(&w, kind);
	wire_put_u64(&w, 1000);
	wire_put_u64(&w, 7);
	wire_put_str(&w, "active");
	wire_put_str(&w, text);
	wire_in_init(&in, w.p, w.len);
	rc = notify_take(n, &in);
	wire_out_clear(&w);
	return rc;
}

/* Turns until so many scripts have ended, or for limit ms; how many did. */
static int
ended(int count, int limit_ms)
{
	int64_t until = clock_ms() + limit_ms;
	int done = 0, st;
	pid_t pid;

	while (done < count && clock_ms() < until) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		while ((pid = waitpid(-1, &st, WNOHANG)) > 0)
			done += notify_reaped(n, pid, st);
		poll(NULL, 0, 2);
	}
	return done;
}

static const char *
written(void)
{
	static char text[4096];
	char *buf;
	size_t len;

	text[0] = '\0';
	if (fs_read(out, sizeof(text) - 1, &buf, &len) == 0) {
		memcpy(text, buf, len + 1);
		free(buf);
	}
	return text;
}

static void
variables(void **state)
{
	(void)state;
	put("echo \"$1|$#|$MAILPAIR_EVENT|$MAILPAIR_TEXT|$MAILPAIR_TIME|$MAILPAIR_EPOCH|"
	    "$MAILPAIR_ROLE|$MAILPAIR_NODE|$MAILPAIR_CLUSTER|$MAILPAIR_MISSED\" >>${0%/*}/out");
	assert_int_equal(tell(EVENTLOG_ALARM, "links on: a link is silent"), 0);
	assert_int_equal(tell(EVENTLOG_ROLE, "$(touch /tmp/x) `id` ; \"quoted\"\n\033[2J\xff"), 0);
	assert_int_equal(ended(2, 10000), 2);
	assert_string_equal(written(),
	    "alarm|1|alarm|links on: a link is silent|1970-01-01T00:00:01Z|7|active|ha-1|c.example|0\n"
	    "role|1|role|$(touch /tmp/x) `id` ; \"quoted\"??[2J?|1970-01-01T00:00:01Z|7|active|ha-1|"
	    "c.example|0\n");
}

static void
one_at_a_time(void **state)
{
	char text[8], expected[400] = "";

	(void)state;
	/* mkdir fails when another one is running. */
	put("mkdir ${0%/*}/lock || exit 1\necho $MAILPAIR_TEXT >>${0%/*}/out\nrmdir ${0%/*}/lock");
	for (int i = 0; i < 20; i++) {
		snprintf(text, sizeof(text), "%d", i);
		strncat(strncat(expected, text, 8), "\n", 2);
		assert_int_equal(tell(EVENTLOG_PEER, text), 0);
	}
	assert_int_equal(ended(20, 20000), 20);
	assert_string_equal(written(), expected);
}

static void
what_finds_no_room(void **state)
{
	(void)state;
	put("[ -e ${0%/*}/go ] || sleep 0.3\necho $MAILPAIR_TEXT $MAILPAIR_MISSED >>${0%/*}/out");
	for (int i = 0; i < 40; i++)
		tell(EVENTLOG_PEER, "x");
	assert_int_equal(fs_replace(dir, "go", "", 0, 0644), 0);
	/* One runs, 32 wait; the next to run is told of the seven others. */
	assert_int_equal(ended(33, 20000), 33);
	assert_int_equal(ended(1, 100), 0);
	assert_memory_equal(written(), "x 0\nx 7\nx 0\n", 12);
}

static void
so_many_in_a_minute(void **state)
{
	(void)state;
	conf.notify_max = 3;
	put("echo >>${0%/*}/out");
	for (int i = 0; i < 5; i++)
		tell(EVENTLOG_PEER, "x");
	assert_int_equal(ended(5, 500), 3);
	assert_string_equal(written(), "\n\n\n");
}

static void
a_hanging_script(void **state)
{
	(void)state;
	conf.notify_timeout_ms = 100;
	put("[ $MAILPAIR_TEXT = ok ] && { echo ok >>${0%/*}/out; exit 0; }\nexec sleep 60");
	tell(EVENTLOG_PEER, "hang");
	tell(EVENTLOG_PEER, "ok");
	assert_int_equal(ended(2, 10000), 2);
	assert_string_equal(written(), "ok\n");
}

static void
refused(void **state)
{
	struct wire_in in;

	(void)state;
	put("echo run >>${0%/*}/out");
	wire_in_init(&in, "\1short", 6);
	assert_int_equal(notify_take(n, &in), -1);
	assert_int_equal(tell(EVENTLOG_KINDS, "x"), -1);
	/* Not trusted any more: not run. */
	assert_int_equal(chmod(script, 0777), 0);
	assert_int_equal(tell(EVENTLOG_PEER, "x"), 0);
	assert_int_equal(ended(1, 300), 0);
	/* And the next one is tried again. */
	assert_int_equal(chmod(script, 0755), 0);
	assert_int_equal(tell(EVENTLOG_PEER, "x"), 0);
	assert_int_equal(ended(1, 5000), 1);
	assert_string_equal(written(), "run\n");
	conf.notify = (char *)"";
	assert_int_equal(tell(EVENTLOG_PEER, "x"), 0);
	assert_int_equal(ended(1, 100), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(variables, setup, teardown),
		cmocka_unit_test_setup_teardown(one_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(what_finds_no_room, setup, teardown),
		cmocka_unit_test_setup_teardown(so_many_in_a_minute, setup, teardown),
		cmocka_unit_test_setup_teardown(a_hanging_script, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
