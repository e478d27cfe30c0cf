/* script.c - runs one program as root would from a clean shell, and enforces its limit.
 *
 * Promise: the caller hears of the end exactly once, at most limit + 2 s after the
 * start plus what the kernel needs for KILL.  Fails (RAN_REFUSED) when the program,
 * or a folder above it, could have been written by others than root, or when fork
 * or exec fails.  Does not decide what an exit code means (exec_ran_verdict). */
#define _GNU_SOURCE	/* close_range, pipe2 */
#include "script.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "daemon.h"
#include "exit_watch.h"
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
	struct event *words_ev, *out_ev;
	int words_fd, out_fd;
	struct exec_ran ran;
	size_t line_len;	/* of the line that is being read */
	char line[EXEC_WORDS_MAX];
	char *out;
	size_t out_len, out_max;
};

static void
script_free(struct script *s)
{
	if (s->limit != NULL)
		event_free(s->limit);
	if (s->words_ev != NULL)
		event_free(s->words_ev);
	if (s->out_ev != NULL)
		event_free(s->out_ev);
	if (s->words_fd != -1)
		close(s->words_fd);
	if (s->out_fd != -1)
		close(s->out_fd);
	free(s->out);
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
take_out(struct script *s, const char *p, size_t n)
{
	if (n > s->out_max - s->out_len)
		n = s->out_max - s->out_len;
	memcpy(s->out + s->out_len, p, n);
	s->out_len += n;
}

static void
read_some(struct script *s, int fd, struct event *ev,
    void (*take)(struct script *, const char *, size_t))
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n > 0)
		take(s, buf, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		event_del(ev);
}

static void
on_words(evutil_socket_t fd, short what, void *arg)
{
	struct script *s = arg;

	(void)what;
	read_some(s, fd, s->words_ev, take_words);
}

static void
on_out(evutil_socket_t fd, short what, void *arg)
{
	struct script *s = arg;

	(void)what;
	read_some(s, fd, s->out_ev, take_out);
}

/* What is in the pipe when the script has ended; a daemon that it left behind may
 * hold the other end open, so never wait for the end of it. */
static void
drain(struct script *s, int fd, void (*take)(struct script *, const char *, size_t))
{
	char buf[4096];
	ssize_t n;

	for (int i = 0; fd != -1 && i < 64 && (n = read(fd, buf, sizeof(buf))) > 0; i++)
		take(s, buf, (size_t)n);
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

void
script_stop(struct script *s)
{
	if (s->pid != 0 && !s->timed_out)
		on_limit(-1, EV_TIMEOUT, s);
}

static void __attribute__((noreturn))
no_exec(const char *what)
{
	dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
	_exit(EXIT_NO_EXEC);
}

static void
become(const char *name)
{
	struct daemon_user u;

	if (name == NULL || name[0] == '\0')
		return;
	if (daemon_user_find(name, &u) == -1 || initgroups(name, u.gid) == -1 ||
	    setgid(u.gid) == -1 || setuid(u.uid) == -1 || (u.uid != 0 && setuid(0) == 0))
		no_exec(name);
}

/* A pipe holds what fits into SCRIPT_INPUT_MAX without a reader; no file, no argument
 * and no environment ever does. */
static int
input_fd(struct span in)
{
	int fds[2];

	if (in.len == 0)
		return open("/dev/null", O_RDONLY);
	if (in.len > SCRIPT_INPUT_MAX || pipe(fds) == -1 ||
	    write(fds[1], in.p, in.len) != (ssize_t)in.len)
		return -1;
	close(fds[1]);
	return fds[0];
}

/* What protects hagentd itself is not meant for services: the limit of real-time work,
 * and the preference of the OOM killer.  Where /proc is not there nothing was inherited
 * that could be taken back. */
static void
own_limits(void)
{
	struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (setrlimit(RLIMIT_RTTIME, &none) == -1)
		no_exec("the limit of real-time work cannot be lifted");
	if (fd == -1)
		return;
	if (write(fd, "0", 1) == -1)
		no_exec("oom_score_adj cannot be set");
	close(fd);
}

/* In the child, between fork and exec: nothing but what exec needs. */
static void __attribute__((noreturn))
exec_script(const struct script_conf *c, int words, int out, pid_t parent)
{
	int null = open("/dev/null", O_RDWR), in = input_fd(c->input);
	sigset_t none;

	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	if (null == -1 || in == -1 || dup2(in, 0) == -1 || dup2(out == -1 ? null : out, 1) == -1 ||
	    dup2(words, 2) == -1)
		_exit(EXIT_NO_EXEC);
	close_range(3, ~0U, 0);
	umask(022);
	own_limits();
	become(c->user);
	/* Behind setuid(), which would undo it. */
	if (c->tied && (prctl(PR_SET_PDEATHSIG, SIGTERM) == -1 || getppid() != parent))
		_exit(EXIT_NO_EXEC);
	if (chdir("/") == 0)
		execve(c->argv[0], c->argv, c->env);
	no_exec("cannot execute");
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
	return fs_trusted(path) == 0;
}

static int
open_pipe(int *ours, int *theirs)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) == -1)
		return -1;
	*ours = fds[0];
	*theirs = fds[1];
	return fcntl(fds[1], F_SETFL, 0);
}

