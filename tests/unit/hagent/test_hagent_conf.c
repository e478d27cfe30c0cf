/* test_hagent_conf.c - the shipped file parses and states the defaults; each mistake
 * is refused with the line it stands on. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "hagent_conf.h"
#include "mem.h"

#define HEAD \
	"cluster = \"c\"\nnode \"ha-1\" { }\nnode \"ha-2\" { }\n" \
	"link \"s\" { medium = \"serial\" device = \"/dev/ttyS0\" }\n"

#define FENCE(agent, node, more) \
	"fence \"f\" { agent = \"" agent "\" node = \"" node "\" " more " }\n"

static char dir[] = "/tmp/test_hagent_conf.XXXXXX";

static char *
put(const char *text)
{
	char *path = mem_printf("%s/conf", dir);

	assert_int_equal(fs_replace(dir, "conf", text, strlen(text), 0600), 0);
	return path;
}

static struct hagent_conf *
load(const char *text)
{
	char *path = put(text);
	struct hagent_conf *c = hagent_conf_load(path, "ha-1");

	free(path);
	return c;
}

/* An agent and a systemctl that are there on every machine. */
#define R(script) HEAD "ocf-root = \"/usr/lib/mailpair-test-ocf\" systemctl = \"/bin/true\" " \
	"resource \"r\" { script = \"" script "\""
#define END "}\n"

/* The shipped file without what needs installed scripts. */
static char *
shipped(void)
{
	char *text, *cut;
	size_t len;

	assert_int_equal(fs_read("etc/hagent.conf", 1 << 20, &text, &len), 0);
	cut = strstr(text, "resource \"syncer\"");
	assert_non_null(cut);
	*cut = '\0';
	return text;
}

static void
shipped_states_the_defaults(void **state)
{
	char *text = shipped();
	struct hagent_conf *s = load(text), *d = load(HEAD);

	(void)state;
	assert_non_null(s);
	assert_non_null(d);
#define SAME(f) assert_int_equal(s->f, d->f)
	SAME(keepalive_ms);
	SAME(serial_keepalive_ms);
	SAME(deadtime_ms);
	SAME(warntime_ms);
	SAME(initdead_ms);
	SAME(ping_interval_ms);
	SAME(ping_timeout_ms);
	SAME(isolated_ms);
	SAME(ping_handover_ms);
	SAME(probe_wait_ms);
	SAME(probe_fresh_ms);
	SAME(evidence_ms);
	SAME(drain_ms);
	SAME(syncd_wait_ms);
	SAME(join_wait_ms);
	SAME(switch_ms);
	SAME(retry_ms);
	SAME(fence_poll_ms);
	SAME(fence_check_s);
	SAME(watchdog.timeout_ms);
	SAME(watchdog.required);
	SAME(watchdog.test_interval_ms);
	SAME(watchdog.test_timeout_ms);
	SAME(watchdog.pet_ms);
	SAME(mode);
	SAME(quorum_require);
	SAME(fence_delay_ms[0]);
	SAME(fence_retry_max_ms);
	SAME(preferred);
	SAME(failback);
	SAME(failback_delay_s);
	SAME(moves_max);
	SAME(moves_window_s);
	SAME(vip_check_ms);
	SAME(maintenance_s);
	SAME(cold_start);
	SAME(realtime);
	SAME(lock_memory);
	SAME(log_level);
	SAME(events_max);
	SAME(notify_timeout_ms);
	SAME(notify_max);
	assert_string_equal(s->metrics, d->metrics);
	assert_string_equal(s->notify, d->notify);
	assert_string_equal(s->user, d->user);
	assert_string_equal(s->group, d->group);
	assert_int_equal(s->nlinks, 2);
	assert_int_equal(s->links[1].baud, 19200);
	assert_int_equal(s->vips[0].prefix, 24);
	hagent_conf_free(s);
	hagent_conf_free(d);
	free(text);
}

