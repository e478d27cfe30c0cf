/* store_admin.h - what the store worker and tests do with a store besides store.h. */
#ifndef MAIL_STORE_ADMIN_H
#define MAIL_STORE_ADMIN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "owner.h"
#include "store.h"

struct store_conf {
	const char *dir;		/* holds store-NN/ */
	const char *owner_path;		/* PATH_RUN/syncd-owner.sock */
	uint64_t low_water;		/* bytes that must stay free; below: no new mail */
	uint64_t message_max;		/* bytes of one message */
	int64_t undelete_ms;		/* how long removed messages keep their objects */
	int64_t part_wait_ms;		/* how long pieces that nobody goes on with stay */
	int64_t mend_ms;		/* how long a reader waits for the other node's copy */
	int64_t checkpoint_ms;		/* a checkpoint is made after this time, */
	uint64_t checkpoint_records;	/* or after so many records of the log */
	uint32_t pending_max;		/* changes under way in the worker, */
	uint64_t pending_bytes_max;	/* and bytes of their records */
	uint32_t boxes_max;		/* mailboxes of one user */
};
void store_conf_default(struct store_conf *);

struct store_hooks {			/* may all be NULL */
	/* after each change of the role, and with each second of applying */
	void (*role)(void *arg, const struct owner_role *);
};
struct store *store_new(struct event_base *, const struct store_conf *,
    const struct store_hooks *, void *arg);
void store_free(struct store *);
/* Shard n is the directory store-NN and number SHARD_STORE0 + n in the log.  -1 with a
 * message.  All shards are added before the loop runs. */
int store_add_shard(struct store *, uint16_t n, char *err, size_t errlen);
/* Makes those of these shards that are missing: before adding, quicker than by adding. */
int store_make_shards(struct store *, const uint16_t *, size_t n, char *err, size_t errlen);
bool store_has_shard(const struct store *, uint16_t n);
/* Makes INBOX and the default mailboxes unless they are there: before a session. */
void store_user_ready(struct store *, uint16_t shard, uint64_t user, store_done_cb *,
    void *arg);
const struct owner_role *store_role(const struct store *);
uint64_t store_applied(const struct store *);	/* the lowest of the shards */
bool store_degraded(const struct store *);	/* something could not be applied yet */

/* ops store-stat, store-verify, store-checkpoint, for all shards of this worker.  Ends
 * with done(), once: a report {"shards": [...]}, and how many complaints there are (-1:
 * it could not be done).  The callee owns the report. */
enum store_op { STORE_OP_STAT, STORE_OP_VERIFY, STORE_OP_CHECKPOINT };
void store_operate(struct store *, enum store_op,
    void (*done)(void *arg, json_t *report, long complaints), void *arg);

#endif
