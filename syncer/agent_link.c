/* agent_link.c - the agent's channel: STATE at once, on each change, each second and when asked;
 * its orders go to commit.c, whose answers come back through agent_link_act().  When
 * the channel breaks syncd stays what it is.  One agent: the last to come. */
#include "agent_link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "core.h"
#include "daemon.h"
#include "ipc.h"
#include "listener.h"
#include "log.h"
#include "mem.h"

#define AGENT_BODY_MAX (64u << 10)

struct agent_link {
	struct syncd *s;
	struct listener *listen;
	struct ipc *ipc;	/* NULL: no agent */
	bool hello;
};

static void
send_out(struct agent_link *l, uint16_t type, struct wire_out *w)
{
	if (l->ipc != NULL && l->hello)
		ipc_send(l->ipc, type, 0, w->p, w->len, -1);
	wire_out_clear(w);
}

void
agent_link_state(struct agent_link *l)
{
	struct data_state st;
	struct wire_out w;

	if (l->ipc == NULL || !l->hello)
		return;
	core_state(l->s, &st);
	wire_out_init(&w);
	agentlink_put_state(&w, &st);
	send_out(l, AL_STATE, &w);
}

static void
send_gen(struct agent_link *l, uint16_t type, const struct gen *g)
{
	struct wire_out w;

	wire_out_init(&w);
	gen_put(&w, g);
	send_out(l, type, &w);
}

static void
send_no(struct agent_link *l, uint16_t type, uint64_t no)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, no);
	send_out(l, type, &w);
}

static void
send_demoted(struct agent_link *l, const struct commit_act *x)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, x->no);
	wire_put_u64(&w, x->lsn);
	wire_put_raw(&w, l->s->commit.durable_hash, 16);
	wire_put_u8(&w, x->drained);
	send_out(l, AL_DEMOTED, &w);
}

static void
send_refused(struct agent_link *l, const struct commit_act *x)
{
	struct wire_out w;

	log_warnx("agent's request refused type=%u gen=%llu: %s", x->request,
	    (unsigned long long)x->no, x->reason);
	wire_out_init(&w);
	wire_put_u16(&w, x->request);
	wire_put_str(&w, x->reason);
	send_out(l, AL_REFUSED, &w);
}

void
agent_link_log_lost(struct agent_link *l)
{
	struct wire_out w;

	if (l == NULL || l->ipc == NULL)	/* NULL: while syncd starts */
		return;
	wire_out_init(&w);
	send_out(l, AL_LOG_LOST, &w);
	if (!ipc_flush(l->ipc))
		log_warnx("the agent was not told; it finds out");
}

void
agent_link_act(struct agent_link *l, const struct commit_act *x)
{
	switch (x->type) {
	case COMMIT_PROMOTED:
		send_gen(l, AL_PROMOTED, &x->gen);
		break;
	case COMMIT_ADOPTED:
		send_gen(l, AL_ADOPTED, &x->gen);
		break;
	case COMMIT_NEWER:
		log_warnx("a newer generation exists no=%llu: nothing is acknowledged here",
		    (unsigned long long)x->gen.no);
		send_gen(l, AL_NEWER, &x->gen);
		break;
	case COMMIT_ALONE_WANTED:
		send_no(l, AL_ALONE_WANTED, x->no);
		break;
	case COMMIT_JOIN_WANTED:
		send_no(l, AL_JOIN_WANTED, x->no);
		break;
	case COMMIT_OUTDATED:
		send_no(l, AL_OUTDATED, x->no);
		break;
	case COMMIT_DEMOTED:
		send_demoted(l, x);
		break;
	case COMMIT_REFUSED:
		send_refused(l, x);
		break;
	default:
		break;
	}
}

/* ---- orders; each returns false when it cannot be understood ---- */

