/* fake_store.h - store.h in memory, for one user of one shard.  Changes are applied
 * and answered a turn of the loop later, in order, as the real one does. */
#ifndef TESTS_FAKE_STORE_H
#define TESTS_FAKE_STORE_H

#include "store.h"

struct store *fake_store_new(struct event_base *);
void fake_store_free(struct store *);
/* The next change fails with this. */
void fake_store_fail(struct store *, enum mail_rc);
/* At once: text is made CRLF lines; flags as bits; the mailbox is made when missing. */
void fake_store_add(struct store *, const char *box, const char *text, size_t len,
    uint32_t flags, const char *keywords, int64_t internal_s);
void fake_store_make(struct store *, const char *box, const char *special);
/* From now on no object can be opened; mendable: until one of them is mended. */
void fake_store_hide_objects(struct store *, bool hidden, bool mendable);

#endif
