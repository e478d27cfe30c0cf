/* queue_record.h - the records of the queue's shard, encoded and decoded.  Pure.
 *
 * A message up to QUEUE_INLINE_MAX rides in its ENQUEUE; a larger one comes before it
 * in BLOBs.  Recipients are known by their place in ENQUEUE, from 0. */
#ifndef MAIL_QUEUE_RECORD_H
#define MAIL_QUEUE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "wire.h"

#define QUEUE_INLINE_MAX (512u << 10)	/* bytes of a message, and of one BLOB */
#define QUEUE_RCPT_BYTES_MAX (384u << 10)	/* all recipients of one message, encoded */
#define QUEUE_REPLY_MAX 400		/* of what the other server said */
#define QUEUE_TRACE_MAX 63

enum queue_record {			/* numbers as in wire.h */
	QUEUE_BLOB = 1,		/* u64 id, u64 offset, rest = bytes */
	QUEUE_ENQUEUE,		/* u64 id, str trace id, str sender, u8 flags, u64 size, raw
				 * sha[32], u16 n x str recipient, rest = message or nothing */
	QUEUE_RESULT,		/* u64 id, u64 next ms, u16 n x (u16 recipient, u8 outcome,
				 * str reply): one attempt */
	QUEUE_REPORTED,		/* u64 id, u16 n x u16 recipient: the sender knows about these
				 * failures; n = 0: was warned of the delay */
	QUEUE_HOLD,		/* u64 id, 0 = all; also the next two */
	QUEUE_RELEASE,
	QUEUE_RETRY,
	QUEUE_DELETE,		/* u64 id; also BLOBs that no ENQUEUE used */
	QUEUE_ADOPT,		/* a message as it stands in another node's queue: u64 id, str trace id,
				 * str sender, u8 flags, u64 size, raw sha[32], u64 created ms, u64 next
				 * ms, u32 attempts, u8 held, u8 warned, u16 n x (u16 recipient, u8
				 * failed, str address, str reply), rest = message or nothing */
};

enum queue_flag {
	QUEUE_EIGHT_BIT = 1,		/* bytes above 127 are in it */
};

enum queue_outcome {
	QUEUE_DONE = 1,			/* the other server has it */
	QUEUE_DEFER,			/* again later */
	QUEUE_FAIL,			/* never: the sender is to be told */
};
const char *queue_outcome_name(enum queue_outcome);

struct queue_enqueue {
	uint64_t id, size;
	char trace[QUEUE_TRACE_MAX + 1];
	char sender[ADDRESS_MAX + 1];	/* "": a bounce */
	uint8_t flags;
	uint8_t sha[32];
	uint16_t nrcpts;
	struct wire_in rcpts;		/* for queue_rcpt_next() */
	struct span content;
};

struct queue_adopt {
	uint64_t id, size;
	char trace[QUEUE_TRACE_MAX + 1];
	char sender[ADDRESS_MAX + 1];
	uint8_t flags, sha[32];
	int64_t created_ms, next_ms;
	uint32_t attempts;
	bool held, warned;
	uint16_t nrcpts;
	struct wire_in rcpts;		/* for queue_adopt_next() */
	struct span content;
};
struct queue_adopt_rcpt {
	uint16_t index;
	bool failed;
	char address[ADDRESS_MAX + 1];
	char reply[QUEUE_REPLY_MAX + 1];
};

struct queue_result {
	uint16_t rcpt;
	enum queue_outcome outcome;
	char reply[QUEUE_REPLY_MAX + 1];
};

/* Everything but the content, which is appended behind it. */
void queue_enqueue_put(struct wire_out *, const struct queue_enqueue *, const char *const *rcpts);
/* PARSE_OK or PARSE_BAD; spans borrow from the payload. */
enum parse queue_enqueue_get(struct span payload, struct queue_enqueue *);
/* Once for each of nrcpts, of a copy of rcpts. */
void queue_rcpt_next(struct wire_in *, char out[ADDRESS_MAX + 1]);

/* The head, then queue_adopt_rcpt_put() nrcpts times, then the content. */
void queue_adopt_put(struct wire_out *, const struct queue_adopt *);
void queue_adopt_rcpt_put(struct wire_out *, uint16_t index, bool failed, const char *address,
    const char *reply);
/* Recipients come in the order of their index, each once. */
enum parse queue_adopt_get(struct span payload, struct queue_adopt *);
void queue_adopt_next(struct wire_in *, struct queue_adopt_rcpt *);

void queue_blob_put(struct wire_out *, uint64_t id, uint64_t offset);
enum parse queue_blob_get(struct span payload, uint64_t *id, uint64_t *offset, struct span *bytes);

void queue_result_put(struct wire_out *, uint64_t id, int64_t next_ms,
    const struct queue_result *, uint16_t n);
/* The head; then queue_result_next() n times; whole input checked here. */
enum parse queue_result_get(struct span payload, uint64_t *id, int64_t *next_ms, uint16_t *n,
    struct wire_in *list);
void queue_result_next(struct wire_in *, struct queue_result *);

void queue_reported_put(struct wire_out *, uint64_t id, const uint16_t *rcpts, uint16_t n);
enum parse queue_reported_get(struct span payload, uint64_t *id, uint16_t *n,
    struct wire_in *list);

#endif
