/* mend.h - objects that are missing or damaged on one node, got from the other one by
 * their SHA-256.  Either node may ask, whatever its role: an object is named by what it
 * holds, so that there is no older or newer one.  One question at a time in each
 * direction, over the bulk connection, in pieces; on syncd's event loop.
 * What is given to an owner has the SHA-256 that it asked for; putting it in place, and
 * comparing once more, is the owner's. */
#ifndef SYNCER_MEND_H
#define SYNCER_MEND_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "owner.h"
#include "span.h"

struct bulk;
struct mirror_host;
struct mend;

enum mend_type {	/* types of bulk frames, behind the head of mirror_wire.h */
	MD_WANT = 112,	/* u32 id, u16 shard, raw sha[32] */
	MD_DATA,	/* u32 id, bytes */
	MD_END,		/* u32 id, u8 enum owner_mend: OK, ABSENT or BAD */
};

struct mend *mend_new(const struct mirror_host *);	/* borrows host */
void mend_free(struct mend *);
void mend_peer(struct mend *, bool up);
void mend_up(struct mend *, struct bulk *);		/* borrowed until mend_down() */
void mend_down(struct mend *);
void mend_room(struct mend *);
void mend_frame(struct mend *, uint8_t type, struct span body);
bool mend_wants_bulk(const struct mend *);
void mend_tick(struct mend *, int64_t now_ms);
/* An owner asks; host->mended() answers once, perhaps from inside. */
void mend_want(struct mend *, uint16_t shard, const uint8_t sha[32]);
/* An owner's answer to host->ask_object(): true when it was asked from here (fd taken). */
bool mend_object(struct mend *, uint16_t shard, const uint8_t sha[32], bool ok, int fd);
/* A shard's owner went away: it answers nothing any more, and waits for nothing. */
void mend_gone(struct mend *, uint16_t shard);
json_t *mend_status(const struct mend *);

#endif