static void
mistakes(void **state)
{
	static const char *const bad[] = {
		"",
		"no-such-option = 1\n",
		HEAD "keepalive-ms = fast\n",
		HEAD "keepalive-ms = 0\n",
		HEAD "mode = \"guess\"\n",
		HEAD "failback = \"on\"\n",
		HEAD "deadtime-ms = 900\n",	/* below twice the serial keepalive */
		HEAD "warntime-ms = 400\n",
		HEAD "initdead-ms = 1000\n",
		HEAD "node \"ha-3\" { }\n",
		HEAD FENCE("fence_dummy", "ha-3", ""),
		HEAD FENCE("fence_nothing", "ha-2", ""),
		HEAD FENCE("../sbin/fence_dummy", "ha-2", ""),
		HEAD FENCE("sub/fence_dummy", "ha-2", ""),
		HEAD FENCE("/tmp", "ha-2", ""),
		HEAD FENCE("fence_dummy", "ha-2", "level = 0"),
		HEAD FENCE("fence_dummy", "ha-2", "timeout-ms = 100"),
		HEAD FENCE("fence_dummy", "ha-2", "action = \"on\""),
		HEAD FENCE("fence_dummy", "ha-2", "args = { \"action=on\" }"),
		HEAD FENCE("fence_dummy", "ha-2", "args = { \"ip=1\\naction=on\" }"),
		HEAD FENCE("fence_dummy", "ha-2", "args-file = \"args\""),
		HEAD FENCE("fence_dummy", "ha-2", "args-file = \"/nonexistent\""),
		HEAD "watchdog { device = \"/dev/watchdog\" }\n",	/* deadtime too short */
		HEAD "deadtime-ms = 8999\nwatchdog { device = \"/dev/watchdog\" }\n",
		HEAD "deadtime-ms = 9000\nwatchdog { device = \"watchdog\" }\n",
		HEAD "deadtime-ms = 9000\nwatchdog { device = \"/dev/watchdog\" pet-ms = 1001 }\n",
		HEAD "mode = \"fencing\"\n",
		HEAD "mode = \"fencing\"\n" FENCE("fence_dummy", "ha-2", ""),
		HEAD "mode = \"quorum\"\n",
		HEAD "watchdog { required = true }\n",
		HEAD "watchdog { timeout-s = 1 }\n",
		HEAD "watchdog { test-command = \"/usr/bin/true\" }\n",
		HEAD "deadtime-ms = 9000\nwatchdog { device = \"/dev/watchdog\" "
		    "test-command = \"/no/such/program\" }\n",
		HEAD "vip \"192.0.2.5\" { interface = \"eth0\" }\n",
		HEAD "vip \"192.0.2.5/33\" { interface = \"eth0\" }\n",
		HEAD "vip \"192.0.2.5/24\" { }\n",
		HEAD "ping = { \"gateway\" }\n",
		HEAD "ping = { \"192.0.2.1=\" }\n",
		HEAD "ping = { \"192.0.2.1=0\" }\n",
		HEAD "ping = { \"192.0.2.1=256\" }\n",
		HEAD "ping = { \"192.0.2.1=-1\" }\n",
		HEAD "ping = { \"192.0.2.1=1=1\" }\n",
		HEAD "ping = { \"192.0.2.1=200\", \"192.0.2.2=56\" }\n",
		HEAD "quorum = \"maybe\"\n",
		HEAD "mode = \"quorum\"\n",		/* no watchdog */
		HEAD "mode = \"fencing\"\n",		/* no device */
		HEAD "mode = \"fencing\"\n" FENCE("fence_dummy", "ha-2", ""),	/* one way only */
		HEAD "failback = \"auto\"\n",		/* no preferred node */
		HEAD "preferred = \"ha-3\"\n",
		HEAD "moves-max = 17\n",
		HEAD "link \"u\" { medium = \"udp\" address = { \"ha-1=10.0.0.1\" } }\n",
		HEAD "link \"u\" { medium = \"carrier pigeon\" }\n",
		HEAD "link \"t\" { medium = \"serial\" device = \"ttyS1\" }\n",
		HEAD "link \"t\" { medium = \"serial\" device = \"/dev/x\" baud = 12345678 }\n",
		HEAD "link \"t\" { medium = \"serial\" device = \"/dev/x\" interface = \"eth1\" }\n",
		HEAD "link \"u\" { interface = \"eth1\" multicast = \"192.0.2.1\" }\n",
		HEAD "link \"u\" { interface = \"eth1\" broadcast = \"239.1.1.1\" }\n",
		HEAD "link \"u\" { multicast = \"239.1.1.1\" }\n",
		HEAD "link \"u\" { interface = \"eth1\" multicast = \"239.1.1.1\" ttl = 0 }\n",
		HEAD "link \"u\" { interface = \"eth1\" multicast = \"239.1.1.1\" "
		    "broadcast = \"10.0.0.255\" }\n",
		HEAD "link \"u\" { interface = \"eth1\" multicast = \"ff02::1\" "
		    "address = { \"ha-1=10.0.0.1\", \"ha-2=10.0.0.2\" } }\n",
		HEAD "link \"u\" { address = { \"ha-1=fe80::1\", \"ha-2=fe80::2\" } }\n",
		HEAD "link \"u\" { broadcast = \"255.255.255.255\" }\n",
		HEAD "link \"c\" { medium = \"corosync\" interface = \"eth0\" }\n",
		HEAD "link \"c\" { medium = \"corosync\" }\nlink \"d\" { medium = \"corosync\" }\n",
		HEAD "link \"t\" { medium = \"serial\" device = \"/dev/x\" process-group = \"g\" }\n",
		HEAD "quorum = \"require\"\n",	/* and nobody who tells it */
		HEAD "link \"u\" { address = { \"ha-1=10.0.0.1\", \"ha-2=10.0.0.2\" } "
		    "device = \"/dev/ttyS1\" }\n",
		HEAD "metrics = \"localhost:9694\"\n",
		HEAD "metrics = \"127.0.0.1\"\n",
		HEAD "notify = \"notify-mail\"\n",
		HEAD "notify = \"/no/such/script\"\n",
		HEAD "notify = \"/tmp\"\n",
		HEAD "notify-max = 0\n",
		HEAD "resource \"r\" { script = \"no-such-script\" }\n",
		HEAD "resource \"r\" { script = \"../evil\" }\n",
		HEAD "resource \"r\" { script = \"/tmp\" }\n",	/* writable by all */
		R("lsb:../evil") END, R("lsb:") END, R("lsb:no-such-script") END,
		R("systemd:-H") END, R("systemd:a b") END, R("systemd:") END,
		R("ocf:heartbeat") END, R("ocf:..:x") END, R("ocf:a:b:c") END, R("ocf:a:") END,
		R("/bin/true") " params = { \"a=b\" } " END,
		R("/bin/true") " args = { \"a\nb\" } " END,
		R("/bin/true") " pidfile = \"pid\" " END,
		R("systemd:x.service") " args = { \"a\" } " END,
		R("systemd:x.service") " drain = true " END,
		R("ocf:x:true") " params = { \"1a=b\" } " END,
		R("ocf:x:true") " params = { \"a b=c\" } " END,
		R("ocf:x:true") " params = { \"a\" } " END,
		R("ocf:x:true") " params = { \"a=1\", \"a=2\" } " END,
		HEAD "respawn \"h\" { }\n",
		HEAD "respawn \"h\" { command = { \"sleep\", \"1\" } }\n",
		HEAD "respawn \"h\" { command = { \"/tmp\" } }\n",
		HEAD "respawn \"h\" { command = { \"/bin/true\", \"a\nb\" } }\n",
		HEAD "respawn \"h\" { command = { \"/bin/true\" } user = \"no-such-user\" }\n",
		HEAD "respawn \"h\" { command = { \"/bin/true\" } when = \"often\" }\n",
		HEAD "respawn \"h\" { command = { \"/bin/true\" } delay-ms = 20000 }\n",
		R("ocf:x:true") " args = { \"a\" } " END,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct hagent_conf *c = load(bad[i]);

		if (c != NULL)
			fail_msg("accepted: %s", bad[i]);
	}
}

