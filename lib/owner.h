/* owner.h - how the owner of a shard speaks with the local syncd: it proposes
 * records, and applies them when they are committed.  (lib/ipc frames over
 * PATH_RUN/syncd-owner.sock; the wire form is at the end of this header.)
 *
 * One connection serves all shards of a process.  For each shard the records come
 * in LSN order, each exactly once after its `from` LSN, on both nodes: on the
 * active when they are committed, on the standby when the active said that they
 * are.  The owner's own appends come back through the same callback, with the
 * token it gave.  When syncd goes away the connection is made again and what was
 * under way is settled: committed ones arrive as records, the others are proposed
 * again in their order (or refused if this node is active no more).  So a token
 * always ends in exactly one of record() or refused(). */
#ifndef LIB_OWNER_H
#define LIB_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "gen.h"
#include "span.h"

struct event_base;
struct owner;

/* Shard numbers in the log. */
#define SHARD_PAIR	0	/* syncd's own records */
#define SHARD_DIRECTORY	1
#define SHARD_QUEUE	2
#define SHARD_STORE0	16	/* store shard n is SHARD_STORE0 + n */
#define SHARD_MAX	1040	/* at most 1,024 store shards */

/* `from` of a shard whose index is lost: it is delivered nothing and is never live, so that
 * nothing of its connection becomes active, until an index from the peer is in its place
 * (index_offered()) and it is attached anew. */
#define OWNER_FROM_LOST UINT64_MAX

/* Type 0 in every shard's stream: a generation began; payload is gen_put().  Owners
 * need it for UID gaps and the MODSEQ base.  Their own types are 1 to 255. */
#define OWNER_REC_GENERATION 0

/* A payload may be this long; a larger thing is split over several records. */
#define OWNER_PAYLOAD_MAX (1u << 20)

struct owner_record {
	uint64_t lsn;
	uint64_t gen_no;
	uint16_t shard;
	uint8_t type;
	uint8_t copies;		/* 1 or 2, as acknowledged; 0 when replayed */
	int64_t time_ms;	/* wall clock of the proposal, part of the record */
	struct span payload;	/* valid during the callback */
};

enum owner_refusal {
	OWNER_NOT_ACTIVE = 1,	/* this node does not serve */
	OWNER_NOT_TWICE,	/* the commit rule wants two copies: 451 4.4.0 */
	OWNER_DISK_FULL,	/* below the low-water mark: 452 4.3.1 */
	OWNER_BUSY,		/* more bytes wait than the limit allows: 451 */
	OWNER_FAILED,		/* the log cannot be written any more */
};
const char *owner_refusal_name(enum owner_refusal);

struct owner_verify {
	uint32_t run;
	uint64_t rate;		/* bytes of objects in a second at most; 0: no limit */
	bool repair;		/* mend what can be mended */
};

enum owner_mend {		/* is the other node's copy of an object to be had? */
	OWNER_MEND_OK,
	OWNER_MEND_NO_PEER,	/* it cannot be asked, or does not answer in time */
	OWNER_MEND_ABSENT,	/* it has none */
	OWNER_MEND_BAD,		/* its copy is damaged too */
};
const char *owner_mend_name(enum owner_mend);

struct owner_role {
	bool active;		/* appends are taken */
	bool live;		/* standby or active: replay has reached the present */
	uint8_t copies;		/* what an append now would be acknowledged with: 0 frozen, 1, 2 */
	struct gen gen;		/* the newest */
	uint64_t commit_lsn;
};

struct owner_merge {
	uint16_t shard;
	bool whole, dry;
	uint64_t fork;
	const char *stamp;	/* goes into names that have to give way; during the call */
	int tail_fd, theirs_fd;	/* theirs: what changes() wrote on the other node */
};
#define OWNER_STAMP_MAX 32
#define OWNER_REPORT_MAX (64u << 10)

