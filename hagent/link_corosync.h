/* link_corosync.h - what a corosync link knows besides frames. */
#ifndef HAGENT_LINK_COROSYNC_H
#define HAGENT_LINK_COROSYNC_H

#include "corosync_proto.h"
#include "link.h"

/* What corosync said last, or NULL when it has not said anything for a second: then
 * nothing is known, least of all quorum. */
const struct corosync_state *link_corosync_state(const struct link *, int64_t now_ms);

#endif
