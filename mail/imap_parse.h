/* imap_parse.h - the words of IMAP (RFC 3501 9), over a whole command that has its
 * literals in place.  Nothing here reads, sends, or knows a mailbox.
 *
 * Every function takes what it names off the front of the cursor.  PARSE_MORE: the
 * input ended inside something that could still become valid; as a command that
 * is complete has no more, its caller treats that as PARSE_BAD.  After anything but
 * PARSE_OK the cursor and the out parameters are of no use. */
#ifndef MAIL_IMAP_PARSE_H
#define MAIL_IMAP_PARSE_H

#include <stdint.h>

#include "arena.h"
#include "span.h"

struct imap_cur {
	const char *p, *end;
	struct arena *arena;
};

struct imap_range {		/* as written: 0 is "*", and lo may be above hi */
	uint32_t lo, hi;
};
struct imap_set {
	struct imap_range *r;
	size_t n;
};

struct imap_flags {
	uint32_t bits;		/* FLAG_ */
	const char *keywords;	/* sorted, space-separated, each once; "" = none */
};

void imap_cur_init(struct imap_cur *, struct span, struct arena *);
enum parse imap_get_char(struct imap_cur *, char);
bool imap_at(const struct imap_cur *, char);	/* is this the next byte? */
enum parse imap_get_end(struct imap_cur *);	/* nothing may be left */
enum parse imap_get_tag(struct imap_cur *, struct span *);
enum parse imap_get_atom(struct imap_cur *, struct span *);
enum parse imap_get_string(struct imap_cur *, struct span *);	/* quoted or literal */
enum parse imap_get_astring(struct imap_cur *, struct span *);
enum parse imap_get_nstring(struct imap_cur *, struct span *);	/* NIL: p is NULL */
enum parse imap_get_pattern(struct imap_cur *, struct span *);	/* list-mailbox */
enum parse imap_get_number(struct imap_cur *, uint64_t max, uint64_t *);
enum parse imap_get_set(struct imap_cur *, struct imap_set *);
/* flag-list, or with bare = true also flags without parentheses (STORE) */
enum parse imap_get_flags(struct imap_cur *, bool bare, struct imap_flags *);
/* "24-Dec-2025 10:00:00 +0100", quoted: seconds since 1970 */
enum parse imap_get_datetime(struct imap_cur *, int64_t *);
/* 1-Feb-2025, quoted or not: days since 1970 */
enum parse imap_get_date(struct imap_cur *, int64_t *days);

/* {123} or {123+} at the end of a line; false when there is none. */
bool imap_literal_mark(struct span line, uint64_t *size, bool *nonsync);
/* tag SP "APPEND" SP mailbox SP [flags SP] [date-time SP], up to the literal. */
struct imap_append {
	struct span tag, mailbox;
	struct imap_flags flags;
	bool has_date;
	int64_t date_s;
};
enum parse imap_get_append(struct imap_cur *, struct imap_append *);
int64_t imap_days(int year, int month, int day);	/* since 1970; month 1..12 */
int imap_month(struct span);				/* 1..12, or 0 */

#endif
