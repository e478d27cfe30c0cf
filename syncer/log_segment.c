/* log_segment.c - one segment file: its header, the scan at recovery, the sparse
 * index.  A segment appears under its name only when its header and its length are
 * durable, so a header that is wrong is damage, never an unfinished creation.  Where the log
 * ends and what may be cut behind it is decided by log_scan.c. */
#define _GNU_SOURCE
#include "log_segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "crc32c.h"
#include "fs.h"
#include "hook.h"
#include "log_scan.h"
#include "mem.h"
#include "owner.h"
#include "wire.h"

static const char segment_magic[8] = "MPLOGSEG";
#define SEGMENT_VERSION 1

void
segment_name(uint64_t first, char name[SEGMENT_NAME_MAX])
{
	snprintf(name, SEGMENT_NAME_MAX, "%016llx.seg", (unsigned long long)first);
}

bool
segment_name_parse(const char *name, uint64_t *first)
{
	char again[SEGMENT_NAME_MAX];
	unsigned long long v;

	if (strlen(name) != 20 || sscanf(name, "%16llx", &v) != 1)
		return false;
	segment_name(v, again);
	if (strcmp(again, name) != 0)
		return false;
	*first = v;
	return true;
}

static int
preallocate(int fd, uint64_t from, uint64_t bytes)
{
	if (fallocate(fd, 0, (off_t)from, (off_t)(bytes - from)) == 0)
		return 0;
	if (errno != EOPNOTSUPP)
		return -1;
	return ftruncate(fd, (off_t)bytes);
}

static int
write_header(int fd, uint64_t first, const uint8_t prev_hash[16], const struct history *h)
{
	uint8_t block[SEGMENT_HEADER] = { 0 };
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_raw(&w, segment_magic, sizeof(segment_magic));
	wire_put_u32(&w, SEGMENT_VERSION);
	wire_put_u64(&w, first);
	wire_put_raw(&w, prev_hash, 16);
	wire_put_u64(&w, (uint64_t)clock_wall_ms());
	history_put(&w, h);
	memcpy(block, w.p, w.len < sizeof(block) - 4 ? w.len : sizeof(block) - 4);
	wire_out_clear(&w);
	wire_store32(block + sizeof(block) - 4, crc32c(0, block, sizeof(block) - 4));
	rc = fs_pwrite_all(fd, block, sizeof(block), 0);
	return rc;
}

static int
fail_close(int dirfd, const char *tmp, int fd)
{
	int saved = errno;

	if (fd != -1)
		close(fd);
	unlinkat(dirfd, tmp, 0);
	errno = saved;
	return -1;
}

int
segment_create(int dirfd, uint64_t first, const uint8_t prev_hash[16], const struct history *h,
    uint64_t bytes, struct log_segment *s)
{
	static const char tmp[] = "new.tmp";
	char name[SEGMENT_NAME_MAX];
	int fd;

	segment_name(first, name);
	fd = openat(dirfd, tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd == -1)
		return -1;
	if (preallocate(fd, 0, bytes) == -1 || write_header(fd, first, prev_hash, h) == -1 ||
	    fsync(fd) == -1 || renameat(dirfd, tmp, dirfd, name) == -1)
		return fail_close(dirfd, tmp, fd);
	if (!hook_on("segment-name-not-synced") && fsync(dirfd) == -1) {
		if (errno == ENOSPC || errno == EDQUOT)
			errno = EIO;	/* it has its name, or not: not to be tried again */
		return fail_close(dirfd, tmp, fd);
	}
	memset(s, 0, sizeof(*s));
	s->fd = fd;
	s->first = first;
	s->last = first - 1;
	s->end = SEGMENT_HEADER;
	s->bytes = bytes;
	s->indexed = true;
	memcpy(s->prev_hash, prev_hash, 16);
	return 0;
}

static int
read_header(int fd, uint64_t first, struct log_segment *s, struct history *h)
{
	uint8_t block[SEGMENT_HEADER];
	struct wire_in w;
	char magic[8];

	if (fs_pread_all(fd, block, sizeof(block), 0) != (ssize_t)sizeof(block) ||
	    wire_load32(block + sizeof(block) - 4) != crc32c(0, block, sizeof(block) - 4))
		goto bad;
	wire_in_init(&w, block, sizeof(block));
	wire_get_raw(&w, magic, sizeof(magic));
	if (memcmp(magic, segment_magic, sizeof(magic)) != 0 ||
	    wire_get_u32(&w) != SEGMENT_VERSION || wire_get_u64(&w) != first)
		goto bad;
	wire_get_raw(&w, s->prev_hash, 16);
	(void)wire_get_u64(&w);
	history_get(&w, h);
	if (wire_in_ok(&w))
		return 0;
bad:
	errno = EBADMSG;
	return -1;
}

int
segment_open(int dirfd, uint64_t first, struct log_segment *s, struct history *h)
{
	char name[SEGMENT_NAME_MAX];
	struct stat st;
	int fd, saved;

	memset(s, 0, sizeof(*s));
	segment_name(first, name);
	fd = openat(dirfd, name, O_RDWR | O_CLOEXEC);
	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == -1 || read_header(fd, first, s, h) == -1) {
		saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	s->fd = fd;
	s->first = first;
	s->last = first - 1;
	s->end = SEGMENT_HEADER;
	s->bytes = (uint64_t)st.st_size;
	return 0;
}

