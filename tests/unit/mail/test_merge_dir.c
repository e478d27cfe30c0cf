/* Two histories of the directory become one: random pairs against a model that applies
 * records as dir_shard.c does and knows nothing of how the merge works, and a few cases by
 * hand.  MERGE_PAIRS and MERGE_SEED choose how many pairs and which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dir_id.h"
#include "mem.h"
#include "merge_dir.h"

enum { DOMAINS = 3, LOCALS = 4, USERS = 96, PAIRS = 96, GONE = 160 };

struct muser {
	uint64_t id;
	char address[ADDRESS_MAX + 1], hash[16];
	bool suspended;
};
struct mpair { char address[ADDRESS_MAX + 1], target[ADDRESS_MAX + 1]; bool named; };
struct model {
	bool domain[DOMAINS];
	struct muser user[USERS];
	struct mpair pair[PAIRS];
	uint64_t gone[GONE], ever[GONE];	/* ever: every id that was given here */
	unsigned nusers, npairs, ngone, never;
	struct merge_dir_marks *marks;
};

static const char *const domain_names[DOMAINS] = { "a.test", "b.test", "c.test" };
static uint64_t state;
static unsigned hashes;

static unsigned
any(unsigned n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)((state >> 20) % n);
}

static int
domain_number(const char *name)
{
	for (int i = 0; i < DOMAINS; i++)
		if (strcmp(domain_names[i], name) == 0)
			return i;
	return -1;
}

static bool
domain_is(const struct model *m, const char *address)
{
	int i = domain_number(strrchr(address, '@') + 1);

	return i >= 0 && m->domain[i];
}

static struct muser *
at(struct model *m, const char *address)
{
	for (unsigned i = 0; i < m->nusers; i++)
		if (strcmp(m->user[i].address, address) == 0)
			return &m->user[i];
	return NULL;
}

static struct muser *
by_id(struct model *m, uint64_t id)
{
	for (unsigned i = 0; i < m->nusers; i++)
		if (m->user[i].id == id)
			return &m->user[i];
	return NULL;
}

static bool
has(const uint64_t *v, unsigned n, uint64_t id)
{
	for (unsigned i = 0; i < n; i++)
		if (v[i] == id)
			return true;
	return false;
}

static int
pair_at(const struct model *m, const char *address, const char *target)
{
	for (unsigned i = 0; i < m->npairs; i++)
		if (strcmp(m->pair[i].address, address) == 0 &&
		    strcmp(m->pair[i].target, target) == 0)
			return (int)i;
	return -1;
}

static bool
named(const struct model *m, const char *address, const char *target)
{
	int i = pair_at(m, address, target);

	return i >= 0 && m->pair[i].named;
}

static bool
in_use(const struct model *m, const char *name)
{
	for (unsigned i = 0; i < m->nusers; i++)
		if (strcmp(strrchr(m->user[i].address, '@') + 1, name) == 0)
			return true;
	for (unsigned i = 0; i < m->npairs; i++)
		if (strcmp(strrchr(m->pair[i].address, '@') + 1, name) == 0)
			return true;
	return false;
}

/* ---- records, as dir_shard.c applies them ---------------------------------- */

static bool
put_domain(struct model *m, bool add, struct wire_in *in)
{
	char name[ADDRESS_DOMAIN_MAX + 1];
	int i;

	wire_get_str(in, name, sizeof(name));
	i = domain_number(name);
	if (i < 0 || m->domain[i] == add || (!add && in_use(m, name)))
		return false;
	m->domain[i] = add;
	return true;
}

