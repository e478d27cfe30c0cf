/* syncd_conf.c - one table of options, copied at once to struct syncd_conf and
 * checked there.  Errors name file and line; nobody else includes confuse.h (the
 * mirror sections are read by mirror_conf.c for this file). */
#include "syncd_conf.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "bulk.h"
#include "mem.h"
#include "mirror_conf_read.h"
#include "paths.h"
#include "tls.h"

static int
check_commit(cfg_t *cfg, cfg_opt_t *opt)
{
	static const char *const words[] = { "strict", "auto", "available", NULL };

	return conf_check_words(cfg, opt, words);
}

static int
check_ship(cfg_t *cfg, cfg_opt_t *opt)
{
	static const char *const words[] = { "log", "interval", NULL };

	return conf_check_words(cfg, opt, words);
}

struct size_option {
	const char *name;
	size_t at;		/* in struct syncd_conf */
	uint64_t low, high;
	bool or_none;		/* 0 may be given too */
};
#define MIB (1ull << 20)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
static const struct size_option sizes[] = {
	{ "segment-size", offsetof(struct syncd_conf, segment_size), 4 * MIB, 256 * MIB, false },
	{ "retain-size", offsetof(struct syncd_conf, retain_size), 8 * MIB, 1ull << 44, false },
	{ "low-water-size", offsetof(struct syncd_conf, low_water_size), 0, 1ull << 44, false },
	{ "pending-max", offsetof(struct syncd_conf, pending_max), 2 * MIB, 4096 * MIB, false },
	{ "unsent-max", offsetof(struct syncd_conf, unsent_max), 64 << 10, 256 * MIB, false },
	{ "recent-size", offsetof(struct syncd_conf, recent_size), 1 * MIB, 4096 * MIB, false },
	/* Well above a step of lag.h, below which a standby that lacks nothing passes for one
	 * that lags, and above the largest record of a message (512 KiB), which it lacks for a
	 * moment. */
	{ "lag-max-size", offsetof(struct syncd_conf, lag_max_size), 1 * MIB, 128 * MIB, true },
	{ "bandwidth-limit", offsetof(struct syncd_conf, bandwidth_limit), BULK_LIMIT_MIN, 1ull << 40,
	    true },
	{ "verify-rate", offsetof(struct syncd_conf, verify_rate), 1 * MIB, 4096 * MIB, true },
};

struct int_option {
	const char *name;
	size_t at;
	long low, high;
};
static const struct int_option ints[] = {
	{ "hold-ms", offsetof(struct syncd_conf, hold_ms), 50, 60000 },
	{ "rejoin-stable-ms", offsetof(struct syncd_conf, rejoin_stable_ms), 0, 3600000 },
	{ "silent-ms", offsetof(struct syncd_conf, silent_ms), 100, 60000 },
	{ "ping-ms", offsetof(struct syncd_conf, ping_ms), 20, 10000 },
	{ "retry-ms", offsetof(struct syncd_conf, retry_ms), 20, 10000 },
	{ "join-lag", offsetof(struct syncd_conf, join_lag), 0, 1000000 },
	{ "owners-max", offsetof(struct syncd_conf, owners_max), 4, 1024 },
	{ "slow-sync-ms", offsetof(struct syncd_conf, slow_sync_ms), 10, 60000 },
	{ "slow-window-ms", offsetof(struct syncd_conf, slow_window_ms), 1000, 600000 },
	{ "verify-interval-h", offsetof(struct syncd_conf, verify_interval_h), 0, 8760 },
	{ "owner-stall-s", offsetof(struct syncd_conf, owner_stall_s), 1, 86400 },
	{ "retain-s", offsetof(struct syncd_conf, retain_s), 1, 31536000 },
};

/* These run while the file is read, so that a mistake has its line. */
static int
check_size(cfg_t *cfg, cfg_opt_t *opt)
{
	uint64_t v;

	for (size_t i = 0; i < COUNT(sizes); i++) {
		if (strcmp(sizes[i].name, opt->name) != 0)
			continue;
		if (conf_size(cfg_opt_getnstr(opt, 0), &v) == 0 && v <= sizes[i].high &&
		    (v >= sizes[i].low || (v == 0 && sizes[i].or_none)))
			return 0;
		cfg_error(cfg, "%s: %sa size from %llu to %llu bytes is expected", opt->name,
		    sizes[i].or_none ? "0, or " : "", (unsigned long long)sizes[i].low,
		    (unsigned long long)sizes[i].high);
		return -1;
	}
	return 0;
}

static int
check_int(cfg_t *cfg, cfg_opt_t *opt)
{
	for (size_t i = 0; i < COUNT(ints); i++)
		if (strcmp(ints[i].name, opt->name) == 0)
			return conf_check_range(cfg, opt, ints[i].low, ints[i].high);
	return 0;
}

