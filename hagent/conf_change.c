/* conf_change.c - compares two configurations by what may not change under a running
 * daemon.  Every refusal says the way out. */
#include "conf_change.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define STOP_BOTH "stop hagentd on both nodes, change the file on both, start them again"
#define RESTART_EACH \
	"change the file on both nodes, restart hagentd on the standby, hactl switchover, " \
	"restart it on the other one"
#define MOVE_AWAY "reload the other node, hactl switchover --to %s, then reload this one"

static int __attribute__((format(printf, 3, 4)))
refuse(struct conf_change *out, const char *hint, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out->why, sizeof(out->why), fmt, ap);
	va_end(ap);
	snprintf(out->hint, sizeof(out->hint), "%s", hint);
	return -1;
}

static bool
same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The name of the first option that has to stay and does not, or NULL. */
static const char *
fixed_option(const struct hagent_conf *a, const struct hagent_conf *b)
{
	const struct {
		const char *name, *a, *b;
	} fixed[] = {
	    {"cluster", a->cluster, b->cluster},
	    {"node", a->node[0], b->node[0]},
	    {"node", a->node[1], b->node[1]},
	    {"user", a->user, b->user},
	    {"group", a->group, b->group},
	    {"state-dir", a->state_dir, b->state_dir},
	    {"run-dir", a->run_dir, b->run_dir},
	    {"syncd-socket", a->syncd_socket, b->syncd_socket},
	};

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		if (!same(fixed[i].a, fixed[i].b))
			return fixed[i].name;
	return a->self != b->self ? "node" : NULL;
}

static bool
same_list(char *const *a, char *const *b)
{
	size_t i = 0;

	while (a[i] != NULL && b[i] != NULL && strcmp(a[i], b[i]) == 0)
		i++;
	return a[i] == NULL && b[i] == NULL;
}

static bool
same_watchdog(const struct watchdog_conf *a, const struct watchdog_conf *b)
{
	return same(a->device, b->device) && a->timeout_ms == b->timeout_ms &&
	    a->pet_ms == b->pet_ms && same(a->test_command, b->test_command) &&
	    a->test_interval_ms == b->test_interval_ms;
}

static bool
same_helpers(const struct hagent_conf *a, const struct hagent_conf *b)
{
	if (a->nrespawns != b->nrespawns)
		return false;
	for (size_t i = 0; i < a->nrespawns; i++) {
		const struct respawn_conf *ra = &a->respawns[i], *rb = &b->respawns[i];

		if (!same(ra->name, rb->name) || !same(ra->user, rb->user) ||
		    !same_list(ra->command, rb->command) || ra->active_only != rb->active_only)
			return false;
	}
	return true;
}

/* What the executor itself keeps open or running. */
static const char *
kept_section(const struct hagent_conf *a, const struct hagent_conf *b)
{
	if (!same_watchdog(&a->watchdog, &b->watchdog))
		return "watchdog";
	return same_helpers(a, b) ? NULL : "respawn";
}

/* What stops it has to be what started it. */
static bool
same_resource(const struct resource_conf *a, const struct resource_conf *b)
{
	return same(a->name, b->name) && a->class == b->class &&
	       same(a->script, b->script) && same(a->agent, b->agent) &&
	       same_list(a->args, b->args) && same_list(a->params, b->params);
}

static int
resources(const struct hagent_conf *now, const struct hagent_conf *next, bool started,
    struct conf_change *out)
{
	char hint[200];

	snprintf(hint, sizeof(hint), MOVE_AWAY, now->node[1 - now->self]);
	for (size_t i = 0; i < now->nresources; i++) {
		if (i < next->nresources &&
		    same_resource(&now->resources[i], &next->resources[i]))
			continue;
		out->moved = true;
		if (started)
			return refuse(out, hint,
			    "resource \"%s\" is up here: it cannot be removed, "
			    "moved or started in another way; new ones go to the end",
			    now->resources[i].name);
	}
	for (size_t i = now->nresources; started && i < next->nresources; i++)
		out->resources |= 1u << i;
	return 0;
}

static bool
has_vip(const struct hagent_conf *c, const struct vip_conf *v)
{
	for (size_t i = 0; i < c->nvips; i++)
		if (same(c->vips[i].name, v->name) &&
		    same(c->vips[i].interface, v->interface))
			return true;
	return false;
}

static int
vips(const struct hagent_conf *now, const struct hagent_conf *next, bool started,
    struct conf_change *out)
{
	char hint[200];

	snprintf(hint, sizeof(hint), MOVE_AWAY, now->node[1 - now->self]);
	for (size_t i = 0; started && i < now->nvips; i++)
		if (!has_vip(next, &now->vips[i]))
			return refuse(out, hint,
			    "vip \"%s\" is up here: it cannot be removed or go "
			    "to another interface",
			    now->vips[i].name);
	for (size_t i = 0; started && i < next->nvips; i++)
		if (!has_vip(now, &next->vips[i]))
			out->vips |= 1u << i;
	return 0;
}

/* Keys belong to a place in the list, so a link that moves is deaf until both nodes
 * have the same list. */
static bool
same_link(const struct link_conf *a, const struct link_conf *b)
{
	return a->medium == b->medium && same(a->interface, b->interface) &&
	       memcmp(a->address, b->address, sizeof(a->address)) == 0 &&
	       memcmp(&a->group, &b->group, sizeof(a->group)) == 0 &&
	       same(a->group_name, b->group_name) &&
	       same(a->device, b->device) && a->baud == b->baud;
}

static int
links(const struct hagent_conf *now, const struct hagent_conf *next,
    struct conf_change *out)
{
	for (size_t i = 0; i < now->nlinks && i < next->nlinks; i++)
		if (same_link(&now->links[i], &next->links[i]))
			return 0;
	return refuse(out,
	    "change one link, reload both nodes, then the next; add new links at "
	    "the end",
	    "no link stays as it is: the nodes would not hear each other until both are "
	    "reloaded");
}

int
conf_change(const struct hagent_conf *now, const struct hagent_conf *next, bool started,
    struct conf_change *out)
{
	const char *fixed = fixed_option(now, next);

	memset(out, 0, sizeof(*out));
	if (fixed != NULL)
		return refuse(
		    out, STOP_BOTH, "%s cannot be changed while hagentd runs", fixed);
	fixed = kept_section(now, next);
	if (fixed != NULL)
		return refuse(out, RESTART_EACH, "%s cannot be changed while hagentd runs", fixed);
	if (links(now, next, out) == -1 || resources(now, next, started, out) == -1)
		return -1;
	return vips(now, next, started, out);
}
