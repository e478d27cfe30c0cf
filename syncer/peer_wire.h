/* peer_wire.h - frames between the two syncds (PROTOCOL.md): u32 body length, u8
 * type, u8 version, u16 zero; big-endian; then the body, in wire.h terms. */
#ifndef SYNCER_PEER_WIRE_H
#define SYNCER_PEER_WIRE_H

#define PEER_FRAME_HEAD 8

enum peer_frame {
	PEER_HELLO = 1,		/* u16 version, str cluster, u8 node, u8 channel */
	PEER_PING,		/* empty */
	PEER_WANT_BULK,		/* empty: node 0 asks node 1 to connect channel 1 */

	PEER_FACTS = 16,	/* u32 seq, u32 echo of the other's last seq, u8 role, u8 insync, u8 split, u8 seeding, u64 generation that
				 * rules (batches below are refused), u64 oldest lsn, u64 tip lsn,
				 * raw tip hash[16], u64 durable lsn, u64 commit lsn, history */
	PEER_HASH_ASK,		/* u64 lsn */
	PEER_HASH,		/* u64 lsn, u8 enum peer_hash, raw hash[16] */
	PEER_TRUNCATE,		/* u64 gen no, u64 lsn, raw hash[16]: your log goes on behind this */
	PEER_SPLIT,		/* u64 fork lsn, u64 tip lsn, str reason */
	PEER_BATCH,		/* u64 gen no, u64 commit lsn, u64 first lsn, raw prev hash[16],
				 * u32 n, n records, padded as in the log */
	PEER_ACK,		/* u64 gen no, u64 durable lsn, u8 insync */
	PEER_COMMIT,		/* u64 gen no, u64 commit lsn */
	PEER_APPLIED,		/* u64 applied lsn, u64 lsn up to which this node may be trimmed */
	PEER_NEWER,		/* gen: refused, there is a newer one */
	PEER_TROUBLE,		/* u8 DATA_SLOW, DATA_FULL: of the sender's disk; a program that
				 * does not know it skips it */
	PEER_MIRROR = 32,	/* the mirror's own words */
};

enum peer_hash {
	PEER_HASH_TRIMMED,	/* not kept any more, or not there: no hash */
	PEER_HASH_KNOWN,
	PEER_HASH_BAD,		/* it is here and cannot be read: no hash, and no proof */
};

#endif
