/* exec_client.c - requests to the executor and who waits for them.
 *
 * Waiting requests are kept in a list by their id; an answer without one is dropped
 * and logged.  When the channel breaks, ops.gone() is called and nothing else is
 * answered: an agent without its executor has nothing left to do but end. */
#include "exec_client.h"

#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "ipc.h"
#include "log.h"
#include "mem.h"
#include "reload.h"

struct waiting {
	TAILQ_ENTRY(waiting) next;
	uint32_t id;
	uint16_t type;		/* of the answer */
	uint8_t what;		/* verb, op or kind */
	unsigned index;
	uint64_t tag;
};

struct exec_client {
	struct ipc *ch;
	const struct exec_client_ops *ops;
	void *arg;
	uint32_t last_id;
	TAILQ_HEAD(, waiting) waiting;
};

static struct waiting *
take_waiting(struct exec_client *c, uint32_t id, uint16_t type)
{
	struct waiting *w;

	TAILQ_FOREACH(w, &c->waiting, next) {
		if (w->id != id || w->type != type)
			continue;
		TAILQ_REMOVE(&c->waiting, w, next);
		return w;
	}
	return NULL;
}

static void
on_answer(struct exec_client *c, const struct ipc_msg *m, struct wire_in *in)
{
	struct waiting *w = take_waiting(c, m->id, m->type);
	struct exec_watchdog watchdog;
	struct exec_ran ran;
	char error[128], words[EXEC_TEXT_MAX], text[RELOAD_TEXT], hint[RELOAD_HINT];
	uint8_t result;
	uint32_t no;

	if (w == NULL) {
		log_warnx("executor answered what was not asked type=%u", m->type);
		if (m->fd != -1)
			close(m->fd);
		return;
	}
	switch (m->type) {
	case EX_RAN:
		exec_ran_get(in, &ran);
		c->ops->ran(c->arg, w->index, (enum exec_verb)w->what, &ran);
		break;
	case EX_VIP_DONE:
		result = wire_get_u8(in);
		wire_get_str(in, error, sizeof(error));
		c->ops->vip(c->arg, w->index, (enum exec_vip_op)w->what, w->tag,
		    (enum exec_vip_result)result, error);
		break;
	case EX_RELOADED:
		result = wire_get_u8(in);
		wire_get_str(in, text, sizeof(text));
		wire_get_str(in, hint, sizeof(hint));
		c->ops->reloaded(c->arg, w->tag, result, text, hint);
		break;
	case EX_FENCED:
		result = wire_get_u8(in);
		wire_get_str(in, words, sizeof(words));
		/* A message cut short is no proof. */
		if (!wire_in_ok(in))
			result = FENCED_UNKNOWN;
		c->ops->fenced(c->arg, (enum exec_fence)w->what, w->tag,
		    (enum exec_fenced)result, words);
		break;
	case EX_WATCHDOG_IS:
		exec_watchdog_get(in, &watchdog);
		c->ops->watchdog_is(c->arg, w->tag, &watchdog);
		break;
	default:
		no = wire_get_u32(in);
		c->ops->opened(c->arg, (enum exec_open)w->what, w->index, m->fd, (int)no);
	}
	free(w);
}

static void
on_watchdog(struct exec_client *c, struct wire_in *in)
{
	bool armed = wire_get_u8(in) != 0;
	uint32_t ms = wire_get_u32(in);
	char why[EXEC_TEXT_MAX];

	wire_get_str(in, why, sizeof(why));
	c->ops->watchdog(c->arg, armed && wire_in_ok(in), ms, why);
}

static void
on_helper(struct exec_client *c, struct wire_in *in)
{
	struct exec_helper h;
	uint16_t n = wire_get_u16(in);

	exec_helper_get(in, &h);
	c->ops->helper(c->arg, n, &h);
}

static void
on_msg(struct ipc *ch, const struct ipc_msg *m, void *arg)
{
	struct exec_client *c = arg;
	struct exec_welcome welcome;
	struct config_digest config;
	struct wire_in in;

	(void)ch;
	wire_in_init(&in, m->body.p, m->body.len);
	switch (m->type) {
	case EX_WELCOME:
		welcome.group_started = wire_get_u8(&in);
		welcome.group_before = wire_get_u8(&in);
		welcome.held = wire_get_u32(&in);
		welcome.cannot = wire_get_u8(&in);
		welcome.agents = wire_get_u32(&in);
		welcome.new_resources = wire_get_u32(&in);
		welcome.new_vips = wire_get_u32(&in);
		c->ops->welcome(c->arg, &welcome);
		break;
	case EX_CONFIG:
		config.all = wire_get_u32(&in);
		for (unsigned i = 0; i < CONFIG_FILES; i++)
			config.file[i] = wire_get_u32(&in);
		c->ops->config(c->arg, &config);
		break;
	case EX_RAN:
	case EX_VIP_DONE:
	case EX_OPENED:
	case EX_FENCED:
	case EX_WATCHDOG_IS:
	case EX_RELOADED:
		on_answer(c, m, &in);
		break;
	case EX_WATCHDOG:
		on_watchdog(c, &in);
		break;
	case EX_HELPER:
		on_helper(c, &in);
		break;
	case EX_DIED:
		c->ops->died(c->arg, wire_get_u16(&in));
		break;
	case EX_REPLACE:
		c->ops->replace(c->arg);
		break;
	case EX_HUP:
		c->ops->hup(c->arg);
		break;
	case EX_SHUTDOWN:
		c->ops->shutdown(c->arg);
		break;
	default:
		log_warnx("executor sent an unknown message type=%u", m->type);
	}
}

