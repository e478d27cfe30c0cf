/* test_forget.c - copies of a secret are gone wherever they stand, and nothing else is. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "forget.h"
#include "mem.h"

static char in_data[] = "x passwd=quite-Secret x";

static void
copies_are_gone(void **state)
{
	/* Twice the same: the second is a copy of the first, and no longer a secret. */
	char *one = mem_dup("passwd=quite-Secret"), *two = mem_dup("passwd=quite-Secret");
	struct span secrets[] = { span_of(one), span_of(two) };
	volatile char in_stack[] = "passwd=quite-Secret";
	char *page, *near = mem_dup("passwd=quite-Secre!");

	(void)state;
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(page, MAP_FAILED);
	memcpy(page + 4096 - secrets[0].len, one, secrets[0].len);	/* to the last byte */
	assert_int_equal(forget(secrets, 2), 0);
	assert_string_equal(one, "passwd=quite-Secret");
	assert_int_equal(two[0], '\0');
	assert_int_equal(in_stack[0], '\0');
	assert_int_equal(in_stack[18], '\0');
	assert_memory_equal(in_data, "x \0\0\0\0", 6);
	assert_string_equal(in_data + 21, " x");
	assert_int_equal(page[4095], 0);
	assert_int_equal(page[4096 - secrets[0].len], 0);
	assert_string_equal(near, "passwd=quite-Secre!");
	munmap(page, 4096);
	free(near);
	free(two);
	free(one);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(copies_are_gone) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