static bool
put_user_add(struct model *m, struct wire_in *in)
{
	struct muser u = { .id = wire_get_u64(in) };
	uint16_t shard = wire_get_u16(in);

	wire_get_str(in, u.address, sizeof(u.address));
	wire_get_str(in, u.hash, sizeof(u.hash));
	assert_int_equal(shard, dir_id_shard(u.id, 16));
	if (!domain_is(m, u.address) || at(m, u.address) != NULL || by_id(m, u.id) != NULL)
		return false;
	for (unsigned i = 0; i < m->ngone; i++)
		if (m->gone[i] == u.id)
			m->gone[i--] = m->gone[--m->ngone];
	assert_true(m->nusers < USERS && m->never < GONE);
	m->user[m->nusers++] = u;
	if (!has(m->ever, m->never, u.id))
		m->ever[m->never++] = u.id;
	return true;
}

static bool
put_user(struct model *m, uint8_t type, struct wire_in *in)
{
	char address[ADDRESS_MAX + 1];
	struct muser *u;

	wire_get_str(in, address, sizeof(address));
	if ((u = at(m, address)) == NULL)
		return false;
	if (type == DIR_USER_PASSWORD)
		wire_get_str(in, u->hash, sizeof(u->hash));
	else if (type == DIR_USER_SUSPEND) {
		bool was = u->suspended;

		u->suspended = wire_get_u8(in) != 0;
		return u->suspended != was;
	} else {
		assert_true(m->ngone < GONE);
		m->gone[m->ngone++] = u->id;
		*u = m->user[--m->nusers];
	}
	return true;
}

static bool
put_alias(struct model *m, bool add, struct wire_in *in)
{
	struct mpair p = { .named = true };
	unsigned n, changed = 0;
	int i;

	wire_get_str(in, p.address, sizeof(p.address));
	n = wire_get_u16(in);
	for (unsigned j = 0; !add && n == 0 && j < m->npairs; j++)
		if (strcmp(m->pair[j].address, p.address) == 0) {
			m->pair[j--] = m->pair[--m->npairs];
			changed++;
		}
	for (; n > 0; n--) {
		wire_get_str(in, p.target, sizeof(p.target));
		i = pair_at(m, p.address, p.target);
		if (add && i < 0 && domain_is(m, p.address)) {
			assert_true(m->npairs < PAIRS);
			m->pair[m->npairs++] = p;
			changed++;
		} else if (add && i >= 0) {
			m->pair[i].named = true;
		} else if (!add && i >= 0) {
			m->pair[i] = m->pair[--m->npairs];
			changed++;
		}
	}
	return changed > 0;
}

/* True when it had an effect. */
static bool
put(struct model *m, uint8_t type, struct span payload)
{
	struct wire_in in;
	uint64_t id;

	assert_true(merge_dir_marks_add(m->marks, type, payload));
	wire_in_init(&in, payload.p, payload.len);
	switch (type) {
	case DIR_DOMAIN_ADD:
	case DIR_DOMAIN_DELETE:
		return put_domain(m, type == DIR_DOMAIN_ADD, &in);
	case DIR_USER_ADD:
		return put_user_add(m, &in);
	case DIR_ALIAS_ADD:
	case DIR_ALIAS_DELETE:
		return put_alias(m, type == DIR_ALIAS_ADD, &in);
	case DIR_ID_GONE:
		id = wire_get_u64(&in);
		if (has(m->gone, m->ngone, id) || by_id(m, id) != NULL)
			return false;
		assert_true(m->ngone < GONE);
		m->gone[m->ngone++] = id;
		return true;
	default:
		return put_user(m, type, &in);
	}
}

static uint64_t
new_id(struct model *m, const char *address)
{
	uint32_t n = 0;
	uint64_t id;

	do
		id = dir_id(address, n++);
	while (by_id(m, id) != NULL || has(m->gone, m->ngone, id));
	return id;
}

/* ---- what operators do ----------------------------------------------------- */

static void
address_any(char *out)
{
	snprintf(out, ADDRESS_MAX + 1, "u%u@%s", any(LOCALS), domain_names[any(DOMAINS)]);
}

