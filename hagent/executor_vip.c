/* executor_vip.c - what the executor does for the agent with addresses, and the
 * descriptors that only root can open for it.
 *
 * A request names an address or a link by its index; one that does not exist is refused
 * with an answer, never acted on.  A probe is answered when it has its result, also when
 * the agent that asked is gone: then nobody gets it.  The corosync link is a socket pair
 * to a process of its own, forked here; it may hang, and is killed when the link is
 * opened anew. */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "corosync_relay.h"
#include "executor_int.h"
#include "log.h"
#include "mem.h"
#include "privopen.h"
#include "vip.h"

struct vip_ask {
	struct executor *x;
	uint32_t id, agent;
};

/* ---- what the agent asks about addresses ---------------------------------- */

static void
vip_answer(struct executor *x, uint32_t agent, uint32_t id, enum exec_vip_result r,
    const char *error)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u8(&w, (uint8_t)r);
	wire_put_str(&w, error);
	executor_answer(x, agent, EX_VIP_DONE, id, &w, -1);
}

static void
on_probed(enum exec_vip_result r, const char *error, void *arg)
{
	struct vip_ask *a = arg;

	vip_answer(a->x, a->agent, a->id, r, error);
	free(a);
}

static void
probe(struct executor *x, struct vip *v, uint32_t id)
{
	struct vip_ask *a = mem_alloc(sizeof(*a));

	a->x = x;
	a->id = id;
	a->agent = x->agents;
	vip_probe(v, on_probed, a);
}

static struct vip *
vip_of(struct executor *x, unsigned n, uint8_t op)
{
	if (n < x->conf->nvips)
		return x->vips[n];
	if (op == VIP_PROBE && n >= EXEC_PEER0 && n - EXEC_PEER0 < x->conf->nlinks)
		return x->peers[n - EXEC_PEER0];
	return NULL;
}

void
executor_on_vip(struct executor *x, uint32_t id, struct wire_in *in)
{
	uint16_t n = wire_get_u16(in);
	uint8_t op = wire_get_u8(in);
	struct vip *v = vip_of(x, n, op);
	enum exec_vip_result r;

	if (!wire_in_done(in) || v == NULL || op > VIP_QUERY) {
		log_err("executor refuses vip=%u op=%u", n, op);
		vip_answer(x, x->agents, id, VIP_FAILED, "no such address");
		return;
	}
	if (op == VIP_PROBE) {
		probe(x, v, id);
		return;
	}
	errno = 0;
	r = vip_do(v, (enum exec_vip_op)op);
	if (r == VIP_FAILED)
		log_warn("vip %s on %s", x->conf->vips[n].name, x->conf->vips[n].interface);
	else if (op == VIP_ADD || op == VIP_DEL)
		log_info("vip %s %s on %s", x->conf->vips[n].name, op == VIP_ADD ? "up" :
		    "down", x->conf->vips[n].interface);
	vip_answer(x, x->agents, id, r, r == VIP_FAILED ? strerror(errno) : "");
}

/* ---- descriptors --------------------------------------------------------- */

/* The one before may hang in a call: whoever opens the link anew gave it up. */
static int
open_corosync(struct executor *x, const struct link_conf *l)
{
	int fds[2];
	pid_t pid;

	if (x->relay_pid > 0)
		kill(x->relay_pid, SIGKILL);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == -1)
		return -1;
	pid = fork();
	if (pid == 0) {
		executor_child_begin(x, fds[1], "hagentd/corosync");
		cluster_keys_wipe(x->start->keys);
		_exit(corosync_relay_run(x->conf, l, 3));
	}
	close(fds[1]);
	if (pid == -1) {
		close(fds[0]);
		errno = EAGAIN;
		return -1;
	}
	x->relay_pid = pid;
	return fds[0];
}

static int
open_link(struct executor *x, unsigned n)
{
	const struct link_conf *l = &x->conf->links[n];

	return l->medium == MEDIUM_COROSYNC ? open_corosync(x, l)
	    : privopen_link(l, x->conf->self);
}

void
executor_on_open(struct executor *x, uint32_t id, struct wire_in *in)
{
	uint8_t what = wire_get_u8(in);
	uint16_t n = wire_get_u16(in);
	struct wire_out w;
	int fd = -1;

	errno = EINVAL;
	if (wire_in_done(in) && what == OPEN_LINK && n < x->conf->nlinks)
		fd = open_link(x, n);
	else if (wire_in_done(in) && what == OPEN_PING && n < x->conf->npings)
		fd = privopen_ping(&x->conf->pings[n]);
	wire_out_init(&w);
	wire_put_u32(&w, fd == -1 ? (uint32_t)errno : 0);
	executor_answer(x, x->agents, EX_OPENED, id, &w, fd);
}

/* ---- the addresses ------------------------------------------------------- */

/* ARP answers as long as the peer's kernel lives, whatever its services do. */
static void
set_up_peer(struct executor *x, size_t i)
{
	const struct link_conf *l = &x->conf->links[i];
	const struct sockaddr_storage *peer = link_probe_address(l, 1 - x->conf->self);
	struct vip_conf *c = &x->peer_conf[i];

	if (peer == NULL)
		return;
	c->name = l->name;
	c->interface = l->interface;
	c->family = peer->ss_family;
	if (c->family == AF_INET)
		memcpy(c->addr, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
	else
		memcpy(c->addr, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr,
		    16);
	x->peers[i] = vip_new(x->base, c, x->conf->probe_wait_ms);
}

void
executor_addresses_open(struct executor *x)
{
	for (size_t i = 0; i < x->conf->nvips; i++)
		x->vips[i] = vip_new(x->base, &x->conf->vips[i], x->conf->probe_wait_ms);
	for (size_t i = 0; i < x->conf->nlinks; i++)
		set_up_peer(x, i);
}

/* The addresses themselves stay as they are. */
void
executor_addresses_close(struct executor *x)
{
	for (size_t i = 0; i < HAGENT_VIPS_MAX; i++) {
		vip_free(x->vips[i]);
		x->vips[i] = NULL;
	}
	for (size_t i = 0; i < HAGENT_LINKS_MAX; i++) {
		vip_free(x->peers[i]);
		x->peers[i] = NULL;
	}
}
