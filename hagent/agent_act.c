/* agent_act.c - carries out what policy_step() decided, and turns the answers of
 * executor and syncd into events for it.
 *
 * Promise to the policy (policy.h): actions in their order; nothing that stands on a
 * failed ACT_SAVE; exactly one event for each request.  Decides nothing itself, except what
 * runs here when the agent starts: remembered by the executor, else found by asking
 * every resource and every address; then the executor's mark (group_mark.h) says whether
 * it can be of a reign before this hagentd. */
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent_parts.h"
#include "clock.h"

#define LAST_WORDS_MS 100	/* for the last frames and messages to leave */

/* The tag of a request that the policy does not know of. */
#define MEND UINT64_MAX

/* ---- probes -------------------------------------------------------------- */

static void
probe_finish(struct agent *a)
{
	struct policy_event ev = { .type = EV_PROBE, .no = a->probe_no, .probe = a->probe };

	agent_event(a, &ev);
}

static void
on_probe_empty(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	probe_finish(arg);
}

/* One answer that somebody is there outweighs all others; our own addresses must
 * have been asked for.  That an interface towards the peer cannot be asked over is
 * no answer: a link that is gone is just what is being looked into. */
static void
probe_result(struct agent *a, unsigned n, uint64_t tag, enum exec_vip_result r)
{
	if (tag != a->probe_no || a->probe_left == 0)
		return;
	if (r == VIP_TAKEN)
		a->probe = PROBE_TAKEN;
	else if (r == VIP_FAILED && n < EXEC_PEER0 && a->probe == PROBE_CLEAR)
		a->probe = PROBE_UNKNOWN;
	if (--a->probe_left == 0)
		probe_finish(a);
}

static void
act_probe(struct agent *a, const struct policy_action *act)
{
	const struct hagent_conf *c = a->conf;
	struct timeval now = { 0, 0 };

	a->probe_no = act->no;
	a->probe = PROBE_CLEAR;
	a->probe_left = 0;
	for (unsigned i = 0; act->index != 1 && i < c->nvips; i++, a->probe_left++)
		exec_client_vip(a->exec, i, VIP_PROBE, act->no);
	for (unsigned i = 0; act->on && i < c->nlinks; i++) {
		if (link_probe_address(&c->links[i], 1 - c->self) == NULL)
			continue;
		exec_client_vip(a->exec, EXEC_PEER0 + i, VIP_PROBE, act->no);
		a->probe_left++;
	}
	if (a->probe_left == 0 &&
	    event_base_once(a->base, -1, EV_TIMEOUT, on_probe_empty, a, &now) == -1)
		log_fatal("timer");
}

/* ---- actions ------------------------------------------------------------- */

static int
act_save(struct agent *a, uint64_t no)
{
	a->state.marks = a->policy.marks;
	if (agent_save(a) == -1)
		return -1;
	a->saved = no;
	return 0;
}

static void
alarm_told(struct agent *a, const struct policy_action *act)
{
	const char *name = policy_alarm_name(act->alarm), *is = act->on ? "on" : "off";
	const char *colon = act->text[0] != '\0' ? ": " : "";

	log_warnx("alarm %s %s%s%s", name, is, colon, act->text);
	agent_record_and_tell(a, EVENTLOG_ALARM, "%s %s%s%s", name, is, colon, act->text);
}

static void
act_alarm(struct agent *a, const struct policy_action *act)
{
	struct agent_alarm *al = &a->alarms[act->alarm];

	if (act->on && !al->on)
		al->since_wall_ms = clock_wall_ms();
	if (act->on != al->on || strcmp(al->text, act->text) != 0)
		alarm_told(a, act);
	al->on = act->on;
	memcpy(al->text, act->text, sizeof(al->text));
}

static void
act_history(struct agent *a, const struct state_switch *sw)
{
	const struct state *st = &a->state;

	/* The peer tells it in every frame, and before a restart of ours it did too. */
	if (st->nswitches > 0 && st->switches[st->nswitches - 1].gen >= sw->gen)
		return;
	state_add_switch(&a->state, sw);
	log_info("switch epoch=%llu kind=%s from=%s to=%s %s outage_ms=%lld reason=\"%s\"",
	    (unsigned long long)sw->gen, gen_kind_name((enum gen_kind)sw->kind),
	    sw->from < 2 ? a->conf->node[sw->from] : "-",
	    sw->to < 2 ? a->conf->node[sw->to] : "-", sw->planned ? "planned" : "unplanned",
	    (long long)sw->outage_ms, sw->reason);
	agent_record_switch(a, sw);
	a->history_unsaved = true;
}

