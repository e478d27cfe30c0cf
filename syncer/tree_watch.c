/* tree_watch.c - see tree_watch.h.  Open addressing by watch number; a renamed directory
 * costs one look at all of them. */
#include "tree_watch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "mem.h"
#include "tree.h"
#include "tree_dirty.h"

const uint32_t tree_watch_mask = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
    IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR |
    IN_EXCL_UNLINK;

#define GONE (-1)		/* a slot that was used: looking goes on behind it */

struct slot {
	int wd;			/* 0: never used, GONE: no more (the kernel's are from 1) */
	char *path;
};

struct tree_watch {
	struct slot *slots;
	size_t size, used, live;	/* used: GONE ones too */
	char *const *exclude;
	size_t nexclude;
};

struct tree_watch *
tree_watch_new(char *const *exclude, size_t nexclude)
{
	struct tree_watch *w = mem_alloc(sizeof(*w));

	w->exclude = exclude;
	w->nexclude = nexclude;
	return w;
}

void
tree_watch_free(struct tree_watch *w)
{
	if (w == NULL)
		return;
	for (size_t i = 0; i < w->size; i++)
		free(w->slots[i].path);
	free(w->slots);
	free(w);
}

size_t
tree_watch_count(const struct tree_watch *w)
{
	return w->live;
}

/* The slot of wd, or the free one where it would go. */
static struct slot *
slot_of(const struct tree_watch *w, int wd)
{
	size_t i = ((uint32_t)wd * 0x9e3779b1u) & (w->size - 1);

	while (w->slots[i].wd != 0 && w->slots[i].wd != wd)
		i = (i + 1) & (w->size - 1);
	return &w->slots[i];
}

static struct slot *
find(const struct tree_watch *w, int wd)
{
	struct slot *s = w->size == 0 ? NULL : slot_of(w, wd);

	return s != NULL && s->wd == wd && wd > 0 ? s : NULL;
}

static void
grow(struct tree_watch *w)
{
	struct slot *old = w->slots;
	size_t n = w->size;

	for (w->size = 256; w->size < w->live * 4; w->size *= 2)
		continue;
	w->slots = mem_array(w->size, sizeof(*w->slots));
	for (size_t i = 0; i < n; i++)
		if (old[i].wd > 0)
			*slot_of(w, old[i].wd) = old[i];
	w->used = w->live;
	free(old);
}

void
tree_watch_put(struct tree_watch *w, int wd, const char *path)
{
	struct slot *s;

	if (w->size == 0 || w->used * 2 >= w->size)
		grow(w);
	s = slot_of(w, wd);
	if (s->wd == wd) {
		free(s->path);
	} else {
		s->wd = wd;
		w->used++;
		w->live++;
	}
	s->path = mem_dup(path);
}

static void
drop(struct tree_watch *w, struct slot *s)
{
	free(s->path);
	s->path = NULL;
	s->wd = GONE;
	w->live--;
}

/* The directory at path, and all below it, are not where they were. */
static void
drop_below(struct tree_watch *w, const char *path, void (*ended)(void *arg, int wd), void *arg)
{
	for (size_t i = 0; i < w->size; i++) {
		struct slot *s = &w->slots[i];

		if (s->wd <= 0 || (strcmp(s->path, path) != 0 && !tree_path_below(s->path, path)))
			continue;
		ended(arg, s->wd);
		drop(w, s);
	}
}

static unsigned
meaning(uint32_t mask)
{
	unsigned what = 0;

	if (mask & (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO))
		what |= TREE_EV_NAME;
	if (mask & (IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB))
		what |= TREE_EV_CHANGED;
	return mask & IN_ISDIR ? what | TREE_EV_DIR : what;
}

/* Of the watched directory itself. */
static void
own_event(struct tree_watch *w, struct tree_dirty *d, struct slot *s, uint32_t mask)
{
	if (mask & IN_UNMOUNT)
		tree_dirty_all(d, "the file system was unmounted");
	else if (s->path[0] == '\0' && (mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)))
		tree_dirty_all(d, "the root of the tree was moved");
	else if (mask & IN_ATTRIB)
		tree_dirty_event(d, s->path, NULL, TREE_EV_CHANGED);
	if (mask & IN_IGNORED)
		drop(w, s);
}

void
tree_watch_event(struct tree_watch *w, struct tree_dirty *d, int wd, uint32_t mask,
    const char *name, void (*ended)(void *arg, int wd), void *arg)
{
	struct slot *s;
	char *path;

	if (mask & IN_Q_OVERFLOW) {
		tree_dirty_all(d, "events were lost");
		return;
	}
	if ((s = find(w, wd)) == NULL)
		return;
	if (name == NULL) {
		own_event(w, d, s, mask);
		return;
	}
	path = s->path[0] == '\0' ? mem_dup(name) : mem_printf("%s/%s", s->path, name);
	if (!tree_excluded(path, w->exclude, w->nexclude))
		tree_dirty_event(d, s->path, name, meaning(mask));
	/* The kernel itself ends the watch of a directory that is deleted. */
	if ((mask & IN_ISDIR) && (mask & IN_MOVED_FROM))
		drop_below(w, path, ended, arg);
	free(path);
}
