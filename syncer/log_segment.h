/* log_segment.h - one segment file of the log (LOG.md): make, open, scan, index.
 * Used by log_store.c only, under its lock. */
#ifndef SYNCER_LOG_SEGMENT_H
#define SYNCER_LOG_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "history.h"
#include "record.h"

#define SEGMENT_HEADER 8192
#define SEGMENT_NAME_MAX 32
#define SEGMENT_INDEX_EVERY (64u << 10)

struct log_segment {
	int fd;
	uint64_t first;		/* LSN of its first record */
	uint64_t last;		/* first - 1: none yet */
	uint64_t end;		/* offset behind the last record */
	uint64_t bytes;		/* size of the file */
	uint8_t prev_hash[16];	/* chain before the first record */
	struct { uint64_t lsn, at; } *index;
	size_t nindex;
	bool indexed;		/* the index covers all of it */
	uint64_t synced;	/* after a scan: known durable when its records were written */
};

void segment_name(uint64_t first, char name[SEGMENT_NAME_MAX]);
bool segment_name_parse(const char *name, uint64_t *first);
/* Makes and opens it, preallocated and durable, with its header.  -1: errno. */
int segment_create(int dirfd, uint64_t first, const uint8_t prev_hash[16],
    const struct history *, uint64_t bytes, struct log_segment *);
/* Opens; checks the header only. */
int segment_open(int dirfd, uint64_t first, struct log_segment *, struct history *);
void segment_close(struct log_segment *);
/* Reads all records of a segment that may end torn.  Sets last and end, adds
 * generations to the history, gives the hash of the last record.  *torn: bytes that
 * are no record follow.  EBADMSG: a record follows that was written after the bad place was
 * durable; *bad_at says where. */
int segment_scan(struct log_segment *, struct history *, uint8_t hash[16], bool *torn,
    uint64_t *bad_at);
/* After a scan: what is read back may be in memory only, of a write that was never
 * synced or whose sync failed.  Writes all that is not known durable again, and syncs. */
int segment_settle(struct log_segment *);
/* Cuts the file behind `end` and preallocates again with zeros, durably. */
int segment_cut(struct log_segment *);
void segment_note(struct log_segment *, uint64_t lsn, uint64_t at);
/* The last place in the index at or before a record: memory only. */
uint64_t segment_near(const struct log_segment *, uint64_t lsn);
/* From there on to the record itself, by reading headers; notes places on the way when
 * the index does not cover the segment.  -1 and EBADMSG as below. */
int segment_walk(struct log_segment *, uint64_t lsn, uint64_t *at);
/* Both: offset of a record that is kept here; -1 and EBADMSG when the file disagrees. */
int segment_find(struct log_segment *, uint64_t lsn, uint64_t *at);

#endif