static void
act_exit(struct agent *a)
{
	struct timeval tv = { 0, LAST_WORDS_MS * 1000 };

	log_info("agent leaves");
	agent_send_all(a);
	exec_client_leaving(a->exec);
	event_base_loopexit(a->base, &tv);
}

static void
act_resource(struct agent *a, const struct policy_action *act)
{
	static const struct { enum policy_act act; enum exec_verb verb; } verbs[] = {
		{ ACT_RES_START, EXEC_START }, { ACT_RES_STOP, EXEC_STOP },
		{ ACT_RES_STATUS, EXEC_STATUS }, { ACT_RES_DRAIN, EXEC_DRAIN },
	};

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (verbs[i].act == act->act)
			exec_client_run(a->exec, (unsigned)act->index, verbs[i].verb);
}

/* Adding is idempotent and announces, and mends what somebody else removed. */
static void
act_announce(struct agent *a)
{
	for (unsigned i = 0; i < a->conf->nvips; i++)
		exec_client_vip(a->exec, i, VIP_ADD, MEND);
}

static void
act_syncd(struct agent *a, const struct policy_action *act)
{
	if (act->act == ACT_SYNCD_PROMOTE)
		syncd_client_gen(a->syncd, AL_PROMOTE, &act->gen);
	else if (act->act == ACT_SYNCD_GRANT)
		syncd_client_gen(a->syncd, AL_GRANT, &act->gen);
	else if (act->act == ACT_SYNCD_DEMOTE)
		syncd_client_demote(a->syncd, act->no, (uint32_t)act->ms);
	else if (act->act == ACT_SYNCD_DENY)
		syncd_client_deny(a->syncd, act->no, act->text);
	else
		syncd_client_outdate(a->syncd, act->no);
}

/* -1: the state could not be saved. */
static int
act_one(struct agent *a, const struct policy_action *act)
{
	switch (act->act) {
	case ACT_SAVE:
		return act_save(a, act->no);
	case ACT_SYNCD_PROMOTE:
	case ACT_SYNCD_DEMOTE:
	case ACT_SYNCD_GRANT:
	case ACT_SYNCD_DENY:
	case ACT_SYNCD_OUTDATE:
		act_syncd(a, act);
		break;
	case ACT_RES_START:
	case ACT_RES_STOP:
	case ACT_RES_STATUS:
	case ACT_RES_DRAIN:
		act_resource(a, act);
		break;
	case ACT_GROUP:
		a->group_started = act->on;
		exec_client_group(a->exec, act->on, (uint32_t)act->no, act->cannot);
		break;
	case ACT_VIP_UP:
	case ACT_VIP_DOWN:
		exec_client_vip(a->exec, (unsigned)act->index,
		    act->act == ACT_VIP_UP ? VIP_ADD : VIP_DEL, 0);
		break;
	case ACT_PROBE:
		act_probe(a, act);
		break;
	case ACT_ANNOUNCE:
		act_announce(a);
		break;
	case ACT_SEND_NOW:
		agent_send_all(a);
		break;
	case ACT_ALARM:
		act_alarm(a, act);
		break;
	case ACT_NOTE:
		log_info("role=%s %s", ha_role_name(a->policy.role), act->text);
		agent_record_note(a, act->text);
		break;
	case ACT_HISTORY:
		act_history(a, &act->sw);
		break;
	case ACT_OP_DONE:
		agent_op_done(a, act->id, act->code, act->text, act->hint);
		break;
	case ACT_EXIT:
		act_exit(a);
		break;
	case ACT_FENCE:
		exec_client_fence(a->exec, FENCE_OFF, act->no);
		break;
	case ACT_SELF_FENCE:
		exec_client_self_fence(a->exec);
		break;
	}
	return 0;
}

void
agent_act(struct agent *a, const struct policy_actions *acts)
{
	bool saved = true;

	for (unsigned i = 0; i < acts->n; i++) {
		if (!saved && policy_act_needs_save(acts->a[i].act))
			continue;
		log_debug("act %s index=%d no=%llu on=%d %s", policy_act_name(acts->a[i].act),
		    acts->a[i].index, (unsigned long long)acts->a[i].no, acts->a[i].on,
		    acts->a[i].text);
		if (act_one(a, &acts->a[i]) == -1)
			saved = false;
		else if (acts->a[i].act == ACT_SAVE)
			saved = true;
	}
	/* When nobody waits for it any more.  A lost line of history is no reason to stop
	 * serving. */
	if (a->history_unsaved)
		(void)agent_save(a);
}

