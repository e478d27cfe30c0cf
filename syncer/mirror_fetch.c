/* mirror_fetch.c - file content for a pass: asks in batches, receives, verifies, and
 * gives what is whole to mirror_place.h.  Part of mirror_target.h.
 *
 * Lockstep: a batch is asked for when nothing is outstanding.  New files come whole;
 * for changed ones the signature of what is here goes out first and a delta comes
 * back.  A file is whole only when the SHA-256 of the result equals the source's.  A
 * result that does not match is asked for again, whole; so is a file that was written
 * inside while the source read it, and when that never ends the standby keeps what it
 * has.  A file that only grew is kept as it was, with a time that makes the next pass
 * look again.
 *
 * A pass that ends in the middle leaves what has arrived; the next one tells the source
 * how much that is and its SHA-256, and gets the rest.  Nothing of it is trusted: the
 * SHA-256 of the whole decides.  Long zeros of a file with holes are not written. */
#define _GNU_SOURCE
#include "mirror_target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <openssl/evp.h>

#include "delta.h"
#include "fs.h"
#include "hook.h"
#include "log.h"
#include "mem.h"
#include "mirror_chan.h"
#include "mirror_conf.h"
#include "mirror_place.h"
#include "mirror_spool.h"
#include "tree_apply.h"
#include "tree_moves.h"
#include "tree_plan.h"

#define BATCH_BYTES (64u << 20)		/* of file content asked for at once */
#define DELTA_MIN 4096			/* below that a signature costs more than it saves */
#define TRIES 3				/* for a file that is torn or does not verify */
#define FILES_SPARE 100u		/* descriptors for everything else */
#define BLOCK 4096u			/* zeros that are left out of a file with holes */

struct wanted {
	struct tree_entry e;
	int basis;			/* -1: comes whole */
	struct tree_tmp tmp;
	EVP_MD_CTX *sha;		/* of what is in tmp already: tmp.have bytes */
	char *held;			/* a new name for this path of the hold folder */
	struct tree_entry now;		/* the source's entry when it read the file */
	bool ready;			/* received, verified, not yet given to place */
};

struct fetch {
	struct mirror_target *t;
	struct wanted w[MIRROR_BATCH];
	size_t n, max;			/* max: as many as files can be open */
	uint64_t bytes;			/* of content in this batch */
	struct mirror_place *place;	/* whole files, not yet in place */
	struct mirror_spool *again;	/* op: DATA = as before, CREATE = whole */
	bool second, last_try;
	/* The file that is arriving: */
	struct wanted *cur;
	struct tree_entry now;
	bool sparse;
	struct delta *patch;
	EVP_MD_CTX *sha;
	uint64_t got;
	struct evbuffer *in, *out;
	bool spoiled;			/* our disk or the delta failed: drop the rest */
};

/* ---- asking ------------------------------------------------------------ */

static int
open_basis(struct fetch *f, const struct tree_entry *e)
{
	const char *name;
	struct stat st;
	int fd, dirfd = tree_open_parent(f->t->root, e->path, &name);

	if (dirfd == -1)
		return -1;
	fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	close(dirfd);
	if (fd != -1 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= DELTA_MIN)
		return fd;
	if (fd != -1)
		close(fd);
	return -1;
}

static int
send_sig_bytes(struct fetch *f, struct evbuffer *out)
{
	uint8_t buf[MIRROR_CHUNK];
	int n;

	while ((n = evbuffer_remove(out, buf, sizeof(buf))) > 0)
		if (mirror_chan_send_raw(f->t->c, MM_SIG, buf, (size_t)n) == -1)
			return -1;
	return 0;
}

/* Reads the basis and sends its signature as it grows. */
static int
send_signature_of(struct fetch *f, int fd, struct delta *d)
{
	uint8_t buf[MIRROR_CHUNK];
	enum delta_rc rc = DELTA_MORE;
	off_t at = 0;
	bool eof = false;

	while (rc == DELTA_MORE) {
		if (!eof && evbuffer_get_length(f->in) < sizeof(buf)) {
			ssize_t n = fs_pread_all(fd, buf, sizeof(buf), at);

			if (n == -1)
				return mirror_chan_fail(f->t->c, "%s: cannot read a file: %s",
				    f->t->tree->path, strerror(errno));
			eof = (size_t)n < sizeof(buf);
			at += n;
			if (evbuffer_add(f->in, buf, (size_t)n) == -1)
				log_fatal("no memory");
		}
		rc = delta_step(d, f->in, eof, f->out);
		if (send_sig_bytes(f, f->out) == -1 || mirror_chan_tick(f->t->c) == -1)
			return -1;
	}
	return rc == DELTA_DONE ? 0 : mirror_chan_fail(f->t->c, "signature: %s", delta_error(d));
}

