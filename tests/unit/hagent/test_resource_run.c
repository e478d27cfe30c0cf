/* test_resource_run.c - verbs in their order, and the end of a process that is told. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "fs.h"
#include "resource_run.h"

#define LIMIT_MS 10000

/* Below a folder that only root may write to, as the real ones. */
static char dir[] = "/var/lib/test_resource_run.XXXXXX";
static char service[64], pidfile[64], verbs[64];

/* Writes its verbs to a log, at the beginning and at the end. */
static const char script[] = "#!/bin/sh\n"
			     "cd \"${0%/*}\" || exit 1\n"
			     "echo \"+$1\" >>log\n"
			     "rc=0\n"
			     "case $1 in\n"
			     "start) [ -e slow ] && sleep 0.2\n"
			     "	[ -e hang ] && sleep 60\n"
			     "	sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >pid ;;\n"
			     "stop) [ -e slow ] && sleep 0.2\n"
			     "	[ -e stuck ] && rc=1 || kill $(cat pid) ;;\n"
			     "status) grep -q sleep /proc/$(cat pid)/cmdline || rc=3 ;;\n"
			     "esac\n"
			     "echo \"-$1\" >>log\n"
			     "exit $rc\n";

struct seen {
	unsigned answers, died;
	int verdict; /* of the last answer */
};

static struct hagent_conf conf = {.cluster = "c",
    .node = {"n1", "n2"},
    .nresources = 1,
    .resources = {{.name = "r",
	.class = RESOURCE_SCRIPT,
	.script = service,
	.pidfile = pidfile,
	.start_timeout_ms = 5000,
	.stop_timeout_ms = 5000,
	.status_timeout_ms = 5000}}};

static void
on_ran(void *arg, const struct resource_run_ask *ask, const struct exec_ran *ran)
{
	struct seen *s = arg;

	s->answers++;
	s->verdict = exec_ran_verdict(ran, ask->verb);
}

static void
on_died(void *arg, uint16_t resource)
{
	assert_int_equal(resource, 0);
	((struct seen *)arg)->died++;
}

static const struct resource_runs_ops ops = {on_ran, on_died};

static void
put(const char *name, const char *text, mode_t mode)
{
	assert_int_equal(fs_replace(dir, name, text, strlen(text), mode), 0);
}

static void
turn(struct event_base *base, struct resource_runs *rr, const unsigned *counter,
    unsigned n, int ms)
{
	int64_t until = clock_ms() + ms;
	struct timeval tick = {0, 2000};
	pid_t pid;
	int st;

	while ((counter == NULL || *counter < n) && clock_ms() < until) {
		event_base_loopexit(base, &tick);
		event_base_dispatch(base);
		while ((pid = waitpid(-1, &st, WNOHANG)) > 0)
			assert_true(resource_runs_reaped(rr, pid, st));
	}
	if (counter != NULL)
		assert_true(*counter >= n);
}

static void
ask(struct resource_runs *rr, enum exec_verb v)
{
	struct resource_run_ask a = {.agent = 1, .id = 7, .verb = v};

	assert_int_equal(resource_runs_add(rr, &a), 0);
}

static void
kill_service(void)
{
	char *text;
	size_t len;

	assert_int_equal(fs_read(pidfile, 100, &text, &len), 0);
	assert_int_equal(kill(atoi(text), SIGKILL), 0);
	free(text);
}

static void
log_is(const char *want)
{
	char *text;
	size_t len;

	assert_int_equal(fs_read(verbs, 4096, &text, &len), 0);
	assert_string_equal(text, want);
	free(text);
	put("log", "", 0644);
}

static int
clean(void **state)
{
	char path[80];

	(void)state;
	put("log", "", 0644);
	snprintf(path, sizeof(path), "%s/slow", dir);
	(void)unlink(path);
	snprintf(path, sizeof(path), "%s/hang", dir);
	(void)unlink(path);
	snprintf(path, sizeof(path), "%s/stuck", dir);
	(void)unlink(path);
	return 0;
}

/* A start that hangs ends when a stop comes, which runs behind it. */
static void
cut_short(void **state)
{
	struct event_base *base = event_base_new();
	struct seen s = {0};
	struct resource_runs *rr = resource_runs_new(base, &conf, &ops, &s);
	int64_t began = clock_ms();
	size_t len = 0;
	char *text;

	(void)state;
	put("hang", "", 0644);
	ask(rr, EXEC_START);
	while (len == 0 && clock_ms() < began + LIMIT_MS) {
		turn(base, rr, NULL, 0, 20);
		assert_int_equal(fs_read(verbs, 4096, &text, &len), 0);
		free(text);
	}
	ask(rr, EXEC_STOP);
	turn(base, rr, &s.answers, 1, LIMIT_MS);
	assert_int_equal(s.verdict, -1);
	turn(base, rr, &s.answers, 2, LIMIT_MS);
	assert_int_equal(s.verdict, 1);
	assert_in_range(clock_ms() - began, 0, 4000);	/* not its limit */
	log_is("+start\n+stop\n-stop\n");
	resource_runs_free(rr);
	event_base_free(base);
}

