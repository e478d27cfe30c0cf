/* log_store.c - the log as a row of segment files (LOG.md says what every file
 * holds and what a crash leaves).  Promises: what log_store_sync() returned 0 for is
 * read back after any crash; a record is given out only when its CRC is right; a cut
 * copies first.  Fails with errno and leaves it to the caller to log and to die.
 *
 * Locking.  The lock guards the list, the tip, the history, and of every segment last,
 * end and index.  While the writer thread may write, only it changes the tip, the
 * history and the last segment, and only it adds one: so it may read these without the
 * lock, and changes them under it.  The main thread looks under the lock, and removes
 * under it segments before the last.  A segment is allocated by itself and stays where it is
 * until the main thread removes it: so the writer may write to the last one, and the main
 * thread read from any up to the end that it saw, without the lock, and neither waits
 * for the other's disk.  Cut and reset want the writer idle. */
#include "log_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs.h"
#include "hook.h"
#include "log.h"
#include "log_segment.h"
#include "mem.h"
#include "owner.h"
#include "wire.h"

#define APPEND_IOV 256

struct log_store {
	char *dir;
	int dirfd;
	uint64_t segment_bytes;
	pthread_mutex_t lock;
	struct log_segment **segs;	/* oldest first; the last one is appended to */
	size_t nsegs;
	struct log_tip tip;
	struct history history;
};

static struct log_segment *
last_locked(const struct log_store *s)
{
	return s->segs[s->nsegs - 1];
}

/* For the writer, or while it is idle: the one that trimming never takes away. */
static struct log_segment *
last_segment(struct log_store *s)
{
	struct log_segment *seg;

	pthread_mutex_lock(&s->lock);
	seg = last_locked(s);
	pthread_mutex_unlock(&s->lock);
	return seg;
}

static void
add_segment(struct log_store *s, const struct log_segment *seg)
{
	struct log_segment *own = mem_copy(seg, sizeof(*seg));

	pthread_mutex_lock(&s->lock);
	s->segs = mem_grow(s->segs, s->nsegs + 1, sizeof(struct log_segment *));
	s->segs[s->nsegs++] = own;
	pthread_mutex_unlock(&s->lock);
}

static void
free_segment(struct log_segment *seg)
{
	segment_close(seg);
	free(seg);
}

static int
new_segment(struct log_store *s)
{
	struct log_segment seg;

	if (segment_create(s->dirfd, s->tip.lsn + 1, s->tip.hash, &s->history,
		s->segment_bytes, &seg) == -1)
		return -1;
	add_segment(s, &seg);
	return 0;
}

/* ---- recovery ---- */

