/* test_exit_watch.c - the end of a process is told; a number that is another's is not
 * believed. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "exit_watch.h"
#include "fs.h"

static char dir[] = "/tmp/test_exit_watch.XXXXXX";
static char file[64];

static pid_t
sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	return pid;
}

static void
put(const char *text, int age_s)
{
	struct timespec t[2] = {{time(NULL) - age_s, 0}, {time(NULL) - age_s, 0}};

	assert_int_equal(fs_replace(dir, "pid", text, strlen(text), 0644), 0);
	assert_int_equal(utimensat(AT_FDCWD, file, t, 0), 0);
}

static void
on_end(void *arg)
{
	++*(int *)arg;
}

static void
told(void **state)
{
	struct event_base *base = event_base_new();
	pid_t pid = sleeper();
	struct exit_watch *w;
	char text[32];
	int ends = 0, st;

	(void)state;
	snprintf(text, sizeof(text), "%d\n", (int)pid);
	put(text, 0);
	w = exit_watch_file(base, file, on_end, &ends);
	assert_non_null(w);
	assert_int_equal(exit_watch_pid(w), pid);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(ends, 0);
	kill(pid, SIGKILL);
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(ends, 1);
	exit_watch_free(w);
	assert_int_equal(waitpid(pid, &st, 0), pid);
	errno = 0;
	assert_null(exit_watch_file(base, file, on_end, &ends));
	assert_int_equal(errno, ESRCH);
	event_base_free(base);
}

static void
refused(void **state)
{
	static const struct {
		const char *text;
		int age_s, error;
	} t[] = {
	    {"", 0, EINVAL}, {"x\n", 0, EINVAL}, {"0\n", 0, EINVAL}, {"1\n", 0, EINVAL},
	    {"-5\n", 0, EINVAL}, {"99999999999\n", 0, EINVAL}, {"12 13\n", 0, EINVAL},
	    {NULL, 3600, ESTALE}, /* this process is younger than its file */
	};
	struct event_base *base = event_base_new();
	char own[32];

	(void)state;
	snprintf(own, sizeof(own), "%d\n", (int)getpid());
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		put(t[i].text == NULL ? own : t[i].text, t[i].age_s);
		errno = 0;
		assert_null(exit_watch_file(base, file, on_end, NULL));
		assert_int_equal(errno, t[i].error);
	}
	assert_int_equal(unlink(file), 0);
	assert_null(exit_watch_file(base, file, on_end, NULL));
	assert_int_equal(errno, ENOENT);
	assert_int_equal(mkfifo(file, 0600), 0);
	assert_null(exit_watch_file(base, file, on_end, NULL));
	assert_int_equal(errno, EINVAL);
	event_base_free(base);
}

static int
make_dir(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(file, sizeof(file), "%s/pid", dir);
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
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(told), cmocka_unit_test(refused)};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
