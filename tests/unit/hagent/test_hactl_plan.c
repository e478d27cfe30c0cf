/* test_hactl_plan.c - what --dry-run prints: facts that are known stand behind CHECKED, those
 * that are not behind CANNOT CHECK, and none in both. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hactl_print.h"

#define ACTIVE "{'name': 'ha-1', 'role': 'active', 'local': true, 'disk_used_percent': 10}"
#define STANDBY "'name': 'ha-2', 'role': 'standby', 'generation': 7, 'durable_lsn': 105"
#define HEAD "{'epoch': 7, 'config': '9f2c0000', 'resources': [{}, {}], 'data': {}, "

static const struct {
	const char *op, *node, *json;
	const char *lines[4];		/* all of them are there */
	const char *never[4];
} cases[] = {
	{ "switchover", "ha-2", HEAD "'alarms': [], 'peer': {" STANDBY ", 'clock_ahead_ms': -3},"
	  "'nodes': [" ACTIVE ", {" STANDBY ", 'disk_used_percent': 41}]}",
	    { "CHECKED  ha-2 ready, config equal (9f2c0000), log in step (7:105), disk 59 % free, "
	      "clocks 3 ms apart\n",
	      "WOULD    take the address from ha-1, stop 2 resources there",
	      "CANNOT CHECK  upstream ARP caches, clients' retry behaviour, whether every resource "
	      "starts on ha-2\n" }, { "its disk", "difference" } },
	/* Asked on the standby: the other node is the active one. */
	{ "switchover", NULL, HEAD "'alarms': [], 'peer': {'name': 'ha-1', 'clock_ahead_ms': 1200},"
	  "'nodes': [" ACTIVE ", {" STANDBY ", 'disk_used_percent': 41}]}",
	    { ", clocks 1200 ms apart\n" }, { "its disk", "difference" } },
	{ "switchover", "ha-2", HEAD "'alarms': [{'name': 'config'}], 'peer': {" STANDBY "},"
	  "'nodes': [" ACTIVE ", {" STANDBY "}]}",
	    { "CHECKED  ha-2 ready, config NOT equal, log in step (7:105)\n",
	      "starts on ha-2, its disk, the difference of the clocks\n" },
	    { "clocks 0", "% free", "config equal" } },
	{ "standby", "ha-1", HEAD "'alarms': [], 'peer': {" STANDBY "},"
	  "'nodes': [" ACTIVE ", {" STANDBY "}]}",
	    { "CHECKED  ", "WOULD    keep ha-1 out of the pair until: hactl online ha-1\n" }, { NULL } },
	{ "standby", "ha-2", HEAD "'alarms': [], 'peer': {" STANDBY "},"
	  "'nodes': [" ACTIVE ", {" STANDBY "}]}",
	    { "WOULD    keep ha-2 out of the pair" }, { "CHECKED" } },
	{ "switchover", "ha-2", "{}", { "" }, { "CHECKED", "WOULD" } },
};

static void
prints(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *json = strdup(cases[i].json), *text = NULL;
		size_t len;
		FILE *f = open_memstream(&text, &len);
		json_t *o;

		for (char *p = json; *p != '\0'; p++)
			if (*p == '\'')
				*p = '"';
		o = json_loads(json, 0, NULL);
		assert_non_null(o);
		hactl_print_plan(o, cases[i].op, cases[i].node, f);
		fclose(f);
		for (size_t k = 0; k < 4 && cases[i].lines[k] != NULL; k++)
			if (strstr(text, cases[i].lines[k]) == NULL)
				fail_msg("case %zu lacks \"%s\":\n%s", i, cases[i].lines[k], text);
		for (size_t k = 0; k < 4 && cases[i].never[k] != NULL; k++)
			if (strstr(text, cases[i].never[k]) != NULL)
				fail_msg("case %zu has \"%s\":\n%s", i, cases[i].never[k], text);
		json_decref(o);
		free(json);
		free(text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(prints) };

	return cmocka_run_group_tests_name("hactl_plan", tests, NULL, NULL);
}
