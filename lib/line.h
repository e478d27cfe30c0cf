/* line.h - lines out of an evbuffer, bounded, and strict about line ends.
 * RFC 5321 2.3.8: CR and LF only ever appear together. */
#ifndef LIB_LINE_H
#define LIB_LINE_H

#include <event2/buffer.h>

#include "span.h"

/* Takes one line that ends in CRLF (without it) off the front of in.
 * PARSE_OK: *line is the text, NUL-terminated behind its end, freed by line_free().
 * PARSE_MORE: no whole line yet, and at most max bytes waiting.
 * PARSE_BAD: longer than max bytes without its end, or a bare CR or LF, or a NUL;
 * *line is empty; what is to be thrown away stays in the buffer: line_skip(). */
struct line {
	char *text;
	size_t len;
};
enum parse line_get(struct evbuffer *in, size_t max, struct line *);
/* The same, but a bare LF ends a line as well (lenient protocols: IMAP and POP3
 * clients by hand). */
enum parse line_get_lf(struct evbuffer *in, size_t max, struct line *);
void line_free(struct line *);
/* Throws away up to and including the next LF; false when there was none yet
 * (everything was thrown away and the caller has to go on skipping). */
bool line_skip(struct evbuffer *in);

#endif
