/* respawn.h - helpers: programs that are kept running beside the daemon.
 *
 * One that ends is started again, after a pause that doubles from delay-ms to
 * delay-max-ms and begins anew when it lived that long; the exit code 100 says that it
 * wants to stay ended.  With when = "active" it runs only while the group is started
 * here, and no change of the role waits for its end: what must not run on two nodes is a
 * resource.  A helper does not outlive this process. */
#ifndef HAGENT_RESPAWN_H
#define HAGENT_RESPAWN_H

#include "exec_proto.h"
#include "hagent_conf.h"

struct event_base;
struct respawns;

struct respawn_ops {
	void (*changed)(void *arg, uint16_t helper, const struct exec_helper *);
	void (*all_ended)(void *arg); /* behind respawns_stop() */
};

/* Starts those that always run. */
struct respawns *respawns_new(struct event_base *, const struct hagent_conf *,
    const struct respawn_ops *, void *arg);
void respawns_free(struct respawns *); /* NULL is fine */
void respawns_active(struct respawns *, bool active);
void respawns_tell(struct respawns *); /* changed() for each of them, now */
/* TERM, KILL two seconds later; all_ended() comes from the loop, or at once. */
void respawns_stop(struct respawns *);
/* A child ended: true when it was one of ours. */
bool respawns_reaped(struct respawns *, pid_t, int wait_status);

#endif
