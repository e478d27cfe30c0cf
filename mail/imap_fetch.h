/* imap_fetch.h - what a FETCH asks for (RFC 3501 6.4.5), as parsed. */
#ifndef MAIL_IMAP_FETCH_H
#define MAIL_IMAP_FETCH_H

#include "imap_parse.h"

enum imap_item {
	ITEM_FLAGS = 1, ITEM_UID = 2, ITEM_DATE = 4, ITEM_SIZE = 8, ITEM_ENVELOPE = 16,
	ITEM_BODY = 32, ITEM_BODYSTRUCTURE = 64,
};

enum imap_section_kind {
	SECTION_ALL, SECTION_HEADER, SECTION_FIELDS, SECTION_FIELDS_NOT, SECTION_TEXT,
	SECTION_MIME,
};

#define IMAP_SECTION_DEPTH 64

/* One BODY[...]<...>, or RFC822, RFC822.HEADER, RFC822.TEXT. */
struct imap_section {
	struct imap_section *next;
	const char *rfc822;		/* the name to answer with, or NULL: BODY[...] */
	bool peek;
	enum imap_section_kind kind;
	uint32_t part[IMAP_SECTION_DEPTH];
	unsigned parts;
	struct span *fields;
	size_t n_fields;
	bool partial;
	uint64_t from, most;
	struct span text;		/* between the brackets, as the client wrote it */
};

struct imap_fetch {
	unsigned items;			/* ITEM_ bits */
	struct imap_section *sections;	/* in the order asked for */
	bool sets_seen;
};

enum parse imap_get_fetch(struct imap_cur *, struct imap_fetch *);

#endif
