/* policy.h - who is active: the decision as a function of what is known.
 *
 * policy_step() takes the state, a view and one event in the view, and returns a
 * list of actions.  It has no clock, socket or file; the daemon and the simulator
 * execute the same actions.  The diagram and the rules stand above it in policy.c.
 *
 * The executor of the actions promises:
 *   - actions are carried out in their order; when ACT_SAVE fails, those that stand on
 *     it are left out (policy_act_needs_save()), and the step is told by view.saved
 *     staying behind; nothing that gives up serving waits for a disk;
 *   - marks in `struct policy` are copied to ha/state by ACT_SAVE before anything
 *     after it is done; then view.saved = the action's number;
 *   - each RES, VIP, PROBE and syncd request is answered by exactly one event, if
 *     need be with a failure; a lost syncd connection is in the view;
 *   - policy_fill() is asked for each frame that is sent.
 * Call it for each event, and with EV_TICK at least each 50 ms; each 250 ms is enough while
 * this node is active or standby, every link is alive and the last call gave no action. */
#ifndef HAGENT_POLICY_H
#define HAGENT_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agentlink.h"
#include "frame.h"
#include "gen.h"
#include "peer.h"
#include "state.h"

#define POLICY_RES_MAX 32
#define POLICY_VIPS_MAX 16
#define POLICY_ACTIONS_MAX 96
#define POLICY_TEXT 120
#define POLICY_MOVES_MAX 16		/* largest moves_max */
#define POLICY_MAINTENANCE_MAX_MS ((int64_t)30 * 86400 * 1000)	/* AGENT_MAINTENANCE_MAX_S */

enum ha_role {
	ROLE_BOOT,	/* what runs here is not known yet */
	ROLE_WAIT,	/* nothing runs; no active peer is known */
	ROLE_TARGET,	/* the peer is active, our data is behind */
	ROLE_STANDBY,	/* the peer was active last, and our data is complete */
	ROLE_PROMOTE,
	ROLE_ACTIVE,
	ROLE_DEMOTE,
};
const char *ha_role_name(enum ha_role);

enum policy_mode { POLICY_SERIAL_PING, POLICY_FENCING, POLICY_QUORUM, POLICY_MANUAL };
enum policy_failback { FAILBACK_OFF, FAILBACK_MANUAL, FAILBACK_AUTO };
enum policy_quorum { QUORUM_NONE, QUORUM_LOST, QUORUM_HAVE };	/* NONE: nobody to ask */
enum policy_res_verb { POLICY_START, POLICY_STOP, POLICY_STATUS, POLICY_DRAIN };
enum policy_res_result { POLICY_RUNNING, POLICY_STOPPED, POLICY_FAILED };	/* status 0, 3, other */

/* What an operator asks for; also the number in a CTRL_REQUEST. */
enum policy_op {
	OP_NONE,
	OP_SWITCHOVER,		/* the active hands over to the other node */
	OP_FAILOVER,		/* this node takes over */
	OP_STANDBY,		/* keep op_node out */
	OP_ONLINE,
	OP_CLEANUP,		/* forget failures of resource `index` (-1 all) */
	OP_SHUTDOWN,		/* the daemon ends in order: leave, then ACT_EXIT */
	OP_RES_START,		/* resource `index` of the active node */
	OP_RES_STOP,		/* keep it, and what is to its right, stopped */
	OP_RES_RESTART,
	OP_MAINTENANCE,		/* both nodes for .ms: no role changes by itself; 0 ends it */
};
const char *policy_op_name(enum policy_op);

