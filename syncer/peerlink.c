/* peerlink.c - connections between the two syncds: making them, proving who is at
 * the other end, noticing that one has gone silent.  Node 1 connects to node 0's
 * addresses in turn and stays with the one that works; node 0 takes the newest log
 * connection, because a peer that comes again has given up the one before.  Until the
 * handshake is done anybody may be at the other end: strangers have few places, and
 * none that one of the peer's own addresses could want.
 *
 * What can fail is the network: everything ends in down() and another attempt.  Does
 * not know what the frames mean beyond HELLO, PING and WANT_BULK. */
#define _GNU_SOURCE
#include "peerlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "clock.h"
#include "listener.h"
#include "log.h"
#include "mem.h"
#include "peer_wire.h"
#include "tls.h"
#include "wire.h"

#define CONNS_MAX 8		/* under way at once, all kinds */
#define STRANGERS_MAX 3		/* of them not proved, and from no address of the peer's */
#define STRANGER_MS 250		/* a handshake has this long before another may try */
#define ROOM_LOW (1u << 20)
#define OUR_FRAMES 16		/* types below are peerlink's own */

enum conn_state { CONN_FREE, CONN_TCP, CONN_HELLO, CONN_UP };

struct conn {
	struct peerlink *pl;
	enum conn_state state;
	uint8_t channel;
	bool outgoing;
	bool stranger;			/* incoming, from no address of the peer's */
	int fd;				/* CONN_TCP */
	struct event *connecting;	/* CONN_TCP */
	struct bufferevent *bev;
	int64_t started_ms;
};

struct peerlink {
	struct event_base *base;
	struct peerlink_conf conf;
	struct peerlink_ops ops;
	void *arg;
	struct listener *listen[PEERLINK_ADDRESSES_MAX];
	struct event *timer;
	struct conn conns[CONNS_MAX];
	struct conn *log;		/* the one that is up; NULL */
	size_t address;			/* which of node 0's we use or try */
	int64_t heard_ms, pinged_ms, tried_ms;
	bool reading, want_bulk;
};

static void on_read(struct bufferevent *, void *);
static void on_event(struct bufferevent *, short, void *);

static struct conn *
conn_new(struct peerlink *pl, uint8_t channel, bool outgoing)
{
	for (size_t i = 0; i < CONNS_MAX; i++) {
		struct conn *c = &pl->conns[i];

		if (c->state != CONN_FREE)
			continue;
		memset(c, 0, sizeof(*c));
		c->pl = pl;
		c->fd = -1;
		c->channel = channel;
		c->outgoing = outgoing;
		c->started_ms = clock_ms();
		return c;
	}
	return NULL;
}

static void
conn_clear(struct conn *c)
{
	if (c->connecting != NULL)
		event_free(c->connecting);
	if (c->bev != NULL)
		bufferevent_free(c->bev);
	if (c->fd != -1)
		close(c->fd);
	memset(c, 0, sizeof(*c));
	c->fd = -1;
}

/* The end of any connection; what it meant decides what is told. */
static void
conn_end(struct conn *c, const char *why)
{
	struct peerlink *pl = c->pl;
	bool was_log = pl->log == c, outgoing = c->outgoing;
	uint8_t channel = c->channel;

	if (was_log)
		pl->log = NULL;
	else
		log_debug("peer connection ended channel=%u why=%s", channel, log_safe(why));
	conn_clear(c);
	if (was_log || (outgoing && channel == PEERLINK_LOG))
		pl->address = (pl->address + 1) % pl->conf.naddresses;
	if (was_log)
		pl->ops.down(pl->arg, why);
	if (outgoing && channel == PEERLINK_BULK && pl->ops.bulk != NULL)
		pl->ops.bulk(pl->arg, NULL);
}

/* ---- frames ---- */

