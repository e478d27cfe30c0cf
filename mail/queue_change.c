/* queue_change.c - the queue as an owner of its shard: proposes records, applies what
 * was committed, and answers who waits; the rest is index_owner.c.
 *
 * A change is answered after its transaction is committed, never before; when the file
 * cannot take it, it is answered as done, because the logs hold it.  A large
 * message is proposed piece by piece, a few at a time, and its ENQUEUE when all pieces
 * are committed; what is left of one that was refused is swept by queue.c. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>
#include <openssl/evp.h>

#include "fs.h"
#include "hex.h"
#include "index_db.h"
#include "log.h"
#include "mem.h"
#include "owner.h"
#include "queue_int.h"

#define BLOBS_UNDER_WAY 4
#define CHANGES_MAX 4000

struct queue_change {
	TAILQ_ENTRY(queue_change) next;
	uint64_t token;			/* of the last record; 0: none is under way */
	queue_change_cb *cb;
	void *arg;
	enum mail_rc rc;
	struct queue_commit commit;
	bool settled;
	/* a message that is being proposed in pieces */
	int fd;				/* -1: none */
	enum queue_record type;		/* of its last record */
	uint64_t skip, size, at;	/* at: bytes proposed */
	uint64_t tokens[BLOBS_UNDER_WAY];
	struct wire_out enqueue;
};

static struct queue_change *
change_new(struct queue *q, queue_change_cb *cb, void *arg)
{
	struct queue_change *c = mem_alloc(sizeof(*c));

	c->cb = cb;
	c->arg = arg;
	c->fd = -1;
	c->rc = MAIL_OK;
	wire_out_init(&c->enqueue);
	TAILQ_INSERT_TAIL(&q->changes, c, next);
	q->nchanges++;
	return c;
}

static void
change_free(struct queue *q, struct queue_change *c)
{
	TAILQ_REMOVE(&q->changes, c, next);
	q->nchanges--;
	if (c->fd != -1)
		close(c->fd);
	wire_out_clear(&c->enqueue);
	free(c);
}

static void
change_fail(struct queue *q, struct queue_change *c, enum mail_rc rc)
{
	c->rc = rc;
	c->settled = true;
	queue_kick(q);			/* told from there */
}

void
queue_change_put(struct queue *q, enum queue_record type, struct wire_out *body,
    queue_change_cb *cb, void *arg)
{
	struct queue_change *c = change_new(q, cb, arg);
	struct span part = wire_out_span(body);

	c->token = owner_append(q->owner, SHARD_QUEUE, (uint8_t)type, &part, 1);
	wire_out_clear(body);
}

/* ---- messages ------------------------------------------------------------ */

/* Length of our own Return-Path line at the front, which is for delivery only. */
static uint64_t
return_path(int fd)
{
	char buf[1024];
	ssize_t n = fs_pread_all(fd, buf, sizeof(buf), 0);
	struct span text = { buf, n > 0 ? (size_t)n : 0 };
	const char *nl = memchr(buf, '\n', text.len);

	return nl != NULL && span_starts_nocase(text, "Return-Path:") ? (uint64_t)(nl - buf) + 1 : 0;
}

static bool
eight_bit(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] > 127)
			return true;
	return false;
}

/* Looks at the whole text once; -1: it cannot be read.  The file is another process's
 * and is read, never mapped: one that shrinks under us must not kill the queue. */
static int
survey(const struct queue_change *c, struct queue_enqueue *e)
{
	unsigned char *buf = mem_alloc(QUEUE_INLINE_MAX);
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint64_t at = 0;
	ssize_t n = 0;

	if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
		log_fatal("no SHA-256");
	while (at < c->size
	    && (n = fs_pread_all(c->fd, buf, QUEUE_INLINE_MAX, (off_t)(c->skip + at))) > 0) {
		EVP_DigestUpdate(md, buf, (size_t)n);
		if (eight_bit(buf, (size_t)n))
			e->flags |= QUEUE_EIGHT_BIT;
		at += (uint64_t)n;
	}
	EVP_DigestFinal_ex(md, e->sha, NULL);
	EVP_MD_CTX_free(md);
	free(buf);
	return at == c->size ? 0 : -1;
}

