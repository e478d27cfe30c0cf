/* watchdog.c - opens the watchdog device, sets its time-out and pets it.
 *
 * Promise: nothing but "no reason against it" leads to a pet; who does not hear of the
 * agent does not pet.  Opening it arms it, so that waits for the first word of an agent:
 * one that may not run at all would have this node reset again after each boot, and a
 * device that an earlier process left on goes on counting.  A device without ioctls (a
 * FIFO, a terminal) is taken to fire after the configured time.  A device that insists on
 * another time-out is petted, since it would reset the node at once, but does not count
 * as armed: the other node's deadtime was made for the configured one. */
#include "watchdog.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "script.h"

#define REOPEN_MS 10000
#define FAILURES_MAX 2		/* of the test command: one may be an accident */

struct watchdog {
	const struct watchdog_conf *conf;
	void (*changed)(void *);
	void *arg;
	struct event_base *base;
	struct event *pet, *test;
	struct script *script;		/* the test command that runs; NULL: none */
	int fd;				/* -1: not open */
	bool fits;			/* its time-out is the configured one */
	bool armed;
	char why[160];
	struct watchdog_facts facts;
	enum watchdog_hold hold;	/* at the last look */
	int64_t petted_ms;		/* -1: never */
	int64_t tried_ms;		/* to open it; -1: never */
};

const char *
watchdog_hold_text(enum watchdog_hold h)
{
	static const char *const texts[] = { "", "not armed yet: no agent has said that it lives",
		"the agent is silent", "the test command failed twice",
		"something here does not stop", "an operator lets it fire" };

	return (unsigned)h < sizeof(texts) / sizeof(texts[0]) ? texts[h] : "?";
}

enum watchdog_hold
watchdog_hold(const struct watchdog_facts *f, int64_t now_ms)
{
	if (f->fire)
		return HOLD_FIRE;
	if (f->self_fence)
		return HOLD_SELF_FENCE;
	if (f->failures >= FAILURES_MAX)
		return HOLD_TEST;
	if (f->alive_ms == -1)
		return HOLD_EARLY;
	return now_ms - f->alive_ms < f->timeout_ms / 2 ? HOLD_NONE : HOLD_AGENT;
}

static void
arm(struct event *ev, int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	evtimer_add(ev, &tv);
}

/* Logs and tells a state once. */
static void
set_armed(struct watchdog *w, bool armed, const char *why)
{
	if (armed == w->armed && strcmp(why, w->why) == 0)
		return;
	w->armed = armed;
	snprintf(w->why, sizeof(w->why), "%s", why);
	if (armed)
		log_info("watchdog %s armed timeout_ms=%d", w->conf->device,
		    w->conf->timeout_ms);
	else
		log_warnx("watchdog %s is not armed: %s", w->conf->device, why);
	w->changed(w->arg);
}

/* 0, or the seconds that the device insists on; -1 when it does not say. */
static int
set_timeout(struct watchdog *w)
{
	int want = w->conf->timeout_ms / 1000, got = want;

	if (ioctl(w->fd, WDIOC_SETTIMEOUT, &got) == -1 && errno == ENOTTY)
		return 0;
	if (ioctl(w->fd, WDIOC_GETTIMEOUT, &got) == -1)
		return -1;
	return got == want ? 0 : got;
}