static void
decision(void **state)
{
	struct hagent_conf *c = load("cluster = \"c\"\nnode \"ha-1\" { fence-delay-ms = 5000 }\n"
	    "node \"ha-2\" { }\nlink \"s\" { medium = \"serial\" device = \"/dev/ttyS0\" }\n"
	    "ping = { \"192.0.2.1=5\", \"2001:db8::1\", \"192.0.2.3=249\" }\n"
	    "quorum = \"require\" preferred = \"ha-2\" failback = \"auto\"\n"
	    "link \"c\" { medium = \"corosync\" }\n"
	    "mode = \"quorum\" deadtime-ms = 9000 watchdog { device = \"/dev/watchdog\" }\n");

	(void)state;
	assert_non_null(c);
	assert_int_equal(c->npings, 3);
	assert_string_equal(c->pings[0].name, "192.0.2.1");
	assert_int_equal(c->pings[0].score, 5);
	assert_int_equal(c->pings[1].score, 1);
	assert_int_equal(c->pings[2].score, 249);
	assert_int_equal(c->mode, MODE_QUORUM);
	assert_string_equal(pair_mode_name(c->mode), "quorum");
	assert_true(c->quorum_require);
	assert_int_equal(c->preferred, 1);
	assert_string_equal(failback_name(c->failback), "auto");
	assert_int_equal(c->fence_delay_ms[0], 5000);
	assert_int_equal(c->fence_delay_ms[1], 0);
	hagent_conf_free(c);
}

