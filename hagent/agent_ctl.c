/* agent_ctl.c - answers hactl.
 *
 * Reading needs only access to the socket; changing anything needs root, else exit
 * 11.  A change becomes one EV_OP; policy_step() decides whether it is done here, is
 * a matter of the other node (then it rides in our heartbeats), or is refused; its
 * ACT_OP_DONE ends the call.  A caller that hangs up changes nothing: the operation
 * goes on. */
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "agent_parts.h"

static const struct verb {
	const char *name;
	enum policy_op op;
	bool needs_node, needs_resource;
} verbs[] = {
	{ "switchover", OP_SWITCHOVER, false, false },
	{ "failover", OP_FAILOVER, false, false },
	{ "standby", OP_STANDBY, true, false },
	{ "online", OP_ONLINE, true, false },
	{ "cleanup", OP_CLEANUP, false, false },
	{ "resource-start", OP_RES_START, false, true },
	{ "resource-stop", OP_RES_STOP, false, true },
	{ "resource-restart", OP_RES_RESTART, false, true },
	{ "maintenance", OP_MAINTENANCE, false, false },
	{ "maintenance-off", OP_MAINTENANCE, false, false },
};

static struct agent_call *
find_call(struct agent *a, uint32_t id)
{
	for (size_t i = 0; i < AGENT_CALLS_MAX; i++)
		if (a->calls[i].call != NULL && a->calls[i].id == id)
			return &a->calls[i];
	return NULL;
}

static void
on_gone(struct ctl_call *call, void *arg)
{
	struct agent *a = arg;

	for (size_t i = 0; i < AGENT_CALLS_MAX; i++)
		if (a->calls[i].call == call)
			a->calls[i].call = NULL;
}

struct agent_call *
agent_op_call(struct agent *a, struct ctl_call *call)
{
	for (size_t i = 0; i < AGENT_CALLS_MAX; i++) {
		if (a->calls[i].call != NULL)
			continue;
		if (++a->last_call == 0)
			a->last_call = 1;	/* 0 means that nobody waits */
		a->calls[i].id = a->last_call;
		a->calls[i].call = call;
		ctl_on_gone(call, on_gone, a);
		return &a->calls[i];
	}
	return NULL;
}

uint32_t
agent_call_new(struct agent *a, struct ctl_call *call)
{
	struct agent_call *c = agent_op_call(a, call);

	if (c == NULL)
		ctl_done(call, CTL_CONFLICT, NULL, "too many operations wait", NULL, NULL);
	return c == NULL ? 0 : c->id;
}

struct ctl_call *
agent_call_take(struct agent *a, uint32_t id)
{
	struct agent_call *c = find_call(a, id);
	struct ctl_call *call = c == NULL ? NULL : c->call;

	if (c != NULL)
		c->call = NULL;
	return call;
}

void
agent_op_done(struct agent *a, uint32_t id, int code, const char *text, const char *hint)
{
	struct agent_call *c = find_call(a, id);
	struct ctl_call *call;
	json_t *data = NULL;
	char refused[112];

	log_info("operation id=%u done exit=%d %s", id, code, text);
	agent_record(a, EVENTLOG_OPERATOR, "%s: exit %d %s", c != NULL ? c->what : "operation",
	    code, text);
	if (c == NULL)
		return;
	call = c->call;
	c->call = NULL;
	if (hint[0] == '\0')
		hint = NULL;
	if (code == CTL_OK) {
		data = json_pack("{s:s}", "text", text);
		ctl_done(call, CTL_OK, data, NULL, NULL, hint);
	} else if (code == CTL_REFUSED) {
		snprintf(refused, sizeof(refused), "refused: %s", c->what);
		ctl_done(call, CTL_REFUSED, NULL, refused, text, hint);
	} else {
		ctl_done(call, (enum ctl_exit)code, NULL, text, NULL, hint);
	}
}

/* 0 or 1; -1 unknown name; 2 not given. */
static int
node_of(const struct agent *a, json_t *req)
{
	const char *name = json_string_value(json_object_get(req, "node"));

	if (name == NULL)
		return 2;
	for (int i = 0; i < 2; i++)
		if (strcmp(a->conf->node[i], name) == 0)
			return i;
	return -1;
}

static int
resource_of(const struct agent *a, json_t *req)
{
	const char *name = json_string_value(json_object_get(req, "resource"));

	for (size_t i = 0; name != NULL && i < a->conf->nresources; i++)
		if (strcmp(a->conf->resources[i].name, name) == 0)
			return (int)i;
	return name == NULL ? -1 : -2;
}

static bool
flag(json_t *req, const char *name)
{
	return json_is_true(json_object_get(req, name));
}

/* Without --to a switchover goes to the node that is not active, a failover to this. */
static uint8_t
default_node(const struct agent *a, enum policy_op op)
{
	bool here = op == OP_SWITCHOVER ? a->policy.role != ROLE_ACTIVE : true;

	return (uint8_t)(here ? a->conf->self : 1 - a->conf->self);
}