static int
by_lsn(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int
list_segments(struct log_store *s, uint64_t **firsts, size_t *n)
{
	DIR *d = opendir(s->dir);
	struct dirent *e;
	uint64_t first;

	*firsts = NULL;
	*n = 0;
	if (d == NULL)
		return -1;
	while ((e = readdir(d)) != NULL) {
		if (!segment_name_parse(e->d_name, &first))
			continue;
		*firsts = mem_grow(*firsts, *n + 1, sizeof(**firsts));
		(*firsts)[(*n)++] = first;
	}
	closedir(d);
	if (*n > 1)
		qsort(*firsts, *n, sizeof(**firsts), by_lsn);
	return 0;
}

/* Puts len bytes of a file aside, durably, as dir/forks/NAME/tail. */
static int
set_aside(struct log_store *s, const char *name, int fd, uint64_t from, uint64_t to,
    bool append)
{
	char *dir = mem_printf("%s/forks/%s", s->dir, name);
	char *file = mem_printf("%s/tail", dir);
	uint8_t *buf = mem_alloc(1 << 20);
	int out = -1, rc = -1, saved;

	if (fs_mkdirs(dir, 0700) == -1)
		goto done;
	out = open(file, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0600);
	if (out == -1)
		goto done;
	while (from < to) {
		size_t want = to - from < (1 << 20) ? (size_t)(to - from) : (1 << 20);
		ssize_t n = fs_pread_all(fd, buf, want, (off_t)from);

		if (n <= 0 || fs_write_all(out, buf, (size_t)n) == -1)
			goto done;
		from += (uint64_t)n;
	}
	rc = fsync(out) == 0 && fs_sync_dir(dir) == 0 ? 0 : -1;
done:
	saved = errno;
	if (out != -1 && close(out) == -1)
		rc = -1;
	free(buf);
	free(file);
	free(dir);
	errno = saved;
	return rc;
}

static int
recover_last(struct log_store *s, char *err, size_t errlen)
{
	struct log_segment *seg = last_segment(s);
	uint64_t bad_at = 0;
	char name[48];
	bool torn;

	if (segment_scan(seg, &s->history, s->tip.hash, &torn, &bad_at) == -1) {
		snprintf(err, errlen,
		    "%s/%016llx.seg: damaged at offset %llu, valid records follow", s->dir,
		    (unsigned long long)seg->first, (unsigned long long)bad_at);
		return -1;
	}
	s->tip.lsn = seg->last;
	if (segment_settle(seg) == -1) {
		snprintf(err, errlen, "%s: cannot write the newest records again: %s", s->dir,
		    strerror(errno));
		return -1;
	}
	if (!torn)
		return 0;
	snprintf(name, sizeof(name), "torn-%llu", (unsigned long long)s->tip.lsn + 1);
	if (set_aside(s, name, seg->fd, seg->end, seg->bytes, false) == -1 ||
	    segment_cut(seg) == -1) {
		snprintf(err, errlen, "%s: cannot cut the torn tail: %s", s->dir, strerror(errno));
		return -1;
	}
	log_warnx("log cut torn tail lsn=%llu", (unsigned long long)s->tip.lsn + 1);
	return 0;
}

/* Who died between naming a segment and syncing its name left one that a power cut
 * takes away: not to be written to before it is durable. */
static int
settle_names(struct log_store *s, char *err, size_t errlen)
{
	if (fsync(s->dirfd) == 0)
		return 0;
	snprintf(err, errlen, "%s: cannot be synced: %s", s->dir, strerror(errno));
	return -1;
}

static int
recover(struct log_store *s, char *err, size_t errlen)
{
	uint64_t *firsts;
	size_t n;
	int rc = -1;

	if (list_segments(s, &firsts, &n) == -1) {
		snprintf(err, errlen, "%s: %s", s->dir, strerror(errno));
		return -1;
	}
	for (size_t i = 0; i < n; i++) {
		struct log_segment seg;

		if (segment_open(s->dirfd, firsts[i], &seg, &s->history) == -1) {
			snprintf(err, errlen, "%s/%016llx.seg: %s", s->dir,
			    (unsigned long long)firsts[i],
			    errno == EBADMSG ? "damaged header" : strerror(errno));
			goto done;
		}
		if (i + 1 < n)
			seg.last = firsts[i + 1] - 1;
		seg.end = seg.bytes;
		add_segment(s, &seg);
	}
	rc = n > 0 ? settle_names(s, err, errlen) : 0;
	if (rc == 0 && n > 0)
		rc = recover_last(s, err, errlen);
	if (n == 0 && (rc = new_segment(s)) == -1)
		snprintf(err, errlen, "%s: cannot make a segment: %s", s->dir, strerror(errno));
done:
	free(firsts);
	return rc;
}

struct log_store *
log_store_open(const char *dir, uint64_t segment_bytes, char *err, size_t errlen)
{
	struct log_store *s = mem_alloc(sizeof(*s));
	int saved;

	pthread_mutex_init(&s->lock, NULL);
	s->dir = mem_dup(dir);
	s->segment_bytes = segment_bytes;
	s->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dirfd == -1) {
		snprintf(err, errlen, "%s: %s", dir, strerror(errno));
	} else if (recover(s, err, errlen) == 0) {
		return s;
	}
	saved = errno;
	log_store_close(s);
	errno = saved;
	return NULL;
}

void
log_store_close(struct log_store *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->nsegs; i++)
		free_segment(s->segs[i]);
	free(s->segs);
	if (s->dirfd != -1)
		close(s->dirfd);
	pthread_mutex_destroy(&s->lock);
	free(s->dir);
	free(s);
}

