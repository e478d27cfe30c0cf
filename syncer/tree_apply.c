/* tree_apply.c - see tree_apply.h.
 *
 * Metadata is set through a descriptor that was opened with O_PATH | O_NOFOLLOW and
 * looked at first, so that a local user who swaps a name for a link gains nothing.
 * The order is owner, mode, attributes, times: chown clears set-id bits and file
 * capabilities, and everything but times changes no time that we set. */
#define _GNU_SOURCE
#include "tree_apply.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "fs.h"
#include "hex.h"
#include "mem.h"
#include "span.h"
#include "tree.h"

#define PROC_MAX 40

static void
close_quietly(int fd)
{
	int saved = errno;

	if (fd != -1)
		close(fd);
	errno = saved;
}

static void
tmp_name(char name[48])
{
	uint8_t raw[8];
	char hex[17];

	random_bytes(raw, sizeof(raw));
	(void)snprintf(name, 48, "%s%s", TREE_TMP_PREFIX, hex_encode(raw, sizeof(raw), hex));
}

static const char *
proc_path(int fd, char dst[PROC_MAX])
{
	(void)snprintf(dst, PROC_MAX, "/proc/self/fd/%d", fd);
	return dst;
}

static bool
has_xattr(const struct tree_entry *e, struct span wanted)
{
	struct wire_in in;
	struct span name;

	wire_in_init(&in, e->xattrs, e->xattrs_len);
	while (in.left > 0) {
		name = wire_get_span16(&in);
		wire_get_bytes(&in);
		if (!wire_in_ok(&in))
			return false;
		if (name.len == wanted.len && memcmp(name.p, wanted.p, name.len) == 0)
			return true;
	}
	return false;
}

/* Removes attributes that mirror (the walk lists them) but are not wanted. */
static int
drop_xattrs(const char *proc, const struct tree_entry *have, const struct tree_entry *want)
{
	struct wire_in in;
	struct span name;
	char text[256];

	wire_in_init(&in, have->xattrs, have->xattrs_len);
	while (in.left > 0) {
		name = wire_get_span16(&in);
		wire_get_bytes(&in);
		if (!wire_in_ok(&in) || span_copy(name, text, sizeof(text)) == -1)
			break;
		if (has_xattr(want, name))
			continue;	/* set anew below */
		if (removexattr(proc, text) == -1 && errno != ENODATA)
			return -1;
	}
	return 0;
}

static const char acl_name[] = "system.posix_acl_access";

/* Something new below a directory with a default ACL was given that one. */
static int
drop_inherited(const char *proc, const struct tree_entry *want)
{
	if (has_xattr(want, (struct span){ acl_name, sizeof(acl_name) - 1 }) ||
	    removexattr(proc, acl_name) == 0 || errno == ENODATA || errno == ENOTSUP)
		return 0;
	return -1;
}

static int
set_xattrs(const char *proc, const struct tree_entry *want)
{
	struct wire_in in;
	struct span name, value;
	char text[256];

	wire_in_init(&in, want->xattrs, want->xattrs_len);
	while (in.left > 0) {
		name = wire_get_span16(&in);
		value = wire_get_bytes(&in);
		if (!wire_in_ok(&in) || span_copy(name, text, sizeof(text)) == -1) {
			errno = EBADMSG;
			return -1;
		}
		if (setxattr(proc, text, value.p, value.len, 0) == -1)
			return -1;
	}
	return 0;
}

/* fd: any descriptor of the thing, O_PATH is enough.  have: what a walk would list,
 * or NULL for something new. */
static int
set_meta(int fd, const struct tree_entry *e, const struct tree_entry *have)
{
	struct timespec times[2] = { { 0, UTIME_OMIT },
		{ (time_t)e->mtime_s, (long)e->mtime_ns } };
	char proc[PROC_MAX];

	if (fchownat(fd, "", e->uid, e->gid, AT_EMPTY_PATH) == -1)
		return -1;
	proc_path(fd, proc);
	if (e->type != TREE_SYMLINK) {
		/* An ACL that goes must not have its mask set by the mode. */
		if ((have != NULL ? drop_xattrs(proc, have, e) : drop_inherited(proc, e)) == -1 ||
		    chmod(proc, e->mode) == -1)
			return -1;
		if (e->xattrs_len > 0 && set_xattrs(proc, e) == -1)
			return -1;
	}
	return utimensat(fd, "", times, AT_EMPTY_PATH);
}

