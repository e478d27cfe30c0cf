/* vip.c - announcing and probing one virtual address.
 *
 * After it went up it is announced five times, 50 ms apart, and again after 1, 2, 5
 * and 10 s: switches and routers drop single packets just when links change.  The
 * probe empties its packet socket first and asks then, so no answer can come too
 * early and none is of an earlier question.  On an interface without Ethernet addresses
 * (loopback, tunnels) nobody can be asked or told: both succeed without a packet.
 *
 * The packet socket stays open: the kernel waits some ten milliseconds for all its
 * readers when one is closed, and the executor would wait with it. */
#include "vip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "netaddr.h"
#include "packet.h"

static const int announce_gaps_ms[] = { 50, 50, 50, 50, 800, 1000, 3000, 5000 };
#define PACKET_ROOM 16384	/* bytes that wait unread between two probes */
#define NGAPS (sizeof(announce_gaps_ms) / sizeof(announce_gaps_ms[0]))

struct vip {
	const struct vip_conf *conf;
	struct event_base *base;
	int probe_wait_ms;
	struct event *announce;
	size_t announced;
	int fd;			/* packet socket; -1 not open */
	unsigned fd_ifindex;	/* which it is bound to */
	struct event *probe_read, *probe_timer;
	bool probe_again;	/* the second question is still to be asked */
	vip_probe_cb *probe_done;
	void *probe_arg;
	unsigned ifindex;	/* as of the running probe or announcement */
	uint8_t mac[6];
};

/* 1: Ethernet, ifindex and mac are set; 0: nothing to ask or tell; -1 errno. */
static int
look_up_interface(struct vip *v)
{
	struct ifreq ifr = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int rc = -1;

	if (fd == -1)
		return -1;
	memcpy(ifr.ifr_name, v->conf->interface, strlen(v->conf->interface) + 1);
	v->ifindex = if_nametoindex(v->conf->interface);
	if (v->ifindex != 0 && ioctl(fd, SIOCGIFHWADDR, &ifr) == 0) {
		rc = ifr.ifr_hwaddr.sa_family == ARPHRD_ETHER;
		memcpy(v->mac, ifr.ifr_hwaddr.sa_data, 6);
	}
	close(fd);
	return rc;
}

/* Neighbour discovery only: the rest of the traffic is none of ours. */
static int
only_neighbours(int fd)
{
	struct sock_filter prog[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 6),		/* next header */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 2048),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog p = { sizeof(prog) / sizeof(prog[0]), prog };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof(p));
}

static int
bind_packet(const struct vip *v, int fd)
{
	bool four = v->conf->family == AF_INET;
	struct sockaddr_ll ll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(four ? ETHERTYPE_ARP : ETHERTYPE_IPV6),
		.sll_ifindex = (int)v->ifindex,
	};
	int room = PACKET_ROOM;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)) == -1 ||
	    (!four && only_neighbours(fd) == -1))
		return -1;
	return bind(fd, (struct sockaddr *)&ll, sizeof(ll));
}

static void
close_packet(struct vip *v)
{
	if (v->fd != -1)
		close(v->fd);
	v->fd = -1;
}

/* After look_up_interface(); an interface that was made anew has another number. */
static int
open_packet(struct vip *v)
{
	int keep;

	if (v->fd != -1 && v->fd_ifindex == v->ifindex)
		return 0;
	close_packet(v);
	v->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (v->fd == -1)
		return -1;
	v->fd_ifindex = v->ifindex;
	if (bind_packet(v, v->fd) == 0)
		return 0;
	keep = errno;
	close_packet(v);
	errno = keep;
	return -1;
}

static int
send_packet(const struct vip *v, const struct packet *p)
{
	struct sockaddr_ll ll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(p->ethertype),
		.sll_ifindex = (int)v->ifindex,
		.sll_halen = 6,
	};

	memcpy(ll.sll_addr, p->to, 6);
	return sendto(v->fd, p->data, p->len, 0, (struct sockaddr *)&ll, sizeof(ll)) == -1
	    ? -1 : 0;
}

static int
announce_once(struct vip *v)
{
	struct packet p;
	int rc = look_up_interface(v);

	if (rc != 1)
		return rc;
	if (open_packet(v) == -1)
		return -1;
	if (v->conf->family == AF_INET6) {
		packet_na(&p, v->mac, v->conf->addr);
		rc = send_packet(v, &p);
	} else {
		packet_garp(&p, v->mac, v->conf->addr, false);
		rc = send_packet(v, &p);
		packet_garp(&p, v->mac, v->conf->addr, true);
		if (send_packet(v, &p) == -1)
			rc = -1;
	}
	return rc;
}

static void
arm(struct event *ev, int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	evtimer_add(ev, &tv);
}

static void
on_announce(evutil_socket_t fd, short what, void *arg)
{
	struct vip *v = arg;

	(void)fd;
	(void)what;
	if (announce_once(v) == -1)
		log_warn("vip %s cannot be announced on %s", v->conf->name,
		    v->conf->interface);
	if (v->announced < NGAPS)
		arm(v->announce, announce_gaps_ms[v->announced++]);
}