static void
put_frame(struct bufferevent *bev, uint8_t type, const struct span *parts, size_t n)
{
	struct evbuffer *out = bufferevent_get_output(bev);
	uint8_t head[PEER_FRAME_HEAD] = { 0 };
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		len += parts[i].len;
	wire_store32(head, (uint32_t)len);
	head[4] = type;
	head[5] = PEERLINK_VERSION;
	/* In one piece: of each piece TLS makes a record by itself, and a write. */
	(void)evbuffer_expand(out, sizeof(head) + len);
	evbuffer_add(out, head, sizeof(head));
	for (size_t i = 0; i < n; i++)
		evbuffer_add(out, parts[i].p, parts[i].len);
}

static void
put_hello(struct conn *c)
{
	struct wire_out w;
	struct span body;

	wire_out_init(&w);
	wire_put_u16(&w, PEERLINK_VERSION);
	wire_put_str(&w, c->pl->conf.cluster);
	wire_put_u8(&w, (uint8_t)c->pl->conf.node);
	wire_put_u8(&w, c->channel);
	body = wire_out_span(&w);
	put_frame(c->bev, PEER_HELLO, &body, 1);
	wire_out_clear(&w);
}

static void
hand_over(struct conn *c)
{
	struct peerlink *pl = c->pl;
	struct bufferevent *bev = c->bev;

	bufferevent_setcb(bev, NULL, NULL, NULL, NULL);
	bufferevent_setwatermark(bev, EV_WRITE, 0, 0);
	c->bev = NULL;
	conn_clear(c);
	if (pl->ops.bulk != NULL)
		pl->ops.bulk(pl->arg, bev);
	else
		bufferevent_free(bev);
}

static void
log_up(struct conn *c)
{
	struct peerlink *pl = c->pl;

	c->state = CONN_UP;
	if (pl->log != NULL) {
		size_t keep = pl->address;

		conn_end(pl->log, "the peer connected again");
		pl->address = keep;
	}
	pl->log = c;
	pl->heard_ms = clock_ms();
	pl->reading = true;
	pl->ops.up(pl->arg);
}

static const char *
hello_wrong(struct conn *c, struct span body, uint8_t *channel)
{
	char cluster[256];
	struct wire_in in;
	uint16_t version;
	uint8_t node;

	wire_in_init(&in, body.p, body.len);
	version = wire_get_u16(&in);
	wire_get_str(&in, cluster, sizeof(cluster));
	node = wire_get_u8(&in);
	*channel = wire_get_u8(&in);
	if (!wire_in_ok(&in) || version != PEERLINK_VERSION)
		return "another protocol version";
	if (strcmp(cluster, c->pl->conf.cluster) != 0)
		return "another cluster";
	if (node > 1 || node == c->pl->conf.node)
		return "not the other node";
	if (*channel > PEERLINK_BULK || (c->outgoing && *channel != c->channel))
		return "unknown channel";
	return NULL;
}

static void
got_hello(struct conn *c, struct span body)
{
	uint8_t channel = 0;
	const char *why = hello_wrong(c, body, &channel);

	if (why != NULL) {
		log_warnx("peer refused: %s", why);
		conn_end(c, why);
		return;
	}
	c->channel = channel;
	if (!c->outgoing)
		put_hello(c);
	if (channel == PEERLINK_BULK)
		hand_over(c);
	else
		log_up(c);
}

static void connect_to(struct peerlink *, uint8_t channel);

