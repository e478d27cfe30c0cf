/* agent_parts.h - the agent's one struct, shared by the files agent*.c.
 *
 * agent.c       start, the event loop, links, peer, ping, the step
 * agent_watch.c what is logged of the links
 * agent_act.c   carries out the actions of a step, and turns answers into events
 * agent_ctl.c   requests of hactl
 * agent_proof.c watchdog and fence devices, as this process sees them
 * agent_json.c  status, links and history as JSON; agent_health.c: what is wrong
 * agent_metrics.c  numbers for Prometheus
 * agent_about.c  what the nodes tell each other for people
 * agent_events.c, agent_follow.c  what happened, for the log of events and who reads it
 *
 * One thread, one loop.  agent_event() is the only way to policy_step(); it is
 * never called from inside the carrying out of a step's actions. */
#ifndef HAGENT_AGENT_PARTS_H
#define HAGENT_AGENT_PARTS_H

#include <jansson.h>

#include "about.h"
#include "config_digest.h"
#include "ctl.h"
#include "eventlog.h"
#include "exec_client.h"
#include "hagent_conf.h"
#include "httpget.h"
#include "link.h"
#include "link_corosync.h"
#include "link_watch.h"
#include "log.h"
#include "ping.h"
#include "policy.h"
#include "realtime.h"
#include "syncd_client.h"

#define AGENT_CALLS_MAX 64
#define AGENT_FOLLOWERS_MAX 16

struct event;

struct agent_link {
	struct link *link;
	struct frame_keys send, receive;
	struct event *beat;
	int keepalive_ms;
	struct event *reopen;
	bool opening;		/* the executor is asked */
	bool told;		/* that it is down; once per absence */
	struct link_watch watch;
	struct log_rate strangers;
	struct log_rate reasons;
	char why[120];		/* it is down; "" = a frame left since */
};

struct agent_alarm {
	bool on;
	int64_t since_wall_ms;
	char text[POLICY_TEXT];
};

struct agent_resource {
	char words[EXEC_WORDS_MAX + 60];	/* of the last run that was not well */
	uint32_t start_ms, stop_ms;		/* how long the last ones took */
	uint64_t failures_total;		/* since the agent started */
};

/* A request of hactl that waits for ACT_OP_DONE. */
struct agent_call {
	uint32_t id;
	struct ctl_call *call;
	char what[96];			/* "switchover to ha-2": what a refusal names */
};

/* Who listens to new events, and what it gets next. */
struct agent_follower {
	struct ctl_call *call;
	uint64_t next;
};

/* As it was when it last became an event. */
enum agent_peer { AGENT_PEER_SILENT, AGENT_PEER_UNPROVEN, AGENT_PEER_ALIVE };
struct agent_seen {
	enum agent_peer peer;
	uint32_t peer_boot;
	enum peer_link_state link[HAGENT_LINKS_MAX];
	bool ping[HAGENT_PINGS_MAX];
	int64_t link_ms[HAGENT_LINKS_MAX], ping_ms[HAGENT_PINGS_MAX];	/* not before */
	enum policy_res_state res[HAGENT_RESOURCES_MAX];
	unsigned failures[HAGENT_RESOURCES_MAX];
	bool vip[HAGENT_VIPS_MAX];
	bool syncd_up, mode_known;
	enum data_mode mode;
};

/* What the executor told last. */
struct agent_watchdog {
	bool armed;
	uint32_t timeout_ms;
	char why[EXEC_TEXT_MAX];
	int64_t alive_ms;	/* when this process last said that it lives */
};
struct agent_fence {
	bool asked;		/* at least once */
	enum exec_fence verb;
	enum exec_fenced result;
	int64_t wall_ms;
	char words[EXEC_TEXT_MAX];
	int64_t check_ms;	/* when the devices are asked next; 0: not decided yet */
	char silent[EXEC_TEXT_MAX];	/* a device did not answer the last time; "" all did */
};

