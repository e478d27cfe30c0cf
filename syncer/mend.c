/* mend.c - see mend.h.  Two halves: what was asked for here, and what the other node
 * asked for.
 *
 * Asking: questions wait in a queue; the first is on its way.  What arrives is written to
 * an unnamed file and hashed; at its end the sum decides.  No progress for STALL_MS, or no
 * other node, and the question is answered "no peer": a session that waits for it tells
 * its client to come again.
 * Answering: the shard's owner opens the object, and it is sent as it is.  Whether it is
 * good is found out by who asked, so that a damaged copy is told from a missing one. */
#define _GNU_SOURCE
#include "mend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "bulk.h"
#include "clock.h"
#include "fs.h"
#include "hex.h"
#include "log.h"
#include "mem.h"
#include "mirror_wire.h"
#include "seed.h"

#define QUEUE_MAX 1024
#define STALL_MS 10000
#define UNSENT_HIGH (1u << 20)
#define OBJECT_MAX ((uint64_t)4 << 30)

struct question {
	TAILQ_ENTRY(question) next;
	uint16_t shard;
	uint8_t sha[32];
};

struct mend {
	const struct mirror_host *host;
	struct bulk *bulk;
	bool peer_up;
	/* asking */
	TAILQ_HEAD(, question) queue;
	size_t nqueue;
	bool asked;			/* the first of the queue is on its way */
	uint32_t id;
	int fd;				/* what has come of it, or -1 */
	uint64_t bytes;
	EVP_MD_CTX *md;
	int64_t moved_ms;		/* the last progress */
	uint64_t got, absent, bad, lost;
	/* answering */
	uint32_t their_id;
	uint16_t their_shard;
	uint8_t their_sha[32];
	bool opening;			/* an owner was asked for it */
	int out_fd;
	uint64_t given;
};

static void ask(struct mend *);
static void serve_pump(struct mend *);

static void
send_frame(struct mend *m, enum mend_type type, const struct wire_out *w)
{
	bulk_send_first(m->bulk, (uint8_t)type, &m->host->commit->gen, w->p, w->len);
}

/* ---- asking ------------------------------------------------------------- */

static void
forget_answer(struct mend *m)
{
	fs_close(&m->fd);
	EVP_MD_CTX_free(m->md);
	m->md = NULL;
	m->asked = false;
}

/* Ends the first question.  fd is given away. */
static void
answered(struct mend *m, enum owner_mend rc, int fd)
{
	struct question *q = TAILQ_FIRST(&m->queue);
	char hex[65];

	TAILQ_REMOVE(&m->queue, q, next);
	m->nqueue--;
	forget_answer(m);
	*(rc == OWNER_MEND_OK ? &m->got : rc == OWNER_MEND_ABSENT ? &m->absent :
	    rc == OWNER_MEND_BAD ? &m->bad : &m->lost) += 1;
	log_info("mend shard=%u object=%s from the other node: %s", q->shard,
	    hex_encode(q->sha, 32, hex), owner_mend_name(rc));
	m->host->mended(m->host->arg, q->shard, q->sha, rc, fd);
	free(q);
}

static void
answer_all(struct mend *m, enum owner_mend rc)
{
	while (!TAILQ_EMPTY(&m->queue))
		answered(m, rc, -1);
}

