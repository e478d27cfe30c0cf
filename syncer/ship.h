/* ship.h - the log over the peer link: who has what (facts), where two logs part,
 * batches one way, acknowledgements the other (PROTOCOL.md). */
#ifndef SYNCER_SHIP_H
#define SYNCER_SHIP_H

#include <stdbool.h>
#include <stdint.h>

#include "span.h"

struct history;
struct ship;
struct syncd;

struct ship *ship_new(struct syncd *);
void ship_free(struct ship *);
/* From the peer link. */
void ship_up(struct ship *);
void ship_down(struct ship *, const char *why);
void ship_frame(struct ship *, uint8_t type, struct span body);
/* From the core.  kick: something may be sent, once the loop is through with what it
 * has; flush: now. */
void ship_kick(struct ship *);
void ship_flush(struct ship *);
void ship_facts(struct ship *);		/* tell the peer who we are now */
void ship_role(struct ship *);		/* and this is new: our role */
void ship_changed(struct ship *);	/* standby: in sync or not any more */
void ship_durable(struct ship *);
void ship_second(struct ship *);
/* Standby: may all that is here be replaced by a seed?  false, and SPLIT: it holds what
 * was acknowledged and the active does not have.  A tail that nobody was told of is set
 * aside first. */
bool ship_seed_may(struct ship *);
uint64_t ship_peer_trim(const struct ship *);	/* the peer lets us trim up to this */
/* Active: does the peer stand in SPLIT (and where does its log end); is the place known
 * where the logs part; its generations. */
bool ship_peer_split(const struct ship *, uint64_t *tip);
bool ship_fork(const struct ship *, uint64_t *fork);
const struct history *ship_peer_history(const struct ship *);
const char *ship_trouble(const struct ship *);	/* why there is no common log, or NULL */

#endif
