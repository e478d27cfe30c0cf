/* test_ocf_meta.c - metadata as agents write it, and as they had better not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "ocf_meta.h"

static const char dummy[] =
    "<?xml version=\"1.0\"?>\n"
    "<!DOCTYPE resource-agent SYSTEM \"ra-api-1.dtd\">\n"
    "<resource-agent name=\"Dummy\" version=\"1.0\">\n"
    "<version>1.0</version><longdesc lang=\"en\">&lt;b&gt; text</longdesc>\n"
    "<parameters>\n"
    "<parameter name=\"state\" unique=\"1\"><content type=\"string\" default=\"/run/x\" "
    "/>"
    "</parameter>\n"
    "<parameter name=\"ip\" required=\"1\"><content type=\"string\" default=\"\" "
    "/></parameter>\n"
    "<parameter name=\"nic\" required=\"true\"><content type=\"string\" "
    "default=\"eth0\"/>"
    "</parameter>\n"
    "<parameter name=\"count\"><content type=\"integer\" /></parameter>\n"
    "<parameter name=\"fake\"><content type=\"boolean\" default=\"0\" /></parameter>\n"
    "<parameter name=\"mode\"><content type=\"select\" default=\"a\" /></parameter>\n"
    "</parameters>\n"
    "<actions><action name=\"start\" timeout=\"20s\" /><action name=\"stop\" "
    "timeout=\"2m\" />\n"
    "<action name=\"monitor\" timeout=\"5\" interval=\"10s\" depth=\"0\" />\n"
    "<action name=\"monitor\" timeout=\"30000ms\" depth=\"10\" />\n"
    "<action name=\"meta-data\" timeout=\"5s\" /></actions></resource-agent>\n";

static void
reads(void **state)
{
	static const struct {
		const char *name;
		enum ocf_type type;
		bool required;
	} t[] = {{"state", OCF_STRING, false}, {"ip", OCF_STRING, true},
	    {"nic", OCF_STRING, false}, {"count", OCF_INTEGER, false},
	    {"fake", OCF_BOOLEAN, false}, {"mode", OCF_STRING, false}};
	struct ocf_meta m;
	const char *why;

	(void)state;
	assert_int_equal(ocf_meta_read(SPAN(dummy), &m, &why), 0);
	assert_int_equal(m.nparams, 6);
	for (size_t i = 0; i < 6; i++) {
		const struct ocf_param *p = ocf_meta_param(&m, span_of(t[i].name));

		assert_non_null(p);
		assert_int_equal(p->type, t[i].type);
		assert_int_equal(p->required, t[i].required);
	}
	assert_null(ocf_meta_param(&m, SPAN("stat")));
	assert_int_equal(m.start_ms, 20000);
	assert_int_equal(m.stop_ms, 120000);
	assert_int_equal(m.monitor_ms, 30000);
}

#define LAUGHS                                                                           \
	"<!DOCTYPE r [<!ENTITY a \"ha\"><!ENTITY b "                                     \
	"\"&a;&a;\">]><resource-agent>&b;</resource-agent>"
#define OUTSIDE                                                                          \
	"<!DOCTYPE r [<!ENTITY a SYSTEM "                                                \
	"\"file:///etc/shadow\">]><resource-agent>&a;</resource-agent>"

static void
refuses(void **state)
{
	static const char *const bad[] = {"", "no xml", "<resource-agent>",
	    "<html></html>", "<resource-agent><parameter name=\"\"/></resource-agent>",
	    "<resource-agent><parameter/></resource-agent>",
	    "<resource-agent><parameter name=\"a\"/><parameter "
	    "name=\"a\"/></resource-agent>",
	    "<resource-agent><parameter name=\"a\" name=\"b\"/></resource-agent>",
	    "<resource-agent></resource-agent><more/>",
	    "<resource-agent>&unknown;</resource-agent>", LAUGHS, OUTSIDE};
	struct ocf_meta m = {.nparams = 77};
	char deep[600] = "<resource-agent>", *many = mem_alloc(20000);
	const char *why;
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		assert_int_equal(ocf_meta_read(span_of(bad[i]), &m, &why), -1);
		assert_non_null(why);
	}
	for (int i = 0; i < 20; i++)
		strcat(deep, "<a>");
	assert_int_equal(ocf_meta_read(span_of(deep), &m, &why), -1);
	assert_string_equal(why, "it is nested too deep");
	n = (size_t)sprintf(many, "<resource-agent>");
	for (int i = 0; i <= OCF_PARAMS_MAX; i++)
		n += (size_t)sprintf(many + n, "<parameter name=\"p%d\"/>", i);
	strcpy(many + n, "</resource-agent>");
	assert_int_equal(ocf_meta_read(span_of(many), &m, &why), -1);
	n = (size_t)sprintf(many, "<resource-agent><parameter name=\"");
	memset(many + n, 'n', OCF_NAME_MAX);
	strcpy(many + n + OCF_NAME_MAX, "\"/></resource-agent>");
	assert_int_equal(ocf_meta_read(span_of(many), &m, &why), -1);
	assert_int_equal(m.nparams, 77); /* never touched */
	free(many);
}

