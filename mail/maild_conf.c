/* maild_conf.c - reads maild.conf: one table of options, copied to a plain struct
 * and checked here.  Every mistake is printed with file and line by lib/conf and
 * the caller exits 19; nothing is started half configured.  Nobody else includes
 * confuse.h.  Does not open certificates or look users up: the parent does. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "address.h"
#include "conf.h"
#include "maild_conf.h"
#include "mem.h"
#include "paths.h"
#include "span.h"

static cfg_opt_t opts[] = {
	CFG_STR("hostname", "", CFGF_NONE),
	CFG_STR("tls-certificate-file", PATH_ETC "/tls/mail.crt", CFGF_NONE),
	CFG_STR("tls-key-file", PATH_ETC "/tls/mail.key", CFGF_NONE),
	CFG_STR("state-directory", PATH_VAR, CFGF_NONE),
	CFG_STR("run-directory", PATH_RUN, CFGF_NONE),
	CFG_STR("syncd-owner-socket", PATH_RUN "/syncd-owner.sock", CFGF_NONE),
	CFG_STR("serving-lease", PATH_RUN "/lease", CFGF_NONE),
	CFG_STR("log-level", "info", CFGF_NONE),

	CFG_STR_LIST("smtp-listen", "{\"*:25\"}", CFGF_NONE),
	CFG_STR_LIST("submission-listen", "{\"*:587\"}", CFGF_NONE),
	CFG_STR_LIST("submissions-listen", "{\"*:465\"}", CFGF_NONE),
	CFG_STR_LIST("pop3-listen", "{\"*:110\"}", CFGF_NONE),
	CFG_STR_LIST("pop3s-listen", "{\"*:995\"}", CFGF_NONE),
	CFG_STR_LIST("imap-listen", "{\"*:143\"}", CFGF_NONE),
	CFG_STR_LIST("imaps-listen", "{\"*:993\"}", CFGF_NONE),

	CFG_INT("gates", 2, CFGF_NONE),
	CFG_INT("stores", 2, CFGF_NONE),
	CFG_INT("shards", 16, CFGF_NONE),
	CFG_INT("drain-ms", 3000, CFGF_NONE),

	CFG_STR("message-size-max", "50M", CFGF_NONE),
	CFG_STR("data-memory-max", "512M", CFGF_NONE),
	CFG_INT("recipients-max", 200, CFGF_NONE),
	CFG_INT("hops-max", 100, CFGF_NONE),
	CFG_INT("errors-max", 20, CFGF_NONE),
	CFG_INT("command-line-max", 2048, CFGF_NONE),
	CFG_INT("data-line-max", 1048576, CFGF_NONE),
	CFG_INT("connections-max", 1000, CFGF_NONE),
	CFG_INT("connections-per-ip", 250, CFGF_NONE),
	CFG_INT("smtp-timeout-s", 300, CFGF_NONE),
	CFG_INT("data-timeout-s", 180, CFGF_NONE),
	CFG_INT("login-timeout-s", 120, CFGF_NONE),
	CFG_INT("delivery-timeout-s", 60, CFGF_NONE),
	CFG_INT("proxy-buffer", 262144, CFGF_NONE),

	CFG_INT("auth-failures-per-session", 3, CFGF_NONE),
	CFG_INT("auth-failures-per-ip", 30, CFGF_NONE),
	CFG_INT("auth-window-s", 600, CFGF_NONE),
	CFG_INT("auth-delay-ms", 500, CFGF_NONE),

	CFG_INT("hash-threads", 2, CFGF_NONE),
	CFG_INT("hash-queue-max", 1000, CFGF_NONE),
	CFG_INT("password-cost", 5, CFGF_NONE),
	CFG_INT("auth-cache-s", 120, CFGF_NONE),
	CFG_INT("auth-cache-entries", 4096, CFGF_NONE),
	CFG_INT("alias-depth", 10, CFGF_NONE),
	CFG_INT("alias-targets-max", 1000, CFGF_NONE),
	CFG_STR("recipient-delimiter", "+", CFGF_NONE),
	CFG_STR("default-domain", "", CFGF_NONE),
	CFG_STR("postmaster", "", CFGF_NONE),

	CFG_INT("checkpoint-s", 60, CFGF_NONE),
	CFG_INT("checkpoint-records", 20000, CFGF_NONE),
	CFG_STR("store-low-water", "256M", CFGF_NONE),
	CFG_STR("store-pending-max", "128M", CFGF_NONE),
	CFG_INT("undelete-s", 604800, CFGF_NONE),
	CFG_INT("imap-idle-s", 1800, CFGF_NONE),
	CFG_INT("pop3-idle-s", 600, CFGF_NONE),
	CFG_INT("imap-line-max", 65536, CFGF_NONE),
	CFG_STR("imap-literal-max", "1M", CFGF_NONE),
	CFG_INT("sessions-per-user", 50, CFGF_NONE),

	CFG_STR("smart-host", "", CFGF_NONE),
	CFG_STR("smart-host-tls", "may", CFGF_NONE),
	CFG_STR("smart-host-credentials-file", "", CFGF_NONE),
	CFG_INT("queue-retry-min-s", 300, CFGF_NONE),
	CFG_INT("queue-retry-max-s", 14400, CFGF_NONE),
	CFG_INT("queue-lifetime-s", 432000, CFGF_NONE),
	CFG_INT("queue-warn-s", 14400, CFGF_NONE),
	CFG_INT("queue-transfers", 20, CFGF_NONE),
	CFG_INT("queue-messages-max", 100000, CFGF_NONE),
	CFG_INT("queue-timeout-s", 300, CFGF_NONE),
	CFG_END(),
};

/* Whole numbers: where they go and what is accepted. */
static const struct number {
	const char *name;
	size_t offset;
	long min, max;
} numbers[] = {
#define N(name, field, min, max) { name, offsetof(struct maild_conf, field), min, max }
	N("gates", gates, 1, CONF_GATES_MAX),
	N("stores", stores, 1, CONF_STORES_MAX),
	N("shards", shards, 1, CONF_SHARDS_MAX),
	N("drain-ms", drain_ms, 0, 600000),
	N("recipients-max", recipients_max, 100, 65535),	/* RFC 5321 4.5.3.1.8 */
	N("hops-max", hops_max, 5, 1000),
	N("errors-max", errors_max, 1, 10000),
	N("command-line-max", command_line_max, 512, 65536),	/* RFC 5321 4.5.3.1.4 */
	N("data-line-max", data_line_max, 1000, 1 << 30),	/* RFC 5321 4.5.3.1.6 */
	N("connections-max", connections_max, 1, 1000000),
	N("connections-per-ip", connections_per_ip, 1, 1000000),
	N("smtp-timeout-s", smtp_timeout_s, 1, 86400),
	N("data-timeout-s", data_timeout_s, 1, 86400),
	N("login-timeout-s", login_timeout_s, 1, 86400),
	N("delivery-timeout-s", delivery_timeout_s, 1, 600),	/* RFC 5321 4.5.3.2.6 */
	N("proxy-buffer", proxy_buffer, 4096, 1 << 26),
	N("auth-failures-per-session", auth_failures_per_session, 1, 1000),
	N("auth-failures-per-ip", auth_failures_per_ip, 1, 1000000),
	N("auth-window-s", auth_window_s, 1, 86400),
	N("auth-delay-ms", auth_delay_ms, 0, 60000),
	N("hash-threads", hash_threads, 1, 64),
	N("hash-queue-max", hash_queue_max, 1, 100000),
	N("password-cost", password_cost, 1, 11),
	N("auth-cache-s", auth_cache_s, 0, 3600),
	N("auth-cache-entries", auth_cache_entries, 1, 1000000),
	N("alias-depth", alias_depth, 1, 100),
	N("alias-targets-max", alias_targets_max, 1, 60000),
	N("checkpoint-s", checkpoint_s, 1, 86400),
	N("checkpoint-records", checkpoint_records, 1, 100000000),
	N("undelete-s", undelete_s, 0, 31536000),
	N("imap-idle-s", imap_idle_s, 1800, 604800),		/* RFC 3501 5.4 */
	N("pop3-idle-s", pop3_idle_s, 600, 604800),		/* RFC 1939 3 */
	N("imap-line-max", imap_line_max, 8192, 1 << 24),	/* RFC 7162 4 */
	N("sessions-per-user", sessions_per_user, 1, 100000),
	N("queue-retry-min-s", queue_retry_min_s, 1, 86400),
	N("queue-retry-max-s", queue_retry_max_s, 1, 604800),
	N("queue-lifetime-s", queue_lifetime_s, 60, 2592000),
	N("queue-warn-s", queue_warn_s, 0, 2592000),
	N("queue-transfers", queue_transfers, 1, 1000),
	N("queue-messages-max", queue_messages_max, 1, 100000000),
	N("queue-timeout-s", queue_timeout_s, 1, 3600),
#undef N
};

