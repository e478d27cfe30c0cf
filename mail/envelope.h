/* envelope.h - addresses of a header field (RFC 5322 3.4 and what is seen in the
 * wild), and the text of unstructured fields.  Pure; never fails. */
#ifndef MAIL_ENVELOPE_H
#define MAIL_ENVELOPE_H

#include "span.h"

struct address {		/* valid until the next address_next() */
	const char *name;	/* NULL: none; encoded words stay encoded */
	const char *route;	/* "@a,@b", or NULL */
	const char *mailbox;	/* NULL: the end of a group */
	const char *host;	/* NULL: the start (mailbox is its name) or end of a group */
};

enum { ADDRESS_PHRASE, ADDRESS_COMMENT, ADDRESS_ROUTE, ADDRESS_MAILBOX, ADDRESS_HOST,
	ADDRESS_TEXTS };

struct address_parser {
	struct span in;
	char *buf;		/* ADDRESS_TEXTS texts of cap bytes each */
	size_t cap;
	size_t len[ADDRESS_TEXTS];
	bool in_group;
};

void address_init(struct address_parser *, struct span value);
bool address_next(struct address_parser *, struct address *);	/* false: the end */
void address_clear(struct address_parser *);

/* The value without folds, NULs, and space at both ends; freed by the caller. */
char *header_text(struct span value, size_t *len);

#endif
