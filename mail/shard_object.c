/* shard_object.c - the files of a shard: objects/ab/<sha256 in hex>, each a message as
 * received, and objects/tmp/<sha>.part, one that comes in pieces.
 *
 * Promise: a name under objects/ab appears whole or not at all as long as the machine
 * runs; what a power cut leaves is mended from the log (STORE.md, 4).  Nothing is
 * synced here: the log holds the bytes until the next checkpoint.
 * Does not know which objects are needed: that is the index. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "fs.h"
#include "hex.h"
#include "log.h"
#include "mem.h"
#include "shard_priv.h"

#define OBJECT_MODE 0600

void
object_name(const uint8_t sha[32], char name[72])
{
	char hex[65];

	hex_encode(sha, 32, hex);
	snprintf(name, 72, "%.2s/%s", hex, hex);
}

static void
part_name(const uint8_t sha[32], char name[80])
{
	char hex[65];

	hex_encode(sha, 32, hex);
	snprintf(name, 80, "tmp/%s.part", hex);
}

int
object_dirs_make(const char *dir, int *objects_fd)
{
	char *objects = mem_printf("%s/objects", dir);
	int fd, rc = 0;

	fd = access(objects, F_OK) == -1 && fs_mkdirs(objects, 0700) == -1 ? -1 :
	    open(objects, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(objects);
	if (fd == -1)
		return -1;
	if (mkdirat(fd, "tmp", 0700) == -1 && errno != EEXIST)
		rc = -1;
	if (rc == 0) {
		*objects_fd = fd;
		return 0;
	}
	close(fd);
	return -1;
}

/* Gives a finished file its name; its folder is made with the first object in it. */
static int
object_place(struct shard *sh, const char *from, const uint8_t sha[32])
{
	char name[72], folder[3];

	object_name(sha, name);
	if (renameat(sh->objects_fd, from, sh->objects_fd, name) == 0)
		return 0;
	if (errno != ENOENT)
		return -1;
	memcpy(folder, name, 2);
	folder[2] = '\0';
	if (mkdirat(sh->objects_fd, folder, 0700) == -1 && errno != EEXIST)
		return -1;
	return renameat(sh->objects_fd, from, sh->objects_fd, name);
}

/* Writes beside and renames; a crash leaves tmp/new, which is written over. */
int
object_put(struct shard *sh, const uint8_t sha[32], struct span content)
{
	int fd, e;

	fd = openat(sh->objects_fd, "tmp/new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
	    OBJECT_MODE);
	if (fd == -1)
		return -1;
	if (fs_write_all(fd, content.p, content.len) == -1) {
		e = errno;
		close(fd);
		unlinkat(sh->objects_fd, "tmp/new", 0);
		errno = e;
		return -1;
	}
	if (close(fd) == -1)
		return -1;
	return object_place(sh, "tmp/new", sha);
}

static int
fd_sha256(int fd, uint64_t *size, uint8_t sha[32])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	size_t cap = 256 << 10;
	char *buf = mem_alloc(cap);
	ssize_t n = -1;
	uint64_t at = 0;

	if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
		log_fatal("no SHA-256");
	while ((n = fs_pread_all(fd, buf, cap, (off_t)at)) > 0) {
		EVP_DigestUpdate(md, buf, (size_t)n);
		at += (uint64_t)n;
	}
	EVP_DigestFinal_ex(md, sha, NULL);
	EVP_MD_CTX_free(md);
	free(buf);
	*size = at;
	return n == 0 ? 0 : -1;
}

