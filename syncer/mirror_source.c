/* mirror_source.c - the active's half of a pass.  See mirror_source.h.
 *
 * BEGIN, the list, then lockstep: a batch of wanted files (each whole or with the
 * signature of what the target has), then the answer to each.  A file is read once,
 * from one descriptor, and stat'ed before and after: when they differ it is read once
 * more, and the target is told whether the same bytes were there both times.  A file
 * touched less than SETTLE_MS ago is given that time first, because a clock tick may
 * hide a later write.  What the target has of it from an earlier pass is compared and
 * not sent; holes go as their length. */
#define _GNU_SOURCE
#include "mirror_source.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <openssl/evp.h>

#include "clock.h"
#include "delta.h"
#include "log.h"
#include "mem.h"
#include "mirror_chan.h"
#include "mirror_conf.h"
#include "mirror_memory.h"
#include "tree.h"
#include "tree_changes.h"
#include "tree_dirty.h"

#define LIST_BYTES (96u << 10)
#define SETTLE_MS 12
#define SIGS_MAX (2 * DELTA_SIG_MAX)	/* bytes of signatures in one batch */

struct want {
	uint32_t index;
	char *path;
	struct delta_sums *sums;	/* NULL: whole */
	uint64_t have;			/* bytes that arrived before, and their digest */
	uint8_t have_sha[32];
};

struct source {
	struct mirror_chan *c;
	const struct mirror_tree *tree;
	struct mirror_memory *memory;
	int root;
	bool full, dry;
	const struct tree_dirty_row *rows;	/* what is looked at, when not full */
	size_t nrows;
	uint64_t looked, unreadable;
	struct wire_out list;		/* entries not sent yet */
	struct want wants[MIRROR_BATCH];
	size_t nwants;
	struct delta *load;		/* the signature that is arriving */
	struct evbuffer *sig, *none;	/* none: loading gives no output */
	uint64_t sig_bytes;
};

int
mirror_source_open(const struct mirror_tree *t, struct mirror_result *r)
{
	int fd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat here, above;

	if (fd == -1) {
		mirror_result_fail(r, MIRROR_REFUSED, "%s cannot be opened: %s", t->path,
		    strerror(errno));
		return -1;
	}
	if (!t->require_mount)
		return fd;
	if (fstat(fd, &here) == 0 && fstatat(fd, "..", &above, 0) == 0 &&
	    here.st_dev != above.st_dev)
		return fd;
	close(fd);
	mirror_result_fail(r, MIRROR_REFUSED, "nothing is mounted on %s", t->path);
	mirror_result_why(r, "require-mount is set for this tree; without its file system the"
	    " directory is empty or somebody else's");
	mirror_result_hint(r, "mount %s", t->path);
	return -1;
}

/* ---- the list ---------------------------------------------------------- */

static int
flush_list(struct source *s)
{
	int rc = s->list.len == 0 ? 0 : mirror_chan_send(s->c, MM_LIST, &s->list);

	wire_out_clear(&s->list);
	return rc;
}

static int
on_entry(void *arg, const struct tree_entry *e)
{
	struct source *s = arg;

	tree_entry_put(&s->list, e);
	s->c->done++;
	if (s->list.len >= LIST_BYTES && flush_list(s) == -1) {
		errno = ECONNABORTED;
		return -1;
	}
	if (mirror_chan_tick(s->c) == 0)
		return 0;
	errno = ECONNABORTED;
	return -1;
}

static void
on_trouble(void *arg, const char *path)
{
	struct source *s = arg;

	log_warn("mirror %s: cannot read %s", s->tree->path, log_safe(path));
}

static int
on_enter(void *arg, int dirfd, const char *path)
{
	struct source *s = arg;

	if (!s->dry)
		tree_changes_enter(s->memory->changes, dirfd, path);
	return 0;
}

/* The entries, for one of the two walks: 0, 1 a full walk is needed, -1. */
static int
send_entries(struct source *s)
{
	struct tree_walk w = { .root_fd = s->root, .exclude = s->tree->exclude,
		.nexclude = s->tree->nexclude, .entries_max = s->tree->entries_max,
		.skip_special = s->tree->skip_special,
		.entry = on_entry, .enter = on_enter, .trouble = on_trouble, .arg = s };
	int rc;

	wire_out_init(&s->list);
	s->c->done = 0;
	rc = s->full ? tree_walk(&w) : tree_walk_rows(&w, s->rows, s->nrows);
	if (rc == -1 && errno != ECONNABORTED)
		(void)mirror_chan_fail(s->c, "%s cannot be listed: %s", s->tree->path,
		    strerror(errno));
	if (rc == 0)
		rc = flush_list(s);
	wire_out_clear(&s->list);
	s->looked = w.entries;
	s->unreadable = w.unreadable;
	/* Where the other names of a file are, only a full walk knows. */
	return rc == 0 && !s->full && w.linked > 0 ? 1 : rc;
}

