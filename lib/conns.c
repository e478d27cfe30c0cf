/* conns.c - a list around a listener (see conns.h).  The newest stands first. */
#include <stdlib.h>

#include <event2/bufferevent.h>
#include <event2/event.h>

#include "conns.h"
#include "listener.h"
#include "log.h"
#include "mem.h"

struct conns {
	struct event_base *base;
	struct listener *listen;
	conns_accept_cb *accept;
	conns_end_cb *end;
	void *arg;
	LIST_HEAD(, conn) list;
	size_t count;
};

static void
on_accept(int fd, const struct sockaddr *from, void *arg)
{
	struct conns *s = arg;

	(void)from;
	s->accept(fd, s->arg);
}

struct conns *
conns_new(struct event_base *base, int fd, const char *name, conns_accept_cb *on_conn,
    conns_end_cb *end, void *arg)
{
	struct conns *s = mem_alloc(sizeof(*s));

	s->base = base;
	s->accept = on_conn;
	s->end = end;
	s->arg = arg;
	LIST_INIT(&s->list);
	s->listen = listener_new(base, fd, name, on_accept, s);
	return s;
}

void
conns_free(struct conns *s)
{
	if (s == NULL)
		return;
	while (!LIST_EMPTY(&s->list))
		s->end(LIST_FIRST(&s->list));
	listener_free(s->listen);
	free(s);
}

size_t
conns_count(const struct conns *s)
{
	return s->count;
}

struct conn *
conns_oldest(const struct conns *s)
{
	struct conn *c = LIST_FIRST(&s->list);

	while (c != NULL && LIST_NEXT(c, link) != NULL)
		c = LIST_NEXT(c, link);
	return c;
}

void
conns_add(struct conns *s, struct conn *c, int fd, int options, size_t read_max)
{
	c->all = s;
	c->bev = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE | options);
	if (c->bev == NULL)
		log_fatal("no memory for a connection");
	LIST_INSERT_HEAD(&s->list, c, link);
	s->count++;
	bufferevent_setwatermark(c->bev, EV_READ, 0, read_max);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

void
conns_remove(struct conn *c)
{
	LIST_REMOVE(c, link);
	c->all->count--;
	bufferevent_free(c->bev);
}
