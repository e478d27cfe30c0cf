/* executor.c - root's half of hagentd.
 *
 * It reads nothing but fixed-size requests with indexes into the configuration, and
 * answers each once.  resource_run.c runs what they ask for.  When the agent dies a new
 * one is forked at once, a second that dies young after a growing delay, at most
 * 1 s; addresses, running scripts and the memory that the group is started stay.
 * It decides nothing: on SIGTERM it asks the agent to leave, and only ends when that
 * is done or the time for it is over. */
#define _GNU_SOURCE	/* close_range, pipe2 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "agent.h"
#include "clock.h"
#include "daemon.h"
#include "executor_int.h"
#include "fence.h"
#include "forget.h"
#include "group_mark.h"
#include "ipc.h"
#include "mem.h"
#include "notify.h"
#include "realtime.h"
#include "resource_run.h"
#include "respawn.h"
#include "watchdog.h"

#define YOUNG_MS 2000		/* an agent that dies before this age delays the next */
#define DELAY_MAX_MS 1000

void
executor_arm(struct event *ev, int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	evtimer_add(ev, &tv);
}

void
executor_answer(struct executor *x, uint32_t agent, enum exec_type type, uint32_t id,
    struct wire_out *w, int fd)
{
	struct span body = wire_out_span(w);

	if (x->agent == NULL || agent != x->agents) {
		if (fd != -1)
			close(fd);
	} else if (ipc_send(x->agent, (uint16_t)type, id, body.p, body.len, fd) == -1)
		log_warn("executor answer lost");
	wire_out_clear(w);
}

/* ---- resources ----------------------------------------------------------- */

static void
on_ran(void *arg, const struct resource_run_ask *ask, const struct exec_ran *ran)
{
	struct wire_out w;

	wire_out_init(&w);
	exec_ran_put(&w, ran);
	executor_answer(arg, ask->agent, EX_RAN, ask->id, &w, -1);
}

/* An agent that is not there now asks for every status when it is. */
static void
on_died(void *arg, uint16_t resource)
{
	struct executor *x = arg;
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u16(&w, resource);
	executor_answer(x, x->agents, EX_DIED, 0, &w, -1);
}

static const struct resource_runs_ops runs_ops = { on_ran, on_died };

static void
on_helper(void *arg, uint16_t n, const struct exec_helper *h)
{
	struct executor *x = arg;
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u16(&w, n);
	exec_helper_put(&w, h);
	executor_answer(x, x->agents, EX_HELPER, 0, &w, -1);
}

static void
on_helpers_ended(void *arg)
{
	event_base_loopbreak(((struct executor *)arg)->base);
}

static const struct respawn_ops helper_ops = { on_helper, on_helpers_ended };

static void
on_run(struct executor *x, uint32_t id, struct wire_in *in)
{
	struct resource_run_ask ask = { .agent = x->agents, .id = id };
	struct exec_ran no = { .outcome = RAN_REFUSED };
	uint8_t verb;

	ask.resource = wire_get_u16(in);
	verb = wire_get_u8(in);
	ask.verb = (enum exec_verb)verb;
	if (wire_in_done(in) && ask.resource < x->conf->nresources && verb <= EXEC_DRAIN &&
	    resource_runs_add(x->runs, &ask) == 0)
		return;
	log_err("executor refuses run resource=%u verb=%u", ask.resource, verb);
	on_ran(x, &ask, &no);
}

/* ---- watchdog and fence devices ------------------------------------------ */

static void
tell_watchdog(void *arg)
{
	struct executor *x = arg;
	struct watchdog_state s;
	struct wire_out w;

	watchdog_look(x->watchdog, &s);
	wire_out_init(&w);
	wire_put_u8(&w, s.armed);
	wire_put_u32(&w, (uint32_t)s.timeout_ms);
	wire_put_str(&w, s.why);
	executor_answer(x, x->agents, EX_WATCHDOG, 0, &w, -1);
}

