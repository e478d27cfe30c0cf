/* merge_box.c - what becomes of the mailboxes and their names when two histories of a
 * shard are made one; see merge.h.
 *
 * Rules: a name that both sides changed is the winner's.  A mailbox that one side deleted
 * stays when the other has something new in it.  Of two mailboxes with one name the
 * loser's gets another name, except that INBOX, and a mailbox for the same special use,
 * is only one: its messages go to the winner's. */
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "merge_int.h"

#define SUFFIX_MAX 80		/* " (recovered STAMP 12345)" */

/* ---- mailboxes by GUID ---------------------------------------------------- */

static int
by_guid(const void *p, const void *q)
{
	const struct merge_box *const *a = p, *const *b = q;

	return memcmp((*a)->guid, (*b)->guid, 16);
}

static const struct merge_box **
boxes_sorted(const struct merge_side *s)
{
	const struct merge_box **v = mem_array(s->nboxes + 1, sizeof(struct merge_box *));

	for (size_t i = 0; i < s->nboxes; i++)
		v[i] = &s->boxes[i];
	qsort(v, s->nboxes, sizeof(struct merge_box *), by_guid);
	for (size_t i = 1; i < s->nboxes; i++)
		if (by_guid(&v[i - 1], &v[i]) == 0) {
			free(v);
			errno = EINVAL;
			return NULL;
		}
	return v;
}

int
merge_fates(struct merge_work *w, const struct merge_side *winner, const struct merge_side *loser)
{
	const struct merge_box **a = boxes_sorted(winner), **b = boxes_sorted(loser);
	size_t i = 0, j = 0;

	if (a == NULL || b == NULL) {
		free(a);
		free(b);
		return -1;
	}
	w->fates = mem_array(winner->nboxes + loser->nboxes + 1, sizeof(*w->fates));
	while (i < winner->nboxes || j < loser->nboxes) {
		struct merge_fate *f = &w->fates[w->nfates++];
		int c = i == winner->nboxes ? 1 : j == loser->nboxes ? -1 : by_guid(&a[i], &b[j]);

		f->user = c <= 0 ? a[i]->user : b[j]->user;
		memcpy(f->guid, c <= 0 ? a[i]->guid : b[j]->guid, 16);
		f->a = c <= 0 ? a[i++] : NULL;
		f->b = c >= 0 ? b[j++] : NULL;
	}
	free(a);
	free(b);
	return 0;
}

static const uint8_t *
known_by(const struct merge_fate *f)
{
	return (f->a != NULL ? f->a : f->b)->guid;
}

