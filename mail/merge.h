/* merge.h - two histories of one store shard, which parted at a known place, become one.
 *
 * Pure: takes what each side changed since the place where they parted, and gives the
 * changes that the winner has to make.  No clock, socket, file or database.  The same
 * input gives the same output in the same order; when the output was carried out, a
 * second merge with the same loser gives nothing.
 *
 * Promises (I5, I8, I9 of the pair):
 *   - every message that one side added, in whatever mailbox, is in the result;
 *   - a message that was there when they parted goes only if one side removed it and the
 *     other did not touch it since: only a removal removes, absence never does;
 *   - a flag that one side changed is changed; where it is not known what it was, the
 *     safe side holds: not \Deleted, not \Seen, every other flag and keyword on;
 *   - what the winner has keeps its UIDs, mailboxes and names;
 *   - no mailbox of either side goes, unless one side deleted it and the other has
 *     nothing new in it.
 *
 * Words: the winner is the side on which the result is made, the loser the other one. */
#ifndef MAIL_MERGE_H
#define MAIL_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"

enum merge_change { MERGE_ADDED, MERGE_CHANGED, MERGE_REMOVED };

/* A message that is not as it was when the sides parted.  One that was added and removed
 * since is no message.  Deleting a mailbox removes every message that it had. */
struct merge_msg {
	uint8_t box[16], guid[16];	/* the key; box is the mailbox's GUID */
	enum merge_change what;
	bool copied;			/* CHANGED: a copy was made of it */
	uint32_t uid, flags;		/* REMOVED: as they were */
	uint64_t size;
	int64_t internal_s;
	uint8_t sha[32];
	const char *keywords;		/* NULL none */
	/* When they parted; not for ADDED.  Who knows only what was done since says of a flag
	 * that it was the other way round: where the sides differ about it, the safe side holds. */
	uint32_t base_flags;
	const char *base_keywords;
};

/* A mailbox of a user who has any message or mailbox changed.  Also those which are as
 * they were: their names are taken. */
struct merge_box {
	uint8_t guid[16];
	uint64_t user;
	uint32_t uidvalidity;
	uint32_t uidnext;		/* UIDs below it may have been given by this side */
	const char *base_name;		/* when they parted; NULL: made since */
	const char *name;		/* NULL: deleted since */
	const char *special;		/* "\\Sent" and so on, or "" */
};

struct merge_side {
	const struct merge_box *boxes;
	size_t nboxes;
	const struct merge_msg *msgs;
	size_t nmsgs;
};

/* In the order in which they have to be made. */
enum merge_verb {
	MERGE_BOX_DELETE,	/* box */
	MERGE_BOX_RENAME,	/* box, name; its children keep theirs */
	MERGE_BOX_RENUMBER,	/* box: a new UIDVALIDITY, both sides gave this one */
	MERGE_BOX_RESERVE,	/* box, from: UIDs below from's UIDNEXT name nothing new */
	MERGE_BOX_CREATE,	/* box, name, keep: with the UIDVALIDITY of from */
	MERGE_ADD,		/* box, guid, msg (the loser's: object, date), flags, keywords; in
				 * the order of the loser's UIDs; keep: with these UIDs */
	MERGE_FLAGS,		/* box, guid, flags, keywords: set to this */
	MERGE_REMOVE,		/* box, guid */
};
const char *merge_verb_name(enum merge_verb);

struct merge_op {
	enum merge_verb verb;
	uint64_t user;
	uint8_t box[16], guid[16];
	const struct merge_msg *msg;		/* the loser's; borrowed from its side */
	const struct merge_box *from;		/* CREATE, ADD: the loser's mailbox */
	bool keep;
	uint32_t flags;
	const char *keywords, *name;		/* owned by the result */
};

/* What an operator wants to know. */
struct merge_report {
	size_t winner_msgs, loser_msgs;	/* changes that each side brought */
	size_t added;			/* the loser's messages, with new UIDs */
	size_t same;			/* both sides had added the same one */
	size_t removed;			/* removals of the loser that hold */
	size_t kept;			/* removals that do not, the other side touched it */
	size_t flags;			/* messages whose flags change */
	size_t damaged;			/* one id, two contents: both are there now */
	size_t boxes_created, boxes_deleted, boxes_renamed;
	size_t boxes_kept;		/* deleted by one side, with news of the other */
	size_t names;			/* the loser's name gave way */
};

struct merge {
	struct merge_op *ops;
	size_t nops;
	struct merge_report report;
	struct merge_text *texts;
};

/* stamp: a short text, without '/', that goes into the name of a mailbox which has to
 * give way ("Work (recovered 2026-11-28)").  -1 with EINVAL: a key twice, or a message of
 * a mailbox that its side does not name; then nothing may be done. */
int merge_shard(struct merge *, const struct merge_side *winner, const struct merge_side *loser,
    const char *stamp);
void merge_clear(struct merge *);

/* Flags and keywords of one message: what `to` changed against to_base is done to `at`, a
 * flag about which the bases differ is set to the safe side.  at_base = ~to_base: not known
 * at all.  Keywords as in keywords.h; out has STORE_KEYWORDS_MAX + 1. */
uint32_t merge_bits(uint32_t at_base, uint32_t to_base, uint32_t at, uint32_t to);
void merge_words(const char *at_base, const char *to_base, const char *at, const char *to,
    char *out);

#endif
