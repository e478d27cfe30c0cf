/* hactl_run.c - fork, exec, read until the end or the limit; what was printed by then is
 * kept.  No shell, a clean PATH, nothing inherited but the environment.
 *
 * A program may close its output and live, and it may not heed a signal: its end has the
 * same limit as its output, then its whole process group gets TERM and, GRACE_MS later,
 * KILL.  One that not even that ends (it hangs in the kernel) is left to init. */
#include "hactl_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"

#define NOT_RUN 126
#define GRACE_MS 1000
#define ASK_AGAIN_MS 20

static void __attribute__((noreturn)) exec_it(const char *const argv[], int out)
{
	int null = open("/dev/null", O_RDONLY);

	setpgid(0, 0);
	if (null == -1 || dup2(null, 0) == -1 || dup2(out, 1) == -1 || dup2(out, 2) == -1)
		_exit(NOT_RUN);
	close_range(3, ~0U, 0);
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("LC_ALL", "C", 1);
	execvp(argv[0], (char *const *)(size_t)argv);
	_exit(NOT_RUN);
}

/* false: the limit came first. */
static bool
read_all(int fd, int64_t end_ms, char *text, size_t *len)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char rest[4096];
	ssize_t n;

	for (;;) {
		int64_t left = end_ms - clock_ms();
		bool full = *len >= HACTL_RUN_MAX;

		if (left <= 0)
			return false;
		p.revents = 0;
		if (poll(&p, 1, (int)left) == -1 && errno != EINTR)
			return false;
		if ((p.revents & (POLLIN | POLLHUP)) == 0)
			continue;
		if (full)
			n = read(fd, rest, sizeof(rest));
		else
			n = read(fd, text + *len, HACTL_RUN_MAX - *len);
		if (n == 0)
			return true;
		if (n > 0 && !full)
			*len += (size_t)n;
	}
}

/* It has ended, and is not reaped: its number and its group's stay what they are. */
static bool
wait_end(pid_t pid, int pidfd, int64_t end_ms)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	for (;;) {
		int64_t left = end_ms - clock_ms();
		siginfo_t info = {0};

		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		    info.si_pid == pid)
			return true;
		if (left <= 0)
			return false;
		/* A kernel without pidfd has to be asked again and again. */
		(void)poll(&p, 1, (int)(pidfd == -1 && left > ASK_AGAIN_MS ? ASK_AGAIN_MS : left));
	}
}

/* Whoever of the group does not heed TERM gets KILL. */
static void
end_group(pid_t pid, int pidfd)
{
	kill(-pid, SIGTERM);
	(void)wait_end(pid, pidfd, clock_ms() + GRACE_MS);
	kill(-pid, SIGKILL);
	(void)wait_end(pid, pidfd, clock_ms() + GRACE_MS);
}

int
hactl_run(const char *const argv[], int limit_ms, char **text, size_t *len)
{
	int fds[2], pidfd, st;
	int64_t end_ms = clock_ms() + limit_ms;
	bool ended;
	pid_t pid;

	*text = mem_alloc(HACTL_RUN_MAX + 1);
	*len = 0;
	if (pipe2(fds, O_CLOEXEC) == -1)
		return -1;
	pid = fork();
	if (pid == 0)
		exec_it(argv, fds[1]);
	close(fds[1]);
	if (pid == -1) {
		close(fds[0]);
		return -1;
	}
	(void)setpgid(pid, pid); /* whoever is first; no signal may miss the group */
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	ended = read_all(fds[0], end_ms, *text, len);
	close(fds[0]);
	(*text)[*len] = '\0';
	ended = ended && wait_end(pid, pidfd, end_ms);
	if (!ended)
		end_group(pid, pidfd);
	if (pidfd != -1)
		close(pidfd);
	if (waitpid(pid, &st, WNOHANG) != pid || !ended)
		return -1;
	return WIFEXITED(st) && WEXITSTATUS(st) != NOT_RUN ? WEXITSTATUS(st) : -1;
}

const char *
hactl_program(const char *name)
{
	static char path[512];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 64);
	char *slash;

	path[n < 0 ? 0 : n] = '\0';
	slash = strrchr(path, '/');
	if (slash == NULL || strlen(name) > 32)
		return name;
	snprintf(slash + 1, 64, "%s", name);
	return access(path, X_OK) == 0 ? path : name;
}