static void
order(void **state)
{
	struct event_base *base = event_base_new();
	struct seen s = {0};
	struct resource_runs *rr = resource_runs_new(base, &conf, &ops, &s);

	(void)state;
	put("slow", "", 0644);
	ask(rr, EXEC_START);
	turn(base, rr, &s.answers, 1, LIMIT_MS);
	ask(rr, EXEC_STOP);
	ask(rr, EXEC_START);
	turn(base, rr, &s.answers, 3, LIMIT_MS);
	log_is("+start\n-start\n+stop\n-stop\n+start\n-start\n");
	/* A status does not wait for a stop, nor the other way round. */
	ask(rr, EXEC_STOP);
	ask(rr, EXEC_STATUS);
	turn(base, rr, &s.answers, 4, LIMIT_MS);
	assert_int_equal(s.verdict, 1);
	turn(base, rr, &s.answers, 5, LIMIT_MS);
	/* What waits for nobody any more is not begun. */
	ask(rr, EXEC_START);
	ask(rr, EXEC_STOP);
	resource_runs_forget(rr);
	turn(base, rr, &s.answers, 6, LIMIT_MS);
	turn(base, rr, NULL, 0, 50);
	assert_int_equal(s.answers, 6);
	assert_int_equal(s.died, 0);
	clean(NULL);
	ask(rr, EXEC_STOP);
	turn(base, rr, &s.answers, 7, LIMIT_MS);
	resource_runs_free(rr);
	event_base_free(base);
}

static void
told(void **state)
{
	struct event_base *base = event_base_new();
	struct seen s = {0};
	struct resource_runs *rr = resource_runs_new(base, &conf, &ops, &s);

	(void)state;
	ask(rr, EXEC_START);
	turn(base, rr, &s.answers, 1, LIMIT_MS);
	kill_service();
	turn(base, rr, &s.died, 1, LIMIT_MS);
	ask(rr, EXEC_STATUS);
	turn(base, rr, &s.answers, 2, LIMIT_MS);
	assert_int_equal(s.verdict, 0);
	/* Started again: watched again, and its end by our stop is no news. */
	ask(rr, EXEC_START);
	turn(base, rr, &s.answers, 3, LIMIT_MS);
	ask(rr, EXEC_STOP);
	turn(base, rr, &s.answers, 4, LIMIT_MS);
	turn(base, rr, NULL, 0, 50);
	assert_int_equal(s.died, 1);
	/* A stop that fails leaves what runs, and the next status finds it. */
	ask(rr, EXEC_START);
	turn(base, rr, &s.answers, 5, LIMIT_MS);
	put("stuck", "", 0644);
	ask(rr, EXEC_STOP);
	turn(base, rr, &s.answers, 6, LIMIT_MS);
	assert_int_equal(s.verdict, -1);
	ask(rr, EXEC_STATUS);
	turn(base, rr, &s.answers, 7, LIMIT_MS);
	kill_service();
	turn(base, rr, &s.died, 2, LIMIT_MS);
	resource_runs_free(rr);
	event_base_free(base);
}

/* Who comes anew does not start it, and sees its end all the same. */
static void
found_running(void **state)
{
	struct event_base *base = event_base_new();
	struct seen s = {0};
	struct resource_runs *rr = resource_runs_new(base, &conf, &ops, &s);

	(void)state;
	ask(rr, EXEC_START);
	turn(base, rr, &s.answers, 1, LIMIT_MS);
	resource_runs_free(rr);
	rr = resource_runs_new(base, &conf, &ops, &s);
	ask(rr, EXEC_STATUS);
	turn(base, rr, &s.answers, 2, LIMIT_MS);
	kill_service();
	turn(base, rr, &s.died, 1, LIMIT_MS);
	resource_runs_free(rr);
	event_base_free(base);
}

static int
make_dir(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL || chmod(dir, 0755) == -1)
		return -1;
	snprintf(service, sizeof(service), "%s/service", dir);
	snprintf(pidfile, sizeof(pidfile), "%s/pid", dir);
	snprintf(verbs, sizeof(verbs), "%s/log", dir);
	put("service", script, 0755);
	return 0;
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
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup(order, clean),
	    cmocka_unit_test_setup(cut_short, clean),
	    cmocka_unit_test_setup(told, clean),
	    cmocka_unit_test_setup(found_running, clean)};

	return geteuid() == 0 ? cmocka_run_group_tests(tests, make_dir, remove_dir) : 0;
}