struct agent {
	const struct hagent_conf *conf;
	struct event_base *base;
	struct event *tick, *ping_timer;
	struct exec_client *exec;
	struct lease *lease;		/* of the services that answer clients */
	struct syncd_client *syncd;	/* NULL: pair without */
	struct ctl_server *ctl;
	struct httpget *metrics;	/* NULL: no port */
	struct agent_link links[HAGENT_LINKS_MAX];
	struct link_ops link_ops;
	struct ping *pings[HAGENT_PINGS_MAX];
	uint8_t cluster[16];
	uint8_t nonce[16];
	uint8_t random[16];		/* for the next generation; fresh after each use */

	struct state state;
	struct policy_conf pconf;
	struct policy policy;
	struct peer peer;
	struct policy_actions actions;
	bool stepping;

	bool syncd_up;
	struct data_state data;
	int64_t queried_ms;		/* when syncd was asked for it last */
	bool asking_syncd;		/* and it did not answer yet */
	int64_t in_step_ms;		/* when this node was, as the standby, last; 0 never */
	uint64_t saved;
	bool history_unsaved;		/* a line of history that the next save takes along */
	struct log_rate save_failed;
	int save_errno;			/* of the last save; 0 */
	/* What runs here, as found at the start. */
	unsigned looking;		/* answers still missing */
	bool local_known, group_started;
	bool group_before;		/* a hagentd before this one started it, since the boot */
	bool group_found;		/* it runs, and nobody is known to have started it */
	uint32_t held;			/* as ACT_GROUP of the agent before */
	bool cannot;			/* the same */
	bool vip_here[HAGENT_VIPS_MAX];
	int64_t vip_since_wall_ms;
	/* The address probe under way. */
	uint64_t probe_no;
	unsigned probe_left;
	enum policy_probe probe;

	struct agent_resource res[HAGENT_RESOURCES_MAX];
	struct exec_helper helpers[HAGENT_RESPAWNS_MAX];
	struct agent_alarm alarms[ALARMS];
	struct agent_call calls[AGENT_CALLS_MAX];
	uint32_t last_call;
	struct config_digest config;	/* ours */
	struct config_digest peer_config;	/* told by the peer for that .all; 0 never */
	struct about about;		/* of the peer */
	struct about_clock about_clock;
	uint32_t about_boot;
	int64_t about_ms;		/* when it came; 0 never */
	int disk_used;
	int64_t disk_asked_ms;
	struct eventlog *events;
	struct agent_seen seen;
	uint64_t event_counts[EVENTLOG_KINDS], switches;	/* since the agent started */
	struct agent_follower followers[AGENT_FOLLOWERS_MAX];
	struct agent_watchdog watchdog;
	struct agent_fence fence;
	bool hup;		/* SIGHUP came and waits for a settled role */
	struct realtime realtime;
	int64_t start_wall_ms;
	int exit_code;
};

/* agent.c */
void agent_event(struct agent *, const struct policy_event *);
void agent_tick(struct agent *);
void agent_view(struct agent *, struct policy_view *);
void agent_send_all(struct agent *);
void agent_send(struct agent *, unsigned link);
int agent_save(struct agent *);		/* state to disk; logs a failure */
void agent_end(struct agent *, int code);
bool agent_ping_ok(const struct agent *, unsigned ping, int64_t now_ms);

/* agent_reload.c */
void agent_reload(struct agent *, struct ctl_call *, json_t *request);
void agent_reload_tick(struct agent *);
void agent_on_reloaded(void *, uint64_t tag, int code, const char *text, const char *hint);
void agent_on_replace(void *);
void agent_on_hup(void *);

/* agent_watch.c */
void agent_watch_link(struct agent *, unsigned link);	/* after a frame */
void agent_watch_links(struct agent *);
/* A frame left on it: whatever was wrong is over.  That the descriptor can be opened
 * says nothing while the interface is down. */
void agent_link_sent(struct agent *, unsigned link);

/* With each tick: while the heartbeats are silent, syncd is asked whether it hears its peer;
 * by itself it tells that once a second.  One question at a time: a syncd that hangs is not
 * written to for ever. */
void agent_ask_syncd(struct agent *);
/* How long the policy may sleep when nothing happens: not past the moment at which a link
 * turns silent, and longer while there is nothing to wait for. */