static const struct text {
	const char *name;
	size_t offset;
	bool path;			/* must be absolute when given */
} texts[] = {
#define T(name, field, path) { name, offsetof(struct maild_conf, field), path }
	T("hostname", hostname, false),
	T("tls-certificate-file", tls_cert_file, true),
	T("tls-key-file", tls_key_file, true),
	T("state-directory", state_dir, true),
	T("run-directory", run_dir, true),
	T("syncd-owner-socket", owner_socket, true),
	T("serving-lease", lease_file, true),
	T("recipient-delimiter", delimiter, false),
	T("default-domain", default_domain, false),
	T("postmaster", postmaster, false),
	T("smart-host", smart_host, false),
	T("smart-host-credentials-file", smart_credentials_file, true),
#undef T
};

static const struct size {
	const char *name;
	size_t offset;
	uint64_t min;
} sizes[] = {
#define S(name, field, min) { name, offsetof(struct maild_conf, field), min }
	S("message-size-max", message_size_max, 65536),		/* RFC 5321 4.5.3.1.7 */
	S("data-memory-max", data_memory_max, 65536),
	S("store-low-water", store_low_water, 0),
	S("store-pending-max", store_pending_max, 1u << 20),
	S("imap-literal-max", imap_literal_max, 1024),
#undef S
};

