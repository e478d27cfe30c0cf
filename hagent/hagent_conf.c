/* hagent_conf.c - one option table, copied at once into struct hagent_conf and
 * checked there.
 *
 * Promise: a file with any mistake gives NULL and at least one line "ERROR
 * file:line: text" on stderr; nothing has been started by then.  Numbers are
 * checked against their limits while the file is read, so that the line is known;
 * what joins several options (times against each other, addresses of both nodes)
 * is checked afterwards.  Does not open devices or look whether interfaces exist:
 * they may come later. */
#include "hagent_conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "conf_links.h"
#include "conf_policy.h"
#include "conf_proof.h"
#include "conf_resource.h"
#include "conf_respawn.h"
#include "conf_visible.h"
#include "fs.h"
#include "hex.h"
#include "log.h"
#include "mem.h"
#include "paths.h"

static const struct limit {
	const char *name;
	long min, max;
} limits[] = {
	{ "port", 1, 65535 },
	{ "ttl", 1, 255 },
	{ "baud", 1200, 921600 },
	{ "start-timeout-ms", 100, 3600000 },
	{ "stop-timeout-ms", 100, 3600000 },
	{ "status-timeout-ms", 100, 600000 },
	{ "drain-timeout-ms", 50, 600000 },
	{ "monitor-interval-ms", 0, 86400000 },
	{ "metadata-timeout-ms", 100, 600000 },
	{ "delay-ms", 10, 600000 },
	{ "delay-max-ms", 10, 3600000 },
	{ "restarts", 0, 1000 },
	{ "restart-window-s", 1, 604800 },
	{ "keepalive-ms", 10, 60000 },
	{ "serial-keepalive-ms", 10, 60000 },
	{ "deadtime-ms", 40, 600000 },
	{ "warntime-ms", 20, 600000 },
	{ "initdead-ms", 40, 3600000 },
	{ "ping-interval-ms", 50, 600000 },
	{ "ping-timeout-ms", 50, 600000 },
	{ "ping-handover-ms", 0, 600000 },
	{ "probe-wait-ms", 10, 10000 },
	{ "drain-ms", 10, 60000 },
	{ "isolated-ms", 40, 600000 },
	{ "evidence-ms", 40, 600000 },
	{ "probe-fresh-ms", 40, 600000 },
	{ "syncd-wait-ms", 100, 600000 },
	{ "join-wait-ms", 100, 600000 },
	{ "switch-ms", 100, 600000 },
	{ "retry-ms", 50, 600000 },
	{ "fence-delay-ms", 0, 600000 },
	{ "fence-retry-max-ms", 50, 86400000 },
	{ "failback-delay-s", 0, 604800 },
	{ "moves-max", 0, 16 },
	{ "moves-window-s", 1, 604800 },
	{ "vip-check-ms", 0, 86400000 },
	{ "maintenance-s", 1, 2592000 },
	{ "timeout-s", 2, 600 },
	{ "level", 1, 9 },
	{ "timeout-ms", 500, 600000 },
	{ "fence-poll-ms", 50, 60000 },
	{ "fence-check-s", 0, 604800 },
	{ "pet-ms", 10, 60000 },
	{ "test-interval-ms", 100, 3600000 },
	{ "test-timeout-ms", 50, 600000 },
	{ "events-max", 10, 10000 },
	{ "notify-timeout-ms", 100, 600000 },
	{ "notify-max", 1, 1000 },
};

static int
check_number(cfg_t *cfg, cfg_opt_t *opt)
{
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (strcmp(limits[i].name, cfg_opt_name(opt)) == 0)
			return conf_check_range(cfg, opt, limits[i].min, limits[i].max);
	return 0;
}

/* The words that an option with a fixed choice takes, in the order of its enum. */
static const char *const level_words[] = { "err", "warn", "info", "debug", NULL };
static const struct choice {
	const char *name;
	const char *const *words;
} choices[] = {
	{ "mode", conf_policy_modes },
	{ "cold-start", conf_policy_cold },
	{ "quorum", conf_policy_quorum },
	{ "when", conf_respawn_whens },
	{ "medium", conf_links_media },
	{ "failback", conf_policy_failback },
	{ "action", conf_proof_actions },
	{ "log-level", level_words },
};