/* 1 = it has these bytes, 0 = it has not, or is not there, -1 = cannot be opened now. */
static int
file_check(int objects_fd, const char *name, const uint8_t sha[32], uint64_t size)
{
	uint8_t is[32];
	struct stat st;
	uint64_t n;
	bool good;
	int fd = openat(objects_fd, name, O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		return errno == ENOENT ? 0 : -1;
	good = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    (size == UINT64_MAX || (uint64_t)st.st_size == size) &&
	    fd_sha256(fd, &n, is) == 0 && memcmp(is, sha, 32) == 0;
	close(fd);
	return good;
}

static bool
file_good(int objects_fd, const char *name, const uint8_t sha[32], uint64_t size)
{
	return file_check(objects_fd, name, sha, size) == 1;
}

int
object_check(int objects_fd, const uint8_t sha[32], uint64_t size)
{
	char name[72];

	object_name(sha, name);
	return file_check(objects_fd, name, sha, size);
}

bool
object_good(int objects_fd, const uint8_t sha[32], uint64_t size)
{
	return object_check(objects_fd, sha, size) == 1;
}

/* The same piece may come twice, and pieces may come again after a crash. */
int
object_part_write(struct shard *sh, const struct rec_blob *b)
{
	char name[80];
	int fd, rc, e;

	part_name(b->sha, name);
	fd = openat(sh->objects_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, OBJECT_MODE);
	if (fd == -1)
		return -1;
	rc = fs_pwrite_all(fd, b->bytes.p, b->bytes.len, (off_t)b->offset);
	e = errno;
	if (close(fd) == -1 && rc == 0)
		return -1;
	errno = e;
	return rc;
}

int
object_part_finish(struct shard *sh, const uint8_t sha[32], uint64_t size)
{
	char part[80];
	int rc;

	part_name(sha, part);
	if ((rc = file_check(sh->objects_fd, part, sha, size)) != 1)
		return rc == 0 ? 1 : -1;
	return object_place(sh, part, sha);
}

int
object_part_unlink(struct shard *sh, const uint8_t sha[32])
{
	char name[80];

	part_name(sha, name);
	return unlinkat(sh->objects_fd, name, 0) == -1 && errno != ENOENT ? -1 : 0;
}

int
object_unlink(struct shard *sh, const uint8_t sha[32])
{
	char name[72];

	object_name(sha, name);
	return unlinkat(sh->objects_fd, name, 0) == -1 && errno != ENOENT ? -1 : 0;
}

int
shard_object_open(struct shard *sh, const uint8_t sha[32])
{
	char name[72];

	object_name(sha, name);
	return openat(sh->objects_fd, name, O_RDONLY | O_CLOEXEC);
}

int
shard_object_have(struct shard *sh, const uint8_t sha[32])
{
	return !sh->suspect && object_good(sh->objects_fd, sha, UINT64_MAX);
}

static int
copy_fd(int from, int to)
{
	size_t cap = 256 << 10;
	char *buf = mem_alloc(cap);
	off_t at = 0;
	ssize_t n;

	while ((n = fs_pread_all(from, buf, cap, at)) > 0) {
		if (fs_write_all(to, buf, (size_t)n) == -1) {
			n = -1;
			break;
		}
		at += n;
	}
	free(buf);
	return n == 0 ? 0 : -1;
}

/* Order: written beside and synced, compared as it is on the disk, renamed, its folder
 * synced (and the folder above, which may hold it newly).  A crash before the rename
 * leaves the damaged one and tmp/mend, which is removed next time. */
int
object_mend(int objects_fd, const uint8_t sha[32], int fd)
{
	static const char tmp[] = "tmp/mend";
	char name[72], folder[3];
	int to, dir = -1, rc = -1, e;

	object_name(sha, name);
	memcpy(folder, name, 2);
	folder[2] = '\0';
	if ((unlinkat(objects_fd, tmp, 0) == -1 && errno != ENOENT) ||
	    (mkdirat(objects_fd, folder, 0700) == -1 && errno != EEXIST))
		return -1;
	to = openat(objects_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, OBJECT_MODE);
	if (to == -1)
		return -1;
	rc = copy_fd(fd, to) == 0 && fsync(to) == 0 ? 0 : -1;
	if (close(to) == -1)
		rc = -1;
	if (rc == 0 && !file_good(objects_fd, tmp, sha, UINT64_MAX)) {
		errno = EBADMSG;
		rc = -1;
	}
	if (rc == 0)
		rc = renameat(objects_fd, tmp, objects_fd, name);
	if (rc == 0 && ((dir = openat(objects_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) ==
	    -1 || fsync(dir) == -1 || fsync(objects_fd) == -1))
		rc = -1;
	e = errno;
	if (dir != -1)
		close(dir);
	if (rc == -1)
		unlinkat(objects_fd, tmp, 0);
	errno = e;
	return rc;
}

/* From the peer, while this node is seeded.  It becomes durable with the index that
 * needs it: shard_index_install() syncs the file system first. */
int
shard_object_install(struct shard *sh, const uint8_t sha[32], int fd)
{
	int to = openat(sh->objects_fd, "tmp/new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
	    OBJECT_MODE);

	if (to == -1)
		return -1;
	if (copy_fd(fd, to) == -1) {
		close(to);
		return -1;
	}
	if (close(to) == -1)
		return -1;
	if (!file_good(sh->objects_fd, "tmp/new", sha, UINT64_MAX)) {
		errno = EBADMSG;
		return -1;
	}
	return object_place(sh, "tmp/new", sha);
}