static int
send_rows(struct source *s)
{
	struct wire_out w;
	size_t i = 0;
	int rc = 0;

	do {
		wire_out_init(&w);
		for (; i < s->nrows && w.len < LIST_BYTES; i++) {
			wire_put_u8(&w, s->rows[i].deep);
			wire_put_str(&w, s->rows[i].path);
		}
		rc = mirror_chan_send(s->c, MM_ROWS, &w);
		wire_out_clear(&w);
	} while (rc == 0 && i < s->nrows);
	return rc;
}

static int
send_all(struct source *s)
{
	s->full = true;
	if (!s->dry) {
		s->memory->walked_wall_ms = clock_wall_ms();
		tree_changes_restart(s->memory->changes, s->root, clock_ms());
	}
	return send_entries(s);
}

static int
send_list(struct source *s)
{
	struct wire_out end;
	int rc = s->full ? send_all(s) : send_rows(s);

	if (rc == 0 && !s->full && (rc = send_entries(s)) == 1)
		rc = mirror_chan_send(s->c, MM_RESTART, NULL) == -1 ? -1 : send_all(s);
	if (rc == -1)
		return -1;
	wire_out_init(&end);
	wire_put_u64(&end, s->looked);
	wire_put_u64(&end, s->unreadable);
	rc = mirror_chan_send(s->c, MM_LIST_END, &end);
	wire_out_clear(&end);
	return rc;
}

/* The target found that the rows do not suffice. */
static int
send_list_again(struct source *s)
{
	if (s->full)
		return mirror_chan_fail(s->c, "a second full walk was asked for");
	s->full = true;
	return mirror_chan_send(s->c, MM_RESTART, NULL) == -1 ? -1 : send_list(s);
}

/* ---- one file ---------------------------------------------------------- */

struct reading {
	int fd;
	struct tree_entry e;		/* as it was when it was opened */
	struct timespec ctime;
	uint64_t at, from;		/* read so far; the first byte that is sent */
	bool sparse, shrank;
	enum mirror_seen seen;
	EVP_MD_CTX *sha;		/* of [0, at) */
	uint8_t digest[32];
	uint64_t literal, matched;
};

static int
settled_stat(int fd, struct stat *st)
{
	struct timespec now;
	int64_t age_ms;

	if (fstat(fd, st) == -1 || clock_gettime(CLOCK_REALTIME, &now) == -1)
		return -1;
	age_ms = (int64_t)(now.tv_sec - st->st_mtim.tv_sec) * 1000 +
	    (now.tv_nsec - st->st_mtim.tv_nsec) / 1000000;
	if (age_ms < 0 || age_ms >= SETTLE_MS)
		return 0;
	(void)poll(NULL, 0, SETTLE_MS - (int)age_ms);
	return fstat(fd, st);
}

static int
open_file(struct source *s, const char *path, struct reading *f)
{
	const char *name;
	struct stat st;
	int dirfd, rc, saved;

	*f = (struct reading){ .fd = -1 };
	if (tree_excluded(path, s->tree->exclude, s->tree->nexclude)) {
		errno = EPERM;
		return -1;
	}
	if ((dirfd = tree_open_parent(s->root, path, &name)) == -1)
		return -1;
	f->fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOATIME);
	if (f->fd == -1 && errno == EPERM)
		f->fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	rc = f->fd == -1 || settled_stat(f->fd, &st) == -1 ? -1 :
	    tree_stat_at(dirfd, path, &f->e);
	saved = errno;
	close(dirfd);
	errno = saved;
	if (rc == -1)
		return -1;
	if (!S_ISREG(st.st_mode) || f->e.type != TREE_FILE) {
		errno = ESTALE;
		return -1;
	}
	if ((uint64_t)st.st_size > s->tree->file_size_max) {
		errno = EFBIG;
		return -1;
	}
	f->e.size = (uint64_t)st.st_size;
	f->sparse = (uint64_t)st.st_blocks * 512 < f->e.size;
	f->e.mtime_s = st.st_mtim.tv_sec;
	f->e.mtime_ns = (uint32_t)st.st_mtim.tv_nsec;
	f->ctime = st.st_ctim;
	return 0;
}

