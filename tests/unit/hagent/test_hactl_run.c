/* test_hactl_run.c - another program's output and end under one time limit: what ends by
 * itself, what hangs with its output open or closed, what does not heed TERM, and whom
 * it started. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <cmocka.h>

#include "clock.h"
#include "hactl_run.h"

#define LIMIT_MS 300
#define ALL_MS 5000		/* limit, two graces, a slow machine */

#define LIVE "while :; do sleep 1; done"

static const struct row {
	const char *script;
	int limit_ms, code;
	const char *text;	/* NULL: the number of a process that must be gone */
} table[] = {
	{ "echo out; echo err >&2; exit 3", 20000, 3, "out\nerr\n" },
	{ "exit 0", 20000, 0, "" },
	{ "kill -9 $$", 20000, -1, "" },
	{ "exit 126", 20000, -1, "" },
	/* Closed and busy for a moment: its end is waited for. */
	{ "echo a; exec >&- 2>&-; sleep 0.2; exit 4", 20000, 4, "a\n" },
	{ "echo $$; " LIVE, LIMIT_MS, -1, NULL },
	{ "echo $$; exec >&- 2>&-; " LIVE, LIMIT_MS, -1, NULL },
	{ "trap '' TERM; echo $$; exec >&- 2>&-; " LIVE, LIMIT_MS, -1, NULL },
	{ "trap '' TERM; echo $$; " LIVE, LIMIT_MS, -1, NULL },
	/* It ends, but whom it started keeps the output, and heeds nothing. */
	{ "(trap '' TERM; " LIVE ") & echo $!; exit 0", LIMIT_MS, -1, NULL },
	/* It heeds TERM, whom it started does not. */
	{ "(trap '' TERM; " LIVE ") & echo $!; exec >&- 2>&-; " LIVE, LIMIT_MS, -1, NULL },
};

/* A killed process of somebody else's is gone when init has reaped it. */
static bool
gone(pid_t pid, int64_t end_ms)
{
	char path[64], state = 'Z';
	FILE *f;

	do {
		snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
		f = fopen(path, "re");
		if (f == NULL)
			return true;
		if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
			state = 'Z';
		fclose(f);
	} while (state != 'Z' && clock_ms() < end_ms);
	return state == 'Z';
}

static void
scripts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct row *r = &table[i];
		const char *argv[] = { "sh", "-c", r->script, NULL };
		int64_t began_ms = clock_ms();
		size_t len;
		char *text;

		if (hactl_run(argv, r->limit_ms, &text, &len) != r->code)
			fail_msg("exit code of: %s", r->script);
		if (clock_ms() - began_ms > ALL_MS)
			fail_msg("too long: %s", r->script);
		assert_int_equal(len, strlen(text));
		if (r->text != NULL)
			assert_string_equal(text, r->text);
		else if (!gone((pid_t)strtol(text, NULL, 10), clock_ms() + ALL_MS))
			fail_msg("left over by: %s", r->script);
		free(text);
	}
}

static void
no_program(void **state)
{
	const char *argv[] = { "/nonexistent/program", NULL };
	size_t len;
	char *text;

	(void)state;
	assert_int_equal(hactl_run(argv, 20000, &text, &len), -1);
	assert_string_equal(text, "");
	free(text);
}

/* What is over the most that is kept is read and dropped; the program goes on. */
static void
much(void **state)
{
	const char *argv[] = { "sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x; exit 5", NULL };
	size_t len;
	char *text;

	(void)state;
	assert_int_equal(hactl_run(argv, 20000, &text, &len), 5);
	assert_int_equal(len, HACTL_RUN_MAX);
	assert_int_equal(text[len], 0);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(scripts),
		cmocka_unit_test(no_program), cmocka_unit_test(much) };

	return cmocka_run_group_tests_name("hactl_run", tests, NULL, NULL);
}
