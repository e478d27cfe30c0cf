/* agent_proof.c - the watchdog and the fence devices, as the agent sees them.
 *
 * The executor pets the watchdog only while this process says that it lives; it does so
 * from the tick of its loop, and not while ha/state cannot be written: a node that
 * cannot remember must not serve.  A full disk is no such reason: it ends by itself,
 * and what is in the file stays. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "agent_parts.h"
#include "clock.h"

#define ALIVE_MS 500
#define CHECK_FIRST_MS 15000	/* behind the start: there is enough to do then */
#define CHECK_AGAIN_MS 60000	/* behind one that failed */

static bool
state_writable(struct agent *a)
{
	struct statvfs fs;

	if (statvfs(a->conf->state_dir, &fs) == 0 && (fs.f_flag & ST_RDONLY) != 0)
		return false;
	if (a->save_errno == 0 || a->save_errno == ENOSPC || a->save_errno == EDQUOT)
		return true;
	return agent_save(a) == 0;
}

void
agent_alive(struct agent *a, int64_t now_ms)
{
	int every = a->conf->watchdog.timeout_ms / 8;

	if (a->conf->watchdog.device[0] == '\0' ||
	    now_ms - a->watchdog.alive_ms < (every < ALIVE_MS ? every : ALIVE_MS))
		return;
	a->watchdog.alive_ms = now_ms;
	if (state_writable(a))
		exec_client_alive(a->exec);
}

void
agent_on_watchdog(void *arg, bool armed, uint32_t ms, const char *why)
{
	struct agent *a = arg;
	bool news = armed != a->watchdog.armed || strcmp(why, a->watchdog.why) != 0;

	if (news && a->conf->watchdog.device[0] != '\0')
		agent_record(a, EVENTLOG_NOTE, "watchdog %s%s", armed ? "armed" : "not armed: ",
		    why);
	a->watchdog.armed = armed;
	a->watchdog.timeout_ms = ms;
	snprintf(a->watchdog.why, sizeof(a->watchdog.why), "%s", why);
	agent_tick(a);
}

/* ---- fence devices ------------------------------------------------------- */

static unsigned
devices(const struct agent *a)
{
	unsigned n = 0;

	for (size_t i = 0; i < a->conf->nfences; i++)
		n += a->conf->fences[i].node != a->conf->self;
	return n;
}

/* A device that is silent shall be known before it is needed. */
void
agent_fence_check(struct agent *a, int64_t now_ms)
{
	int64_t every = (int64_t)a->conf->fence_check_s * 1000;

	if (every == 0 || devices(a) == 0)
		return;
	if (a->fence.check_ms == 0)
		a->fence.check_ms = now_ms + (every < CHECK_FIRST_MS ? every : CHECK_FIRST_MS);
	if (now_ms < a->fence.check_ms)
		return;
	a->fence.check_ms = now_ms + every;
	exec_client_fence(a->exec, FENCE_TEST, 0);
}

/* What the devices said last, tests and orders. */
static void
keep_answer(struct agent *a, bool well, const char *words)
{
	int64_t soon = clock_ms() + CHECK_AGAIN_MS;

	if (a->fence.verb == FENCE_TEST && well != (a->fence.silent[0] == '\0'))
		agent_record(a, EVENTLOG_NOTE, "fence devices %s: %s", well ? "answer again"
		    : "do not answer as they should", words);
	if (!well && a->fence.check_ms > soon)
		a->fence.check_ms = soon;
	snprintf(a->fence.silent, sizeof(a->fence.silent), "%s", well ? "" : words);
}

static void
test_done(struct agent *a, uint32_t id, enum exec_fenced result, const char *words)
{
	struct ctl_call *call = agent_call_take(a, id);

	if (call == NULL)
		return;
	if (result == FENCED_ANSWERS)
		ctl_done(call, CTL_OK, json_pack("{s:s}", "text", words), NULL, NULL, NULL);
	else
		ctl_done(call, CTL_CRITICAL, NULL, "a fence device does not answer", words,
		    NULL);
}

