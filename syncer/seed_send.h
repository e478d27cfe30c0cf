/* seed_send.h - the active's side of one file that is seeded: whole from some offset on
 * (an object), or as a delta against what the standby has (an index).  A little at a
 * time, and it knows no connection.  Only seed_source.c includes this. */
#ifndef SYNCER_SEED_SEND_H
#define SYNCER_SEED_SEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/evp.h>

#include "span.h"

struct delta;
struct delta_sums;
struct evbuffer;

struct seed_send {
	int fd;				/* -1: no file */
	bool index;
	uint8_t digest[32];		/* of the whole file */
	EVP_MD_CTX *sha;		/* of an index that goes whole */
	struct delta *load, *make;
	struct delta_sums *sums;
	struct evbuffer *in;		/* for librsync */
	bool eof;			/* the file was read to its end */
};

enum seed_send_rc { SEED_SEND_MORE, SEED_SEND_DONE, SEED_SEND_FAIL };

void seed_send_init(struct seed_send *);
void seed_send_clear(struct seed_send *);
/* Takes fd.  sha: of the object, NULL for an index.  -1: errno. */
int seed_send_begin(struct seed_send *, int fd, const uint8_t sha[32], uint64_t *size);
int seed_send_from(struct seed_send *, uint64_t offset);	/* -1: not in the file */
/* What the standby has of the index, by pieces; end: no more comes.  -1: not a signature. */
int seed_send_sums(struct seed_send *, struct span, bool end);
/* Adds about 64 KiB to out, or less; call until DONE: digest is known then. */
enum seed_send_rc seed_send_step(struct seed_send *, struct evbuffer *out);

#endif
