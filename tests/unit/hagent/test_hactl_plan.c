/* test_hactl_plan.c - what --dry-run prints: facts that are known stand behind CHECKED, those
 * that are not behind CANNOT CHECK, and none in both.  And what a failover could lose: nothing
 * is called 0 that only is not known. */
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

/* Of ha-2, which would take over. */
#define LOSS(role, peer, data) "{'self': {'name': 'ha-2', 'role': '" role "', 'generation': 7," \
	"'durable_lsn': 105}, 'peer': {'name': 'ha-1', " peer "}, 'data': " data "}"
#define SILENT "'state': 'silent', 'silent_ms': 42000"
#define AT(lsn) ", 'generation': 7, 'durable_lsn': " #lsn
#define IN_STEP "'connected': true, 'insync': true, 'complete': true, 'in_step_ms': 0"

static const struct {
	const char *to, *json;
	const char *text;		/* all of it */
} losses[] = {
	{ NULL, LOSS("standby", SILENT AT(105), "{" IN_STEP ", 'commit': 'auto'}"),
	  "LOSS     acknowledged mail 0   flag changes 0: in step until ha-1 fell silent 42 s ago\n"
	  "         ha-1 log 7:105, heard 42 s ago   ha-2 log 7:105\n"
	  "         not known: what ha-1 acknowledged alone behind that\n" },
	/* It acknowledges nothing alone; and nobody was told that the last ones are safe. */
	{ "ha-2", LOSS("standby", SILENT AT(108), "{" IN_STEP ", 'commit': 'strict'}"),
	  "LOSS     acknowledged mail 0   flag changes 0: in step until ha-1 fell silent 42 s ago\n"
	  "         ha-1 log 7:108, heard 42 s ago   ha-2 log 7:105\n"
	  "         3 records of ha-1 were not acknowledged yet\n" },
	{ NULL, LOSS("standby", "'state': 'sync', 'silent_ms': 80" AT(105), "{" IN_STEP "}"),
	  "LOSS     acknowledged mail 0   flag changes 0: in step with ha-1, which is heard\n"
	  "         ha-1 log 7:105, heard 0 s ago   ha-2 log 7:105\n" },
	{ NULL, LOSS("target", SILENT AT(1225), "{'connected': true, 'complete': false,"
	  "'in_step_ms': 760000, 'commit': 'auto', 'outdated': true}"),
	  "LOSS     1120 or more records of acknowledged mail and flag changes: in step until "
	  "00:12:40 ago\n"
	  "         ha-1 log 7:1225, heard 42 s ago   ha-2 log 7:105\n"
	  "         ha-1 went on alone: what it acknowledged since is missing here\n" },
	{ NULL, LOSS("wait", SILENT AT(100), "{'connected': true, 'complete': false,"
	  "'commit': 'available'}"),
	  "LOSS     0 or more records of acknowledged mail and flag changes: not in step since "
	  "hagentd started here\n"
	  "         ha-1 log 7:100, heard 42 s ago   ha-2 log 7:105\n"
	  "         not known: what ha-1 acknowledged alone behind that\n" },
	{ NULL, LOSS("wait", SILENT, "{'connected': true, 'complete': false}"),
	  "LOSS     not known, ha-1 was not heard since hagentd started here: not in step since "
	  "hagentd started here\n"
	  "         not known: what ha-1 acknowledged alone behind that\n" },
	{ NULL, LOSS("wait", SILENT, "{'connected': true, 'complete': true, 'commit': 'strict'}"),
	  "LOSS     acknowledged mail 0   flag changes 0: this node was the last that could "
	  "acknowledge\n" },
	{ NULL, LOSS("standby", SILENT AT(105), "{'connected': false, 'complete': true}"),
	  "LOSS     not known: syncd does not answer on ha-2\n" },
	{ NULL, LOSS("standby", SILENT AT(105), "null"),
	  "LOSS     not known: this pair has no syncd, its resources keep their data themselves\n" },
	/* Not what was asked about. */
	{ "ha-1", LOSS("standby", SILENT AT(105), "{" IN_STEP "}"), "" },
	{ NULL, LOSS("active", SILENT AT(105), "{" IN_STEP "}"), "" },
};

/* What is printed of JSON in which ' stands for "; without an op: the loss. */
static char *
printed(const char *quoted, const char *op, const char *node)
{
	char *json = strdup(quoted), *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	json_t *o;

	for (char *p = json; *p != '\0'; p++)
		if (*p == '\'')
			*p = '"';
	o = json_loads(json, 0, NULL);
	assert_non_null(o);
	if (op != NULL)
		hactl_print_plan(o, op, node, f);
	else
		hactl_print_loss(o, node, f);
	fclose(f);
	json_decref(o);
	free(json);
	return text;
}

static void
plans(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = printed(cases[i].json, cases[i].op, cases[i].node);

		for (size_t k = 0; k < 4 && cases[i].lines[k] != NULL; k++)
			if (strstr(text, cases[i].lines[k]) == NULL)
				fail_msg("case %zu lacks \"%s\":\n%s", i, cases[i].lines[k], text);
		for (size_t k = 0; k < 4 && cases[i].never[k] != NULL; k++)
			if (strstr(text, cases[i].never[k]) != NULL)
				fail_msg("case %zu has \"%s\":\n%s", i, cases[i].never[k], text);
		free(text);
	}
}

static void
what_could_be_lost(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
		char *text = printed(losses[i].json, NULL, losses[i].to);

		assert_string_equal(text, losses[i].text);
		free(text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(plans),
		cmocka_unit_test(what_could_be_lost) };

	return cmocka_run_group_tests_name("hactl_plan", tests, NULL, NULL);
}
