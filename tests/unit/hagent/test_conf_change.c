/* test_conf_change.c - what a running hagentd may take, as a table of edits: of a standby
 * and of a node whose group is up. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_change.h"
#include "fs.h"
#include "mem.h"

#define L1                                                                               \
	"link \"a\" { interface = \"eth1\" address = { \"n1=10.0.0.1\", "                \
	"\"n2=10.0.0.2\" } }\n"
#define L1B                                                                              \
	"link \"a\" { interface = \"eth1\" address = { \"n1=10.0.0.1\", "                \
	"\"n2=10.0.0.3\" } }\n"
#define L2 "link \"s\" { medium = \"serial\" device = \"/dev/ttyS0\" }\n"
#define L2B "link \"s\" { medium = \"serial\" device = \"/dev/ttyS0\" baud = 9600 }\n"
#define L3 "link \"k\" { medium = \"corosync\" }\n"
#define L3B "link \"k\" { medium = \"corosync\" process-group = \"other\" }\n"
#define V1 "vip \"192.0.2.5/24\" { interface = \"eth0\" }\n"
#define V1B "vip \"192.0.2.5/24\" { interface = \"eth1\" }\n"
#define V2 "vip \"192.0.2.6/24\" { interface = \"eth0\" }\n"
#define R(name) "resource \"" name "\" { script = \"/bin/true\" }\n"
#define RA "resource \"r1\" { script = \"/bin/true\" args = { \"x\" } }\n"
#define HEAD "cluster = \"c\"\nnode \"n1\" { }\nnode \"n2\" { }\n"
#define ALL HEAD L1 L2 L3 V1 R("r1") R("r2")

static char dir[] = "/tmp/test_conf_change.XXXXXX";

static const struct {
	const char *next;
	const char *standby, *active; /* words of the refusal; NULL: taken */
	uint32_t resources, vips;     /* new on the active */
} cases[] = {
    {ALL, NULL, NULL, 0, 0},
    {ALL "deadtime-ms = 3000\nping = { \"192.0.2.1\" }\nlog-level = \"debug\"\n", NULL,
	NULL, 0, 0},
    /* What state, sockets and the other node depend on. */
    {"cluster = \"d\"\nnode \"n1\" { }\nnode \"n2\" { }\n" L1 L2 V1 R("r1") R("r2"),
	"cluster cannot be changed", "cluster cannot be changed", 0, 0},
    {"cluster = \"c\"\nnode \"n1\" { }\nnode \"n3\" { }\n" L2 V1 R("r1") R("r2"),
	"node cannot be changed", "node cannot be changed", 0, 0},
    {"cluster = \"c\"\nnode \"n2\" { }\nnode \"n1\" { }\n" L1 L2 V1 R("r1") R("r2"),
	"node cannot be changed", "node cannot be changed", 0, 0},
    {ALL "state-dir = \"/srv/ha\"\n", "state-dir", "state-dir", 0, 0},
    {ALL "run-dir = \"/srv/run\"\n", "run-dir", "run-dir", 0, 0},
    {ALL "syncd-socket = \"\"\n", "syncd-socket", "syncd-socket", 0, 0},
    {ALL "user = \"x\"\n", "user", "user", 0, 0},
    {ALL "group = \"x\"\n", "group", "group", 0, 0},
    { ALL "watchdog { device = \"/dev/watchdog\" }\ndeadtime-ms = 20000\ninitdead-ms = 20000\n",
	    "watchdog cannot", "watchdog cannot", 0, 0 },
	{ ALL "respawn \"h\" { command = { \"/bin/true\" } }\n", "respawn cannot", "respawn cannot",
	    0, 0 },
	/* Links: one has to stay. */
    {HEAD L1B L2 V1 R("r1") R("r2"), NULL, NULL, 0, 0},
    {HEAD L1 L2B V1 R("r1") R("r2"), NULL, NULL, 0, 0},
    {HEAD L1 V1 R("r1") R("r2"), NULL, NULL, 0, 0},
    {HEAD L1B L2B V1 R("r1") R("r2"), "no link stays", "no link stays", 0, 0},
    {HEAD L1B L2B L3 V1 R("r1") R("r2"), NULL, NULL, 0, 0},
    {HEAD L1B L2B L3B V1 R("r1") R("r2"), "no link stays", "no link stays", 0, 0},
    {HEAD L2 L1 V1 R("r1") R("r2"), "no link stays", "no link stays", 0, 0},
    {HEAD L2 V1 R("r1") R("r2"), "no link stays", "no link stays", 0, 0},
    /* Resources. */
    {ALL R("r3"), NULL, NULL, 4, 0},
    {ALL R("r3") R("r4"), NULL, NULL, 12, 0},
    {HEAD L1 L2 V1 R("r1"), NULL, "resource \"r2\" is up", 0, 0},
    {HEAD L1 L2 V1 R("r2") R("r1"), NULL, "resource \"r1\" is up", 0, 0},
    {HEAD L1 L2 V1 R("r0") R("r1") R("r2"), NULL, "resource \"r1\" is up", 0, 0},
    {HEAD L1 L2 V1 RA R("r2"), NULL, "resource \"r1\" is up", 0, 0},
    /* Addresses: in any order. */
    {HEAD L1 L2 V2 V1 R("r1") R("r2"), NULL, NULL, 0, 1},
    {HEAD L1 L2 V1 V2 R("r1") R("r2"), NULL, NULL, 0, 2},
    {HEAD L1 L2 V2 R("r1") R("r2"), NULL, "vip \"192.0.2.5/24\" is up", 0, 0},
    {HEAD L1 L2 V1B R("r1") R("r2"), NULL, "vip \"192.0.2.5/24\" is up", 0, 0},
};

static struct hagent_conf *
load(const char *text)
{
	char *path = mem_printf("%s/conf", dir);
	struct hagent_conf *c;

	assert_int_equal(fs_replace(dir, "conf", text, strlen(text), 0600), 0);
	c = hagent_conf_load(path, "n1");
	assert_non_null(c);
	free(path);
	return c;
}

static void
judge(size_t i, bool started, const struct hagent_conf *now, const char *want)
{
	struct hagent_conf *next = load(cases[i].next);
	struct conf_change c;
	int rc = conf_change(now, next, started, &c);

	if ((rc == -1) != (want != NULL) || (rc == -1 && strstr(c.why, want) == NULL))
		fail_msg(
		    "case %zu started=%d: %s", i, started, rc == 0 ? "taken" : c.why);
	if (rc == -1)
		assert_true(c.hint[0] != '\0');
	else if (started &&
		 (c.resources != cases[i].resources || c.vips != cases[i].vips))
		fail_msg(
		    "case %zu: new resources %x, addresses %x", i, c.resources, c.vips);
	else if (!started)
		assert_true(c.resources == 0 && c.vips == 0);
	hagent_conf_free(next);
}

static void
each_edit(void **state)
{
	struct hagent_conf *now;

	(void)state;
	assert_non_null(mkdtemp(dir));
	now = load(ALL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		judge(i, false, now, cases[i].standby);
		judge(i, true, now, cases[i].active);
	}
	hagent_conf_free(now);
	(void)fs_remove_tree(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(each_edit)};

	return cmocka_run_group_tests_name("conf_change", tests, NULL, NULL);
}
