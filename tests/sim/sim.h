/* sim.h - two nodes, three links, a virtual clock: the real policy, peer, frame,
 * commit and log code under the faults of a plan that a seed chose.  The world is one
 * struct without pointers to outside, so a schedule is repeated exactly by its plan. */
#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "commit.h"
#include "frame.h"
#include "history.h"
#include "peer.h"
#include "policy.h"
#include "record.h"
#include "state.h"

#define LINKS 3			/* 0 direct Ethernet, 1 LAN with VIP and ping, 2 serial */
#define NRES 2
#define LOG_MAX 4000
#define LOG_BYTES ((size_t)LOG_MAX * 112)
#define FACTS_MAX 256		/* on the way at a time */
#define IDS_MAX LOG_MAX
#define QUEUE_MAX 4096
#define DEAD_MS 2000
#define FAULTS_MAX 24
#define WATCHDOG_MS 500
#define TAPE_MAX 48		/* frames that somebody recorded */

/* ---- the plan of a schedule ---- */

enum fault_kind {
	FAULT_POWER,		/* cut, and on again after ms */
	FAULT_HANG,		/* the whole node, for ms */
	FAULT_AGENT_DIES,	/* restarted after ms */
	FAULT_AGENT_HANGS,
	FAULT_SYNCD_DIES,
	FAULT_SWITCHOVER,	/* asked of the node */
	FAULT_LOSS,		/* arg per cent of the frames, for ms */
	FAULT_DELAY,		/* frames of one link and direction come up to arg ms late */
	FAULT_CUT,		/* one link, dir 0 or 1: from that node only, 2: both */
	FAULT_CUT_ALL,
	FAULT_PING,		/* the node reaches no ping target */
	FAULT_CLOCK,		/* the wall clock steps by arg ms */
	FAULT_STANDBY,		/* an operator keeps the node out, for ms */
	FAULT_MAINTENANCE,	/* for ms, asked of the node */
	FAULT_FENCE,		/* the device of the node does as arg says, for ms */
	FAULT_VOTER,		/* the node does not reach the third voter */
	FAULT_FAILOVER,		/* an operator wants the node to serve, for ms; arg: his words */
	FAULTS
};
enum words {
	WORD_LOSS = 1,		/* --accept-loss */
	WORD_OFF = 2,		/* --peer-is-off, while it is */
	WORD_PULL = 4,		/* he switches it off before he says anything */
	WORD_WRONG = 8,		/* --peer-is-off, without having looked */
};
struct fault {
	int64_t after;		/* ms after the one before */
	int64_t ms, arg;
	enum fault_kind kind;
	int node, dir;
	unsigned link;
};
/* What the fence device does when it is asked to switch the other node off. */
enum fence_mood {
	FENCE_WORKS,		/* off, seen to be off, and said so */
	FENCE_FAILS,		/* says so, and the node goes on */
	FENCE_HANGS,		/* nothing, until the time limit */
	FENCE_LATE,		/* no answer in time, and off after it */
	FENCE_BLIND,		/* off, but it cannot tell */
	FENCE_MOODS
};
/* Small mishaps that the world rolls dice for; each can be switched off. */
enum noise {
	NOISE_TWICE = 1,	/* networks repeat frames, and deliver them late */
	NOISE_RESOURCE = 2,	/* a script fails */
	NOISE_MIDDLE = 4,	/* the agent dies between two actions of one list */
	NOISE_ROT = 8,		/* a bit of the log rots */
	NOISE_ATTACK = 16,	/* recorded and changed frames come in */
	NOISE_STATE = 32,	/* the agent's state cannot be written */
	NOISES = 63
};
struct plan {
	uint64_t seed;
	uint64_t roll;		/* the world's dice; shrinking tries several */
	enum policy_mode mode;
	bool watchdog;		/* on both nodes */
	bool strict;		/* nothing is acknowledged with one copy */
	bool disks;		/* now and then one is slow, or a standby far behind */
	bool bare;		/* a pair without syncd: addresses and resources only */
	int preferred;		/* node that takes the role back; -1 */
	bool operator;		/* he makes nodes serve again and again */
	bool may_split;		/* every path may be cut at once */
	bool single;		/* each fault waits until the pair is in step again */
	unsigned noise;
	int64_t client_ms;	/* between two messages of the client */
	int64_t tail_ms;	/* after the last fault; then everything is healed */
	unsigned n;
	struct fault f[FAULTS_MAX];
};

