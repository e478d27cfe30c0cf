/* executor_reload.c - a new configuration in the running executor.
 *
 * It is checked beside the running one (reload.h), and taken when the agent that knows
 * the old one has ended, if the role and the scripts are still those for which it was
 * checked; else it is given up, and the old one stays.  The digest of the three files
 * is told to each agent and whenever it changes, so that the nodes can compare it. */
#include <event2/event.h>
#include <signal.h>
#include <string.h>

#include "ctl.h"
#include "executor_int.h"
#include "fence.h"
#include "log.h"
#include "realtime.h"
#include "resource_run.h"

#define LOOK_MS 10000		/* at the configuration files */
#define REPLACE_MS 2000	/* for an agent that was told to end */

/* ---- the digest of what stands on disk ------------------------------------- */

/* Files that cannot be read now keep the digest that they had. */
static bool
config_changed(struct executor *x)
{
	struct config_digest digest;
	const char *file;

	if (config_digest(x->conf, &digest, &file) == -1) {
		if (!x->config_told)
			log_warn("%s cannot be compared with the other node's", file);
		x->config_told = true;
		return false;
	}
	x->config_told = false;
	if (memcmp(&digest, &x->config, sizeof(digest)) == 0)
		return false;
	x->config = digest;
	return true;
}

void
executor_tell_config(struct executor *x)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u32(&w, x->config.all);
	for (unsigned i = 0; i < CONFIG_FILES; i++)
		wire_put_u32(&w, x->config.file[i]);
	executor_answer(x, x->agents, EX_CONFIG, 0, &w, -1);
}

/* Somebody edits a file, or copies it to the other node. */
static void
on_look(evutil_socket_t fd, short what, void *arg)
{
	struct executor *x = arg;

	(void)fd;
	(void)what;
	executor_arm(x->look, LOOK_MS);
	if (config_changed(x))
		executor_tell_config(x);
}

/* ---- asked for ------------------------------------------------------------- */

static void
answer_reload(struct executor *x, uint32_t agent, uint32_t id, int code, const char *text,
    const char *hint)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u8(&w, (uint8_t)code);
	wire_put_str(&w, text);
	wire_put_str(&w, hint);
	executor_answer(x, agent, EX_RELOADED, id, &w, -1);
}

/* The new file was checked for a group that was up, or was not, and for scripts by their
 * numbers.  Is all of that still so? */
static bool
reload_fits(const struct executor *x, const struct reload_result *r)
{
	return x->group_started == x->reload_started &&
	    (!r->moved || resource_runs_idle(x->runs)) && fence_idle(x->fence);
}

/* The agent goes before the configuration does: its indexes are those of the old one. */
static void
on_reloaded(void *arg, struct reload_result *r)
{
	struct executor *x = arg;
	struct wire_out w;

	reload_free(x->reload);
	x->reload = NULL;
	if (r->code != CTL_OK) {
		answer_reload(x, x->reload_agent, x->reload_id, r->code, r->text, r->hint);
		return;
	}
	if (!reload_fits(x, r)) {
		hagent_conf_free(r->conf);
		answer_reload(x, x->reload_agent, x->reload_id, CTL_CONFLICT,
		    "the role changed while the new configuration was checked", "hactl reload");
		return;
	}
	if (x->reload_dry || x->shutting) {
		hagent_conf_free(r->conf);
		answer_reload(x, x->reload_agent, x->reload_id, CTL_OK,
		    "the new configuration could be taken now", "");
		return;
	}
	x->next = *r;
	answer_reload(x, x->reload_agent, x->reload_id, CTL_OK, "the new configuration is taken",
	    "hactl status");
	wire_out_init(&w);
	executor_answer(x, x->agents, EX_REPLACE, 0, &w, -1);
	executor_arm(x->replace, REPLACE_MS);
}

