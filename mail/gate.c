/* gate.c - the gate process: listening sockets, channels, serving and leaving.
 *
 * It runs as mailgate in an empty root directory and opens no file; sockets and the
 * TLS key come from the parent.  It listens only between SERVE 1 and SERVE 0; on
 * SERVE 0 it takes what has already connected, says goodbye, lets messages that are
 * being received finish within the grace time, and reports SERVING 0.  When another
 * process dies, what was asked of it is answered with a temporary failure. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "clock.h"
#include "daemon.h"
#include "gate.h"
#include "gate_int.h"
#include "gate_tls.h"
#include "hex.h"
#include "lease.h"
#include "log.h"
#include "mem.h"
#include "wire.h"

#define ACCEPT_BURST 64
#define IP_ENTRIES_MAX 100000
#define LOGIN_COMMAND_MAX 8192
#define HELD_LOG_MS 60000

static void
send_serving(struct gate *g, bool on)
{
	struct ipc *parent = child_peer(g->child, CHILD_PARENT, 0);
	uint8_t b = on;

	if (parent != NULL)
		ipc_send(parent, PM_SERVING, 0, &b, 1, -1);
}

/* ---- listening ----------------------------------------------------------- */

/* Out of descriptors: the connection stays in the queue, so that a busy loop would
 * follow; all listeners pause for a moment. */
static void
pause_listeners(struct gate *g)
{
	struct timeval tv = { 0, 100000 };

	log_warn("cannot accept, pausing");
	for (size_t i = 0; i < g->nlisteners; i++)
		event_del(g->listeners[i].event);
	event_add(g->pause, &tv);
}

static void
on_pause_over(int fd, short what, void *arg)
{
	struct gate *g = arg;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < g->nlisteners; i++)
		event_add(g->listeners[i].event, NULL);
}

/* Accepts what waits; false when there was an error other than "no more". */
static bool
accept_some(struct gate_listener *l)
{
	struct sockaddr_storage ss;

	for (int i = 0; i < ACCEPT_BURST; i++) {
		socklen_t len = sizeof(ss);
		int fd = accept4(l->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd == -1 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS
				    || errno == ENOMEM))
			return false;
		if (fd == -1)
			return true;	/* none left, or one that gave up meanwhile */
		conn_accept(l->gate, l->service, fd, (struct sockaddr *)&ss);
	}
	return true;
}

static void
on_accept(int fd, short what, void *arg)
{
	struct gate_listener *l = arg;

	(void)fd;
	(void)what;
	if (!accept_some(l))
		pause_listeners(l->gate);
}

static void
gate_on_listen(struct gate *g, const struct ipc_msg *m)
{
	struct gate_listener *l = &g->listeners[g->nlisteners];
	struct wire_in in;

	wire_in_init(&in, m->body.p, m->body.len);
	if (m->fd == -1 || g->nlisteners == CONF_LISTENS_MAX) {
		log_warnx("listening socket without use");
		if (m->fd != -1)
			close(m->fd);
		return;
	}
	l->gate = g;
	l->service = (enum mail_service)wire_get_u8(&in);
	l->fd = m->fd;
	l->event = event_new(g->base, l->fd, EV_READ | EV_PERSIST, on_accept, l);
	if (l->event == NULL)
		log_fatal("out of memory");
	g->nlisteners++;
}

static void
close_listeners(struct gate *g, bool take_waiting)
{
	event_del(g->pause);
	for (size_t i = 0; i < g->nlisteners; i++) {
		struct gate_listener *l = &g->listeners[i];

		event_free(l->event);
		if (take_waiting && !accept_some(l))
			log_warn("clients that waited are dropped");
		close(l->fd);
	}
	g->nlisteners = 0;
}

/* ---- serving and leaving ------------------------------------------------- */

static void
left(struct gate *g)
{
	g->leaving = false;
	event_del(g->grace);
	send_serving(g, false);
}

static void
on_grace_over(int fd, short what, void *arg)
{
	struct gate *g = arg;

	(void)fd;
	(void)what;
	if (g->nconns > 0)
		log_info("gate ends %u connections, the grace time is over", g->nconns);
	g->leaving = false;		/* conn_free must not report for each */
	while (g->conns != NULL)
		conn_free(g->conns);
	left(g);
}

/* Who only has to close his side still is served no more, and not waited for. */
static bool
all_served(const struct gate *g)
{
	for (const struct conn *c = g->conns; c != NULL; c = c->next)
		if (c->state != CONN_LINGER)
			return false;
	return true;
}

void
gate_conn_ended(struct gate *g)
{
	if (g->leaving && all_served(g))
		left(g);
}

static void
look_soon(struct gate *g)
{
	static const struct timeval tv = { 0, LEASE_LOOK_MS * 1000 };

	event_add(g->release, &tv);
}

void
gate_hold(struct gate *g)
{
	static struct log_rate rate;
	unsigned long times;

	if (event_pending(g->release, EV_TIMEOUT, NULL))
		return;
	if (log_rate_ok(&rate, HELD_LOG_MS, &times))
		log_warnx("answers to clients wait until the agent says that this node still serves "
		    "(%lu more times since the last such line)", times);
	look_soon(g);
}

