/* watchdog.h - the watchdog device, which resets this node unless it is petted in time.
 *
 * It is petted while watchdog_hold() says nothing against it: the agent lives, the test
 * command, if there is one, succeeds, and nobody wants the node to be reset.  Opening it
 * starts its time, so it is opened when an agent says for the first time that it lives,
 * and a device that cannot be opened is tried again ten seconds later, when one says so.
 * Armed means: open, with the time-out that the configuration says, and the last pet
 * arrived; only then may the other node count on it. */
#ifndef HAGENT_WATCHDOG_H
#define HAGENT_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "hagent_conf.h"

struct event_base;
struct watchdog;

enum watchdog_hold {
	HOLD_NONE,		/* pet it */
	HOLD_EARLY,		/* no agent of this process has said yet that it lives */
	HOLD_AGENT,		/* the agent was not heard for half the time-out */
	HOLD_TEST,		/* the test command failed twice in a row */
	HOLD_SELF_FENCE,	/* what has to stop did not: the agent asked for a reset */
	HOLD_FIRE,		/* an operator wants to see it fire */
};
const char *watchdog_hold_text(enum watchdog_hold);

struct watchdog_facts {
	int timeout_ms;
	int64_t alive_ms;	/* when the agent last said so; -1 never */
	unsigned failures;	/* of the test command, in a row */
	bool self_fence, fire;
};
/* Pure: why it must not be petted now. */
enum watchdog_hold watchdog_hold(const struct watchdog_facts *, int64_t now_ms);

struct watchdog_state {
	bool configured, armed;
	int timeout_ms;
	int64_t pet_age_ms, alive_age_ms;	/* -1: never */
	enum watchdog_hold hold;
	const char *why;		/* not armed; "" when it is */
};

/* changed: armed or why is another than before, from the loop.  A configuration without
 * a device gives one that does nothing. */
struct watchdog *watchdog_new(struct event_base *, const struct watchdog_conf *,
    void (*changed)(void *), void *arg);
/* orderly: nothing runs here that would need a reset, so the device is switched off;
 * else it stays on and fires, unless a new process opens it in time.  One that was never
 * opened is left as it is: it may be on, for what an earlier process left running. */
void watchdog_free(struct watchdog *, bool orderly);
void watchdog_alive(struct watchdog *);		/* the agent said so; may open the device */
/* Never pets it again.  -1: it is not armed, so nothing will happen. */
int watchdog_stop_petting(struct watchdog *, enum watchdog_hold);
/* The caller's SIGCHLD found the end of a process; false: it is none of ours. */
bool watchdog_reaped(struct watchdog *, pid_t, int wait_status);
void watchdog_look(const struct watchdog *, struct watchdog_state *);

#endif
