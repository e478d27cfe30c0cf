/* test_queue_retry.c - the queue's schedule, and the reports to senders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <event2/buffer.h>

#include "queue_dsn.h"
#include "queue_retry.h"

static const struct queue_retry rules = { .min_s = 300, .max_s = 14400, .lifetime_s = 432000,
	.warn_s = 14400 };

static void
pauses(void **state)
{
	static const struct {
		uint32_t attempts;
		int64_t now_s, next_s;
	} cases[] = {
		{ 0, 0, 300 },
		{ 1, 0, 300 },
		{ 2, 300, 900 },
		{ 3, 900, 2100 },
		{ 6, 0, 9600 },
		{ 7, 0, 14400 },
		{ 4000000000u, 0, 14400 },
		{ 40, 431000, 432000 },		/* the last one at the end of the lifetime */
		{ 40, 432000, 446400 },		/* behind it nothing is moved */
		{ 1, -86400, -86100 },		/* a clock that was set back */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(queue_retry_next(&rules, cases[i].attempts, 0,
		    cases[i].now_s * 1000, 0), cases[i].next_s * 1000);
}

static void
spread(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 5000; seed += 7) {
		int64_t next = queue_retry_next(&rules, 1, 0, 0, seed);

		assert_in_range(next, 300000 - 300000 / 8, 300000);
	}
	assert_int_not_equal(queue_retry_next(&rules, 1, 0, 0, 1), queue_retry_next(&rules, 1, 0, 0,
	    999));
}

static void
ends(void **state)
{
	struct queue_retry never = rules;

	(void)state;
	never.warn_s = 0;
	assert_int_equal(queue_retry_expired(&rules, 432000500), 500);
	assert_int_equal(queue_retry_warned(&rules, 14400001), 1);
	assert_true(queue_retry_warned(&never, 14400001) == INT64_MIN);
	assert_int_equal(queue_retry_host_ms(&rules, 0), 0);
	assert_int_equal(queue_retry_host_ms(&rules, 1), 1000);
	assert_int_equal(queue_retry_host_ms(&rules, 4), 8000);
	assert_int_equal(queue_retry_host_ms(&rules, 4000000000u), 300000);
}

static void
status(void **state)
{
	static const struct {
		const char *reply;
		bool failed;
		const char *status;
	} cases[] = {
		{ "550 5.1.1 no such user", true, "5.1.1" },
		{ "550 no such user", true, "5.0.0" },
		{ "550-5.7.26 x", true, "5.7.26" },
		{ "450 4.2.1 busy", false, "4.2.1" },
		{ "450 4.2.1 busy", true, "5.4.7" },
		{ "5.4.7 not delivered in time", true, "5.4.7" },
		{ "4.4.2 no answer in time", false, "4.4.2" },
		{ "450 4.2 x", false, "4.0.0" },
		{ "550 5.1234.1 x", true, "5.0.0" },
		{ "550 5.", true, "5.0.0" },
		{ "", false, "4.0.0" },
	};
	char got[12];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		queue_dsn_status(cases[i].reply, cases[i].failed, got);
		assert_string_equal(got, cases[i].status);
	}
}

static void
report(void **state)
{
	static const char text[] = "Subject: hello\r\nFrom: a\r\n\r\nthe secret\r\n";
	struct queue_message m = { .sender = "me@our.test", .created_ms = 0 };
	struct queue_rcpt r = { .address = "no@far.test", .reply = "550 5.1.1 nobody" };
	struct queue_dsn d = { .hostname = "mail.test", .smart_host = "smart.test", .message = &m,
		.rcpts = &r, .nrcpts = 1, .id = "abc", .header = queue_dsn_header(SPAN(text)) };
	struct evbuffer *out = evbuffer_new();
	char *s;

	(void)state;
	queue_dsn_write(&d, true, out);
	evbuffer_add(out, "", 1);
	s = (char *)evbuffer_pullup(out, -1);
	assert_non_null(strstr(s, "Return-Path: <>\r\n"));
	assert_non_null(strstr(s, "\r\nTo: <me@our.test>\r\n"));
	assert_non_null(strstr(s, "\r\nFinal-Recipient: rfc822; no@far.test\r\nAction: failed\r\n"
				  "Status: 5.1.1\r\nRemote-MTA: dns; smart.test\r\n"
				  "Diagnostic-Code: smtp; 550 5.1.1 nobody\r\n"));
	assert_non_null(strstr(s, "\r\nSubject: hello\r\nFrom: a\r\n\r\n--=_abc--\r\n"));
	assert_null(strstr(s, "secret"));
	for (const char *p = strchr(s, '\n'); p != NULL; p = strchr(p + 1, '\n'))
		assert_int_equal(p[-1], '\r');
	evbuffer_drain(out, evbuffer_get_length(out));
	d.delayed = true;
	queue_dsn_write(&d, false, out);
	evbuffer_add(out, "", 1);
	s = (char *)evbuffer_pullup(out, -1);
	assert_null(strstr(s, "Return-Path"));
	assert_non_null(strstr(s, "\r\nAction: delayed\r\n"));
	assert_non_null(strstr(s, "\r\nWill-Retry-Until: Thu, 1 Jan 1970 00:00:00 +0000\r\n"));
	evbuffer_free(out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pauses),
		cmocka_unit_test(spread),
		cmocka_unit_test(ends),
		cmocka_unit_test(status),
		cmocka_unit_test(report),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