static int
check_choice(cfg_t *cfg, cfg_opt_t *opt)
{
	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++)
		if (strcmp(choices[i].name, cfg_opt_name(opt)) == 0)
			return conf_check_words(cfg, opt, choices[i].words);
	return 0;
}

/* Ties the checks to the rows of a table, by type and name. */
static void
tie_checks(cfg_opt_t *opts)
{
	for (; opts->name != NULL; opts++) {
		if (opts->type == CFGT_INT)
			opts->validcb = check_number;
		else if (opts->type == CFGT_STR && !(opts->flags & CFGF_LIST))
			opts->validcb = check_choice;
		else if (opts->type == CFGT_SEC)
			tie_checks(opts->subopts);
	}
}

/* The sections of the file. */
static cfg_opt_t node_opts[] = {
	CFG_INT("fence-delay-ms", 0, CFGF_NONE),
	CFG_END(),
};
static cfg_opt_t link_opts[] = {
	CFG_STR("medium", "udp", CFGF_NONE),
	CFG_STR("interface", "", CFGF_NONE),
	CFG_STR_LIST("address", "{}", CFGF_NONE),
	CFG_STR("broadcast", "", CFGF_NONE),
	CFG_STR("multicast", "", CFGF_NONE),
	CFG_INT("ttl", 1, CFGF_NONE),
	CFG_INT("port", 694, CFGF_NONE),
	CFG_STR("device", "", CFGF_NONE),
	CFG_INT("baud", 19200, CFGF_NONE),
	CFG_STR("process-group", "", CFGF_NONE),
	CFG_BOOL("allow-unencrypted", cfg_false, CFGF_NONE),
	CFG_END(),
};
static cfg_opt_t vip_opts[] = {
	CFG_STR("interface", "", CFGF_NONE),
	CFG_END(),
};
static cfg_opt_t resource_opts[] = {
	CFG_STR("script", "", CFGF_NONE),
	CFG_STR_LIST("args", "{}", CFGF_NONE),
	CFG_STR_LIST("params", "{}", CFGF_NONE),
	CFG_STR("pidfile", "", CFGF_NONE),
	CFG_INT("start-timeout-ms", 60000, CFGF_NONE),
	CFG_INT("stop-timeout-ms", 30000, CFGF_NONE),
	CFG_INT("status-timeout-ms", 10000, CFGF_NONE),
	CFG_INT("drain-timeout-ms", 1000, CFGF_NONE),
	CFG_INT("monitor-interval-ms", 5000, CFGF_NONE),
	CFG_INT("restarts", 3, CFGF_NONE),
	CFG_INT("restart-window-s", 600, CFGF_NONE),
	CFG_BOOL("drain", cfg_false, CFGF_NONE),
	CFG_END(),
};
static cfg_opt_t respawn_opts[] = {
	CFG_STR_LIST("command", "{}", CFGF_NONE),
	CFG_STR("user", "", CFGF_NONE),
	CFG_STR("when", "always", CFGF_NONE),
	CFG_INT("delay-ms", 100, CFGF_NONE),
	CFG_INT("delay-max-ms", 10000, CFGF_NONE),
	CFG_END(),
};
static cfg_opt_t fence_opts[] = {
	CFG_STR("agent", "", CFGF_NONE),
	CFG_STR("node", "", CFGF_NONE),
	CFG_INT("level", 1, CFGF_NONE),
	CFG_STR_LIST("args", "{}", CFGF_NONE),
	CFG_STR("args-file", "", CFGF_NONE),
	CFG_INT("timeout-ms", 20000, CFGF_NONE),
	CFG_STR("action", "off", CFGF_NONE),
	CFG_END(),
};
static cfg_opt_t watchdog_opts[] = {
	CFG_STR("device", "", CFGF_NONE),
	CFG_INT("timeout-s", 4, CFGF_NONE),
	CFG_INT("pet-ms", 500, CFGF_NONE),
	CFG_BOOL("required", cfg_false, CFGF_NONE),
	CFG_STR("test-command", "", CFGF_NONE),
	CFG_INT("test-interval-ms", 2000, CFGF_NONE),
	CFG_INT("test-timeout-ms", 2000, CFGF_NONE),
	CFG_END(),
};

