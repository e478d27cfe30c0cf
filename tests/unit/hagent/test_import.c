/* test_import.c - Heartbeat's files as a table: what becomes of each line, and which note
 * an administrator reads.  Then the same texts mutated: nothing that is accepted may be
 * refused by hagentd -n, and no input may hang or crash. */
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
#include "import.h"
#include "mem.h"

#define NODES "node ha-a\nnode ha-b\n"
#define SERIAL "serial /dev/ttyS0\n"
#define SEED                                                                             \
	"keepalive 2\ndeadtime 10\nwarntime 8\ninitdead 120\nudpport 694\nbaud 19200\n"  \
	"serial /dev/ttyS0\nbcast eth1\nwatchdog /dev/watchdog\nauto_failback "          \
	"on\nrealtime off\n" NODES "ping 192.0.2.1\nrespawn hacluster /usr/lib/heartbeat/ipfail\n"

struct seen {
	char notes[1 << 16];
	size_t len;
	unsigned errors;
};

static void
on_note(
    void *arg, enum import_level level, enum import_file file, int line, const char *text)
{
	struct seen *s = arg;

	for (const char *p = text; *p != '\0'; p++)
		assert_true(*p >= ' ' && *p <= '~');
	s->errors += level == IMPORT_ERROR;
	if (s->len < sizeof(s->notes) - 1)
		s->len += (size_t)snprintf(s->notes + s->len, sizeof(s->notes) - s->len,
		    "%s %s:%d %s\n", level == IMPORT_WARN ? "WARN" : "ERROR",
		    import_file_name(file), line, text);
	if (s->len >= sizeof(s->notes))
		s->len = sizeof(s->notes) - 1;
}

static bool
have_script(void *arg, const char *name)
{
	(void)arg;
	return strncmp(name, "no-", 3) != 0;
}

static struct import_env env = {
    .cluster = "",
    .node = "ha-a",
    .key_file = "/etc/mailpair/cluster.key",
    .nets = {{"eth0", "192.0.2.11", 24}, {"eth1", "10.1.0.1", 24},
	{"eth2", "2001:db8::1", 64}},
    .nnets = 3,
    .given = {{"ha-b", "eth1", "10.1.0.2"}},
    .ngiven = 1,
    .have_script = have_script,
    .note = on_note,
};

/* The text; NULL when it was refused. */
static char *
convert(struct span ha, struct span res, const char *auth, struct seen *s)
{
	struct import *im;
	char *text = NULL;
	size_t len;
	FILE *f;

	memset(s, 0, sizeof(*s));
	env.arg = s;
	im = import_new(&env);
	import_ha_cf(im, ha);
	import_haresources(im, res);
	if (auth != NULL)
		import_authkeys(im, span_of(auth));
	if (import_finish(im)) {
		assert_int_equal(s->errors, 0);
		f = open_memstream(&text, &len);
		assert_non_null(f);
		import_write(im, f);
		assert_int_equal(fclose(f), 0);
	} else {
		assert_true(s->errors > 0);
	}
	import_free(im);
	return text;
}

