/* fence.c - runs the fence devices as the plan says.
 *
 * Two kinds of programs: those of the fence-agents package (their names begin with
 * "fence_"; a status of off is exit 2), and scripts called as "SCRIPT off|status|on NODE
 * ARGS..." (off is exit 3, as with resource scripts).  Both must be trusted as resource
 * scripts are.  What is in args-file goes to their standard input only: it stands in no
 * argument list, no environment and no log. */
#include "fence.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "clock.h"
#include "fence_args.h"
#include "fence_plan.h"
#include "fs.h"
#include "log.h"
#include "mem.h"
#include "script.h"

#define WAITING_MAX 16
#define OFF_PROGRAM 2
#define OFF_SCRIPT 3

struct unit {
	struct fence *f;
	unsigned n;		/* in the plan */
	struct fence_conf conf;	/* a copy: a reload must not change what is under way */
	struct script *script;	/* NULL: nothing runs */
	enum fence_do what;
	char lines[FENCE_ARGS_BYTES];	/* its input; wiped when it has ended */
	size_t len;
};

struct waiting {
	TAILQ_ENTRY(waiting) next;
	struct fence_ask ask;
};

struct fence {
	struct event_base *base;
	const struct hagent_conf *conf;
	fence_done_cb *done;
	void *arg;
	struct event *wake;
	struct fence_plan plan;
	struct unit units[FENCE_UNITS_MAX];
	bool stale;		/* the configuration has changed since the units were made */
	bool asked;		/* cur waits for its answer */
	struct fence_ask cur;
	TAILQ_HEAD(, waiting) waiting;
	unsigned nwaiting;
};

static const char *
victim(const struct fence *f)
{
	return f->conf->node[1 - f->conf->self];
}

/* ---- one device ---------------------------------------------------------- */

static void turn(struct fence *);

static enum fence_said
said(const struct unit *u, const struct exec_ran *ran)
{
	int off = u->conf.program ? OFF_PROGRAM : OFF_SCRIPT;

	if (ran->outcome != RAN_EXIT)
		return FENCE_SAID_FAILED;
	if (ran->code == 0)
		return FENCE_SAID_DONE;
	return u->what == FENCE_DO_STATUS && ran->code == off ? FENCE_SAID_OFF
	    : FENCE_SAID_FAILED;
}

static void
unit_said(struct unit *u, enum fence_said s, const char *words)
{
	/* A status may be asked many times; the last one is in the end's words. */
	if (u->what == FENCE_DO_STATUS)
		log_debug("fence device %s status: %s", u->conf.name, words);
	else
		log_info("fence device %s %s: %s", u->conf.name, fence_do_name(u->what), words);
	fence_plan_said(&u->f->plan, u->n, s, words, clock_ms());
}

static void
on_ran(const struct exec_ran *ran, void *arg)
{
	struct unit *u = arg;
	char words[300];

	exec_ran_text(ran, words, sizeof(words));
	fence_args_hide(words, (struct span){ u->lines, u->len });
	mem_wipe(u->lines, sizeof(u->lines));
	u->script = NULL;
	unit_said(u, said(u, ran), words);
	turn(u->f);
}

/* Fills u->lines; a text says why not. */
static const char *
unit_input(struct unit *u)
{
	const struct fence_conf *c = &u->conf;
	char *file = NULL;
	size_t len = 0;
	struct stat st;
	const char *why = NULL;

	if (c->args_file[0] != '\0' && (!script_trusted(c->args_file) ||
	    stat(c->args_file, &st) == -1 ||
	    fs_read(c->args_file, FENCE_ARGS_BYTES, &file, &len) == -1))
		return "args-file cannot be read, or others than root could write it";
	if (file != NULL && (st.st_mode & 077) != 0)
		why = "others than root may read args-file";
	else if (fence_args_wrong_line((struct span){ file, len }) != 0)
		why = "args-file has a line that is no argument";
	else if ((u->len = fence_args_build(u->lines, sizeof(u->lines),
	    fence_do_name(u->what), victim(u->f), c->args, (struct span){ file, len })) == 0)
		why = "too many arguments";
	if (file != NULL)
		mem_wipe(file, len);
	free(file);
	if (why != NULL)
		mem_wipe(u->lines, sizeof(u->lines));
	return why;
}

