/* store_change.c - the life of a change: submitted, perhaps held, proposed as one or
 * more records, ended when all of them are committed or refused, told from the loop.
 *
 * Promise: done() comes exactly once, unless forgotten, and never from inside the
 * call; it comes with NOT_TWICE when the log cannot say soon whether a record will be
 * committed, and then the change may still happen; changes of a shard are proposed in
 * the order of the calls; one that changes the structure of mailboxes is alone in its
 * shard, so what it was checked against still holds when it is applied.
 * Limits: pending_max changes under way or held; then MAIL_TEMP. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "store_priv.h"

static void
change_free(struct change *c)
{
	if (c->up != NULL)
		EVP_MD_CTX_free(c->up->check);
	free(c->up);
	if (c->fd != -1)
		close(c->fd);
	free(c->users);
	free(c->ranges);
	free(c->keywords);
	free(c->name);
	free(c->to_name);
	free(c->special);
	free(c->held_boxes);
	free(c->held_users);
	free(c->src);
	free(c->dst);
	free(c);
}

static void
tell(struct change *c)
{
	const struct store_result r = { .rc = c->rc, .gen = c->gen, .lsn = c->lsn,
		.copies = c->copies, .uidvalidity = c->uidvalidity, .src_uids = c->src,
		.dst_uids = c->dst, .n = c->ndst };

	if (!c->forgotten && c->done != NULL)
		c->done(c->arg, &r);
}

static void
on_later(evutil_socket_t fd, short what, void *arg)
{
	struct store *st = arg;
	struct change_list now;
	struct change *c;

	(void)fd;
	(void)what;
	/* What the callbacks end in turn is told in the next round. */
	TAILQ_INIT(&now);
	TAILQ_CONCAT(&now, &st->later, queue);
	while ((c = TAILQ_FIRST(&now)) != NULL) {
		TAILQ_REMOVE(&now, c, queue);
		tell(c);
		TAILQ_REMOVE(&st->all, c, all);
		st->nall--;
		change_free(c);
	}
}

struct change *
change_new(struct store *st, uint16_t shard, enum change_kind kind, store_done_cb *done,
    void *arg)
{
	struct change *c = mem_alloc(sizeof(*c));

	c->ss = store_find(st, shard);
	c->kind = kind;
	c->done = done;
	c->arg = arg;
	c->fd = -1;
	if (st->later_ev == NULL && (st->later_ev = evtimer_new(st->base, on_later, st)) == NULL)
		log_fatal("store: no event");
	TAILQ_INSERT_TAIL(&st->all, c, all);
	st->nall++;
	if (c->ss == NULL) {		/* asked the wrong worker */
		log_warnx("store: shard %u is not here", shard);
		c->rc = MAIL_TEMP;
		TAILQ_INSERT_TAIL(&st->later, c, queue);
		event_active(st->later_ev, EV_TIMEOUT, 1);
	}
	return c;
}

void
change_end(struct change *c, enum mail_rc rc)
{
	struct store_shard *ss = c->ss;

	c->rc = rc;
	counter_release(c);
	if (c->started) {
		ss->running--;
		ss->undecided -= c->undecided;
		if (c->kind >= CHANGE_STRUCTURE)
			ss->structure = false;
	}
	TAILQ_INSERT_TAIL(&ss->st->later, c, queue);
	event_active(ss->st->later_ev, EV_TIMEOUT, 1);
}

static enum mail_rc
start(struct change *c)
{
	switch (c->kind) {
	case CHANGE_DELIVER:
	case CHANGE_APPEND:
		return mail_start(c);
	case CHANGE_FLAGS:
	case CHANGE_EXPUNGE:
		return flags_start(c);
	case CHANGE_COPY:
		return copy_start(c);
	case CHANGE_PART_DROP:
		return part_start(c);
	case CHANGE_MERGE_ADD:
	case CHANGE_MERGE_SET:
	case CHANGE_MERGE_BOX:
		return merge_start(c);
	case CHANGE_SUBSCRIBE:
	case CHANGE_CREATE:
	case CHANGE_DELETE:
	case CHANGE_RENAME:
	case CHANGE_READY:
		break;
	}
	return box_start(c);
}

static void
change_start(struct change *c)
{
	enum mail_rc rc;

	c->started = true;
	c->ss->running++;
	if (c->kind >= CHANGE_STRUCTURE)
		c->ss->structure = true;
	rc = start(c);
	if (c->open == 0)
		change_end(c, rc);
	else if (rc != MAIL_OK)
		c->rc = rc;		/* told when the records under way have ended */
}

static bool
may_start(const struct store_shard *ss, const struct change *c)
{
	return !ss->structure && (c->kind < CHANGE_STRUCTURE || ss->running == 0);
}

void
shard_pump(struct store_shard *ss)
{
	struct change *c;

	while ((c = TAILQ_FIRST(&ss->held)) != NULL && may_start(ss, c)) {
		TAILQ_REMOVE(&ss->held, c, queue);
		change_start(c);
	}
}

