/* delta.h - signatures, deltas and patches by librsync, one buffer at a time.
 *
 * Moves bytes between the evbuffers it is given; never waits for a peer and never
 * reads a path.  RK rolling sums and BLAKE2 sums, of the full 32 bytes or of 8; nothing
 * else is accepted.  A patched file is NOT trusted until its SHA-256 equals what the
 * sender announced for the whole file; the caller may have it made here.
 *
 * Signatures and deltas are hostile input: header, block length and sum length are
 * checked before librsync sees them, the number of blocks is bounded, a copy command
 * outside the basis and a result over the limit end the job with DELTA_FAIL. */
#ifndef SYNCER_DELTA_H
#define SYNCER_DELTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evbuffer;
struct delta;
struct delta_sums;		/* a loaded signature */

enum delta_rc {
	DELTA_MORE,		/* give more input, or empty out, and call again */
	DELTA_DONE,
	DELTA_FAIL,
};

/* A signature of one file is never longer than this. */
#define DELTA_SIG_MAX (16u << 20)

/* Basis bytes in, signature out.  size: of the basis, chooses the block length. */
struct delta *delta_sig_new(uint64_t size);
/* A third as long: sums of 8 bytes, and blocks for few changes in large files.  Who knows
 * both files can make blocks that are taken for each other, so this is for callers that
 * ask for the whole file when the SHA-256 says no. */
struct delta *delta_sig_short(uint64_t size);
/* With blocks of this length, or longer where the signature would outgrow its limit: for
 * files in which what is equal lies in short runs. */
struct delta *delta_sig_block(uint64_t size, size_t block);
/* Signature in, nothing out; then delta_take_sums(). */
struct delta *delta_load_new(void);
struct delta_sums *delta_take_sums(struct delta *);	/* NULL before DELTA_DONE */
void delta_sums_free(struct delta_sums *);
/* Bytes of the new file in, delta out; borrows the sums.  digest: for delta_digest(). */
struct delta *delta_make_new(struct delta_sums *, bool digest);
/* Delta in, the new file out; borrows basis_fd (pread).  max: of the result. */
struct delta *delta_patch_new(int basis_fd, uint64_t max, bool digest);
/* Takes what it can of in, adds at most 64 KiB (and a block) to out.  eof: nothing
 * follows what is in `in`.  Call until DELTA_DONE or DELTA_FAIL. */
enum delta_rc delta_step(struct delta *, struct evbuffer *in, bool eof,
    struct evbuffer *out);
/* After DELTA_DONE, when it was wanted: SHA-256 of the new file (make: what went in;
 * patch: came out). */
void delta_digest(const struct delta *, uint8_t sha[32]);
void delta_stats(const struct delta *, uint64_t *literal, uint64_t *matched);
const char *delta_error(const struct delta *);
void delta_free(struct delta *);			/* NULL is fine */

#endif
