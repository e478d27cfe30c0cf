/* log_writer.h - the thread that writes and syncs the log.  Group commit: one
 * fdatasync for whatever arrived while the last one ran; nothing is waited for.
 *
 * Records are handed over in LSN order; results come back on the event loop.  A
 * failed write or sync kills the log: reported once, nothing is written any more.
 * A disk without room only waits, and says so, until there is room again. */
#ifndef SYNCER_LOG_WRITER_H
#define SYNCER_LOG_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"

struct event_base;
struct log_store;
struct log_writer;

/* One encoded record in memory; counted references, main thread only. */
struct logrec {
	struct logrec *next;	/* the writer's queue */
	unsigned refs;
	uint64_t lsn, gen_no, origin;
	int64_t time_ms;
	uint16_t shard;
	uint8_t type;
	uint8_t hash[16];
	size_t len;		/* with padding */
	uint8_t raw[];
};
struct logrec *logrec_new(size_t payload);	/* one reference */
void logrec_ref(struct logrec *);
void logrec_unref(struct logrec *);

struct log_writer_ops {
	void (*durable)(void *arg, uint64_t lsn, const uint8_t hash[16]);
	void (*failed)(void *arg, int err);
	void (*full)(void *arg, bool full);
};

struct log_writer *log_writer_new(struct event_base *, struct log_store *,
    const struct log_writer_ops *, void *arg);
/* Writes what is queued, then ends the thread. */
void log_writer_free(struct log_writer *);
void log_writer_put(struct log_writer *, struct logrec *);	/* takes its own reference */
/* What is a slow sync, and for how long (pace.h); asked from then on. */
void log_writer_pace(struct log_writer *, int slow_ms, int window_ms);
bool log_writer_slow(struct log_writer *, int64_t now_ms);
size_t log_writer_bytes(const struct log_writer *);	/* put and not yet durable */
/* Since the start: what one sync makes durable is a batch. */
struct log_writer_count {
	uint64_t syncs, records, bytes;
	uint64_t batch_max;	/* records */
};
struct log_writer_count log_writer_count(struct log_writer *);
/* Blocks until everything put is durable (or has failed) and reported; the store may
 * then be cut or reset.  false: the log has failed, or the disk is full. */
bool log_writer_settle(struct log_writer *);

#endif