static void
make_user(struct model *m, const char *address, struct wire_out *w)
{
	uint64_t id = new_id(m, address);
	char hash[16];

	snprintf(hash, sizeof(hash), "h%u", ++hashes);
	wire_put_u64(w, id);
	wire_put_u16(w, dir_id_shard(id, 16));
	wire_put_str(w, address);
	wire_put_str(w, hash);
}

static void
act(struct model *m)
{
	static const uint8_t types[] = { DIR_DOMAIN_ADD, DIR_DOMAIN_DELETE, DIR_USER_ADD,
		DIR_USER_ADD, DIR_USER_ADD, DIR_USER_PASSWORD, DIR_USER_SUSPEND, DIR_USER_DELETE,
		DIR_ALIAS_ADD, DIR_ALIAS_ADD, DIR_ALIAS_DELETE };
	uint8_t type = types[any(sizeof(types))];
	char address[ADDRESS_MAX + 1], target[ADDRESS_MAX + 1], hash[16];
	struct wire_out w;
	unsigned n;

	address_any(address);
	address_any(target);
	snprintf(hash, sizeof(hash), "h%u", ++hashes);
	wire_out_init(&w);
	if (type == DIR_USER_ADD && at(m, address) == NULL)	/* as mailctl's side checks */
		make_user(m, address, &w);
	else if (type == DIR_USER_ADD)
		type = DIR_USER_PASSWORD;
	if (type != DIR_USER_ADD)
		wire_put_str(&w, type <= DIR_DOMAIN_DELETE ? strrchr(address, '@') + 1 : address);
	if (type == DIR_USER_PASSWORD)
		wire_put_str(&w, hash);
	if (type == DIR_USER_SUSPEND)
		wire_put_u8(&w, (uint8_t)any(2));
	if (type == DIR_ALIAS_ADD || type == DIR_ALIAS_DELETE) {
		n = type == DIR_ALIAS_ADD ? 1 : any(2);
		wire_put_u16(&w, (uint16_t)n);
		if (n > 0)
			wire_put_str(&w, target);
	}
	put(m, type, wire_out_span(&w));
	wire_out_clear(&w);
}

/* ---- the merge --------------------------------------------------------------- */

struct side {
	struct merge_dir_side s;
	struct merge_dir_user users[USERS];
	struct merge_dir_domain domains[DOMAINS];
	struct merge_dir_alias aliases[PAIRS];
	uint64_t gone[GONE];
};

static void
side_of(struct model *m, struct side *x, bool whole)
{
	memset(x, 0, sizeof(*x));
	x->s = (struct merge_dir_side){ .whole = whole, .layout = 16, .users = x->users,
		.domains = x->domains, .aliases = x->aliases, .gone = x->gone,
		.nusers = m->nusers, .naliases = m->npairs, .ngone = m->ngone };
	for (unsigned i = 0; i < m->nusers; i++)
		x->users[i] = (struct merge_dir_user){ .id = m->user[i].id,
			.shard = dir_id_shard(m->user[i].id, 16), .suspended = m->user[i].suspended,
			.address = m->user[i].address, .hash = m->user[i].hash };
	for (unsigned i = 0; i < DOMAINS; i++)
		if (m->domain[i])
			x->domains[x->s.ndomains++].name = domain_names[i];
	for (unsigned i = 0; i < m->npairs; i++)
		x->aliases[i] = (struct merge_dir_alias){ .address = m->pair[i].address,
			.target = m->pair[i].target };
	memcpy(x->gone, m->gone, m->ngone * sizeof(*m->gone));
	merge_dir_marks_set(m->marks, &x->s);
}

