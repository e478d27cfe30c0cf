/* trim.h - removing segments that nobody needs: every record in them is in a
 * checkpoint of its shard, here and on the peer.  A peer that is away is waited for up to
 * retain-size bytes and retain-s seconds (syncd.conf); then it has to be seeded. */
#ifndef SYNCER_TRIM_H
#define SYNCER_TRIM_H

#include <stdint.h>

struct syncd;
struct trim;

struct trim *trim_new(struct syncd *);
void trim_free(struct trim *);
void trim_second(struct trim *);
uint64_t trim_own(const struct trim *);		/* this node needs nothing up to here */
/* The log was cut or reset: what was found out about its segments is void. */
void trim_log_changed(struct trim *);
void trim_keep_from(struct trim *, uint64_t lsn);	/* nothing from lsn on; 0: released */

#endif