static bool
got_hello(struct agent_link *l, struct wire_in *in)
{
	const struct syncd_conf *c = &l->s->conf;
	uint16_t version = wire_get_u16(in);
	char node[256];

	wire_get_str(in, node, sizeof(node));
	if (!wire_in_done(in) || version != AGENTLINK_VERSION ||
	    strcmp(node, c->nodes[c->node].name) != 0) {
		log_warnx("agent refused: node %s is not %s", log_safe(node),
		    c->nodes[c->node].name);
		return false;
	}
	l->hello = true;
	agent_link_state(l);
	/* The agent before this one may have died with it unread. */
	if (l->s->commit.role == DATA_ACTIVE && l->s->commit.fenced)
		send_gen(l, AL_NEWER, &l->s->commit.newer);
	return true;
}

static bool
got_order(struct agent_link *l, uint16_t type, struct wire_in *in)
{
	struct commit *c = &l->s->commit;
	struct commit_acts acts = { .n = 0 };
	int64_t now = clock_ms();
	struct gen g;
	uint64_t no;
	uint32_t drain_ms;

	if (type == AL_PROMOTE || type == AL_GRANT) {
		gen_get(in, &g);
		if (!wire_in_done(in))
			return false;
		if (type == AL_PROMOTE)
			commit_promote(c, &g, now, &acts);
		else
			commit_grant(c, &g, now, &acts);
	} else {
		no = wire_get_u64(in);
		drain_ms = type == AL_DEMOTE ? wire_get_u32(in) : 0;
		if (!wire_in_ok(in))
			return false;
		if (type == AL_DEMOTE)
			commit_demote(c, no, drain_ms < 600000 ? (int)drain_ms : 600000, now,
			    &acts);
		else if (type == AL_DENY)
			commit_deny(c, no, now, &acts);
		else
			commit_outdate(c, no, &acts);
	}
	core_run(l->s, &acts);
	return true;
}

static void
on_gone(struct ipc *ipc, const char *why, void *arg)
{
	struct agent_link *l = arg;

	log_info("agent gone why=%s", log_safe(why));
	ipc_free(ipc);
	if (l->ipc == ipc) {
		l->ipc = NULL;
		l->hello = false;
	}
}

static void
on_msg(struct ipc *ipc, const struct ipc_msg *m, void *arg)
{
	struct agent_link *l = arg;
	struct wire_in in;
	bool ok = true;

	if (m->fd != -1)
		close(m->fd);
	wire_in_init(&in, m->body.p, m->body.len);
	if (m->type == AL_HELLO)
		ok = got_hello(l, &in);
	else if (!l->hello)
		ok = false;
	else if (m->type == AL_QUERY)
		agent_link_state(l);
	else if (m->type >= AL_PROMOTE && m->type <= AL_OUTDATE)
		ok = got_order(l, m->type, &in);
	else
		log_debug("agent sent an unknown message type=%u", m->type);
	if (!ok)
		on_gone(ipc, "broken message", l);
}

static bool
agent_allowed(struct ipc *ipc)
{
	struct daemon_user u;
	uid_t uid;
	gid_t gid;
	pid_t pid;

	if (ipc_peer(ipc, &uid, &gid, &pid) == -1)
		return false;
	return uid == 0 || (daemon_user_find("hagent", &u) == 0 ? uid == u.uid : uid == geteuid());
}

static void
on_accept(int fd, const struct sockaddr *from, void *arg)
{
	struct agent_link *l = arg;
	struct ipc *ipc;

	(void)from;
	ipc = ipc_new(l->s->base, fd, AGENT_BODY_MAX, on_msg, on_gone, l);
	if (!agent_allowed(ipc)) {
		log_warnx("agent refused: wrong user");
		ipc_free(ipc);
		return;
	}
	ipc_free(l->ipc);
	l->ipc = ipc;
	l->hello = false;
}

struct agent_link *
agent_link_new(struct syncd *s, int fd)
{
	struct agent_link *l = mem_alloc(sizeof(*l));

	l->s = s;
	l->listen = listener_new(s->base, fd, "syncd-agent.sock", on_accept, l);
	return l;
}

void
agent_link_free(struct agent_link *l)
{
	if (l == NULL)
		return;
	ipc_free(l->ipc);
	listener_free(l->listen);
	free(l);
}
