/* exec_proto.h - what the agent asks of the executor, over a socket pair (lib/ipc).
 *
 * The agent names everything by its index in the configuration that both read
 * before they parted: no path, address or command ever travels.  Every request
 * has an id and gets exactly one answer of the same id, except those that say so. */
#ifndef HAGENT_EXEC_PROTO_H
#define HAGENT_EXEC_PROTO_H

#include <stdbool.h>
#include <stdint.h>

#include "wire.h"

#define EXEC_BODY_MAX 1024
#define EXEC_PEER0 256
#define EXEC_WORDS_MAX 200	/* of the last line of stderr */
#define EXEC_TEXT_MAX 512	/* of what a fencing says, and why there is no watchdog */

enum exec_type {
	EX_RUN = 1,	/* u16 resource, u8 enum exec_verb */
	EX_VIP,		/* u16 vip, or EXEC_PEER0 + link (VIP_PROBE only: is the peer's own
			 * address there?), u8 enum exec_vip_op */
	EX_OPEN,	/* u8 enum exec_open, u16 index */
	EX_GROUP,	/* u8 1 = the group is started, u32 a bit for each resource that an
			 * operator holds stopped, u8 1 = it could not be kept running here:
			 * remembered for the next agent; no answer */
	EX_LEAVING,	/* the agent has released and ends; do not restart it; no answer */
	EX_FENCE = 8,	/* u8 enum exec_fence: the other node; answered by EX_FENCED */
	EX_ALIVE,	/* no answer: the agent's loop turns and ha/state could be written */
	EX_SELF_FENCE,	/* no answer: something does not stop; pet the watchdog no more */
	EX_NOTIFY,	/* u8 enum eventlog_kind, u64 wall ms, u64 epoch, str role, str text; no answer */
	/* 12-15 resources */
	EX_RELOAD = 16,	/* u8 1 = only check, u8 key id of the other node (0 not known); answered
			 * by EX_RELOADED */
	/* 17-19 configuration, 20-23 links */
	EX_WATCHDOG_TEST = 24,	/* u8 1 = pet it no more; answered by EX_WATCHDOG_IS */
	EX_WELCOME = 32,/* struct exec_welcome; the first message to an agent */
	EX_RAN,		/* struct exec_ran */
	EX_VIP_DONE,	/* u8 enum exec_vip_result, str error */
	EX_OPENED,	/* u32 errno, 0 with the descriptor */
	EX_CONFIG,	/* u32 digest of the configuration, u32 of each file; after EX_WELCOME,
			 * and when it changed */
	EX_SHUTDOWN,	/* the daemon is asked to end: release, then EX_LEAVING */
	EX_FENCED = 44,	/* u8 enum exec_fenced, str words */
	EX_WATCHDOG,	/* u8 armed, u32 time-out in ms, str why not; after EX_WELCOME, and on
			 * change */
	EX_DIED,	/* u16 resource: the process that was watched ended */
	EX_RELOADED = 48,	/* u8 exit code of hactl, str text, str hint; when it is 0 and not only
			 * checked, EX_REPLACE follows */
	EX_REPLACE,	/* end now, another agent takes over with the new configuration */
	EX_HUP,		/* SIGHUP came: ask for EX_RELOAD when the role is settled */
	EX_WATCHDOG_IS,	/* struct exec_watchdog */
	EX_HELPER = 60,	/* u16 helper, struct exec_helper; after EX_WELCOME, and on change */
	/* 51 configuration, 52-55 links, 56-59 events, 60-63 resources */
};

enum exec_verb { EXEC_START, EXEC_STOP, EXEC_STATUS, EXEC_DRAIN };
const char *exec_verb_name(enum exec_verb);

enum exec_vip_op {
	VIP_ADD,	/* idempotent; announces at once and again after 1, 2, 5, 10 s */
	VIP_DEL,	/* idempotent */
	VIP_PROBE,	/* does another host answer for it? */
	VIP_ANNOUNCE,	/* again, after a heal */
	VIP_QUERY,	/* is it on our interface? */
};
enum exec_vip_result { VIP_FAILED, VIP_DONE, VIP_CLEAR, VIP_TAKEN, VIP_PRESENT, VIP_ABSENT };

enum exec_fence { FENCE_OFF, FENCE_TEST /* ask for the status only */ };
enum exec_fenced {
	FENCED_UNKNOWN,	/* failed, refused, timed out, or nobody can tell */
	FENCED_OFF,	/* the device says that the other node is off */
	FENCED_ANSWERS,	/* of a test: every device told the status */
};

struct exec_watchdog {
	uint8_t armed;
	uint32_t timeout_ms, pet_age_ms, alive_age_ms;	/* UINT32_MAX: never */
	char why[EXEC_TEXT_MAX];	/* it is not armed, or not petted */
};

enum exec_open { OPEN_LINK, OPEN_PING };

enum exec_outcome {
	RAN_EXIT,	/* code is the exit code */
	RAN_SIGNAL,	/* code is the signal */
	RAN_TIMEOUT,	/* TERM, then KILL */
	RAN_REFUSED,	/* not run: writable by others than root, or missing */
};
struct exec_ran {
	uint8_t outcome;	/* enum exec_outcome */
	uint8_t code;
	uint8_t stopped;	/* the code by which a status says "not running": 3, OCF 7 */
	uint32_t ms;
	char words[EXEC_WORDS_MAX];	/* the last line that it wrote to stderr */
};

enum exec_helper_state {
	HELPER_OFF,	/* not wanted now */
	HELPER_RUNS,
	HELPER_WAITS,	/* it ended, and will be started again */
	HELPER_ENOUGH,	/* it ended with 100 */
};
const char *exec_helper_state_name(enum exec_helper_state);
struct exec_helper {
	uint8_t state;
	uint32_t starts;
	char words[EXEC_WORDS_MAX];	/* the last line before it ended */
};

struct exec_welcome {
	uint8_t group_started;	/* as the last agent said */
	uint8_t group_before;	/* as the last agent of an executor before this one said */
	uint32_t held;
	uint8_t cannot;
	uint32_t agents;	/* how many there were before in this executor's life */
	/* The group is up, but not these, which a new configuration added: a bit each. */
	uint32_t new_resources, new_vips;
};

void exec_ran_put(struct wire_out *, const struct exec_ran *);
void exec_ran_get(struct wire_in *, struct exec_ran *);
void exec_helper_put(struct wire_out *, const struct exec_helper *);
void exec_helper_get(struct wire_in *, struct exec_helper *);
void exec_watchdog_put(struct wire_out *, const struct exec_watchdog *);
void exec_watchdog_get(struct wire_in *, struct exec_watchdog *);
/* What a script's end means: 1 done or running, 0 not running, -1 failed. */
int exec_ran_verdict(const struct exec_ran *, enum exec_verb);
/* "exit 1 after 120 ms: words", for logs and status. */
const char *exec_ran_text(const struct exec_ran *, char *buf, size_t size);

#endif
