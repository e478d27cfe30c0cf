/* test_tree_dirty.c - what events make dirty: the set of paths and the table of watches,
 * without a kernel.  A case is a text: events, and the rows that must come out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "mem.h"
#include "tree.h"
#include "tree_dirty.h"
#include "tree_watch.h"

/* Rows as text: "path" or "path*" (with all below), the root as "/", with blanks. */
static const char *
rows_text(struct tree_dirty *d)
{
	static char text[2000];
	const struct tree_dirty_row *rows;
	size_t n, len = 0;

	if (tree_dirty_why(d) != NULL)
		return "everything";
	rows = tree_dirty_rows(d, &n);
	text[0] = '\0';
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s%s",
		    i > 0 ? " " : "", rows[i].path[0] == '\0' ? "/" : rows[i].path,
		    rows[i].deep ? "*" : "");
	return text;
}

static void
marks(void **state)
{
	struct tree_dirty *d = tree_dirty_new(100);

	(void)state;
	assert_string_equal(rows_text(d), "");
	tree_dirty_mark(d, "b/c", false);
	tree_dirty_mark(d, "b-c", false);
	tree_dirty_mark(d, "b/c", false);
	assert_string_equal(rows_text(d), "/ b b/c b-c");	/* in the order of a walk */
	tree_dirty_mark(d, "b", true);
	tree_dirty_mark(d, "b/x/y", true);
	assert_string_equal(rows_text(d), "/ b* b-c");
	tree_dirty_mark(d, "b/z", false);			/* a set goes on after a look */
	assert_string_equal(rows_text(d), "/ b* b-c");
	tree_dirty_mark(d, "", true);
	assert_string_equal(rows_text(d), "/*");
	tree_dirty_clear(d);
	assert_string_equal(rows_text(d), "");
	tree_dirty_free(d);
}

static void
limit(void **state)
{
	struct tree_dirty *d = tree_dirty_new(1000);
	char name[32];
	size_t n;

	(void)state;
	for (int i = 0; i < 999; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		tree_dirty_mark(d, name, false);
		tree_dirty_mark(d, name, false);
	}
	(void)tree_dirty_rows(d, &n);
	assert_int_equal(n, 1000);		/* with the root */
	tree_dirty_mark(d, "n5", false);	/* known: needs no room */
	assert_null(tree_dirty_why(d));
	tree_dirty_mark(d, "more", false);
	assert_non_null(tree_dirty_why(d));
	tree_dirty_mark(d, "x", false);
	assert_string_equal(rows_text(d), "everything");
	tree_dirty_all(d, "again");		/* the first reason stays */
	assert_string_not_equal(tree_dirty_why(d), "again");
	tree_dirty_clear(d);
	tree_dirty_mark(d, "x", false);
	assert_string_equal(rows_text(d), "/ x");
	tree_dirty_free(d);
}

struct event {
	int wd;
	uint32_t mask;
	const char *name;
};

struct events_case {
	const char *what;
	struct event e[6];
	const char *rows, *ended;
	size_t left;		/* watches, of 5 */
};

