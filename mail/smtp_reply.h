/* smtp_reply.h - the replies of an SMTP server (RFC 5321 4.2), line by line.  Pure. */
#ifndef MAIL_SMTP_REPLY_H
#define MAIL_SMTP_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "span.h"

#define SMTP_REPLY_TEXT 400
#define SMTP_REPLY_LINES 128

struct smtp_reply {
	int code;			/* 200 to 599 */
	unsigned lines;
	char text[SMTP_REPLY_TEXT + 1];	/* "550 5.1.1 no such user", its lines joined, cut */
	/* what EHLO said, in any order */
	bool starttls, pipelining, eight_bit, size, auth_plain, auth_login;
	uint64_t size_max;		/* 0: no limit named */
};

void smtp_reply_init(struct smtp_reply *);
/* One line without its CRLF.  PARSE_OK: it was the last one; PARSE_MORE: more follow;
 * PARSE_BAD: no SMTP reply, or too many lines. */
enum parse smtp_reply_line(struct smtp_reply *, struct span line);

#endif
