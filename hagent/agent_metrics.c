/* agent_metrics.c - what Prometheus reads from the agent, by GET /metrics.
 *
 * Names carry the unit, counters count since this agent started.  What a pair does not
 * have (quorum, fencing, a watchdog, replicated data) has no sample.  Only reads. */
#include <event2/buffer.h>
#include <string.h>

#include "agent.h"
#include "agent_parts.h"
#include "clock.h"
#include "prom.h"

#define LABEL(label, text) ((const struct prom_label[]){ { label, text }, { NULL, NULL } })

static void
gauge(struct evbuffer *out, const char *name, const char *help, double v)
{
	prom_family(out, name, PROM_GAUGE, help);
	prom_sample(out, name, NULL, v);
}

/* ---- the pair ------------------------------------------------------------ */

static void
put_pair(struct evbuffer *out, struct agent *a, const struct policy_view *v)
{
	const struct prom_label build[] = { { "cluster", a->conf->cluster },
		{ "node", a->conf->node[a->conf->self] }, { "version", MAILPAIR_VERSION },
		{ NULL, NULL } };
	json_t *problems = json_array(), *advice = json_array();

	prom_family(out, "mailpair_info", PROM_GAUGE, "This node; always 1.");
	prom_sample(out, "mailpair_info", build, 1);
	prom_family(out, "mailpair_role", PROM_GAUGE, "1 for the role that this node has.");
	for (int r = ROLE_BOOT; r <= ROLE_DEMOTE; r++)
		prom_sample(out, "mailpair_role", LABEL("role", ha_role_name((enum ha_role)r)),
		    a->policy.role == (enum ha_role)r);
	gauge(out, "mailpair_role_seconds", "How long this node has had its role.",
	    (double)(v->now_ms - a->policy.since_ms) / 1000);
	gauge(out, "mailpair_epoch", "Highest epoch that this node knows of.",
	    (double)a->policy.marks.fixed);
	gauge(out, "mailpair_health", "0 healthy, 1 warning, 2 critical, as hactl status exits.",
	    (double)agent_health(a, v, problems, advice));
	gauge(out, "mailpair_kept_out", "1 while an operator keeps this node out.",
	    a->policy.marks.kept_out);
	gauge(out, "mailpair_maintenance", "1 while nothing happens by itself.",
	    policy_maintained(&a->policy, v));
	json_decref(problems);
	json_decref(advice);
}

static void
put_peer(struct evbuffer *out, const struct agent *a, const struct policy_view *v)
{
	gauge(out, "mailpair_peer_up", "1 while the other node is heard and proves to hear this one.",
	    v->peer.alive);
	gauge(out, "mailpair_peer_silence_seconds", "Since the other node was heard last.",
	    (double)v->peer.silent_ms / 1000);
	gauge(out, "mailpair_peer_config_equal", "1 unless the two configurations are known to differ.",
	    !a->alarms[ALARM_CONFIG].on);
	if (v->peer.alive && agent_about_known(a, v->now_ms))
		gauge(out, "mailpair_peer_clock_ahead_seconds", "The other node's wall clock minus ours.",
		    (double)about_clock_ahead(&a->about_clock) / 1000);
}

static void
put_switches(struct evbuffer *out, const struct agent *a)
{
	const struct state_switch *last;

	prom_family(out, "mailpair_switch_total", PROM_COUNTER, "Changes of the active node.");
	prom_sample(out, "mailpair_switch_total", NULL, (double)a->switches);
	if (a->state.nswitches == 0)
		return;
	last = &a->state.switches[a->state.nswitches - 1];
	gauge(out, "mailpair_last_switch_timestamp_seconds", "When the active node changed last.",
	    (double)last->wall_ms / 1000);
	if (last->outage_ms >= 0)
		gauge(out, "mailpair_outage_seconds", "How long nobody served at the last change.",
		    (double)last->outage_ms / 1000);
}

