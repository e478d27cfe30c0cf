/* reload.c - a new configuration, checked in a child under a time limit, then read,
 * compared and probed for.  A child that hangs is killed; whatever goes wrong is an
 * answer with a reason, and the daemon goes on as it is. */
#include "reload.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf_change.h"
#include "ctl.h"
#include "log.h"
#include "mem.h"
#include "resource_check.h"
#include "vip.h"

#define LIMIT_MS 60000

struct reload {
	struct event_base *base;
	struct reload_ask ask;
	reload_done_cb *done;
	void *arg;
	pid_t pid;
	int fd; /* the child's stderr */
	struct event *readable, *limit, *later;
	size_t len; /* of result.text */
	struct reload_result result;
	struct vip *vips[HAGENT_VIPS_MAX];
	unsigned probes; /* still without an answer */
};

struct hagent_conf *
reload_load(const char *path, const char *node, struct cluster_keys *keys)
{
	struct hagent_conf *c = hagent_conf_load(path, node);
	bool bad;

	if (c == NULL)
		return NULL;
	/* Both, so that one run tells every mistake. */
	bad = hagent_conf_keys(c, keys) == -1;
	bad = resource_check(c) == -1 || bad;
	if (!bad)
		return c;
	hagent_conf_free(c);
	return NULL;
}

static void
finish(struct reload *r)
{
	struct reload_result result = r->result;

	/* The callee's from here on. */
	r->result.conf = NULL;
	cluster_keys_wipe(&r->result.keys);
	r->done(r->arg, &result);
	cluster_keys_wipe(&result.keys);
}

static void
on_later(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	finish(arg);
}

/* From the loop, whoever found it out. */
static void
finish_later(struct reload *r, enum ctl_exit code)
{
	struct timeval now = {0, 0};

	r->result.code = (int)code;
	evtimer_add(r->later, &now);
}

static void __attribute__((format(printf, 3, 4)))
fail(struct reload *r, enum ctl_exit code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->result.text, sizeof(r->result.text), fmt, ap);
	va_end(ap);
	hagent_conf_free(r->result.conf);
	r->result.conf = NULL;
	finish_later(r, code);
}

/* ---- addresses that are new ---------------------------------------------------- */

static void
on_probed(enum exec_vip_result found, const char *error, void *arg)
{
	struct reload *r = arg;

	r->probes--;
	if (found != VIP_CLEAR && r->result.text[0] == '\0')
		snprintf(r->result.text, sizeof(r->result.text),
		    "a new address cannot go up: %s", error);
	if (r->probes > 0)
		return;
	if (r->result.text[0] != '\0') {
		hagent_conf_free(r->result.conf);
		r->result.conf = NULL;
	}
	finish_later(r, r->result.text[0] != '\0' ? CTL_REFUSED : CTL_OK);
}

static void
probe(struct reload *r)
{
	const struct hagent_conf *c = r->result.conf;

	r->probes = 1; /* this function's own */
	for (unsigned i = 0; i < c->nvips; i++) {
		if ((r->result.vips >> i & 1) == 0)
			continue;
		r->vips[i] = vip_new(r->base, &c->vips[i], c->probe_wait_ms);
		r->probes++;
		vip_probe(r->vips[i], on_probed, r);
	}
	on_probed(VIP_CLEAR, "", r);
}

/* ---- reading -------------------------------------------------------------------- */

static void
compare(struct reload *r)
{
	struct conf_change change;

	if (conf_change(r->ask.now, r->result.conf, r->ask.started, &change) == -1) {
		snprintf(r->result.hint, sizeof(r->result.hint), "%s", change.hint);
		fail(r, CTL_REFUSED, "%s", change.why);
		return;
	}
	if (change.moved && r->ask.scripts) {
		fail(r, CTL_CONFLICT, "resource scripts run just now; ask again");
		return;
	}
	if (r->ask.peer_key != 0 &&
	    !cluster_keys_have(&r->result.keys, r->ask.peer_key)) {
		snprintf(r->result.hint, sizeof(r->result.hint),
		    "make the new key the first one on "
		    "the other node and reload that one first");
		fail(r, CTL_REFUSED,
		    "the other node still signs with key %u, which %s has no more",
		    r->ask.peer_key, r->result.conf->key_file);
		return;
	}
	r->result.resources = change.resources;
	r->result.vips = change.vips;
	r->result.moved = change.moved;
	probe(r);
}

