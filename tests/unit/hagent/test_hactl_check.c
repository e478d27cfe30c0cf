/* test_hactl_check.c - every check against small changes of one good status. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "hactl_check.h"

/* A healthy active node; each row of the table changes one member of it. */
static const char good[] =
    "{'epoch':7,'config':'9f2c0000','quorum':null,'watchdog':null,'config_files':"
    " {'hagent.conf':'0000000a','syncd.conf':'missing','maild.conf':'0000000c'},"
    "'self':{'name':'ha-1','role':'active','state':'sync','resources_up':2,'resources':2},"
    "'peer':{'name':'ha-2','role':'standby','state':'insync','healthy':true,"
    " 'clock_ahead_ms':3,'config':'9f2c0000','silent_ms':20},"
    "'nodes':[{'name':'ha-1','role':'active','disk_used_percent':41},"
    " {'name':'ha-2','role':'standby','disk_used_percent':40}],"
    "'links':[{'name':'eth1','medium':'udp','state':'ok'},{'name':'eth0','medium':'udp',"
    " 'state':'ok'},{'name':'ttyS0','medium':'serial','state':'ok'}],"
    "'vips':[{'address':'192.0.2.5/24','here':true}],"
    "'data':{'connected':true,'mode':'SYNC','peer_connected':true,'durable_lsn':5000,"
    " 'peer_durable_lsn':5000,'at_risk':0},"
    "'resources':[{'name':'syncer','state':'up','failures':0,'words':''},"
    " {'name':'maild','state':'up','failures':0,'words':''}]}";

static json_t *
parse(const char *text)
{
	char buf[2048];
	json_t *j;

	assert_true(strlen(text) < sizeof(buf));
	strncpy(buf, text, sizeof(buf) - 1);
	buf[sizeof(buf) - 1] = '\0';
	for (char *p = buf; *p != '\0'; p++)
		if (*p == '\'')
			*p = '"';
	j = json_loads(buf, JSON_DECODE_ANY, NULL);
	assert_non_null(j);
	return j;
}

/* Members of patch replace or, being objects, enter those of the same name. */
static void
apply(json_t *to, json_t *patch)
{
	const char *name;
	json_t *v;

	json_object_foreach(patch, name, v) {
		if (json_is_object(v) && json_is_object(json_object_get(to, name)))
			apply(json_object_get(to, name), v);
		else
			json_object_set(to, name, v);
	}
}

#define NO_LEADER "{'self':{'role':'wait'},'nodes':[{'role':'wait'},{'role':'unknown'}]}"
#define SILENT "{'peer':{'state':'silent','role':'unknown','healthy':false,'silent_ms':251000}}"
#define STANDBY "{'self':{'name':'ha-2','role':'standby'},'peer':{'name':'ha-1','role':'active'}," \
	"'vips':[{'address':'192.0.2.5/24','here':false}],"
