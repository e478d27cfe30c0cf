/* mirror_target.c - the standby's half of a pass, all but file content.
 *
 * Order: the source's list, our own, the plan, the guard; then deletions (held),
 * directories and nodes, content, further names, and at last the metadata of
 * directories, because everything before touches their times.  A pass that is cut off
 * anywhere leaves a tree in which each file is whole, old or new; the next pass skips
 * what is equal already, and goes on inside the files that had not arrived.  One syncfs
 * at the end makes all of it durable.  A dry run sends the plan instead and changes
 * nothing.
 *
 * Nothing here trusts the list: paths were checked when it was decoded, and every
 * change goes through tree_apply.h. */
#define _GNU_SOURCE
#include "mirror_target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "fs.h"
#include "hook.h"
#include "log.h"
#include "mem.h"
#include "mirror_chan.h"
#include "mirror_conf.h"
#include "mirror_memory.h"
#include "mirror_source.h"
#include "mirror_spool.h"
#include "tree_apply.h"
#include "tree_moves.h"
#include "tree_plan.h"

#define LEFT_MAX_S 86400	/* a half received file is of use for so long */
#define PLAN_BYTES (64u << 10)

void
mirror_target_trouble(struct mirror_target *t, const char *what, const char *path)
{
	int saved = errno;

	t->r->errors++;
	if (t->r->why[0] == '\0')
		mirror_result_why(t->r, "first trouble: cannot %s %s: %s", what,
		    log_safe(path), strerror(saved));
	errno = saved;
	if (t->r->errors <= 20)
		log_warn("mirror %s: cannot %s %s", t->tree->path, what, log_safe(path));
}

static bool
dry(const struct mirror_target *t)
{
	return (t->flags & MIRROR_DRY_RUN) != 0;
}

static int
local_failure(struct mirror_target *t, const char *what)
{
	return mirror_chan_fail(t->c, "%s: %s: %s", t->tree->path, what, strerror(errno));
}

/* ---- the source's list ------------------------------------------------- */

static int
take_list(struct mirror_target *t, struct wire_in *in, char **last)
{
	struct tree_entry e;

	while (in->left > 0) {
		if (tree_entry_get(in, &e) == -1)
			return mirror_chan_fail(t->c, "malformed list");
		/* The comparison rests on the order, so it is checked. */
		if (*last == NULL ? e.path[0] != '\0' : tree_path_cmp(*last, e.path) >= 0) {
			tree_entry_clear(&e);
			return mirror_chan_fail(t->c, "list out of order");
		}
		if (mirror_spool_put(t->list, 0, &e) == -1 ||
		    mirror_spool_count(t->list) > t->tree->entries_max + 1) {
			tree_entry_clear(&e);
			return local_failure(t, "list is too long or cannot be kept");
		}
		free(*last);
		*last = e.path;
		e.path = NULL;
		tree_entry_clear(&e);
	}
	return 0;
}

/* Rows and list so far count for nothing. */
static void
forget_list(struct mirror_target *t, char **last)
{
	free(*last);
	*last = NULL;
	mirror_rows_clear(t);
	mirror_spool_free(t->list);
	t->list = mirror_spool_new(t->spool_dir);
}

static int
receive_list(struct mirror_target *t)
{
	struct mirror_msg m;
	char *last = NULL;
	int rc;

	while ((rc = mirror_chan_recv(t->c, &m)) == 0) {
		if (m.type == MM_LIST)
			rc = take_list(t, &m.body, &last);
		else if (m.type == MM_ROWS && last == NULL)
			rc = mirror_rows_take(t, &m.body);
		else if (m.type == MM_RESTART)
			forget_list(t, &last);
		else
			break;
		if (rc == -1)
			break;
	}
	free(last);
	if (rc == -1)
		return -1;
	if (m.type != MM_LIST_END)
		return mirror_chan_fail(t->c, "unexpected message %u", m.type);
	t->r->entries = wire_get_u64(&m.body);
	t->r->unreadable = wire_get_u64(&m.body);
	if (!wire_in_done(&m.body) || mirror_spool_count(t->list) != t->r->entries + 1)
		return mirror_chan_fail(t->c, "malformed end of the list");
	return 0;
}

