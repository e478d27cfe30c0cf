/* mirror_memory.h - what a worker remembers of one tree from pass to pass.  Lost with
 * the worker: then the next pass is a full walk. */
#ifndef SYNCER_MIRROR_MEMORY_H
#define SYNCER_MIRROR_MEMORY_H

#include <stdint.h>
#include <sys/types.h>

#include "gen.h"

struct tree_changes;

struct mirror_memory {
	struct tree_changes *changes;
	/* The last pass from here, when it ended well; 0: it did not. */
	uint32_t sent_pass;
	struct gen sent_gen;
	int64_t walked_wall_ms;		/* when the last full walk began; 0: none */
	/* The last pass to here, when it ended well; 0: it did not. */
	uint32_t got_pass;
	struct gen got_gen;
	uint64_t entries;		/* in the tree after it */
	dev_t dev;			/* its root */
	ino_t ino;
};

#endif
