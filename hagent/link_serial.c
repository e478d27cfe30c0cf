/* link_serial.c - heartbeats over a serial line, or a pty in its place, in the
 * wrapper of frame.h.
 *
 * A heartbeat is worth nothing when it is old.  So one is only written when the line
 * has sent nearly all of the ones before it: by its speed, and by what the driver says
 * that still waits (TIOCOUTQ; a pty and some adapters do not know).  What the driver
 * took only in part is ended by the delimiter of the next frame: the reader throws the
 * torn one away.  Reading is bounded per event; EIO and end of file (the other side
 * of a pty closed, the adapter unplugged) give the descriptor up. */
#include "link.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "clock.h"
#include "frame.h"
#include "mem.h"

#define BACKLOG_MAX SERIAL_MAX	/* bytes that may still wait in the driver */

struct serial {
	struct serial_in in;
	int64_t free_us;	/* when the line will have carried what was written */
};

static struct serial *
serial_of(struct link *l)
{
	if (l->medium == NULL)
		l->medium = mem_alloc(sizeof(struct serial));
	return l->medium;
}

static int64_t
line_us(const struct link *l, size_t bytes)
{
	return (int64_t)bytes * SERIAL_BITS * 1000000 / l->conf->baud;
}

static bool
line_busy(struct link *l, int64_t now_us)
{
	int waiting = 0;

	return serial_of(l)->free_us - now_us > line_us(l, BACKLOG_MAX) ||
	    (ioctl(l->fd, TIOCOUTQ, &waiting) == 0 && waiting > BACKLOG_MAX);
}

static int
serial_send(struct link *l, const uint8_t *p, size_t n)
{
	struct serial *s = serial_of(l);
	uint8_t buf[SERIAL_MAX];
	int64_t now_us = clock_us();
	int len = serial_wrap(p, n, buf, sizeof(buf));
	ssize_t took;

	if (len == -1)
		return -1;
	if (line_busy(l, now_us)) {
		l->dropped++;
		return 0;
	}
	took = write(l->fd, buf, (size_t)len);
	if (took > 0)
		s->free_us = (s->free_us > now_us ? s->free_us : now_us) +
		    line_us(l, (size_t)took);
	if (took == len)
		return 0;
	l->dropped++;
	return took == -1 && (errno == EIO || errno == ENXIO || errno == ENODEV ||
	    errno == EBADF) ? -1 : 0;
}

static void
feed(struct link *l, const uint8_t *p, size_t n, int fd)
{
	uint8_t frame[FRAME_MAX];

	for (size_t i = 0; i < n && l->fd == fd; i++) {
		size_t len = serial_feed(&serial_of(l)->in, p[i], frame);

		if (len > 0)
			l->owner->frame(l->arg, l->index, frame, len);
	}
}

static int
serial_read(struct link *l)
{
	uint8_t buf[1024];
	ssize_t n = read(l->fd, buf, sizeof(buf));

	if (n > 0) {
		feed(l, buf, (size_t)n, l->fd);
		return 0;
	}
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n == 0)
		errno = ENXIO;	/* hung up */
	return -1;
}

static void
serial_reset(struct link *l)
{
	serial_in_init(&serial_of(l)->in);
	serial_of(l)->free_us = 0;
}

static void
serial_free(struct link *l)
{
	free(l->medium);
}

const struct link_medium_ops link_serial_ops = { serial_send, serial_read, serial_reset,
	serial_free };