static void
close_file(struct reading *f)
{
	if (f->fd != -1)
		close(f->fd);
	EVP_MD_CTX_free(f->sha);
	tree_entry_clear(&f->e);
}

static void
digest(EVP_MD_CTX *sha, const void *p, size_t n)
{
	if (EVP_DigestUpdate(sha, p, n) != 1)
		log_fatal("no SHA-256");
}

static void
digest_begin(EVP_MD_CTX **sha)
{
	EVP_MD_CTX_free(*sha);
	if ((*sha = EVP_MD_CTX_new()) == NULL ||
	    EVP_DigestInit_ex(*sha, EVP_sha256(), NULL) != 1)
		log_fatal("no SHA-256");
}

/* Of what was read so far; reading may go on. */
static void
digest_now(const EVP_MD_CTX *sha, uint8_t out[32])
{
	EVP_MD_CTX *copy = EVP_MD_CTX_new();

	if (copy == NULL || EVP_MD_CTX_copy_ex(copy, sha) != 1 ||
	    EVP_DigestFinal_ex(copy, out, NULL) != 1)
		log_fatal("no SHA-256");
	EVP_MD_CTX_free(copy);
}

/* The next bytes, never past `end`; 0 at the end; -1: EIO and the like. */
static ssize_t
read_some(struct reading *f, uint8_t *buf, uint64_t end)
{
	size_t want = end - f->at < MIRROR_CHUNK ? (size_t)(end - f->at) : MIRROR_CHUNK;
	ssize_t n;

	if (want == 0 || f->shrank)
		return 0;
	do
		n = pread(f->fd, buf, want, (off_t)f->at);
	while (n == -1 && errno == EINTR);
	if (n == 0)
		f->shrank = true;
	if (n > 0) {
		digest(f->sha, buf, (size_t)n);
		f->at += (uint64_t)n;
	}
	return n;
}

/* Reads [at, end) for its digest only.  0, 1 it cannot be read, -1 the pass is over. */
static int
skim(struct source *s, struct reading *f, uint64_t end)
{
	uint8_t buf[MIRROR_CHUNK];
	ssize_t n;

	while ((n = read_some(f, buf, end)) > 0)
		if (mirror_chan_tick(s->c) == -1)
			return -1;
	return n == -1;
}

/* Starts behind what arrived in an earlier pass, when that is still what is here. */
static int
resume(struct source *s, struct reading *f, const struct want *want)
{
	uint8_t sha[32];
	int rc;

	digest_begin(&f->sha);
	if (want->have == 0 || want->have > f->e.size)
		return 0;
	if ((rc = skim(s, f, want->have)) != 0)
		return rc;
	digest_now(f->sha, sha);
	if (f->at == want->have && memcmp(sha, want->have_sha, sizeof(sha)) == 0) {
		f->from = want->have;
		return 0;
	}
	f->at = 0;
	f->shrank = false;
	digest_begin(&f->sha);
	return 0;
}

static uint64_t
seek_from(const struct reading *f, int whence)
{
	off_t at = lseek(f->fd, (off_t)f->at, whence);

	if (at == -1 && errno != ENXIO)
		return whence == SEEK_DATA ? f->at : f->e.size;	/* no map: all is data */
	return at == -1 || (uint64_t)at > f->e.size ? f->e.size : (uint64_t)at;
}

/* Zeros up to the next data, when the file has a hole where we are; else where the
 * data ends.  What is written into the hole meanwhile is found by look_again(). */
static uint64_t
hole_here(const struct reading *f, uint64_t *data_end)
{
	uint64_t data;

	if (!f->sparse || f->at < *data_end || f->at == f->e.size)
		return 0;
	data = seek_from(f, SEEK_DATA);
	if (data == f->at)
		*data_end = seek_from(f, SEEK_HOLE);
	return data - f->at;
}

static int
send_hole(struct source *s, struct reading *f, uint64_t len)
{
	static const uint8_t zeros[MIRROR_CHUNK];
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_u64(&w, len);
	rc = mirror_chan_send(s->c, MM_HOLE, &w);
	wire_out_clear(&w);
	while (rc == 0 && len > 0) {
		size_t n = len < sizeof(zeros) ? (size_t)len : sizeof(zeros);

		digest(f->sha, zeros, n);
		f->at += n;
		len -= n;
		rc = mirror_chan_tick(s->c);
	}
	return rc;
}

