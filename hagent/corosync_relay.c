/* corosync_relay.c - carries frames between the agent and a process group of corosync,
 * and tells how corosync stands.
 *
 * The libraries of corosync block while corosync hangs, so this is a process of its
 * own that may be killed at any time.  It connects as root, because corosync lets
 * nobody else in, drops, and only then reads what other nodes sent.  Connecting goes
 * through a list of steps; "try again" waits for a timer.  Anything else that fails is
 * told to the agent in one line, and the process ends: the next one begins anew.
 *
 * Of several frames that wait only the newest is sent on, and none while corosync asks
 * to try again: a heartbeat is worth nothing when it is old. */
#include "corosync_relay.h"

#include <corosync/cmap.h>
#include <corosync/corotypes.h>
#include <corosync/cpg.h>
#include <corosync/quorum.h>
#include <corosync/votequorum.h>
#include <errno.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "clock.h"
#include "corosync_facts.h"
#include "corosync_proto.h"
#include "daemon.h"
#include "frame.h"
#include "log.h"
#include "mem.h"
#include "realtime.h"

#define RETRY_MS 100
#define POLL_MS 250
#define FACTS_MS 2000
#define FRAMES_MAX 256		/* read in one go */
#define SOURCES 5

struct relay {
	const struct hagent_conf *conf;
	const struct link_conf *link;
	struct event_base *base;
	struct event *timer, *sources[SOURCES];
	size_t nsources;
	int fd;
	unsigned step;			/* of connecting */
	bool ended;
	cmap_handle_t cmap, stats;
	quorum_handle_t quorum;
	votequorum_handle_t votes;
	bool have_votes;
	cpg_handle_t cpg;
	struct cpg_name group;
	int64_t facts_ms;
	struct corosync_state state;
};

static void
arm(struct event *ev, int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	evtimer_add(ev, &tv);
}

/* ---- to the agent -------------------------------------------------------- */

static void end(struct relay *, const char *, ...) __attribute__((format(printf, 2, 3)));