static void
groups(void **state)
{
	struct hagent_conf *c = load(HEAD
	    "link \"m\" { interface = \"eth1\" multicast = \"239.1.1.1\" ttl = 3 }\n"
	    "link \"b\" { interface = \"eth1\" broadcast = \"255.255.255.255\" }\n"
	    "link \"6\" { interface = \"eth1\" multicast = \"ff02::4d50\" }\n"
	    "link \"l\" { interface = \"eth1\" address = { \"ha-1=fe80::1\", \"ha-2=fe80::2\" } }\n");

	(void)state;
	assert_non_null(c);
	assert_true(c->links[1].multicast && c->links[1].ttl == 3 && link_echoes(&c->links[1]));
	assert_null(link_probe_address(&c->links[1], 1));
	assert_true(!c->links[2].multicast && link_echoes(&c->links[2]));
	assert_int_equal(c->links[3].group.ss_family, AF_INET6);
	assert_false(link_echoes(&c->links[4]));
	assert_non_null(link_probe_address(&c->links[4], 1));
	hagent_conf_free(c);
	c = load(HEAD "link \"c\" { medium = \"corosync\" }\nquorum = \"require\"\n");
	assert_non_null(c);
	assert_string_equal(c->links[1].group_name, "c");
	assert_false(c->links[1].allow_unencrypted);
	hagent_conf_free(c);
}

/* A frame must fit into a keepalive: at the border, and what is proposed below it. */
static void
serial_speed(void **state)
{
	static const struct { int baud, keepalive; bool good; } rows[] = {
		{ 9600, 267, true }, { 9600, 266, false }, { 19200, 134, true },
		{ 19200, 133, false }, { 115200, 23, true }, { 115200, 22, false },
		{ 4800, 534, true }, { 4800, 500, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = mem_printf("cluster = \"c\"\nnode \"ha-1\" { }\nnode \"ha-2\" { }\n"
		    "keepalive-ms = 20\nserial-keepalive-ms = %d\n"
		    "link \"s\" { medium = \"serial\" device = \"/dev/ttyS0\" baud = %d }\n",
		    rows[i].keepalive, rows[i].baud);
		struct hagent_conf *c = load(text);

		if ((c != NULL) != rows[i].good)
			fail_msg("%d baud, %d ms", rows[i].baud, rows[i].keepalive);
		hagent_conf_free(c);
		free(text);
	}
}

static void
fence_devices(void **state)
{
	struct hagent_conf *c = load(HEAD "fence-poll-ms = 200\n"
	    "fence \"a\" { agent = \"fence_dummy\" node = \"ha-2\" level = 2 "
	    "args = { \"password=x\" } action = \"reboot\" }\n"
	    "fence \"b\" { agent = \"/usr/bin/true\" node = \"ha-1\" "
	    "args-file = \"/only/on/ha-2\" }\n");
	char *path;

	(void)state;
	assert_non_null(c);
	assert_int_equal(c->nfences, 2);
	assert_string_equal(c->fences[0].agent, "/usr/sbin/fence_dummy");
	assert_true(c->fences[0].program && c->fences[0].reboot);
	assert_int_equal(c->fences[0].level, 2);
	assert_int_equal(c->fences[0].node, 1);
	assert_false(c->fences[1].program || c->fences[1].reboot);
	assert_int_equal(c->fence_poll_ms, 200);
	/* A password, and the file becomes readable by others. */
	path = mem_dup(c->path);
	hagent_conf_free(c);
	assert_int_equal(chmod(path, 0644), 0);
	assert_null(hagent_conf_load(path, "ha-1"));
	free(path);
}

static void
watchdog_fits(void **state)
{
	struct hagent_conf *c = load(HEAD "deadtime-ms = 9000\ninitdead-ms = 9000\n"
	    "watchdog { device = \"/dev/watchdog\" }\n");

	(void)state;
	assert_non_null(c);
	assert_string_equal(c->watchdog.device, "/dev/watchdog");
	assert_int_equal(c->watchdog.timeout_ms, 4000);
	hagent_conf_free(c);
}

/* An agent, its folders, and what it reads in: of root only. */
static void
agents_are_roots_own(void **state)
{
	static const struct { const char *path; mode_t bad, good; } t[] = {
		{ "ocf/resource.d/x/agent", 0757, 0755 }, { "ocf/resource.d/x", 0777, 0755 },
		{ "ocf/lib/heartbeat/ocf-shellfuncs", 0666, 0644 }, { "ocf/lib", 0777, 0755 } };
	char *text = mem_printf(HEAD "ocf-root = \"%s/ocf\"\nresource \"r\" { script = "
	    "\"ocf:x:agent\" }\n", dir), *path = mem_printf("%s/ocf/resource.d/x", dir);
	struct hagent_conf *c;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(fs_mkdirs(path, 0755), 0);
	assert_int_equal(fs_replace(path, "agent", "#!/bin/sh\n", 10, 0755), 0);
	free(path);
	path = mem_printf("%s/ocf/lib/heartbeat", dir);
	assert_int_equal(fs_mkdirs(path, 0755), 0);
	assert_int_equal(fs_replace(path, "ocf-shellfuncs", "", 0, 0644), 0);
	free(path);
	c = load(text);
	assert_non_null(c);
	hagent_conf_free(c);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		path = mem_printf("%s/%s", dir, t[i].path);
		assert_int_equal(chmod(path, t[i].bad), 0);
		assert_null(load(text));
		assert_int_equal(chmod(path, t[i].good), 0);
		free(path);
	}
	free(text);
}

