/* privopen_udp.c - UDP sockets for heartbeats, to one address or a group.
 *
 * Fails with the errno of the step that failed; nothing stays open then.  An interface
 * or address that is not there (yet) is such a failure: the caller comes again. */
#include "privopen.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

static socklen_t
address_len(const struct sockaddr_storage *ss)
{
	return ss->ss_family == AF_INET ? sizeof(struct sockaddr_in)
	    : sizeof(struct sockaddr_in6);
}

/* Where to listen.  A socket bound to the node's address never gets broadcasts, one
 * bound to a group only gets what was sent to the group; of any address, the interface
 * says what belongs to the link. */
static struct sockaddr_storage
own_address(const struct link_conf *l, unsigned self)
{
	struct sockaddr_storage own = l->group.ss_family != 0 ? l->group : l->address[self];

	if (l->group.ss_family != 0 && !l->multicast)
		((struct sockaddr_in *)(void *)&own)->sin_addr.s_addr = htonl(INADDR_ANY);
	return own;
}

static int
join4(int fd, const struct link_conf *l, int index)
{
	struct ip_mreqn m = { .imr_ifindex = index };
	int off = 0, only = 0;

	m.imr_multiaddr = ((const struct sockaddr_in *)(const void *)&l->group)->sin_addr;
	if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)) == -1 ||
	    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof(m)) == -1 ||
	    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &l->ttl, sizeof(l->ttl)) == -1 ||
	    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &only, sizeof(only)) == -1)
		return -1;
	return setsockopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, &off, sizeof(off));
}

static int
join6(int fd, const struct link_conf *l, int index)
{
	struct ipv6_mreq m = { .ipv6mr_interface = (unsigned)index };
	int off = 0;

	m.ipv6mr_multiaddr = ((const struct sockaddr_in6 *)(const void *)&l->group)->sin6_addr;
	if (setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &m, sizeof(m)) == -1 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index)) == -1 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &l->ttl, sizeof(l->ttl)) == -1)
		return -1;
	return setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &off, sizeof(off));
}

/* The number changes when an interface goes and comes back, so it is asked each time. */
static int
join_group(int fd, const struct link_conf *l)
{
	unsigned index = if_nametoindex(l->interface);

	if (index == 0)
		return -1;
	return l->group.ss_family == AF_INET ? join4(fd, l, (int)index)
	    : join6(fd, l, (int)index);
}

static void
set_priority(int fd, int family)
{
	int tos = 0xc0;		/* network control; only a hint for queues on the way */

	if (family == AF_INET)
		(void)setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	else
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
}

int
privopen_udp(const struct link_conf *l, unsigned self)
{
	struct sockaddr_storage own = own_address(l, self);
	int on = 1;
	int fd = socket(own.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1)
		return -1;
	/* Bound to the interface first: a link-local address is not unique without. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)) == -1 ||
	    (l->interface[0] != '\0' && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE,
	    l->interface, (socklen_t)strlen(l->interface) + 1) == -1) ||
	    bind(fd, (struct sockaddr *)&own, address_len(&own)) == -1 ||
	    (l->multicast && join_group(fd, l) == -1)) {
		int keep = errno;

		close(fd);
		errno = keep;
		return -1;
	}
	set_priority(fd, own.ss_family);
	return fd;
}