struct policy_conf {
	uint8_t node;
	enum policy_mode mode;
	bool cold_last_active;	/* cold-start */
	bool syncd;		/* false: pair without syncd */
	bool pings;		/* at least one ping target is configured */
	unsigned nres, nvips;
	struct {
		bool drain;
		unsigned restarts;
		int64_t window_ms, monitor_ms;
	} res[POLICY_RES_MAX];
	int64_t dead_ms;	/* deadtime of the links; for the channel between the syncds, and
				 * to notice that this process itself was paused */
	int64_t initdead_ms;
	int64_t isolated_ms;	/* no peer and no ping this long: give up serving */
	int64_t known_ms;	/* when both are known to be silent, at least one of them was
				 * heard no later than this ago */
	int64_t ping_handover_ms;	/* no ping here, but there, this long: hand over; 0 never.  At
				 * least the ping interval: a target that dies is missed by
				 * the other node that much later */
	int64_t evidence_ms;	/* longest search for evidence before DENY */
	int64_t probe_fresh_ms;	/* an address probe counts this long */
	int64_t suspect_ms;	/* silent this long: the addresses are asked, so that the answer
				 * is there when dead_ms is over */
	int64_t drain_ms;	/* given to syncd in DEMOTE of a planned release */
	int64_t syncd_wait_ms;	/* active without syncd this long: hand over */
	int64_t join_wait_ms;	/* failed start: keep data active so that the peer can join */
	int64_t switch_ms;	/* a planned switchover is reported as timed out after this */
	int64_t retry_ms;	/* pause before a failed stop, start or promotion is tried again */
	bool quorum_require;	/* in any mode: nothing on silence without a quorum */
	int64_t watchdog_ms;	/* longest time-out of an armed watchdog, here and there; 0 none */
	bool watchdog_required;	/* not armed: this node does not become active */
	int64_t fence_delay_ms;	/* this node lets the other one shoot first */
	int64_t fence_retry_max_ms;	/* a fence that failed: retry_ms, doubled up to this */
	enum policy_failback failback;
	int preferred;		/* node, -1 none */
	int64_t failback_delay_ms;
	unsigned moves_max;	/* voluntary moves in the window; then this node stays */
	int64_t moves_window_ms;
	int64_t vip_check_ms;	/* active: does another host answer for our addresses? 0 never */
	uint32_t config;	/* digest */
};

enum policy_event_type {
	EV_TICK,
	EV_SYNCD,	/* .msg with .gen or .no .lsn .drained; REFUSED: .no = type refused */
	EV_RES,		/* .index .verb .result */
	EV_VIP,		/* .index .up: true = VIP_UP done, false = VIP_DOWN; .ok */
	EV_PROBE,	/* .no = number of ACT_PROBE; .probe */
	EV_DIED,	/* .index: the process of a started resource has ended */
	EV_OP,		/* .op .id, .op_node, .dry_run .peer_is_off .accept_loss .index .ms */
	EV_FENCE,	/* .no = number of ACT_FENCE; .ok = it is verified off, not merely asked */
};
enum policy_probe { PROBE_UNKNOWN, PROBE_CLEAR, PROBE_TAKEN };

struct policy_event {
	enum policy_event_type type;
	enum agentlink_type msg;
	struct gen gen;
	uint64_t no, lsn;
	bool drained;
	int index;
	enum policy_res_verb verb;
	enum policy_res_result result;
	bool up, ok;
	enum policy_probe probe;
	enum policy_op op;
	uint32_t id;		/* of the operator's request, comes back in ACT_OP_DONE */
	uint8_t op_node;
	bool dry_run, peer_is_off, accept_loss;
	int64_t ms;
};

struct policy_view {
	int64_t now_ms, wall_ms;
	uint8_t random[16];	/* fresh in each call; becomes the id of a new generation */
	struct peer_view peer;
	bool ping_ok;		/* at least one target answers */
	unsigned ping_score;	/* sum over those that answer */
	enum policy_quorum quorum;
	bool quorum_peer;	/* who gives the quorum still counts the other node as a member */
	int64_t watchdog_ms;	/* time-out of this node's armed watchdog; 0 not armed */
	bool answers;		/* what policy_answers_until() said, also of an agent before this one,
				 * is not over yet */
	bool syncd_up;		/* connected, and data is from this connection */
	struct data_state data;
	bool local_known;	/* the executor told what runs here: */
	bool group_started;	/* the resource group is up on this node */
	bool group_found;	/* ... which only the answers to our questions say: no agent
				 * started it here since the node booted */
	uint32_t held;		/* as ACT_GROUP of an agent before this one said: */
	bool cannot;		/* it could not be kept running here */
	uint64_t saved;		/* number of the last ACT_SAVE that is durable */
	struct policy_event ev;
};

