/* agent.c - the unprivileged process of hagentd: its loop, the links, the peer.
 *
 * Start: as root it makes the control socket, then drops; loads ha/state, raises the
 * boot counter and makes it durable before the first frame leaves.  Then everything
 * is an event: a frame, an answer of the executor, a word of syncd, a request of
 * hactl, or a tick (agent_tick_ms()); each leads to one policy_step() whose actions
 * agent_act() carries out.
 *
 * Refuses to run (AGENT_EXIT_REFUSED) when the state cannot be read: a node that
 * forgot its generations could repeat one.  Ends when the executor is gone. */
#include "agent.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent_parts.h"
#include "clock.h"
#include "daemon.h"
#include "hex.h"
#include "ipc.h"
#include "lease.h"
#include "mem.h"

#define PROBE_SLACK_MS 50	/* from the question to the answer, besides the wait */
#define REOPEN_MS 500
#define STEPS_MAX 8
#define STRANGERS_MS 60000
#define REASONS_MS 10000
#define SAVE_FAILED_MS 10000

static void
arm(struct event *ev, int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	evtimer_add(ev, &tv);
}

/* ---- the step ------------------------------------------------------------ */

bool
agent_ping_ok(const struct agent *a, unsigned n, int64_t now)
{
	int64_t heard = ping_heard_ms(a->pings[n]);

	return heard >= 0 && now - heard <= a->conf->ping_timeout_ms;
}

void
agent_view(struct agent *a, struct policy_view *v)
{
	memset(v, 0, sizeof(*v));
	v->now_ms = clock_ms();
	v->wall_ms = clock_wall_ms();
	memcpy(v->random, a->random, sizeof(v->random));
	peer_look(&a->peer, v->now_ms, &v->peer);
	for (unsigned i = 0; i < a->conf->npings; i++)
		if (agent_ping_ok(a, i, v->now_ms))
			v->ping_score += (unsigned)a->conf->pings[i].score;
	v->ping_ok = v->ping_score > 0;
	v->watchdog_ms = a->watchdog.armed ? a->watchdog.timeout_ms : 0;
	v->answers = lease_holds(a->lease);
	v->syncd_up = a->syncd_up;
	v->data = a->data;
	v->local_known = a->local_known;
	v->group_started = a->group_started;
	v->group_found = a->group_found;
	v->held = a->held;
	v->cannot = a->cannot;
	v->saved = a->saved;
	agent_view_quorum(a, v);
}

static void
step(struct agent *a, const struct policy_event *ev)
{
	struct policy_view v;
	int64_t until;

	agent_view(a, &v);
	v.ev = *ev;
	policy_step(&a->policy, &v, &a->actions);
	until = policy_answers_until(&a->policy, &v);
	if (until != 0)
		lease_grant(a->lease, until == POLICY_NO_ANSWERS ? 0 : until);
	/* Whoever took it made a generation, and that is never done without an action. */
	if (a->actions.n > 0)
		random_bytes(a->random, sizeof(a->random));
	agent_act(a, &a->actions);
}

/* What waited for the disk goes on at once, not with the next tick. */
void
agent_event(struct agent *a, const struct policy_event *ev)
{
	struct policy_event tick = { .type = EV_TICK };
	uint64_t saved = a->saved;

	assert(!a->stepping);
	a->stepping = true;
	step(a, ev);
	for (int i = 0; i < STEPS_MAX && saved != a->saved; i++) {
		saved = a->saved;
		step(a, &tick);
	}
	agent_notice(a);
	a->stepping = false;
}

void
agent_tick(struct agent *a)
{
	struct policy_event ev = { .type = EV_TICK };

	agent_event(a, &ev);
}

int
agent_save(struct agent *a)
{
	unsigned long held;

	a->history_unsaved = false;	/* tried once; a save that is needed takes it along */
	a->save_errno = 0;
	if (state_save(&a->state, a->conf->state_dir) == 0)
		return 0;
	a->save_errno = errno;
	if (log_rate_ok(&a->save_failed, SAVE_FAILED_MS, &held))
		log_err("state cannot be written in %s (%lu more since the last such line)",
		    a->conf->state_dir, held);
	return -1;
}

