/* test_child.c - how a process of maild ends: at once when its parent is gone, in order when
 * it is told to. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <event2/event.h>

#include "child.h"

static void
on_message(void *arg, enum child_kind from, unsigned index, struct ipc *ipc,
    const struct ipc_msg *m)
{
	(void)arg;
	(void)from;
	(void)index;
	(void)ipc;
	(void)m;
}

static void
on_peer(void *arg, enum child_kind kind, unsigned index, bool up)
{
	(void)arg;
	(void)kind;
	(void)index;
	(void)up;
}

static const struct child_ops ops = { on_message, on_peer };

/* Exit 7: the loop ended, and everything could be closed. */
static _Noreturn void
run(int parent_fd, int ready)
{
	const struct child_start start = { .parent_fd = parent_fd };
	struct event_base *base = event_base_new();
	struct child *c = child_new(base, &start, &ops, NULL);

	if (write(ready, "r", 1) != 1)
		_exit(1);
	event_base_dispatch(base);
	child_free(c);
	event_base_free(base);
	_exit(7);
}

/* Returns the process when it waits for events. */
static pid_t
start(int *channel)
{
	int fds[2], ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid != -1);
	if (pid == 0) {
		close(fds[0]);
		run(fds[1], ready[1]);
	}
	close(fds[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	*channel = fds[0];
	return pid;
}

static int
exit_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
test_parent_gone(void **state)
{
	int channel;
	pid_t pid = start(&channel);

	(void)state;
	close(channel);
	assert_int_equal(exit_of(pid), 0);
}

static void
test_term(void **state)
{
	int channel;
	pid_t pid = start(&channel);

	(void)state;
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(exit_of(pid), 7);
	close(channel);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_parent_gone),
		cmocka_unit_test(test_term) };

	return cmocka_run_group_tests_name("child", tests, NULL, NULL);
}