static size_t
merge_into(struct model *w, struct model *l, bool w_whole, bool l_whole)
{
	static struct side a, b;
	struct merge_dir m;
	struct wire_out body;
	const char *why = NULL;
	struct model *before = mem_copy(w, sizeof(*w));	/* the result borrows its texts */
	size_t n;

	side_of(before, &a, w_whole);
	side_of(l, &b, l_whole);
	if (merge_dir(&m, &a.s, &b.s, &why) == -1)
		fail_msg("refused: %s", why);
	for (size_t i = 0; i < m.nops; i++) {
		wire_out_init(&body);
		merge_dir_record(&m.ops[i], &body);
		if (!put(w, (uint8_t)m.ops[i].type, wire_out_span(&body)))
			fail_msg("op %zu type %u %s had no effect", i, m.ops[i].type, m.ops[i].name);
		wire_out_clear(&body);
	}
	n = m.nops;
	merge_dir_clear(&m);
	free(before);
	return n;
}

/* ---- what has to hold -------------------------------------------------------- */

static void
check_users(struct model *base, struct model *w0, struct model *l, struct model *r, bool whole)
{
	for (unsigned i = 0; i < w0->nusers; i++) {
		struct muser *was = &w0->user[i], *is = by_id(r, was->id);
		struct muser *b = by_id(base, was->id), *o = by_id(l, was->id);

		assert_non_null(is);
		assert_string_equal(is->address, was->address);
		if (o == NULL || b == NULL)
			assert_string_equal(is->hash, was->hash);
		else if (strcmp(was->hash, b->hash) != 0 || strcmp(o->hash, b->hash) == 0)
			assert_string_equal(is->hash, was->hash);
		else if (whole)
			assert_string_equal(is->hash, o->hash);
		if (b != NULL && o == NULL && whole && at(l, was->address) == NULL &&
		    was->suspended)
			assert_true(is->suspended);
	}
	for (unsigned i = 0; i < l->nusers; i++) {
		struct muser *o = &l->user[i], *is = by_id(r, o->id);
		bool same;

		assert_non_null(is);		/* its mailboxes have their owner */
		same = strcmp(is->address, o->address) == 0;
		if (by_id(w0, o->id) != NULL)
			continue;
		assert_string_equal(is->hash, o->hash);
		assert_true(same || (is->suspended && strncmp(is->address, "recovered-", 10) == 0));
		if (!same)
			assert_true(at(w0, o->address) != NULL);
		if (by_id(base, o->id) != NULL)
			assert_true(is->suspended);	/* the winner deleted it */
		else if (same && whole)
			assert_int_equal(is->suspended, o->suspended);
	}
}

static void
check_ids(struct model *w0, struct model *l, struct model *r)
{
	char address[ADDRESS_MAX + 1];

	assert_true(r->nusers <= w0->nusers + l->nusers);
	for (int i = 0; i < DOMAINS; i++)
		for (unsigned j = 0; j < LOCALS; j++) {
			uint64_t id;

			snprintf(address, sizeof(address), "u%u@%s", j, domain_names[i]);
			id = new_id(r, address);
			/* whoever is made next sees nobody's mail */
			assert_false(has(w0->ever, w0->never, id) || has(l->ever, l->never, id));
		}
}

static void
check_pairs(struct model *base, struct model *w, struct model *l, struct model *r, bool w_whole,
    bool l_whole)
{
	char address[ADDRESS_MAX + 1], target[ADDRESS_MAX + 1];

	for (unsigned i = 0; i < DOMAINS * LOCALS; i++)
		for (unsigned j = 0; j < DOMAINS * LOCALS; j++) {
			bool b, a, o, is;

			snprintf(address, sizeof(address), "u%u@%s", i % LOCALS,
			    domain_names[i / LOCALS]);
			snprintf(target, sizeof(target), "u%u@%s", j % LOCALS,
			    domain_names[j / LOCALS]);
			b = pair_at(base, address, target) >= 0;
			a = pair_at(w, address, target) >= 0;
			o = pair_at(l, address, target) >= 0;
			is = pair_at(r, address, target) >= 0;
			if (a == o)
				assert_int_equal(is, a);
			else if (!b)
				assert_true(is);	/* one side added it */
			else if (!is)
				assert_true(a ? w_whole : l_whole);	/* removed, and let be */
			else
				assert_false(w_whole && l_whole && !named(a ? w : l, address, target));
		}
	for (int i = 0; i < DOMAINS; i++) {
		if (w->domain[i] && l->domain[i])
			assert_true(r->domain[i]);
		if (!base->domain[i] && (w->domain[i] || l->domain[i]))
			assert_true(r->domain[i]);
		if (!w->domain[i] && !l->domain[i])
			assert_false(r->domain[i]);
		if (in_use(r, domain_names[i]))
			assert_true(r->domain[i]);
	}
}

