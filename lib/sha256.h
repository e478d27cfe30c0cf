/* sha256.h - SHA-256 and HMAC-SHA-256 of a few pieces of memory.  The algorithm is
 * looked up once in a process: OpenSSL 3 spends more on the look-up than on the
 * hashing of a short input. */
#ifndef LIB_SHA256_H
#define LIB_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "span.h"

#define SHA256_LEN 32

/* -1: OpenSSL fails (no memory).  out is written only on success. */
int sha256_spans(const struct span *, size_t n, uint8_t out[SHA256_LEN]);
int sha256_hmac(const uint8_t key[SHA256_LEN], struct span, uint8_t out[SHA256_LEN]);

#endif
