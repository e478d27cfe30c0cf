/* agentlink.c - names and the wire form of what syncd tells the agent.  A STATE with
 * a role, mode or rule that we do not know makes the decoder fail. */
#include <string.h>

#include "agentlink.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const role_names[] = { "standby", "active" };
static const char *const mode_names[] = { "wait", "target", "insync", "sync", "frozen", "solo",
	"joining", "split" };
static const char *const rule_names[] = { "strict", "auto", "available" };

const char *
data_role_name(enum data_role role)
{
	return (unsigned)role < COUNT(role_names) ? role_names[role] : "unknown";
}

const char *
data_mode_name(enum data_mode mode)
{
	return (unsigned)mode < COUNT(mode_names) ? mode_names[mode] : "unknown";
}

const char *
commit_rule_name(enum commit_rule rule)
{
	return (unsigned)rule < COUNT(rule_names) ? rule_names[rule] : "unknown";
}

void
agentlink_put_state(struct wire_out *o, const struct data_state *s)
{
	wire_put_u8(o, s->role);
	wire_put_u8(o, s->mode);
	wire_put_u8(o, s->insync);
	wire_put_u8(o, s->outdated);
	wire_put_u8(o, s->peer_connected);
	wire_put_u8(o, s->empty);
	wire_put_u8(o, s->rule);
	wire_put_u8(o, s->trouble);
	gen_put(o, &s->gen);
	wire_put_u64(o, s->durable_lsn);
	wire_put_u64(o, s->commit_lsn);
	wire_put_u64(o, s->applied_lsn);
	wire_put_raw(o, s->durable_hash, sizeof(s->durable_hash));
	wire_put_u64(o, s->peer_durable_lsn);
	wire_put_u64(o, s->peer_applied_lsn);
	wire_put_u64(o, s->at_risk);
	wire_put_u64(o, (uint64_t)s->alone_since_ms);
	wire_put_u64(o, (uint64_t)s->peer_heard_ms);
	wire_put_u32(o, s->peer_every_ms);
}

void
agentlink_get_state(struct wire_in *in, struct data_state *s)
{
	s->role = wire_get_u8(in);
	s->mode = wire_get_u8(in);
	s->insync = wire_get_u8(in);
	s->outdated = wire_get_u8(in);
	s->peer_connected = wire_get_u8(in);
	s->empty = wire_get_u8(in);
	s->rule = wire_get_u8(in);
	s->trouble = wire_get_u8(in);
	gen_get(in, &s->gen);
	s->durable_lsn = wire_get_u64(in);
	s->commit_lsn = wire_get_u64(in);
	s->applied_lsn = wire_get_u64(in);
	wire_get_raw(in, s->durable_hash, sizeof(s->durable_hash));
	s->peer_durable_lsn = wire_get_u64(in);
	s->peer_applied_lsn = wire_get_u64(in);
	s->at_risk = wire_get_u64(in);
	s->alone_since_ms = (int64_t)wire_get_u64(in);
	s->peer_heard_ms = (int64_t)wire_get_u64(in);
	s->peer_every_ms = wire_get_u32(in);
	if (s->role >= COUNT(role_names) || s->mode >= COUNT(mode_names)
	    || s->rule >= COUNT(rule_names))
		in->bad = true;
	if (in->bad)
		memset(s, 0, sizeof(*s));
}
