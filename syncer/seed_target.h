/* seed_target.h - the standby's half of seeding; seed_link.h has the story.  Only
 * seed_link.c includes this. */
#ifndef SYNCER_SEED_TARGET_H
#define SYNCER_SEED_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <openssl/evp.h>

#include "gen.h"
#include "seed_link.h"
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
	int fd;
	bool is_index, placing;
	uint8_t name[32];
	EVP_MD_CTX *sha;
	uint64_t files, bytes;
	bool seeded[SHARD_MAX];		/* whose index is in place */
	unsigned owed;			/* answers of owners that are still to come */
};

void seed_target_init(struct seed_target *, const struct mirror_host *);
void seed_target_stop(struct seed_target *, const char *why);
void seed_target_frame(struct seed_target *, uint8_t type, const struct gen *, struct span body);
void seed_target_gone(struct seed_target *, uint16_t shard, unsigned offers);
void seed_target_offer(struct seed_target *, uint16_t shard, bool ok);

#endif
