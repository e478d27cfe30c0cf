/* ctl.c - the server side of the control sockets: one JSON object a line each way.
 * A client is a local person, so limits are small: CLIENTS_MAX at once, LINE_MAX
 * bytes a request, one request at a time, UNREAD_MAX bytes of answer that it does not
 * read, IDLE_S without a request.  What breaks a limit is told why and dropped. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "conns.h"
#include "ctl.h"
#include "line.h"
#include "log.h"
#include "mem.h"

#define CLIENTS_MAX 64
#define REQUEST_MAX (64u << 10)
#define UNREAD_MAX (64u << 20)
#define IDLE_S 60

struct client {
	struct conn conn;
	struct ctl_server *server;
	struct ctl_call *call;	/* the request that is being answered */
	uid_t uid;
	bool closing;		/* free it when its output has gone */
	bool busy;		/* serve() is running */
};

struct ctl_call {
	struct client *client;	/* NULL when it has hung up */
	uid_t uid;
	void (*gone)(struct ctl_call *, void *);
	void *gone_arg;
	void (*drained)(struct ctl_call *, void *);
	void *drained_arg;
};

struct ctl_server {
	struct conns *clients;
	ctl_request_cb *on_request;
	void *arg;
};

static const struct timeval idle_time = { IDLE_S, 0 };

static void
client_free(struct client *c)
{
	struct ctl_call *call = c->call;

	conns_remove(&c->conn);
	free(c);
	if (call == NULL)
		return;
	call->client = NULL;
	if (call->gone != NULL) {
		call->gone(call, call->gone_arg);
		free(call);
	}
}

static void
on_end(struct conn *c)
{
	client_free((struct client *)c);
}

static void
send_line(struct client *c, json_t *line)
{
	char *text = json_dumps(line, JSON_COMPACT);

	json_decref(line);
	if (text == NULL) {
		log_warnx("ctl: an answer cannot be written as JSON");
		text = mem_dup("{\"schema\":1,\"exit\":3,\"error\":\"answer not printable\"}");
	}
	bufferevent_write(c->conn.bev, text, strlen(text));
	bufferevent_write(c->conn.bev, "\n", 1);
	free(text);
}

static json_t *
last_line(enum ctl_exit code, json_t *data, const char *error, const char *why,
    const char *hint)
{
	json_t *line = json_object();

	json_object_set_new(line, "schema", json_integer(1));
	if (json_is_object(data))
		json_object_update(line, data);
	else if (data != NULL)
		json_object_set(line, "data", data);
	json_decref(data);
	json_object_set_new(line, "exit", json_integer(code));
	if (error != NULL)
		json_object_set_new(line, "error", json_string(error));
	if (why != NULL)
		json_object_set_new(line, "why", json_string(why));
	if (hint != NULL)
		json_object_set_new(line, "hint", json_string(hint));
	return line;
}

static void
refuse(struct client *c, const char *error)
{
	c->closing = true;
	bufferevent_disable(c->conn.bev, EV_READ);
	send_line(c, last_line(CTL_USAGE, NULL, error, NULL, NULL));
}

static void
request(struct client *c, const struct line *line)
{
	json_t *r = json_loadb(line->text, line->len, JSON_REJECT_DUPLICATES, NULL);
	struct ctl_call *call;

	if (!json_is_object(r) || json_string_value(json_object_get(r, "op")) == NULL) {
		json_decref(r);
		refuse(c, "a request is one JSON object with \"op\"");
		return;
	}
	call = mem_alloc(sizeof(*call));
	call->client = c;
	call->uid = c->uid;
	c->call = call;
	bufferevent_set_timeouts(c->conn.bev, NULL, &idle_time);
	c->server->on_request(call, r, c->server->arg);
	json_decref(r);
}

/* Requests that are there, one after the other. */
static void
serve(struct client *c)
{
	struct evbuffer *in = bufferevent_get_input(c->conn.bev);
	struct line line;
	enum parse rc;

	if (c->busy)
		return;
	c->busy = true;
	while (!c->closing && c->call == NULL
	    && (rc = line_get_lf(in, REQUEST_MAX, &line)) != PARSE_MORE) {
		if (rc == PARSE_OK)
			request(c, &line);
		else
			refuse(c, "request too long, or with control bytes");
		line_free(&line);
	}
	c->busy = false;
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	(void)bev;
	serve(arg);
}

