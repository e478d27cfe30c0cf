/* agentlink.h - what hagentd's agent and syncd say to each other over
 * PATH_RUN/syncd-agent.sock (lib/ipc frames; the agent connects).
 *
 * The agent owns the number: which generation exists, fixed durably by itself.
 * syncd owns what it means for the data: the generation record in the log.
 *
 *   agent                                    syncd
 *   HELLO(version, node name)          ->    (checks that it is the same node)
 *                                      <-    STATE, at once, on every change and each second
 *   QUERY                              ->    the heartbeats are silent: what of the peer's syncd?
 *                                      <-    STATE, at once
 *   PROMOTE(gen)                       ->    writes the generation record, syncs it
 *                                      <-    PROMOTED(gen with start_lsn, start_hash) or REFUSED
 *   DEMOTE(gen no)                     ->    takes no new append, waits up to drain_ms for
 *                                            those under way, then is standby
 *                                      <-    DEMOTED(gen no, lsn, hash, drained: 1 = nothing is open)
 *                                      <-    ALONE_WANTED(gen no): the standby has not answered for
 *                                            T_hold and acknowledgements are held (FROZEN); or it
 *                                            answers, and STATE says what speaks against it
 *                                      <-    JOIN_WANTED(gen no): the standby has caught up and is stable
 *   GRANT(gen) | DENY(no, reason)      ->    answers either; the gen is durable at the agent
 *   OUTDATE(gen no)                    ->    standby: forget being in sync, durably, for all
 *                                            generations up to this
 *                                      <-    OUTDATED(gen no)
 *                                      <-    ADOPTED(gen): standby: took this record from the active
 *                                      <-    NEWER(gen): active: the peer has a newer one; this
 *                                            node acknowledges nothing any more
 *                                      <-    LOG_LOST: a write or sync failed; this syncd ends, and
 *                                            no other will be promoted here soon
 *
 * When the channel breaks, syncd stays what it is: services go on while the agent
 * restarts.  A message of an unknown type is counted and skipped. */
#ifndef LIB_AGENTLINK_H
#define LIB_AGENTLINK_H

#include "gen.h"

#define AGENTLINK_VERSION 2	/* 1: without QUERY and peer_every_ms */

enum agentlink_type {
	AL_HELLO = 1, AL_PROMOTE, AL_DEMOTE, AL_GRANT, AL_DENY, AL_OUTDATE,
	AL_QUERY,
	AL_STATE = 32, AL_PROMOTED, AL_REFUSED, AL_DEMOTED, AL_ALONE_WANTED,
	AL_JOIN_WANTED, AL_OUTDATED, AL_ADOPTED, AL_NEWER, AL_LOG_LOST,
};

enum data_role { DATA_STANDBY, DATA_ACTIVE };
enum data_mode {
	DATA_WAIT,	/* standby: no active peer known */
	DATA_TARGET,	/* standby: catching up or being seeded */
	DATA_INSYNC,	/* standby: every acknowledged record is here */
	DATA_SYNC,	/* active: two copies before each acknowledgement */
	DATA_FROZEN,	/* active: holds acknowledgements, the standby is silent */
	DATA_SOLO,	/* active: one copy, the generation says so */
	DATA_JOINING,	/* active: one copy, the standby is catching up */
	DATA_SPLIT,	/* two histories; this node's is set aside or waits for the operator */
};
const char *data_role_name(enum data_role);
const char *data_mode_name(enum data_mode);

/* What is wrong with the disk of the log here, what speaks against waiting for the
 * other node's as the active sees it, and with the data here. */
#define DATA_SLOW 0x01		/* its syncs take too long */
#define DATA_FULL 0x02		/* no room */
#define DATA_PEER_SLOW 0x04
#define DATA_PEER_FULL 0x08
#define DATA_PEER_LAGS 0x10	/* too many bytes are not there yet */
#define DATA_PEER_LATE 0x20	/* it let a batch wait, and is not back in step yet */
#define DATA_NO_INDEX 0x40	/* an owner has lost its index: it cannot serve */
#define DATA_OWN_TROUBLE (DATA_SLOW | DATA_FULL)
#define DATA_PEER_TROUBLE (DATA_PEER_SLOW | DATA_PEER_FULL | DATA_PEER_LAGS | DATA_PEER_LATE)

/* STATE */
struct data_state {
	uint8_t role;		/* enum data_role */
	uint8_t mode;		/* enum data_mode */
	uint8_t insync;		/* standby: may be promoted without loss (volatile belief) */
	uint8_t outdated;	/* standby: durable mark, not to be promoted */
	uint8_t peer_connected;
	uint8_t empty;		/* no generation and no record yet */
	uint8_t rule;		/* enum commit_rule */
	uint8_t trouble;	/* DATA_SLOW ... */
	struct gen gen;		/* the newest that the log holds (no = 0: none) */
	uint64_t durable_lsn, commit_lsn, applied_lsn;
	uint8_t durable_hash[16];
	uint64_t peer_durable_lsn, peer_applied_lsn;
	uint64_t at_risk;	/* acknowledged records that only this node holds */
	int64_t alone_since_ms;	/* wall clock; 0: two copies */
	int64_t peer_heard_ms;	/* how long ago the peer's syncd was heard; -1 never */
	uint32_t peer_every_ms;	/* it sends something at least this often */
};
enum commit_rule { COMMIT_STRICT, COMMIT_AUTO, COMMIT_AVAILABLE };
const char *commit_rule_name(enum commit_rule);

void agentlink_put_state(struct wire_out *, const struct data_state *);
void agentlink_get_state(struct wire_in *, struct data_state *);
/* Bodies of the others, in wire.h terms:
 * HELLO u16 version, str node | PROMOTE, GRANT, PROMOTED, ADOPTED, NEWER gen
 * DEMOTE u64 gen no, u32 drain_ms | DEMOTED u64 gen no, u64 lsn, raw hash[16], u8 drained
 * DENY u64 gen no, str reason | REFUSED u16 type refused, str reason
 * OUTDATE, OUTDATED, ALONE_WANTED, JOIN_WANTED u64 gen no | QUERY nothing */

#endif
