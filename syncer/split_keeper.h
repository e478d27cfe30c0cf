/* split_keeper.h - the half of a merge on the node whose history stays (split.h). */
#ifndef SYNCER_SPLIT_KEEPER_H
#define SYNCER_SPLIT_KEEPER_H

#include <jansson.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>

#include "owner.h"
#include "span.h"
#include "split_tail.h"

struct bulk;
struct ctl_call;
struct event;
struct syncd;

enum keeper_step { KEEPER_IDLE, KEEPER_FORK, KEEPER_BULK, KEEPER_READING, KEEPER_ASKED,
	KEEPER_TAKING, KEEPER_MERGING, KEEPER_MERGED };

struct split_keeper {		/* owned by split.c; members are this half's own */
	struct syncd *s;
	struct bulk *bulk;
	enum keeper_step step;
	bool dry;
	uint64_t fork;
	char stamp[OWNER_STAMP_MAX + 1];
	struct split_tails tails;
	uint16_t shard;
	uint16_t owed;			/* its owner still works for a merge that was
					 * stopped; 0: none */
	int fd;
	uint64_t bytes;			/* of this shard's file; of all */
	uint64_t all_bytes;
	EVP_MD_CTX *sha;
	struct event *pump;
	int64_t since_ms, moved_ms;	/* of the step; of the last message */
	struct ctl_call *call;		/* NULL: nobody waits any more */
	json_t *shards, *totals;	/* of this merge */
	json_t *last;			/* how the last one ended; NULL: none yet */
};

void split_keeper_init(struct split_keeper *, struct syncd *);
void split_keeper_clear(struct split_keeper *);
void split_keeper_resolve(struct split_keeper *, struct ctl_call *, bool dry);
/* Ends what is under way; the giver is told. */
void split_keeper_stop(struct split_keeper *, const char *why);
void split_keeper_frame(struct split_keeper *, uint8_t type, struct span body);
void split_keeper_tick(struct split_keeper *, int64_t now_ms);
void split_keeper_merged(struct split_keeper *, uint16_t shard, bool ok, struct span report);
/* Its owner proposed something: it goes on. */
void split_keeper_proposed(struct split_keeper *, uint16_t shard);
void split_keeper_gone(struct split_keeper *, uint16_t shard);
bool split_keeper_may(const struct split_keeper *);
const char *split_keeper_step_name(enum keeper_step);

#endif
