/* test_log.c - lines that cannot be forged, levels, rates; and the clocks. */
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "unit.h"

/* What is written to descriptor 2 while it runs. */
static char *
captured(void (*say)(void))
{
	int file = memfd_create("log", 0), saved = dup(2);
	char *text = mem_alloc(8192);

	dup2(file, 2);
	say();
	dup2(saved, 2);
	assert_true(pread(file, text, 8191, 0) >= 0);
	close(file);
	close(saved);
	return text;
}

/* As systemd does it: the variable names the stream that descriptor 2 is. */
static void
say_to_journal(void)
{
	char stream[64];
	struct stat st;

	assert_int_equal(fstat(2, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init("test/part", true, LOG_LEVEL_DEBUG);
	log_err("<0>one");
	log_warnx("two\n<0>forged");
	log_info("three");
	log_debug("four");
	/* Of another stream: as without. */
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_init("test/part", true, LOG_LEVEL_INFO);
	log_info("five");
	unsetenv("JOURNAL_STREAM");
}

static void
test_journal(void **state)
{
	char *text = captured(say_to_journal), expected[400];
	int n = snprintf(expected, sizeof(expected), "<3>test/part[%d]: <0>one\n"
	    "<4>test/part[%d]: two?<0>forged\n<6>test/part[%d]: three\n<7>test/part[%d]: four\n",
	    (int)getpid(), (int)getpid(), (int)getpid(), (int)getpid());

	(void)state;
	assert_memory_equal(text, expected, (size_t)n);
	assert_int_equal(text[n], '2');		/* a year */
	assert_non_null(strstr(text + n, " info: five\n"));
	free(text);
}

static void
say_lines(void)
{
	log_init("test/part", true, LOG_LEVEL_INFO);
	errno = ENOSPC;
	log_warn("cannot write %s", "x");
	log_warnx("plain");
	log_info("two\nlines\x1b[0m");
	log_debug("not seen");
	log_level_set(LOG_LEVEL_ERR);
	log_info("not seen");
	errno = EBADF;
	log_err("bad");
	assert_int_equal(errno, EBADF);
}

static void
test_lines(void **state)
{
	char *text = captured(say_lines), *nl = text;
	int lines = 0;

	(void)state;
	while ((nl = strchr(nl, '\n')) != NULL) {
		lines++;
		nl++;
	}
	assert_int_equal(lines, 4);
	assert_non_null(strstr(text, "warn: cannot write x: No space left on device\n"));
	assert_non_null(strstr(text, "warn: plain\n"));
	assert_non_null(strstr(text, "info: two?lines?[0m\n"));
	assert_non_null(strstr(text, "err: bad\n"));
	assert_non_null(strstr(text, "test/part["));
	assert_int_equal(text[10], 'T');
	assert_int_equal(text[23], 'Z');
	free(text);
}

static void
say_long(void)
{
	char *s = mem_alloc(5000);

	memset(s, 'y', 4999);
	log_level_set(LOG_LEVEL_INFO);
	log_info("%s", s);
	free(s);
}

static void
test_long(void **state)
{
	char *text = captured(say_long);

	(void)state;
	assert_true(strlen(text) < 2300);
	assert_int_equal(text[strlen(text) - 1], '\n');
	free(text);
}

static void
test_safe(void **state)
{
	char longer[400];

	(void)state;
	assert_string_equal(log_safe("a\r\nb\x7f\xc3\xa9"), "a\\x0d\\x0ab\\x7f\\xc3\\xa9");
	assert_string_equal(log_safe_span(SPAN("a\0b")), "a\\x00b");
	assert_string_equal(log_safe(NULL), "(null)");
	memset(longer, '\n', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_true(strlen(log_safe(longer)) <= 200);
	const char *first = log_safe("first");

	for (int i = 0; i < 7; i++)
		log_safe("other");
	assert_string_equal(first, "first");
}

static void
test_rate(void **state)
{
	struct log_rate r = { 0 };
	unsigned long held = 99;

	(void)state;
	assert_true(log_rate_ok(&r, 60000, &held));
	assert_int_equal(held, 0);
	for (int i = 0; i < 5; i++)
		assert_false(log_rate_ok(&r, 60000, &held));
	assert_true(log_rate_ok(&r, 0, &held));
	assert_int_equal(held, 5);
}

static void
test_level_names(void **state)
{
	enum log_level level;

	(void)state;
	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_int_equal(log_level_parse("Debug", &level), -1);
	assert_int_equal(log_level_parse("", &level), -1);
}

static void
test_clock(void **state)
{
	int64_t ms = clock_ms(), us = clock_us();

	(void)state;
	assert_true(us / 1000 - ms >= 0 && us / 1000 - ms < 5000);
	assert_true(clock_wall_ms() > 1600000000000);
}

static void
test_memory(void **state)
{
	char *s = mem_printf("%d-%s", 7, "x"), *c = mem_copy(NULL, 0), *z = mem_array(3, 5);

	(void)state;
	assert_string_equal(s, "7-x");
	assert_string_equal(c, "");
	assert_memory_equal(z, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
	assert_null(mem_dup(NULL));
	mem_wipe(s, 3);
	assert_memory_equal(s, "\0\0\0", 3);
	z = mem_grow(z, 100, 10);
	free(s);
	free(c);
	free(z);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_journal),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_safe),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_level_names),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
