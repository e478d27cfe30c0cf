/* tree_plan.c - the comparison of two trees, one pair of entries at a time.
 *
 * A file counts as unchanged when size and modification time (to the nanosecond) are
 * the same; the sender makes sure that a file which was written while it was read
 * never ends up with both equal. */
#include "tree_plan.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "hook.h"
#include "tree.h"

const char *
tree_op_name(enum tree_op op)
{
	static const char *const names[] = { "same", "create", "data", "meta", "link",
		"delete", "replace" };

	return op <= TREE_OP_REPLACE ? names[op] : "unknown";
}

/* Both exist and are neither directory nor of different kinds. */
static enum tree_op
compare_alike(const struct tree_entry *s, const struct tree_entry *d)
{
	switch (s->type) {
	case TREE_FILE:
		if (s->size != d->size || s->mtime_s != d->mtime_s ||
		    s->mtime_ns != d->mtime_ns)
			return TREE_OP_DATA;
		break;
	case TREE_SYMLINK:
		if (strcmp(s->target, d->target) != 0)
			return TREE_OP_CREATE;
		break;
	case TREE_CHR:
	case TREE_BLK:
		if (s->major != d->major || s->minor != d->minor)
			return TREE_OP_CREATE;
		break;
	}
	return tree_meta_same(s, d) ? TREE_OP_SAME : TREE_OP_META;
}

static enum tree_op
compare(const struct tree_entry *s, const struct tree_entry *d)
{
	if ((s->type == TREE_DIR) != (d->type == TREE_DIR))
		return TREE_OP_REPLACE;
	if (s->type == TREE_LINK)
		return TREE_OP_LINK;
	if (s->type == TREE_FILE && d->type == TREE_LINK)
		return TREE_OP_DATA;	/* becomes a file of its own */
	if (s->type != d->type)
		return TREE_OP_CREATE;	/* a rename over the old one does it */
	return compare_alike(s, d);
}

struct tree_step
tree_plan_step(const struct tree_entry *s, const struct tree_entry *d)
{
	int order;

	assert(s != NULL || d != NULL);
	order = s == NULL ? 1 : d == NULL ? -1 : tree_path_cmp(s->path, d->path);
	if (order > 0)
		return (struct tree_step){ TREE_OP_DELETE, false, true };
	if (order < 0)
		return (struct tree_step){
			s->type == TREE_LINK ? TREE_OP_LINK : TREE_OP_CREATE, true, false };
	return (struct tree_step){ compare(s, d), true, true };
}

void
tree_plan_count(struct tree_counts *c, const struct tree_step *step,
    const struct tree_entry *s)
{
	bool root = s != NULL && s->path[0] == '\0';

	c->src += step->next_src && !root;
	c->dst += step->next_dst && !root;
	switch (step->op) {
	case TREE_OP_SAME: break;
	case TREE_OP_CREATE: c->create++; break;
	case TREE_OP_DATA: c->data++; break;
	case TREE_OP_META: c->meta++; break;
	case TREE_OP_LINK: c->link++; break;
	case TREE_OP_DELETE: c->del++; break;
	case TREE_OP_REPLACE: c->del++; c->create++; break;
	}
}

enum tree_verdict
tree_plan_verdict(const struct tree_counts *c, unsigned max_percent, uint64_t always,
    bool accepted)
{
	if (accepted || c->del == 0 || hook_on("mirror-absence-deletes"))
		return TREE_GO;
	if (c->src == 0 && c->dst > 0)
		return TREE_EMPTY_SOURCE;
	if (c->del <= always)
		return TREE_GO;
	/* entries are limited far below 2^64 / 100 */
	return c->del * 100 > c->dst * max_percent ? TREE_TOO_MANY : TREE_GO;
}