struct merge_fate *
merge_fate_find(const struct merge_work *w, const uint8_t guid[16])
{
	size_t lo = 0, hi = w->nfates;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = memcmp(known_by(&w->fates[mid]), guid, 16);

		if (c == 0)
			return &w->fates[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* ---- names that are taken -------------------------------------------------- */

struct taken {
	uint64_t user;
	const char *name;
	struct merge_fate *by;
};

static int
taken_cmp(const void *p, const void *q)
{
	const struct taken *a = p, *b = q;

	return a->user != b->user ? (a->user < b->user ? -1 : 1) : strcmp(a->name, b->name);
}

static struct merge_fate *
owner(void *const *names, uint64_t user, const char *name)
{
	struct taken key = { .user = user, .name = name };
	struct taken *const *found = tfind(&key, names, taken_cmp);

	return found == NULL ? NULL : (*found)->by;
}

static void
take(void **names, struct merge_fate *f, const char *name)
{
	struct taken *t = mem_alloc(sizeof(*t));

	*t = (struct taken){ .user = f->user, .name = name, .by = f };
	if (tsearch(t, names, taken_cmp) == NULL)
		abort();		/* out of memory, as mem.h does */
}

static void
untake(void **names, uint64_t user, const char *name)
{
	struct taken key = { .user = user, .name = name }, **found = (struct taken **)
	    tfind(&key, names, taken_cmp), *t;

	if (found == NULL)
		return;
	t = *found;
	tdelete(&key, names, taken_cmp);
	free(t);
}

/* name, cut to a whole character so that the suffix fits, that neither table has. */
static const char *
other_name(struct merge_work *w, void *const *t1, void *const *t2, uint64_t user,
    const char *name)
{
	size_t len = strlen(name);
	char suffix[SUFFIX_MAX], *text;

	for (unsigned n = 1;; n++) {
		int m = n == 1
		    ? snprintf(suffix, sizeof(suffix), " (recovered %.40s)", w->stamp)
		    : snprintf(suffix, sizeof(suffix), " (recovered %.40s %u)", w->stamp, n);

		if (len + (size_t)m > STORE_NAME_MAX)
			len = STORE_NAME_MAX - (size_t)m;
		while (len > 0 && name[len] != '\0' && ((unsigned char)name[len] & 0xc0) == 0x80)
			len--;
		text = mem_printf("%.*s%s", (int)len, name, suffix);
		if (owner(t1, user, text) == NULL && owner(t2, user, text) == NULL)
			return merge_keep(w->out, text);
		free(text);
	}
}

/* ---- what becomes of each --------------------------------------------------- */

/* The mailbox is as old as the parting, and this side gave it another name. */
static bool
renamed(const struct merge_box *b)
{
	return merge_alive(b) && b->base_name != NULL && strcmp(b->base_name, b->name) != 0;
}

static void
decide(struct merge_work *w, struct merge_fate *f)
{
	struct merge_report *r = &w->out->report;
	struct merge_fate *before;

	if (merge_alive(f->a)) {
		if (f->b == NULL || merge_alive(f->b))
			return;
		f->drop = f->holds == 0 && f->a->base_name != NULL &&
		    strcmp(f->a->name, "INBOX") != 0;
		r->boxes_kept += !f->drop;
		return;
	}
	if (!merge_alive(f->b) || (f->a != NULL && f->news == 0))
		return;
	f->make = true;
	if (f->a == NULL)
		return;
	/* The winner deleted it: what is new comes in one of the same name. */
	r->boxes_kept++;
	merge_derive(f->guid, "", 0, f->guid);
	if ((before = merge_fate_find(w, f->guid)) != NULL && merge_alive(before->a)) {
		f->make = false;	/* a merge before this one made it */
		f->into = before;
	}
}

static int
by_validity(const void *p, const void *q)
{
	const struct merge_box *const *a = p, *const *b = q;

	if ((*a)->user != (*b)->user)
		return (*a)->user < (*b)->user ? -1 : 1;
	return (*a)->uidvalidity < (*b)->uidvalidity ? -1 : (*a)->uidvalidity > (*b)->uidvalidity;
}

/* Both sides gave new mailboxes of one user the same UIDVALIDITY: a client may have seen
 * either under the same name, so neither number may name a message any more. */
static void
validities(struct merge_work *w)
{
	const struct merge_box **a = mem_array(w->nfates + 1, sizeof(struct merge_box *));
	const struct merge_box **b = mem_array(w->nfates + 1, sizeof(struct merge_box *));
	size_t na = 0, nb = 0;

	for (size_t i = 0; i < w->nfates; i++) {
		const struct merge_fate *f = &w->fates[i];

		if (f->a != NULL && f->a->base_name == NULL && f->b == NULL)
			a[na++] = f->a;
		if (f->b != NULL && f->b->base_name == NULL && f->a == NULL)
			b[nb++] = f->b;
	}
	qsort(a, na, sizeof(*a), by_validity);
	qsort(b, nb, sizeof(*b), by_validity);
	for (size_t i = 0; i < w->nfates; i++) {
		struct merge_fate *f = &w->fates[i];

		if (f->make)
			f->keep = f->a == NULL &&
			    bsearch(&f->b, a, na, sizeof(*a), by_validity) == NULL;
		else if (merge_alive(f->a) && f->a->base_name == NULL && f->b == NULL &&
		    bsearch(&f->a, b, nb, sizeof(*b), by_validity) != NULL)
			merge_op_add(w->out, MERGE_BOX_RENUMBER, f);
	}
	free(a);
	free(b);
}

/* A UID that a client of the loser saw must never name another message. */
static void
reserves(struct merge_work *w)
{
	for (size_t i = 0; i < w->nfates; i++) {
		const struct merge_fate *f = &w->fates[i];

		if (merge_alive(f->a) && !f->drop && f->b != NULL &&
		    f->a->uidvalidity == f->b->uidvalidity && f->b->uidnext > f->a->uidnext)
			merge_op_add(w->out, MERGE_BOX_RESERVE, f)->from = f->b;
	}
}

/* ---- names ------------------------------------------------------------------ */

static bool
stays(const struct merge_fate *f)
{
	return merge_alive(f->a) && !f->drop;
}

/* Only the loser gave it another name. */
static bool
moves(const struct merge_fate *f)
{
	return stays(f) && renamed(f->b) && !renamed(f->a) && f->a->base_name != NULL &&
	    strcmp(f->a->name, f->b->name) != 0;
}

static bool
only_one(const struct merge_fate *f, const struct merge_fate *have)
{
	return strcmp(f->b->name, "INBOX") == 0 || (f->b->special[0] != '\0' &&
	    have->a != NULL && strcmp(f->b->special, have->a->special) == 0);
}

static void
name_of_made(struct merge_work *w, void **names, struct merge_fate *f)
{
	struct merge_fate *have = owner(names, f->user, f->b->name);

	if (have != NULL && only_one(f, have)) {
		f->make = false;
		f->into = have;
		return;
	}
	f->name = f->b->name;
	if (have != NULL) {
		f->name = other_name(w, names, names, f->user, f->name);
		w->out->report.names++;
	}
	take(names, f, f->name);
}

static void
name_of_moved(struct merge_work *w, void **names, struct merge_fate *f)
{
	f->name = f->b->name;
	if (owner(names, f->user, f->name) != NULL) {
		w->out->report.names++;
		f->name = f->a->name;
		if (owner(names, f->user, f->name) != NULL)
			f->name = other_name(w, names, names, f->user, f->b->name);
	}
	take(names, f, f->name);
}

/* Whoever keeps his name has it before whoever wants another. */
static void
name_all(struct merge_work *w, void **names)
{
	for (size_t i = 0; i < w->nfates; i++) {
		struct merge_fate *f = &w->fates[i];

		if (!stays(f) || moves(f))
			continue;
		f->name = f->a->name;
		take(names, f, f->name);
		w->out->report.names += renamed(f->b) && renamed(f->a) &&
		    strcmp(f->a->name, f->b->name) != 0;
	}
	for (size_t i = 0; i < w->nfates; i++)
		if (moves(&w->fates[i]))
			name_of_moved(w, names, &w->fates[i]);
	for (size_t i = 0; i < w->nfates; i++)
		if (w->fates[i].make)
			name_of_made(w, names, &w->fates[i]);
}

/* ---- the ops, in an order in which each name is free when it is given --------- */

static void
op_named(struct merge_work *w, enum merge_verb verb, const struct merge_fate *f,
    const char *name)
{
	struct merge_op *op = merge_op_add(w->out, verb, f);

	op->name = name;
	op->from = f->b;
	op->keep = f->keep;
}

/* One name that is free now; false: nothing was left, or only rings. */
static bool
rename_free(struct merge_work *w, void **now, const char **at, bool *left)
{
	bool done = false;

	*left = false;
	for (size_t i = 0; i < w->nfates; i++) {
		struct merge_fate *f = &w->fates[i];

		if (at[i] == NULL || strcmp(at[i], f->name) == 0)
			continue;
		if (owner(now, f->user, f->name) != NULL) {
			*left = true;
			continue;
		}
		op_named(w, MERGE_BOX_RENAME, f, f->name);
		untake(now, f->user, at[i]);
		take(now, f, f->name);
		at[i] = f->name;
		done = true;
	}
	return done;
}

/* Two want each other's name: one of them gets another for a moment. */
static void
open_ring(struct merge_work *w, void *const *names, void **now, const char **at)
{
	for (size_t i = 0; i < w->nfates; i++) {
		struct merge_fate *f = &w->fates[i];
		const char *name;

		if (at[i] == NULL || strcmp(at[i], f->name) == 0)
			continue;
		name = other_name(w, names, now, f->user, f->name);
		op_named(w, MERGE_BOX_RENAME, f, name);
		untake(now, f->user, at[i]);
		take(now, f, name);
		at[i] = name;
		return;
	}
}

static void
op_renames(struct merge_work *w, void *const *names)
{
	const char **at = mem_array(w->nfates + 1, sizeof(*at));
	void *now = NULL;
	bool left;

	for (size_t i = 0; i < w->nfates; i++)
		if (stays(&w->fates[i])) {
			at[i] = w->fates[i].a->name;
			take(&now, &w->fates[i], at[i]);
			w->out->report.boxes_renamed += strcmp(at[i], w->fates[i].name) != 0;
		}
	do {
		while (rename_free(w, &now, at, &left))
			;
		if (left)
			open_ring(w, names, &now, at);
	} while (left);
	tdestroy(now, free);
	free(at);
}

void
merge_boxes(struct merge_work *w)
{
	struct merge_report *r = &w->out->report;
	void *names = NULL;

	for (size_t i = 0; i < w->nfates; i++)
		decide(w, &w->fates[i]);
	for (size_t i = 0; i < w->nfates; i++)
		if (w->fates[i].drop) {
			merge_op_add(w->out, MERGE_BOX_DELETE, &w->fates[i]);
			r->boxes_deleted++;
		}
	name_all(w, &names);
	op_renames(w, &names);
	validities(w);
	reserves(w);
	for (size_t i = 0; i < w->nfates; i++)
		if (w->fates[i].make) {
			op_named(w, MERGE_BOX_CREATE, &w->fates[i], w->fates[i].name);
			r->boxes_created++;
		}
	tdestroy(names, free);
}
