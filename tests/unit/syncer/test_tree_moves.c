/* test_tree_moves.c - which file that goes is taken for which one that comes. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tree.h"
#include "tree_moves.h"

static struct tree_entry
file(const char *path, uint64_t size, uint32_t ns)
{
	return (struct tree_entry){ .type = TREE_FILE, .size = size, .mtime_s = 7,
		.mtime_ns = ns, .path = (char *)(uintptr_t)path };
}

static void
gone(struct tree_moves *m, const char *path, uint64_t size, uint32_t ns)
{
	struct tree_entry e = file(path, size, ns);

	tree_moves_gone(m, &e);
}

static void
come(struct tree_moves *m, const char *path, uint64_t size, uint32_t ns)
{
	struct tree_entry e = file(path, size, ns);

	tree_moves_come(m, &e);
}

static void
pairs(void **state)
{
	struct tree_moves *m = tree_moves_new();
	struct tree_entry dir = { .type = TREE_DIR, .path = (char *)(uintptr_t)"dir" };
	const char *x, *y;

	(void)state;
	gone(m, "new/1", 100, 1);
	gone(m, "cur/2:2,", 200, 2);
	gone(m, "empty", 0, 3);
	gone(m, "twin-a", 5, 9);
	gone(m, "twin-b", 5, 9);
	gone(m, "really", 300, 4);
	tree_moves_gone(m, &dir);
	come(m, "cur/1:2,S", 100, 1);
	come(m, "cur/2:2,S", 200, 2);
	come(m, "other-time", 300, 5);
	come(m, "other-size", 301, 4);
	come(m, "empty2", 0, 3);
	come(m, "twin-x", 5, 9);
	come(m, "twin-y", 5, 9);
	come(m, "twin-z", 5, 9);		/* there are no three */
	assert_int_equal(tree_moves_count(m), 4);
	assert_string_equal(tree_moves_from(m, "cur/1:2,S"), "new/1");
	assert_string_equal(tree_moves_from(m, "cur/2:2,S"), "cur/2:2,");
	x = tree_moves_from(m, "twin-x");
	y = tree_moves_from(m, "twin-y");
	assert_true(x != NULL && y != NULL && strcmp(x, y) != 0);
	assert_null(tree_moves_from(m, "twin-z"));
	assert_null(tree_moves_from(m, "other-time"));
	assert_null(tree_moves_from(m, "empty2"));
	assert_null(tree_moves_from(m, "new/1"));
	tree_moves_free(m);
}

static void
limit(void **state)
{
	struct tree_moves *m = tree_moves_new();
	char name[32];

	(void)state;
	assert_int_equal(tree_moves_count(NULL), 0);
	assert_null(tree_moves_from(m, "a"));
	for (uint32_t i = 0; i < TREE_MOVES_MAX + 10; i++) {
		(void)snprintf(name, sizeof(name), "o%u", i);
		gone(m, name, 1 + i, i);
	}
	for (uint32_t i = 0; i < TREE_MOVES_MAX + 10; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		come(m, name, 1 + i, i);
	}
	assert_int_equal(tree_moves_count(m), TREE_MOVES_MAX);
	assert_string_equal(tree_moves_from(m, "n77777"), "o77777");
	assert_null(tree_moves_from(m, "n100005"));
	tree_moves_free(m);
	tree_moves_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs),
		cmocka_unit_test(limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
