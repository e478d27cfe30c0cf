/* nthcall.c - see nthcall.h.  Preloaded into tests/fault, or into a daemon of a pair; there
 * the variable NTHCALL says what to do: "at how errno root once", with how = fail, all (it and
 * those behind it fail), kill or after, errno as a number, and once = a file that says that it has happened (so that a
 * process that is started again meets no second fault).
 *
 * The picture of the disk is a folder: i<inode> holds the bytes of a file that were synced,
 * d<inode> the names of a folder when it was synced last.  Beside it, in memory, which
 * bytes of each file were written since.  A sync takes these over; a sync that fails drops
 * them, as the kernel does, which calls the pages clean and never writes them.
 * Stricter than any file system: a sync of a file makes no name durable.
 * Cannot: follow writes by mmap, hard links.  Our own work is by syscall(), not by the
 * functions that stand here. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "nthcall.h"

#define INODES 2048
#define RANGES 256
#define LIST 4096

struct range { off_t from, to; };
struct file { ino_t ino; unsigned n; struct range r[RANGES]; };

struct shared {
	atomic_flag lock;
	bool picture;			/* else only faults */
	char root[PATH_MAX], shadow[PATH_MAX], once[PATH_MAX];
	atomic_long count;
	long at;
	enum nth_how how;
	int err;
	bool sticky, hit;
	char call[200];
	char list[LIST][100];
	unsigned nfiles;
	struct file files[INODES];
};
static struct shared *s;

enum call { WRITE, OVERWRITE, SYNC, RENAME, LINK, UNLINK, OPEN, MAKE, TRUNCATE, ALLOCATE, MKDIR, CLOSE, MAP };

/* ---- the machine's own calls ---- */

static void
stop(const char *why)
{
	dprintf(2, "nthcall: %s: %s\n", why, strerror(errno));
	abort();
}

static int
raw_open(const char *path, int flags)
{
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

static void
copy_bytes(int from, int to, off_t at, off_t end)
{
	char buf[65536];

	while (at < end) {
		size_t want = end - at < (off_t)sizeof(buf) ? (size_t)(end - at) : sizeof(buf);
		ssize_t n = pread(from, buf, want, at);

		if (n <= 0)
			break;
		if (syscall(SYS_pwrite64, to, buf, (size_t)n, at) != n)
			stop("picture");
		at += n;
	}
}

static void
lock(void)
{
	while (atomic_flag_test_and_set(&s->lock))
		;
}

static void
unlock(void)
{
	atomic_flag_clear(&s->lock);
}

/* ---- which files ---- */

static bool
below_root(const char *path)
{
	size_t n = strlen(s->root);

	return strncmp(path, s->root, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static bool
fd_path(int fd, char path[PATH_MAX])
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, PATH_MAX - 1);
	if (n < 0)
		return false;
	path[n] = '\0';
	return true;
}

static bool
watched_fd(int fd, char path[PATH_MAX])
{
	int e = errno;
	bool is = s != NULL && fd_path(fd, path) && below_root(path);

	errno = e;
	return is;
}

static bool
watched_at(int dirfd, const char *name, char path[PATH_MAX])
{
	char dir[PATH_MAX] = ".";
	int e = errno;
	bool is = s != NULL;

	if (is && name[0] == '/') {
		snprintf(path, PATH_MAX, "%s", name);
	} else if (is) {
		is = dirfd == AT_FDCWD ? getcwd(dir, sizeof(dir)) != NULL : fd_path(dirfd, dir);
		if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
			is = false;
	}
	is = is && below_root(path);
	errno = e;
	return is;
}

/* ---- the picture ---- */

static struct file *
file_of(ino_t ino)
{
	for (unsigned i = 0; i < s->nfiles; i++)
		if (s->files[i].ino == ino)
			return &s->files[i];
	if (s->nfiles == INODES)
		stop("more files than there is room for");
	s->files[s->nfiles] = (struct file) { .ino = ino };
	return &s->files[s->nfiles++];
}

static void
dirty(ino_t ino, off_t from, off_t to)
{
	struct file *f;

	if (from >= to || !s->picture)
		return;
	lock();
	f = file_of(ino);
	for (unsigned i = 0; i < f->n; i++) {
		if (from <= f->r[i].to && to >= f->r[i].from) {
			f->r[i].from = from < f->r[i].from ? from : f->r[i].from;
			f->r[i].to = to > f->r[i].to ? to : f->r[i].to;
			unlock();
			return;
		}
	}
	if (f->n == RANGES)
		stop("more writes between two syncs than there is room for");
	f->r[f->n++] = (struct range) { from, to };
	unlock();
}

static int
shadow_open(char kind, ino_t ino, int flags)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%c%llu", s->shadow, kind, (unsigned long long)ino);
	return raw_open(path, flags);
}