static void
end(struct relay *r, const char *fmt, ...)
{
	uint8_t buf[COROSYNC_PACKET];
	char text[COROSYNC_WHY];
	va_list ap;
	int n;

	if (r->ended)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	n = corosync_text_encode(COROSYNC_BROKEN, text, buf, sizeof(buf));
	/* An agent that is gone need not be told. */
	if (n > 0)
		(void)send(r->fd, buf, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	r->ended = true;
	event_base_loopbreak(r->base);
}

static void
failed(struct relay *r, const char *what, cs_error_t rc)
{
	if (rc == CS_ERR_LIBRARY)
		end(r, "corosync is not there (%s)", what);
	else
		end(r, "corosync %s: %s", what, cs_strerror(rc));
}

/* What the agent does not take it gets again in a moment. */
static void
tell_state(struct relay *r)
{
	uint8_t buf[COROSYNC_PACKET];
	int n = corosync_state_encode(&r->state, buf, sizeof(buf));

	if (n > 0)
		(void)send(r->fd, buf, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* ---- what corosync calls ------------------------------------------------- */

static void
on_frame(cpg_handle_t h, const struct cpg_name *group, uint32_t node, uint32_t pid, void *msg,
    size_t len)
{
	void *context = NULL;
	struct relay *r;
	uint8_t tag = COROSYNC_FRAME;
	struct iovec v[2] = { { &tag, 1 }, { msg, len <= FRAME_MAX ? len : FRAME_MAX + 1 } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };

	(void)group;
	(void)pid;
	if (cpg_context_get(h, &context) != CS_OK)
		return;
	r = context;
	/* Our own come back, too. */
	if (node != r->state.nodeid)
		(void)sendmsg(r->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
on_group(cpg_handle_t h, const struct cpg_name *group, const struct cpg_address *members,
    size_t nmembers, const struct cpg_address *left, size_t nleft,
    const struct cpg_address *joined, size_t njoined)
{
	void *context = NULL;
	struct relay *r;

	(void)group;
	(void)left;
	(void)nleft;
	(void)joined;
	(void)njoined;
	if (cpg_context_get(h, &context) != CS_OK)
		return;
	r = context;
	r->state.peer_joined = false;
	for (size_t i = 0; i < nmembers; i++)
		if (members[i].nodeid != r->state.nodeid)
			r->state.peer_joined = true;
}

static void
on_quorum(quorum_handle_t h, uint32_t quorate, uint64_t ring, uint32_t n, uint32_t *members)
{
	const void *context = NULL;
	struct relay *r;

	(void)ring;
	if (quorum_context_get(h, &context) != CS_OK)
		return;
	memcpy(&r, &context, sizeof(r));
	r->state.quorate = quorate != 0;
	r->state.members = n;
	/* A peer that cannot be told apart counts as one of any others. */
	r->state.peer_member = r->state.peer_nodeid == 0 && n > 1;
	for (uint32_t i = 0; i < n; i++)
		if (r->state.peer_nodeid != 0 && members[i] == r->state.peer_nodeid)
			r->state.peer_member = true;
}

/* ---- connecting, as root ------------------------------------------------- */

static cs_error_t
connect_cmap(struct relay *r)
{
	return cmap_initialize(&r->cmap);
}

static bool
may_use(struct relay *r)
{
	bool good = corosync_facts_crypto(r->cmap, &r->state) || r->link->allow_unencrypted;

	if (!good)
		end(r, "corosync does not encrypt (totem.crypto_cipher and crypto_hash): set "
		    "them, or allow-unencrypted");
	return good;
}

static cs_error_t
connect_stats(struct relay *r)
{
	return may_use(r) ? cmap_initialize_map(&r->stats, CMAP_MAP_STATS) : CS_OK;
}

static cs_error_t
connect_cpg(struct relay *r)
{
	cpg_model_v1_data_t calls = { .model = CPG_MODEL_V1, .cpg_deliver_fn = on_frame,
		.cpg_confchg_fn = on_group };

	return cpg_model_initialize(&r->cpg, CPG_MODEL_V1, (cpg_model_data_t *)&calls, r);
}

static cs_error_t
find_nodes(struct relay *r)
{
	unsigned own;
	cs_error_t rc = cpg_local_get(r->cpg, &own);

	if (rc != CS_OK)
		return rc;
	r->state.nodeid = own;
	r->state.peer_nodeid = corosync_facts_peer(r->cmap, r->conf->node[1 - r->conf->self],
	    own);
	return CS_OK;
}

static cs_error_t
connect_quorum(struct relay *r)
{
	quorum_callbacks_t calls = { .quorum_notify_fn = on_quorum };
	uint32_t type = QUORUM_FREE;
	cs_error_t rc = quorum_initialize(&r->quorum, &calls, &type);

	r->have_votes = rc == CS_OK && type == QUORUM_SET;
	return rc == CS_OK ? quorum_context_set(r->quorum, r) : rc;
}

static cs_error_t
connect_votes(struct relay *r)
{
	votequorum_callbacks_t none = { 0 };
	cs_error_t rc;

	if (!r->have_votes) {
		snprintf(r->state.why, sizeof(r->state.why),
		    "corosync.conf has no quorum provider");
		return CS_OK;
	}
	rc = votequorum_initialize(&r->votes, &none);
	return rc == CS_OK ? corosync_facts_votes(r->votes, &r->state) : rc;
}

static cs_error_t
track_quorum(struct relay *r)
{
	return quorum_trackstart(r->quorum, CS_TRACK_CURRENT | CS_TRACK_CHANGES);
}

static cs_error_t
join(struct relay *r)
{
	return cpg_join(r->cpg, &r->group);
}

static const struct {
	const char *what;
	cs_error_t (*run)(struct relay *);
} steps[] = {
	{ "configuration map", connect_cmap },
	{ "statistics", connect_stats },
	{ "process groups", connect_cpg },
	{ "node list", find_nodes },
	{ "quorum", connect_quorum },
	{ "votes", connect_votes },
	{ "quorum tracking", track_quorum },
	{ "joining the group", join },
};
#define STEPS (sizeof(steps) / sizeof(steps[0]))

/* ---- running ------------------------------------------------------------- */

static void
on_cpg(evutil_socket_t fd, short what, void *arg)
{
	struct relay *r = arg;
	cs_error_t rc = cpg_dispatch(r->cpg, CS_DISPATCH_ALL);

	(void)fd;
	(void)what;
	if (rc != CS_OK && rc != CS_ERR_TRY_AGAIN)
		failed(r, "process groups", rc);
}

static void
on_quorum_ready(evutil_socket_t fd, short what, void *arg)
{
	struct relay *r = arg;
	cs_error_t rc = quorum_dispatch(r->quorum, CS_DISPATCH_ALL);

	(void)fd;
	(void)what;
	if (rc != CS_OK && rc != CS_ERR_TRY_AGAIN)
		failed(r, "quorum", rc);
	else
		tell_state(r);
}

static void
on_votes(evutil_socket_t fd, short what, void *arg)
{
	struct relay *r = arg;
	cs_error_t rc = votequorum_dispatch(r->votes, CS_DISPATCH_ALL);

	(void)fd;
	(void)what;
	if (rc != CS_OK && rc != CS_ERR_TRY_AGAIN)
		failed(r, "votes", rc);
}

static void
on_cmap(evutil_socket_t fd, short what, void *arg)
{
	struct relay *r = arg;
	cs_error_t rc = cmap_dispatch(r->cmap, CS_DISPATCH_ALL);

	(void)fd;
	(void)what;
	if (rc != CS_OK && rc != CS_ERR_TRY_AGAIN)
		failed(r, "configuration map", rc);
}

static void
on_agent(evutil_socket_t fd, short what, void *arg)
{
	struct relay *r = arg;
	uint8_t buf[COROSYNC_PACKET], newest[FRAME_MAX];
	struct iovec v = { newest, 0 };

	(void)what;
	for (int i = 0; i < FRAMES_MAX; i++) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR)) {
			end(r, "the agent is gone");
			return;
		}
		if (n == -1)
			break;
		if (buf[0] != COROSYNC_FRAME || (size_t)n - 1 > sizeof(newest))
			continue;
		v.iov_len = (size_t)n - 1;
		memcpy(newest, buf + 1, v.iov_len);
	}
	/* Not sent: the next one says the same.  A corosync that is gone is told by its
	 * descriptor. */
	if (v.iov_len > 0)
		(void)cpg_mcast_joined(r->cpg, CPG_TYPE_AGREED, &v, 1);
}

/* A question that corosync itself has to answer, so that a corosync that hangs stops
 * these states, and with them the belief in its quorum. */
static void
ask(struct relay *r)
{
	int quorate = 0;
	cs_error_t rc = quorum_getquorate(r->quorum, &quorate);

	if (rc == CS_OK && r->have_votes)
		rc = corosync_facts_votes(r->votes, &r->state);
	if (rc == CS_ERR_TRY_AGAIN)
		return;
	if (rc != CS_OK) {
		failed(r, "quorum", rc);
		return;
	}
	/* The members first: they came before this answer, and belong to it. */
	on_quorum_ready(-1, 0, r);
	if (r->ended || (clock_ms() - r->facts_ms < FACTS_MS && r->facts_ms != 0))
		return;
	r->facts_ms = clock_ms();
	if (may_use(r))
		corosync_facts_links(r->stats, &r->state);
}

static void
add_source(struct relay *r, int fd, event_callback_fn fn)
{
	struct event *ev = event_new(r->base, fd, EV_READ | EV_PERSIST, fn, r);

	r->sources[r->nsources++] = ev;
	event_add(ev, NULL);
}

static void
start(struct relay *r)
{
	int cpg = -1, quorum = -1, votes = -1, cmap = -1;

	if (cpg_fd_get(r->cpg, &cpg) != CS_OK || quorum_fd_get(r->quorum, &quorum) != CS_OK ||
	    (r->have_votes && votequorum_fd_get(r->votes, &votes) != CS_OK) ||
	    cmap_fd_get(r->cmap, &cmap) != CS_OK) {
		end(r, "corosync gives no descriptors");
		return;
	}
	daemon_drop(r->conf->user, NULL, DAEMON_BOX_NET);
	add_source(r, cpg, on_cpg);
	add_source(r, quorum, on_quorum_ready);
	add_source(r, cmap, on_cmap);
	if (r->have_votes)
		add_source(r, votes, on_votes);
	log_info("corosync joined group=%s node=%u peer=%u", r->group.value, r->state.nodeid,
	    r->state.peer_nodeid);
}

/* Connecting, then the questions. */
static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct relay *r = arg;

	(void)fd;
	(void)what;
	while (r->step < STEPS) {
		cs_error_t rc = steps[r->step].run(r);

		if (r->ended)
			return;
		if (rc == CS_ERR_TRY_AGAIN) {
			arm(r->timer, RETRY_MS);
			return;
		}
		if (rc != CS_OK) {
			failed(r, steps[r->step].what, rc);
			return;
		}
		if (++r->step == STEPS)
			start(r);
	}
	if (r->ended)
		return;
	ask(r);
	arm(r->timer, POLL_MS);
}

int
corosync_relay_run(const struct hagent_conf *conf, const struct link_conf *link, int fd)
{
	struct relay r = { .conf = conf, .link = link, .fd = fd };
	struct realtime rt;

	realtime_enter(&rt, conf->realtime, false);
	prctl(PR_SET_NAME, "hagentd-corosyn");
	snprintf(r.group.value, sizeof(r.group.value), "%s", link->group_name);
	r.group.length = (uint32_t)strlen(r.group.value);
	r.state.peer_member = true;
	r.base = event_base_new();
	if (r.base == NULL)
		log_fatal("corosync process cannot make its event loop");
	r.timer = evtimer_new(r.base, on_timer, &r);
	add_source(&r, fd, on_agent);
	arm(r.timer, 0);
	if (event_base_dispatch(r.base) == -1)
		log_fatal("corosync event loop");
	/* corosync notices the end of the process; saying good-bye could block. */
	return 0;
}