static uint32_t
age(int64_t ms)
{
	return ms < 0 || ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

static void
on_watchdog_test(struct executor *x, uint32_t id, struct wire_in *in)
{
	bool fire = wire_get_u8(in) != 0;
	struct watchdog_state s;
	struct exec_watchdog d;
	struct wire_out w;

	if (fire && wire_in_done(in))
		(void)watchdog_stop_petting(x->watchdog, HOLD_FIRE);
	watchdog_look(x->watchdog, &s);
	d = (struct exec_watchdog){ .armed = s.armed, .timeout_ms = (uint32_t)s.timeout_ms,
		.pet_age_ms = age(s.pet_age_ms), .alive_age_ms = age(s.alive_age_ms) };
	snprintf(d.why, sizeof(d.why), "%s", s.why[0] != '\0' ? s.why
	    : watchdog_hold_text(s.hold));
	wire_out_init(&w);
	exec_watchdog_put(&w, &d);
	executor_answer(x, x->agents, EX_WATCHDOG_IS, id, &w, -1);
}

static void
on_self_fence(struct executor *x)
{
	errno = 0;
	if (watchdog_stop_petting(x->watchdog, HOLD_SELF_FENCE) == -1)
		log_err("executor asked to reset this node, but no watchdog is armed");
}

static void
on_fenced(void *arg, const struct fence_ask *ask, enum exec_fenced result, const char *words)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u8(&w, (uint8_t)result);
	wire_put_str(&w, words);
	executor_answer(arg, ask->agent, EX_FENCED, ask->id, &w, -1);
}

static void
on_fence(struct executor *x, uint32_t id, struct wire_in *in)
{
	uint8_t verb = wire_get_u8(in);
	struct fence_ask ask = { .id = id, .agent = x->agents, .verb = (enum exec_fence)verb };

	if (wire_in_done(in) && verb <= FENCE_TEST)
		fence_ask(x->fence, &ask);
	else
		on_fenced(x, &ask, FENCED_UNKNOWN, "not understood");
}

/* ---- the agent ----------------------------------------------------------- */

/* The mark is made before anything of the group starts: the messages keep their order. */
static void
on_group(struct executor *x, struct wire_in *in)
{
	bool was = x->group_started || x->group_before;

	x->group_started = wire_get_u8(in) != 0;
	x->group_told = true;
	x->held = wire_get_u32(in);
	x->cannot = wire_get_u8(in);
	x->group_before = false;
	x->new_resources = x->new_vips = 0;
	respawns_active(x->helpers, x->group_started);
	if (x->group_started != was && group_mark_set(x->conf->run_dir, x->group_started) == -1)
		log_warn("%s: a hagentd after this one cannot be told that the group is %s",
		    x->conf->run_dir, x->group_started ? "started" : "stopped");
}

static void
on_agent_msg(struct ipc *ch, const struct ipc_msg *m, void *arg)
{
	struct executor *x = arg;
	struct wire_in in;

	(void)ch;
	if (m->fd != -1)
		close(m->fd);		/* none is expected */
	wire_in_init(&in, m->body.p, m->body.len);
	switch (m->type) {
	case EX_RUN:
		on_run(x, m->id, &in);
		break;
	case EX_VIP:
		executor_on_vip(x, m->id, &in);
		break;
	case EX_OPEN:
		executor_on_open(x, m->id, &in);
		break;
	case EX_GROUP:
		on_group(x, &in);
		break;
	case EX_LEAVING:
		x->left = true;
		break;
	case EX_FENCE:
		on_fence(x, m->id, &in);
		break;
	case EX_WATCHDOG_TEST:
		on_watchdog_test(x, m->id, &in);
		break;
	case EX_ALIVE:
		watchdog_alive(x->watchdog);
		break;
	case EX_SELF_FENCE:
		on_self_fence(x);
		break;
	case EX_NOTIFY:
		if (notify_take(x->notify, &in) == -1)
			log_warn("executor got a bad message to tell");
		break;
	case EX_RELOAD:
		executor_on_reload(x, m->id, &in);
		break;
	default:
		log_err("executor got an unknown request type=%u", m->type);
	}
}

static void
agent_channel_close(struct executor *x)
{
	ipc_free(x->agent);
	x->agent = NULL;
	resource_runs_forget(x->runs);
	fence_forget_waiting(x->fence);
}

static void
on_agent_gone(struct ipc *ch, const char *why, void *arg)
{
	struct executor *x = arg;

	(void)ch;
	log_warnx("executor: channel to the agent closed: %s", why);
	agent_channel_close(x);
	/* A process that closed its channel but lives is of no use. */
	if (x->agent_pid > 0)
		kill(x->agent_pid, SIGKILL);
}