/* What was written to the file since the last sync is on the disk now. */
static void
keep_file(int fd, const struct stat *st)
{
	int to = shadow_open('i', st->st_ino, O_WRONLY | O_CREAT);
	char path[64];
	struct file *f;
	int from;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	from = raw_open(path, O_RDONLY);
	if (to == -1 || from == -1)
		stop("picture of a file");
	lock();
	f = file_of(st->st_ino);
	for (unsigned i = 0; i < f->n; i++)
		copy_bytes(from, to, f->r[i].from, f->r[i].to);
	f->n = 0;
	unlock();
	if (syscall(SYS_ftruncate, to, st->st_size) == -1)
		stop("picture of a file");
	syscall(SYS_close, to);
	syscall(SYS_close, from);
}

static void
keep_dir(const char *path, ino_t ino)
{
	char tmp[PATH_MAX + 32], name[PATH_MAX + 32];
	DIR *d = opendir(path);
	struct dirent *e;
	struct stat st;
	FILE *f;

	snprintf(tmp, sizeof(tmp), "%s/new", s->shadow);
	snprintf(name, sizeof(name), "%s/d%llu", s->shadow, (unsigned long long)ino);
	if (d == NULL || (f = fopen(tmp, "w")) == NULL)
		stop("picture of a folder");
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			fprintf(f, "%llu %c %s\n", (unsigned long long)st.st_ino,
			    S_ISDIR(st.st_mode) ? 'd' : 'f', e->d_name);
	closedir(d);
	if (fclose(f) == EOF || syscall(SYS_rename, tmp, name) == -1)
		stop("picture of a folder");
}

/* whole: each file with all of its bytes, as when the watch begins. */
static void
keep_tree(const char *path, bool whole)
{
	char sub[PATH_MAX];
	struct dirent *e;
	struct stat st;
	DIR *d;
	int fd;

	if (lstat(path, &st) == -1)
		return;
	if (S_ISREG(st.st_mode)) {
		if ((fd = raw_open(path, O_RDONLY)) == -1)
			stop(path);
		if (whole)
			dirty(st.st_ino, 0, st.st_size);
		keep_file(fd, &st);
		syscall(SYS_close, fd);
	}
	if (!S_ISDIR(st.st_mode) || (d = opendir(path)) == NULL)
		return;
	keep_dir(path, st.st_ino);
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name) < PATH_MAX)
			keep_tree(sub, whole);
	closedir(d);
}

static void
drop(ino_t ino)
{
	lock();
	file_of(ino)->n = 0;
	unlock();
}

static void
synced(int fd, const char *path, bool all, bool ok)
{
	struct stat st;
	int e = errno;

	if (!s->picture)
		return;
	if (all && ok)
		keep_tree(s->root, false);
	for (unsigned i = 0; all && !ok && i < s->nfiles; i++)
		s->files[i].n = 0;
	if (!all && fstat(fd, &st) == 0) {
		if (!ok)
			drop(st.st_ino);
		else if (S_ISDIR(st.st_mode))
			keep_dir(path, st.st_ino);
		else
			keep_file(fd, &st);
	}
	errno = e;
}

/* ---- a power cut ---- */

struct cut { enum nth_cut how; unsigned seed; bool now; };
struct entry { ino_t ino; char type; char name[256]; };

