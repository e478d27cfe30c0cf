/* hactl_import.c - hactl import-heartbeat: reads Heartbeat's folder, says what this
 * machine knows (interfaces, scripts), writes hagent.conf and checks it as hagentd -n
 * would.  The deciding is done in import_*.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "fs.h"
#include "hactl_local.h"
#include "hagent_conf.h"
#include "import.h"
#include "mem.h"
#include "paths.h"
#include "script.h"

struct run {
	struct hactl_local local;
	json_t *told; /* with --json: notes and result; else NULL */
	const char *dir, *output;
	bool force, dry_run;
	unsigned warnings;
	struct import_env env;
};

static const char usage[] =
    "usage: hactl import-heartbeat DIR [--output FILE] [--node NAME] [--cluster NAME]\n"
    "           [--key-file FILE] [--address NODE[:INTERFACE]=ADDRESS]... [--force]\n"
    "           [--dry-run] [--json]\n";

/* ---- what this machine knows --------------------------------------------------- */

static uint8_t
prefix_of(const struct sockaddr *mask)
{
	const uint8_t *p;
	size_t n;
	uint8_t bits = 0;

	if (mask == NULL)
		return 0;
	if (mask->sa_family == AF_INET) {
		p = (const uint8_t *)&((const struct sockaddr_in *)(const void *)mask)
			->sin_addr;
		n = 4;
	} else {
		p = (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)mask)
			->sin6_addr;
		n = 16;
	}
	for (size_t i = 0; i < n; i++)
		for (int bit = 7; bit >= 0; bit--)
			bits = (uint8_t)(bits + (p[i] >> bit & 1));
	return bits;
}

static void
add_net(struct import_env *env, const struct ifaddrs *i)
{
	struct import_net *net = &env->nets[env->nnets];
	const void *bytes;

	if (i->ifa_addr == NULL || (i->ifa_flags & IFF_LOOPBACK) != 0 ||
	    env->nnets == IMPORT_NETS_MAX ||
	    strlen(i->ifa_name) >= sizeof(net->interface))
		return;
	if (i->ifa_addr->sa_family == AF_INET) {
		bytes =
		    &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr;
	} else if (i->ifa_addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)i->ifa_addr;

		if (IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
			return;
		bytes = &in6->sin6_addr;
	} else {
		return;
	}
	memcpy(net->interface, i->ifa_name, strlen(i->ifa_name) + 1);
	inet_ntop(i->ifa_addr->sa_family, bytes, net->address, sizeof(net->address));
	net->prefix = prefix_of(i->ifa_netmask);
	env->nnets++;
}

static void
find_nets(struct import_env *env)
{
	struct ifaddrs *all;

	if (getifaddrs(&all) == -1)
		return;
	for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next)
		add_net(env, i);
	freeifaddrs(all);
}

/* The same folders as hagent.conf's own resource-path; a path stands for itself. */
static bool
have_script(void *arg, const char *name)
{
	static const char *const dirs[] = {PATH_ETC "/resource.d", PATH_LIB "/resource.d",
	    "/usr/lib/mailpair/resource.d", "/etc/init.d"};
	bool there = false;

	(void)arg;
	if (name[0] == '/')
		return access(name, X_OK) == 0 && script_trusted(name);
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]) && !there; i++) {
		char *path = mem_printf("%s/%s", dirs[i], name);

		/* The first one counts, as in hagentd. */
		if (access(path, F_OK) == 0) {
			there = access(path, X_OK) == 0 && script_trusted(path);
			free(path);
			break;
		}
		free(path);
	}
	return there;
}

