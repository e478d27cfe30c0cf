/* log_verify.h - reads the whole log as it is on the disk, and says what of it is damaged:
 * headers, CRCs, LSNs without a hole, the chain of hashes over all segments, and each
 * header's list of generations against the generation records before it.
 *
 * May run on any thread while the log is written, trimmed and cut: what is behind the tip of
 * the beginning is not looked at, and a segment that is gone meanwhile is none.  Uses
 * descriptors of its own and changes nothing. */
#ifndef SYNCER_LOG_VERIFY_H
#define SYNCER_LOG_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "history.h"
#include "log_store.h"

#define LOG_VERIFY_BAD_MAX 100	/* named one by one; the count goes on */

struct log_verify_bad {
	uint64_t segment;	/* its first LSN, which is its name */
	uint64_t offset, lsn;	/* where; the record that was expected there (0: the header) */
	const char *what;
};

struct log_verify {
	/* filled in before */
	const char *dir;
	struct log_span *spans;		/* log_store_spans() */
	size_t nspans;
	struct log_tip tip;
	/* Called after each piece of at most about 2 MiB; false: stop here.  May wait. */
	bool (*go_on)(void *arg, uint64_t done, uint64_t of);
	void *arg;
	/* found */
	uint64_t records, bytes;
	uint64_t nbad;
	struct log_verify_bad bad[LOG_VERIFY_BAD_MAX];
	bool stopped;
};

/* 0, also when something is bad; -1 with errno: it could not look. */
int log_verify_run(struct log_verify *);

#endif