static bool
coin(struct cut *c)
{
	c->seed = c->seed * 1664525 + 1013904223;
	return (c->seed >> 16 & 1) != 0;
}

static bool
find_now(const char *path, ino_t ino, char found[PATH_MAX])
{
	DIR *d = opendir(path);
	char sub[PATH_MAX];
	struct dirent *e;
	bool is = false;

	while (d != NULL && !is && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name) >= PATH_MAX)
			continue;
		if (e->d_ino == ino) {
			memcpy(found, sub, strlen(sub) + 1);
			is = true;
		} else if (e->d_type == DT_DIR) {
			is = find_now(sub, ino, found);
		}
	}
	if (d != NULL)
		closedir(d);
	return is;
}

static void
cut_file(struct cut *c, ino_t ino, const char *dst)
{
	int to = raw_open(dst, O_WRONLY | O_CREAT | O_TRUNC), from;
	char now[PATH_MAX];
	struct file *f;
	struct stat st;

	if (to == -1)
		stop(dst);
	if ((from = shadow_open('i', ino, O_RDONLY)) != -1) {
		if (fstat(from, &st) == -1)
			stop(dst);
		copy_bytes(from, to, 0, st.st_size);
		syscall(SYS_close, from);
	}
	if (c->how == NTH_SOME && find_now(s->root, ino, now) &&
	    (from = raw_open(now, O_RDONLY)) != -1) {
		f = file_of(ino);
		for (unsigned i = 0; i < f->n; i++)
			if (coin(c))
				copy_bytes(from, to, f->r[i].from, coin(c) ? f->r[i].to :
				    f->r[i].from + (f->r[i].to - f->r[i].from) / 2);
		syscall(SYS_close, from);
	}
	syscall(SYS_close, to);
}

static unsigned
read_names(int fd, struct entry *list, unsigned max)
{
	FILE *f = fd == -1 ? NULL : fdopen(fd, "r");
	unsigned long long ino;
	unsigned n = 0;
	char line[400];

	while (f != NULL && fgets(line, sizeof(line), f) != NULL && n < max) {
		struct entry *e = &list[n];

		if (sscanf(line, "%llu %c %255s", &ino, &e->type, e->name) == 3) {
			e->ino = ino;
			n++;
		}
	}
	if (f != NULL)
		fclose(f);
	return n;
}

/* The names of a folder after the cut.  File systems keep the order in which names are
 * made and removed, over all folders: so all of them are those that were synced, or
 * those of now. */
static unsigned
cut_names(struct cut *c, ino_t ino, struct entry *list, unsigned max)
{
	return read_names(shadow_open(c->now ? 'n' : 'd', ino, O_RDONLY), list, max);
}

static void
cut_dir(struct cut *c, ino_t ino, const char *dst)
{
	unsigned max = 1024;
	struct entry *list = calloc(max, sizeof(*list));
	unsigned n = cut_names(c, ino, list, max);
	char sub[PATH_MAX];

	if (syscall(SYS_mkdir, dst, 0700) == -1)
		stop(dst);
	for (unsigned i = 0; i < n; i++) {
		if (snprintf(sub, sizeof(sub), "%s/%s", dst, list[i].name) >= PATH_MAX)
			stop("path too long");
		if (list[i].type == 'd')
			cut_dir(c, list[i].ino, sub);
		else
			cut_file(c, list[i].ino, sub);
	}
	free(list);
}

/* The names of now, as n<inode> beside d<inode>. */
static void
names_now(const char *path)
{
	char sub[PATH_MAX], from[PATH_MAX + 32], to[PATH_MAX + 32], keep[PATH_MAX + 32];
	struct dirent *e;
	struct stat st;
	bool had;
	DIR *d;

	if (lstat(path, &st) == -1 || !S_ISDIR(st.st_mode) || (d = opendir(path)) == NULL)
		return;
	snprintf(from, sizeof(from), "%s/d%llu", s->shadow, (unsigned long long)st.st_ino);
	snprintf(to, sizeof(to), "%s/n%llu", s->shadow, (unsigned long long)st.st_ino);
	snprintf(keep, sizeof(keep), "%s/keep", s->shadow);
	had = syscall(SYS_rename, from, keep) == 0;
	keep_dir(path, st.st_ino);
	if (syscall(SYS_rename, from, to) == -1 || (had && syscall(SYS_rename, keep, from) == -1))
		stop("names");
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name) < PATH_MAX)
			names_now(sub);
	closedir(d);
}

