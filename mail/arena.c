/* arena.c - the memory of one command.
 *
 * Pieces come from blocks of 4 KiB (larger ones get a block of their own), so a
 * parser may allocate freely and nobody has to free on each way out.  The limit is
 * the only thing that can fail: arena_alloc() then gives NULL and the parser says
 * PARSE_BAD.  It does not grow a piece and does not free a single one. */
#include <stdalign.h>
#include <string.h>
#include <stdlib.h>

#include "arena.h"
#include "mem.h"

struct arena_block {
	struct arena_block *next;
	size_t len, cap;
	alignas(max_align_t) char data[];
};

void
arena_init(struct arena *a, size_t limit)
{
	*a = (struct arena) { .limit = limit };
}

void
arena_clear(struct arena *a)
{
	struct arena_block *b, *next;

	for (b = a->blocks; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
	a->blocks = NULL;
	a->used = 0;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	struct arena_block *b = a->blocks;
	size_t cap;
	void *p;

	if (n > a->limit || a->used > a->limit - n)
		return NULL;
	n = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (b == NULL || b->cap - b->len < n) {
		cap = n > 4096 ? n : 4096;
		b = mem_alloc(sizeof(*b) + cap);
		b->cap = cap;
		b->next = a->blocks;
		a->blocks = b;
	}
	p = b->data + b->len;
	b->len += n;
	a->used += n;
	return p;
}
