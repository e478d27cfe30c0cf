/* log_tail.h - what this node's log holds behind a place: may it have been acknowledged? */
#ifndef SYNCER_LOG_TAIL_H
#define SYNCER_LOG_TAIL_H

#include <stdint.h>

#include "history.h"

struct syncd;

/* Of the records behind fork (history.h).  What cannot be read may be anything. */
enum history_tail log_tail(struct syncd *, uint64_t fork);

#endif