void
agent_end(struct agent *a, int code)
{
	a->exit_code = code;
	event_base_loopbreak(a->base);
}

/* ---- frames out ---------------------------------------------------------- */

void
agent_send(struct agent *a, unsigned n)
{
	struct agent_link *l = &a->links[n];
	struct policy_view v;
	struct frame f = { .type = FRAME_HEARTBEAT };
	uint8_t buf[FRAME_MAX];
	int len;

	if (!link_up(l->link))
		return;
	agent_view(a, &v);
	policy_fill(&a->policy, &v, &f);
	agent_about_send(a, n, &v, &f);
	peer_stamp(&a->peer, n, v.now_ms, &f);
	len = frame_encode(&f, a->cluster, &l->send.key[0], buf, sizeof(buf));
	if (len == -1)
		log_warn("frame for link %s", l->link->conf->name);
	else if (link_send(l->link, buf, (size_t)len))
		agent_link_sent(a, n);
}

void
agent_send_all(struct agent *a)
{
	for (unsigned i = 0; i < a->conf->nlinks; i++)
		agent_send(a, i);
}

struct beat {
	struct agent *a;
	unsigned link;
};

static void
on_beat(evutil_socket_t fd, short what, void *arg)
{
	struct beat *b = arg;

	(void)fd;
	(void)what;
	arm(b->a->links[b->link].beat, b->a->links[b->link].keepalive_ms);
	agent_send(b->a, b->link);
}

/* ---- frames in ----------------------------------------------------------- */

static void
refuse_frame(struct agent *a, unsigned n, enum frame_rc rc)
{
	struct agent_link *l = &a->links[n];
	unsigned long held;

	peer_refused(&a->peer, n, rc);
	if (log_rate_ok(&l->strangers, STRANGERS_MS, &held))
		log_warnx("link %s frame refused: %s (%lu more since the last such line)",
		    l->link->conf->name, frame_rc_name(rc), held);
}

/* The contents of a new boot count when its number is durable: after our own restart
 * the older ones have to stay dead.  While the disk refuses, each frame tries again. */
static void
remember_peer_boot(struct agent *a, uint32_t boot)
{
	uint32_t before = a->state.peer_boot;

	if (boot > before) {
		a->state.peer_boot = boot;
		if (agent_save(a) == -1) {
			a->state.peer_boot = before;
			return;
		}
	}
	peer_kept(&a->peer, boot);
}

static void
on_frame(void *arg, unsigned n, const uint8_t *p, size_t len)
{
	struct agent *a = arg;
	struct frame_expect expect = {
		.sender = (uint8_t)(1 - a->conf->self),
		.channel = (uint8_t)n,
		.keys = &a->links[n].receive,
	};
	struct frame f;
	enum frame_rc rc;

	memcpy(expect.cluster, a->cluster, sizeof(expect.cluster));
	rc = frame_decode(p, len, &expect, &f);
	/* A group brings our own frames back; that is no stranger. */
	if (rc == FRAME_SENDER && link_echoes(&a->conf->links[n]))
		return;
	if (rc == FRAME_OK) {
		remember_peer_boot(a, f.boot);
		rc = peer_accept(&a->peer, n, &f, clock_ms());
		if (rc == FRAME_OK)
			agent_about_heard(a, &f);
	}
	if (rc != FRAME_OK) {
		refuse_frame(a, n, rc);
		return;
	}
	agent_watch_link(a, n);
	agent_tick(a);
}

static void
on_reopen(evutil_socket_t fd, short what, void *arg)
{
	struct beat *b = arg;
	struct agent_link *l = &b->a->links[b->link];

	(void)fd;
	(void)what;
	if (l->opening || link_up(l->link))
		return;
	l->opening = true;
	exec_client_open(b->a->exec, OPEN_LINK, b->link);
}