static void
put_proof(struct evbuffer *out, const struct agent *a, const struct policy_view *v)
{
	json_t *fence = agent_json_fence(a), *answers = json_object_get(fence, "answers");

	if (v->quorum != QUORUM_NONE)
		gauge(out, "mailpair_quorum", "1 while this node has the vote of the cluster.",
		    v->quorum == QUORUM_HAVE);
	if (json_is_boolean(answers))
		gauge(out, "mailpair_fence_up", "1 when all fence devices answered when asked last.",
		    json_is_true(answers));
	json_decref(fence);
	if (a->conf->watchdog.device[0] != '\0')
		gauge(out, "mailpair_watchdog_armed", "1 while the watchdog would reset this node.",
		    a->watchdog.armed);
}

static void
put_alarms(struct evbuffer *out, const struct agent *a)
{
	prom_family(out, "mailpair_alarm", PROM_GAUGE, "1 while the alarm is on.");
	for (int i = 0; i < ALARMS; i++)
		prom_sample(out, "mailpair_alarm",
		    LABEL("alarm", policy_alarm_name((enum policy_alarm)i)), a->alarms[i].on);
	prom_family(out, "mailpair_events_total", PROM_COUNTER, "Lines of the event log.");
	for (int i = 0; i < EVENTLOG_KINDS; i++)
		prom_sample(out, "mailpair_events_total",
		    LABEL("kind", eventlog_kind_name((enum eventlog_kind)i)),
		    (double)a->event_counts[i]);
}

/* ---- links --------------------------------------------------------------- */

static void
put_late(struct evbuffer *out, const struct agent *a)
{
	static const char name[] = "mailpair_link_late_seconds";
	double bounds[PEER_BUCKETS - 1];
	uint64_t counts[PEER_BUCKETS];

	prom_family(out, name, PROM_HISTOGRAM, "How much later than due heartbeats came.");
	for (unsigned i = 0; i < a->conf->nlinks; i++) {
		const struct peer_link_stat *s = &a->peer.link[i].stat;

		for (int b = 0; b < PEER_BUCKETS; b++)
			counts[b] = s->late[b];
		/* The last millisecond of each bucket. */
		for (int b = 0; b < PEER_BUCKETS - 1; b++)
			bounds[b] = (double)(((int64_t)1 << b) - 1) / 1000;
		prom_histogram(out, name, LABEL("link", a->conf->links[i].name), bounds, counts,
		    PEER_BUCKETS - 1, (double)s->late_sum_ms / 1000);
	}
}

static double
link_is_up(const struct agent *a, unsigned i, int64_t now)
{
	enum peer_link_state state = peer_link_state(&a->peer, i, now);

	return state == PEER_LINK_OK || state == PEER_LINK_WARN;
}

static double
link_accepted(const struct agent *a, unsigned i, int64_t now)
{
	(void)now;
	return (double)a->peer.link[i].stat.accepted;
}

static double
link_sent(const struct agent *a, unsigned i, int64_t now)
{
	(void)now;
	return (double)a->peer.link[i].stat.sent;
}

static double
link_lost(const struct agent *a, unsigned i, int64_t now)
{
	(void)now;
	return (double)a->peer.link[i].stat.lost;
}

static double
link_refused(const struct agent *a, unsigned i, int64_t now)
{
	double n = 0;

	(void)now;
	for (int rc = 0; rc < FRAME_RCS; rc++)
		n += (double)a->peer.link[i].stat.refused[rc];
	return n;
}

static const struct {
	const char *name;
	enum prom_type type;
	const char *help;
	double (*value)(const struct agent *, unsigned link, int64_t now_ms);
} link_metrics[] = {
	{ "mailpair_link_up", PROM_GAUGE, "1 while heartbeats pass in both directions.", link_is_up },
	{ "mailpair_link_received_frames_total", PROM_COUNTER, "Authentic new frames.",
	    link_accepted },
	{ "mailpair_link_sent_frames_total", PROM_COUNTER, "Frames given to the link.", link_sent },
	{ "mailpair_link_lost_frames_total", PROM_COUNTER, "Frames of the other node that never came.",
	    link_lost },
	{ "mailpair_link_refused_frames_total", PROM_COUNTER, "Frames that were no authentic new ones.",
	    link_refused },
};

