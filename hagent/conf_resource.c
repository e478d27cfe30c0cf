/* conf_resource.c - resource sections: what class each is of, and that nobody but root
 * had a hand in what will be run.
 *
 * Everything that becomes an argument, a name in a path or a word of an environment is
 * checked here for bytes that a log, a terminal or a program's own reading of it could
 * trip over.  What an OCF agent says of its parameters is not asked here but by
 * resource_check.c, because that runs programs. */
#include "conf_resource.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"
#include "script.h"

/* No control characters; those are never meant. */
bool
conf_text_clean(const char *s)
{
	for (; *s != '\0'; s++)
		if (iscntrl((unsigned char)*s))
			return false;
	return true;
}

/* A part of a path or a unit's name: no slash, no leading dot or dash. */
static bool
plain_name(const char *s)
{
	if (s[0] == '\0' || s[0] == '.' || s[0] == '-' || strlen(s) > 255)
		return false;
	for (; *s != '\0'; s++)
		if (!isalnum((unsigned char)*s) && strchr("._-+@:\\", *s) == NULL)
			return false;
	return true;
}

/* The first folder of resource-path that has the script; "" when none has. */
static char *
find_script(cfg_t *cfg, const char *name)
{
	if (name[0] == '/')
		return mem_dup(name);
	for (unsigned i = 0; i < cfg_size(cfg, "resource-path"); i++) {
		char *path =
		    mem_printf("%s/%s", cfg_getnstr(cfg, "resource-path", i), name);

		if (access(path, F_OK) == 0)
			return path;
		free(path);
	}
	return mem_dup("");
}

/* "ocf:heartbeat:IPaddr2" */
static char *
ocf_script(const struct hagent_conf *c, struct resource_conf *r, const char *rest)
{
	const char *colon = strchr(rest, ':');

	if (colon == NULL)
		return NULL;
	r->provider = mem_copy(rest, (size_t)(colon - rest));
	r->agent = mem_dup(colon + 1);
	if (!plain_name(r->provider) || !plain_name(r->agent) ||
	    strchr(r->agent, ':') != NULL)
		return NULL;
	return mem_printf("%s/resource.d/%s/%s", c->ocf_root, r->provider, r->agent);
}

/* The program, and the class and names of r; NULL when the text is none of the forms. */
static char *
resolve(const struct hagent_conf *c, struct resource_conf *r, cfg_t *cfg)
{
	const char *s = r->script_name;

	if (strncmp(s, "systemd:", 8) == 0) {
		r->class = RESOURCE_SYSTEMD;
		r->agent = mem_dup(s + 8);
		return plain_name(s + 8) ? mem_dup(c->systemctl) : NULL;
	}
	if (strncmp(s, "ocf:", 4) == 0) {
		r->class = RESOURCE_OCF;
		return ocf_script(c, r, s + 4);
	}
	if (strncmp(s, "lsb:", 4) == 0) {
		r->class = RESOURCE_LSB;
		return plain_name(s + 4) ? mem_printf("/etc/init.d/%s", s + 4) : NULL;
	}
	r->class = RESOURCE_SCRIPT;
	if (s[0] == '\0' || !conf_text_clean(s) || strstr(s, "..") != NULL ||
	    (s[0] != '/' && strchr(s, '/') != NULL))
		return NULL;
	return find_script(cfg, s);
}

static void
check_trust(const struct hagent_conf *c, const struct resource_conf *r, const char *path)
{
	if (!script_trusted(path))
		conf_error(c->path, r->line,
		    "resource \"%s\": %s, or a folder above it, is "
		    "writable by others than root",
		    r->name, path);
}

static void
read_script(struct hagent_conf *c, struct resource_conf *r, cfg_t *cfg, cfg_t *sec)
{
	r->script_name = mem_dup(cfg_getstr(sec, "script"));
	r->script = resolve(c, r, cfg);
	if (r->script == NULL) {
		conf_error(c->path, r->line,
		    "resource \"%s\": script: expected a file name, an "
		    "absolute path, systemd:UNIT, lsb:NAME or ocf:PROVIDER:AGENT",
		    r->name);
		r->script = mem_dup("");
	} else if (r->script[0] == '\0')
		conf_error(c->path, r->line,
		    "resource \"%s\": no executable script \"%s\" in "
		    "resource-path",
		    r->name, r->script_name);
	else if (access(r->script, X_OK) == -1)
		conf_error(c->path, r->line, "resource \"%s\": no executable program %s",
		    r->name, r->script);
	else
		check_trust(c, r, r->script);
	if (r->class == RESOURCE_OCF && r->script[0] != '\0') {
		char *lib = mem_printf("%s/lib/heartbeat/ocf-shellfuncs", c->ocf_root);

		/* Nearly every agent reads it in as its own text. */
		if (access(lib, F_OK) == 0)
			check_trust(c, r, lib);
		free(lib);
	}
}

/* Copies a list; a mistake leaves it empty. */
static void
read_list(const struct hagent_conf *c, const struct resource_conf *r, cfg_t *sec,
    const char *option, char **to, unsigned max)
{
	unsigned n = cfg_size(sec, option);

	if (n > max) {
		conf_error(c->path, r->line, "resource \"%s\": %s: expected at most %u",
		    r->name, option, max);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		to[i] = mem_dup(cfg_getnstr(sec, option, i));
		if (!conf_text_clean(to[i]))
			conf_error(c->path, r->line,
			    "resource \"%s\": %s: a control character in "
			    "the %u. of them",
			    r->name, option, i + 1);
	}
}

