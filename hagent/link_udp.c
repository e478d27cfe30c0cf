/* link_udp.c - heartbeats as UDP datagrams, one frame each, to the peer or a group.
 *
 * Errors that speak of the peer or the moment (refused, unreachable, no buffers) are
 * no reason to give the socket up; an interface that was taken away is, because a
 * socket stays bound to the old one when it comes back. */
#include "link.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "frame.h"

#define READS_MAX 64	/* datagrams per event: others wait for the loop too */

static bool
passing(int error)
{
	switch (error) {
	case EAGAIN:
	case EINTR:
	case ENOBUFS:
	case ENOMEM:
	case ECONNREFUSED:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case EPERM:		/* a packet filter */
		return true;
	default:
		return false;
	}
}

static int
udp_send(struct link *l, const uint8_t *p, size_t n)
{
	const struct sockaddr_storage *to = l->conf->group.ss_family != 0
	    ? &l->conf->group : &l->conf->address[1 - l->self];
	socklen_t len = to->ss_family == AF_INET ? sizeof(struct sockaddr_in)
	    : sizeof(struct sockaddr_in6);

	if (sendto(l->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)to,
	    len) != -1)
		return 0;
	l->dropped++;
	return passing(errno) ? 0 : -1;
}

static int
udp_read(struct link *l)
{
	uint8_t buf[FRAME_MAX + 1];	/* one more: too long is seen as too long */
	int fd = l->fd;

	for (int i = 0; i < READS_MAX; i++) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n == -1)
			return passing(errno) ? 0 : -1;
		l->owner->frame(l->arg, l->index, buf, (size_t)n);
		if (l->fd != fd)
			return 0;	/* the owner broke it */
	}
	return 0;
}

static void
udp_reset(struct link *l)
{
	(void)l;
}

const struct link_medium_ops link_udp_ops = { udp_send, udp_read, udp_reset, udp_reset };