void
agent_on_fenced(void *arg, enum exec_fence verb, uint64_t tag, enum exec_fenced result,
    const char *words)
{
	struct policy_event ev = { .type = EV_FENCE, .no = tag, .ok = result == FENCED_OFF };
	struct agent *a = arg;

	a->fence.asked = true;
	a->fence.verb = verb;
	a->fence.result = result;
	a->fence.wall_ms = clock_wall_ms();
	snprintf(a->fence.words, sizeof(a->fence.words), "%s", words);
	keep_answer(a, result != FENCED_UNKNOWN, words);
	if (verb == FENCE_TEST) {
		test_done(a, (uint32_t)tag, result, words);
		return;
	}
	agent_record(a, EVENTLOG_NOTE, "fencing of %s %s: %s",
	    a->conf->node[1 - a->conf->self], ev.ok ? "verified" : "failed", words);
	agent_event(a, &ev);
}

json_t *
agent_json_fence(const struct agent *a)
{
	static const char *const results[] = { "failed", "off", "answers" };
	json_t *o, *names = json_array();

	if (devices(a) == 0) {
		json_decref(names);
		return json_null();
	}
	for (size_t i = 0; i < a->conf->nfences; i++)
		if (a->conf->fences[i].node != a->conf->self)
			json_array_append_new(names, json_string(a->conf->fences[i].name));
	o = json_pack("{s:o, s:o}", "devices", names, "answers", !a->fence.asked ? json_null()
	    : json_boolean(a->fence.silent[0] == '\0'));
	if (a->fence.asked)
		json_object_set_new(o, "last", json_pack("{s:s, s:s, s:s, s:I}", "verb",
		    a->fence.verb == FENCE_TEST ? "test" : "off", "result",
		    results[a->fence.result], "words", a->fence.words, "wall_ms",
		    (json_int_t)a->fence.wall_ms));
	return o;
}

/* ---- watchdog, as hactl shows it ------------------------------------------ */

static json_t *
age(uint32_t ms)
{
	return ms == UINT32_MAX ? json_null() : json_integer(ms);
}

void
agent_on_watchdog_is(void *arg, uint64_t tag, const struct exec_watchdog *w)
{
	struct agent *a = arg;
	struct ctl_call *call = agent_call_take(a, (uint32_t)tag);
	json_t *o;

	if (call == NULL)
		return;
	o = json_pack("{s:s, s:b, s:i, s:o, s:o, s:s}", "device", a->conf->watchdog.device,
	    "armed", w->armed, "timeout_ms", (int)w->timeout_ms, "pet_age_ms",
	    age(w->pet_age_ms), "alive_age_ms", age(w->alive_age_ms), "why", w->why);
	ctl_part(call, o);
	if (w->armed)
		ctl_done(call, CTL_OK, NULL, NULL, NULL, NULL);
	else
		ctl_done(call, CTL_CRITICAL, NULL, "the watchdog is not armed", w->why, NULL);
}

json_t *
agent_json_watchdog(const struct agent *a)
{
	const struct watchdog_conf *c = &a->conf->watchdog;

	if (c->device[0] == '\0')
		return json_null();
	return json_pack("{s:s, s:b, s:i, s:s, s:b}", "device", c->device, "armed",
	    a->watchdog.armed, "timeout_ms", c->timeout_ms, "why", a->watchdog.why,
	    "required", c->required);
}

/* ---- requests of hactl ----------------------------------------------------- */

bool
agent_proof_request(struct agent *a, struct ctl_call *call, const char *op, json_t *req)
{
	bool fence = strcmp(op, "fence-test") == 0;
	bool fire = json_is_true(json_object_get(req, "fire")) &&
	    !json_is_true(json_object_get(req, "dry_run"));
	uint32_t id;

	if (!fence && strcmp(op, "watchdog-test") != 0)
		return false;
	if (ctl_uid(call) != 0 && (fence || fire)) {
		ctl_done(call, CTL_DENIED, NULL, "only root may do this", NULL, NULL);
		return true;
	}
	if (fence ? devices(a) == 0 : a->conf->watchdog.device[0] == '\0') {
		ctl_done(call, CTL_NOT_FOUND, NULL, fence ? "no fence device is configured "
		    "for the other node" : "no watchdog is configured", NULL, NULL);
		return true;
	}
	id = agent_call_new(a, call);
	if (id == 0)
		return true;
	if (fence)
		exec_client_fence(a->exec, FENCE_TEST, id);
	else
		exec_client_watchdog_test(a->exec, fire, id);
	if (fire && !fence)
		log_warnx("operator lets the watchdog fire");
	return true;
}
