/* span.c - borrowed runs of bytes.  Nothing here allocates but span_dup(), and
 * nothing reads past p + len; an empty span may have a NULL p. */
#include <errno.h>
#include <string.h>

#include "mem.h"
#include "span.h"

static unsigned char
lower(char c)
{
	unsigned char u = (unsigned char)c;

	/* ASCII only: protocols must not depend on the locale. */
	return u >= 'A' && u <= 'Z' ? (unsigned char)(u + 32) : u;
}

static bool
same_nocase(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (lower(a[i]) != lower(b[i]))
			return false;
	return true;
}

struct span
span_of(const char *s)
{
	return (struct span){ s, s == NULL ? 0 : strlen(s) };
}

bool
span_eq(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

bool
span_is(struct span a, const char *s)
{
	return span_eq(a, span_of(s));
}

bool
span_iequal(struct span a, struct span b)
{
	return a.len == b.len && same_nocase(a.p, b.p, a.len);
}

bool
span_is_nocase(struct span a, const char *s)
{
	return span_iequal(a, span_of(s));
}

bool
span_starts_nocase(struct span a, const char *prefix)
{
	size_t n = strlen(prefix);

	return a.len >= n && same_nocase(a.p, prefix, n);
}

static bool
blank(char c)
{
	return c == ' ' || c == '\t';
}

struct span
span_trim(struct span a)
{
	while (a.len > 0 && blank(a.p[0])) {
		a.p++;
		a.len--;
	}
	while (a.len > 0 && blank(a.p[a.len - 1]))
		a.len--;
	return a;
}

enum parse
span_u64(struct span a, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (a.len == 0)
		return PARSE_BAD;
	for (size_t i = 0; i < a.len; i++) {
		if (a.p[i] < '0' || a.p[i] > '9')
			return PARSE_BAD;
		uint64_t digit = (uint64_t)(a.p[i] - '0');

		if (n > (UINT64_MAX - digit) / 10)
			return PARSE_BAD;
		n = n * 10 + digit;
		if (n > max)
			return PARSE_BAD;
	}
	*out = n;
	return PARSE_OK;
}

bool
span_cut(struct span *rest, char sep, struct span *token)
{
	const char *at;

	/* A NULL p marks the end, so that "a," gives "a" and "" and then stops. */
	if (rest->p == NULL)
		return false;
	at = rest->len == 0 ? NULL : memchr(rest->p, sep, rest->len);
	if (at == NULL) {
		*token = *rest;
		*rest = (struct span){ NULL, 0 };
		return true;
	}
	*token = (struct span){ rest->p, (size_t)(at - rest->p) };
	rest->len -= token->len + 1;
	rest->p = at + 1;
	return true;
}

char *
span_dup(struct span a)
{
	return mem_copy(a.p, a.len);
}

int
span_copy(struct span a, char *dst, size_t size)
{
	if (a.len >= size) {
		errno = EMSGSIZE;
		return -1;
	}
	if (a.len > 0)
		memcpy(dst, a.p, a.len);
	dst[a.len] = '\0';
	return 0;
}
