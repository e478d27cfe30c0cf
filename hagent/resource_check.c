/* resource_check.c - each OCF agent is asked once what it takes, before anything starts.
 *
 * Only root can run it and only what the configuration already trusts is run, so who
 * checks a file as somebody else is told that this part was left out. */
#include "resource_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "mem.h"
#include "ocf_meta.h"
#include "resource.h"

#define NAMES_MAX 900

struct check {
	const struct hagent_conf *conf;
	const struct resource_conf *r;
	struct ocf_meta meta;
};

/* "delay, fake, state" */
static const char *
names(const struct ocf_meta *m, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < m->nparams && n + OCF_NAME_MAX + 8 < size; i++)
		n += (size_t)snprintf(
		    buf + n, size - n, "%s%s", i > 0 ? ", " : "", m->params[i].name);
	return m->nparams > 0 ? buf : "none";
}

static void
check_given(const struct check *c, const char *text)
{
	const struct resource_conf *r = c->r;
	const char *value = strchr(text, '=') + 1;
	struct span name = {text, (size_t)(value - 1 - text)};
	const struct ocf_param *p = ocf_meta_param(&c->meta, name);
	char all[NAMES_MAX];

	if (p == NULL)
		conf_error(c->conf->path, r->line,
		    "resource \"%s\": params: %s takes no \"%.*s\"; "
		    "it takes: %s",
		    r->name, r->agent, (int)name.len, name.p,
		    names(&c->meta, all, sizeof(all)));
	else if (!ocf_value_fits(p->type, value))
		conf_error(c->conf->path, r->line,
		    "resource \"%s\": params: %s: expected %s, not "
		    "\"%s\"",
		    r->name, p->name, ocf_type_name(p->type), value);
}

static bool
given(const struct resource_conf *r, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; r->params[i] != NULL; i++)
		if (strncmp(r->params[i], name, n) == 0 && r->params[i][n] == '=')
			return true;
	return false;
}

static void
check_limit(const struct check *c, const char *option, int ours, int advised)
{
	if (ours < advised)
		fprintf(stderr,
		    "WARN  %s:%d: resource \"%s\": %s is %d, %s advises at least "
		    "%d\n",
		    c->conf->path, c->r->line, c->r->name, option, ours, c->r->agent,
		    advised);
}

static void
check_one(const struct check *c)
{
	const struct resource_conf *r = c->r;
	char all[NAMES_MAX];

	for (size_t i = 0; r->params[i] != NULL; i++)
		check_given(c, r->params[i]);
	for (size_t i = 0; i < c->meta.nparams; i++)
		if (c->meta.params[i].required && !given(r, c->meta.params[i].name))
			conf_error(c->conf->path, r->line,
			    "resource \"%s\": params: %s needs "
			    "\"%s\"; it takes: %s",
			    r->name, r->agent, c->meta.params[i].name,
			    names(&c->meta, all, sizeof(all)));
	check_limit(c, "start-timeout-ms", r->start_timeout_ms, c->meta.start_ms);
	check_limit(c, "stop-timeout-ms", r->stop_timeout_ms, c->meta.stop_ms);
	check_limit(c, "status-timeout-ms", r->status_timeout_ms, c->meta.monitor_ms);
}

/* -1: nothing to compare with, and said so. */
static int
ask(struct check *c)
{
	struct resource_command cmd;
	struct exec_ran ran;
	const char *why;
	char *out, text[300];
	size_t len;
	int rc = -1;

	resource_command_metadata(c->conf, c->r, &cmd);
	script_run_alone(&cmd.script, &ran, &out, &len);
	if (exec_ran_verdict(&ran, EXEC_START) != 1)
		conf_error(c->conf->path, c->r->line, "resource \"%s\": %s meta-data: %s",
		    c->r->name, c->r->script, exec_ran_text(&ran, text, sizeof(text)));
	else if (ocf_meta_read((struct span){out, len}, &c->meta, &why) == -1)
		conf_error(c->conf->path, c->r->line,
		    "resource \"%s\": meta-data of %s: %s", c->r->name, c->r->script,
		    why);
	else
		rc = 0;
	resource_command_clear(&cmd);
	free(out);
	return rc;
}

/* A unit that systemd starts by itself would run on both nodes.  One that cannot be asked
 * for is found by its first status. */
static void
check_unit(const struct hagent_conf *conf, const struct resource_conf *r)
{
	char *argv[] = {r->script, mem_dup("is-enabled"), mem_dup("--quiet"),
	    mem_dup("--"), r->agent, NULL};
	char *env[] = {mem_dup(SCRIPT_PATH), NULL}, *out;
	struct script_conf c = {
	    .argv = argv, .env = env, .limit_ms = conf->metadata_timeout_ms};
	struct exec_ran ran;
	size_t len;

	script_run_alone(&c, &ran, &out, &len);
	if (exec_ran_verdict(&ran, EXEC_START) == 1)
		fprintf(stderr,
		    "WARN  %s:%d: resource \"%s\": %s is enabled: systemd starts it on "
		    "both "
		    "nodes\n",
		    conf->path, r->line, r->name, r->agent);
	free(out);
	free(env[0]);
	for (size_t i = 1; i < 4; i++)
		free(argv[i]);
}

int
resource_check(const struct hagent_conf *conf)
{
	struct check *c = mem_alloc(sizeof(*c));
	int before = conf_failed();

	c->conf = conf;
	for (size_t i = 0; i < conf->nresources; i++) {
		c->r = &conf->resources[i];
		if (c->r->class == RESOURCE_SYSTEMD)
			check_unit(conf, c->r);
		if (c->r->class != RESOURCE_OCF)
			continue;
		if (geteuid() != 0)
			fprintf(stderr,
			    "WARN  %s:%d: resource \"%s\": only root can ask %s for its "
			    "parameters\n",
			    conf->path, c->r->line, c->r->name, c->r->agent);
		else if (ask(c) == 0)
			check_one(c);
	}
	free(c);
	return conf_failed() == before ? 0 : -1;
}
