/* test_realtime.c - what is not asked for is not done, and what may not be had is noted
 * and does no harm. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem.h"
#include "realtime.h"

/* In a process of its own, because it cannot be taken back; true there? */
static bool
child(bool (*check)(void))
{
	pid_t pid = fork();
	int st = 0;

	assert_true(pid != -1);
	if (pid == 0)
		_exit(check() ? 0 : 1);
	assert_int_equal(waitpid(pid, &st, 0), pid);
	return WIFEXITED(st) && WEXITSTATUS(st) == 0;
}

static bool
nothing(void)
{
	struct realtime r;
	int before = sched_getscheduler(0);

	realtime_enter(&r, false, false);
	return !r.scheduled && !r.locked && r.why[0] == '\0' && sched_getscheduler(0) == before;
}

static bool
not_allowed(void)
{
	struct rlimit none = { 0, 0 };
	struct realtime r;
	char *p;

	if (setrlimit(RLIMIT_MEMLOCK, &none) == -1 || setrlimit(RLIMIT_RTPRIO, &none) == -1 ||
	    (geteuid() == 0 && setresuid(65534, 65534, 65534) == -1))
		return false;
	realtime_enter(&r, true, true);
	/* Memory can still be had. */
	p = mem_alloc(32 << 20);
	memset(p, 1, 32 << 20);
	return !r.scheduled && !r.locked && strstr(r.why, "real-time scheduling: ") != NULL &&
	    strstr(r.why, "; locking memory: ") != NULL;
}

/* Whichever this machine allows: what is said is so, children are ordinary, and there is
 * memory. */
static bool
as_said(void)
{
	struct realtime r;
	char *p;
	int policy, st = 0;
	pid_t pid;

	realtime_enter(&r, true, true);
	policy = sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
	p = mem_alloc(8 << 20);
	memset(p, 1, 8 << 20);
	pid = fork();
	if (pid == 0)
		_exit(sched_getscheduler(0) == SCHED_OTHER ? 0 : 1);
	return r.scheduled == (policy == SCHED_RR) &&
	    (r.why[0] == '\0') == (r.scheduled && r.locked) && waitpid(pid, &st, 0) == pid &&
	    WIFEXITED(st) && WEXITSTATUS(st) == 0;
}

static bool
taken_back(void)
{
	struct realtime r;

	realtime_enter(&r, true, false);
	return realtime_leave() == 0 && sched_getscheduler(0) == SCHED_OTHER;
}

static void
rows(void **state)
{
	(void)state;
	assert_true(child(nothing));
	assert_true(child(not_allowed));
	assert_true(child(as_said));
	assert_true(child(taken_back));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(rows) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
