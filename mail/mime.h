/* mime.h - the structure of a message as offsets (RFC 2045, 2046).  Never fails:
 * whatever the bytes are, there is a structure that covers them.  The message is
 * borrowed and must stay where it is. */
#ifndef MAIL_MIME_H
#define MAIL_MIME_H

#include <stdint.h>

#include "span.h"

#define MIME_DEPTH_MAX 50	/* deeper multiparts and messages are shown as leaves */
#define MIME_PARTS_MAX 2000	/* boundaries beyond this many parts are text */
#define MIME_PARAMS_MAX 32

enum mime_kind { MIME_LEAF, MIME_MULTIPART, MIME_MESSAGE };

struct mime_part {
	struct span head;	/* with the empty line that ends it */
	struct span body;	/* without the CRLF that belongs to the boundary */
	enum mime_kind kind;
	bool digest_child;	/* without a type it is a message, not text */
	bool cut;		/* a container shown as a leaf: too deep, or no boundary */
	uint16_t depth;
	int parent, child, next;	/* indexes, -1 = none */
};

struct mime {
	struct mime_part *part;		/* part[0] is the message */
	size_t n, cap;
};

void mime_parse(struct mime *, struct span message);
void mime_clear(struct mime *);
/* The n-th child of a part, n from 1; -1 when there is none. */
int mime_child(const struct mime *, int part, uint32_t n);
uint32_t mime_lines(struct span body);	/* line ends in it */

/* Fields of a header, one by one: pos starts at 0.  The value is as it stands, with
 * its folds, without the last line end; text is the whole field with its line ends. */
struct mime_field {
	struct span name, value, text;
};
bool mime_field_next(struct span head, size_t *pos, struct mime_field *);
bool mime_field_find(struct span head, const char *name, struct span *value);
struct span mime_head_of(struct span message);	/* with the empty line */

/* "type/subtype; a=b; c=d", also for Content-Disposition ("word; a=b").  Names and
 * values are unquoted into buf, at most 4 KiB; what does not fit is left out. */
struct mime_param {
	struct span name, value;
};
struct mime_type {
	struct span type, subtype;	/* subtype.p NULL: there was no slash */
	struct mime_param param[MIME_PARAMS_MAX];
	size_t n;
	char buf[4096];
	size_t used;
};
bool mime_type_parse(struct span value, struct mime_type *);	/* false: no word */
bool mime_type_param(const struct mime_type *, const char *name, struct span *);
/* The type that a part has, with the defaults of RFC 2045 5.2 and 2046 5.1.5. */
void mime_part_type(const struct mime_part *, struct mime_type *);

#endif