/* ---- our own list ------------------------------------------------------ */

struct own {
	struct mirror_target *t;
	struct mirror_spool *spool;
};

static int
on_entry(void *arg, const struct tree_entry *e)
{
	struct own *o = arg;

	if (mirror_spool_put(o->spool, 0, e) == -1)
		return -1;
	o->t->c->done++;
	if (mirror_chan_tick(o->t->c) == 0)
		return 0;
	errno = ECONNABORTED;
	return -1;
}

/* What an interrupted pass left: kept for a day if this one can go on with it. */
static void
on_stray(void *arg, int dirfd, const char *name)
{
	struct own *o = arg;

	if (tree_tmp_left(dirfd, name, LEFT_MAX_S))
		o->t->left++;
	else if (!dry(o->t))
		(void)unlinkat(dirfd, name, 0);
}

static void
on_trouble(void *arg, const char *path)
{
	struct own *o = arg;

	mirror_target_trouble(o->t, "read", path);
}

/* Into t->own; also notes whether there are files with several names. */
static int
list_own(struct mirror_target *t)
{
	struct own o = { t, mirror_spool_new(t->spool_dir) };
	struct tree_walk w = { .root_fd = t->root, .exclude = t->tree->exclude,
		.nexclude = t->tree->nexclude, .entries_max = t->tree->entries_max,
		.skip_special = t->tree->skip_special,
		.entry = on_entry, .stray = on_stray, .trouble = on_trouble, .arg = &o };
	int rc;

	mirror_spool_free(t->own);
	t->own = o.spool;
	mirror_chan_phase(t->c, "scanning", t->r->entries);
	rc = t->part ? tree_walk_rows(&w, t->rows, t->nrows) : tree_walk(&w);
	t->own_linked = w.linked > 0;
	if (rc == -1 && errno != ECONNABORTED)
		(void)local_failure(t, "cannot be listed");
	return rc;
}

/* Both lists.  For a full walk our own first: the active walks at the same time, and its
 * list waits on the way. */
static int
get_lists(struct mirror_target *t)
{
	if (!t->may_part && list_own(t) == -1)
		return -1;
	if (receive_list(t) == -1 || (t->may_part && list_own(t) == -1))
		return -1;
	if (!t->part || !t->own_linked)
		return 0;
	/* Rows do not say where the other names of a file are. */
	if (mirror_chan_send(t->c, MM_WALK, NULL) == -1 || receive_list(t) == -1)
		return -1;
	return t->part ? mirror_chan_fail(t->c, "rows where a full walk was asked for") :
	    list_own(t);
}

/* ---- the plan ---------------------------------------------------------- */

static bool
wants_content(enum tree_op op, const struct tree_entry *e)
{
	return op == TREE_OP_DATA ||
	    ((op == TREE_OP_CREATE || op == TREE_OP_REPLACE) && e->type == TREE_FILE);
}

/* A replacement becomes two rows: what goes, and what comes. */
static int
plan_row(struct mirror_target *t, enum tree_op op, const struct tree_entry *src,
    const struct tree_entry *dst)
{
	if (op == TREE_OP_SAME)
		return 0;
	if (op == TREE_OP_DELETE || op == TREE_OP_REPLACE)
		if (mirror_spool_put(t->plan, TREE_OP_DELETE, dst) == -1)
			return -1;
	if (op == TREE_OP_DELETE)
		return 0;
	t->nfiles += wants_content(op, src);
	if (op == TREE_OP_REPLACE)
		op = src->type == TREE_LINK ? TREE_OP_LINK : TREE_OP_CREATE;
	return mirror_spool_put(t->plan, (uint8_t)op, src);
}

