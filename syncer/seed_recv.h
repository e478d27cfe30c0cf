/* seed_recv.h - the standby's side of one file that is seeded.  What arrived of a file stays
 * in the folder `seed` of the log directory when the attempt ends, or the process: an
 * object goes on behind it, an index is sent as a delta against it (and against what
 * the owner had before).  A little at a time, and it knows no connection.  Only
 * seed_target.c includes this. */
#ifndef SYNCER_SEED_RECV_H
#define SYNCER_SEED_RECV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/evp.h>

#include "span.h"

struct delta;
struct evbuffer;

struct seed_recv {
	int dirfd;			/* the folder; -1 until it is needed */
	int fd;				/* the file that arrives; -1: none */
	bool index;
	uint16_t shard;
	char name[80];			/* of fd in the folder */
	uint64_t bytes, hashed, max;
	EVP_MD_CTX *sha;
	/* an index: what is here of it */
	int old_fd, part_fd, basis_fd;	/* last whole one; cut one; both in a row */
	bool older;			/* the whole one is the owner's, of an older state */
	uint64_t joined;		/* bytes of the basis so far */
	struct delta *sig, *patch;
	struct evbuffer *in, *out;
	bool busy, patched;		/* patch: there is more in it; it has made all */
	bool ended;			/* nothing more comes */
};

/* WAIT: nothing to do before more comes; MORE: call again; DONE. */
enum seed_recv_rc { SEED_RECV_WAIT, SEED_RECV_MORE, SEED_RECV_DONE, SEED_RECV_FAIL };

void seed_recv_init(struct seed_recv *);
/* Ends a file; what came of it stays. */
void seed_recv_stop(struct seed_recv *);
void seed_recv_clear(struct seed_recv *);
bool seed_recv_on(const struct seed_recv *);
/* dir: the log directory.  resume: what comes is kept; *have: bytes that are here already.
 * size: of the object.  -1: errno. */
int seed_recv_object(struct seed_recv *, const char *dir, const uint8_t sha[32], uint64_t size,
    bool resume, uint64_t *have);
/* Has this node a whole index of the shard from an earlier attempt? */
bool seed_recv_knows(struct seed_recv *, const char *dir, uint16_t shard);
/* old_fd: what the owner has now (taken), or -1. */
int seed_recv_index(struct seed_recv *, const char *dir, uint16_t shard, int old_fd, uint64_t max);
/* Adds the sums of what is here to out: MORE, DONE (may be nothing at all), FAIL. */
enum seed_recv_rc seed_recv_sums(struct seed_recv *, struct evbuffer *out);
int seed_recv_data(struct seed_recv *, struct span);
void seed_recv_end(struct seed_recv *);			/* that was all of it */
enum seed_recv_rc seed_recv_step(struct seed_recv *);
/* After DONE: is it the file of this digest?  If not it is forgotten, else *fd is at its
 * beginning, the caller's.  An index is the basis of the next one from then on. */
bool seed_recv_take(struct seed_recv *, const uint8_t sha[32], int *fd);
void seed_recv_placed(struct seed_recv *);	/* the owner has it: an object is not kept */
void seed_recv_forget(struct seed_recv *, const char *dir);	/* everything; all is in place */

#endif
