/* merge_dir_marks.c - what was done to the directory since a place in its log, from the
 * records alone: names and ids that they touch, sorted, and looked up once for each row.
 * A record that had no effect when it was applied counts all the same: what it names is
 * then taken for changed, which never removes anything. */
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "merge_dir.h"

struct names {
	char **v;
	size_t n;
};

struct merge_dir_marks {
	uint64_t *made;			/* ids */
	size_t nmade;
	struct names passwords, suspensions, domains, aliases;	/* aliases: address\ntarget */
	struct merge_dir_cut *cuts;
	size_t ncuts;
};

struct merge_dir_marks *
merge_dir_marks_new(void)
{
	return mem_alloc(sizeof(struct merge_dir_marks));
}

static void
names_clear(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
}

void
merge_dir_marks_free(struct merge_dir_marks *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->ncuts; i++) {
		free((char *)(uintptr_t)m->cuts[i].name);
		free((char *)(uintptr_t)m->cuts[i].target);
	}
	free(m->cuts);
	free(m->made);
	names_clear(&m->passwords);
	names_clear(&m->suspensions);
	names_clear(&m->domains);
	names_clear(&m->aliases);
	free(m);
}

/* Room for one more; grows at each power of two. */
static void *
more(void *v, size_t n, size_t size)
{
	return (n & (n - 1)) == 0 ? mem_grow(v, n == 0 ? 1 : n * 2, size) : v;
}

static void
names_add(struct names *l, char *name)
{
	l->v = more(l->v, l->n, sizeof(*l->v));
	l->v[l->n++] = name;
}

static void
cut(struct merge_dir_marks *m, enum merge_dir_kind kind, const char *name, const char *target)
{
	m->cuts = more(m->cuts, m->ncuts, sizeof(*m->cuts));
	m->cuts[m->ncuts++] = (struct merge_dir_cut){ kind, mem_dup(name), mem_dup(target) };
}

static bool
add_alias(struct merge_dir_marks *m, bool add, struct wire_in *in)
{
	char address[ADDRESS_MAX + 1], target[ADDRESS_MAX + 1];
	unsigned n;

	wire_get_str(in, address, sizeof(address));
	n = wire_get_u16(in);
	if (!add && n == 0 && wire_in_done(in))
		cut(m, MERGE_DIR_ALIAS, address, "");
	for (; n > 0 && wire_in_ok(in); n--) {
		wire_get_str(in, target, sizeof(target));
		if (!wire_in_ok(in))
			break;
		if (add)
			names_add(&m->aliases, mem_printf("%s\n%s", address, target));
		else
			cut(m, MERGE_DIR_ALIAS, address, target);
	}
	return wire_in_ok(in);
}

static bool
add_user(struct merge_dir_marks *m, uint8_t type, struct wire_in *in)
{
	char address[ADDRESS_MAX + 1], hash[DIR_HASH_MAX];
	uint64_t id = type == DIR_USER_ADD ? wire_get_u64(in) : 0;

	if (type == DIR_USER_ADD)
		(void)wire_get_u16(in);
	wire_get_str(in, address, sizeof(address));
	if (type == DIR_USER_SUSPEND)
		(void)wire_get_u8(in);
	else if (type != DIR_USER_DELETE)
		wire_get_str(in, hash, sizeof(hash));
	if (!wire_in_done(in))
		return false;
	if (type == DIR_USER_ADD) {
		m->made = more(m->made, m->nmade, sizeof(*m->made));
		m->made[m->nmade++] = id;
	} else if (type == DIR_USER_DELETE)
		cut(m, MERGE_DIR_USER, address, "");
	else
		names_add(type == DIR_USER_PASSWORD ? &m->passwords : &m->suspensions,
		    mem_dup(address));
	return true;
}

bool
merge_dir_marks_add(struct merge_dir_marks *m, uint8_t type, struct span payload)
{
	char name[ADDRESS_DOMAIN_MAX + 1];
	struct wire_in in;

	wire_in_init(&in, payload.p, payload.len);
	switch (type) {
	case DIR_DOMAIN_ADD:
	case DIR_DOMAIN_DELETE:
		wire_get_str(&in, name, sizeof(name));
		if (!wire_in_done(&in))
			return false;
		if (type == DIR_DOMAIN_ADD)
			names_add(&m->domains, mem_dup(name));
		else
			cut(m, MERGE_DIR_DOMAIN, name, "");
		return true;
	case DIR_USER_ADD:
	case DIR_USER_PASSWORD:
	case DIR_USER_SUSPEND:
	case DIR_USER_DELETE:
		return add_user(m, type, &in);
	case DIR_ALIAS_ADD:
	case DIR_ALIAS_DELETE:
		return add_alias(m, type == DIR_ALIAS_ADD, &in);
	case OWNER_REC_GENERATION:
	case DIR_LAYOUT:
	case DIR_ID_GONE:		/* the table says it */
		return true;
	default:
		return false;
	}
}

/* ---- looking up ----------------------------------------------------------- */

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void
names_sort(const struct names *l)
{
	if (l->n > 1)
		qsort(l->v, l->n, sizeof(*l->v), by_text);
}

static bool
names_have(const struct names *l, const char *name)
{
	return l->n > 0 && bsearch(&name, l->v, l->n, sizeof(*l->v), by_text) != NULL;
}

void
merge_dir_marks_set(const struct merge_dir_marks *m, struct merge_dir_side *s)
{
	names_sort(&m->passwords);
	names_sort(&m->suspensions);
	names_sort(&m->domains);
	names_sort(&m->aliases);
	if (m->nmade > 1)
		qsort(m->made, m->nmade, sizeof(*m->made), by_number);
	for (size_t i = 0; i < s->nusers; i++) {
		struct merge_dir_user *u = &s->users[i];

		u->made = m->nmade > 0 && bsearch(&u->id, m->made, m->nmade, sizeof(*m->made),
		    by_number) != NULL;
		u->password = names_have(&m->passwords, u->address);
		u->suspend = names_have(&m->suspensions, u->address);
	}
	for (size_t i = 0; i < s->ndomains; i++)
		s->domains[i].made = names_have(&m->domains, s->domains[i].name);
	for (size_t i = 0; i < s->naliases; i++) {
		char *pair = mem_printf("%s\n%s", s->aliases[i].address, s->aliases[i].target);

		s->aliases[i].made = names_have(&m->aliases, pair);
		free(pair);
	}
	s->cuts = m->cuts;
	s->ncuts = m->ncuts;
}
