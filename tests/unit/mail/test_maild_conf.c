/* test_maild_conf.c - the shipped file states the defaults, and mistakes are found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "maild_conf.h"

#define SHIPPED "etc/maild.conf"

static struct maild_conf *
load_text(const char *text)
{
	char path[] = "/tmp/test_maild_conf.XXXXXX";
	int fd = mkstemp(path);
	struct maild_conf *c;

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	c = maild_conf_load(path);
	unlink(path);
	return c;
}

/* Everything but the strings is compared as memory, the strings one by one. */
static void
test_shipped(void **state)
{
	struct maild_conf *shipped = maild_conf_load(SHIPPED), *empty = load_text("");

	(void)state;
	assert_non_null(shipped);
	assert_non_null(empty);
	assert_string_equal(shipped->hostname, empty->hostname);
	assert_string_equal(shipped->tls_cert_file, empty->tls_cert_file);
	assert_string_equal(shipped->tls_key_file, empty->tls_key_file);
	assert_string_equal(shipped->state_dir, empty->state_dir);
	assert_string_equal(shipped->run_dir, empty->run_dir);
	assert_string_equal(shipped->owner_socket, empty->owner_socket);
	assert_string_equal(shipped->delimiter, empty->delimiter);
	assert_string_equal(shipped->smart_host, empty->smart_host);
	assert_int_equal(shipped->nlistens, 7);
	assert_int_equal(shipped->nlistens, empty->nlistens);
	assert_memory_equal(shipped->listens, empty->listens, sizeof(shipped->listens));
	assert_int_equal(shipped->message_size_max, 50u << 20);
#define SAME(from, to) assert_memory_equal(&shipped->from, &empty->from, \
	offsetof(struct maild_conf, to) - offsetof(struct maild_conf, from))
	SAME(gates, delimiter);
	SAME(checkpoint_s, smart_host);
	SAME(queue_retry_min_s, queue_timeout_s);
	maild_conf_free(shipped);
	maild_conf_free(empty);
}

static void
test_mistakes(void **state)
{
	static const char *const bad[] = { "gates = 0", "gates = many", "no-such-option = 1",
		"stores = 20\nshards = 10", "recipients-max = 99", "message-size-max = \"x\"",
		"message-size-max = \"1k\"", "smtp-listen = {\"25\"}", "smtp-listen = {\"*:0\"}",
		"tls-key-file = \"relative\"", "log-level = \"loud\"", "smart-host-tls = \"yes\"",
		"recipient-delimiter = \"++\"", "imap-idle-s = 60", "hostname = \"a\" hostname",
		"message-size-max = \"2G\"", "queue-retry-min-s = 500\nqueue-retry-max-s = 400" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (load_text(bad[i]) != NULL)
			fail_msg("taken: %s", bad[i]);
}

static void
test_values(void **state)
{
	struct maild_conf *c = load_text("hostname = \"m.example\"\nsmtp-listen = {\"192.0.2.1:25\", "
					 "\"[2001:db8::1]:2525\"}\nimap-listen = {}\n"
					 "message-size-max = \"1M\"\nlog-level = \"debug\"\n");

	(void)state;
	assert_non_null(c);
	assert_string_equal(c->hostname, "m.example");
	assert_int_equal(c->nlistens, 7);
	assert_int_equal(c->listens[0].addr.ss_family, AF_INET);
	assert_int_equal(c->listens[1].addr.ss_family, AF_INET6);
	assert_int_equal(c->message_size_max, 1 << 20);
	assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
	maild_conf_free(c);
}

static void
test_address(void **state)
{
	static const struct { const char *text; int rc; } cases[] = {
		{ "*:25", 0 }, { "0.0.0.0:25", 0 }, { "[::]:25", 0 }, { "[::1]:65535", 0 },
		{ "::1:25", -1 }, { "*", -1 }, { ":25", -1 }, { "*:65536", -1 }, { "*:-1", -1 },
		{ "*:25x", -1 }, { "host:25", -1 }, { "", -1 }, { "[192.0.2.1]:25", 0 },
	};
	struct sockaddr_storage ss;
	socklen_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (maild_conf_address(cases[i].text, &ss, &len) != cases[i].rc)
			fail_msg("%s", cases[i].text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shipped),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