/* The reading ends belong to s, whatever happens. */
static int
fork_script(struct script *s, const struct script_conf *c)
{
	int words = -1, out = -1, saved;
	pid_t parent = getpid(), pid = -1;

	if (open_pipe(&s->words_fd, &words) == 0 &&
	    (c->out_max == 0 || open_pipe(&s->out_fd, &out) == 0))
		pid = fork();
	if (pid == 0)
		exec_script(c, words, out, parent);
	saved = errno;
	if (words != -1)
		close(words);
	if (out != -1)
		close(out);
	errno = saved;
	if (pid == -1)
		return -1;
	setpgid(pid, pid);	/* whichever of both comes first */
	s->pid = pid;
	return 0;
}

static void
start(struct script *s, struct event_base *base, const struct script_conf *c)
{
	if (fork_script(s, c) == -1) {
		refuse(s, strerror(errno));
		return;
	}
	s->words_ev = event_new(base, s->words_fd, EV_READ | EV_PERSIST, on_words, s);
	event_add(s->words_ev, NULL);
	if (s->out_fd != -1) {
		s->out_ev = event_new(base, s->out_fd, EV_READ | EV_PERSIST, on_out, s);
		event_add(s->out_ev, NULL);
	}
	if (c->limit_ms > 0)
		arm(s, c->limit_ms);
}

struct script *
script_run(struct event_base *base, const struct script_conf *c, script_done_cb *done,
    void *arg)
{
	struct script *s = mem_alloc(sizeof(*s));

	s->done = done;
	s->arg = arg;
	s->words_fd = s->out_fd = -1;
	s->out_max = c->out_max;
	s->out = mem_alloc(c->out_max + 1);
	s->started_ms = clock_ms();
	s->limit = evtimer_new(base, on_limit, s);
	if (!script_trusted(c->argv[0]))
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

struct span
script_out(const struct script *s)
{
	return (struct span){ s->out, s->out_len };
}

void
script_reaped(struct script *s, int st)
{
	drain(s, s->words_fd, take_words);
	take_words(s, "\n", 1);
	drain(s, s->out_fd, take_out);
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

/* ---- without a loop ------------------------------------------------------- */

struct alone {
	struct event_base *base;
	struct script *s;
	struct exec_ran *ran;
	char **out;
	size_t *len;
};

static void
on_alone(const struct exec_ran *ran, void *arg)
{
	struct alone *a = arg;
	struct span out = script_out(a->s);

	*a->ran = *ran;
	*a->out = mem_copy(out.p, out.len);
	*a->len = out.len;
	event_base_loopbreak(a->base);
}

static void
on_alone_end(void *arg)
{
	struct alone *a = arg;
	int st;

	if (waitpid(a->s->pid, &st, 0) == a->s->pid)
		script_reaped(a->s, st);
}

void
script_run_alone(const struct script_conf *c, struct exec_ran *ran, char **out, size_t *len)
{
	struct alone a = { .base = event_base_new(), .ran = ran, .out = out, .len = len };
	struct exit_watch *end = NULL;

	if (a.base == NULL)
		log_fatal("event loop of a script");
	a.s = script_run(a.base, c, on_alone, &a);
	if (a.s->pid != 0 && (end = exit_watch_child(a.base, a.s->pid, on_alone_end, &a)) == NULL)
		log_fatal("the end of a script cannot be watched");
	event_base_dispatch(a.base);
	exit_watch_free(end);
	event_base_free(a.base);
}
