/* fence.h - switches the other node off, and proves it, by the fence devices that the
 * configuration has for it.
 *
 * Each request is answered exactly once, within the time limits of the devices.  What a
 * device is told and when: fence_plan.h; how: lines on its standard input
 * (fence_args.h), and the environment of resource scripts.  One plan works at a time: a
 * second order to switch off waits for the end of the first, because a proof must be
 * younger than the order that asked for it; a test is given up for an order. */
#ifndef HAGENT_FENCE_H
#define HAGENT_FENCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "exec_proto.h"
#include "hagent_conf.h"

struct event_base;
struct fence;

struct fence_ask {
	uint32_t id, agent;	/* the caller's; come back */
	enum exec_fence verb;
};
typedef void fence_done_cb(void *arg, const struct fence_ask *, enum exec_fenced,
    const char *words);

struct fence *fence_new(struct event_base *, const struct hagent_conf *, fence_done_cb *,
    void *arg);
void fence_free(struct fence *);
/* In a forked child, which never fences: what the devices are told is made empty. */
void fence_wipe(struct fence *);
/* done may be called before this returns. */
void fence_ask(struct fence *, const struct fence_ask *);
bool fence_idle(const struct fence *);	/* nothing is asked, nothing runs */
/* The configuration given at the start has other contents now: what is under way goes on
 * with the devices that it began with. */
void fence_reload(struct fence *);
/* Nobody waits any more for what has not begun. */
void fence_forget_waiting(struct fence *);
/* The caller's SIGCHLD found the end of a process; false: it is none of ours. */
bool fence_reaped(struct fence *, pid_t, int wait_status);

#endif