static const struct {
	const char *ha, *res;
	/* What stands in the configuration; with ~ in a note; "refused": there is none.
	 */
	const char *want[6];
} cases[] = {
    /* The guides' configuration. */
    {SEED, "ha-a 192.0.2.50 maild\n",
	{"keepalive-ms = 2000\n", "\"ha-a=10.1.0.1\", \"ha-b=10.1.0.2\"",
	    "vip \"192.0.2.50/24\" { interface = \"eth0\" }", "resource \"syncer\"",
	    "device = \"/dev/watchdog\"\n\ttimeout-s = 4", "preferred = \"ha-a\""}},
    {NODES SERIAL "keepalive 200ms\ndeadtime 1.5s\n", "ha-a x\n",
	{"keepalive-ms = 200\n", "deadtime-ms = 1500\n", "syncd-socket = \"\""}},
    /* Times that do not fit are made to, and said. */
    {NODES SERIAL "keepalive 2\ndeadtime 3\n", "ha-a x\n",
	{"deadtime-ms = 4000\n", "~WARN ha.cf:5 deadtime: 3000 ms became 4000"}},
    {NODES SERIAL "keepalive 2\n", "ha-a x\n", {"deadtime-ms = 10000\n"}},
    {NODES SERIAL "deadtime 10\nwarntime 20\n", "ha-a x\n",
	{"warntime-ms = 10000\n", "~WARN ha.cf:5 warntime"}},
    {NODES SERIAL "deadtime 30\n", "ha-a x\n", {"initdead-ms = 60000\n"}},
    {NODES SERIAL "keepalive soon\n", "ha-a x\n",
	{"refused", "~ERROR ha.cf:4 keepalive"}},
    {NODES SERIAL "keepalive 2x\n", "ha-a x\n", {"refused", "~ERROR ha.cf:4"}},
    {NODES SERIAL "keepalive -2\n", "ha-a x\n", {"refused", "~ERROR ha.cf:4"}},
    {NODES SERIAL "keepalive 1..5\n", "ha-a x\n", {"refused", "~ERROR ha.cf:4"}},
    {NODES SERIAL "deadtime 99999999999999999999\n", "ha-a x\n",
	{"refused", "~ERROR ha.cf:4"}},
    /* Nodes. */
    {SERIAL "node ha-a ha-b\n", "ha-a x\n", {"node \"ha-b\" { }"}},
    {SERIAL "node ha-a\n", "ha-a x\n", {"refused", "~expected two nodes, found 1"}},
    {SERIAL NODES "node ha-c\n", "ha-a x\n", {"refused", "~ERROR ha.cf:4 node ha-c"}},
    {SERIAL "node ha-a h\"b\n", "ha-a x\n", {"refused", "~ERROR ha.cf:2 node"}},
    {SERIAL NODES, "ha-c x\n", {"refused", "~ERROR haresources:1 ha-c is no node"}},
    {"", "", {"refused", "~expected two nodes, found 0"}},
    /* Links. */
    {NODES "bcast eth0 eth1\n", "ha-a x\n",
	{"refused",
	    "~the address of ha-b on eth0 is not known: give --address ha-b:eth0="}},
    {NODES "ucast eth0 192.0.2.11\nucast eth0 192.0.2.12\nudpport 700\n", "ha-a x\n",
	{"\"ha-a=192.0.2.11\", \"ha-b=192.0.2.12\"", "port = 700"}},
    {NODES "ucast eth0 192.0.2.12\n", "ha-a x\n",
	{"\"ha-a=192.0.2.11\", \"ha-b=192.0.2.12\""}},
    {NODES "mcast eth1 225.0.0.1 694 1 0\n", "ha-a x\n", {"ha-b=10.1.0.2", "port = 694"}},
    {NODES "ucast eth0 peer.example\n", "ha-a x\n", {"refused", "~ERROR ha.cf:3 ucast"}},
    {NODES "bcast eth1/../x\n", "ha-a x\n", {"refused", "~ERROR ha.cf:3 bcast"}},
    {NODES "serial ttyS0\n", "ha-a x\n", {"refused", "~ERROR ha.cf:3 serial"}},
    {NODES "serial /dev/ttyS0 /dev/ttyS1\nbaud 9600\n", "ha-a x\n",
	{"link \"ttyS1\"", "baud = 9600"}},
    {NODES SERIAL "baud 50\n", "ha-a x\n", {"refused", "~ERROR ha.cf:4 baud"}},
    {NODES, "ha-a x\n", {"refused", "~a pair needs a link"}},
    {NODES "serial /dev/a/t /dev/b/t\n", "ha-a x\n", {"link \"t\"", "link \"t-2\""}},
    /* Ping targets. */
    {NODES SERIAL "ping 192.0.2.1, 2001:db8::9\n", "ha-a x\n",
	{"ping = { \"192.0.2.1\", \"2001:db8::9\" }"}},
    {NODES SERIAL "ping gw.example\n", "ha-a x\n",
	{"link \"ttyS0\"", "~ping target gw.example left out", "~no ping target"}},
    {NODES SERIAL "ping_group g 192.0.2.1 192.0.2.2\n", "ha-a x\n",
	{"\"192.0.2.2\"", "~WARN ha.cf:4 ping_group g"}},
    /* What has no equivalent is named with what to do. */
    {NODES SERIAL "stonith_host * apcmaster 10.0.0.9 user password\n", "ha-a x\n",
	{"link", "~WARN ha.cf:4 stonith_host", "~replaces apcmaster with"}},
    {NODES SERIAL "crm respawn\n", "ha-a x\n", {"link", "~WARN ha.cf:4 crm"}},
    {NODES SERIAL "crm off\n", "ha-a x\n", {"link"}},
    {NODES SERIAL "respawn root /usr/sbin/dopd\n", "ha-a x\n",
	{"link", "~WARN ha.cf:4 respawn /usr/sbin/dopd"}},
    {NODES SERIAL "respawn nobody /usr/bin/watch-it -n 5\n", "ha-a x\n",
	{"# ha.cf:4 respawn\nrespawn \"respawn-1\" {\n\tuser = \"nobody\"\n\tcommand = "
	 "{ \"/usr/bin/watch-it\", \"-n\", \"5\" }\n}"}},
    {NODES SERIAL "respawn nobody watch-it\n", "ha-a x\n",
	{"link", "~WARN ha.cf:4 respawn watch-it: left out"}},
    {NODES SERIAL "apiauth ipfail uid=x\n", "ha-a x\n",
	{"link", "~WARN ha.cf:4 apiauth"}},
    {NODES SERIAL "no_such_thing 1\n", "ha-a x\n",
	{"link", "~WARN ha.cf:4 no_such_thing is not known"}},
    {NODES SERIAL "debug 1\n", "ha-a x\n", {"log-level = \"debug\""}},
    {NODES SERIAL "watchdog /dev/watchdog\ndeadtime 5\n", "ha-a x\n", {"timeout-s = 2"}},
    {NODES SERIAL "watchdog /dev/watchdog\ndeadtime 4\n", "ha-a x\n",
	{"link", "~WARN ha.cf:4 watchdog /dev/watchdog is left out"}},
    {NODES SERIAL "auto_failback on\n", "", {"failback = \"off\""}},
    {NODES SERIAL "auto_failback legacy\n", "ha-a x\n", {"failback = \"auto\""}},
    {NODES SERIAL "nice_failback on\n", "ha-a x\n", {"failback = \"off\""}},
    {NODES SERIAL "auto_failback maybe\n", "ha-a x\n", {"refused", "~ERROR ha.cf:4"}},
    /* Scheduling and locked memory. */
    {NODES SERIAL "realtime off\n", "ha-a x\n",
	{"# ha.cf:4 realtime\nrealtime = false\nlock-memory = false\n"}},
    {NODES SERIAL "realtime on\n", "ha-a x\n",
	{"# ha.cf:4 realtime\nrealtime = true\nlock-memory = true\n"}},
    {NODES SERIAL "realtime sometimes\n", "ha-a x\n",
	{"refused", "~ERROR ha.cf:4 realtime: expected on or off"}},
    {NODES SERIAL "rtprio 5\n", "ha-a x\n",
	{"link", "~WARN ha.cf:4 rtprio has no equivalent: the priority is always the lowest"}},
    {NODES SERIAL "watchdog\n", "ha-a x\n", {"link", "~WARN ha.cf:4 watchdog"}},
    /* haresources. */
    {NODES SERIAL,
	"ha-a IPaddr::192.0.2.50/24/eth0:0/192.0.2.255 IPaddr2::192.0.2.51 x\n",
	{"vip \"192.0.2.50/24\" { interface = \"eth0\" }",
	    "vip \"192.0.2.51/24\" { interface = \"eth0\" }",
	    "~WARN haresources:1 addresses go up behind"}},
    {NODES SERIAL, "ha-a IPv6addr::2001:db8::50/64/eth2\n", {"vip \"2001:db8::50/64\""}},
    {NODES SERIAL, "ha-a 2001:db8::50\n",
	{"vip \"2001:db8::50/64\" { interface = \"eth2\" }"}},
    {NODES SERIAL, "ha-a 203.0.113.5\n",
	{"refused", "~write 203.0.113.5/PREFIX/INTERFACE"}},
    {NODES SERIAL, "ha-a 192.0.2.50/99/eth0\n", {"refused", "~ERROR haresources:1"}},
    {NODES SERIAL, "ha-a \\\n\tFilesystem::/dev/d::/data::ext4 \\\n\tx # why\nha-b y\n",
	{"# haresources:1\nresource \"Filesystem\"", "\"/dev/d\", \"/data\", \"ext4\"",
	    "resource \"x\"", "resource \"y\"",
	    "~WARN haresources:4 the group of ha-b was joined"}},
    {NODES SERIAL, "ha-a x::1 x::2\n", {"resource \"x\"", "resource \"x-2\""}},
    {NODES SERIAL, "ha-a no-script::a\n",
	{"\n# resource \"no-script\"", "~WARN haresources:1 no-script: no such script"}},
    {NODES SERIAL, "ha-a drbddisk::r0\n", {"link", "~drbddisk has no equivalent"}},
    {NODES SERIAL, "ha-a ../../bin/sh\n", {"refused", "~expected the name of a script"}},
    {NODES SERIAL, "ha-a MailTo::a@b.example::${HOME}\"\\\n", {"\"\\x24{HOME}\\\"\""}},
    {NODES SERIAL, "", {"link"}},
};

