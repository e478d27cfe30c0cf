/* exec_proto.c - wire form of the answers of the executor, and what they mean.
 * Pure: no descriptor, no clock. */
#include "exec_proto.h"

#include <stdio.h>

const char *
exec_verb_name(enum exec_verb v)
{
	static const char *const names[] = { "start", "stop", "status", "drain" };

	return (unsigned)v < 4 ? names[v] : "?";
}

void
exec_ran_put(struct wire_out *w, const struct exec_ran *r)
{
	wire_put_u8(w, r->outcome);
	wire_put_u8(w, r->code);
	wire_put_u8(w, r->stopped);
	wire_put_u32(w, r->ms);
	wire_put_str(w, r->words);
}

void
exec_ran_get(struct wire_in *w, struct exec_ran *r)
{
	r->outcome = wire_get_u8(w);
	r->code = wire_get_u8(w);
	r->stopped = wire_get_u8(w);
	r->ms = wire_get_u32(w);
	wire_get_str(w, r->words, sizeof(r->words));
}

void
exec_watchdog_put(struct wire_out *w, const struct exec_watchdog *d)
{
	wire_put_u8(w, d->armed);
	wire_put_u32(w, d->timeout_ms);
	wire_put_u32(w, d->pet_age_ms);
	wire_put_u32(w, d->alive_age_ms);
	wire_put_str(w, d->why);
}

void
exec_watchdog_get(struct wire_in *w, struct exec_watchdog *d)
{
	d->armed = wire_get_u8(w) != 0;
	d->timeout_ms = wire_get_u32(w);
	d->pet_age_ms = wire_get_u32(w);
	d->alive_age_ms = wire_get_u32(w);
	wire_get_str(w, d->why, sizeof(d->why));
	d->armed = d->armed && wire_in_ok(w);
}

const char *
exec_helper_state_name(enum exec_helper_state s)
{
	static const char *const names[] = { "off", "runs", "ended", "has enough" };

	return (unsigned)s < 4 ? names[s] : "?";
}

void
exec_helper_put(struct wire_out *w, const struct exec_helper *h)
{
	wire_put_u8(w, h->state);
	wire_put_u32(w, h->starts);
	wire_put_str(w, h->words);
}

void
exec_helper_get(struct wire_in *w, struct exec_helper *h)
{
	h->state = wire_get_u8(w);
	h->starts = wire_get_u32(w);
	wire_get_str(w, h->words, sizeof(h->words));
}

int
exec_ran_verdict(const struct exec_ran *r, enum exec_verb v)
{
	if (r->outcome != RAN_EXIT)
		return -1;
	if (r->code == 0)
		return 1;
	return v == EXEC_STATUS && r->code == r->stopped ? 0 : -1;
}

const char *
exec_ran_text(const struct exec_ran *r, char *buf, size_t size)
{
	static const char *const what[] = { "exit", "killed by signal", "timed out",
		"refused" };
	const char *sep = r->words[0] != '\0' ? ": " : "";

	if (r->outcome == RAN_EXIT || r->outcome == RAN_SIGNAL)
		snprintf(buf, size, "%s %u after %u ms%s%s", what[r->outcome], r->code, r->ms,
		    sep, r->words);
	else
		snprintf(buf, size, "%s after %u ms%s%s",
		    r->outcome <= RAN_REFUSED ? what[r->outcome] : "?", r->ms, sep, r->words);
	return buf;
}
