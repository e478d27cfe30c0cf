/* hactl_preflight.c - hactl preflight: is this node fit to go live?  One line a check,
 * OK, WARN or FAIL, each of the latter with a HINT.  Looks and changes nothing; works
 * before the daemons run, and tells more when they do.  What concerns both nodes comes
 * from the running agent: each node is asked by itself. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "daemon.h"
#include "fs.h"
#include "hactl_local.h"
#include "hactl_run.h"
#include "hagent_conf.h"
#include "mem.h"
#include "paths.h"
#include "ports.h"
#include "span.h"

#define RUN_MS 30000
#define ASK_MS 5000
#define ROOM_MIN (1ull << 30)
#define GOOD_PERCENT 90

enum verdict { PRE_OK, PRE_WARN, PRE_FAIL };

struct pre {
	struct hactl_local local;
	const char *path, *node;
	struct hagent_conf *conf; /* NULL: it is wrong, which was told */
	json_t *status, *links;	  /* of the agent; NULL: it does not answer */
	enum verdict worst;
};

/* Another program's words need not be UTF-8. */
static json_t *
printable(const char *text)
{
	json_t *o = json_string(text);

	return o != NULL ? o : json_string("(text cannot be shown)");
}

static void __attribute__((format(printf, 5, 6))) tell(struct pre *p, enum verdict v,
    const char *check, const char *hint, const char *fmt, ...)
{
	static const char *const words[] = {"OK", "WARN", "FAIL"};
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	hint = v == PRE_OK ? NULL : hint;
	if (p->local.json) {
		json_t *o = json_pack("{s:i, s:s, s:s, s:o, s:s*}", "schema", 1, "check", check,
		    "state", words[v], "text", printable(text), "hint", hint);

		hactl_put_json(o);
	} else {
		printf("%-4s  %-10s %s\n", words[v], check, text);
		if (hint != NULL)
			printf("HINT  %s\n", hint);
	}
	if (v > p->worst)
		p->worst = v;
}

/* A hint is a command that can be pasted; static, until the next one. */
static const char *__attribute__((format(printf, 1, 2))) command(const char *fmt, ...)
{
	static char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return text;
}

static int
limit(const struct pre *p, int usual_ms)
{
	return p->local.timeout_ms > 0 ? p->local.timeout_ms : usual_ms;
}

/* ---- files and users ------------------------------------------------------------- */

static void
check_config(struct pre *p)
{
	static const struct {
		const char *daemon, *file;
	} all[] = {
	    {"hagentd", "hagent.conf"},
	    {"syncd", "syncd.conf"},
	    {"maild", "maild.conf"},
	};

	for (size_t i = 0; i < 3; i++) {
		char *path = mem_printf("%s/%s", PATH_ETC, all[i].file), *text;
		const char *argv[] = {hactl_program(all[i].daemon), "-n", "-c",
		    i == 0 ? p->path : path, i < 2 && p->node != NULL ? "-N" : NULL,
		    p->node, NULL};
		size_t len;
		int code = hactl_run(argv, limit(p, RUN_MS), &text, &len);

		text[strcspn(text, "\n")] = '\0';
		if (code == 0)
			tell(p, PRE_OK, "config", NULL, "%s is valid", all[i].file);
		else
			tell(p, PRE_FAIL, "config",
			    command("%s -n -c %s", all[i].daemon, i == 0 ? p->path : path),
			    "%s: %s", all[i].file,
			    text[0] == '\0' ? "cannot be checked" : text);
		free(text);
		free(path);
	}
}

