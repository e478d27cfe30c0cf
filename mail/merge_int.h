/* merge_int.h - shared by merge.c (messages) and merge_box.c (mailboxes and names). */
#ifndef MAIL_MERGE_INT_H
#define MAIL_MERGE_INT_H

#include "merge.h"

/* One mailbox, by its GUID; a NULL: the winner never had it, b NULL: the loser. */
struct merge_fate {
	uint8_t guid[16];		/* remade: not the one by which it is found */
	uint64_t user;
	const struct merge_box *a, *b;
	size_t news;			/* messages of the loser that go into it */
	size_t holds;			/* messages of the winner for which it stays */
	bool drop, make;
	bool keep;			/* make: with the loser's UIDVALIDITY and UIDs */
	struct merge_fate *into;	/* the loser's messages go there instead; or NULL */
	const char *name;		/* at the winner when all is done; NULL none */
};

struct merge_work {
	struct merge *out;
	const char *stamp;
	struct merge_fate *fates;	/* in the order of the GUIDs of both sides */
	size_t nfates;
	const struct merge_msg **a, **b;	/* in the order of their keys */
	size_t na, nb;
};

/* Is in the lists of both sides what merge_box.c needs?  -1 EINVAL. */
int merge_fates(struct merge_work *, const struct merge_side *, const struct merge_side *);
/* By the GUID that the sides know; NULL: none. */
struct merge_fate *merge_fate_find(const struct merge_work *, const uint8_t guid[16]);
/* When every news and holds is counted: what becomes of each mailbox, and its ops. */
void merge_boxes(struct merge_work *);

struct merge_op *merge_op_add(struct merge *, enum merge_verb, const struct merge_fate *);
/* Takes over an allocated text; it lives as long as the result. */
const char *merge_keep(struct merge *, char *);
/* A GUID made of another and of some bytes; the same every time. */
void merge_derive(const uint8_t guid[16], const void *, size_t, uint8_t out[16]);

static inline bool
merge_alive(const struct merge_box *b)
{
	return b != NULL && b->name != NULL;
}

#endif