/* ---- the world ---- */

/* A record as its node remembers it. */
struct rec {
	size_t at, len;		/* in node.bytes; without the padding */
	uint8_t hash[16];
	uint32_t id;		/* of the client's message; 0: generation record */
};

enum msg_kind {
	M_WORLD, M_FAULT_END, M_OPERATOR, M_FENCED, M_FRAME,	/* nobody's */
	M_TICK, M_SEND, M_EVENT, M_STATE, M_SYNCD_SAYS,		/* agent */
	M_SYNCD_TICK, M_CLIENT, M_DURABLE, M_MARKED, M_TO_SYNCD,	/* syncd */
	M_FACTS, M_BATCH, M_ACK, M_TOLD,			/* the other syncd */
};
struct msg {
	int64_t at;
	uint64_t order;
	enum msg_kind kind;
	int node;		/* receiver */
	uint32_t life;		/* of the receiving process or session: else dropped */
	unsigned link;
	int len;
	uint64_t no, lsn;
	int ms;
	bool flag;
	enum policy_act act;
	uint8_t prev[16];
	unsigned slot;		/* FACTS: in sim.facts */
	union {
		uint8_t bytes[FRAME_MAX];
		struct policy_event ev;
		struct data_state st;
		struct gen gen;
	} u;
};

struct node {
	/* what survives a power cut */
	struct state disk;
	uint64_t durable;		/* the log is on the disk up to here */
	uint64_t syncing;		/* handed to the kernel */
	uint64_t known;			/* applied by the owners, as far as they remember */
	uint64_t mark;

	bool up;
	int64_t up_at, paused_until, agent_paused, agent_at, syncd_at;
	int64_t blocked;		/* the peer's messages are held back until */
	int64_t wall;			/* the wall clock is off by */
	bool res[NRES], vip, group, cannot;	/* the executor remembers the last two */
	int64_t off_ms;			/* when it lost its power last */
	bool armed, self_fence;		/* the watchdog; and who lets it fire */
	int64_t petted_ms;
	int64_t peer_seen, voter_seen;	/* by who counts the votes */
	int64_t vote_at;		/* a resumed node's view is stale until then */
	enum policy_quorum quorum;
	bool quorum_peer;

	bool agent;			/* runs */
	uint32_t agent_life;
	int64_t agent_since;
	struct policy policy;
	struct peer peer;
	uint64_t saved;
	int64_t answers_ms;		/* the services may answer clients until */
	int64_t turn_ms;		/* the agent's last step, of any of its lives */
	int64_t asleep_ms, awake_ms;	/* the last time that it made none for long: from, until */
	int64_t serves_ms;		/* became active */
	int64_t send_at[LINKS];
	bool link_known;		/* STATE came since the connection */
	struct data_state data;
	int64_t ping_lost;
	int64_t heard_ms;		/* a frame of the other one was accepted */
	int64_t last_seen_ms;		/* other syncd heard */
	bool confirmed;			/* when the other one was alive last in this agent's life
					 * it had nothing that is missing here */
	int64_t word_ms;		/* when its last word came that this says of */
	bool served;			/* this agent's life served, or found services running */
	bool asked;			/* an operator asked this agent's life to take over */
	int64_t told_ms;		/* when he said that the other node is off; -1 */
	bool accepts;			/* his last word: what is missing here may be missing */
	uint64_t heard_no;		/* newest number that the other one ever told it */
	uint64_t loss_gen;		/* the generation that began with that word */