static int
compare(struct mirror_target *t, struct tree_counts *counts)
{
	struct tree_entry src = { 0 }, dst = { 0 };
	int have_src, have_dst, rc = 0;
	uint8_t op;

	mirror_chan_phase(t->c, "comparing", 0);
	mirror_spool_rewind(t->list);
	mirror_spool_rewind(t->own);
	have_src = mirror_spool_next(t->list, &op, &src);
	have_dst = mirror_spool_next(t->own, &op, &dst);
	while (rc == 0 && (have_src == 1 || have_dst == 1) && have_src >= 0 && have_dst >= 0) {
		struct tree_step step = tree_plan_step(have_src ? &src : NULL,
		    have_dst ? &dst : NULL);

		tree_plan_count(counts, &step, have_src ? &src : NULL);
		rc = plan_row(t, step.op, &src, &dst);
		if (step.next_src) {
			tree_entry_clear(&src);
			have_src = mirror_spool_next(t->list, &op, &src);
		}
		if (step.next_dst) {
			tree_entry_clear(&dst);
			have_dst = mirror_spool_next(t->own, &op, &dst);
		}
	}
	tree_entry_clear(&src);
	tree_entry_clear(&dst);
	if (rc == -1 || have_src == -1 || have_dst == -1)
		return local_failure(t, "the lists cannot be compared");
	return 0;
}

/* What goes here and comes there with another name (a Maildir's flags, a folder that was
 * renamed) is no deletion, and need not be sent: mirror_fetch.c looks whether it is so. */
static int
find_moves(struct mirror_target *t, uint64_t *moved)
{
	static const uint8_t turns[] = { TREE_OP_DELETE, TREE_OP_CREATE };
	uint64_t gone = 0, come = 0;	/* further names of a file: no content is lost with them */
	struct tree_entry e;
	uint8_t op;
	int more = 0;

	t->moves = tree_moves_new();
	for (size_t i = 0; i < sizeof(turns) && more == 0; i++) {
		mirror_spool_rewind(t->plan);
		while ((more = mirror_spool_next(t->plan, &op, &e)) == 1) {
			if (op == turns[i] && op == TREE_OP_DELETE)
				tree_moves_gone(t->moves, &e);
			else if (op == turns[i])
				tree_moves_come(t->moves, &e);
			gone += i == 0 && op == TREE_OP_DELETE && e.type == TREE_LINK;
			come += i == 0 && op == TREE_OP_LINK && !tree_apply_linked(t->root, &e);
			tree_entry_clear(&e);
		}
	}
	*moved = tree_moves_count(t->moves) + (gone < come ? gone : come);
	return more == 0 ? 0 : local_failure(t, "the plan cannot be read");
}

/* ---- the guard --------------------------------------------------------- */

static bool
guarded(struct mirror_target *t, const struct tree_counts *n)
{
	const char *path = t->tree->path;
	enum tree_verdict v = tree_plan_verdict(n, t->tree->max_delete_percent,
	    t->tree->delete_always, (t->flags & MIRROR_ACCEPT_DELETES) != 0);

	if (v == TREE_GO)
		return false;
	if (v == TREE_EMPTY_SOURCE) {
		mirror_result_fail(t->r, MIRROR_REFUSED,
		    "%s is empty on the active, and holds %llu entries on the standby", path,
		    (unsigned long long)n->dst);
		mirror_result_why(t->r, "an empty source is more often a missing file system"
		    " than a wish; nothing was changed");
	} else {
		mirror_result_fail(t->r, MIRROR_REFUSED,
		    "the pass would delete %llu of %llu entries below %s on the standby",
		    (unsigned long long)n->del, (unsigned long long)n->dst, path);
		mirror_result_why(t->r, "max-delete-percent is %u; nothing was changed",
		    t->tree->max_delete_percent);
	}
	mirror_result_hint(t->r, "look at %s on the active; if this is right: "
	    "hactl sync now --accept-deletes", path);
	return true;
}

/* ---- deletions --------------------------------------------------------- */

/* Directories that have to go, innermost last; each is removed when the list has
 * left it. */
struct leaving {
	char *path[TREE_DEPTH_MAX + 1];
	size_t n;
};