/* 0 sent, 1 the file cannot be read, -1 the pass is over. */
static int
send_whole(struct source *s, struct reading *f)
{
	uint8_t buf[MIRROR_CHUNK];
	uint64_t hole, data_end = f->sparse ? 0 : f->e.size;
	ssize_t n;

	while (f->at < f->e.size) {
		if ((hole = hole_here(f, &data_end)) > 0) {
			if (send_hole(s, f, hole) == -1)
				return -1;
			continue;
		}
		if ((n = read_some(f, buf, data_end)) <= 0)
			return n == -1;
		f->literal += (uint64_t)n;
		if (mirror_chan_send_raw(s->c, MM_DATA, buf, (size_t)n) == -1 ||
		    mirror_chan_tick(s->c) == -1)
			return -1;
	}
	return 0;
}

static int
send_buffer(struct mirror_chan *c, struct evbuffer *out)
{
	uint8_t buf[MIRROR_CHUNK];
	int n;

	while ((n = evbuffer_remove(out, buf, sizeof(buf))) > 0)
		if (mirror_chan_send_raw(c, MM_DATA, buf, (size_t)n) == -1)
			return -1;
	return mirror_chan_tick(c);
}

/* 0 sent, 1 the file cannot be read, -1 the pass is over. */
static int
send_delta_from(struct source *s, struct reading *f, struct delta *d, struct evbuffer *in,
    struct evbuffer *out)
{
	uint8_t buf[MIRROR_CHUNK];
	enum delta_rc rc = DELTA_MORE;
	bool eof = false;

	while (rc == DELTA_MORE) {
		if (!eof && evbuffer_get_length(in) < sizeof(buf)) {
			ssize_t n = read_some(f, buf, f->e.size);

			if (n == -1)
				return 1;
			eof = n == 0;
			if (n > 0 && evbuffer_add(in, buf, (size_t)n) == -1)
				log_fatal("no memory");
		}
		rc = delta_step(d, in, eof, out);
		if (send_buffer(s->c, out) == -1)
			return -1;
	}
	if (rc == DELTA_FAIL)
		return mirror_chan_fail(s->c, "delta: %s", delta_error(d));
	delta_stats(d, &f->literal, &f->matched);
	return 0;
}

static int
send_delta(struct source *s, struct reading *f, struct delta_sums *sums)
{
	struct evbuffer *in = evbuffer_new(), *out = evbuffer_new();
	struct delta *d = delta_make_new(sums, false);
	int rc = send_delta_from(s, f, d, in, out);

	delta_free(d);
	evbuffer_free(in);
	evbuffer_free(out);
	return rc;
}

static int
send_fail(struct source *s, const struct want *want, int error)
{
	struct wire_out w;
	int rc;

	tree_changes_again(s->memory->changes, want->path);
	wire_out_init(&w);
	wire_put_u32(&w, want->index);
	wire_put_u32(&w, (uint32_t)error);
	rc = mirror_chan_send(s->c, MM_FILE_FAIL, &w);
	wire_out_clear(&w);
	return rc;
}

static int
send_end(struct source *s, uint32_t index, const struct reading *f)
{
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_u32(&w, index);
	wire_put_raw(&w, f->digest, sizeof(f->digest));
	wire_put_u64(&w, f->at);
	wire_put_u64(&w, f->literal);
	wire_put_u64(&w, f->matched);
	wire_put_u8(&w, f->seen);
	rc = mirror_chan_send(s->c, MM_FILE_END, &w);
	wire_out_clear(&w);
	return rc;
}

static bool
touched(const struct reading *f)
{
	struct stat st;

	return f->shrank || fstat(f->fd, &st) == -1 || (uint64_t)st.st_size != f->e.size ||
	    st.st_mtim.tv_sec != f->e.mtime_s ||
	    (uint32_t)st.st_mtim.tv_nsec != f->e.mtime_ns ||
	    st.st_ctim.tv_sec != f->ctime.tv_sec || st.st_ctim.tv_nsec != f->ctime.tv_nsec;
}

/* Was it written while it was read?  The same bytes twice were all there between the
 * two readings: what is appended to, or was only touched, can be had; the rest is torn. */
