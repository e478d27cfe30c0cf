/* mirror_source.h - one pass on the active: lists its tree, then answers what the
 * target asks for.  It changes nothing in the tree and keeps nothing in memory but
 * the files asked for at once and their signatures. */
#ifndef SYNCER_MIRROR_SOURCE_H
#define SYNCER_MIRROR_SOURCE_H

#include <stdint.h>

struct mirror_chan;
struct mirror_memory;
struct mirror_result;
struct mirror_tree;

/* Runs the whole pass; the channel is in it already.  flags: enum mirror_flag.  What went
 * wrong is in *r; -1 when the pass must be aborted (c->why). */
int mirror_source_run(struct mirror_chan *, const struct mirror_tree *,
    struct mirror_memory *, uint8_t flags, struct mirror_result *);
/* Opens the root of a tree and checks that it is mounted if it has to be; both sides
 * use it.  -1 with the words in *r. */
int mirror_source_open(const struct mirror_tree *, struct mirror_result *);

#endif
