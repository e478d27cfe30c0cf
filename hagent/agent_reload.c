/* agent_reload.c - a new configuration, asked for by hactl reload or SIGHUP.  The
 * executor reads and compares it; this process only waits for a settled role, so that
 * nothing half done is handed over, and then makes room for its successor, which finds
 * everything as it is. */
#include <event2/event.h>
#include <stdio.h>

#include "agent.h"
#include "agent_parts.h"
#include "clock.h"

#define LAST_WORDS_MS 50 /* for answers to hactl to leave */

static bool
settled(const struct agent *a)
{
	const struct policy *p = &a->policy;

	return a->local_known && !p->leaving && p->op.op == OP_NONE &&
	       (p->role == ROLE_WAIT || p->role == ROLE_TARGET ||
		   p->role == ROLE_STANDBY || p->role == ROLE_ACTIVE);
}

static void
ask(struct agent *a, bool dry_run, uint32_t id)
{
	struct peer_view peer;

	peer_look(&a->peer, clock_ms(), &peer);
	exec_client_reload(a->exec, dry_run, peer.alive ? peer.f.key_id : 0, id);
}

/* Why not now, as long as it is not settled. */
static const char *
busy(const struct agent *a, char *buf, size_t size)
{
	const struct policy *p = &a->policy;

	if (p->op.op == OP_NONE)
		return p->leaving ? "hagentd ends" : policy_changing(p);
	snprintf(buf, size, "another operation is under way for %lld s: %s",
	    (long long)(clock_ms() - p->op.start_ms) / 1000, policy_op_name(p->op.op));
	return buf;
}

void
agent_reload(struct agent *a, struct ctl_call *call, json_t *req)
{
	bool dry_run = json_is_true(json_object_get(req, "dry_run"));
	struct agent_call *c;
	char text[100];

	if (ctl_uid(call) != 0) {
		ctl_done(call, CTL_DENIED, NULL, "only root may do this", NULL, NULL);
		return;
	}
	c = settled(a) ? agent_op_call(a, call) : NULL;
	if (c == NULL) {
		ctl_done(call, CTL_CONFLICT, NULL, settled(a) ? "too many operations wait"
		    : busy(a, text, sizeof(text)), NULL, "hactl status, then hactl reload again");
		return;
	}
	snprintf(c->what, sizeof(c->what), "reload%s", dry_run ? " (dry run)" : "");
	ask(a, dry_run, c->id);
}

void
agent_on_hup(void *arg)
{
	struct agent *a = arg;

	a->hup = true;
	agent_reload_tick(a);
}

void
agent_reload_tick(struct agent *a)
{
	if (!a->hup || !settled(a))
		return;
	a->hup = false;
	ask(a, false, 0);
}

void
agent_on_reloaded(void *arg, uint64_t tag, int code, const char *text, const char *hint)
{
	struct agent *a = arg;

	if (code != CTL_OK)
		log_warnx("configuration not taken: %s", text);
	agent_op_done(a, (uint32_t)tag, code, text, hint);
}

void
agent_on_replace(void *arg)
{
	struct timeval tv = {0, LAST_WORDS_MS * 1000};
	struct agent *a = arg;

	log_info("agent makes room for one with the new configuration");
	a->exit_code = AGENT_EXIT_REPLACED;
	event_base_loopexit(a->base, &tv);
}
