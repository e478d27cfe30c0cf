/* executor.c - root's half of hagentd.
 *
 * It reads nothing but fixed-size requests with indexes into the configuration, and
 * answers each once.  resource_run.c runs what they ask for.  When the agent dies a new
 * one is forked at once, a second that dies young after a growing delay, at most
 * 1 s; addresses, running scripts and the memory that the group is started stay.
 * It decides nothing: on SIGTERM it asks the agent to leave, and only ends when that
 * is done or the time for it is over. */
#define _GNU_SOURCE	/* close_range, pipe2 */
#include "executor.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "agent.h"
#include "clock.h"
#include "ctl.h"
#include "config_digest.h"
#include "corosync_relay.h"
#include "daemon.h"
#include "exec_proto.h"
#include "fence.h"
#include "ipc.h"
#include "mem.h"
#include "notify.h"
#include "privopen.h"
#include "realtime.h"
#include "reload.h"
#include "resource_run.h"
#include "respawn.h"
#include "vip.h"
#include "watchdog.h"

#define YOUNG_MS 2000		/* an agent that dies before this age delays the next */
#define DELAY_MAX_MS 1000
#define LOOK_MS 10000		/* at the configuration files */
#define REPLACE_MS 2000	/* for an agent that was told to end */

struct vip_ask {
	struct executor *x;
	uint32_t id, agent;
};

struct executor {
	const struct executor_start *start;
	struct hagent_conf *conf;
	struct event_base *base;
	struct event *signals, *respawn, *limit, *look, *replace;
	int signal_fd;
	struct ipc *agent;
	pid_t agent_pid;
	pid_t relay_pid;	/* of the process for the corosync link; 0 none */
	uint32_t agents;	/* started so far; also names the present one */
	int64_t agent_started_ms;
	int delay_ms;
	bool group_started, shutting, left, ending;
	uint32_t held;		/* resources that an operator stopped */
	int exit_code;
	uint32_t config;	/* digest of the three files */
	bool config_told;	/* that it cannot be made; once */
	/* A new configuration: it is looked at, for whom; it waits for the agent to end. */
	struct reload *reload;
	uint32_t reload_id, reload_agent;
	bool reload_dry;
	bool reload_started;	/* the group was up when the reload was asked for */
	struct reload_result next;		/* .conf NULL: none */
	uint32_t new_resources, new_vips;	/* to go up with the next agent */
	struct watchdog *watchdog;
	struct fence *fence;
	struct notify *notify;
	struct vip *vips[HAGENT_VIPS_MAX];
	/* The peer's own address on each udp link: only ever probed for. */
	struct vip_conf peer_conf[HAGENT_LINKS_MAX];
	struct vip *peers[HAGENT_LINKS_MAX];
	struct resource_runs *runs;
	struct respawns *helpers;
	int child_fd;		/* in the forked agent: its end; else -1 */
};

static void
arm(struct event *ev, int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	evtimer_add(ev, &tv);
}

static void
answer(struct executor *x, uint32_t agent, enum exec_type type, uint32_t id,
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
	answer(arg, ask->agent, EX_RAN, ask->id, &w, -1);
}

/* An agent that is not there now asks for every status when it is. */
static void
on_died(void *arg, uint16_t resource)
{
	struct executor *x = arg;
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u16(&w, resource);
	answer(x, x->agents, EX_DIED, 0, &w, -1);
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
	answer(x, x->agents, EX_HELPER, 0, &w, -1);
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

/* ---- addresses and descriptors ------------------------------------------- */

static void
vip_answer(struct executor *x, uint32_t agent, uint32_t id, enum exec_vip_result r,
    const char *error)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u8(&w, (uint8_t)r);
	wire_put_str(&w, error);
	answer(x, agent, EX_VIP_DONE, id, &w, -1);
}

static void
on_probed(enum exec_vip_result r, const char *error, void *arg)
{
	struct vip_ask *a = arg;

	vip_answer(a->x, a->agent, a->id, r, error);
	free(a);
}

static void
probe(struct executor *x, struct vip *v, uint32_t id)
{
	struct vip_ask *a = mem_alloc(sizeof(*a));

	a->x = x;
	a->id = id;
	a->agent = x->agents;
	vip_probe(v, on_probed, a);
}

static struct vip *
vip_of(struct executor *x, unsigned n, uint8_t op)
{
	if (n < x->conf->nvips)
		return x->vips[n];
	if (op == VIP_PROBE && n >= EXEC_PEER0 && n - EXEC_PEER0 < x->conf->nlinks)
		return x->peers[n - EXEC_PEER0];
	return NULL;
}

