/* agent_json.c - what hactl shows, as JSON.  Schema 1: fields are only added.
 *
 * Only reads; changes nothing.  What is wrong is found in agent_health.c. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "agent_parts.h"
#include "clock.h"

static json_t *
str(const char *s)
{
	json_t *j = json_string(s);

	return j != NULL ? j : json_string("?");
}

static void
put(json_t *o, const char *name, json_t *value)
{
	if (json_object_set_new(o, name, value) == -1)
		log_fatal("no memory for an answer");
}

static void
put_int(json_t *o, const char *name, int64_t v)
{
	put(o, name, json_integer(v));
}

/* Modes are written as in the manual: SYNC, FROZEN, SOLO ... */
static json_t *
mode_text(unsigned mode)
{
	const char *name = data_mode_name((enum data_mode)mode);
	char upper[24];
	size_t i;

	for (i = 0; i < sizeof(upper) - 1 && name[i] != '\0'; i++)
		upper[i] = (char)toupper((unsigned char)name[i]);
	upper[i] = '\0';
	return str(upper);
}

static json_t *
hash_text(uint32_t digest)
{
	return json_sprintf("%08x", digest);
}

static json_t *
json_files(const struct config_digest *d)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < CONFIG_FILES; i++)
		put(o, config_digest_file(i), d->file[i] == 0 ? str("missing") : hash_text(d->file[i]));
	return o;
}

static json_t *
json_self(struct agent *a, const struct policy_view *v)
{
	json_t *o = json_object();
	int used = agent_disk_used(a, v->now_ms);

	put(o, "name", str(a->conf->node[a->conf->self]));
	put(o, "local", json_true());
	put(o, "role", str(ha_role_name(a->policy.role)));
	put(o, "state", str(a->policy.marks.kept_out ? "kept out" : a->policy.leaving
	    ? "leaving" : a->pconf.syncd ? data_mode_name((enum data_mode)a->data.mode)
	    : a->policy.role == ROLE_ACTIVE ? "running" : "ready"));
	put_int(o, "role_ms", v->now_ms - a->policy.since_ms);
	put_int(o, "resources_up", agent_resources_up(a));
	put_int(o, "resources", (int64_t)a->conf->nresources);
	put_int(o, "generation", (int64_t)(a->syncd_up ? a->data.gen.no
	    : a->policy.marks.fixed));
	put_int(o, "durable_lsn", (int64_t)a->data.durable_lsn);
	put_int(o, "applied_lsn", (int64_t)a->data.applied_lsn);
	put_int(o, "boot", a->state.boot);
	if (used >= 0)
		put_int(o, "disk_used_percent", used);
	put(o, "log_slow", json_boolean(a->syncd_up && (a->data.trouble & DATA_SLOW) != 0));
	put(o, "log_full", json_boolean(a->syncd_up && (a->data.trouble & DATA_FULL) != 0));
	put(o, "index_lost", json_boolean(a->syncd_up && (a->data.trouble & DATA_NO_INDEX) != 0));
	put(o, "version", str(MAILPAIR_VERSION));
	return o;
}

/* What it says of itself; missing members are not known. */
static void
put_about(json_t *o, const struct agent *a, const struct policy_view *v)
{
	const struct about *b = &a->about;
	char version[16];

	if (!v->peer.alive || !agent_about_known(a, v->now_ms))
		return;
	put_int(o, "role_ms", (int64_t)b->role_s * 1000 + v->now_ms - a->about_ms);
	put_int(o, "resources_up", b->res_up);
	put_int(o, "resources", b->res_all);
	if (b->disk_used >= 0)
		put_int(o, "disk_used_percent", b->disk_used);
	put(o, "version", str(about_version(b, version, sizeof(version))));
	put_int(o, "clock_ahead_ms", about_clock_ahead(&a->about_clock));
}