static void
each_line_is_taken_or_named(void **state)
{
	static struct seen s;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text =
		    convert(span_of(cases[i].ha), span_of(cases[i].res), NULL, &s);

		if ((text == NULL) != (strcmp(cases[i].want[0], "refused") == 0))
			fail_msg("case %zu: %s:\n%s", i,
			    text == NULL ? "refused" : "accepted", s.notes);
		for (size_t j = text == NULL; j < 6 && cases[i].want[j] != NULL; j++) {
			const char *want = cases[i].want[j];

			if (strstr(*want == '~' ? s.notes : text,
				want + (*want == '~')) == NULL)
				fail_msg(
				    "case %zu lacks %s:\n%s%s", i, want, s.notes, text);
		}
		free(text);
	}
}

static void
keys_are_never_copied(void **state)
{
	static struct seen s;
	char *text = convert(span_of(SEED), span_of("ha-a 192.0.2.50 maild\n"),
	    "# keys\nauth 1\n1 sha1 OldSecret\n2 crc\n", &s);

	(void)state;
	assert_non_null(text);
	assert_null(strstr(text, "OldSecret"));
	assert_null(strstr(s.notes, "OldSecret"));
	assert_non_null(strstr(s.notes, "WARN authkeys:2 its keys are not used again"));
	free(text);
}

