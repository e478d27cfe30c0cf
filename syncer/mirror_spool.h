/* mirror_spool.h - a list of tree entries in a file without a name, written once and
 * read front to back as often as needed: how a pass stays small in memory. */
#ifndef SYNCER_MIRROR_SPOOL_H
#define SYNCER_MIRROR_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "tree.h"

struct mirror_spool;

/* dir: where the file lives; memory when it cannot be made there. */
struct mirror_spool *mirror_spool_new(const char *dir);
void mirror_spool_free(struct mirror_spool *);		/* NULL is fine */
int mirror_spool_put(struct mirror_spool *, uint8_t op, const struct tree_entry *);
void mirror_spool_rewind(struct mirror_spool *);
/* 1 and an entry (the caller clears it), 0 at the end, -1 with errno. */
int mirror_spool_next(struct mirror_spool *, uint8_t *op, struct tree_entry *);
uint64_t mirror_spool_count(const struct mirror_spool *);

#endif
