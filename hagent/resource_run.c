/* resource_run.c - the queue of verbs, and the watch over the processes behind them.
 *
 * The watch begins when a verb has said that the resource runs.  A pid file that is not
 * there yet, or names a process that is no more, is looked at again after growing pauses,
 * at most LOOKS_MAX times, and then with each status; the log says so, and the resource
 * is left to its monitor. */
#include "resource_run.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "exit_watch.h"
#include "log.h"
#include "mem.h"
#include "resource.h"

#define RUNS_MAX (4 * HAGENT_RESOURCES_MAX)
#define LOOK_MS 10
#define LOOKS_MAX 10 /* 10, 20, 40 ... ms: 10 s in all */

struct run {
	TAILQ_ENTRY(run) next;
	struct resource_runs *rr;
	struct resource_run_ask ask;
	bool probe;
	struct script *script; /* NULL: waits for one of the same resource */
};

struct watched {
	struct resource_runs *rr;
	uint16_t resource;
	bool off;     /* a stop or start is under way, or was the last */
	bool started; /* by us, and not stopped since */
	unsigned looks;
	struct event *again;
	struct exit_watch *watch;
};

struct resource_runs {
	struct event_base *base;
	const struct hagent_conf *conf;
	const struct resource_runs_ops *ops;
	void *arg;
	TAILQ_HEAD(, run) runs;
	size_t nruns;
	struct watched watched[HAGENT_RESOURCES_MAX];
};

/* ---- the watch ----------------------------------------------------------- */

static void
unwatch(struct watched *w)
{
	exit_watch_free(w->watch);
	w->watch = NULL;
	event_del(w->again);
}

static void
on_died(void *arg)
{
	struct watched *w = arg;
	pid_t pid = exit_watch_pid(w->watch);

	unwatch(w);
	log_warnx("resource %s: its process %d has ended",
	    w->rr->conf->resources[w->resource].name, (int)pid);
	w->rr->ops->died(w->rr->arg, w->resource);
}

static void
look_again(struct watched *w, const char *file)
{
	int ms = LOOK_MS << (w->looks < LOOKS_MAX ? w->looks : LOOKS_MAX);
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	if (w->looks < LOOKS_MAX)
		evtimer_add(w->again, &tv);
	else if (w->looks == LOOKS_MAX)
		log_warn("resource %s is not watched, only asked for its status: %s",
		    w->rr->conf->resources[w->resource].name, file);
	if (w->looks <= LOOKS_MAX)
		w->looks++;
}

static void
look_file(struct watched *w)
{
	const char *file = w->rr->conf->resources[w->resource].pidfile;

	if (w->off || w->watch != NULL)
		return;
	w->watch = exit_watch_file(w->rr->base, file, on_died, w);
	if (w->watch == NULL)
		look_again(w, file);
}

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	look_file(arg);
}

static void
look_unit(struct watched *w, pid_t pid)
{
	if (pid <= 1 || (w->watch != NULL && exit_watch_pid(w->watch) == pid))
		return; /* a unit may have no process of its own */
	unwatch(w);
	w->watch = exit_watch_child(w->rr->base, pid, on_died, w);
	if (w->watch == NULL && errno == ESRCH)
		w->rr->ops->died(w->rr->arg, w->resource);
}

/* ---- runs ---------------------------------------------------------------- */

static void run_begin(struct run *);

static bool
conflicts(const struct run *a, const struct run *b)
{
	return a->ask.resource == b->ask.resource && a->ask.verb != EXEC_STATUS &&
	       b->ask.verb != EXEC_STATUS;
}

/* Starts what waited for nothing but the end of an earlier run. */
static void
run_next(struct resource_runs *rr)
{
	struct run *r, *before;

	TAILQ_FOREACH(r, &rr->runs, next)
	{
		if (r->script != NULL)
			continue;
		TAILQ_FOREACH(before, &rr->runs, next)
		if (before == r || conflicts(before, r))
			break;
		if (before == r)
			run_begin(r);
	}
}

/* Which process it is that runs now. */
static void
running(struct resource_runs *rr, const struct run *r, pid_t main_pid)
{
	struct watched *w = &rr->watched[r->ask.resource];
	const struct resource_conf *c = &rr->conf->resources[r->ask.resource];
	struct resource_run_ask who = {.resource = r->ask.resource, .verb = EXEC_STATUS};

	if (r->ask.verb == EXEC_START) {
		w->off = false;
		w->started = true;
		w->looks = 0;
	}
	if (w->off)
		return;
	if (c->pidfile[0] != '\0')
		look_file(w);
	else if (c->class == RESOURCE_SYSTEMD && r->ask.verb == EXEC_STATUS)
		look_unit(w, main_pid);
	else if (c->class == RESOURCE_SYSTEMD && resource_runs_add(rr, &who) == -1)
		log_warnx("resource %s: its process is asked for later", c->name);
}