static bool
type_fits(int fd, enum tree_type want)
{
	static const mode_t modes[] = { 0, S_IFDIR, S_IFREG, S_IFLNK, S_IFREG, S_IFIFO,
		S_IFSOCK, S_IFCHR, S_IFBLK };
	struct stat st;

	if (fstat(fd, &st) == -1)
		return false;
	if ((st.st_mode & S_IFMT) == modes[want])
		return true;
	errno = ESTALE;
	return false;
}

static int
meta_at(int dirfd, const char *name, const struct tree_entry *e, const struct tree_entry *have)
{
	int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), rc = -1;

	if (fd == -1)
		return -1;
	if (type_fits(fd, e->type))
		rc = set_meta(fd, e, have);
	close_quietly(fd);
	return rc;
}

int
tree_apply_meta(int root_fd, const struct tree_entry *e)
{
	struct tree_entry have;
	const char *name;
	int rc, dirfd;

	if (tree_stat(root_fd, e->path, &have) == -1)
		return -1;
	dirfd = tree_open_parent(root_fd, e->path, &name);
	rc = dirfd == -1 ? -1 : meta_at(dirfd, name, e, &have);
	close_quietly(dirfd);
	tree_entry_clear(&have);
	return rc;
}

int
tree_apply_mkdir(int root_fd, const char *path)
{
	const char *name;
	int rc, dirfd = tree_open_parent(root_fd, path, &name);

	if (dirfd == -1)
		return -1;
	rc = mkdirat(dirfd, name, 0700);
	close_quietly(dirfd);
	return rc;
}

static int
make_node(int dirfd, const char *name, const struct tree_entry *e)
{
	dev_t dev = makedev(e->major, e->minor);

	switch (e->type) {
	case TREE_SYMLINK: return symlinkat(e->target, dirfd, name);
	case TREE_FIFO: return mknodat(dirfd, name, S_IFIFO | 0600, 0);
	case TREE_SOCK: return mknodat(dirfd, name, S_IFSOCK | 0600, 0);
	case TREE_CHR: return mknodat(dirfd, name, S_IFCHR | 0600, dev);
	case TREE_BLK: return mknodat(dirfd, name, S_IFBLK | 0600, dev);
	default: errno = EINVAL; return -1;
	}
}

int
tree_apply_node(int root_fd, const struct tree_entry *e)
{
	char tmp[48];
	const char *name;
	int rc = -1, saved, dirfd = tree_open_parent(root_fd, e->path, &name);

	if (dirfd == -1)
		return -1;
	tmp_name(tmp);
	if (make_node(dirfd, tmp, e) == 0) {
		rc = meta_at(dirfd, tmp, e, NULL);
		if (rc == 0)
			rc = renameat(dirfd, tmp, dirfd, name);
		saved = errno;
		if (rc == -1)
			(void)unlinkat(dirfd, tmp, 0);
		errno = saved;
	}
	close_quietly(dirfd);
	return rc;
}