static uint64_t
new_id(struct queue *q)
{
	struct queue_message m;
	uint64_t id;

	do {
		random_bytes(&id, sizeof(id));
		id &= INT64_MAX;
	} while (id == 0 || queue_shard_message(q->shard, id, &m) || queue_change_uploads(q, id));
	return id;
}

static enum mail_rc
admit(struct queue *q, uint64_t size)
{
	uint64_t free_bytes = UINT64_MAX;
	size_t pending;

	owner_pending(q->owner, &pending);
	if (!queue_active(q))
		return MAIL_NOT_ACTIVE;
	if (q->index.why != MAIL_OK)
		return q->index.why;
	if (queue_shard_count(q->shard) + q->nchanges >= q->conf->queue_messages_max)
		return MAIL_DISK_FULL;
	if (fs_free(q->dir, &free_bytes, NULL) == 0
	    && free_bytes < q->conf->store_low_water + size)
		return MAIL_DISK_FULL;
	if (pending + size > q->conf->store_pending_max || q->nchanges >= CHANGES_MAX)
		return MAIL_TEMP;
	return MAIL_OK;
}

/* The last record: with the text in it, or behind its pieces. */
static void
propose_enqueue(struct queue *q, struct queue_change *c, bool content)
{
	size_t n = content ? (size_t)c->size : 0;
	char *text = mem_alloc(n + 1);
	struct span parts[2] = { wire_out_span(&c->enqueue), { text, n } };

	if (fs_pread_all(c->fd, text, n, (off_t)c->skip) != (ssize_t)n)
		change_fail(q, c, MAIL_TEMP);
	else
		c->token = owner_append(q->owner, SHARD_QUEUE, (uint8_t)c->type, parts, 2);
	free(text);
}

static uint64_t
propose_blob(struct queue *q, struct queue_change *c)
{
	size_t n = c->size - c->at < QUEUE_INLINE_MAX ? (size_t)(c->size - c->at) : QUEUE_INLINE_MAX;
	char *text = mem_alloc(n);
	struct wire_out w;
	struct span parts[2];
	uint64_t token = 0;

	wire_out_init(&w);
	queue_blob_put(&w, c->commit.id, c->at);
	parts[0] = wire_out_span(&w);
	parts[1] = (struct span){ text, n };
	if (fs_pread_all(c->fd, text, n, (off_t)(c->skip + c->at)) == (ssize_t)n)
		token = owner_append(q->owner, SHARD_QUEUE, QUEUE_BLOB, parts, 2);
	else
		c->rc = MAIL_TEMP;
	c->at += n;
	wire_out_clear(&w);
	free(text);
	return token;
}

/* Goes on with a message in pieces; settled when nothing is under way any more. */
static void
upload(struct queue *q, struct queue_change *c)
{
	bool open = false;

	for (int i = 0; i < BLOBS_UNDER_WAY; i++) {
		if (c->tokens[i] == 0 && c->rc == MAIL_OK && c->at < c->size)
			c->tokens[i] = propose_blob(q, c);
		open = open || c->tokens[i] != 0;
	}
	if (open)
		return;
	if (c->rc != MAIL_OK)
		change_fail(q, c, c->rc);
	else
		propose_enqueue(q, c, false);
}