	bool syncd;
	bool disk_slow, disk_full;	/* no batch is taken then */
	bool lags;			/* the other one is behind what this one sends */
	uint32_t syncd_life, disk_life;
	struct commit c;
	uint64_t tip;
	struct history history;
	uint64_t shipped;
	uint64_t answered;		/* nobody waits up to here */
	uint32_t held[64];
	unsigned nheld;
	int64_t connect_at, state_at;
};

/* Of one node's log; cleared as far as it was used. */
struct log {
	uint8_t bytes[LOG_BYTES];	/* encoded records (sim_log.c) */
	struct rec rec[LOG_MAX + 1];	/* 1-based */
	bool pending[LOG_MAX + 1];	/* a client of this life waits */
	size_t used;			/* bytes that may not be zero */
	uint64_t top;			/* highest LSN ever used */
};

struct taped {
	int from;
	unsigned link;
	int64_t sent_ms;
	uint32_t taken;			/* agent_life of the receiver that accepted it */
	int len;
	uint8_t bytes[FRAME_MAX];
};

struct sim {
	const struct plan *plan;
	uint64_t rnd;
	int64_t now;
	struct policy_conf conf[2];
	struct frame_keys keys[2][LINKS];	/* by sender */
	struct node n[2];
	bool cut[2][LINKS];		/* direction: from node, on link */
	int64_t slow[2][LINKS];		/* the same: at most so late */
	bool ping_cut[2], voter_cut[2];
	enum fence_mood fence[2];	/* by the node that asks */
	int holder;			/* who has the third vote; -1: both, they are together */
	int64_t holder_lost;		/* since when the voter misses it; -1 */
	unsigned loss;			/* per cent */
	uint32_t session;		/* of the syncds; 0 none */
	unsigned session_link;
	int64_t session_cut;		/* since when its path is cut; -1 */
	unsigned nq, nfree;
	uint16_t heap[QUEUE_MAX], free[QUEUE_MAX];
	uint64_t order;
	int64_t lane_at[2][4];
	uint64_t facts_order[FACTS_MAX];
	unsigned nfacts;

	unsigned next_fault;
	int64_t next_at;		/* the next fault, or the end of the faults */
	uint32_t next_id;
	uint32_t acks;			/* messages acknowledged */
	unsigned missing[2];		/* of them, in the node's log */
	uint64_t acked_gen;		/* newest generation that acknowledged */
	struct gen gens[512];		/* every number that was ever used */
	unsigned ngens;
	bool excused;			/* every channel was cut while both nodes ran, or an operator
					 * forced one while the other lived: two may acknowledge */
	bool parted;			/* an operator accepted a loss: logs may part, and a tail of one
					 * that acknowledged alone is kept whether it did or not */
	bool forked;			/* and there are two lines now, each with what the other lacks */
	int64_t reach_ms[2];		/* since when frames of the other can arrive */
	int64_t two_vips;
	char why[200];			/* the violation; "" none */
	bool trace;
	bool healing;
	unsigned promotions, solos, attacks, fenced, barked, forced;
	unsigned ntape, tape_next;
	struct taped tape[TAPE_MAX];
};

enum acked {
	ACKED_NOT,
	ACKED,
	ACKED_LOST,		/* an operator accepted that the pair goes on without; the other log
				 * has it */
};

/* Large, and used from the beginning: not cleared for each schedule. */
struct sim_store {
	struct log log[2];
	struct msg q[QUEUE_MAX];
	struct history facts[FACTS_MAX];
	uint8_t acked[IDS_MAX];		/* enum acked */
	uint8_t here[2][IDS_MAX];	/* records with this id in the node's log */
};
extern struct sim_store store;

