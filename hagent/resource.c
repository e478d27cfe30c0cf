/* resource.c - the command behind a verb, for each class of resource.
 *
 * Promise: no shell, no word of the environment that hagentd itself was started with,
 * and nothing in argv[0] but the path that the configuration was checked with.  A unit's
 * state is read from `systemctl show`, because the exit codes of is-active and status do
 * not tell "failed" from "stopped"; what is not a known state counts as failed. */
#include "resource.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define SHOW_MAX 4096
#define METADATA_MAX (256u << 10)
#define INIT_STOPPED 3
#define OCF_STOPPED 7
#define OCF_NOT_INSTALLED 5

struct list {
	char **at;
	size_t n, max;
};

/* The tables are as large as the largest configuration needs; see resource.h. */
static void
put(struct list *l, char *text)
{
	if (l->n + 1 >= l->max) {
		free(text);
		return;
	}
	l->at[l->n++] = text;
}

static void
put_common(
    struct list *env, const struct hagent_conf *conf, const struct resource_conf *r)
{
	put(env, mem_dup(SCRIPT_PATH));
	put(env, mem_dup("LC_ALL=C"));
	put(env, mem_printf("MAILPAIR_RESOURCE=%s", r->name));
	put(env, mem_printf("MAILPAIR_CLUSTER=%s", conf->cluster));
	put(env, mem_printf("MAILPAIR_NODE=%s", conf->node[conf->self]));
}

static void
put_ocf(struct list *env, const struct hagent_conf *conf, const struct resource_conf *r,
    int limit_ms, int interval_ms)
{
	put(env, mem_printf("OCF_ROOT=%s", conf->ocf_root));
	put(env, mem_dup("OCF_RA_VERSION_MAJOR=1"));
	put(env, mem_dup("OCF_RA_VERSION_MINOR=1"));
	put(env, mem_printf("OCF_RESOURCE_INSTANCE=%s", r->name));
	put(env, mem_printf("OCF_RESOURCE_TYPE=%s", r->agent));
	put(env, mem_printf("OCF_RESOURCE_PROVIDER=%s", r->provider));
	put(env, mem_printf("OCF_RESKEY_CRM_meta_timeout=%d", limit_ms));
	/* 0: not one of many, so a monitor is a probe. */
	put(env, mem_printf("OCF_RESKEY_CRM_meta_interval=%d", interval_ms));
	for (size_t i = 0; r->params[i] != NULL; i++)
		put(env, mem_printf("OCF_RESKEY_%s", r->params[i]));
}

static int
limit_of(const struct resource_conf *r, enum exec_verb v)
{
	switch (v) {
	case EXEC_START:
		return r->start_timeout_ms;
	case EXEC_STOP:
		return r->stop_timeout_ms;
	case EXEC_DRAIN:
		return r->drain_timeout_ms;
	case EXEC_STATUS:
		break;
	}
	return r->status_timeout_ms;
}

static void
begin(struct resource_command *c, struct list *argv, struct list *env)
{
	memset(c, 0, sizeof(*c));
	*argv = (struct list){c->argv, 0, RESOURCE_ARGV_MAX};
	*env = (struct list){c->env, 0, RESOURCE_ENV_MAX};
	c->script.argv = c->argv;
	c->script.env = c->env;
}

static void
systemctl(struct list *argv, const struct resource_conf *r, enum exec_verb v)
{
	put(argv, mem_dup("--no-ask-password"));
	if (v == EXEC_STATUS) {
		put(argv, mem_dup("show"));
		put(argv, mem_dup("--property=LoadState,ActiveState,MainPID"));
	} else
		put(argv, mem_dup(exec_verb_name(v)));
	put(argv, mem_dup("--"));
	put(argv, mem_dup(r->agent));
}

void
resource_command(const struct hagent_conf *conf, const struct resource_conf *r,
    enum exec_verb v, bool probe, struct resource_command *c)
{
	struct list argv, env;

