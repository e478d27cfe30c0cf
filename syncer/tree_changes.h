/* tree_changes.h - the change source of one tree: between two full walks it knows from
 * inotify what changed, so that a pass costs what changed.
 *
 * Promise: what it does not name is as it was when the last pass that ended well looked
 * at it, except for what no event tells: writes through a mapping, and through a name
 * outside of the tree.  Whenever it cannot be sure (events lost, too many directories to
 * watch, a pass that did not end well, the root is another directory) it says so, and
 * the caller walks all of the tree.  It reads nothing but events. */
#ifndef SYNCER_TREE_CHANGES_H
#define SYNCER_TREE_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mirror_tree;
struct tree_changes;
struct tree_dirty_row;

struct tree_changes *tree_changes_new(const struct mirror_tree *);	/* borrowed */
void tree_changes_free(struct tree_changes *);		/* NULL is fine */
/* Readable when events wait; changes with each full walk.  -1: none. */
int tree_changes_fd(const struct tree_changes *);
void tree_changes_drain(struct tree_changes *);

/* A pass begins.  true: looking at these rows is enough; they stay until the pass is
 * over.  false: tree_changes_restart() and a full walk. */
bool tree_changes_begin(struct tree_changes *, int root_fd, int64_t now_ms,
    const struct tree_dirty_row **, size_t *n);
/* A full walk begins: what is known is forgotten. */
void tree_changes_restart(struct tree_changes *, int root_fd, int64_t now_ms);
/* From the walk, for each directory before it is read; never fails: without a watch
 * the next pass is a full walk. */
void tree_changes_enter(struct tree_changes *, int dirfd, const char *path);
/* This path has to be looked at again, whatever events say. */
void tree_changes_again(struct tree_changes *, const char *path);
/* The pass is over; well: both trees were made equal. */
void tree_changes_end(struct tree_changes *, bool well);

/* For people: "inotify", or "none" and why. */
const char *tree_changes_source(const struct tree_changes *, const char **why);
size_t tree_changes_watches(const struct tree_changes *);

#endif