/* ---- facts ---- */

struct log_tip
log_store_tip(struct log_store *s)
{
	struct log_tip tip;

	pthread_mutex_lock(&s->lock);
	tip = s->tip;
	pthread_mutex_unlock(&s->lock);
	return tip;
}

void
log_store_history(struct log_store *s, struct history *h)
{
	pthread_mutex_lock(&s->lock);
	*h = s->history;
	pthread_mutex_unlock(&s->lock);
}

uint64_t
log_store_oldest(struct log_store *s)
{
	uint64_t oldest;

	pthread_mutex_lock(&s->lock);
	oldest = s->segs[0]->first;
	pthread_mutex_unlock(&s->lock);
	return oldest;
}

uint64_t
log_store_bytes(struct log_store *s)
{
	uint64_t sum = 0;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->nsegs; i++)
		sum += s->segs[i]->bytes;
	pthread_mutex_unlock(&s->lock);
	return sum;
}

bool
log_store_oldest_full(struct log_store *s, uint64_t *first, uint64_t *last)
{
	bool full;

	pthread_mutex_lock(&s->lock);
	full = s->nsegs > 1;
	*first = s->segs[0]->first;
	*last = s->segs[0]->last;
	pthread_mutex_unlock(&s->lock);
	return full;
}

struct log_span *
log_store_spans(struct log_store *s, size_t *n, struct log_tip *tip)
{
	struct log_span *spans;

	pthread_mutex_lock(&s->lock);
	spans = mem_array(s->nsegs, sizeof(*spans));
	for (size_t i = 0; i < s->nsegs; i++)
		spans[i] = (struct log_span){ s->segs[i]->first, s->segs[i]->last,
			s->segs[i]->end };
	*n = s->nsegs;
	*tip = s->tip;
	pthread_mutex_unlock(&s->lock);
	return spans;
}

/* ---- writing ---- */

/* Writes as many records as fit into the current segment; *n of them. */
static int
append_run(struct log_store *s, const struct span *records, size_t *n)
{
	struct log_segment *seg = last_segment(s);
	uint64_t end = seg->end;
	struct iovec iov[APPEND_IOV];
	size_t count = 0, done = 0;

	while (count < *n && count < APPEND_IOV && end + records[count].len <= seg->bytes) {
		iov[count].iov_base = (void *)(uintptr_t)records[count].p;
		iov[count].iov_len = records[count].len;
		end += records[count++].len;
	}
	*n = count;
	for (uint64_t at = seg->end; at < end;) {
		ssize_t w = pwritev(seg->fd, iov + done, (int)(count - done), (off_t)at);

		if (w == -1 && errno == EINTR)
			continue;
		if (w <= 0)
			return -1;
		at += (uint64_t)w;
		for (; done < count && (size_t)w >= iov[done].iov_len; done++)
			w -= (ssize_t)iov[done].iov_len;
		if (w > 0 && done < count) {
			iov[done].iov_base = (char *)iov[done].iov_base + w;
			iov[done].iov_len -= (size_t)w;
		}
	}
	return 0;
}

/* Takes note of one record that was just written at seg->end; under the lock. */
static void
note_record(struct log_store *s, struct log_segment *seg, struct span raw)
{
	const uint8_t *p = (const uint8_t *)raw.p;
	struct gen g;
	struct wire_in w;

	s->tip.lsn = wire_load64(p + 16);
	memcpy(s->tip.hash, p + 48, 16);
	segment_note(seg, s->tip.lsn, seg->end);
	seg->last = s->tip.lsn;
	seg->end += raw.len;
	if (wire_load16(p + 12) == SHARD_PAIR && p[14] == RECORD_GEN) {
		wire_in_init(&w, p + RECORD_HEADER, wire_load32(p + 4) - RECORD_HEADER);
		gen_get(&w, &g);
		if (wire_in_done(&w))
			history_add(&s->history, &g);
	}
}