static void
empty(struct evbuffer *b)
{
	evbuffer_drain(b, evbuffer_get_length(b));
}

static int
send_signature(struct fetch *f, int fd)
{
	struct delta *d;
	struct stat st;
	int rc;

	if (fstat(fd, &st) == -1)
		return mirror_chan_fail(f->t->c, "fstat: %s", strerror(errno));
	d = delta_sig_short((uint64_t)st.st_size);
	rc = send_signature_of(f, fd, d);
	delta_free(d);
	empty(f->in);
	empty(f->out);
	return rc;
}

static EVP_MD_CTX *
sha_new(void)
{
	EVP_MD_CTX *sha = EVP_MD_CTX_new();

	if (sha == NULL || EVP_DigestInit_ex(sha, EVP_sha256(), NULL) != 1)
		log_fatal("no SHA-256");
	return sha;
}

static void
sha_add(EVP_MD_CTX *sha, const void *p, size_t n)
{
	if (EVP_DigestUpdate(sha, p, n) != 1)
		log_fatal("no SHA-256");
}

/* Of what went in so far; more may follow. */
static void
sha_now(const EVP_MD_CTX *sha, uint8_t out[32])
{
	EVP_MD_CTX *copy = EVP_MD_CTX_new();

	if (copy == NULL || EVP_MD_CTX_copy_ex(copy, sha) != 1 ||
	    EVP_DigestFinal_ex(copy, out, NULL) != 1)
		log_fatal("no SHA-256");
	EVP_MD_CTX_free(copy);
}

/* Is this a file that had another name?  It is in the hold folder since the deletions. */
static bool
find_moved(struct fetch *f, struct wanted *w)
{
	const char *from = f->second ? NULL : tree_moves_from(f->t->moves, w->e.path);

	if (from == NULL)
		return false;
	w->held = tree_apply_held(f->t->batch, from);
	return tree_tmp_move(&w->tmp, f->t->root, w->held, w->e.path) == 0;
}

/* What is here of this file already, under another name or from an earlier pass, and its
 * digest; nothing is fine.  -1: the pass is over. */
static int
find_present(struct fetch *f, enum tree_op op, struct wanted *w)
{
	uint8_t buf[MIRROR_CHUNK];
	uint64_t at = 0;
	ssize_t n = 0;

	if (!(op == TREE_OP_CREATE && find_moved(f, w)) &&
	    (f->t->left == 0 || tree_tmp_find(&w->tmp, f->t->root, w->e.path) == -1))
		return 0;
	w->sha = sha_new();
	while (at < w->tmp.have &&
	    (n = fs_pread_all(w->tmp.fd, buf, sizeof(buf), (off_t)at)) > 0) {
		sha_add(w->sha, buf, (size_t)n);
		at += (uint64_t)n;
		if (mirror_chan_tick(f->t->c) == -1)
			return -1;
	}
	if (at != w->tmp.have || at == 0) {
		EVP_MD_CTX_free(w->sha);
		w->sha = NULL;
		tree_tmp_drop(&w->tmp);
	}
	return 0;
}

static int
send_want(struct fetch *f, const struct wanted *w)
{
	struct wire_out out;
	uint8_t sha[32];
	int rc;

	wire_out_init(&out);
	wire_put_u32(&out, (uint32_t)(w - f->w));
	wire_put_u8(&out, (uint8_t)((w->basis != -1 ? MIRROR_BY_DELTA : 0) |
	    (w->sha != NULL ? MIRROR_RESUME : 0)));
	wire_put_str(&out, w->e.path);
	if (w->sha != NULL) {
		sha_now(w->sha, sha);
		wire_put_u64(&out, w->tmp.have);
		wire_put_raw(&out, sha, sizeof(sha));
	}
	rc = mirror_chan_send(f->t->c, MM_WANT, &out);
	wire_out_clear(&out);
	return rc;
}

/* Asks for e (taken over).  The source reads requests until WANT_END, so writing
 * them never meets a source that writes. */
