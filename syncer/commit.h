/* commit.h - when a record may be acknowledged: the rules of two copies as a pure
 * state machine.  No clock, socket or file: time is an argument, and what is to be
 * done comes back as a list of acts, in the order in which they must happen.
 *
 *   standby:  WAIT --active peer--> TARGET --JOIN record durable here--> INSYNC
 *   active:   FROZEN <--> SYNC          both copies, or acknowledgements are held
 *             FROZEN --GRANT alone--> SOLO --peer matched--> JOINING --GRANT JOIN--> SYNC
 *             SYNC ---GRANT alone, a standby that is slow, full or far behind---> JOINING
 *
 * The numbers kept here are LSNs; the caller keeps the records.  The promise: while
 * the newest generation is not of an alone kind, commit_lsn never passes what both
 * nodes reported durable; it never goes back; a fenced or standby node never moves
 * it by itself. */
#ifndef SYNCER_COMMIT_H
#define SYNCER_COMMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agentlink.h"
#include "gen.h"
#include "owner.h"

struct commit_conf {
	unsigned node;		/* 0 or 1 */
	enum commit_rule rule;
	bool ship;		/* false: the standby follows by mirror only, copies = 1 */
	int hold_ms;		/* T_hold: acknowledgements held before asking to go on alone */
	int stable_ms;		/* a returned standby is stable this long before JOIN */
	int silent_ms;		/* a batch unanswered this long freezes */
	size_t held_max_bytes;	/* unwritten appends held while frozen */
	uint64_t join_lag;	/* records the standby may lack when JOIN is asked for */
};

enum commit_act_type {
	COMMIT_WRITE_GEN,	/* append .gen as record .lsn now; then commit_written() */
	COMMIT_RELEASE,		/* write the held appends, in their order */
	COMMIT_REFUSE,		/* refuse all held appends with .refusal */
	COMMIT_UNDECIDED,	/* what was written and is not committed stays open for long:
				 * who waits for it is told */
	COMMIT_ADVANCE,		/* everything up to .lsn is committed, .copies (standby: 0) */
	COMMIT_ALONE_WANTED,	/* to the agent: .no */
	COMMIT_JOIN_WANTED,	/* to the agent: .no */
	COMMIT_PROMOTED,	/* to the agent: .gen */
	COMMIT_REFUSED,		/* to the agent: .request (AL_PROMOTE, AL_GRANT, ...), .reason */
	COMMIT_DEMOTED,		/* to the agent: .no .lsn .drained; owners are standby now */
	COMMIT_MARK,		/* make the outdated mark .no durable, then commit_marked() */
	COMMIT_OUTDATED,	/* to the agent: .no */
	COMMIT_ADOPTED,		/* to the agent: .gen */
	COMMIT_NEWER,		/* to the agent: .gen; nothing is acknowledged any more */
	COMMIT_CHANGED,		/* role, mode or copies changed: tell agent, owners, peer */
};

struct commit_act {
	enum commit_act_type type;
	struct gen gen;
	uint64_t no, lsn;
	uint8_t copies, drained;
	uint16_t request;
	enum owner_refusal refusal;
	const char *reason;
};

/* Carrying out an act may call a function that adds more to the same list: go on
 * until the index reaches n. */
#define COMMIT_ACTS_MAX 32
struct commit_acts {
	struct commit_act act[COMMIT_ACTS_MAX];
	size_t n;
};

/* Written by commit.c only; everybody may read. */
struct commit {
	struct commit_conf conf;
	enum data_role role;
	enum data_mode mode;
	struct gen gen;			/* the newest generation whose record was appended */
	struct gen pending;		/* promotion or grant whose record is not durable yet */
	uint64_t fence_no;		/* batches below this are refused */
	uint64_t tip_lsn;		/* last appended (handed to the writer) */
	uint8_t tip_hash[16];
	uint64_t durable_lsn;		/* local */
	uint8_t durable_hash[16];
	uint64_t commit_lsn;
	uint64_t told_lsn;		/* standby: what the active said is committed */
	uint64_t serve_lsn;		/* active: owners serve when this is committed */
	bool fenced;			/* active: a newer generation exists: */
	struct gen newer;
	bool promoting;			/* the promotion's record is not durable yet */
	bool failed;			/* the log cannot be written any more */
	bool split;			/* two histories: waits for the operator */
	bool seeding;			/* this node's state is being copied: not whole */
	bool full;			/* below the low-water mark */
	uint8_t trouble;		/* DATA_SLOW, DATA_FULL: of the log's disk here */
	uint8_t peer_trouble;		/* DATA_PEER_...: of the session that is up */
	int64_t slow_ms;		/* the peer's disk is slow, and ours is not, since; 0: no */
	bool late;			/* active: the standby is there, and let a batch wait for
					 * silent_ms; until both count again */
	bool left_out;			/* alone because of it: the way back takes its time */
	bool insync;			/* standby: volatile belief, dies with the process */
	uint64_t outdated_no;		/* durable mark: not in sync for generations <= this */
	uint64_t mark_wanted;		/* a mark on its way to the disk; 0 = none */

	bool peer_up;			/* a session is up */
	bool peer_active;		/* standby: an active is on the line */
	uint64_t adopt_no;		/* standby: a received generation not durable yet */
	bool peer_matched;		/* active: the peer's log is a prefix of ours */
	bool peer_insync;		/* the peer says it is in sync in our generation */
	uint64_t peer_durable_lsn, peer_applied_lsn;

