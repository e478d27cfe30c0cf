/* test_resource.c - the command of each class and verb, and what its answer means. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "mem.h"
#include "resource.h"

static struct hagent_conf conf = {.cluster = "c",
    .node = {"n1", "n2"},
    .ocf_root = "/usr/lib/ocf",
    .metadata_timeout_ms = 700};
static struct resource_conf script = {.name = "s",
    .class = RESOURCE_SCRIPT,
    .script = "/r/s",
    .args = {"a b", "$(id)", NULL},
    .start_timeout_ms = 1,
    .stop_timeout_ms = 2,
    .status_timeout_ms = 3,
    .drain_timeout_ms = 4};
static struct resource_conf lsb = {
    .name = "l", .class = RESOURCE_LSB, .script = "/etc/init.d/l"};
static struct resource_conf unit = {.name = "u",
    .class = RESOURCE_SYSTEMD,
    .script = "/bin/systemctl",
    .agent = "x@1.service"};
static struct resource_conf ocf = {.name = "o",
    .class = RESOURCE_OCF,
    .script = "/o/Dummy",
    .provider = "heartbeat",
    .agent = "Dummy",
    .params = {"state=/x; rm", "fake=1", NULL},
    .start_timeout_ms = 5,
    .monitor_interval_ms = 900};

static const char *
joined(char *const *list, char *buf, size_t size)
{
	buf[0] = '\0';
	for (; *list != NULL; list++) {
		strncat(buf, "|", size - strlen(buf) - 1);
		strncat(buf, *list, size - strlen(buf) - 1);
	}
	return buf;
}

static void
commands(void **state)
{
	const struct {
		struct resource_conf *r;
		enum exec_verb v;
		int limit;
		const char *argv;
	} t[] = {
	    {&script, EXEC_START, 1, "|/r/s|start|a b|$(id)"},
	    {&script, EXEC_STOP, 2, "|/r/s|stop|a b|$(id)"},
	    {&script, EXEC_STATUS, 3, "|/r/s|status|a b|$(id)"},
	    {&script, EXEC_DRAIN, 4, "|/r/s|drain|a b|$(id)"},
	    {&lsb, EXEC_STATUS, 0, "|/etc/init.d/l|status"},
	    {&unit, EXEC_START, 0,
		"|/bin/systemctl|--no-ask-password|start|--|x@1.service"},
	    {&unit, EXEC_STATUS, 0,
		"|/bin/systemctl|--no-ask-password|show|"
		"--property=LoadState,ActiveState,MainPID|--|x@1.service"},
	    {&ocf, EXEC_START, 5, "|/o/Dummy|start"},
	    {&ocf, EXEC_STATUS, 0, "|/o/Dummy|monitor"},
	};
	struct resource_command c;
	char buf[1000];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		resource_command(&conf, t[i].r, t[i].v, false, &c);
		assert_string_equal(joined(c.script.argv, buf, sizeof(buf)), t[i].argv);
		assert_int_equal(c.script.limit_ms, t[i].limit);
		resource_command_clear(&c);
	}
	resource_command_metadata(&conf, &ocf, &c);
	assert_string_equal(
	    joined(c.script.argv, buf, sizeof(buf)), "|/o/Dummy|meta-data");
	assert_int_equal(c.script.limit_ms, 700);
	resource_command_clear(&c);
}

#define COMMON                                                                           \
	"|PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin|LC_ALL=C"    \
	"|MAILPAIR_RESOURCE="
#define OURS "|MAILPAIR_CLUSTER=c|MAILPAIR_NODE=n1"

static void
environments(void **state)
{
	struct resource_command c;
	char buf[2000];

	(void)state;
	resource_command(&conf, &script, EXEC_START, false, &c);
	assert_string_equal(joined(c.script.env, buf, sizeof(buf)), COMMON "s" OURS);
	resource_command_clear(&c);
	resource_command(&conf, &ocf, EXEC_START, false, &c);
	assert_string_equal(joined(c.script.env, buf, sizeof(buf)), COMMON
	    "o" OURS
	    "|OCF_ROOT=/usr/lib/ocf|OCF_RA_VERSION_MAJOR=1|OCF_RA_VERSION_MINOR=1"
	    "|OCF_RESOURCE_INSTANCE=o|OCF_RESOURCE_TYPE=Dummy|OCF_RESOURCE_PROVIDER="
	    "heartbeat"
	    "|OCF_RESKEY_CRM_meta_timeout=5|OCF_RESKEY_CRM_meta_interval=0"
	    "|OCF_RESKEY_state=/x; rm|OCF_RESKEY_fake=1");
	resource_command_clear(&c);
	resource_command(&conf, &ocf, EXEC_STATUS, false, &c);
	assert_non_null(
	    strstr(joined(c.script.env, buf, sizeof(buf)), "meta_interval=900|"));
	resource_command_clear(&c);
	resource_command(&conf, &ocf, EXEC_STATUS, true, &c);
	assert_non_null(
	    strstr(joined(c.script.env, buf, sizeof(buf)), "meta_interval=0|"));
	resource_command_clear(&c);
}

/* The largest configuration has room for everything. */
static void
largest(void **state)
{
	struct resource_conf big = ocf;
	struct resource_command c;

	(void)state;
	for (size_t i = 0; i < HAGENT_PARAMS_MAX; i++)
		big.params[i] = "p=v";
	resource_command(&conf, &big, EXEC_START, false, &c);
	assert_non_null(c.env[HAGENT_PARAMS_MAX + 12]);
	assert_null(c.env[HAGENT_PARAMS_MAX + 13]);
	resource_command_clear(&c);
	big = script;
	for (size_t i = 0; i < HAGENT_ARGS_MAX; i++)
		big.args[i] = "a";
	resource_command(&conf, &big, EXEC_START, false, &c);
	assert_non_null(c.argv[HAGENT_ARGS_MAX + 1]);
	resource_command_clear(&c);
}

