/* tree_walk.c - lists a tree, and opens what is in it, without ever following a link.
 *
 * Promise: an entry is reported as it was at one moment; what vanishes between
 * readdir and stat is left out, what cannot be read is counted in `unreadable` (the
 * caller then deletes nothing on the other side).  Directories are read whole and
 * sorted by name.  Other file systems are not entered.
 * It changes nothing. */
#define _GNU_SOURCE
#include "tree.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mem.h"
#include "tree_dirty.h"

#define PROC_MAX (64 + NAME_MAX)

/* Files with several names seen so far: open addressing, by device-local inode. */
struct linkset {
	struct slot { uint64_t ino; char *path; } *slots;
	size_t used, size;
};

struct walk {
	struct tree_walk *t;
	struct linkset links;
	bool part;		/* by rows: names elsewhere are not known */
	dev_t dev;
	unsigned depth;
};

static size_t
slot_of(const struct linkset *l, uint64_t ino)
{
	size_t i = (size_t)((ino * 0x9e3779b97f4a7c15u) >> 20) & (l->size - 1);

	while (l->slots[i].path != NULL && l->slots[i].ino != ino)
		i = (i + 1) & (l->size - 1);
	return i;
}

static void
linkset_grow(struct linkset *l)
{
	struct linkset more = { .size = l->size == 0 ? 256 : l->size * 2 };

	more.slots = mem_array(more.size, sizeof(*more.slots));
	for (size_t i = 0; i < l->size; i++)
		if (l->slots[i].path != NULL)
			more.slots[slot_of(&more, l->slots[i].ino)] = l->slots[i];
	more.used = l->used;
	free(l->slots);
	*l = more;
}

/* The first path under which this inode was seen, or NULL when that is this one. */
static const char *
linkset_first(struct linkset *l, uint64_t ino, const char *path)
{
	size_t i;

	if (l->used * 2 >= l->size)
		linkset_grow(l);
	i = slot_of(l, ino);
	if (l->slots[i].path != NULL)
		return l->slots[i].path;
	l->slots[i].ino = ino;
	l->slots[i].path = mem_dup(path);
	l->used++;
	return NULL;
}

static void
linkset_clear(struct linkset *l)
{
	for (size_t i = 0; i < l->size; i++)
		free(l->slots[i].path);
	free(l->slots);
}

/* Extended attributes that mean the same on the other node.  trusted.* and
 * security.selinux are this machine's business. */
static bool
xattr_wanted(const char *name)
{
	return strncmp(name, "user.", 5) == 0 ||
	    strcmp(name, "security.capability") == 0 ||
	    strncmp(name, "system.posix_acl_", 17) == 0;
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
put_xattr(struct wire_out *w, const char *proc, const char *name)
{
	char value[TREE_XATTRS_MAX];
	ssize_t n = lgetxattr(proc, name, value, sizeof(value));

	if (n == -1)
		return errno == ENODATA ? 0 : -1;
	wire_put_str(w, name);
	wire_put_bytes(w, value, (size_t)n);
	if (w->len <= TREE_XATTRS_MAX)
		return 0;
	errno = E2BIG;
	return -1;
}

#ifndef SYS_listxattrat
#define SYS_listxattrat 465	/* Linux 6.13, one number on every machine */
#endif

/* The names: by the call that is made for it, else through /proc, which takes several
 * times as long.  proc: the path for further calls. */
static ssize_t
list_xattrs(int dirfd, const char *name, char *list, size_t size, char proc[PROC_MAX])
{
	static bool missing;	/* the kernel has no such call */
	ssize_t n = -1;

	if (!missing) {
		n = syscall(SYS_listxattrat, dirfd, name, AT_SYMLINK_NOFOLLOW, list, size);
		missing = n == -1 && errno == ENOSYS;
		if (n == 0 || (n == -1 && !missing))
			return n;
	}
	(void)snprintf(proc, PROC_MAX, "/proc/self/fd/%d/%s", dirfd, name);
	return missing ? llistxattr(proc, list, size) : n;
}

static int
read_xattrs(int dirfd, const char *name, struct tree_entry *e)
{
	char proc[PROC_MAX], list[8192], *names[512];
	struct wire_out w;
	size_t count = 0;
	ssize_t n;
	int rc = 0;

	n = list_xattrs(dirfd, name, list, sizeof(list), proc);
	if (n <= 0)
		return n == 0 || errno == ENOTSUP ? 0 : -1;
	for (char *p = list; p < list + n; p += strlen(p) + 1)
		if (xattr_wanted(p) && count < sizeof(names) / sizeof(names[0]))
			names[count++] = p;
	qsort(names, count, sizeof(names[0]), by_text);
	wire_out_init(&w);
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = put_xattr(&w, proc, names[i]);
	if (rc == 0 && w.len > 0) {
		e->xattrs = mem_copy(w.p, w.len);
		e->xattrs_len = w.len;
	}
	wire_out_clear(&w);
	return rc;
}

static uint8_t
type_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR: return TREE_DIR;
	case S_IFREG: return TREE_FILE;
	case S_IFLNK: return TREE_SYMLINK;
	case S_IFIFO: return TREE_FIFO;
	case S_IFSOCK: return TREE_SOCK;
	case S_IFCHR: return TREE_CHR;
	default: return TREE_BLK;
	}
}

