/* corosync_facts.h - what the running corosync says of itself (cmap) and of the votes
 * (votequorum), as part of struct corosync_state.  Calls may block: only for the
 * process that is there for it. */
#ifndef HAGENT_COROSYNC_FACTS_H
#define HAGENT_COROSYNC_FACTS_H

#include <corosync/cmap.h>
#include <corosync/votequorum.h>

#include "corosync_proto.h"

/* Cluster, transport, cipher and hash.  False: it does not encrypt. */
bool corosync_facts_crypto(cmap_handle_t, struct corosync_state *);
/* The number of the node called peer in the node list; of a list of two, the other one
 * than own.  0: the list does not say. */
uint32_t corosync_facts_peer(cmap_handle_t, const char *peer, uint32_t own);
/* knet's links to all other nodes, from the map of statistics. */
void corosync_facts_links(cmap_handle_t stats, struct corosync_state *);
/* Votes and quorum device, and .why when the votes prove nothing. */
cs_error_t corosync_facts_votes(votequorum_handle_t, struct corosync_state *);

#endif