static void
check_keys(struct pre *p)
{
	static const char *const names[] = {"syncd.key", "tls/mail.key"};
	static const char *const made_by[] = {"syncd -k", "man hagentd"};
	char why[300];
	struct cluster_keys keys;

	if (p->conf == NULL)
		return;
	if (cluster_keys_load(p->conf->key_file, &keys, why, sizeof(why)) == -1)
		tell(p, PRE_FAIL, "keys",
		    access(p->conf->key_file, F_OK) == -1
			? "hactl key new"
			: command("ls -l %s", p->conf->key_file),
		    "%s", why);
	else if (keys.n == 2)
		tell(p, PRE_WARN, "keys",
		    "hactl key drop",
		    "%s holds two keys: drop the old one when both nodes use the new one",
		    p->conf->key_file);
	else
		tell(p, PRE_OK, "keys", NULL, "%s", p->conf->key_file);
	cluster_keys_wipe(&keys);
	for (size_t i = 0; i < 2; i++) {
		char *path = mem_printf("%s/%s", PATH_ETC, names[i]);
		struct stat st;

		if (stat(path, &st) == -1)
			tell(p, PRE_WARN, "keys",
			    made_by[i], "%s: %s", path, strerror(errno));
		else if ((st.st_mode & 077) != 0)
			tell(p, PRE_FAIL, "keys", command("chmod 600 %s", path),
			    "%s has mode %04o", path, (unsigned)(st.st_mode & 07777));
		else
			tell(p, PRE_OK, "keys", NULL, "%s", path);
		free(path);
	}
}

static void
check_users(struct pre *p)
{
	static const char *const users[] = {
	    "mailstore", "mailauth", "mailgate", "mailqueue"};
	struct daemon_user u;
	gid_t gid;
	unsigned missing = 0;

	for (size_t i = 0; i < 4; i++)
		missing += daemon_user_find(users[i], &u) == -1;
	if (p->conf != NULL && daemon_user_find(p->conf->user, &u) == -1)
		missing++;
	if (p->conf != NULL && daemon_group_find(p->conf->group, &gid) == -1)
		missing++;
	if (missing > 0)
		tell(p, PRE_FAIL, "users", PATH_LIB "/make-users",
		    "%u users or groups are missing", missing);
	else
		tell(p, PRE_OK, "users", NULL, "all are there");
}

/* ---- machine ----------------------------------------------------------------------- */

static long
sys_number(const char *interface, const char *what)
{
	char *path = mem_printf("/sys/class/net/%s/%s", interface, what), *text;
	size_t len;
	long n = -1;

	if (fs_read(path, 4096, &text, &len) == 0) {
		n = strtol(text, NULL, 10);
		free(text);
	}
	free(path);
	return n;
}

static void
check_interface(struct pre *p, const char *interface, const char *what)
{
	long speed;

	if (if_nametoindex(interface) == 0) {
		tell(p, PRE_FAIL, "network", "ip -br link",
		    "%s: there is no interface %s", what, interface);
		return;
	}
	speed = sys_number(interface, "speed");
	if (sys_number(interface, "carrier") != 1)
		tell(p, PRE_FAIL, "network", command("ip link show dev %s", interface),
		    "%s: %s has no carrier", what, interface);
	else if (speed > 0 && speed < 100)
		tell(p, PRE_WARN, "network", command("ethtool %s", interface),
		    "%s: %s runs at %ld Mbit/s", what, interface, speed);
	else
		tell(p, PRE_OK, "network", NULL, "%s: %s is up", what, interface);
}

