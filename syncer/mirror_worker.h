/* mirror_worker.h - the process that walks, reads and writes mirrored trees.
 *
 * syncd itself never touches a tree and never blocks; the worker never touches the
 * network: it gets the peer's messages from syncd, which received them over mutual
 * TLS.  The worker runs as the same user as syncd, but keeps the few capabilities
 * that foreign trees need (owners, modes, devices).  A supervisor process of the same
 * kind starts it again when it dies. */
#ifndef SYNCER_MIRROR_WORKER_H
#define SYNCER_MIRROR_WORKER_H

struct mirror_conf;

/* To be called as root, before syncd drops its privileges and has threads.  Forks the
 * supervisor; returns syncd's end of its channel (lib/ipc: MW_READY with the
 * descriptor of each new worker's channel), or -1 with errno.  user NULL, or not
 * root: the worker keeps what it has.  spool_dir: for lists of a pass. */
int mirror_worker_start(const struct mirror_conf *, const char *user, const char *spool_dir);
/* The worker itself: serves its channel until syncd is gone; for tests. */
void mirror_worker_run(const struct mirror_conf *, const char *spool_dir, int fd);

#endif
