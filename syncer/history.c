/* history.c - where two logs part, decided from their generation lists alone.  Two
 * logs that share a generation (number, id, start LSN, start hash) are equal up to
 * its start, and both go on in it until their own next generation or end; which
 * record is the last equal one is then asked by hash. */
#include "history.h"
#include "hook.h"

#include <string.h>

void
history_add(struct history *h, const struct gen *g)
{
	if (h->n == HISTORY_MAX) {
		memmove(&h->gen[0], &h->gen[1], (HISTORY_MAX - 1) * sizeof(h->gen[0]));
		h->n--;
	}
	h->gen[h->n++] = *g;
}

void
history_cut(struct history *h, uint64_t lsn)
{
	while (h->n > 0 && h->gen[h->n - 1].start_lsn > lsn)
		h->n--;
}

struct gen
history_last(const struct history *h)
{
	struct gen none;

	if (h->n > 0)
		return h->gen[h->n - 1];
	memset(&none, 0, sizeof(none));
	return none;
}

const struct gen *
history_at(const struct history *h, uint64_t lsn)
{
	for (size_t i = h->n; i-- > 0;)
		if (h->gen[i].start_lsn <= lsn)
			return &h->gen[i];
	return NULL;
}

void
history_put(struct wire_out *w, const struct history *h)
{
	wire_put_u16(w, (uint16_t)h->n);
	for (size_t i = 0; i < h->n; i++)
		gen_put(w, &h->gen[i]);
}

void
history_get(struct wire_in *w, struct history *h)
{
	size_t n = wire_get_u16(w);

	memset(h, 0, sizeof(*h));
	if (n > HISTORY_MAX)
		w->bad = true;
	for (size_t i = 0; i < n && wire_in_ok(w); i++)
		gen_get(w, &h->gen[h->n++]);
}

static uint64_t
reach(const struct history_log *l, size_t i)
{
	return i + 1 < l->h->n ? l->h->gen[i + 1].start_lsn - 1 : l->tip;
}

bool
history_common(const struct history_log *a, const struct history_log *b, uint64_t *lo,
    uint64_t *hi)
{
	for (size_t i = a->h->n; i-- > 0;) {
		const struct gen *g = &a->h->gen[i];

		for (size_t k = b->h->n; k-- > 0;) {
			const struct gen *o = &b->h->gen[k];
			uint64_t ra, rb;

			if (!gen_same(g, o) || g->start_lsn != o->start_lsn ||
			    memcmp(g->start_hash, o->start_hash, 16) != 0)
				continue;
			ra = reach(a, i);
			rb = reach(b, k);
			*lo = g->start_lsn > 0 ? g->start_lsn - 1 : 0;
			*hi = ra < rb ? ra : rb;
			return *hi >= *lo;
		}
	}
	/* nothing shared: fine when both still have, or never had, their beginning */
	if (a->oldest > 1 || b->oldest > 1) {
		if (a->tip != 0 && b->tip != 0)
			return false;
	}
	*lo = *hi = 0;
	return true;
}

enum history_tail
history_tail(const struct history *h, uint64_t fork, uint64_t tip, uint64_t committed,
    bool has_data)
{
	const struct gen *first;

	if (tip <= fork)
		return HISTORY_TAIL_NONE;
	if (!has_data || hook_on("cut-acknowledged-tail"))
		return HISTORY_TAIL_UNACKED;	/* a generation without writes is harmless */
	if (committed > fork)
		return HISTORY_TAIL_ACKED;
	first = history_at(h, fork + 1);
	if (first == NULL || gen_kind_alone((enum gen_kind)first->kind))
		return HISTORY_TAIL_ACKED;
	/* an alone generation settles what was undecided before it */
	for (size_t i = 0; i < h->n; i++)
		if (h->gen[i].start_lsn > fork && gen_kind_alone((enum gen_kind)h->gen[i].kind))
			return HISTORY_TAIL_ACKED;
	return HISTORY_TAIL_UNACKED;
}