static const struct conf_check checks[] = {
	{ "commit", check_commit },	{ "ship", check_ship },
	{ "port", conf_check_port },	{ "segment-size", check_size },
	{ "retain-size", check_size },	{ "low-water-size", check_size },
	{ "pending-max", check_size },	{ "unsent-max", check_size },
	{ "recent-size", check_size },
	{ "hold-ms", check_int },	{ "rejoin-stable-ms", check_int },
	{ "silent-ms", check_int },	{ "ping-ms", check_int },
	{ "retry-ms", check_int },	{ "join-lag", check_int },
	{ "owners-max", check_int },	{ "node|address", conf_check_ip },
	{ "slow-sync-ms", check_int },	{ "slow-window-ms", check_int },
	{ "lag-max-size", check_size },	{ "bandwidth-limit", check_size },
	{ "verify-rate", check_size },	{ "verify-interval-h", check_int },
	{ "owner-stall-s", check_int },	{ "retain-s", check_int },
	{ NULL, NULL },
};

static void
read_numbers(cfg_t *cfg, struct syncd_conf *c)
{
	for (size_t i = 0; i < COUNT(sizes); i++)
		conf_size(cfg_getstr(cfg, sizes[i].name), (uint64_t *)((char *)c + sizes[i].at));
	for (size_t i = 0; i < COUNT(ints); i++)
		*(int *)((char *)c + ints[i].at) = (int)cfg_getint(cfg, ints[i].name);
}

static void
read_node(const char *path, cfg_t *sec, struct syncd_node *n)
{
	struct tls_pin pin;
	size_t count = cfg_size(sec, "address");

	n->name = mem_dup(cfg_title(sec));
	n->line = conf_line(sec);
	n->certificate = mem_dup(cfg_getstr(sec, "certificate"));
	if (count == 0 || count > PEERLINK_ADDRESSES_MAX)
		conf_error(path, conf_line(sec), "node \"%s\": 1 to %d addresses are expected",
		    n->name, PEERLINK_ADDRESSES_MAX);
	for (size_t i = 0; i < count && i < PEERLINK_ADDRESSES_MAX; i++)
		n->address[n->naddresses++] = mem_dup(cfg_getnstr(sec, "address", (unsigned)i));
	if (n->certificate[0] != '\0' && tls_pin_parse(n->certificate, &pin) == -1)
		conf_error(path, conf_line(sec),
		    "node \"%s\": certificate: \"sha256:\" and 64 hex digits are expected "
		    "(syncd -p prints them)",
		    n->name);
}

static void
read_nodes(const char *path, cfg_t *cfg, const char *me, struct syncd_conf *c)
{
	if (cfg_size(cfg, "node") != 2) {
		conf_error(path, 0, "exactly two node sections are expected");
		return;
	}
	for (unsigned i = 0; i < 2; i++)
		read_node(path, cfg_getnsec(cfg, "node", i), &c->nodes[i]);
	if (strcmp(me, c->nodes[0].name) == 0)
		c->node = 0;
	else if (strcmp(me, c->nodes[1].name) == 0)
		c->node = 1;
	else
		conf_error(path, 0, "this host is \"%s\", which is none of the nodes (-N NAME)",
		    me);
}

static void
copy(const char *path, cfg_t *cfg, const char *me, struct syncd_conf *c)
{
	const char *rule = cfg_getstr(cfg, "commit");

	c->cluster = mem_dup(cfg_getstr(cfg, "cluster"));
	c->user = mem_dup(cfg_getstr(cfg, "user"));
	c->certificate_file = mem_dup(cfg_getstr(cfg, "certificate-file"));
	c->key_file = mem_dup(cfg_getstr(cfg, "key-file"));
	c->log_directory = mem_dup(cfg_getstr(cfg, "log-directory"));
	c->run_directory = mem_dup(cfg_getstr(cfg, "run-directory"));
	c->commit = strcmp(rule, "strict") == 0 ? COMMIT_STRICT
	    : strcmp(rule, "available") == 0	? COMMIT_AVAILABLE
						: COMMIT_AUTO;
	c->ship_log = strcmp(cfg_getstr(cfg, "ship"), "log") == 0;
	c->port = (uint16_t)cfg_getint(cfg, "port");
	if (c->cluster[0] == '\0' || strlen(c->cluster) > 255)
		conf_error(path, conf_option_line(path, "cluster"), "cluster: the name of the pair is expected");
	read_numbers(cfg, c);
	read_nodes(path, cfg, me, c);
	mirror_conf_read(path, cfg, &c->mirror);
	if (c->silent_ms < 3 * c->ping_ms)
		conf_error(path, conf_option_line(path, "silent-ms"),
		    "silent-ms must be at least 3 * ping-ms");
	if (c->slow_window_ms < 2 * c->slow_sync_ms)
		conf_error(path, conf_option_line(path, "slow-window-ms"),
		    "slow-window-ms must be at least 2 * slow-sync-ms");
	if (c->retain_size < 2 * c->segment_size)
		conf_error(path, conf_option_line(path, "retain-size"),
		    "retain-size must be at least 2 * segment-size");
}

