/* mirror_place.h - verified files on their way to their names.  Part of mirror_target.h.
 *
 * What has gathered is synced together, in a thread, while further batches arrive, and
 * gets its names after that: no name ever points to bytes that a power cut could take
 * back.  What comes meanwhile waits for the next sync, so the slower the disk, the fewer
 * there are; how much may wait is bounded. */
#ifndef SYNCER_MIRROR_PLACE_H
#define SYNCER_MIRROR_PLACE_H

#include <stdint.h>

struct mirror_place;
struct mirror_target;
struct tree_tmp;

struct mirror_place *mirror_place_new(struct mirror_target *);
/* A file of so many bytes, whole, with its metadata.  Takes over *tmp, and held: where it
 * is held under its old name, or NULL. */
void mirror_place_add(struct mirror_place *, struct tree_tmp *tmp, char *held, uint64_t bytes);
/* Names what is synced and begins the next sync; waits only when too much has gathered.
 * -1: the pass is over, c->why. */
int mirror_place_step(struct mirror_place *);
/* The same until nothing is left. */
int mirror_place_finish(struct mirror_place *);
/* What has no name yet is removed; NULL is fine. */
void mirror_place_free(struct mirror_place *);

#endif
