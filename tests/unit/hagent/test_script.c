/* test_script.c - ends, last words, time limits, and scripts that may not be run. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs.h"
#include "script.h"

/* Below a folder that only root may write to, as the real ones. */
static char dir[] = "/var/lib/test_script.XXXXXX";

struct end {
	struct exec_ran ran;
	unsigned calls;
};

static void
on_done(const struct exec_ran *ran, void *arg)
{
	struct end *e = arg;

	e->ran = *ran;
	e->calls++;
}

static void
put(const char *text)
{
	assert_int_equal(fs_replace(dir, "s", text, strlen(text), 0755), 0);
}

static struct exec_ran
run(int limit_ms)
{
	struct event_base *base = event_base_new();
	char path[128];
	char *argv[] = { path, "start", "one", NULL };
	char *env[] = { "PATH=/usr/bin:/bin", "MAILPAIR_RESOURCE=r", NULL };
	struct script_conf c = { .argv = argv, .env = env, .limit_ms = limit_ms };
	struct end e = { 0 };
	struct script *s;
	int st;

	snprintf(path, sizeof(path), "%s/s", dir);
	s = script_run(base, &c, on_done, &e);
	while (e.calls == 0) {
		pid_t pid = script_pid(s);

		event_base_loop(base, EVLOOP_NONBLOCK);
		if (e.calls == 0 && pid > 0 && waitpid(pid, &st, WNOHANG) == pid)
			script_reaped(s, st);
	}
	assert_int_equal(e.calls, 1);
	event_base_free(base);
	return e.ran;
}

static void
ends(void **state)
{
	struct exec_ran r;

	(void)state;
	put("#!/bin/sh\necho first >&2\necho \"$1 $2 $MAILPAIR_RESOURCE $HOME\" >&2\nexit 3\n");
	r = run(5000);
	assert_int_equal(r.outcome, RAN_EXIT);
	assert_int_equal(r.code, 3);
	assert_string_equal(r.words, "start one r ");
	r.stopped = 3;
	assert_int_equal(exec_ran_verdict(&r, EXEC_STATUS), 0);
	r.stopped = 7;
	assert_int_equal(exec_ran_verdict(&r, EXEC_STATUS), -1);
	assert_int_equal(exec_ran_verdict(&r, EXEC_START), -1);
	put("#!/bin/sh\nkill -9 $$\n");
	r = run(5000);
	assert_int_equal(r.outcome, RAN_SIGNAL);
	assert_int_equal(r.code, 9);
	put("no program at all");
	r = run(5000);
	assert_int_equal(exec_ran_verdict(&r, EXEC_START), -1);
}

static void
limits(void **state)
{
	struct exec_ran r;

	(void)state;
	put("#!/bin/sh\necho waiting >&2\nsleep 30\n");
	r = run(100);
	assert_int_equal(r.outcome, RAN_TIMEOUT);
	assert_in_range(r.ms, 90, 1900);
	assert_string_equal(r.words, "waiting");
	put("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n");
	r = run(100);
	assert_int_equal(r.outcome, RAN_TIMEOUT);
	assert_in_range(r.ms, 2000, 4000);
}

static void
refused(void **state)
{
	char path[128];
	struct exec_ran r;

	(void)state;
	put("#!/bin/sh\nexit 0\n");
	snprintf(path, sizeof(path), "%s/s", dir);
	assert_int_equal(chmod(path, 0757), 0);
	r = run(5000);
	assert_int_equal(r.outcome, RAN_REFUSED);
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(chmod(dir, 0777), 0);
	r = run(5000);
	assert_int_equal(r.outcome, RAN_REFUSED);
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(run(5000).outcome, RAN_EXIT);
}

/* Without a loop: its output is bounded, and a user that does not exist is no root. */
static void
alone(void **state)
{
	static const struct { const char *text; size_t max; const char *user, *out; int code; } t[] = {
		{ "#!/bin/sh\necho some words; exit 4\n", 100, NULL, "some words\n", 4 },
		{ "#!/bin/sh\necho some words\n", 4, "", "some", 0 },
		{ "#!/bin/sh\nid -u\n", 100, "nobody", "65534\n", 0 },
		{ "#!/bin/sh\numask; pwd; env\n", 100, NULL, "0022\n/\nA=b\nPWD=/\n", 0 },
		{ "#!/bin/sh\nexit 0\n", 100, "no-such-user", "", 127 },
	};
	char path[128], *argv[] = { path, NULL }, *env[] = { "A=b", NULL };

	(void)state;
	snprintf(path, sizeof(path), "%s/s", dir);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct script_conf c = { .argv = argv, .env = env, .limit_ms = 5000,
			.out_max = t[i].max, .user = t[i].user };
		struct exec_ran r;
		char *out;
		size_t len;

		put(t[i].text);
		script_run_alone(&c, &r, &out, &len);
		assert_int_equal(r.outcome, RAN_EXIT);
		assert_int_equal(r.code, t[i].code);
		assert_string_equal(out, t[i].out);
		assert_int_equal(len, strlen(t[i].out));
		free(out);
	}
}

static int
make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) == NULL || chmod(dir, 0755) == -1;
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
	const struct CMUnitTest tests[] = { cmocka_unit_test(ends), cmocka_unit_test(limits),
		cmocka_unit_test(refused), cmocka_unit_test(alone) };

	return geteuid() == 0 ? cmocka_run_group_tests(tests, make_dir, remove_dir) : 0;
}
