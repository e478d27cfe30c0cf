/* link.c - what all media share: attach, read events, and giving up a descriptor
 * that does not work any more.  Fails softly: a link that cannot send or read is
 * reported through broken() once and stays down until the next link_attach(). */
#include "link.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

struct link *
link_new(struct event_base *base, const struct link_conf *conf, unsigned index,
    unsigned self, const struct link_ops *owner, void *arg)
{
	static const struct link_medium_ops *const media[] = {
		[MEDIUM_UDP] = &link_udp_ops,
		[MEDIUM_SERIAL] = &link_serial_ops,
		[MEDIUM_COROSYNC] = &link_corosync_ops,
	};
	struct link *l = mem_alloc(sizeof(*l));

	l->ops = media[conf->medium];
	l->conf = conf;
	l->base = base;
	l->index = index;
	l->self = self;
	l->owner = owner;
	l->arg = arg;
	l->fd = -1;
	return l;
}

static void
detach(struct link *l)
{
	if (l->fd == -1)
		return;
	event_free(l->readable);
	close(l->fd);
	l->readable = NULL;
	l->fd = -1;
}

void
link_free(struct link *l)
{
	if (l == NULL)
		return;
	detach(l);
	l->ops->free(l);
	free(l);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct link *l = arg;

	(void)fd;
	(void)what;
	if (l->ops->read(l) == -1)
		link_break(l, strerror(errno));
}

void
link_attach(struct link *l, int fd)
{
	detach(l);
	l->fd = fd;
	l->ops->reset(l);
	l->readable = event_new(l->base, fd, EV_READ | EV_PERSIST, on_readable, l);
	event_add(l->readable, NULL);
}

bool
link_up(const struct link *l)
{
	return l->fd != -1;
}

bool
link_send(struct link *l, const uint8_t *p, size_t n)
{
	uint64_t dropped = l->dropped;

	if (l->fd == -1)
		return false;
	if (l->ops->send(l, p, n) == 0)
		return l->dropped == dropped;
	link_break(l, strerror(errno));
	return false;
}

void
link_break(struct link *l, const char *why)
{
	if (l->fd == -1)
		return;
	detach(l);
	l->owner->broken(l->arg, l->index, why);
}