static bool
ends_maintenance(const struct verb *v)
{
	return strcmp(v->name, "maintenance-off") == 0;
}

static int64_t
maintenance_ms(const struct agent *a, json_t *req)
{
	int64_t s = json_integer_value(json_object_get(req, "seconds"));

	if (s <= 0)
		s = a->conf->maintenance_s;
	return 1000 * (s < AGENT_MAINTENANCE_MAX_S ? s : AGENT_MAINTENANCE_MAX_S);
}

static void
change(struct agent *a, struct ctl_call *call, const struct verb *verb, json_t *req)
{
	struct policy_event ev = { .type = EV_OP, .op = verb->op };
	int node = node_of(a, req);
	struct agent_call *c;

	ev.index = resource_of(a, req);
	if (ctl_uid(call) != 0) {
		ctl_done(call, CTL_DENIED, NULL, "only root may do this", NULL, NULL);
		return;
	}
	if (node == -1 || ev.index == -2) {
		ctl_done(call, CTL_NOT_FOUND, NULL, node == -1 ? "no such node"
		    : "no such resource", NULL, "hactl status");
		return;
	}
	if ((node == 2 && verb->needs_node) || (ev.index < 0 && verb->needs_resource)) {
		ctl_done(call, CTL_USAGE, NULL, verb->needs_node ? "expected the name of a node"
		    : "expected the name of a resource", NULL, NULL);
		return;
	}
	c = agent_op_call(a, call);
	if (c == NULL) {
		ctl_done(call, CTL_CONFLICT, NULL, "too many operations wait", NULL, NULL);
		return;
	}
	ev.id = c->id;
	ev.op_node = node == 2 ? default_node(a, verb->op) : (uint8_t)node;
	ev.dry_run = flag(req, "dry_run");
	ev.peer_is_off = flag(req, "peer_is_off");
	ev.accept_loss = flag(req, "accept_loss");
	if (verb->op == OP_MAINTENANCE && !ends_maintenance(verb))
		ev.ms = maintenance_ms(a, req);
	if (verb->op == OP_CLEANUP || verb->op == OP_MAINTENANCE)
		snprintf(c->what, sizeof(c->what), "%s", verb->name);
	else if (verb->needs_resource)
		snprintf(c->what, sizeof(c->what), "%s of %.60s", verb->name,
		    a->conf->resources[ev.index].name);
	else
		snprintf(c->what, sizeof(c->what), "%s %s%.60s", verb->name,
		    verb->needs_node ? "of " : "to ", a->conf->node[ev.op_node]);
	log_info("operation id=%u %s node=%s%s%s%s", ev.id, verb->name,
	    a->conf->node[ev.op_node], ev.dry_run ? " dry-run" : "",
	    ev.peer_is_off ? " peer-is-off" : "", ev.accept_loss ? " accept-loss" : "");
	agent_record(a, EVENTLOG_OPERATOR, "%s asked for%s%s%s", c->what,
	    ev.dry_run ? ", dry run" : "", ev.peer_is_off ? ", peer is off" : "",
	    ev.accept_loss ? ", loss accepted" : "");
	agent_event(a, &ev);
}

void
agent_on_request(struct ctl_call *call, json_t *req, void *arg)
{
	struct agent *a = arg;
	const char *op = json_string_value(json_object_get(req, "op"));
	enum ctl_exit code = CTL_OK;
	json_t *o;

	if (op == NULL)
		op = "";
	if (strcmp(op, "status") == 0) {
		o = agent_json_status(a, &code);
		ctl_part(call, o);
		ctl_done(call, code, NULL, NULL, NULL, NULL);
		return;
	}
	if (strcmp(op, "links") == 0 || strcmp(op, "history") == 0) {
		ctl_part(call, op[0] == 'l' ? agent_json_links(a) : agent_json_history(a));
		ctl_done(call, CTL_OK, NULL, NULL, NULL, NULL);
		return;
	}
	if (strcmp(op, "resources") == 0) {
		ctl_part(call, json_pack("{s:s, s:s, s:o, s:o}", "node",
		    a->conf->node[a->conf->self], "role", ha_role_name(a->policy.role),
		    "resources", agent_json_resources(a), "helpers", agent_json_helpers(a)));
		ctl_done(call, CTL_OK, NULL, NULL, NULL, NULL);
		return;
	}
	if (strcmp(op, "reload") == 0) {
		agent_reload(a, call, req);
		return;
	}
	if (strcmp(op, "events") == 0) {
		agent_show_events(a, call, req);
		return;
	}
	if (agent_proof_request(a, call, op, req))
		return;
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(op, verbs[i].name) == 0) {
			change(a, call, &verbs[i], req);
			return;
		}
	}
	ctl_done(call, CTL_USAGE, NULL, "unknown operation", NULL, NULL);
}
