/* tree_plan.h - what has to be done to make one sorted list of entries equal to
 * another.  Pure: two entries in, a decision out; and the rule that holds a pass
 * back which would delete too much. */
#ifndef SYNCER_TREE_PLAN_H
#define SYNCER_TREE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

struct tree_entry;

enum tree_op {
	TREE_OP_SAME,
	TREE_OP_CREATE,		/* only in the source */
	TREE_OP_DATA,		/* a file on both; its content may differ */
	TREE_OP_META,		/* same content; mode, owner, time or attributes differ */
	TREE_OP_LINK,		/* a further name of a file: to be checked by inode */
	TREE_OP_DELETE,		/* only in the target */
	TREE_OP_REPLACE,	/* a directory became something else, or the reverse:
				 * delete, then create */
};
const char *tree_op_name(enum tree_op);

struct tree_step {
	enum tree_op op;
	bool next_src, next_dst;	/* which list moves on */
};
/* The heads of both lists; NULL: that list has ended (not both). */
struct tree_step tree_plan_step(const struct tree_entry *src, const struct tree_entry *dst);

struct tree_counts {
	uint64_t src, dst;		/* entries without the roots */
	uint64_t create, data, meta, link, del;
};
void tree_plan_count(struct tree_counts *, const struct tree_step *,
    const struct tree_entry *src);

enum tree_verdict {
	TREE_GO,
	TREE_EMPTY_SOURCE,	/* nothing in the source, something in the target */
	TREE_TOO_MANY,		/* more than max_percent of the target would go */
};
/* always: this many deletions are never refused (unless the source is empty). */
enum tree_verdict tree_plan_verdict(const struct tree_counts *, unsigned max_percent,
    uint64_t always, bool accepted);

#endif