static int
read_target(int dirfd, const char *name, struct tree_entry *e)
{
	char text[TREE_PATH_MAX];
	ssize_t n = readlinkat(dirfd, name, text, sizeof(text));

	if (n == -1)
		return -1;
	if (n == 0 || (size_t)n >= sizeof(text)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	e->target = mem_copy(text, (size_t)n);
	return 0;
}

/* Fills e (without path) from dirfd/name; *st for the caller's other questions. */
static int
entry_read(int dirfd, const char *name, struct tree_entry *e, struct stat *st)
{
	memset(e, 0, sizeof(*e));
	if (fstatat(dirfd, name, st, AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	e->type = type_of(st->st_mode);
	e->mode = e->type == TREE_SYMLINK ? 0777 : (uint16_t)(st->st_mode & 07777);
	e->uid = st->st_uid;
	e->gid = st->st_gid;
	e->size = e->type == TREE_FILE ? (uint64_t)st->st_size : 0;
	e->mtime_s = st->st_mtim.tv_sec;
	e->mtime_ns = (uint32_t)st->st_mtim.tv_nsec;
	if (e->type == TREE_CHR || e->type == TREE_BLK) {
		e->major = major(st->st_rdev);
		e->minor = minor(st->st_rdev);
	}
	if (e->type == TREE_SYMLINK)
		return read_target(dirfd, name, e);
	return read_xattrs(dirfd, name, e);
}

struct names {
	char **v;
	size_t n, cap;
};

static void
names_clear(struct names *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i]);
	free(s->v);
}

static void
names_add(struct names *s, const char *name)
{
	if (s->n == s->cap) {
		s->cap = s->cap == 0 ? 64 : s->cap * 2;
		s->v = mem_grow(s->v, s->cap, sizeof(*s->v));
	}
	s->v[s->n++] = mem_dup(name);
}

/* Is the name ours, so that no walk may show it? */
static bool
ours(struct walk *w, int dirfd, const char *dir, const char *name)
{
	if (strncmp(name, TREE_TMP_PREFIX, sizeof(TREE_TMP_PREFIX) - 1) == 0) {
		if (w->t->stray != NULL)
			w->t->stray(w->t->arg, dirfd, name);
		return true;
	}
	return dir[0] == '\0' && strcmp(name, TREE_HOLD_NAME) == 0;
}

static int
read_names(struct walk *w, int dirfd, const char *dir, struct names *out)
{
	int copy = fcntl(dirfd, F_DUPFD_CLOEXEC, 3), saved;
	DIR *d = copy == -1 ? NULL : fdopendir(copy);
	struct dirent *de;

	if (d == NULL) {
		if (copy != -1)
			close(copy);
		return -1;
	}
	rewinddir(d);
	while ((void)(errno = 0), (de = readdir(d)) != NULL) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 ||
		    ours(w, dirfd, dir, de->d_name))
			continue;
		names_add(out, de->d_name);
		if (out->n + w->t->entries > w->t->entries_max) {
			errno = EOVERFLOW;
			break;
		}
	}
	saved = errno;
	closedir(d);
	errno = saved;
	if (out->n > 0)
		qsort(out->v, out->n, sizeof(*out->v), by_text);
	return saved == 0 ? 0 : -1;
}

