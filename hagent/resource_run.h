/* resource_run.h - runs the verbs of resources in their order, and sees their processes
 * end.
 *
 * Verbs of one resource run one after the other in the order in which they were added;
 * but a stop cuts a start short that runs (TERM, two seconds later KILL);
 * a status runs beside the others.  A resource with a pid file, or whose unit names a
 * main process, is watched from its successful start (or a status that finds it running)
 * until its next stop or start begins: the end of that process is told at once. */
#ifndef HAGENT_RESOURCE_RUN_H
#define HAGENT_RESOURCE_RUN_H

#include "exec_proto.h"
#include "hagent_conf.h"

struct event_base;
struct resource_runs;

struct resource_run_ask {
	uint32_t agent, id; /* come back with the answer; agent 0: nobody waits */
	uint16_t resource;
	enum exec_verb verb;
};
struct resource_runs_ops {
	void (*ran)(void *arg, const struct resource_run_ask *, const struct exec_ran *);
	void (*died)(void *arg, uint16_t resource);
};

struct resource_runs *resource_runs_new(struct event_base *, const struct hagent_conf *,
    const struct resource_runs_ops *, void *arg);
void resource_runs_free(struct resource_runs *); /* NULL is fine */
/* -1: too many wait; nothing will be answered. */
int resource_runs_add(struct resource_runs *, const struct resource_run_ask *);
/* Who asked for what waits is gone; what runs goes on. */
void resource_runs_forget(struct resource_runs *);
bool resource_runs_idle(const struct resource_runs *);	/* nothing runs or waits */
/* A child ended: true when it was one of ours. */
bool resource_runs_reaped(struct resource_runs *, pid_t, int wait_status);

#endif