	int64_t frozen_ms;		/* since when; 0: not frozen */
	int64_t asked_ms;		/* ALONE_WANTED last sent; 0: not yet */
	bool denied;			/* refuse at once until the standby is back */
	int64_t alone_ms;		/* since when alone; 0: two copies */
	int64_t stable_ms;		/* the standby is close and steady since; 0: not */
	int64_t join_asked_ms;
	int64_t oldest_ms;		/* when the oldest record that waits for the peer was sent */
	uint64_t oldest_lsn;		/* the tip at that time */
	size_t held, held_bytes;	/* appends held unwritten */
	int64_t drain_until_ms;		/* a DEMOTE is under way until; 0: none */
	uint64_t drain_no;
	uint64_t alone_from_lsn;	/* first record acknowledged by one copy; 0: none */
};

void commit_init(struct commit *, const struct commit_conf *);
/* After the log was recovered, truncated or reset: its newest generation (no = 0:
 * none), its end (everything there is durable), the durable mark. */
void commit_recovered(struct commit *, const struct gen *, uint64_t tip_lsn,
    const uint8_t tip_hash[16], uint64_t outdated_no);

/* ---- the agent ---- */
void commit_promote(struct commit *, const struct gen *, int64_t now_ms, struct commit_acts *);
void commit_demote(struct commit *, uint64_t no, int drain_ms, int64_t now_ms,
    struct commit_acts *);
void commit_grant(struct commit *, const struct gen *, int64_t now_ms, struct commit_acts *);
void commit_deny(struct commit *, uint64_t no, int64_t now_ms, struct commit_acts *);
void commit_outdate(struct commit *, uint64_t no, struct commit_acts *);
void commit_marked(struct commit *, struct commit_acts *);	/* the mark is durable */

/* ---- owners ---- */
enum commit_verdict { COMMIT_DO_WRITE, COMMIT_DO_HOLD, COMMIT_DO_REFUSE };
/* What to do with one append.  HOLD counts it; RELEASE and REFUSE empty the count. */
enum commit_verdict commit_append(struct commit *, size_t bytes, enum owner_refusal *why);
void commit_unheld(struct commit *, size_t n, size_t bytes);	/* their owner went away */
bool commit_serving(const struct commit *);	/* owners may be told: active */
uint8_t commit_copies(const struct commit *);	/* of an append now: 0 frozen, 1, 2 */

/* ---- the log ---- */
/* A record was appended (active: own; standby: received) and went to the writer.
 * gen is its content when it is a generation record, else NULL. */
void commit_written(struct commit *, uint64_t lsn, const uint8_t hash[16],
    const struct gen *gen, int64_t now_ms, struct commit_acts *);
/* The local disk has everything up to lsn. */
void commit_durable(struct commit *, uint64_t lsn, const uint8_t hash[16], int64_t now_ms,
    struct commit_acts *);
void commit_failed(struct commit *, struct commit_acts *);	/* write or fsync failed */
void commit_full(struct commit *, bool full, struct commit_acts *);
/* The log's disk is slow, or has no room for what the active sends (DATA_SLOW, DATA_FULL). */
void commit_trouble(struct commit *, uint8_t trouble, struct commit_acts *);

/* ---- the peer ---- */
/* A session is up; nothing is known of the peer's log yet. */
void commit_peer_up(struct commit *, int64_t now_ms, struct commit_acts *);
void commit_peer_down(struct commit *, int64_t now_ms, struct commit_acts *);
/* Active: the peer's log ends at lsn and is a prefix of ours. */
void commit_peer_matched(struct commit *, uint64_t lsn, bool insync, int64_t now_ms,
    struct commit_acts *);
/* Active: the peer has everything up to lsn on disk.  Void unless no is ours. */
void commit_peer_ack(struct commit *, uint64_t no, uint64_t lsn, bool insync,
    int64_t now_ms, struct commit_acts *);
/* What speaks against waiting for the peer (DATA_PEER_...).  The active asks to go on alone,
 * while both still acknowledge, and asks for no JOIN as long as it lasts. */
void commit_peer_trouble(struct commit *, uint8_t trouble, int64_t now_ms,
    struct commit_acts *);
/* The peer holds a generation above ours, or refused ours. */
void commit_peer_newer(struct commit *, const struct gen *, struct commit_acts *);
void commit_split(struct commit *, struct commit_acts *);
/* Standby in SPLIT: everything in its log counts as committed here, because it is about to
 * be made known to the other node; and: the other one has it all, there is no split. */
void commit_settle(struct commit *, struct commit_acts *);
void commit_merged(struct commit *, struct commit_acts *);
void commit_seeding(struct commit *, bool on, struct commit_acts *);
/* Standby: may a batch be appended? */
enum commit_batch {
	COMMIT_BATCH_OK, COMMIT_BATCH_OLD, COMMIT_BATCH_GAP, COMMIT_BATCH_NOT_STANDBY,
	COMMIT_BATCH_FULL,
};
enum commit_batch commit_batch(struct commit *, uint64_t gen_no, uint64_t first_lsn,
    const uint8_t prev_hash[16]);
/* Standby: an active of generation no is on the line (its facts, before batches).
 * alone: between our newest generation and no it may have acknowledged by itself. */
void commit_active_seen(struct commit *, uint64_t no, bool alone, struct commit_acts *);
/* Standby: the active says that everything up to lsn is committed. */
void commit_told(struct commit *, uint64_t lsn, struct commit_acts *);

/* ---- time ---- */
void commit_tick(struct commit *, int64_t now_ms, struct commit_acts *);
/* When commit_tick() has something to do next; INT64_MAX: nothing. */
int64_t commit_next_ms(const struct commit *, int64_t now_ms);

/* Fills what commit knows; applied_lsn, alone_since_ms (wall), peer_heard_ms are
 * the caller's. */
void commit_state(const struct commit *, struct data_state *);

#endif