/* sim_world.c */
uint64_t sim_random(struct sim *, uint64_t below);
bool sim_chance(struct sim *, unsigned per_mille);
void sim_fail(struct sim *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_say(struct sim *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* delay >= 1.  What goes over a stream socket keeps its order. */
struct msg *sim_post(struct sim *, enum msg_kind, int node, uint32_t life, int64_t delay);
bool sim_runs(const struct sim *, int node);		/* up, and not paused */
bool sim_path(const struct sim *, unsigned link);	/* both directions */
void sim_gen(struct sim *, const struct gen *);		/* check: a number means one thing */
bool sim_has_acked(const struct sim *, int node);	/* I1 */
void sim_goes_on(struct sim *, int node, const struct gen *);	/* with what it has */
bool sim_in_step(const struct sim *);
void sim_power_off(struct sim *, int node, int64_t off_ms);
void sim_run(struct sim *, const struct plan *, bool trace);

/* sim_plan.c */
void plan_make(struct plan *, uint64_t seed);
void plan_print(const struct plan *);
void plan_due(struct sim *);				/* carries out what is due */
void plan_end(struct sim *, const struct fault *);
void plan_operator(struct sim *, const struct msg *);	/* asks again */
void plan_heal(struct sim *);
void plan_online(struct sim *);				/* no operator keeps a node out any more */
/* The smallest plan found that still breaks a promise. */
void plan_shrink(struct sim *, struct plan *);

/* sim_attack.c */
/* Somebody listens to the wire, and remembers some of it. */
void attack_tape(struct sim *, int from, unsigned link, const uint8_t *, int len);
void attack_taken(struct sim *, int node, const struct msg *);	/* it was accepted there */
void attack(struct sim *);

/* sim_guard.c */
void guard_setup(struct sim *);
void guard_world(struct sim *);				/* votes, watchdogs */
void guard_pet(struct sim *, int node);			/* its agent's loop turns */
void guard_fence(struct sim *, int node, uint64_t no);	/* node asks */
void guard_fenced(struct sim *, int victim);
/* I15: is the other one excluded by what the node stands on? */
void guard_check(struct sim *, int node, const struct policy_action *);
/* I16: around each step of the agent's policy, and before a grant. */
void guard_heard(struct sim *, int node, const struct policy_view *);
void guard_role(struct sim *, int node, enum ha_role before);
void guard_turn(struct sim *, int node);		/* before a step */
void guard_answers(struct sim *, int node, const struct policy_view *);	/* behind it */
void guard_grant(struct sim *, int node, const struct gen *);
void guard_heard_of(struct sim *, int node, uint64_t no);	/* a number that the other one told */
/* A loss was accepted, and nobody told this node which line is the newer one. */
bool guard_unheard(const struct sim *, int node);
/* An operator forced this node in a generation that the other one never got. */
bool guard_forced_too(const struct sim *, int node);
/* The newest generation in which the other one acknowledged alone is in this log. */
bool guard_knows(const struct sim *, int node);

/* sim_agent.c */
void agent_answer(struct sim *, int node, const struct policy_event *, int64_t delay);
void agent_start(struct sim *, int node);
void agent_stop(struct sim *, int node);
void agent_message(struct sim *, struct msg *);
void agent_event(struct sim *, int node, const struct policy_event *);
/* As on_frame() of agent.c, without the step of the policy. */
enum frame_rc agent_take(struct sim *, int node, unsigned link, const uint8_t *, int len);

/* sim_log.c */
void log_reset(struct sim *, int node);
/* g: the record is this generation, else the message id. */
void log_append(struct sim *, int node, uint32_t id, const struct gen *g);
struct span log_raw(int node, uint64_t lsn);		/* as it is shipped */
/* A shipped record.  False: it does not follow the log. */
bool log_take(struct sim *, int node, struct span raw, struct gen *, bool *is_gen);
void log_crash(struct sim *, int node, bool power);
void log_recover(struct sim *, int node);
void log_cut(struct sim *, int node, uint64_t lsn);
bool log_common(struct sim *, uint64_t *lsn);	/* false: nothing in common */
enum history_tail log_tail(const struct sim *, int node, uint64_t fork);

/* sim_syncd.c */
void syncd_start(struct sim *, int node);
void syncd_stop(struct sim *, int node, bool power);
void syncd_session(struct sim *);
void syncd_message(struct sim *, struct msg *);
void syncd_perform(struct sim *, int node, struct commit_acts *);

#endif
