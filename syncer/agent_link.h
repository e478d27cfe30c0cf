/* agent_link.h - the server side of lib/agentlink.h: one agent, the last to come. */
#ifndef SYNCER_AGENT_LINK_H
#define SYNCER_AGENT_LINK_H

#include "commit.h"

struct agent_link;
struct syncd;

struct agent_link *agent_link_new(struct syncd *, int fd);	/* fd: listening, owned */
void agent_link_free(struct agent_link *);
void agent_link_state(struct agent_link *);
/* On the wire when it returns, if there is room.  NULL is fine. */
void agent_link_log_lost(struct agent_link *);
void agent_link_act(struct agent_link *, const struct commit_act *);

#endif