static void
on_broken(void *arg, unsigned n, const char *why)
{
	struct agent *a = arg;
	struct agent_link *l = &a->links[n];

	unsigned long held;

	/* The first reason, and other ones now and then. */
	if (!l->told || (strncmp(l->why, why, sizeof(l->why) - 1) != 0 &&
	    log_rate_ok(&l->reasons, REASONS_MS, &held)))
		log_warnx("link %s is down: %s", a->conf->links[n].name, log_safe(why));
	l->told = true;
	snprintf(l->why, sizeof(l->why), "%s", why);
	arm(l->reopen, REOPEN_MS);
}

/* ---- timers -------------------------------------------------------------- */

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct agent *a = arg;

	(void)fd;
	(void)what;
	agent_watch_links(a);
	agent_tick(a);
	agent_ask_syncd(a);
	agent_reload_tick(a);
	arm(a->tick, agent_tick_ms(a));
	agent_alive(a, clock_ms());
	agent_fence_check(a, clock_ms());
}

static void
on_ping(evutil_socket_t fd, short what, void *arg)
{
	struct agent *a = arg;

	(void)fd;
	(void)what;
	arm(a->ping_timer, a->conf->ping_interval_ms);
	for (unsigned i = 0; i < a->conf->npings; i++) {
		if (ping_attached(a->pings[i]))
			ping_send(a->pings[i]);
		else
			exec_client_open(a->exec, OPEN_PING, i);
	}
	agent_check_vips(a);
}

/* ---- start --------------------------------------------------------------- */

static void
policy_conf_fill(struct agent *a)
{
	static const enum policy_mode modes[] = { [MODE_SERIAL_PING] = POLICY_SERIAL_PING,
		[MODE_MANUAL] = POLICY_MANUAL, [MODE_FENCING] = POLICY_FENCING,
		[MODE_QUORUM] = POLICY_QUORUM };
	const struct hagent_conf *c = a->conf;
	struct policy_conf *p = &a->pconf;

	p->node = (uint8_t)c->self;
	p->mode = modes[c->mode];
	p->quorum_require = c->quorum_require;
	p->watchdog_ms = c->watchdog.device[0] != '\0' ? c->watchdog.timeout_ms : 0;
	p->watchdog_required = c->watchdog.required;
	p->fence_delay_ms = c->fence_delay_ms[c->self];
	p->fence_retry_max_ms = c->fence_retry_max_ms;
	p->failback = (enum policy_failback)c->failback;
	p->preferred = c->preferred;
	p->failback_delay_ms = (int64_t)c->failback_delay_s * 1000;
	p->moves_max = (unsigned)c->moves_max;
	p->moves_window_ms = (int64_t)c->moves_window_s * 1000;
	p->vip_check_ms = c->vip_check_ms;
	p->cold_last_active = c->cold_start == COLD_LAST_ACTIVE;
	p->syncd = c->syncd_socket[0] != '\0';
	p->pings = c->npings > 0;
	p->nres = (unsigned)c->nresources;
	p->nvips = (unsigned)c->nvips;
	for (size_t i = 0; i < c->nresources; i++) {
		p->res[i].drain = c->resources[i].drain;
		p->res[i].restarts = (unsigned)c->resources[i].restarts;
		p->res[i].window_ms = (int64_t)c->resources[i].restart_window_s * 1000;
		p->res[i].monitor_ms = c->resources[i].monitor_interval_ms;
	}
	p->dead_ms = c->deadtime_ms;
	p->initdead_ms = c->initdead_ms;
	p->isolated_ms = c->isolated_ms;
	p->known_ms = c->deadtime_ms < c->ping_timeout_ms ? c->deadtime_ms : c->ping_timeout_ms;
	p->ping_handover_ms = c->ping_handover_ms;
	p->evidence_ms = c->evidence_ms;
	p->probe_fresh_ms = c->probe_fresh_ms;
	p->suspect_ms = c->deadtime_ms - c->probe_wait_ms - PROBE_SLACK_MS;
	if (p->suspect_ms < c->deadtime_ms / 2)
		p->suspect_ms = c->deadtime_ms / 2;
	p->drain_ms = c->drain_ms;
	p->syncd_wait_ms = c->syncd_wait_ms;
	p->join_wait_ms = c->join_wait_ms;
	p->switch_ms = c->switch_ms;
	p->retry_ms = c->retry_ms;
}