nthcall_begin_fn nthcall_begin;
nthcall_arm_fn nthcall_arm;
nthcall_facts_fn nthcall_facts;
nthcall_name_fn nthcall_name;
nthcall_cut_fn nthcall_cut;

void
nthcall_cut(const char *dst, enum nth_cut how, unsigned seed)
{
	struct cut c = { how, seed, how == NTH_NAMES };
	struct stat st;

	if (how == NTH_SOME)
		c.now = coin(&c);
	if (stat(s->root, &st) == -1)
		stop(s->root);
	names_now(s->root);
	cut_dir(&c, st.st_ino, dst);
}

/* ---- control ---- */

static void
share(void)
{
	if (s == NULL)
		s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		stop("no memory");
}

void
nthcall_begin(const char *root, const char *shadow)
{
	share();
	atomic_flag_clear(&s->lock);
	snprintf(s->root, sizeof(s->root), "%s", root);
	snprintf(s->shadow, sizeof(s->shadow), "%s", shadow);
	s->picture = true;
	s->nfiles = 0;
	nthcall_arm(0, NTH_COUNT, 0, false);
	keep_tree(s->root, true);
}

void
nthcall_arm(long at, enum nth_how how, int err, bool sticky)
{
	atomic_flag_clear(&s->lock);	/* of a process that was killed */
	atomic_store(&s->count, 0);
	s->at = at;
	s->how = how;
	s->err = err;
	s->sticky = sticky;
	s->hit = false;
	s->call[0] = '\0';
}

void
nthcall_facts(struct nth_facts *f)
{
	*f = (struct nth_facts) { .calls = atomic_load(&s->count), .hit = s->hit };
	memcpy(f->call, s->call, sizeof(f->call));
}

const char *
nthcall_name(long n)
{
	return n > 0 && n < LIST ? s->list[n] : "";
}

__attribute__((constructor)) static void
from_environment(void)
{
	const char *text = getenv("NTHCALL");
	char how[8], root[1024], once[1024];
	long at;
	int err;

	if (text == NULL)
		return;
	if (sscanf(text, "%ld %7s %d %1023s %1023s", &at, how, &err, root, once) != 5)
		stop("NTHCALL is: at how errno root once");
	if (access(once, F_OK) == 0)
		at = 0;
	share();
	snprintf(s->root, sizeof(s->root), "%s", root);
	snprintf(s->once, sizeof(s->once), "%s", once);
	nthcall_arm(at, strcmp(how, "kill") == 0 ? NTH_KILL : strcmp(how, "after") == 0 ?
	    NTH_AFTER : NTH_FAIL, err, strcmp(how, "all") == 0);
}

/* ---- the fault ---- */

static const char *const names[] = {
	[WRITE] = "write", [OVERWRITE] = "write", [SYNC] = "fsync", [RENAME] = "rename", [LINK] = "link",
	[UNLINK] = "unlink", [OPEN] = "open", [MAKE] = "create", [TRUNCATE] = "ftruncate",
	[ALLOCATE] = "fallocate", [MKDIR] = "mkdir", [CLOSE] = "close", [MAP] = "mmap",
};

static bool
applies(enum call c, int err)
{
	switch (err) {
	case ENOSPC:
	case EDQUOT:
		return c == WRITE || c == OVERWRITE || c == SYNC || c == RENAME || c == LINK || c == MAKE ||
		    c == ALLOCATE || c == MKDIR;
	case EROFS:	/* the file system stopped itself */
		return c != OPEN && c != CLOSE && c != MAP;
	case ENOMEM:
		return c == RENAME || c == LINK || c == UNLINK || c == OPEN || c == MAKE ||
		    c == MKDIR || c == MAP;
	default:
		return true;
	}
}

