/* sim.h - two nodes, three links, a virtual clock: the real policy, peer, frame,
 * commit and log code under faults that a seed chooses.  Everything is one struct, so a
 * schedule is repeated exactly by its seed. */
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

#define STEP_MS 5
#define LINKS 3			/* 0 direct Ethernet, 1 LAN with VIP and ping, 2 serial */
#define NRES 2
#define LOG_MAX 6000
#define LOG_BYTES ((size_t)LOG_MAX * 112)
#define FACTS_MAX 256		/* on the way at a time */
#define IDS_MAX 6000
#define QUEUE_MAX 4096
#define DEAD_MS 2000

/* A record as its node remembers it. */
struct rec {
	size_t at, len;		/* in node.bytes; without the padding */
	uint8_t hash[16];
	uint32_t id;		/* of the client's message; 0: generation record */
};

enum msg_kind {
	M_FRAME, M_EVENT, M_STATE, M_TO_SYNCD,			/* agent */
	M_DURABLE, M_MARKED, M_FACTS, M_BATCH, M_ACK, M_TOLD,	/* syncd */
};
struct msg {
	int64_t at;
	uint64_t order;
	enum msg_kind kind;
	int node;		/* receiver */
	uint32_t life;		/* of the receiving process or session: else dropped */
	unsigned link;
	int len;
	uint8_t bytes[FRAME_MAX];
	struct policy_event ev;
	struct data_state st;
	struct gen gen;
	uint64_t no, lsn;
	int ms;
	bool flag;
	enum policy_act act;
	uint8_t prev[16];
	unsigned slot;		/* FACTS: in sim.facts */
};

struct node {
	/* what survives a power cut */
	struct state disk;
	uint8_t bytes[LOG_BYTES];	/* the log: encoded records (sim_log.c) */
	uint64_t durable;		/* on the disk up to here */
	uint64_t syncing;		/* handed to the kernel */
	uint64_t known;			/* applied by the owners, as far as they remember */
	uint64_t mark;

	bool up;
	int64_t up_at, paused_until, agent_at, syncd_at;
	bool res[NRES], vip, group;

	bool agent;			/* runs */
	uint32_t agent_life;
	struct policy policy;
	struct peer peer;
	uint64_t saved;
	int64_t send_at[LINKS], tick_at;
	bool link_known;		/* STATE came since the connection */
	struct data_state data;
	int64_t ping_lost;
	int64_t heard_ms;		/* a frame of the other one was accepted */
	int64_t last_seen_ms;		/* other syncd heard */

	bool syncd;
	uint32_t syncd_life;
	struct commit c;
	struct rec log[LOG_MAX + 1];	/* 1-based */
	uint64_t tip;
	struct history history;
	uint64_t shipped;
	bool pending[LOG_MAX + 1];	/* a client of this life waits */
	uint64_t answered;		/* nobody waits up to here */
	uint32_t held[64];
	unsigned nheld;
	int64_t connect_at;
};

struct sim {
	uint64_t seed, rnd;
	int64_t now;
	struct policy_conf conf[2];
	struct frame_keys keys[2][LINKS];	/* by sender */
	struct node n[2];
	bool cut[2][LINKS];		/* direction: from node, on link */
	bool ping_cut[2];
	unsigned loss;			/* per cent */
	uint32_t session;		/* of the syncds; 0 none */
	unsigned session_link;
	int64_t session_cut;		/* since when its path is cut; -1 */
	struct msg q[QUEUE_MAX];
	unsigned nq;
	uint64_t order;
	int64_t lane_at[2][8];
	struct { uint64_t order; struct history h; } facts[FACTS_MAX];
	unsigned nfacts;

	uint32_t next_id;
	bool acked[IDS_MAX];
	uint64_t acked_gen;		/* newest generation that acknowledged */
	unsigned nacked;
	struct gen gens[512];		/* every number that was ever used */
	unsigned ngens;
	bool excused;			/* every channel was cut while both nodes ran */
	int64_t reach_ms[2];		/* since when frames of the other can arrive */
	int64_t two_vips;
	bool quiet_fault;
	char why[200];			/* the violation; "" none */
	bool trace;
	bool healing;
	unsigned promotions, solos, switchovers;
};

uint64_t sim_random(struct sim *, uint64_t below);
bool sim_chance(struct sim *, unsigned per_mille);
void sim_fail(struct sim *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_say(struct sim *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* delay >= 1.  Peer messages keep their order, as TCP does. */
struct msg *sim_post(struct sim *, enum msg_kind, int node, uint32_t life, int64_t delay);
/* Not before the one posted last on this lane: a stream socket. */
enum lane { LANE_PEER, LANE_TO_AGENT, LANE_TO_SYNCD, LANES };
void sim_in_order(struct sim *, struct msg *, enum lane);
bool sim_runs(const struct sim *, int node);		/* up, and not paused */
bool sim_path(const struct sim *, unsigned link);	/* both directions */
void sim_gen(struct sim *, const struct gen *);		/* check: a number means one thing */
bool sim_has_acked(struct sim *, int node);		/* I1 */

/* sim_agent.c */
void agent_start(struct sim *, int node);
void agent_stop(struct sim *, int node);
void agent_step(struct sim *, int node);
void agent_message(struct sim *, struct msg *);
void agent_event(struct sim *, int node, const struct policy_event *);

/* sim_log.c */
/* g: the record is this generation, else the message id. */
void log_append(struct sim *, int node, uint32_t id, const struct gen *g);
struct span log_raw(const struct node *, uint64_t lsn);		/* as it is shipped */
/* A shipped record.  False: it does not follow the log. */
bool log_take(struct sim *, int node, struct span raw, struct gen *, bool *is_gen);
void log_crash(struct sim *, int node, bool power);
void log_recover(struct sim *, int node);
void log_cut(struct sim *, int node, uint64_t lsn);
bool log_common(struct sim *, uint64_t *lsn);	/* false: nothing in common */
enum history_tail log_tail(const struct node *, uint64_t fork);

/* sim_syncd.c */
void syncd_start(struct sim *, int node);
void syncd_stop(struct sim *, int node, bool power);
void syncd_step(struct sim *, int node);
void syncd_session(struct sim *);
void syncd_message(struct sim *, struct msg *);
void syncd_perform(struct sim *, int node, struct commit_acts *);
void syncd_client(struct sim *, int node);

#endif