static void
checked(struct reload *r, bool good)
{
	if (!good) {
		if (r->result.text[0] == '\0')
			snprintf(r->result.text, sizeof(r->result.text),
			    "the check of %s did not end "
			    "in order",
			    r->ask.path);
		finish_later(r, CTL_BAD_CONFIG);
		return;
	}
	r->result.text[0] = '\0'; /* warnings only */
	r->result.conf = hagent_conf_load(r->ask.path, r->ask.node);
	if (r->result.conf == NULL ||
	    hagent_conf_keys(r->result.conf, &r->result.keys) == -1)
		fail(r, CTL_BAD_CONFIG, "%s changed while it was read", r->ask.path);
	else
		compare(r);
}

/* Lines become one text: "file:3: ...; file:9: ...". */
static void
take(struct reload *r, const char *p, size_t n)
{
	for (size_t i = 0; i < n && r->len < sizeof(r->result.text) - 3; i++) {
		char c = p[i] == '\n' ? ';' : p[i] >= ' ' && p[i] <= '~' ? p[i] : '?';

		r->result.text[r->len++] = c;
		if (c == ';')
			r->result.text[r->len++] = ' ';
		r->result.text[r->len] = '\0';
	}
}

static void
drain(struct reload *r)
{
	char buf[1024];
	ssize_t n;

	for (int i = 0; i < 64 && (n = read(r->fd, buf, sizeof(buf))) > 0; i++)
		take(r, buf, (size_t)n);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct reload *r = arg;
	char buf[1024];
	ssize_t n = read(fd, buf, sizeof(buf));

	(void)what;
	if (n > 0)
		take(r, buf, (size_t)n);
	else if (n == 0)
		event_del(r->readable);
}

static void
on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct reload *r = arg;

	(void)fd;
	(void)what;
	if (r->pid > 0)
		kill(r->pid, SIGKILL);
}

bool
reload_reaped(struct reload *r, pid_t pid, int st)
{
	if (r == NULL || r->pid == 0 || pid != r->pid)
		return false;
	r->pid = 0;
	evtimer_del(r->limit);
	event_del(r->readable);
	drain(r);
	while (r->len > 0 && strchr("; ", r->result.text[r->len - 1]) != NULL)
		r->result.text[--r->len] = '\0';
	if (strncmp(r->result.text, "ERROR ", 6) == 0)
		memmove(
		    r->result.text, r->result.text + 6, strlen(r->result.text + 6) + 1);
	checked(r, WIFEXITED(st) && WEXITSTATUS(st) == 0);
	return true;
}

/* In the child: the same as hagentd -n, and nothing of the daemon. */
static void __attribute__((noreturn))
check_in_child(const struct reload_ask *ask, int out)
{
	struct cluster_keys keys;
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(out, STDERR_FILENO) == -1)
		_exit(1);
	close_range(3, ~0U, 0);
	_exit(reload_load(ask->path, ask->node, &keys) == NULL ? CTL_BAD_CONFIG : 0);
}

static void
start(struct reload *r)
{
	struct timeval limit = {LIMIT_MS / 1000, 0};
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) == -1) {
		fail(r, CTL_DENIED, "no pipe: %s", strerror(errno));
		return;
	}
	r->fd = fds[0];
	r->pid = fork();
	if (r->pid == 0) {
		fcntl(fds[1], F_SETFL, 0);
		check_in_child(&r->ask, fds[1]);
	}
	close(fds[1]);
	if (r->pid == -1) {
		r->pid = 0;
		fail(r, CTL_DENIED, "no process: %s", strerror(errno));
		return;
	}
	r->readable = event_new(r->base, r->fd, EV_READ | EV_PERSIST, on_readable, r);
	event_add(r->readable, NULL);
	evtimer_add(r->limit, &limit);
}

struct reload *
reload_new(struct event_base *base, const struct reload_ask *ask, reload_done_cb *done,
    void *arg)
{
	struct reload *r = mem_alloc(sizeof(*r));

	r->base = base;
	r->ask = *ask;
	r->done = done;
	r->arg = arg;
	r->fd = -1;
	r->limit = evtimer_new(base, on_limit, r);
	r->later = evtimer_new(base, on_later, r);
	start(r);
	return r;
}

void
reload_wipe(struct reload *r)
{
	if (r == NULL)
		return;
	cluster_keys_wipe(&r->result.keys);
	if (r->result.conf != NULL)
		hagent_conf_wipe(r->result.conf);
}

void
reload_free(struct reload *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; i < HAGENT_VIPS_MAX; i++)
		vip_free(r->vips[i]);
	if (r->readable != NULL)
		event_free(r->readable);
	event_free(r->limit);
	event_free(r->later);
	if (r->fd != -1)
		close(r->fd);
	hagent_conf_free(r->result.conf);
	cluster_keys_wipe(&r->result.keys);
	free(r);
}
