/* child.h - what every process of maild has in common: an event base, the channel
 * to the parent, and the channels that the parent hands out (PM_PEER).
 *
 * A process function gets struct child_start (valid for its whole life), drops its
 * privileges before it reads anything foreign, makes a child with child_new(), runs
 * the base, and returns its exit code.  On SIGTERM the base's loop ends; when the
 * parent goes away the process does, at once.  A channel that breaks is reported with up = false: no
 * answer comes any more to what was asked over it; the parent makes a new one as
 * soon as the other process runs again, reported with up = true. */
#ifndef MAIL_CHILD_H
#define MAIL_CHILD_H

#include <stdbool.h>
#include <openssl/ssl.h>

#include "ipc.h"

struct event_base;
struct lease;
struct maild_conf;
struct child;

enum child_kind { CHILD_PARENT, CHILD_DIRECTORY, CHILD_GATE, CHILD_STORE, CHILD_QUEUE,
	CHILD_KINDS };
const char *child_kind_name(enum child_kind);

struct child_start {
	const struct maild_conf *conf;
	unsigned index;		/* which of the gates or stores */
	int parent_fd;
	SSL_CTX *tls;		/* gates only; NULL elsewhere */
	const struct lease *lease;	/* whether clients may be answered; NULL: always */
};

struct child_ops {
	/* Every message except PM_PEER; msg->fd is owned by the callee. */
	void (*message)(void *arg, enum child_kind from, unsigned index, struct ipc *,
	    const struct ipc_msg *);
	void (*peer)(void *arg, enum child_kind, unsigned index, bool up);
};

/* Takes parent_fd of the start; ops and arg must outlive it. */
struct child *child_new(struct event_base *, const struct child_start *,
    const struct child_ops *, void *arg);
void child_free(struct child *);
/* NULL while there is none.  CHILD_PARENT, 0 is the parent. */
struct ipc *child_peer(struct child *, enum child_kind, unsigned index);
/* PM_STATE to the parent: what an owner's role callback reports. */
struct owner_role;
void child_state(struct child *, const struct owner_role *, uint64_t applied_lsn);

#endif