/* Returns false when the connection is not ours to read any more. */
static bool
got_frame(struct conn *c, uint8_t type, struct span body)
{
	struct peerlink *pl = c->pl;

	if (c->state == CONN_HELLO) {
		if (type != PEER_HELLO)
			conn_end(c, "no HELLO");
		else
			got_hello(c, body);
		return pl->log == c;
	}
	if (type >= OUR_FRAMES)
		pl->ops.frame(pl->arg, type, body);
	else if (type == PEER_WANT_BULK && pl->conf.node == 1)
		connect_to(pl, PEERLINK_BULK);
	return pl->log == c;
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	struct conn *c = arg;
	struct peerlink *pl = c->pl;
	struct evbuffer *in = bufferevent_get_input(bev);
	uint8_t head[PEER_FRAME_HEAD];

	if (pl->log == c)
		pl->heard_ms = clock_ms();
	while (evbuffer_copyout(in, head, sizeof(head)) == (ev_ssize_t)sizeof(head)) {
		size_t len = wire_load32(head);
		struct span body;
		uint8_t *p;
		bool go_on;

		if (head[5] != PEERLINK_VERSION || len > PEERLINK_FRAME_MAX ||
		    (c->state == CONN_HELLO && len > 1024)) {
			conn_end(c, "broken frame");
			return;
		}
		if (evbuffer_get_length(in) < sizeof(head) + len)
			return;
		evbuffer_drain(in, sizeof(head));
		p = mem_alloc(len + 1);
		evbuffer_remove(in, p, len);
		body = (struct span){ (const char *)p, len };
		go_on = got_frame(c, head[4], body);
		free(p);
		if (!go_on || !pl->reading)
			return;
	}
}

static void
on_write(struct bufferevent *bev, void *arg)
{
	struct conn *c = arg;

	(void)bev;
	if (c->pl->log == c)
		c->pl->ops.room(c->pl->arg);
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct conn *c = arg;

	if ((what & BEV_EVENT_CONNECTED) != 0) {
		if (c->outgoing)
			put_hello(c);
		return;
	}
	conn_end(c, (what & BEV_EVENT_EOF) != 0 ? "closed by the peer" : tls_error(bev));
}

static void
conn_tls(struct conn *c, int fd)
{
	struct peerlink *pl = c->pl;
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->state = CONN_HELLO;
	c->bev = c->outgoing ? tls_connect(pl->base, pl->conf.tls, fd, NULL)
			     : tls_accept(pl->base, pl->conf.tls, fd);
	bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
	bufferevent_setwatermark(c->bev, EV_WRITE, ROOM_LOW, 0);
	bufferevent_setwatermark(c->bev, EV_READ, 0, PEERLINK_FRAME_MAX + PEER_FRAME_HEAD);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

/* ---- addresses ---- */

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static int
resolve(const char *text, uint16_t port, union address *a, socklen_t *len)
{
	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, text, &a->in.sin_addr) == 1) {
		a->in.sin_family = AF_INET;
		a->in.sin_port = htons(port);
		*len = sizeof(a->in);
		return 0;
	}
	if (inet_pton(AF_INET6, text, &a->in6.sin6_addr) == 1) {
		a->in6.sin6_family = AF_INET6;
		a->in6.sin6_port = htons(port);
		*len = sizeof(a->in6);
		return 0;
	}
	errno = EINVAL;
	return -1;
}

static void
on_connected(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	int err = 0;
	socklen_t len = sizeof(err);

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1)
		err = errno;
	if (err != 0) {
		conn_end(c, strerror(err));
		return;
	}
	event_free(c->connecting);
	c->connecting = NULL;
	c->fd = -1;
	conn_tls(c, fd);
}

static void
connect_to(struct peerlink *pl, uint8_t channel)
{
	struct conn *c = conn_new(pl, channel, true);
	union address a;
	socklen_t len = 0;

	pl->tried_ms = clock_ms();
	if (c == NULL)
		return;
	c->state = CONN_TCP;
	if (resolve(pl->conf.addresses[pl->address], pl->conf.port, &a, &len) == 0)
		c->fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd == -1 || (connect(c->fd, &a.sa, len) == -1 && errno != EINPROGRESS)) {
		conn_end(c, strerror(errno));
		return;
	}
	c->connecting = event_new(pl->base, c->fd, EV_WRITE, on_connected, c);
	event_add(c->connecting, NULL);
}

