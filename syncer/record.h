/* record.h - one record of the log as bytes (LOG.md, "Record").  Pure: encodes,
 * decodes and verifies in memory.  The chain hash covers what both nodes share;
 * the CRC also covers `synced`, which each node stamps for itself. */
#ifndef SYNCER_RECORD_H
#define SYNCER_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"

#define RECORD_MAGIC 0x6d705231u	/* "mpR1" */
#define RECORD_VERSION 1
#define RECORD_HEADER 72
#define RECORD_ALIGN 8
#define RECORD_PAYLOAD_MAX (1u << 20)
#define RECORD_MAX (RECORD_HEADER + RECORD_PAYLOAD_MAX)

#define RECORD_GEN 0		/* type, in shard SHARD_PAIR: OWNER_REC_GENERATION; payload is a generation */

struct record {
	uint64_t lsn, gen_no, origin;
	int64_t time_ms;
	uint64_t synced;	/* what this node knew durable when it wrote the record */
	uint16_t shard;
	uint8_t type;
	uint8_t hash[16];	/* of the chain up to and with this record */
	struct span payload;	/* borrowed */
	struct span raw;	/* decode: the whole record without padding */
};

/* Bytes that a record with this payload takes, padding included. */
size_t record_size(size_t payload);
/* Writes r (lsn ... payload) behind prev_hash into dst[record_size()]; sets r->hash. */
void record_encode(struct record *r, const uint8_t prev_hash[16], uint8_t *dst);
/* One record from the front of the input.  MORE: the input ends inside it.  BAD: not
 * a record (magic, version, length, CRC).  *used includes the padding. */
enum parse record_decode(struct span in, struct record *, size_t *used);
/* Does the record follow a chain that ends in prev_hash? */
bool record_follows(const struct record *, const uint8_t prev_hash[16]);
/* Replaces `synced` of an encoded record and makes its CRC right again. */
void record_stamp(uint8_t *raw, uint64_t synced);

#endif