static json_t *
json_peer(const struct agent *a, const struct policy_view *v)
{
	const struct peer_view *p = &v->peer;
	json_t *o = json_object();
	bool known = p->alive && p->have;

	put(o, "name", str(a->conf->node[1 - a->conf->self]));
	put(o, "local", json_false());
	put(o, "role", str(known ? ha_role_name((enum ha_role)p->f.role) : "unknown"));
	put(o, "state", str(p->silent ? "silent" : !known ? "unproven"
	    : (p->f.flags & FRAME_F_KEPT_OUT) != 0 ? "kept out"
	    : (p->f.flags & FRAME_F_LEAVING) != 0 ? "leaving"
	    : a->pconf.syncd ? data_mode_name((enum data_mode)p->f.mode)
	    : p->f.role == ROLE_ACTIVE ? "running" : "ready"));
	put_int(o, "silent_ms", p->silent_ms);
	put(o, "healthy", json_boolean(known && (p->f.flags & FRAME_F_HEALTHY) != 0));
	put(o, "log_slow", json_boolean(known && (p->f.flags & FRAME_F_SLOW) != 0));
	put(o, "log_full", json_boolean(known && (p->f.flags & FRAME_F_FULL) != 0));
	put_about(o, a, v);
	if (!p->have)
		return o;
	put(o, "config", hash_text(p->f.config));
	if (a->peer_config.all == p->f.config && p->f.config != a->config.all)
		put(o, "config_files", json_files(&a->peer_config));
	put_int(o, "generation", (int64_t)p->f.gen);
	put_int(o, "durable_lsn", (int64_t)p->f.durable);
	put_int(o, "applied_lsn", (int64_t)p->f.applied);
	put_int(o, "boot", p->boot);
	return o;
}

