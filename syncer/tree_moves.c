/* tree_moves.c - see tree_moves.h.  One array, sorted by what identifies a file while
 * pairs are made, and by the new path while they are asked for. */
#include "tree_moves.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "tree.h"

struct move {
	uint64_t size;
	int64_t mtime_s;
	uint32_t mtime_ns;
	char *old, *new;	/* new: NULL until there is a pair */
};

struct tree_moves {
	struct move *v;
	size_t n, cap, pairs;
	enum { ANY, BY_FILE, BY_PATH } order;
};

struct tree_moves *
tree_moves_new(void)
{
	return mem_alloc(sizeof(struct tree_moves));
}

void
tree_moves_free(struct tree_moves *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->n; i++) {
		free(m->v[i].old);
		free(m->v[i].new);
	}
	free(m->v);
	free(m);
}

static int
by_file(const void *a, const void *b)
{
	const struct move *x = a, *y = b;

	if (x->size != y->size)
		return x->size < y->size ? -1 : 1;
	if (x->mtime_s != y->mtime_s)
		return x->mtime_s < y->mtime_s ? -1 : 1;
	return x->mtime_ns < y->mtime_ns ? -1 : x->mtime_ns > y->mtime_ns;
}

static int
by_path(const void *a, const void *b)
{
	const struct move *x = a, *y = b;

	if (x->new == NULL || y->new == NULL)		/* without a pair: at the end */
		return (x->new == NULL) - (y->new == NULL);
	return strcmp(x->new, y->new);
}

void
tree_moves_gone(struct tree_moves *m, const struct tree_entry *e)
{
	assert(m->order == ANY);
	if (e->type != TREE_FILE || e->size == 0 || m->n == TREE_MOVES_MAX)
		return;
	if (m->n == m->cap) {
		m->cap = m->cap == 0 ? 64 : m->cap * 2;
		m->v = mem_grow(m->v, m->cap, sizeof(*m->v));
	}
	m->v[m->n++] = (struct move){ e->size, e->mtime_s, e->mtime_ns, mem_dup(e->path), NULL };
}

void
tree_moves_come(struct tree_moves *m, const struct tree_entry *e)
{
	struct move key = { .size = e->size, .mtime_s = e->mtime_s, .mtime_ns = e->mtime_ns };
	size_t low = 0, high = m->n;

	assert(m->order != BY_PATH);
	if (e->type != TREE_FILE || m->n == 0)
		return;
	if (m->order == ANY)
		qsort(m->v, m->n, sizeof(*m->v), by_file);
	m->order = BY_FILE;
	while (low < high) {			/* the first that is not smaller */
		size_t mid = low + (high - low) / 2;

		if (by_file(&m->v[mid], &key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	while (low < m->n && by_file(&m->v[low], &key) == 0 && m->v[low].new != NULL)
		low++;
	if (low == m->n || by_file(&m->v[low], &key) != 0)
		return;
	m->v[low].new = mem_dup(e->path);
	m->pairs++;
}

size_t
tree_moves_count(const struct tree_moves *m)
{
	return m == NULL ? 0 : m->pairs;
}

const char *
tree_moves_from(struct tree_moves *m, const char *path)
{
	struct move key = { .new = (char *)(uintptr_t)path }, *found;

	if (tree_moves_count(m) == 0)
		return NULL;
	if (m->order != BY_PATH)
		qsort(m->v, m->n, sizeof(*m->v), by_path);
	m->order = BY_PATH;
	found = bsearch(&key, m->v, m->pairs, sizeof(*m->v), by_path);
	return found != NULL ? found->old : NULL;
}
