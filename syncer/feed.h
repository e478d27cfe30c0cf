/* feed.h - the log as the main thread sees it: where it ends, its generations, and
 * any record of it by LSN, out of memory while it is young, else out of the store.
 * New records get their LSN and chain hash here and go to the writer at once. */
#ifndef SYNCER_FEED_H
#define SYNCER_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "history.h"
#include "log_store.h"
#include "log_writer.h"
#include "record.h"

struct feed;

/* A place to read from; keeps a run of old records between calls.  Zeroed = empty. */
struct feed_reader {
	uint8_t *buf;
	size_t len, at;
	uint64_t lsn;		/* of the record at `at` */
};
void feed_reader_clear(struct feed_reader *);

/* Borrows the store and the writer.  recent_bytes: kept in memory. */
struct feed *feed_new(struct log_store *, struct log_writer *, size_t recent_bytes);
void feed_free(struct feed *);
struct log_tip feed_tip(const struct feed *);
const struct history *feed_history(const struct feed *);
uint64_t feed_oldest(const struct feed *);
/* Own record: r->lsn, hash are set; returns the record (borrowed). */
const struct logrec *feed_append(struct feed *, struct record *r, uint64_t durable_lsn);
/* A record of the peer, verified to follow the tip by the caller. */
const struct logrec *feed_receive(struct feed *, const struct record *r, uint64_t durable_lsn);
/* 1: *r is the record at lsn, valid until the next call with this reader or feed_append.
 * 0: behind the end.  -1: errno of log_store_read(). */
int feed_read(struct feed *, struct feed_reader *, uint64_t lsn, struct record *r);
int feed_hash(struct feed *, uint64_t lsn, uint8_t hash[16]);
/* The writer must be settled. */
int feed_cut(struct feed *, uint64_t lsn, const char *name);
int feed_reset(struct feed *, const struct log_tip *, const struct history *);
bool feed_gen(const struct record *, struct gen *);	/* is it a generation record? */

#endif
