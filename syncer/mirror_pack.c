/* mirror_pack.c - see mirror_pack.h.
 *
 * One zstd stream in each direction, flushed at the end of each pack, so that a pack
 * can be opened when it is there.  A plain pack does not enter the stream.  A window
 * of 1 MiB is asked for and at most 2 MiB are granted: that is all the memory that a
 * peer can make this side use. */
#include "mirror_pack.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "log.h"
#include "mem.h"

#define HEAD 5u			/* of a message in a pack, and of a pack */
#define WINDOW_LOG 20
#define WINDOW_LOG_MAX 21
#define PLAIN_MAX 64u		/* plain packs between two attempts to compress */

enum { PLAIN, ZSTD };

struct mirror_pack {
	ZSTD_CCtx *c;		/* NULL: everything goes plain */
	ZSTD_DCtx *d;		/* made when the first compressed pack arrives */
	uint8_t *raw, *coded;	/* leaving */
	size_t raw_len, coded_cap;
	unsigned plain_left, plain_next;
	uint8_t *in;		/* arrived */
	size_t in_len, in_at;
};

struct mirror_pack *
mirror_pack_new(int level)
{
	struct mirror_pack *p = mem_alloc(sizeof(*p));

	p->raw = mem_alloc(HEAD + MIRROR_PACK_MAX);
	p->in = mem_alloc(MIRROR_PACK_MAX);
	p->plain_next = 1;
	if (level <= 0)
		return p;
	p->coded_cap = HEAD + ZSTD_compressBound(MIRROR_PACK_MAX) + 64;
	p->coded = mem_alloc(p->coded_cap);
	if ((p->c = ZSTD_createCCtx()) == NULL ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(p->c, ZSTD_c_compressionLevel, level)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(p->c, ZSTD_c_windowLog, WINDOW_LOG)))
		log_fatal("no zstd");
	return p;
}

void
mirror_pack_free(struct mirror_pack *p)
{
	if (p == NULL)
		return;
	ZSTD_freeCCtx(p->c);
	ZSTD_freeDCtx(p->d);
	free(p->raw);
	free(p->coded);
	free(p->in);
	free(p);
}

bool
mirror_pack_fits(const struct mirror_pack *p, size_t n)
{
	return n <= MIRROR_PACK_MAX - HEAD && p->raw_len + HEAD + n <= MIRROR_PACK_MAX;
}

bool
mirror_pack_waiting(const struct mirror_pack *p)
{
	return p->raw_len > 0;
}

void
mirror_pack_add(struct mirror_pack *p, uint8_t type, const void *body, size_t n)
{
	uint8_t *to = p->raw + HEAD + p->raw_len;

	assert(mirror_pack_fits(p, n));
	wire_store32(to, (uint32_t)n);
	to[4] = type;
	if (n > 0)
		memcpy(to + HEAD, body, n);
	p->raw_len += HEAD + n;
}

/* What has to be sent of a pack when the stream has it; 0: not compressed at all. */
static size_t
compress(struct mirror_pack *p)
{
	ZSTD_inBuffer in = { p->raw + HEAD, p->raw_len, 0 };
	ZSTD_outBuffer out = { p->coded + HEAD, p->coded_cap - HEAD, 0 };
	size_t left;

	if (p->c == NULL)
		return 0;
	if (p->plain_left > 0) {
		p->plain_left--;
		return 0;
	}
	do {
		left = ZSTD_compressStream2(p->c, &out, &in, ZSTD_e_flush);
		if (ZSTD_isError(left) || (left > 0 && out.pos == out.size))
			log_fatal("zstd: %s", ZSTD_getErrorName(left));
	} while (left > 0 || in.pos < in.size);
	if (out.pos < p->raw_len - p->raw_len / 16) {
		p->plain_next = 1;
	} else {
		p->plain_left = p->plain_next;
		p->plain_next = p->plain_next < PLAIN_MAX ? p->plain_next * 2 : PLAIN_MAX;
	}
	return out.pos;
}

struct span
mirror_pack_take(struct mirror_pack *p)
{
	size_t coded = compress(p), raw = p->raw_len;
	uint8_t *to = coded > 0 ? p->coded : p->raw;

	to[0] = coded > 0 ? ZSTD : PLAIN;
	wire_store32(to + 1, (uint32_t)raw);
	p->raw_len = 0;
	return (struct span){ (const char *)to, HEAD + (coded > 0 ? coded : raw) };
}

/* Exactly `want` bytes must come out, and all of the input must be used. */
static int
decompress(struct mirror_pack *p, struct span body, size_t want)
{
	ZSTD_inBuffer in = { body.p, body.len, 0 };
	ZSTD_outBuffer out = { p->in, want, 0 };

	if (p->d == NULL && ((p->d = ZSTD_createDCtx()) == NULL || ZSTD_isError(
	    ZSTD_DCtx_setParameter(p->d, ZSTD_d_windowLogMax, WINDOW_LOG_MAX))))
		log_fatal("no zstd");
	for (;;) {
		size_t in_before = in.pos, out_before = out.pos;

		if (ZSTD_isError(ZSTD_decompressStream(p->d, &out, &in)))
			return -1;
		if (in.pos == in_before && out.pos == out_before)
			return in.pos == in.size && out.pos == want ? 0 : -1;
	}
}

/* Every message of an opened pack must lie inside it. */
static bool
framed(const struct mirror_pack *p, size_t len)
{
	size_t at = 0;

	while (at < len) {
		if (len - at < HEAD || wire_load32(p->in + at) > len - at - HEAD)
			return false;
		at += HEAD + wire_load32(p->in + at);
	}
	return true;
}

int
mirror_pack_open(struct mirror_pack *p, struct span body)
{
	const uint8_t *head = (const uint8_t *)body.p;
	size_t want;

	p->in_len = p->in_at = 0;
	if (body.len < HEAD || head[0] > ZSTD)
		return -1;
	want = wire_load32(head + 1);
	body.p += HEAD;
	body.len -= HEAD;
	if (want == 0 || want > MIRROR_PACK_MAX || (head[0] == PLAIN && want != body.len))
		return -1;
	if (head[0] == PLAIN)
		memcpy(p->in, body.p, want);
	else if (decompress(p, body, want) == -1)
		return -1;
	if (!framed(p, want))
		return -1;
	p->in_len = want;
	return 0;
}

int
mirror_pack_next(struct mirror_pack *p, uint8_t *type, struct wire_in *body)
{
	const uint8_t *at = p->in + p->in_at;

	if (p->in_at == p->in_len)
		return 0;
	*type = at[4];
	wire_in_init(body, at + HEAD, wire_load32(at));
	p->in_at += HEAD + wire_load32(at);
	return 1;
}
