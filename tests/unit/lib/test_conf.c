/* test_conf.c - each mistake in a file gives one ERROR path:line: text. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf.h"
#include "fs.h"
#include "unit.h"

static cfg_opt_t link_opts[] = { CFG_INT("port", 694, CFGF_NONE), CFG_END() };
static cfg_opt_t opts[] = { CFG_STR("path", "/x", CFGF_NONE), CFG_INT("count", 3, CFGF_NONE),
	CFG_STR("address", "::1", CFGF_NONE), CFG_BOOL("on", cfg_false, CFGF_NONE),
	CFG_INT("share", 50, CFGF_NONE), CFG_STR("rule", "auto", CFGF_NONE),
	CFG_SEC("link", link_opts, CFGF_MULTI | CFGF_TITLE), CFG_END() };

static int
check_share(cfg_t *cfg, cfg_opt_t *opt)
{
	return conf_check_range(cfg, opt, 1, 100);
}

static int
check_rule(cfg_t *cfg, cfg_opt_t *opt)
{
	static const char *const words[] = { "strict", "auto", "none", NULL };

	return conf_check_words(cfg, opt, words);
}

static const struct conf_check checks[] = { { "path", conf_check_abspath },
	{ "count", conf_check_positive }, { "address", conf_check_ip },
	{ "link|port", conf_check_port }, { "share", check_share }, { "rule", check_rule },
	{ NULL, NULL } };

static const struct { const char *text, *error; } cases[] = {
	{ "", NULL },
	{ "count = 5\npath = \"/var\"\nlink \"a\" {\n port = 25\n}\n", NULL },
	{ "count = 0\n", ":1: count must be" },
	{ "\n\ncount = -3\n", ":3: count must be" },
	{ "count = many\n", ":1: " },
	{ "path = \"relative\"\n", ":1: path must be" },
	{ "path = \"\"\n", NULL },
	{ "address = \"10.0.0.300\"\n", ":1: address must be" },
	{ "address = \"10.0.0.3\"\n", NULL },
	{ "link \"a\" {\n\nport = 65536\n}\n", ":3: port must be" },
	{ "share = 1\nrule = \"none\"\n", NULL },
	{ "share = 100\nrule = \"strict\"\n", NULL },
	{ "\nshare = 0\n", ":2: share: expected a number from 1 to 100, not 0" },
	{ "share = 101\n", ":1: share: expected a number from 1 to 100, not 101" },
	{ "rule = \"non\"\n",
	    ":1: rule: expected \"strict\", \"auto\" or \"none\", not \"non\"" },
	{ "rule = \"\"\n", ":1: rule: expected \"strict\", " },
	{ "unknown = 1\n", ":1: no such option" },
	{ "link \"a\" {\nport = 1\n", ":1: this is not closed" },
	{ "count = 1\nlink \"{\" { # {\nport = 1 // {\n}\n/* {\n */\n", NULL },
	{ "link \"a\" {\n}\nlink '\\'}' {\n", ":3: this is not closed" },
	{ "on = perhaps\n", ":1: " },
	{ "count 5\n", ":1: " },
};

/* The number of errors; the text that was printed in out. */
static int
load(const char *path, char *out, size_t size)
{
	int file = memfd_create("stderr", 0), saved = dup(2), before = conf_failed();
	ssize_t n;
	cfg_t *cfg;

	fflush(stderr);
	dup2(file, 2);
	cfg = conf_load_checked(path, opts, checks);
	fflush(stderr);
	dup2(saved, 2);
	n = pread(file, out, size - 1, 0);
	out[n < 0 ? 0 : n] = '\0';
	close(saved);
	close(file);
	assert_int_equal(cfg == NULL, conf_failed() > before);
	if (cfg != NULL)
		cfg_free(cfg);
	return conf_failed() - before;
}

static void
test_files(void **state)
{
	char dir[] = "/tmp/test_conf.XXXXXX", path[64], out[1024], want[96];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/t.conf", dir);
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(fs_replace(dir, "t.conf", cases[i].text, strlen(cases[i].text),
		    0600), 0);
		load(path, out, sizeof(out));
		if (cases[i].error == NULL) {
			assert_string_equal(out, "");
			continue;
		}
		snprintf(want, sizeof(want), "ERROR %s%s", path, cases[i].error);
		if (strncmp(out, want, strlen(want)) != 0)
			fail_msg("case %zu: %s instead of %s", i, out, want);
	}
	assert_int_equal(fs_remove_tree(dir), 0);
	assert_int_equal(load(path, out, sizeof(out)), 1);
	assert_non_null(strstr(out, "No such file"));
}

static void
test_option_line(void **state)
{
	static const char text[] = "# port = 1\ncount = 3\nlink \"port = 2\" {\n"
	    "\tsupport = 4 port=5\n}\n/* share = 1\n */ share\n = 7\nshare = 8\n";
	static const struct { const char *name; int line; } want[] = { { "count", 2 },
		{ "port", 4 }, { "share", 7 }, { "path", 0 }, { "support", 4 }, { "coun", 0 } };
	char dir[] = "/tmp/test_conf.XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/t.conf", dir);
	assert_int_equal(fs_replace(dir, "t.conf", text, strlen(text), 0600), 0);
	for (size_t i = 0; i < COUNT(want); i++)
		if (conf_option_line(path, want[i].name) != want[i].line)
			fail_msg("%s: line %d", want[i].name, conf_option_line(path, want[i].name));
	assert_int_equal(fs_remove_tree(dir), 0);
	assert_int_equal(conf_option_line(path, "count"), 0);
}

static void
test_size(void **state)
{
	static const struct { const char *text; int rc; uint64_t bytes; } sizes[] = {
		{ "0", 0, 0 }, { "123", 0, 123 }, { "100k", 0, 102400 }, { "100K", 0, 102400 },
		{ "64M", 0, 64u << 20 }, { "4G", 0, 4ull << 30 }, { "2T", 0, 2ull << 40 },
		{ "", -1, 0 }, { "M", -1, 0 }, { "1.5M", -1, 0 }, { "1 M", -1, 0 }, { "-1", -1, 0 },
		{ "64MB", -1, 0 }, { "99999999999999999999", -1, 0 }, { "16777216T", -1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		uint64_t bytes = 0;

		assert_int_equal(conf_size(sizes[i].text, &bytes), sizes[i].rc);
		assert_int_equal(bytes, sizes[i].bytes);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_option_line),
		cmocka_unit_test(test_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
