/* change_set.h - what one side of a parted shard changed: in memory, and as a file that
 * goes to the other node (change_file.h).  Its items are stated in STORE.md, 7.
 *
 * Reading takes the bytes of another machine: bounded, every length checked, nothing
 * believed before the sum at the end is right.  Memory follows the number of
 * changes; the bytes of messages stay in the file. */
#ifndef MAIL_CHANGE_SET_H
#define MAIL_CHANGE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "merge.h"

#define CHANGES_MSGS_MAX (8u << 20)
#define CHANGES_BOXES_MAX (1u << 20)
#define CHANGES_SUBS_MAX (1u << 20)

struct changes_box {			/* besides struct merge_box, same index */
	uint64_t id;			/* here only */
	uint32_t uidnext;
	bool subscribed;
};
struct changes_msg {			/* besides struct merge_msg, same index */
	uint64_t box_id, modseq;	/* here only */
	bool unknown;			/* nothing is known about when the sides parted */
};
struct changes_object { uint8_t sha[32]; uint64_t size; off_t at; };

struct changes_sub { uint64_t user; const char *name; bool on; };	/* said by a client */

struct changes {
	uint16_t shard;
	uint64_t fork;			/* the record behind which the sides parted */
	bool whole;			/* all that was done since is known */
	uint64_t modseq;		/* here only: the newest of all */
	uint64_t missing;		/* objects that could not be read where they were */
	struct merge_box *boxes;
	struct changes_box *box_more;
	size_t nboxes;
	struct merge_msg *msgs;
	struct changes_msg *msg_more;
	size_t nmsgs;
	struct changes_sub *subs;	/* by user and name, the newest word of each */
	size_t nsubs;
	struct changes_object *objects;	/* read from a file: where; by sha */
	size_t nobjects;
	char **texts;
	size_t ntexts;
};
void changes_clear(struct changes *);
/* Room for one more, zeroed; the pointers are valid until the next call. */
struct merge_box *changes_add_box(struct changes *, struct changes_box **);
struct merge_msg *changes_add_msg(struct changes *, struct changes_msg **);
struct changes_sub *changes_add_sub(struct changes *);
/* A copy that lives as long as the set; NULL gives NULL. */
const char *changes_text(struct changes *, const char *);

/* A file without a name in dir, the caller's; objects_fd holds ab/<sha>, those of added and
 * changed messages go along, each once, those that are damaged are counted in missing.  -1
 * with errno. */
int changes_write(struct changes *, const char *dir, int objects_fd);
/* Reads all of fd, which must be a regular file; -1 with errno, EBADMSG where the bytes are
 * no changes of this shard and fork.  Nothing has to be cleared then. */
int changes_read(struct changes *, int fd, uint16_t shard, uint64_t fork);
/* Where the bytes of an object are; NULL: they did not come along. */
const struct changes_object *changes_object(const struct changes *, const uint8_t sha[32]);

#endif
