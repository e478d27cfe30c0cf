/* mirror_wire.h - the messages of a mirror pass.  See PROTOCOL.md, "The bulk channel".
 *
 * Between the two syncds (TLS): u32 length of what follows, u8 type, u32 pass, u64
 * generation number, raw generation id[16], body.  Between syncd and its mirror
 * worker the same head and body ride in an ipc frame MW_PEER. */
#ifndef SYNCER_MIRROR_WIRE_H
#define SYNCER_MIRROR_WIRE_H

#include <stdint.h>

#define MIRROR_PROTOCOL 1
#define MIRROR_HEAD (1u + 4 + 8 + 16)
#define MIRROR_BODY_MAX (192u << 10)
#define MIRROR_CHUNK (64u << 10)	/* of file content, in one message */
#define MIRROR_BATCH 256u		/* files asked for at once */

enum mirror_type {
	/* source -> target */
	MM_BEGIN = 1,	/* u16 protocol, str path, u8 deletions accepted */
	MM_LIST,	/* entries, as tree_entry_put() */
	MM_LIST_END,	/* u64 entries, u64 unreadable */
	MM_FILE,	/* u32 index, entry as it is now */
	MM_DATA,	/* bytes of the file, or of the delta */
	MM_FILE_END,	/* u32 index, raw sha[32], u64 size, u64 literal, u64 matched,
			 * u8 changed while it was read */
	MM_FILE_FAIL,	/* u32 index, u32 errno of the source */
	MM_BATCH_END,	/* every file asked for was answered */
	/* target -> source */
	MM_READY = 32,
	MM_WANT,	/* u32 index, u8 by delta, str path */
	MM_SIG,		/* bytes of the signature of the file wanted last */
	MM_WANT_END,
	MM_RESULT,	/* mirror_result_put() */
	/* both */
	MM_ALIVE = 64,	/* a long step goes on: str phase, u64 done, u64 of */
	MM_ABORT,	/* str error */
	/* 96 to 127: seeding, see seed_wire.h */
	MM_SEED_FIRST = 96, MM_SEED_LAST = 127,
};

/* ipc types between syncd and its worker; ipc id = pass */
enum mirror_worker_type {
	MW_STATE = 1,	/* u8 active, u8 standby, u8 connected, gen */
	MW_RUN,		/* str path, u8 deletions accepted */
	MW_PEER,	/* both ways: head and body */
	MW_PROGRESS,	/* str phase, u64 done, u64 of, u64 bytes sent */
	MW_DONE,	/* u8 source, str path, mirror_result_put() */
	MW_READY,	/* supervisor -> syncd: fd of a new worker's channel */
};

#endif