static int
spool(const struct mend *m)
{
	int fd = open(m->host->spool_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd == -1 && errno == EOPNOTSUPP ? memfd_create("mend", MFD_CLOEXEC) : fd;
}

static void
ask(struct mend *m)
{
	const struct question *q;
	struct wire_out w;

	while ((q = TAILQ_FIRST(&m->queue)) != NULL && m->bulk != NULL && !m->asked) {
		if ((m->fd = spool(m)) == -1) {
			log_warn("mend: no file in %s", m->host->spool_dir);
			answered(m, OWNER_MEND_NO_PEER, -1);
			continue;
		}
		if ((m->md = EVP_MD_CTX_new()) == NULL ||
		    EVP_DigestInit_ex(m->md, EVP_sha256(), NULL) != 1)
			log_fatal("no SHA-256");
		m->bytes = 0;
		m->asked = true;
		m->moved_ms = clock_ms();
		wire_out_init(&w);
		wire_put_u32(&w, ++m->id);
		wire_put_u16(&w, q->shard);
		wire_put_raw(&w, q->sha, 32);
		send_frame(m, MD_WANT, &w);
		wire_out_clear(&w);
	}
}

void
mend_want(struct mend *m, uint16_t shard, const uint8_t sha[32])
{
	struct question *q;

	if (!m->peer_up || m->nqueue >= QUEUE_MAX) {
		m->lost++;
		m->host->mended(m->host->arg, shard, sha, OWNER_MEND_NO_PEER, -1);
		return;
	}
	q = mem_alloc(sizeof(*q));
	q->shard = shard;
	memcpy(q->sha, sha, 32);
	if (TAILQ_EMPTY(&m->queue))
		m->moved_ms = clock_ms();
	TAILQ_INSERT_TAIL(&m->queue, q, next);
	m->nqueue++;
	ask(m);
}

static void
on_data(struct mend *m, struct wire_in *in)
{
	uint32_t id = wire_get_u32(in);
	struct span rest = wire_get_rest(in);

	if (!wire_in_ok(in) || !m->asked || id != m->id)
		return;			/* of a question that was given up */
	m->moved_ms = clock_ms();
	m->bytes += rest.len;
	if (m->bytes > OBJECT_MAX || fs_write_all(m->fd, rest.p, rest.len) == -1) {
		log_warn("mend: cannot take an object");
		answered(m, OWNER_MEND_NO_PEER, -1);
		ask(m);
	} else if (EVP_DigestUpdate(m->md, rest.p, rest.len) != 1) {
		log_fatal("no SHA-256");
	}
}

static void
on_end(struct mend *m, struct wire_in *in)
{
	uint32_t id = wire_get_u32(in);
	uint8_t rc = wire_get_u8(in), sha[32];
	int fd = -1;

	if (!wire_in_done(in) || !m->asked || id != m->id)
		return;
	if (EVP_DigestFinal_ex(m->md, sha, NULL) != 1)
		log_fatal("no SHA-256");
	if (rc == OWNER_MEND_OK && memcmp(sha, TAILQ_FIRST(&m->queue)->sha, 32) != 0)
		rc = OWNER_MEND_BAD;
	if (rc == OWNER_MEND_OK && lseek(m->fd, 0, SEEK_SET) == 0) {
		fd = m->fd;
		m->fd = -1;
	} else if (rc != OWNER_MEND_ABSENT && rc != OWNER_MEND_BAD) {
		rc = OWNER_MEND_NO_PEER;
	}
	answered(m, rc, fd);
	ask(m);
}

/* ---- answering ---------------------------------------------------------- */

static void
serve_end(struct mend *m, enum owner_mend rc)
{
	struct wire_out w;

	fs_close(&m->out_fd);
	m->opening = false;
	m->given += rc == OWNER_MEND_OK;
	if (m->bulk == NULL)
		return;
	wire_out_init(&w);
	wire_put_u32(&w, m->their_id);
	wire_put_u8(&w, (uint8_t)rc);
	send_frame(m, MD_END, &w);
	wire_out_clear(&w);
}

static void
on_want(struct mend *m, struct wire_in *in)
{
	uint32_t id = wire_get_u32(in);
	uint16_t shard = wire_get_u16(in);
	uint8_t sha[32];

	wire_get_raw(in, sha, 32);
	if (!wire_in_done(in))
		return;
	/* who asks anew has given up the question before */
	fs_close(&m->out_fd);
	m->opening = true;
	m->their_id = id;
	m->their_shard = shard;
	memcpy(m->their_sha, sha, 32);
	if (m->host->ask_object(m->host->arg, shard, sha) == -1)
		serve_end(m, OWNER_MEND_NO_PEER);
}

bool
mend_object(struct mend *m, uint16_t shard, const uint8_t sha[32], bool ok, int fd)
{
	if (!m->opening || shard != m->their_shard || memcmp(sha, m->their_sha, 32) != 0)
		return false;
	m->opening = false;
	if (!ok || fd == -1) {
		fs_close(&fd);
		serve_end(m, OWNER_MEND_ABSENT);
		return true;
	}
	m->out_fd = fd;
	serve_pump(m);
	return true;
}

static void
serve_pump(struct mend *m)
{
	uint8_t buf[MIRROR_CHUNK];
	struct wire_out w;
	off_t at;
	ssize_t n;

	while (m->out_fd != -1 && m->bulk != NULL && bulk_unsent_first(m->bulk) < UNSENT_HIGH) {
		do
			n = read(m->out_fd, buf, sizeof(buf));
		while (n == -1 && errno == EINTR);
		if (n == -1) {
			at = lseek(m->out_fd, 0, SEEK_CUR);
			log_warn("mend: cannot read an object here at %lld", (long long)at);
			serve_end(m, OWNER_MEND_BAD);
		} else if (n == 0) {
			serve_end(m, OWNER_MEND_OK);
		} else {
			wire_out_init(&w);
			wire_put_u32(&w, m->their_id);
			wire_put_raw(&w, buf, (size_t)n);
			send_frame(m, MD_DATA, &w);
			wire_out_clear(&w);
		}
	}
}

/* ---- what the mirror calls ---------------------------------------------- */

void
mend_frame(struct mend *m, uint8_t type, struct span body)
{
	struct wire_in in;

	wire_in_init(&in, body.p, body.len);
	switch (type) {
	case MD_WANT: on_want(m, &in); break;
	case MD_DATA: on_data(m, &in); break;
	case MD_END: on_end(m, &in); break;
	default: break;		/* of a newer version */
	}
}

void
mend_room(struct mend *m)
{
	serve_pump(m);
}

void
mend_peer(struct mend *m, bool up)
{
	m->peer_up = up;
	if (!up)
		answer_all(m, OWNER_MEND_NO_PEER);
}

void
mend_up(struct mend *m, struct bulk *b)
{
	m->bulk = b;
	ask(m);
}

/* The first question is asked again over the next connection, with its time going on. */
void
mend_down(struct mend *m)
{
	m->bulk = NULL;
	forget_answer(m);
	fs_close(&m->out_fd);
	m->opening = false;
}

void
mend_gone(struct mend *m, uint16_t shard)
{
	if (m->opening && m->their_shard == shard)
		serve_end(m, OWNER_MEND_NO_PEER);
}

bool
mend_wants_bulk(const struct mend *m)
{
	return m->bulk == NULL && !TAILQ_EMPTY(&m->queue);
}

void
mend_tick(struct mend *m, int64_t now_ms)
{
	if (TAILQ_EMPTY(&m->queue) || now_ms - m->moved_ms < STALL_MS)
		return;
	log_warnx("mend: the other node does not answer");
	m->moved_ms = now_ms;
	answered(m, OWNER_MEND_NO_PEER, -1);
	ask(m);
}

json_t *
mend_status(const struct mend *m)
{
	return json_pack("{s:i, s:I, s:I, s:I, s:I, s:I}", "waiting", (int)m->nqueue, "mended",
	    (json_int_t)m->got, "absent", (json_int_t)m->absent, "bad_there", (json_int_t)m->bad,
	    "no_peer", (json_int_t)m->lost, "given", (json_int_t)m->given);
}

struct mend *
mend_new(const struct mirror_host *host)
{
	struct mend *m = mem_alloc(sizeof(*m));

	m->host = host;
	m->fd = m->out_fd = -1;
	TAILQ_INIT(&m->queue);
	return m;
}

void
mend_free(struct mend *m)
{
	struct question *q;

	if (m == NULL)
		return;
	while ((q = TAILQ_FIRST(&m->queue)) != NULL) {
		TAILQ_REMOVE(&m->queue, q, next);
		free(q);
	}
	mend_down(m);
	free(m);
}
