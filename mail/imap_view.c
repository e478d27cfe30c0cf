/* imap_view.c - sequence numbers.
 *
 * The array is ordered by UID, so a UID is found by bisection and a sequence number
 * is an index.  A message that goes before it was announced is simply taken out; one
 * that was announced stays, marked, until imap_view_expunge().  Only keywords'
 * names are kept here, not who has them: 8 bytes a message. */
#include <stdlib.h>
#include <string.h>

#include "imap_view.h"
#include "mem.h"

#define KEYWORDS_MAX 300	/* named in FLAGS; others work, but are not listed */

struct imap_view *
imap_view_new(uint64_t box, bool readonly)
{
	struct imap_view *v = mem_alloc(sizeof(*v));

	v->box = box;
	v->readonly = readonly;
	return v;
}

void
imap_view_free(struct imap_view *v)
{
	if (v == NULL)
		return;
	for (size_t i = 0; i < v->n_keywords; i++)
		free(v->keywords[i]);
	free(v->keywords);
	free(v->msg);
	free(v);
}

static void
add_keyword(struct imap_view *v, struct span word)
{
	size_t lo = 0, hi = v->n_keywords;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		size_t len = strlen(v->keywords[mid]);
		int rc = memcmp(v->keywords[mid], word.p, len < word.len ? len : word.len);

		if (rc == 0 && len == word.len)
			return;
		if (rc < 0 || (rc == 0 && len < word.len))
			lo = mid + 1;
		else
			hi = mid;
	}
	if (v->n_keywords == KEYWORDS_MAX)
		return;
	v->keywords = mem_grow(v->keywords, v->n_keywords + 1, sizeof(*v->keywords));
	memmove(v->keywords + lo + 1, v->keywords + lo,
	    (v->n_keywords - lo) * sizeof(*v->keywords));
	v->keywords[lo] = span_dup(word);
	v->n_keywords++;
	v->keywords_new = true;
}

static void
note_keywords(struct imap_view *v, const char *list)
{
	struct span rest = span_of(list), word;

	if (list == NULL)
		return;
	while (span_cut(&rest, ' ', &word))
		if (word.len > 0)
			add_keyword(v, word);
}

void
imap_view_add(struct imap_view *v, const struct store_msg *m)
{
	struct view_msg *new;

	if (v->n > 0 && v->msg[v->n - 1].uid >= m->uid)
		return;			/* UIDs only grow: this one is known */
	if (v->n == v->cap) {
		v->cap = v->cap * 2 + 64;
		v->msg = mem_grow(v->msg, v->cap, sizeof(*v->msg));
	}
	new = &v->msg[v->n++];
	*new = (struct view_msg) { .uid = m->uid, .flags = (uint16_t)m->flags };
	if (m->uid >= v->recent_from)
		new->state |= VIEW_RECENT;
	note_keywords(v, m->keywords);
}

bool
imap_view_find(const struct imap_view *v, uint32_t uid, size_t *index)
{
	size_t lo = 0, hi = v->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (v->msg[mid].uid < uid)
			lo = mid + 1;
		else
			hi = mid;
	}
	*index = lo;			/* the first that is not below */
	return lo < v->n && v->msg[lo].uid == uid;
}

void
imap_view_flags(struct imap_view *v, const struct store_msg *m, bool tell)
{
	struct view_msg *msg;
	size_t i;

	if (!imap_view_find(v, m->uid, &i))
		return;
	msg = &v->msg[i];
	msg->flags = (uint16_t)m->flags;
	note_keywords(v, m->keywords);
	if (tell && i < v->told && !(msg->state & VIEW_DIRTY)) {
		msg->state |= VIEW_DIRTY;
		v->dirty++;
	}
}

static void
forget_dirty(struct imap_view *v, struct view_msg *msg)
{
	if (msg->state & VIEW_DIRTY) {
		msg->state &= (uint16_t)~VIEW_DIRTY;
		v->dirty--;
	}
}

void
imap_view_gone(struct imap_view *v, uint32_t uid)
{
	size_t i;

	if (!imap_view_find(v, uid, &i) || (v->msg[i].state & VIEW_GONE))
		return;
	if (i >= v->told) {
		memmove(v->msg + i, v->msg + i + 1, (v->n - i - 1) * sizeof(*v->msg));
		v->n--;
		return;
	}
	forget_dirty(v, &v->msg[i]);
	v->msg[i].state |= VIEW_GONE;
	v->gone++;
}

