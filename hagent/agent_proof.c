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

	a->watchdog.armed = armed;
	a->watchdog.timeout_ms = ms;
	snprintf(a->watchdog.why, sizeof(a->watchdog.why), "%s", why);
	agent_tick(a);
}

void
agent_on_fenced(void *arg, enum exec_fence verb, uint64_t tag, enum exec_fenced result,
    const char *words)
{
	struct agent *a = arg;

	(void)tag;
	a->fence.asked = true;
	a->fence.verb = verb;
	a->fence.result = result;
	a->fence.wall_ms = clock_wall_ms();
	snprintf(a->fence.words, sizeof(a->fence.words), "%s", words);
}

json_t *
agent_json_watchdog(const struct agent *a)
{
	const struct watchdog_conf *c = &a->conf->watchdog;

	if (c->device[0] == '\0')
		return json_null();
	return json_pack("{s:s, s:b, s:i, s:s}", "device", c->device, "armed",
	    a->watchdog.armed, "timeout_ms", c->timeout_ms, "why", a->watchdog.why);
}