static void
on_release(int fd, short what, void *arg)
{
	struct gate *g = arg;

	(void)fd;
	(void)what;
	if (lease_holds(g->lease))
		conn_release(g);
	else
		look_soon(g);
}

static void
gate_serve(struct gate *g)
{
	g->serving = true;
	g->leaving = false;
	event_del(g->grace);
	for (size_t i = 0; i < g->nlisteners; i++)
		event_add(g->listeners[i].event, NULL);
	log_info("gate serves on %zu sockets", g->nlisteners);
	send_serving(g, true);
}

static void
gate_leave(struct gate *g, uint32_t grace_ms)
{
	struct timeval tv = { grace_ms / 1000, (grace_ms % 1000) * 1000 };

	close_listeners(g, g->serving);
	g->serving = false;
	for (struct conn *c = g->conns, *next; c != NULL; c = next) {
		next = c->next;
		conn_drain(c);
	}
	if (all_served(g)) {
		left(g);
		return;
	}
	g->leaving = true;
	event_add(g->grace, &tv);
}

/* ---- channels ------------------------------------------------------------ */

static void
gate_on_state(struct gate *g, struct wire_in *in)
{
	uint64_t gen;
	uint8_t copies;
	char kind[16];

	(void)wire_get_u8(in);			/* ready: the parent's business */
	gen = wire_get_u64(in);
	(void)wire_get_u64(in);
	copies = wire_get_u8(in);
	wire_get_str(in, kind, sizeof(kind));
	if (!wire_in_ok(in))
		return;
	g->gen = gen;
	g->copies = copies;
	memcpy(g->gen_kind, kind, sizeof(kind));
}

static void
on_parent(struct gate *g, const struct ipc_msg *m)
{
	struct wire_in in;

	wire_in_init(&in, m->body.p, m->body.len);
	switch (m->type) {
	case PM_LISTEN:
		gate_on_listen(g, m);
		return;			/* the descriptor is taken */
	case PM_SERVE:
		if (wire_get_u8(&in) != 0)
			gate_serve(g);
		else
			gate_leave(g, wire_get_u32(&in));
		break;
	case PM_STATE:
		gate_on_state(g, &in);
		break;
	case PM_RELOAD:
		gate_tls_reload(g->tls, &in);
		break;
	}
	if (m->fd != -1)
		close(m->fd);
}

static void
on_message(void *arg, enum child_kind from, unsigned index, struct ipc *ipc,
    const struct ipc_msg *m)
{
	struct gate *g = arg;

	(void)ipc;
	if (from == CHILD_PARENT) {
		on_parent(g, m);
		return;
	}
	waits_answer(g->waits, from, index, m);
	if (m->fd != -1)
		close(m->fd);
}

static void
on_peer(void *arg, enum child_kind kind, unsigned index, bool up)
{
	struct gate *g = arg;

	if (!up)
		waits_gone(g->waits, kind, index);
}

static const struct child_ops ops = { on_message, on_peer };

static void
set_limits(struct gate *g)
{
	const struct maild_conf *c = g->conf;

	g->smtp_limits = (struct smtp_limits){ c->hostname, c->message_size_max,
		c->recipients_max, c->hops_max, c->errors_max, c->command_line_max,
		c->data_line_max, c->auth_failures_per_session };
	g->login_limits = (struct login_limits){ c->hostname, c->errors_max, LOGIN_COMMAND_MAX,
		c->auth_failures_per_session };
	g->ips = ip_table_new(c->connections_per_ip, c->auth_failures_per_ip,
	    (int64_t)c->auth_window_s * 1000, IP_ENTRIES_MAX);
	random_bytes(g->tried_key, sizeof(g->tried_key));
}

static void
gate_end(struct gate *g)
{
	g->leaving = false;
	close_listeners(g, false);
	while (g->conns != NULL)
		conn_free(g->conns);
	child_free(g->child);
	waits_free(g->waits);
	ip_table_free(g->ips);
	event_free(g->grace);
	event_free(g->pause);
	event_free(g->release);
	event_base_free(g->base);
}

int
gate_main(const struct child_start *start)
{
	struct gate g = { .conf = start->conf, .tls = start->tls, .lease = start->lease };
	char *root = mem_printf("%s/empty", start->conf->state_dir);

	daemon_drop("mailgate", root, DAEMON_BOX_NET);
	free(root);
	if ((g.base = event_base_new()) == NULL
	    || (g.grace = event_new(g.base, -1, 0, on_grace_over, &g)) == NULL
	    || (g.pause = event_new(g.base, -1, 0, on_pause_over, &g)) == NULL
	    || (g.release = event_new(g.base, -1, 0, on_release, &g)) == NULL)
		log_fatal("cannot make an event base");
	set_limits(&g);
	g.waits = waits_new();
	g.child = child_new(g.base, start, &ops, &g);
	event_base_dispatch(g.base);
	gate_end(&g);
	return 0;
}
