/* child.c - the part that all processes of maild share: the channel to the parent
 * and the table of channels to the other processes.
 *
 * Promises: a process ends when its parent is gone, at once and without closing what it
 * has in order: the next maild may be waiting for these files, and what a crash leaves
 * is what they are made for.  On SIGTERM it ends in order.  A broken channel is
 * reported exactly once before its successor is.  What can fail: nothing but
 * memory, which is fatal.  It knows no message but PM_PEER. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event.h>

#include "child.h"
#include "log.h"
#include "maild_conf.h"
#include "mailipc.h"
#include "mem.h"
#include "owner.h"
#include "wire.h"

#define PEERS_MAX CONF_GATES_MAX

struct peer {
	struct child *child;
	enum child_kind kind;
	unsigned index;
	struct ipc *ipc;
};

struct child {
	struct event_base *base;
	struct event *term;
	const struct child_ops *ops;
	void *arg;
	struct peer peers[CHILD_KINDS][PEERS_MAX];
};

const char *
child_kind_name(enum child_kind kind)
{
	static const char *const names[] = { "parent", "directory", "gate", "store", "queue" };

	return (unsigned)kind < CHILD_KINDS ? names[kind] : "?";
}

static void on_peer_message(struct ipc *, const struct ipc_msg *, void *);
static void on_peer_gone(struct ipc *, const char *, void *);

static void
peer_set(struct child *c, enum child_kind kind, unsigned index, int fd)
{
	struct peer *p = &c->peers[kind][index];

	if (p->ipc != NULL) {		/* the news of its end comes by the parent first */
		ipc_free(p->ipc);
		p->ipc = NULL;
		c->ops->peer(c->arg, kind, index, false);
	}
	p->child = c;
	p->kind = kind;
	p->index = index;
	p->ipc = ipc_new(c->base, fd, IPC_BODY_MAX, on_peer_message, on_peer_gone, p);
	if (kind != CHILD_PARENT)
		c->ops->peer(c->arg, kind, index, true);
}

static void
child_on_peer(struct child *c, const struct ipc_msg *m)
{
	struct wire_in in;
	unsigned kind, index;

	wire_in_init(&in, m->body.p, m->body.len);
	kind = wire_get_u8(&in);
	index = wire_get_u16(&in);
	if (!wire_in_done(&in) || m->fd == -1 || kind == CHILD_PARENT || kind >= CHILD_KINDS
	    || index >= PEERS_MAX) {
		log_warnx("bad channel message from the parent");
		if (m->fd != -1)
			close(m->fd);
		return;
	}
	peer_set(c, (enum child_kind)kind, index, m->fd);
}

static void
on_peer_message(struct ipc *ipc, const struct ipc_msg *m, void *arg)
{
	struct peer *p = arg;

	if (p->kind == CHILD_PARENT && m->type == PM_PEER)
		child_on_peer(p->child, m);
	else
		p->child->ops->message(p->child->arg, p->kind, p->index, ipc, m);
}

static void
on_peer_gone(struct ipc *ipc, const char *why, void *arg)
{
	struct peer *p = arg;

	log_debug("channel to %s %u is gone: %s", child_kind_name(p->kind), p->index, why);
	ipc_free(ipc);
	p->ipc = NULL;
	if (p->kind == CHILD_PARENT)
		_exit(0);
	p->child->ops->peer(p->child->arg, p->kind, p->index, false);
}

static void
on_term(int sig, short what, void *arg)
{
	(void)sig;
	(void)what;
	event_base_loopexit(arg, NULL);
}

struct child *
child_new(struct event_base *base, const struct child_start *start, const struct child_ops *ops,
    void *arg)
{
	struct child *c = mem_alloc(sizeof(*c));

	c->base = base;
	c->ops = ops;
	c->arg = arg;
	c->term = evsignal_new(base, SIGTERM, on_term, base);
	if (c->term == NULL || event_add(c->term, NULL) == -1)
		log_fatal("cannot watch signals");
	signal(SIGHUP, SIG_IGN);	/* the parent reloads and tells */
	signal(SIGINT, SIG_IGN);
	peer_set(c, CHILD_PARENT, 0, start->parent_fd);
	return c;
}

void
child_free(struct child *c)
{
	if (c == NULL)
		return;
	for (unsigned k = 0; k < CHILD_KINDS; k++)
		for (unsigned i = 0; i < PEERS_MAX; i++)
			ipc_free(c->peers[k][i].ipc);
	event_free(c->term);
	free(c);
}

struct ipc *
child_peer(struct child *c, enum child_kind kind, unsigned index)
{
	return index < PEERS_MAX ? c->peers[kind][index].ipc : NULL;
}

void
child_state(struct child *c, const struct owner_role *role, uint64_t applied_lsn)
{
	struct ipc *parent = child_peer(c, CHILD_PARENT, 0);
	struct wire_out w;

	if (parent == NULL)
		return;
	wire_out_init(&w);
	wire_put_u8(&w, role->active);
	wire_put_u64(&w, role->gen.no);
	wire_put_u64(&w, applied_lsn);
	wire_put_u8(&w, role->copies);
	wire_put_str(&w, gen_kind_name((enum gen_kind)role->gen.kind));
	ipc_send(parent, PM_STATE, 0, w.p, w.len, -1);
	wire_out_clear(&w);
}