static void
marks_anew(struct model *m)
{
	m->marks = merge_dir_marks_new();
}

/* not whole: the beginning of it is forgotten. */
static void
history(struct model *m, bool whole)
{
	unsigned n = any(15), forgotten = whole ? 0 : any(n + 1);

	for (unsigned i = 0; i < n; i++) {
		act(m);
		if (i + 1 == forgotten) {
			merge_dir_marks_free(m->marks);
			marks_anew(m);
		}
	}
}

static void
one_pair(bool w_whole, bool l_whole)
{
	static struct model base, w, w0, l, r;
	unsigned n;

	memset(&base, 0, sizeof(base));
	marks_anew(&base);
	for (n = any(25); n > 0; n--)
		act(&base);
	for (n = 0; n < base.npairs; n++)
		base.pair[n].named = false;
	w = l = base;
	marks_anew(&w);
	marks_anew(&l);
	history(&w, w_whole);
	history(&l, l_whole);
	w0 = r = w;
	merge_into(&r, &l, w_whole, l_whole);
	check_users(&base, &w0, &l, &r, w_whole && l_whole);
	check_ids(&w0, &l, &r);
	check_pairs(&base, &w0, &l, &r, w_whole, l_whole);
	assert_int_equal(merge_into(&r, &l, w_whole, l_whole), 0);
	merge_dir_marks_free(base.marks);
	merge_dir_marks_free(w.marks);
	merge_dir_marks_free(l.marks);
}

static unsigned long
number(const char *name, unsigned long otherwise)
{
	const char *v = getenv(name);

	return v != NULL ? strtoul(v, NULL, 10) : otherwise;
}

static void
random_pairs(void **unused)
{
	unsigned long n = number("MERGE_PAIRS", 4000), seed = number("MERGE_SEED", 1);

	(void)unused;
	for (unsigned long i = 0; i < n; i++) {
		state = (seed + i) * 0x9e3779b97f4a7c15ull | 1;
		for (int j = 0; j < 8; j++)
			any(2);
		if (getenv("MERGE_SAY") != NULL)
			print_message("seed %lu\n", seed + i);
		one_pair(any(8) != 0, any(8) != 0);
	}
	print_message("pairs=%lu seed=%lu\n", n, seed);
}

/* ---- by hand ----------------------------------------------------------------- */

static void
record(struct model *m, enum dir_record type, const char *name, const char *text)
{
	struct wire_out w;
	uint64_t id;

	wire_out_init(&w);
	if (type == DIR_USER_ADD) {
		id = new_id(m, name);
		wire_put_u64(&w, id);
		wire_put_u16(&w, dir_id_shard(id, 16));
	}
	wire_put_str(&w, name);
	if (text != NULL)
		wire_put_str(&w, text);
	assert_true(put(m, (uint8_t)type, wire_out_span(&w)));
	wire_out_clear(&w);
}

/* Deleted here, and there somebody may have mail: kept, and nobody logs in.  Who has the
 * address now keeps it, and the old mail has an owner of its own. */