static json_t *
json_vips(const struct agent *a, const struct policy_view *v)
{
	json_t *list = json_array();
	int active = agent_active_node(a, v);

	for (unsigned i = 0; i < a->conf->nvips; i++) {
		json_t *o = json_object();

		put(o, "address", str(a->conf->vips[i].name));
		put(o, "interface", str(a->conf->vips[i].interface));
		put(o, "here", json_boolean(a->vip_here[i]));
		put(o, "node", a->vip_here[i] ? str(a->conf->node[a->conf->self])
		    : active >= 0 && active != (int)a->conf->self
		    ? str(a->conf->node[active]) : json_null());
		if (a->vip_here[i] && a->vip_since_wall_ms != 0)
			put_int(o, "up_ms", v->wall_ms - a->vip_since_wall_ms);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
json_alarms(const struct agent *a)
{
	json_t *list = json_array();

	for (int i = 0; i < ALARMS; i++) {
		json_t *o;

		if (!a->alarms[i].on)
			continue;
		o = json_object();
		put(o, "name", str(policy_alarm_name((enum policy_alarm)i)));
		put(o, "text", str(a->alarms[i].text));
		put_int(o, "since_wall_ms", a->alarms[i].since_wall_ms);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *
json_switch(const struct agent *a, const struct state_switch *s)
{
	json_t *o = json_object();

	put_int(o, "epoch", (int64_t)s->gen);
	put_int(o, "wall_ms", s->wall_ms);
	put(o, "kind", str(gen_kind_name((enum gen_kind)s->kind)));
	put(o, "from", s->from < 2 ? str(a->conf->node[s->from]) : json_null());
	put(o, "to", s->to < 2 ? str(a->conf->node[s->to]) : json_null());
	put(o, "planned", json_boolean(s->planned));
	put_int(o, "outage_ms", s->outage_ms);
	put(o, "reason", str(s->reason));
	return o;
}

json_t *
agent_json_history(struct agent *a)
{
	json_t *list = json_array(), *o = json_object();

	for (unsigned i = 0; i < a->state.nswitches; i++)
		json_array_append_new(list, json_switch(a, &a->state.switches[i]));
	put(o, "history", list);
	return o;
}

static void
put_refused(json_t *o, const struct peer_link_stat *s)
{
	json_t *by = json_object();
	int64_t all = 0;

	for (int i = 0; i < FRAME_RCS; i++) {
		if (s->refused[i] == 0)
			continue;
		all += (int64_t)s->refused[i];
		put_int(by, frame_rc_name((enum frame_rc)i), (int64_t)s->refused[i]);
	}
	put_int(o, "refused", all);
	put(o, "refused_by", by);
}

static json_t *
json_corosync(const struct corosync_state *c)
{
	json_t *o = json_object();

	put(o, "cluster", str(c->cluster));
	put_int(o, "node", c->nodeid);
	put_int(o, "peer_node", c->peer_nodeid);
	put(o, "peer_member", json_boolean(c->peer_member));
	put(o, "peer_joined", json_boolean(c->peer_joined));
	put_int(o, "members", c->members);
	put(o, "quorate", json_boolean(c->quorate));
	put_int(o, "votes", c->votes);
	put_int(o, "votes_expected", c->expected);
	put_int(o, "votes_needed", c->needed);
	put(o, "qdevice", str(corosync_qdevice_name(c->qdevice)));
	put(o, "transport", str(c->transport));
	put(o, "cipher", str(c->cipher));
	put(o, "hash", str(c->hash));
	put_int(o, "links_to_peer", c->links);
	put_int(o, "links_connected", c->links_up);
	return o;
}

/* null: no corosync link, so quorum is not used. */
static json_t *
json_quorum(const struct agent *a, const struct policy_view *v)
{
	static const char *const names[] = { "none", "lost", "have" };
	json_t *o;

	if (v->quorum == QUORUM_NONE)
		return json_null();
	o = json_object();
	put(o, "state", str(names[v->quorum]));
	put(o, "with_peer", json_boolean(v->quorum_peer));
	put(o, "why", str(agent_quorum_why(a, v)));
	return o;
}

static json_t *
json_link(const struct agent *a, unsigned n, int64_t now)
{
	const struct peer_link *l = &a->peer.link[n];
	json_t *o = json_object();

	put(o, "name", str(a->conf->links[n].name));
	put(o, "medium", str(link_medium_name(a->conf->links[n].medium)));
	put(o, "interface", str(a->conf->links[n].medium == MEDIUM_SERIAL
	    ? a->conf->links[n].device : a->conf->links[n].interface));
	put(o, "state", str(peer_link_state_name(peer_link_state(&a->peer, n, now))));
	put(o, "open", json_boolean(link_up(a->links[n].link)));
	put(o, "why", str(a->links[n].why));
	put_int(o, "interval_ms", a->links[n].keepalive_ms);
	put_int(o, "heard_ms", l->heard_ms < 0 ? -1 : now - l->heard_ms);
	put_int(o, "accepted", (int64_t)l->stat.accepted);
	put_int(o, "sent", (int64_t)l->stat.sent);
	put_int(o, "lost", (int64_t)l->stat.lost);
	put_int(o, "not_sent", (int64_t)a->links[n].link->dropped);
	put_int(o, "late_p50_ms", peer_late_ms(&l->stat, 50));
	put_int(o, "late_p99_ms", peer_late_ms(&l->stat, 99));
	put_int(o, "late_max_ms", l->stat.late_max_ms);
	put_refused(o, &l->stat);
	if (a->conf->links[n].medium == MEDIUM_COROSYNC && agent_corosync(a, now) != NULL)
		put(o, "corosync", json_corosync(agent_corosync(a, now)));
	return o;
}

static json_t *
json_ping(const struct agent *a, unsigned n, int64_t now)
{
	json_t *o = json_object();
	int64_t heard = ping_heard_ms(a->pings[n]);

	put(o, "address", str(a->conf->pings[n].name));
	put(o, "answers", json_boolean(agent_ping_ok(a, n, now)));
	put_int(o, "heard_ms", heard < 0 ? -1 : now - heard);
	put_int(o, "rtt_us", ping_rtt_us(a->pings[n]));
	return o;
}

/* How this process runs. */
static json_t *
json_realtime(const struct agent *a)
{
	json_t *o = json_object();

	put(o, "scheduled", json_boolean(a->realtime.scheduled));
	put(o, "locked", json_boolean(a->realtime.locked));
	put(o, "why", str(a->realtime.why));
	return o;
}

static void
put_links(json_t *o, const struct agent *a, int64_t now)
{
	json_t *links = json_array(), *pings = json_array();

	for (unsigned i = 0; i < a->conf->nlinks; i++)
		json_array_append_new(links, json_link(a, i, now));
	for (unsigned i = 0; i < a->conf->npings; i++)
		json_array_append_new(pings, json_ping(a, i, now));
	put(o, "links", links);
	put(o, "pings", pings);
	put(o, "realtime", json_realtime(a));
}

json_t *
agent_json_links(struct agent *a)
{
	json_t *o = json_object();

	put_links(o, a, clock_ms());
	return o;
}

static json_t *
json_data(const struct agent *a, const struct policy_view *v)
{
	const struct data_state *d = &a->data;
	json_t *o = json_object();

	put(o, "connected", json_boolean(a->syncd_up));
	put(o, "role", str(data_role_name((enum data_role)d->role)));
	put(o, "mode", mode_text(d->mode));
	put(o, "commit", str(commit_rule_name((enum commit_rule)d->rule)));
	put(o, "insync", json_boolean(d->insync));
	put(o, "complete", json_boolean(policy_complete(&a->policy, v)
	    || policy_holder(&a->policy, v)));
	if (a->in_step_ms != 0)
		put_int(o, "in_step_ms", a->syncd_up && d->insync ? 0 : v->now_ms - a->in_step_ms);
	put(o, "outdated", json_boolean(d->outdated));
	put(o, "peer_connected", json_boolean(d->peer_connected));
	put(o, "peer_slow", json_boolean((d->trouble & DATA_PEER_SLOW) != 0));
	put(o, "peer_full", json_boolean((d->trouble & DATA_PEER_FULL) != 0));
	put(o, "peer_lags", json_boolean((d->trouble & DATA_PEER_LAGS) != 0));
	put(o, "peer_late", json_boolean((d->trouble & DATA_PEER_LATE) != 0));
	put_int(o, "generation", (int64_t)d->gen.no);
	put(o, "kind", str(gen_kind_name((enum gen_kind)d->gen.kind)));
	put_int(o, "durable_lsn", (int64_t)d->durable_lsn);
	put_int(o, "commit_lsn", (int64_t)d->commit_lsn);
	put_int(o, "applied_lsn", (int64_t)d->applied_lsn);
	put_int(o, "peer_durable_lsn", (int64_t)d->peer_durable_lsn);
	put_int(o, "peer_applied_lsn", (int64_t)d->peer_applied_lsn);
	put_int(o, "at_risk", (int64_t)d->at_risk);
	put_int(o, "alone_since_wall_ms", d->alone_since_ms);
	return o;
}

/* Active, and nothing of the group is missing. */
static bool
serving(const struct agent *a)
{
	for (unsigned i = 0; i < a->conf->nvips; i++)
		if (!a->vip_here[i])
			return false;
	return a->policy.role == ROLE_ACTIVE && agent_resources_up(a) == a->conf->nresources;
}

static bool
has_serial(const struct hagent_conf *c)
{
	for (unsigned i = 0; i < c->nlinks; i++)
		if (c->links[i].medium == MEDIUM_SERIAL)
			return true;
	return false;
}

json_t *
agent_json_status(struct agent *a, enum ctl_exit *code)
{
	static const char *const words[] = { "HEALTHY", "WARNING", "CRITICAL" };
	json_t *o = json_object(), *nodes = json_array(), *problems = json_array();
	json_t *self, *peer, *advice = json_array();
	struct policy_view v;
	char relies[300];

	agent_view(a, &v);
	self = json_self(a, &v);
	peer = json_peer(a, &v);
	*code = agent_health(a, &v, problems, advice);
	put(o, "cluster", str(a->conf->cluster));
	put(o, "node", str(a->conf->node[a->conf->self]));
	put_int(o, "wall_ms", v.wall_ms);
	put_int(o, "epoch", (int64_t)a->policy.marks.fixed);
	put(o, "health", str(words[*code]));
	put(o, "relies", str(policy_reliance(&a->pconf, has_serial(a->conf), relies,
	    sizeof(relies))));
	put(o, "maintenance", json_boolean(policy_maintained(&a->policy, &v)));
	put_int(o, "maintenance_ms", policy_maintenance_ms(&a->policy, v.now_ms));
	put(o, "failback_due", json_boolean(policy_failback_due(&a->policy, &v)));
	put(o, "failback", str(failback_name(a->conf->failback)));
	put(o, "preferred", a->conf->preferred < 0 ? json_null()
	    : str(a->conf->node[a->conf->preferred]));
	put(o, "mode", str(pair_mode_name(a->conf->mode)));
	put(o, "config", hash_text(a->pconf.config));
	put(o, "config_files", json_files(&a->config));
	put(o, "problems", problems);
	put(o, "advice", advice);
	json_array_append(nodes, a->conf->self == 0 ? self : peer);
	json_array_append(nodes, a->conf->self == 0 ? peer : self);
	put(o, "nodes", nodes);
	put(o, "self", self);
	put(o, "peer", peer);
	put(o, "serving", json_boolean(serving(a)));
	put(o, "resources", agent_json_resources(a));
	put(o, "helpers", agent_json_helpers(a));
	put(o, "vips", json_vips(a, &v));
	put_links(o, a, v.now_ms);
	put(o, "quorum", json_quorum(a, &v));
	put(o, "data", a->pconf.syncd ? json_data(a, &v) : json_null());
	put(o, "watchdog", agent_json_watchdog(a));
	put(o, "fence", agent_json_fence(a));
	put(o, "alarms", json_alarms(a));
	put(o, "last_switch", a->state.nswitches > 0
	    ? json_switch(a, &a->state.switches[a->state.nswitches - 1]) : json_null());
	return o;
}
