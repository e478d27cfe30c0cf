/* agent_follow.c - hactl events: the log once, or for as long as somebody listens.
 *
 * A follower is a place in the log.  It gets what is new when it has read what it was
 * sent (UNREAD bytes at most wait for it); what fell out of the log before it could be
 * sent is told as {"gap": n}.  One that reads nothing for a minute is dropped by
 * lib/ctl.  So no reader can hold memory or slow the agent down. */
#include <string.h>

#include "agent_parts.h"

#define UNREAD (64u << 10)

static json_t *
entry_json(const struct eventlog_entry *e)
{
	return json_pack("{s:I, s:I, s:I, s:s, s:s}", "no", (json_int_t)e->no, "wall_ms",
	    (json_int_t)e->wall_ms, "epoch", (json_int_t)e->epoch, "kind",
	    eventlog_kind_name(e->kind), "text", e->text);
}

static void
send_from(const struct agent *a, struct ctl_call *call, uint64_t *next)
{
	uint64_t first = eventlog_first(a->events);

	if (*next < first) {
		ctl_part(call, json_pack("{s:I}", "gap", (json_int_t)(first - *next)));
		*next = first;
	}
	ctl_part(call, entry_json(eventlog_get(a->events, *next)));
	(*next)++;
}

static void
pump(const struct agent *a, struct agent_follower *f)
{
	while (f->call != NULL && f->next <= eventlog_last(a->events) &&
	    ctl_unread(f->call) < UNREAD)
		send_from(a, f->call, &f->next);
}

void
agent_follow_all(struct agent *a)
{
	for (size_t i = 0; i < AGENT_FOLLOWERS_MAX; i++)
		pump(a, &a->followers[i]);
}

static struct agent_follower *
follower_of(struct agent *a, const struct ctl_call *call)
{
	for (size_t i = 0; i < AGENT_FOLLOWERS_MAX; i++)
		if (a->followers[i].call == call)
			return &a->followers[i];
	return NULL;
}

static void
on_drained(struct ctl_call *call, void *arg)
{
	struct agent_follower *f = follower_of(arg, call);

	if (f != NULL)
		pump(arg, f);
}

static void
on_gone(struct ctl_call *call, void *arg)
{
	struct agent_follower *f = follower_of(arg, call);

	if (f != NULL)
		f->call = NULL;
}

static void
follow(struct agent *a, struct ctl_call *call, uint64_t next)
{
	struct agent_follower *f = follower_of(a, NULL);

	if (f == NULL) {
		ctl_done(call, CTL_CONFLICT, NULL, "too many follow the events", NULL, NULL);
		return;
	}
	f->call = call;
	f->next = next;
	ctl_on_gone(call, on_gone, a);
	ctl_on_drained(call, on_drained, a);
	pump(a, f);
}

void
agent_show_events(struct agent *a, struct ctl_call *call, json_t *req)
{
	json_t *lines = json_object_get(req, "lines");
	uint64_t first = eventlog_first(a->events), last = eventlog_last(a->events);
	uint64_t kept = last + 1 - first, want = kept;

	if (json_is_integer(lines) && json_integer_value(lines) >= 0)
		want = (uint64_t)json_integer_value(lines);
	if (want < kept)
		first = last + 1 - want;
	if (json_is_true(json_object_get(req, "follow"))) {
		follow(a, call, first);
		return;
	}
	while (first <= last)
		send_from(a, call, &first);
	ctl_done(call, CTL_OK, NULL, NULL, NULL, NULL);
}