static bool
same_inode(int adir, const char *a, int bdir, const char *b)
{
	struct stat sa, sb;

	return fstatat(adir, a, &sa, AT_SYMLINK_NOFOLLOW) == 0 &&
	    fstatat(bdir, b, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
	    sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* A second name for from: made beside and renamed over `name`. */
static int
link_over(int fromdir, const char *from, int dirfd, const char *name)
{
	char tmp[48];
	int saved;

	tmp_name(tmp);
	if (linkat(fromdir, from, dirfd, tmp, 0) == -1)
		return -1;
	if (renameat(dirfd, tmp, dirfd, name) == 0)
		return 0;
	saved = errno;
	(void)unlinkat(dirfd, tmp, 0);
	errno = saved;
	return -1;
}

int
tree_apply_link(int root_fd, const struct tree_entry *e, bool *changed)
{
	const char *name, *from;
	int rc = -1, fromdir = -1, dirfd = tree_open_parent(root_fd, e->path, &name);

	if (dirfd != -1 && (fromdir = tree_open_parent(root_fd, e->target, &from)) != -1) {
		*changed = !same_inode(fromdir, from, dirfd, name);
		rc = *changed ? link_over(fromdir, from, dirfd, name) : 0;
	}
	close_quietly(fromdir);
	close_quietly(dirfd);
	return rc;
}

bool
tree_apply_linked(int root_fd, const struct tree_entry *e)
{
	const char *name, *from;
	int fromdir = tree_open_parent(root_fd, e->target, &from);
	int dirfd = fromdir == -1 ? -1 : tree_open_parent(root_fd, e->path, &name);
	bool linked = dirfd != -1 && same_inode(fromdir, from, dirfd, name);

	close_quietly(fromdir);
	close_quietly(dirfd);
	return linked;
}

static int
remove_at(int root_fd, const char *path, int flags)
{
	const char *name;
	int rc, dirfd = tree_open_parent(root_fd, path, &name);

	if (dirfd == -1)
		return errno == ENOENT ? 0 : -1;
	rc = unlinkat(dirfd, name, flags);
	close_quietly(dirfd);
	return rc == -1 && errno == ENOENT ? 0 : rc;
}

/* A directory that still holds something (excluded names) stays. */
int
tree_apply_rmdir(int root_fd, const char *path)
{
	int rc = remove_at(root_fd, path, AT_REMOVEDIR);

	return rc == -1 && (errno == ENOTEMPTY || errno == EEXIST) ? 0 : rc;
}

int
tree_apply_unlink(int root_fd, const char *path)
{
	return remove_at(root_fd, path, 0);
}

static int
step_into(int dirfd, const char *name)
{
	if (mkdirat(dirfd, name, 0700) == -1 && errno != EEXIST)
		return -1;
	return openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Opens hold/batch/<directories of path>, making what is missing. */
static int
open_hold(int root_fd, const char *batch, const char *path)
{
	int fd = step_into(root_fd, TREE_HOLD_NAME), next;
	const char *part = batch;
	size_t n = strlen(batch);
	char name[256];

	while (fd != -1) {
		assert(n < sizeof(name));
		memcpy(name, part, n);
		name[n] = '\0';
		next = step_into(fd, name);
		close_quietly(fd);
		fd = next;
		part = part == batch ? path : part + n + 1;
		n = strcspn(part, "/");
		if (part[n] == '\0')
			break;
	}
	return fd;
}

char *
tree_apply_held(const char *batch, const char *path)
{
	return mem_printf("%s/%s/%s", TREE_HOLD_NAME, batch, path);
}

int
tree_apply_hold(int root_fd, const char *batch, const char *path)
{
	const char *name;
	int rc = -1, hold = -1, dirfd = tree_open_parent(root_fd, path, &name);

	if (dirfd == -1)
		return errno == ENOENT ? 0 : -1;
	if ((hold = open_hold(root_fd, batch, path)) != -1)
		rc = renameat(dirfd, name, hold, name);
	if (rc == -1 && errno == ENOENT)
		rc = 0;
	close_quietly(hold);
	close_quietly(dirfd);
	return rc;
}

/* ".mailpair.tmp.r" and a digest of the name: the same file in each pass. */
static void
left_name(char dst[48], const char *name)
{
	uint8_t sha[32];
	char hex[33];

	sha256(name, strlen(name), sha);
	(void)snprintf(dst, 48, "%sr%s", TREE_TMP_PREFIX, hex_encode(sha, 16, hex));
}

/* What an earlier pass left, if nobody else can have touched it: ours, one name, no
 * rights for others.  Anything else under that name is removed. */
static int
open_left(int dirfd, const char *name, uint64_t *have)
{
	struct stat st;
	int fd = openat(dirfd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd == -1 && errno == ENOENT)
		return -1;
	if (fd != -1 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
	    st.st_uid == geteuid() && (st.st_mode & 077) == 0) {
		*have = (uint64_t)st.st_size;
		return fd;
	}
	if (fd != -1)
		close(fd);
	if (unlinkat(dirfd, name, 0) == 0)
		errno = ENOENT;
	return -1;
}

static int
make_tmp(const struct tree_tmp *t)
{
	return openat(t->dirfd, t->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	    0600);
}

static int
tmp_open(struct tree_tmp *t, int root_fd, const char *path, bool make)
{
	const char *name;

	*t = (struct tree_tmp){ .fd = -1, .dirfd = tree_open_parent(root_fd, path, &name) };
	if (t->dirfd == -1)
		return -1;
	left_name(t->name, name);
	if (make)
		t->fd = make_tmp(t);
	if (t->fd == -1 && (!make || errno == EEXIST))
		t->fd = open_left(t->dirfd, t->name, &t->have);
	if (t->fd == -1 && make && errno == ENOENT)
		t->fd = make_tmp(t);	/* what was in the way is gone */
	if (t->fd == -1) {
		close_quietly(t->dirfd);
		t->dirfd = -1;
		return -1;
	}
	t->path = mem_dup(path);
	return 0;
}

int
tree_tmp_open(struct tree_tmp *t, int root_fd, const char *path)
{
	return tmp_open(t, root_fd, path, true);
}

int
tree_tmp_find(struct tree_tmp *t, int root_fd, const char *path)
{
	return tmp_open(t, root_fd, path, false);
}

bool
tree_tmp_left(int dirfd, const char *name, int64_t max_age_s)
{
	static const char prefix[] = TREE_TMP_PREFIX "r";
	struct timespec now;
	struct stat st;

	return strncmp(name, prefix, sizeof(prefix) - 1) == 0 &&
	    clock_gettime(CLOCK_REALTIME, &now) == 0 &&
	    fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	    now.tv_sec - st.st_ctim.tv_sec <= max_age_s;
}

int
tree_tmp_move(struct tree_tmp *t, int root_fd, const char *held, const char *path)
{
	const char *from, *name;
	struct stat st;
	int holddir = tree_open_parent(root_fd, held, &from);

	*t = (struct tree_tmp){ .fd = -1, .dirfd = -1 };
	if (holddir == -1)
		return -1;
	t->fd = openat(holddir, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	t->dirfd = t->fd == -1 ? -1 : tree_open_parent(root_fd, path, &name);
	tmp_name(t->name);
	errno = ESTALE;
	if (t->dirfd == -1 || fstat(t->fd, &st) == -1 || !S_ISREG(st.st_mode) ||
	    st.st_nlink != 1 || linkat(holddir, from, t->dirfd, t->name, 0) == -1) {
		close_quietly(t->fd);
		close_quietly(t->dirfd);
		close_quietly(holddir);
		*t = (struct tree_tmp){ .fd = -1, .dirfd = -1 };
		return -1;
	}
	close(holddir);
	t->path = mem_dup(path);
	t->have = (uint64_t)st.st_size;
	t->moved = true;
	return 0;
}

/* As set_meta(), for a file that was just made and is open: without paths, and without
 * what is so already.  Once for each new file it is felt. */
static int
new_meta(const struct tree_tmp *t, const struct tree_entry *e)
{
	struct timespec times[2] = { { 0, UTIME_OMIT },
		{ (time_t)e->mtime_s, (long)e->mtime_ns } };
	char proc[PROC_MAX];
	struct stat st;

	if (fstat(t->fd, &st) == -1 || ((st.st_uid != e->uid || st.st_gid != e->gid) &&
	    fchown(t->fd, e->uid, e->gid) == -1))
		return -1;
	if (!has_xattr(e, (struct span){ acl_name, sizeof(acl_name) - 1 }) &&
	    fremovexattr(t->fd, acl_name) == -1 && errno != ENODATA && errno != ENOTSUP)
		return -1;
	if (fchmod(t->fd, e->mode) == -1 ||
	    (e->xattrs_len > 0 && set_xattrs(proc_path(t->fd, proc), e) == -1))
		return -1;
	return futimens(t->fd, times);
}

int
tree_tmp_meta(struct tree_tmp *t, const struct tree_entry *e)
{
	struct tree_entry have;
	int rc;

	if (!t->moved)
		return new_meta(t, e);
	if (tree_stat(t->dirfd, t->name, &have) == -1)
		return -1;
	rc = set_meta(t->fd, e, &have);
	tree_entry_clear(&have);
	return rc;
}

int
tree_tmp_sync(struct tree_tmp *t)
{
	return fsync(t->fd);
}

void
tree_tmp_close(struct tree_tmp *t)
{
	close_quietly(t->fd);
	close_quietly(t->dirfd);
	t->fd = t->dirfd = -1;
}

int
tree_tmp_reopen(struct tree_tmp *t, int root_fd)
{
	const char *name;

	if (t->path != NULL && t->dirfd == -1)
		t->dirfd = tree_open_parent(root_fd, t->path, &name);
	return t->dirfd == -1 ? -1 : 0;
}

static void
tmp_clear(struct tree_tmp *t)
{
	tree_tmp_close(t);
	free(t->path);
	*t = (struct tree_tmp){ .fd = -1, .dirfd = -1 };
}

int
tree_tmp_commit(struct tree_tmp *t)
{
	const char *slash = strrchr(t->path, '/');
	int rc = t->fd == -1 ? 0 : close(t->fd);

	t->fd = -1;
	if (rc == 0)
		rc = renameat(t->dirfd, t->name, t->dirfd, slash != NULL ? slash + 1 : t->path);
	if (rc == -1)
		tree_tmp_drop(t);
	else
		tmp_clear(t);
	return rc;
}

void
tree_tmp_drop(struct tree_tmp *t)
{
	int saved = errno;

	if (t->path == NULL)
		return;
	(void)unlinkat(t->dirfd, t->name, 0);
	tmp_clear(t);
	errno = saved;
}

void
tree_tmp_leave(struct tree_tmp *t)
{
	struct stat st;

	if (t->path == NULL)
		return;
	if (!t->moved && fstat(t->fd, &st) == 0 && st.st_size > 0)
		tmp_clear(t);
	else
		tree_tmp_drop(t);
}