static bool
from_peer(const struct peerlink *pl, const struct sockaddr *sa)
{
	union address a, from = { 0 };
	socklen_t len;

	memcpy(&from, sa, sa->sa_family == AF_INET ? sizeof(from.in) : sizeof(from.in6));
	for (size_t i = 0; i < pl->conf.nfrom; i++) {
		if (resolve(pl->conf.from[i], 0, &a, &len) == -1 ||
		    a.sa.sa_family != from.sa.sa_family)
			continue;
		if (a.sa.sa_family == AF_INET
			? a.in.sin_addr.s_addr == from.in.sin_addr.s_addr
			: memcmp(&a.in6.sin6_addr, &from.in6.sin6_addr, 16) == 0)
			return true;
	}
	return false;
}

/* The oldest of a kind that has not proved itself; *n: how many there are. */
static struct conn *
oldest_unproved(struct peerlink *pl, bool stranger, size_t *n)
{
	struct conn *oldest = NULL;

	*n = 0;
	for (size_t i = 0; i < CONNS_MAX; i++) {
		struct conn *c = &pl->conns[i];

		if (c->state != CONN_HELLO || c->outgoing || c->stranger != stranger)
			continue;
		++*n;
		if (oldest == NULL || c->started_ms < oldest->started_ms)
			oldest = c;
	}
	return oldest;
}

/* Room for one more.  A stranger may take the place of one that has had its time, not
 * sooner, or a flood would keep everybody from finishing; the peer takes any. */
static struct conn *
place_for(struct peerlink *pl, bool stranger)
{
	struct conn *c, *oldest;
	size_t n;

	oldest = oldest_unproved(pl, true, &n);
	if (stranger && n >= STRANGERS_MAX) {
		if (clock_ms() - oldest->started_ms < STRANGER_MS)
			return NULL;
		conn_end(oldest, "another one wants its place");
	}
	c = conn_new(pl, PEERLINK_LOG, false);
	if (c == NULL && !stranger) {
		oldest = oldest != NULL ? oldest : oldest_unproved(pl, false, &n);
		if (oldest != NULL)
			conn_end(oldest, "the peer wants its place");
		c = conn_new(pl, PEERLINK_LOG, false);
	}
	return c;
}

static void
on_accept(int fd, const struct sockaddr *from, void *arg)
{
	struct peerlink *pl = arg;
	bool stranger = !from_peer(pl, from);
	struct conn *c = place_for(pl, stranger);

	if (c == NULL) {
		close(fd);
		return;
	}
	c->stranger = stranger;
	conn_tls(c, fd);
}

static int
listen_on(struct peerlink *pl, size_t i)
{
	union address a;
	socklen_t len;
	int fd, on = 1;

	if (resolve(pl->conf.addresses[i], pl->conf.port, &a, &len) == -1)
		return -1;
	fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* an interface that is down now must not keep us from its address later */
	setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
	if (bind(fd, &a.sa, len) == -1 || listen(fd, 128) == -1) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	pl->listen[i] = listener_new(pl->base, fd, pl->conf.addresses[i], on_accept, pl);
	return 0;
}

/* ---- time ---- */

static bool
trying(const struct peerlink *pl, uint8_t channel)
{
	for (size_t i = 0; i < CONNS_MAX; i++) {
		const struct conn *c = &pl->conns[i];

		if (c->state != CONN_FREE && c->outgoing && c->channel == channel &&
		    pl->log != c)
			return true;
	}
	return false;
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct peerlink *pl = arg;
	int64_t now = clock_ms();

	(void)fd;
	(void)what;
	for (size_t i = 0; i < CONNS_MAX; i++) {
		struct conn *c = &pl->conns[i];

		if (c->state != CONN_FREE && c->state != CONN_UP &&
		    now - c->started_ms > pl->conf.silent_ms)
			conn_end(c, "no answer");
	}
	if (pl->log != NULL && pl->reading && now - pl->heard_ms > pl->conf.silent_ms)
		conn_end(pl->log, "silent");
	if (pl->log != NULL && now - pl->pinged_ms >= pl->conf.ping_ms) {
		pl->pinged_ms = now;
		put_frame(pl->log->bev, PEER_PING, NULL, 0);
	}
	if (pl->conf.node == 1 && pl->log == NULL && !trying(pl, PEERLINK_LOG) &&
	    now - pl->tried_ms >= pl->conf.retry_ms)
		connect_to(pl, PEERLINK_LOG);
}

