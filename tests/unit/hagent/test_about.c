/* test_about.c - ABOUT in a frame and back, a full frame, versions, clocks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "about.h"

static void
there_and_back(void **state)
{
	static const struct about table[] = {
		{ 0, 0, { 0, 0, 0 }, -1, 0, 0 },
		{ 1764334217123, 3, { 1, 0, 0 }, 0, 3, 3 },
		{ INT64_MAX, UINT32_MAX, { 255, 254, 253 }, 100, 31, 32 },
		{ -5, 1, { 9, 8, 7 }, 41, 0, 255 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct frame f = { .ncontrols = FRAME_CONTROLS - 1 };
		struct about b;

		assert_false(about_get(&f, &b));
		assert_true(about_put(&table[i], &f));
		assert_int_equal(f.ncontrols, FRAME_CONTROLS);
		assert_true(about_get(&f, &b));
		assert_int_equal(b.wall_ms, table[i].wall_ms);
		assert_int_equal(b.role_s, table[i].role_s);
		assert_memory_equal(b.version, table[i].version, 3);
		assert_int_equal(b.disk_used, table[i].disk_used);
		assert_int_equal(b.res_up, table[i].res_up);
		assert_int_equal(b.res_all, table[i].res_all);
		/* What decides is never pushed out by it. */
		assert_false(about_put(&table[i], &f));
		assert_int_equal(f.ncontrols, FRAME_CONTROLS);
	}
}

static void
files(void **state)
{
	static const struct config_digest table[] = {
		{ 1, { 0, 0, 0 } }, { UINT32_MAX, { UINT32_MAX, 0, UINT32_MAX } },
		{ 0x01020304, { 0x11121314, 0x21222324, 0x31323334 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct frame f = { .ncontrols = FRAME_CONTROLS - 1 };
		struct config_digest d;

		assert_false(about_files_get(&f, &d));
		assert_true(about_files_put(&table[i], &f));
		assert_true(about_files_get(&f, &d));
		assert_memory_equal(&d, &table[i], sizeof(d));
		assert_false(about_files_put(&table[i], &f));
		assert_int_equal(f.ncontrols, FRAME_CONTROLS);
	}
}

static void
versions(void **state)
{
	static const struct { const char *in, *out; } table[] = {
		{ "1.0.0", "1.0.0" }, { "12.34.56", "12.34.56" }, { "1.2", "1.2.0" }, { "", "0.0.0" },
		{ "1.2.3rc4", "1.2.3" }, { "x", "0.0.0" }, { "999999999999.1.1", "255.1.1" },
	};
	struct about b = { 0 };
	char buf[20];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		about_version_set(&b, table[i].in);
		assert_string_equal(about_version(&b, buf, sizeof(buf)), table[i].out);
	}
}

static void
clocks(void **state)
{
	struct about_clock c = { 0 };

	(void)state;
	assert_int_equal(about_clock_ahead(&c), 0);
	about_clock_add(&c, 10000, 10104);	/* slow on its way */
	assert_int_equal(about_clock_ahead(&c), -104);
	about_clock_add(&c, 10250, 10251);
	about_clock_add(&c, 10500, 10580);
	assert_int_equal(about_clock_ahead(&c), -1);
	/* A step counts when all older readings have gone. */
	for (int i = 0; i < ABOUT_CLOCKS; i++)
		about_clock_add(&c, 5000, 3605000);
	assert_int_equal(about_clock_ahead(&c), -3600000);
	about_clock_add(&c, INT64_MIN, INT64_MAX);	/* a mad clock is no overflow */
	assert_int_equal(about_clock_ahead(&c), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back), cmocka_unit_test(files),
		cmocka_unit_test(versions),
		cmocka_unit_test(clocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
