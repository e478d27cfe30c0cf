/* merge_dir.c - what becomes of domains, users and aliases when two histories of the
 * directory are made one; see merge_dir.h.
 *
 * What the loser has and the winner lacks was either made by the loser, or removed by the
 * winner; which of the two, the loser's own records say.  The other way round likewise.
 * Where the records are not all known, nothing is removed and nobody is let in. */
#include "merge_dir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hook.h"
#include "mem.h"

struct work {
	struct merge_dir *out;
	struct merge_dir_side *w, *l;
	struct merge_dir_user **w_ids, **l_ids;	/* users in the order of their ids */
	bool *w_used, *l_need;			/* of the domains */
	const char *why;			/* nothing may be done */
};

const char *
merge_dir_why_name(enum merge_dir_why why)
{
	static const char *const names[] = { "kept-suspended", "renamed", "two-passwords",
		"two-suspensions", "unsure-suspended", "domain-in-use" };

	return (unsigned)why < sizeof(names) / sizeof(names[0]) ? names[why] : "?";
}

/* ---- looking up ----------------------------------------------------------- */

static int
by_address(const void *a, const void *b)
{
	return strcmp(((const struct merge_dir_user *)a)->address,
	    ((const struct merge_dir_user *)b)->address);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct merge_dir_domain *)a)->name,
	    ((const struct merge_dir_domain *)b)->name);
}

static int
by_pair(const void *a, const void *b)
{
	const struct merge_dir_alias *x = a, *y = b;
	int c = strcmp(x->address, y->address);

	return c != 0 ? c : strcmp(x->target, y->target);
}