void
queue_change_enqueue(struct queue *q, const char *trace, const char *sender,
    const char *const *rcpts, uint16_t n, int fd, queue_change_cb *cb, void *arg)
{
	struct queue_enqueue e = { .nrcpts = n };
	enum mail_rc rc = MAIL_BAD;
	struct queue_change *c;
	struct stat st;

	c = change_new(q, cb, arg);
	c->fd = fd;
	c->type = QUEUE_ENQUEUE;
	if (fd != -1 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)
	    && (uint64_t)st.st_size <= q->conf->message_size_max + MAIL_TRACE_MAX) {
		c->skip = return_path(fd);
		c->size = (uint64_t)st.st_size - c->skip;
		rc = c->size == 0 ? MAIL_BAD : admit(q, c->size);
	}
	if (rc == MAIL_OK && survey(c, &e) == -1)
		rc = MAIL_TEMP;
	e.id = c->commit.id = rc == MAIL_OK ? new_id(q) : 0;
	e.size = c->size;
	if (span_copy(span_of(trace), e.trace, sizeof(e.trace)) == -1
	    || span_copy(span_of(sender), e.sender, sizeof(e.sender)) == -1)
		rc = MAIL_BAD;
	queue_enqueue_put(&c->enqueue, &e, rcpts);
	if (rc == MAIL_OK && c->enqueue.len > QUEUE_RCPT_BYTES_MAX)
		rc = MAIL_BAD;
	if (rc != MAIL_OK)
		change_fail(q, c, rc);
	else if (c->size <= QUEUE_INLINE_MAX)
		propose_enqueue(q, c, true);
	else
		upload(q, c);
}

void
queue_change_adopt(struct queue *q, uint64_t id, struct wire_out *head, int fd, uint64_t at,
    uint64_t size, queue_change_cb *cb, void *arg)
{
	struct queue_change *c = change_new(q, cb, arg);
	uint64_t free_bytes = UINT64_MAX;

	c->fd = fd;
	c->type = QUEUE_ADOPT;
	c->skip = at;
	c->size = size;
	c->commit.id = id;
	c->enqueue = *head;
	wire_out_init(head);
	if (fd == -1)
		change_fail(q, c, MAIL_TEMP);
	else if (fs_free(q->dir, &free_bytes, NULL) == 0
	    && free_bytes < q->conf->store_low_water + size)
		change_fail(q, c, MAIL_DISK_FULL);
	else if (size <= QUEUE_INLINE_MAX && c->enqueue.len + size <= OWNER_PAYLOAD_MAX)
		propose_enqueue(q, c, true);
	else
		upload(q, c);
}

bool
queue_change_uploads(const struct queue *q, uint64_t id)
{
	const struct queue_change *c;

	TAILQ_FOREACH(c, &q->changes, next)
		if (c->fd != -1 && c->commit.id == id && !c->settled)
			return true;
	return false;
}

/* ---- what the log says --------------------------------------------------- */

/* The change that a token is of; *slot: its place among the pieces, or -1. */
static struct queue_change *
find(struct queue *q, uint64_t token, int *slot)
{
	struct queue_change *c;

	*slot = -1;
	if (token == 0)
		return NULL;
	TAILQ_FOREACH(c, &q->changes, next) {
		if (c->token == token)
			return c;
		for (int i = 0; c->fd != -1 && i < BLOBS_UNDER_WAY; i++)
			if (c->tokens[i] == token) {
				*slot = i;
				return c;
			}
	}
	return NULL;
}

static void
on_record(void *arg, const struct owner_record *r, uint64_t token)
{
	struct queue *q = arg;
	enum mail_rc rc = queue_shard_apply(q->shard, r);
	struct queue_change *c;
	int slot;

	index_owner_record(&q->index, r->lsn);
	if (index_db_why(q->index.db) != MAIL_OK)
		rc = MAIL_OK;		/* both logs hold it, and it is applied when there is room */
	if ((c = find(q, token, &slot)) == NULL)
		return;
	if (slot >= 0) {
		c->tokens[slot] = 0;
		if (rc != MAIL_OK && c->rc == MAIL_OK)
			c->rc = MAIL_TEMP;
		upload(q, c);
		return;
	}
	c->settled = true;
	c->rc = rc;
	c->token = 0;
	c->commit.gen = r->gen_no;
	c->commit.lsn = r->lsn;
	c->commit.copies = r->copies;
}

