/* test_config_digest.c - what changes the digest of the configuration and what does
 * not: each of the three files, a missing one, an empty one, one that is no file; and
 * which file is named. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "config_digest.h"
#include "fs.h"
#include "hagent_conf.h"

static char dir[64], path[96];
static struct hagent_conf conf = { .path = path, .hash = 1 };

static int
setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_config_digest.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/hagent.conf", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	return fs_remove_tree(dir);
}

static struct config_digest
digests(void)
{
	struct config_digest d;
	const char *file;

	assert_int_equal(config_digest(&conf, &d, &file), 0);
	return d;
}

static uint32_t
digest(void)
{
	return digests().all;
}

static void
put(const char *name, const char *text)
{
	assert_int_equal(fs_replace(dir, name, text, strlen(text), 0600), 0);
}

static void
differs(void **state)
{
	uint32_t seen[8];
	size_t n = 0;

	(void)state;
	seen[n++] = digest();
	put("syncd.conf", "");
	seen[n++] = digest();
	put("syncd.conf", "port = 1\n");
	seen[n++] = digest();
	put("maild.conf", "shards = 8\n");
	seen[n++] = digest();
	put("maild.conf", "shards = 16\n");
	seen[n++] = digest();
	put("maild.conf", "port = 1\n");
	put("syncd.conf", "shards = 16\n");
	seen[n++] = digest();
	conf.hash = 2;
	seen[n++] = digest();
	for (size_t i = 0; i < n; i++)
		for (size_t k = i + 1; k < n; k++)
			assert_int_not_equal(seen[i], seen[k]);
	put("other.conf", "x");
	assert_int_equal(digest(), seen[n - 1]);
	conf.hash = 1;
	assert_int_equal(fs_remove_tree(dir), 0);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(digest(), seen[0]);
}

static void
names(void **state)
{
	struct config_digest was = digests(), d;
	char buf[64], small[14];

	(void)state;
	assert_int_equal(was.file[1], 0);
	assert_int_equal(was.file[2], 0);
	assert_string_equal(config_digest_differ(was.file, was.file, buf, sizeof(buf)), "");
	put("syncd.conf", "");
	d = digests();
	assert_int_not_equal(d.file[1], 0);
	assert_string_equal(config_digest_differ(was.file, d.file, buf, sizeof(buf)), "syncd.conf");
	put("maild.conf", "shards = 8\n");
	d = digests();
	assert_string_equal(config_digest_differ(was.file, d.file, buf, sizeof(buf)),
	    "syncd.conf, maild.conf");
	was = d;
	conf.hash = 2;
	d = digests();
	conf.hash = 1;
	assert_string_equal(config_digest_differ(was.file, d.file, buf, sizeof(buf)), "hagent.conf");
	d.file[2]++;
	assert_string_equal(config_digest_differ(was.file, d.file, small, sizeof(small)),
	    "hagent.conf, ");
	assert_string_equal(config_digest_file(2), "maild.conf");
}

static void
unreadable(void **state)
{
	char sub[128];
	const char *file = NULL;
	struct config_digest d = { .all = 42 };

	(void)state;
	snprintf(sub, sizeof(sub), "%s/maild.conf", dir);
	assert_int_equal(mkdir(sub, 0700), 0);
	assert_int_equal(config_digest(&conf, &d, &file), -1);
	assert_string_equal(file, "maild.conf");
	assert_int_equal(d.all, 42);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(differs, setup,
		teardown), cmocka_unit_test_setup_teardown(names, setup, teardown),
		cmocka_unit_test_setup_teardown(unreadable, setup, teardown) };

	return cmocka_run_group_tests_name("config_digest", tests, NULL, NULL);
}