/* A key for each channel and direction, so that nothing can be replayed from one on
 * another or sent back. */
static void
derive(const struct agent *a, const struct cluster_keys *keys, unsigned n, unsigned sender,
    struct frame_keys *out)
{
	const struct link_conf *l = &a->conf->links[n];

	for (unsigned i = 0; i < keys->n; i++)
		if (frame_derive(keys->key[i].secret, keys->key[i].id, a->conf->cluster,
		    link_medium_name(l->medium), (uint8_t)n, (uint8_t)sender, &out->key[i]) == -1)
			log_fatal("key of link %s", l->name);
	out->nkeys = keys->n;
}

static void
start_link(struct agent *a, unsigned n, const struct cluster_keys *keys)
{
	const struct link_conf *c = &a->conf->links[n];
	struct agent_link *l = &a->links[n];
	struct beat *b = mem_alloc(sizeof(*b));

	b->a = a;
	b->link = n;
	l->keepalive_ms = c->medium == MEDIUM_SERIAL ? a->conf->serial_keepalive_ms
	    : a->conf->keepalive_ms;
	l->link = link_new(a->base, c, n, a->conf->self, &a->link_ops, a);
	l->beat = evtimer_new(a->base, on_beat, b);
	l->reopen = evtimer_new(a->base, on_reopen, b);
	derive(a, keys, n, a->conf->self, &l->send);
	derive(a, keys, n, 1 - a->conf->self, &l->receive);
	if (peer_add_link(&a->peer, l->keepalive_ms, a->conf->warntime_ms,
	    a->conf->deadtime_ms) != (int)n)
		log_fatal("too many links");
	arm(l->reopen, 0);
	arm(l->beat, l->keepalive_ms);
}

/* -1: this node may not run. */
static int
start_state(struct agent *a)
{
	int rc;

	if (frame_cluster_id(a->conf->cluster, a->cluster) == -1)
		log_fatal("cluster id");
	rc = state_load(&a->state, a->conf->state_dir);
	if (rc == -1) {
		log_err("state in %s cannot be read: this node must not take part before "
		    "it is known what it did last", a->conf->state_dir);
		return -1;
	}
	if (rc == 1) {
		state_init(&a->state, a->cluster, (uint8_t)a->conf->self);
		/* A node with a new disk must be above the boots that its peer heard of the
		 * old one, or it is taken for a replay.  It is a number only: a wrong clock
		 * makes it refused, and later starts count from it. */
		a->state.boot = (uint32_t)(clock_wall_ms() / 1000);
	}
	if (memcmp(a->state.cluster, a->cluster, 16) != 0 ||
	    a->state.node != a->conf->self) {
		errno = 0;
		log_err("state in %s is of another pair or node (cluster or order of nodes changed?)",
		    a->conf->state_dir);
		return -1;
	}
	a->state.boot++;
	return agent_save(a);
}

static int
listen_ctl(const struct hagent_conf *c)
{
	char *path = mem_printf("%s/hagentd.sock", c->run_dir);
	gid_t gid;
	int fd = -1;

	if (daemon_group_find(c->group, &gid) == 0)
		fd = ipc_listen(path, 0660, gid);
	if (fd == -1)
		log_err("control socket %s", path);
	free(path);
	return fd;
}

static struct lease *
open_lease(const struct hagent_conf *c)
{
	char *path = mem_printf("%s/lease", c->run_dir);
	struct lease *l = lease_open(path, LEASE_GRANTER);

	if (l == NULL)
		log_err("lease of the services %s: %s", path, strerror(errno));
	free(path);
	return l;
}

