/* merge_plan.h - what has to be proposed so that a shard has what both sides have
 * (shard_merge.c makes it on the job thread, store_merge.c carries it out). */
#ifndef MAIL_MERGE_PLAN_H
#define MAIL_MERGE_PLAN_H

#include <jansson.h>

#include "change_set.h"
#include "shard_record.h"

struct plan_set {			/* a message that changes or goes, or was only looked at */
	const uint8_t *box, *guid;	/* its key; a guid of zeros: the mailbox itself */
	const struct merge_op *op;	/* NULL: only looked at */
	const struct merge_msg *a;	/* with op: the row that was seen here */
};

struct merge_plan {
	struct changes ours, theirs;	/* theirs: without what a run before dealt with */
	struct merge m;
	size_t nbox, nadd;		/* of m.ops: mailboxes, then messages that come */
	struct plan_set *sets;		/* then these */
	size_t nsets;
	const struct changes_sub **subs;	/* then these subscriptions */
	size_t nsubs;
	json_t *report;			/* an object of counts and "conflicts" */
};
void merge_plan_free(struct merge_plan *);	/* NULL is fine */
/* This side's mailbox as it was seen; NULL: none. */
const struct merge_box *merge_plan_box(const struct merge_plan *, const uint8_t guid[16],
    const struct changes_box **);
void merge_plan_set(const struct merge_plan *, size_t i, struct rec_set *);
/* One line more in "conflicts", or one more that is only counted. */
void merge_plan_conflict(struct merge_plan *, uint64_t user, const char *what,
    const char *box, const char *detail);

#endif