static cfg_opt_t node_opts[] = {
	CFG_STR_LIST("address", "{}", CFGF_NONE),
	CFG_STR("certificate", "", CFGF_NONE),
	CFG_END(),
};

int
syncd_conf_load(const char *path, const char *node_name, struct syncd_conf *c)
{
	cfg_opt_t opts[] = {
		CFG_STR("cluster", "", CFGF_NONE),
		CFG_STR("user", "mailstore", CFGF_NONE),
		CFG_SEC("node", node_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_INT("port", 7791, CFGF_NONE),
		CFG_STR("certificate-file", PATH_ETC "/syncd.crt", CFGF_NONE),
		CFG_STR("key-file", PATH_ETC "/syncd.key", CFGF_NONE),
		CFG_STR("log-directory", PATH_VAR "/log", CFGF_NONE),
		CFG_STR("run-directory", PATH_RUN, CFGF_NONE),
		CFG_STR("commit", "auto", CFGF_NONE),
		CFG_STR("ship", "log", CFGF_NONE),
		CFG_INT("hold-ms", 5000, CFGF_NONE),
		CFG_INT("rejoin-stable-ms", 30000, CFGF_NONE),
		CFG_INT("silent-ms", 1500, CFGF_NONE),
		CFG_INT("ping-ms", 250, CFGF_NONE),
		CFG_INT("retry-ms", 250, CFGF_NONE),
		CFG_INT("join-lag", 64, CFGF_NONE),
		CFG_INT("owners-max", 128, CFGF_NONE),
		CFG_INT("slow-sync-ms", 1000, CFGF_NONE),
		CFG_INT("slow-window-ms", 10000, CFGF_NONE),
		CFG_STR("segment-size", "64M", CFGF_NONE),
		CFG_STR("retain-size", "4G", CFGF_NONE),
		CFG_INT("retain-s", 604800, CFGF_NONE),
		CFG_STR("low-water-size", "256M", CFGF_NONE),
		CFG_STR("pending-max", "64M", CFGF_NONE),
		CFG_STR("unsent-max", "4M", CFGF_NONE),
		CFG_STR("recent-size", "32M", CFGF_NONE),
		CFG_STR("lag-max-size", "64M", CFGF_NONE),
		CFG_STR("bandwidth-limit", "0", CFGF_NONE),
		CFG_INT("verify-interval-h", 168, CFGF_NONE),
		CFG_STR("verify-rate", "20M", CFGF_NONE),
		CFG_INT("owner-stall-s", 3600, CFGF_NONE),
		CFG_SEC("mirror", mirror_conf_opts(),
		    CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_FUNC("include", &cfg_include),
		CFG_END(),
	};
	struct utsname u;
	cfg_t *cfg;

	memset(c, 0, sizeof(*c));
	if (node_name == NULL) {
		uname(&u);
		node_name = u.nodename;
	}
	cfg = conf_load_checked(path, opts, checks);
	if (cfg == NULL)
		return -1;
	copy(path, cfg, node_name, c);
	cfg_free(cfg);
	return conf_failed() > 0 ? -1 : 0;
}

SSL_CTX *
syncd_conf_tls(const char *path, const struct syncd_conf *c)
{
	const struct syncd_node *peer = &c->nodes[1 - c->node];
	struct tls_pin pin;
	char err[256];
	SSL_CTX *tls;

	if (tls_pin_parse(peer->certificate, &pin) == -1) {
		conf_error(path, peer->line,
		    "node \"%s\": certificate: the pin is expected that syncd -p prints there",
		    peer->name);
		return NULL;
	}
	tls = tls_peer_new(c->certificate_file, c->key_file, &pin, 1, err, sizeof(err));
	if (tls == NULL)
		conf_error(path, conf_option_line(path, strstr(err, c->key_file) != NULL ?
		    "key-file" : "certificate-file"), "%s (syncd -k makes key and certificate)",
		    err);
	return tls;
}

void
syncd_conf_clear(struct syncd_conf *c)
{
	for (size_t i = 0; i < 2; i++) {
		for (size_t k = 0; k < c->nodes[i].naddresses; k++)
			free(c->nodes[i].address[k]);
		free(c->nodes[i].name);
		free(c->nodes[i].certificate);
	}
	free(c->cluster);
	free(c->user);
	free(c->certificate_file);
	free(c->key_file);
	free(c->log_directory);
	free(c->run_directory);
	mirror_conf_clear(&c->mirror);
	memset(c, 0, sizeof(*c));
}