/* ---- what runs here ------------------------------------------------------ */

static void
look_done(struct agent *a)
{
	if (a->looking > 0)
		return;
	a->local_known = true;
	log_info("agent found the group %s here%s", a->group_started ? "started" : "stopped",
	    a->group_found ? ", and nobody who started it" : "");
	/* What was only found is not remembered as started: the next agent finds it too. */
	if (!a->group_found)
		exec_client_group(a->exec, a->group_started, a->held, a->cannot);
	agent_tick(a);
}

/* What a new configuration added to a group that is up.  A start that fails is told to
 * the policy like any other; that the addresses are free was seen before. */
static void
start_new(struct agent *a, const struct exec_welcome *w)
{
	for (unsigned i = 0; i < a->conf->nresources; i++)
		if ((w->new_resources >> i & 1) != 0)
			exec_client_run(a->exec, i, EXEC_START);
	for (unsigned i = 0; i < a->conf->nvips; i++)
		if ((w->new_vips >> i & 1) != 0)
			exec_client_vip(a->exec, i, VIP_ADD, MEND);
}

static void
on_welcome(void *arg, const struct exec_welcome *w)
{
	struct agent *a = arg;

	log_info("executor agents_before=%u group=%s", w->agents,
	    w->group_started ? "started" : "not started");
	for (unsigned i = 0; i < a->conf->nvips; i++)
		exec_client_vip(a->exec, i, VIP_QUERY, 0);
	a->group_before = w->group_before;
	a->cannot = w->cannot;
	if (w->group_started) {
		a->group_started = true;
		a->held = w->held;
		look_done(a);
		start_new(a, w);
		return;
	}
	for (unsigned i = 0; i < a->conf->nresources; i++)
		exec_client_run(a->exec, i, EXEC_STATUS);
	a->looking = (unsigned)(a->conf->nvips + a->conf->nresources);
	look_done(a);
}

/* Before the first frame leaves: links are opened by answers that come behind it. */
static void
on_config(void *arg, const struct config_digest *d)
{
	struct agent *a = arg;

	log_info("configuration digest=%08x", d->all);
	agent_record(a, EVENTLOG_CONFIG, "configuration is %08x", d->all);
	a->pconf.config = d->all;
	a->config = *d;
}

static void
looked(struct agent *a, bool here)
{
	a->group_started = a->group_started || here;
	a->group_found = a->group_started && !a->group_before;
	a->looking--;
	look_done(a);
}

/* ---- the executor's answers ---------------------------------------------- */

/* What is shown as the resource's last words, and how long it took. */
static void
keep_ran(struct agent *a, unsigned n, enum exec_verb verb, const struct exec_ran *ran)
{
	char text[260];

	if (verb == EXEC_START)
		a->res[n].start_ms = ran->ms;
	if (verb == EXEC_STOP)
		a->res[n].stop_ms = ran->ms;
	if (exec_ran_verdict(ran, verb) == -1)
		snprintf(a->res[n].words, sizeof(a->res[n].words), "%s: %s",
		    exec_verb_name(verb), exec_ran_text(ran, text, sizeof(text)));
	else if (verb == EXEC_START)
		a->res[n].words[0] = '\0';
}

static void
on_ran(void *arg, unsigned n, enum exec_verb verb, const struct exec_ran *ran)
{
	static const enum policy_res_verb verbs[] = { POLICY_START, POLICY_STOP,
		POLICY_STATUS, POLICY_DRAIN };
	struct agent *a = arg;
	int verdict = exec_ran_verdict(ran, verb);
	struct policy_event ev = { .type = EV_RES, .index = (int)n, .verb = verbs[verb] };

	keep_ran(a, n, verb, ran);
	if (a->looking > 0 && verb == EXEC_STATUS) {
		/* "Failed" may mean half running: that has to be stopped first. */
		looked(a, verdict != 0);
		return;
	}
	ev.result = verdict == -1 ? POLICY_FAILED
	    : verdict == 0 || verb == EXEC_STOP ? POLICY_STOPPED : POLICY_RUNNING;
	agent_event(a, &ev);
}

static void
on_died(void *arg, unsigned n)
{
	struct agent *a = arg;
	struct policy_event ev = { .type = EV_DIED, .index = (int)n };

	if (n >= a->conf->nresources)
		return;
	snprintf(a->res[n].words, sizeof(a->res[n].words), "its process has ended");
	agent_event(a, &ev);
}

