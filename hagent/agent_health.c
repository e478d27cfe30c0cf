/* agent_health.c - is the pair well, and what is said when it is not.
 *
 * Critical when nobody serves or two histories exist, warning when it works with less
 * protection than it should have (a silent peer or link, one copy, a failed resource,
 * any alarm), else healthy.  Each problem is one WARN line, with the reason where this
 * node knows one (WHY) and a command that can be pasted (HINT).  Only reads. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent_parts.h"
#include "answer.h"
#include "fs.h"

/* Two lists: texts only, as programs know them; and with why and hint. */
struct report {
	const struct agent *a;
	const struct policy_view *v;
	json_t *problems, *advice;
};

static void
say(struct report *r, const char *why, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void
say(struct report *r, const char *why, const char *hint, const char *fmt, ...)
{
	char text[400];
	json_t *o = json_object();
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(r->problems, json_string(text));
	json_object_set_new(o, "text", json_string(text));
	if (why != NULL && why[0] != '\0')
		json_object_set_new(o, "why", json_string(why));
	if (hint != NULL)
		json_object_set_new(o, "hint", json_string(hint));
	json_array_append_new(r->advice, o);
}

static const char *
name_of(const struct report *r, bool self)
{
	return r->a->conf->node[self ? r->a->conf->self : 1 - r->a->conf->self];
}

int
agent_active_node(const struct agent *a, const struct policy_view *v)
{
	if (a->policy.role == ROLE_ACTIVE)
		return (int)a->conf->self;
	if (v->peer.alive && v->peer.have && v->peer.f.role == ROLE_ACTIVE)
		return 1 - (int)a->conf->self;
	return -1;
}

/* ---- links --------------------------------------------------------------- */

/* What a look at the interface says; "" when it seems well. */
static const char *
interface_why(const char *node, const char *interface, char *buf, size_t size)
{
	char path[80], *text;
	size_t len;

	buf[0] = '\0';
	if (interface[0] == '\0')
		return buf;
	snprintf(path, sizeof(path), "/sys/class/net/%s/carrier", interface);
	if (fs_read(path, 8192, &text, &len) == -1) {
		/* The kernel refuses to tell of an interface that is down. */
		if (errno == EINVAL)
			snprintf(buf, size, "%s:%s is down", node, interface);
		else if (errno == ENOENT)
			snprintf(buf, size, "%s has no interface %s", node, interface);
		return buf;
	}
	if (text[0] == '0')
		snprintf(buf, size, "no carrier on %s:%s", node, interface);
	free(text);
	return buf;
}

static void
say_link(struct report *r, unsigned i)
{
	const struct agent *a = r->a;
	const struct link_conf *c = &a->conf->links[i];
	enum peer_link_state state = peer_link_state(&a->peer, i, r->v->now_ms);
	int64_t heard = a->peer.link[i].heard_ms;
	char why[120], span[32];

	if (state == PEER_LINK_OK)
		return;
	if (a->links[i].why[0] != '\0')
		snprintf(why, sizeof(why), "%s: %s", name_of(r, true), a->links[i].why);
	else if (state == PEER_LINK_ONE_WAY)
		snprintf(why, sizeof(why), "frames come in, but %s does not hear ours",
		    name_of(r, false));
	else
		interface_why(name_of(r, true), c->medium == MEDIUM_UDP ? c->interface : "", why,
		    sizeof(why));
	if (state == PEER_LINK_DEAD || state == PEER_LINK_WARN)
		say(r, why, "hactl links -w", "link %s is %s, silent for %s", c->name,
		    peer_link_state_name(state),
		    answer_span(r->v->now_ms - heard, span, sizeof(span)));
	else
		say(r, why, "hactl links -w", "link %s is %s", c->name, peer_link_state_name(state));
}

static void
say_quorum(struct report *r)
{
	if (r->v->quorum == QUORUM_LOST)
		say(r, agent_quorum_why(r->a, r->v), "hactl links", "%s has no quorum",
		    name_of(r, true));
}

static void
say_peer(struct report *r)
{
	const struct policy_view *v = r->v;
	unsigned answering = 0;
	char why[120], span[32];

	if (v->peer.alive)
		return;
	for (unsigned i = 0; i < r->a->conf->npings; i++)
		answering += agent_ping_ok(r->a, i, v->now_ms);
	snprintf(why, sizeof(why), "nothing heard on any link for %s; here %u of %zu ping targets "
	    "answer", answer_span(v->peer.silent_ms, span, sizeof(span)), answering,
	    r->a->conf->npings);
	if (v->peer.silent)
		say(r, why, "hactl links", "%s is silent", name_of(r, false));
	else
		say(r, NULL, "hactl links", "%s is heard, but it does not prove that it hears this node",
		    name_of(r, false));
}

/* ---- roles, data, resources ---------------------------------------------- */

static void
say_no_leader(struct report *r)
{
	char hint[120], text[POLICY_TEXT];
	const char *why = policy_unproven(&r->a->policy, r->v, text, sizeof(text));

	snprintf(hint, sizeof(hint), "hactl failover --to %s --dry-run", name_of(r, true));
	say(r, why, hint, "no node is known to serve");
}

static void
say_kept_out(struct report *r)
{
	const struct peer_view *p = &r->v->peer;
	bool out[2] = { p->alive && p->have && (p->f.flags & FRAME_F_KEPT_OUT) != 0,
		r->a->policy.marks.kept_out };
	char hint[120];

	for (int self = 0; self < 2; self++) {
		snprintf(hint, sizeof(hint), "hactl online %s", name_of(r, self));
		if (out[self])
			say(r, NULL, hint, "%s is kept out by an operator", name_of(r, self));
	}
}

static void
say_maintenance(struct report *r)
{
	int64_t left = policy_maintenance_ms(&r->a->policy, r->v->now_ms);
	char span[32];

	if (left > 0)
		say(r, NULL, "hactl maintenance off", "maintenance for another %s: nothing happens "
		    "by itself", answer_span(left, span, sizeof(span)));
	else if (policy_maintained(&r->a->policy, r->v))
		say(r, NULL, "hactl maintenance off", "%s is in maintenance: nothing happens by "
		    "itself", name_of(r, false));
}

static void
say_data(struct report *r)
{
	const struct agent *a = r->a;
	enum data_mode mode = (enum data_mode)a->data.mode;

	if (a->pconf.syncd && !a->syncd_up)
		say(r, NULL, "systemctl status syncd", "syncd does not answer here");
	if (!a->syncd_up)
		return;
	if (mode >= DATA_FROZEN)
		say(r, NULL, "hactl sync status -w", "mail is stored on one node only (%s)",
		    data_mode_name(mode));
	if (a->data.role == DATA_STANDBY && mode != DATA_INSYNC)
		say(r, NULL, "hactl sync status -w", "the data here is not in step (%s)",
		    data_mode_name(mode));
}

static void
say_resources(struct report *r)
{
	const struct agent *a = r->a;
	char hint[120], text[96];

	for (unsigned i = 0; i < a->conf->nresources; i++) {
		const char *name = a->conf->resources[i].name;
		enum policy_res_state state = a->policy.res[i].state;

		snprintf(hint, sizeof(hint), "hactl resource %s %s", a->policy.res[i].held ? "start"
		    : "cleanup", name);
		if (state == RES_FAILED)
			say(r, NULL, hint, "resource %s failed: %s", name, a->res[i].words);
		else if (a->policy.role == ROLE_ACTIVE && state != RES_UP)
			say(r, a->res[i].words, a->policy.res[i].held ? hint : NULL,
			    "resource %s is %s", name,
			    agent_resource_state(a, i, text, sizeof(text)));
	}
}

static void
say_helpers(struct report *r)
{
	const struct agent *a = r->a;

	for (unsigned i = 0; i < a->conf->nrespawns; i++)
		if (a->helpers[i].state == HELPER_WAITS)
			say(r, a->helpers[i].words, "hactl resource list", "helper %s has ended",
			    a->conf->respawns[i].name);
}

static void
say_watchdog(struct report *r)
{
	const struct agent *a = r->a;

	if (a->conf->watchdog.device[0] != '\0' && !a->watchdog.armed)
		say(r, a->watchdog.why, NULL, "the watchdog of %s is not armed",
		    name_of(r, true));
}

static void
say_fence(struct report *r)
{
	if (r->a->fence.silent[0] != '\0')
		say(r, r->a->fence.silent, "hactl fence test", "a fence device for %s does not answer "
		    "as it should", name_of(r, false));
}

/* ---- alarms -------------------------------------------------------------- */

/* What to look at first; NULL: the other lines say it. */
static const char *
alarm_hint(enum policy_alarm alarm)
{
	switch (alarm) {
	case ALARM_SPLIT:
	case ALARM_ALONE:
		return "hactl sync status";
	case ALARM_SYNCD:
		return "systemctl status syncd";
	case ALARM_CONTESTED:
	case ALARM_FENCE:
		return "hactl events";
	case ALARM_STOP_FAILED:
	case ALARM_RES_FAILED:
	case ALARM_FLAPPING:
		return "hactl resource cleanup";
	case ALARM_MUTE:
		return "hactl failover --peer-is-off --accept-loss, if the other node is off";
	case ALARM_DISK:
		return "hactl check disk";
	case ALARM_CONFIG:
		return "hactl check config-equal";
	case ALARM_REFUSED:
	case ALARM_NO_LEADER:
		return "hactl events -n 20";
	default:
		return NULL;
	}
}

/* Of the alarm about the configuration. */
static const char *
config_why(const struct report *r, char *buf, size_t size)
{
	char names[64];

	if (agent_config_differ(r->a, r->v, names, sizeof(names))[0] == '\0')
		return NULL;
	snprintf(buf, size, "not the same on both: %s", names);
	return buf;
}

static void
say_alarms(struct report *r)
{
	char why[100];

	for (int i = 0; i < ALARMS; i++) {
		const struct agent_alarm *al = &r->a->alarms[i];
		enum policy_alarm alarm = (enum policy_alarm)i;

		if (al->on)
			say(r, alarm == ALARM_CONFIG ? config_why(r, why, sizeof(why)) : NULL,
			    alarm_hint(alarm), "alarm %s: %s", policy_alarm_name(alarm), al->text);
	}
}

enum ctl_exit
agent_health(const struct agent *a, const struct policy_view *v, json_t *problems, json_t *advice)
{
	struct report r = { a, v, problems, advice };
	bool served = agent_active_node(a, v) != -1;

	if (!served)
		say_no_leader(&r);
	say_peer(&r);
	for (unsigned i = 0; i < a->conf->nlinks; i++)
		say_link(&r, i);
	say_quorum(&r);
	say_data(&r);
	say_resources(&r);
	say_helpers(&r);
	say_kept_out(&r);
	say_maintenance(&r);
	say_watchdog(&r);
	say_fence(&r);
	say_alarms(&r);
	if (!served || a->alarms[ALARM_SPLIT].on || a->alarms[ALARM_CONTESTED].on)
		return CTL_CRITICAL;
	return json_array_size(problems) > 0 ? CTL_WARNING : CTL_OK;
}
