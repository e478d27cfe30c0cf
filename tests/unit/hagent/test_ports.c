/* test_ports.c - what is made of the errors of two families, as a table, and a look at
 * a port that is taken and at one that is free. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "ports.h"

static const struct {
	struct port_look look[3];	/* until port 0 */
	struct ports expected;
} table[] = {
	{ { { 25, 0, 0 }, { 587, 0, 0 } }, { 0, 0, 0, 0, 0 } },
	{ { { 25, EADDRINUSE, 0 } }, { 1, 0, 25, 0, 0 } },
	{ { { 25, 0, EADDRINUSE } }, { 1, 0, 25, 0, 0 } },
	{ { { 25, 0, 0 }, { 110, EADDRINUSE, EADDRINUSE }, { 143, EADDRINUSE, 0 } },
	    { 2, 0, 110, 0, 0 } },
	/* A machine without IPv6, or without IPv4: the other family tells. */
	{ { { 25, 0, EAFNOSUPPORT } }, { 0, 0, 0, 0, 0 } },
	{ { { 25, 0, EADDRNOTAVAIL } }, { 0, 0, 0, 0, 0 } },
	{ { { 25, EAFNOSUPPORT, 0 } }, { 0, 0, 0, 0, 0 } },
	{ { { 25, EADDRINUSE, EAFNOSUPPORT } }, { 1, 0, 25, 0, 0 } },
	{ { { 25, EAFNOSUPPORT, EAFNOSUPPORT } }, { 0, 1, 0, 25, EAFNOSUPPORT } },
	/* As a user, out of descriptors, under a filter: nothing was seen. */
	{ { { 25, EACCES, EACCES } }, { 0, 1, 0, 25, EACCES } },
	{ { { 25, EPERM, EPERM } }, { 0, 1, 0, 25, EPERM } },
	{ { { 25, EACCES, EAFNOSUPPORT } }, { 0, 1, 0, 25, EACCES } },
	{ { { 25, EAFNOSUPPORT, EPERM } }, { 0, 1, 0, 25, EPERM } },
	{ { { 25, EMFILE, EMFILE } }, { 0, 1, 0, 25, EMFILE } },
	{ { { 25, 0, ENOMEM } }, { 0, 1, 0, 25, ENOMEM } },
	/* Seen in one family is seen. */
	{ { { 25, EADDRINUSE, EPERM } }, { 1, 0, 25, 0, 0 } },
	{ { { 25, EACCES, EACCES }, { 143, EADDRINUSE, 0 }, { 993, EPERM, EPERM } },
	    { 1, 2, 143, 25, EACCES } },
};

static void
judged(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct ports *e = &table[i].expected;
		struct ports got;
		size_t n = 0;

		while (n < 3 && table[i].look[n].port != 0)
			n++;
		ports_judge(table[i].look, n, &got);
		if (got.taken != e->taken || got.unknown != e->unknown ||
		    got.first_taken != e->first_taken ||
		    got.first_unknown != e->first_unknown || got.why != e->why)
			fail_msg("row %zu: taken %u (%d), unknown %u (%d, errno %d)", i, got.taken,
			    got.first_taken, got.unknown, got.first_unknown, got.why);
	}
}

static void
looked(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct port_look look;
	struct ports got;

	(void)state;
	assert_int_not_equal(fd, -1);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	look.port = ntohs(at.sin_port);
	ports_look(&look, 1);
	ports_judge(&look, 1, &got);
	assert_int_equal(got.taken, 1);
	assert_int_equal(got.first_taken, look.port);
	close(fd);
	ports_look(&look, 1);
	ports_judge(&look, 1, &got);
	assert_int_equal(got.taken, 0);
	assert_int_equal(got.unknown, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(judged), cmocka_unit_test(looked) };

	return cmocka_run_group_tests_name("ports", tests, NULL, NULL);
}
