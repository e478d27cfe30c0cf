/* executor_int.h - shared by the executor*.c files only: the state of root's process, and
 * what its parts call of each other.
 *
 * executor.c has the loop, the agent and the signals; executor_vip.c does what the agent
 * asks about addresses and descriptors; executor_reload.c takes a new configuration. */
#ifndef HAGENT_EXECUTOR_INT_H
#define HAGENT_EXECUTOR_INT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config_digest.h"
#include "exec_proto.h"
#include "executor.h"
#include "reload.h"

struct event;
struct event_base;
struct fence;
struct ipc;
struct notify;
struct resource_runs;
struct respawns;
struct vip;
struct watchdog;

struct executor {
	const struct executor_start *start;
	struct hagent_conf *conf;
	struct event_base *base;
	struct event *signals, *respawn, *limit, *look, *replace;
	int signal_fd;
	struct ipc *agent;
	pid_t agent_pid;
	pid_t relay_pid;	/* of the process for the corosync link; 0 none */
	uint32_t agents;	/* started so far; also names the present one */
	int64_t agent_started_ms;
	int delay_ms;
	bool group_started, shutting, left, ending;
	bool group_told;	/* an agent of this process has said whether it is started */
	bool group_before;	/* started by an executor before this one, since the boot */
	uint32_t held;		/* resources that an operator stopped */
	uint8_t cannot;		/* the group did not run here; not forgotten by a reload */
	int exit_code;
	struct config_digest config;
	bool config_told;	/* that it cannot be made; once */
	/* A new configuration: it is looked at, for whom; it waits for the agent to end. */
	struct reload *reload;
	uint32_t reload_id, reload_agent;
	bool reload_dry;
	bool reload_started;	/* the group was up when the reload was asked for */
	struct reload_result next;		/* .conf NULL: none */
	uint32_t new_resources, new_vips;	/* to go up with the next agent */
	struct watchdog *watchdog;
	struct fence *fence;
	struct notify *notify;
	struct vip *vips[HAGENT_VIPS_MAX];
	/* The peer's own address on each udp link: only ever probed for. */
	struct vip_conf peer_conf[HAGENT_LINKS_MAX];
	struct vip *peers[HAGENT_LINKS_MAX];
	struct resource_runs *runs;
	struct respawns *helpers;
	int child_fd;		/* in the forked agent: its end; else -1 */
};

/* executor.c */
void executor_arm(struct event *timer, int ms);
/* To the agent of that number, or to nobody when it is another by now.  Takes over what
 * was written, and fd (-1: none). */
void executor_answer(struct executor *, uint32_t agent, enum exec_type, uint32_t id,
    struct wire_out *, int fd);
/* In a forked child: closes everything of the executor's but its channel, which becomes
 * descriptor 3, logs under another name, and has none of its secrets but the keys in use. */
void executor_child_begin(struct executor *, int fd, const char *ident);

/* executor_vip.c: each request is answered once. */
void executor_on_vip(struct executor *, uint32_t id, struct wire_in *);
void executor_on_open(struct executor *, uint32_t id, struct wire_in *);
void executor_addresses_open(struct executor *);	/* of the present configuration */
void executor_addresses_close(struct executor *);	/* what is up stays up */

/* executor_reload.c */
void executor_reload_open(struct executor *);	/* makes .look and .replace; a first digest */
void executor_reload_close(struct executor *);	/* gives up what is under way */
void executor_reload_wipe(struct executor *);	/* secrets of what is under way, in a child */
void executor_on_reload(struct executor *, uint32_t id, struct wire_in *);
void executor_tell_hup(struct executor *);
void executor_tell_config(struct executor *);	/* the digest of the files */
/* The agent has ended: puts a configuration that waits for that into the place of the
 * old one, if it still fits.  false: there was none, or it is given up. */
bool executor_take_next(struct executor *);

#endif