static void
start_parts(struct agent *a, int exec_fd, int ctl_fd, const struct cluster_keys *keys)
{
	int64_t now = clock_ms();

	random_bytes(a->nonce, sizeof(a->nonce));
	random_bytes(a->random, sizeof(a->random));
	peer_init(&a->peer, (uint8_t)a->conf->self, a->state.boot, a->nonce,
	    a->state.peer_boot, now);
	policy_conf_fill(a);
	policy_init(&a->policy, &a->pconf, &a->state.marks, a->state.boot, now);
	a->events = eventlog_open(a->conf->state_dir, (unsigned)a->conf->events_max);
	agent_record(a, EVENTLOG_AGENT, "started, boot %u, version " MAILPAIR_VERSION,
	    a->state.boot);
	a->exec = exec_client_new(a->base, exec_fd, &agent_exec_ops, a);
	for (unsigned i = 0; i < a->conf->nlinks; i++)
		start_link(a, i, keys);
	for (unsigned i = 0; i < a->conf->npings; i++)
		a->pings[i] = ping_new(a->base, &a->conf->pings[i]);
	if (a->pconf.syncd)
		a->syncd = syncd_client_new(a->base, a->conf->syncd_socket,
		    a->conf->node[a->conf->self], &agent_syncd_ops, a);
	a->ctl = ctl_server_new(a->base, ctl_fd, agent_on_request, a);
	a->tick = evtimer_new(a->base, on_tick, a);
	a->ping_timer = evtimer_new(a->base, on_ping, a);
	arm(a->tick, 0);
	arm(a->ping_timer, 0);
}

static void
stop_parts(struct agent *a)
{
	for (unsigned i = 0; i < a->conf->nlinks; i++) {
		free(event_get_callback_arg(a->links[i].beat));
		event_free(a->links[i].beat);
		event_free(a->links[i].reopen);
		link_free(a->links[i].link);
	}
	for (unsigned i = 0; i < a->conf->npings; i++)
		ping_free(a->pings[i]);
	ctl_server_free(a->ctl);
	httpget_free(a->metrics);
	eventlog_free(a->events);
	syncd_client_free(a->syncd);
	exec_client_free(a->exec);
	event_free(a->tick);
	event_free(a->ping_timer);
}

int
agent_run(const struct hagent_conf *conf, const struct cluster_keys *keys, int fd)
{
	struct realtime rt;
	struct agent *a;
	int ctl_fd = listen_ctl(conf), metrics_fd = agent_metrics_listen(conf);
	struct lease *lease = open_lease(conf);
	int code;

	if (ctl_fd == -1 || lease == NULL)
		return 1;
	realtime_enter(&rt, conf->realtime, conf->lock_memory);
	daemon_drop(conf->user, NULL, DAEMON_BOX_STORE);
	a = mem_alloc(sizeof(*a));
	a->conf = conf;
	a->lease = lease;
	a->realtime = rt;
	a->start_wall_ms = clock_wall_ms();
	a->link_ops = (struct link_ops){ on_frame, on_broken };
	a->probe = PROBE_CLEAR;
	if (start_state(a) == -1) {
		free(a);
		return AGENT_EXIT_REFUSED;
	}
	a->base = event_base_new();
	if (a->base == NULL)
		log_fatal("agent cannot make its event loop");
	start_parts(a, fd, ctl_fd, keys);
	agent_metrics_start(a, metrics_fd);
	log_info("agent started node=%s boot=%u fixed=%llu",
	    conf->node[conf->self], a->state.boot,
	    (unsigned long long)a->state.marks.fixed);
	if (event_base_dispatch(a->base) == -1)
		log_fatal("agent event loop");
	stop_parts(a);
	code = a->exit_code;
	lease_close(a->lease);
	event_base_free(a->base);
	mem_wipe(a->links, sizeof(a->links));
	free(a);
	return code;
}
