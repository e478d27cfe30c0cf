/* mime_text.h - the text that a reader sees: encoded words, transfer encodings and
 * charsets undone, case folded, for searching.  Pure; never fails: what cannot be
 * decoded is searched as it stands. */
#ifndef MAIL_MIME_TEXT_H
#define MAIL_MIME_TEXT_H

#include "mime.h"

/* Looks for one needle in a stream of UTF-8; holds at most a block of it. */
struct text_match {
	const char *needle;	/* folded already; borrowed */
	size_t needle_len;
	char *buf;
	size_t len;
	bool found;
};
void text_match_init(struct text_match *, const char *needle);
void text_match_clear(struct text_match *);
void text_match_add(struct text_match *, struct span utf8);
bool text_match_end(struct text_match *);	/* found; ready for another text */

/* Lower case (simple folding, one to one); what is no UTF-8 is taken as Windows-1252.
 * NUL-terminated, freed by the caller. */
char *text_fold(struct span);
/* A header value: unfolded, RFC 2047 words decoded, UTF-8; freed by the caller. */
char *text_header(struct span value);
/* The body of a leaf, decoded, into the match.  Stops when it is found. */
void text_body(const struct mime_part *, struct text_match *);

#endif