void
segment_close(struct log_segment *s)
{
	if (s->fd != -1)
		close(s->fd);
	s->fd = -1;
	free(s->index);
	s->index = NULL;
	s->nindex = 0;
}

void
segment_note(struct log_segment *s, uint64_t lsn, uint64_t at)
{
	if (s->nindex > 0 && at < s->index[s->nindex - 1].at + SEGMENT_INDEX_EVERY)
		return;
	if ((s->nindex & 63) == 0)
		s->index = mem_grow(s->index, s->nindex + 64, sizeof(*s->index));
	s->index[s->nindex].lsn = lsn;
	s->index[s->nindex].at = at;
	s->nindex++;
}

/* The generation inside a record, when it is one. */
static bool
gen_of(const struct record *r, struct gen *g)
{
	struct wire_in w;

	if (r->shard != SHARD_PAIR || r->type != RECORD_GEN)
		return false;
	wire_in_init(&w, r->payload.p, r->payload.len);
	gen_get(&w, g);
	return wire_in_done(&w);
}

static int
scan_buffer(struct log_segment *s, const uint8_t *buf, size_t len, struct history *h,
    uint8_t hash[16], bool *torn, uint64_t *bad_at)
{
	struct span in = { (const char *)buf + SEGMENT_HEADER, len - SEGMENT_HEADER };
	struct log_scan c;
	enum log_end end;
	struct record r;
	struct gen g;

	log_scan_init(&c, in, s->last, hash);
	for (size_t at = 0; log_scan_next(&c, &r); at = c.end) {
		segment_note(s, r.lsn, SEGMENT_HEADER + at);
		if (gen_of(&r, &g))
			history_add(h, &g);
	}
	s->last = c.last;
	s->synced = c.synced;
	s->end = SEGMENT_HEADER + c.end;
	s->indexed = true;
	memcpy(hash, c.hash, 16);
	end = log_scan_end(&c);
	*torn = end != LOG_END_CLEAN;
	if (end != LOG_END_DAMAGED)
		return 0;
	*bad_at = s->end;
	errno = EBADMSG;
	return -1;
}

int
segment_scan(struct log_segment *s, struct history *h, uint8_t hash[16], bool *torn,
    uint64_t *bad_at)
{
	uint8_t *buf = mem_alloc(s->bytes + 1);
	ssize_t n = fs_pread_all(s->fd, buf, s->bytes, 0);
	int rc = -1;

	memcpy(hash, s->prev_hash, 16);
	if (n >= SEGMENT_HEADER)
		rc = scan_buffer(s, buf, (size_t)n, h, hash, torn, bad_at);
	else if (n >= 0)
		errno = EBADMSG;
	free(buf);
	return rc;
}

int
segment_settle(struct log_segment *s)
{
	uint64_t at = SEGMENT_HEADER;
	size_t cap = 1 << 20, want;
	uint8_t *buf;
	ssize_t n = 1;

	if (s->synced >= s->last)
		return 0;
	if (s->synced >= s->first && segment_find(s, s->synced + 1, &at) == -1)
		return -1;
	buf = mem_alloc(cap);
	for (; at < s->end && n > 0; at += (uint64_t)n) {
		want = s->end - at < cap ? (size_t)(s->end - at) : cap;
		n = fs_pread_all(s->fd, buf, want, (off_t)at);
		if (n == 0)
			errno = EBADMSG;	/* shorter than a moment ago */
		if (n > 0 && fs_pwrite_all(s->fd, buf, (size_t)n, (off_t)at) == -1)
			n = -1;
	}
	free(buf);
	return n > 0 ? fdatasync(s->fd) : -1;
}

int
segment_cut(struct log_segment *s)
{
	if (ftruncate(s->fd, (off_t)s->end) == -1 ||
	    preallocate(s->fd, s->end, s->bytes) == -1 || fsync(s->fd) == -1)
		return -1;
	return 0;
}

int
segment_walk(struct log_segment *s, uint64_t lsn, uint64_t *at)
{
	uint8_t head[RECORD_HEADER];

	for (;;) {
		uint64_t here;
		size_t len;

		if (fs_pread_all(s->fd, head, sizeof(head), (off_t)*at) != (ssize_t)sizeof(head))
			break;
		len = wire_load32(head + 4);
		here = wire_load64(head + 16);
		if (wire_load32(head) != RECORD_MAGIC || len < RECORD_HEADER || len > RECORD_MAX ||
		    here > lsn)
			break;
		if (!s->indexed)
			segment_note(s, here, *at);
		if (here == lsn)
			return 0;
		*at += record_size(len - RECORD_HEADER);
	}
	errno = EBADMSG;
	return -1;
}

uint64_t
segment_near(const struct log_segment *s, uint64_t lsn)
{
	size_t lo = 0, hi = s->nindex;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (s->index[mid].lsn <= lsn)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo > 0 ? s->index[lo - 1].at : SEGMENT_HEADER;
}

int
segment_find(struct log_segment *s, uint64_t lsn, uint64_t *at)
{
	*at = segment_near(s, lsn);
	return segment_walk(s, lsn, at);
}
