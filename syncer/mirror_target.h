/* mirror_target.h - one pass on the standby: makes its tree equal to the list that
 * the active sends.  mirror_target.c compares, guards, and does all that needs no
 * content; mirror_fetch.c gets content.  The channel is in the pass already. */
#ifndef SYNCER_MIRROR_TARGET_H
#define SYNCER_MIRROR_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mirror_chan;
struct mirror_memory;
struct mirror_result;
struct mirror_spool;
struct mirror_tree;
struct tree_dirty_row;
struct tree_entry;
struct tree_moves;
struct wire_in;

struct mirror_target {
	struct mirror_chan *c;
	const struct mirror_tree *tree;
	const char *spool_dir;
	int root;
	uint8_t flags;			/* enum mirror_flag */
	bool zstd;			/* the source takes and sends it */
	uint64_t left;			/* files that an earlier pass left half received */
	char batch[40];			/* hold folder of this pass */
	struct mirror_result *r;
	struct mirror_spool *list, *plan;	/* the source's entries; op and entry */
	struct mirror_spool *own;		/* what is here */
	bool own_linked;		/* with files of several names */
	uint64_t nfiles;		/* in the plan, whose content is wanted */
	struct tree_moves *moves;	/* files in the plan that seem to have a new name */
	struct mirror_memory *memory;
	/* A pass by rows (mirror_rows.c): it builds on the one before. */
	bool may_part, part;
	struct tree_dirty_row *rows;
	size_t nrows;
};

/* Everything after BEGIN was accepted; the result went out.  flags: enum mirror_flag;
 * zstd: the source speaks it.  -1: aborted, c->why. */
int mirror_target_run(struct mirror_chan *, const struct mirror_tree *, const char *spool_dir,
    struct mirror_memory *, uint32_t base_pass, uint8_t flags, bool zstd,
    struct mirror_result *);
/* Counts and logs what could not be made equal in one entry (errno). */
void mirror_target_trouble(struct mirror_target *, const char *what, const char *path);
/* mirror_fetch.c: all files of the plan whose content is wanted. */
int mirror_fetch_run(struct mirror_target *);

/* mirror_rows.c: may this pass build on that one (0: none)? */
bool mirror_rows_allowed(const struct mirror_target *, uint32_t base_pass);
/* The next rows of the source; NULL: none after all, a full walk. */
int mirror_rows_take(struct mirror_target *, struct wire_in *);
void mirror_rows_clear(struct mirror_target *);
/* How many entries both trees have, for the guard: rows say it only of a part. */
struct tree_counts;
struct tree_counts mirror_rows_totals(const struct mirror_target *, const struct tree_counts *);
/* The pass is over: what the next one may build on. */
void mirror_rows_remember(struct mirror_target *, const struct tree_counts *totals);

#endif
