/* test_imap_view.c - sequence numbers while others expunge and deliver. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "imap_view.h"

static struct arena arena;

static struct imap_view *
view_of(uint32_t n, uint32_t step)
{
	struct imap_view *v = imap_view_new(1, false);

	v->recent_from = UINT32_MAX;
	for (uint32_t i = 1; i <= n; i++)
		imap_view_add(v, &(struct store_msg) { .uid = i * step });
	v->told = v->n;
	return v;
}

static void
note(uint32_t seq, void *arg)
{
	sprintf((char *)arg + strlen(arg), "%u ", seq);
}

static void
test_expunge(void **state)
{
	struct imap_view *v = view_of(5, 10);
	char told[100] = "";

	(void)state;
	imap_view_gone(v, 20);
	imap_view_gone(v, 20);
	imap_view_gone(v, 40);
	imap_view_gone(v, 41);			/* was never there */
	imap_view_add(v, &(struct store_msg) { .uid = 60 });
	imap_view_add(v, &(struct store_msg) { .uid = 70 });
	imap_view_gone(v, 60);			/* never announced: nobody hears of it */
	assert_int_equal(v->n, 6);
	assert_int_equal(v->gone, 2);
	imap_view_expunge(v, note, told);
	assert_string_equal(told, "4 2 ");
	assert_int_equal(v->told, 3);
	assert_int_equal(v->n, 4);
	assert_int_equal(v->msg[3].uid, 70);
	imap_view_free(v);
}

static void
test_news(void **state)
{
	struct imap_view *v = view_of(3, 1);
	struct store_msg m = { .uid = 2, .flags = FLAG_SEEN, .keywords = (char *)"b a" };

	(void)state;
	imap_view_flags(v, &m, true);
	imap_view_flags(v, &m, true);
	assert_int_equal(v->dirty, 1);
	assert_int_equal(v->msg[1].flags, FLAG_SEEN);
	assert_int_equal(v->n_keywords, 2);
	assert_string_equal(v->keywords[0], "a");
	imap_view_gone(v, 2);			/* its flags are no news any more */
	assert_int_equal(v->dirty, 0);
	imap_view_add(v, &(struct store_msg) { .uid = 2 });	/* UIDs only grow */
	assert_int_equal(v->n, 3);
	imap_view_free(v);
}

static const struct {
	const char *set;
	bool uid;
	const char *ranges;		/* indexes; "bad" */
} cases[] = {
	{ "1", false, "0-0 " },
	{ "1:5", false, "0-4 " },
	{ "5:1", false, "0-4 " },
	{ "*", false, "4-4 " },
	{ "4:*,1,2", false, "0-1 3-4 " },
	{ "1:2,2:4,5", false, "0-4 " },
	{ "6", false, "bad" },
	{ "1:6", false, "bad" },
	{ "10", true, "0-0 " },
	{ "11:29", true, "1-1 " },
	{ "1:9", true, "" },
	{ "51:99", true, "" },
	{ "99:*", true, "4-4 " },		/* RFC 3501 6.4.8: "*" is always in it */
	{ "1:4294967295", true, "0-4 " },
	{ "30,10", true, "0-0 2-2 " },
};

static void
resolve(const struct imap_view *v, const char *text, bool uid, char *out)
{
	struct imap_cur c;
	struct imap_set set;
	struct view_set vs;

	out[0] = '\0';
	arena_clear(&arena);
	imap_cur_init(&c, span_of(text), &arena);
	assert_int_equal(imap_get_set(&c, &set), PARSE_OK);
	if (imap_view_resolve(v, &set, uid, &arena, &vs) != PARSE_OK) {
		strcpy(out, "bad");
		return;
	}
	for (size_t i = 0; i < vs.n; i++)
		sprintf(out + strlen(out), "%zu-%zu ", vs.r[i].first, vs.r[i].last);
}

static void
test_resolve(void **state)
{
	struct imap_view *v = view_of(5, 10), *none = view_of(0, 1);
	char out[200];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		resolve(v, cases[i].set, cases[i].uid, out);
		if (strcmp(out, cases[i].ranges) != 0)
			fail_msg("%s: %s", cases[i].set, out);
	}
	resolve(none, "1:*", false, out);
	assert_string_equal(out, "");
	resolve(none, "1", false, out);
	assert_string_equal(out, "bad");
	resolve(none, "1:*", true, out);
	assert_string_equal(out, "");
	imap_view_free(v);
	imap_view_free(none);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expunge),
		cmocka_unit_test(test_news),
		cmocka_unit_test(test_resolve),
	};
	int rc;

	arena_init(&arena, 1 << 20);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	arena_clear(&arena);
	return rc;
}