	begin(c, &argv, &env);
	c->script.limit_ms = limit_of(r, v);
	put(&argv, mem_dup(r->script));
	put_common(&env, conf, r);
	if (r->class == RESOURCE_SYSTEMD) {
		systemctl(&argv, r, v);
		c->script.out_max = v == EXEC_STATUS ? SHOW_MAX : 0;
	} else if (r->class == RESOURCE_OCF) {
		put(&argv, mem_dup(v == EXEC_STATUS ? "monitor" : exec_verb_name(v)));
		put_ocf(&env, conf, r, c->script.limit_ms,
		    v != EXEC_STATUS || probe	 ? 0
		    : r->monitor_interval_ms > 0 ? r->monitor_interval_ms
						 : 1);
	} else {
		put(&argv, mem_dup(exec_verb_name(v)));
		for (size_t i = 0; r->args[i] != NULL; i++)
			put(&argv, mem_dup(r->args[i]));
	}
}

void
resource_command_metadata(const struct hagent_conf *conf, const struct resource_conf *r,
    struct resource_command *c)
{
	struct list argv, env;

	begin(c, &argv, &env);
	c->script.limit_ms = conf->metadata_timeout_ms;
	c->script.out_max = METADATA_MAX;
	put(&argv, mem_dup(r->script));
	put(&argv, mem_dup("meta-data"));
	put_common(&env, conf, r);
	put_ocf(&env, conf, r, c->script.limit_ms, 0);
}

void
resource_command_clear(struct resource_command *c)
{
	for (size_t i = 0; i < RESOURCE_ARGV_MAX; i++)
		free(c->argv[i]);
	for (size_t i = 0; i < RESOURCE_ENV_MAX; i++)
		free(c->env[i]);
	memset(c, 0, sizeof(*c));
}

/* ---- answers ------------------------------------------------------------- */

struct unit {
	struct span load, active;
	uint64_t pid;
};

static void
read_unit(struct span out, struct unit *u)
{
	struct span line, name;

	memset(u, 0, sizeof(*u));
	while (span_cut(&out, '\n', &line)) {
		if (!span_cut(&line, '=', &name) || line.p == NULL)
			continue;
		if (span_is(name, "LoadState"))
			u->load = line;
		else if (span_is(name, "ActiveState"))
			u->active = line;
		else if (span_is(name, "MainPID") &&
			 span_u64(line, INT_MAX, &u->pid) != PARSE_OK)
			u->pid = 0;
	}
}

static void
judge_unit(
    const struct resource_conf *r, struct span out, struct exec_ran *ran, pid_t *pid)
{
	struct unit u;

	read_unit(out, &u);
	*pid = (pid_t)u.pid;
	if (span_is(u.active, "active") || span_is(u.active, "reloading") ||
	    span_is(u.active, "refreshing"))
		return;
	ran->code = span_is(u.active, "inactive") && !span_is(u.load, "not-found")
			? INIT_STOPPED
			: 1;
	if (ran->code == INIT_STOPPED)
		return;
	snprintf(ran->words, sizeof(ran->words), "unit %s is %.*s", r->agent,
	    (int)(u.active.len < 40 ? u.active.len : 40),
	    u.active.len > 0 ? u.active.p : "");
	if (u.active.len == 0 || !span_is(u.load, "loaded"))
		snprintf(
		    ran->words, sizeof(ran->words), "unit %s is not there", r->agent);
}

void
resource_judge(const struct resource_conf *r, enum exec_verb v, bool probe,
    struct span out, struct exec_ran *ran, pid_t *main_pid)
{
	*main_pid = 0;
	ran->stopped = r->class != RESOURCE_OCF			 ? INIT_STOPPED
		       : probe && ran->code == OCF_NOT_INSTALLED ? OCF_NOT_INSTALLED
								 : OCF_STOPPED;
	if (r->class == RESOURCE_SYSTEMD && v == EXEC_STATUS &&
	    ran->outcome == RAN_EXIT && ran->code == 0)
		judge_unit(r, out, ran, main_pid);
}
