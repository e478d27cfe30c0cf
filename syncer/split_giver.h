/* split_giver.h - the half of a merge on the node that gives its history up (split.h). */
#ifndef SYNCER_SPLIT_GIVER_H
#define SYNCER_SPLIT_GIVER_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>

#include "gen.h"
#include "span.h"
#include "split_tail.h"

struct bulk;
struct event;
struct syncd;

enum giver_step { GIVER_IDLE, GIVER_SETTLING, GIVER_READING, GIVER_ASKED, GIVER_SENDING,
	GIVER_WAITING, GIVER_LAST };

struct split_giver {		/* owned by split.c; members are this half's own */
	struct syncd *s;
	struct bulk *bulk;
	enum giver_step step;
	bool dry;
	uint64_t fork, tip;
	uint8_t tip_hash[16];
	struct split_tails tails;
	size_t at;			/* in tails.shards */
	int fd, keep_fd;		/* what is sent, and the copy that stays; -1 */
	char *keep_dir;			/* forks/NAME */
	uint64_t unsynced;		/* bytes of the copy */
	EVP_MD_CTX *sha;
	struct event *pump;
};

void split_giver_init(struct split_giver *, struct syncd *);
void split_giver_clear(struct split_giver *);
/* Ends what is under way; why goes to the keeper, NULL: it knows. */
void split_giver_stop(struct split_giver *, const char *why);
void split_giver_frame(struct split_giver *, uint8_t type, const struct gen *sender, struct span body);
void split_giver_pump(struct split_giver *);
void split_giver_tick(struct split_giver *);
void split_giver_changes(struct split_giver *, uint16_t shard, int fd);
void split_giver_gone(struct split_giver *, uint16_t shard);

#endif