static void
leave_until(struct mirror_target *t, struct leaving *l, const char *next)
{
	while (l->n > 0 && (next == NULL || !tree_path_below(next, l->path[l->n - 1]))) {
		char *path = l->path[--l->n];

		if (tree_apply_rmdir(t->root, path) == -1)
			mirror_target_trouble(t, "remove", path);
		free(path);
	}
}

static void
delete_entry(struct mirror_target *t, struct leaving *l, struct tree_entry *e)
{
	int rc = 0;

	leave_until(t, l, e->path);
	if (e->type == TREE_DIR && l->n <= TREE_DEPTH_MAX) {
		l->path[l->n++] = e->path;
		e->path = NULL;
	} else if (t->tree->hold_deleted_s > 0 || tree_moves_count(t->moves) > 0) {
		rc = tree_apply_hold(t->root, t->batch, e->path);
	} else {
		rc = tree_apply_unlink(t->root, e->path);
	}
	if (rc == -1)
		mirror_target_trouble(t, "delete", e->path);
	else
		t->r->deleted++;
}

static int
delete_all(struct mirror_target *t)
{
	struct leaving l = { .n = 0 };
	struct tree_entry e;
	uint8_t op;
	int more, rc = 0;

	mirror_chan_phase(t->c, "deleting", 0);
	mirror_spool_rewind(t->plan);
	while (rc == 0 && (more = mirror_spool_next(t->plan, &op, &e)) == 1) {
		if (op == TREE_OP_DELETE)
			delete_entry(t, &l, &e);
		tree_entry_clear(&e);
		rc = mirror_chan_tick(t->c);
	}
	leave_until(t, &l, NULL);
	return rc == 0 && more == -1 ? local_failure(t, "the plan cannot be read") : rc;
}

/* ---- what needs no content --------------------------------------------- */

static void
create_or_meta(struct mirror_target *t, enum tree_op op, const struct tree_entry *e)
{
	int rc;

	if (op == TREE_OP_META && e->type == TREE_DIR)
		return;			/* finish_dirs does all of them */
	if (op == TREE_OP_META)
		rc = tree_apply_meta(t->root, e);
	else if (e->type == TREE_DIR)
		rc = tree_apply_mkdir(t->root, e->path);
	else
		rc = tree_apply_node(t->root, e);
	if (rc == -1)
		mirror_target_trouble(t, op == TREE_OP_META ? "set metadata of" : "make", e->path);
	else if (op == TREE_OP_META)
		t->r->meta++;
	else
		t->r->created++;
}

static void
link_entry(struct mirror_target *t, const struct tree_entry *e)
{
	bool changed = false;

	if (tree_apply_link(t->root, e, &changed) == 0)
		t->r->created += changed;
	else if (errno == ENOENT)
		t->r->vanished++;	/* its first name went, or did not come: next pass */
	else
		mirror_target_trouble(t, "link", e->path);
}

static void
finish_dir(struct mirror_target *t, const struct tree_entry *e)
{
	struct tree_entry have;

	if (tree_stat(t->root, e->path, &have) == -1) {
		mirror_target_trouble(t, "look at", e->path);
		return;
	}
	if (!tree_meta_same(e, &have)) {
		if (tree_apply_meta(t->root, e) == -1)
			mirror_target_trouble(t, "set metadata of", e->path);
		else
			t->r->meta += e->mode != have.mode || e->uid != have.uid ||
			    e->gid != have.gid;
	}
	tree_entry_clear(&have);
}

enum sweep { SWEEP_NODES, SWEEP_LINKS, SWEEP_DIRS };

static void
sweep_entry(struct mirror_target *t, enum sweep what, enum tree_op op,
    const struct tree_entry *e)
{
	switch (what) {
	case SWEEP_NODES:
		if (op == TREE_OP_META || (op == TREE_OP_CREATE && e->type != TREE_FILE))
			create_or_meta(t, op, e);
		break;
	case SWEEP_LINKS:
		if (op == TREE_OP_LINK)
			link_entry(t, e);
		break;
	case SWEEP_DIRS:
		if (e->type == TREE_DIR)
			finish_dir(t, e);
		break;
	}
}

