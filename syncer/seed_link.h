/* seed_link.h - copying the state of our own store to a standby whose log ends before
 * the active's oldest record (or that is empty).
 *
 * The active (source) asks each owner for a frozen index and its list of objects; the
 * standby (target) tells which objects its owner lacks; those come, then the index.
 * The standby's owners put each thing in place durably before it is acknowledged.  At
 * the end the standby's log is set to the smallest LSN of all snapshots and goes on
 * from there; owners ignore what their index holds already.
 *
 * Lockstep, one file at a time, everything on syncd's event loop in small pieces.
 * When it is cut off it starts again and skips the objects that are there; what arrived of a
 * larger object is not sent again, and an index comes as a delta against what is there. */
#ifndef SYNCER_SEED_LINK_H
#define SYNCER_SEED_LINK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "span.h"

struct bulk;
struct mirror_host;
struct seed;

enum seed_type {		/* types of bulk frames, behind the head of mirror_wire.h */
	SM_SHARD = 96,	/* -> u16 shard, u64 lsn, u32 shards before it, u32 shards in all,
			 * u64 objects of it: a snapshot follows */
	SM_HAVE,	/* -> u16 shard, raw sha[32] each: which of these are missing? */
	SM_MISSING,	/* <- u16 shard, raw sha[32] each; in answer to one SM_HAVE */
	SM_FILE,	/* -> u16 shard, u8 index, raw sha[32] of the object (index: 0), u64
			 * size; seed_says(): the standby says first what it has of it */
	SM_DATA,	/* -> bytes, or of the delta */
	SM_FILE_END,	/* -> raw sha[32] of the whole file */
	SM_TAKEN,	/* <- the file is in place, durable */
	SM_DONE,	/* -> u64 lsn, raw hash[16], u16 n, n generations */
	SM_OK,		/* <- the log goes on from there */
	SM_ABORT,	/* both: str why */
	SM_FROM,	/* <- u64 offset: send the object from there on */
	SM_SUMS,	/* <- a piece of the signature of what is here of the index */
	SM_SUMS_END,	/* <- none: all of it is sent; else the last piece came before */
};

/* Small objects are sent at once: to ask would cost more than to send them twice. */
#define SEED_RESUME_MIN (128u << 10)
static inline bool
seed_says(bool index, uint64_t size)
{
	return index || size >= SEED_RESUME_MIN;
}

/* How far a seeding is: object of objects in this shard, shards before it of all. */
struct seed_progress {
	uint32_t shard, shards;
	uint64_t object, objects;
	int64_t since_ms;
};
unsigned seed_progress_share(const struct seed_progress *);	/* thousandths */
/* At the pace so far; -1: nothing is done by which to tell. */
int64_t seed_progress_left_ms(const struct seed_progress *, int64_t now_ms);

struct seed *seed_new(const struct mirror_host *);	/* borrows host */
void seed_free(struct seed *);
void seed_up(struct seed *, struct bulk *);		/* borrowed until seed_down() */
void seed_down(struct seed *);
void seed_room(struct seed *);
void seed_frame(struct seed *, uint8_t type, struct span whole);
void seed_changed(struct seed *);		/* role or generation */
void seed_begin(struct seed *);			/* active: the standby needs it */
bool seed_wants_bulk(const struct seed *);
void seed_tick(struct seed *, int64_t now_ms);
json_t *seed_status(const struct seed *);
/* Answers of owners. */
void seed_snapshot(struct seed *, uint16_t shard, uint64_t lsn, bool ok, int fd);
void seed_snapshot_list(struct seed *, uint16_t shard, bool ok, int fd);
void seed_object(struct seed *, uint16_t shard, const uint8_t sha[32], bool ok, int fd);
void seed_offer(struct seed *, uint16_t shard, bool ok);
/* An owner went away: what it was asked, of that so many offers, stays unanswered. */
void seed_gone(struct seed *, uint16_t shard, unsigned offers);

#endif
