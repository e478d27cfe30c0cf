/* agent_resource.c - resources and helpers as people see them: their state in words, and
 * the lists.  Decides nothing. */
#include <stdio.h>

#include "agent_parts.h"

static const char *
class_name(enum resource_class c)
{
	static const char *const names[] = {"script", "lsb", "systemd", "ocf"};

	return names[c];
}

const char *
agent_resource_state(const struct agent *a, unsigned n, char *buf, size_t size)
{
	const struct policy_res *r = &a->policy.res[n];

	if (r->state != RES_DOWN || a->policy.role != ROLE_ACTIVE)
		return policy_res_state_name(r->state);
	if (r->held)
		return "stopped by operator";
	for (unsigned i = 0; i < n; i++) {
		if (!a->policy.res[i].held)
			continue;
		snprintf(buf, size, "waits for %s", a->conf->resources[i].name);
		return buf;
	}
	return policy_res_state_name(r->state);
}

static void
put(json_t *o, const char *name, json_t *value)
{
	if (json_object_set_new(o, name, value) == -1)
		log_fatal("no memory for an answer");
}

static json_t *
str(const char *s)
{
	json_t *j = json_string(s);

	return j != NULL ? j : json_string("?");
}

json_t *
agent_json_resources(const struct agent *a)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < a->conf->nresources; i++) {
		const struct resource_conf *c = &a->conf->resources[i];
		const struct policy_res *r = &a->policy.res[i];
		json_t *o = json_object();
		char state[96];

		put(o, "name", str(c->name));
		put(o, "class", str(class_name(c->class)));
		put(o, "script", str(c->script_name));
		put(o, "state", str(agent_resource_state(a, i, state, sizeof(state))));
		put(o, "held", json_boolean(r->held));
		put(o, "failures", json_integer(r->failures));
		put(o, "restarts", json_integer(c->restarts));
		put(o, "words", str(a->res[i].words));
		put(o, "start_ms", json_integer(a->res[i].start_ms));
		put(o, "stop_ms", json_integer(a->res[i].stop_ms));
		json_array_append_new(list, o);
	}
	return list;
}

void
agent_on_helper(void *arg, unsigned n, const struct exec_helper *h)
{
	struct agent *a = arg;

	if (n < a->conf->nrespawns)
		a->helpers[n] = *h;
}

json_t *
agent_json_helpers(const struct agent *a)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < a->conf->nrespawns; i++) {
		const struct exec_helper *h = &a->helpers[i];
		json_t *o = json_object();

		put(o, "name", str(a->conf->respawns[i].name));
		put(o, "when", str(a->conf->respawns[i].active_only ? "active" : "always"));
		put(o, "state", str(exec_helper_state_name((enum exec_helper_state)h->state)));
		put(o, "starts", json_integer(h->starts));
		put(o, "words", str(h->words));
		json_array_append_new(list, o);
	}
	return list;
}
