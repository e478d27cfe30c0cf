/* delta.c - librsync jobs over evbuffers.  See delta.h for the contract.
 *
 * Each kind of job is one rs_job_t; delta_step() shows it the first extent of the
 * input and a block of output until it blocks.  A step that moves nothing although
 * all input is there is a failure, so no input can make the caller spin.  Every
 * check that bounds memory stands here, because librsync believes headers. */
#include "delta.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <librsync.h>
#include <openssl/evp.h>

#include "log.h"
#include "mem.h"
#include "wire.h"

#define OUT_STEP	(64u << 10)
#define SIG_HEAD	12u		/* magic, block length, sum length */
#define STRONG		32u
#define STRONG_SHORT	8u		/* wrong by accident in one of 10^16 files of 200 MB */
#define BLOCK_MIN	64u
#define BLOCK_MAX	(16u << 20)
#define BLOCK_SHORT	8192u		/* of a short signature, for more than 16 MiB */

enum delta_kind { KIND_SIG, KIND_LOAD, KIND_MAKE, KIND_PATCH };

struct delta_sums {
	rs_signature_t *sig;
};

struct delta {
	enum delta_kind kind;
	rs_job_t *job;
	rs_signature_t *sig;		/* KIND_LOAD: what is being loaded */
	EVP_MD_CTX *sha;		/* of the new file; NULL when there is none */
	uint8_t digest[32];
	int basis;
	uint64_t taken, made, max;	/* bytes in, bytes out, most bytes out */
	bool head_ok, done;
	const char *error;
};

static void
quiet(rs_loglevel level, char const *text)
{
	(void)level;
	log_debug("librsync: %s", log_safe(text));
}

static struct delta *
new(enum delta_kind kind, bool digest)
{
	struct delta *d = mem_alloc(sizeof(*d));

	rs_trace_to(quiet);
	rs_trace_set_level(RS_LOG_ERR);
	d->kind = kind;
	d->basis = -1;
	d->max = UINT64_MAX;
	if (digest) {
		d->sha = EVP_MD_CTX_new();
		if (d->sha == NULL || EVP_DigestInit_ex(d->sha, EVP_sha256(), NULL) != 1)
			log_fatal("no SHA-256");
	}
	return d;
}

/* The length that librsync recommends: about the square root. */
static size_t
usual_block(uint64_t size)
{
	rs_magic_number magic = RS_RK_BLAKE2_SIG_MAGIC;
	size_t block = 0, strong = STRONG;
	rs_long_t known = size > INT64_MAX ? INT64_MAX : (rs_long_t)size;

	return rs_sig_args(known, &magic, &block, &strong) == RS_DONE ? block :
	    RS_DEFAULT_BLOCK_LEN;
}

static struct delta *
sig_new(uint64_t size, size_t block, size_t strong)
{
	struct delta *d = new(KIND_SIG, false);
	size_t least = (size_t)(size / ((DELTA_SIG_MAX - SIG_HEAD) / (4 + strong))) + 1;

	least = (least + 127) / 128 * 128;
	if (block < least)
		block = least;
	d->max = DELTA_SIG_MAX;
	d->job = rs_sig_begin(block < BLOCK_MAX ? block : BLOCK_MAX, strong,
	    RS_RK_BLAKE2_SIG_MAGIC);
	return d;
}

struct delta *
delta_sig_block(uint64_t size, size_t block)
{
	return sig_new(size, block, STRONG);
}

struct delta *
delta_sig_new(uint64_t size)
{
	return sig_new(size, usual_block(size), STRONG);
}

/* A change costs a block, and each block of the file 12 bytes: with few changes twice the
 * usual length is best, with one in each few MiB it is 8 KiB however long the file is. */
struct delta *
delta_sig_short(uint64_t size)
{
	size_t usual = usual_block(size), block = usual * 2;

	if (block > BLOCK_SHORT)
		block = usual / 2 > BLOCK_SHORT ? usual / 2 : BLOCK_SHORT;
	return sig_new(size, block, STRONG_SHORT);
}

struct delta *
delta_load_new(void)
{
	struct delta *d = new(KIND_LOAD, false);

	d->job = rs_loadsig_begin(&d->sig);
	return d;
}

struct delta_sums *
delta_take_sums(struct delta *d)
{
	struct delta_sums *s;

	assert(d->kind == KIND_LOAD);
	if (!d->done || d->sig == NULL)
		return NULL;
	s = mem_alloc(sizeof(*s));
	s->sig = d->sig;
	d->sig = NULL;
	return s;
}

void
delta_sums_free(struct delta_sums *s)
{
	if (s == NULL)
		return;
	rs_free_sumset(s->sig);
	free(s);
}

struct delta *
delta_make_new(struct delta_sums *s, bool digest)
{
	struct delta *d = new(KIND_MAKE, digest);

	d->job = rs_delta_begin(s->sig);
	return d;
}

/* librsync asks for a run of the basis.  What lies outside of the file ends the job. */
static rs_result
on_copy(void *arg, rs_long_t pos, size_t *len, void **buf)
{
	struct delta *d = arg;
	ssize_t n;

	if (pos < 0)
		return RS_CORRUPT;
	do
		n = pread(d->basis, *buf, *len, (off_t)pos);
	while (n == -1 && errno == EINTR);
	if (n == -1)
		return RS_IO_ERROR;
	if (n == 0)
		return RS_INPUT_ENDED;
	*len = (size_t)n;
	return RS_DONE;
}

