/* seed_recv.c - see seed_recv.h.  Files of the folder:
 *
 *   SHA.part     an object of which this much came
 *   index-N      the last index of shard N that came whole
 *   index-N.new  the one that is coming; .part: the longest one that was cut
 *
 * None is synced: after a power cut any of them may hold anything.  So each is only taken
 * for what its SHA-256 says when it is whole; one that disappoints is removed and comes
 * again from the beginning. */
#define _GNU_SOURCE
#include "seed_recv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/buffer.h>

#include "delta.h"
#include "fs.h"
#include "hex.h"
#include "log.h"
#include "mem.h"
#include "mirror_wire.h"

#define STEP MIRROR_CHUNK
/* A message more shifts every page behind it, and each begins with what belongs to no other
 * page: of two states of an index only short runs are equal. */
#define OLDER_BLOCK 512

void
seed_recv_init(struct seed_recv *r)
{
	memset(r, 0, sizeof(*r));
	r->dirfd = r->fd = r->old_fd = r->part_fd = r->basis_fd = -1;
}

void
seed_recv_stop(struct seed_recv *r)
{
	int dirfd = r->dirfd;

	fs_close(&r->fd);
	fs_close(&r->old_fd);
	fs_close(&r->part_fd);
	fs_close(&r->basis_fd);
	EVP_MD_CTX_free(r->sha);
	delta_free(r->sig);
	delta_free(r->patch);
	if (r->in != NULL)
		evbuffer_free(r->in);
	if (r->out != NULL)
		evbuffer_free(r->out);
	seed_recv_init(r);
	r->dirfd = dirfd;
}

void
seed_recv_clear(struct seed_recv *r)
{
	seed_recv_stop(r);
	fs_close(&r->dirfd);
}

bool
seed_recv_on(const struct seed_recv *r)
{
	return r->fd != -1;
}

/* ---- the folder ---- */

static int
open_folder(struct seed_recv *r, const char *dir)
{
	char *path;

	if (r->dirfd != -1)
		return 0;
	path = mem_printf("%s/seed", dir);
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		r->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	free(path);
	return r->dirfd == -1 ? -1 : 0;
}

