/* history.h - the generations of a log, oldest first, and where two logs part.
 * Pure.  At most the last 64 are kept. */
#ifndef SYNCER_HISTORY_H
#define SYNCER_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gen.h"

#define HISTORY_MAX 64
#define HISTORY_GEN_BYTES 64	/* room for one encoded generation */

struct history {
	size_t n;
	struct gen gen[HISTORY_MAX];
};

void history_add(struct history *, const struct gen *);
/* Drops the generations whose record lies above lsn. */
void history_cut(struct history *, uint64_t lsn);
/* The newest, or an all-zero one. */
struct gen history_last(const struct history *);
/* The one in whose reach lsn lies; NULL: before the oldest known. */
const struct gen *history_at(const struct history *, uint64_t lsn);
void history_put(struct wire_out *, const struct history *);
void history_get(struct wire_in *, struct history *);

/* One side of a comparison. */
struct history_log {
	const struct history *h;
	uint64_t oldest;	/* first LSN kept */
	uint64_t tip;
};
/* The last generation that both have, and in it the span in which the common point
 * lies: at least lo, at most hi.  false: no common past. */
bool history_common(const struct history_log *a, const struct history_log *b, uint64_t *lo,
    uint64_t *hi);

/* What lies behind the fork on the side that gives way. */
enum history_tail {
	HISTORY_TAIL_NONE,
	HISTORY_TAIL_UNACKED,	/* nobody was told that these are safe: may be cut */
	HISTORY_TAIL_ACKED,	/* acknowledged alone: two histories */
};
/* has_data: the tail holds records other than generations. */
enum history_tail history_tail(const struct history *, uint64_t fork, uint64_t tip,
    uint64_t committed, bool has_data);

#endif