/* Whatever is cut off or bent: an answer, and no reading past the end (sanitizers). */
static void
bent(void **state)
{
	struct ocf_meta m;
	const char *why;
	char *copy = mem_alloc(sizeof(dummy));

	(void)state;
	for (size_t len = 0; len < sizeof(dummy) - 3; len++) {
		char *cut = mem_copy(dummy, len);

		assert_int_equal(ocf_meta_read((struct span){cut, len}, &m, &why), -1);
		free(cut);
	}
	for (size_t at = 0; at < sizeof(dummy) - 1; at++) {
		static const char to[] = {'<', '"', '&', '\0', '\xff'};

		for (size_t k = 0; k < sizeof(to); k++) {
			memcpy(copy, dummy, sizeof(dummy));
			copy[at] = to[k];
			(void)ocf_meta_read(
			    (struct span){copy, sizeof(dummy) - 1}, &m, &why);
		}
	}
	free(copy);
}

static void
values(void **state)
{
	static const struct {
		enum ocf_type type;
		const char *value;
		bool fits;
	} t[] = {
	    {OCF_INTEGER, "5", true},
	    {OCF_INTEGER, "-5", true},
	    {OCF_INTEGER, "", false},
	    {OCF_INTEGER, "5s", false},
	    {OCF_INTEGER, "--5", false},
	    {OCF_BOOLEAN, "true", true},
	    {OCF_BOOLEAN, "NO", true},
	    {OCF_BOOLEAN, "Yes", false}, /* ocf-shellfuncs would take it for "no" */
	    {OCF_BOOLEAN, "", false},
	    {OCF_STRING, "", true},
	    {OCF_STRING, "x y", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		assert_int_equal(ocf_value_fits(t[i].type, t[i].value), t[i].fits);
}

static void
times(void **state)
{
	static const struct {
		const char *text;
		int ms;
	} t[] = {{"20", 20000}, {"0", 0}, {"90sec", 90000}, {"1min", 60000},
	    {"1h", 3600000}, {"5msec", 5}, {"fast", 0}, {"-1", 0}, {"1.5s", 0},
	    {"99999999999999999999", 0}, {"2147483647h", 0}};
	char xml[200];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct ocf_meta m;
		const char *why;

		snprintf(xml, sizeof(xml),
		    "<resource-agent><actions><action name=\"start\" "
		    "timeout=\"%s\"/></actions></resource-agent>",
		    t[i].text);
		assert_int_equal(ocf_meta_read(span_of(xml), &m, &why), 0);
		assert_int_equal(m.start_ms, t[i].ms);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(reads),
	    cmocka_unit_test(refuses), cmocka_unit_test(bent), cmocka_unit_test(values),
	    cmocka_unit_test(times)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