enum policy_act {
	ACT_SAVE,		/* .no; marks durable */
	ACT_SYNCD_PROMOTE,	/* .gen */
	ACT_SYNCD_DEMOTE,	/* .no .ms */
	ACT_SYNCD_GRANT,	/* .gen */
	ACT_SYNCD_DENY,		/* .no .text */
	ACT_SYNCD_OUTDATE,	/* .no */
	ACT_RES_START, ACT_RES_STOP, ACT_RES_STATUS, ACT_RES_DRAIN,	/* .index */
	ACT_GROUP,		/* .on: tell the executor that the group is (not) up; .no: a bit for
				 * each resource that an operator holds stopped; .cannot */
	ACT_VIP_UP, ACT_VIP_DOWN,	/* .index; up = address and announcement */
	ACT_PROBE,		/* .no; .on: ask the peer's own addresses too, not only the VIPs;
				 * .index 1: the peer's only (the VIPs are ours) */
	ACT_ANNOUNCE,		/* all VIPs again */
	ACT_SEND_NOW,		/* a frame on each link at once */
	ACT_ALARM,		/* .alarm .on .text */
	ACT_NOTE,		/* .text for the log: why the role changed */
	ACT_HISTORY,		/* .sw */
	ACT_OP_DONE,		/* .id .code (exit code of hactl) .text .hint */
	ACT_EXIT,		/* OP_SHUTDOWN is through */
	ACT_FENCE,		/* .no: switch the other node off and verify it; one EV_FENCE */
	ACT_SELF_FENCE,		/* something does not stop: let the watchdog end this node */
};
const char *policy_act_name(enum policy_act);
bool policy_act_needs_save(enum policy_act);

enum policy_alarm {
	ALARM_ISOLATED, ALARM_CONTESTED, ALARM_STOP_FAILED, ALARM_RES_FAILED, ALARM_SYNCD,
	ALARM_ALONE, ALARM_SPLIT, ALARM_NO_LEADER, ALARM_CONFIG, ALARM_REFUSED, ALARM_LINKS,
	ALARM_FENCE, ALARM_QUORUM, ALARM_FLAPPING, ALARM_DISK,
	ALARM_MUTE,		/* active, and clients get no answers */
	ALARMS
};
const char *policy_alarm_name(enum policy_alarm);

struct policy_action {
	enum policy_act act;
	struct gen gen;
	uint64_t no;
	int64_t ms;
	int index;
	bool on;
	bool cannot;		/* GROUP: it could not be kept running here, and nobody mended it */
	enum policy_alarm alarm;
	uint32_t id;
	int code;
	struct state_switch sw;
	char text[POLICY_TEXT], hint[POLICY_TEXT];
};
struct policy_actions {
	unsigned n;
	struct policy_action a[POLICY_ACTIONS_MAX];
};

enum policy_res_state { RES_UNKNOWN, RES_DOWN, RES_STARTING, RES_UP, RES_STOPPING, RES_FAILED };
const char *policy_res_state_name(enum policy_res_state);
struct policy_res {
	enum policy_res_state state;
	bool busy;		/* a start, stop or drain is under way */
	bool cut;		/* the start under way is cut short by a stop */
	bool asking;		/* a status is; its answer is void once another verb began */
	bool restarting;	/* the stop under way is followed by a start */
	bool held;		/* an operator stopped it */
	bool died;		/* its process ended while it was up */
	bool look;		/* its status is asked once, soon, whatever monitor_ms says */
	unsigned stop_failed;	/* in a row, while this node gives up serving */
	unsigned failures;	/* one is forgotten in each window that passes without */
	int64_t failed_ms;	/* when the last one was, or was forgotten */
	int64_t checked_ms;
};

/* Why the active node changes: for the log, for the history of both nodes, and on the
 * wire in RELEASE and SWITCH, so numbers are never used again for something else. */
enum policy_reason {
	REASON_NONE,
	REASON_PLANNED, REASON_KEPT_OUT, REASON_SHUTDOWN,	/* an operator asked */
	REASON_PING, REASON_ISOLATED,
	REASON_RESOURCE, REASON_ADDRESS, REASON_SYNCD,		/* it does not run any more */
	REASON_SAVE, REASON_REFUSED, REASON_TAKEN, REASON_START,	/* a promotion failed */
	REASON_NEWER, REASON_STRANGE,
	REASON_RELEASE, REASON_REBOOT, REASON_MEETING, REASON_SILENCE, REASON_HOLDER,
	REASON_OFF, REASON_FAILOVER,
	REASON_FENCED, REASON_QUORUM, REASON_NO_QUORUM, REASON_FAILBACK,
	REASON_SLOW, REASON_FULL, REASON_INDEX,
	REASONS
};
const char *policy_reason_text(enum policy_reason);

enum promote_step { PRO_SYNCD, PRO_RES, PRO_DUPLICATE, PRO_VIP };
enum demote_step { DEM_DRAIN, DEM_VIP, DEM_RES, DEM_JOIN, DEM_SYNCD, DEM_SAVE };

