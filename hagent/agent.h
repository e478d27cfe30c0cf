/* agent.h - the unprivileged half of hagentd: hears the peer, decides by policy.h,
 * and asks the executor for what needs root. */
#ifndef HAGENT_AGENT_H
#define HAGENT_AGENT_H

#include <stdint.h>

#include "hagent_conf.h"

#define MAILPAIR_VERSION "1.0.0"

/* Exit code of an agent that must not be started again: its state cannot be read, or
 * its surroundings are wrong. */
#define AGENT_EXIT_REFUSED 78
/* Of one that ended because another takes over with a new configuration. */
#define AGENT_EXIT_REPLACED 79

#define AGENT_MAINTENANCE_MAX_S (30 * 86400)

/* Called as root in the process forked for it; drops to conf->user before it reads
 * anything.  fd: the channel to the executor.  Returns the exit code. */
int agent_run(const struct hagent_conf *, const struct cluster_keys *, int fd);

#endif
