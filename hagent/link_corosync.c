/* link_corosync.c - heartbeats in a closed process group of corosync.
 *
 * The descriptor is one end of a socket pair; at the other sits the process that may
 * block in corosync's libraries (corosync_relay.c).  It says how corosync stands four
 * times a second.  When it says nothing for two seconds corosync hangs, or the process
 * does: the link is broken, and whoever opens it anew gets another process.
 *
 * Frames sent before the group is joined are dropped.  Nothing that comes in is
 * trusted: a packet that makes no sense is skipped. */
#include "link_corosync.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"
#include "frame.h"
#include "mem.h"

#define READS_MAX 64
#define FRESH_MS 1000
#define SILENT_S 2

struct corosync {
	struct event *silence;
	struct corosync_state state;
	int64_t state_ms;	/* 0: none yet */
};

static void
on_silence(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	link_break(arg, "corosync does not answer");
}

static struct corosync *
corosync_of(struct link *l)
{
	if (l->medium == NULL) {
		struct corosync *c = mem_alloc(sizeof(*c));

		c->silence = evtimer_new(l->base, on_silence, l);
		l->medium = c;
	}
	return l->medium;
}

static void
heard(struct corosync *c)
{
	struct timeval tv = { SILENT_S, 0 };

	evtimer_add(c->silence, &tv);
}

static int
corosync_send(struct link *l, const uint8_t *p, size_t n)
{
	uint8_t buf[1 + FRAME_MAX];

	if (n > FRAME_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	buf[0] = COROSYNC_FRAME;
	memcpy(buf + 1, p, n);
	if (corosync_of(l)->state_ms != 0 &&
	    send(l->fd, buf, n + 1, MSG_DONTWAIT | MSG_NOSIGNAL) != -1)
		return 0;
	l->dropped++;
	/* When it is gone, reading tells, and why. */
	return 0;
}

static void
take_state(struct link *l, const uint8_t *p, size_t n)
{
	struct corosync *c = corosync_of(l);

	if (corosync_state_decode(p, n, &c->state) == -1)
		return;
	c->state_ms = clock_ms();
	heard(c);
}

static void
take(struct link *l, const uint8_t *p, size_t n)
{
	char why[COROSYNC_WHY];

	switch (p[0]) {
	case COROSYNC_FRAME:
		l->owner->frame(l->arg, l->index, p + 1, n - 1);
		break;
	case COROSYNC_STATE:
		take_state(l, p + 1, n - 1);
		break;
	case COROSYNC_BROKEN:
		snprintf(why, sizeof(why), "%.*s", (int)n - 1, (const char *)p + 1);
		link_break(l, why);
		break;
	default:
		break;
	}
}

static int
corosync_read(struct link *l)
{
	uint8_t buf[COROSYNC_PACKET];
	int fd = l->fd;

	for (int i = 0; i < READS_MAX && l->fd == fd; i++) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n == -1)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		if (n == 0) {
			link_break(l, "the process that speaks to corosync ended");
			return 0;
		}
		take(l, buf, (size_t)n);
	}
	return 0;
}

static void
corosync_reset(struct link *l)
{
	struct corosync *c = corosync_of(l);

	c->state_ms = 0;
	heard(c);
}

static void
corosync_free(struct link *l)
{
	struct corosync *c = l->medium;

	if (c != NULL)
		event_free(c->silence);
	free(c);
}

const struct corosync_state *
link_corosync_state(const struct link *l, int64_t now_ms)
{
	const struct corosync *c = l->medium;

	if (!link_up(l) || c == NULL || c->state_ms == 0 || now_ms - c->state_ms > FRESH_MS)
		return NULL;
	return &c->state;
}

const struct link_medium_ops link_corosync_ops = { corosync_send, corosync_read,
	corosync_reset, corosync_free };