/* What makes a promotion exclusive. */
enum policy_proof {
	PROOF_NONE,
	PROOF_RELEASE,		/* the peer released this generation */
	PROOF_REBOOT,		/* the peer is back from a restart and serves nothing */
	PROOF_MEETING,		/* neither serves, ours is the newest history */
	PROOF_SILENCE,		/* presumption: silent links, ping answers, addresses are free */
	PROOF_OPERATOR,
	PROOF_FENCE,		/* silent, and verified off since */
	PROOF_QUORUM,		/* silent, we have the quorum, and its watchdog has fired by now */
};

/* The struct is open for tests and status; only policy.c writes it. */
struct policy {
	const struct policy_conf *conf;
	struct state_marks marks;	/* from and to ha/state */
	enum ha_role role;
	int64_t since_ms, start_ms;
	int64_t take_ms;		/* since when our frames say that we may take over; -1 */
	int64_t turned_ms, awake_ms;	/* last call; since when without a pause */
	uint64_t save_no;		/* last number given to ACT_SAVE */
	int64_t saved_ms;		/* when that was */
	uint64_t probe_no;
	bool probe_out;			/* an ACT_PROBE is under way */
	int64_t probe_ms;		/* when the last probe was asked for */
	bool probe_vips, probe_peer;	/* what it asked for */
	int64_t probe_since_ms;		/* promotion: an earlier question does not count */
	int64_t freed_ms;		/* idle: when the peer, which leaves, first said that its
					 * addresses are down; 0 it did not */
	enum policy_probe probe;
	struct gen gen;			/* of the promotion or reign here */

	enum promote_step promote;
	enum policy_proof proof;
	bool accept_loss;		/* active: an operator goes on although the other node may
					 * have served while this one slept */
	int64_t step_ms;		/* when the present step began */
	int64_t retry_ms;		/* not before */
	bool asked;			/* the request of the step is under way */
	bool repromote;			/* active: syncd came back as standby */
	bool slept;			/* paused for long, and the peer has not said since that it
					 * neither took over nor went on alone */

	enum demote_step demote;
	bool urgent;			/* address first, no drain */
	bool release;			/* say RELEASE at the end */
	uint64_t released_lsn;
	uint64_t complete;		/* volatile: nothing acknowledged up to this generation
					 * is missing here, because we released it; 0 no */
	uint32_t complete_boot;		/* boot of the peer at that time */
	bool start_failed;		/* last promotion failed here: do not take again by choice;
					 * the executor keeps it for the next agent */
	bool group_on;			/* as the executor was told */
	bool refused;			/* syncd refused it: what we believed does not hold */
	uint64_t declined;		/* generation whose RELEASE we do not take */
	bool leaving;
	enum policy_reason reason;	/* of the last change here */
	struct state_switch told;	/* the one that made us active, for the peer; .gen 0 none */
	enum policy_reason told_reason;
	uint64_t heard_switch;		/* epoch of the last one that the peer told */
	uint8_t last_active;		/* node; 255 not known */
	int64_t slow_ms, full_ms;	/* active, this is wrong with the log's disk here, and
					 * nothing with the other node's, since; -1 */
	int64_t ping_less_ms;		/* active, and the peer sees more targets since; -1 */
	int64_t mute_ms;		/* active, and clients get no answers since; -1 */

	uint64_t alone_no;		/* ALONE_WANTED that waits for evidence; 0 none */
	int64_t alone_ms;		/* since when the evidence for it is looked for */
	bool alone_in_step;		/* it came while both were in step, and they are still */
	uint64_t newer_no;		/* NEWER told by syncd */
	uint64_t alone_heard;		/* newest generation in which the peer acknowledged alone */
	uint64_t outdate_out;		/* our OUTDATE(gen) rides; 0 none */
	uint64_t outdate_save;		/* number of the save that holds marks.outdated */
	uint64_t peer_outdated;		/* what the peer said */
	bool peer_is_off;		/* operator's word, until the peer is heard */

	int64_t isolated_ms;		/* since when; -1 not */
	int64_t syncd_gone_ms;		/* -1 */
	bool log_lost;			/* it said why it went: nothing to wait for */
	int64_t data_standby_ms;	/* active, and syncd says standby since; -1 */
	bool syncd_told;		/* DEMOTE went out */
	unsigned links_were, score_was;
	uint32_t peer_active_boot;	/* boot of the peer in which it was seen active */
	uint64_t peer_active_gen;
	int64_t served_ms;		/* when somebody was last heard to serve; 0 never */

	bool unguarded;			/* the required watchdog is not armed */
	struct policy_res res[POLICY_RES_MAX];
	int cycle;			/* an operator restarts from this one on; -1 none */
	bool vip_up[POLICY_VIPS_MAX], vip_busy[POLICY_VIPS_MAX];

