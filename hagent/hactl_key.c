/* hactl_key.c - hactl key: the steps of changing the cluster key, one at a time, on the
 * file of this node.  Nothing of a key is printed, only fingerprints to compare. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cluster_key.h"
#include "ctl.h"
#include "hactl_local.h"
#include "paths.h"

static const char usage[] =
    "usage: hactl key show | new | use | drop [--key-file FILE] [--dry-run] [--json]\n"
    "  new   adds a key behind the present one (or makes the first)\n"
    "  use   makes the second key the one that signs\n"
    "  drop  forgets the second key\n";

struct run {
	struct hactl_local local;
	const char *path;
	bool dry_run;
	struct cluster_keys keys;
};

static void
print_json(const struct run *r, bool written, const char *next)
{
	json_t *o = json_pack("{s:i, s:s, s:b, s:o}", "schema", 1, "file", r->path, "written",
	    written, "keys", json_array());
	char text[9];

	for (unsigned i = 0; i < r->keys.n; i++) {
		cluster_key_fingerprint(&r->keys.key[i], text);
		json_array_append_new(json_object_get(o, "keys"), json_pack("{s:i, s:s, s:b}", "id",
		    (int)r->keys.key[i].id, "fingerprint", text, "signs", i == 0));
	}
	if (next != NULL)
		json_object_set_new(o, "hint", json_string(next));
	hactl_put_json(o);
}

static void
print(const struct run *r)
{
	char text[9];

	for (unsigned i = 0; i < r->keys.n; i++) {
		cluster_key_fingerprint(&r->keys.key[i], text);
		printf("key %-3u  fingerprint %s  %s\n", r->keys.key[i].id, text,
		    i == 0 ? "signs" : "is accepted");
	}
}

static int
save(struct run *r, const char *next)
{
	if (!r->dry_run && hactl_write_keys(r->path, &r->keys) == -1)
		return CTL_DENIED;
	if (r->local.json) {
		print_json(r, !r->dry_run, r->dry_run ? NULL : next);
		return CTL_OK;
	}
	print(r);
	if (r->dry_run)
		printf("nothing was written\n");
	else
		fprintf(stderr, "HINT  %s\n", next);
	return CTL_OK;
}

static int
key_new(struct run *r)
{
	bool first = r->keys.n == 0;

	if (cluster_keys_add(&r->keys) == -1) {
		fprintf(stderr, "ERROR %s holds two keys already\nHINT  hactl key drop\n",
		    r->path);
		return CTL_CONFLICT;
	}
	return save(r, first ? "copy the file to the other node (scp -p)"
			     : "copy the file to the other node, hactl reload on both, "
			       "then hactl key use");
}

static int
needs_two(const struct run *r)
{
	if (r->keys.n == 2)
		return CTL_OK;
	fprintf(stderr, "ERROR %s holds one key only\nHINT  hactl key new\n", r->path);
	return CTL_NOT_FOUND;
}

static int
key_use(struct run *r)
{
	struct cluster_key first = r->keys.key[0];
	int code = needs_two(r);

	if (code != CTL_OK)
		return code;
	r->keys.key[0] = r->keys.key[1];
	r->keys.key[1] = first;
	return save(r,
	    "copy the file to the other node, hactl reload on both, then hactl key "
	    "drop");
}

static int
key_drop(struct run *r)
{
	int code = needs_two(r);

	if (code != CTL_OK)
		return code;
	r->keys.n = 1;
	return save(r, "copy the file to the other node, hactl reload on both");
}

static int
key_show(struct run *r)
{
	if (r->local.json)
		print_json(r, false, NULL);
	else
		print(r);
	return CTL_OK;
}

static const struct {
	const char *name;
	int (*run)(struct run *);
} verbs[] = {
    {"new", key_new},
    {"use", key_use},
    {"drop", key_drop},
    {"show", key_show},
};

/* A file that is not there is the start of a new one. */
static int
load(struct run *r, const char *verb)
{
	char why[512];

	if (strcmp(verb, "new") == 0 && access(r->path, F_OK) == -1 && errno == ENOENT)
		return CTL_OK;
	if (cluster_keys_load(r->path, &r->keys, why, sizeof(why)) == 0)
		return CTL_OK;
	fprintf(stderr, "ERROR %s\n", why);
	return CTL_BAD_CONFIG;
}

int
hactl_key(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"key-file", required_argument, NULL, 'k'},
	    {"dry-run", no_argument, NULL, 'n'},
	    LOCAL_OPTIONS,
	    {NULL, 0, NULL, 0},
	};
	struct run r = {.path = PATH_ETC "/cluster.key"};
	int ch, code = CTL_USAGE;

	while ((ch = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (ch == 'h') {
			fputs(usage, stdout);
			return CTL_OK;
		}
		if (ch == 'k')
			r.path = optarg;
		else if (ch == 'n')
			r.dry_run = true;
		else if (!hactl_local_option(&r.local, ch))
			return CTL_USAGE;
	}
	for (size_t i = 0; argc - optind == 1 && i < sizeof(verbs) / sizeof(verbs[0]);
	     i++) {
		if (strcmp(verbs[i].name, argv[optind]) != 0)
			continue;
		code = load(&r, argv[optind]);
		if (code == CTL_OK)
			code = verbs[i].run(&r);
		cluster_keys_wipe(&r.keys);
		return code;
	}
	fputs(usage, stderr);
	return CTL_USAGE;
}
