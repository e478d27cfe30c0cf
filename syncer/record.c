/* record.c - encoding, decoding and verifying of log records (LOG.md).  Pure: takes
 * bytes, gives bytes; a record that decodes has a right CRC, and nothing of it lies
 * outside of the input.  Whether it belongs at its place in the chain is asked with
 * record_follows(). */
#include "record.h"

#include <assert.h>
#include <string.h>

#include "crc32c.h"
#include "hook.h"
#include "log.h"
#include "sha256.h"
#include "wire.h"

enum {		/* places in the header */
	AT_MAGIC = 0, AT_LENGTH = 4, AT_CRC = 8, AT_SHARD = 12, AT_TYPE = 14, AT_VERSION = 15,
	AT_LSN = 16, AT_GEN = 24, AT_ORIGIN = 32, AT_TIME = 40, AT_HASH = 48, AT_SYNCED = 64,
};

size_t
record_size(size_t payload)
{
	return (RECORD_HEADER + payload + RECORD_ALIGN - 1) & ~(size_t)(RECORD_ALIGN - 1);
}

/* SHA-256(previous hash, length, bytes 12 to 48, payload), cut to 16 bytes. */
static void
chain(const uint8_t prev[16], const uint8_t *raw, size_t len, uint8_t out[16])
{
	const char *p = (const char *)raw;
	struct span piece[] = { { (const char *)prev, 16 }, { p + AT_LENGTH, 4 },
		{ p + AT_SHARD, AT_HASH - AT_SHARD }, { p + RECORD_HEADER, len - RECORD_HEADER } };
	uint8_t sum[SHA256_LEN];

	if (sha256_spans(piece, sizeof(piece) / sizeof(piece[0]), sum) == -1)
		log_fatal("SHA-256 failed");
	memcpy(out, sum, 16);
}

static void
seal(uint8_t *raw, size_t len)
{
	wire_store32(raw + AT_CRC, crc32c(0, raw + AT_SHARD, len - AT_SHARD));
}

void
record_encode(struct record *r, const uint8_t prev_hash[16], uint8_t *dst)
{
	size_t len = RECORD_HEADER + r->payload.len;

	assert(r->payload.len <= RECORD_PAYLOAD_MAX);
	wire_store32(dst + AT_MAGIC, RECORD_MAGIC);
	wire_store32(dst + AT_LENGTH, (uint32_t)len);
	wire_store16(dst + AT_SHARD, r->shard);
	dst[AT_TYPE] = r->type;
	dst[AT_VERSION] = RECORD_VERSION;
	wire_store64(dst + AT_LSN, r->lsn);
	wire_store64(dst + AT_GEN, r->gen_no);
	wire_store64(dst + AT_ORIGIN, r->origin);
	wire_store64(dst + AT_TIME, (uint64_t)r->time_ms);
	wire_store64(dst + AT_SYNCED, r->synced);
	if (r->payload.len > 0)
		memcpy(dst + RECORD_HEADER, r->payload.p, r->payload.len);
	memset(dst + len, 0, record_size(r->payload.len) - len);
	chain(prev_hash, dst, len, r->hash);
	memcpy(dst + AT_HASH, r->hash, 16);
	seal(dst, len);
	r->raw = (struct span){ (const char *)dst, len };
}

enum parse
record_decode(struct span in, struct record *r, size_t *used)
{
	const uint8_t *p = (const uint8_t *)in.p;
	size_t len;

	if (in.len < RECORD_HEADER)
		return PARSE_MORE;
	len = wire_load32(p + AT_LENGTH);
	if (wire_load32(p + AT_MAGIC) != RECORD_MAGIC || p[AT_VERSION] != RECORD_VERSION ||
	    len < RECORD_HEADER || len > RECORD_MAX)
		return PARSE_BAD;
	if (in.len < record_size(len - RECORD_HEADER))
		return PARSE_MORE;
	if (wire_load32(p + AT_CRC) != crc32c(0, p + AT_SHARD, len - AT_SHARD) &&
	    !hook_on("keep-torn-record"))
		return PARSE_BAD;
	r->shard = wire_load16(p + AT_SHARD);
	r->type = p[AT_TYPE];
	r->lsn = wire_load64(p + AT_LSN);
	r->gen_no = wire_load64(p + AT_GEN);
	r->origin = wire_load64(p + AT_ORIGIN);
	r->time_ms = (int64_t)wire_load64(p + AT_TIME);
	r->synced = wire_load64(p + AT_SYNCED);
	memcpy(r->hash, p + AT_HASH, 16);
	r->payload = (struct span){ in.p + RECORD_HEADER, len - RECORD_HEADER };
	r->raw = (struct span){ in.p, len };
	*used = record_size(len - RECORD_HEADER);
	return PARSE_OK;
}

bool
record_follows(const struct record *r, const uint8_t prev_hash[16])
{
	uint8_t want[16];

	chain(prev_hash, (const uint8_t *)r->raw.p, r->raw.len, want);
	return memcmp(want, r->hash, 16) == 0;
}

void
record_stamp(uint8_t *raw, uint64_t synced)
{
	wire_store64(raw + AT_SYNCED, synced);
	seal(raw, wire_load32(raw + AT_LENGTH));
}
