/* httpget.c - answers GET of one path (see httpget.h).
 *
 * CLIENTS_MAX at once; who comes then is told 503.  A request is at most REQUEST_MAX
 * bytes with its headers, which are read and not looked at.  A connection ends
 * LIMIT_S after it began, whatever it does; after the answer it is read until the
 * other side closes, so that no reset overtakes the answer. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "conns.h"
#include "httpget.h"
#include "line.h"
#include "log.h"
#include "mem.h"
#include "span.h"

#define CLIENTS_MAX 8
#define REQUEST_MAX 8192
#define LIMIT_S 10
#define BACKLOG 16

struct client {
	struct conn conn;
	struct httpget *server;
	struct event *limit;
	size_t read;		/* bytes of the request so far */
	int status;		/* of the request line; 0: not there yet */
	bool head, answered, eof;
};

struct httpget {
	struct event_base *base;
	struct conns *clients;
	const char *path, *type;
	httpget_cb *body;
	void *arg;
};

static void
client_free(struct client *c)
{
	conns_remove(&c->conn);
	event_free(c->limit);
	free(c);
}

static void
on_end(struct conn *c)
{
	client_free((struct client *)c);
}

/* ---- the answer ---------------------------------------------------------- */

static const char *
reason(int status)
{
	static const struct { int status; const char *text; } reasons[] = { { 200, "OK" },
		{ 400, "Bad Request" }, { 404, "Not Found" }, { 405, "Method Not Allowed" },
		{ 431, "Request Header Fields Too Large" }, { 503, "Service Unavailable" } };

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "";
}

static void
answer(struct client *c, int status)
{
	struct evbuffer *out = bufferevent_get_output(c->conn.bev), *body = evbuffer_new();

	if (body == NULL)
		log_fatal("no memory for an answer");
	c->answered = true;
	if (status == 200)
		c->server->body(body, c->server->arg);
	else
		evbuffer_add_printf(body, "%d %s\n", status, reason(status));
	evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
	    "Cache-Control: no-store\r\n%sConnection: close\r\n\r\n", status, reason(status),
	    status == 200 ? c->server->type : "text/plain", evbuffer_get_length(body),
	    status == 405 ? "Allow: GET, HEAD\r\n" : "");
	if (!c->head)
		evbuffer_add_buffer(out, body);
	evbuffer_free(body);
}

/* ---- the request --------------------------------------------------------- */

static int
request_line(struct client *c, struct span line)
{
	struct span method, target, path;

	if (!span_cut(&line, ' ', &method) || !span_cut(&line, ' ', &target) ||
	    !span_starts_nocase(line, "HTTP/1.") || target.len == 0)
		return 400;
	c->head = span_is(method, "HEAD");
	if (!c->head && !span_is(method, "GET"))
		return 405;
	span_cut(&target, '?', &path);
	return span_is(path, c->server->path) ? 200 : 404;
}

static void
take_line(struct client *c, struct span line)
{
	if (c->status == 0)
		c->status = request_line(c, line);
	else if (line.len == 0)
		answer(c, c->status);
}

static void
read_request(struct client *c)
{
	struct evbuffer *in = bufferevent_get_input(c->conn.bev);
	struct line line;
	enum parse rc;

	while (!c->answered && (rc = line_get_lf(in, REQUEST_MAX - c->read, &line)) != PARSE_MORE) {
		c->read += line.len + 2;
		if (rc == PARSE_BAD || c->read > REQUEST_MAX)
			answer(c, evbuffer_get_length(in) + c->read >= REQUEST_MAX ? 431 : 400);
		else
			take_line(c, (struct span){ line.text, line.len });
		line_free(&line);
	}
	if (c->answered)
		evbuffer_drain(in, evbuffer_get_length(in));
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	(void)bev;
	read_request(arg);
}

static void
on_written(struct bufferevent *bev, void *arg)
{
	struct client *c = arg;

	if (!c->answered || evbuffer_get_length(bufferevent_get_output(bev)) > 0)
		return;
	if (c->eof)
		client_free(c);
	else
		shutdown(bufferevent_getfd(bev), SHUT_WR);
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct client *c = arg;

	/* Who has said all may still want to hear the answer; the limit holds. */
	c->eof = (what & BEV_EVENT_EOF) != 0;
	if (!c->eof || !c->answered || evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		client_free(c);
}

static void
on_limit(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	client_free(arg);
}

static void
on_accept(int fd, void *arg)
{
	static const struct timeval limit = { LIMIT_S, 0 };
	struct httpget *s = arg;
	struct client *c = mem_alloc(sizeof(*c));

	c->server = s;
	c->limit = evtimer_new(s->base, on_limit, c);
	if (c->limit == NULL)
		log_fatal("no memory for a connection");
	evtimer_add(c->limit, &limit);
	conns_add(s->clients, &c->conn, fd, 0, REQUEST_MAX + 2);
	bufferevent_setcb(c->conn.bev, on_read, on_written, on_event, c);
	if (conns_count(s->clients) > CLIENTS_MAX)
		answer(c, 503);
	/* Of those that wait for nothing but their end, the oldest goes. */
	if (conns_count(s->clients) > 2 * CLIENTS_MAX)
		on_end(conns_oldest(s->clients));
}

/* ---- addresses ----------------------------------------------------------- */

int
httpget_address(const char *text, struct sockaddr_storage *ss)
{
	struct sockaddr_in in4 = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	const char *colon = strrchr(text, ':');
	bool six = text[0] == '[';
	char host[64];
	size_t len;
	uint64_t port;

	errno = EINVAL;
	if (colon == NULL || span_u64(span_of(colon + 1), 65535, &port) != PARSE_OK || port == 0)
		return -1;
	len = (size_t)(colon - text);
	if (six && (len < 2 || text[len - 1] != ']'))
		return -1;
	if (span_copy((struct span){ text + six, len - (six ? 2 : 0) }, host, sizeof(host)) == -1)
		return -1;
	memset(ss, 0, sizeof(*ss));
	in4.sin_port = in6.sin6_port = htons((uint16_t)port);
	errno = EINVAL;
	if (!six && inet_pton(AF_INET, host, &in4.sin_addr) == 1)
		memcpy(ss, &in4, sizeof(in4));
	else if (six && inet_pton(AF_INET6, host, &in6.sin6_addr) == 1)
		memcpy(ss, &in6, sizeof(in6));
	else
		return -1;
	return 0;
}

int
httpget_listen(const struct sockaddr_storage *ss)
{
	socklen_t len = ss->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
	    : sizeof(struct sockaddr_in);
	int one = 1, saved;
	int fd = socket(ss->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
	    bind(fd, (const struct sockaddr *)ss, len) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

struct httpget *
httpget_new(struct event_base *base, int fd, const char *path, const char *type,
    httpget_cb *body, void *arg)
{
	struct httpget *s = mem_alloc(sizeof(*s));

	s->base = base;
	s->path = path;
	s->type = type;
	s->body = body;
	s->arg = arg;
	s->clients = conns_new(base, fd, "the port for metrics", on_accept, on_end, s);
	return s;
}

void
httpget_free(struct httpget *s)
{
	if (s == NULL)
		return;
	conns_free(s->clients);
	free(s);
}