static bool
have_address(const struct sockaddr_storage *ss)
{
	struct sockaddr_storage at = *ss;
	socklen_t len = at.ss_family == AF_INET ? sizeof(struct sockaddr_in)
						: sizeof(struct sockaddr_in6);
	int fd = socket(at.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok;

	/* Both have the port at the same place; any will do. */
	((struct sockaddr_in *)(void *)&at)->sin_port = 0;
	ok = fd != -1 && bind(fd, (struct sockaddr *)&at, len) == 0;
	if (fd != -1)
		close(fd);
	return ok;
}

static void
check_serial(struct pre *p, const struct link_conf *l)
{
	int fd = open(l->device, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (fd == -1)
		tell(p, PRE_FAIL, "serial", "ls -l /dev/ttyS*; dmesg | grep tty",
		    "link %s: %s: %s", l->name, l->device, strerror(errno));
	else if (!isatty(fd))
		tell(p, PRE_FAIL, "serial", command("ls -l %s", l->device),
		    "link %s: %s is no serial line", l->name, l->device);
	else if (l->baud < 9600)
		tell(p, PRE_WARN, "serial", "man hagent.conf",
		    "link %s: %u baud is slow, 19200 is not", l->name, l->baud);
	else
		tell(p, PRE_OK, "serial", NULL, "link %s: %s at %u baud", l->name,
		    l->device, l->baud);
	if (fd != -1)
		close(fd);
}

static void
check_links(struct pre *p)
{
	const struct hagent_conf *c = p->conf;

	for (size_t i = 0; i < c->nlinks; i++) {
		const struct link_conf *l = &c->links[i];

		if (l->medium == MEDIUM_SERIAL)
			check_serial(p, l);
		else if (l->interface[0] != '\0')
			check_interface(p, l->interface, l->name);
		if (l->medium == MEDIUM_UDP && l->address[c->self].ss_family != 0 &&
		    !have_address(&l->address[c->self]))
			tell(p, PRE_FAIL, "network", "ip addr",
			    "link %s: its address for %s is not on "
			    "this machine",
			    l->name, c->node[c->self]);
	}
	if (c->nlinks < 2)
		tell(p, PRE_WARN, "links",
		    "man hagent.conf",
		    "one link only: when it breaks, both nodes may serve; a second path or a "
		    "serial line is of another kind");
}

static void
check_heard(struct pre *p)
{
	json_t *list = json_object_get(p->links, "links"), *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		const char *name = json_string_value(json_object_get(one, "name"));
		const char *state = json_string_value(json_object_get(one, "state"));

		if (name == NULL || state == NULL)
			continue;
		if (strcmp(state, "ok") == 0)
			tell(p, PRE_OK, "links", NULL, "%s is heard", name);
		else
			tell(p, PRE_FAIL, "links",
			    "hactl links -w", "%s: %s; is hagentd running on the other node?", name,
			    state);
	}
}

enum ping_answer { PING_ANSWERS, PING_SILENT, PING_UNKNOWN };

/* Of a host, through an interface or NULL.  ping ends with 1 when it asked and heard
 * nothing; with anything else it could not ask, and its last words are in why. */
static enum ping_answer
ask_host(const struct pre *p, const char *host, const char *interface, char *why, size_t size)
{
	const char *argv[] = {"ping", "-n", "-c", "1", "-W", "1", "-I", interface, host, NULL};
	struct span rest, line, last = SPAN("ping did not run");
	char *text;
	size_t len;
	int code;

	if (interface == NULL) {
		argv[6] = host;
		argv[7] = NULL;
	}
	code = hactl_run(argv, limit(p, ASK_MS), &text, &len);
	rest = (struct span){text, len};
	while (span_cut(&rest, '\n', &line))
		last = line.len == 0 ? last : line;
	snprintf(why, size, "%.*s", (int)last.len, last.p);
	free(text);
	return code == 0 ? PING_ANSWERS : code == 1 ? PING_SILENT : PING_UNKNOWN;
}

static void
check_pings(struct pre *p)
{
	char why[160];

	if (p->conf->npings == 0)
		tell(p, PRE_WARN, "ping", "ip route show default",
		    "no target: this node cannot tell that it is cut off");
	for (size_t i = 0; i < p->conf->npings; i++) {
		const char *name = p->conf->pings[i].name;
		enum ping_answer a = ask_host(p, name, NULL, why, sizeof(why));

		if (a == PING_ANSWERS)
			tell(p, PRE_OK, "ping", NULL, "%s answers", name);
		else if (a == PING_SILENT)
			tell(p, PRE_FAIL, "ping", command("ping -c 3 %s", name),
			    "%s does not answer; choose one that always does", name);
		else
			tell(p, PRE_WARN, "ping", "ip route; command -v ping",
			    "could not ask %s: %s", name, why);
	}
}

static bool
agent_has_vip(const struct pre *p)
{
	json_t *list = json_object_get(p->status, "nodes"), *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		const char *role = json_string_value(json_object_get(one, "role"));

		if (role != NULL && strcmp(role, "active") == 0)
			return true;
	}
	return false;
}

