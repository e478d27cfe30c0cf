/* merge_queue.h - two histories of the queue for other hosts, which parted at a known
 * place, become one.
 *
 * Pure: takes what each side has in its queue and what it did since they parted, and
 * gives the changes that the winner has to make.  No clock, socket, file or database; the
 * same input gives the same output.  When it was carried out, a second merge with the same
 * loser gives nothing, as long as one of the two sides knows all it did.
 *
 * Promises (I5, I12 of the pair):
 *   - a recipient that is in the queue of one side and that neither side finished is in
 *     the queue of the result, once; with the attempts, times and answers it had;
 *   - a recipient that either side finished (delivered, bounced and told, removed by an
 *     operator) is not sent to again and not bounced again;
 *   - what one side gave up and nobody was told of, is told of;
 *   - a sender that was warned of a delay by one side is not warned again;
 *   - two messages that got one id are both there, the loser's under another one.
 * Where a side does not know all it did, what it may have finished is kept. */
#ifndef MAIL_MERGE_QUEUE_H
#define MAIL_MERGE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "queue_record.h"

struct merge_queue_rcpt {
	uint16_t index;			/* in ENQUEUE */
	bool failed;			/* its sender is to be told */
	char *address, *reply;		/* reply "" before the first attempt */
};
/* Recipients that are no more. */
struct merge_queue_done {
	uint16_t index;
	bool bounced;			/* and the sender knows; else delivered */
};

/* What a side knows of a message: it is in the queue, or was dealt with since they
 * parted. */
struct merge_queue_msg {
	uint64_t id;
	bool here;			/* in the queue now; else only what was done is known */
	bool made;			/* since they parted */
	bool removed;			/* by an operator, since */
	bool hold;			/* held or released by an operator, since */
	bool pieces;			/* private: BLOBs of it came since */
	/* here or made: which message it is */
	char *trace, *sender;
	uint64_t size;
	int64_t created_ms;
	/* here: */
	uint8_t flags, sha[32];
	bool held, warned;
	int64_t next_ms;
	uint32_t attempts;
	uint64_t text_at;		/* the caller's: where its bytes are */
	struct merge_queue_rcpt *rcpts;	/* in the order of their index */
	size_t nrcpts;
	struct merge_queue_done *done;	/* likewise, when merged */
	size_t ndone;
};

struct merge_queue_side {
	bool whole;			/* all that was done since is known */
	bool hold_all;			/* private: an operator held or released all */
	struct merge_queue_msg *msgs;	/* in the order of their ids, when merged */
	size_t nmsgs;
	uint64_t *adopted;		/* ids that came by an earlier merge */
	size_t nadopted;
	uint32_t *slots;		/* private: msgs by id, until they are sorted */
	size_t nslots;
};

/* Fills a side: rows, and the records since, in any order. */
void merge_queue_init(struct merge_queue_side *, bool whole);
void merge_queue_clear(struct merge_queue_side *);
/* The message with this id, made where missing; valid until the next call. */
struct merge_queue_msg *merge_queue_msg(struct merge_queue_side *, uint64_t id);
void merge_queue_rcpt(struct merge_queue_msg *, uint16_t index, bool failed, const char *address,
    const char *reply);
void merge_queue_done(struct merge_queue_msg *, uint16_t index, bool bounced);
void merge_queue_adopted(struct merge_queue_side *, uint64_t id);
/* A record of the shard behind the place where they parted, in order; false: malformed. */
bool merge_queue_record(struct merge_queue_side *, uint8_t type, struct span payload,
    int64_t time_ms);

enum merge_queue_verb {
	MERGE_QUEUE_ADOPT,		/* msg under this id, with these recipients */
	MERGE_QUEUE_RESULT,		/* recipients that are finished, or have failed */
	MERGE_QUEUE_WARNED, MERGE_QUEUE_HOLD, MERGE_QUEUE_RELEASE, MERGE_QUEUE_DELETE,
};
struct merge_queue_op {
	enum merge_queue_verb verb;
	uint64_t id;			/* at the winner */
	int64_t next_ms;		/* RESULT: as it is */
	const struct merge_queue_msg *msg;		/* ADOPT: the loser's */
	const struct merge_queue_rcpt **rcpts;		/* ADOPT */
	struct queue_result *results;			/* RESULT; DONE or FAIL */
	size_t n;
};
/* The payload of every verb but ADOPT, and its record type. */
enum queue_record merge_queue_payload(const struct merge_queue_op *, struct wire_out *);

struct merge_queue_report {
	size_t adopted, recipients;	/* messages of the loser, and theirs */
	size_t delivered, bounced;	/* recipients that the loser had finished */
	size_t removed;			/* messages */
	size_t failed;			/* recipients that the loser gave up */
	size_t finished;		/* the loser's recipients that the winner had finished */
	size_t warned, held, released;	/* messages */
	size_t renamed;			/* two messages had one id */
	size_t unsure;			/* adopted ones that may have been finished */
};
struct merge_queue {
	struct merge_queue_op *ops;
	size_t nops;
	struct merge_queue_report report;
};

/* Sorts both sides.  Borrows from both until merge_queue_free(). */
void merge_queue(struct merge_queue *, struct merge_queue_side *winner,
    struct merge_queue_side *loser);
void merge_queue_free(struct merge_queue *);

#endif
