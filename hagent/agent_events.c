/* agent_events.c - what happens here, as lines of the event log.
 *
 * Most of it is found by comparing: agent_notice() is called behind each step and
 * records what is no longer as it was seen last, so no other file has to think of it.
 * What has no state of its own (notes, commands of operators) is recorded where it
 * happens, by agent_record(); agent_record_and_tell() also gives it to the notify script.  Links and ping targets are looked at again only after
 * FLAP_MS, so that a flapping one cannot push everything else out. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent_parts.h"
#include "clock.h"

#define FLAP_MS 1000

static void __attribute__((format(printf, 4, 0)))
record(struct agent *a, enum eventlog_kind kind, bool tell, const char *fmt, va_list ap)
{
	char text[EVENTLOG_TEXT];
	const struct eventlog_entry *e;

	vsnprintf(text, sizeof(text), fmt, ap);
	a->event_counts[kind]++;
	e = eventlog_add(a->events, clock_wall_ms(), a->policy.marks.fixed, kind, text);
	agent_follow_all(a);
	if (tell && a->conf->notify[0] != '\0')
		exec_client_notify(a->exec, e, ha_role_name(a->policy.role));
}

void
agent_record(struct agent *a, enum eventlog_kind kind, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	record(a, kind, false, fmt, ap);
	va_end(ap);
}

void
agent_record_and_tell(struct agent *a, enum eventlog_kind kind, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	record(a, kind, true, fmt, ap);
	va_end(ap);
}

void
agent_record_note(struct agent *a, const char *text)
{
	/* A role's change is told as "role OLD -> NEW: why". */
	if (strncmp(text, "role ", 5) == 0)
		agent_record_and_tell(a, EVENTLOG_ROLE, "%s", text);
	else
		agent_record(a, EVENTLOG_NOTE, "%s", text);
}

void
agent_record_switch(struct agent *a, const struct state_switch *sw)
{
	char outage[40] = "";

	if (sw->outage_ms >= 0)
		snprintf(outage, sizeof(outage), ", outage %lld ms", (long long)sw->outage_ms);
	a->switches++;
	/* Both nodes hear of it; who serves now tells it. */
	(sw->to == a->conf->self ? agent_record_and_tell : agent_record)(a, EVENTLOG_SWITCH, "%s %s -> %s, %s%s: %s",
	    sw->planned ? "planned" : "unplanned", sw->from < 2 ? a->conf->node[sw->from] : "-",
	    sw->to < 2 ? a->conf->node[sw->to] : "-", gen_kind_name((enum gen_kind)sw->kind), outage,
	    sw->reason);
}

static void
notice_peer(struct agent *a, const struct policy_view *v)
{
	struct agent_seen *s = &a->seen;
	const char *name = a->conf->node[1 - a->conf->self];
	enum agent_peer now = v->peer.alive ? AGENT_PEER_ALIVE : v->peer.silent
	    ? AGENT_PEER_SILENT : AGENT_PEER_UNPROVEN;

	if (now == AGENT_PEER_ALIVE && s->peer_boot != v->peer.boot) {
		if (s->peer_boot != 0)
			agent_record_and_tell(a, EVENTLOG_PEER, "%s has restarted, boot %u", name,
			    v->peer.boot);
		s->peer_boot = v->peer.boot;
	}
	/* Between the two it is only on its way from one to the other. */
	if (now == s->peer || now == AGENT_PEER_UNPROVEN)
		return;
	s->peer = now;
	agent_record_and_tell(a, EVENTLOG_PEER, "%s is %s", name,
	    now == AGENT_PEER_ALIVE ? "heard and hears us" : "silent on all links");
}

static void
notice_links(struct agent *a, int64_t now)
{
	struct agent_seen *s = &a->seen;

	for (unsigned i = 0; i < a->conf->nlinks; i++) {
		enum peer_link_state state = peer_link_state(&a->peer, i, now);

		if (state == s->link[i] || now < s->link_ms[i])
			continue;
		agent_record(a, EVENTLOG_LINK, "%s is %s, was %s%s%s", a->conf->links[i].name,
		    peer_link_state_name(state), peer_link_state_name(s->link[i]),
		    a->links[i].why[0] != '\0' ? ": " : "", a->links[i].why);
		s->link[i] = state;
		s->link_ms[i] = now + FLAP_MS;
	}
	for (unsigned i = 0; i < a->conf->npings; i++) {
		bool ok = agent_ping_ok(a, i, now);

		if (ok == s->ping[i] || now < s->ping_ms[i])
			continue;
		agent_record(a, EVENTLOG_PING, "%s %s", a->conf->pings[i].name,
		    ok ? "answers" : "does not answer");
		s->ping[i] = ok;
		s->ping_ms[i] = now + FLAP_MS;
	}
}

static void
notice_resource(struct agent *a, unsigned i)
{
	const struct policy_res *r = &a->policy.res[i];
	const char *name = a->conf->resources[i].name;
	enum policy_res_state was = a->seen.res[i];
	bool failed = r->failures > a->seen.failures[i] ||
	    (r->state == RES_FAILED && was != RES_FAILED);

	a->seen.failures[i] = r->failures;
	a->seen.res[i] = r->state;
	if (failed) {
		a->res[i].failures_total++;
		agent_record_and_tell(a, EVENTLOG_RESOURCE, "%s failed, %u in its window: %s", name,
		    r->failures, a->res[i].words[0] != '\0' ? a->res[i].words : "it is not running");
	}
	if (r->state == was || (r->state != RES_UP && r->state != RES_DOWN))
		return;
	if (r->state == RES_UP)
		agent_record(a, EVENTLOG_RESOURCE, "%s is up, started in %u ms", name,
		    a->res[i].start_ms);
	else if (was != RES_UNKNOWN)
		agent_record(a, EVENTLOG_RESOURCE, "%s is down", name);
}

static void
notice_vips(struct agent *a)
{
	for (unsigned i = 0; i < a->conf->nvips; i++) {
		if (a->vip_here[i] == a->seen.vip[i])
			continue;
		a->seen.vip[i] = a->vip_here[i];
		agent_record(a, EVENTLOG_VIP, "%s is %s %s", a->conf->vips[i].name,
		    a->vip_here[i] ? "up on" : "no longer on", a->conf->vips[i].interface);
	}
}

static void
notice_data(struct agent *a)
{
	struct agent_seen *s = &a->seen;
	enum data_mode mode = (enum data_mode)a->data.mode;

	if (a->syncd_up != s->syncd_up) {
		s->syncd_up = a->syncd_up;
		s->mode_known = false;
		agent_record(a, EVENTLOG_DATA, "syncd %s", a->syncd_up ? "answers" : "is gone");
	}
	if (!a->syncd_up || (s->mode_known && mode == s->mode))
		return;
	s->mode = mode;
	s->mode_known = true;
	agent_record(a, EVENTLOG_DATA, "data is %s: %s", data_role_name((enum data_role)a->data.role),
	    data_mode_name(mode));
}

void
agent_notice(struct agent *a)
{
	struct policy_view v;

	agent_view(a, &v);
	notice_peer(a, &v);
	notice_links(a, v.now_ms);
	for (unsigned i = 0; i < a->conf->nresources; i++)
		notice_resource(a, i);
	notice_vips(a);
	notice_data(a);
}
