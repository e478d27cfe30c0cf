/* log_verify.c - see log_verify.h.  A segment is read to its first bad place; the next one
 * begins anew from its own header, so that one flipped bit names one place and hides no
 * other segment. */
#include "log_verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs.h"
#include "hook.h"
#include "log_segment.h"
#include "mem.h"
#include "owner.h"
#include "wire.h"

#define PIECE ((size_t)RECORD_MAX + RECORD_ALIGN + (1u << 20))

struct walk {
	struct log_verify *v;
	struct history history;		/* up to here */
	bool known;			/* the history and the hash are */
	uint8_t hash[16];
	uint64_t at;			/* offset in the segment */
	uint64_t next;			/* the LSN that follows */
	uint64_t of, done;		/* bytes */
	uint8_t *buf;
};

static void
bad(struct walk *w, const struct log_span *s, uint64_t lsn, const char *what)
{
	struct log_verify *v = w->v;

	if (v->nbad < LOG_VERIFY_BAD_MAX)
		v->bad[v->nbad] = (struct log_verify_bad){ .segment = s->first,
			.offset = w->at, .lsn = lsn, .what = what };
	v->nbad++;
	w->known = false;
}

static bool
same_gen(const struct gen *a, const struct gen *b)
{
	return gen_same(a, b) && a->start_lsn == b->start_lsn && a->kind == b->kind &&
	    a->node == b->node && a->insync == b->insync &&
	    memcmp(a->start_hash, b->start_hash, 16) == 0;
}

/* The shorter list ends the longer one. */
static bool
same_end(const struct history *a, const struct history *b)
{
	for (size_t i = 1; i <= a->n && i <= b->n; i++)
		if (!same_gen(&a->gen[a->n - i], &b->gen[b->n - i]))
			return false;
	return true;
}

static void
note_gen(struct walk *w, const struct record *r)
{
	struct wire_in in;
	struct gen g;

	if (r->shard != SHARD_PAIR || r->type != RECORD_GEN)
		return;
	wire_in_init(&in, r->payload.p, r->payload.len);
	gen_get(&in, &g);
	if (wire_in_done(&in))
		history_add(&w->history, &g);
}

/* The records in the buffer: how many bytes of it they are.  *what: the next one is bad. */
static size_t
look_at(struct walk *w, size_t len, uint64_t last, const char **what)
{
	bool believes = hook_on("verify-believes");
	size_t at = 0, used;
	struct record r;

	while (w->next <= last && *what == NULL) {
		struct span in = { (const char *)w->buf + at, len - at };
		enum parse rc = record_decode(in, &r, &used);

		if (believes && rc == PARSE_BAD && in.len >= RECORD_HEADER) {
			used = record_size(wire_load32((const uint8_t *)in.p + 4) - RECORD_HEADER);
			if (used > in.len)
				break;
		} else if (rc == PARSE_MORE) {
			break;
		} else if (rc == PARSE_BAD) {
			*what = "the record is damaged";
			break;
		} else if (r.lsn != w->next) {
			*what = "the record has another number";
			break;
		} else if (!record_follows(&r, w->hash)) {
			*what = "the chain of hashes is broken";
			break;
		} else {
			memcpy(w->hash, r.hash, 16);
			note_gen(w, &r);
		}
		at += used;
		w->next++;
		w->v->records++;
	}
	return at;
}

static bool
records(struct walk *w, const struct log_span *s, int fd)
{
	uint64_t last = s->last < w->v->tip.lsn ? s->last : w->v->tip.lsn;
	const char *what = NULL;
	size_t used;
	ssize_t n;

	w->at = SEGMENT_HEADER;
	w->next = s->first;
	while (w->next <= last && what == NULL) {
		n = fs_pread_all(fd, w->buf, PIECE, (off_t)w->at);
		used = n <= 0 ? 0 : look_at(w, (size_t)n, last, &what);
		w->at += used;
		w->done += used;
		w->v->bytes += used;
		if (n == -1)
			what = "it cannot be read";
		else if (used == 0 && what == NULL)
			what = "the record is cut short";
		if (!w->v->go_on(w->v->arg, w->done, w->of)) {
			w->v->stopped = true;
			return false;
		}
	}
	if (what != NULL)
		bad(w, s, w->next, what);
	return true;
}

static void
header(struct walk *w, const struct log_span *s, const struct log_segment *seg,
    const struct history *listed)
{
	w->at = 0;
	if (w->known && memcmp(w->hash, seg->prev_hash, 16) != 0)
		bad(w, s, 0, "the chain of hashes is broken between two segments");
	else if (w->known && !same_end(listed, &w->history))
		bad(w, s, 0, "the list of generations is not that of the records before");
	memcpy(w->hash, seg->prev_hash, 16);
	w->history = *listed;
	w->known = true;
}

/* false: stop. */
static bool
segment(struct walk *w, int dirfd, const struct log_span *s)
{
	struct log_segment seg;
	struct history listed;
	bool more = true;

	memset(&listed, 0, sizeof(listed));
	w->at = 0;
	if (segment_open(dirfd, s->first, &seg, &listed) == -1) {
		if (errno != ENOENT)		/* else: trimmed since */
			bad(w, s, 0, errno == EBADMSG ? "the header is damaged" :
			    "it cannot be read");
		else
			w->known = false;
		return true;
	}
	/* What the disk holds, not what is still in memory; the last one is being written. */
	if (s->last < w->v->tip.lsn)
		(void)posix_fadvise(seg.fd, 0, 0, POSIX_FADV_DONTNEED);
	header(w, s, &seg, &listed);
	if (s->last >= s->first)
		more = records(w, s, seg.fd);
	segment_close(&seg);
	return more;
}

int
log_verify_run(struct log_verify *v)
{
	struct walk w = { .v = v, .buf = mem_alloc(PIECE) };
	int dirfd = open(v->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < v->nspans; i++)
		w.of += v->spans[i].bytes;
	for (size_t i = 0; dirfd != -1 && i < v->nspans; i++)
		if (!segment(&w, dirfd, &v->spans[i]))
			break;
	if (dirfd != -1 && !v->stopped && v->nbad == 0 && w.known && w.next == v->tip.lsn + 1 &&
	    memcmp(w.hash, v->tip.hash, 16) != 0)
		bad(&w, &v->spans[v->nspans - 1], v->tip.lsn,
		    "the last record is not the one that was written");
	free(w.buf);
	if (dirfd == -1)
		return -1;
	close(dirfd);
	return 0;
}
