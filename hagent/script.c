/* script.c - runs one resource script and enforces its time limit.
 *
 * Promise: the caller hears of the end exactly once, at most limit + 2 s after the
 * start plus what the kernel needs for KILL.  Fails (RAN_REFUSED) when the script,
 * or a folder above it, could have been written by others than root, or when fork
 * or exec fails.  Does not decide what an exit code means (exec_ran_verdict). */
#define _GNU_SOURCE	/* close_range, pipe2 */
#include "script.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "fs.h"
#include "log.h"
#include "mem.h"

#define KILL_AFTER_MS 2000
#define EXIT_NO_EXEC 127

struct script {
	script_done_cb *done;
	void *arg;
	pid_t pid;
	int64_t started_ms;
	bool timed_out;
	struct event *limit;	/* first for TERM, then for KILL */
	struct event *words_ev;
	int words_fd;
	struct exec_ran ran;
	size_t line_len;	/* of the line that is being read */
	char line[EXEC_WORDS_MAX];
};

static void
script_free(struct script *s)
{
	if (s->limit != NULL)
		event_free(s->limit);
	if (s->words_ev != NULL)
		event_free(s->words_ev);
	if (s->words_fd != -1)
		close(s->words_fd);
	free(s);
}

static void
arm(struct script *s, int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	evtimer_add(s->limit, &tv);
}

static void
finish(struct script *s)
{
	s->ran.ms = (uint32_t)(clock_ms() - s->started_ms);
	s->done(&s->ran, s->arg);
	script_free(s);
}

/* The last non-empty line counts; bytes past its room are dropped, others than
 * printable ASCII become '?': the text ends in logs and on terminals. */
static void
take_words(struct script *s, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != '\n') {
			if (s->line_len < sizeof(s->line) - 1)
				s->line[s->line_len++] = p[i] >= ' ' && p[i] <= '~' ? p[i] : '?';
			continue;
		}
		if (s->line_len > 0) {
			memcpy(s->ran.words, s->line, s->line_len);
			s->ran.words[s->line_len] = '\0';
		}
		s->line_len = 0;
	}
}

static void
on_words(evutil_socket_t fd, short what, void *arg)
{
	struct script *s = arg;
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	(void)what;
	if (n > 0)
		take_words(s, buf, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		event_del(s->words_ev);
}

/* What is in the pipe when the script has ended; a daemon that it left behind may
 * hold the other end open, so never wait for the end of it. */
static void
drain_words(struct script *s)
{
	char buf[4096];
	ssize_t n;

	for (int i = 0; i < 64 && (n = read(s->words_fd, buf, sizeof(buf))) > 0; i++)
		take_words(s, buf, (size_t)n);
	take_words(s, "\n", 1);
}

static void
on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct script *s = arg;

	(void)fd;
	(void)what;
	if (s->pid == 0) {	/* never started: the answer comes from the loop */
		finish(s);
		return;
	}
	if (kill(-s->pid, s->timed_out ? SIGKILL : SIGTERM) == -1 && errno != ESRCH)
		log_warn("script pid=%d cannot be killed", (int)s->pid);
	s->timed_out = true;
	arm(s, KILL_AFTER_MS);
}

/* In the child, between fork and exec: nothing but what exec needs. */
static void
exec_script(const struct script_conf *c, int words)
{
	char *env[8];
	char *argv[20];
	size_t n = 0;
	sigset_t none;
	int null = open("/dev/null", O_RDWR);

	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	if (null == -1 || dup2(null, 0) == -1 || dup2(null, 1) == -1 || dup2(words, 2) == -1)
		_exit(EXIT_NO_EXEC);
	close_range(3, ~0U, 0);
	env[0] = mem_dup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	env[1] = mem_dup("LC_ALL=C");
	env[2] = mem_printf("MAILPAIR_RESOURCE=%s", c->name);
	env[3] = mem_printf("MAILPAIR_CLUSTER=%s", c->cluster);
	env[4] = mem_printf("MAILPAIR_NODE=%s", c->node);
	env[5] = NULL;
	argv[n++] = mem_dup(c->path);
	argv[n++] = mem_dup(c->verb);
	for (size_t i = 0; c->args[i] != NULL && n < 19; i++)
		argv[n++] = c->args[i];
	argv[n] = NULL;
	if (chdir("/") == 0)
		execve(c->path, argv, env);
	dprintf(2, "cannot execute: %s\n", strerror(errno));
	_exit(EXIT_NO_EXEC);
}

static void
refuse(struct script *s, const char *why)
{
	s->ran.outcome = RAN_REFUSED;
	snprintf(s->ran.words, sizeof(s->ran.words), "%s", why);
	arm(s, 0);
}

bool
script_trusted(const char *path)
{
	char *copy = mem_dup(path);
	char *dir = copy;
	bool ok = fs_trusted(path) == 0;

	while (ok && strcmp(dir, "/") != 0) {
		dir = dirname(dir);
		ok = fs_trusted(dir) == 0;
	}
	free(copy);
	return ok;
}

static void
start(struct script *s, struct event_base *base, const struct script_conf *c)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) == -1) {
		refuse(s, strerror(errno));
		return;
	}
	s->words_fd = fds[0];
	s->pid = fork();
	if (s->pid == 0) {
		fcntl(fds[1], F_SETFL, 0);
		exec_script(c, fds[1]);
	}
	close(fds[1]);
	if (s->pid == -1) {
		s->pid = 0;
		refuse(s, strerror(errno));
		return;
	}
	setpgid(s->pid, s->pid);	/* whichever of both comes first */
	s->words_ev = event_new(base, s->words_fd, EV_READ | EV_PERSIST, on_words, s);
	event_add(s->words_ev, NULL);
	arm(s, c->limit_ms);
}

struct script *
script_run(struct event_base *base, const struct script_conf *c, script_done_cb *done,
    void *arg)
{
	struct script *s = mem_alloc(sizeof(*s));

	s->done = done;
	s->arg = arg;
	s->words_fd = -1;
	s->started_ms = clock_ms();
	s->limit = evtimer_new(base, on_limit, s);
	if (!script_trusted(c->path))
		refuse(s, errno == EPERM
		    ? "script or folder is writable by others than root" : strerror(errno));
	else
		start(s, base, c);
	return s;
}

pid_t
script_pid(const struct script *s)
{
	return s->pid;
}

void
script_reaped(struct script *s, int st)
{
	drain_words(s);
	if (s->timed_out) {
		kill(-s->pid, SIGKILL);		/* children that ignored TERM */
		s->ran.outcome = RAN_TIMEOUT;
	} else if (WIFSIGNALED(st)) {
		s->ran.outcome = RAN_SIGNAL;
		s->ran.code = (uint8_t)WTERMSIG(st);
	} else {
		s->ran.outcome = RAN_EXIT;
		s->ran.code = (uint8_t)WEXITSTATUS(st);
	}
	finish(s);
}