void
executor_on_reload(struct executor *x, uint32_t id, struct wire_in *in)
{
	uint8_t dry = wire_get_u8(in), peer_key = wire_get_u8(in);
	struct reload_ask ask = {
		.path = x->start->path,
		.node = x->start->node,
		.now = x->conf,
		.started = x->group_started,
		.scripts = !resource_runs_idle(x->runs),
		.peer_key = peer_key,
	};

	if (x->reload != NULL || x->next.conf != NULL || x->shutting || !fence_idle(x->fence)) {
		answer_reload(x, x->agents, id, CTL_CONFLICT, "another reload, a fencing or the "
		    "end of hagentd is under way", "hactl status, then hactl reload again");
		return;
	}
	x->reload_id = id;
	x->reload_agent = x->agents;
	x->reload_dry = dry != 0;
	x->reload_started = x->group_started;
	x->reload = reload_new(x->base, &ask, on_reloaded, x);
}

static void
on_replace(evutil_socket_t fd, short what, void *arg)
{
	struct executor *x = arg;

	(void)fd;
	(void)what;
	log_warnx("executor: the agent did not end for its successor");
	if (x->agent_pid > 0)
		kill(x->agent_pid, SIGKILL);
}

void
executor_tell_hup(struct executor *x)
{
	struct wire_out w;

	wire_out_init(&w);
	executor_answer(x, x->agents, EX_HUP, 0, &w, -1);
}

/* ---- taken ----------------------------------------------------------------- */

/* The agent and the corosync process are new ones; this process goes on. */
static void
take_realtime(bool wanted)
{
	struct realtime rt;

	if (wanted)
		realtime_enter(&rt, true, false);
	else if (realtime_leave() == -1)
		log_warn("executor cannot leave real-time scheduling");
}

/* In the place of the old one, to which others hold pointers. */
static void
take_next(struct executor *x)
{
	struct reload_result *next = &x->next;
	struct hagent_conf old = *x->conf;

	executor_addresses_close(x);
	*x->conf = *next->conf;
	*next->conf = old;
	hagent_conf_free(next->conf);
	*x->start->keys = next->keys;
	x->new_resources = next->resources;
	x->new_vips = next->vips;
	if (next->moved)
		x->held = 0;
	cluster_keys_wipe(&next->keys);
	next->conf = NULL;
	executor_addresses_open(x);
	/* The next agent opens every link anew. */
	if (x->relay_pid > 0)
		kill(x->relay_pid, SIGKILL);
	fence_reload(x->fence);
	if (old.realtime != x->conf->realtime)
		take_realtime(x->conf->realtime);
	if (!x->start->debug)
		log_level_set((enum log_level)x->conf->log_level);
	(void)config_changed(x);
	log_info("executor: new configuration digest=%08x keys=%u", x->config.all,
	    x->start->keys->n);
}

static void
drop_next(struct executor *x)
{
	cluster_keys_wipe(&x->next.keys);
	hagent_conf_free(x->next.conf);
	x->next.conf = NULL;
}

bool
executor_take_next(struct executor *x)
{
	if (x->next.conf == NULL)
		return false;
	if (reload_fits(x, &x->next)) {
		take_next(x);
		return true;
	}
	log_warnx("executor: the role changed meanwhile, the configuration stays as it was");
	drop_next(x);
	return false;
}

void
executor_reload_open(struct executor *x)
{
	x->look = evtimer_new(x->base, on_look, x);
	x->replace = evtimer_new(x->base, on_replace, x);
	(void)config_changed(x);
	executor_arm(x->look, LOOK_MS);
}

void
executor_reload_wipe(struct executor *x)
{
	reload_wipe(x->reload);
	cluster_keys_wipe(&x->next.keys);
	if (x->next.conf != NULL)
		hagent_conf_wipe(x->next.conf);
}

void
executor_reload_close(struct executor *x)
{
	reload_free(x->reload);
	x->reload = NULL;
	drop_next(x);
	event_free(x->look);
	event_free(x->replace);
}
