/* mirror_wire.h - the messages of a mirror pass.  See PROTOCOL.md, "The bulk channel".
 *
 * Between the two syncds (TLS): u32 length of what follows, u8 type, u32 pass, u64
 * generation number, raw generation id[16], body.  Between syncd and its mirror
 * worker the same head and body ride in an ipc frame MW_PEER. */
#ifndef SYNCER_MIRROR_WIRE_H
#define SYNCER_MIRROR_WIRE_H

#include <stdint.h>

#define MIRROR_PROTOCOL 3
#define MIRROR_HEAD (1u + 4 + 8 + 16)
#define MIRROR_BODY_MAX (192u << 10)
#define MIRROR_CHUNK (64u << 10)	/* of file content, in one message */
#define MIRROR_BATCH 1024u	/* files asked for at once */

enum mirror_type {
	/* source -> target */
	MM_BEGIN = 1,	/* u16 protocol, str path, u8 enum mirror_flag, u8 zstd wanted,
			 * u32 pass that this one builds on; 0: a full walk */
	MM_LIST,	/* entries, as tree_entry_put() */
	MM_LIST_END,	/* u64 entries, u64 unreadable */
	MM_FILE,	/* u32 index, entry as it is now, u64 bytes that are not sent
			 * because they arrived before, u8 has holes */
	MM_DATA,	/* bytes of the file, or of the delta */
	MM_FILE_END,	/* u32 index, raw sha[32], u64 size, u64 literal, u64 matched,
			 * u8 enum mirror_seen */
	MM_FILE_FAIL,	/* u32 index, u32 errno of the source */
	MM_BATCH_END,	/* every file asked for was answered */
	MM_HOLE,	/* u64 length: so many zeros that take no room */
	MM_ROWS,	/* what the list that follows is about: u8 deep, str path, ...;
			 * none at all: the whole tree */
	MM_RESTART,	/* forget rows and list, a full walk follows */
	/* target -> source */
	MM_READY = 32,	/* u8 zstd taken, from here on messages are packed; u8 the pass may
			 * build on the one named */
	MM_WANT,	/* u32 index, u8 enum mirror_want, str path; resumed: u64 bytes
			 * that are here, raw sha[32] of them */
	MM_SIG,		/* bytes of the signature of the file wanted last */
	MM_WANT_END,
	MM_RESULT,	/* mirror_result_put() */
	MM_PLAN,	/* dry run: u8 enum tree_op, u8 enum tree_type, str path, ... */
	MM_WALK,	/* instead of a plan: send the list of a full walk */
	/* both */
	MM_ALIVE = 64,	/* a long step goes on: str phase, u64 done, u64 of */
	MM_ABORT,	/* str error */
	MM_PACK,	/* several messages, see mirror_pack.h */
	/* 96 to 127: seeding, see seed_link.h */
	MM_SEED_FIRST = 96, MM_SEED_LAST = 127,
	/* making two histories one, see split.h */
	MM_SPLIT_FIRST = 128, MM_SPLIT_LAST = 143,
};

/* ipc types between syncd and its worker; ipc id = pass */
enum mirror_worker_type {
	MW_STATE = 1,	/* u8 active, u8 standby, u8 connected, gen */
	MW_RUN,		/* str path, u8 enum mirror_flag */
	MW_PEER,	/* both ways: head and body */
	MW_PROGRESS,	/* str phase, u64 done, u64 of, u64 bytes sent */
	MW_DONE,	/* u8 source, str path, mirror_result_put() */
	MW_SOURCE,	/* str path, str change source, str why none, u64 directories
			 * watched, u64 wall ms of the last full walk; before MW_DONE */
	MW_READY,	/* supervisor -> syncd: fd of a new worker's channel */
	MW_PLAN,	/* body of an MM_PLAN */
};

enum mirror_flag {
	MIRROR_ACCEPT_DELETES = 1,	/* the share and the empty source are not asked for */
	MIRROR_DRY_RUN = 2,		/* list what would be done, change nothing */
	MIRROR_FULL_WALK = 4,		/* whatever is known of what changed */
};

enum mirror_want {
	MIRROR_BY_DELTA = 1,		/* a signature follows */
	MIRROR_RESUME = 2,		/* a part arrived in an earlier pass */
};

/* What the source knows about a file that it has read. */
enum mirror_seen {
	MIRROR_WHOLE,		/* unchanged from the first byte to the last */
	MIRROR_GROWING,		/* touched or longer now, but these bytes were stable */
	MIRROR_TORN,		/* written inside: these bytes were never all there at once */
};

#endif
