/* listener.c - accepts connections and hands them over, or rests (see listener.h).
 *
 * A level-triggered event on a socket whose connections cannot be accepted would fire
 * again at once and take the whole processor from those who are connected already. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event.h>

#include "listener.h"
#include "log.h"
#include "mem.h"

struct listener {
	struct event *ready, *again;
	const char *name;
	listener_cb *cb;
	void *arg;
	bool told;		/* that it rests, since the last that was accepted */
};

static bool
out_of_means(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM;
}

static void
rest(struct listener *l)
{
	static const struct timeval soon = { 0, 200000 };

	if (!l->told)
		log_warn("cannot accept a connection at %s, tried again five times a second",
		    l->name);
	l->told = true;
	event_del(l->ready);
	event_add(l->again, &soon);
}

static void
on_ready(evutil_socket_t lfd, short what, void *arg)
{
	struct listener *l = arg;
	struct sockaddr_storage from = { 0 };
	socklen_t len = sizeof(from);
	int fd = accept4(lfd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)what;
	if (fd == -1) {
		if (out_of_means(errno))
			rest(l);
		return;
	}
	l->told = false;
	l->cb(fd, (struct sockaddr *)&from, l->arg);
}

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;

	(void)fd;
	(void)what;
	event_add(l->ready, NULL);
}

struct listener *
listener_new(struct event_base *base, int fd, const char *name, listener_cb *cb, void *arg)
{
	struct listener *l = mem_alloc(sizeof(*l));

	l->name = name;
	l->cb = cb;
	l->arg = arg;
	l->ready = event_new(base, fd, EV_READ | EV_PERSIST, on_ready, l);
	l->again = event_new(base, -1, 0, on_again, l);
	/* one that connected and is gone again must not stop the loop */
	evutil_make_socket_nonblocking(fd);
	event_add(l->ready, NULL);
	return l;
}

void
listener_free(struct listener *l)
{
	if (l == NULL)
		return;
	close(event_get_fd(l->ready));
	event_free(l->ready);
	event_free(l->again);
	free(l);
}