int
log_store_append(struct log_store *s, const struct span *records, size_t n, size_t *done)
{
	*done = 0;
	while (*done < n) {
		struct log_segment *seg = last_segment(s);
		size_t run = n - *done;

		if (seg->end + records[*done].len > seg->bytes) {
			/* what is in the old one must be durable before anything follows */
			if (fdatasync(seg->fd) == -1) {
				errno = EIO;
				return -1;
			}
			if (new_segment(s) == -1) {
				if (errno == EDQUOT)
					errno = ENOSPC;	/* waited for alike */
				return -1;
			}
			continue;
		}
		if (append_run(s, records + *done, &run) == -1) {
			if (errno == ENOSPC || errno == EDQUOT)
				errno = EIO;	/* in preallocated space: not to be retried */
			return -1;
		}
		pthread_mutex_lock(&s->lock);
		for (size_t i = 0; i < run; i++)
			note_record(s, seg, records[*done + i]);
		pthread_mutex_unlock(&s->lock);
		*done += run;
	}
	return 0;
}

int
log_store_sync(struct log_store *s)
{
	int fd = last_segment(s)->fd, rc = fdatasync(fd);

	return rc == -1 && hook_on("sync-retried") ? fdatasync(fd) : rc;
}

/* ---- reading ---- */

static struct log_segment *
segment_of(struct log_store *s, uint64_t lsn)
{
	for (size_t i = s->nsegs; i-- > 0;)
		if (s->segs[i]->first <= lsn && lsn <= s->segs[i]->last)
			return s->segs[i];
	return NULL;
}

/* Cuts *len to whole, right records; -1 when the first one is not. */
static int
verify(const uint8_t *buf, size_t *len, uint64_t lsn, uint64_t last)
{
	struct record r;
	size_t at = 0, used;

	while (at < *len && lsn <= last) {
		struct span in = { (const char *)buf + at, *len - at };
		enum parse rc = record_decode(in, &r, &used);

		if (rc == PARSE_MORE && at > 0)
			break;
		if (rc != PARSE_OK || r.lsn != lsn) {
			errno = EBADMSG;
			return -1;
		}
		at += used;
		lsn++;
	}
	*len = at;
	return 0;
}

/* Where to read; found under the lock, read without it, for only the main thread
 * reads and takes segments away. */
struct place {
	struct log_segment *seg;
	uint64_t near, end, last;
};

/* 1: it is here; 0: behind the end; -1: ERANGE. */
static int
locate(struct log_store *s, uint64_t lsn, struct place *p)
{
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (lsn <= s->tip.lsn) {
		p->seg = segment_of(s, lsn);
		rc = p->seg == NULL ? -1 : 1;
	}
	if (rc == 1) {
		p->near = segment_near(p->seg, lsn);
		p->end = p->seg->end;
		p->last = p->seg->last;
	}
	pthread_mutex_unlock(&s->lock);
	if (rc == -1)
		errno = ERANGE;
	return rc;
}

int
log_store_read(struct log_store *s, uint64_t lsn, size_t max, uint8_t **buf, size_t *len)
{
	struct place p;
	uint64_t at;
	ssize_t n;
	int rc;

	*buf = NULL;
	*len = 0;
	rc = locate(s, lsn, &p);
	if (rc != 1)
		return rc;
	at = p.near;
	if (segment_walk(p.seg, lsn, &at) == -1)
		return -1;
	if (max < RECORD_MAX + RECORD_ALIGN)
		max = RECORD_MAX + RECORD_ALIGN;	/* at least one always fits */
	if (max > p.end - at)
		max = (size_t)(p.end - at);
	*buf = mem_alloc(max);
	n = fs_pread_all(p.seg->fd, *buf, max, (off_t)at);
	if (n >= 0) {
		*len = (size_t)n;
		if (verify(*buf, len, lsn, p.last) == 0)
			return 0;
	}
	free(*buf);
	*buf = NULL;
	*len = 0;
	return -1;
}

/* The hashes that are in memory. */
static bool
hash_known(struct log_store *s, uint64_t lsn, uint8_t hash[16])
{
	const uint8_t *known = NULL;

	pthread_mutex_lock(&s->lock);
	if (lsn == s->tip.lsn)
		known = s->tip.hash;
	else if (lsn + 1 == s->segs[0]->first)
		known = s->segs[0]->prev_hash;
	if (known != NULL)
		memcpy(hash, known, 16);
	pthread_mutex_unlock(&s->lock);
	return known != NULL;
}