static int
look_again(struct source *s, struct reading *f)
{
	struct reading twice = { .fd = f->fd };
	uint8_t sha[32];
	int rc;

	digest_now(f->sha, f->digest);
	if (!touched(f))
		return 0;
	digest_begin(&twice.sha);
	if ((rc = skim(s, &twice, f->at)) == 0) {
		digest_now(twice.sha, sha);
		f->seen = !f->shrank && twice.at == f->at &&
		    memcmp(sha, f->digest, sizeof(sha)) == 0 ? MIRROR_GROWING : MIRROR_TORN;
	}
	EVP_MD_CTX_free(twice.sha);
	return rc;
}

static int
send_head(struct source *s, const struct want *want, const struct reading *f)
{
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_u32(&w, want->index);
	tree_entry_put(&w, &f->e);
	wire_put_u64(&w, f->from);
	wire_put_u8(&w, f->sparse);
	rc = mirror_chan_send(s->c, MM_FILE, &w);
	wire_out_clear(&w);
	return rc;
}

static int
send_content(struct source *s, const struct want *want, struct reading *f)
{
	int rc = resume(s, f, want);

	if (rc == 0)
		rc = send_head(s, want, f);
	if (rc == 0)
		rc = want->sums != NULL ? send_delta(s, f, want->sums) : send_whole(s, f);
	if (rc == 0)
		rc = look_again(s, f);
	if (rc == 1)
		return send_fail(s, want, EIO);
	if (rc == 0 && f->seen != MIRROR_WHOLE)
		tree_changes_again(s->memory->changes, want->path);
	return rc == -1 ? -1 : send_end(s, want->index, f);
}

static int
send_file(struct source *s, const struct want *want)
{
	struct reading f;
	int rc;

	if (open_file(s, want->path, &f) == -1)
		rc = send_fail(s, want, errno);
	else
		rc = send_content(s, want, &f);
	close_file(&f);
	return rc;
}

/* ---- what the target wants --------------------------------------------- */

static void
forget_wants(struct source *s)
{
	for (size_t i = 0; i < s->nwants; i++) {
		free(s->wants[i].path);
		delta_sums_free(s->wants[i].sums);
	}
	s->nwants = 0;
	s->sig_bytes = 0;
	delta_free(s->load);
	s->load = NULL;
	evbuffer_drain(s->sig, evbuffer_get_length(s->sig));
}

/* The signature of the file wanted last is complete. */
static int
end_signature(struct source *s)
{
	enum delta_rc rc;

	if (s->load == NULL)
		return 0;
	do
		rc = delta_step(s->load, s->sig, true, s->none);
	while (rc == DELTA_MORE);
	if (rc == DELTA_FAIL)
		return mirror_chan_fail(s->c, "signature: %s", delta_error(s->load));
	s->wants[s->nwants - 1].sums = delta_take_sums(s->load);
	delta_free(s->load);
	s->load = NULL;
	return 0;
}

static int
take_want(struct source *s, struct wire_in *in)
{
	char path[TREE_PATH_MAX];
	struct want want = { .index = wire_get_u32(in) };
	uint8_t how = wire_get_u8(in);

	wire_get_str(in, path, sizeof(path));
	if (how & MIRROR_RESUME) {
		want.have = wire_get_u64(in);
		wire_get_raw(in, want.have_sha, sizeof(want.have_sha));
	}
	if (!wire_in_done(in) || !tree_path_ok(path) || s->nwants == MIRROR_BATCH)
		return mirror_chan_fail(s->c, "malformed request");
	if (end_signature(s) == -1)
		return -1;
	want.path = mem_dup(path);
	s->wants[s->nwants++] = want;
	if (how & MIRROR_BY_DELTA)
		s->load = delta_load_new();
	return 0;
}

static int
take_signature(struct source *s, struct wire_in *in)
{
	struct span rest = wire_get_rest(in);

	s->sig_bytes += rest.len;
	if (s->load == NULL || s->sig_bytes > SIGS_MAX)
		return mirror_chan_fail(s->c, "signature not asked for, or too large");
	if (evbuffer_add(s->sig, rest.p, rest.len) == -1)
		log_fatal("no memory");
	/* A job that ends early fails on what follows. */
	if (delta_step(s->load, s->sig, false, s->none) == DELTA_FAIL)
		return mirror_chan_fail(s->c, "signature: %s", delta_error(s->load));
	return 0;
}

