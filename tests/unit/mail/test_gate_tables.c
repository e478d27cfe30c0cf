/* test_gate_tables.c - who waits for answers, and what a gate knows of addresses. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ip_table.h"
#include "waits.h"

struct seen { int answers, gone; struct waits *again; };

static void
on_answer(void *arg, const struct ipc_msg *m)
{
	struct seen *s = arg;

	if (m != NULL)
		s->answers++;
	else
		s->gone++;
	if (s->again != NULL)		/* asks the successor from inside the callback */
		waits_add(s->again, CHILD_STORE, 0, on_answer, s);
}

static void
test_waits(void **state)
{
	struct waits *w = waits_new();
	struct seen a = { 0 }, b = { 0 };
	struct ipc_msg m = { .fd = -1 };
	uint32_t ids[3000];

	(void)state;
	for (size_t i = 0; i < 3000; i++)
		ids[i] = waits_add(w, i % 2 ? CHILD_STORE : CHILD_DIRECTORY, 0, on_answer,
		    i % 3 ? &a : &b);
	m.id = ids[1];
	waits_answer(w, CHILD_STORE, 1, &m);		/* another process may not answer */
	assert_int_equal(a.answers, 0);
	waits_answer(w, CHILD_STORE, 0, &m);
	waits_answer(w, CHILD_STORE, 0, &m);		/* once only */
	assert_int_equal(a.answers, 1);
	assert_int_equal(waits_dropped(w), 2);
	waits_forget(w, &b);
	assert_int_equal(waits_count(w), 1999);
	waits_gone(w, CHILD_DIRECTORY, 0);
	assert_int_equal(a.gone, 1000);
	assert_int_equal(b.gone, 0);
	a.again = w;
	waits_gone(w, CHILD_STORE, 0);
	assert_int_equal(a.gone, 1999);
	assert_int_equal(waits_count(w), 999);		/* the new questions stay */
	waits_free(w);
}

static struct ip_key
key(const char *text)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		return ip_table_key((struct sockaddr *)&v4);
	assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
	return ip_table_key((struct sockaddr *)&v6);
}

static void
test_connections(void **state)
{
	struct ip_table *t = ip_table_new(2, 3, 1000, 3);

	(void)state;
	assert_true(ip_table_enter(t, key("192.0.2.1"), 0));
	assert_true(ip_table_enter(t, key("::ffff:192.0.2.1"), 0));
	assert_false(ip_table_enter(t, key("192.0.2.1"), 0));
	ip_table_leave(t, key("192.0.2.1"));
	assert_true(ip_table_enter(t, key("192.0.2.1"), 0));
	assert_true(ip_table_enter(t, key("2001:db8::1"), 0));
	assert_true(ip_table_enter(t, key("2001:db8::2"), 0));		/* the same /64 */
	assert_false(ip_table_enter(t, key("2001:db8::3"), 0));
	assert_true(ip_table_enter(t, key("192.0.2.3"), 0));
	assert_false(ip_table_enter(t, key("192.0.2.4"), 0));		/* the table is full */
	ip_table_leave(t, key("192.0.2.3"));
	assert_true(ip_table_enter(t, key("192.0.2.4"), 0));
	ip_table_free(t);
}

static void
test_failures(void **state)
{
	struct ip_table *t = ip_table_new(2, 3, 1000, 2);

	(void)state;
	assert_int_equal(ip_table_fail(t, key("192.0.2.1"), 1, 0), 1);
	assert_int_equal(ip_table_fail(t, key("192.0.2.1"), 2, 10), 2);
	assert_true(ip_table_may_try(t, key("192.0.2.1"), 20));
	assert_int_equal(ip_table_fail(t, key("192.0.2.1"), 3, 20), 3);
	assert_false(ip_table_may_try(t, key("192.0.2.1"), 999));
	assert_true(ip_table_may_try(t, key("192.0.2.1"), 1000));
	assert_true(ip_table_may_try(t, key("192.0.2.2"), 20));
	assert_int_equal(ip_table_fail(t, key("192.0.2.1"), 4, 1500), 1);	/* a new window */
	assert_int_equal(ip_table_fail(t, key("192.0.2.2"), 5, 1500), 1);
	assert_int_equal(ip_table_fail(t, key("192.0.2.3"), 6, 1600), 3);	/* full: refused */
	assert_int_equal(ip_table_fail(t, key("192.0.2.3"), 7, 2700), 1);	/* swept meanwhile */
	ip_table_free(t);
}

/* The same wrong password again is not counted, in any order of a few of them. */
static void
test_forgotten_phones(void **state)
{
	struct ip_table *t = ip_table_new(2, 10, 1000, 2);

	(void)state;
	for (int i = 0; i < 300; i++)
		assert_in_range(ip_table_fail(t, key("192.0.2.1"), (uint64_t)(i % 3), i), 1, 3);
	assert_true(ip_table_may_try(t, key("192.0.2.1"), 300));
	for (int i = 3; i < 10; i++)
		assert_int_equal(ip_table_fail(t, key("192.0.2.1"), (uint64_t)i, 300), i + 1);
	assert_false(ip_table_may_try(t, key("192.0.2.1"), 300));
	/* Digests of an old window count again. */
	assert_int_equal(ip_table_fail(t, key("192.0.2.1"), 9, 2000), 1);
	ip_table_free(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_waits),
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_forgotten_phones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
