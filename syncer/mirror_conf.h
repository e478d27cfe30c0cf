/* mirror_conf.h - the `mirror "PATH" { }` sections of syncd.conf as plain structs. */
#ifndef SYNCER_MIRROR_CONF_H
#define SYNCER_MIRROR_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mirror_tree {
	char *path;			/* absolute, the same on both nodes */
	int64_t interval_ms;		/* 0: only on `hactl sync now` */
	char **exclude;			/* of tree_excluded(): `include` behind, with "!" */
	size_t nexclude;
	bool skip_special;		/* fifos, sockets and devices are left alone */
	unsigned max_delete_percent;
	uint64_t delete_always;		/* so many deletions are never refused */
	int64_t hold_deleted_s;		/* 0: deleted at once */
	int compress_level;		/* of zstd, 1 to 19; 0: not compressed */
	bool require_mount;
	bool watch;			/* learn from events what changed */
	int64_t full_walk_interval_ms;	/* so long a pass may rest on events */
	uint64_t file_size_max, entries_max;
};

struct mirror_conf {
	struct mirror_tree *trees;
	size_t ntrees;
};

const struct mirror_tree *mirror_conf_find(const struct mirror_conf *, const char *path);
void mirror_conf_clear(struct mirror_conf *);

#endif
