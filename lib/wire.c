/* wire.c - big-endian encoding and decoding.  Encoding cannot fail (memory is fatal);
 * decoding takes bytes of strangers: each length is checked against what is left and
 * against the destination, and the first failure makes all that follows zero. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "wire.h"

uint16_t
wire_load16(const void *src)
{
	const uint8_t *p = src;

	return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t
wire_load32(const void *src)
{
	const uint8_t *p = src;

	return (uint32_t)wire_load16(p) << 16 | wire_load16(p + 2);
}

uint64_t
wire_load64(const void *src)
{
	const uint8_t *p = src;

	return (uint64_t)wire_load32(p) << 32 | wire_load32(p + 4);
}

void
wire_store16(void *dst, uint16_t v)
{
	uint8_t *p = dst;

	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void
wire_store32(void *dst, uint32_t v)
{
	wire_store16(dst, (uint16_t)(v >> 16));
	wire_store16((uint8_t *)dst + 2, (uint16_t)v);
}

void
wire_store64(void *dst, uint64_t v)
{
	wire_store32(dst, (uint32_t)(v >> 32));
	wire_store32((uint8_t *)dst + 4, (uint32_t)v);
}

void
wire_out_init(struct wire_out *o)
{
	*o = (struct wire_out){ NULL, 0, 0 };
}

void
wire_out_clear(struct wire_out *o)
{
	free(o->p);
	wire_out_init(o);
}

/* Room for n more bytes; gives the place and counts them as written. */
static uint8_t *
room(struct wire_out *o, size_t n)
{
	uint8_t *at;

	if (n > o->cap - o->len) {
		size_t cap = o->cap < 64 ? 64 : o->cap * 2;

		while (cap - o->len < n)
			cap *= 2;
		o->p = mem_grow(o->p, cap, 1);
		o->cap = cap;
	}
	at = o->p + o->len;
	o->len += n;
	return at;
}

void
wire_put_u8(struct wire_out *o, uint8_t v)
{
	*room(o, 1) = v;
}

void
wire_put_u16(struct wire_out *o, uint16_t v)
{
	wire_store16(room(o, 2), v);
}

void
wire_put_u32(struct wire_out *o, uint32_t v)
{
	wire_store32(room(o, 4), v);
}

void
wire_put_u64(struct wire_out *o, uint64_t v)
{
	wire_store64(room(o, 8), v);
}

void
wire_put_raw(struct wire_out *o, const void *p, size_t n)
{
	if (n > 0)
		memcpy(room(o, n), p, n);
}

void
wire_put_bytes(struct wire_out *o, const void *p, size_t n)
{
	assert(n <= UINT32_MAX);
	wire_put_u32(o, (uint32_t)n);
	wire_put_raw(o, p, n);
}

void
wire_put_str(struct wire_out *o, const char *s)
{
	size_t n = s == NULL ? 0 : strlen(s);

	assert(n <= UINT16_MAX);	/* callers bound their strings far below */
	wire_put_u16(o, (uint16_t)n);
	wire_put_raw(o, s, n);
}

void
wire_put_span(struct wire_out *o, struct span s)
{
	wire_put_bytes(o, s.p, s.len);
}

struct span
wire_out_span(const struct wire_out *o)
{
	return (struct span){ (const char *)o->p, o->len };
}

void
wire_in_init(struct wire_in *in, const void *p, size_t len)
{
	*in = (struct wire_in){ p, len, false };
}

/* The next n bytes, or NULL from the first failure on. */
static const uint8_t *
take(struct wire_in *in, size_t n)
{
	const uint8_t *at = in->p;

	if (in->bad || n > in->left) {
		in->bad = true;
		return NULL;
	}
	if (n > 0)
		in->p += n;
	in->left -= n;
	return at;
}

uint8_t
wire_get_u8(struct wire_in *in)
{
	const uint8_t *p = take(in, 1);

	return p == NULL ? 0 : *p;
}

uint16_t
wire_get_u16(struct wire_in *in)
{
	const uint8_t *p = take(in, 2);

	return p == NULL ? 0 : wire_load16(p);
}

uint32_t
wire_get_u32(struct wire_in *in)
{
	const uint8_t *p = take(in, 4);

	return p == NULL ? 0 : wire_load32(p);
}

uint64_t
wire_get_u64(struct wire_in *in)
{
	const uint8_t *p = take(in, 8);

	return p == NULL ? 0 : wire_load64(p);
}

void
wire_get_raw(struct wire_in *in, void *dst, size_t n)
{
	const uint8_t *p = take(in, n);

	if (n == 0)
		return;
	if (p == NULL)
		memset(dst, 0, n);
	else
		memcpy(dst, p, n);
}

static struct span
take_span(struct wire_in *in, size_t n)
{
	const uint8_t *p = take(in, n);

	return in->bad ? (struct span){ NULL, 0 } : (struct span){ (const char *)p, n };
}

struct span
wire_get_rest(struct wire_in *in)
{
	return take_span(in, in->left);
}

struct span
wire_get_bytes(struct wire_in *in)
{
	return take_span(in, wire_get_u32(in));
}

struct span
wire_get_span16(struct wire_in *in)
{
	return take_span(in, wire_get_u16(in));
}

void
wire_get_str(struct wire_in *in, char *dst, size_t size)
{
	struct span s = wire_get_span16(in);

	if (s.len > 0 && memchr(s.p, '\0', s.len) != NULL)
		in->bad = true;
	if (in->bad || span_copy(s, dst, size) == -1) {
		in->bad = true;
		if (size > 0)
			dst[0] = '\0';
	}
}

bool
wire_in_ok(const struct wire_in *in)
{
	return !in->bad;
}

bool
wire_in_done(const struct wire_in *in)
{
	return !in->bad && in->left == 0;
}
