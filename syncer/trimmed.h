/* trimmed.h - the last record of each shard that the log holds no more, kept in the file
 * `trimmed` beside it.  An owner that asks for records after an earlier one has lost its
 * index, or has an old one: what the log still has would leave a hole in it. */
#ifndef SYNCER_TRIMMED_H
#define SYNCER_TRIMMED_H

#include <stdint.h>

#include "owner.h"

struct trimmed {
	uint64_t base;			/* the log began behind it: true of every shard */
	uint64_t shard[SHARD_MAX];	/* 0: nothing of it was trimmed */
};

/* A log without such a file has lost nothing.  -1 with errno, EBADMSG: it is damaged; t
 * says then that nothing is known. */
int trimmed_load(struct trimmed *, const char *dir);
/* Durable; -1 with errno. */
int trimmed_save(const struct trimmed *, const char *dir);
/* Takes in the last records of a segment that goes; 0 where the shard has none in it. */
void trimmed_add(struct trimmed *, const uint64_t last[SHARD_MAX]);
/* The log begins anew behind lsn. */
void trimmed_reset(struct trimmed *, uint64_t lsn);
/* The last record of the shard that is not in the log any more. */
uint64_t trimmed_last(const struct trimmed *, uint16_t shard);

#endif
