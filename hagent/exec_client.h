/* exec_client.h - the agent's end of exec_proto.h: each request is answered by one
 * call of its function in ops, from the loop, never from inside the request. */
#ifndef HAGENT_EXEC_CLIENT_H
#define HAGENT_EXEC_CLIENT_H

#include <stdbool.h>

#include "config_digest.h"
#include "eventlog.h"
#include "exec_proto.h"

struct event_base;
struct exec_client;

struct exec_client_ops {
	void (*welcome)(void *, const struct exec_welcome *);
	void (*config)(void *, const struct config_digest *);
	void (*ran)(void *, unsigned resource, enum exec_verb, const struct exec_ran *);
	void (*died)(void *, unsigned resource);	/* its watched process has ended */
	void (*helper)(void *, unsigned helper, const struct exec_helper *);
	/* tag: as given to exec_client_vip() */
	void (*vip)(void *, unsigned vip, enum exec_vip_op, uint64_t tag,
	    enum exec_vip_result, const char *error);
	/* fd is the callee's; -1 with the errno */
	void (*opened)(void *, enum exec_open, unsigned index, int fd, int error);
	/* tag: as given to exec_client_fence() */
	void (*fenced)(void *, enum exec_fence, uint64_t tag, enum exec_fenced,
	    const char *words);
	/* tag: as given to exec_client_watchdog_test() */
	void (*watchdog_is)(void *, uint64_t tag, const struct exec_watchdog *);
	/* ms: its time-out; why: it is not armed */
	void (*watchdog)(void *, bool armed, uint32_t ms, const char *why);
	/* tag: as given to exec_client_reload(); code: exit code of hactl */
	void (*reloaded)(void *, uint64_t tag, int code, const char *text, const char *hint);
	void (*replace)(void *);
	void (*hup)(void *);
	void (*shutdown)(void *);
	void (*gone)(void *, const char *why);
};

struct exec_client *exec_client_new(struct event_base *, int fd,
    const struct exec_client_ops *, void *arg);
void exec_client_free(struct exec_client *);
void exec_client_run(struct exec_client *, unsigned resource, enum exec_verb);
void exec_client_vip(struct exec_client *, unsigned vip, enum exec_vip_op, uint64_t tag);
void exec_client_open(struct exec_client *, enum exec_open, unsigned index);
void exec_client_group(struct exec_client *, bool started, uint32_t held, bool cannot);
/* For the notify script. */
void exec_client_notify(struct exec_client *, const struct eventlog_entry *, const char *role);
void exec_client_leaving(struct exec_client *);
void exec_client_reload(struct exec_client *, bool dry_run, uint8_t peer_key, uint64_t tag);
void exec_client_fence(struct exec_client *, enum exec_fence, uint64_t tag);
void exec_client_watchdog_test(struct exec_client *, bool fire, uint64_t tag);
void exec_client_alive(struct exec_client *);
void exec_client_self_fence(struct exec_client *);

#endif