static void
welcome(struct executor *x)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u8(&w, x->group_started);
	wire_put_u8(&w, x->group_before);
	wire_put_u32(&w, x->held);
	wire_put_u8(&w, x->cannot);
	wire_put_u32(&w, x->agents - 1);
	wire_put_u32(&w, x->new_resources);
	wire_put_u32(&w, x->new_vips);
	executor_answer(x, x->agents, EX_WELCOME, 0, &w, -1);
	executor_tell_config(x);
	tell_watchdog(x);
	respawns_tell(x->helpers);
	if (x->shutting) {
		wire_out_init(&w);
		executor_answer(x, x->agents, EX_SHUTDOWN, 0, &w, -1);
	}
}

/* Neither child ever fences or reloads, and both hear strangers. */
static void
forget_secrets(struct executor *x)
{
	struct span secrets[2 * HAGENT_SECRETS_MAX];
	size_t n = hagent_conf_secrets(x->conf, secrets, HAGENT_SECRETS_MAX);

	if (x->next.conf != NULL)
		n += hagent_conf_secrets(x->next.conf, secrets + n, HAGENT_SECRETS_MAX);
	if (n > 0 && forget(secrets, n) == -1)
		log_warn("passwords of fence devices may be left in the memory of a process");
	hagent_conf_wipe(x->conf);
	executor_reload_wipe(x);
	fence_wipe(x->fence);
}

void
executor_child_begin(struct executor *x, int fd, const char *ident)
{
	sigset_t none;

	closelog();
	if (fd != 3 && dup2(fd, 3) == -1)
		_exit(1);
	close_range(4, ~0U, 0);
	fcntl(3, F_SETFD, FD_CLOEXEC);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	log_init(ident, x->start->to_stderr,
	    x->start->debug ? LOG_LEVEL_DEBUG : (enum log_level)x->conf->log_level);
	forget_secrets(x);
}

/* Leaves the loop in the child; executor_run() goes on there as the agent. */
static void
become_agent(struct executor *x, int fd)
{
	x->child_fd = fd;
	event_base_loopbreak(x->base);
}

static void
spawn_agent(struct executor *x)
{
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1) {
		log_warn("executor cannot start the agent");
		executor_arm(x->respawn, DELAY_MAX_MS);
		return;
	}
	pid = fork();
	if (pid == -1) {
		log_warn("executor cannot start the agent");
		close(fds[0]);
		close(fds[1]);
		executor_arm(x->respawn, DELAY_MAX_MS);
		return;
	}
	if (pid == 0) {
		close(fds[0]);
		become_agent(x, fds[1]);
		return;
	}
	close(fds[1]);
	x->agent_pid = pid;
	x->agents++;
	x->agent_started_ms = clock_ms();
	x->agent = ipc_new(x->base, fds[0], EXEC_BODY_MAX, on_agent_msg, on_agent_gone, x);
	welcome(x);
}

static void
on_respawn(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	spawn_agent(arg);
}

static void
end(struct executor *x, int code)
{
	if (x->ending)
		return;
	x->exit_code = code;
	x->ending = true;
	respawns_stop(x->helpers);
}

static void
agent_ended(struct executor *x, int st)
{
	bool young = clock_ms() - x->agent_started_ms < YOUNG_MS;

	if (x->agent != NULL)
		agent_channel_close(x);
	x->agent_pid = 0;
	evtimer_del(x->replace);
	if (x->ending)
		return;
	if (x->left) {
		end(x, 0);
		return;
	}
	if (WIFEXITED(st) && WEXITSTATUS(st) == AGENT_EXIT_REFUSED) {
		log_err("executor ends: the agent cannot run");
		end(x, 1);
		return;
	}
	if (executor_take_next(x)) {
		executor_arm(x->respawn, 0);
		return;
	}
	errno = 0;
	log_err("agent ended %s=%d, starting another", WIFSIGNALED(st) ? "signal" : "exit",
	    WIFSIGNALED(st) ? WTERMSIG(st) : WEXITSTATUS(st));
	if (!young)
		x->delay_ms = 0;
	executor_arm(x->respawn, x->delay_ms);
	x->delay_ms = x->delay_ms == 0 ? 50 : x->delay_ms * 2;
	if (x->delay_ms > DELAY_MAX_MS)
		x->delay_ms = DELAY_MAX_MS;
}

/* ---- signals ------------------------------------------------------------- */

static void
reap(struct executor *x)
{
	pid_t pid;
	int st;

	while ((pid = waitpid(-1, &st, WNOHANG)) > 0) {
		if (pid == x->agent_pid)
			agent_ended(x, st);
		else if (pid == x->relay_pid)
			x->relay_pid = 0;
		else if (!resource_runs_reaped(x->runs, pid, st))
			(void)(notify_reaped(x->notify, pid, st) ||
			    fence_reaped(x->fence, pid, st) ||
			    watchdog_reaped(x->watchdog, pid, st) ||
			    respawns_reaped(x->helpers, pid, st) ||
			    reload_reaped(x->reload, pid, st));
	}
}

