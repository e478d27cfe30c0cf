/* tree_apply.h - changes inside a tree, one at a time, each safe against a crash and
 * against names that point elsewhere.
 *
 * Every function takes the root's descriptor and a path that tree_path_ok() allowed,
 * never follows a symbolic link and never leaves the file system.  New content is
 * made beside under a TREE_TMP_PREFIX name and renamed.  Nothing is synced here
 * except where said.  0 or -1 with errno. */
#ifndef SYNCER_TREE_APPLY_H
#define SYNCER_TREE_APPLY_H

#include <stdbool.h>
#include <stdint.h>

struct tree_entry;

int tree_apply_mkdir(int root_fd, const char *path);	/* 0700 until its metadata */
/* Symbolic link, fifo, socket or device with its metadata, over what is there. */
int tree_apply_node(int root_fd, const struct tree_entry *);
/* Mode, owner, attributes, times of what is there; it must be of that type. */
int tree_apply_meta(int root_fd, const struct tree_entry *);
/* Makes e->path a further name of e->target; *changed tells whether it was not. */
int tree_apply_link(int root_fd, const struct tree_entry *, bool *changed);
/* Is e->path a further name of e->target already?  Changes nothing. */
bool tree_apply_linked(int root_fd, const struct tree_entry *e);
int tree_apply_rmdir(int root_fd, const char *path);	/* ENOTEMPTY is success */
int tree_apply_unlink(int root_fd, const char *path);
/* Moves a non-directory into the batch of the hold folder. */
int tree_apply_hold(int root_fd, const char *batch, const char *path);
/* Where tree_apply_hold() put it; the caller frees it. */
char *tree_apply_held(const char *batch, const char *path);
/* Removes batches older than hold_s; batch names begin with seconds since 1970. */
void tree_apply_purge(int root_fd, int64_t now_s, int64_t hold_s);

/* A file in the making.  Its name follows from the file's, so that a later pass finds
 * what this one had to leave.  Until its metadata is set it is ours alone, mode 0600;
 * one that is not is not used. */
struct tree_tmp {
	int fd, dirfd;
	char name[48];		/* of the temporary file */
	char *path;		/* where it will be */
	uint64_t have;		/* bytes that are there already; not trusted */
	bool moved;		/* another name of a file that was held: read only */
};
int tree_tmp_open(struct tree_tmp *, int root_fd, const char *path);
/* Only what an earlier pass left; ENOENT: nothing. */
int tree_tmp_find(struct tree_tmp *, int root_fd, const char *path);
/* The file `held` (a path that tree_apply_held() made), to become `path`.  It keeps its
 * name there too.  -1: not there, not a file, or it has other names already. */
int tree_tmp_move(struct tree_tmp *, int root_fd, const char *held, const char *path);
/* Is dirfd/name such a file, and was it used in the last max_age_s seconds? */
bool tree_tmp_left(int dirfd, const char *name, int64_t max_age_s);
int tree_tmp_meta(struct tree_tmp *, const struct tree_entry *);
int tree_tmp_sync(struct tree_tmp *);		/* fsync of the file */
/* Gives its descriptors back; the file stays.  Before commit or drop: reopen. */
void tree_tmp_close(struct tree_tmp *);
int tree_tmp_reopen(struct tree_tmp *, int root_fd);	/* only the directory */
/* Renames over what is there; clears t in any case. */
int tree_tmp_commit(struct tree_tmp *);
void tree_tmp_drop(struct tree_tmp *);		/* removes it; fine when cleared */
void tree_tmp_leave(struct tree_tmp *);		/* for a later pass; an empty one goes */

#endif