/* No word of the environment that hagentd itself was started with. */
static void
unit_run(struct unit *u, int limit_ms)
{
	const struct hagent_conf *conf = u->f->conf;
	char *argv[HAGENT_ARGS_MAX + 4] = { u->conf.agent };
	char *env[] = {
		mem_dup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
		mem_dup("LC_ALL=C"),
		mem_printf("MAILPAIR_CLUSTER=%s", conf->cluster),
		mem_printf("MAILPAIR_NODE=%s", conf->node[conf->self]),
		NULL,
	};
	char verb[8];
	struct script_conf s = { .argv = argv, .env = env, .limit_ms = limit_ms,
		.input = { u->lines, u->len } };

	snprintf(verb, sizeof(verb), "%s", fence_do_name(u->what));
	if (!u->conf.program) {
		argv[1] = verb;
		argv[2] = conf->node[1 - conf->self];
		memcpy(argv + 3, u->conf.args, sizeof(u->conf.args));
	}
	u->script = script_run(u->f->base, &s, on_ran, u);
	for (size_t i = 0; env[i] != NULL; i++)
		free(env[i]);
}

/* ---- the plan ------------------------------------------------------------ */

static void
answer(struct fence *f, enum exec_fenced result, const char *words)
{
	f->asked = false;
	errno = 0;
	if (result == FENCED_UNKNOWN)
		log_err("fencing of %s %s: %s", victim(f), f->cur.verb == FENCE_TEST
		    ? "test failed" : "failed", words);
	else
		log_info("fencing of %s %s: %s", victim(f), f->cur.verb == FENCE_TEST
		    ? "tested" : "verified", words);
	f->done(f->arg, &f->cur, result, words);
}

static void
plan_ended(struct fence *f)
{
	static const enum exec_fenced results[] = { [FENCE_END_FAILED] = FENCED_UNKNOWN,
		[FENCE_END_OFF] = FENCED_OFF, [FENCE_END_ANSWERS] = FENCED_ANSWERS };
	char words[EXEC_TEXT_MAX];

	if (f->plan.n == 0)
		snprintf(words, sizeof(words), "no fence device for %s is configured",
		    victim(f));
	else
		fence_plan_text(&f->plan, words, sizeof(words));
	answer(f, results[f->plan.end], words);
}

static void
unit_wipe(struct unit *u)
{
	mem_wipe(u->lines, sizeof(u->lines));
	for (char **arg = u->conf.args; *arg != NULL; arg++)
		mem_wipe(*arg, strlen(*arg));
}

static void
unit_clear(struct unit *u)
{
	unit_wipe(u);
	free(u->conf.name);
	free(u->conf.agent);
	free(u->conf.args_file);
	for (size_t i = 0; i < HAGENT_ARGS_MAX; i++)
		free(u->conf.args[i]);
}

static void
unit_take(struct unit *u, const struct fence_conf *c)
{
	u->conf = *c;
	u->conf.name = mem_dup(c->name);
	u->conf.agent = mem_dup(c->agent);
	u->conf.args_file = mem_dup(c->args_file);
	for (size_t i = 0; i < HAGENT_ARGS_MAX; i++)
		u->conf.args[i] = mem_dup(c->args[i]);
}

/* The devices as they are configured now; nothing of the old ones runs. */
static void
make_units(struct fence *f)
{
	for (unsigned i = 0; i < f->plan.n; i++)
		unit_clear(&f->units[i]);
	f->stale = false;
	f->plan = (struct fence_plan){ .poll_ms = f->conf->fence_poll_ms,
		.end = FENCE_END_FAILED };	/* of no plan yet */
	for (size_t i = 0; i < f->conf->nfences; i++) {
		struct unit *u = &f->units[f->plan.n];

		if (f->conf->fences[i].node == f->conf->self)
			continue;
		*u = (struct unit){ .f = f, .n = f->plan.n };
		unit_take(u, &f->conf->fences[i]);
		fence_plan_add(&f->plan, u->conf.name, u->conf.level, u->conf.timeout_ms,
		    u->conf.reboot);
	}
}

/* Nothing runs: the next request may begin. */
static bool
begin_next(struct fence *f)
{
	struct waiting *w = TAILQ_FIRST(&f->waiting);

	if (f->asked || w == NULL)
		return false;
	for (unsigned i = 0; i < f->plan.n; i++)
		if (f->units[i].script != NULL)
			return false;
	TAILQ_REMOVE(&f->waiting, w, next);
	f->nwaiting--;
	f->cur = w->ask;
	f->asked = true;
	free(w);
	if (f->stale)
		make_units(f);
	fence_plan_begin(&f->plan, f->cur.verb == FENCE_TEST, clock_ms());
	return true;
}

