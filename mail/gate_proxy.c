/* gate_proxy.c - after the login: the decrypted stream between the client and the
 * store worker that has the session.
 *
 * Bytes are moved, not looked at.  Each direction stops reading while the other
 * side has not taken what is there.  When either side ends, what is on its way to the
 * other still goes out. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "gate_int.h"
#include "log.h"
#include "mem.h"
#include "wire.h"

struct proxy {
	struct conn *conn;
	struct bufferevent *store;
	bool ended;			/* one side is gone, the other is being flushed */
};

/* Moves what one side sent to the other; stops reading while that is full. */
static void
move(struct proxy *p, struct bufferevent *from, struct bufferevent *to)
{
	struct evbuffer *out = bufferevent_get_output(to);

	evbuffer_add_buffer(out, bufferevent_get_input(from));
	if (evbuffer_get_length(out) >= p->conn->gate->conf->proxy_buffer)
		bufferevent_disable(from, EV_READ);
}

static void
on_client_read(struct bufferevent *bev, void *arg)
{
	struct proxy *p = arg;

	if (p->ended) {
		struct evbuffer *in = bufferevent_get_input(bev);

		evbuffer_drain(in, evbuffer_get_length(in));
		return;
	}
	move(p, bev, p->store);
}

static void
on_store_read(struct bufferevent *bev, void *arg)
{
	struct proxy *p = arg;

	move(p, bev, p->conn->bev);
}

/* The store ended the session and the client has everything: the common end. */
static void
flushed(struct proxy *p)
{
	struct conn *c = p->conn;

	conn_closing(c, "session ended");
	conn_pump(c);
}

static void
on_client_written(struct bufferevent *bev, void *arg)
{
	struct proxy *p = arg;

	if (p->conn->state != CONN_PROXY) {
		conn_pump(p->conn);
		return;
	}
	if (!p->ended)
		bufferevent_enable(p->store, EV_READ);
	else if (evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		flushed(p);
}

static void
on_store_written(struct bufferevent *bev, void *arg)
{
	struct proxy *p = arg;

	if (p->ended)			/* the client left, its last commands are delivered */
		conn_free(p->conn);
	else
		bufferevent_enable(p->conn->bev, EV_READ);
	(void)bev;
}

static void
on_client_event(struct bufferevent *bev, short what, void *arg)
{
	struct proxy *p = arg;

	if (what & BEV_EVENT_CONNECTED)
		return;
	evbuffer_add_buffer(bufferevent_get_output(p->store), bufferevent_get_input(bev));
	log_debug("%s %s client left", mail_service_name(p->conn->service), p->conn->sid);
	if (p->ended || evbuffer_get_length(bufferevent_get_output(p->store)) == 0) {
		conn_free(p->conn);
		return;
	}
	p->ended = true;
	bufferevent_setwatermark(p->store, EV_WRITE, 0, 0);
	bufferevent_disable(bev, EV_READ | EV_WRITE);
	conn_arm(p->conn, 5);
}

static void
on_store_event(struct bufferevent *bev, short what, void *arg)
{
	struct proxy *p = arg;
	struct bufferevent *client = p->conn->bev;

	(void)what;
	evbuffer_add_buffer(bufferevent_get_output(client), bufferevent_get_input(bev));
	if (p->ended) {
		conn_free(p->conn);
		return;
	}
	p->ended = true;
	bufferevent_disable(bev, EV_READ | EV_WRITE);
	bufferevent_setwatermark(client, EV_WRITE, 0, 0);
	bufferevent_enable(client, EV_READ);
	if (evbuffer_get_length(bufferevent_get_output(client)) == 0)
		flushed(p);
	else
		conn_arm(p->conn, p->conn->gate->conf->data_timeout_s);
}

/* The question of mailipc.h; the store's end of the stream goes along. */
static int
ask_store(struct conn *c, struct ipc *store, const char *tag, struct span early, int fd)
{
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_u8(&w, (uint8_t)c->service);
	wire_put_u64(&w, c->user);
	wire_put_u16(&w, c->shard);
	wire_put_str(&w, c->address);
	wire_put_str(&w, c->sid);
	wire_put_str(&w, c->ip);
	wire_put_str(&w, c->tls);
	wire_put_str(&w, tag);
	wire_put_span(&w, early);
	rc = ipc_send(store, SM_SESSION, 0, w.p, w.len, fd);
	wire_out_clear(&w);
	return rc;
}

void
conn_handover(void *arg, const char *tag)
{
	struct conn *c = arg;
	struct gate *g = c->gate;
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct ipc *store
	    = child_peer(g->child, CHILD_STORE, mail_store_of(c->shard, g->conf->stores));
	size_t n = evbuffer_get_length(in), half = g->conf->proxy_buffer / 2;
	struct proxy *p;
	int fd[2];

	if (store == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) == -1) {
		log_warn("%s %s cannot hand the session over", mail_service_name(c->service), c->sid);
		login_bye(c->login, "temporary failure, try again");
		return;
	}
	if (ask_store(c, store, tag, (struct span){ (char *)evbuffer_pullup(in, -1), n }, fd[1]) == -1) {
		close(fd[0]);
		login_bye(c->login, "temporary failure, try again");
		return;
	}
	evbuffer_drain(in, n);
	p = mem_alloc(sizeof(*p));
	p->conn = c;
	p->store = bufferevent_socket_new(g->base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	if (p->store == NULL)
		log_fatal("out of memory");
	c->proxy = p;
	c->state = CONN_PROXY;
	event_del(c->timer);
	bufferevent_setcb(c->bev, on_client_read, on_client_written, on_client_event, p);
	bufferevent_setcb(p->store, on_store_read, on_store_written, on_store_event, p);
	bufferevent_setwatermark(c->bev, EV_READ, 0, g->conf->proxy_buffer);
	bufferevent_setwatermark(c->bev, EV_WRITE, half, 0);
	bufferevent_setwatermark(p->store, EV_READ, 0, g->conf->proxy_buffer);
	bufferevent_setwatermark(p->store, EV_WRITE, half, 0);
	bufferevent_enable(p->store, EV_READ | EV_WRITE);
	bufferevent_enable(c->bev, EV_READ);	/* so that an end heard before is heard again */
}

void
proxy_free(struct proxy *p)
{
	if (p == NULL)
		return;
	bufferevent_free(p->store);
	free(p);
}