static uint32_t
next(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static void
mutate(char *p, size_t len, uint32_t *seed)
{
	static const char nasty[] = "\0\n\\\"'$#{}:/= \t\x7f\xff"
				    "09.a";

	for (unsigned n = next(seed) % 6; n > 0; n--)
		p[next(seed) % len] = nasty[next(seed) % (sizeof(nasty) - 1)];
}

/* Scripts have to be there for hagentd, so this machine's have none. */
static bool
no_script(void *arg, const char *name)
{
	(void)arg;
	(void)name;
	return false;
}

static void
what_is_accepted_loads(void **state)
{
	static const char res[] =
	    "ha-a 192.0.2.50/24/eth0 maild Filesystem::/dev/d::/data::ext4 "
	    "MailTo::a@b::x\\\n y::z\nha-b IPaddr::192.0.2.51\n";
	static struct seen s;
	char dir[] = "/tmp/test_import.XXXXXX", *path;
	uint32_t seed = 7;
	unsigned accepted = 0;

	(void)state;
	assert_non_null(mkdtemp(dir));
	path = mem_printf("%s/conf", dir);
	env.have_script = no_script;
	for (int i = 0; i < 20000; i++) {
		char ha[] = SEED, r[sizeof(res)], *text;

		memcpy(r, res, sizeof(res));
		mutate(ha, sizeof(ha) - 1, &seed);
		mutate(r, sizeof(r) - 1, &seed);
		text = convert((struct span){ha, sizeof(ha) - 1},
		    (struct span){r, sizeof(r) - 1}, NULL, &s);
		if (text != NULL && ++accepted % 16 == 1) {
			FILE *f = fopen(path, "w");
			struct hagent_conf *c;
			const char *node = strstr(text, "node \"");
			char name[65] = "";

			assert_non_null(f);
			assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
			assert_int_equal(sscanf(node, "node \"%64[^\"]", name), 1);
			c = hagent_conf_load(path, name);
			if (c == NULL)
				fail_msg("not loadable:\n%s", text);
			hagent_conf_free(c);
		}
		free(text);
	}
	assert_true(accepted > 100);
	env.have_script = have_script;
	unlink(path);
	rmdir(dir);
	free(path);
}

static void
large_input_is_bounded(void **state)
{
	static struct seen s;
	size_t len = IMPORT_FILE_MAX;
	char *ha = mem_alloc(len), *text;

	(void)state;
	for (size_t i = 0; i + 8 < len; i += 8)
		memcpy(ha + i, "node a\\\n", 8);
	text = convert((struct span){ha, len}, (struct span){ha, len}, NULL, &s);
	assert_null(text);
	memset(ha, 'x', len);
	text = convert((struct span){ha, len}, (struct span){ha, len}, NULL, &s);
	assert_null(text);
	free(ha);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_line_is_taken_or_named),
	    cmocka_unit_test(keys_are_never_copied),
	    cmocka_unit_test(what_is_accepted_loads),
	    cmocka_unit_test(large_input_is_bounded),
	};

	return cmocka_run_group_tests_name("import", tests, NULL, NULL);
}