/* ---- interface ---- */

struct peerlink *
peerlink_new(struct event_base *base, const struct peerlink_conf *conf,
    const struct peerlink_ops *ops, void *arg)
{
	struct peerlink *pl = mem_alloc(sizeof(*pl));
	int step = conf->ping_ms < conf->retry_ms ? conf->ping_ms : conf->retry_ms;
	struct timeval tv = { step / 2000, step / 2 % 1000 * 1000 };

	pl->base = base;
	pl->conf = *conf;
	pl->ops = *ops;
	pl->arg = arg;
	pl->heard_ms = -1;
	pl->tried_ms = -conf->retry_ms;
	pl->timer = event_new(base, -1, EV_PERSIST, on_timer, pl);
	event_add(pl->timer, &tv);
	for (size_t i = 0; conf->node == 0 && i < conf->naddresses; i++) {
		if (listen_on(pl, i) == -1) {
			int saved = errno;

			log_warn("cannot listen address=%s port=%u", conf->addresses[i],
			    conf->port);
			peerlink_free(pl);
			errno = saved;
			return NULL;
		}
	}
	return pl;
}

void
peerlink_free(struct peerlink *pl)
{
	if (pl == NULL)
		return;
	for (size_t i = 0; i < CONNS_MAX; i++)
		if (pl->conns[i].state != CONN_FREE)
			conn_clear(&pl->conns[i]);
	for (size_t i = 0; i < PEERLINK_ADDRESSES_MAX; i++)
		listener_free(pl->listen[i]);
	event_free(pl->timer);
	free(pl);
}

void
peerlink_send(struct peerlink *pl, uint8_t type, const struct span *parts, size_t n)
{
	if (pl->log != NULL)
		put_frame(pl->log->bev, type, parts, n);
}

bool
peerlink_up(const struct peerlink *pl)
{
	return pl->log != NULL;
}

size_t
peerlink_unsent(const struct peerlink *pl)
{
	return pl->log == NULL ? 0
			       : evbuffer_get_length(bufferevent_get_output(pl->log->bev));
}

void
peerlink_read_enable(struct peerlink *pl, bool on)
{
	if (pl->log == NULL || pl->reading == on)
		return;
	pl->reading = on;
	if (!on) {
		bufferevent_disable(pl->log->bev, EV_READ);
		return;
	}
	pl->heard_ms = clock_ms();
	bufferevent_enable(pl->log->bev, EV_READ);
	bufferevent_trigger(pl->log->bev, EV_READ, BEV_TRIG_IGNORE_WATERMARKS |
	    BEV_TRIG_DEFER_CALLBACKS);
}

void
peerlink_drop(struct peerlink *pl, const char *why)
{
	if (pl->log != NULL)
		conn_end(pl->log, why);
}

void
peerlink_want_bulk(struct peerlink *pl)
{
	if (pl->log == NULL) {
		if (pl->ops.bulk != NULL)
			pl->ops.bulk(pl->arg, NULL);
	} else if (pl->conf.node == 1) {
		connect_to(pl, PEERLINK_BULK);
	} else {
		put_frame(pl->log->bev, PEER_WANT_BULK, NULL, 0);
	}
}

int64_t
peerlink_heard_ms(const struct peerlink *pl)
{
	return pl->heard_ms;
}

const char *
peerlink_path(const struct peerlink *pl)
{
	return pl->log == NULL ? "" : pl->conf.addresses[pl->address];
}