static int
by_cut(const void *a, const void *b)
{
	const struct merge_dir_cut *x = a, *y = b;
	int c;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	c = strcmp(x->name, y->name);
	return c != 0 ? c : strcmp(x->target, y->target);
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int
by_id(const void *a, const void *b)
{
	return by_number(&(*(struct merge_dir_user *const *)a)->id,
	    &(*(struct merge_dir_user *const *)b)->id);
}

static void
sort(void *v, size_t n, size_t size, int (*cmp)(const void *, const void *))
{
	if (n > 1)
		qsort(v, n, size, cmp);
}

static void *
find(const void *key, const void *v, size_t n, size_t size, int (*cmp)(const void *, const void *))
{
	return n > 0 ? bsearch(key, v, n, size, cmp) : NULL;
}

static struct merge_dir_user *
user_at(const struct merge_dir_side *s, const char *address)
{
	struct merge_dir_user key = { .address = address };

	return find(&key, s->users, s->nusers, sizeof(key), by_address);
}

static struct merge_dir_user *
user_of(struct merge_dir_user *const *ids, size_t n, uint64_t id)
{
	struct merge_dir_user key = { .id = id }, *p = &key, **found;

	found = find(&p, ids, n, sizeof(p), by_id);
	return found != NULL ? *found : NULL;
}

static struct merge_dir_domain *
domain_named(const struct merge_dir_side *s, const char *name)
{
	struct merge_dir_domain key = { .name = name };

	return find(&key, s->domains, s->ndomains, sizeof(key), by_name);
}

static bool
has_alias(const struct merge_dir_side *s, const struct merge_dir_alias *a)
{
	return find(a, s->aliases, s->naliases, sizeof(*a), by_pair) != NULL;
}

static bool
has_number(const uint64_t *v, size_t n, uint64_t id)
{
	return find(&id, v, n, sizeof(id), by_number) != NULL;
}

static bool
was_cut(const struct merge_dir_side *s, enum merge_dir_kind kind, const char *name,
    const char *target)
{
	struct merge_dir_cut key = { kind, name, target };

	return find(&key, s->cuts, s->ncuts, sizeof(key), by_cut) != NULL;
}

static const char *
domain_of(const char *address)
{
	const char *at = strrchr(address, '@');

	return at != NULL ? at + 1 : "";
}

/* ---- the result ----------------------------------------------------------- */

static struct merge_dir_op *
op_add(struct work *k, enum dir_record type, const char *name)
{
	struct merge_dir *m = k->out;

	if ((m->nops & (m->nops - 1)) == 0)	/* grows at each power of two */
		m->ops = mem_grow(m->ops, m->nops == 0 ? 1 : m->nops * 2, sizeof(*m->ops));
	m->ops[m->nops] = (struct merge_dir_op){ .type = type, .name = name, .seq = m->nops };
	return &m->ops[m->nops++];
}

static void
note(struct work *k, enum merge_dir_why why, const char *name, const char *other)
{
	struct merge_dir *m = k->out;

	if ((m->nnotes & (m->nnotes - 1)) == 0)
		m->notes = mem_grow(m->notes, m->nnotes == 0 ? 1 : m->nnotes * 2,
		    sizeof(*m->notes));
	m->notes[m->nnotes++] = (struct merge_dir_note){ why, name, other };
	m->report.conflicts += why == MERGE_DIR_PASSWORD || why == MERGE_DIR_SUSPENSION;
}

static const char *
keep(struct work *k, char *text)
{
	struct merge_dir *m = k->out;

	m->texts = mem_grow(m->texts, m->ntexts + 1, sizeof(*m->texts));
	return m->texts[m->ntexts++] = text;
}

void
merge_dir_clear(struct merge_dir *m)
{
	for (size_t i = 0; i < m->ntexts; i++)
		free(m->texts[i]);
	free(m->texts);
	free(m->ops);
	free(m->notes);
	memset(m, 0, sizeof(*m));
}

/* What is there before what needs it. */
static unsigned
turn(enum dir_record type)
{
	switch (type) {
	case DIR_DOMAIN_ADD: return 0;
	case DIR_USER_ADD: return 1;
	case DIR_USER_SUSPEND: return 2;
	case DIR_USER_PASSWORD: return 3;
	case DIR_ALIAS_ADD: return 4;
	case DIR_ALIAS_DELETE: return 5;
	case DIR_DOMAIN_DELETE: return 6;
	default: return 7;
	}
}

static int
by_turn(const void *a, const void *b)
{
	const struct merge_dir_op *x = a, *y = b;

	if (turn(x->type) != turn(y->type))
		return turn(x->type) < turn(y->type) ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

void
merge_dir_record(const struct merge_dir_op *op, struct wire_out *w)
{
	if (op->type == DIR_ID_GONE) {
		wire_put_u64(w, op->id);
		return;
	}
	if (op->user != NULL) {
		wire_put_u64(w, op->user->id);
		wire_put_u16(w, op->user->shard);
	}
	wire_put_str(w, op->name);
	if (op->type == DIR_USER_SUSPEND)
		wire_put_u8(w, op->on);
	if (op->type == DIR_ALIAS_ADD || op->type == DIR_ALIAS_DELETE)
		wire_put_u16(w, 1);
	if (op->text != NULL)
		wire_put_str(w, op->text);
}

/* ---- users ---------------------------------------------------------------- */

static void
need_domain(struct work *k, const char *name)
{
	struct merge_dir_domain *d;

	if (domain_named(k->w, name) != NULL)
		return;
	if ((d = domain_named(k->l, name)) == NULL)
		k->why = "the loser has an address in a domain that it does not have";
	else
		k->l_need[d - k->l->domains] = true;
}

static void
suspend(struct work *k, const char *address, bool on)
{
	op_add(k, DIR_USER_SUSPEND, address)->on = on;
}

/* A user of the loser whose id the winner does not have. */
static void
bring(struct work *k, const struct merge_dir_user *u)
{
	bool taken = user_at(k->w, u->address) != NULL, was = k->l->whole && !u->made;
	const char *name = u->address;
	struct merge_dir_op *op;

	if (taken)
		name = keep(k, mem_printf("recovered-%016llx@%s", (unsigned long long)u->id,
		    domain_of(u->address)));
	if (user_at(k->w, name) != NULL || (taken && user_at(k->l, name) != NULL)) {
		k->why = "an address for a user that has to give way is taken";
		return;
	}
	need_domain(k, domain_of(name));
	op = op_add(k, DIR_USER_ADD, name);
	op->user = u;
	op->text = u->hash;
	if (taken || was || !k->l->whole || u->suspended)
		suspend(k, name, true);
	if (taken) {
		k->out->report.users_apart++;
		note(k, MERGE_DIR_APART, u->address, name);
	} else if (was || !k->l->whole) {
		k->out->report.users_kept++;
		note(k, was ? MERGE_DIR_KEPT : MERGE_DIR_UNSURE, name, "");
	} else
		k->out->report.users_added++;
}

/* One user, at both nodes. */
static void
reconcile(struct work *k, const struct merge_dir_user *u, const struct merge_dir_user *at)
{
	bool w_all = at->made || !k->w->whole, l_all = u->made || !k->l->whole;

	if (strcmp(at->hash, u->hash) != 0 && (u->password || l_all)) {
		if (at->password || w_all)
			note(k, MERGE_DIR_PASSWORD, at->address, "");
		else {
			op_add(k, DIR_USER_PASSWORD, at->address)->text = u->hash;
			k->out->report.passwords++;
		}
	}
	if (at->suspended != u->suspended && (u->suspend || l_all)) {
		if (at->suspend || w_all)
			note(k, MERGE_DIR_SUSPENSION, at->address, "");
		else {
			suspend(k, at->address, u->suspended);
			k->out->report.suspensions++;
		}
	}
}

static void
users(struct work *k)
{
	const struct merge_dir_user *at;

	for (size_t i = 0; i < k->l->nusers && k->why == NULL; i++) {
		const struct merge_dir_user *u = &k->l->users[i];

		if ((at = user_of(k->w_ids, k->w->nusers, u->id)) == NULL) {
			if (!hook_on("dir-merge-drops"))
				bring(k, u);
		} else if (strcmp(at->address, u->address) == 0)
			reconcile(k, u, at);
		else if (strncmp(at->address, "recovered-", 10) != 0 &&
		    strncmp(u->address, "recovered-", 10) != 0)
			k->why = "one user id belongs to two addresses";
	}
	/* Deleted by the loser: the winner may have taken mail for it since. */
	for (size_t i = 0; i < k->w->nusers; i++) {
		at = &k->w->users[i];
		if (k->w->whole && !at->made && !at->suspend && !at->suspended &&
		    was_cut(k->l, MERGE_DIR_USER, at->address, "") &&
		    user_at(k->l, at->address) == NULL &&
		    user_of(k->l_ids, k->l->nusers, at->id) == NULL) {
			suspend(k, at->address, true);
			k->out->report.users_kept++;
			note(k, MERGE_DIR_KEPT, at->address, "");
		}
	}
}

/* ---- aliases and domains -------------------------------------------------- */

static void
use_domain(struct work *k, const char *name)
{
	const struct merge_dir_domain *d = domain_named(k->w, name);

	if (d != NULL)
		k->w_used[d - k->w->domains] = true;
}

static void
aliases(struct work *k)
{
	for (size_t i = 0; i < k->l->naliases; i++) {
		const struct merge_dir_alias *a = &k->l->aliases[i];

		if (has_alias(k->w, a) || (k->l->whole && !a->made))
			continue;	/* the winner has it, or took it away */
		need_domain(k, domain_of(a->address));
		op_add(k, DIR_ALIAS_ADD, a->address)->text = a->target;
		k->out->report.aliases_added++;
	}
	for (size_t i = 0; i < k->w->naliases; i++) {
		const struct merge_dir_alias *a = &k->w->aliases[i];

		if (k->w->whole && !a->made && !has_alias(k->l, a) &&
		    (was_cut(k->l, MERGE_DIR_ALIAS, a->address, a->target) ||
		    was_cut(k->l, MERGE_DIR_ALIAS, a->address, ""))) {
			op_add(k, DIR_ALIAS_DELETE, a->address)->text = a->target;
			k->out->report.aliases_deleted++;
		} else
			use_domain(k, domain_of(a->address));
	}
}

static void
domains(struct work *k)
{
	const struct merge_dir_domain *d;

	for (size_t i = 0; i < k->w->nusers; i++)
		use_domain(k, domain_of(k->w->users[i].address));
	for (size_t i = 0; i < k->l->ndomains; i++) {
		d = &k->l->domains[i];
		if (domain_named(k->w, d->name) != NULL ||
		    (k->l->whole && !d->made && !k->l_need[i]))
			continue;
		op_add(k, DIR_DOMAIN_ADD, d->name);
		k->out->report.domains_added++;
		if (k->l->whole && !d->made)
			note(k, MERGE_DIR_IN_USE, d->name, "");
	}
	for (size_t i = 0; i < k->w->ndomains; i++) {
		d = &k->w->domains[i];
		if (!k->w->whole || d->made || domain_named(k->l, d->name) != NULL ||
		    !was_cut(k->l, MERGE_DIR_DOMAIN, d->name, ""))
			continue;
		if (k->w_used[i])
			note(k, MERGE_DIR_IN_USE, d->name, "");
		else {
			op_add(k, DIR_DOMAIN_DELETE, d->name);
			k->out->report.domains_deleted++;
		}
	}
}

/* ---- all of it ------------------------------------------------------------ */

static struct merge_dir_user **
prepare(struct merge_dir_side *s)
{
	struct merge_dir_user **ids = mem_array(s->nusers + 1, sizeof(*ids));

	sort(s->users, s->nusers, sizeof(*s->users), by_address);
	sort(s->domains, s->ndomains, sizeof(*s->domains), by_name);
	sort(s->aliases, s->naliases, sizeof(*s->aliases), by_pair);
	sort(s->cuts, s->ncuts, sizeof(*s->cuts), by_cut);
	sort(s->gone, s->ngone, sizeof(*s->gone), by_number);
	for (size_t i = 0; i < s->nusers; i++)
		ids[i] = &s->users[i];
	sort(ids, s->nusers, sizeof(struct merge_dir_user *), by_id);
	return ids;
}

static void
gone(struct work *k)
{
	for (size_t i = 0; i < k->l->ngone && !hook_on("dir-merge-id-again"); i++)
		if (!has_number(k->w->gone, k->w->ngone, k->l->gone[i]) &&
		    user_of(k->w_ids, k->w->nusers, k->l->gone[i]) == NULL)
			op_add(k, DIR_ID_GONE, NULL)->id = k->l->gone[i];
}

int
merge_dir(struct merge_dir *out, struct merge_dir_side *winner, struct merge_dir_side *loser,
    const char **why)
{
	struct work k = { .out = out, .w = winner, .l = loser };

	memset(out, 0, sizeof(*out));
	k.w_ids = prepare(winner);
	k.l_ids = prepare(loser);
	k.w_used = mem_array(winner->ndomains + 1, sizeof(*k.w_used));
	k.l_need = mem_array(loser->ndomains + 1, sizeof(*k.l_need));
	if (winner->layout != 0 && loser->layout != 0 && winner->layout != loser->layout)
		k.why = "the nodes have different numbers of shards";
	else {
		users(&k);
		aliases(&k);
		domains(&k);
		gone(&k);
		sort(out->ops, out->nops, sizeof(*out->ops), by_turn);
	}
	free(k.w_ids);
	free(k.l_ids);
	free(k.w_used);
	free(k.l_need);
	if (k.why == NULL)
		return 0;
	*why = k.why;
	merge_dir_clear(out);
	errno = EINVAL;
	return -1;
}
