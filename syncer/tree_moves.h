/* tree_moves.h - files that only got another name: pairs what goes with what comes, by
 * size and modification time to the nanosecond.  Pure.
 *
 * A pair is a guess: the caller compares the content before it relies on it.  Each file
 * that goes serves one that comes.  Use: all gone, then all come, then from. */
#ifndef SYNCER_TREE_MOVES_H
#define SYNCER_TREE_MOVES_H

#include <stdbool.h>
#include <stddef.h>

struct tree_entry;
struct tree_moves;

#define TREE_MOVES_MAX 100000u		/* what goes beyond that is not remembered */

struct tree_moves *tree_moves_new(void);
void tree_moves_free(struct tree_moves *);		/* NULL is fine */
void tree_moves_gone(struct tree_moves *, const struct tree_entry *);
void tree_moves_come(struct tree_moves *, const struct tree_entry *);
size_t tree_moves_count(const struct tree_moves *);	/* pairs; NULL: 0 */
/* The old path of what comes, or NULL; valid as long as the moves. */
const char *tree_moves_from(struct tree_moves *, const char *path);

#endif
