/* seed_source.h - the active's half of seeding; seed_link.h has the story.  Only
 * seed_link.c includes this. */
#ifndef SYNCER_SEED_SOURCE_H
#define SYNCER_SEED_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "owner.h"
#include "seed_link.h"
#include "seed_send.h"

#define SEED_BATCH 512u			/* objects asked about at once */

enum seed_step {
	SEED_IDLE,
	SEED_SNAPSHOT,		/* an owner freezes its index */
	SEED_HAVE,		/* the standby says what is missing */
	SEED_OBJECT,		/* an owner opens an object */
	SEED_HAS,		/* the standby says what it has of a file */
	SEED_SENDING,
	SEED_TAKEN,		/* the standby puts a file in place */
	SEED_FINISH,		/* the standby sets its log */
};

struct seed_source {
	const struct mirror_host *host;
	struct bulk *bulk;
	bool wanted;			/* the standby needs it */
	enum seed_step step;
	uint16_t shards[SHARD_MAX];
	size_t nshards, at_shard;
	uint64_t lowest;		/* of the snapshots so far */
	uint64_t lsn;			/* of this shard's */
	int index_fd, list_fd;
	bool have_index, have_list;
	uint8_t missing[SEED_BATCH * 32];
	size_t nmissing, at_missing;
	struct seed_send file;
	struct event *more;		/* the rest of it, in the next turn of the loop */
	struct seed_progress at;
	uint64_t objects, bytes, skipped, resumed;
	int64_t moved_ms;		/* last progress */
	int64_t retry_ms;
	bool kept;			/* the log is held for the standby */
	char error[200];		/* of the last attempt */
};

void seed_source_init(struct seed_source *, const struct mirror_host *);
void seed_source_clear(struct seed_source *);
/* Ends an attempt; why NULL: nothing is said to the peer. */
void seed_source_stop(struct seed_source *, const char *why);
void seed_source_frame(struct seed_source *, uint8_t type, struct span body);
void seed_source_tick(struct seed_source *, int64_t now_ms);
void seed_source_pump(struct seed_source *);
void seed_source_snapshot(struct seed_source *, uint16_t shard, uint64_t lsn, bool ok, int fd);
void seed_source_list(struct seed_source *, uint16_t shard, bool ok, int fd);
void seed_source_object(struct seed_source *, uint16_t shard, const uint8_t sha[32],
    bool ok, int fd);
void seed_source_gone(struct seed_source *, uint16_t shard);
bool seed_source_may(const struct seed_source *);	/* this node is the active */

#endif
