/* keywords.h - sets of IMAP keywords as text: sorted (ASCII case ignored), separated
 * by single spaces, at most STORE_KEYWORDS_MAX bytes.  Pure. */
#ifndef MAIL_KEYWORDS_H
#define MAIL_KEYWORDS_H

#include "store.h"

/* op is an enum store_flag_op; NULL is the empty set.  A result that would be longer
 * than allowed leaves out what does not fit. */
void keywords_apply(unsigned op, const char *have, const char *arg,
    char out[STORE_KEYWORDS_MAX + 1]);
bool keywords_has(const char *set, struct span word);

#endif
