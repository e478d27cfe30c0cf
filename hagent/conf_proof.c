/* conf_proof.c - what proves that a node does not serve: the watchdog section.
 *
 * Promise: a watchdog that is configured fits the other times.  The other node takes a
 * silent one for dead after deadtime-ms, and must not do so before the watchdog has
 * certainly fired: half a time-out in which it is still petted, a whole one until it
 * fires, and as much again as a margin for late timers. */
#include "conf_proof.h"

#include <stdlib.h>

#include "mem.h"

static void
check_watchdog(const struct hagent_conf *c, int line)
{
	const struct watchdog_conf *w = &c->watchdog;
	int least = 2 * w->timeout_ms + 1000, deadtime = conf_option_line(c->path, "deadtime-ms");

	if (w->device[0] == '\0')
		return;
	if (w->device[0] != '/')
		conf_error(c->path, line, "watchdog: device: expected an absolute path, or \"\"");
	if (w->pet_ms > w->timeout_ms / 4)
		conf_error(c->path, line, "watchdog: pet-ms: expected at most a quarter of "
		    "timeout-s (%d ms), not %d", w->timeout_ms / 4, w->pet_ms);
	if (c->deadtime_ms < least)
		conf_error(c->path, deadtime > 0 ? deadtime : line, "deadtime-ms: expected at "
		    "least twice the watchdog's timeout-s and 1 s (%d), not %d", least,
		    c->deadtime_ms);
}

void
conf_proof_read(struct hagent_conf *c, cfg_t *cfg)
{
	cfg_t *sec = cfg_getsec(cfg, "watchdog");
	struct watchdog_conf *w = &c->watchdog;

	w->device = mem_dup(cfg_getstr(sec, "device"));
	w->timeout_ms = (int)cfg_getint(sec, "timeout-s") * 1000;
	w->pet_ms = (int)cfg_getint(sec, "pet-ms");
	check_watchdog(c, conf_line(sec));
}

void
conf_proof_free(struct hagent_conf *c)
{
	free(c->watchdog.device);
}
