/* log_scan.h - recovery of one run of records (LOG.md, "Recovery"): where the valid log
 * ends, and whether what follows may be cut.  Pure: reads the bytes that it is given.
 * The end is the first place without a whole record that has the next LSN and follows
 * the chain; nothing behind it is ever given out. */
#ifndef SYNCER_LOG_SCAN_H
#define SYNCER_LOG_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"

struct log_scan {
	struct span in;		/* borrowed; begins with a record */
	size_t end;		/* behind the last good record */
	uint64_t last;		/* its LSN */
	uint8_t hash[16];	/* and its chain hash */
	uint64_t synced;	/* known durable when one of the good ones was written */
};

enum log_end {
	LOG_END_CLEAN,		/* zeros up to the end of the input */
	LOG_END_TORN,		/* remains of an interrupted write: to be cut */
	LOG_END_DAMAGED,	/* what stood at `end` had been durable: nothing may be cut */
};

/* The input goes on behind the record `last`, where the chain hash is `hash`. */
void log_scan_init(struct log_scan *, struct span in, uint64_t last, const uint8_t hash[16]);
/* The next good record; false: the valid log ends at ->end. */
bool log_scan_next(struct log_scan *, struct record *);
/* After false: what follows. */
enum log_end log_scan_end(const struct log_scan *);

#endif