static int
sweep(struct mirror_target *t, enum sweep what, const char *phase)
{
	struct mirror_spool *from = what == SWEEP_DIRS ? t->list : t->plan;
	struct tree_entry e;
	uint8_t op;
	int more, rc = 0;

	mirror_chan_phase(t->c, phase, mirror_spool_count(from));
	mirror_spool_rewind(from);
	while (rc == 0 && (more = mirror_spool_next(from, &op, &e)) == 1) {
		t->c->done++;
		sweep_entry(t, what, op, &e);
		tree_entry_clear(&e);
		rc = mirror_chan_tick(t->c);
	}
	return rc == 0 && more == -1 ? local_failure(t, "the list cannot be read") : rc;
}

/* ---- the pass ---------------------------------------------------------- */

static int
apply(struct mirror_target *t)
{
	/* Nothing to do, and what the last pass did is on the disk. */
	if (mirror_spool_count(t->plan) == 0 && t->memory->got_pass != 0)
		return 0;
	/* Unread parts of the source look like deletions: then nothing is deleted. */
	if ((t->r->unreadable == 0 || hook_on("mirror-unread-deletes")) &&
	    delete_all(t) == -1)
		return -1;
	if (sweep(t, SWEEP_NODES, "preparing") == -1 || mirror_fetch_run(t) == -1 ||
	    sweep(t, SWEEP_LINKS, "linking") == -1 ||
	    sweep(t, SWEEP_DIRS, "finishing") == -1)
		return -1;
	/* Held only because some of it was needed again. */
	if (t->tree->hold_deleted_s == 0 && tree_moves_count(t->moves) > 0)
		tree_apply_purge(t->root, clock_wall_ms() / 1000 + 1, 0);
	return syncfs(t->root) == 0 ? 0 : local_failure(t, "cannot be synced");
}

static void
conclude(struct mirror_target *t)
{
	struct mirror_result *r = t->r;

	if (r->unreadable > 0) {
		mirror_result_fail(r, MIRROR_FAILED,
		    "%llu entries below %s could not be read on the active; nothing was deleted",
		    (unsigned long long)r->unreadable, t->tree->path);
		mirror_result_hint(r, "see the log of syncd on the active");
	} else if (r->errors > 0) {
		mirror_result_fail(r, MIRROR_FAILED,
		    "%llu entries below %s could not be made equal",
		    (unsigned long long)r->errors, t->tree->path);
		mirror_result_hint(r, "see the log of syncd on the standby");
	}
}

static int
send_result(struct mirror_target *t)
{
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	mirror_result_put(&w, t->r);
	rc = mirror_chan_send(t->c, MM_RESULT, &w);
	wire_out_clear(&w);
	return rc == 0 ? mirror_chan_flush(t->c) : -1;
}

/* ---- dry run ----------------------------------------------------------- */

static void
plan_put(struct mirror_target *t, struct wire_out *w, enum tree_op op,
    const struct tree_entry *e)
{
	struct mirror_result *r = t->r;

	if ((op == TREE_OP_DELETE && r->unreadable > 0) ||
	    (op == TREE_OP_LINK && tree_apply_linked(t->root, e)))
		return;
	r->created += op == TREE_OP_CREATE || op == TREE_OP_LINK;
	r->changed += op == TREE_OP_DATA;
	r->meta += op == TREE_OP_META;
	r->deleted += op == TREE_OP_DELETE;
	wire_put_u8(w, (uint8_t)op);
	wire_put_u8(w, e->type);
	wire_put_str(w, e->path);
}

static int
plan_send(struct mirror_target *t, struct wire_out *w)
{
	int rc = w->len == 0 ? 0 : mirror_chan_send(t->c, MM_PLAN, w);

	wire_out_clear(w);
	return rc;
}