static void
note(
    void *arg, enum import_level level, enum import_file file, int line, const char *text)
{
	struct run *r = arg;

	r->warnings += level == IMPORT_WARN;
	if (r->told != NULL)
		json_array_append_new(json_object_get(r->told, "notes"),
		    json_pack("{s:s, s:s, s:i, s:s}", "level",
			level == IMPORT_WARN ? "WARN" : "ERROR", "file", import_file_name(file),
			"line", line, "text", text));
	else if (line > 0)
		fprintf(stderr, "%s %s/%s:%d: %s\n",
		    level == IMPORT_WARN ? "WARN " : "ERROR", r->dir,
		    import_file_name(file), line, text);
	else
		fprintf(stderr, "%s %s/%s: %s\n",
		    level == IMPORT_WARN ? "WARN " : "ERROR", r->dir,
		    import_file_name(file), text);
}

/* ---- reading ---------------------------------------------------------------------- */

static int
read_one(struct run *r, struct import *im, enum import_file file,
    void (*take)(struct import *, struct span))
{
	char *path = mem_printf("%s/%s", r->dir, import_file_name(file)), *text;
	size_t len;
	int rc = fs_read(path, IMPORT_FILE_MAX, &text, &len);

	if (rc == 0) {
		take(im, (struct span){text, len});
		mem_wipe(text, len);
		free(text);
	} else if (file == IMPORT_AUTHKEYS && errno == ENOENT) {
		rc = 0;
	} else {
		fprintf(stderr, "ERROR %s: %s\n", path, strerror(errno));
	}
	free(path);
	return rc;
}

/* 0; -1: said, nothing is written. */
static int
convert(struct run *r, char **text, size_t *len)
{
	struct import *im = import_new(&r->env);
	FILE *out = open_memstream(text, len);
	int rc = out == NULL ? -1 : 0;

	if (rc == 0)
		rc = read_one(r, im, IMPORT_HA_CF, import_ha_cf);
	if (rc == 0)
		rc = read_one(r, im, IMPORT_HARESOURCES, import_haresources);
	if (rc == 0)
		rc = read_one(r, im, IMPORT_AUTHKEYS, import_authkeys);
	if (rc == 0 && !import_finish(im))
		rc = -1;
	if (rc == 0)
		import_write(im, out);
	if (out != NULL && fclose(out) != 0)
		rc = -1;
	import_free(im);
	return rc;
}

/* ---- writing ---------------------------------------------------------------------- */

static int
make_key(const char *path)
{
	struct cluster_keys keys = { 0 };
	int rc;

	if (access(path, F_OK) == 0)
		return 0;
	(void)cluster_keys_add(&keys);
	rc = hactl_write_keys(path, &keys);
	cluster_keys_wipe(&keys);
	return rc;
}

static void
print_would(const struct run *r, size_t len)
{
	if (access(r->env.key_file, F_OK) == -1)
		printf("WOULD  write %s 0600, a new key\n", r->env.key_file);
	printf("WOULD  write %s 0644, %zu bytes; it is checked then\n", r->output, len);
}

static int
write_all(const struct run *r, const char *text, size_t len)
{
	struct hagent_conf *c;

	if (r->output == NULL && r->told == NULL)
		return fwrite(text, 1, len, stdout) == len && fflush(stdout) == 0
			   ? CTL_OK
			   : CTL_DENIED;
	if (r->output != NULL && !hactl_may_write(r->output, r->force))
		return CTL_CONFLICT;
	if (r->told != NULL && (r->output == NULL || r->dry_run))
		json_object_set_new(r->told, "config", json_stringn(text, len));
	else if (r->dry_run)
		print_would(r, len);
	if (r->output == NULL || r->dry_run)
		return CTL_OK;
	if (r->told != NULL)
		json_object_set_new(r->told, "written", json_string(r->output));
	if (make_key(r->env.key_file) == -1 || hactl_write(r->output, text, len, 0644) == -1)
		return CTL_DENIED;
	c = hagent_conf_load(r->output, r->env.node);
	if (c == NULL) {
		fprintf(stderr, "HINT  edit it, then hagentd -n -c %s\n", r->output);
		return CTL_BAD_CONFIG;
	}
	hagent_conf_free(c);
	return CTL_OK;
}

/* ---- options ---------------------------------------------------------------------- */

