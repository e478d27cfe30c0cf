/* test_hactl_sync.c - `hactl sync status` as text: in step, behind, alone, with a pass
 * of the mirror under way, and an answer in which everything is missing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "hactl_print.h"

static const struct {
	const char *json;
	const char *lines[6];		/* all of them are there */
	const char *never;
} cases[] = {
	{ "{'status': {'node': 'ha-1', 'role': 'active', 'mode': 'SYNC', 'rule': 'auto',"
	  "'generation': {'no': 7, 'kind': 'clean'}, 'durable_lsn': 105, 'commit_lsn': 101,"
	  "'applied_lsn': 100, 'copies': 2, 'ship': 'log', 'log_bytes': 3100000,"
	  "'oldest_lsn': 5, 'peer': {'name': 'ha-2', 'connected': true, 'path': '10.1.0.2',"
	  "'heard_ms': 12, 'durable_lsn': 101, 'applied_lsn': 99}}}",
	    { "LOG     generation 7 clean   ha-1 is active, SYNC   commit auto (2 copies now)"
	      "   ship log\n",
	      " ha-1       105          101          100          0 records\n",
	      " ha-2       101          -            99           4 records\n",
	      "PEER    connected by 10.1.0.2, heard 12 ms ago\n",
	      "DISK    log 3.1 MB, oldest record 5\n" }, "RISK" },
	{ "{'status': {'node': 'ha-1', 'role': 'active', 'mode': 'ALONE', 'rule': 'strict',"
	  "'durable_lsn': 9, 'commit_lsn': 9, 'at_risk': 4, 'copies': 1,"
	  "'alone_since_ms': 100, 'disk_full': true,"
	  "'peer': {'name': 'ha-2', 'connected': false, 'durable_lsn': 5}}}",
	    { "commit strict (1 copy now)", " ha-2       5            -            0            -\n",
	      "PEER    not connected, alone\n", "RISK    4 records are on one disk only\n",
	      "the disk is full" }, "behind" },
	{ "{'status': {'mirror': {'trees': [{'path': '/srv/data', 'interval_s': 300,"
	  "'state': 'running', 'phase': 'send', 'done': 25, 'of': 100, 'bytes_sent': 999,"
	  "'running_ms': 10000, 'change_source': 'inotify', 'watches': 31,"
	  "'full_walk_ago_ms': 20000, 'last': {'as': 'source', 'outcome': 'ok', 'created': 1,"
	  "'changed': 2, 'deleted': 3, 'bytes_sent': 2000, 'duration_ms': 1500}},"
	  "{'path': '/srv/b', 'interval_s': 60, 'state': 'idle', 'next_in_s': 7,"
	  "'change_source': 'none', 'change_source_why': 'no room', 'watches': 0}]}}}",
	    { "MIRROR  /srv/data  every 300 s, send 25 of 100, 999 B sent, 10 s so far, "
	      "about 30 s left\n",
	      "        changes from inotify, 31 directories watched; full walk 20 s ago\n",
	      "        changes from none (no room)\n",
	      "        last pass as source ok: 1 created, 2 changed, 3 deleted, 2.0 kB, 1.5 s\n",
	      "MIRROR  /srv/b  every 60 s, idle, next in 7 s\n" }, "SEED" },
	{ "{'status': {'mirror': {'trees': [], 'seed': {'wanted': true, 'running': true,"
	  "'shard': 4, 'shards': 18, 'objects': 1200, 'bytes': 5600000, 'permille': 253,"
	  "'running_ms': 60000, 'left_ms': 177000}}}}",
	    { "SEED    25.3 %, shard 5 of 18, 1200 objects, 5.6 MB, 00:01:00 so far, about 00:02:57 left\n" },
	    "has to be filled" },
	{ "{'status': {'mirror': {'seed': {'wanted': true, 'running': false,"
	  "'last_error': 'the bulk connection was lost'}}}}",
	    { "SEED    the other node has to be filled from this one\n",
	      "        the bulk connection was lost\n" }, "so far" },
	{ "{'status': {}}", { "generation 0 -", "PEER    not connected\n" }, "MIRROR" },
	{ "{'exit': 3}", { "" }, "LOG" },
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
		hactl_print_sync(o, false, f);
		fclose(f);
		for (size_t k = 0; k < 6 && cases[i].lines[k] != NULL; k++)
			if (strstr(text, cases[i].lines[k]) == NULL)
				fail_msg("case %zu lacks \"%s\":\n%s", i, cases[i].lines[k], text);
		assert_null(strstr(text, cases[i].never));
		json_decref(o);
		free(json);
		free(text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(prints) };

	return cmocka_run_group_tests_name("hactl_sync", tests, NULL, NULL);
}