struct owner_ops {
	/* A committed record of one of our shards.  token is ours, or 0. */
	void (*record)(void *arg, const struct owner_record *, uint64_t token);
	/* Called after a run of record() calls: end the SQLite transaction, then answer. */
	void (*batch_end)(void *arg);
	void (*refused)(void *arg, uint64_t token, enum owner_refusal);
	/* It is in a log, and whether it will ever be committed cannot be said soon: tell
	 * whoever waits that it is not done, and keep the token: record() or refused()
	 * still ends it.  At most once a token.  May be NULL. */
	void (*undecided)(void *arg, uint64_t token);
	/* First after the connection is made, then on each change.  When active turns
	 * true every record up to commit_lsn has been delivered before. */
	void (*role)(void *arg, const struct owner_role *);
	/* syncd asks for a frozen copy of a shard to seed the peer: answer with
	 * owner_snapshot_done().  NULL where the shard has none. */
	void (*snapshot)(void *arg, uint16_t shard);
	/* syncd wants the object named by these 32 bytes of SHA-256 (seeding the peer), or
	 * offers one or an index that came from the peer: see owner_seed_* below. */
	void (*object_wanted)(void *arg, uint16_t shard, const uint8_t sha[32]);
	void (*object_offered)(void *arg, uint16_t shard, const uint8_t sha[32], int fd);
	void (*index_offered)(void *arg, uint16_t shard, uint64_t lsn, int fd);
	/* Two histories are made one (see "Merging" below).  changes: this node gives way;
	 * write what its side changed behind record `fork`.  merge: this node's side stays;
	 * propose what the other side changed, or only say what would be (dry).  tail: this
	 * node's records of the shard behind the fork (ownertail.h); not whole: the log has
	 * lost some of its beginning.  Descriptors are the callee's.  NULL: the shard has
	 * nothing that could be merged. */
	void (*changes)(void *arg, uint16_t shard, uint64_t fork, bool whole, int tail_fd);
	void (*merge)(void *arg, const struct owner_merge *);
	/* What became of owner_mend(): with OWNER_MEND_OK an fd of the whole object, its
	 * SHA-256 verified, the callee's; else -1.  May be NULL where no object is asked for. */
	void (*mended)(void *arg, uint16_t shard, const uint8_t sha[32], enum owner_mend, int fd);
	/* Look through all that this shard holds, beside the work: see "Verifying" below.
	 * verify_stop: nobody waits for it any more.  NULL: declined. */
	void (*verify)(void *arg, uint16_t shard, const struct owner_verify *);
	void (*verify_stop)(void *arg, uint16_t shard);
};

/* path: PATH_RUN/syncd-owner.sock.  Connects, and again for ever (250 ms apart). */
struct owner *owner_new(struct event_base *, const char *path, const struct owner_ops *,
    void *arg);
void owner_free(struct owner *);
/* Before or after connecting: deliver this shard's records after `from`.  A second
 * attach of the same shard starts its stream anew (an owner whose index went back to
 * `from`, or is lost: OWNER_FROM_LOST); tokens under way stay under way. */
void owner_attach(struct owner *, uint16_t shard, uint64_t from);
/* Proposes; payload is copied.  Returns the token (never 0).  Answers never come
 * from inside this call. */
uint64_t owner_append(struct owner *, uint16_t shard, uint8_t type, const struct span *parts,
    size_t nparts);
/* How many appends, and bytes of them, are under way. */
size_t owner_pending(const struct owner *, size_t *bytes);
const struct owner_role *owner_role(const struct owner *);
/* For lag: this shard's index holds everything up to lsn. */
void owner_applied(struct owner *, uint16_t shard, uint64_t lsn);
/* Everything of this shard up to lsn is durable outside the log. */
void owner_checkpoint(struct owner *, uint16_t shard, uint64_t lsn);

/* Seeding.  snapshot_done: fd of a frozen, self-contained index (owned by the call)
 * that holds everything up to lsn, and fd of a file listing the objects it needs, 32
 * bytes each; -1, -1: failed. */
void owner_snapshot_done(struct owner *, uint16_t shard, uint64_t lsn, int index_fd,
    int objects_fd);
void owner_object_answer(struct owner *, uint16_t shard, const uint8_t sha[32], int fd);
/* ok = the offered object or index is in place, durable; an index: call owner_attach
 * anew afterwards.  objects already here answer ok to object_offered with fd -1,
 * which asks "do you have it?". */
void owner_offer_answer(struct owner *, uint16_t shard, bool ok);

/* Mending.  An object that is here no more, or is not what its name says: syncd gets it
 * from the other node and answers with mended(), unless the connection breaks (the owner
 * keeps a time-out of its own).  -1 and ENOTCONN: nobody was asked. */
int owner_mend(struct owner *, uint16_t shard, const uint8_t sha[32]);

/* Verifying.  Each verify() is answered by owner_verified() with the number of its run,
 * and by owner_verifying() before, at least once a minute as long as it gets further: one
 * that does not, for long, is given up (verify_stop, no answer).  ok: it could be
 * looked through to the end.  report: a JSON object {"bad_count": N, "bad": [{"what": S,
 * "name": S, "mended": B}], "mended": N, "index_bad": B, "objects": N, "bytes": N}, or on failure
 * {"error": S}; at most OWNER_REPORT_MAX bytes are sent, a longer one is a failure. */