static const struct listen_opt {
	const char *name;
	enum mail_service service;
} listen_opts[] = {
	{ "smtp-listen", MAIL_SMTP },
	{ "submission-listen", MAIL_SUBMISSION },
	{ "submissions-listen", MAIL_SUBMISSIONS },
	{ "pop3-listen", MAIL_POP3 },
	{ "pop3s-listen", MAIL_POP3S },
	{ "imap-listen", MAIL_IMAP },
	{ "imaps-listen", MAIL_IMAPS },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Table entries point into the struct by offset. */
static void *
field(struct maild_conf *c, size_t offset)
{
	return (char *)c + offset;
}

static const char *const smart_tls_words[] = { [SMART_TLS_NONE] = "none",
	[SMART_TLS_MAY] = "may", [SMART_TLS_VERIFY] = "verify", NULL };

int
maild_conf_host(const char *text, char *host, size_t size, uint16_t *port)
{
	const char *colon = strrchr(text, ':');
	struct sockaddr_storage ss;
	struct span name;
	socklen_t len;
	uint64_t n;

	errno = EINVAL;
	if (colon == NULL || span_u64(span_of(colon + 1), 65535, &n) != PARSE_OK || n == 0)
		return -1;
	name = (struct span){ text, (size_t)(colon - text) };
	if (maild_conf_address(text, &ss, &len) == 0 && name.p[0] == '[')
		name = (struct span){ name.p + 1, name.len - 2 };
	else if (!address_domain_ok(name))
		return -1;
	*port = (uint16_t)n;
	return span_copy(name, host, size);
}

int
maild_conf_address(const char *text, struct sockaddr_storage *out, socklen_t *len)
{
	const char *colon = strrchr(text, ':');
	struct sockaddr_storage ss = { 0 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ss;
	char host[64];
	uint64_t port;
	struct span h;

	errno = EINVAL;
	if (colon == NULL || span_u64(span_of(colon + 1), 65535, &port) != PARSE_OK || port == 0)
		return -1;
	h = (struct span){ text, (size_t)(colon - text) };
	if (h.len > 2 && h.p[0] == '[' && h.p[h.len - 1] == ']')
		h = (struct span){ h.p + 1, h.len - 2 };
	else if (memchr(h.p, ':', h.len) != NULL)
		return -1;
	if (span_copy(h, host, sizeof(host)) == -1)
		return errno = EINVAL, -1;
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		*len = sizeof(*v4);
	} else if (strcmp(host, "*") == 0 || inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		*len = sizeof(*v6);
	} else
		return errno = EINVAL, -1;
	*out = ss;
	return 0;
}

/* ---- checking: while the file is read, so that a mistake has its line ------- */

static int
check_number(cfg_t *cfg, cfg_opt_t *opt)
{
	for (size_t i = 0; i < COUNT(numbers); i++)
		if (strcmp(numbers[i].name, opt->name) == 0)
			return conf_check_range(cfg, opt, numbers[i].min, numbers[i].max);
	return 0;
}

static int
check_size(cfg_t *cfg, cfg_opt_t *opt, uint64_t min)
{
	const char *v = cfg_opt_getnstr(opt, 0);
	uint64_t n;

	if (conf_size(v, &n) == -1)
		cfg_error(cfg, "%s: \"%s\" is no size such as 64M", opt->name, v);
	else if (n < min)
		cfg_error(cfg, "%s must be at least %llu bytes", opt->name, (unsigned long long)min);
	else
		return 0;
	return -1;
}

static int
check_listen(cfg_t *cfg, cfg_opt_t *opt)
{
	struct sockaddr_storage ss;
	socklen_t len;

	for (unsigned i = 0; i < cfg_opt_size(opt); i++) {
		const char *v = cfg_opt_getnstr(opt, i);

		if (strlen(v) < sizeof(((struct maild_listen *)0)->text)
		    && maild_conf_address(v, &ss, &len) == 0)
			continue;
		cfg_error(cfg, "%s: \"%s\" is no address such as \"*:25\", \"192.0.2.5:25\", "
			       "\"[2001:db8::5]:25\"", opt->name, v);
		return -1;
	}
	return 0;
}

static int
check_word(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *v = cfg_opt_getnstr(opt, 0);
	enum log_level level;
	char host[256];
	uint16_t port;

	if (strcmp(opt->name, "log-level") == 0 && log_level_parse(v, &level) == -1)
		cfg_error(cfg, "log-level: \"%s\" is none of err, warn, info, debug", v);
	else if (strcmp(opt->name, "smart-host-tls") == 0)
		return conf_check_words(cfg, opt, smart_tls_words);
	else if (strcmp(opt->name, "smart-host") == 0 && v[0] != '\0'
	    && maild_conf_host(v, host, sizeof(host), &port) == -1)
		cfg_error(cfg, "smart-host: \"%s\" is no host:port such as "
			       "\"relay.example.net:587\"", v);
	else if (strcmp(opt->name, "recipient-delimiter") == 0 && strlen(v) > 1)
		cfg_error(cfg, "recipient-delimiter must be one character or empty");
	else
		return 0;
	return -1;
}

static int
check_text(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *v = cfg_opt_getnstr(opt, 0);

	for (size_t i = 0; i < COUNT(sizes); i++)
		if (strcmp(sizes[i].name, opt->name) == 0)
			return check_size(cfg, opt, sizes[i].min);
	for (size_t i = 0; i < COUNT(texts); i++)
		if (strcmp(texts[i].name, opt->name) == 0 && texts[i].path && v[0] != '/'
		    && v[0] != '\0') {
			cfg_error(cfg, "%s: \"%s\" is no absolute path", opt->name, v);
			return -1;
		}
	return check_word(cfg, opt);
}

static void
set_checks(void)
{
	for (cfg_opt_t *o = opts; o->name != NULL; o++)
		o->validcb = o->type == CFGT_INT ? check_number
		    : (o->flags & CFGF_LIST) != 0 ? check_listen
						  : check_text;
}

/* ---- copying what was checked -------------------------------------------- */

static void
read_values(cfg_t *cfg, struct maild_conf *c)
{
	struct utsname un;

	for (size_t i = 0; i < COUNT(numbers); i++)
		*(uint32_t *)field(c, numbers[i].offset)
		    = (uint32_t)cfg_getint(cfg, numbers[i].name);
	for (size_t i = 0; i < COUNT(sizes); i++)
		if (conf_size(cfg_getstr(cfg, sizes[i].name), field(c, sizes[i].offset)) == -1)
			log_fatal("bad default of %s", sizes[i].name);
	for (size_t i = 0; i < COUNT(texts); i++)
		*(char **)field(c, texts[i].offset) = mem_dup(cfg_getstr(cfg, texts[i].name));
	if (c->hostname[0] == '\0' && uname(&un) == 0) {
		free(c->hostname);
		c->hostname = mem_dup(un.nodename);
	}
	if (log_level_parse(cfg_getstr(cfg, "log-level"), &c->log_level) == -1)
		log_fatal("bad default of log-level");
	c->smart_tls = (enum conf_smart_tls)conf_word(smart_tls_words,
	    cfg_getstr(cfg, "smart-host-tls"));
}

static void
read_listens(const char *path, cfg_t *cfg, struct maild_conf *c)
{
	for (size_t i = 0; i < COUNT(listen_opts); i++) {
		const char *name = listen_opts[i].name;

		for (unsigned k = 0; k < cfg_size(cfg, name); k++) {
			struct maild_listen *l = &c->listens[c->nlistens];

			if (c->nlistens == CONF_LISTENS_MAX) {
				conf_error(path, 0, "%s: more than %d addresses", name,
				    CONF_LISTENS_MAX);
				return;
			}
			span_copy(span_of(cfg_getnstr(cfg, name, k)), l->text, sizeof(l->text));
			if (maild_conf_address(l->text, &l->addr, &l->addr_len) == -1)
				log_fatal("bad default of %s", name);
			l->service = listen_opts[i].service;
			c->nlistens++;
		}
	}
}

static void
check_whole(const char *path, const struct maild_conf *c)
{
	if (c->stores > c->shards)
		conf_error(path, 0, "stores (%u) must not be more than shards (%u)", c->stores,
		    c->shards);
	if (c->data_memory_max < c->message_size_max)
		conf_error(path, 0, "data-memory-max must be at least message-size-max");
	if (c->queue_retry_min_s > c->queue_retry_max_s)
		conf_error(path, 0, "queue-retry-min-s must not be above queue-retry-max-s");
	if (c->connections_per_ip > c->connections_max)
		conf_error(path, 0, "connections-per-ip must not be above connections-max");
}

struct maild_conf *
maild_conf_load(const char *path)
{
	int before = conf_failed();
	struct maild_conf *c;
	cfg_t *cfg;

	set_checks();
	if ((cfg = conf_load(path, opts)) == NULL)
		return NULL;
	c = mem_alloc(sizeof(*c));
	read_values(cfg, c);
	read_listens(path, cfg, c);
	if (conf_failed() == before)
		check_whole(path, c);
	cfg_free(cfg);
	if (conf_failed() != before) {
		maild_conf_free(c);
		return NULL;
	}
	return c;
}

void
maild_conf_free(struct maild_conf *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < COUNT(texts); i++)
		free(*(char **)field(c, texts[i].offset));
	free(c);
}
