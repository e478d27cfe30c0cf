/* imap_input.h - assembles one IMAP command out of the bytes that arrive: the line,
 * and its literals in place.  Decides nothing: at the head of each literal the
 * caller says whether it is taken, skipped, or (APPEND's message) its own. */
#ifndef MAIL_IMAP_INPUT_H
#define MAIL_IMAP_INPUT_H

#include <stdint.h>

#include "span.h"

enum imap_in {
	IMAP_IN_MORE,		/* everything was eaten */
	IMAP_IN_COMMAND,	/* a command is complete: imap_input_text() */
	IMAP_IN_LITERAL,	/* a line ended in {size}: answer with one of the three */
	IMAP_IN_BAD,		/* the line was too long or had a NUL; it is thrown away */
};

struct imap_input {
	char *buf;
	size_t len, cap;
	size_t line_bytes;	/* of buf, without the literals */
	size_t line_max;
	size_t line_start;	/* where the line begins that is coming in */
	uint64_t literal_bytes;	/* of all literals taken so far */
	uint64_t left;		/* of the literal that is coming in */
	enum { IMAP_LINE, IMAP_LITERAL, IMAP_SKIP, IMAP_SKIP_LINE } state;
	bool refused;		/* something was skipped: the command is void */
	uint64_t size;		/* IMAP_IN_LITERAL: as announced */
	bool nonsync;		/* {size+}: its bytes come without being asked for */
};

void imap_input_init(struct imap_input *, size_t line_max);
void imap_input_clear(struct imap_input *);
/* Eats bytes up to the next event; *used is always set. */
enum imap_in imap_input_feed(struct imap_input *, const char *, size_t, size_t *used);
void imap_input_take(struct imap_input *);	/* the literal becomes part of the command */
/* Its bytes are thrown away and the rest of the command with it; at the end comes
 * IMAP_IN_COMMAND with refused set. */
void imap_input_skip(struct imap_input *);
/* The caller reads the literal itself; the line then goes on behind it. */
void imap_input_own(struct imap_input *);
struct span imap_input_text(const struct imap_input *);	/* so far, without its last CRLF */
void imap_input_next(struct imap_input *);	/* forget the command, begin a new one */

#endif