/* Of those behind the first: a write into the page cache needs no disk; and what has its
 * place needs no room, nor does the sync of what was taken, whose room is reserved. */
static bool
goes_on_failing(enum call c, int err)
{
	if (err == EIO)
		return c != WRITE && c != OVERWRITE && c != OPEN && c != CLOSE && c != MAP;
	return err == EROFS || (c != OVERWRITE && c != SYNC);
}

static void
die(void)
{
	kill(getpid(), SIGKILL);
	for (;;)		/* a daemon's filter may refuse the one, not the other */
		syscall(SYS_exit_group, 128 + SIGKILL);
}

static void
remember(enum call c, const char *path, long n)
{
	int fd;

	s->hit = true;
	snprintf(s->call, sizeof(s->call), "%s %s, call %ld", names[c], path + strlen(s->root),
	    n);
	if (s->once[0] != '\0' && (fd = raw_open(s->once, O_WRONLY | O_CREAT)) != -1) {
		(void)!syscall(SYS_write, fd, s->call, strlen(s->call));
		syscall(SYS_close, fd);
	}
}

/* What happens to this call: 0 nothing, an errno, or one of these. */
#define CUT_SHORT (-1)
#define DIE_BEHIND (-2)

static int
fate(enum call c, const char *path)
{
	long n = atomic_fetch_add(&s->count, 1) + 1;

	if (s->how == NTH_FAIL_KILL && s->hit && n == s->at + NTH_LATER)
		die();
	if (s->how == NTH_LIST && n < LIST)
		snprintf(s->list[n], sizeof(s->list[n]), "%s %s", names[c], path + strlen(s->root));
	if (s->at == 0 || n < s->at || (n > s->at && !s->sticky))
		return 0;
	if (((s->how == NTH_FAIL || s->how == NTH_FAIL_KILL) && !applies(c, s->err)) || (s->how == NTH_SHORT && c != WRITE && c != OVERWRITE))
		return 0;
	if (n > s->at && !goes_on_failing(c, s->err))
		return 0;
	if (!s->hit)
		remember(c, path, n);
	switch (s->how) {
	case NTH_FAIL:
	case NTH_FAIL_KILL:
		return s->err;
	case NTH_KILL:
		die();
		return 0;
	case NTH_AFTER:
		return DIE_BEHIND;
	case NTH_SHORT:
		return CUT_SHORT;
	case NTH_COUNT:
	case NTH_LIST:
		break;
	}
	return 0;
}

static int
refuse(int err)
{
	errno = err;
	return -1;
}

/* ---- writes ---- */

static void
wrote(int fd, off_t at, ssize_t n)
{
	struct stat st;
	int e = errno;

	if (n > 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		dirty(st.st_ino, at, at + n);
	errno = e;
}

/* at < 0: where the descriptor stands. */
static ssize_t
write_out(int fd, const struct iovec *iov, int n, off_t at)
{
	char path[PATH_MAX];
	struct iovec part;
	struct stat st;
	ssize_t rc;
	int what;

	if (!watched_fd(fd, path))
		return at < 0 ? syscall(SYS_writev, fd, iov, n) :
		    syscall(SYS_pwritev, fd, iov, n, (long)at, 0L);
	what = fate(at >= 0 && fstat(fd, &st) == 0 && at < st.st_size ? OVERWRITE : WRITE, path);
	if (what > 0)
		return refuse(what);
	if (what != 0 && iov[0].iov_len > 1) {
		part = (struct iovec) { iov[0].iov_base, (iov[0].iov_len + 1) / 2 };
		iov = &part;
		n = 1;
	}
	rc = at < 0 ? syscall(SYS_writev, fd, iov, n) :
	    syscall(SYS_pwritev, fd, iov, n, (long)at, 0L);
	if (at < 0 && rc > 0)
		at = lseek(fd, 0, SEEK_CUR) - rc;
	wrote(fd, at, rc);
	if (what == DIE_BEHIND)
		die();
	return rc;
}

ssize_t
write(int fd, const void *p, size_t n)
{
	struct iovec iov = { (void *)(uintptr_t)p, n };

	return s == NULL ? syscall(SYS_write, fd, p, n) : write_out(fd, &iov, 1, -1);
}

ssize_t
writev(int fd, const struct iovec *iov, int n)
{
	return write_out(fd, iov, n, -1);
}

ssize_t
pwrite64(int fd, const void *p, size_t n, off64_t at)
{
	struct iovec iov = { (void *)(uintptr_t)p, n };

	return write_out(fd, &iov, 1, at);
}

ssize_t
pwrite(int fd, const void *p, size_t n, off_t at)
{
	return pwrite64(fd, p, n, at);
}

ssize_t
pwritev64(int fd, const struct iovec *iov, int n, off64_t at)
{
	return write_out(fd, iov, n, at);
}

ssize_t
pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
	return write_out(fd, iov, n, at);
}