static void
answers(void **state)
{
	const struct {
		struct resource_conf *r;
		enum exec_verb v;
		uint8_t code;
		const char *out;
		int verdict;
		pid_t pid;
	} t[] = {
	    {&script, EXEC_STATUS, 0, "", 1, 0},
	    {&script, EXEC_STATUS, 3, "", 0, 0},
	    {&script, EXEC_STATUS, 7, "", -1, 0},
	    {&script, EXEC_START, 3, "", -1, 0},
	    {&lsb, EXEC_STATUS, 1, "", -1, 0},
	    {&lsb, EXEC_STATUS, 3, "", 0, 0},
	    {&ocf, EXEC_STATUS, 0, "", 1, 0},
	    {&ocf, EXEC_STATUS, 7, "", 0, 0},
	    {&ocf, EXEC_STATUS, 3, "", -1, 0},
	    {&ocf, EXEC_STOP, 7, "", -1, 0},
	    {&ocf, EXEC_STATUS, 5, "", -1, 0},
	    {&unit, EXEC_STATUS, 0, "LoadState=loaded\nActiveState=active\nMainPID=77\n",
		1, 77},
	    {&unit, EXEC_STATUS, 0, "MainPID=77\nActiveState=reloading\nLoadState=loaded",
		1, 77},
	    {&unit, EXEC_STATUS, 0, "LoadState=loaded\nActiveState=active\nMainPID=0\n",
		1, 0},
	    {&unit, EXEC_STATUS, 0, "LoadState=loaded\nActiveState=inactive\nMainPID=0\n",
		0, 0},
	    {&unit, EXEC_STATUS, 0, "LoadState=loaded\nActiveState=failed\nMainPID=0\n",
		-1, 0},
	    {&unit, EXEC_STATUS, 0, "LoadState=loaded\nActiveState=activating\n", -1, 0},
	    {&unit, EXEC_STATUS, 0, "LoadState=not-found\nActiveState=inactive\n", -1, 0},
	    {&unit, EXEC_STATUS, 0, "LoadState=masked\nActiveState=inactive\n", 0, 0},
	    {&unit, EXEC_STATUS, 0, "", -1, 0},
	    {&unit, EXEC_STATUS, 0, "=\n\n=x", -1, 0},
	    {&unit, EXEC_STATUS, 0, "ActiveState=active\nMainPID=-3", 1, 0},
	    {&unit, EXEC_STATUS, 1, "ActiveState=active\n", -1, 0},
	    {&unit, EXEC_START, 0, "", 1, 0},
	    {&unit, EXEC_START, 5, "", -1, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct exec_ran ran = {.outcome = RAN_EXIT, .code = t[i].code};
		pid_t pid = -1;

		resource_judge(t[i].r, t[i].v, false, span_of(t[i].out), &ran, &pid);
		if (exec_ran_verdict(&ran, t[i].v) != t[i].verdict || pid != t[i].pid)
			fail_msg("case %zu: verdict %d pid %d", i,
			    exec_ran_verdict(&ran, t[i].v), (int)pid);
	}
}

/* What nobody has started: "not installed" is a good reason for not running. */
static void
probes(void **state)
{
	const struct {
		struct resource_conf *r;
		uint8_t code;
		int verdict;
	} t[] = {
	    {&ocf, 5, 0}, {&ocf, 7, 0}, {&ocf, 0, 1}, {&ocf, 1, -1}, {&script, 5, -1}};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct exec_ran ran = {.outcome = RAN_EXIT, .code = t[i].code};
		pid_t pid;

		resource_judge(t[i].r, EXEC_STATUS, true, SPAN(""), &ran, &pid);
		assert_int_equal(exec_ran_verdict(&ran, EXEC_STATUS), t[i].verdict);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(commands),
	    cmocka_unit_test(environments), cmocka_unit_test(largest),
	    cmocka_unit_test(answers), cmocka_unit_test(probes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
