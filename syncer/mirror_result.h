/* mirror_result.h - how a pass ended: counts, and when it did not end well, what
 * happened, why, and the way out. */
#ifndef SYNCER_MIRROR_RESULT_H
#define SYNCER_MIRROR_RESULT_H

#include <stdint.h>
#include <jansson.h>

#include "wire.h"

enum mirror_outcome { MIRROR_OK, MIRROR_REFUSED, MIRROR_FAILED };

struct mirror_result {
	uint8_t outcome;		/* enum mirror_outcome */
	uint64_t entries;		/* in the source */
	uint64_t created, changed, meta, deleted;
	uint64_t bytes_sent, literal, matched;
	uint64_t errors;		/* entries that could not be made equal */
	uint64_t busy;			/* written while read: looked at again next time; the
					 * standby has an earlier state of it, whole */
	uint64_t unreadable;		/* in the source: then nothing is deleted */
	uint64_t duration_ms;
	uint64_t moved;			/* had another name: counted as created and deleted too */
	uint64_t vanished;		/* gone between the list and the copy */
	uint64_t looked;		/* entries looked at in the source */
	uint64_t full;			/* 1: by a full walk */
	uint64_t dry_run;		/* 1: the numbers are of what a pass would do */
	char error[400], why[400], hint[400];
};
void mirror_result_put(struct wire_out *, const struct mirror_result *);
int mirror_result_get(struct wire_in *, struct mirror_result *);	/* -1: malformed */
/* Sets the outcome and the words; the first error stays. */
void mirror_result_fail(struct mirror_result *, enum mirror_outcome, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void mirror_result_why(struct mirror_result *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void mirror_result_hint(struct mirror_result *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
json_t *mirror_result_json(const struct mirror_result *, const char *path);

#endif
