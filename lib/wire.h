/* wire.h - big-endian encoding into a growing buffer, and decoding with every
 * length checked.  A decoder that has failed once stays failed and yields zeros,
 * so a message is decoded straight through and wire_in_ok() asked once. */
#ifndef LIB_WIRE_H
#define LIB_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"

struct wire_out {
	uint8_t *p;
	size_t len, cap;
};

void wire_out_init(struct wire_out *);
void wire_out_clear(struct wire_out *);		/* frees; may be used again */
void wire_put_u8(struct wire_out *, uint8_t);
void wire_put_u16(struct wire_out *, uint16_t);
void wire_put_u32(struct wire_out *, uint32_t);
void wire_put_u64(struct wire_out *, uint64_t);
void wire_put_raw(struct wire_out *, const void *, size_t);	/* no length */
void wire_put_bytes(struct wire_out *, const void *, size_t);	/* u32 length first */
void wire_put_str(struct wire_out *, const char *);		/* u16 length first; NULL = "" */
void wire_put_span(struct wire_out *, struct span);		/* u32 length first */
struct span wire_out_span(const struct wire_out *);

struct wire_in {
	const uint8_t *p;
	size_t left;
	bool bad;
};

void wire_in_init(struct wire_in *, const void *, size_t);
uint8_t wire_get_u8(struct wire_in *);
uint16_t wire_get_u16(struct wire_in *);
uint32_t wire_get_u32(struct wire_in *);
uint64_t wire_get_u64(struct wire_in *);
void wire_get_raw(struct wire_in *, void *dst, size_t);
struct span wire_get_rest(struct wire_in *);
struct span wire_get_bytes(struct wire_in *);	/* borrows from the input */
/* Fails when it does not fit into dst[size] with its NUL, or holds a NUL. */
void wire_get_str(struct wire_in *, char *dst, size_t size);
struct span wire_get_span16(struct wire_in *);	/* what wire_put_str wrote */
bool wire_in_ok(const struct wire_in *);	/* nothing failed so far */
bool wire_in_done(const struct wire_in *);	/* ok, and nothing is left */

/* The same at a fixed place, for headers. */
uint16_t wire_load16(const void *);
uint32_t wire_load32(const void *);
uint64_t wire_load64(const void *);
void wire_store16(void *, uint16_t);
void wire_store32(void *, uint32_t);
void wire_store64(void *, uint64_t);

#endif
