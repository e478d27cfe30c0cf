/* fitness.h - can the disks of the log follow?  Collects what commit.c wants to know: is
 * this node's disk slow (pace.h) or full, what the other node says of its own, and how
 * many bytes it has not written yet (lag.h). */
#ifndef SYNCER_FITNESS_H
#define SYNCER_FITNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lag.h"
#include "wire.h"

struct syncd;

struct fitness {
	struct lag lag;
	bool lags;		/* over lag-max-size, and not below half of it since */
	bool lags_told;		/* as the log of this process says it */
	bool short_room;	/* so little room that nothing is taken from the active */
	uint8_t peer;		/* DATA_SLOW, DATA_FULL: what the other node said */
};

void fitness_up(struct syncd *);	/* a session with the other node: before its FACTS */
void fitness_heard(struct syncd *, struct wire_in *);	/* PEER_TROUBLE */
void fitness_appended(struct syncd *, uint64_t lsn, size_t bytes);
void fitness_acked(struct syncd *, uint64_t lsn);	/* by the other node */
/* free_bytes: on the log's disk. */
void fitness_room(struct syncd *, uint64_t free_bytes);
void fitness_tick(struct syncd *, int64_t now_ms);

#endif
