/* mirror_pack.h - the small messages of a pass as one large one, compressed by zstd
 * when that makes it smaller.
 *
 * A pack holds u32 length, u8 type, body for each message, and is one MM_PACK on the
 * wire: u8 0 plain or 1 zstd, u32 plain length, bytes.  The zstd stream goes on from
 * pack to pack, so a later one refers to what was sent before.  Packs that zstd could
 * not make smaller are followed by plain ones, more each time, up to 64.
 *
 * What arrives is hostile: a pack never opens to more than MIRROR_PACK_MAX bytes and a
 * stream never asks for more than a window of 2 MiB.  Pure: no clock, socket, file. */
#ifndef SYNCER_MIRROR_PACK_H
#define SYNCER_MIRROR_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"
#include "wire.h"

#define MIRROR_PACK_MAX (129u << 10)	/* bytes before compression; two chunks fit */

struct mirror_pack;

/* level: of what leaves, 1 to 19; 0: plain.  What arrives may be either. */
struct mirror_pack *mirror_pack_new(int level);
void mirror_pack_free(struct mirror_pack *);			/* NULL is fine */
/* Room for one more message of n bytes?  One that fits into no pack goes alone. */
bool mirror_pack_fits(const struct mirror_pack *, size_t n);
bool mirror_pack_waiting(const struct mirror_pack *);		/* anything added? */
void mirror_pack_add(struct mirror_pack *, uint8_t type, const void *, size_t n);
/* Ends the pack: the body of its message, valid until the next add. */
struct span mirror_pack_take(struct mirror_pack *);
/* Takes the body of a pack in.  -1: malformed, or larger than allowed. */
int mirror_pack_open(struct mirror_pack *, struct span body);
/* 1 and the next message of the opened pack, valid until the next open; 0: no more. */
int mirror_pack_next(struct mirror_pack *, uint8_t *type, struct wire_in *body);

#endif
