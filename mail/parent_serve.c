/* parent_serve.c - the listening sockets: bound here, as root, only while this node is
 * told to serve, one per gate and address (SO_REUSEPORT), with IP_FREEBIND, so that the
 * virtual address need not be there yet.
 *
 * Opening waits until the owners of all shards are the active ones.  An address that
 * cannot be bound is an error line and leaves that service out at that gate; the others serve. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "mailipc.h"
#include "parent_int.h"
#include "wire.h"

#define BACKLOG 1024

const char *
parent_listening_name(const struct parent *p)
{
	static const char *const names[] = { "closed", "opening", "open", "closing" };

	return names[p->listening];
}

static bool
owner(const struct proc *c)
{
	return c->kind != CHILD_GATE;
}

bool
parent_owners_ready(const struct parent *p)
{
	for (size_t i = 0; i < p->nprocs; i++)
		if (owner(&p->procs[i]) && !p->procs[i].ready)
			return false;
	return true;
}

/* "*" falls back to IPv4 where the kernel has no IPv6. */
static int
bind_one(const struct maild_listen *l)
{
	const struct sockaddr *sa = (const struct sockaddr *)&l->addr;
	struct sockaddr_in any4 = { .sin_family = AF_INET };
	socklen_t len = l->addr_len;
	int on = 1, off = l->text[0] != '*', saved;
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd == -1 && l->text[0] == '*') {
		any4.sin_port = ((const struct sockaddr_in6 *)sa)->sin6_port;
		sa = (struct sockaddr *)&any4;
		len = sizeof(any4);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	}
	if (fd == -1)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1
	    || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == -1
	    || setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)) == -1
	    || (sa->sa_family == AF_INET6
		&& setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == -1)
	    || bind(fd, sa, len) == -1 || listen(fd, BACKLOG) == -1) {
		saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static void
open_gate(struct parent *p, struct proc *gate)
{
	for (size_t i = 0; i < p->conf->nlistens; i++) {
		const struct maild_listen *l = &p->conf->listens[i];
		int fd = bind_one(l);
		struct wire_out w;

		if (fd == -1) {
			log_err("cannot listen on %s for %s: %s", l->text,
			    mail_service_name(l->service), strerror(errno));
			continue;
		}
		wire_out_init(&w);
		wire_put_u8(&w, (uint8_t)l->service);
		wire_put_str(&w, l->text);
		ipc_send(gate->ipc, PM_LISTEN, 0, w.p, w.len, fd);
		wire_out_clear(&w);
	}
}

/* Gates get their sockets first, and their grace time when it is over. */
static void
serve(struct parent *p, struct proc *c, bool on, uint32_t grace_ms)
{
	struct wire_out w;

	if (c->ipc == NULL || c->kind == CHILD_DIRECTORY)
		return;
	if (on && c->kind == CHILD_GATE) {
		open_gate(p, c);
		c->serving = true;	/* from the moment clients can connect */
	}
	wire_out_init(&w);
	wire_put_u8(&w, on);
	if (!on && c->kind == CHILD_GATE)
		wire_put_u32(&w, grace_ms);
	ipc_send(c->ipc, PM_SERVE, 0, w.p, w.len, -1);
	wire_out_clear(&w);
}

void
parent_serve_one(struct parent *p, struct proc *c)
{
	if (p->listening == LISTEN_OPEN)
		serve(p, c, true, 0);
}

void
parent_open(struct parent *p)
{
	if (p->listening == LISTEN_OPEN)
		return;
	p->listening = LISTEN_OPENING;
	parent_progress(p);
}

void
parent_close(struct parent *p, uint32_t grace_ms)
{
	if (p->listening == LISTEN_OPENING)
		p->listening = LISTEN_CLOSED;
	/* A close while a drain is on its way makes it shorter. */
	if (p->listening == LISTEN_OPEN || p->listening == LISTEN_CLOSING) {
		log_info("listeners close, grace %u ms", grace_ms);
		p->listening = LISTEN_CLOSING;
		for (size_t i = 0; i < p->nprocs; i++)
			serve(p, &p->procs[i], false, grace_ms);
	}
	parent_progress(p);
}

static bool
gates_serve(const struct parent *p, bool on)
{
	for (size_t i = 0; i < p->nprocs; i++)
		if (p->procs[i].kind == CHILD_GATE && p->procs[i].ipc != NULL
		    && p->procs[i].serving != on)
			return false;
	return true;
}

void
parent_progress(struct parent *p)
{
	if (p->listening == LISTEN_OPENING && parent_owners_ready(p)) {
		log_info("listeners open");
		p->listening = LISTEN_OPEN;
		for (size_t i = 0; i < p->nprocs; i++)
			serve(p, &p->procs[i], true, 0);
	} else if (p->listening == LISTEN_CLOSING && gates_serve(p, false)) {
		log_info("listeners closed");
		p->listening = LISTEN_CLOSED;
	}
	if (!p->ending)
		parent_ctl_progress(p);
}
