/* ping.c - ICMP echo on a raw socket that the executor made.
 *
 * An answer counts when it comes from the target, carries our identifier and the
 * random 16 bytes of the request that is out: a stranger cannot guess them, and
 * late answers to earlier requests do not count as fresh.  A send that fails is the
 * same as no answer.  Decides nothing. */
#include "ping.h"

#include <event2/event.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "hex.h"
#include "log.h"
#include "mem.h"
#include "wire.h"

#define COOKIE 16
#define ECHO_LEN (8 + COOKIE)

struct ping {
	const struct ping_conf *conf;
	struct event_base *base;
	struct event *readable;
	int fd;
	uint16_t seq;
	uint8_t cookie[COOKIE];
	bool out;
	int64_t sent_us, heard_ms, rtt_us;
};

struct ping *
ping_new(struct event_base *base, const struct ping_conf *conf)
{
	struct ping *p = mem_alloc(sizeof(*p));

	p->base = base;
	p->conf = conf;
	p->fd = -1;
	p->heard_ms = p->rtt_us = -1;
	return p;
}

static void
detach(struct ping *p)
{
	if (p->fd == -1)
		return;
	event_free(p->readable);
	close(p->fd);
	p->fd = -1;
}

void
ping_free(struct ping *p)
{
	if (p == NULL)
		return;
	detach(p);
	free(p);
}

static bool
from_target(const struct ping *p, const struct sockaddr_storage *from)
{
	const struct sockaddr_in *a4 = (const void *)from, *b4 = (const void *)&p->conf->address;
	const struct sockaddr_in6 *a6 = (const void *)from, *b6 = (const void *)&p->conf->address;

	if (from->ss_family != p->conf->address.ss_family)
		return false;
	if (from->ss_family == AF_INET)
		return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
	return memcmp(&a6->sin6_addr, &b6->sin6_addr, 16) == 0;
}

/* The ICMP part of what was read; a raw IPv4 socket gives the IP header too. */
static bool
is_our_answer(const struct ping *p, const uint8_t *d, size_t n)
{
	bool v4 = p->conf->address.ss_family == AF_INET;
	size_t skip = v4 && n > 0 ? (size_t)(d[0] & 15) * 4 : 0;

	if (n < skip || n - skip < ECHO_LEN)
		return false;
	d += skip;
	return d[0] == (v4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY) &&
	    wire_load16(d + 6) == p->seq && memcmp(d + 8, p->cookie, COOKIE) == 0;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct ping *p = arg;
	struct sockaddr_storage from = { 0 };
	socklen_t len = sizeof(from);
	uint8_t buf[512];
	ssize_t n = recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from,
	    &len);

	(void)what;
	if (n <= 0 || !p->out || !from_target(p, &from) || !is_our_answer(p, buf, (size_t)n))
		return;
	p->out = false;
	p->heard_ms = clock_ms();
	p->rtt_us = clock_us() - p->sent_us;
}

void
ping_attach(struct ping *p, int fd)
{
	detach(p);
	p->fd = fd;
	p->readable = event_new(p->base, fd, EV_READ | EV_PERSIST, on_readable, p);
	event_add(p->readable, NULL);
}

bool
ping_attached(const struct ping *p)
{
	return p->fd != -1;
}

static void
checksum4(uint8_t *d)
{
	uint32_t s = 0;

	for (size_t i = 0; i < ECHO_LEN; i += 2)
		s += wire_load16(d + i);
	while (s >> 16 != 0)
		s = (s & 0xffff) + (s >> 16);
	wire_store16(d + 2, (uint16_t)~s);
}

void
ping_send(struct ping *p)
{
	uint8_t d[ECHO_LEN] = { 0 };
	bool v4 = p->conf->address.ss_family == AF_INET;
	socklen_t len = v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

	if (p->fd == -1)
		return;
	random_bytes(p->cookie, COOKIE);
	p->seq++;
	d[0] = v4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
	wire_store16(d + 4, (uint16_t)getpid());
	wire_store16(d + 6, p->seq);
	memcpy(d + 8, p->cookie, COOKIE);
	if (v4)
		checksum4(d);	/* the kernel does it for ICMPv6 */
	p->sent_us = clock_us();
	p->out = sendto(p->fd, d, sizeof(d), MSG_DONTWAIT | MSG_NOSIGNAL,
	    (const struct sockaddr *)&p->conf->address, len) != -1;
}

int64_t
ping_heard_ms(const struct ping *p)
{
	return p->heard_ms;
}

int64_t
ping_rtt_us(const struct ping *p)
{
	return p->rtt_us;
}
