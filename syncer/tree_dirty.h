/* tree_dirty.h - what may have changed in a tree since it was last looked at: a set of
 * paths, each for itself or with everything below it, or the whole tree.
 *
 * Pure.  Whoever is in doubt marks more: a path that is marked and did not change costs
 * one look, one that changed and is not marked is missed until the next full walk. */
#ifndef SYNCER_TREE_DIRTY_H
#define SYNCER_TREE_DIRTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_DIRTY_MAX 500000u	/* rows that are kept apart between two passes */

struct tree_dirty_row {
	char *path;		/* "" is the root */
	bool deep;		/* with everything below */
};

struct tree_dirty;

struct tree_dirty *tree_dirty_new(size_t max);	/* more rows: everything is dirty */
void tree_dirty_free(struct tree_dirty *);	/* NULL is fine */
/* The path, and the directory that holds it: a pass that changes an entry sets the time
 * of its directory anew. */
void tree_dirty_mark(struct tree_dirty *, const char *path, bool deep);
/* Nothing is known any more; the first reason (a string that stays) is kept. */
void tree_dirty_all(struct tree_dirty *, const char *why);
const char *tree_dirty_why(const struct tree_dirty *);	/* NULL: the rows say it all */
void tree_dirty_clear(struct tree_dirty *);
/* In the order of a walk; what lies below a deep row is left out.  The rows stay the
 * set's, until the next change. */
const struct tree_dirty_row *tree_dirty_rows(struct tree_dirty *, size_t *n);

/* What one event says about a directory's entry. */
#define TREE_EV_CHANGED 1u	/* content or metadata */
#define TREE_EV_NAME 2u		/* the name appeared or vanished */
#define TREE_EV_DIR 4u		/* the entry is a directory */
/* dir: "" is the root.  name NULL: the directory itself. */
void tree_dirty_event(struct tree_dirty *, const char *dir, const char *name, unsigned what);

#endif