static int
want(struct fetch *f, enum tree_op op, struct tree_entry *e)
{
	struct wanted *w = &f->w[f->n++];
	struct stat st;
	int rc;

	*w = (struct wanted){ .e = *e, .basis = -1, .tmp = { .fd = -1, .dirfd = -1 } };
	memset(e, 0, sizeof(*e));
	if (op == TREE_OP_DATA)
		w->basis = open_basis(f, &w->e);
	rc = find_present(f, op, w);
	if (rc == 0)
		rc = send_want(f, w);
	f->bytes += w->e.size;
	if (rc == 0 && w->basis != -1) {
		if (fstat(w->basis, &st) == 0 && (uint64_t)st.st_size > w->e.size)
			f->bytes += (uint64_t)st.st_size - w->e.size;	/* so long is its signature */
		rc = send_signature(f, w->basis);
	}
	return rc;
}

/* ---- receiving --------------------------------------------------------- */

static void
drop_current(struct fetch *f)
{
	tree_entry_clear(&f->now);
	delta_free(f->patch);
	f->patch = NULL;
	EVP_MD_CTX_free(f->sha);
	f->sha = NULL;
	empty(f->in);
	empty(f->out);
	f->cur = NULL;
}

static void
spoil(struct fetch *f, const char *what)
{
	if (!f->spoiled)
		mirror_target_trouble(f->t, what, f->cur->e.path);
	f->spoiled = true;
}

/* The file beside, and how much of it is there: as much as the source leaves out. */
static void
begin_tmp(struct fetch *f)
{
	struct wanted *w = f->cur;

	if (w->tmp.moved && f->got == 0)
		tree_tmp_drop(&w->tmp);		/* another file, after all */
	if (w->tmp.path == NULL && tree_tmp_open(&w->tmp, f->t->root, w->e.path) == -1)
		spoil(f, "make a file beside");
	else if (f->got == 0 && w->tmp.have > 0 && ftruncate(w->tmp.fd, 0) == -1)
		spoil(f, "write");
	f->sha = f->got > 0 ? w->sha : sha_new();
	if (f->got > 0)
		w->sha = NULL;
}

static int
begin_file(struct fetch *f, struct wire_in *in)
{
	uint32_t i = wire_get_u32(in);

	if (f->cur != NULL || i >= f->n || f->w[i].ready ||
	    tree_entry_get(in, &f->now) == -1)
		return mirror_chan_fail(f->t->c, "unexpected file");
	f->cur = &f->w[i];
	f->got = wire_get_u64(in);
	f->sparse = wire_get_u8(in) != 0;
	f->spoiled = false;
	if (!wire_in_done(in) || (f->got != 0 &&
	    (f->cur->sha == NULL || f->got != f->cur->tmp.have)))
		return mirror_chan_fail(f->t->c, "malformed file");
	if (f->now.type != TREE_FILE || strcmp(f->now.path, f->cur->e.path) != 0)
		return mirror_chan_fail(f->t->c, "another file than asked for");
	if (f->cur->basis != -1)
		f->patch = delta_patch_new(f->cur->basis, f->t->tree->file_size_max, false);
	begin_tmp(f);
	return 0;
}

