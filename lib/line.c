/* line.c - bounded lines out of an evbuffer.  Looks at no more than max + 2 bytes, and
 * copies them once when the line is whole.  A line with a bare CR, a bare LF or a NUL
 * is an attack or a broken client: never repaired, always PARSE_BAD. */
#include <stdlib.h>
#include <string.h>

#include "line.h"
#include "mem.h"

/* Text that may stand in a line: no NUL, and a CR only as its very last byte, where
 * the LF may still come. */
static bool
partial_ok(const char *p, size_t n, size_t max)
{
	const char *cr = memchr(p, '\r', n);

	if (memchr(p, '\0', n) != NULL || (cr != NULL && cr != p + n - 1))
		return false;
	return n <= max || (n == max + 1 && cr != NULL);
}

static enum parse
get(struct evbuffer *in, size_t max, bool bare_lf, struct line *line)
{
	size_t n = evbuffer_get_length(in), len;
	const char *p, *nl;

	*line = (struct line){ NULL, 0 };
	if (n == 0)
		return PARSE_MORE;
	if (n > max + 2)
		n = max + 2;
	p = (const char *)evbuffer_pullup(in, (ev_ssize_t)n);
	nl = memchr(p, '\n', n);
	if (nl == NULL)
		return partial_ok(p, n, max) ? PARSE_MORE : PARSE_BAD;
	len = (size_t)(nl - p);
	if (len > 0 && p[len - 1] == '\r')
		len--;
	else if (!bare_lf)
		return PARSE_BAD;
	if (len > max || memchr(p, '\r', len) != NULL || memchr(p, '\0', len) != NULL)
		return PARSE_BAD;
	line->text = mem_copy(p, len);
	line->len = len;
	evbuffer_drain(in, (size_t)(nl - p) + 1);
	return PARSE_OK;
}

enum parse
line_get(struct evbuffer *in, size_t max, struct line *line)
{
	return get(in, max, false, line);
}

enum parse
line_get_lf(struct evbuffer *in, size_t max, struct line *line)
{
	return get(in, max, true, line);
}

void
line_free(struct line *line)
{
	free(line->text);
	*line = (struct line){ NULL, 0 };
}

bool
line_skip(struct evbuffer *in)
{
	struct evbuffer_ptr at = evbuffer_search(in, "\n", 1, NULL);

	if (at.pos == -1) {
		evbuffer_drain(in, evbuffer_get_length(in));
		return false;
	}
	evbuffer_drain(in, (size_t)at.pos + 1);
	return true;
}
