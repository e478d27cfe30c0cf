/* keywords.c - set, add and remove on sorted keyword lists.  Words keep the spelling
 * in which they came first; comparing ignores ASCII case. */
#include "keywords.h"

#include <string.h>
#include <strings.h>

static int
word_cmp(struct span a, struct span b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n == 0 ? 0 : strncasecmp(a.p, b.p, n);

	return c != 0 ? c : a.len < b.len ? -1 : a.len > b.len;
}

bool
keywords_has(const char *set, struct span word)
{
	struct span rest = span_of(set), w;

	while (span_cut(&rest, ' ', &w))
		if (w.len > 0 && word_cmp(w, word) == 0)
			return true;
	return false;
}

/* Puts w in its place; out stays sorted. */
static void
insert(char *out, struct span w)
{
	size_t len = strlen(out), at = 0;
	struct span rest = { out, len }, x;

	if (w.len == 0 || keywords_has(out, w) || len + w.len + 1 > STORE_KEYWORDS_MAX)
		return;
	while (span_cut(&rest, ' ', &x) && word_cmp(x, w) < 0)
		at = (size_t)(x.p - out) + x.len + 1;
	if (at > len) {			/* behind the last word */
		if (len > 0)
			out[len++] = ' ';
		memcpy(out + len, w.p, w.len);
		out[len + w.len] = '\0';
		return;
	}
	memmove(out + at + w.len + (len > 0), out + at, len - at + 1);
	memcpy(out + at, w.p, w.len);
	if (len > 0)
		out[at + w.len] = ' ';
	else
		out[w.len] = '\0';
}

void
keywords_apply(unsigned op, const char *have, const char *arg,
    char out[STORE_KEYWORDS_MAX + 1])
{
	struct span rest, w;

	out[0] = '\0';
	rest = span_of(op == STORE_FLAGS_SET ? arg : have);
	while (span_cut(&rest, ' ', &w))
		if (op != STORE_FLAGS_REMOVE || !keywords_has(arg, w))
			insert(out, w);
	if (op != STORE_FLAGS_ADD)
		return;
	rest = span_of(arg);
	while (span_cut(&rest, ' ', &w))
		insert(out, w);
}