static void
trouble(struct walk *w, const char *path)
{
	w->t->unreadable++;
	if (w->t->trouble != NULL)
		w->t->trouble(w->t->arg, path);
}

static int
emit(struct walk *w, struct tree_entry *e)
{
	w->t->entries++;
	return w->t->entry(w->t->arg, e);
}

static int walk_dir(struct walk *, int dirfd, const char *dir);

/* A directory that was listed: its inside.  0, or -1 when the walk has to end. */
static int
descend(struct walk *w, int dirfd, const char *name, const char *path)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), rc;

	if (fd == -1) {
		if (errno != ENOENT)
			trouble(w, path);
		return 0;
	}
	if (++w->depth >= TREE_DEPTH_MAX) {
		close(fd);
		errno = ELOOP;
		return -1;
	}
	rc = walk_dir(w, fd, path);
	w->depth--;
	close(fd);
	return rc;
}

/* A further name of a file listed before becomes a TREE_LINK to that. */
static void
find_first_link(struct walk *w, struct tree_entry *e, const struct stat *st)
{
	const char *first;

	if (e->type == TREE_DIR || st->st_nlink < 2)
		return;
	w->t->linked++;
	if (w->part)
		return;
	first = linkset_first(&w->links, st->st_ino, e->path);
	if (first == NULL)
		return;
	e->type = TREE_LINK;
	e->size = 0;
	free(e->target);		/* of a symbolic link */
	e->target = mem_dup(first);
}

/* Not by printf: once for each entry it is felt. */
static char *
join(const char *dir, const char *name)
{
	size_t a = strlen(dir), b = strlen(name);
	char *path = mem_grow(NULL, a + b + 2, 1);

	memcpy(path, dir, a);
	if (a > 0)
		path[a++] = '/';
	memcpy(path + a, name, b + 1);
	return path;
}

/* below: also what is inside, if it is a directory. */
static int
walk_name(struct walk *w, int dirfd, const char *dir, const char *name, bool below)
{
	struct tree_entry e = { 0 };
	struct stat st;
	char *path = join(dir, name);
	int rc = 0;

	if (tree_excluded(path, w->t->exclude, w->t->nexclude)) {
		free(path);
		return 0;
	}
	errno = ENAMETOOLONG;
	if (!tree_path_ok(path) || entry_read(dirfd, name, &e, &st) == -1) {
		if (errno != ENOENT)
			trouble(w, path);
		tree_entry_clear(&e);
		free(path);
		return 0;
	}
	e.path = path;
	if (st.st_dev != w->dev) {
		w->t->other_fs++;
	} else if (!w->t->skip_special || e.type < TREE_FIFO) {
		find_first_link(w, &e, &st);
		rc = emit(w, &e);
		if (rc == 0 && e.type == TREE_DIR && below)
			rc = descend(w, dirfd, name, path);
	}
	tree_entry_clear(&e);
	return rc;
}

static int
walk_dir(struct walk *w, int dirfd, const char *dir)
{
	struct names names = { 0 };
	int rc = 0;

	if (w->t->enter != NULL && w->t->enter(w->t->arg, dirfd, dir) == -1)
		return -1;
	if (read_names(w, dirfd, dir, &names) == -1) {
		if (errno == EOVERFLOW)
			rc = -1;
		else
			trouble(w, dir);
	}
	for (size_t i = 0; i < names.n && rc == 0; i++)
		rc = walk_name(w, dirfd, dir, names.v[i], true);
	names_clear(&names);
	return rc;
}