/* On a pair that serves somebody answers, and rightly. */
static void
check_vip(struct pre *p, const struct vip_conf *v)
{
	char *address = mem_dup(v->name), why[160];
	enum ping_answer a;

	address[strcspn(address, "/")] = '\0';
	check_interface(p, v->interface, v->name);
	if (agent_has_vip(p)) {
		tell(p, PRE_OK, "vip", NULL, "%s belongs to the active node", address);
		free(address);
		return;
	}
	a = ask_host(p, address, v->interface, why, sizeof(why));
	if (a == PING_ANSWERS)
		tell(p, PRE_FAIL, "vip", command("ip neigh show %s", address),
		    "%s is in use by another host", address);
	else if (a == PING_SILENT)
		tell(p, PRE_OK, "vip", NULL, "%s is free", address);
	else
		tell(p, PRE_WARN, "vip", "sudo hactl preflight; command -v ping",
		    "could not ask whether %s is in use: %s", address, why);
	free(address);
}

/* ---- proof, room, daemons -----------------------------------------------------------
 */

static void
check_proof(struct pre *p)
{
	const struct hagent_conf *c = p->conf;
	struct stat st;

	if (c->watchdog.device[0] == '\0')
		tell(p, PRE_WARN, "watchdog",
		    "modprobe softdog; man hagent.conf",
		    "none: a node that hangs is not reset");
	else if (stat(c->watchdog.device, &st) == -1 || !S_ISCHR(st.st_mode))
		tell(p, PRE_FAIL, "watchdog", "modprobe softdog", "%s is no device",
		    c->watchdog.device);
	else
		tell(p, PRE_OK, "watchdog", NULL, "%s", c->watchdog.device);
	if (c->nfences == 0)
		tell(p, PRE_WARN, "fence", "man hagent.conf",
		    "none: only silence tells that the other node is down");
	else
		tell(p, PRE_OK, "fence", NULL, "%zu devices; hactl fence test asks them",
		    c->nfences);
}

static void
check_room(struct pre *p)
{
	uint64_t room;
	unsigned used;

	if (fs_free(PATH_VAR, &room, &used) == -1)
		tell(p, PRE_FAIL, "disk", "mkdir -p " PATH_VAR, "%s: %s", PATH_VAR,
		    strerror(errno));
	else if (room < ROOM_MIN || used > GOOD_PERCENT)
		tell(p, PRE_WARN, "disk", "df -h " PATH_VAR,
		    "%s: %llu MiB free, %u %% used", PATH_VAR,
		    (unsigned long long)(room >> 20), used);
	else
		tell(p, PRE_OK, "disk", NULL, "%s: %u %% used", PATH_VAR, used);
}

/* Before maild opens them on the active node nobody may have them. */
static void
check_ports(struct pre *p)
{
	struct port_look look[] = {{25, 0, 0}, {587, 0, 0}, {465, 0, 0}, {110, 0, 0},
	    {995, 0, 0}, {143, 0, 0}, {993, 0, 0}};
	size_t n = sizeof(look) / sizeof(look[0]);
	struct ports seen;

	if (p->status != NULL && agent_has_vip(p))
		return;
	ports_look(look, n);
	ports_judge(look, n, &seen);
	if (seen.taken > 0)
		tell(p, PRE_FAIL, "ports",
		    command("ss -lntp sport = :%d", seen.first_taken),
		    "%u mail ports are in use, the first is %d; another mail server runs",
		    seen.taken, seen.first_taken);
	if (seen.unknown > 0)
		tell(p, PRE_WARN, "ports",
		    seen.why == EACCES || seen.why == EPERM ? "sudo hactl preflight"
							    : "ss -lnt",
		    "could not look at %u mail ports, the first is %d: %s", seen.unknown,
		    seen.first_unknown, strerror(seen.why));
	if (seen.taken == 0 && seen.unknown == 0)
		tell(p, PRE_OK, "ports", NULL, "the mail ports are free");
}

