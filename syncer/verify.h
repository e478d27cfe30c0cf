/* verify.h - `hactl sync verify`: everything that this node holds is looked through: the
 * log (log_verify.h, on a thread of its own at low priority), and by its owner each shard:
 * every page of its index, the digest of each mailbox, every message.  Beside the work,
 * not faster than verify-rate, one at a time; also by itself every verify-interval-h.
 *
 * What is bad is told by file, and with "repair" what can be is mended from the other
 * node while it goes on.  The answer's exit code: 0 nothing is bad, 1 all that was bad is
 * mended, 2 something stays bad, 18 not all of it could be looked at. */
#ifndef SYNCER_VERIFY_H
#define SYNCER_VERIFY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "span.h"

struct ctl_call;
struct syncd;
struct verify;

struct verify *verify_new(struct syncd *);
void verify_free(struct verify *);
void verify_request(struct verify *, struct ctl_call *, json_t *request);
void verify_second(struct verify *);	/* once a second */
json_t *verify_status(const struct verify *);	/* new reference */
/* The log was cut or begun anew: what was found in it meanwhile says nothing. */
void verify_log_changed(struct verify *);
/* From the owners; a run that is over is skipped. */
void verify_shard_done(struct verify *, uint16_t shard, uint32_t run, bool ok, struct span report);
void verify_shard_progress(struct verify *, uint16_t shard, uint32_t run, uint64_t done,
    uint64_t of);
void verify_shard_gone(struct verify *, uint16_t shard);

#endif
