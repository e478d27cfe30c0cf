/* test_forget.c - copies of a secret are gone wherever they stand, and nothing else is;
 * so are those that the parser of a configuration leaves behind. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "forget.h"
#include "fs.h"
#include "hagent_conf.h"
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

/* "conf-Password-4711", which must not be in this program's own text. */
static const char shifted[] = "dpog.Qbttxpse.5822";

static size_t
count_in(const volatile char *p, size_t len)
{
	size_t n = 0, k;

	for (size_t i = 0; i + sizeof(shifted) - 1 <= len; i++) {
		for (k = 0; k < sizeof(shifted) - 1 && p[i + k] == shifted[k] - 1; k++)
			continue;
		n += k == sizeof(shifted) - 1;
	}
	return n;
}

static size_t
count(void)
{
	unsigned long from, to;
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512], rights[8];
	size_t n = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3 &&
		    strncmp(rights, "rw", 2) == 0)
			n += count_in((const volatile char *)from, to - from);
	fclose(maps);
	return n;
}

static char *
with_password(const char *dir)
{
	char word[sizeof(shifted)], *text;
	int rc;

	for (size_t i = 0; i < sizeof(shifted); i++)
		word[i] = (char)(shifted[i] == '\0' ? '\0' : shifted[i] - 1);
	text = mem_printf("fence \"f\" { agent = \"/usr/bin/true\" node = \"ha-2\" "
	    "args = { \"passwd=%s\" } }\ncluster = \"c\"\nnode \"ha-1\" { }\nnode \"ha-2\" { }\n"
	    "link \"s\" { medium = \"serial\" device = \"/dev/ttyS0\" }\n#%9000s\n", word, "");
	rc = fs_replace(dir, "conf", text, strlen(text), 0600);
	mem_wipe(text, strlen(text));
	mem_wipe(word, sizeof(word));
	free(text);
	assert_int_equal(rc, 0);
	return mem_printf("%s/conf", dir);
}

static void
parser_leaves_nothing(void **state)
{
	char dir[] = "/tmp/test_forget.XXXXXX", *path;
	struct hagent_conf *c;
	struct span secrets[HAGENT_SECRETS_MAX];

	(void)state;
#ifdef MAILPAIR_SAN
	skip();		/* it maps more than can be searched */
#endif
	assert_non_null(mkdtemp(dir));
	path = with_password(dir);
	assert_non_null(c = hagent_conf_load(path, "ha-1"));
	assert_true(count() > 1);	/* what the configuration says, and what is left of it */
	assert_int_equal(hagent_conf_secrets(c, secrets, HAGENT_SECRETS_MAX), 1);
	assert_int_equal(forget(secrets, 1), 0);
	assert_int_equal(count(), 1);
	hagent_conf_wipe(c);
	assert_int_equal(count(), 0);
	hagent_conf_free(c);
	free(path);
	assert_int_equal(fs_remove_tree(dir), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(copies_are_gone),
		cmocka_unit_test(parser_leaves_nothing) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