static const struct row {
	const char *check, *patch;
	enum ctl_exit code;
	const char *text;
} table[] = {
	{ "role", "{}", CTL_OK, "ha-1 is active, epoch 7" },
	{ "role", NO_LEADER, CTL_CRITICAL, "no node is known to serve; ha-1 is wait" },
	{ "role", "{'self':{'role':'target'},'nodes':[{'role':'active','name':'ha-2'}]}",
	    CTL_WARNING, "ha-1 is target, ha-2 serves" },
	{ "role", "{'maintenance':true}", CTL_WARNING,
	    "ha-1 is active, but in maintenance: nothing happens by itself" },
	{ "role", "{'self':{'role':'standby','state':'kept out'}}", CTL_WARNING,
	    "ha-1 is kept out by an operator" },
	{ "peer", "{}", CTL_OK, "ha-2 is standby, insync" },
	{ "peer", SILENT, CTL_WARNING, "ha-2 has been silent for 00:04:11" },
	{ "peer", "{'peer':{'state':'unproven'}}", CTL_WARNING,
	    "ha-2 is heard, but does not prove that it hears this node" },
	{ "peer", "{'peer':{'healthy':false}}", CTL_WARNING,
	    "ha-2 is standby and could not run the services" },
	{ "links", "{}", CTL_OK, "2 of 2 ok" },
	{ "links", "{'links':[{'name':'eth1','medium':'udp','state':'dead'},{'name':'eth0',"
	    "'medium':'multicast','state':'ok'}]}", CTL_WARNING, "1 of 2 ok, eth1 is dead" },
	{ "links", "{'links':[{'name':'eth1','medium':'udp','state':'dead'}]}", CTL_CRITICAL,
	    "0 of 1 ok, eth1 is dead" },
	{ "serial", "{}", CTL_OK, "1 of 1 ok" },
	{ "serial", "{'links':[{'name':'ttyS0','medium':'serial','state':'never'}]}", CTL_WARNING,
	    "0 of 1 ok, ttyS0 is never" },
	{ "serial", "{'links':[]}", CTL_OK, "none is configured" },
	{ "quorum", "{}", CTL_OK, "not used" },
	{ "quorum", "{'quorum':{'state':'have','with_peer':true}}", CTL_OK,
	    "have, with the other node" },
	{ "quorum", "{'quorum':{'state':'have','with_peer':false}}", CTL_OK, "have" },
	{ "quorum", "{'quorum':{'state':'lost','why':'corosync is gone'}}", CTL_CRITICAL,
	    "lost: corosync is gone" },
	{ "fence", "{'fence':null}", CTL_OK, "not used" },
	{ "fence", "{'fence':{'devices':['a','b'],'answers':null}}", CTL_OK, "2, not asked yet" },
	{ "fence", "{'fence':{'devices':['a'],'answers':true}}", CTL_OK, "1 answered" },
	{ "fence", "{'fence':{'devices':['a'],'answers':false,'last':{'words':'a: status: exit 1'}}}",
	    CTL_WARNING, "a: status: exit 1" },
	{ "watchdog", "{}", CTL_OK, "not used" },
	{ "watchdog", "{'watchdog':{'armed':true,'timeout_ms':4000}}", CTL_OK, "armed, 4000 ms" },
	{ "watchdog", "{'watchdog':{'armed':false,'why':'no such device'}}", CTL_WARNING,
	    "not armed: no such device" },
	{ "vip", "{}", CTL_OK, "1 on ha-1" },
	{ "vip", "{'vips':[{'address':'192.0.2.5/24','here':false}]}", CTL_CRITICAL,
	    "192.0.2.5/24 is not on the active node" },
	{ "vip", STANDBY "'x':0}", CTL_OK, "1 on ha-1" },
	{ "vip", "{'self':{'name':'ha-2','role':'demote'}}", CTL_CRITICAL,
	    "192.0.2.5/24 is on ha-2, but ha-1 is active" },
	{ "vip", NO_LEADER, CTL_CRITICAL, "no node is known to have them" },
	{ "vip", "{'vips':[]}", CTL_OK, "none is configured" },
	{ "commit", "{}", CTL_OK, "SYNC: on both nodes before it is acknowledged, 0 at risk" },
	{ "commit", "{'data':{'mode':'SOLO','at_risk':12}}", CTL_WARNING,
	    "SOLO: on one node only, 12 at risk" },
	{ "commit", "{'data':{'mode':'FROZEN'}}", CTL_CRITICAL,
	    "FROZEN: acknowledgements are held back, 0 at risk" },
	{ "commit", "{'data':{'mode':'SPLIT'}}", CTL_CRITICAL,
	    "SPLIT: there are two histories, 0 at risk" },
	{ "commit", "{'data':{'mode':'NEW'}}", CTL_UNKNOWN, "mode NEW" },
	{ "commit", "{'data':{'connected':false}}", CTL_CRITICAL, "syncd does not answer" },
	{ "commit", "{'data':null}", CTL_OK, "no replicated data" },
	{ "lag", "{}", CTL_OK, "0 records behind" },
	{ "lag", "{'data':{'peer_durable_lsn':4001}}", CTL_OK, "999 records behind" },
	{ "lag", "{'data':{'peer_durable_lsn':4000}}", CTL_WARNING, "1000 records behind" },
	{ "lag", "{'data':{'durable_lsn':105000}}", CTL_CRITICAL, "100000 records behind" },
	{ "lag", STANDBY "'data':{'durable_lsn':4000}}", CTL_WARNING, "1000 records behind" },
	{ "lag", "{'data':{'peer_durable_lsn':5001}}", CTL_OK, "0 records behind" },
	{ "lag", "{'data':{'peer_connected':false}}", CTL_WARNING, "the syncds are not connected" },
	{ "disk", "{}", CTL_OK, "ha-1 41 % used, ha-2 40 % used" },
	{ "disk", "{'nodes':[{'name':'ha-1','disk_used_percent':95},{'name':'ha-2',"
	    "'disk_used_percent':85}]}", CTL_CRITICAL, "ha-1 95 % used, ha-2 85 % used" },
	{ "disk", "{'nodes':[{'name':'ha-1','disk_used_percent':10},{'name':'ha-2',"
	    "'disk_used_percent':85}]}", CTL_WARNING, "ha-1 10 % used, ha-2 85 % used" },
	{ "disk", "{'nodes':[{'name':'ha-1','disk_used_percent':10},{'name':'ha-2'}]}", CTL_OK,
	    "ha-1 10 % used" },
	{ "disk", "{'nodes':[]}", CTL_UNKNOWN, "not known" },
	{ "disk", "{'nodes':[{'name':'ha-1','disk_used_percent':10},{'name':'ha-2',"
	    "'log_slow':true}]}", CTL_WARNING, "ha-1 10 % used, the log's disk of ha-2 is slow" },
	{ "disk", "{'nodes':[{'name':'ha-1','log_slow':true,'log_full':true},{'name':'ha-2',"
	    "'log_slow':false}]}", CTL_CRITICAL, "the log's disk of ha-1 is slow and full" },
	{ "disk", "{'nodes':[{'name':'ha-1','disk_used_percent':10,'index_lost':true},"
	    "{'name':'ha-2'}]}", CTL_CRITICAL, "ha-1 10 % used, an index of ha-1 is lost" },
	{ "clock", "{}", CTL_OK, "ha-2 is 3 ms ahead" },
	{ "clock", "{'peer':{'clock_ahead_ms':-1000}}", CTL_WARNING, "ha-2 is 1000 ms behind" },
	{ "clock", "{'peer':{'clock_ahead_ms':60000}}", CTL_CRITICAL, "ha-2 is 60000 ms ahead" },
	{ "clock", "{'peer':{'clock_ahead_ms':null}}", CTL_UNKNOWN,
	    "the other node's clock is not known" },
	{ "clock", "{'peer':{'clock_ahead_ms':null,'state':'silent'}}", CTL_OK,
	    "the other node's clock is not known" },
	{ "config-equal", "{}", CTL_OK, "9f2c0000 on both nodes" },
	{ "config-equal", "{'peer':{'config':'00000001'}}", CTL_WARNING,
	    "9f2c0000 here, but 00000001 on ha-2: hagent.conf 0000000a, syncd.conf missing, "
	    "maild.conf 0000000c; compare with hactl check config-equal there" },
	{ "config-equal", "{'peer':{'config':'00000001','config_files':{'hagent.conf':'0000000a',"
	    "'syncd.conf':'0000000b','maild.conf':'0000000c'}}}", CTL_WARNING,
	    "9f2c0000 here, but 00000001 on ha-2: syncd.conf differs, here missing" },
	{ "config-equal", "{'peer':{'config':'00000001','config_files':{'hagent.conf':'0000000d',"
	    "'syncd.conf':'missing','maild.conf':'0000000e'}}}", CTL_WARNING,
	    "9f2c0000 here, but 00000001 on ha-2: hagent.conf differs, here 0000000a, "
	    "maild.conf differs, here 0000000c" },
	{ "resources", "{}", CTL_OK, "2 of 2 up" },
	{ "resources", STANDBY "'resources':[{'name':'maild','state':'down','failures':0}]}", CTL_OK,
	    "2 configured, none has to run here" },
	{ "resources", "{'resources':[{'name':'maild','state':'failed','words':'start: exit 1'}]}",
	    CTL_CRITICAL, "maild failed: start: exit 1" },
	{ "resources", STANDBY "'resources':[{'name':'maild','state':'failed','words':'x'}]}",
	    CTL_WARNING, "maild failed: x" },
	{ "resources", "{'resources':[{'name':'maild','state':'starting'}]}", CTL_CRITICAL,
	    "maild is starting" },
	{ "resources", "{'resources':[{'name':'maild','state':'up','failures':2,'words':'exit 7'}]}",
	    CTL_WARNING, "maild is up, but failed 2 times lately: exit 7" },
};

