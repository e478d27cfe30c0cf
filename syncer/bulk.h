/* bulk.h - frames over the bulk connection between the two syncds: u32 length of what
 * follows, then the head of mirror_wire.h and a body.  Knows nothing of what they
 * mean.  All on the event loop. */
#ifndef SYNCER_BULK_H
#define SYNCER_BULK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gen.h"
#include "span.h"

struct bufferevent;
struct bulk;

struct bulk_ops {
	/* A frame: type, its head and body as one run (for relaying), and parts. */
	void (*frame)(void *arg, uint8_t type, struct span whole);
	void (*gone)(void *arg, const char *why);	/* the callee calls bulk_free() */
	void (*room)(void *arg);	/* little is unsent: send more */
	void (*first)(void *arg);	/* the same of bulk_send_first(); may be NULL */
};

/* Owns bev; input that waits in it already is read from the next turn of the loop. */
struct bulk *bulk_new(struct bufferevent *bev, const struct bulk_ops *, void *arg);
void bulk_free(struct bulk *);
/* From now on at most so many bytes of frames a second leave; 0: no limit.  What did not
 * leave in a moment of idleness may follow for half a second; over seconds it is exact.
 * What arrives, and other connections, are not touched. */
void bulk_limit(struct bulk *, uint64_t bytes_per_s);
#define BULK_LIMIT_MIN (16u << 10)	/* below that a frame takes longer than patience */
/* Head and body as one run, as it came from a worker. */
void bulk_relay(struct bulk *, struct span whole);
void bulk_send(struct bulk *, uint8_t type, const struct gen *, const void *, size_t);
/* In front of all that waits for the limit, and not held up by it: what somebody waits for.
 * It counts, so that the others make up for it.  bulk_unsent_first(): of what is on its way. */
void bulk_send_first(struct bulk *, uint8_t type, const struct gen *, const void *, size_t);
size_t bulk_unsent(const struct bulk *);
size_t bulk_unsent_first(const struct bulk *);
void bulk_read_enable(struct bulk *, bool on);

#endif
