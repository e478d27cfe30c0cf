/* smtp_data.h - the bytes between DATA's 354 and the final dot: taken in pieces of
 * any size, dots unstuffed, and looked at on the way.  Pure: no buffer, no clock. */
#ifndef MAIL_SMTP_DATA_H
#define MAIL_SMTP_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"

struct smtp_data {
	enum smtp_data_at { AT_LINE, AT_DOT, AT_DOT_CR, AT_TEXT, AT_CR } at;
	uint64_t size;			/* bytes of the message, CRLF counted, dots not */
	uint32_t line, line_max;	/* bytes of this line so far */
	bool bare, long_line;		/* a bare CR or LF, a line over line_max, was seen */
	bool body;			/* behind the header */
	uint32_t received;		/* Received fields */
	bool date, message_id;		/* these fields are there */
	char name[16];			/* start of the line, for its field name */
};

void smtp_data_init(struct smtp_data *, uint32_t line_max);
/* Takes bytes of in; *taken says how many (all, unless the end came), out gets
 * at most in.len + 1 bytes, *outlen of them.  PARSE_OK: the final dot was among them;
 * PARSE_MORE otherwise.  It is never PARSE_BAD: what is wrong shows in the flags, and
 * is refused behind the final dot, as RFC 5321 wants. */
enum parse smtp_data_step(struct smtp_data *, struct span in, size_t *taken, char *out,
    size_t *outlen);

#endif
