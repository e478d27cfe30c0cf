/* ports.c - each family by itself: a socket of IPv6 that takes IPv4 along is refused on a
 * machine without IPv6, which says nothing of its ports. */
#include "ports.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int
bind_error(int family, int port)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 in6 = {
	    .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	bool six = family == AF_INET6;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, err = 0;

	if (fd == -1)
		return errno;
	/* Connections that are just ending are no listener. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == -1 ||
	    (six && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) == -1) ||
	    bind(fd, six ? (void *)&in6 : (void *)&in4, six ? sizeof(in6) : sizeof(in4)) == -1)
		err = errno;
	close(fd);
	return err;
}

void
ports_look(struct port_look *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		p[i].err4 = bind_error(AF_INET, p[i].port);
		p[i].err6 = bind_error(AF_INET6, p[i].port);
	}
}

/* Nobody can listen there in this family, nor be in the way. */
static bool
no_family(int err)
{
	return err == EAFNOSUPPORT || err == EADDRNOTAVAIL;
}

static bool
known(int err)
{
	return err == 0 || no_family(err);
}

void
ports_judge(const struct port_look *p, size_t n, struct ports *out)
{
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < n; i++) {
		if (p[i].err4 == EADDRINUSE || p[i].err6 == EADDRINUSE) {
			if (out->taken++ == 0)
				out->first_taken = p[i].port;
		} else if (!known(p[i].err4) || !known(p[i].err6) ||
			   (no_family(p[i].err4) && no_family(p[i].err6))) {
			if (out->unknown++ > 0)
				continue;
			out->first_unknown = p[i].port;
			out->why = known(p[i].err4) && !known(p[i].err6) ? p[i].err6
									  : p[i].err4;
		}
	}
}
