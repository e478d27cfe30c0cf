/* waits.c - a hash table of open questions by id.
 *
 * Promises: each waiter is called at most once, and never after waits_forget().
 * Callbacks may add and forget others.  Nothing here can fail. */
#include <stdlib.h>

#include "mem.h"
#include "waits.h"

#define BUCKETS 1024

struct wait {
	struct wait *next;
	uint32_t id;
	enum child_kind kind;
	unsigned index;
	waits_cb *cb;
	void *arg;
};

struct waits {
	struct wait *buckets[BUCKETS];
	uint32_t last;
	size_t count;
	uint64_t dropped;
};

struct waits *
waits_new(void)
{
	return mem_alloc(sizeof(struct waits));
}

static struct wait **
find(struct waits *w, uint32_t id)
{
	struct wait **p = &w->buckets[id % BUCKETS];

	while (*p != NULL && (*p)->id != id)
		p = &(*p)->next;
	return p;
}

static struct wait
take(struct waits *w, struct wait **at)
{
	struct wait *x = *at, copy = *x;

	*at = x->next;
	free(x);
	w->count--;
	return copy;
}

uint32_t
waits_add(struct waits *w, enum child_kind kind, unsigned index, waits_cb *cb, void *arg)
{
	struct wait *x = mem_alloc(sizeof(*x));

	do
		w->last++;
	while (w->last == 0 || *find(w, w->last) != NULL);
	*x = (struct wait){ w->buckets[w->last % BUCKETS], w->last, kind, index, cb, arg };
	w->buckets[w->last % BUCKETS] = x;
	w->count++;
	return w->last;
}

void
waits_answer(struct waits *w, enum child_kind kind, unsigned index, const struct ipc_msg *m)
{
	struct wait **at = find(w, m->id), x;

	if (*at == NULL || (*at)->kind != kind || (*at)->index != index) {
		w->dropped++;
		return;
	}
	x = take(w, at);
	x.cb(x.arg, m);
}

void
waits_gone(struct waits *w, enum child_kind kind, unsigned index)
{
	uint32_t newest = w->last;	/* callbacks may ask the successor: leave those */

	for (size_t b = 0; b < BUCKETS; b++) {
		struct wait **p = &w->buckets[b];

		while (*p != NULL) {
			struct wait x;

			if ((*p)->kind != kind || (*p)->index != index
			    || (int32_t)((*p)->id - newest) > 0) {
				p = &(*p)->next;
				continue;
			}
			x = take(w, p);
			x.cb(x.arg, NULL);
			p = &w->buckets[b];	/* the callback may have changed the list */
		}
	}
}

void
waits_cancel(struct waits *w, uint32_t id)
{
	struct wait **at = find(w, id);

	if (*at != NULL)
		take(w, at);
}

void
waits_forget(struct waits *w, const void *arg)
{
	for (size_t b = 0; b < BUCKETS; b++)
		for (struct wait **p = &w->buckets[b]; *p != NULL;) {
			if ((*p)->arg == arg)
				take(w, p);
			else
				p = &(*p)->next;
		}
}

void
waits_free(struct waits *w)
{
	if (w == NULL)
		return;
	for (size_t b = 0; b < BUCKETS; b++)
		while (w->buckets[b] != NULL)
			take(w, &w->buckets[b]);
	free(w);
}

size_t
waits_count(const struct waits *w)
{
	return w->count;
}

uint64_t
waits_dropped(const struct waits *w)
{
	return w->dropped;
}