static bool
zeros(const uint8_t *p, size_t n)
{
	return n > 0 && p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* How much of p to take at once: up to the end of a block, or of blocks, of one kind. */
static size_t
run_of(const uint8_t *p, size_t n, uint64_t at, bool *hole)
{
	size_t len = 0, k;

	for (; len < n; len += k) {
		bool z;

		k = BLOCK - (size_t)((at + len) % BLOCK);
		if (k > n - len)
			k = n - len;
		z = zeros(p + len, k);
		if (len == 0)
			*hole = z;
		else if (z != *hole)
			break;
	}
	return len;
}

/* Nothing was ever written at or behind `at`, so what is left out reads as zeros. */
static int
write_sparse(int fd, const uint8_t *p, size_t n, uint64_t at)
{
	while (n > 0) {
		bool hole;
		size_t k = run_of(p, n, at, &hole);

		if (!hole && fs_pwrite_all(fd, p, k, (off_t)at) == -1)
			return -1;
		p += k;
		n -= k;
		at += k;
	}
	return 0;
}

static bool
too_large(struct fetch *f, uint64_t more)
{
	uint64_t max = f->t->tree->file_size_max;

	if (f->got <= max && more <= max - f->got)
		return false;
	errno = EFBIG;
	spoil(f, "take");
	return true;
}

/* Result bytes: written and counted; the digest is over exactly what was written. */
static void
write_bytes(struct fetch *f, const void *p, size_t n)
{
	int rc;

	if (f->cur->tmp.moved)
		f->spoiled = true;		/* it has grown meanwhile: whole, then */
	if (f->spoiled || too_large(f, n))
		return;
	if (f->sparse)
		rc = write_sparse(f->cur->tmp.fd, p, n, f->got);
	else
		rc = fs_pwrite_all(f->cur->tmp.fd, p, n, (off_t)f->got);
	f->got += n;
	if (rc == -1)
		spoil(f, "write");
	else
		sha_add(f->sha, p, n);
}

/* Zeros that the source has as a hole: the file grows, nothing is written. */
static int
take_hole(struct fetch *f, struct wire_in *in)
{
	static const uint8_t none[MIRROR_CHUNK];
	uint64_t len = wire_get_u64(in);

	if (!wire_in_done(in) || f->cur == NULL || f->cur->basis != -1 || len == 0)
		return mirror_chan_fail(f->t->c, "malformed hole");
	if (f->cur->tmp.moved)
		f->spoiled = true;
	if (f->spoiled || too_large(f, len))
		return 0;
	if (ftruncate(f->cur->tmp.fd, (off_t)(f->got + len)) == -1)
		spoil(f, "write");
	f->got += len;
	while (len > 0 && !f->spoiled) {
		size_t n = len < sizeof(none) ? (size_t)len : sizeof(none);

		sha_add(f->sha, none, n);
		len -= n;
		if (mirror_chan_tick(f->t->c) == -1)
			return -1;
	}
	return 0;
}

static void
write_patched(struct fetch *f)
{
	uint8_t buf[MIRROR_CHUNK];
	int n;

	while ((n = evbuffer_remove(f->out, buf, sizeof(buf))) > 0)
		write_bytes(f, buf, (size_t)n);
}

/* Runs the patch over what has arrived.  A delta that ends the job early, or breaks,
 * spoils the file; its digest cannot match any more. */
static int
patch_bytes(struct fetch *f, const void *p, size_t n, bool eof)
{
	enum delta_rc rc = DELTA_MORE;
	size_t before;

	if (f->spoiled)
		return 0;
	if (n > 0 && evbuffer_add(f->in, p, n) == -1)
		log_fatal("no memory");
	do {
		before = evbuffer_get_length(f->in);
		rc = delta_step(f->patch, f->in, eof, f->out);
		n = evbuffer_get_length(f->out);
		write_patched(f);
		if (mirror_chan_tick(f->t->c) == -1)
			return -1;
	} while (rc == DELTA_MORE && !f->spoiled &&
	    (eof || n > 0 || evbuffer_get_length(f->in) < before));
	if (rc == DELTA_FAIL) {
		log_warnx("mirror %s: delta of %s: %s", f->t->tree->path,
		    log_safe(f->cur->e.path), delta_error(f->patch));
		f->spoiled = true;
	} else if (rc == DELTA_DONE) {
		delta_free(f->patch);
		f->patch = NULL;
	}
	return 0;
}

static int
take_data(struct fetch *f, struct wire_in *in)
{
	struct span s = wire_get_rest(in);

	if (f->cur == NULL)
		return mirror_chan_fail(f->t->c, "data of no file");
	if (f->cur->basis == -1)
		write_bytes(f, s.p, s.len);
	else if (f->patch != NULL)
		return patch_bytes(f, s.p, s.len, false);
	else if (s.len > 0)
		f->spoiled = true;	/* bytes behind the end of the delta */
	return mirror_chan_tick(f->t->c);
}

/* One more time in this pass, or given up. */
static void
again(struct fetch *f, enum tree_op op)
{
	tree_tmp_drop(&f->cur->tmp);
	if (!f->last_try && mirror_spool_put(f->again, (uint8_t)op, &f->cur->e) == 0)
		return;
	errno = EBADMSG;
	mirror_target_trouble(f->t, "verify", f->cur->e.path);
}

/* A time one nanosecond too old: the next pass sees a difference. */
static void
mark_busy(struct tree_entry *e)
{
	if (e->mtime_ns-- > 0)
		return;
	e->mtime_ns = 999999999;
	e->mtime_s--;
}

/* Written inside while it was read: its bytes were never all there at once.  The
 * standby keeps the state that it has. */
static void
torn(struct fetch *f)
{
	tree_tmp_drop(&f->cur->tmp);
	if (!f->last_try && mirror_spool_put(f->again, TREE_OP_DATA, &f->cur->e) == 0)
		return;
	if (f->t->r->busy++ < 20)
		log_info("mirror %s: busy, not copied in this pass: %s", f->t->tree->path,
		    log_safe(f->cur->e.path));
}

static void
accept_file(struct fetch *f, bool growing, uint64_t literal, uint64_t matched)
{
	struct mirror_result *r = f->t->r;

	if (growing) {
		r->busy++;
		mark_busy(&f->now);
	}
	r->literal += literal;
	r->matched += matched;
	f->cur->now = f->now;
	memset(&f->now, 0, sizeof(f->now));
	f->cur->ready = true;
}

static int
end_file(struct fetch *f, struct wire_in *in)
{
	uint32_t i = wire_get_u32(in);
	uint8_t want_sha[32], sha[32];
	uint64_t size, literal, matched;
	uint8_t seen;

	wire_get_raw(in, want_sha, sizeof(want_sha));
	size = wire_get_u64(in);
	literal = wire_get_u64(in);
	matched = wire_get_u64(in);
	seen = wire_get_u8(in);
	if (!wire_in_done(in) || seen > MIRROR_TORN || f->cur == NULL || f->cur != &f->w[i < f->n ? i : 0])
		return mirror_chan_fail(f->t->c, "malformed end of a file");
	if (f->patch != NULL && patch_bytes(f, NULL, 0, true) == -1)
		return -1;
	if (f->sparse && !f->cur->tmp.moved && !f->spoiled && ftruncate(f->cur->tmp.fd, (off_t)f->got) == -1)
		spoil(f, "write");
	sha_now(f->sha, sha);
	if (f->cur->tmp.path == NULL)
		(void)0;		/* reported when it could not be made */
	else if (f->spoiled || size != f->got || memcmp(sha, want_sha, sizeof(sha)) != 0)
		again(f, TREE_OP_CREATE);
	else if (seen == MIRROR_TORN && !hook_on("mirror-torn-file"))
		torn(f);
	else
		accept_file(f, seen == MIRROR_GROWING, literal, matched);
	drop_current(f);
	return 0;
}

static int
fail_file(struct fetch *f, struct wire_in *in)
{
	uint32_t i = wire_get_u32(in), error = wire_get_u32(in);

	if (!wire_in_done(in) || i >= f->n || f->w[i].ready)
		return mirror_chan_fail(f->t->c, "malformed failure of a file");
	if (f->cur == &f->w[i])
		drop_current(f);
	tree_tmp_drop(&f->w[i].tmp);
	if (error == ENOENT || error == ESTALE || error == ENOTDIR || error == ELOOP) {
		f->t->r->vanished++;	/* or is something else now: the next pass knows */
		return 0;
	}
	errno = (int)error;
	mirror_target_trouble(f->t, "read on the active", f->w[i].e.path);
	return 0;
}

/* ---- in place ---------------------------------------------------------- */

/* With its metadata the file is not ours any more, so that comes last. */
static void
set_metas(struct fetch *f)
{
	for (size_t i = 0; i < f->n; i++) {
		struct wanted *w = &f->w[i];

		if (!w->ready || tree_tmp_meta(&w->tmp, &w->now) == 0)
			continue;
		mirror_target_trouble(f->t, "set metadata of", w->e.path);
		tree_tmp_drop(&w->tmp);
		w->ready = false;
	}
}

static int
place_batch(struct fetch *f)
{
	if (mirror_chan_look(f->t->c) == -1)
		return -1;
	set_metas(f);
	for (size_t i = 0; i < f->n; i++) {
		struct wanted *w = &f->w[i];

		if (!w->ready)
			continue;
		mirror_place_add(f->place, &w->tmp, w->held, w->now.size);
		w->held = NULL;
	}
	return 0;
}

/* keep: what has arrived stays for the next pass. */
static void
forget_batch(struct fetch *f, bool keep)
{
	if (f->cur != NULL)
		drop_current(f);
	for (size_t i = 0; i < f->n; i++) {
		if (keep)
			tree_tmp_leave(&f->w[i].tmp);
		else
			tree_tmp_drop(&f->w[i].tmp);
		if (f->w[i].basis != -1)
			close(f->w[i].basis);
		EVP_MD_CTX_free(f->w[i].sha);
		free(f->w[i].held);
		tree_entry_clear(&f->w[i].e);
		tree_entry_clear(&f->w[i].now);
	}
	f->n = 0;
	f->bytes = 0;
}

static int
receive_batch(struct fetch *f)
{
	struct mirror_msg m;
	int rc = mirror_chan_send(f->t->c, MM_WANT_END, NULL);

	/* The batches before, while the source reads this one. */
	if (rc == 0 && (rc = mirror_chan_flush(f->t->c)) == 0)
		rc = mirror_place_step(f->place);
	while (rc == 0 && (rc = mirror_chan_recv(f->t->c, &m)) == 0) {
		switch (m.type) {
		case MM_FILE: rc = begin_file(f, &m.body); break;
		case MM_DATA: rc = take_data(f, &m.body); break;
		case MM_HOLE: rc = take_hole(f, &m.body); break;
		case MM_FILE_END:
			if ((rc = end_file(f, &m.body)) == 0)
				rc = mirror_place_step(f->place);
			break;
		case MM_FILE_FAIL: rc = fail_file(f, &m.body); break;
		case MM_BATCH_END: return f->cur == NULL ? 0 :
		    mirror_chan_fail(f->t->c, "batch ended inside a file");
		default:
			return mirror_chan_fail(f->t->c, "unexpected message %u", m.type);
		}
	}
	return rc;
}

/* Does what has arrived stay?  When the pass ends early, unless this node is no standby
 * any more: then there is no pass that could go on with it. */
static bool
kept(const struct fetch *f, int rc)
{
	return rc == -1 && mirror_guard_target(&f->t->c->view, &f->t->c->gen) == NULL;
}

static int
finish_batch(struct fetch *f)
{
	int rc = f->n == 0 ? 0 : receive_batch(f);

	if (rc == 0)
		rc = place_batch(f);
	f->t->c->done += f->n;
	forget_batch(f, kept(f, rc));
	return rc;
}

/* ---- all of the plan --------------------------------------------------- */

/* Room for one more?  A large file, or one with a large signature, goes alone. */
static bool
batch_full(const struct fetch *f, const struct tree_entry *next)
{
	return f->n > 0 && (f->n == f->max || f->bytes + next->size > BATCH_BYTES);
}

static int
fetch_list(struct fetch *f, struct mirror_spool *from)
{
	struct tree_entry e;
	uint8_t op;
	int more, rc = 0;

	mirror_spool_rewind(from);
	while (rc == 0 && (more = mirror_spool_next(from, &op, &e)) == 1) {
		bool file = e.type == TREE_FILE && (op == TREE_OP_CREATE || op == TREE_OP_DATA);

		if (file && batch_full(f, &e))
			rc = finish_batch(f);
		if (file && rc == 0)
			rc = want(f, op, &e);
		tree_entry_clear(&e);
	}
	if (rc == 0 && more == -1)
		return mirror_chan_fail(f->t->c, "the plan cannot be read: %s", strerror(errno));
	return rc == 0 ? finish_batch(f) : rc;
}

static int
fetch_again(struct fetch *f, bool last_try)
{
	struct mirror_spool *these = f->again;
	int rc;

	f->again = mirror_spool_new(f->t->spool_dir);
	f->second = true;
	f->last_try = last_try;
	rc = fetch_list(f, these);
	mirror_spool_free(these);
	return rc;
}

/* Each file of a batch has up to three descriptors. */
static size_t
batch_max(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == -1 || r.rlim_cur <= 3 + FILES_SPARE)
		return 1;
	r.rlim_cur = (r.rlim_cur - FILES_SPARE) / 3;
	return r.rlim_cur < MIRROR_BATCH ? (size_t)r.rlim_cur : MIRROR_BATCH;
}

int
mirror_fetch_run(struct mirror_target *t)
{
	struct fetch *f;
	int rc;

	mirror_chan_phase(t->c, "copying", t->nfiles);
	if (t->nfiles == 0)
		return 0;
	f = mem_alloc(sizeof(*f));
	f->t = t;
	f->max = batch_max();
	f->again = mirror_spool_new(t->spool_dir);
	f->place = mirror_place_new(t);
	if ((f->in = evbuffer_new()) == NULL || (f->out = evbuffer_new()) == NULL)
		log_fatal("no memory");
	rc = fetch_list(f, t->plan);
	for (int i = 2; rc == 0 && i <= TRIES && mirror_spool_count(f->again) > 0; i++)
		rc = fetch_again(f, i == TRIES);
	if (rc == 0)
		rc = mirror_place_finish(f->place);
	forget_batch(f, kept(f, rc));
	mirror_place_free(f->place);
	mirror_spool_free(f->again);
	evbuffer_free(f->in);
	evbuffer_free(f->out);
	free(f);
	return rc;
}
