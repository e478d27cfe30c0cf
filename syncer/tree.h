/* tree.h - what a directory tree looks like: entries, their wire form, their order,
 * which paths may be named at all, and the walk that lists them.
 *
 * A walk never follows a symbolic link, never leaves the file system of the root,
 * and is in one fixed order (parents first, names by their bytes), so that two lists
 * can be compared as streams.  Memory: one directory at a time and the names of files
 * with several links.  What cannot be read is counted, never left out silently. */
#ifndef SYNCER_TREE_H
#define SYNCER_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "wire.h"

/* Names of our own inside a tree; no walk lists them. */
#define TREE_TMP_PREFIX ".mailpair.tmp."
#define TREE_HOLD_NAME ".mailpair-held"		/* in the root only */

#define TREE_PATH_MAX 4096u
#define TREE_XATTRS_MAX 65536u		/* names and values of one entry */
#define TREE_DEPTH_MAX 256u

enum tree_type {
	TREE_DIR = 1, TREE_FILE, TREE_SYMLINK,
	TREE_LINK,		/* a further name of the file `target`, listed before */
	TREE_FIFO, TREE_SOCK, TREE_CHR, TREE_BLK,
};
const char *tree_type_name(enum tree_type);

struct tree_entry {
	uint8_t type;		/* enum tree_type */
	uint16_t mode;		/* 07777 */
	uint32_t uid, gid;
	uint64_t size;		/* TREE_FILE only */
	int64_t mtime_s;
	uint32_t mtime_ns;
	uint32_t major, minor;	/* devices only */
	char *path;		/* relative; "" is the root itself */
	char *target;		/* TREE_SYMLINK, TREE_LINK; else NULL */
	uint8_t *xattrs;	/* sorted: str name, bytes value, ... ; NULL: none */
	size_t xattrs_len;
};
void tree_entry_clear(struct tree_entry *);
void tree_entry_put(struct wire_out *, const struct tree_entry *);
/* 0, or -1 and EBADMSG: what is malformed, or names a path that it must not. */
int tree_entry_get(struct wire_in *, struct tree_entry *);
/* Same mode, owner, time and extended attributes (not content). */
bool tree_meta_same(const struct tree_entry *, const struct tree_entry *);
/* SHA-256 of the wire form: equal trees have equal lists of these. */
void tree_entry_digest(const struct tree_entry *, uint8_t sha[32]);

/* The order of a walk: "/" sorts before every other byte. */
int tree_path_cmp(const char *, const char *);
/* Is `path` inside the directory `dir` ("" holds everything)? */
bool tree_path_below(const char *path, const char *dir);
/* Relative, no empty, "." or ".." part, not ours, within the limits. */
bool tree_path_ok(const char *);
/* fnmatch on the whole relative path, and on its last part when the pattern has no
 * slash; of the patterns that match, the last one decides, and one that begins with "!"
 * takes back.  True when that leaves out the path or a directory above it. */
bool tree_excluded(const char *path, char *const *patterns, size_t n);

struct tree_dirty_row;
struct tree_walk {
	int root_fd;
	char *const *exclude;
	size_t nexclude;
	uint64_t entries_max;
	bool skip_special;	/* fifos, sockets and devices are not listed */
	/* Each entry; -1 ends the walk with that errno. */
	int (*entry)(void *arg, const struct tree_entry *);
	/* An abandoned TREE_TMP_PREFIX file; NULL: ignored. */
	void (*stray)(void *arg, int dirfd, const char *name);
	/* A directory, opened, before it is read; -1 ends the walk with that errno. */
	int (*enter)(void *arg, int dirfd, const char *path);
	/* Something that could not be read, with errno; NULL: only counted. */
	void (*trouble)(void *arg, const char *path);
	void *arg;
	/* Out: */
	uint64_t entries, unreadable, other_fs;
	uint64_t linked;	/* files with several names that were listed */
};
/* 0 or -1: the root is unreadable, ELOOP (too deep), EOVERFLOW (too many). */
int tree_walk(struct tree_walk *);
/* The root, and of everything else only what these rows name (in the order of a walk,
 * see tree_dirty.h); what is not there, or not reachable any more, is left out.  A file
 * with several names is listed as a file of its own. */
int tree_walk_rows(struct tree_walk *, const struct tree_dirty_row *, size_t);
/* Reads one entry anew; target is only set for symbolic links.  -1 with errno. */
int tree_stat(int root_fd, const char *path, struct tree_entry *);
/* The same, when the directory that holds it is open. */
int tree_stat_at(int dirfd, const char *path, struct tree_entry *);
/* Opens the directory that holds path, never through a link; *name is the last part
 * (inside path).  For "" the directory is the root and the name ".". */
int tree_open_parent(int root_fd, const char *path, const char **name);

#endif
