/* imap_body.h - ENVELOPE, BODY, BODYSTRUCTURE, and which bytes a section names. */
#ifndef MAIL_IMAP_BODY_H
#define MAIL_IMAP_BODY_H

#include <event2/buffer.h>

#include "imap_fetch.h"
#include "mime.h"

void imap_put_envelope(struct evbuffer *, struct span head);
void imap_put_body(struct evbuffer *, const struct mime *, bool extended);

/* The bytes of a section without its partial; p NULL: there is no such part (NIL).
 * fields: HEADER.FIELDS are collected there, and the span points into it. */
struct span imap_section_bytes(const struct imap_section *, struct span message,
    const struct mime *, struct evbuffer *fields);
bool imap_section_needs_mime(const struct imap_section *);

#endif
