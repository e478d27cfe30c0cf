/* owners.h - the server side of lib/owner.h: the owners of shards attach, propose
 * records, and are given what is committed.  Who may own what is decided by the
 * uid at the other end of the socket. */
#ifndef SYNCER_OWNERS_H
#define SYNCER_OWNERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "owner.h"
#include "seed.h"

struct owners;
struct syncd;

/* fd: listening socket, owned. */
struct owners *owners_new(struct syncd *, int fd);
void owners_free(struct owners *);
/* From the core. */
void owners_kick(struct owners *);	/* more is committed */
void owners_role(struct owners *);	/* role, copies or generation changed */
void owners_release(struct owners *);	/* write what was held */
void owners_refuse(struct owners *, enum owner_refusal);	/* refuse what was held */
void owners_undecided(struct owners *);	/* say so of all that is written and open */
void owners_cut(struct owners *, uint64_t lsn);	/* appends above are lost: refuse them */
/* The log was replaced by another history: what owners said about the old one, and what
 * is on its way to them, counts no more.  They connect again. */
void owners_anew(struct owners *);
void owners_room(struct owners *);	/* the writer has taken something */
/* Everything up to here is in the indexes of all attached shards. */
uint64_t owners_applied(const struct owners *);
/* The highest LSN that an owner said it has applied: it was committed once. */
uint64_t owners_known(const struct owners *);
/* Everything of the shard up to here is durable outside of the log; 0: unknown. */
uint64_t owners_checkpoint(const struct owners *, uint16_t shard);

/* Asks an owner to look through its shard (verify.h); -1: nobody owns it now, or it has lost
 * its index. */
int owners_verify(struct owners *, uint16_t shard, uint32_t run, uint64_t rate, bool repair);
/* Nobody waits for its answer any more. */
void owners_verify_stop(struct owners *, uint16_t shard);

/* Seeding: see seed.h.  -1: nobody owns the shard now. */
void owners_seed_ops(struct owners *, const struct seed_owner_ops *, void *arg);
/* Has an owner that is here lost its index? */
bool owners_any_lost(const struct owners *);
/* Once a second: a standby with an owner that lost its index is filled anew. */
void owners_second(struct owners *);
/* A shard whose owner was here since syncd started and is not now, or has lost its index. */
bool owners_absent(const struct owners *, uint16_t *shard);
size_t owners_shards(const struct owners *, uint16_t *shards, size_t max);
int owners_ask_snapshot(struct owners *, uint16_t shard);
int owners_ask_object(struct owners *, uint16_t shard, const uint8_t sha[32]);
int owners_offer_object(struct owners *, uint16_t shard, const uint8_t sha[32], int fd);
int owners_offer_index(struct owners *, uint16_t shard, uint64_t lsn, int fd);
/* The end of what an owner asked for by OWN_MEND; fd is given away. */
void owners_mended(struct owners *, uint16_t shard, const uint8_t sha[32], enum owner_mend,
    int fd);
/* Merging: see split.h, which hears the answers.  Descriptors are given away. */
int owners_ask_changes(struct owners *, uint16_t shard, uint64_t fork, bool whole, int tail_fd);
int owners_ask_merge(struct owners *, const struct owner_merge *);

#endif