static void
on_vip(struct executor *x, uint32_t id, struct wire_in *in)
{
	uint16_t n = wire_get_u16(in);
	uint8_t op = wire_get_u8(in);
	struct vip *v = vip_of(x, n, op);
	enum exec_vip_result r;

	if (!wire_in_done(in) || v == NULL || op > VIP_QUERY) {
		log_err("executor refuses vip=%u op=%u", n, op);
		vip_answer(x, x->agents, id, VIP_FAILED, "no such address");
		return;
	}
	if (op == VIP_PROBE) {
		probe(x, v, id);
		return;
	}
	errno = 0;
	r = vip_do(v, (enum exec_vip_op)op);
	if (r == VIP_FAILED)
		log_warn("vip %s on %s", x->conf->vips[n].name, x->conf->vips[n].interface);
	else if (op == VIP_ADD || op == VIP_DEL)
		log_info("vip %s %s on %s", x->conf->vips[n].name, op == VIP_ADD ? "up" :
		    "down", x->conf->vips[n].interface);
	vip_answer(x, x->agents, id, r, r == VIP_FAILED ? strerror(errno) : "");
}

/* A child forgets everything of the executor's but its channel, now descriptor 3. */
static void
child_begin(const struct executor *x, int fd, const char *ident)
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
}

/* The one before may hang in a call: whoever opens the link anew gave it up. */
static int
open_corosync(struct executor *x, const struct link_conf *l)
{
	int fds[2];
	pid_t pid;

	if (x->relay_pid > 0)
		kill(x->relay_pid, SIGKILL);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == -1)
		return -1;
	pid = fork();
	if (pid == 0) {
		child_begin(x, fds[1], "hagentd/corosync");
		cluster_keys_wipe(x->start->keys);
		_exit(corosync_relay_run(x->conf, l, 3));
	}
	close(fds[1]);
	if (pid == -1) {
		close(fds[0]);
		errno = EAGAIN;
		return -1;
	}
	x->relay_pid = pid;
	return fds[0];
}

static int
open_link(struct executor *x, unsigned n)
{
	const struct link_conf *l = &x->conf->links[n];

	return l->medium == MEDIUM_COROSYNC ? open_corosync(x, l)
	    : privopen_link(l, x->conf->self);
}

static void
on_open(struct executor *x, uint32_t id, struct wire_in *in)
{
	uint8_t what = wire_get_u8(in);
	uint16_t n = wire_get_u16(in);
	struct wire_out w;
	int fd = -1;

	errno = EINVAL;
	if (wire_in_done(in) && what == OPEN_LINK && n < x->conf->nlinks)
		fd = open_link(x, n);
	else if (wire_in_done(in) && what == OPEN_PING && n < x->conf->npings)
		fd = privopen_ping(&x->conf->pings[n]);
	wire_out_init(&w);
	wire_put_u32(&w, fd == -1 ? (uint32_t)errno : 0);
	answer(x, x->agents, EX_OPENED, id, &w, fd);
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
	answer(x, x->agents, EX_WATCHDOG, 0, &w, -1);
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
	answer(x, x->agents, EX_WATCHDOG_IS, id, &w, -1);
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
	answer(arg, ask->agent, EX_FENCED, ask->id, &w, -1);
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

/* ---- a new configuration --------------------------------------------------- */

static void
answer_reload(struct executor *x, uint32_t agent, uint32_t id, int code, const char *text,
    const char *hint)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u8(&w, (uint8_t)code);
	wire_put_str(&w, text);
	wire_put_str(&w, hint);
	answer(x, agent, EX_RELOADED, id, &w, -1);
}

/* The new file was checked for a group that was up, or was not, and for scripts by their
 * numbers.  Is all of that still so? */
static bool
reload_fits(const struct executor *x, const struct reload_result *r)
{
	return x->group_started == x->reload_started &&
	    (!r->moved || resource_runs_idle(x->runs)) && fence_idle(x->fence);
}

/* The agent goes before the configuration does: its indexes are those of the old one. */
static void
on_reloaded(void *arg, struct reload_result *r)
{
	struct executor *x = arg;
	struct wire_out w;

	reload_free(x->reload);
	x->reload = NULL;
	if (r->code != CTL_OK) {
		answer_reload(x, x->reload_agent, x->reload_id, r->code, r->text, r->hint);
		return;
	}
	if (!reload_fits(x, r)) {
		hagent_conf_free(r->conf);
		answer_reload(x, x->reload_agent, x->reload_id, CTL_CONFLICT,
		    "the role changed while the new configuration was checked", "hactl reload");
		return;
	}
	if (x->reload_dry || x->shutting) {
		hagent_conf_free(r->conf);
		answer_reload(x, x->reload_agent, x->reload_id, CTL_OK,
		    "the new configuration could be taken now", "");
		return;
	}
	x->next = *r;
	answer_reload(x, x->reload_agent, x->reload_id, CTL_OK, "the new configuration is taken",
	    "hactl status");
	wire_out_init(&w);
	answer(x, x->agents, EX_REPLACE, 0, &w, -1);
	arm(x->replace, REPLACE_MS);
}