/* The length of the name before "="; 0 when it is none that an environment can hold. */
static size_t
param_name(const char *text)
{
	size_t n = 0;

	while (isalnum((unsigned char)text[n]) || text[n] == '_')
		n++;
	return text[n] == '=' && !isdigit((unsigned char)text[0]) ? n : 0;
}

static void
read_params(const struct hagent_conf *c, struct resource_conf *r, cfg_t *sec)
{
	read_list(c, r, sec, "params", r->params, HAGENT_PARAMS_MAX);
	if (r->class != RESOURCE_OCF && r->params[0] != NULL)
		conf_error(c->path, r->line,
		    "resource \"%s\": params: only an ocf: resource has "
		    "them",
		    r->name);
	for (size_t i = 0; r->params[i] != NULL; i++) {
		size_t n = param_name(r->params[i]);

		if (n == 0)
			conf_error(c->path, r->line,
			    "resource \"%s\": params: expected "
			    "\"name=value\", not \"%s\"",
			    r->name, r->params[i]);
		for (size_t k = 0; n > 0 && k < i; k++)
			if (strncmp(r->params[k], r->params[i], n + 1) == 0)
				conf_error(c->path, r->line,
				    "resource \"%s\": params: %.*s stands "
				    "there twice",
				    r->name, (int)n, r->params[i]);
	}
}

static void
check_class(const struct hagent_conf *c, const struct resource_conf *r)
{
	bool takes_args = r->class == RESOURCE_SCRIPT || r->class == RESOURCE_LSB;

	if (!takes_args && r->args[0] != NULL)
		conf_error(c->path, r->line, "resource \"%s\": args: %s takes none",
		    r->name, r->script_name);
	if (r->class != RESOURCE_SCRIPT && r->drain)
		conf_error(c->path, r->line,
		    "resource \"%s\": drain: only a script of "
		    "resource-path knows the verb",
		    r->name);
	if (r->pidfile[0] != '\0' &&
	    (r->pidfile[0] != '/' || !conf_text_clean(r->pidfile)))
		conf_error(c->path, r->line,
		    "resource \"%s\": pidfile: expected an absolute path", r->name);
}

static void
read_resource(struct hagent_conf *c, cfg_t *cfg, unsigned n)
{
	cfg_t *sec = cfg_getnsec(cfg, "resource", n);
	struct resource_conf *r = &c->resources[c->nresources++];

	r->name = mem_dup(cfg_title(sec));
	r->line = conf_line(sec);
	if (r->name[0] == '\0' || strlen(r->name) > 64 || !conf_text_clean(r->name))
		conf_error(c->path, r->line,
		    "resource: expected a name of 1 to 64 printable "
		    "characters");
	read_script(c, r, cfg, sec);
	read_list(c, r, sec, "args", r->args, HAGENT_ARGS_MAX);
	read_params(c, r, sec);
	r->pidfile = mem_dup(cfg_getstr(sec, "pidfile"));
	r->start_timeout_ms = (int)cfg_getint(sec, "start-timeout-ms");
	r->stop_timeout_ms = (int)cfg_getint(sec, "stop-timeout-ms");
	r->status_timeout_ms = (int)cfg_getint(sec, "status-timeout-ms");
	r->drain_timeout_ms = (int)cfg_getint(sec, "drain-timeout-ms");
	r->monitor_interval_ms = (int)cfg_getint(sec, "monitor-interval-ms");
	r->restarts = (int)cfg_getint(sec, "restarts");
	r->restart_window_s = (int)cfg_getint(sec, "restart-window-s");
	r->drain = cfg_getbool(sec, "drain");
	check_class(c, r);
}

void
conf_resources_read(struct hagent_conf *c, cfg_t *cfg)
{
	unsigned n = cfg_size(cfg, "resource");

	c->ocf_root = mem_dup(cfg_getstr(cfg, "ocf-root"));
	c->systemctl = mem_dup(cfg_getstr(cfg, "systemctl"));
	c->metadata_timeout_ms = (int)cfg_getint(cfg, "metadata-timeout-ms");
	if (c->ocf_root[0] != '/' || c->systemctl[0] != '/' ||
	    !conf_text_clean(c->ocf_root))
		conf_error(c->path, 0, "ocf-root, systemctl: expected absolute paths");
	if (n > HAGENT_RESOURCES_MAX) {
		conf_error(c->path, 0, "expected at most %d resource sections",
		    HAGENT_RESOURCES_MAX);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		read_resource(c, cfg, i);
}

static void
free_list(char **list)
{
	for (; *list != NULL; list++)
		free(*list);
}

void
conf_resources_free(struct hagent_conf *c)
{
	for (size_t i = 0; i < c->nresources; i++) {
		struct resource_conf *r = &c->resources[i];

		free(r->name);
		free(r->script);
		free(r->script_name);
		free(r->provider);
		free(r->agent);
		free(r->pidfile);
		free_list(r->args);
		free_list(r->params);
	}
	free(c->ocf_root);
	free(c->systemctl);
}