/* What the pass would do, to whom asked. */
static int
tell_plan(struct mirror_target *t)
{
	struct tree_entry e;
	struct wire_out w;
	uint8_t op;
	int more, rc = 0;

	mirror_chan_phase(t->c, "listing", mirror_spool_count(t->plan));
	mirror_spool_rewind(t->plan);
	wire_out_init(&w);
	while (rc == 0 && (more = mirror_spool_next(t->plan, &op, &e)) == 1) {
		t->c->done++;
		plan_put(t, &w, op, &e);
		tree_entry_clear(&e);
		if (w.len >= PLAN_BYTES)
			rc = plan_send(t, &w);
		if (rc == 0)
			rc = mirror_chan_tick(t->c);
	}
	if (rc == 0)
		rc = plan_send(t, &w);
	wire_out_clear(&w);
	return rc == 0 && more == -1 ? local_failure(t, "the plan cannot be read") : rc;
}

/* From here on messages are packed, and compressed if both nodes want that. */
static int
say_ready(struct mirror_target *t)
{
	bool zstd = t->zstd && t->tree->compress_level > 0;
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_u8(&w, zstd);
	wire_put_u8(&w, t->may_part);
	rc = mirror_chan_send(t->c, MM_READY, &w);
	wire_out_clear(&w);
	mirror_chan_pack(t->c, zstd ? t->tree->compress_level : 0);
	return rc;
}

static int
pass(struct mirror_target *t)
{
	struct tree_counts counts = { 0 };
	uint64_t moved = 0;

	if (say_ready(t) == -1 || get_lists(t) == -1)
		return -1;
	if (!dry(t) && !t->part)
		tree_apply_purge(t->root, clock_wall_ms() / 1000, t->tree->hold_deleted_s);
	if (compare(t, &counts) == -1 || (counts.del > 0 && find_moves(t, &moved) == -1))
		return -1;
	counts.del -= moved;
	if (dry(t) && tell_plan(t) == -1)
		return -1;
	counts = mirror_rows_totals(t, &counts);
	if (!guarded(t, &counts)) {
		if (!dry(t) && apply(t) == -1)
			return -1;
		conclude(t);
	}
	if (!dry(t))
		mirror_rows_remember(t, &counts);
	return send_result(t);
}

/* A missing root is made, unless it should be a mount point. */
static int
open_root(struct mirror_target *t)
{
	if (!dry(t) && !t->tree->require_mount && access(t->tree->path, F_OK) == -1 && errno == ENOENT &&
	    fs_mkdirs(t->tree->path, 0755) == -1)
		log_warn("mirror %s: cannot be made", t->tree->path);
	t->root = mirror_source_open(t->tree, t->r);
	if (t->r->outcome != MIRROR_OK && t->r->why[0] == '\0')
		mirror_result_why(t->r, "this is about the standby's directory");
	return t->root == -1 ? -1 : 0;
}

int
mirror_target_run(struct mirror_chan *c, const struct mirror_tree *tree,
    const char *spool_dir, struct mirror_memory *memory, uint32_t base_pass, uint8_t flags,
    bool zstd, struct mirror_result *r)
{
	struct mirror_target t = { .c = c, .tree = tree, .spool_dir = spool_dir,
		.memory = memory, .flags = flags, .zstd = zstd, .r = r };
	int rc;

	r->dry_run = dry(&t);
	if (open_root(&t) == -1)
		return send_result(&t);
	(void)snprintf(t.batch, sizeof(t.batch), "%lld-%08x",
	    (long long)(clock_wall_ms() / 1000), c->pass);
	t.list = mirror_spool_new(spool_dir);
	t.plan = mirror_spool_new(spool_dir);
	t.may_part = mirror_rows_allowed(&t, base_pass);
	rc = pass(&t);
	mirror_rows_clear(&t);
	if (rc == -1 && !dry(&t))
		memory->got_pass = 0;
	mirror_spool_free(t.list);
	mirror_spool_free(t.plan);
	mirror_spool_free(t.own);
	tree_moves_free(t.moves);
	close(t.root);
	return rc;
}