static void
put_links(struct evbuffer *out, const struct agent *a, int64_t now)
{
	for (size_t m = 0; m < sizeof(link_metrics) / sizeof(link_metrics[0]); m++) {
		prom_family(out, link_metrics[m].name, link_metrics[m].type, link_metrics[m].help);
		for (unsigned i = 0; i < a->conf->nlinks; i++)
			prom_sample(out, link_metrics[m].name, LABEL("link", a->conf->links[i].name),
			    link_metrics[m].value(a, i, now));
	}
	put_late(out, a);
	prom_family(out, "mailpair_ping_up", PROM_GAUGE, "1 while the ping target answers.");
	for (unsigned i = 0; i < a->conf->npings; i++)
		prom_sample(out, "mailpair_ping_up", LABEL("target", a->conf->pings[i].name),
		    agent_ping_ok(a, i, now));
}

/* ---- what serves --------------------------------------------------------- */

static void
put_group(struct evbuffer *out, const struct agent *a)
{
	prom_family(out, "mailpair_resource_up", PROM_GAUGE, "1 while the resource runs here.");
	for (unsigned i = 0; i < a->conf->nresources; i++)
		prom_sample(out, "mailpair_resource_up", LABEL("resource", a->conf->resources[i].name),
		    a->policy.res[i].state == RES_UP);
	prom_family(out, "mailpair_resource_failures_total", PROM_COUNTER, "Times that it failed here.");
	for (unsigned i = 0; i < a->conf->nresources; i++)
		prom_sample(out, "mailpair_resource_failures_total",
		    LABEL("resource", a->conf->resources[i].name), (double)a->res[i].failures_total);
	prom_family(out, "mailpair_vip_up", PROM_GAUGE, "1 while this node has the address.");
	for (unsigned i = 0; i < a->conf->nvips; i++)
		prom_sample(out, "mailpair_vip_up", LABEL("address", a->conf->vips[i].name),
		    a->vip_here[i]);
}

static void
put_data(struct evbuffer *out, const struct agent *a)
{
	const struct data_state *d = &a->data;
	uint64_t lag = d->durable_lsn > d->peer_durable_lsn ? d->durable_lsn - d->peer_durable_lsn : 0;

	if (!a->pconf.syncd)
		return;
	gauge(out, "mailpair_syncd_up", "1 while syncd answers the agent.", a->syncd_up);
	if (!a->syncd_up)
		return;
	prom_family(out, "mailpair_data_mode", PROM_GAUGE, "1 for the mode of the replicated log.");
	for (int m = DATA_WAIT; m <= DATA_SPLIT; m++)
		prom_sample(out, "mailpair_data_mode", LABEL("mode", data_mode_name((enum data_mode)m)),
		    d->mode == m);
	gauge(out, "mailpair_log_disk_slow", "1 while the syncs of the log take too long.",
	    (d->trouble & DATA_SLOW) != 0);
	gauge(out, "mailpair_log_disk_full", "1 while the disk of the log has no room.",
	    (d->trouble & DATA_FULL) != 0);
	gauge(out, "mailpair_index_lost", "1 while an index of this node is lost.",
	    (d->trouble & DATA_NO_INDEX) != 0);
	gauge(out, "mailpair_log_durable_records", "Records that are on this node's disk.",
	    (double)d->durable_lsn);
	if (d->role == DATA_ACTIVE && d->peer_connected)
		gauge(out, "mailpair_log_lag_records", "Records that the standby is behind.",
		    (double)lag);
	gauge(out, "mailpair_at_risk_records", "Acknowledged records that only this node has.",
	    (double)d->at_risk);
}

static void
on_get(struct evbuffer *out, void *arg)
{
	struct agent *a = arg;
	struct policy_view v;

	agent_view(a, &v);
	put_pair(out, a, &v);
	put_peer(out, a, &v);
	put_switches(out, a);
	put_proof(out, a, &v);
	put_alarms(out, a);
	put_links(out, a, v.now_ms);
	put_group(out, a);
	put_data(out, a);
}

/* ---- the port ------------------------------------------------------------ */

int
agent_metrics_listen(const struct hagent_conf *c)
{
	int fd;

	if (c->metrics_address.ss_family == 0)
		return -1;
	fd = httpget_listen(&c->metrics_address);
	if (fd == -1)
		log_warn("no metrics at %s", c->metrics);
	return fd;
}

void
agent_metrics_start(struct agent *a, int fd)
{
	if (fd != -1)
		a->metrics = httpget_new(a->base, fd, "/metrics", PROM_CONTENT_TYPE, on_get, a);
}