static void
try_open(struct watchdog *w, int64_t now)
{
	char why[160];
	int other;

	w->tried_ms = now;
	w->fd = open(w->conf->device, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (w->fd == -1) {
		set_armed(w, false, strerror(errno));
		return;
	}
	other = set_timeout(w);
	w->fits = other == 0;
	if (other == -1)
		set_armed(w, false, "the device does not tell its time-out");
	if (other > 0) {
		snprintf(why, sizeof(why), "the device has a time-out of %d s, not %d", other,
		    w->conf->timeout_ms / 1000);
		set_armed(w, false, why);
	}
	if (w->conf->test_command[0] != '\0')
		arm(w->test, 0);
	arm(w->pet, 0);
}

/* Any byte but 'V', which would switch it off when it is closed next. */
static void
pet(struct watchdog *w, int64_t now)
{
	if (write(w->fd, "\n", 1) != 1) {
		set_armed(w, false, strerror(errno));
		return;
	}
	w->petted_ms = now;
	if (w->fits)
		set_armed(w, true, "");
}

static void
on_pet(evutil_socket_t fd, short what, void *arg)
{
	struct watchdog *w = arg;
	int64_t now = clock_ms();
	enum watchdog_hold h = watchdog_hold(&w->facts, now);

	(void)fd;
	(void)what;
	arm(w->pet, w->conf->pet_ms);
	if (h != HOLD_NONE && h != w->hold) {
		errno = 0;
		log_err("watchdog is not petted: %s", watchdog_hold_text(h));
	} else if (h != w->hold) {
		log_info("watchdog is petted again");
	}
	w->hold = h;
	if (h == HOLD_NONE)
		pet(w, now);
}

/* ---- the test command ---------------------------------------------------- */

static void
on_tested(const struct exec_ran *ran, void *arg)
{
	struct watchdog *w = arg;
	char text[300];

	w->script = NULL;
	if (ran->outcome == RAN_EXIT && ran->code == 0) {
		if (w->facts.failures > 0)
			log_info("watchdog test-command succeeds again");
		w->facts.failures = 0;
	} else if (w->facts.failures++ < FAILURES_MAX) {
		errno = 0;
		log_warnx("watchdog test-command: %s", exec_ran_text(ran, text, sizeof(text)));
	}
	arm(w->test, w->conf->test_interval_ms);
}

static void
on_test(evutil_socket_t fd, short what, void *arg)
{
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	static char locale[] = "LC_ALL=C";
	struct watchdog *w = arg;
	char *argv[] = { w->conf->test_command, NULL }, *env[] = { path, locale, NULL };
	struct script_conf s = { .argv = argv, .env = env,
		.limit_ms = w->conf->test_timeout_ms };

	(void)fd;
	(void)what;
	w->script = script_run(w->base, &s, on_tested, w);
}

bool
watchdog_reaped(struct watchdog *w, pid_t pid, int wait_status)
{
	if (w->script == NULL || script_pid(w->script) != pid)
		return false;
	script_reaped(w->script, wait_status);
	return true;
}

/* ---- start and end ------------------------------------------------------- */

struct watchdog *
watchdog_new(struct event_base *base, const struct watchdog_conf *conf,
    void (*changed)(void *), void *arg)
{
	struct watchdog *w = mem_alloc(sizeof(*w));

	w->base = base;
	w->conf = conf;
	w->changed = changed;
	w->arg = arg;
	w->fd = -1;
	w->petted_ms = -1;
	w->tried_ms = -1;
	w->facts.alive_ms = -1;
	w->facts.timeout_ms = conf->timeout_ms;
	w->pet = evtimer_new(base, on_pet, w);
	w->test = evtimer_new(base, on_test, w);
	return w;
}

void
watchdog_free(struct watchdog *w, bool orderly)
{
	if (w == NULL)
		return;
	if (w->fd != -1) {
		/* Whoever wants the reset still wants it. */
		if (orderly && !w->facts.self_fence && !w->facts.fire) {
			if (write(w->fd, "V", 1) != 1)
				log_warn("watchdog %s cannot be switched off", w->conf->device);
		} else {
			log_warnx("watchdog %s stays on: it will reset this node",
			    w->conf->device);
		}
		close(w->fd);
	}
	if (w->script != NULL)
		script_stop(w->script);
	event_free(w->pet);
	event_free(w->test);
	free(w);
}

void
watchdog_alive(struct watchdog *w)
{
	int64_t now = clock_ms();

	w->facts.alive_ms = now;
	if (w->fd == -1 && w->conf->device[0] != '\0' &&
	    (w->tried_ms == -1 || now - w->tried_ms >= REOPEN_MS))
		try_open(w, now);
}

int
watchdog_stop_petting(struct watchdog *w, enum watchdog_hold why)
{
	if (why == HOLD_FIRE)
		w->facts.fire = true;
	else
		w->facts.self_fence = true;
	return w->armed ? 0 : -1;
}

void
watchdog_look(const struct watchdog *w, struct watchdog_state *s)
{
	int64_t now = clock_ms();

	s->configured = w->conf->device[0] != '\0';
	s->armed = w->armed;
	s->timeout_ms = w->conf->timeout_ms;
	s->pet_age_ms = w->petted_ms < 0 ? -1 : now - w->petted_ms;
	s->alive_age_ms = w->facts.alive_ms < 0 ? -1 : now - w->facts.alive_ms;
	s->hold = watchdog_hold(&w->facts, now);
	s->why = w->why;
}
