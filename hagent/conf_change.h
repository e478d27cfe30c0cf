/* conf_change.h - may a running hagentd take another configuration?  Pure.
 *
 * What the state on disk, the sockets or services that are up depend on stays until the
 * daemon ends; what only the agent looks at (times, links, ping targets, limits) may
 * change, because the agent is replaced. */
#ifndef HAGENT_CONF_CHANGE_H
#define HAGENT_CONF_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "hagent_conf.h"

struct conf_change {
	uint32_t resources, vips; /* a bit for each that is new; by index in next */
	bool moved;		  /* resources stand at other places than before */
	char why[300], hint[200]; /* of a refusal */
};

/* started: the group is up on this node.  -1: refused, with why and hint; else 0 with
 * the rest. */
int conf_change(const struct hagent_conf *now, const struct hagent_conf *next,
    bool started, struct conf_change *out);

#endif
