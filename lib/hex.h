/* hex.h - lower-case hexadecimal, base64 (RFC 4648) and random bytes. */
#ifndef LIB_HEX_H
#define LIB_HEX_H

#include <stddef.h>
#include <stdint.h>

#include "span.h"

/* dst needs 2 * n + 1 bytes; returns dst. */
char *hex_encode(const void *src, size_t n, char *dst);
/* Exactly n bytes from 2 * n digits; -1 and EINVAL otherwise. */
int hex_decode(struct span, void *dst, size_t n);
/* dst needs 4 * ((n + 2) / 3) + 1 bytes; returns the length. */
size_t base64_encode(const void *src, size_t n, char *dst);
/* Strict: padding wanted, no white space; -1 and EINVAL otherwise.  At most
 * src.len / 4 * 3 bytes are written to dst. */
int base64_decode(struct span src, void *dst, size_t *n);
void random_bytes(void *, size_t);	/* getrandom(2); cannot fail after boot */
void sha256(const void *, size_t, uint8_t out[32]);

#endif