void
imap_view_expunge(struct imap_view *v, void (*each)(uint32_t, void *), void *arg)
{
	size_t to = 0;

	if (v->gone == 0)
		return;
	for (size_t i = v->told; i-- > 0;)
		if (v->msg[i].state & VIEW_GONE)
			each((uint32_t)i + 1, arg);
	for (size_t i = 0; i < v->n; i++)
		if (!(v->msg[i].state & VIEW_GONE))
			v->msg[to++] = v->msg[i];
	v->n = to;
	v->told -= v->gone;
	v->gone = 0;
}

size_t
imap_view_recent(const struct imap_view *v)
{
	size_t n = 0;

	for (size_t i = 0; i < v->told; i++)
		n += (v->msg[i].state & VIEW_RECENT) != 0;
	return n;
}

static int
range_cmp(const void *va, const void *vb)
{
	const struct view_range *a = va, *b = vb;

	return (a->first > b->first) - (a->first < b->first);
}

static void
merge(struct view_set *set)
{
	size_t n = 0;

	if (set->n == 0)
		return;
	qsort(set->r, set->n, sizeof(*set->r), range_cmp);
	for (size_t i = 1; i < set->n; i++) {
		if (set->r[i].first > set->r[n].last + 1)
			set->r[++n] = set->r[i];
		else if (set->r[i].last > set->r[n].last)
			set->r[n].last = set->r[i].last;
	}
	set->n = n + 1;
}

/* false: nothing of the range is there */
static bool
uid_range(const struct imap_view *v, uint32_t lo, uint32_t hi, struct view_range *out)
{
	size_t first, behind;

	imap_view_find(v, lo, &first);
	if (hi == UINT32_MAX)
		behind = v->told;
	else
		imap_view_find(v, hi + 1, &behind);
	if (behind > v->told)
		behind = v->told;
	if (first >= behind)
		return false;
	*out = (struct view_range) { first, behind - 1 };
	return true;
}

enum parse
imap_view_resolve(const struct imap_view *v, const struct imap_set *set, bool by_uid,
    struct arena *arena, struct view_set *out)
{
	uint32_t last = 0, lo, hi;
	struct view_set vs = { 0 };

	if (v->told > 0)
		last = by_uid ? v->msg[v->told - 1].uid : (uint32_t)v->told;
	if ((vs.r = arena_alloc(arena, (set->n + 1) * sizeof(*vs.r))) == NULL)
		return PARSE_BAD;
	for (size_t i = 0; i < set->n; i++) {
		bool star = set->r[i].lo == 0 || set->r[i].hi == 0;

		lo = set->r[i].lo == 0 ? last : set->r[i].lo;
		hi = set->r[i].hi == 0 ? last : set->r[i].hi;
		if (v->told == 0) {		/* "1:*" of nothing is nothing */
			if (by_uid || star)
				continue;
			return PARSE_BAD;
		}
		if (lo > hi) {
			uint32_t swap = lo;

			lo = hi;
			hi = swap;
		}
		if (by_uid) {
			vs.n += uid_range(v, lo, hi, &vs.r[vs.n]);
			continue;
		}
		if (hi > last)
			return PARSE_BAD;
		vs.r[vs.n++] = (struct view_range) { lo - 1, hi - 1 };
	}
	merge(&vs);
	*out = vs;
	return PARSE_OK;
}

struct store_uids
imap_view_uids(const struct imap_view *v, const struct view_set *set, struct arena *arena)
{
	struct range { uint32_t lo, hi; } *r;
	struct store_uids uids = { 0 };

	/* between neighbours of the view no UID exists, so a range of indexes is a
	 * range of UIDs */
	if ((r = arena_alloc(arena, (set->n + 1) * sizeof(*r))) == NULL)
		return uids;
	for (size_t i = 0; i < set->n; i++)
		r[i] = (struct range) { v->msg[set->r[i].first].uid,
			v->msg[set->r[i].last].uid };
	uids.r = (const void *)r;
	uids.n = set->n;
	return uids;
}