static void
deleted_users(void **unused)
{
	static struct model base, w, l;
	struct muser *u;

	(void)unused;
	memset(&base, 0, sizeof(base));
	marks_anew(&base);
	record(&base, DIR_DOMAIN_ADD, "a.test", NULL);
	record(&base, DIR_USER_ADD, "u0@a.test", "old0");
	record(&base, DIR_USER_ADD, "u1@a.test", "old1");
	record(&base, DIR_USER_ADD, "u2@a.test", "old2");
	w = l = base;
	marks_anew(&w);
	marks_anew(&l);
	record(&w, DIR_USER_DELETE, "u0@a.test", NULL);
	record(&l, DIR_USER_DELETE, "u1@a.test", NULL);
	record(&w, DIR_USER_DELETE, "u2@a.test", NULL);
	record(&w, DIR_USER_ADD, "u2@a.test", "new2");
	record(&l, DIR_USER_ADD, "u3@a.test", "both3");
	record(&w, DIR_USER_ADD, "u3@a.test", "other3");
	merge_into(&w, &l, true, true);
	assert_true((u = at(&w, "u0@a.test")) != NULL && u->suspended);
	assert_int_equal(u->id, dir_id("u0@a.test", 0));
	assert_true((u = at(&w, "u1@a.test")) != NULL && u->suspended);
	assert_true((u = at(&w, "u2@a.test")) != NULL && !u->suspended);
	assert_int_equal(u->id, dir_id("u2@a.test", 1));
	assert_true((u = by_id(&w, dir_id("u2@a.test", 0))) != NULL && u->suspended);
	assert_memory_equal(u->address, "recovered-", 10);
	assert_true((u = at(&w, "u3@a.test")) != NULL && !u->suspended);
	assert_string_equal(u->hash, "other3");
	assert_int_equal(w.nusers, 5);
	merge_dir_marks_free(base.marks);
	merge_dir_marks_free(w.marks);
	merge_dir_marks_free(l.marks);
}

static void
refused(void **unused)
{
	struct merge_dir_user one = { .id = 5, .address = "a@x.test", .hash = "h" };
	struct merge_dir_user two = { .id = 5, .address = "b@x.test", .hash = "h" };
	struct merge_dir_side w = { .whole = true, .layout = 16, .users = &one, .nusers = 1 };
	struct merge_dir_side l = { .whole = true, .layout = 16, .users = &two, .nusers = 1 };
	struct merge_dir m;
	const char *why = NULL;

	(void)unused;
	assert_int_equal(merge_dir(&m, &w, &l, &why), -1);
	assert_non_null(strstr(why, "one user id"));
	two.id = 6;
	assert_int_equal(merge_dir(&m, &w, &l, &why), -1);
	assert_non_null(strstr(why, "domain"));
	l.nusers = 0;
	l.layout = 8;
	assert_int_equal(merge_dir(&m, &w, &l, &why), -1);
	assert_non_null(strstr(why, "numbers of shards"));
	l.layout = 16;
	assert_int_equal(merge_dir(&m, &w, &l, &why), 0);
	assert_int_equal(m.nops, 0);
	merge_dir_clear(&m);
	for (int i = MERGE_DIR_KEPT; i <= MERGE_DIR_IN_USE; i++)
		assert_string_not_equal(merge_dir_why_name((enum merge_dir_why)i), "?");
}

/* What does not decode says so, and leaves no mark. */
static void
broken_records(void **unused)
{
	struct merge_dir_marks *m = merge_dir_marks_new();
	struct merge_dir_side s = { .whole = true };

	(void)unused;
	for (uint8_t type = DIR_DOMAIN_ADD; type <= DIR_ALIAS_DELETE; type++)
		assert_false(merge_dir_marks_add(m, type, (struct span){ "\0\5ab", 4 }));
	assert_false(merge_dir_marks_add(m, 200, (struct span){ "", 0 }));
	assert_true(merge_dir_marks_add(m, 0, (struct span){ "x", 1 }));
	merge_dir_marks_set(m, &s);
	assert_int_equal(s.ncuts, 0);
	merge_dir_marks_free(m);
	merge_dir_marks_free(NULL);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_pairs),
		cmocka_unit_test(deleted_users),
		cmocka_unit_test(refused),
		cmocka_unit_test(broken_records),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
