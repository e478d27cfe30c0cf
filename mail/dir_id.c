/* dir_id.c - the start of a SHA-256; see dir_id.h. */
#include <stdlib.h>

#include "dir_id.h"
#include "sha256.h"
#include "wire.h"

static uint64_t
hash64(const struct span *parts, size_t n)
{
	uint8_t sha[SHA256_LEN];

	if (sha256_spans(parts, n, sha) == -1)
		abort();		/* out of memory, as mem.h does */
	return wire_load64(sha);
}

uint64_t
dir_id(const char *address, uint32_t n)
{
	uint8_t be[4];
	struct span parts[] = { SPAN("mailpair user"), { (const char *)be, sizeof(be) },
		span_of(address) };
	uint64_t id;

	wire_store32(be, n);
	id = hash64(parts, 3) & INT64_MAX;	/* SQLite's integers have a sign */
	return id != 0 ? id : 1;
}

uint16_t
dir_id_shard(uint64_t id, unsigned shards)
{
	uint8_t be[8];
	struct span part = { (const char *)be, sizeof(be) };

	wire_store64(be, id);
	return (uint16_t)(hash64(&part, 1) % shards);
}