/* Watches: 1 the root, 2 a, 3 a/b, 4 a/b/c, 5 ab. */
static const struct events_case cases[] = {
	{ "content", { { 3, IN_MODIFY, "f" }, { 3, IN_CLOSE_WRITE, "f" } }, "a/b a/b/f", "", 5 },
	{ "metadata", { { 1, IN_ATTRIB, "f" } }, "/ f", "", 5 },
	{ "a directory's own metadata", { { 2, IN_ATTRIB | IN_ISDIR, NULL } }, "/ a", "", 5 },
	{ "the same from above", { { 1, IN_ATTRIB | IN_ISDIR, "a" } }, "/ a", "", 5 },
	{ "a file comes", { { 2, IN_CREATE, "f" } }, "a a/f", "", 5 },
	{ "a file goes", { { 2, IN_DELETE, "f" } }, "a a/f", "", 5 },
	{ "a file is renamed", { { 2, IN_MOVED_FROM, "f" }, { 3, IN_MOVED_TO, "g" } },
	    "a a/b a/b/g a/f", "", 5 },
	{ "a directory comes", { { 2, IN_CREATE | IN_ISDIR, "n" } }, "a a/n*", "", 5 },
	{ "a directory goes", { { 4, IN_DELETE_SELF, NULL }, { 4, IN_IGNORED, NULL },
	    { 3, IN_DELETE | IN_ISDIR, "c" } }, "a/b a/b/c*", "", 4 },
	{ "a directory leaves the tree", { { 2, IN_MOVED_FROM | IN_ISDIR, "b" },
	    { 4, IN_MODIFY, "late" }, { 3, IN_MOVE_SELF, NULL } }, "a a/b*", "3 4 ", 3 },
	{ "a directory is renamed", { { 1, IN_MOVED_FROM | IN_ISDIR, "a" },
	    { 1, IN_MOVED_TO | IN_ISDIR, "z" }, { 2, IN_MOVE_SELF, NULL } }, "/ a* z*",
	    "2 3 4 ", 2 },
	{ "a directory comes from elsewhere", { { 1, IN_MOVED_TO | IN_ISDIR, "n" } }, "/ n*",
	    "", 5 },
	{ "a name that begins alike", { { 1, IN_MOVED_FROM | IN_ISDIR, "a" },
	    { 5, IN_CREATE, "f" } }, "/ a* ab ab/f", "2 3 4 ", 2 },
	{ "excluded", { { 2, IN_CREATE, "x.skip" }, { 1, IN_CREATE | IN_ISDIR, "y.skip" } }, "",
	    "", 5 },
	{ "ours", { { 2, IN_CREATE, TREE_TMP_PREFIX "1" }, { 1, IN_MODIFY, TREE_HOLD_NAME } },
	    "", "", 5 },
	{ "the hold folder's name elsewhere", { { 2, IN_CREATE, TREE_HOLD_NAME } },
	    "a a/" TREE_HOLD_NAME, "", 5 },
	{ "events were lost", { { 2, IN_CREATE, "f" }, { -1, IN_Q_OVERFLOW, NULL },
	    { 2, IN_CREATE, "g" } }, "everything", "", 5 },
	{ "unmounted", { { 3, IN_UNMOUNT, NULL } }, "everything", "", 5 },
	{ "the root is moved", { { 1, IN_MOVE_SELF, NULL } }, "everything", "", 5 },
	{ "the root is deleted", { { 1, IN_DELETE_SELF, NULL } }, "everything", "", 5 },
	{ "the root's watch ends", { { 1, IN_IGNORED, NULL } }, "everything", "", 4 },
	{ "another directory is moved: its parent says so", { { 4, IN_MOVE_SELF, NULL } }, "",
	    "", 5 },
	{ "an unknown watch", { { 77, IN_CREATE, "f" }, { 0, IN_CREATE, "f" },
	    { -1, IN_CREATE, "f" } }, "", "", 5 },
};

static char ended[100];

static void
on_ended(void *arg, int wd)
{
	size_t n = strlen(ended);

	(void)arg;
	(void)snprintf(ended + n, sizeof(ended) - n, "%d ", wd);
}

static struct tree_watch *
five(void)
{
	static const char *const paths[] = { "", "a", "a/b", "a/b/c", "ab" };
	static char skip[] = "*.skip", *exclude[] = { skip };
	struct tree_watch *w = tree_watch_new(exclude, 1);

	for (int i = 0; i < 5; i++)
		tree_watch_put(w, i + 1, paths[i]);
	return w;
}

static void
events(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct events_case *c = &cases[i];
		struct tree_dirty *d = tree_dirty_new(100);
		struct tree_watch *w = five();
		const char *text;

		ended[0] = '\0';
		for (const struct event *e = c->e; e->mask != 0; e++)
			tree_watch_event(w, d, e->wd, e->mask, e->name, on_ended, NULL);
		text = rows_text(d);
		if (strcmp(text, c->rows) != 0 || strlen(ended) != strlen(c->ended) ||
		    tree_watch_count(w) != c->left)
			fail_msg("%s: rows %s, ended %s, left %zu", c->what, text, ended,
			    tree_watch_count(w));
		tree_watch_free(w);
		tree_dirty_free(d);
	}
}

/* A watch that is set again is where it was set last; many come and go. */
static void
watches(void **state)
{
	struct tree_dirty *d = tree_dirty_new(100);
	struct tree_watch *w = tree_watch_new(NULL, 0);
	char path[32];

	(void)state;
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 1000; i++) {
			(void)snprintf(path, sizeof(path), "d/%d", i);
			tree_watch_put(w, 1 + round * 1000 + i, path);
		}
		assert_int_equal(tree_watch_count(w), 1000);
		if (round < 19)
			for (int i = 0; i < 1000; i++)
				tree_watch_event(w, d, 1 + round * 1000 + i, IN_IGNORED, NULL,
				    on_ended, NULL);
	}
	tree_watch_put(w, 19001, "elsewhere");
	assert_int_equal(tree_watch_count(w), 1000);
	tree_watch_event(w, d, 19001, IN_CREATE, "f", on_ended, NULL);
	tree_watch_event(w, d, 20000, IN_CREATE, "g", on_ended, NULL);
	tree_watch_event(w, d, 18001, IN_CREATE, "gone", on_ended, NULL);
	assert_string_equal(rows_text(d), "d/999 d/999/g elsewhere elsewhere/f");
	tree_watch_free(w);
	tree_dirty_free(d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(marks), cmocka_unit_test(limit), cmocka_unit_test(events),
		cmocka_unit_test(watches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
