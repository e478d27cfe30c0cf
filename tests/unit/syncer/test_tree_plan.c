/* test_tree_plan.c - order and names of paths, excludes, the wire form of entries,
 * and the comparison of two lists: tables, no file system. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tree.h"
#include "tree_plan.h"

static void
order(void **state)
{
	/* as a walk lists them */
	static const char *const paths[] = { "", "a", "a/a", "a/b", "a/b/c", "a/b-", "a/b0",
		"a!", "a-b", "a0", "ab", "b", "\xff" };
	const size_t n = sizeof(paths) / sizeof(paths[0]);

	(void)state;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++) {
			int got = tree_path_cmp(paths[i], paths[k]);

			assert_int_equal(got, i < k ? -1 : i > k);
		}
}

static void
names(void **state)
{
	static const struct { const char *path; bool ok; } t[] = {
		{ "a", true }, { "a/b", true }, { "...", true }, { ".a", true }, { "a b\n", true },
		{ "", false }, { "/a", false }, { "a/", false }, { "a//b", false }, { ".", false },
		{ "..", false }, { "a/..", false }, { "../a", false }, { "a/./b", false },
		{ ".mailpair-held", false }, { ".mailpair-held/x", false },
		{ "a/.mailpair-held", true }, { ".mailpair.tmp.0", false },
		{ "a/.mailpair.tmp.0/b", false }, { ".mailpair-heldx", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		if (tree_path_ok(t[i].path) != t[i].ok)
			fail_msg("\"%s\" must be %d", t[i].path, t[i].ok);
}

static void
excludes(void **state)
{
	static const struct { const char *path, *pattern; bool out; } t[] = {
		{ "a.tmp", "*.tmp", true }, { "d/a.tmp", "*.tmp", true },
		{ "d.tmp/a", "*.tmp", true }, { "a.tmpx", "*.tmp", false },
		{ "cache/x", "cache", true }, { "a/cache", "cache", true },
		{ "a/cache", "/cache", false }, { "cache", "/cache", true },
		{ "a/b/c", "a/*", true }, { "a/b/c", "a/c", false }, { "x/a/b", "a/b", false },
		{ "a", "[", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char *pattern = strdup(t[i].pattern);

		if (tree_excluded(t[i].path, &pattern, 1) != t[i].out)
			fail_msg("\"%s\" against \"%s\" must be %d", t[i].path, t[i].pattern,
			    t[i].out);
		free(pattern);
	}
	assert_false(tree_excluded("a", NULL, 0));
}

/* Excludes and then includes, as the configuration puts them. */
static void
includes(void **state)
{
	static const struct { const char *path, *patterns[4]; bool out; } t[] = {
		{ "a.tmp", { "*.tmp", "!keep.tmp" }, true },
		{ "keep.tmp", { "*.tmp", "!keep.tmp" }, false },
		{ "d/keep.tmp", { "*.tmp", "!keep.tmp" }, false },
		{ "cache/keep", { "cache", "!keep" }, true },	/* its directory is out */
		{ "cache", { "cache", "!/cache" }, false },
		{ "x/cache", { "cache", "!/cache" }, true },
		{ "docs/a.txt", { "*", "!docs", "!*.txt" }, false },
		{ "docs/a.bin", { "*", "!docs", "!*.txt" }, true },
		{ "other/a.txt", { "*", "!docs", "!*.txt" }, true },
		{ "a", { "!a" }, false }, { "!a", { "\\!a" }, true }, { "a", { "\\!a" }, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char *patterns[4];
		size_t n = 0;

		for (; n < 4 && t[i].patterns[n] != NULL; n++)
			patterns[n] = strdup(t[i].patterns[n]);
		if (tree_excluded(t[i].path, patterns, n) != t[i].out)
			fail_msg("case %zu: \"%s\" must be %d", i, t[i].path, t[i].out);
		while (n > 0)
			free(patterns[--n]);
	}
}

/* "f path size time", "d path", "l path text", "h path first", "c path minor" */
static struct tree_entry
entry(const char *text)
{
	struct tree_entry e = { .mode = 0644, .uid = 1, .gid = 2 };
	static const char kinds[] = "?dflhpscb";
	char kind, path[64], arg[64] = "";
	unsigned long time = 0;

	if (sscanf(text, "%c %63s %63s %lu", &kind, path, arg, &time) < 2)
		fail_msg("bad entry %s", text);
	e.type = (uint8_t)(strchr(kinds, kind) - kinds);
	e.path = strdup(strcmp(path, "/") == 0 ? "" : path);
	e.mtime_s = (int64_t)time;
	if (e.type == TREE_SYMLINK || e.type == TREE_LINK)
		e.target = strdup(arg);
	if (e.type == TREE_FILE)
		e.size = strtoul(arg, NULL, 10);
	if (e.type == TREE_CHR)
		e.minor = (uint32_t)strtoul(arg, NULL, 10);
	return e;
}

static void
pairs(void **state)
{
	static const struct { const char *src, *dst; enum tree_op op; bool s, d; } t[] = {
		{ "f a 1 1", "f a 1 1", TREE_OP_SAME, 1, 1 },
		{ "f a 1 1", "f a 2 1", TREE_OP_DATA, 1, 1 },
		{ "f a 1 1", "f a 1 2", TREE_OP_DATA, 1, 1 },
		{ "f a 1 1", NULL, TREE_OP_CREATE, 1, 0 },
		{ "f a 1 1", "f b 1 1", TREE_OP_CREATE, 1, 0 },
		{ "f b 1 1", "f a 1 1", TREE_OP_DELETE, 0, 1 },
		{ NULL, "d a", TREE_OP_DELETE, 0, 1 },
		{ "f a/b 1 1", "f a-b 1 1", TREE_OP_CREATE, 1, 0 },
		{ "d a", "d a", TREE_OP_SAME, 1, 1 },
		{ "d a x 1", "d a x 2", TREE_OP_META, 1, 1 },
		{ "d a", "f a 1 1", TREE_OP_REPLACE, 1, 1 },
		{ "f a 1 1", "d a", TREE_OP_REPLACE, 1, 1 },
		{ "h b a", "d b", TREE_OP_REPLACE, 1, 1 },
		{ "l a x", "l a x", TREE_OP_SAME, 1, 1 },
		{ "l a x", "l a y", TREE_OP_CREATE, 1, 1 },
		{ "l a x 1", "l a x 2", TREE_OP_META, 1, 1 },
		{ "l a x", "f a 1 1", TREE_OP_CREATE, 1, 1 },
		{ "f a 1 1", "l a x", TREE_OP_CREATE, 1, 1 },
		{ "h b a", "h b a", TREE_OP_LINK, 1, 1 },
		{ "h b a", "f b 1 1", TREE_OP_LINK, 1, 1 },
		{ "h b a", NULL, TREE_OP_LINK, 1, 0 },
		{ "f b 1 1", "h b a", TREE_OP_DATA, 1, 1 },
		{ "c a 1", "c a 1", TREE_OP_SAME, 1, 1 },
		{ "c a 1", "c a 2", TREE_OP_CREATE, 1, 1 },
		{ "p a", "s a", TREE_OP_CREATE, 1, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct tree_entry s = { 0 }, d = { 0 };
		struct tree_step got;

		if (t[i].src != NULL)
			s = entry(t[i].src);
		if (t[i].dst != NULL)
			d = entry(t[i].dst);
		got = tree_plan_step(t[i].src != NULL ? &s : NULL, t[i].dst != NULL ? &d : NULL);
		if (got.op != t[i].op || got.next_src != t[i].s || got.next_dst != t[i].d)
			fail_msg("%s | %s gives %s", t[i].src, t[i].dst, tree_op_name(got.op));
		tree_entry_clear(&s);
		tree_entry_clear(&d);
	}
}

static void
metadata(void **state)
{
	struct tree_entry a = entry("f a 1 1"), b = entry("f a 1 1");

	(void)state;
	assert_int_equal(tree_plan_step(&a, &b).op, TREE_OP_SAME);
	b.mode = 0600;
	assert_int_equal(tree_plan_step(&a, &b).op, TREE_OP_META);
	b.mode = a.mode;
	b.uid++;
	assert_int_equal(tree_plan_step(&a, &b).op, TREE_OP_META);
	b.uid = a.uid;
	b.gid++;
	assert_int_equal(tree_plan_step(&a, &b).op, TREE_OP_META);
	b.gid = a.gid;
	b.mtime_ns = 1;
	assert_int_equal(tree_plan_step(&a, &b).op, TREE_OP_DATA);
	b.mtime_ns = 0;
	b.xattrs = (uint8_t *)strdup("x");
	b.xattrs_len = 1;
	assert_int_equal(tree_plan_step(&a, &b).op, TREE_OP_META);
	tree_entry_clear(&a);
	tree_entry_clear(&b);
}

static void
verdicts(void **state)
{
	static const struct {
		uint64_t src, dst, del;
		bool accepted;
		enum tree_verdict want;
	} t[] = {
		{ 100, 100, 0, false, TREE_GO },
		{ 0, 0, 0, false, TREE_GO },
		{ 95, 100, 5, false, TREE_GO },
		{ 94, 100, 6, false, TREE_TOO_MANY },
		{ 94, 100, 6, true, TREE_GO },
		{ 0, 1, 1, false, TREE_EMPTY_SOURCE },
		{ 0, 100, 100, false, TREE_EMPTY_SOURCE },
		{ 0, 100, 100, true, TREE_GO },
		{ 8, 10, 2, false, TREE_GO },		/* never refused: two */
		{ 7, 10, 3, false, TREE_TOO_MANY },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct tree_counts n = { .src = t[i].src, .dst = t[i].dst, .del = t[i].del };

		if (tree_plan_verdict(&n, 5, 2, t[i].accepted) != t[i].want)
			fail_msg("case %zu", i);
	}
}

static void
decode_cut(struct span whole, struct tree_entry *e)
{
	for (size_t n = 0; n < whole.len; n++) {
		struct wire_in in;

		wire_in_init(&in, whole.p, n);
		assert_int_equal(tree_entry_get(&in, e), -1);
	}
}

static void
wire_form(void **state)
{
	static const char *const texts[] = { "d /", "d a", "f a/b 12 7", "l a ../x", "h b a",
		"p a", "s a", "c a 3", "b a" };
	struct tree_entry e, got;
	uint8_t x[32], y[32];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct wire_out w;
		struct wire_in in;

		e = entry(texts[i]);
		wire_out_init(&w);
		tree_entry_put(&w, &e);
		wire_in_init(&in, w.p, w.len);
		assert_int_equal(tree_entry_get(&in, &got), 0);
		assert_int_equal(in.left, 0);
		tree_entry_digest(&e, x);
		tree_entry_digest(&got, y);
		assert_memory_equal(x, y, 32);
		tree_entry_clear(&got);
		decode_cut(wire_out_span(&w), &got);
		wire_out_clear(&w);
		tree_entry_clear(&e);
	}
}

/* What a hostile list could name. */
static void
wire_refused(void **state)
{
	static const char *const texts[] = { "f ../a 1 1", "f /a 1 1", "f a/../b 1 1", "f / 1 1",
		"h a b", "h a a", "h b ../a", "h b /a", "f .mailpair-held/a 1 1",
		"f .mailpair.tmp.1 1 1", "d a//b", "l / x" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct tree_entry e = entry(texts[i]), got;
		struct wire_out w;
		struct wire_in in;

		wire_out_init(&w);
		tree_entry_put(&w, &e);
		wire_in_init(&in, w.p, w.len);
		if (tree_entry_get(&in, &got) == 0)
			fail_msg("taken: %s", texts[i]);
		wire_out_clear(&w);
		tree_entry_clear(&e);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order), cmocka_unit_test(names), cmocka_unit_test(excludes),
		cmocka_unit_test(includes),
		cmocka_unit_test(pairs), cmocka_unit_test(metadata), cmocka_unit_test(verdicts),
		cmocka_unit_test(wire_form), cmocka_unit_test(wire_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
