/* store_mail.c - proposing messages: deliveries and APPEND.
 *
 * A message of up to REC_INLINE_MAX bytes rides in its record.  A larger one goes
 * ahead in BLOB records, a few at a time, and the record that uses it is proposed when
 * all of them are committed: so it never names bytes that are not in the log.
 * The descriptor comes from another process and is read, never mapped: a file that
 * shrinks under us must not kill the store.  A large one is read twice; when the
 * bytes differ the second time the change ends with MAIL_TEMP. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "fs.h"
#include "hex.h"
#include "log.h"
#include "mem.h"
#include "store_priv.h"

#define UPLOAD_WINDOW 4			/* BLOB records of one message under way */

static void
entry_guid(struct rec_entry *e)
{
	random_bytes(e->guid, sizeof(e->guid));
}

/* Adds the row for one user's INBOX; *nboxes counts what goes to boxes. */
static enum mail_rc
put_deliver(struct change *c, uint64_t user, struct wire_out *boxes, unsigned *nboxes,
    struct wire_out *entries)
{
	struct rec_entry e = { .user = user };
	const struct rec_box *make;
	struct store_box inbox;
	enum mail_rc rc = counter_inbox(c, user, &inbox, &make);

	if (rc != MAIL_OK)
		return rc;
	for (size_t i = 0; make != NULL && i < DEFAULT_BOXES; i++) {
		rec_put_box(boxes, &make[i]);
		++*nboxes;
	}
	e.box = make != NULL ? make[0].id : inbox.id;
	e.uid = counter_uid(c, e.box, make != NULL ? 1 : inbox.uid_free);
	e.modseq = counter_modseq(c->ss);
	e.internal_s = c->internal_s;
	entry_guid(&e);
	rec_put_entry(entries, &e);
	return MAIL_OK;
}

static enum mail_rc
put_append(struct change *c, struct wire_out *entries)
{
	struct rec_entry e = { .user = c->user, .box = c->box, .flags = c->flags,
		.internal_s = c->internal_s };
	struct store_box box;
	enum mail_rc rc = shard_box_by_id(c->ss->sh, c->box, &box);

	if (rc != MAIL_OK)
		return rc;
	e.uid = counter_uid(c, c->box, box.uid_free);
	e.modseq = counter_modseq(c->ss);
	if (c->keywords != NULL && span_copy(span_of(c->keywords), e.keywords,
	    sizeof(e.keywords)) == -1)
		return MAIL_BAD;
	entry_guid(&e);
	rec_put_entry(entries, &e);
	return MAIL_OK;
}

static enum mail_rc
put_merged(struct change *c, struct wire_out *head, struct wire_out *entries)
{
	struct rec_entry e;
	enum mail_rc rc = merge_entry(c, &e, head);

	if (rc == MAIL_OK)
		rec_put_entry(entries, &e);
	return rc;
}

/* A message of a merge has its hash already: other bytes are not that message. */
static bool
other_bytes(const struct change *c, const uint8_t sha[32])
{
	return c->kind == CHANGE_MERGE_ADD && memcmp(sha, c->sha, 32) != 0;
}

static enum mail_rc
propose(struct change *c, const uint8_t sha[32], uint64_t size, struct span content)
{
	bool deliver = c->kind == CHANGE_DELIVER;
	size_t n = deliver ? c->nusers : 1;
	struct wire_out head, boxes, entries;
	enum mail_rc rc = MAIL_OK;
	unsigned nboxes = 0;

	wire_out_init(&head);
	wire_out_init(&boxes);
	wire_out_init(&entries);
	for (size_t i = 0; i < n && rc == MAIL_OK; i++)
		rc = deliver ? put_deliver(c, c->users[i], &boxes, &nboxes, &entries) :
		    c->kind == CHANGE_APPEND ? put_append(c, &entries) :
		    put_merged(c, &head, &entries);
	if (rc == MAIL_OK) {
		rec_mail_begin(&head, sha, size, content.p != NULL, nboxes, (unsigned)n);
		change_propose(c, deliver ? REC_DELIVER : c->kind == CHANGE_APPEND ? REC_APPEND :
		    REC_MERGE_ADD, (struct span[4]){
		    wire_out_span(&head), wire_out_span(&boxes), wire_out_span(&entries), content }, 4);
	}
	wire_out_clear(&head);
	wire_out_clear(&boxes);
	wire_out_clear(&entries);
	return rc;
}

static enum mail_rc
start_inline(struct change *c, size_t size)
{
	char *buf = mem_alloc(size + 1);
	ssize_t got = fs_pread_all(c->fd, buf, size, c->fd_at);
	enum mail_rc rc = MAIL_TEMP;
	uint8_t sha[32];

	if (got == (ssize_t)size) {
		sha256(buf, size, sha);
		rc = other_bytes(c, sha) ? MAIL_BAD : propose(c, sha, size, (struct span){ buf, size });
	}
	free(buf);
	return rc;
}

/* ---- large messages ---- */

static EVP_MD_CTX *
digest_new(void)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
		log_fatal("no SHA-256");
	return md;
}