/* ---- syncs ---- */

static int
sync_call(int fd, long number, bool all)
{
	char path[PATH_MAX];
	int what, rc;

	if (!watched_fd(fd, path))
		return (int)syscall(number, fd);
	what = fate(SYNC, path);
	if (what > 0) {
		synced(fd, path, all, false);
		return refuse(what);
	}
	rc = (int)syscall(number, fd);
	synced(fd, path, all, rc == 0);
	if (what == DIE_BEHIND)
		die();
	return rc;
}

int
fsync(int fd)
{
	return sync_call(fd, SYS_fsync, false);
}

int
fdatasync(int fd)
{
	return sync_call(fd, SYS_fdatasync, false);
}

int
syncfs(int fd)
{
	return sync_call(fd, SYS_syncfs, true);
}

/* ---- names ---- */

#define NAME_CALL(kind, dirfd, name, real) do { \
	char at_[PATH_MAX]; \
	int what_ = watched_at(dirfd, name, at_) ? fate(kind, at_) : 0, rc_; \
	if (what_ > 0) \
		return refuse(what_); \
	rc_ = (int)(real); \
	if (what_ == DIE_BEHIND) \
		die(); \
	return rc_; \
} while (0)

int
renameat2(int from, const char *a, int to, const char *b, unsigned flags)
{
	NAME_CALL(RENAME, to, b, syscall(SYS_renameat2, from, a, to, b, flags));
}

int
renameat(int from, const char *a, int to, const char *b)
{
	return renameat2(from, a, to, b, 0);
}

int
rename(const char *a, const char *b)
{
	return renameat2(AT_FDCWD, a, AT_FDCWD, b, 0);
}

int
linkat(int from, const char *a, int to, const char *b, int flags)
{
	NAME_CALL(LINK, to, b, syscall(SYS_linkat, from, a, to, b, flags));
}

int
link(const char *a, const char *b)
{
	return linkat(AT_FDCWD, a, AT_FDCWD, b, 0);
}

int
unlinkat(int dirfd, const char *name, int flags)
{
	NAME_CALL(UNLINK, dirfd, name, syscall(SYS_unlinkat, dirfd, name, flags));
}

int
unlink(const char *name)
{
	return unlinkat(AT_FDCWD, name, 0);
}

int
rmdir(const char *name)
{
	return unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}

int
mkdirat(int dirfd, const char *name, mode_t mode)
{
	NAME_CALL(MKDIR, dirfd, name, syscall(SYS_mkdirat, dirfd, name, mode));
}

int
mkdir(const char *name, mode_t mode)
{
	return mkdirat(AT_FDCWD, name, mode);
}

/* ---- descriptors ---- */

