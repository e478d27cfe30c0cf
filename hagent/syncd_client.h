/* syncd_client.h - the agent's end of lib/agentlink.h.  Connects for ever, 250 ms
 * apart; what syncd says comes through ops.  Messages sent while there is no
 * connection are dropped: the policy sees in its view that syncd is away. */
#ifndef HAGENT_SYNCD_CLIENT_H
#define HAGENT_SYNCD_CLIENT_H

#include <stdbool.h>

#include "agentlink.h"

struct event_base;
struct syncd_client;

struct syncd_said {
	enum agentlink_type type;
	struct gen gen;		/* PROMOTED, ADOPTED, NEWER */
	uint64_t no, lsn;	/* DEMOTED, OUTDATED, ALONE_WANTED, JOIN_WANTED */
	bool drained;
	uint16_t refused;	/* REFUSED: the type */
	char reason[128];
};
struct syncd_client_ops {
	void (*state)(void *, const struct data_state *);
	void (*said)(void *, const struct syncd_said *);
	void (*gone)(void *);		/* was connected, and is not any more */
};

struct syncd_client *syncd_client_new(struct event_base *, const char *path,
    const char *node, const struct syncd_client_ops *, void *arg);
void syncd_client_free(struct syncd_client *);
void syncd_client_gen(struct syncd_client *, enum agentlink_type, const struct gen *);
void syncd_client_demote(struct syncd_client *, uint64_t no, uint32_t drain_ms);
void syncd_client_deny(struct syncd_client *, uint64_t no, const char *reason);
void syncd_client_outdate(struct syncd_client *, uint64_t no);
void syncd_client_query(struct syncd_client *);		/* answered by ops.state() */

#endif