static int
answer_wants(struct source *s)
{
	if (end_signature(s) == -1)
		return -1;
	for (size_t i = 0; i < s->nwants; i++)
		if (send_file(s, &s->wants[i]) == -1)
			return -1;
	forget_wants(s);
	return mirror_chan_send(s->c, MM_BATCH_END, NULL);
}

/* Answers until the target has its result. */
static int
serve(struct source *s, struct mirror_result *r)
{
	struct mirror_msg m;
	int rc = 0;

	while (rc == 0) {
		if (mirror_chan_recv(s->c, &m) == -1)
			return -1;
		switch (m.type) {
		case MM_PLAN: rc = mirror_chan_plan(s->c, &m.body); break;
		case MM_WALK: rc = send_list_again(s); break;
		case MM_WANT: rc = take_want(s, &m.body); break;
		case MM_SIG: rc = take_signature(s, &m.body); break;
		case MM_WANT_END: rc = answer_wants(s); break;
		case MM_RESULT:
			if (mirror_result_get(&m.body, r) == -1)
				return mirror_chan_fail(s->c, "malformed result");
			r->full = s->full;
			r->looked = s->looked;
			return 0;
		default:
			return mirror_chan_fail(s->c, "unexpected message %u", m.type);
		}
	}
	return -1;
}

/* Which pass the target may build on; 0: none, a full walk. */
static uint32_t
base_pass(struct source *s, bool full)
{
	const struct mirror_memory *m = s->memory;

	s->full = full || m->sent_pass == 0 || !gen_same(&m->sent_gen, &s->c->gen) ||
	    !tree_changes_begin(m->changes, s->root, clock_ms(), &s->rows, &s->nrows);
	return s->full ? 0 : m->sent_pass;
}

/* The target looks at its own tree before we list ours: 0 go on, 1 it refused. */
static int
begin(struct source *s, uint8_t flags, struct mirror_result *r)
{
	struct mirror_msg m;
	struct wire_out w;
	int level = s->tree->compress_level, rc;

	wire_out_init(&w);
	wire_put_u16(&w, MIRROR_PROTOCOL);
	wire_put_str(&w, s->tree->path);
	wire_put_u8(&w, flags);
	wire_put_u8(&w, level > 0);
	wire_put_u32(&w, base_pass(s, (flags & (MIRROR_FULL_WALK | MIRROR_DRY_RUN)) != 0));
	rc = mirror_chan_send(s->c, MM_BEGIN, &w);
	wire_out_clear(&w);
	if (rc == -1 || mirror_chan_recv(s->c, &m) == -1)
		return -1;
	if (m.type == MM_READY) {
		mirror_chan_pack(s->c, wire_get_u8(&m.body) != 0 ? level : 0);
		s->full |= wire_get_u8(&m.body) == 0;
		return wire_in_done(&m.body) ? 0 :
		    mirror_chan_fail(s->c, "malformed message");
	}
	if (m.type == MM_RESULT && mirror_result_get(&m.body, r) == 0)
		return 1;
	return mirror_chan_fail(s->c, "unexpected message %u", m.type);
}

/* What the next pass may build on. */
static void
remember(struct source *s, bool well)
{
	tree_changes_end(s->memory->changes, well);
	s->memory->sent_pass = well ? s->c->pass : 0;
	s->memory->sent_gen = s->c->gen;
}

int
mirror_source_run(struct mirror_chan *c, const struct mirror_tree *t,
    struct mirror_memory *memory, uint8_t flags, struct mirror_result *r)
{
	struct source *s;
	int rc, root = mirror_source_open(t, r);

	if (root == -1)
		return 0;
	s = mem_alloc(sizeof(*s));
	s->c = c;
	s->tree = t;
	s->memory = memory;
	s->root = root;
	if ((s->sig = evbuffer_new()) == NULL || (s->none = evbuffer_new()) == NULL)
		log_fatal("no memory");
	s->dry = (flags & MIRROR_DRY_RUN) != 0;
	rc = begin(s, flags, r);
	if (rc == 0 && (rc = send_list(s)) == 0)
		rc = serve(s, r);
	if (!s->dry)		/* a dry run changes nothing, not here either */
		remember(s, rc == 0 && r->outcome == MIRROR_OK);
	forget_wants(s);
	evbuffer_free(s->sig);
	evbuffer_free(s->none);
	close(root);
	free(s);
	return rc == -1 ? -1 : 0;
}
