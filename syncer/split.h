/* split.h - making two histories one: syncd's part.
 *
 * The active keeps its history, the standby that stands in SPLIT gives its own up once
 * what it holds is in the active's log.  Asked for by `hactl split resolve` on the
 * active:
 *
 *   keeper (active)                       giver (standby, SPLIT)
 *   SP_ASK fork  ------------------------> owners apply all of its log; then shard by
 *                                          shard they write what changed behind the fork
 *                <-- SP_SHARD, SP_DATA.., SP_END   (a copy stays in forks/NAME)
 *   the shard's owner proposes what is
 *   missing here; when it is committed:
 *   SP_TAKEN --------------------------->  the next shard
 *                <-- SP_LAST tip
 *   SP_MERGED tip ---------------------->  marks its state as not whole, cuts its log at
 *                                          the fork (the tail goes to forks/NAME)
 *                <-- SP_GIVEN              and is seeded like any stale standby
 *
 * Before SP_MERGED the giver changes nothing but this: its owners are given all of its log.  Whatever fails leaves both as they
 * are; asking again is safe, because a merge that was made before proposes nothing.
 * Everything runs on syncd's loop in small pieces: the active goes on serving. */
#ifndef SYNCER_SPLIT_H
#define SYNCER_SPLIT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "span.h"

struct bulk;
struct ctl_call;
struct split;
struct syncd;

enum split_type {	/* bulk frames: MM_SPLIT_FIRST to MM_SPLIT_LAST of mirror_wire.h */
	SP_ASK = 128,	/* -> u64 fork LSN, u8 hash known, raw hash[16], u8 dry */
	SP_SHARD,	/* <- u16 shard: its changes follow */
	SP_DATA,	/* <- bytes */
	SP_END,		/* <- raw sha[32] of them */
	SP_TAKEN,	/* -> u16 shard */
	SP_LAST,	/* <- u64 tip LSN, raw tip hash[16] */
	SP_MERGED,	/* -> the same: everything up to there is in the keeper's log */
	SP_GIVEN,	/* <- it is given up; the seeding can begin */
	SP_FAIL,	/* both: str why */
};

/* All but split_new() take NULL and do nothing. */
struct split *split_new(struct syncd *);
void split_free(struct split *);
/* The bulk connection, borrowed until split_down(). */
void split_up(struct split *, struct bulk *);
void split_down(struct split *);
void split_room(struct split *);
void split_frame(struct split *, uint8_t type, struct span whole);
bool split_wants_bulk(const struct split *);
void split_changed(struct split *);		/* role or mode */
void split_tick(struct split *, int64_t now_ms);
/* Answers of owners; fd is the callee's (-1: failed). */
void split_changes(struct split *, uint16_t shard, int fd);
void split_merged(struct split *, uint16_t shard, bool ok, struct span report);
void split_proposed(struct split *, uint16_t shard);
void split_gone(struct split *, uint16_t shard);
/* The control socket: end the call, now or later. */
void split_show(struct split *, struct ctl_call *);
void split_resolve(struct split *, struct ctl_call *, json_t *request);

#endif
