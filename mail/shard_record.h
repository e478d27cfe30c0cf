/* shard_record.h - the records of the store shards: what rides in the log.
 * Encoding writes into a wire_out; decoding is bounded, borrows from its input and
 * accepts nothing that it would not have written.  Every body begins with u8 version.
 * The bodies are stated in STORE.md, 3. */
#ifndef MAIL_SHARD_RECORD_H
#define MAIL_SHARD_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "store.h"
#include "wire.h"

#define REC_VERSION 1
#define REC_INLINE_MAX (512u << 10)	/* a larger message goes ahead in BLOB records */
#define REC_OBJECT_MAX (1ull << 30)
#define REC_ENTRIES_MAX 1000		/* users of one delivery */
#define REC_BOXES_MAX 8192
#define REC_RANGES_MAX 32768
#define REC_SPECIAL_MAX 16
#define REC_SETS_MAX 256

enum rec_type {				/* 0 is the generation record */
	REC_DELIVER = 1, REC_APPEND, REC_BLOB, REC_FLAGS, REC_EXPUNGE, REC_COPY,
	REC_BOX_CREATE, REC_BOX_DELETE, REC_BOX_RENAME, REC_BOX_SUBSCRIBE, REC_PART_DROP,
	REC_MERGE_ADD, REC_MERGE_BOX, REC_MERGE_SET,
};
const char *rec_type_name(unsigned type);

struct rec_box {			/* a mailbox to create unless its id is there */
	uint64_t id;			/* the MODSEQ of its creation */
	uint64_t user;
	uint32_t uidvalidity;
	uint8_t guid[16];
	bool subscribe;
	char name[STORE_NAME_MAX + 1];
	char special[REC_SPECIAL_MAX];
};

struct rec_entry {			/* one row that the message gets */
	uint64_t user, box;
	uint32_t uid, flags;
	uint64_t modseq;
	int64_t internal_s;
	uint8_t guid[16];
	char keywords[STORE_KEYWORDS_MAX + 1];
};

/* DELIVER and APPEND.  After decoding, rec_mail_box() and rec_mail_entry() yield
 * nboxes and nentries items. */
struct rec_mail {
	uint8_t sha[32];
	uint64_t size;
	bool inlined;			/* content is here; else in BLOB records before */
	unsigned nboxes, nentries;
	struct span content;
	struct wire_in boxes, entries;
};
void rec_mail_begin(struct wire_out *, const uint8_t sha[32], uint64_t size, bool inlined,
    unsigned nboxes, unsigned nentries);
void rec_put_box(struct wire_out *, const struct rec_box *);	/* nboxes times, then */
void rec_put_entry(struct wire_out *, const struct rec_entry *);	/* nentries times */
bool rec_mail_decode(struct span, struct rec_mail *);
void rec_mail_box(struct rec_mail *, struct rec_box *);
void rec_mail_entry(struct rec_mail *, struct rec_entry *);

struct rec_blob {
	uint8_t sha[32];
	uint64_t total, offset;
	struct span bytes;
};
#define REC_BLOB_HEAD 49
void rec_blob_head(struct wire_out *, const struct rec_blob *);	/* bytes follow */
bool rec_blob_decode(struct span, struct rec_blob *);
/* PART_DROP: nobody goes on with the pieces of this object. */
void rec_drop_put(struct wire_out *, const uint8_t sha[32]);
bool rec_drop_decode(struct span, uint8_t sha[32]);

struct rec_range { uint32_t lo, hi; };	/* inclusive; or a pair src, dst of COPY */

struct rec_flags {			/* FLAGS and, without op and flags, EXPUNGE */
	uint64_t box, modseq;
	uint8_t op;			/* enum store_flag_op; EXPUNGE: 1 = only \Deleted */
	uint32_t flags;
	char keywords[STORE_KEYWORDS_MAX + 1];
	unsigned n;
	struct wire_in ranges;
};
void rec_flags_put(struct wire_out *, const struct rec_flags *, const struct rec_range *);
bool rec_flags_decode(struct span, struct rec_flags *);
void rec_expunge_put(struct wire_out *, const struct rec_flags *, const struct rec_range *);
bool rec_expunge_decode(struct span, struct rec_flags *);