/* The root itself: its entry, and its file system. */
static int
walk_root(struct walk *w)
{
	struct tree_entry root;
	struct stat st;
	int rc;

	w->t->entries = w->t->unreadable = w->t->other_fs = w->t->linked = 0;
	if (entry_read(w->t->root_fd, ".", &root, &st) == -1)
		return -1;
	w->dev = st.st_dev;
	root.path = mem_dup("");
	rc = w->t->entry(w->t->arg, &root);
	tree_entry_clear(&root);
	return rc;
}

int
tree_walk(struct tree_walk *t)
{
	struct walk w = { .t = t };
	int rc = walk_root(&w);

	if (rc == 0)
		rc = walk_dir(&w, t->root_fd, "");
	linkset_clear(&w.links);
	return rc;
}

/* The directory of a row; kept for the rows that follow in the same one. */
struct place {
	char dir[TREE_PATH_MAX];
	int fd;			/* -1: not there */
	bool known;
};

static void
go_to(struct walk *w, struct place *p, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash != NULL ? (size_t)(slash - path) : 0;

	*name = slash != NULL ? slash + 1 : path;
	if (p->known && strncmp(p->dir, path, len) == 0 && p->dir[len] == '\0')
		return;
	if (p->fd != -1)
		close(p->fd);
	p->known = true;
	memcpy(p->dir, path, len);
	p->dir[len] = '\0';
	p->fd = tree_open_parent(w->t->root_fd, path, name);
	/* A link, a file or another file system on the way: no walk comes here. */
	if (p->fd == -1 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP &&
	    errno != EXDEV)
		trouble(w, path);
}

int
tree_walk_rows(struct tree_walk *t, const struct tree_dirty_row *rows, size_t n)
{
	struct walk w = { .t = t, .part = true };
	struct place at = { .fd = -1 };
	int rc = walk_root(&w);

	for (size_t i = 0; i < n && rc == 0; i++) {
		const char *name;

		if (rows[i].path[0] == '\0') {
			if (rows[i].deep)
				rc = walk_dir(&w, t->root_fd, "");
			continue;
		}
		go_to(&w, &at, rows[i].path, &name);
		w.depth = 0;
		for (const char *p = rows[i].path; *p != '\0'; p++)
			w.depth += *p == '/';
		if (at.fd != -1)
			rc = walk_name(&w, at.fd, at.dir, name, rows[i].deep);
	}
	if (at.fd != -1)
		close(at.fd);
	return rc;
}

int
tree_open_parent(int root_fd, const char *path, const char **name)
{
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV };
	const char *slash = strrchr(path, '/');
	char dir[TREE_PATH_MAX];

	if (path[0] == '\0') {
		*name = ".";
		return fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
	}
	*name = slash != NULL ? slash + 1 : path;
	if (slash == NULL)
		return fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
	assert((size_t)(slash - path) < sizeof(dir));
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
	return (int)syscall(SYS_openat2, root_fd, dir, &how, sizeof(how));
}

int
tree_stat_at(int dirfd, const char *path, struct tree_entry *e)
{
	const char *slash = strrchr(path, '/');
	struct stat st;
	int rc = entry_read(dirfd, path[0] == '\0' ? "." : slash != NULL ? slash + 1 : path, e,
	    &st);

	if (rc == -1)
		tree_entry_clear(e);
	else
		e->path = mem_dup(path);
	return rc;
}

int
tree_stat(int root_fd, const char *path, struct tree_entry *e)
{
	const char *name;
	int rc, dirfd = tree_open_parent(root_fd, path, &name);

	if (dirfd == -1)
		return -1;
	rc = tree_stat_at(dirfd, path, e);
	close(dirfd);
	return rc;
}
