/* gen.h - generations: an epoch with its identity.  Each promotion, each start of
 * acknowledging alone and each return to two copies begins a new one; its record
 * is durable before the first act under it.
 *
 * Numbers carry the node: generation numbers of node 0 are even, of node 1 odd, so
 * that two nodes can never create the same one. */
#ifndef LIB_GEN_H
#define LIB_GEN_H

#include <stdbool.h>
#include <stdint.h>

#include "wire.h"

enum gen_kind {
	GEN_NONE,		/* no generation yet: a new pair */
	GEN_CLEAN,		/* planned: the old active released; or the first meeting */
	GEN_JOIN,		/* the standby is in sync again: acknowledgements need both */
	GEN_TAKEOVER,		/* promotion, the other node proved off */
	GEN_PRESUMED,		/* promotion or solo on the presumption of silence */
	GEN_SOLO,		/* the active goes on alone, the standby proved excluded */
	GEN_UNSAFE,		/* the active goes on alone without any proof */
	GEN_FORCED,		/* an operator said so */
	GEN_MERGE,
};
const char *gen_kind_name(enum gen_kind);
/* Acknowledged with one copy only in this kind?  (CLEAN and JOIN need both, except
 * that a CLEAN one of a first meeting waits for its join.) */
bool gen_kind_alone(enum gen_kind);
/* Must a takeover of this kind raise UIDNEXT by the gap? */
bool gen_kind_gap(enum gen_kind);

struct gen {
	uint64_t no;
	uint8_t id[16];		/* random */
	uint64_t start_lsn;	/* of its first record, which is the generation record */
	uint8_t start_hash[16];	/* chain hash before that record */
	uint8_t kind;		/* enum gen_kind */
	uint8_t node;		/* 0 or 1: who created it */
	uint8_t insync;		/* bit 0 node 0, bit 1 node 1: who may have to acknowledge */
	int64_t wall_ms;	/* for people */
};

/* The smallest number above `above` that belongs to the node (0 or 1). */
uint64_t gen_next_no(uint64_t above, unsigned node);
/* A new one with a random id; start_lsn and start_hash are zero. */
struct gen gen_make(uint64_t above, unsigned node, enum gen_kind, uint8_t insync,
    int64_t wall_ms);
void gen_put(struct wire_out *, const struct gen *);
void gen_get(struct wire_in *, struct gen *);
bool gen_same(const struct gen *, const struct gen *);	/* number and id */

#endif