static void
start_due(struct fence *f)
{
	enum fence_do what;
	unsigned n;
	int limit_ms;

	while ((what = fence_plan_next(&f->plan, clock_ms(), &n, &limit_ms)) !=
	    FENCE_DO_NOTHING) {
		struct unit *u = &f->units[n];
		const char *why;

		u->what = what;
		why = unit_input(u);
		if (why == NULL)
			unit_run(u, limit_ms);
		else
			unit_said(u, FENCE_SAID_FAILED, why);
	}
}

static void
turn(struct fence *f)
{
	int64_t at;

	do {
		if (f->asked || !fence_plan_idle(&f->plan))
			start_due(f);
		if (f->asked && f->plan.end != FENCE_END_OPEN)
			plan_ended(f);
	} while (fence_plan_idle(&f->plan) && begin_next(f));
	at = fence_plan_wake(&f->plan);
	if (at != -1) {
		int64_t ms = at - clock_ms();
		struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

		if (ms <= 0)
			tv = (struct timeval){ 0, 1 };
		evtimer_add(f->wake, &tv);
	}
}

static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	turn(arg);
}

/* ---- requests ------------------------------------------------------------ */

/* A test is not worth a second of an order's time. */
static void
give_up_test(struct fence *f)
{
	if (!f->asked || f->cur.verb != FENCE_TEST)
		return;
	answer(f, FENCED_UNKNOWN, "given up for an order to switch off");
	f->plan.end = FENCE_END_FAILED;
	for (unsigned i = 0; i < f->plan.n; i++)
		if (f->units[i].script != NULL)
			script_stop(f->units[i].script);
}

void
fence_ask(struct fence *f, const struct fence_ask *ask)
{
	struct waiting *w;

	if (f->nwaiting == WAITING_MAX) {
		f->done(f->arg, ask, FENCED_UNKNOWN, "too many requests wait");
		return;
	}
	w = mem_alloc(sizeof(*w));
	w->ask = *ask;
	if (ask->verb == FENCE_OFF) {
		give_up_test(f);
		TAILQ_INSERT_HEAD(&f->waiting, w, next);
	} else {
		TAILQ_INSERT_TAIL(&f->waiting, w, next);
	}
	f->nwaiting++;
	turn(f);
}

bool
fence_idle(const struct fence *f)
{
	for (unsigned i = 0; i < f->plan.n; i++)
		if (f->units[i].script != NULL)
			return false;
	return !f->asked && f->nwaiting == 0;
}

void
fence_reload(struct fence *f)
{
	f->stale = true;
}

void
fence_forget_waiting(struct fence *f)
{
	struct waiting *w;

	while ((w = TAILQ_FIRST(&f->waiting)) != NULL) {
		TAILQ_REMOVE(&f->waiting, w, next);
		free(w);
	}
	f->nwaiting = 0;
}

bool
fence_reaped(struct fence *f, pid_t pid, int wait_status)
{
	for (unsigned i = 0; i < f->plan.n; i++) {
		struct unit *u = &f->units[i];

		if (u->script == NULL || script_pid(u->script) != pid)
			continue;
		script_reaped(u->script, wait_status);
		return true;
	}
	return false;
}

struct fence *
fence_new(struct event_base *base, const struct hagent_conf *conf, fence_done_cb *done,
    void *arg)
{
	struct fence *f = mem_alloc(sizeof(*f));

	f->base = base;
	f->conf = conf;
	f->done = done;
	f->arg = arg;
	f->wake = evtimer_new(base, on_wake, f);
	TAILQ_INIT(&f->waiting);
	make_units(f);
	return f;
}

void
fence_wipe(struct fence *f)
{
	for (unsigned i = 0; i < f->plan.n; i++)
		unit_wipe(&f->units[i]);
}

void
fence_free(struct fence *f)
{
	if (f == NULL)
		return;
	fence_forget_waiting(f);
	for (unsigned i = 0; i < f->plan.n; i++)
		unit_clear(&f->units[i]);
	event_free(f->wake);
	free(f);
}
