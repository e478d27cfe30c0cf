/* mirror_source.c - the active's half of a pass.  See mirror_source.h.
 *
 * BEGIN, the list, then lockstep: a batch of wanted files (each whole or with the
 * signature of what the target has), then the answer to each.  A file is read once,
 * from one descriptor, and stat'ed before and after: when they differ, the target is
 * told that it changed while it was read.  A file touched less than SETTLE_MS ago is
 * given that time first, because a clock tick may hide a later write. */
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

#include "delta.h"
#include "log.h"
#include "mem.h"
#include "mirror_chan.h"
#include "mirror_conf.h"
#include "tree.h"

#define LIST_BYTES (96u << 10)
#define SETTLE_MS 12
#define SIGS_MAX (2 * DELTA_SIG_MAX)	/* bytes of signatures in one batch */

struct want {
	uint32_t index;
	char *path;
	struct delta_sums *sums;	/* NULL: whole */
};

struct source {
	struct mirror_chan *c;
	const struct mirror_tree *tree;
	int root;
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
send_list(struct source *s, struct mirror_result *r)
{
	struct tree_walk w = { .root_fd = s->root, .exclude = s->tree->exclude,
		.nexclude = s->tree->nexclude, .entries_max = s->tree->entries_max,
		.entry = on_entry, .trouble = on_trouble, .arg = s };
	struct wire_out end;
	int rc;

	wire_out_init(&s->list);
	rc = tree_walk(&w);
	if (rc == -1 && errno != ECONNABORTED)
		(void)mirror_chan_fail(s->c, "%s cannot be listed: %s", s->tree->path,
		    strerror(errno));
	if (rc == 0)
		rc = flush_list(s);
	wire_out_clear(&s->list);
	if (rc == -1)
		return -1;
	r->entries = w.entries;
	r->unreadable = w.unreadable;
	wire_out_init(&end);
	wire_put_u64(&end, w.entries);
	wire_put_u64(&end, w.unreadable);
	rc = mirror_chan_send(s->c, MM_LIST_END, &end);
	wire_out_clear(&end);
	return rc;
}

/* ---- one file ---------------------------------------------------------- */

struct reading {
	int fd;
	struct tree_entry e;		/* as it was when it was opened */
	struct timespec ctime;
	uint64_t left;			/* of the size at that time */
	bool changed;
	EVP_MD_CTX *sha;
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
	int dirfd;

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
	close(dirfd);
	if (f->fd == -1 || settled_stat(f->fd, &st) == -1)
		return -1;
	if (tree_stat(s->root, path, &f->e) == -1)
		return -1;
	if (!S_ISREG(st.st_mode) || f->e.type != TREE_FILE) {
		errno = ESTALE;
		return -1;
	}
	if ((uint64_t)st.st_size > s->tree->file_size_max) {
		errno = EFBIG;
		return -1;
	}
	f->e.size = f->left = (uint64_t)st.st_size;
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

/* The next bytes, never past the size at opening; 0 at the end; -1: EIO and the like. */
static ssize_t
read_some(struct reading *f, uint8_t *buf)
{
	size_t want = f->left < MIRROR_CHUNK ? (size_t)f->left : MIRROR_CHUNK;
	ssize_t n;

	if (want == 0)
		return 0;
	do
		n = read(f->fd, buf, want);
	while (n == -1 && errno == EINTR);
	if (n == 0)
		f->changed = true;		/* it shrank */
	f->left -= n > 0 ? (uint64_t)n : f->left * (n == 0);
	return n;
}

static int
send_whole(struct source *s, struct reading *f)
{
	uint8_t buf[MIRROR_CHUNK];
	ssize_t n;

	if ((f->sha = EVP_MD_CTX_new()) == NULL ||
	    EVP_DigestInit_ex(f->sha, EVP_sha256(), NULL) != 1)
		log_fatal("no SHA-256");
	while ((n = read_some(f, buf)) > 0) {
		if (EVP_DigestUpdate(f->sha, buf, (size_t)n) != 1)
			log_fatal("no SHA-256");
		f->literal += (uint64_t)n;
		if (mirror_chan_send_raw(s->c, MM_DATA, buf, (size_t)n) == -1 ||
		    mirror_chan_tick(s->c) == -1)
			return -1;
	}
	if (n == -1)
		return 1;
	return EVP_DigestFinal_ex(f->sha, f->digest, NULL) == 1 ? 0 : 1;
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
			ssize_t n = read_some(f, buf);

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
	delta_digest(d, f->digest);
	delta_stats(d, &f->literal, &f->matched);
	return 0;
}

static int
send_delta(struct source *s, struct reading *f, struct delta_sums *sums)
{
	struct evbuffer *in = evbuffer_new(), *out = evbuffer_new();
	struct delta *d = delta_make_new(sums);
	int rc = send_delta_from(s, f, d, in, out);

	delta_free(d);
	evbuffer_free(in);
	evbuffer_free(out);
	return rc;
}

static int
send_fail(struct source *s, uint32_t index, int error)
{
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_u32(&w, index);
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
	wire_put_u64(&w, f->e.size - f->left);
	wire_put_u64(&w, f->literal);
	wire_put_u64(&w, f->matched);
	wire_put_u8(&w, f->changed);
	rc = mirror_chan_send(s->c, MM_FILE_END, &w);
	wire_out_clear(&w);
	return rc;
}

static void
look_again(struct reading *f)
{
	struct stat st;

	if (fstat(f->fd, &st) == -1 || (uint64_t)st.st_size != f->e.size ||
	    st.st_mtim.tv_sec != f->e.mtime_s ||
	    (uint32_t)st.st_mtim.tv_nsec != f->e.mtime_ns ||
	    st.st_ctim.tv_sec != f->ctime.tv_sec || st.st_ctim.tv_nsec != f->ctime.tv_nsec)
		f->changed = true;
}

static int
send_content(struct source *s, const struct want *want, struct reading *f)
{
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_u32(&w, want->index);
	tree_entry_put(&w, &f->e);
	rc = mirror_chan_send(s->c, MM_FILE, &w);
	wire_out_clear(&w);
	if (rc == 0)
		rc = want->sums != NULL ? send_delta(s, f, want->sums) : send_whole(s, f);
	if (rc == 1)
		return send_fail(s, want->index, EIO);
	if (rc == -1)
		return -1;
	look_again(f);
	return send_end(s, want->index, f);
}

static int
send_file(struct source *s, const struct want *want)
{
	struct reading f;
	int rc;

	if (open_file(s, want->path, &f) == -1)
		rc = send_fail(s, want->index, errno);
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
	uint32_t index = wire_get_u32(in);
	bool by_delta = wire_get_u8(in) != 0;

	wire_get_str(in, path, sizeof(path));
	if (!wire_in_done(in) || !tree_path_ok(path) || s->nwants == MIRROR_BATCH)
		return mirror_chan_fail(s->c, "malformed request");
	if (end_signature(s) == -1)
		return -1;
	s->wants[s->nwants++] = (struct want){ index, mem_dup(path), NULL };
	if (by_delta)
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
	uint64_t entries = r->entries, unreadable = r->unreadable;
	struct mirror_msg m;
	int rc = 0;

	while (rc == 0) {
		if (mirror_chan_recv(s->c, &m) == -1)
			return -1;
		switch (m.type) {
		case MM_READY: break;
		case MM_WANT: rc = take_want(s, &m.body); break;
		case MM_SIG: rc = take_signature(s, &m.body); break;
		case MM_WANT_END: rc = answer_wants(s); break;
		case MM_RESULT:
			if (mirror_result_get(&m.body, r) == -1)
				return mirror_chan_fail(s->c, "malformed result");
			if (r->outcome == MIRROR_OK) {
				r->entries = entries;
				r->unreadable = unreadable;
			}
			return 0;
		default:
			return mirror_chan_fail(s->c, "unexpected message %u", m.type);
		}
	}
	return -1;
}

/* The target looks at its own tree before we list ours: 0 go on, 1 it refused. */
static int
begin(struct source *s, bool accept, struct mirror_result *r)
{
	struct mirror_msg m;
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_u16(&w, MIRROR_PROTOCOL);
	wire_put_str(&w, s->tree->path);
	wire_put_u8(&w, accept);
	rc = mirror_chan_send(s->c, MM_BEGIN, &w);
	wire_out_clear(&w);
	if (rc == -1 || mirror_chan_recv(s->c, &m) == -1)
		return -1;
	if (m.type == MM_READY)
		return 0;
	if (m.type == MM_RESULT && mirror_result_get(&m.body, r) == 0)
		return 1;
	return mirror_chan_fail(s->c, "unexpected message %u", m.type);
}

int
mirror_source_run(struct mirror_chan *c, const struct mirror_tree *t, bool accept,
    struct mirror_result *r)
{
	struct source *s;
	int rc, root = mirror_source_open(t, r);

	if (root == -1)
		return 0;
	s = mem_alloc(sizeof(*s));
	s->c = c;
	s->tree = t;
	s->root = root;
	if ((s->sig = evbuffer_new()) == NULL || (s->none = evbuffer_new()) == NULL)
		log_fatal("no memory");
	rc = begin(s, accept, r);
	if (rc == 0 && (rc = send_list(s, r)) == 0)
		rc = serve(s, r);
	forget_wants(s);
	evbuffer_free(s->sig);
	evbuffer_free(s->none);
	close(root);
	free(s);
	return rc == -1 ? -1 : 0;
}