static void
on_gone(struct ipc *ch, const char *why, void *arg)
{
	struct exec_client *c = arg;

	(void)ch;
	c->ops->gone(c->arg, why);
}

struct exec_client *
exec_client_new(struct event_base *base, int fd, const struct exec_client_ops *ops,
    void *arg)
{
	struct exec_client *c = mem_alloc(sizeof(*c));

	c->ops = ops;
	c->arg = arg;
	TAILQ_INIT(&c->waiting);
	c->ch = ipc_new(base, fd, EXEC_BODY_MAX, on_msg, on_gone, c);
	return c;
}

void
exec_client_free(struct exec_client *c)
{
	struct waiting *w;

	if (c == NULL)
		return;
	while ((w = TAILQ_FIRST(&c->waiting)) != NULL) {
		TAILQ_REMOVE(&c->waiting, w, next);
		free(w);
	}
	ipc_free(c->ch);
	free(c);
}

static void
send_body(struct exec_client *c, enum exec_type type, uint32_t id, struct wire_out *out)
{
	struct span body = wire_out_span(out);

	/* A dead channel is told by gone(). */
	if (ipc_send(c->ch, (uint16_t)type, id, body.p, body.len, -1) == -1)
		log_debug("executor channel is closed");
	wire_out_clear(out);
}

static uint32_t
wait_for(struct exec_client *c, enum exec_type type, unsigned index, uint8_t what,
    uint64_t tag)
{
	struct waiting *w = mem_alloc(sizeof(*w));

	if (++c->last_id == 0)
		c->last_id = 1;
	w->id = c->last_id;
	w->type = (uint16_t)type;
	w->index = index;
	w->what = what;
	w->tag = tag;
	TAILQ_INSERT_TAIL(&c->waiting, w, next);
	return w->id;
}

void
exec_client_run(struct exec_client *c, unsigned resource, enum exec_verb verb)
{
	struct wire_out out;

	wire_out_init(&out);
	wire_put_u16(&out, (uint16_t)resource);
	wire_put_u8(&out, (uint8_t)verb);
	send_body(c, EX_RUN, wait_for(c, EX_RAN, resource, (uint8_t)verb, 0), &out);
}

void
exec_client_vip(struct exec_client *c, unsigned vip, enum exec_vip_op op, uint64_t tag)
{
	struct wire_out out;

	wire_out_init(&out);
	wire_put_u16(&out, (uint16_t)vip);
	wire_put_u8(&out, (uint8_t)op);
	send_body(c, EX_VIP, wait_for(c, EX_VIP_DONE, vip, (uint8_t)op, tag), &out);
}

void
exec_client_open(struct exec_client *c, enum exec_open what, unsigned index)
{
	struct wire_out out;

	wire_out_init(&out);
	wire_put_u8(&out, (uint8_t)what);
	wire_put_u16(&out, (uint16_t)index);
	send_body(c, EX_OPEN, wait_for(c, EX_OPENED, index, (uint8_t)what, 0), &out);
}

void
exec_client_notify(struct exec_client *c, const struct eventlog_entry *e, const char *role)
{
	struct wire_out out;

	wire_out_init(&out);
	wire_put_u8(&out, (uint8_t)e->kind);
	wire_put_u64(&out, (uint64_t)e->wall_ms);
	wire_put_u64(&out, e->epoch);
	wire_put_str(&out, role);
	wire_put_str(&out, e->text);
	send_body(c, EX_NOTIFY, 0, &out);
}

void
exec_client_group(struct exec_client *c, bool started, uint32_t held, bool cannot)
{
	struct wire_out out;

	wire_out_init(&out);
	wire_put_u8(&out, started);
	wire_put_u32(&out, held);
	wire_put_u8(&out, cannot);
	send_body(c, EX_GROUP, 0, &out);
}

void
exec_client_fence(struct exec_client *c, enum exec_fence verb, uint64_t tag)
{
	struct wire_out out;

	wire_out_init(&out);
	wire_put_u8(&out, (uint8_t)verb);
	send_body(c, EX_FENCE, wait_for(c, EX_FENCED, 0, (uint8_t)verb, tag), &out);
}

void
exec_client_watchdog_test(struct exec_client *c, bool fire, uint64_t tag)
{
	struct wire_out out;

	wire_out_init(&out);
	wire_put_u8(&out, fire);
	send_body(c, EX_WATCHDOG_TEST, wait_for(c, EX_WATCHDOG_IS, 0, fire, tag), &out);
}

void
exec_client_reload(struct exec_client *c, bool dry_run, uint8_t peer_key, uint64_t tag)
{
	struct wire_out out;

	wire_out_init(&out);
	wire_put_u8(&out, dry_run);
	wire_put_u8(&out, peer_key);
	send_body(c, EX_RELOAD, wait_for(c, EX_RELOADED, 0, 0, tag), &out);
}

static void
send_empty(struct exec_client *c, enum exec_type type)
{
	struct wire_out out;

	wire_out_init(&out);
	send_body(c, type, 0, &out);
}

void
exec_client_alive(struct exec_client *c)
{
	send_empty(c, EX_ALIVE);
}

void
exec_client_self_fence(struct exec_client *c)
{
	send_empty(c, EX_SELF_FENCE);
}

void
exec_client_leaving(struct exec_client *c)
{
	send_empty(c, EX_LEAVING);
}
