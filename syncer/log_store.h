/* log_store.h - the segment files of the log (LOG.md): append, sync, read from an
 * LSN, recover, cut a tail, trim whole segments, start anew behind a seed.
 *
 * append and sync are for the writer thread; everything else for the main thread, at
 * any time, but cut and reset only while the writer is idle.  Nothing is acknowledged
 * from here: what log_store_sync() has returned 0 for is durable, and a failed sync
 * must never be tried again. */
#ifndef SYNCER_LOG_STORE_H
#define SYNCER_LOG_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gen.h"
#include "history.h"
#include "record.h"

struct log_store;

struct log_tip {
	uint64_t lsn;
	uint8_t hash[16];
};

/* Opens (creates when missing) the log in dir; recovers: scans the last segment and
 * cuts a torn tail.  NULL with errno: EBADMSG = corruption, valid records follow a
 * bad one; the text names file and offset.  Nothing was changed then. */
struct log_store *log_store_open(const char *dir, uint64_t segment_bytes, char *err,
    size_t errlen);
void log_store_close(struct log_store *);
/* Where the log ends, and the generations that it holds (or held). */
struct log_tip log_store_tip(struct log_store *);
void log_store_history(struct log_store *, struct history *);
uint64_t log_store_oldest(struct log_store *);	/* first LSN kept; tip + 1: none */
uint64_t log_store_bytes(struct log_store *);	/* on disk */

/* Writer thread.  n whole encoded records, padding included, in LSN order.  *done of
 * them were written, also on failure; after ENOSPC the rest may be tried again, any
 * other failure is final. */
int log_store_append(struct log_store *, const struct span *records, size_t n,
    size_t *done);
int log_store_sync(struct log_store *);

/* Whole records from lsn on, up to about max bytes (at least one), verified, in a
 * buffer that the caller frees.  *len = 0: lsn is behind the end.  -1: ERANGE (trimmed),
 * EBADMSG (a bad record at rest), EIO. */
int log_store_read(struct log_store *, uint64_t lsn, size_t max, uint8_t **buf, size_t *len);
/* The chain hash at lsn: of a kept record, or of the point before the oldest. */
int log_store_hash(struct log_store *, uint64_t lsn, uint8_t hash[16]);
/* Cuts everything above lsn, after copying it durably to dir/forks/NAME/tail. */
int log_store_cut(struct log_store *, uint64_t lsn, const char *name);
/* Throws the log away; it goes on behind this point. */
int log_store_reset(struct log_store *, const struct log_tip *, const struct history *);
/* Removes whole segments that end at or below lsn, never the last one; returns how many. */
int log_store_trim(struct log_store *, uint64_t lsn);
/* The segments as they are now, oldest first, and the tip; freed by the caller. */
struct log_span {
	uint64_t first, last;	/* last = first - 1: nothing in it yet */
	uint64_t bytes;		/* of header and records */
};
struct log_span *log_store_spans(struct log_store *, size_t *n, struct log_tip *);
/* First and last LSN of the oldest segment that is full; false: there is none. */
bool log_store_oldest_full(struct log_store *, uint64_t *first, uint64_t *last);

#endif
