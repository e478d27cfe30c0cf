/* syncd_client.c - the channel to the local syncd.
 *
 * A message that cannot be decoded ends the connection: both daemons come from one
 * package, so it is a bug or another version, and guessing would be worse.  An
 * unknown type is counted and skipped.  Never blocks. */
#include "syncd_client.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc.h"
#include "log.h"
#include "mem.h"

#define RECONNECT_MS 250
#define BODY_MAX 4096

struct syncd_client {
	struct event_base *base;
	const char *path, *node;
	const struct syncd_client_ops *ops;
	void *arg;
	struct ipc *ch;
	struct event *again;
	uint64_t unknown;
	bool told;		/* that it cannot be reached; once per absence */
};

static void
arm(struct syncd_client *c)
{
	struct timeval tv = { 0, RECONNECT_MS * 1000 };

	evtimer_add(c->again, &tv);
}

static void
disconnect(struct syncd_client *c, const char *why)
{
	log_warnx("syncd connection ended: %s", why);
	ipc_free(c->ch);
	c->ch = NULL;
	arm(c);
	c->ops->gone(c->arg);
}

/* false: a type that is not known here. */
static bool
decode(const struct ipc_msg *m, struct wire_in *in, struct syncd_said *s)
{
	s->type = (enum agentlink_type)m->type;
	switch (m->type) {
	case AL_PROMOTED:
	case AL_ADOPTED:
	case AL_NEWER:
		gen_get(in, &s->gen);
		s->no = s->gen.no;
		return true;
	case AL_LOG_LOST:
		return true;
	case AL_REFUSED:
		s->refused = wire_get_u16(in);
		wire_get_str(in, s->reason, sizeof(s->reason));
		return true;
	case AL_DEMOTED:
		s->no = wire_get_u64(in);
		s->lsn = wire_get_u64(in);
		wire_get_raw(in, s->gen.start_hash, sizeof(s->gen.start_hash));
		s->drained = wire_get_u8(in) != 0;
		return true;
	case AL_OUTDATED:
	case AL_ALONE_WANTED:
	case AL_JOIN_WANTED:
		s->no = wire_get_u64(in);
		return true;
	default:
		return false;
	}
}

static void
on_msg(struct ipc *ch, const struct ipc_msg *m, void *arg)
{
	struct syncd_client *c = arg;
	struct syncd_said said = { 0 };
	struct data_state state;
	struct wire_in in;

	(void)ch;
	if (m->fd != -1)
		close(m->fd);
	wire_in_init(&in, m->body.p, m->body.len);
	if (m->type == AL_STATE) {
		agentlink_get_state(&in, &state);
		if (wire_in_ok(&in))
			c->ops->state(c->arg, &state);
	} else if (!decode(m, &in, &said)) {
		c->unknown++;
		log_debug("syncd message type=%u is unknown", m->type);
	} else if (wire_in_ok(&in)) {
		c->ops->said(c->arg, &said);
	}
	if (!wire_in_ok(&in))
		disconnect(c, "a message that cannot be read");
}

static void
on_gone(struct ipc *ch, const char *why, void *arg)
{
	(void)ch;
	disconnect(arg, why);
}

static void
send_body(struct syncd_client *c, enum agentlink_type type, struct wire_out *w)
{
	struct span body = wire_out_span(w);

	if (c == NULL || c->ch == NULL)
		log_debug("syncd is away, message type=%d dropped", (int)type);
	else if (ipc_send(c->ch, (uint16_t)type, 0, body.p, body.len, -1) == -1)
		log_warn("syncd message type=%d", (int)type);
	wire_out_clear(w);
}

static void
on_again(evutil_socket_t none, short what, void *arg)
{
	struct syncd_client *c = arg;
	struct wire_out w;
	int fd = ipc_connect(c->path);

	(void)none;
	(void)what;
	if (fd == -1) {
		if (!c->told)
			log_warn("syncd cannot be reached at %s", c->path);
		c->told = true;
		arm(c);
		return;
	}
	c->told = false;
	c->ch = ipc_new(c->base, fd, BODY_MAX, on_msg, on_gone, c);
	wire_out_init(&w);
	wire_put_u16(&w, AGENTLINK_VERSION);
	wire_put_str(&w, c->node);
	send_body(c, AL_HELLO, &w);
}

struct syncd_client *
syncd_client_new(struct event_base *base, const char *path, const char *node,
    const struct syncd_client_ops *ops, void *arg)
{
	struct syncd_client *c = mem_alloc(sizeof(*c));
	struct timeval now = { 0, 0 };

	c->base = base;
	c->path = path;
	c->node = node;
	c->ops = ops;
	c->arg = arg;
	c->again = evtimer_new(base, on_again, c);
	evtimer_add(c->again, &now);
	return c;
}

void
syncd_client_free(struct syncd_client *c)
{
	if (c == NULL)
		return;
	ipc_free(c->ch);
	event_free(c->again);
	free(c);
}

void
syncd_client_gen(struct syncd_client *c, enum agentlink_type type, const struct gen *g)
{
	struct wire_out w;

	wire_out_init(&w);
	gen_put(&w, g);
	send_body(c, type, &w);
}

void
syncd_client_demote(struct syncd_client *c, uint64_t no, uint32_t drain_ms)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, no);
	wire_put_u32(&w, drain_ms);
	send_body(c, AL_DEMOTE, &w);
}

void
syncd_client_deny(struct syncd_client *c, uint64_t no, const char *reason)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, no);
	wire_put_str(&w, reason);
	send_body(c, AL_DENY, &w);
}

void
syncd_client_outdate(struct syncd_client *c, uint64_t no)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, no);
	send_body(c, AL_OUTDATE, &w);
}

void
syncd_client_query(struct syncd_client *c)
{
	struct wire_out w;

	wire_out_init(&w);
	send_body(c, AL_QUERY, &w);
}