/* An address that was taken off the interface behind our back goes up again, while
 * this node is the one to have it. */
static void
queried(struct agent *a, unsigned n, uint64_t tag, enum exec_vip_result r)
{
	a->vip_here[n] = r == VIP_PRESENT;
	if (tag != MEND) {
		if (a->looking > 0)
			looked(a, r == VIP_PRESENT);
	} else if (r == VIP_ABSENT && a->policy.role == ROLE_ACTIVE && a->policy.vip_up[n]
	    && policy_maintenance_ms(&a->policy, clock_ms()) == 0) {
		log_warnx("vip %s is missing on %s", a->conf->vips[n].name,
		    a->conf->vips[n].interface);
		exec_client_vip(a->exec, n, VIP_ADD, MEND);
	}
}

static void
on_vip(void *arg, unsigned n, enum exec_vip_op op, uint64_t tag, enum exec_vip_result r,
    const char *error)
{
	struct agent *a = arg;
	struct policy_event ev = { .type = EV_VIP, .index = (int)n, .up = op == VIP_ADD,
		.ok = r == VIP_DONE };

	if (op == VIP_PROBE) {
		probe_result(a, n, tag, r);
		return;
	}
	if (op == VIP_QUERY) {
		queried(a, n, tag, r);
		return;
	}
	if (!ev.ok)
		log_warnx("vip %s %s: %s", a->conf->vips[n].name,
		    ev.up ? "cannot be added" : "cannot be removed", error);
	if (ev.ok) {
		a->vip_here[n] = ev.up;
		a->vip_since_wall_ms = clock_wall_ms();
	}
	if (tag != MEND)
		agent_event(a, &ev);
}

void
agent_check_vips(struct agent *a)
{
	if (a->policy.role != ROLE_ACTIVE)
		return;
	for (unsigned i = 0; i < a->conf->nvips; i++)
		exec_client_vip(a->exec, i, VIP_QUERY, MEND);
}

static void
link_opened(struct agent *a, unsigned n, int fd, int error)
{
	struct agent_link *l = &a->links[n];

	l->opening = false;
	if (fd == -1) {
		a->link_ops.broken(a, n, strerror(error));
		return;
	}
	link_attach(l->link, fd);
	agent_send(a, n);
}

static void
on_opened(void *arg, enum exec_open what, unsigned n, int fd, int error)
{
	struct agent *a = arg;

	if (what == OPEN_LINK) {
		link_opened(a, n, fd, error);
	} else if (fd != -1) {
		ping_attach(a->pings[n], fd);
		ping_send(a->pings[n]);
	} else {
		log_warnx("ping %s: no socket: %s", a->conf->pings[n].name, strerror(error));
	}
}

static void
on_shutdown(void *arg)
{
	struct policy_event ev = { .type = EV_OP, .op = OP_SHUTDOWN };

	agent_event(arg, &ev);
}

static void
on_gone(void *arg, const char *why)
{
	log_err("agent ends: executor is gone: %s", why);
	agent_end(arg, 1);
}

const struct exec_client_ops agent_exec_ops = { on_welcome, on_config, on_ran, on_died, agent_on_helper, on_vip,
	on_opened, agent_on_fenced, agent_on_watchdog_is, agent_on_watchdog, agent_on_reloaded,
	agent_on_replace, agent_on_hup, on_shutdown, on_gone };

/* ---- syncd --------------------------------------------------------------- */

static void
on_state(void *arg, const struct data_state *d)
{
	struct agent *a = arg;

	if (d->insync || (a->syncd_up && a->data.insync))
		a->in_step_ms = clock_ms();
	a->data = *d;
	a->syncd_up = true;
	a->asking_syncd = false;
	agent_tick(a);
}

static void
on_said(void *arg, const struct syncd_said *s)
{
	struct agent *a = arg;
	struct policy_event ev = { .type = EV_SYNCD, .msg = s->type, .gen = s->gen,
		.no = s->type == AL_REFUSED ? s->refused : s->no, .lsn = s->lsn,
		.drained = s->drained };

	if (s->type == AL_REFUSED)
		log_warnx("syncd refuses type=%u: %s", s->refused, log_safe(s->reason));
	agent_event(a, &ev);
}

static void
on_syncd_gone(void *arg)
{
	struct agent *a = arg;

	a->syncd_up = false;
	agent_tick(a);
}

const struct syncd_client_ops agent_syncd_ops = { on_state, on_said, on_syncd_gone };