static cfg_t *
load_file(const char *path)
{
	static cfg_opt_t opts[] = {
		CFG_STR("cluster", "", CFGF_NONE),
		CFG_STR("key-file", PATH_ETC "/cluster.key", CFGF_NONE),
		CFG_STR("user", "hagent", CFGF_NONE),
		CFG_STR("group", "mailpair", CFGF_NONE),
		CFG_STR("state-dir", PATH_VAR "/ha", CFGF_NONE),
		CFG_STR("run-dir", PATH_RUN, CFGF_NONE),
		CFG_SEC("node", node_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_SEC("link", link_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_SEC("vip", vip_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_STR_LIST("ping", "{}", CFGF_NONE),
		CFG_SEC("respawn", respawn_opts,
		    CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_SEC("resource", resource_opts,
		    CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_SEC("fence", fence_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_STR_LIST("fence-path",
		    "{" PATH_ETC "/fence.d, " PATH_LIB "/fence.d, /usr/sbin}", CFGF_NONE),
		CFG_INT("fence-poll-ms", 500, CFGF_NONE),
		CFG_INT("fence-check-s", 3600, CFGF_NONE),
		CFG_SEC("watchdog", watchdog_opts, CFGF_NONE),
		CFG_STR_LIST("resource-path",
		    "{" PATH_ETC "/resource.d, " PATH_LIB "/resource.d, "
		    "/usr/lib/mailpair/resource.d, /etc/init.d}",
		    CFGF_NONE),
		CFG_STR("ocf-root", "/usr/lib/ocf", CFGF_NONE),
		CFG_STR("systemctl", "/bin/systemctl", CFGF_NONE),
		CFG_INT("metadata-timeout-ms", 10000, CFGF_NONE),
		CFG_STR("syncd-socket", PATH_RUN "/syncd-agent.sock", CFGF_NONE),
		CFG_INT("keepalive-ms", 250, CFGF_NONE),
		CFG_INT("serial-keepalive-ms", 500, CFGF_NONE),
		CFG_INT("deadtime-ms", 2000, CFGF_NONE),
		CFG_INT("warntime-ms", 1000, CFGF_NONE),
		CFG_INT("initdead-ms", 10000, CFGF_NONE),
		CFG_INT("ping-interval-ms", 1000, CFGF_NONE),
		CFG_INT("ping-timeout-ms", 2000, CFGF_NONE),
		CFG_INT("ping-handover-ms", 1500, CFGF_NONE),
		CFG_INT("probe-wait-ms", 60, CFGF_NONE),
		CFG_INT("drain-ms", 2000, CFGF_NONE),
		CFG_INT("isolated-ms", 2800, CFGF_NONE),
		CFG_INT("evidence-ms", 5000, CFGF_NONE),
		CFG_INT("probe-fresh-ms", 2000, CFGF_NONE),
		CFG_INT("syncd-wait-ms", 10000, CFGF_NONE),
		CFG_INT("join-wait-ms", 10000, CFGF_NONE),
		CFG_INT("switch-ms", 30000, CFGF_NONE),
		CFG_INT("retry-ms", 2000, CFGF_NONE),
		CFG_STR("mode", "serial+ping", CFGF_NONE),
		CFG_STR("quorum", "ignore", CFGF_NONE),
		CFG_INT("fence-retry-max-ms", 60000, CFGF_NONE),
		CFG_STR("preferred", "", CFGF_NONE),
		CFG_STR("failback", "off", CFGF_NONE),
		CFG_INT("failback-delay-s", 300, CFGF_NONE),
		CFG_INT("moves-max", 4, CFGF_NONE),
		CFG_INT("moves-window-s", 3600, CFGF_NONE),
		CFG_INT("vip-check-ms", 10000, CFGF_NONE),
		CFG_INT("maintenance-s", 3600, CFGF_NONE),
		CFG_STR("cold-start", "last-active", CFGF_NONE),
		CFG_BOOL("realtime", cfg_true, CFGF_NONE),
		CFG_BOOL("lock-memory", cfg_true, CFGF_NONE),
		CFG_STR("log-level", "info", CFGF_NONE),
		CFG_INT("events-max", 1000, CFGF_NONE),
		CFG_STR("metrics", "127.0.0.1:9694", CFGF_NONE),
		CFG_STR("notify", "", CFGF_NONE),
		CFG_INT("notify-timeout-ms", 10000, CFGF_NONE),
		CFG_INT("notify-max", 30, CFGF_NONE),
		CFG_END(),
	};

	tie_checks(opts);
	return conf_load(path, opts);
}

static void
read_nodes(struct hagent_conf *c, cfg_t *cfg)
{
	if (cfg_size(cfg, "node") != 2) {
		conf_error(c->path, 0, "expected exactly two node sections, found %u",
		    cfg_size(cfg, "node"));
		return;
	}
	for (unsigned i = 0; i < 2; i++)
		c->node[i] = mem_dup(cfg_title(cfg_getnsec(cfg, "node", i)));
}

static void
find_self(struct hagent_conf *c, const char *name)
{
	char host[256];

	if (c->node[0] == NULL || c->node[1] == NULL)
		return;
	if (name == NULL) {
		if (gethostname(host, sizeof(host)) == -1)
			host[0] = '\0';
		host[sizeof(host) - 1] = '\0';
		name = host;
	}
	for (unsigned i = 0; i < 2; i++) {
		if (strcmp(c->node[i], name) == 0) {
			c->self = i;
			return;
		}
	}
	conf_error(c->path, 0, "this host is \"%s\": expected a node section of that name "
	    "(\"%s\" and \"%s\" are there; -N chooses)", name, c->node[0], c->node[1]);
}

static int
parse_vip(struct vip_conf *v)
{
	char text[64];
	struct span rest = span_of(v->name), addr, prefix;
	uint64_t bits;

	if (!span_cut(&rest, '/', &addr) || span_copy(addr, text, sizeof(text)) == -1)
		return -1;
	prefix = rest;
	if (inet_pton(AF_INET, text, v->addr) == 1)
		v->family = AF_INET;
	else if (inet_pton(AF_INET6, text, v->addr) == 1)
		v->family = AF_INET6;
	else
		return -1;
	if (span_u64(prefix, v->family == AF_INET ? 32 : 128, &bits) != PARSE_OK || bits == 0)
		return -1;
	v->prefix = (uint8_t)bits;
	return 0;
}

static void
read_vips(struct hagent_conf *c, cfg_t *cfg)
{
	unsigned n = cfg_size(cfg, "vip");

	if (n > HAGENT_VIPS_MAX) {
		conf_error(c->path, 0, "expected at most %d vip sections", HAGENT_VIPS_MAX);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		cfg_t *sec = cfg_getnsec(cfg, "vip", i);
		struct vip_conf *v = &c->vips[c->nvips++];

		v->name = mem_dup(cfg_title(sec));
		v->interface = mem_dup(cfg_getstr(sec, "interface"));
		if (parse_vip(v) == -1)
			conf_error(c->path, conf_line(sec), "vip \"%s\": expected an address "
			    "with its prefix length, such as \"192.0.2.5/24\"", v->name);
		if (v->interface[0] == '\0' || strlen(v->interface) > 15)
			conf_error(c->path, conf_line(sec), "vip \"%s\": interface: expected "
			    "the name of an interface", v->name);
	}
}

static void
read_scalars(struct hagent_conf *c, cfg_t *cfg)
{
	c->cluster = mem_dup(cfg_getstr(cfg, "cluster"));
	c->key_file = mem_dup(cfg_getstr(cfg, "key-file"));
	c->user = mem_dup(cfg_getstr(cfg, "user"));
	c->group = mem_dup(cfg_getstr(cfg, "group"));
	c->state_dir = mem_dup(cfg_getstr(cfg, "state-dir"));
	c->run_dir = mem_dup(cfg_getstr(cfg, "run-dir"));
	c->syncd_socket = mem_dup(cfg_getstr(cfg, "syncd-socket"));
	c->keepalive_ms = (int)cfg_getint(cfg, "keepalive-ms");
	c->serial_keepalive_ms = (int)cfg_getint(cfg, "serial-keepalive-ms");
	c->deadtime_ms = (int)cfg_getint(cfg, "deadtime-ms");
	c->warntime_ms = (int)cfg_getint(cfg, "warntime-ms");
	c->initdead_ms = (int)cfg_getint(cfg, "initdead-ms");
	c->ping_interval_ms = (int)cfg_getint(cfg, "ping-interval-ms");
	c->ping_timeout_ms = (int)cfg_getint(cfg, "ping-timeout-ms");
	c->ping_handover_ms = (int)cfg_getint(cfg, "ping-handover-ms");
	c->probe_wait_ms = (int)cfg_getint(cfg, "probe-wait-ms");
	c->drain_ms = (int)cfg_getint(cfg, "drain-ms");
	c->isolated_ms = (int)cfg_getint(cfg, "isolated-ms");
	c->evidence_ms = (int)cfg_getint(cfg, "evidence-ms");
	c->probe_fresh_ms = (int)cfg_getint(cfg, "probe-fresh-ms");
	c->syncd_wait_ms = (int)cfg_getint(cfg, "syncd-wait-ms");
	c->join_wait_ms = (int)cfg_getint(cfg, "join-wait-ms");
	c->switch_ms = (int)cfg_getint(cfg, "switch-ms");
	c->retry_ms = (int)cfg_getint(cfg, "retry-ms");
	c->realtime = cfg_getbool(cfg, "realtime");
	c->lock_memory = cfg_getbool(cfg, "lock-memory");
	c->log_level = conf_word(level_words, cfg_getstr(cfg, "log-level"));
}

static void
check_times(const struct hagent_conf *c)
{
	int slowest = c->keepalive_ms;

	for (size_t i = 0; i < c->nlinks; i++)
		if (c->links[i].medium == MEDIUM_SERIAL && c->serial_keepalive_ms > slowest)
			slowest = c->serial_keepalive_ms;
	if (c->deadtime_ms < 2 * slowest)
		conf_error(c->path, 0, "deadtime-ms: expected at least twice the slowest "
		    "keepalive (%d ms), not %d", slowest, c->deadtime_ms);
	if (c->warntime_ms <= slowest || c->warntime_ms > c->deadtime_ms)
		conf_error(c->path, 0, "warntime-ms: expected more than the slowest keepalive "
		    "(%d ms) and at most deadtime-ms (%d), not %d", slowest, c->deadtime_ms,
		    c->warntime_ms);
	if (c->initdead_ms < c->deadtime_ms)
		conf_error(c->path, 0, "initdead-ms: expected at least deadtime-ms (%d), not "
		    "%d", c->deadtime_ms, c->initdead_ms);
	if (c->ping_timeout_ms < c->ping_interval_ms)
		conf_error(c->path, 0, "ping-timeout-ms: expected at least ping-interval-ms "
		    "(%d), not %d", c->ping_interval_ms, c->ping_timeout_ms);
	if (c->ping_handover_ms != 0 && c->ping_handover_ms < c->ping_interval_ms)
		conf_error(c->path, 0, "ping-handover-ms: expected 0 (never) or at least "
		    "ping-interval-ms (%d), not %d", c->ping_interval_ms,
		    c->ping_handover_ms);
}

static void
check_whole(const struct hagent_conf *c)
{
	if (c->cluster[0] == '\0' || strlen(c->cluster) > 200)
		conf_error(c->path, 0, "cluster: expected a name of 1 to 200 characters");
	if (c->key_file[0] != '/' || c->state_dir[0] != '/' || c->run_dir[0] != '/')
		conf_error(c->path, 0, "key-file, state-dir, run-dir: expected absolute "
		    "paths");
	if (c->syncd_socket[0] != '\0' && c->syncd_socket[0] != '/')
		conf_error(c->path, 0, "syncd-socket: expected an absolute path, or \"\"");
	if ((c->mode == MODE_QUORUM || c->quorum_require) && !conf_links_corosync(c))
		conf_error(c->path, 0, "a quorum is required: expected a link with medium "
		    "\"corosync\", which tells it");
	conf_policy_check(c);
	check_times(c);
}

/* Both nodes hash every setting as libconfuse prints it, so comments, order of
 * different options and white space do not matter, and a default written out is
 * the same as the default. */
static uint64_t
settings_hash(cfg_t *cfg)
{
	char *text = NULL;
	size_t len = 0;
	uint8_t sum[32];
	uint64_t h = 0;
	FILE *f = open_memstream(&text, &len);

	if (f == NULL)
		log_fatal("open_memstream");
	cfg_print(cfg, f);
	if (fclose(f) != 0)
		log_fatal("memory stream");
	sha256(text, len, sum);
	mem_wipe(text, len);
	free(text);
	for (int i = 0; i < 8; i++)
		h = h << 8 | sum[i];
	return h;
}

/* What is in it is run and switched off as root. */
static bool
only_roots(const char *path)
{
	char why[512];

	if (geteuid() != 0 || fs_trusted_why(path, why, sizeof(why)) == 0 || errno != EPERM)
		return true;	/* one that is not there: whoever reads it says so */
	conf_error(path, 0, "%s", why);
	return false;
}

struct hagent_conf *
hagent_conf_load(const char *path, const char *node_name)
{
	int before = conf_failed();
	struct hagent_conf *c;
	cfg_t *cfg = only_roots(path) ? load_file(path) : NULL;

	if (cfg == NULL)
		return NULL;
	c = mem_alloc(sizeof(*c));
	c->path = mem_dup(path);
	read_nodes(c, cfg);
	find_self(c, node_name);
	read_scalars(c, cfg);
	conf_links_read(c, cfg);
	read_vips(c, cfg);
	conf_policy_read(c, cfg);
	conf_proof_read(c, cfg);
	conf_resources_read(c, cfg);
	conf_respawn_read(c, cfg);
	conf_visible_read(c, cfg);
	c->hash = settings_hash(cfg);
	conf_proof_wipe_file(cfg);
	cfg_free(cfg);
	check_whole(c);
	if (conf_failed() != before) {
		hagent_conf_free(c);
		return NULL;
	}
	return c;
}

void
hagent_conf_free(struct hagent_conf *c)
{
	if (c == NULL)
		return;
	conf_links_free(c);
	for (size_t i = 0; i < c->nvips; i++) {
		free(c->vips[i].name);
		free(c->vips[i].interface);
	}
	for (size_t i = 0; i < c->npings; i++)
		free(c->pings[i].name);
	conf_proof_free(c);
	conf_resources_free(c);
	conf_respawn_free(c);
	conf_visible_free(c);
	free(c->node[0]);
	free(c->node[1]);
	free(c->path);
	free(c->cluster);
	free(c->key_file);
	free(c->user);
	free(c->group);
	free(c->state_dir);
	free(c->run_dir);
	free(c->syncd_socket);
	free(c);
}

size_t
hagent_conf_secrets(const struct hagent_conf *c, struct span *out, size_t max)
{
	return conf_proof_secrets(c, out, max);
}

void
hagent_conf_wipe(struct hagent_conf *c)
{
	conf_proof_wipe(c);
}

int
hagent_conf_keys(const struct hagent_conf *c, struct cluster_keys *keys)
{
	char why[512];

	if (cluster_keys_load(c->key_file, keys, why, sizeof(why)) == 0)
		return 0;
	conf_error(c->path, 0, "key-file: %s", why);
	return -1;
}