static void
on_reload(struct executor *x, uint32_t id, struct wire_in *in)
{
	uint8_t dry = wire_get_u8(in), peer_key = wire_get_u8(in);
	struct reload_ask ask = {
		.path = x->start->path,
		.node = x->start->node,
		.now = x->conf,
		.started = x->group_started,
		.scripts = !resource_runs_idle(x->runs),
		.peer_key = peer_key,
	};

	if (x->reload != NULL || x->next.conf != NULL || x->shutting || !fence_idle(x->fence)) {
		answer_reload(x, x->agents, id, CTL_CONFLICT, "another reload, a fencing or the "
		    "end of hagentd is under way", "hactl status, then hactl reload again");
		return;
	}
	x->reload_id = id;
	x->reload_agent = x->agents;
	x->reload_dry = dry != 0;
	x->reload_started = x->group_started;
	x->reload = reload_new(x->base, &ask, on_reloaded, x);
}

static void
on_replace(evutil_socket_t fd, short what, void *arg)
{
	struct executor *x = arg;

	(void)fd;
	(void)what;
	log_warnx("executor: the agent did not end for its successor");
	if (x->agent_pid > 0)
		kill(x->agent_pid, SIGKILL);
}

static void
tell_hup(struct executor *x)
{
	struct wire_out w;

	wire_out_init(&w);
	answer(x, x->agents, EX_HUP, 0, &w, -1);
}

/* ---- the agent ----------------------------------------------------------- */

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
		on_vip(x, m->id, &in);
		break;
	case EX_OPEN:
		on_open(x, m->id, &in);
		break;
	case EX_GROUP:
		x->group_started = wire_get_u8(&in) != 0;
		x->held = wire_get_u32(&in);
		respawns_active(x->helpers, x->group_started);
		x->new_resources = x->new_vips = 0;
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
		on_reload(x, m->id, &in);
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

/* Files that cannot be read now keep the digest that they had. */
static bool
config_changed(struct executor *x)
{
	const char *file;
	uint32_t digest;

	if (config_digest(x->conf, &digest, &file) == -1) {
		if (!x->config_told)
			log_warn("%s cannot be compared with the other node's", file);
		x->config_told = true;
		return false;
	}
	x->config_told = false;
	if (digest == x->config)
		return false;
	x->config = digest;
	return true;
}

static void
tell_config(struct executor *x)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u32(&w, x->config);
	answer(x, x->agents, EX_CONFIG, 0, &w, -1);
}

/* Somebody edits a file, or copies it to the other node. */
static void
on_look(evutil_socket_t fd, short what, void *arg)
{
	struct executor *x = arg;

	(void)fd;
	(void)what;
	arm(x->look, LOOK_MS);
	if (config_changed(x))
		tell_config(x);
}

