/* exit_watch.c - pidfd_open(2) and an event on it.
 *
 * The descriptor names the process for good, whatever becomes of its number; what has
 * to be checked is that the number still meant it when the descriptor was opened.  The
 * start time in /proc is compared with the age of the pid file: who was started after
 * the file was written did not write it.  Both ages are differences of two readings of
 * one clock, except that a file's time is wall clock time: after a step forwards a good
 * file may be called stale, and the process is then not watched, only asked. */
#define _GNU_SOURCE
#include "exit_watch.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "fs.h"
#include "mem.h"
#include "span.h"

#define SLACK_MS                                                                         \
	2000 /* the file's time is rounded, and both clocks are read one by one */

struct exit_watch {
	pid_t pid;
	int fd;
	struct event *ev;
	exit_watch_cb *cb;
	void *arg;
};

static void
on_end(evutil_socket_t fd, short what, void *arg)
{
	struct exit_watch *w = arg;

	(void)fd;
	(void)what;
	w->cb(w->arg);
}

struct exit_watch *
exit_watch_child(struct event_base *base, pid_t pid, exit_watch_cb *cb, void *arg)
{
	/* glibc has a name for it since 2.36 only. */
	int fd = (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by itself */
	struct exit_watch *w;

	if (fd == -1)
		return NULL;
	w = mem_alloc(sizeof(*w));
	w->pid = pid;
	w->fd = fd;
	w->cb = cb;
	w->arg = arg;
	w->ev = event_new(base, fd, EV_READ, on_end, w);
	event_add(w->ev, NULL);
	return w;
}

/* How long ago the process was started, in ms; -1 when there is none. */
static int64_t
age_of(pid_t pid)
{
	char path[40], *text, *p;
	unsigned long long ticks;
	size_t len;
	int n = -1;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (fs_read(path, 4096, &text, &len) == -1)
		return -1;
	/* The name may hold blanks and brackets; the 22nd field is the 20th behind it. */
	p = strrchr(text, ')');
	if (p != NULL)
		n = sscanf(p + 1,
		    " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d "
		    "%*d %*d %*d %*d %*d %llu",
		    &ticks);
	free(text);
	if (n != 1)
		return -1;
	return clock_ms() -
	       (int64_t)(ticks * 1000 / (unsigned long long)sysconf(_SC_CLK_TCK));
}

static int
read_number(int fd, pid_t *pid)
{
	char buf[64];
	ssize_t n = read(fd, buf, sizeof(buf));
	struct span s = {buf, 0}, line;
	uint64_t no;

	errno = EINVAL;
	if (n <= 0)
		return -1;
	s.len = (size_t)n;
	/* 0 and 1 are nobody's service. */
	if (!span_cut(&s, '\n', &line) ||
	    span_u64(span_trim(line), INT_MAX, &no) != PARSE_OK || no < 2)
		return -1;
	*pid = (pid_t)no;
	return 0;
}

static int
read_file(const char *path, pid_t *pid, int64_t *age)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), rc = -1;
	struct stat st;

	if (fd == -1)
		return -1;
	errno = EINVAL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		rc = read_number(fd, pid);
	*age = clock_wall_ms() - (int64_t)st.st_mtim.tv_sec * 1000 -
	       st.st_mtim.tv_nsec / 1000000;
	close(fd);
	return rc;
}

struct exit_watch *
exit_watch_file(
    struct event_base *base, const char *pidfile, exit_watch_cb *cb, void *arg)
{
	struct exit_watch *w;
	int64_t file, age;
	pid_t pid;

	if (read_file(pidfile, &pid, &file) == -1)
		return NULL;
	w = exit_watch_child(base, pid, cb, arg);
	if (w == NULL)
		return NULL;
	/* Behind the opening: the descriptor and /proc speak of the same process, or of
	 * one that has ended since and is told by its event. */
	age = age_of(pid);
	if (age != -1 && age + SLACK_MS >= file)
		return w;
	exit_watch_free(w);
	errno = age == -1 ? ESRCH : ESTALE;
	return NULL;
}

pid_t
exit_watch_pid(const struct exit_watch *w)
{
	return w->pid;
}

void
exit_watch_free(struct exit_watch *w)
{
	if (w == NULL)
		return;
	event_free(w->ev);
	close(w->fd);
	free(w);
}
