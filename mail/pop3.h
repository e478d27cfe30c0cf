/* pop3.h - a POP3 session after the login (RFC 1939, 2449, 3206). */
#ifndef MAIL_POP3_H
#define MAIL_POP3_H

#include "object_map.h"
#include "session_int.h"

struct pop3_msg {
	uint32_t uid;
	uint64_t size;
	uint8_t guid[16];
	bool deleted;
};

struct pop3 {
	struct pop3_msg *msg;		/* the maildrop as it was at the login */
	size_t n, cap;
	uint64_t box;
	char *bye;
	bool skipping;			/* the rest of a line that was too long */
	unsigned bad;
	/* RETR and TOP: what is still to be sent */
	bool sending;
	struct object_map object;
	struct span rest;
	bool line_start;
	bool in_head;
	uint64_t body_lines;		/* of the body, still to come */
	struct pop3_msg *mending;	/* it is being got anew, for RETR or TOP; or NULL */
};

/* Message number: digits only, 1..count. */
enum parse pop3_parse_msgno(struct span, size_t count, size_t *msgno);
/* Copies text with its dots doubled at line starts; *at_start goes along. */
void pop3_put_stuffed(struct evbuffer *, struct span, bool *at_start);

#endif
