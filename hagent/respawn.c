/* respawn.c - keeps helpers running, by script.c and a pause between two starts.
 *
 * Decides nothing but when to start again.  A helper that cannot be started (no such
 * user, not trusted, no memory) is tried again like one that ended. */
#include "respawn.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "mem.h"
#include "script.h"

#define EXIT_ENOUGH 100
#define ENV_MAX 8

struct helper {
	struct respawns *rs;
	uint16_t index;
	const struct respawn_conf *conf;
	bool enough;  /* it said so; until it is wanted anew */
	bool stopped; /* the end that comes is our doing */
	int delay_ms;
	struct event *again;
	struct script *script; /* NULL: does not run */
	struct exec_helper told;
};

struct respawns {
	struct event_base *base;
	const struct hagent_conf *conf;
	const struct respawn_ops *ops;
	void *arg;
	bool active, ending;
	struct helper helpers[HAGENT_RESPAWNS_MAX];
};

static bool
wanted(const struct helper *h)
{
	return !h->rs->ending && !h->enough && (!h->conf->active_only || h->rs->active);
}

static void
tell(struct helper *h, enum exec_helper_state state)
{
	h->told.state = (uint8_t)state;
	h->rs->ops->changed(h->rs->arg, h->index, &h->told);
}

static void
check_ended(struct respawns *rs)
{
	if (!rs->ending)
		return;
	for (size_t i = 0; i < rs->conf->nrespawns; i++)
		if (rs->helpers[i].script != NULL)
			return;
	rs->ops->all_ended(rs->arg);
}

static void
wait_then_start(struct helper *h)
{
	struct timeval tv = {h->delay_ms / 1000, h->delay_ms % 1000 * 1000};

	evtimer_add(h->again, &tv);
	h->delay_ms = h->delay_ms < h->conf->delay_max_ms / 2 ? 2 * h->delay_ms
							      : h->conf->delay_max_ms;
}

static void start(struct helper *);

static void
on_end(const struct exec_ran *ran, void *arg)
{
	struct helper *h = arg;
	char text[300];

	h->script = NULL;
	exec_ran_text(ran, text, sizeof(text));
	memcpy(h->told.words, ran->words, sizeof(h->told.words));
	if (!h->stopped && ran->outcome == RAN_EXIT && ran->code == EXIT_ENOUGH)
		h->enough = true;
	if (h->stopped)
		log_info("helper %s was ended", h->conf->name);
	else if (h->enough)
		log_info("helper %s: %s, it is not started again", h->conf->name, text);
	else
		log_warnx("helper %s: %s, starting it again", h->conf->name, text);
	if (!wanted(h)) {
		tell(h, h->enough ? HELPER_ENOUGH : HELPER_OFF);
	} else if (h->stopped) {
		start(h);
	} else {
		if (ran->ms >= (uint32_t)h->conf->delay_max_ms)
			h->delay_ms = h->conf->delay_ms;
		wait_then_start(h);
		tell(h, HELPER_WAITS);
	}
	check_ended(h->rs);
}

static void
start(struct helper *h)
{
	const struct hagent_conf *conf = h->rs->conf;
	char *env[ENV_MAX] = {mem_dup(SCRIPT_PATH), mem_dup("LC_ALL=C"),
	    mem_printf("MAILPAIR_HELPER=%s", h->conf->name),
	    mem_printf("MAILPAIR_CLUSTER=%s", conf->cluster),
	    mem_printf("MAILPAIR_NODE=%s", conf->node[conf->self]), NULL};
	struct script_conf c = {
	    .argv = h->conf->command, .env = env, .user = h->conf->user, .tied = true};

	h->stopped = false;
	h->told.starts++;
	h->script = script_run(h->rs->base, &c, on_end, h);
	for (size_t i = 0; env[i] != NULL; i++)
		free(env[i]);
	tell(h, HELPER_RUNS);
}

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	struct helper *h = arg;

	(void)fd;
	(void)what;
	if (wanted(h) && h->script == NULL)
		start(h);
}

static void
stop(struct helper *h)
{
	event_del(h->again);
	h->stopped = true;
	if (h->script != NULL)
		script_stop(h->script);
	else if (h->told.state == HELPER_WAITS)
		tell(h, HELPER_OFF);
}

void
respawns_active(struct respawns *rs, bool active)
{
	if (rs->active == active)
		return;
	rs->active = active;
	for (size_t i = 0; i < rs->conf->nrespawns; i++) {
		struct helper *h = &rs->helpers[i];

		if (!h->conf->active_only)
			continue;
		h->enough = false;
		h->delay_ms = h->conf->delay_ms;
		if (!active)
			stop(h);
		else if (wanted(h) && h->script == NULL)
			start(h);
	}
}

void
respawns_tell(struct respawns *rs)
{
	for (size_t i = 0; i < rs->conf->nrespawns; i++)
		rs->ops->changed(rs->arg, (uint16_t)i, &rs->helpers[i].told);
}

void
respawns_stop(struct respawns *rs)
{
	rs->ending = true;
	for (size_t i = 0; i < rs->conf->nrespawns; i++)
		stop(&rs->helpers[i]);
	check_ended(rs);
}

bool
respawns_reaped(struct respawns *rs, pid_t pid, int st)
{
	for (size_t i = 0; i < rs->conf->nrespawns; i++) {
		struct helper *h = &rs->helpers[i];

		if (h->script == NULL || script_pid(h->script) != pid)
			continue;
		script_reaped(h->script, st);
		return true;
	}
	return false;
}

struct respawns *
respawns_new(struct event_base *base, const struct hagent_conf *conf,
    const struct respawn_ops *ops, void *arg)
{
	struct respawns *rs = mem_alloc(sizeof(*rs));
	struct timeval now = {0, 0};

	rs->base = base;
	rs->conf = conf;
	rs->ops = ops;
	rs->arg = arg;
	for (size_t i = 0; i < conf->nrespawns; i++) {
		struct helper *h = &rs->helpers[i];

		h->rs = rs;
		h->index = (uint16_t)i;
		h->conf = &conf->respawns[i];
		h->delay_ms = h->conf->delay_ms;
		h->again = evtimer_new(base, on_again, h);
		if (!h->conf->active_only)
			evtimer_add(h->again, &now);
	}
	return rs;
}

void
respawns_free(struct respawns *rs)
{
	if (rs == NULL)
		return;
	for (size_t i = 0; i < rs->conf->nrespawns; i++)
		event_free(rs->helpers[i].again);
	free(rs);
}