struct delta *
delta_patch_new(int basis_fd, uint64_t max, bool digest)
{
	struct delta *d = new(KIND_PATCH, digest);

	d->basis = basis_fd;
	d->max = max;
	d->job = rs_patch_begin(on_copy, d);
	return d;
}

static enum delta_rc
fail(struct delta *d, const char *why)
{
	if (d->error == NULL)
		d->error = why;
	return DELTA_FAIL;
}

/* Looks at the head of a foreign signature before librsync does. */
static enum delta_rc
check_head(struct delta *d, struct evbuffer *in, bool eof)
{
	uint8_t head[SIG_HEAD];
	uint32_t block, strong;

	if (evbuffer_get_length(in) < SIG_HEAD)
		return eof ? fail(d, "signature is cut short") : DELTA_MORE;
	evbuffer_copyout(in, head, sizeof(head));
	block = wire_load32(head + 4);
	if (wire_load32(head) != RS_RK_BLAKE2_SIG_MAGIC)
		return fail(d, "signature is not RK and BLAKE2");
	if (block < BLOCK_MIN || block > BLOCK_MAX)
		return fail(d, "signature has a senseless block length");
	strong = wire_load32(head + 8);
	if (strong != STRONG && strong != STRONG_SHORT)
		return fail(d, "signature has sums of a senseless length");
	d->head_ok = true;
	return DELTA_DONE;
}

static enum delta_rc
finish(struct delta *d)
{
	if (d->kind == KIND_LOAD && rs_build_hash_table(d->sig) != RS_DONE)
		return fail(d, "signature cannot be indexed");
	if (d->sha != NULL && EVP_DigestFinal_ex(d->sha, d->digest, NULL) != 1)
		return fail(d, "SHA-256 failed");
	d->done = true;
	return DELTA_DONE;
}

/* Accounts for one turn of the job: input used, output made, digest. */
static int
settle(struct delta *d, struct evbuffer *in, const char *from, size_t used,
    struct evbuffer *out, struct evbuffer_iovec *room, size_t made)
{
	const void *fresh = d->kind == KIND_MAKE ? (const void *)from : room->iov_base;
	size_t nfresh = d->kind == KIND_MAKE ? used : made;

	if (d->sha != NULL && nfresh > 0 && EVP_DigestUpdate(d->sha, fresh, nfresh) != 1)
		return -1;
	d->taken += used;
	d->made += made;
	room->iov_len = made;
	if (evbuffer_commit_space(out, room, 1) == -1)
		return -1;
	return evbuffer_drain(in, used);
}

/* One turn of the job over the first extent of the input. */
static enum delta_rc
turn(struct delta *d, struct evbuffer *in, bool eof, struct evbuffer *out, size_t *moved)
{
	struct evbuffer_iovec have = { NULL, 0 }, room;
	rs_buffers_t b = { 0 };
	size_t used, made;
	rs_result rc;

	(void)evbuffer_peek(in, -1, NULL, &have, 1);
	if (evbuffer_reserve_space(out, OUT_STEP / 4, &room, 1) < 1)
		return fail(d, "no room");
	b.next_in = have.iov_base;
	b.avail_in = have.iov_len;
	b.eof_in = eof && have.iov_len == evbuffer_get_length(in);
	b.next_out = room.iov_base;
	b.avail_out = room.iov_len;
	rc = rs_job_iter(d->job, &b);
	used = have.iov_len - b.avail_in;
	made = room.iov_len - b.avail_out;
	*moved = used + made;
	if (settle(d, in, have.iov_base, used, out, &room, made) == -1)
		return fail(d, "buffer or digest failed");
	if (d->made > d->max)
		return fail(d, "result is larger than allowed");
	if (d->kind == KIND_LOAD && d->taken > DELTA_SIG_MAX)
		return fail(d, "signature is larger than allowed");
	if (rc == RS_DONE)
		return finish(d);
	return rc == RS_BLOCKED ? DELTA_MORE : fail(d, rs_strerror(rc));
}

enum delta_rc
delta_step(struct delta *d, struct evbuffer *in, bool eof, struct evbuffer *out)
{
	size_t moved, start = evbuffer_get_length(out);
	enum delta_rc rc;

	if (d->done)
		return fail(d, "more input than it needs");
	if (d->error != NULL)
		return DELTA_FAIL;
	if (d->kind == KIND_LOAD && !d->head_ok &&
	    (rc = check_head(d, in, eof)) != DELTA_DONE)
		return rc;
	do {
		if ((rc = turn(d, in, eof, out, &moved)) != DELTA_MORE)
			return rc;
		if (moved == 0)		/* blocked: on input, or for ever */
			return eof ? fail(d, "input ended early") : DELTA_MORE;
	} while (evbuffer_get_length(out) - start < OUT_STEP);
	return DELTA_MORE;
}

void
delta_digest(const struct delta *d, uint8_t sha[32])
{
	assert(d->done && d->sha != NULL);
	memcpy(sha, d->digest, 32);
}

void
delta_stats(const struct delta *d, uint64_t *literal, uint64_t *matched)
{
	const rs_stats_t *s = rs_job_statistics(d->job);

	*literal = s->lit_bytes > 0 ? (uint64_t)s->lit_bytes : 0;
	*matched = s->copy_bytes > 0 ? (uint64_t)s->copy_bytes : 0;
}

const char *
delta_error(const struct delta *d)
{
	return d->error != NULL ? d->error : "no error";
}

void
delta_free(struct delta *d)
{
	if (d == NULL)
		return;
	rs_job_free(d->job);
	if (d->sig != NULL)
		rs_free_sumset(d->sig);
	EVP_MD_CTX_free(d->sha);
	free(d);
}
