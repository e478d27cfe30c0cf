/* netaddr.c - adds, removes and looks for an address with one netlink request each.
 *
 * Every call opens a socket of its own, asks, reads the kernel's answer and closes:
 * there is no state that could be stale, and a netlink round trip takes well under
 * a millisecond.  A time limit of one second on the answer keeps the executor from
 * waiting for ever should the kernel not answer. */
#include "netaddr.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_MAX 32768

struct request {
	struct nlmsghdr h;
	struct ifaddrmsg a;
	char attr[128];
};

static size_t
addr_len(const struct vip_conf *v)
{
	return v->family == AF_INET ? 4 : 16;
}

static void
put_attr(struct request *r, unsigned short type, const void *data, size_t len)
{
	struct rtattr *at = (struct rtattr *)((char *)r + NLMSG_ALIGN(r->h.nlmsg_len));

	at->rta_type = type;
	at->rta_len = (unsigned short)RTA_LENGTH(len);
	memcpy(RTA_DATA(at), data, len);
	r->h.nlmsg_len = (uint32_t)(NLMSG_ALIGN(r->h.nlmsg_len) + RTA_ALIGN(at->rta_len));
}

static void
request_init(struct request *r, uint16_t type, uint16_t flags, int family)
{
	memset(r, 0, sizeof(*r));
	r->h.nlmsg_len = NLMSG_LENGTH(sizeof(r->a));
	r->h.nlmsg_type = type;
	r->h.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	r->h.nlmsg_seq = 1;
	r->a.ifa_family = (uint8_t)family;
}

static int
ask(const struct request *r)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct timeval limit = { 1, 0 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd == -1)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == -1 ||
	    sendto(fd, r, r->h.nlmsg_len, 0, (struct sockaddr *)&kernel,
	    sizeof(kernel)) == -1) {
		int keep = errno;

		close(fd);
		errno = keep;
		return -1;
	}
	return fd;
}

/* A change: the answer is one error message, 0 for done. */
static int
change(const struct vip_conf *v, uint16_t type, uint16_t flags)
{
	char buf[4096] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *h = (const struct nlmsghdr *)buf;
	struct request r;
	ssize_t n;
	int fd;

	request_init(&r, type, (uint16_t)(NLM_F_ACK | flags), v->family);
	r.a.ifa_prefixlen = v->prefix;
	r.a.ifa_index = if_nametoindex(v->interface);
	if (r.a.ifa_index == 0)
		return -1;
	if (v->family == AF_INET6)
		r.a.ifa_flags = IFA_F_NODAD;
	put_attr(&r, IFA_LOCAL, v->addr, addr_len(v));
	put_attr(&r, IFA_ADDRESS, v->addr, addr_len(v));
	if ((fd = ask(&r)) == -1)
		return -1;
	n = recv(fd, buf, sizeof(buf), 0);
	close(fd);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) || h->nlmsg_type != NLMSG_ERROR) {
		errno = n == -1 ? errno : EPROTO;
		return -1;
	}
	errno = -((const struct nlmsgerr *)NLMSG_DATA(h))->error;
	return errno == 0 ? 0 : -1;
}

int
netaddr_add(const struct vip_conf *v)
{
	if (change(v, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL) == 0 || errno == EEXIST)
		return 0;
	return -1;
}

int
netaddr_del(const struct vip_conf *v)
{
	if (change(v, RTM_DELADDR, 0) == 0)
		return 0;
	/* An interface that is gone has taken its addresses along. */
	return errno == EADDRNOTAVAIL || errno == ENODEV || errno == ENXIO ? 0 : -1;
}

static bool
message_is(const struct nlmsghdr *h, const struct vip_conf *v, unsigned ifindex)
{
	const struct ifaddrmsg *a = NLMSG_DATA(h);
	const char *p = (const char *)IFA_RTA(a);
	size_t left = IFA_PAYLOAD(h);

	if (h->nlmsg_type != RTM_NEWADDR || a->ifa_index != ifindex ||
	    a->ifa_family != v->family)
		return false;
	while (left >= sizeof(struct rtattr)) {
		const struct rtattr *at = (const void *)p;
		size_t step = RTA_ALIGN(at->rta_len);

		if (at->rta_len < sizeof(*at) || at->rta_len > left)
			break;
		if ((at->rta_type == IFA_ADDRESS || at->rta_type == IFA_LOCAL) &&
		    RTA_PAYLOAD(at) == addr_len(v) &&
		    memcmp(RTA_DATA(at), v->addr, addr_len(v)) == 0)
			return true;
		p += step;
		left = left > step ? left - step : 0;
	}
	return false;
}

/* One datagram of a dump: 1 found, 0 go on, 2 end, -1 error. */
static int
scan(const char *buf, ssize_t n, const struct vip_conf *v, unsigned ifindex)
{
	const struct nlmsghdr *h = (const struct nlmsghdr *)buf;
	size_t left = (size_t)n;

	for (; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return 2;
		if (h->nlmsg_type == NLMSG_ERROR) {
			errno = EPROTO;
			return -1;
		}
		if (message_is(h, v, ifindex))
			return 1;
	}
	return 0;
}

int
netaddr_present(const struct vip_conf *v)
{
	static char buf[ANSWER_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
	unsigned ifindex = if_nametoindex(v->interface);
	struct request r;
	int fd, rc = 0;

	if (ifindex == 0)
		return 0;
	request_init(&r, RTM_GETADDR, NLM_F_DUMP, v->family);
	if ((fd = ask(&r)) == -1)
		return -1;
	while (rc == 0) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		rc = n <= 0 ? -1 : scan(buf, n, v, ifindex);
	}
	close(fd);
	return rc == 2 ? 0 : rc;
}
