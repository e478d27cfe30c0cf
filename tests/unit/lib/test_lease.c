/* test_lease.c - the lease ends by itself, is the same for both sides, and cannot be written
 * by who only holds it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "fs.h"
#include "lease.h"
#include "unit.h"

static char dir[32], path[64];

static int
setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_lease.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/lease", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	return fs_remove_tree(dir);
}

static void
test_without_agent(void **state)
{
	(void)state;
	assert_true(lease_holds(NULL));
	lease_close(NULL);
}

/* Whoever comes first: nothing is granted, and the other one finds the same. */
static void
test_both_orders(void **state)
{
	(void)state;
	for (int holder_first = 0; holder_first < 2; holder_first++) {
		struct lease *g = NULL, *h = NULL;
		struct stat st;

		if (!holder_first)
			assert_non_null(g = lease_open(path, LEASE_GRANTER));
		assert_non_null(h = lease_open(path, LEASE_HOLDER));
		if (holder_first)
			assert_non_null(g = lease_open(path, LEASE_GRANTER));
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0644);
		assert_false(lease_holds(h));
		lease_grant(g, clock_ms() + 60000);
		assert_true(lease_holds(h));
		lease_grant(g, clock_ms());
		assert_false(lease_holds(h));
		lease_close(g);
		lease_close(h);
		assert_int_equal(unlink(path), 0);
	}
}

static void
test_ends_by_itself(void **state)
{
	struct lease *g = lease_open(path, LEASE_GRANTER), *h = lease_open(path, LEASE_HOLDER);
	int64_t until = clock_ms() + 30;

	(void)state;
	lease_grant(g, until);
	while (lease_holds(h))
		continue;
	assert_true(clock_ms() >= until);
	lease_close(g);
	lease_close(h);
}

/* An agent that starts again finds what the one before granted. */
static void
test_granter_again(void **state)
{
	struct lease *g = lease_open(path, LEASE_GRANTER), *h = lease_open(path, LEASE_HOLDER);

	(void)state;
	lease_grant(g, clock_ms() + 60000);
	lease_close(g);
	assert_non_null(g = lease_open(path, LEASE_GRANTER));
	assert_true(lease_holds(h));
	lease_close(g);
	lease_close(h);
}

/* No process that speaks with the net can grant itself anything. */
static void
test_holder_cannot_write(void **state)
{
	struct lease *h = lease_open(path, LEASE_HOLDER);
	void *page;

	(void)state;
	assert_non_null(h);
	memcpy(&page, h, sizeof(page));		/* its one field */
	assert_int_equal(mprotect(page, sizeof(int64_t), PROT_READ | PROT_WRITE), -1);
	assert_int_equal(errno, EACCES);
	lease_close(h);
}

static void
test_errors(void **state)
{
	(void)state;
	assert_int_equal(mkdir(path, 0755), 0);
	assert_null(lease_open(path, LEASE_HOLDER));
	assert_int_equal(errno, EISDIR);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("elsewhere", path), 0);
	assert_null(lease_open(path, LEASE_GRANTER));
	assert_int_equal(errno, ELOOP);
	assert_null(lease_open("/nonexistent/lease", LEASE_HOLDER));
	assert_int_equal(errno, ENOENT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_agent),
		cmocka_unit_test_setup_teardown(test_both_orders, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ends_by_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(test_granter_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_holder_cannot_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
