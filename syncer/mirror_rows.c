/* mirror_rows.c - the standby's side of a pass that looks only at what changed.
 *
 * Such a pass builds on one that made both trees equal.  Whether it may is decided here:
 * the same worker still runs, the last pass to this tree is the one that the source
 * names, it ended well, and the root is the same directory.  Everything that the rows do
 * not name is taken as equal. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mem.h"
#include "mirror_chan.h"
#include "mirror_memory.h"
#include "mirror_result.h"
#include "mirror_target.h"
#include "tree.h"
#include "tree_dirty.h"
#include "tree_plan.h"

bool
mirror_rows_allowed(const struct mirror_target *t, uint32_t base_pass)
{
	const struct mirror_memory *m = t->memory;
	struct stat st;

	return base_pass != 0 && base_pass == m->got_pass && gen_same(&m->got_gen, &t->c->gen) &&
	    fstat(t->root, &st) == 0 && st.st_dev == m->dev && st.st_ino == m->ino;
}

void
mirror_rows_clear(struct mirror_target *t)
{
	for (size_t i = 0; i < t->nrows; i++)
		free(t->rows[i].path);
	free(t->rows);
	t->rows = NULL;
	t->nrows = 0;
	t->part = false;
}

static bool
row_ok(const struct mirror_target *t, const char *path)
{
	const char *last = t->nrows > 0 ? t->rows[t->nrows - 1].path : NULL;

	return (path[0] == '\0' || tree_path_ok(path)) && t->nrows < TREE_DIRTY_MAX &&
	    (last == NULL || tree_path_cmp(last, path) < 0);
}

int
mirror_rows_take(struct mirror_target *t, struct wire_in *in)
{
	char path[TREE_PATH_MAX];
	bool deep;

	if (!t->may_part)
		return mirror_chan_fail(t->c, "rows without a pass to build on");
	t->part = true;
	while (in->left > 0) {
		deep = wire_get_u8(in) != 0;
		wire_get_str(in, path, sizeof(path));
		if (!wire_in_ok(in) || !row_ok(t, path))
			return mirror_chan_fail(t->c, "malformed rows");
		if ((t->nrows & (t->nrows - 1)) == 0)	/* a power of two: full */
			t->rows = mem_grow(t->rows, t->nrows == 0 ? 1 : t->nrows * 2,
			    sizeof(*t->rows));
		t->rows[t->nrows++] = (struct tree_dirty_row){ mem_dup(path), deep };
	}
	return 0;
}

struct tree_counts
mirror_rows_totals(const struct mirror_target *t, const struct tree_counts *n)
{
	struct tree_counts all = *n;
	uint64_t others;

	if (!t->part)
		return all;
	/* Equal on both sides, and not looked at. */
	others = t->memory->entries > n->dst ? t->memory->entries - n->dst : 0;
	all.src += others;
	all.dst += others;
	return all;
}

void
mirror_rows_remember(struct mirror_target *t, const struct tree_counts *totals)
{
	struct mirror_memory *m = t->memory;
	struct stat st;

	t->r->entries = totals->src;
	m->got_pass = 0;
	if (t->r->outcome != MIRROR_OK || fstat(t->root, &st) == -1)
		return;
	m->got_pass = t->c->pass;
	m->got_gen = t->c->gen;
	m->entries = totals->src;
	m->dev = st.st_dev;
	m->ino = st.st_ino;
}
