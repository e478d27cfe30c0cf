/* mirror_place.c - see mirror_place.h.
 *
 * Two groups: one that is synced, and one that gathers.  While the thread runs, the
 * first is its own.  A small group is synced file by file and keeps its descriptors for
 * that; a larger one by one syncfs, and is closed.  Roles are looked at again and again
 * while names are given: a node that became active has its tree for itself. */
#define _GNU_SOURCE
#include "mirror_place.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hook.h"
#include "log.h"
#include "mem.h"
#include "mirror_chan.h"
#include "mirror_conf.h"
#include "mirror_result.h"
#include "mirror_target.h"
#include "tree_apply.h"

#define SYNC_EACH 4u			/* a larger group is synced at once by syncfs */
#define GROUP_FILES 16384u
#define GROUP_BYTES (64u << 20)
#define LOOK_EACH 64u
#define WAIT_NS 100000000L

struct waiting {
	struct tree_tmp tmp;
	char *held;
};

struct group {
	struct waiting *w;
	size_t n, cap;
	uint64_t bytes;
};

struct mirror_place {
	struct mirror_target *t;
	struct group next, synced;
	bool running;
	pthread_t thread;
	int error;			/* errno of the sync; 0: it went well */
};

struct mirror_place *
mirror_place_new(struct mirror_target *t)
{
	struct mirror_place *p = mem_alloc(sizeof(*p));

	p->t = t;
	return p;
}

void
mirror_place_add(struct mirror_place *p, struct tree_tmp *tmp, char *held, uint64_t bytes)
{
	struct group *g = &p->next;

	if (g->n == g->cap) {
		g->cap = g->cap == 0 ? 64 : g->cap * 2;
		g->w = mem_grow(g->w, g->cap, sizeof(*g->w));
	}
	g->w[g->n++] = (struct waiting){ *tmp, held };
	g->bytes += bytes;
	*tmp = (struct tree_tmp){ .fd = -1, .dirfd = -1 };
	if (g->n > SYNC_EACH)
		for (size_t i = g->n == SYNC_EACH + 1 ? 0 : g->n - 1; i < g->n; i++)
			tree_tmp_close(&g->w[i].tmp);
}

/* ---- the sync ---------------------------------------------------------- */

static void *
sync_group(void *arg)
{
	struct mirror_place *p = arg;
	struct group *g = &p->synced;

	p->error = 0;
	if (hook_on("mirror-unsynced-file"))
		return NULL;
	if (g->n > SYNC_EACH) {
		if (syncfs(p->t->root) == -1)
			p->error = errno;
		return NULL;
	}
	for (size_t i = 0; i < g->n && p->error == 0; i++)
		if (tree_tmp_sync(&g->w[i].tmp) == -1)
			p->error = errno;
	return NULL;
}

static void
start(struct mirror_place *p)
{
	struct group done = p->synced;

	p->synced = p->next;
	p->next = done;			/* empty; its memory is used again */
	p->running = pthread_create(&p->thread, NULL, sync_group, p) == 0;
	if (!p->running)
		log_fatal("mirror: no thread");
}

/* Until the sync is over, with signs of life meanwhile. */
static int
wait_sync(struct mirror_place *p)
{
	struct timespec until;

	do {
		if (mirror_chan_tick(p->t->c) == -1)
			return -1;
		if (clock_gettime(CLOCK_REALTIME, &until) == -1)
			log_fatal("no clock");
		until.tv_nsec += WAIT_NS;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
	} while (pthread_timedjoin_np(p->thread, NULL, &until) != 0);
	p->running = false;
	return 0;
}

/* ---- names ------------------------------------------------------------- */

static void
count_file(struct mirror_target *t, const struct tree_tmp *tmp)
{
	const char *slash = strrchr(tmp->path, '/');

	if (faccessat(tmp->dirfd, slash != NULL ? slash + 1 : tmp->path, F_OK,
	    AT_SYMLINK_NOFOLLOW) == 0)
		t->r->changed++;
	else
		t->r->created++;
}

static void
name_file(struct mirror_target *t, struct waiting *w)
{
	bool moved = w->tmp.moved;

	if (tree_tmp_reopen(&w->tmp, t->root) == -1) {
		mirror_target_trouble(t, "rename", w->tmp.path);
		tree_tmp_drop(&w->tmp);
	} else {
		char *path = mem_dup(w->tmp.path);

		count_file(t, &w->tmp);
		if (tree_tmp_commit(&w->tmp) == -1)
			mirror_target_trouble(t, "rename", path);
		else if (moved && tree_apply_unlink(t->root, w->held) == 0)
			t->r->moved++;		/* it is not deleted, so not held */
		free(path);
	}
	free(w->held);
	w->held = NULL;
}

static int
name_group(struct mirror_place *p)
{
	struct mirror_target *t = p->t;
	struct group *g = &p->synced;

	if (p->error != 0)
		return mirror_chan_fail(t->c, "%s: cannot sync: %s", t->tree->path,
		    strerror(p->error));
	for (size_t i = 0; i < g->n; i++) {
		if (i % LOOK_EACH == 0 && mirror_chan_look(t->c) == -1)
			return -1;
		name_file(t, &g->w[i]);
	}
	g->n = 0;
	g->bytes = 0;
	return 0;
}

/* ---- what mirror_fetch.c calls ----------------------------------------- */

int
mirror_place_step(struct mirror_place *p)
{
	bool full = p->next.n >= GROUP_FILES || p->next.bytes >= GROUP_BYTES;

	if (p->running) {
		if (full ? wait_sync(p) == -1 : pthread_tryjoin_np(p->thread, NULL) != 0)
			return full ? -1 : 0;
		p->running = false;
		if (name_group(p) == -1)
			return -1;
	}
	if (p->next.n > 0)
		start(p);
	return 0;
}

int
mirror_place_finish(struct mirror_place *p)
{
	while (p->running || p->next.n > 0) {
		if (!p->running)
			start(p);
		if (wait_sync(p) == -1 || name_group(p) == -1)
			return -1;
	}
	return 0;
}

static void
drop_group(struct mirror_place *p, struct group *g)
{
	for (size_t i = 0; i < g->n; i++) {
		(void)tree_tmp_reopen(&g->w[i].tmp, p->t->root);
		tree_tmp_drop(&g->w[i].tmp);
		free(g->w[i].held);
	}
	free(g->w);
}

void
mirror_place_free(struct mirror_place *p)
{
	if (p == NULL)
		return;
	if (p->running)
		(void)pthread_join(p->thread, NULL);
	drop_group(p, &p->synced);
	drop_group(p, &p->next);
	free(p);
}