void owner_verified(struct owner *, uint16_t shard, uint32_t run, bool ok, const char *report);
void owner_verifying(struct owner *, uint16_t shard, uint32_t run, uint64_t done, uint64_t of);

/* Merging.  changes_done: fd of a file that says by itself what this side changed, with
 * the bytes that belong to it; owned by the call, -1: failed.  merge_done: all that was
 * proposed is committed, or (dry) would be; report is a JSON object of at most
 * OWNER_REPORT_MAX bytes, when it failed with "error" in it. */
void owner_changes_done(struct owner *, uint16_t shard, int fd);
void owner_merge_done(struct owner *, uint16_t shard, bool ok, const char *report);

/* ---- wire form, shared with syncd -------------------------------------- */
#define OWNER_VERSION 1
enum owner_type {
	OWN_HELLO = 1,		/* u16 version, str process name */
	OWN_ATTACH,		/* u16 shard, u64 from */
	OWN_APPEND,		/* u64 origin, u16 shard, u8 type, rest = payload */
	OWN_APPLIED,		/* u16 shard, u64 lsn */
	OWN_CHECKPOINT,		/* u16 shard, u64 lsn */
	OWN_SNAPSHOT_DONE,	/* u16 shard, u64 lsn, u8 ok; fd = index; followed by: */
	OWN_SNAPSHOT_LIST,	/* u16 shard, u8 ok; fd = list of objects */
	OWN_OBJECT_ANSWER,	/* u16 shard, raw sha[32], u8 ok; fd = object */
	OWN_OFFER_ANSWER,	/* u16 shard, u8 ok */
	OWN_CHANGES,		/* u16 shard, u8 ok; fd = changes */
	OWN_MERGED,		/* u16 shard, u8 ok, rest = report */
	OWN_MEND = 20,		/* u16 shard, raw sha[32] */
	OWN_VERIFIED,		/* u16 shard, u32 run, u8 ok, rest = report */
	OWN_VERIFYING,		/* u16 shard, u32 run, u64 done, u64 of */
	OWN_ROLE = 32,		/* u8 active, u8 live, u8 copies, gen, u64 commit_lsn */
	OWN_RECORD,		/* u64 lsn, u64 gen, u64 origin, u16 shard, u8 type, u8 copies,
				 * u64 time_ms, rest = payload */
	OWN_COMMITTED,		/* u64 origin, u64 lsn, u64 gen, u8 copies, u64 time_ms:
				 * an append of this connection; the client has the payload */
	OWN_BATCH_END,
	OWN_REFUSED,		/* u64 origin, u8 enum owner_refusal */
	OWN_LIVE,		/* u16 shard: replay after an attach has reached the present: every
				 * append of this shard that was taken before that attach, by any
				 * connection, is delivered or will never be committed */
	OWN_SNAPSHOT,		/* u16 shard */
	OWN_OBJECT_WANTED,	/* u16 shard, raw sha[32] */
	OWN_OBJECT_OFFERED,	/* u16 shard, raw sha[32], u8 has_fd; fd = object */
	OWN_INDEX_OFFERED,	/* u16 shard, u64 lsn; fd = index */
	OWN_UNDECIDED,		/* u64 origin: written, and the standby does not confirm it */
	OWN_CHANGES_WANTED,	/* u16 shard, u64 fork, u8 whole; fd = tail */
	OWN_MERGE,		/* u16 shard, u64 fork, u8 whole, u8 dry, str stamp; fd = tail */
	OWN_MERGE_THEIRS,	/* u16 shard; fd = changes: behind its OWN_MERGE */
	OWN_MENDED = 60,	/* u16 shard, raw sha[32], u8 enum owner_mend; fd = object */
	OWN_VERIFY,		/* u16 shard, u32 run, u64 rate, u8 repair */
	OWN_VERIFY_STOP,	/* u16 shard */
};
/* Type 0 records are sent as OWN_RECORD once for each attached shard, under that
 * shard's number.  After an OWN_ATTACH everything in (from, commit] comes as
 * OWN_RECORD, also this connection's own appends; OWN_COMMITTED is for what is
 * committed behind that.
 * origin: 32 random bits of the process, 32 bits counting; it is stored in the
 * record, so that a reconnected owner knows its own appends again. */

#endif