static void
announce_start(struct vip *v)
{
	v->announced = 0;
	on_announce(-1, 0, v);
}

struct vip *
vip_new(struct event_base *base, const struct vip_conf *conf, int probe_wait_ms)
{
	struct vip *v = mem_alloc(sizeof(*v));

	v->base = base;
	v->conf = conf;
	v->probe_wait_ms = probe_wait_ms;
	v->fd = -1;
	v->announce = evtimer_new(base, on_announce, v);
	return v;
}

static void
probe_stop(struct vip *v)
{
	if (v->probe_read != NULL)
		event_free(v->probe_read);
	if (v->probe_timer != NULL)
		event_free(v->probe_timer);
	v->probe_read = v->probe_timer = NULL;
}

void
vip_free(struct vip *v)
{
	if (v == NULL)
		return;
	probe_stop(v);
	close_packet(v);
	event_free(v->announce);
	free(v);
}

enum exec_vip_result
vip_do(struct vip *v, enum exec_vip_op op)
{
	int rc;

	switch (op) {
	case VIP_ADD:
		if (netaddr_add(v->conf) == -1)
			return VIP_FAILED;
		announce_start(v);
		return VIP_DONE;
	case VIP_DEL:
		evtimer_del(v->announce);
		return netaddr_del(v->conf) == -1 ? VIP_FAILED : VIP_DONE;
	case VIP_ANNOUNCE:
		announce_start(v);
		return VIP_DONE;
	case VIP_QUERY:
		rc = netaddr_present(v->conf);
		return rc == -1 ? VIP_FAILED : rc == 1 ? VIP_PRESENT : VIP_ABSENT;
	case VIP_PROBE:
		break;
	}
	errno = EINVAL;
	return VIP_FAILED;
}

static void
probe_end(struct vip *v, enum exec_vip_result r, const char *error)
{
	vip_probe_cb *done = v->probe_done;

	probe_stop(v);
	v->probe_done = NULL;
	done(r, error, v->probe_arg);
}

static int
probe_ask(struct vip *v)
{
	struct packet p;

	if (v->conf->family == AF_INET)
		packet_arp_probe(&p, v->mac, v->conf->addr);
	else
		packet_ns(&p, v->conf->addr);
	return send_packet(v, &p);
}

static void
on_probe_read(evutil_socket_t fd, short what, void *arg)
{
	struct vip *v = arg;
	uint8_t buf[2048];
	struct sockaddr_ll from = { 0 };
	socklen_t len = sizeof(from);
	ssize_t n;
	bool claimed;

	(void)what;
	n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);
	if (n <= 0 || from.sll_pkttype == PACKET_OUTGOING)
		return;
	claimed = v->conf->family == AF_INET
	    ? packet_claims4(buf, (size_t)n, v->conf->addr, v->mac)
	    : packet_claims6(buf, (size_t)n, from.sll_addr, v->conf->addr, v->mac);
	if (claimed)
		probe_end(v, VIP_TAKEN, "another host answers for the address");
}

static void
on_probe_timer(evutil_socket_t fd, short what, void *arg)
{
	struct vip *v = arg;

	(void)fd;
	(void)what;
	if (!v->probe_again) {
		probe_end(v, VIP_CLEAR, "");
		return;
	}
	v->probe_again = false;
	if (probe_ask(v) == -1)
		probe_end(v, VIP_FAILED, strerror(errno));
	else
		arm(v->probe_timer, v->probe_wait_ms / 2);
}

/* What came before the question answers nothing. */
static void
forget_packets(const struct vip *v)
{
	char buf[1];

	for (int i = 0; i < PACKET_ROOM && recv(v->fd, buf, sizeof(buf), 0) != -1; i++)
		continue;
}

void
vip_probe(struct vip *v, vip_probe_cb *done, void *arg)
{
	int rc;

	if (v->probe_done != NULL) {
		done(VIP_FAILED, "busy", arg);
		return;
	}
	rc = look_up_interface(v);
	if (rc == 1)
		rc = open_packet(v) == -1 ? -1 : 1;
	if (rc != 1) {
		done(rc == 0 ? VIP_CLEAR : VIP_FAILED, rc == 0 ? "" : strerror(errno), arg);
		return;
	}
	v->probe_done = done;
	v->probe_arg = arg;
	v->probe_again = true;
	forget_packets(v);
	v->probe_read = event_new(v->base, v->fd, EV_READ | EV_PERSIST, on_probe_read,
	    v);
	v->probe_timer = evtimer_new(v->base, on_probe_timer, v);
	event_add(v->probe_read, NULL);
	/* Silence after a question that did not go out says nothing. */
	if (probe_ask(v) == -1)
		probe_end(v, VIP_FAILED, strerror(errno));
	else
		arm(v->probe_timer, v->probe_wait_ms / 2);
}