static void
welcome(struct executor *x)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u8(&w, x->group_started);
	wire_put_u32(&w, x->held);
	wire_put_u32(&w, x->agents - 1);
	wire_put_u32(&w, x->new_resources);
	wire_put_u32(&w, x->new_vips);
	answer(x, x->agents, EX_WELCOME, 0, &w, -1);
	tell_config(x);
	tell_watchdog(x);
	respawns_tell(x->helpers);
	if (x->shutting) {
		wire_out_init(&w);
		answer(x, x->agents, EX_SHUTDOWN, 0, &w, -1);
	}
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
		arm(x->respawn, DELAY_MAX_MS);
		return;
	}
	pid = fork();
	if (pid == -1) {
		log_warn("executor cannot start the agent");
		close(fds[0]);
		close(fds[1]);
		arm(x->respawn, DELAY_MAX_MS);
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

/* ARP answers as long as the peer's kernel lives, whatever its services do. */
static void
set_up_peer(struct executor *x, size_t i)
{
	const struct link_conf *l = &x->conf->links[i];
	const struct sockaddr_storage *peer = link_probe_address(l, 1 - x->conf->self);
	struct vip_conf *c = &x->peer_conf[i];

	if (peer == NULL)
		return;
	c->name = l->name;
	c->interface = l->interface;
	c->family = peer->ss_family;
	if (c->family == AF_INET)
		memcpy(c->addr, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
	else
		memcpy(c->addr, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr,
		    16);
	x->peers[i] = vip_new(x->base, c, x->conf->probe_wait_ms);
}

static void
set_up_addresses(struct executor *x)
{
	for (size_t i = 0; i < x->conf->nvips; i++)
		x->vips[i] = vip_new(x->base, &x->conf->vips[i], x->conf->probe_wait_ms);
	for (size_t i = 0; i < x->conf->nlinks; i++)
		set_up_peer(x, i);
}

/* The addresses themselves stay as they are. */
static void
free_addresses(struct executor *x)
{
	for (size_t i = 0; i < HAGENT_VIPS_MAX; i++) {
		vip_free(x->vips[i]);
		x->vips[i] = NULL;
	}
	for (size_t i = 0; i < HAGENT_LINKS_MAX; i++) {
		vip_free(x->peers[i]);
		x->peers[i] = NULL;
	}
}

/* In the place of the old one, to which others hold pointers. */
static void
take_next(struct executor *x)
{
	struct reload_result *next = &x->next;
	struct hagent_conf old = *x->conf;

	free_addresses(x);
	*x->conf = *next->conf;
	*next->conf = old;
	hagent_conf_free(next->conf);
	*x->start->keys = next->keys;
	x->new_resources = next->resources;
	x->new_vips = next->vips;
	if (next->moved)
		x->held = 0;
	cluster_keys_wipe(&next->keys);
	next->conf = NULL;
	set_up_addresses(x);
	/* The next agent opens every link anew. */
	if (x->relay_pid > 0)
		kill(x->relay_pid, SIGKILL);
	fence_reload(x->fence);
	if (!x->start->debug)
		log_level_set((enum log_level)x->conf->log_level);
	(void)config_changed(x);
	log_info("executor: new configuration digest=%08x keys=%u", x->config,
	    x->start->keys->n);
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
	if (x->next.conf != NULL && !reload_fits(x, &x->next)) {
		log_warnx("executor: the role changed meanwhile, the configuration stays as it was");
		cluster_keys_wipe(&x->next.keys);
		hagent_conf_free(x->next.conf);
		x->next.conf = NULL;
	} else if (x->next.conf != NULL) {
		take_next(x);
		arm(x->respawn, 0);
		return;
	}
	errno = 0;
	log_err("agent ended %s=%d, starting another", WIFSIGNALED(st) ? "signal" : "exit",
	    WIFSIGNALED(st) ? WTERMSIG(st) : WEXITSTATUS(st));
	if (!young)
		x->delay_ms = 0;
	arm(x->respawn, x->delay_ms);
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
	arm(x->limit, leave_limit(x->conf));
	wire_out_init(&w);
	answer(x, x->agents, EX_SHUTDOWN, 0, &w, -1);
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
			tell_hup(x);
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
	child_begin(x, x->child_fd, "hagentd/agent");
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
	x->look = evtimer_new(x->base, on_look, x);
	x->replace = evtimer_new(x->base, on_replace, x);
	event_add(x->signals, NULL);
	x->fence = fence_new(x->base, x->conf, on_fenced, x);
	x->notify = notify_new(x->base, x->conf);
	x->watchdog = watchdog_new(x->base, &x->conf->watchdog, tell_watchdog, x);
	x->runs = resource_runs_new(x->base, x->conf, &runs_ops, x);
	x->helpers = respawns_new(x->base, x->conf, &helper_ops, x);
	set_up_addresses(x);
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
	(void)config_changed(x);
	arm(x->respawn, 0);
	arm(x->look, LOOK_MS);
	daemon_ready();
	if (event_base_dispatch(x->base) == -1)
		log_fatal("executor event loop");
	if (x->child_fd != -1)
		return run_agent(x);	/* the parent's objects are left as they are */
	/* What may still serve here must not outlive who would stop it. */
	notify_free(x->notify);
	watchdog_free(x->watchdog, !x->group_started);
	fence_free(x->fence);
	free_addresses(x);
	reload_free(x->reload);
	hagent_conf_free(x->next.conf);
	cluster_keys_wipe(&x->next.keys);
	if (x->relay_pid > 0)
		kill(x->relay_pid, SIGKILL);
	ipc_free(x->agent);
	resource_runs_free(x->runs);
	respawns_free(x->helpers);
	event_free(x->signals);
	event_free(x->respawn);
	event_free(x->limit);
	event_free(x->look);
	event_free(x->replace);
	close(x->signal_fd);
	event_base_free(x->base);
	code = x->exit_code;
	free(x);
	return code;
}
