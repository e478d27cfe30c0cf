/* split_tail.h - this node's records behind the fork, as one unnamed file a shard
 * (ownertail.h), for the owners.  Generation records go to every shard, as they do in
 * the owners' streams.  Made in steps, so that the loop is never held up for long. */
#ifndef SYNCER_SPLIT_TAIL_H
#define SYNCER_SPLIT_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "feed.h"
#include "owner.h"

struct syncd;

struct split_tails {		/* zeroed = none; members are for reading */
	struct syncd *s;
	uint16_t shards[SHARD_MAX];	/* rising */
	int fd[SHARD_MAX];		/* -1: taken */
	size_t n;
	uint64_t next, to;
	bool whole;			/* the log reaches back to the fork */
	struct feed_reader reader;
};

/* For all shards that are attached now; records behind fork, up to `to`.  -1: errno. */
int split_tails_begin(struct split_tails *, struct syncd *, uint64_t fork, uint64_t to);
/* 1 all done, 0 call again, -1: errno, logged; ESRCH: a shard has no owner here. */
int split_tails_step(struct split_tails *);
/* The shard's file at its beginning, given away; -1: no such shard. */
int split_tails_take(struct split_tails *, uint16_t shard);
void split_tails_clear(struct split_tails *);
/* An unnamed file in the log directory; -1: errno, logged. */
int split_file(const struct syncd *);

#endif