/* NODE[:INTERFACE]=ADDRESS */
static int
add_given(struct import_env *env, const char *text)
{
	struct import_given *g = &env->given[env->ngiven];
	struct span rest = span_of(text), left, node;
	uint8_t bytes[16];

	if (env->ngiven == IMPORT_GIVEN_MAX || !span_cut(&rest, '=', &left) ||
	    !span_cut(&left, ':', &node) ||
	    span_copy(node, g->node, sizeof(g->node)) == -1 ||
	    span_copy(left, g->interface, sizeof(g->interface)) == -1 ||
	    span_copy(rest, g->address, sizeof(g->address)) == -1 ||
	    (inet_pton(AF_INET, g->address, bytes) != 1 &&
		inet_pton(AF_INET6, g->address, bytes) != 1)) {
		fprintf(stderr,
		    "ERROR --address: expected NODE[:INTERFACE]=ADDRESS, at most %d "
		    "times, not \"%s\"\n",
		    IMPORT_GIVEN_MAX, text);
		return -1;
	}
	env->ngiven++;
	return 0;
}

enum { O_OUTPUT = 256, O_NODE, O_CLUSTER, O_KEY, O_ADDRESS, O_FORCE, O_DRY };

static const struct option longs[] = {
    {"output", required_argument, NULL, O_OUTPUT},
    {"node", required_argument, NULL, O_NODE},
    {"cluster", required_argument, NULL, O_CLUSTER},
    {"key-file", required_argument, NULL, O_KEY},
    {"address", required_argument, NULL, O_ADDRESS},
    {"force", no_argument, NULL, O_FORCE},
    {"dry-run", no_argument, NULL, O_DRY},
    LOCAL_OPTIONS,
    {NULL, 0, NULL, 0},
};

static int
set_option(struct run *r, int ch)
{
	switch (ch) {
	case O_OUTPUT:
		r->output = optarg;
		return 0;
	case O_NODE:
		r->env.node = optarg;
		return 0;
	case O_CLUSTER:
		r->env.cluster = optarg;
		return 0;
	case O_KEY:
		r->env.key_file = optarg;
		return 0;
	case O_FORCE:
		r->force = true;
		return 0;
	case O_DRY:
		r->dry_run = true;
		return 0;
	case O_ADDRESS:
		return add_given(&r->env, optarg);
	default:
		return -1;
	}
}

/* -1: go on; else the exit code. */
static int
options(struct run *r, int argc, char **argv)
{
	int ch;

	while ((ch = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (ch == 'h') {
			fputs(usage, stdout);
			return CTL_OK;
		}
		if (!hactl_local_option(&r->local, ch) && set_option(r, ch) == -1)
			return CTL_USAGE;
	}
	if (r->dry_run && r->output == NULL) {
		fprintf(stderr, "ERROR --dry-run goes with --output: without it nothing is "
				"written\n");
		return CTL_USAGE;
	}
	if (argc - optind != 1 || r->env.key_file[0] != '/') {
		fputs(usage, stderr);
		return CTL_USAGE;
	}
	r->dir = argv[optind];
	return -1;
}

int
hactl_import(int argc, char **argv)
{
	char host[256] = "", *text = NULL;
	struct run r = {.env = {.cluster = "",
			    .key_file = PATH_ETC "/cluster.key",
			    .have_script = have_script,
			    .note = note,
			    .arg = &r}};
	size_t len = 0;
	int code;

	if (gethostname(host, sizeof(host) - 1) == 0)
		r.env.node = host;
	code = options(&r, argc, argv);
	if (code != -1)
		return code;
	find_nets(&r.env);
	if (r.local.json)
		r.told = json_pack("{s:i, s:[]}", "schema", 1, "notes");
	if (convert(&r, &text, &len) == -1)
		code = CTL_BAD_CONFIG;
	else
		code = write_all(&r, text, len);
	free(text);
	if (r.told != NULL)
		hactl_put_json(r.told);
	return code == CTL_OK && r.warnings > 0 ? CTL_WARNING : code;
}