static uint64_t
length(int fd)
{
	struct stat st;

	return fd != -1 && fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static int
open_there(const struct seed_recv *r, const char *name, int flags)
{
	return openat(r->dirfd, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static void
new_digest(struct seed_recv *r)
{
	if ((r->sha = EVP_MD_CTX_new()) == NULL ||
	    EVP_DigestInit_ex(r->sha, EVP_sha256(), NULL) != 1)
		log_fatal("no SHA-256");
}

static int
open_unnamed(const struct seed_recv *r)
{
	int fd = openat(r->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd == -1 && errno == EOPNOTSUPP ? memfd_create("seed", MFD_CLOEXEC) : fd;
}

static int
open_object(struct seed_recv *r, const uint8_t sha[32])
{
	char hex[65];

	(void)snprintf(r->name, sizeof(r->name), "%s.part", hex_encode(sha, 32, hex));
	if ((r->fd = open_there(r, r->name, O_RDWR | O_CREAT)) == -1)
		return -1;
	r->bytes = length(r->fd);
	if (r->bytes > r->max) {
		r->bytes = 0;		/* never a piece of that object */
		return ftruncate(r->fd, 0);
	}
	return lseek(r->fd, (off_t)r->bytes, SEEK_SET) == -1 ? -1 : 0;
}

int
seed_recv_object(struct seed_recv *r, const char *dir, const uint8_t sha[32], uint64_t size,
    bool resume, uint64_t *have)
{
	seed_recv_stop(r);
	r->max = size;
	if (open_folder(r, dir) == -1 || (resume && open_object(r, sha) == -1))
		return -1;
	if (!resume && (r->fd = open_unnamed(r)) == -1)
		return -1;
	*have = r->bytes;
	new_digest(r);
	return 0;
}

/* ---- an index: what is here of it ---- */

static void
index_name(char *name, size_t size, uint16_t shard, const char *end)
{
	(void)snprintf(name, size, "index-%u%s", (unsigned)shard, end);
}

bool
seed_recv_knows(struct seed_recv *r, const char *dir, uint16_t shard)
{
	char name[32];

	index_name(name, sizeof(name), shard, "");
	return open_folder(r, dir) == 0 && faccessat(r->dirfd, name, F_OK, 0) == 0;
}

/* The one that was coming when the last attempt ended: kept when it is longer. */
static void
keep_longer(struct seed_recv *r, const char *coming, const char *part)
{
	struct stat was, is;

	if (fstatat(r->dirfd, coming, &is, 0) == -1)
		return;
	if (fstatat(r->dirfd, part, &was, 0) == -1 || was.st_size <= is.st_size)
		(void)renameat(r->dirfd, coming, r->dirfd, part);
}

int
seed_recv_index(struct seed_recv *r, const char *dir, uint16_t shard, int old_fd, uint64_t max)
{
	char whole[32], part[32];

	seed_recv_stop(r);
	r->old_fd = old_fd;
	r->older = length(old_fd) > 0;
	if (open_folder(r, dir) == -1)
		return -1;
	r->index = true;
	r->shard = shard;
	r->max = max;
	index_name(whole, sizeof(whole), shard, "");
	index_name(part, sizeof(part), shard, ".part");
	index_name(r->name, sizeof(r->name), shard, ".new");
	keep_longer(r, r->name, part);
	if (r->old_fd == -1)
		r->old_fd = open_there(r, whole, O_RDONLY);
	r->part_fd = open_there(r, part, O_RDONLY);
	if ((r->fd = open_there(r, r->name, O_RDWR | O_CREAT | O_TRUNC)) == -1)
		return -1;
	if (r->old_fd != -1 && r->part_fd != -1) {
		if ((r->basis_fd = open_unnamed(r)) == -1)
			return -1;
	}
	r->in = evbuffer_new();
	r->out = evbuffer_new();
	if (r->in == NULL || r->out == NULL)
		log_fatal("no memory");
	new_digest(r);
	return 0;
}

/* librsync wants one basis: where there are two they are put in a row, the cut one first. */
static ssize_t
next_of_basis(struct seed_recv *r, uint8_t buf[STEP])
{
	uint64_t part = length(r->part_fd);
	bool first = r->joined < part;
	ssize_t n;

	n = fs_pread_all(first ? r->part_fd : r->old_fd, buf, STEP,
	    (off_t)(first ? r->joined : r->joined - part));
	if (n > 0 && first && r->joined + (uint64_t)n > part)
		n = (ssize_t)(part - r->joined);
	if (n > 0 && r->basis_fd != -1 && fs_write_all(r->basis_fd, buf, (size_t)n) == -1)
		return -1;
	if (n > 0)
		r->joined += (uint64_t)n;
	return n;
}

static int
basis(const struct seed_recv *r)
{
	return r->basis_fd != -1 ? r->basis_fd : r->part_fd != -1 ? r->part_fd : r->old_fd;
}

enum seed_recv_rc
seed_recv_sums(struct seed_recv *r, struct evbuffer *out)
{
	uint64_t all = length(r->part_fd) + length(r->old_fd);
	uint8_t buf[STEP];
	ssize_t n = 0;

	if (all == 0)
		return SEED_RECV_DONE;
	if (r->sig == NULL)
		r->sig = r->older ? delta_sig_block(all, OLDER_BLOCK) : delta_sig_new(all);
	if (r->joined < all && (n = next_of_basis(r, buf)) == -1)
		return SEED_RECV_FAIL;
	if (n > 0 && evbuffer_add(r->in, buf, (size_t)n) == -1)
		log_fatal("no memory");
	switch (delta_step(r->sig, r->in, r->joined == all, out)) {
	case DELTA_MORE:
		return n == 0 && r->joined < all ? SEED_RECV_FAIL : SEED_RECV_MORE;
	case DELTA_DONE:
		r->patch = delta_patch_new(basis(r), r->max, true);
		return SEED_RECV_DONE;
	default:
		return SEED_RECV_FAIL;
	}
}

/* ---- what comes ---- */

static int
put(struct seed_recv *r, const void *p, size_t n)
{
	if (r->bytes + n > r->max) {
		errno = EFBIG;
		return -1;
	}
	if (fs_write_all(r->fd, p, n) == -1)
		return -1;
	if (r->patch == NULL && r->hashed == r->bytes) {
		if (EVP_DigestUpdate(r->sha, p, n) != 1)
			log_fatal("no SHA-256");
		r->hashed += n;
	}
	r->bytes += n;
	return 0;
}

int
seed_recv_data(struct seed_recv *r, struct span body)
{
	if (r->ended) {
		errno = EBADMSG;
		return -1;
	}
	if (r->patch == NULL)
		return put(r, body.p, body.len);
	if (evbuffer_add(r->in, body.p, body.len) == -1)
		log_fatal("no memory");
	return 0;
}

void
seed_recv_end(struct seed_recv *r)
{
	r->ended = true;
}

/* What the patch made goes to the file; *made: how much. */
static int
put_out(struct seed_recv *r, size_t *made)
{
	size_t n;

	*made = 0;
	while ((n = evbuffer_get_contiguous_space(r->out)) > 0) {
		if (put(r, evbuffer_pullup(r->out, (ev_ssize_t)n), n) == -1)
			return -1;
		evbuffer_drain(r->out, n);
		*made += n;
	}
	return 0;
}

static enum seed_recv_rc
step_patch(struct seed_recv *r)
{
	size_t made, waits = evbuffer_get_length(r->in);
	enum delta_rc rc;

	if (r->patched)
		return waits > 0 ? SEED_RECV_FAIL : r->ended ? SEED_RECV_DONE : SEED_RECV_WAIT;
	if (waits == 0 && !r->busy && !r->ended)
		return SEED_RECV_WAIT;
	rc = delta_step(r->patch, r->in, r->ended, r->out);
	if (rc == DELTA_FAIL) {
		log_warnx("seeding: patch: %s", delta_error(r->patch));
		return SEED_RECV_FAIL;
	}
	if (put_out(r, &made) == -1)
		return SEED_RECV_FAIL;
	r->patched = rc == DELTA_DONE;
	r->busy = made > 0;
	return r->patched || r->busy || r->ended || evbuffer_get_length(r->in) < waits ?
	    SEED_RECV_MORE : SEED_RECV_WAIT;
}

/* What was here before this attempt is read for the digest meanwhile. */
enum seed_recv_rc
seed_recv_step(struct seed_recv *r)
{
	uint8_t buf[STEP];
	ssize_t n;

	if (r->patch != NULL)
		return step_patch(r);
	if (r->hashed < r->bytes) {
		n = fs_pread_all(r->fd, buf, sizeof(buf), (off_t)r->hashed);
		if (n <= 0)
			return SEED_RECV_FAIL;
		if (EVP_DigestUpdate(r->sha, buf, (size_t)n) != 1)
			log_fatal("no SHA-256");
		r->hashed += (uint64_t)n;
		return SEED_RECV_MORE;
	}
	return r->ended ? SEED_RECV_DONE : SEED_RECV_WAIT;
}

/* ---- the end ---- */

static void
forget_index(struct seed_recv *r)
{
	static const char *const ends[] = { "", ".part", ".new" };
	char name[32];

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		index_name(name, sizeof(name), r->shard, ends[i]);
		(void)unlinkat(r->dirfd, name, 0);
	}
}

static bool
is_it(struct seed_recv *r, const uint8_t sha[32])
{
	uint8_t found[32];

	if (r->patch != NULL)
		delta_digest(r->patch, found);
	else if (EVP_DigestFinal_ex(r->sha, found, NULL) != 1)
		log_fatal("no SHA-256");
	return memcmp(found, sha, sizeof(found)) == 0;
}

bool
seed_recv_take(struct seed_recv *r, const uint8_t sha[32], int *fd)
{
	char name[32];
	int dup;

	if (!is_it(r, sha)) {
		if (r->index)
			forget_index(r);
		else if (r->name[0] != '\0')
			(void)unlinkat(r->dirfd, r->name, 0);
		seed_recv_stop(r);
		return false;
	}
	if (lseek(r->fd, 0, SEEK_SET) == -1 || (dup = fcntl(r->fd, F_DUPFD_CLOEXEC, 3)) == -1) {
		seed_recv_stop(r);
		return false;
	}
	if (r->index) {
		index_name(name, sizeof(name), r->shard, "");
		(void)renameat(r->dirfd, r->name, r->dirfd, name);
		index_name(name, sizeof(name), r->shard, ".part");
		(void)unlinkat(r->dirfd, name, 0);
	}
	*fd = dup;
	return true;
}

void
seed_recv_placed(struct seed_recv *r)
{
	if (!r->index && r->name[0] != '\0')
		(void)unlinkat(r->dirfd, r->name, 0);
	seed_recv_stop(r);
}

void
seed_recv_forget(struct seed_recv *r, const char *dir)
{
	char *path = mem_printf("%s/seed", dir);

	seed_recv_clear(r);
	if (fs_remove_tree(path) == -1)
		log_warn("cannot remove %s", path);
	free(path);
}
