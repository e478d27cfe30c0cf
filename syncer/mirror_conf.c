/* mirror_conf.c - one table for the mirror sections, copied to structs and checked.
 * Nothing of libconfuse leaves this file but through mirror_conf_read.h. */
#include "mirror_conf_read.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

cfg_opt_t *
mirror_conf_opts(void)
{
	static cfg_opt_t opts[] = {
		CFG_INT("interval-s", 300, CFGF_NONE),
		CFG_STR_LIST("exclude", "{}", CFGF_NONE),
		CFG_STR_LIST("include", "{}", CFGF_NONE),
		CFG_BOOL("special-files", cfg_true, CFGF_NONE),
		CFG_INT("max-delete-percent", 5, CFGF_NONE),
		CFG_INT("delete-always", 2, CFGF_NONE),
		CFG_INT("hold-deleted-s", 604800, CFGF_NONE),
		CFG_INT("compress-level", 3, CFGF_NONE),
		CFG_BOOL("require-mount", cfg_false, CFGF_NONE),
		CFG_STR("change-source", "auto", CFGF_NONE),
		CFG_INT("full-walk-interval-s", 3600, CFGF_NONE),
		CFG_STR("file-size-max", "64G", CFGF_NONE),
		CFG_INT("entries-max", 10000000, CFGF_NONE),
		CFG_END(),
	};

	return opts;
}

/* A whole number from low to high, or an error that names the line. */
static long
number(const char *file, cfg_t *sec, const char *name, long low, long high)
{
	long n = cfg_getint(sec, name);

	if (n >= low && n <= high)
		return n;
	conf_error(file, conf_line(sec), "mirror \"%s\": %s must be from %ld to %ld",
	    cfg_title(sec), name, low, high);
	return low;
}

/* What is included wins, so it stands behind what is excluded. */
static void
copy_patterns(cfg_t *sec, struct mirror_tree *t)
{
	unsigned out = cfg_size(sec, "exclude"), in = cfg_size(sec, "include");

	t->exclude = mem_array((size_t)out + in + 1, sizeof(*t->exclude));
	for (unsigned i = 0; i < out; i++) {
		const char *p = cfg_getnstr(sec, "exclude", i);

		t->exclude[t->nexclude++] = mem_printf("%s%s", p[0] == '!' ? "\\" : "", p);
	}
	for (unsigned i = 0; i < in; i++)
		t->exclude[t->nexclude++] = mem_printf("!%s", cfg_getnstr(sec, "include", i));
}

/* "/srv/data/" and "/srv/data" are one tree; "/" and relative paths are none. */
static char *
copy_path(const char *file, cfg_t *sec)
{
	char *path = mem_dup(cfg_title(sec));
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		path[--n] = '\0';
	if (path[0] != '/' || n < 2 || n > 1024 || strstr(path, "/../") != NULL)
		conf_error(file, conf_line(sec),
		    "mirror \"%s\": the path of a directory is expected, from /, not / itself",
		    cfg_title(sec));
	return path;
}

static void
read_source(const char *file, cfg_t *sec, struct mirror_tree *t)
{
	const char *source = cfg_getstr(sec, "change-source");

	t->watch = strcmp(source, "none") != 0 && t->full_walk_interval_ms > 0;
	if (strcmp(source, "none") != 0 && strcmp(source, "auto") != 0)
		conf_error(file, conf_line(sec),
		    "mirror \"%s\": change-source must be auto or none", t->path);
}

static void
read_tree(const char *file, cfg_t *sec, struct mirror_tree *t)
{
	t->path = copy_path(file, sec);
	t->interval_ms = 1000 * (int64_t)number(file, sec, "interval-s", 0, 86400);
	copy_patterns(sec, t);
	t->skip_special = cfg_getbool(sec, "special-files") == cfg_false;
	t->max_delete_percent = (unsigned)number(file, sec, "max-delete-percent", 0, 100);
	t->delete_always = (uint64_t)number(file, sec, "delete-always", 0, 1000000);
	t->hold_deleted_s = number(file, sec, "hold-deleted-s", 0, 366L * 86400);
	t->compress_level = (int)number(file, sec, "compress-level", 0, 19);
	t->require_mount = cfg_getbool(sec, "require-mount") == cfg_true;
	t->full_walk_interval_ms = 1000 *
	    (int64_t)number(file, sec, "full-walk-interval-s", 0, 30L * 86400);
	read_source(file, sec, t);
	t->entries_max = (uint64_t)number(file, sec, "entries-max", 1, 1000000000);
	if (conf_size(cfg_getstr(sec, "file-size-max"), &t->file_size_max) == -1)
		conf_error(file, conf_line(sec),
		    "mirror \"%s\": file-size-max must be a size such as 64G", t->path);
}

static bool
overlap(const char *a, const char *b)
{
	size_t n = strlen(a);

	return strncmp(a, b, n) == 0 && (b[n] == '/' || b[n] == '\0');
}

void
mirror_conf_read(const char *file, cfg_t *cfg, struct mirror_conf *c)
{
	c->ntrees = cfg_size(cfg, "mirror");
	c->trees = mem_array(c->ntrees + 1, sizeof(*c->trees));
	for (size_t i = 0; i < c->ntrees; i++) {
		cfg_t *sec = cfg_getnsec(cfg, "mirror", (unsigned)i);

		read_tree(file, sec, &c->trees[i]);
		for (size_t k = 0; k < i; k++)
			if (overlap(c->trees[k].path, c->trees[i].path) ||
			    overlap(c->trees[i].path, c->trees[k].path))
				conf_error(file, conf_line(sec),
				    "mirror \"%s\" and mirror \"%s\" overlap",
				    c->trees[k].path, c->trees[i].path);
	}
}

const struct mirror_tree *
mirror_conf_find(const struct mirror_conf *c, const char *path)
{
	for (size_t i = 0; i < c->ntrees; i++)
		if (strcmp(c->trees[i].path, path) == 0)
			return &c->trees[i];
	return NULL;
}

void
mirror_conf_clear(struct mirror_conf *c)
{
	for (size_t i = 0; i < c->ntrees; i++) {
		for (size_t k = 0; k < c->trees[i].nexclude; k++)
			free(c->trees[i].exclude[k]);
		free(c->trees[i].exclude);
		free(c->trees[i].path);
	}
	free(c->trees);
	*c = (struct mirror_conf){ NULL, 0 };
}
