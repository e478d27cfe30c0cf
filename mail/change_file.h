/* change_file.h - what a side changed since two histories parted, as a file that goes to
 * the other node: written by the directory and the queue of the side that gives way, read
 * by those of the side that stays.
 *
 * Layout, big-endian: "MPCHANGE", u16 version, u16 shard, u64 fork (LSN), u8 whole; then
 * items: u8 type (1 to 255), u32 length, body; behind an item may be raw bytes, of which
 * the item says how many.  The last item has type 0 and the SHA-256 of all that is before
 * it but raw bytes, which have their own where they matter.  Items are the owner's. */
#ifndef MAIL_CHANGE_FILE_H
#define MAIL_CHANGE_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <openssl/evp.h>

#include "wire.h"

#define CHANGE_ITEM_MAX (1u << 20)

struct change_out {
	int fd;				/* -1: it could not be made */
	EVP_MD_CTX *sha;
	char *buf;
	size_t n;			/* bytes in buf */
	int error;			/* the first errno; 0 */
};
/* Makes a file without a name in dir.  Failures are kept until the end. */
void change_out_open(struct change_out *, const char *dir, uint16_t shard, uint64_t fork,
    bool whole);
/* Takes what is in body, and empties it. */
void change_out_item(struct change_out *, uint8_t type, struct wire_out *body);
void change_out_raw(struct change_out *, const void *, size_t);
/* The descriptor, which is the caller's; -1 with errno when anything failed. */
int change_out_end(struct change_out *);

struct change_in {
	int fd;				/* borrowed */
	off_t at;
	bool whole;
	char *buf;
	EVP_MD_CTX *sha;
};
/* Reads the head.  -1 with errno, EBADMSG: it is none of this shard and fork. */
int change_in_open(struct change_in *, int fd, uint16_t shard, uint64_t fork);
/* 1 = an item, its body is valid until the next call; 0 = the end, the sum is right; -1 with
 * errno, EBADMSG: it is damaged.  What came before the end may be damaged, too. */
int change_in_next(struct change_in *, uint8_t *type, struct span *body);
/* Steps over raw bytes; where they are. */
uint64_t change_in_skip(struct change_in *, uint64_t bytes);
void change_in_close(struct change_in *);

#endif
