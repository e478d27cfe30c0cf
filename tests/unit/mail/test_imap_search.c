/* test_imap_search.c - keys and what they say of one message, level by level. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "imap_search.h"

#define MESSAGE "Date: Fri, 05 Jan 2024 23:00:00 -0800\r\nFrom: =?utf-8?q?J=C3=BCrgen?= <j@x.example>\r\n" \
	"Subject: Hello World\r\nContent-Type: text/plain; charset=iso-8859-1\r\n" \
	"Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe an alle, sof=\r\nt\r\n"

static const struct {
	const char *keys;
	enum search_answer answer;
	enum search_level level;	/* where it is known first */
} cases[] = {
	{ "ALL", ANSWER_YES, LEVEL_VIEW },
	{ "SEEN", ANSWER_YES, LEVEL_VIEW },
	{ "UNSEEN BODY x", ANSWER_NO, LEVEL_VIEW },
	{ "BODY x UNSEEN", ANSWER_NO, LEVEL_VIEW },
	{ "OR SEEN BODY x", ANSWER_YES, LEVEL_VIEW },
	{ "OR BODY x SEEN", ANSWER_YES, LEVEL_VIEW },
	{ "NOT BODY zzz", ANSWER_YES, LEVEL_BODY },
	{ "RECENT", ANSWER_NO, LEVEL_VIEW },
	{ "OLD", ANSWER_YES, LEVEL_VIEW },
	{ "NEW", ANSWER_NO, LEVEL_VIEW },
	{ "KEYWORD work", ANSWER_YES, LEVEL_INDEX },
	{ "KEYWORD wor", ANSWER_NO, LEVEL_INDEX },
	{ "UNKEYWORD work", ANSWER_NO, LEVEL_INDEX },
	{ "LARGER 10", ANSWER_YES, LEVEL_INDEX },
	{ "SMALLER 10", ANSWER_NO, LEVEL_INDEX },
	{ "LARGER 1000", ANSWER_NO, LEVEL_INDEX },
	{ "ON 1-Jan-2024", ANSWER_YES, LEVEL_INDEX },
	{ "SINCE 2-Jan-2024", ANSWER_NO, LEVEL_INDEX },
	{ "BEFORE 2-Jan-2024", ANSWER_YES, LEVEL_INDEX },
	{ "SENTON 5-Jan-2024", ANSWER_YES, LEVEL_HEAD },	/* as written, whatever the zone */
	{ "SENTSINCE 6-Jan-2024", ANSWER_NO, LEVEL_HEAD },
	{ "FROM \"j\xc3\x9crgen\"", ANSWER_YES, LEVEL_HEAD },
	{ "SUBJECT \"hello w\"", ANSWER_YES, LEVEL_HEAD },
	{ "TO x", ANSWER_NO, LEVEL_HEAD },
	{ "HEADER date \"\"", ANSWER_YES, LEVEL_HEAD },
	{ "HEADER x-none \"\"", ANSWER_NO, LEVEL_HEAD },
	{ "BODY \"GR\xc3\x9c\xc3\x9f" "E\"", ANSWER_YES, LEVEL_BODY },
	{ "BODY \"soft\"", ANSWER_YES, LEVEL_BODY },
	{ "BODY World", ANSWER_NO, LEVEL_BODY },
	{ "TEXT World", ANSWER_YES, LEVEL_BODY },
	{ "TEXT \"subject: hello\"", ANSWER_YES, LEVEL_BODY },
	{ "TEXT =FC", ANSWER_NO, LEVEL_BODY },
};

static void
test_keys(void **state)
{
	struct view_msg view = { .uid = 1, .flags = FLAG_SEEN };
	struct store_msg msg = { .uid = 1, .size = strlen(MESSAGE), .internal_s = 1704110400,
		.keywords = (char *)"$x Work" };
	struct search_msg m = { .view = &view, .msg = &msg };
	struct search_node *root;
	struct arena arena;
	struct imap_cur c;
	struct mime mime;

	(void)state;
	arena_init(&arena, 1 << 20);
	mime_parse(&mime, span_of(MESSAGE));
	m.head = mime.part[0].head;
	m.mime = &mime;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		arena_clear(&arena);
		imap_cur_init(&c, span_of(cases[i].keys), &arena);
		assert_int_equal(imap_get_search(&c, &root), SEARCH_OK);
		for (enum search_level l = LEVEL_VIEW; l < LEVELS; l++) {
			enum search_answer want = l < cases[i].level ? ANSWER_UNKNOWN
								      : cases[i].answer;

			if (imap_search_eval(root, &m, l) != want)
				fail_msg("%s at level %d", cases[i].keys, (int)l);
		}
	}
	mime_clear(&mime);
	arena_clear(&arena);
}

static const struct {
	const char *value;
	int64_t day;			/* -1: none */
} dates[] = {
	{ "Thu, 1 Jan 1970 00:00:00 +0000", 0 },
	{ "2 Jan 70 00:00 GMT", 1 },
	{ " Fri,\r\n 02 Jan 1970 23:59:59 -1200", 1 },
	{ "1 Jan 124 00:00 +0000", 19723 },	/* a program that counts from 1900 */
	{ "yesterday", -1 },
	{ "", -1 },
	{ "Thu, 0 Jan 1970", -1 },
};

static void
test_sent_day(void **state)
{
	int64_t day;

	(void)state;
	for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
		day = -1;
		imap_search_sent_day(span_of(dates[i].value), &day);
		if (day != dates[i].day)
			fail_msg("%s: %lld", dates[i].value, (long long)day);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_sent_day),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
