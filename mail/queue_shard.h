/* queue_shard.h - the queue's shard: messages, their recipients and their bytes in one
 * SQLite file, a function of the log's records (QUEUE.md).
 *
 * What a failing disk does is in index_db.h. */
#ifndef MAIL_QUEUE_SHARD_H
#define MAIL_QUEUE_SHARD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "mailipc.h"
#include "owner.h"
#include "queue_record.h"

struct index_db;
struct queue_shard;

struct queue_message {
	uint64_t id, size;
	char trace[QUEUE_TRACE_MAX + 1];
	char sender[ADDRESS_MAX + 1];
	uint8_t flags;
	int64_t created_ms, next_ms;	/* wall clock */
	uint32_t attempts;
	bool held, warned;
	uint32_t pending, failed;	/* recipients */
};

struct queue_rcpt {
	uint16_t index;
	bool failed;			/* its sender is to be told */
	char address[ADDRESS_MAX + 1];
	char reply[QUEUE_REPLY_MAX + 1];	/* of the last attempt; "" before the first */
};

struct queue_shard *queue_shard_open(const char *dir);	/* shards/queue */
void queue_shard_close(struct queue_shard *);
/* Its file: how far it is applied, commit, checkpoint, seeding. */
struct index_db *queue_shard_index(struct queue_shard *);
/* MAIL_OK, MAIL_UNKNOWN (no such message), MAIL_BAD (malformed or incomplete; skipped).
 * Changes are kept by the next index_db_commit(). */
enum mail_rc queue_shard_apply(struct queue_shard *, const struct owner_record *);

uint64_t queue_shard_count(struct queue_shard *);
bool queue_shard_message(struct queue_shard *, uint64_t id, struct queue_message *);
/* Up to max recipients from index `from` on; how many. */
size_t queue_shard_rcpts(struct queue_shard *, uint64_t id, uint16_t from, struct queue_rcpt *,
    size_t max);
/* Bytes of the message from `at` on, at most n; 0 at its end. */
size_t queue_shard_text(struct queue_shard *, uint64_t id, uint64_t at, char *buf, size_t n);

/* Ids that came by ADOPT, in order; also of messages that are no more. */
void queue_shard_adopted(struct queue_shard *, void (*each)(uint64_t id, void *), void *arg);

/* Ids of messages that want something, up to max. */
enum queue_want {
	QUEUE_WANT_SEND,	/* a, b: due at a; or set for after b, which no clock meant */
	QUEUE_WANT_EXPIRE,	/* made at a or before, with recipients left */
	QUEUE_WANT_WARN,	/* the same, not warned yet */
	QUEUE_WANT_REPORT,	/* failed recipients */
	QUEUE_WANT_SWEEP,	/* BLOBs without a message */
	QUEUE_WANT_LIST,	/* all after id a */
	QUEUE_WANTS
};
size_t queue_shard_want(struct queue_shard *, enum queue_want, int64_t a, int64_t b,
    uint64_t *ids, size_t max);
int64_t queue_shard_next(struct queue_shard *);	/* earliest next_ms, INT64_MAX: none */

#endif
