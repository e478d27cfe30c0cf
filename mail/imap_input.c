/* imap_input.c - from bytes to whole commands.
 *
 * Pure: no socket, no clock.  What it holds is at most line_max bytes of lines plus
 * the literals that the caller took, so the caller's limit is the limit.  A line that
 * is too long is skipped up to its end and reported once (IMAP_IN_BAD); the client's
 * next command is understood again.  A bare LF ends a line as well as CRLF. */
#include <stdlib.h>
#include <string.h>

#include "imap_input.h"
#include "imap_parse.h"
#include "mem.h"

void
imap_input_init(struct imap_input *in, size_t line_max)
{
	*in = (struct imap_input) { .line_max = line_max };
}

void
imap_input_clear(struct imap_input *in)
{
	free(in->buf);
	imap_input_init(in, in->line_max);
}

static void
append(struct imap_input *in, const char *p, size_t n)
{
	if (in->len + n > in->cap) {
		in->cap = (in->len + n) * 2 + 256;
		in->buf = mem_grow(in->buf, in->cap, 1);
	}
	memcpy(in->buf + in->len, p, n);
	in->len += n;
}

/* The line is in buf up to its LF: what follows? */
static enum imap_in
line_end(struct imap_input *in)
{
	struct span line;

	in->len--;
	if (in->len > in->line_start && in->buf[in->len - 1] == '\r')
		in->len--;
	line = (struct span) { in->buf + in->line_start, in->len - in->line_start };
	if (memchr(line.p, '\0', line.len) != NULL) {
		in->refused = true;
		return IMAP_IN_BAD;
	}
	if (imap_literal_mark(line, &in->size, &in->nonsync))
		return IMAP_IN_LITERAL;
	return IMAP_IN_COMMAND;
}

static enum imap_in
feed_line(struct imap_input *in, const char *p, size_t n, size_t *used)
{
	const char *lf = memchr(p, '\n', n);
	size_t take = lf != NULL ? (size_t)(lf - p) + 1 : n;

	*used = take;
	if (in->state == IMAP_SKIP_LINE || in->line_bytes + take > in->line_max) {
		/* what fits is kept, for the tag of the answer */
		append(in, p, in->state == IMAP_LINE ? in->line_max - in->line_bytes : 0);
		in->line_bytes = in->line_max;
		in->state = lf != NULL ? IMAP_LINE : IMAP_SKIP_LINE;
		in->refused = true;
		return lf != NULL ? IMAP_IN_BAD : IMAP_IN_MORE;
	}
	append(in, p, take);
	in->line_bytes += take;
	return lf != NULL ? line_end(in) : IMAP_IN_MORE;
}

static void
feed_literal(struct imap_input *in, const char *p, size_t n, size_t *used)
{
	size_t take = n < in->left ? n : (size_t)in->left;

	if (in->state == IMAP_LITERAL)
		append(in, p, take);
	in->left -= take;
	*used = take;
	if (in->left == 0) {
		in->state = IMAP_LINE;
		in->line_start = in->len;
	}
}

enum imap_in
imap_input_feed(struct imap_input *in, const char *p, size_t n, size_t *used)
{
	enum imap_in rc = IMAP_IN_MORE;
	size_t step;

	*used = 0;
	while (rc == IMAP_IN_MORE && *used < n) {
		if (in->state == IMAP_LITERAL || in->state == IMAP_SKIP)
			feed_literal(in, p + *used, n - *used, &step);
		else
			rc = feed_line(in, p + *used, n - *used, &step);
		*used += step;
	}
	return rc;
}

static void
begin_literal(struct imap_input *in)
{
	if (in->left == 0) {
		in->state = IMAP_LINE;
		in->line_start = in->len;
	}
}

void
imap_input_take(struct imap_input *in)
{
	append(in, "\r\n", 2);
	in->state = IMAP_LITERAL;
	in->left = in->size;
	in->literal_bytes += in->size;
	begin_literal(in);
}

void
imap_input_skip(struct imap_input *in)
{
	in->refused = true;
	in->state = IMAP_SKIP;
	in->left = in->size;
	in->line_bytes = 0;		/* what follows is thrown away line by line */
	begin_literal(in);
}

void
imap_input_own(struct imap_input *in)
{
	append(in, "\r\n", 2);
	in->state = IMAP_LINE;
	in->line_start = in->len;
}

struct span
imap_input_text(const struct imap_input *in)
{
	return (struct span) { in->buf, in->len };
}

void
imap_input_next(struct imap_input *in)
{
	in->len = in->line_bytes = in->line_start = 0;
	in->literal_bytes = in->left = 0;
	in->state = IMAP_LINE;
	in->refused = false;
	if (in->cap > 65536) {		/* one large literal is not kept for ever */
		free(in->buf);
		in->buf = NULL;
		in->cap = 0;
	}
}