/* What leaving may take at most: each resource its own limits, and the rest. */
static int
leave_limit(const struct hagent_conf *c)
{
	int ms = c->drain_ms + c->switch_ms + 5000;

	for (size_t i = 0; i < c->nresources; i++)
		ms += c->resources[i].stop_timeout_ms + c->resources[i].drain_timeout_ms;
	return ms;
}

static void
shut_down(struct executor *x)
{
	struct wire_out w;

	if (x->shutting)
		return;
	x->shutting = true;
	log_info("executor asked to end: leaving the pair in order");
	executor_arm(x->limit, leave_limit(x->conf));
	wire_out_init(&w);
	executor_answer(x, x->agents, EX_SHUTDOWN, 0, &w, -1);
}

static void
on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct executor *x = arg;

	(void)fd;
	(void)what;
	log_err("executor ends: the agent did not leave in time");
	if (x->agent_pid > 0)
		kill(x->agent_pid, SIGKILL);
	end(x, 1);
}

static void
on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct executor *x = arg;
	struct signalfd_siginfo si;

	(void)what;
	while (read(fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			reap(x);
		else if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
			shut_down(x);
		else if (si.ssi_signo == SIGHUP)
			executor_tell_hup(x);
	}
}

/* signalfd instead of libevent's signals: those are global to a process and would be
 * shared with the forked agent. */
static int
open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == -1)
		return -1;
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static int
run_agent(struct executor *x)
{
	executor_child_begin(x, x->child_fd, "hagentd/agent");
	return agent_run(x->start->conf, x->start->keys, 3);
}

static void
set_up(struct executor *x, const struct executor_start *s)
{
	x->start = s;
	x->conf = s->conf;
	x->child_fd = -1;
	x->base = event_base_new();
	x->signal_fd = open_signals();
	if (x->base == NULL || x->signal_fd == -1)
		log_fatal("executor cannot make its event loop");
	x->signals = event_new(x->base, x->signal_fd, EV_READ | EV_PERSIST, on_signal, x);
	x->respawn = evtimer_new(x->base, on_respawn, x);
	x->limit = evtimer_new(x->base, on_limit, x);
	event_add(x->signals, NULL);
	x->fence = fence_new(x->base, x->conf, on_fenced, x);
	x->notify = notify_new(x->base, x->conf);
	x->watchdog = watchdog_new(x->base, &x->conf->watchdog, tell_watchdog, x);
	x->runs = resource_runs_new(x->base, x->conf, &runs_ops, x);
	x->helpers = respawns_new(x->base, x->conf, &helper_ops, x);
	executor_addresses_open(x);
	executor_reload_open(x);
	x->group_before = group_mark_is(x->conf->run_dir);
}

/* What may still serve here must not outlive who would stop it.  An agent that left had
 * everything stopped; of what was before the first one only an agent could tell. */
static bool
nothing_runs(const struct executor *x)
{
	return x->left || (x->group_told && !x->group_started);
}

int
executor_run(const struct executor_start *s)
{
	struct executor *x = mem_alloc(sizeof(*x));
	struct realtime rt;
	int code;

	set_up(x, s);
	/* It pets the watchdog and moves addresses; memory is the agent's to lock. */
	realtime_enter(&rt, s->conf->realtime, false);
	/* From the loop, so that every agent is forked at the same place. */
	executor_arm(x->respawn, 0);
	daemon_ready();
	if (event_base_dispatch(x->base) == -1)
		log_fatal("executor event loop");
	if (x->child_fd != -1)
		return run_agent(x);	/* the parent's objects are left as they are */
	notify_free(x->notify);
	watchdog_free(x->watchdog, nothing_runs(x));
	fence_free(x->fence);
	executor_addresses_close(x);
	executor_reload_close(x);
	if (x->relay_pid > 0)
		kill(x->relay_pid, SIGKILL);
	ipc_free(x->agent);
	resource_runs_free(x->runs);
	respawns_free(x->helpers);
	event_free(x->signals);
	event_free(x->respawn);
	event_free(x->limit);
	close(x->signal_fd);
	event_base_free(x->base);
	code = x->exit_code;
	free(x);
	return code;
}