static void
on_written(struct bufferevent *bev, void *arg)
{
	struct client *c = arg;

	if (evbuffer_get_length(bufferevent_get_output(bev)) > 0)
		return;
	if (c->closing)
		client_free(c);
	else if (c->call != NULL && c->call->drained != NULL)
		c->call->drained(c->call, c->call->drained_arg);
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct client *c = arg;

	/* A pipe that has said all it wants to say still waits for its answer. */
	if ((what & BEV_EVENT_EOF) != 0 && c->call == NULL
	    && evbuffer_get_length(bufferevent_get_output(bev)) > 0) {
		c->closing = true;
		return;
	}
	client_free(c);
}

uid_t
ctl_uid(const struct ctl_call *call)
{
	return call->uid;
}

void
ctl_part(struct ctl_call *call, json_t *data)
{
	struct client *c = call->client;
	json_t *line;

	if (c == NULL || c->closing) {
		json_decref(data);
		return;
	}
	line = json_object();
	json_object_set_new(line, "schema", json_integer(1));
	json_object_set_new(line, "part", data == NULL ? json_null() : data);
	send_line(c, line);
	if (evbuffer_get_length(bufferevent_get_output(c->conn.bev)) <= UNREAD_MAX)
		return;
	/* It reads nothing: what it has not got it will not get.  Freed by the loop,
	 * since the caller is in the middle of its answer. */
	c->closing = true;
	bufferevent_disable(c->conn.bev, EV_READ);
	bufferevent_trigger_event(c->conn.bev, BEV_EVENT_ERROR, BEV_OPT_DEFER_CALLBACKS);
}

size_t
ctl_unread(const struct ctl_call *call)
{
	return call->client == NULL ? 0
	    : evbuffer_get_length(bufferevent_get_output(call->client->conn.bev));
}

void
ctl_on_drained(struct ctl_call *call, void (*cb)(struct ctl_call *, void *), void *arg)
{
	call->drained = cb;
	call->drained_arg = arg;
}

void
ctl_done(struct ctl_call *call, enum ctl_exit code, json_t *data, const char *error,
    const char *why, const char *hint)
{
	struct client *c = call->client;

	free(call);
	if (c == NULL) {
		json_decref(data);
		return;
	}
	c->call = NULL;
	if (c->closing) {
		json_decref(data);
		return;
	}
	send_line(c, last_line(code, data, error, why, hint));
	bufferevent_set_timeouts(c->conn.bev, &idle_time, &idle_time);
	serve(c);
}

void
ctl_on_gone(struct ctl_call *call, void (*cb)(struct ctl_call *, void *), void *arg)
{
	call->gone = cb;
	call->gone_arg = arg;
}

static void
on_accept(int fd, void *arg)
{
	static const char full[] = "{\"schema\":1,\"exit\":13,\"error\":\"too many clients\"}\n";
	struct ctl_server *s = arg;
	struct ucred cred = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(cred);
	struct client *c;

	if (conns_count(s->clients) >= CLIENTS_MAX
	    || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1) {
		/* Best effort: whether it hears why does not matter to us. */
		(void)!send(fd, full, sizeof(full) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		close(fd);
		return;
	}
	c = mem_alloc(sizeof(*c));
	c->server = s;
	c->uid = cred.uid;
	conns_add(s->clients, &c->conn, fd, BEV_OPT_DEFER_CALLBACKS, REQUEST_MAX + 2);
	bufferevent_setcb(c->conn.bev, on_read, on_written, on_event, c);
	bufferevent_set_timeouts(c->conn.bev, &idle_time, &idle_time);
}

struct ctl_server *
ctl_server_new(struct event_base *base, int fd, ctl_request_cb *cb, void *arg)
{
	struct ctl_server *s = mem_alloc(sizeof(*s));

	s->on_request = cb;
	s->arg = arg;
	s->clients = conns_new(base, fd, "the control socket", on_accept, on_end, s);
	return s;
}

void
ctl_server_free(struct ctl_server *s)
{
	if (s == NULL)
		return;
	conns_free(s->clients);
	free(s);
}
