/* hex.c - text forms of bytes, random bytes, SHA-256.  The decoders are strict, so
 * that one value has one text: no white space, no missing padding, no stray bits. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <openssl/sha.h>

#include "hex.h"
#include "log.h"

char *
hex_encode(const void *src, size_t n, char *dst)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = src;

	for (size_t i = 0; i < n; i++) {
		dst[2 * i] = digits[p[i] >> 4];
		dst[2 * i + 1] = digits[p[i] & 15];
	}
	dst[2 * n] = '\0';
	return dst;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int
invalid(void)
{
	errno = EINVAL;
	return -1;
}

int
hex_decode(struct span s, void *dst, size_t n)
{
	uint8_t *out = dst;

	if (s.len != 2 * n)
		return invalid();
	for (size_t i = 0; i < s.len; i++)
		if (hex_digit(s.p[i]) == -1)
			return invalid();
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)(hex_digit(s.p[2 * i]) * 16 + hex_digit(s.p[2 * i + 1]));
	return 0;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t
base64_encode(const void *src, size_t n, char *dst)
{
	const uint8_t *p = src;
	size_t o = 0;

	for (size_t i = 0; i < n; i += 3) {
		size_t have = n - i < 3 ? n - i : 3;
		uint32_t v = (uint32_t)p[i] << 16;

		if (have > 1)
			v |= (uint32_t)p[i + 1] << 8;
		if (have > 2)
			v |= p[i + 2];
		dst[o++] = base64_digits[v >> 18];
		dst[o++] = base64_digits[v >> 12 & 63];
		dst[o++] = have > 1 ? base64_digits[v >> 6 & 63] : '=';
		dst[o++] = have > 2 ? base64_digits[v & 63] : '=';
	}
	dst[o] = '\0';
	return o;
}

static int
base64_digit(char c)
{
	const char *at = c == '\0' ? NULL : strchr(base64_digits, c);

	return at == NULL ? -1 : (int)(at - base64_digits);
}

int
base64_decode(struct span s, void *dst, size_t *n)
{
	uint8_t *out = dst;
	size_t o = 0, pad = 0;

	if (s.len % 4 != 0)
		return invalid();
	while (pad < 2 && pad < s.len && s.p[s.len - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < s.len - pad; i++)
		if (base64_digit(s.p[i]) == -1)
			return invalid();
	/* The bits that the padding cuts off must be zero. */
	if (pad > 0 && (base64_digit(s.p[s.len - 1 - pad]) & (pad == 1 ? 3 : 15)) != 0)
		return invalid();
	for (size_t i = 0; i < s.len; i += 4) {
		size_t want = i + 4 == s.len ? 3 - pad : 3;
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++)
			v = v << 6 | (s.p[i + k] == '=' ? 0 : (uint32_t)base64_digit(s.p[i + k]));
		for (size_t k = 0; k < want; k++)
			out[o++] = (uint8_t)(v >> (16 - 8 * k));
	}
	*n = o;
	return 0;
}

void
random_bytes(void *dst, size_t n)
{
	uint8_t *p = dst;

	while (n > 0) {
		ssize_t got = getrandom(p, n, 0);

		if (got == -1 && errno == EINTR)
			continue;
		if (got == -1)
			log_fatal("getrandom: %s", strerror(errno));
		p += got;
		n -= (size_t)got;
	}
}

void
sha256(const void *p, size_t n, uint8_t out[32])
{
	static const uint8_t nothing;

	SHA256(n == 0 ? &nothing : p, n, out);
}
