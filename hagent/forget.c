/* forget.c - overwrites secrets that a library has copied.
 *
 * free() wipes nothing: the parser of the configuration, its lexer and stdio leave what
 * they read in the heap until somebody needs the room, and a fork hands all of it on.
 * So every private writable mapping is searched.  What was overwritten in part is not
 * found; what is mapped in huge pieces (a sanitizer's shadow) is not looked at. */
#include "forget.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fs.h"

#define MAPS_MAX (1u << 20)
#define PIECE_MAX ((uintptr_t)64 << 20)

/* memcmp() and memset() of a sanitizer would complain of freed memory. */
static bool __attribute__((no_sanitize("address")))
is_copy(const volatile char *p, struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (p[i] != s.p[i])
			return false;
	return p != s.p;
}

static void __attribute__((no_sanitize("address")))
search(volatile char *p, size_t len, struct span s)
{
	for (size_t i = 0; i + s.len <= len; i++) {
		if (p[i] != s.p[0] || !is_copy(p + i, s))
			continue;
		for (size_t k = 0; k < s.len; k++)
			p[i + k] = 0;
	}
}

/* A line of the kernel: "from-to rw-p ..."; false: not one to look at. */
static bool
mapping(const char *line, uintptr_t *from, uintptr_t *to)
{
	char *end;

	*from = strtoul(line, &end, 16);
	if (*end != '-')
		return false;
	*to = strtoul(end + 1, &end, 16);
	return strncmp(end, " rw-p", 5) == 0 && *to > *from && *to - *from <= PIECE_MAX;
}

int
forget(const struct span *secrets, size_t n)
{
	uintptr_t from, to;
	char *maps;
	size_t len;

	if (fs_read("/proc/self/maps", MAPS_MAX, &maps, &len) == -1)
		return -1;
	for (const char *line = maps; line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!mapping(line, &from, &to))
			continue;
		for (size_t k = 0; k < n; k++)
			if (secrets[k].p[0] != '\0')	/* else it was a copy of one before */
				/* cppcheck-suppress intToPointerCast */
				search((volatile char *)from, to - from, secrets[k]);
	}
	free(maps);
	return 0;
}
