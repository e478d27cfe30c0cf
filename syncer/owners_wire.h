/* owners_wire.h - what owners.c and owners_seed.c share: the connections. */
#ifndef SYNCER_OWNERS_WIRE_H
#define SYNCER_OWNERS_WIRE_H

#include <sys/queue.h>
#include <sys/types.h>

#include "feed.h"
#include "ipc.h"
#include "owners.h"

struct event;
struct listener;

struct attach {			/* one shard of a connection */
	uint16_t shard;
	bool live;
	uint64_t from;		/* the newest delivered; OWNER_FROM_LOST: nothing is */
	uint64_t live_at;	/* live when the cursor is behind this */
	uint64_t applied;
	unsigned offers;	/* objects and indexes offered and not answered yet */
};

struct oconn {
	TAILQ_ENTRY(oconn) next;
	struct owners *o;
	struct ipc *ipc;
	uid_t uid;
	char name[64];
	struct attach *attach;
	size_t nattach;
	uint64_t cursor;		/* next LSN to look at */
	struct feed_reader reader;
	struct { uint64_t lsn, origin; size_t bytes; } *own;	/* written, not yet committed */
	size_t nown, own_at, own_cap;
	size_t uncommitted;		/* bytes of own[] */
	bool choked;		/* too much waits for a disk to read more from here */
	bool role_told;
	uint8_t told_active, told_live, told_copies;
	uint64_t told_gen;
};

struct held {			/* an append that is not written yet */
	TAILQ_ENTRY(held) next;
	struct oconn *conn;
	uint64_t origin;
	uint16_t shard;
	uint8_t type;
	struct span payload;
	char bytes[];
};

struct owners {
	struct syncd *s;
	struct listener *listen;
	struct event *pump;
	size_t nconns;
	bool crowd_told;	/* that there were too many, since there were fewer */
	TAILQ_HEAD(, oconn) conns;
	TAILQ_HEAD(, held) held;
	uint64_t known;
	int64_t refilled_ms;		/* 0: not yet */
	uint64_t checkpoint[SHARD_MAX];
	bool known_shard[SHARD_MAX];	/* attached once */
	struct seed_owner_ops seed;
	void *seed_arg;
};

struct oconn *owners_of(struct owners *, uint16_t shard);
struct attach *owners_attach_of(struct oconn *, uint16_t shard);	/* NULL: not here */
bool owners_lost(const struct attach *);	/* it has no index */
void owners_seed_gone(struct owners *, const struct attach *);
/* false: the message makes no sense.  Takes m->fd. */
bool owners_seed_message(struct oconn *, const struct ipc_msg *, struct wire_in *);

#endif
