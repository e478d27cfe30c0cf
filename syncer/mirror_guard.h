/* mirror_guard.h - in which direction, and in which generation, a pass may run.
 * Pure.  The answer is NULL (it may) or the reason for people. */
#ifndef SYNCER_MIRROR_GUARD_H
#define SYNCER_MIRROR_GUARD_H

#include <stdbool.h>

#include "gen.h"

struct mirror_view {
	bool active;		/* this node serves, and no newer generation is known */
	bool standby;		/* this node is standby and its state is whole */
	bool connected;		/* the bulk connection is there */
	struct gen gen;
};
/* Before a pass starts here, and for its whole time. */
const char *mirror_guard_source(const struct mirror_view *);
/* For each message of a pass that arrives: the sender's generation. */
const char *mirror_guard_target(const struct mirror_view *, const struct gen *sender);

#endif
