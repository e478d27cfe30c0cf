/* tree_changes.c - see tree_changes.h.
 *
 * Watches are set while a walk reads directories (tree_changes_enter), each before its
 * directory is read, so that nothing falls between.  A new directory is not watched
 * until the pass that walks it: until then it is dirty with everything below.  Each full
 * walk begins with a new inotify descriptor, so a watch that was set wrong lives no
 * longer than that. */
#define _GNU_SOURCE
#include "tree_changes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "mirror_conf.h"
#include "tree_dirty.h"
#include "tree_watch.h"

#define READ_BYTES (16u << 10)

struct tree_changes {
	const struct mirror_tree *tree;
	int fd;				/* of inotify; -1: no source */
	const char *off;		/* why there is none; NULL: there is one */
	struct tree_watch *watch;
	struct tree_dirty *coming, *taken;	/* since the pass began; what it looks at */
	dev_t dev;
	ino_t ino;
	int64_t walked_ms;		/* the last full walk began; only if known */
	bool known;			/* a full walk ended well, and all passes since */
	bool full;			/* this pass is one */
};

struct tree_changes *
tree_changes_new(const struct mirror_tree *tree)
{
	struct tree_changes *c = mem_alloc(sizeof(*c));

	c->tree = tree;
	c->fd = -1;
	c->off = "no full walk yet";
	c->coming = tree_dirty_new(TREE_DIRTY_MAX);
	c->taken = tree_dirty_new(TREE_DIRTY_MAX);
	return c;
}

static void
stop(struct tree_changes *c, const char *why)
{
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
	tree_watch_free(c->watch);
	c->watch = NULL;
	tree_dirty_clear(c->coming);
	c->off = why;
	c->known = false;
}

void
tree_changes_free(struct tree_changes *c)
{
	if (c == NULL)
		return;
	stop(c, "");
	tree_dirty_free(c->coming);
	tree_dirty_free(c->taken);
	free(c);
}

int
tree_changes_fd(const struct tree_changes *c)
{
	return c->fd;
}

static void
on_ended(void *arg, int wd)
{
	struct tree_changes *c = arg;

	/* EINVAL: the kernel was faster, the directory is gone. */
	if (inotify_rm_watch(c->fd, wd) == -1 && errno != EINVAL)
		log_warn("mirror %s: cannot end a watch", c->tree->path);
}

static void
take_events(struct tree_changes *c, const char *buf, size_t n)
{
	struct inotify_event e;

	for (const char *p = buf; (size_t)(p - buf) + sizeof(e) <= n; p += sizeof(e) + e.len) {
		memcpy(&e, p, sizeof(e));
		tree_watch_event(c->watch, c->coming, e.wd, e.mask,
		    e.len > 0 ? p + sizeof(e) : NULL, on_ended, c);
	}
}

void
tree_changes_drain(struct tree_changes *c)
{
	char buf[READ_BYTES];
	ssize_t n;

	while (c->fd != -1) {
		n = read(c->fd, buf, sizeof(buf));
		if (n > 0) {
			take_events(c, buf, (size_t)n);
		} else if (n == 0 || errno == EAGAIN) {
			return;
		} else if (errno != EINTR) {
			log_warn("mirror %s: events cannot be read", c->tree->path);
			stop(c, "events cannot be read");
		}
	}
}

static bool
same_root(const struct tree_changes *c, int root_fd)
{
	struct stat st;

	return fstat(root_fd, &st) == 0 && st.st_dev == c->dev && st.st_ino == c->ino;
}

bool
tree_changes_begin(struct tree_changes *c, int root_fd, int64_t now_ms,
    const struct tree_dirty_row **rows, size_t *n)
{
	struct tree_dirty *swap = c->taken;

	tree_changes_drain(c);
	if (!c->known || c->fd == -1 || !same_root(c, root_fd) ||
	    tree_dirty_why(c->coming) != NULL ||
	    now_ms - c->walked_ms >= c->tree->full_walk_interval_ms)
		return false;
	c->taken = c->coming;
	c->coming = swap;
	c->full = false;
	*rows = tree_dirty_rows(c->taken, n);
	return true;
}

void
tree_changes_restart(struct tree_changes *c, int root_fd, int64_t now_ms)
{
	struct stat st;

	if (tree_dirty_why(c->coming) != NULL)
		log_info("mirror %s: all of it is walked: %s", c->tree->path,
		    tree_dirty_why(c->coming));
	stop(c, "switched off");
	c->full = true;
	c->walked_ms = now_ms;
	if (!c->tree->watch)
		return;
	if (fstat(root_fd, &st) == -1 ||
	    (c->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) == -1) {
		log_warn("mirror %s: no inotify", c->tree->path);
		c->off = "inotify cannot be had";
		return;
	}
	c->dev = st.st_dev;
	c->ino = st.st_ino;
	c->watch = tree_watch_new(c->tree->exclude, c->tree->nexclude);
	c->off = NULL;
}

void
tree_changes_enter(struct tree_changes *c, int dirfd, const char *path)
{
	char proc[40];
	int wd;

	if (c->fd == -1)
		return;
	(void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", dirfd);
	wd = inotify_add_watch(c->fd, proc, tree_watch_mask);
	if (wd != -1) {
		tree_watch_put(c->watch, wd, path);
	} else if (errno == ENOSPC) {
		log_warnx("mirror %s: fs.inotify.max_user_watches does not suffice for its"
		    " directories; each pass walks all of it", c->tree->path);
		stop(c, "fs.inotify.max_user_watches does not suffice");
	} else if (errno != ENOENT) {
		log_warn("mirror %s: a directory cannot be watched", c->tree->path);
		stop(c, "a directory cannot be watched");
	}
}

void
tree_changes_again(struct tree_changes *c, const char *path)
{
	if (c->fd != -1)
		tree_dirty_mark(c->coming, path, false);
}

void
tree_changes_end(struct tree_changes *c, bool well)
{
	tree_dirty_clear(c->taken);
	c->known = well && c->fd != -1 && (c->full || c->known);
}

const char *
tree_changes_source(const struct tree_changes *c, const char **why)
{
	*why = c->off != NULL ? c->off : "";
	return c->off == NULL ? "inotify" : "none";
}

size_t
tree_changes_watches(const struct tree_changes *c)
{
	return c->watch == NULL ? 0 : tree_watch_count(c->watch);
}