static int
open_call(int dirfd, const char *name, int flags, mode_t mode)
{
	char path[PATH_MAX];
	bool watched = watched_at(dirfd, name, path);
	struct stat st = { .st_size = 0 };
	bool there = watched && fstatat(dirfd, name, &st, 0) == 0;
	int what = 0, fd;

	if (watched)
		what = fate((flags & O_CREAT) != 0 && !there ? MAKE : OPEN, path);
	if (what > 0)
		return refuse(what);
	fd = (int)syscall(SYS_openat, dirfd, name, flags, mode);
	if (fd != -1 && there && (flags & O_TRUNC) != 0)
		dirty(st.st_ino, 0, st.st_size);
	if (what == DIE_BEHIND)
		die();
	return fd;
}

/* The mode is there only when a file may be made. */
#define MODE(flags, last) ({ \
	mode_t mode_ = 0; \
	va_list ap_; \
	va_start(ap_, last); \
	if (((flags) & (O_CREAT | O_TMPFILE)) != 0) \
		mode_ = va_arg(ap_, mode_t); \
	va_end(ap_); \
	mode_; \
})

int
openat(int dirfd, const char *name, int flags, ...)
{
	return open_call(dirfd, name, flags, MODE(flags, flags));
}

int
openat64(int dirfd, const char *name, int flags, ...)
{
	return open_call(dirfd, name, flags, MODE(flags, flags));
}

int
open(const char *name, int flags, ...)
{
	return open_call(AT_FDCWD, name, flags, MODE(flags, flags));
}

int
open64(const char *name, int flags, ...)
{
	return open_call(AT_FDCWD, name, flags, MODE(flags, flags));
}

int __open_2(const char *name, int flags);
int __open64_2(const char *name, int flags);
int __openat_2(int dirfd, const char *name, int flags);
int __openat64_2(int dirfd, const char *name, int flags);

int
__open_2(const char *name, int flags)
{
	return open_call(AT_FDCWD, name, flags, 0);
}

int
__open64_2(const char *name, int flags)
{
	return open_call(AT_FDCWD, name, flags, 0);
}

int
__openat_2(int dirfd, const char *name, int flags)
{
	return open_call(dirfd, name, flags, 0);
}

int
__openat64_2(int dirfd, const char *name, int flags)
{
	return open_call(dirfd, name, flags, 0);
}

/* Only of what was open for writing: there the last bad news may come. */
int
close(int fd)
{
	char path[PATH_MAX];
	int what = 0, rc, e = errno;

	if (s != NULL && fd >= 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY &&
	    watched_fd(fd, path))
		what = fate(CLOSE, path);
	errno = e;
	rc = (int)syscall(SYS_close, fd);
	if (what == DIE_BEHIND)
		die();
	return what > 0 ? refuse(what) : rc;
}

#define FD_CALL(kind, fd, real, note) do { \
	char at_[PATH_MAX]; \
	int what_ = watched_fd(fd, at_) ? fate(kind, at_) : 0, rc_; \
	struct stat st_ = { .st_size = 0 }; \
	bool known_ = s != NULL && fstat(fd, &st_) == 0 && watched_fd(fd, at_); \
	if (what_ > 0) \
		return refuse(what_); \
	rc_ = (int)(real); \
	if (rc_ == 0 && known_) \
		note; \
	if (what_ == DIE_BEHIND) \
		die(); \
	return rc_; \
} while (0)

int
ftruncate64(int fd, off64_t size)
{
	FD_CALL(TRUNCATE, fd, syscall(SYS_ftruncate, fd, size),
	    dirty(st_.st_ino, size, st_.st_size));
}

int
ftruncate(int fd, off_t size)
{
	return ftruncate64(fd, size);
}

int
fallocate64(int fd, int mode, off64_t at, off64_t len)
{
	FD_CALL(ALLOCATE, fd, syscall(SYS_fallocate, fd, mode, at, len), (void)st_);
}

int
fallocate(int fd, int mode, off_t at, off_t len)
{
	return fallocate64(fd, mode, at, len);
}

void *
mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t at)
{
	char path[PATH_MAX];
	int what = fd >= 0 && watched_fd(fd, path) ? fate(MAP, path) : 0;

	if (what > 0) {
		errno = what;
		return MAP_FAILED;
	}
	return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, at);
}
