/* tree_watch.h - which directory a watch stands for, and what an inotify event makes
 * dirty.  Pure: no descriptor, no kernel; the caller reads events and ends watches.
 *
 * Rules: a directory that is renamed or goes away takes its watches with it, here at
 * once and in the kernel by `ended`; at its new place it is dirty with everything below
 * and is watched again when it is walked.  Events of watches that are not known (any
 * more) are dropped: what they tell lies below a directory that is dirty as a whole. */
#ifndef SYNCER_TREE_WATCH_H
#define SYNCER_TREE_WATCH_H

#include <stddef.h>
#include <stdint.h>

struct tree_dirty;
struct tree_watch;

/* What has to be watched in each directory. */
extern const uint32_t tree_watch_mask;

struct tree_watch *tree_watch_new(char *const *exclude, size_t nexclude);	/* borrowed */
void tree_watch_free(struct tree_watch *);		/* NULL is fine */
/* Watch wd is at path now ("" is the root), wherever it was before. */
void tree_watch_put(struct tree_watch *, int wd, const char *path);
size_t tree_watch_count(const struct tree_watch *);
/* One event, in the order of the kernel.  name NULL: of the directory itself.  ended:
 * this watch is of no use any more. */
void tree_watch_event(struct tree_watch *, struct tree_dirty *, int wd, uint32_t mask,
    const char *name, void (*ended)(void *arg, int wd), void *arg);

#endif
