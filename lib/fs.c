/* fs.c - files that are there after a power cut, or were never seen.  The order is
 * always: write beside, fsync, rename, fsync the directory.  On failure what stood
 * there before still stands, errno tells why, and nothing is tried twice: after a
 * failed fsync the kernel may have dropped the bytes. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs.h"
#include "hook.h"
#include "mem.h"

#define TREE_DEPTH_MAX 64	/* one descriptor a level */

/* Closes and keeps errno: for the ways out of a failure. */
static int
fail_close(int fd)
{
	int saved = errno;

	if (fd != -1)
		close(fd);
	errno = saved;
	return -1;
}

static int
open_dir(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int
fs_write_all(int fd, const void *src, size_t len)
{
	const char *p = src;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int
fs_pwrite_all(int fd, const void *src, size_t len, off_t at)
{
	const char *p = src;

	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, at);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		p += n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

ssize_t
fs_pread_all(int fd, void *dst, size_t len, off_t at)
{
	char *p = dst;
	size_t got = 0;

	while (got < len) {
		ssize_t n = pread(fd, p + got, len - got, at + (off_t)got);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

/* A name beside `name` that no other writer of this directory uses now.  A file of
 * that name can only be the rest of a crash. */
static int
open_beside(int dirfd, const char *name, char tmp[NAME_MAX + 1])
{
	static _Atomic unsigned count;
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, fd;
	int n = snprintf(tmp, NAME_MAX + 1, ".%s.%d.%u.tmp", name, (int)getpid(), count++);

	if (n > NAME_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = openat(dirfd, tmp, flags, 0600);
	if (fd == -1 && errno == EEXIST && unlinkat(dirfd, tmp, 0) == 0)
		fd = openat(dirfd, tmp, flags, 0600);
	return fd;
}

struct beside {
	int fd;
	char name[NAME_MAX + 1];	/* "" when it has the place of the real one */
};

static int
beside_write(int dirfd, const char *name, const void *p, size_t len, mode_t mode,
    struct beside *b)
{
	b->fd = open_beside(dirfd, name, b->name);
	if (b->fd == -1) {
		b->name[0] = '\0';
		return -1;
	}
	return fs_write_all(b->fd, p, len) == -1 || fchmod(b->fd, mode) == -1 ? -1 : 0;
}

static int
beside_sync(struct beside *b)
{
	int fd = b->fd;

	if (fsync(fd) == -1)
		return -1;
	b->fd = -1;
	return close(fd);
}

static int
beside_undo(int dirfd, struct beside *b, size_t n)
{
	int saved = errno;

	for (size_t i = 0; i < n; i++) {
		if (b[i].fd != -1)
			close(b[i].fd);
		if (b[i].name[0] != '\0')
			unlinkat(dirfd, b[i].name, 0);
	}
	errno = saved;
	return -1;
}

/* The names have changed, and may be lost: no lack of room to be mended by the caller. */
static int
sync_names(int dirfd)
{
	if (hook_on("name-not-synced") || fsync(dirfd) == 0)
		return 0;
	if (errno == ENOSPC || errno == EDQUOT)
		errno = EIO;
	return -1;
}

static int
replace_at(int dirfd, const char *const names[], size_t n, const void *p, size_t len, mode_t mode)
{
	struct beside b[FS_COPIES_MAX];

	assert(n <= FS_COPIES_MAX);
	for (size_t i = 0; i < n; i++)
		if (beside_write(dirfd, names[i], p, len, mode, &b[i]) == -1)
			return beside_undo(dirfd, b, i + 1);
	for (size_t i = 0; i < n; i++)
		if (beside_sync(&b[i]) == -1)
			return beside_undo(dirfd, b, n);
	for (size_t i = 0; i < n; i++) {
		if (renameat(dirfd, b[i].name, dirfd, names[i]) == -1)
			return beside_undo(dirfd, b, n);
		b[i].name[0] = '\0';
	}
	return sync_names(dirfd);
}

int
fs_replace_at(int dirfd, const char *name, const void *p, size_t len, mode_t mode)
{
	return replace_at(dirfd, &name, 1, p, len, mode);
}

int
fs_replace_copies(const char *dir, const char *const names[], size_t n, const void *p, size_t len,
    mode_t mode)
{
	int dirfd = open_dir(dir);

	if (dirfd == -1)
		return -1;
	if (replace_at(dirfd, names, n, p, len, mode) == -1)
		return fail_close(dirfd);
	close(dirfd);
	return 0;
}

int
fs_replace(const char *dir, const char *name, const void *p, size_t len, mode_t mode)
{
	return fs_replace_copies(dir, &name, 1, p, len, mode);
}

int
fs_overwrite(const char *dir, const char *name, const void *p, size_t len)
{
	int dirfd = open_dir(dir), fd, rc = -1;
	struct stat st = { .st_blocks = 0 };

	if (dirfd == -1)
		return -1;
	fd = openat(dirfd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1)
		return fail_close(dirfd);
	if (fstat(fd, &st) == 0 && (uint64_t)st.st_blocks * 512 < len)
		errno = ENOSPC;
	/* The name may be younger than the last sync of the folder. */
	else if (fs_pwrite_all(fd, p, len, 0) == 0 && ftruncate(fd, (off_t)len) == 0 &&
	    fsync(fd) == 0 && sync_names(dirfd) == 0)
		rc = 0;
	fail_close(dirfd);
	if (rc == -1)
		return fail_close(fd);
	return close(fd);
}

/* Reads to the end rather than to st_size: /proc and pipes say 0. */
static int
read_to_end(int fd, size_t max, char **buf, size_t *len)
{
	size_t got = 0, cap = 4096;
	char *p = mem_alloc(cap);

	for (;;) {
		ssize_t n;

		if (got + 1 == cap) {
			cap *= 2;
			p = mem_grow(p, cap, 1);
		}
		n = read(fd, p + got, cap - 1 - got);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == 0)
			break;
		if (n > 0)
			got += (size_t)n;
		if (n > 0 && got > max)
			errno = EFBIG;
		if (n == -1 || got > max) {
			free(p);
			return -1;
		}
	}
	p[got] = '\0';
	*buf = p;
	*len = got;
	return 0;
}

int
fs_read_at(int dirfd, const char *name, size_t max, char **buf, size_t *len)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		return -1;
	if (read_to_end(fd, max, buf, len) == -1)
		return fail_close(fd);
	close(fd);
	return 0;
}

int
fs_read(const char *path, size_t max, char **buf, size_t *len)
{
	return fs_read_at(AT_FDCWD, path, max, buf, len);
}

void
fs_close(int *fd)
{
	if (*fd != -1)
		close(*fd);
	*fd = -1;
}

int
fs_sync_dir(const char *path)
{
	int fd = open_dir(path);

	if (fd == -1)
		return -1;
	if (fsync(fd) == -1)
		return fail_close(fd);
	close(fd);
	return 0;
}

/* The directory that holds the last part of path; path is changed. */
static const char *
parent_of(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash == NULL)
		return ".";
	if (slash == path)
		return "/";
	*slash = '\0';
	return path;
}

/* A folder that was there before may be of a process that died before its name was
 * durable; but not when its parent cannot be read by us, or knows no sync. */
static int
settle_folder(const char *path)
{
	char *copy = mem_dup(path);
	int rc = fs_sync_dir(parent_of(copy));

	free(copy);
	return rc == -1 && (errno == EACCES || errno == EINVAL) ? 0 : rc;
}

/* 0 made, and durable; 1 it was there. */
static int
make_one(const char *path, mode_t mode)
{
	char *copy;
	struct stat st;
	int rc;

	if (mkdir(path, mode) == -1) {
		if (errno != EEXIST)
			return -1;
		if (stat(path, &st) == -1)
			return -1;
		errno = ENOTDIR;
		return S_ISDIR(st.st_mode) ? 1 : -1;
	}
	if (chmod(path, mode) == -1)
		return -1;
	copy = mem_dup(path);
	rc = fs_sync_dir(parent_of(copy));
	free(copy);
	return rc;
}

int
fs_mkdirs(const char *path, mode_t mode)
{
	char *copy = mem_dup(path), *there = NULL;	/* the last that was there */
	size_t len = strlen(copy);
	int rc = 0;

	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	for (char *p = copy + 1; len > 0 && *p != '\0' && rc != -1; p++)
		if (*p == '/') {
			*p = '\0';
			rc = make_one(copy, 0755);
			*p = '/';
			if (rc == 1)
				there = p;
		}
	if (rc != -1)
		rc = make_one(copy, mode);
	/* Each is made when the one before it is durable: so only this one can be in doubt. */
	if (rc == 0 && there != NULL)
		*there = '\0';
	if (rc == 1 || (rc == 0 && there != NULL))
		rc = settle_folder(copy);
	free(copy);
	return rc;
}

int
fs_unlink_durable(const char *dir, const char *name)
{
	int fd = open_dir(dir);

	if (fd == -1)
		return errno == ENOENT ? 0 : -1;
	if (unlinkat(fd, name, 0) == -1 && errno != ENOENT)
		return fail_close(fd);
	if (fsync(fd) == -1)
		return fail_close(fd);
	close(fd);
	return 0;
}

static int remove_entry(int dirfd, const char *name, int depth);

/* Takes over fd. */
static int
empty_dir(int fd, int depth)
{
	DIR *d = fdopendir(fd);
	struct dirent *e;
	int rc = 0, saved;

	if (d == NULL)
		return fail_close(fd);
	while (rc == 0 && (errno = 0, e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			rc = remove_entry(fd, e->d_name, depth + 1);
	if (rc == 0 && errno != 0)
		rc = -1;
	saved = errno;
	closedir(d);
	errno = saved;
	return rc;
}

/* Never follows a link, and never crosses what changed from a directory into one. */
static int
remove_entry(int dirfd, const char *name, int depth)
{
	int fd;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -1;
	if (depth > TREE_DEPTH_MAX) {
		errno = ELOOP;
		return -1;
	}
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1)
		return errno == ENOENT ? 0 : -1;
	if (empty_dir(fd, depth) == -1)
		return -1;
	return unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -1;
}

int
fs_remove_tree(const char *path)
{
	return remove_entry(AT_FDCWD, path, 0);
}

int
fs_free(const char *path, uint64_t *free_bytes, unsigned *used_percent)
{
	struct statvfs v;
	uint64_t used, all;

	if (statvfs(path, &v) == -1)
		return -1;
	used = v.f_blocks - v.f_bfree;
	all = used + v.f_bavail;	/* as df counts: without root's reserve */
	if (free_bytes != NULL)
		*free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	if (used_percent != NULL)
		*used_percent = all == 0 ? 0 : (unsigned)((used * 100 + all - 1) / all);
	return 0;
}

/* What is said of a path that is not only root's; of no size: nobody wants to know, and
 * no name is looked up. */
struct remark {
	char *why;
	size_t size;
};

static int
others_own(const char *path, const struct stat *st, const struct remark *r)
{
	const struct passwd *pw = r->size == 0 ? NULL : getpwuid(st->st_uid);

	snprintf(r->why, r->size, "%s belongs to %s (uid %u), not to root: chown %sroot %s", path,
	    pw == NULL ? "somebody" : pw->pw_name, (unsigned)st->st_uid,
	    S_ISLNK(st->st_mode) ? "-h " : "", path);
	errno = EPERM;
	return -1;
}

static int
others_write(const char *path, const struct stat *st, const struct remark *r)
{
	const struct group *gr = r->size == 0 ? NULL : getgrgid(st->st_gid);

	snprintf(r->why, r->size, "%s (mode %04o, group %s) can be written by others than root: "
	    "chmod go-w %s", path, (unsigned)(st->st_mode & 07777),
	    gr == NULL ? "without a name" : gr->gr_name, path);
	errno = EPERM;
	return -1;
}

static int
trusted_one(const char *path, bool last, const struct remark *r)
{
	struct stat st;
	mode_t loose;

	if (lstat(path, &st) == -1) {
		snprintf(r->why, r->size, "%s: %s", path, strerror(errno));
		return -1;
	}
	if (st.st_uid != 0)
		return others_own(path, &st, r);
	if (S_ISLNK(st.st_mode))
		return 0;	/* its target is looked at under its real name */
	/* Nobody else can rename or remove root's entries of a sticky directory. */
	if (!last && S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX) != 0)
		return 0;
	loose = S_IWOTH | (st.st_gid == 0 ? 0 : S_IWGRP);
	return (st.st_mode & loose) == 0 ? 0 : others_write(path, &st, r);
}

/* Each prefix of an absolute path, because who can write a folder can put another
 * file in its place. */
static int
trusted_chain(char *path, const struct remark *r)
{
	if (trusted_one("/", false, r) == -1)
		return -1;
	for (char *p = path + 1; *p != '\0'; p++)
		if (*p == '/') {
			int rc;

			*p = '\0';
			rc = trusted_one(path, false, r);
			*p = '/';
			if (rc == -1)
				return -1;
		}
	return trusted_one(path, true, r);
}

int
fs_trusted_why(const char *path, char *why, size_t size)
{
	const struct remark r = { why, size };
	char *given, *real = realpath(path, NULL);
	int rc, saved;

	if (real == NULL) {
		snprintf(why, size, "%s: %s", path, strerror(errno));
		return -1;
	}
	given = mem_dup(path[0] == '/' ? path : real);
	rc = trusted_chain(given, &r);
	if (rc == 0)
		rc = trusted_chain(real, &r);
	saved = errno;
	free(given);
	free(real);
	errno = saved;
	return rc;
}

int
fs_trusted(const char *path)
{
	return fs_trusted_why(path, NULL, 0);
}

int
fs_cloexec(int fd, bool nonblock)
{
	int flags = fcntl(fd, F_GETFD);

	if (flags == -1 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) == -1)
		return -1;
	if (!nonblock)
		return 0;
	flags = fcntl(fd, F_GETFL);
	return flags == -1 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}