static int
digest_fd(int fd, off_t from, uint64_t size, uint8_t sha[32])
{
	EVP_MD_CTX *md = digest_new();
	char *buf = mem_alloc(REC_INLINE_MAX);
	uint64_t at = 0;
	ssize_t n;

	while (at < size && (n = fs_pread_all(fd, buf, size - at < REC_INLINE_MAX ?
	    (size_t)(size - at) : REC_INLINE_MAX, from + (off_t)at)) > 0) {
		EVP_DigestUpdate(md, buf, (size_t)n);
		at += (uint64_t)n;
	}
	EVP_DigestFinal_ex(md, sha, NULL);
	EVP_MD_CTX_free(md);
	free(buf);
	return at == size ? 0 : -1;
}

static int
upload_piece(struct change *c, char *buf)
{
	struct upload *up = c->up;
	uint64_t left = up->size - up->at;
	size_t n = left < REC_INLINE_MAX ? (size_t)left : REC_INLINE_MAX;
	struct rec_blob b = { .total = up->size, .offset = up->at };
	struct wire_out head;

	if (fs_pread_all(c->fd, buf, n, c->fd_at + (off_t)up->at) != (ssize_t)n)
		return -1;
	EVP_DigestUpdate(up->check, buf, n);
	memcpy(b.sha, up->sha, 32);
	wire_out_init(&head);
	rec_blob_head(&head, &b);
	change_propose(c, REC_BLOB, (struct span[2]){ wire_out_span(&head), { buf, n } }, 2);
	wire_out_clear(&head);
	up->at += n;
	return 0;
}

static enum mail_rc
upload_done(struct change *c)
{
	struct upload *up = c->up;
	uint8_t sha[32];
	bool same;

	EVP_DigestFinal_ex(up->check, sha, NULL);
	same = memcmp(sha, up->sha, 32) == 0;
	EVP_MD_CTX_free(up->check);
	c->up = NULL;
	memcpy(sha, up->sha, 32);
	c->ndst = 0;
	if (!same) {
		log_warnx("store: a message changed while it was read");
		free(up);
		return MAIL_TEMP;
	}
	c->rc = propose(c, sha, up->size, (struct span){ NULL, 0 });
	free(up);
	return c->rc;
}

/* Proposes the next window, or behind the last one the record itself.  Sets c->rc when
 * it cannot go on; the caller looks at c->open. */
void
mail_upload_next(struct change *c)
{
	char *buf;

	if (c->up->at == c->up->size) {
		c->rc = upload_done(c);
		return;
	}
	buf = mem_alloc(REC_INLINE_MAX);
	for (int i = 0; i < UPLOAD_WINDOW && c->up->at < c->up->size && c->rc == MAIL_OK; i++)
		if (upload_piece(c, buf) == -1)
			c->rc = MAIL_TEMP;
	free(buf);
}

static enum mail_rc
start_upload(struct change *c, uint64_t size)
{
	struct upload *up = mem_alloc(sizeof(*up));

	up->size = size;
	up->check = digest_new();
	c->up = up;
	if (digest_fd(c->fd, c->fd_at, size, up->sha) == -1)
		return MAIL_TEMP;
	if (other_bytes(c, up->sha))
		return MAIL_BAD;
	mail_upload_next(c);
	return c->rc;
}

enum mail_rc
mail_start(struct change *c)
{
	struct store_box box;
	struct stat st;
	enum mail_rc rc;

	if (c->fd == -1 || fstat(c->fd, &st) == -1)
		return MAIL_TEMP;
	if (c->kind == CHANGE_MERGE_ADD)
		return c->size <= REC_INLINE_MAX ? start_inline(c, (size_t)c->size) :
		    start_upload(c, c->size);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > c->ss->st->conf.message_max)
		return MAIL_BAD;
	if (c->kind == CHANGE_APPEND &&
	    (rc = shard_box_by_id(c->ss->sh, c->box, &box)) != MAIL_OK)
		return rc;
	return (uint64_t)st.st_size <= REC_INLINE_MAX ? start_inline(c, (size_t)st.st_size) :
	    start_upload(c, (uint64_t)st.st_size);
}

/* ---- store.h ---- */

void
store_deliver(struct store *st, uint16_t shard, const uint64_t *users, size_t n, int fd,
    store_done_cb *done, void *arg)
{
	struct change *c = change_new(st, shard, CHANGE_DELIVER, done, arg);

	if (c->ss == NULL)
		return;
	if (n == 0 || n > REC_ENTRIES_MAX) {
		change_end(c, MAIL_BAD);
		return;
	}
	c->users = mem_copy(users, n * sizeof(*users));
	c->nusers = n;
	c->internal_s = clock_wall_ms() / 1000;
	c->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	change_submit(c);
}

void
store_append(struct store *st, uint16_t shard, uint64_t user, uint64_t box, uint32_t flags,
    const char *keywords, int64_t internal_s, int fd, store_done_cb *done, void *arg)
{
	struct change *c = change_new(st, shard, CHANGE_APPEND, done, arg);

	c->user = user;
	c->box = box;
	c->flags = flags;
	c->keywords = mem_dup(keywords);
	c->internal_s = internal_s;
	c->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	change_submit(c);
}