static void
on_ran(const struct exec_ran *script, void *arg)
{
	struct run *r = arg;
	struct resource_runs *rr = r->rr;
	const struct resource_conf *c = &rr->conf->resources[r->ask.resource];
	struct exec_ran ran = *script;
	pid_t main_pid;
	char text[300];
	int verdict;

	resource_judge(c, r->ask.verb, r->probe, script_out(r->script), &ran, &main_pid);
	verdict = exec_ran_verdict(&ran, r->ask.verb);
	if (r->ask.verb != EXEC_STATUS || verdict != 1)
		log_info("resource %s %s: %s", c->name, exec_verb_name(r->ask.verb),
		    exec_ran_text(&ran, text, sizeof(text)));
	rr->ops->ran(rr->arg, &r->ask, &ran);
	TAILQ_REMOVE(&rr->runs, r, next);
	rr->nruns--;
	if (verdict == 1 && (r->ask.verb == EXEC_START || r->ask.verb == EXEC_STATUS))
		running(rr, r, main_pid);
	else if (verdict == -1 && r->ask.verb == EXEC_STOP)
		rr->watched[r->ask.resource].off = false; /* it may go on running */
	free(r);
	run_next(rr);
}

/* From here on its process may end by our doing. */
static void
watch_off(struct watched *w)
{
	w->off = true;
	w->started = false;
	unwatch(w);
}

static void
run_begin(struct run *r)
{
	const struct hagent_conf *conf = r->rr->conf;
	struct resource_command c;

	if (r->ask.verb == EXEC_START || r->ask.verb == EXEC_STOP)
		watch_off(&r->rr->watched[r->ask.resource]);
	r->probe = r->ask.verb == EXEC_STATUS && !r->rr->watched[r->ask.resource].started;
	resource_command(
	    conf, &conf->resources[r->ask.resource], r->ask.verb, r->probe, &c);
	r->script = script_run(r->rr->base, &c.script, on_ran, r);
	resource_command_clear(&c);
}

static void
cut_start(struct resource_runs *rr, uint16_t resource)
{
	struct run *r;

	TAILQ_FOREACH(r, &rr->runs, next)
	if (r->ask.resource == resource && r->ask.verb == EXEC_START && r->script != NULL) {
		log_info("resource %s: its start is cut short by a stop",
		    rr->conf->resources[resource].name);
		script_stop(r->script);
	}
}

int
resource_runs_add(struct resource_runs *rr, const struct resource_run_ask *ask)
{
	struct run *r;

	if (rr->nruns >= RUNS_MAX)
		return -1;
	if (ask->verb == EXEC_STOP)
		cut_start(rr, ask->resource);
	r = mem_alloc(sizeof(*r));
	r->rr = rr;
	r->ask = *ask;
	TAILQ_INSERT_TAIL(&rr->runs, r, next);
	rr->nruns++;
	run_next(rr);
	return 0;
}

void
resource_runs_forget(struct resource_runs *rr)
{
	struct run *r, *following;

	for (r = TAILQ_FIRST(&rr->runs); r != NULL; r = following) {
		following = TAILQ_NEXT(r, next);
		if (r->script != NULL)
			continue;
		TAILQ_REMOVE(&rr->runs, r, next);
		rr->nruns--;
		free(r);
	}
}

bool
resource_runs_idle(const struct resource_runs *rr)
{
	return rr->nruns == 0;
}

bool
resource_runs_reaped(struct resource_runs *rr, pid_t pid, int st)
{
	struct run *r;

	TAILQ_FOREACH(r, &rr->runs, next)
	if (r->script != NULL && script_pid(r->script) == pid)
		break;
	if (r == NULL)
		return false;
	script_reaped(r->script, st);
	return true;
}

struct resource_runs *
resource_runs_new(struct event_base *base, const struct hagent_conf *conf,
    const struct resource_runs_ops *ops, void *arg)
{
	struct resource_runs *rr = mem_alloc(sizeof(*rr));

	rr->base = base;
	rr->conf = conf;
	rr->ops = ops;
	rr->arg = arg;
	TAILQ_INIT(&rr->runs);
	/* A new configuration may bring more of them. */
	for (size_t i = 0; i < HAGENT_RESOURCES_MAX; i++) {
		struct watched *w = &rr->watched[i];

		w->rr = rr;
		w->resource = (uint16_t)i;
		w->again = evtimer_new(base, on_again, w);
	}
	return rr;
}

/* Scripts that still run end by themselves: their ends are nobody's matter any more. */
void
resource_runs_free(struct resource_runs *rr)
{
	struct run *r;

	if (rr == NULL)
		return;
	while ((r = TAILQ_FIRST(&rr->runs)) != NULL) {
		TAILQ_REMOVE(&rr->runs, r, next);
		free(r);
	}
	for (size_t i = 0; i < HAGENT_RESOURCES_MAX; i++) {
		unwatch(&rr->watched[i]);
		event_free(rr->watched[i].again);
	}
	free(rr);
}
