/* test_watchdog.c - when it is petted, and a pipe in place of the device: pets arrive,
 * stop for each reason, and the last byte says whether it is switched off. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <event2/event.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "fs.h"
#include "watchdog.h"

/* Below folders that only root may write to: the test command is run. */
static char dir[] = "/var/lib/test_watchdog.XXXXXX";
static char none[] = "";

static void
rule(void **state)
{
	static const struct {
		struct watchdog_facts f;
		int64_t now;
		enum watchdog_hold want;
	} t[] = {
		{ { 4000, 1000, 0, false, false }, 1000, HOLD_NONE },
		{ { 4000, 1000, 0, false, false }, 2999, HOLD_NONE },
		{ { 4000, 1000, 0, false, false }, 3000, HOLD_AGENT },	/* half of it */
		{ { 4000, 1000, 0, false, false }, 900000, HOLD_AGENT },
		{ { 4000, 1000, 1, false, false }, 1000, HOLD_NONE },
		{ { 4000, 1000, 2, false, false }, 1000, HOLD_TEST },
		{ { 4000, 1000, 2, true, false }, 1000, HOLD_SELF_FENCE },
		{ { 4000, 1000, 0, false, true }, 1000, HOLD_FIRE },
		{ { 4000, 1000, 0, true, true }, 9000, HOLD_FIRE },
		{ { 4000, -1, 0, false, false }, 1000, HOLD_EARLY },
		{ { 4000, -1, 0, true, false }, 1000, HOLD_SELF_FENCE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		assert_int_equal(watchdog_hold(&t[i].f, t[i].now), t[i].want);
}

struct bench {
	struct event_base *base;
	struct watchdog_conf conf;
	struct watchdog *w;
	char path[64];
	int fd;			/* where its pets arrive */
	unsigned changes;
};

static void
on_changed(void *arg)
{
	((struct bench *)arg)->changes++;
}

static struct bench *
begin(const char *device)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	snprintf(b->path, sizeof(b->path), "%s/%s", dir, device);
	b->base = event_base_new();
	b->conf = (struct watchdog_conf){ .device = b->path, .timeout_ms = 200, .pet_ms = 10,
		.test_command = none, .test_interval_ms = 20, .test_timeout_ms = 5000 };
	b->fd = open(b->path, O_RDONLY | O_NONBLOCK);
	b->w = watchdog_new(b->base, &b->conf, on_changed, b);
	return b;
}

static void
end(struct bench *b, bool orderly, char *last)
{
	char buf[4096];
	ssize_t n;

	watchdog_free(b->w, orderly);
	if (b->fd != -1) {
		*last = '\0';
		while ((n = read(b->fd, buf, sizeof(buf))) > 0)
			*last = buf[n - 1];
		close(b->fd);
	}
	event_base_free(b->base);
	free(b);
}

static void
reap(struct bench *b)
{
	int st;
	pid_t pid = waitpid(-1, &st, WNOHANG);

	if (pid > 0)
		assert_true(watchdog_reaped(b->w, pid, st));
}

/* Turns the loop for so long; how many pets arrived. */
static size_t
pets(struct bench *b, int ms, bool alive)
{
	int64_t until = clock_ms() + ms;
	size_t all = 0;
	char buf[4096];
	ssize_t n;

	while (clock_ms() < until) {
		if (alive)
			watchdog_alive(b->w);
		event_base_loop(b->base, EVLOOP_NONBLOCK);
		reap(b);
		if ((n = read(b->fd, buf, sizeof(buf))) > 0)
			all += (size_t)n;
		usleep(1000);
	}
	return all;
}

static struct watchdog_state
look(const struct bench *b)
{
	struct watchdog_state s;

	watchdog_look(b->w, &s);
	return s;
}

static void
petted_while_the_agent_lives(void **state)
{
	struct bench *b = begin("fifo");
	char last;

	(void)state;
	assert_false(look(b).armed);
	assert_true(pets(b, 300, true) > 1);
	assert_true(look(b).armed);
	assert_int_equal(b->changes, 1);
	/* Half the time-out goes on, then nothing more. */
	pets(b, 150, false);
	assert_int_equal(pets(b, 100, false), 0);
	assert_int_equal(look(b).hold, HOLD_AGENT);
	assert_true(look(b).armed);
	assert_true(look(b).alive_age_ms >= 250);
	/* Another agent within the lease. */
	assert_true(pets(b, 100, true) > 1);
	end(b, true, &last);
	assert_int_equal(last, 'V');
}

/* Left on by a process before this one, perhaps: nobody may switch it off, or arm it. */
static void
untouched_before_the_agent_lives(void **state)
{
	struct bench *b = begin("fifo");
	char last;

	(void)state;
	assert_int_equal(pets(b, 100, false), 0);
	assert_int_equal(look(b).hold, HOLD_EARLY);
	assert_int_equal(look(b).alive_age_ms, -1);
	assert_false(look(b).armed);
	assert_int_equal(b->changes, 0);
	end(b, true, &last);
	assert_int_equal(last, '\0');

	/* And at once when it says so for the first time. */
	b = begin("fifo");
	watchdog_alive(b->w);
	event_base_loop(b->base, EVLOOP_NONBLOCK);
	assert_true(look(b).armed);
	end(b, true, &last);
	assert_int_equal(last, 'V');
}

static void
stays_on(void **state)
{
	struct bench *b = begin("fifo");
	char last;

	(void)state;
	assert_int_equal(watchdog_stop_petting(b->w, HOLD_SELF_FENCE), -1);
	assert_int_equal(pets(b, 50, true), 0);
	end(b, true, &last);
	assert_int_equal(last, '\0');

	b = begin("fifo");
	assert_true(pets(b, 50, true) > 0);
	assert_int_equal(watchdog_stop_petting(b->w, HOLD_FIRE), 0);
	assert_int_equal(pets(b, 50, true), 0);
	end(b, true, &last);
	assert_int_equal(last, '\0');

	b = begin("fifo");
	assert_true(pets(b, 50, true) > 0);
	end(b, false, &last);		/* something still runs here */
	assert_int_not_equal(last, 'V');
}

static void
missing_or_gone(void **state)
{
	struct bench *b = begin("nothing");
	char last;

	(void)state;
	assert_int_equal(pets(b, 20, true), 0);
	assert_false(look(b).armed);
	assert_string_equal(look(b).why, strerror(ENOENT));
	assert_int_equal(b->changes, 1);
	end(b, true, &last);

	b = begin("fifo");
	assert_true(pets(b, 50, true) > 0);
	close(b->fd);
	b->fd = open("/dev/null", O_RDONLY);
	pets(b, 50, true);
	assert_false(look(b).armed);
	assert_string_equal(look(b).why, strerror(EPIPE));
	assert_int_equal(b->changes, 2);
	end(b, false, &last);
}

/* Until its result is this; the agent lives all the time. */
static void
until(struct bench *b, enum watchdog_hold hold)
{
	int64_t limit = clock_ms() + 10000;

	while (look(b).hold != hold) {
		assert_true(clock_ms() < limit);
		pets(b, 10, true);
	}
}

static void
test_command(void **state)
{
	static const char text[] = "#!/bin/sh\ntest -e \"${0%/*}/well\"\n";
	struct bench *b = begin("fifo");
	char path[64], last;
	pid_t pid;
	int st;

	(void)state;
	snprintf(path, sizeof(path), "%s/command", dir);
	assert_int_equal(fs_replace(dir, "command", text, sizeof(text) - 1, 0755), 0);
	assert_int_equal(fs_replace(dir, "well", "", 0, 0600), 0);
	b->conf.test_command = path;
	assert_true(pets(b, 200, true) > 1);
	assert_int_equal(look(b).hold, HOLD_NONE);
	assert_int_equal(fs_unlink_durable(dir, "well"), 0);
	until(b, HOLD_TEST);
	pets(b, 20, true);
	assert_int_equal(pets(b, 60, true), 0);
	assert_int_equal(fs_replace(dir, "well", "", 0, 0600), 0);
	until(b, HOLD_NONE);
	assert_true(pets(b, 100, true) > 1);
	/* It hangs: as a failure. */
	assert_int_equal(fs_replace(dir, "command", "#!/bin/sh\nsleep 60\n", 20, 0755), 0);
	b->conf.test_timeout_ms = 50;
	until(b, HOLD_TEST);
	while ((pid = waitpid(-1, &st, 0)) > 0)
		assert_true(watchdog_reaped(b->w, pid, st));
	end(b, false, &last);
	assert_int_not_equal(last, 'V');
}

static void
none_configured(void **state)
{
	struct bench b = { .base = event_base_new(),
		.conf = { .device = none, .test_command = none } };

	(void)state;
	b.w = watchdog_new(b.base, &b.conf, on_changed, &b);
	event_base_loop(b.base, EVLOOP_NONBLOCK);
	watchdog_alive(b.w);
	assert_false(look(&b).configured);
	assert_false(look(&b).armed);
	assert_int_equal(b.changes, 0);
	watchdog_free(b.w, true);
	event_base_free(b.base);
}

static int
set_up(void **state)
{
	char path[64];

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	if (mkdtemp(dir) == NULL || chmod(dir, 0755) == -1)
		return -1;
	snprintf(path, sizeof(path), "%s/fifo", dir);
	return mkfifo(path, 0600);
}

static int
tear_down(void **state)
{
	(void)state;
	return fs_remove_tree(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rule),
		cmocka_unit_test(petted_while_the_agent_lives),
		cmocka_unit_test(untouched_before_the_agent_lives),
		cmocka_unit_test(stays_on),
		cmocka_unit_test(missing_or_gone),
		cmocka_unit_test(test_command),
		cmocka_unit_test(none_configured),
	};

	return geteuid() == 0 ? cmocka_run_group_tests(tests, set_up, tear_down) : 0;
}
