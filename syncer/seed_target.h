/* seed_target.h - the standby's half of seeding; seed_link.h has the story.  Only
 * seed_link.c includes this. */
#ifndef SYNCER_SEED_TARGET_H
#define SYNCER_SEED_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "gen.h"
#include "seed_link.h"
#include "seed_recv.h"
#include "seed_source.h"

struct seed_target {
	const struct mirror_host *host;
	struct bulk *bulk;
	bool on;
	struct gen gen;			/* of the sender */
	uint16_t shard;
	uint64_t lsn;
	/* SM_HAVE under way: */
	uint8_t asked[SEED_BATCH * 32];
	size_t nasked, at_asked;
	uint8_t missing[SEED_BATCH * 32];
	size_t nmissing;
	/* The file that is arriving, or being put in place: */
	enum seed_file { SEED_NO_FILE, SEED_OWN_ASKED, SEED_SAYING, SEED_COMING, SEED_PLACING } file;
	struct seed_recv recv;
	struct event *more;		/* the next step of it */
	bool is_index, resumed, ended;
	bool held;			/* the connection is not read meanwhile */
	uint8_t name[32], announced[32];
	uint64_t files, bytes, resumed_bytes;
	struct seed_progress at;
	bool seeded[SHARD_MAX];		/* whose index is in place */
	unsigned owed;			/* answers of owners that are still to come */
};

void seed_target_init(struct seed_target *, const struct mirror_host *);
void seed_target_clear(struct seed_target *);
void seed_target_stop(struct seed_target *, const char *why);
void seed_target_frame(struct seed_target *, uint8_t type, const struct gen *, struct span body);
void seed_target_gone(struct seed_target *, uint16_t shard, unsigned offers);
void seed_target_offer(struct seed_target *, uint16_t shard, bool ok);
/* What this node's own owner has of a shard; fd is taken. */
void seed_target_snapshot(struct seed_target *, uint16_t shard, bool ok, int fd);
void seed_target_pump(struct seed_target *);	/* little is unsent */

#endif
