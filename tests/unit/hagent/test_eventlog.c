/* test_eventlog.c - events: the ring, both files, a torn tail at every byte, no disk. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "eventlog.h"
#include "fs.h"

static char dir[64], path[96];

static int
setup(void **state)
{
	(void)state;
	strncpy(dir, "/tmp/test_eventlog.XXXXXX", sizeof(dir) - 1);
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/events", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	return fs_remove_tree(dir);
}

static void
add(struct eventlog *l, unsigned from, unsigned to)
{
	char text[40];

	for (unsigned i = from; i <= to; i++) {
		snprintf(text, sizeof(text), "event %u", i);
		assert_int_equal(eventlog_add(l, 1000 + i, i, EVENTLOG_LINK, text)->no, i);
	}
}

/* All that is kept, in order, with the texts of add(). */
static void
expect(const struct eventlog *l, uint64_t first, uint64_t last)
{
	char text[40];

	assert_int_equal(eventlog_first(l), first);
	assert_int_equal(eventlog_last(l), last);
	for (uint64_t n = first; n <= last; n++) {
		snprintf(text, sizeof(text), "event %u", (unsigned)n);
		assert_string_equal(eventlog_get(l, n)->text, text);
		assert_int_equal(eventlog_get(l, n)->wall_ms, 1000 + n);
		assert_int_equal(eventlog_get(l, n)->kind, EVENTLOG_LINK);
	}
	assert_null(eventlog_get(l, first - 1));
	assert_null(eventlog_get(l, last + 1));
}

static void
ring_and_restarts(void **state)
{
	static const struct { unsigned upto, first; } table[] = {
		{ 0, 1 }, { 1, 1 }, { 9, 1 }, { 10, 1 }, { 11, 2 }, { 25, 16 }, { 30, 21 },
		{ 31, 22 }, { 500, 491 },
	};
	unsigned had = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct eventlog *l = eventlog_open(dir, 10);

		/* What was kept before the restart; then some more. */
		expect(l, had < 10 ? 1 : had - 9, had);
		add(l, had + 1, table[i].upto);
		had = table[i].upto;
		expect(l, table[i].first, had);
		eventlog_free(l);
	}
}

static void
the_files_are_bounded(void **state)
{
	struct eventlog *l = eventlog_open(dir, 10);
	struct stat st;
	char old[120];

	(void)state;
	add(l, 1, 1000);
	eventlog_free(l);
	snprintf(old, sizeof(old), "%s.1", path);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size <= 10 * (EVENTLOG_TEXT + 40));
	assert_int_equal(stat(old, &st), 0);
	assert_true(st.st_size <= 10 * (EVENTLOG_TEXT + 40));
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void
torn_at_every_byte(void **state)
{
	struct eventlog *l = eventlog_open(dir, 10);
	char *whole;
	size_t len;

	(void)state;
	add(l, 1, 3);
	eventlog_free(l);
	assert_int_equal(fs_read(path, 65536, &whole, &len), 0);
	for (size_t cut = 0; cut < len; cut++) {
		unsigned good = (unsigned)(cut * 3 / len);

		assert_int_equal(fs_replace(dir, "events", whole, cut, 0600), 0);
		l = eventlog_open(dir, 10);
		expect(l, 1, good);
		/* What is appended behind the damage is readable again. */
		add(l, good + 1, good + 1);
		eventlog_free(l);
		l = eventlog_open(dir, 10);
		expect(l, 1, good + 1);
		eventlog_free(l);
	}
	free(whole);
}

static void
damaged_at_every_byte(void **state)
{
	struct eventlog *l = eventlog_open(dir, 10);
	char *whole;
	size_t len;

	(void)state;
	add(l, 1, 3);
	eventlog_free(l);
	assert_int_equal(fs_read(path, 65536, &whole, &len), 0);
	for (size_t at = 0; at < len; at++) {
		whole[at] ^= 0x41;
		assert_int_equal(fs_replace(dir, "events", whole, len, 0600), 0);
		whole[at] ^= 0x41;
		l = eventlog_open(dir, 10);
		expect(l, 1, at * 3 / len);
		eventlog_free(l);
	}
	free(whole);
}

static void
without_a_disk(void **state)
{
	struct eventlog *l = eventlog_open("/nonexistent/folder", 10);

	(void)state;
	add(l, 1, 15);
	expect(l, 6, 15);
	eventlog_free(l);
}

static void
foreign_bytes(void **state)
{
	struct eventlog *l = eventlog_open(dir, 2);
	char big[1000];

	(void)state;
	assert_string_equal(eventlog_add(l, 1, 1, EVENTLOG_OPERATOR, "a\nb\033[1m\xff\x7f")->text,
	    "a?b?[1m??");
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(strlen(eventlog_add(l, 1, 1, EVENTLOG_ROLE, big)->text),
	    EVENTLOG_TEXT - 1);
	assert_string_equal(eventlog_kind_name(EVENTLOG_DATA), "data");
	assert_string_equal(eventlog_kind_name((enum eventlog_kind)200), "other");
	eventlog_free(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ring_and_restarts, setup, teardown),
		cmocka_unit_test_setup_teardown(the_files_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(torn_at_every_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_at_every_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(foreign_bytes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