int
log_store_hash(struct log_store *s, uint64_t lsn, uint8_t hash[16])
{
	uint8_t *buf;
	size_t len;

	if (hash_known(s, lsn, hash))
		return 0;
	if (log_store_read(s, lsn, 1, &buf, &len) == -1)
		return -1;
	if (len == 0) {
		errno = ERANGE;
		return -1;
	}
	memcpy(hash, buf + 48, 16);
	free(buf);
	return 0;
}

/* ---- cutting, trimming, starting anew ---- */

static int
remove_segment(struct log_store *s, size_t i)
{
	char name[SEGMENT_NAME_MAX];

	segment_name(s->segs[i]->first, name);
	if (unlinkat(s->dirfd, name, 0) == -1)
		return -1;
	free_segment(s->segs[i]);
	memmove(&s->segs[i], &s->segs[i + 1],
	    (s->nsegs - i - 1) * sizeof(struct log_segment *));
	s->nsegs--;
	return 0;
}

/* Highest first, and their names are gone for good before the file before them is
 * shortened: so a crash in between leaves a shorter log, never one with a hole. */
static int
cut_locked(struct log_store *s, uint64_t lsn)
{
	struct log_segment *seg;
	uint64_t at;

	while (s->nsegs > 1 && last_locked(s)->first > lsn + 1)
		if (remove_segment(s, s->nsegs - 1) == -1)
			return -1;
	if (fsync(s->dirfd) == -1)
		return -1;
	seg = last_locked(s);
	if (seg->first == lsn + 1) {
		at = SEGMENT_HEADER;
	} else {
		if (segment_find(seg, lsn + 1, &at) == -1)
			return -1;
	}
	seg->end = at;
	seg->last = lsn;
	seg->indexed = true;	/* the search above noted all of it; the writer goes on with it */
	while (seg->nindex > 0 && seg->index[seg->nindex - 1].lsn > lsn)
		seg->nindex--;
	return segment_cut(seg);
}

static int
copy_tail(struct log_store *s, uint64_t lsn, const char *name)
{
	bool append = false;

	for (size_t i = 0; i < s->nsegs; i++) {
		struct log_segment *seg = s->segs[i];
		uint64_t from = SEGMENT_HEADER;
		/* a full segment ends in zeros: harmless in the copy */
		if (seg->last <= lsn)
			continue;
		if (seg->first <= lsn && segment_find(seg, lsn + 1, &from) == -1)
			return -1;
		if (set_aside(s, name, seg->fd, from, seg->end, append) == -1)
			return -1;
		append = true;
	}
	return 0;
}

int
log_store_cut(struct log_store *s, uint64_t lsn, const char *name)
{
	uint8_t hash[16];
	int rc = -1;

	if (lsn >= s->tip.lsn)
		return 0;
	if (log_store_hash(s, lsn, hash) == -1)
		return -1;
	pthread_mutex_lock(&s->lock);
	if (copy_tail(s, lsn, name) == 0)
		rc = cut_locked(s, lsn);
	if (rc == 0) {
		s->tip.lsn = lsn;
		memcpy(s->tip.hash, hash, 16);
		history_cut(&s->history, lsn);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int
log_store_reset(struct log_store *s, const struct log_tip *tip, const struct history *h)
{
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	while (s->nsegs > 0 && rc == 0)
		rc = remove_segment(s, s->nsegs - 1);
	pthread_mutex_unlock(&s->lock);
	if (rc == -1 || fsync(s->dirfd) == -1)
		return -1;
	s->tip = *tip;
	s->history = *h;
	return new_segment(s);
}

int
log_store_trim(struct log_store *s, uint64_t lsn)
{
	int n = 0;

	pthread_mutex_lock(&s->lock);
	while (s->nsegs > 1 && s->segs[0]->last <= lsn && remove_segment(s, 0) == 0)
		n++;
	pthread_mutex_unlock(&s->lock);
	return n;
}