static void
check_daemon(struct pre *p, const char *name, const char *sock, const char *op)
{
	char *path = mem_printf("%s/%s", p->local.run_dir, sock);
	json_t *request = json_pack("{s:s}", "op", op), *last = NULL;
	enum ctl_exit code = ctl_ask(path, request, limit(p, ASK_MS), NULL, NULL, &last);

	if (code == CTL_UNKNOWN || code == CTL_DENIED || code == CTL_TIMEOUT)
		tell(p, PRE_FAIL, "daemons", "systemctl enable --now syncd maild hagentd",
		    "%s does not answer", name);
	else
		tell(p, PRE_OK, "daemons", NULL, "%s answers", name);
	json_decref(last);
	json_decref(request);
	free(path);
}

/* What the agent itself complains of: other configuration, clocks, data. */
static void
check_pair(struct pre *p)
{
	json_t *list = json_object_get(p->status, "advice"), *one;
	size_t i;

	if (p->status == NULL)
		return;
	json_array_foreach(list, i, one)
	{
		const char *text = json_string_value(json_object_get(one, "text"));
		const char *hint = json_string_value(json_object_get(one, "hint"));

		tell(p, PRE_WARN, "pair",
		    hint != NULL && hint[0] != '\0' ? hint : "hactl status", "%s",
		    text != NULL ? text : "a problem without words");
	}
	if (json_array_size(list) == 0)
		tell(p, PRE_OK, "pair", NULL,
		    "both nodes hear each other and are configured alike");
}

static void
run_all(struct pre *p)
{
	check_config(p);
	check_users(p);
	if (p->conf != NULL) {
		check_keys(p);
		check_links(p);
		check_pings(p);
		for (size_t i = 0; i < p->conf->nvips; i++)
			check_vip(p, &p->conf->vips[i]);
		check_proof(p);
	}
	check_room(p);
	check_ports(p);
	check_daemon(p, "hagentd", "hagentd.sock", "history");
	check_daemon(p, "syncd", "syncd.sock", "sync-status");
	check_daemon(p, "maild", "maild.sock", "listeners-status");
	check_heard(p);
	check_pair(p);
}

/* Its mistakes were told by hagentd -n, in a line of their own. */
static struct hagent_conf *
load_quietly(const char *path, const char *node)
{
	int keep_fd = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct hagent_conf *c;

	if (keep_fd == -1 || null == -1 || dup2(null, STDERR_FILENO) == -1)
		return NULL;
	c = hagent_conf_load(path, node);
	(void)dup2(keep_fd, STDERR_FILENO);
	close(keep_fd);
	close(null);
	return c;
}

int
hactl_preflight(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"config", required_argument, NULL, 'c'},
	    {"node", required_argument, NULL, 'N'},
	    LOCAL_OPTIONS,
	    LOCAL_WAITS,
	    {NULL, 0, NULL, 0},
	};
	static const char usage[] =
	    "usage: hactl preflight [--config FILE] [--node NAME] [--json] [--timeout SECONDS]\n"
	    "           [--run-dir DIR]\n";
	struct pre p = {.path = PATH_ETC "/hagent.conf", .local.run_dir = PATH_RUN};
	int ch;

	while ((ch = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (ch == 'c')
			p.path = optarg;
		else if (ch == 'N')
			p.node = optarg;
		else if (!hactl_local_option(&p.local, ch))
			return fputs(usage, ch == 'h' ? stdout : stderr),
			       ch == 'h' ? CTL_OK : CTL_USAGE;
	}
	if (optind != argc)
		return fputs(usage, stderr), CTL_USAGE;
	p.conf = load_quietly(p.path, p.node);
	p.status = hactl_part(p.local.run_dir, "hagentd.sock", "status", limit(&p, ASK_MS));
	p.links = hactl_part(p.local.run_dir, "hagentd.sock", "links", limit(&p, ASK_MS));
	run_all(&p);
	hagent_conf_free(p.conf);
	json_decref(p.status);
	json_decref(p.links);
	if (p.worst != PRE_OK && !p.local.json)
		printf("%s\n", p.worst == PRE_WARN
				   ? "fit, with less protection than there could be"
				   : "not fit to go live");
	return (int)p.worst;
}