	struct {
		enum policy_op op;
		uint32_t id;
		bool remote;		/* for the peer: answer by CTRL_ANSWER */
		int64_t start_ms;
	} op;				/* under way here */
	uint32_t req_id, req_seen;	/* our request that rides; last one of the peer */
	enum policy_op req_op;
	uint32_t req_caller;		/* id of the operator's request behind it */
	int64_t req_ms, req_arg;	/* .ms or .index */
	uint32_t ans_id;		/* our CTRL_ANSWER rides */
	int ans_code;
	uint32_t boot;			/* own, makes request ids distinct */

	struct {
		uint64_t no;
		bool out;		/* an ACT_FENCE is under way */
		bool off;		/* verified, for the silence that goes on */
		int64_t wanted_ms;	/* since when; -1 */
		int64_t asked_ms, retry_ms;
		unsigned failed;	/* in a row */
	} fence;
	int64_t unquorate_ms;		/* a quorum is needed and missing since; -1 */
	int64_t quorum_ms;		/* quorate without the peer since; -1 */
	bool self_fenced;		/* ACT_SELF_FENCE went out */
	bool found;			/* what runs here was never of a reign: view.group_found,
					 * until this node serves */
	bool stuck;			/* ... and does not stop: idle, but nothing begins here */
	unsigned vip_failed[POLICY_VIPS_MAX];	/* removals that failed in a row */

	int64_t move_ms[POLICY_MOVES_MAX];	/* when the last voluntary moves were */
	unsigned nmoves;
	unsigned cannot;		/* times in a window that this node could not serve */
	int64_t cannot_ms;		/* when the last one was */
	int64_t failback_ms;		/* the preferred node could take over since; -1 */
	int64_t contest_ms;		/* last check of our own addresses */
	uint64_t contest_no;		/* the probe that is one */
	bool announce;			/* the addresses, once it is sure that they are ours */

	int64_t maint_until_ms;		/* maintenance, of our own clock; 0 none */
	bool maint_loaded;
	int64_t peer_maint_ms;		/* when the peer's is over at the latest, by our clock;
					 * 0 it has none, INT64_MAX not known */
	uint32_t maint_told_boot;	/* boot of the peer that was asked to have it too */

	bool alarm[ALARMS];
};

/* marks: from ha/state. */
void policy_init(struct policy *, const struct policy_conf *, const struct state_marks *,
    uint32_t boot, int64_t now_ms);
void policy_step(struct policy *, const struct policy_view *, struct policy_actions *);
/* What a frame says of us: role, mode, flags, generation, positions, controls.
 * peer_stamp() adds the rest. */
void policy_fill(const struct policy *, const struct policy_view *, struct frame *);
/* The facts behind `hactl failover` and status: may this node be promoted now, and
 * if not, why (a text).  */
enum policy_proof policy_evidence(const struct policy *, const struct policy_view *,
    const char **why);
/* That text, with the seconds where time alone is missing; buf may be used for it. */
const char *policy_unproven(const struct policy *, const struct policy_view *, char *buf,
    size_t size);
/* When the other node's watchdog is all that has to be waited for: how long, else 0 (or less). */
int64_t policy_lease_ms(const struct policy *, const struct policy_view *);
/* Between two roles: which change is under way, for people; "" none. */
const char *policy_changing(const struct policy *);
/* Until when (now_ms's clock) the services here may answer clients with what they know; 0: no
 * longer than was said before; POLICY_NO_ANSWERS: not at all from now on, as the other node
 * serves and goes before us.  When it is over, after a pause, the other node may have taken
 * over: its word is waited for, however long it is silent, or an operator's; in a generation
 * in which this node serves alone, for deadtime. */
#define POLICY_NO_ANSWERS (-1)
int64_t policy_answers_until(const struct policy *, const struct policy_view *);
bool policy_complete(const struct policy *, const struct policy_view *);	/* P1 */
/* Idle: nobody else can have acknowledged anything newer. */
bool policy_holder(const struct policy *, const struct policy_view *);
/* "what it relies on; not survived: ..."; serial: one of the links is no Ethernet. */
const char *policy_reliance(const struct policy_conf *, bool serial, char *buf, size_t size);
/* Nothing may happen by itself: this node or the peer that is heard is in maintenance. */
bool policy_maintained(const struct policy *, const struct policy_view *);
int64_t policy_maintenance_ms(const struct policy *, int64_t now_ms);	/* left here; 0 */
/* Active: the preferred node has been ready for the configured time. */
bool policy_failback_due(const struct policy *, const struct policy_view *);

#endif