int agent_tick_ms(const struct agent *);
void agent_view_quorum(const struct agent *, struct policy_view *);
const char *agent_quorum_why(const struct agent *, const struct policy_view *);
/* The corosync link's state, or NULL when there is none or corosync does not answer. */
const struct corosync_state *agent_corosync(const struct agent *, int64_t now_ms);

/* agent_act.c */
void agent_act(struct agent *, const struct policy_actions *);
void agent_check_vips(struct agent *);	/* active: are they still there? */
extern const struct exec_client_ops agent_exec_ops;
extern const struct syncd_client_ops agent_syncd_ops;

/* agent_proof.c */
void agent_fence_check(struct agent *, int64_t now_ms);	/* asks the devices, when it is due */
void agent_alive(struct agent *, int64_t now_ms);	/* tells the executor, when it is due */
void agent_on_watchdog(void *, bool armed, uint32_t ms, const char *why);
void agent_on_watchdog_is(void *, uint64_t tag, const struct exec_watchdog *);
void agent_on_fenced(void *, enum exec_fence, uint64_t tag, enum exec_fenced, const char *words);
json_t *agent_json_watchdog(const struct agent *);
json_t *agent_json_fence(const struct agent *);
/* "fence-test" and "watchdog-test" of hactl; false: it is neither. */
bool agent_proof_request(struct agent *, struct ctl_call *, const char *op, json_t *request);

/* agent_ctl.c */
/* A call that is answered later; 0: too many wait, and that is told.  agent_call_take()
 * gives it back for ctl_done(); NULL: the caller is gone. */
uint32_t agent_call_new(struct agent *, struct ctl_call *);
struct ctl_call *agent_call_take(struct agent *, uint32_t id);
void agent_on_request(struct ctl_call *, json_t *request, void *arg);
/* A call that waits for agent_op_done(); NULL: too many do. */
struct agent_call *agent_op_call(struct agent *, struct ctl_call *);
void agent_op_done(struct agent *, uint32_t id, int code, const char *text,
    const char *hint);

/* agent_events.c */
void agent_record(struct agent *, enum eventlog_kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void agent_record_and_tell(struct agent *, enum eventlog_kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));	/* also to the notify script */
void agent_record_note(struct agent *, const char *text);	/* of ACT_NOTE */
void agent_record_switch(struct agent *, const struct state_switch *);
void agent_notice(struct agent *);	/* behind each step: what changed becomes events */

/* agent_follow.c */
void agent_show_events(struct agent *, struct ctl_call *, json_t *request);
void agent_follow_all(struct agent *);	/* there is a new one */

/* agent_metrics.c.  The port is opened as root; -1: none, which stops nothing. */
int agent_metrics_listen(const struct hagent_conf *);
void agent_metrics_start(struct agent *, int fd);

/* agent_about.c */
void agent_about_send(struct agent *, unsigned link, const struct policy_view *, struct frame *);
void agent_about_heard(struct agent *, const struct frame *);
bool agent_about_known(const struct agent *, int64_t now_ms);
/* Which files differ from the peer's; "" when that is not known. */
const char *agent_config_differ(const struct agent *, const struct policy_view *, char *buf,
    size_t size);
int agent_disk_used(struct agent *, int64_t now_ms);	/* per cent, -1 unknown */
unsigned agent_resources_up(const struct agent *);

/* agent_health.c: the exit code of status; texts, and objects with text, why, hint */
enum ctl_exit agent_health(const struct agent *, const struct policy_view *, json_t *problems,
    json_t *advice);
/* Whom this node knows to serve: 0, 1, or -1. */
int agent_active_node(const struct agent *, const struct policy_view *);

/* agent_resource.c */
void agent_on_helper(void *, unsigned helper, const struct exec_helper *);
json_t *agent_json_helpers(const struct agent *);	/* a new reference */
json_t *agent_json_resources(const struct agent *);	/* a new reference */
/* In words; buf may be used for them. */
const char *agent_resource_state(const struct agent *, unsigned resource, char *buf, size_t);

/* agent_json.c; each gives a new reference */
json_t *agent_json_status(struct agent *, enum ctl_exit *);
json_t *agent_json_links(struct agent *);
json_t *agent_json_history(struct agent *);

#endif