void
queue_change_tell(struct queue *q)
{
	struct queue_change *c, *next;

	index_owner_applied(&q->index);	/* nobody hears of what could still be undone */
	for (c = TAILQ_FIRST(&q->changes); c != NULL; c = next) {
		next = TAILQ_NEXT(c, next);
		if (!c->settled)
			continue;
		c->cb(c->arg, c->rc, &c->commit);
		next = TAILQ_NEXT(c, next);	/* it may have put another */
		change_free(q, c);
	}
}

static void
on_batch_end(void *arg)
{
	struct queue *q = arg;

	queue_change_tell(q);
	index_owner_checkpoint(&q->index);
	queue_kick(q);
}

static void
on_refused(void *arg, uint64_t token, enum owner_refusal why)
{
	struct queue *q = arg;
	int slot;
	struct queue_change *c = find(q, token, &slot);

	if (c == NULL)
		return;
	if (c->rc == MAIL_OK)
		c->rc = mail_rc_refused(why);
	if (slot >= 0) {
		c->tokens[slot] = 0;
		upload(q, c);
	} else
		change_fail(q, c, c->rc);
}

static void
ignore(void *arg, enum mail_rc rc, const struct queue_commit *commit)
{
	(void)arg;			/* was told already */
	(void)rc;
	(void)commit;
}

/* A client that waits for its 250 is told; a message of which pieces are missing is
 * given up with that.  Outcomes and operators' changes wait for the end. */
static void
on_undecided(void *arg, uint64_t token)
{
	struct queue *q = arg;
	int slot;
	struct queue_change *c = find(q, token, &slot);

	if (c == NULL || c->fd == -1 || c->cb == ignore)
		return;
	if (slot >= 0)
		c->rc = MAIL_NOT_TWICE;
	c->cb(c->arg, MAIL_NOT_TWICE, &c->commit);
	c->cb = ignore;
}

static void
on_role(void *arg, const struct owner_role *role)
{
	struct queue *q = arg;

	child_state(q->child, role, index_db_applied(q->index.db));
	if (!role->active)
		queue_send_stop(q);
	queue_kick(q);
}

static void
on_snapshot(void *arg, uint16_t shard)
{
	struct queue *q = arg;

	(void)shard;
	index_owner_snapshot(&q->index);
}

static void
on_index_offered(void *arg, uint16_t shard, uint64_t lsn, int fd)
{
	struct queue *q = arg;

	(void)shard;
	index_owner_offered(&q->index, lsn, fd);
}

static void
on_changes(void *arg, uint16_t shard, uint64_t fork, bool whole, int tail_fd)
{
	(void)shard;
	queue_merge_changes(arg, fork, whole, tail_fd);
}

static void
on_merge(void *arg, const struct owner_merge *m)
{
	queue_merge_start(arg, m);
}

static void
on_verify(void *arg, uint16_t shard, const struct owner_verify *v)
{
	(void)shard;
	index_owner_verify(&((struct queue *)arg)->index, v->run);
}

static void
on_verify_stop(void *arg, uint16_t shard)
{
	(void)shard;
	index_owner_verify_stop(&((struct queue *)arg)->index);
}

void
queue_change_free_all(struct queue *q)
{
	struct queue_change *c;

	while ((c = TAILQ_FIRST(&q->changes)) != NULL)
		change_free(q, c);
}

const struct owner_ops queue_owner_ops = {
	.record = on_record,
	.batch_end = on_batch_end,
	.refused = on_refused,
	.undecided = on_undecided,
	.role = on_role,
	.snapshot = on_snapshot,
	.index_offered = on_index_offered,
	.changes = on_changes,
	.merge = on_merge,
	.verify = on_verify,
	.verify_stop = on_verify_stop,
};