static size_t
number_of(const char *name)
{
	for (size_t i = 0; i < check_count(); i++)
		if (strcmp(check_name(i, NULL), name) == 0)
			return i;
	fail_msg("no check %s", name);
	return 0;
}

static void
rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		json_t *s = parse(good), *patch = parse(table[i].patch);
		struct check_result r;

		apply(s, patch);
		check_run(number_of(table[i].check), s, &r);
		assert_string_equal(r.text, table[i].text);
		assert_int_equal(r.code, table[i].code);
		assert_string_equal(r.name, table[i].check);
		json_decref(s);
		json_decref(patch);
	}
}

static void
no_answer(void **state)
{
	json_t *empty = json_object();
	struct check_result r;

	(void)state;
	for (size_t i = 0; i < check_count(); i++) {
		check_run(i, NULL, &r);
		assert_int_equal(r.code, CTL_UNKNOWN);
		/* Another version's answer crashes nothing. */
		check_run(i, empty, &r);
		assert_true(r.code <= CTL_UNKNOWN && r.text[0] != '\0');
	}
	json_decref(empty);
	assert_true(check_known("config-equal"));
	assert_false(check_known("config"));
}

static void
worst(void **state)
{
	static const enum ctl_exit t[][3] = {
		{ CTL_OK, CTL_OK, CTL_OK }, { CTL_OK, CTL_UNKNOWN, CTL_UNKNOWN },
		{ CTL_UNKNOWN, CTL_WARNING, CTL_WARNING }, { CTL_WARNING, CTL_CRITICAL, CTL_CRITICAL },
		{ CTL_CRITICAL, CTL_UNKNOWN, CTL_CRITICAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(check_worst(t[i][0], t[i][1]), t[i][2]);
		assert_int_equal(check_worst(t[i][1], t[i][0]), t[i][2]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows),
		cmocka_unit_test(no_answer),
		cmocka_unit_test(worst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
