/* arena.h - memory of one command: allocated piece by piece, freed at once, and
 * limited.  Parsers put into it what they cannot point at in their input. */
#ifndef MAIL_ARENA_H
#define MAIL_ARENA_H

#include <stddef.h>

struct arena_block;
struct arena {
	struct arena_block *blocks;
	size_t used, limit;
};

void arena_init(struct arena *, size_t limit);
void arena_clear(struct arena *);		/* everything is free; may be used again */
void *arena_alloc(struct arena *, size_t);	/* zeroed; NULL past the limit */

#endif
