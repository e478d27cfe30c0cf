/* mirror_chan.h - a mirror worker's line to its syncd: blocking, with limits of time.
 *
 * During a pass every message is stamped with the pass and its generation, and every
 * message that arrives is checked; when this node's role, generation or connection
 * changes, the next call fails and why[] says so: the pass is over.  A worker that
 * works for long calls mirror_chan_tick(), which also keeps the other side patient. */
#ifndef SYNCER_MIRROR_CHAN_H
#define SYNCER_MIRROR_CHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mirror_guard.h"
#include "mirror_pack.h"
#include "mirror_result.h"
#include "mirror_wire.h"
#include "wire.h"

struct mirror_chan {
	int fd;			/* owned; blocking */
	struct mirror_view view;
	/* The pass: */
	bool in_pass, source;
	uint32_t pass;
	struct gen gen;
	const char *phase;
	uint64_t done, of;	/* progress of the phase */
	uint64_t sent;		/* bytes of messages to the peer, as they leave */
	struct mirror_pack *pack;	/* NULL: messages go one by one */
	int64_t ticked_ms;
	int silent_ms;		/* the peer may be silent so long in a pass */
	char why[400];		/* of the last -1 */
	/* Readable: something that is not the channel's wants on_watch(); -1: nothing. */
	int watch_fd;
	void (*on_watch)(void *arg);
	void *watch_arg;
	bool broken;		/* syncd is gone, or the framing is: end the worker */
	uint8_t *buf;
	size_t cap;
};

struct mirror_msg {
	uint16_t kind;		/* enum mirror_worker_type */
	uint8_t type;		/* enum mirror_type, for MW_PEER */
	uint32_t pass;
	struct gen gen;		/* number and id only */
	struct wire_in body;	/* valid until the next call */
};

void mirror_chan_init(struct mirror_chan *, int fd);
void mirror_chan_clear(struct mirror_chan *);
/* Outside of a pass: the next thing from syncd; states are taken in on the way. */
int mirror_chan_next(struct mirror_chan *, struct mirror_msg *);
void mirror_chan_begin(struct mirror_chan *, bool source, uint32_t pass, const struct gen *);
/* Sends MM_ABORT with why[] when the pass did not end well (abort), and forgets it. */
void mirror_chan_end(struct mirror_chan *, bool abort);
/* In a pass: to the peer, and from the peer (progress and states taken in). */
int mirror_chan_send(struct mirror_chan *, enum mirror_type, const struct wire_out *);
int mirror_chan_send_raw(struct mirror_chan *, enum mirror_type, const void *, size_t);
int mirror_chan_recv(struct mirror_chan *, struct mirror_msg *);
/* From here on messages are packed; level of compression of what leaves.  What was sent
 * leaves with a full pack, before each recv, with each tick, or by a flush. */
void mirror_chan_pack(struct mirror_chan *, int level);
int mirror_chan_flush(struct mirror_chan *);
/* In a long step: twice a second a sign of life, and a look whether the pass is over. */
int mirror_chan_tick(struct mirror_chan *);
/* The look alone, at once: before something that cannot be taken back. */
int mirror_chan_look(struct mirror_chan *);
void mirror_chan_phase(struct mirror_chan *, const char *phase, uint64_t of);
/* To syncd: MW_SOURCE with this body; a row of a dry run; how the pass ended. */
int mirror_chan_source(struct mirror_chan *, const struct wire_out *);
int mirror_chan_plan(struct mirror_chan *, struct wire_in *rows);
int mirror_chan_report(struct mirror_chan *, const char *path, const struct mirror_result *);
int mirror_chan_fail(struct mirror_chan *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));	/* sets why[], returns -1 */

#endif