static enum mail_rc
admit(const struct change *c)
{
	struct store *st = c->ss->st;
	bool grows = c->kind == CHANGE_DELIVER || c->kind == CHANGE_APPEND ||
	    c->kind == CHANGE_MERGE_ADD;
	size_t bytes;

	if (!owner_role(st->owner)->active)
		return MAIL_NOT_ACTIVE;
	if (c->ss->degraded)
		return c->ss->degraded_rc;
	if (grows && store_low_space(st))
		return MAIL_DISK_FULL;
	owner_pending(st->owner, &bytes);
	return st->nall > st->conf.pending_max || bytes > st->conf.pending_bytes_max ?
	    MAIL_TEMP : MAIL_OK;
}

void
change_submit(struct change *c)
{
	enum mail_rc rc;

	if (c->ss == NULL)
		return;			/* refused by change_new() */
	if ((rc = admit(c)) != MAIL_OK) {
		change_end(c, rc);
		return;
	}
	/* What waits for something that may never be decided waits in vain. */
	if (c->ss->undecided > 0 && !may_start(c->ss, c)) {
		change_end(c, MAIL_NOT_TWICE);
		return;
	}
	TAILQ_INSERT_TAIL(&c->ss->held, c, queue);
	shard_pump(c->ss);
}

void
changes_drop_held(struct store_shard *ss, enum mail_rc rc)
{
	struct change *c;

	while ((c = TAILQ_FIRST(&ss->held)) != NULL) {
		TAILQ_REMOVE(&ss->held, c, queue);
		change_end(c, rc);
	}
}

void
changes_free(struct store *st)
{
	struct change *c;
	struct token *t;

	for (size_t i = 0; i < HASH_SLOTS; i++)
		while ((t = TAILQ_FIRST(&st->tokens[i])) != NULL) {
			TAILQ_REMOVE(&st->tokens[i], t, next);
			free(t);
		}
	while ((c = TAILQ_FIRST(&st->all)) != NULL) {
		TAILQ_REMOVE(&st->all, c, all);
		change_free(c);
	}
}

void
store_forget(struct store *st, const void *arg)
{
	struct change *c;

	TAILQ_FOREACH(c, &st->all, all)
		if (c->arg == arg)
			c->forgotten = true;
	mends_forget(st, arg);
}

/* ---- records under way ---- */

void
change_propose(struct change *c, uint8_t type, const struct span *parts, size_t n)
{
	struct store *st = c->ss->st;
	struct token *t = mem_alloc(sizeof(*t));

	t->c = c;
	t->token = owner_append(st->owner, c->ss->log_no, type, parts, n);
	TAILQ_INSERT_TAIL(&st->tokens[t->token % HASH_SLOTS], t, next);
	c->open++;
}

static struct token *
token_find(struct store *st, uint64_t token)
{
	struct token *t;

	TAILQ_FOREACH(t, &st->tokens[token % HASH_SLOTS], next)
		if (t->token == token)
			break;
	return t;
}

struct token *
token_take(struct store *st, uint64_t token)
{
	struct token *t = token_find(st, token);

	if (t != NULL)
		TAILQ_REMOVE(&st->tokens[token % HASH_SLOTS], t, next);
	return t;
}

/* The record may be committed later, so the change goes on: its numbers are not given
 * again, and its effect, should it come, comes as somebody else's.  Only who waits for
 * it, or behind it, is told that it is not done. */
void
change_undecided(struct store *st, uint64_t token)
{
	struct token *t = token_find(st, token);
	struct change *c = t != NULL ? t->c : NULL;

	if (c == NULL || c->undecided)
		return;
	c->undecided = true;
	c->ss->undecided++;
	c->rc = MAIL_NOT_TWICE;		/* and a large message goes no further */
	changes_drop_held(c->ss, MAIL_NOT_TWICE);
	tell(c);
	c->forgotten = true;
}

static void
add_uids(uint32_t **list, size_t *have, const uint32_t *uids, size_t n)
{
	if (uids == NULL || n == 0)
		return;
	*list = mem_grow(*list, *have + n, sizeof(**list));
	memcpy(*list + *have, uids, n * sizeof(*uids));
	*have += n;
}

/* What a committed record meant; a change of several records keeps the newest LSN. */
void
change_outcome(struct change *c, const struct owner_record *rec,
    const struct shard_outcome *out)
{
	c->gen = rec->gen_no;
	c->lsn = rec->lsn;
	if (c->copies == 0 || rec->copies < c->copies)
		c->copies = rec->copies;
	if (out->uidvalidity != 0)
		c->uidvalidity = out->uidvalidity;
	add_uids(&c->src, &c->nsrc, out->src, out->src == NULL ? 0 : out->n);
	add_uids(&c->dst, &c->ndst, out->dst, out->n);
}

void
token_end(struct token *t, enum mail_rc rc)
{
	struct change *c = t->c;
	struct store_shard *ss = c->ss;

	free(t);
	if (rc != MAIL_OK)
		c->rc = rc;
	if (--c->open == 0 && c->up != NULL && c->rc == MAIL_OK)
		mail_upload_next(c);
	if (c->open > 0)
		return;
	change_end(c, c->rc);
	shard_pump(ss);
}
