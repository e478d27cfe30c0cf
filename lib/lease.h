/* lease.h - until when this node may tell clients what it knows.
 *
 * A process that stood still, or whose agent did, may meanwhile have been replaced by the
 * other node.  What it would answer is old then, however right it was.  So the agent grants
 * a lease with each of its steps, shorter than what the other node waits before it takes
 * over, and the processes that speak with clients let nothing out while it has run out
 * (C. Gray and D. Cheriton, "Leases", SOSP 1989).  What was read before the lease ended and
 * leaves later is an answer that was long under way: the look comes after the reading and
 * before the writing.
 *
 * The lease is one number in a file that both sides map: milliseconds of clock_ms(), which
 * counts suspend, the same for all processes of a machine; 0 is none.  The file belongs on
 * a tmpfs (/run), as no agent may wait for a disk. */
#ifndef LIB_LEASE_H
#define LIB_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#define LEASE_LOOK_MS 10	/* how often who waits for it looks */

struct lease;

enum lease_side { LEASE_HOLDER, LEASE_GRANTER };

/* Maps path; made (0644, no lease) when it is not there, whoever comes first.  A holder
 * cannot write it, also not by mprotect().  NULL with errno. */
struct lease *lease_open(const char *path, enum lease_side);
void lease_close(struct lease *);			/* NULL is fine */
void lease_grant(struct lease *, int64_t until_ms);	/* the granter's side only */
/* NULL, a node without an agent: always. */
bool lease_holds(const struct lease *);

#endif
