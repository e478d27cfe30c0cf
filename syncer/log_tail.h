/* log_tail.h - what this node's log holds behind a place: may it have been acknowledged? */
#ifndef SYNCER_LOG_TAIL_H
#define SYNCER_LOG_TAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "history.h"

struct syncd;

/* Of the records behind fork (history.h).  What cannot be read may be anything. */
enum history_tail log_tail(struct syncd *, uint64_t fork);

/* May owners have been given records of this log behind fork, if only generations?  An
 * alone kind is committed at once.  Then their indexes are ahead of a log that is cut there,
 * and would take other records of the same numbers for known. */
bool log_tail_given(const struct syncd *, uint64_t fork);

#endif