struct rec_copy {
	uint64_t from, to;
	uint64_t modseq;		/* of the copies */
	uint64_t gone_modseq;		/* move: of the removal */
	bool move;
	unsigned n;
	struct wire_in pairs;
};
void rec_copy_put(struct wire_out *, const struct rec_copy *, const struct rec_range *);
bool rec_copy_decode(struct span, struct rec_copy *);
struct rec_range rec_range_get(struct wire_in *);

struct rec_create {
	unsigned n;
	struct wire_in boxes;
};
void rec_create_put(struct wire_out *, const struct rec_box *, unsigned n);
bool rec_create_decode(struct span, struct rec_create *);
void rec_create_box(struct rec_create *, struct rec_box *);

struct rec_delete { uint64_t user, box, modseq; };
void rec_delete_put(struct wire_out *, const struct rec_delete *);
bool rec_delete_decode(struct span, struct rec_delete *);

struct rec_rename {			/* children of from move along by their names */
	uint64_t user, modseq;
	uint64_t box;			/* 0: only children have the name */
	bool inbox;			/* its messages move to `made`, it stays */
	char from[STORE_NAME_MAX + 1], to[STORE_NAME_MAX + 1];
	struct rec_box made;		/* inbox only */
};
void rec_rename_put(struct wire_out *, const struct rec_rename *);
bool rec_rename_decode(struct span, struct rec_rename *);

struct rec_subscribe { uint64_t user; bool on; char name[STORE_NAME_MAX + 1]; };
void rec_subscribe_put(struct wire_out *, const struct rec_subscribe *);
bool rec_subscribe_decode(struct span, struct rec_subscribe *);

/* ---- two histories become one (store_merge.c).  Each record does its part once for
 * each fork, and only where the rows are as they were when it was proposed. ---- */

struct rec_key {			/* a message of the side that gives way */
	uint64_t fork;			/* the record behind which the sides parted */
	uint8_t box[16], guid[16];	/* box is the mailbox's GUID */
};
/* MERGE_ADD: the key, and behind it a body as of APPEND with one entry and no mailbox. */
void rec_added_begin(struct wire_out *, const struct rec_key *);
bool rec_added_decode(struct span, struct rec_key *, struct rec_mail *);

enum rec_box_verb { REC_MBOX_DELETE = 1, REC_MBOX_RENAME, REC_MBOX_RENUMBER, REC_MBOX_CREATE,
	REC_MBOX_RESERVE };
struct rec_merge_box {
	enum rec_box_verb verb;
	uint64_t user, box;		/* CREATE: the id that it gets, else the mailbox */
	uint64_t modseq;
	uint64_t since;			/* DELETE: unless a message in it is newer than this */
	uint32_t uidvalidity;		/* CREATE, RENUMBER: the one that it gets */
	uint32_t was;			/* RENUMBER, RESERVE: if it has this one */
	uint32_t reserve;		/* CREATE, RESERVE: lower UIDs are for MERGE_ADD only */
	uint8_t guid[16];		/* CREATE */
	bool subscribe;			/* CREATE */
	char from[STORE_NAME_MAX + 1];	/* RENAME: if it has this name */
	char name[STORE_NAME_MAX + 1];	/* CREATE, RENAME: if it is free; children stay */
	char special[REC_SPECIAL_MAX];	/* CREATE */
};
void rec_merge_box_put(struct wire_out *, const struct rec_merge_box *);
bool rec_merge_box_decode(struct span, struct rec_merge_box *);

enum rec_set_what { REC_SET_FLAGS = 1, REC_SET_REMOVE, REC_SET_NOTE };
struct rec_set {			/* one message; NOTE: only that its key was looked at */
	enum rec_set_what what;
	struct rec_key key;
	uint64_t box;
	uint32_t uid;
	uint64_t seen;			/* if its MODSEQ is this one */
	uint32_t flags;			/* FLAGS: the new ones, all of them */
	char keywords[STORE_KEYWORDS_MAX + 1];
};
struct rec_sets {
	uint64_t fork, modseq;
	unsigned n;
	struct wire_in items;
};
void rec_sets_begin(struct wire_out *, uint64_t fork, uint64_t modseq, unsigned n);
void rec_set_put(struct wire_out *, const struct rec_set *);	/* n times */
bool rec_sets_decode(struct span, struct rec_sets *);
void rec_set_get(struct rec_sets *, struct rec_set *);

#endif
