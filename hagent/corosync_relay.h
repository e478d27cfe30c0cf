/* corosync_relay.h - the process between the agent and corosync (corosync_proto.h). */
#ifndef HAGENT_COROSYNC_RELAY_H
#define HAGENT_COROSYNC_RELAY_H

#include "hagent_conf.h"

/* Called as root in a process of its own; connects, then drops to conf->user.  fd: its
 * end of the packet socket to the agent.  Returns when either side is gone, with the
 * process's exit code. */
int corosync_relay_run(const struct hagent_conf *, const struct link_conf *, int fd);

#endif
