/* tree_dirty.c - see tree_dirty.h.  Open addressing by path; sorted only when asked. */
#include "tree_dirty.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "hook.h"
#include "mem.h"
#include "tree.h"

struct tree_dirty {
	struct tree_dirty_row *rows;
	size_t n, cap, max;
	uint32_t *slots;	/* of a row, plus one; 0: free */
	size_t nslots;		/* a power of two; 0 after sorting: made anew */
	const char *why;
};

struct tree_dirty *
tree_dirty_new(size_t max)
{
	struct tree_dirty *d = mem_alloc(sizeof(*d));

	assert(max < UINT32_MAX);
	d->max = max;
	return d;
}

static void
drop_rows(struct tree_dirty *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->rows[i].path);
	free(d->rows);
	free(d->slots);
	d->rows = NULL;
	d->slots = NULL;
	d->n = d->cap = d->nslots = 0;
}

void
tree_dirty_free(struct tree_dirty *d)
{
	if (d == NULL)
		return;
	drop_rows(d);
	free(d);
}

void
tree_dirty_clear(struct tree_dirty *d)
{
	drop_rows(d);
	d->why = NULL;
}

void
tree_dirty_all(struct tree_dirty *d, const char *why)
{
	drop_rows(d);
	if (d->why == NULL)
		d->why = why;
}

const char *
tree_dirty_why(const struct tree_dirty *d)
{
	return d->why;
}

static size_t
slot_of(const struct tree_dirty *d, const char *path, size_t len)
{
	uint64_t h = 0xcbf29ce484222325u;
	size_t i;

	for (size_t k = 0; k < len; k++)
		h = (h ^ (unsigned char)path[k]) * 0x100000001b3u;
	i = (size_t)(h ^ h >> 32) & (d->nslots - 1);
	while (d->slots[i] != 0) {
		const char *have = d->rows[d->slots[i] - 1].path;

		if (strncmp(have, path, len) == 0 && have[len] == '\0')
			break;
		i = (i + 1) & (d->nslots - 1);
	}
	return i;
}

static void
rehash(struct tree_dirty *d)
{
	free(d->slots);
	for (d->nslots = 256; d->nslots < d->n * 3; d->nslots *= 2)
		continue;
	d->slots = mem_array(d->nslots, sizeof(*d->slots));
	for (size_t i = 0; i < d->n; i++)
		d->slots[slot_of(d, d->rows[i].path, strlen(d->rows[i].path))] =
		    (uint32_t)i + 1;
}

static void
mark(struct tree_dirty *d, const char *path, size_t len, bool deep)
{
	size_t i;

	if (d->why != NULL)
		return;
	if (d->nslots == 0 || d->n * 2 >= d->nslots)
		rehash(d);
	i = slot_of(d, path, len);
	if (d->slots[i] != 0) {
		d->rows[d->slots[i] - 1].deep |= deep;
		return;
	}
	if (d->n >= d->max) {
		tree_dirty_all(d, "more changed than is kept apart");
		return;
	}
	if (d->n == d->cap) {
		d->cap = d->cap == 0 ? 64 : d->cap * 2;
		d->rows = mem_grow(d->rows, d->cap, sizeof(*d->rows));
	}
	d->rows[d->n++] = (struct tree_dirty_row){ mem_copy(path, len), deep };
	d->slots[i] = (uint32_t)d->n;
}

void
tree_dirty_mark(struct tree_dirty *d, const char *path, bool deep)
{
	const char *slash = strrchr(path, '/');

	mark(d, path, strlen(path), deep);
	if (path[0] != '\0')
		mark(d, path, slash != NULL ? (size_t)(slash - path) : 0, false);
}

static int
by_path(const void *a, const void *b)
{
	return tree_path_cmp(((const struct tree_dirty_row *)a)->path,
	    ((const struct tree_dirty_row *)b)->path);
}

const struct tree_dirty_row *
tree_dirty_rows(struct tree_dirty *d, size_t *n)
{
	const char *deep = NULL;
	size_t kept = 0;

	if (d->n > 0)
		qsort(d->rows, d->n, sizeof(*d->rows), by_path);
	for (size_t i = 0; i < d->n; i++) {
		if (deep != NULL && tree_path_below(d->rows[i].path, deep)) {
			free(d->rows[i].path);
			continue;
		}
		d->rows[kept++] = d->rows[i];
		if (d->rows[kept - 1].deep)
			deep = d->rows[kept - 1].path;
	}
	d->n = kept;
	free(d->slots);
	d->slots = NULL;
	d->nslots = 0;
	*n = d->n;
	return d->rows;
}

void
tree_dirty_event(struct tree_dirty *d, const char *dir, const char *name, unsigned what)
{
	char path[TREE_PATH_MAX];
	size_t a = strlen(dir), b;

	if (d->why != NULL)
		return;
	if (name == NULL) {
		tree_dirty_mark(d, dir, false);
		return;
	}
	b = strlen(name);
	if (a + 1 + b >= sizeof(path))
		return;			/* a walk counts it as unreadable */
	memcpy(path, dir, a);
	if (a > 0)
		path[a++] = '/';
	memcpy(path + a, name, b + 1);
	/* A directory that comes or goes does so with all that is in it. */
	if (tree_path_ok(path) && !(hook_on("ignore-event") && (what & TREE_EV_NAME) == 0))
		tree_dirty_mark(d, path, (what & TREE_EV_NAME) && (what & TREE_EV_DIR));
}
