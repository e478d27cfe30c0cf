/* mutf7.h - mailbox names on the wire: modified UTF-7 (RFC 3501 5.1.3).  Pure. */
#ifndef MAIL_MUTF7_H
#define MAIL_MUTF7_H

#include "span.h"

/* -1 and EINVAL when the text is not valid, EMSGSIZE when it does not fit.  Decoding
 * takes only the one canonical form, so that a name has one spelling. */
int mutf7_decode(struct span, char *utf8, size_t size);
int mutf7_encode(const char *utf8, char *dst, size_t size);
bool utf8_valid(struct span);
/* Takes one character off the front: its code, or -1 (nothing is taken). */
int32_t utf8_next(struct span *);
size_t utf8_put(uint32_t code, char dst[4]);

#endif
