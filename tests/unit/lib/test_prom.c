/* test_prom.c - the text format: escapes, values, histograms. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <event2/buffer.h>

#include "mem.h"
#include "prom.h"

static void
expect(struct evbuffer *b, const char *text)
{
	size_t len = evbuffer_get_length(b);
	char *seen = mem_copy(evbuffer_pullup(b, -1), len);

	assert_string_equal(seen, text);
	free(seen);
	evbuffer_drain(b, len);
}

static void
families(void **state)
{
	struct evbuffer *b = evbuffer_new();

	(void)state;
	prom_family(b, "x_total", PROM_COUNTER, "One \\ two\nthree \"four\"");
	expect(b, "# HELP x_total One \\\\ two\\nthree \"four\"\n# TYPE x_total counter\n");
	prom_family(b, "x", PROM_GAUGE, "");
	expect(b, "# HELP x \n# TYPE x gauge\n");
	evbuffer_free(b);
}

static void
samples(void **state)
{
	static const struct { double v; const char *text; } table[] = {
		{ 0, "0" }, { 1, "1" }, { -1, "-1" }, { 0.18, "0.18" }, { 9007199254740991.0,
		"9.00719925474099e+15" }, { 123456789012345.0, "123456789012345" },
		{ NAN, "NaN" }, { INFINITY, "+Inf" }, { -INFINITY, "-Inf" },
	};
	const struct prom_label labels[] = { { "link", "a\"b\\c\nd" }, { "node", "" }, { 0 } };
	struct evbuffer *b = evbuffer_new();
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		prom_sample(b, "x", NULL, table[i].v);
		snprintf(text, sizeof(text), "x %s\n", table[i].text);
		expect(b, text);
	}
	prom_sample(b, "x", labels, 2);
	expect(b, "x{link=\"a\\\"b\\\\c\\nd\",node=\"\"} 2\n");
	evbuffer_free(b);
}

static void
histograms(void **state)
{
	static const double bounds[] = { 0, 0.001, 0.5 };
	static const uint64_t counts[] = { 4, 0, 3, 2 };
	const struct prom_label labels[] = { { "link", "eth1" }, { 0 } };
	struct evbuffer *b = evbuffer_new();

	(void)state;
	prom_histogram(b, "late_seconds", labels, bounds, counts, 3, 1.25);
	expect(b, "late_seconds_bucket{link=\"eth1\",le=\"0\"} 4\n"
	    "late_seconds_bucket{link=\"eth1\",le=\"0.001\"} 4\n"
	    "late_seconds_bucket{link=\"eth1\",le=\"0.5\"} 7\n"
	    "late_seconds_bucket{link=\"eth1\",le=\"+Inf\"} 9\n"
	    "late_seconds_sum{link=\"eth1\"} 1.25\n"
	    "late_seconds_count{link=\"eth1\"} 9\n");
	prom_histogram(b, "x", NULL, bounds, counts, 0, 0);
	expect(b, "x_bucket{le=\"+Inf\"} 4\nx_sum 0\nx_count 4\n");
	evbuffer_free(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(families),
		cmocka_unit_test(samples),
		cmocka_unit_test(histograms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
