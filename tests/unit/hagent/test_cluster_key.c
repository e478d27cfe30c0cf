/* test_cluster_key.c - the file of cluster keys: one or two, every mistake refused, and
 * frames of a node whose key is changed while the other one has both. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster_key.h"
#include "frame.h"
#include "fs.h"
#include "mem.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "BBbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static const struct {
	const char *text;
	uint8_t n, id[2]; /* n 0: refused */
} cases[] = {
    {A, 1, {1}},
    {A "\n", 1, {1}},
    {A "\r\n", 1, {1}},
    {"7 " A "\n", 1, {7}},
    {"# old and new\n1 " A "\n\n2 " B "\n", 2, {1, 2}},
    {"255 " A "\n3   " B, 2, {255, 3}},
    {A "\n2 " B "\n", 2, {1, 2}},
    {"", 0, {0}},
    {"\n# nothing\n", 0, {0}},
    {"0 " A, 0, {0}},
    {"256 " A, 0, {0}},
    {"-1 " A, 0, {0}},
    {"1 " A "\n1 " B, 0, {0}},
    {A "\n" B, 0, {0}}, /* both would be key 1 */
    {"1 " A "\n2 " B "\n3 " A, 0, {0}},
    {"1 " A "a", 0, {0}},
    {"1 zz" A, 0, {0}},
    {"1", 0, {0}},
    {"1 ", 0, {0}},
    {"1 " A " 2", 0, {0}},
    {"g" A, 0, {0}},
};

static void
files(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cluster_keys k = {.n = 99};
		const char *why = cluster_keys_parse(span_of(cases[i].text), &k);

		if ((why == NULL) != (cases[i].n > 0))
			fail_msg("case %zu: %s", i, why == NULL ? "accepted" : why);
		if (why != NULL) {
			assert_int_equal(k.n, 99);
			continue;
		}
		assert_int_equal(k.n, cases[i].n);
		for (unsigned j = 0; j < k.n; j++)
			assert_int_equal(k.key[j].id, cases[i].id[j]);
	}
}

static void
what_is_printed_is_read(void **state)
{
	struct cluster_keys k = {0}, again;
	char text[CLUSTER_KEY_TEXT], print[2][9];
	size_t len;

	(void)state;
	assert_int_equal(cluster_keys_add(&k), 0);
	assert_int_equal(cluster_keys_add(&k), 0);
	assert_int_equal(cluster_keys_add(&k), -1);
	len = cluster_keys_print(&k, text);
	assert_int_equal(len, CLUSTER_KEY_TEXT - 1 - 4); /* numbers of one digit */
	assert_null(cluster_keys_parse((struct span){text, len}, &again));
	assert_memory_equal(&k, &again, sizeof(k));
	cluster_key_fingerprint(&k.key[0], print[0]);
	cluster_key_fingerprint(&k.key[1], print[1]);
	assert_int_equal(strlen(print[0]), 8);
	assert_string_not_equal(print[0], print[1]);
	assert_null(strstr(text, print[0]));
	k.n = 1;
	k.key[0].id = 255;
	assert_int_equal(cluster_keys_add(&k), 0);
	assert_int_equal(k.key[1].id, 1);
}

static void
others_may_not_read_it(void **state)
{
	char dir[] = "/tmp/test_cluster_key.XXXXXX", why[256];
	struct cluster_keys k;
	char *path;

	(void)state;
	assert_non_null(mkdtemp(dir));
	path = mem_printf("%s/key", dir);
	assert_int_equal(cluster_keys_load(path, &k, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "cannot read"));
	assert_int_equal(fs_replace(dir, "key", A, 64, 0640), 0);
	assert_int_equal(cluster_keys_load(path, &k, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "expected mode 0600, not 0640"));
	assert_null(strstr(why, "aaaa"));
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(cluster_keys_load(path, &k, why, sizeof(why)), 0);
	if (geteuid() == 0) {
		assert_int_equal(chmod(dir, 0770), 0);	/* of root's group: that is root */
		assert_int_equal(cluster_keys_load(path, &k, why, sizeof(why)), 0);
		assert_int_equal(chmod(dir, 0707), 0);
		assert_int_equal(cluster_keys_load(path, &k, why, sizeof(why)), -1);
		assert_non_null(strstr(why, "chmod go-w /tmp/test_cluster_key."));
		assert_int_equal(chmod(dir, 0700), 0);
		assert_int_equal(chown(path, 12345, 0), 0);
		assert_int_equal(cluster_keys_load(path, &k, why, sizeof(why)), -1);
		assert_non_null(strstr(why, "/key belongs to somebody (uid 12345), not to root: "
		    "chown root /tmp/"));
	}
	unlink(path);
	rmdir(dir);
	free(path);
}

/* Sender's keys, receiver's keys (numbers in the order of the file), heard or not. */
static const struct {
	uint8_t from[2], to[2];
	enum frame_rc rc;
} steps[] = {
    {{1}, {1}, FRAME_OK},
    {{1, 2}, {1}, FRAME_OK}, /* the new one is added as second */
    {{1}, {1, 2}, FRAME_OK},
    {{2, 1}, {1, 2}, FRAME_OK}, /* made first on one node, then the other */
    {{1, 2}, {2, 1}, FRAME_OK},
    {{2, 1}, {2}, FRAME_OK}, /* the old one is dropped */
    {{2}, {2, 1}, FRAME_OK},
    {{1}, {2}, FRAME_KEY}, /* it is worth nothing any more */
    {{1, 2}, {2}, FRAME_KEY},
};

static void
derive(const uint8_t ids[2], struct frame_keys *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < 2 && ids[i] != 0; i++) {
		uint8_t secret[32];

		memset(secret, ids[i] * 17, sizeof(secret));
		assert_int_equal(
		    frame_derive(secret, ids[i], "c", "udp", 0, 1, &out->key[i]), 0);
		out->nkeys++;
	}
}

static void
a_key_is_changed_in_steps(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct frame_keys from, to;
		struct frame f = {.type = FRAME_HEARTBEAT,
				 .sender = 1,
				 .boot = 1,
				 .seq = 1,
				 .order = 1,
				 .gen_kind = GEN_JOIN,
				 .gen_node = 1},
			     got;
		struct frame_expect want = {.sender = 1, .channel = 0, .keys = &to};
		uint8_t buf[FRAME_MAX], id[16];
		int len;

		derive(steps[i].from, &from);
		derive(steps[i].to, &to);
		assert_int_equal(frame_cluster_id("c", id), 0);
		memcpy(want.cluster, id, 8);
		len = frame_encode(&f, id, &from.key[0], buf, sizeof(buf));
		assert_true(len > 0);
		assert_int_equal(
		    frame_decode(buf, (size_t)len, &want, &got), steps[i].rc);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(files),
	    cmocka_unit_test(what_is_printed_is_read),
	    cmocka_unit_test(others_may_not_read_it),
	    cmocka_unit_test(a_key_is_changed_in_steps),
	};

	return cmocka_run_group_tests_name("cluster_key", tests, NULL, NULL);
}
