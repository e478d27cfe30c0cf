/* dir_change.c - the directory as an owner of its shard: proposes changes, applies
 * what was committed, and answers who waits; the rest is index_owner.c.
 *
 * A change is answered after its transaction is committed, never before. */
#include <stdlib.h>

#include "directory_int.h"
#include "index_db.h"
#include "mem.h"

struct dir_change {
	struct dir_change *next;
	uint64_t token;
	dir_change_cb *cb;
	void *arg;
	bool settled;
	enum mail_rc rc;
};

void
dir_change_put(struct directory *d, enum dir_record type, struct wire_out *body,
    dir_change_cb *cb, void *arg)
{
	struct dir_change *c = mem_alloc(sizeof(*c));
	struct span part = wire_out_span(body);

	c->token = owner_append(d->owner, SHARD_DIRECTORY, (uint8_t)type, &part, 1);
	c->cb = cb;
	c->arg = arg;
	c->next = d->changes;
	d->changes = c;
	wire_out_clear(body);
}

static struct dir_change **
find(struct directory *d, uint64_t token)
{
	struct dir_change **p = &d->changes;

	while (*p != NULL && (*p)->token != token)
		p = &(*p)->next;
	return p;
}

static void
on_record(void *arg, const struct owner_record *r, uint64_t token)
{
	struct directory *d = arg;
	enum mail_rc rc = dir_shard_apply(d->shard, r);
	struct dir_change *c = token != 0 ? *find(d, token) : NULL;

	index_owner_record(&d->index, r->lsn);
	if (c != NULL) {
		c->settled = true;
		c->rc = rc;
	}
}

/* ---- the number of shards ------------------------------------------------ */

static void
on_layout(void *arg, enum mail_rc rc, enum owner_refusal refused)
{
	struct directory *d = arg;

	(void)rc;			/* asked again with the next role */
	(void)refused;
	d->layout_asked = false;
}

/* Both nodes learn it from the log: who was set up with another number must not serve. */
static void
look_at_layout(struct directory *d)
{
	struct ipc *parent = child_peer(d->child, CHILD_PARENT, 0);
	unsigned n;
	struct wire_out w;

	if (d->layout_known || d->layout_asked || d->index.why != MAIL_OK)
		return;
	n = dir_shard_layout(d->shard);
	if (n == 0 && !owner_role(d->owner)->active)
		return;
	wire_out_init(&w);
	wire_put_u16(&w, (uint16_t)(n != 0 ? n : d->conf->shards));
	if (n == 0) {
		d->layout_asked = true;
		dir_change_put(d, DIR_LAYOUT, &w, on_layout, d);
		return;
	}
	d->layout_known = n == d->conf->shards;
	if (!d->layout_known && parent != NULL)
		ipc_send(parent, PM_LAYOUT, 0, w.p, w.len, -1);
	wire_out_clear(&w);
}

static void
on_batch_end(void *arg)
{
	struct directory *d = arg;
	struct dir_change **p = &d->changes, *c, *done = NULL;

	index_owner_applied(&d->index);
	while ((c = *p) != NULL) {		/* callbacks may propose more: take ours first */
		if (!c->settled) {
			p = &c->next;
			continue;
		}
		*p = c->next;
		c->next = done;
		done = c;
	}
	while ((c = done) != NULL) {
		done = c->next;
		/* It is in the log, and its answer is not known until it is applied. */
		c->cb(c->arg, d->index.why != MAIL_OK ? d->index.why : c->rc, (enum owner_refusal)0);
		free(c);
	}
	index_owner_checkpoint(&d->index);
	look_at_layout(d);
}

static void
on_refused(void *arg, uint64_t token, enum owner_refusal why)
{
	struct directory *d = arg;
	struct dir_change **p = find(d, token), *c = *p;

	if (c == NULL)
		return;
	*p = c->next;
	c->cb(c->arg, MAIL_TEMP, why);
	free(c);
}

/* The record may still be applied; who waits is told that it is not done. */
static void
on_undecided(void *arg, uint64_t token)
{
	on_refused(arg, token, OWNER_NOT_TWICE);
}

static void
on_role(void *arg, const struct owner_role *role)
{
	struct directory *d = arg;

	child_state(d->child, role, index_db_applied(d->index.db));
	look_at_layout(d);
}

static void
on_snapshot(void *arg, uint16_t shard)
{
	struct directory *d = arg;

	(void)shard;
	index_owner_snapshot(&d->index);
}

static void
on_index_offered(void *arg, uint16_t shard, uint64_t lsn, int fd)
{
	struct directory *d = arg;

	(void)shard;
	index_owner_offered(&d->index, lsn, fd);
	d->layout_known = false;
	look_at_layout(d);
}

static void
on_changes(void *arg, uint16_t shard, uint64_t fork, bool whole, int tail_fd)
{
	(void)shard;
	dir_merge_changes(arg, fork, whole, tail_fd);
}

static void
on_merge(void *arg, const struct owner_merge *m)
{
	dir_merge_start(arg, m);
}

static void
on_verify(void *arg, uint16_t shard, const struct owner_verify *v)
{
	(void)shard;
	index_owner_verify(&((struct directory *)arg)->index, v->run);
}

static void
on_verify_stop(void *arg, uint16_t shard)
{
	(void)shard;
	index_owner_verify_stop(&((struct directory *)arg)->index);
}

void
dir_change_free_all(struct directory *d)
{
	struct dir_change *c;

	while ((c = d->changes) != NULL) {
		d->changes = c->next;
		c->cb(c->arg, MAIL_TEMP, OWNER_NOT_ACTIVE);
		free(c);
	}
}

const struct owner_ops dir_owner_ops = {
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