/* So is the file itself. */
static void
file_is_roots_own(void **state)
{
	struct hagent_conf *c;
	char *path;

	(void)state;
	if (geteuid() != 0)
		skip();
	path = put(HEAD);
	assert_int_equal(chmod(path, 0646), 0);
	assert_null(hagent_conf_load(path, "ha-1"));
	assert_int_equal(chmod(path, 0664), 0);
	assert_non_null(c = hagent_conf_load(path, "ha-1"));	/* root's group */
	hagent_conf_free(c);
	assert_int_equal(chown(path, 0, 12345), 0);
	assert_null(hagent_conf_load(path, "ha-1"));
	assert_int_equal(chown(path, 12345, 0), 0);
	assert_null(hagent_conf_load(path, "ha-1"));
	assert_int_equal(chown(path, 0, 0), 0);
	assert_int_equal(chmod(dir, 0777), 0);
	assert_null(hagent_conf_load(path, "ha-1"));
	assert_int_equal(chmod(dir, 0700), 0);
	assert_non_null(c = hagent_conf_load(path, "ha-1"));
	hagent_conf_free(c);
	free(path);
}

static void
hash_is_of_settings(void **state)
{
	struct hagent_conf *a = load(HEAD), *b = load("# a comment\n" HEAD "keepalive-ms = 250\n");
	struct hagent_conf *c = load(HEAD "keepalive-ms = 251\n");

	(void)state;
	assert_true(a->hash == b->hash);
	assert_true(a->hash != c->hash);
	hagent_conf_free(a);
	hagent_conf_free(b);
	hagent_conf_free(c);
}

static int
make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) == NULL;
}

static int
remove_dir(void **state)
{
	(void)state;
	return fs_remove_tree(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shipped_states_the_defaults),
		cmocka_unit_test(mistakes),
		cmocka_unit_test(file_is_roots_own),
		cmocka_unit_test(decision),
		cmocka_unit_test(groups),
		cmocka_unit_test(serial_speed),
		cmocka_unit_test(fence_devices),
		cmocka_unit_test(watchdog_fits),
		cmocka_unit_test(agents_are_roots_own),
		cmocka_unit_test(hash_is_of_settings),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
