/* store_flags.c - proposing what happens to messages that are there: flags, removal,
 * copies.  Flag changes and removals travel as the operation and the UIDs asked for,
 * and take effect on what is there when they are applied; only copies are listed one
 * by one, because each needs its UID.  Long sets become several records. */
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "store_priv.h"

enum mail_rc
flags_start(struct change *c)
{
	struct rec_flags f = { .box = c->box, .op = c->op, .flags = c->flags };
	struct store_box box;
	struct wire_out out;
	enum mail_rc rc = shard_box_by_id(c->ss->sh, c->box, &box);

	if (rc != MAIL_OK)
		return rc;
	if (c->keywords != NULL &&
	    span_copy(span_of(c->keywords), f.keywords, sizeof(f.keywords)) == -1)
		return MAIL_BAD;
	for (size_t at = 0; at < c->nranges; at += f.n) {
		size_t left = c->nranges - at;
		struct span body;

		f.n = left < REC_RANGES_MAX ? (unsigned)left : REC_RANGES_MAX;
		f.modseq = counter_modseq(c->ss);
		wire_out_init(&out);
		if (c->kind == CHANGE_FLAGS)
			rec_flags_put(&out, &f, c->ranges + at);
		else
			rec_expunge_put(&out, &f, c->ranges + at);
		body = wire_out_span(&out);
		change_propose(c, c->kind == CHANGE_FLAGS ? REC_FLAGS : REC_EXPUNGE, &body, 1);
		wire_out_clear(&out);
	}
	return MAIL_OK;
}

struct pairs {
	struct change *c;
	uint32_t applied_uidnext;	/* of the target */
	struct rec_range *v;
	size_t n, cap;
};

static void
add_pair(uint32_t uid, void *arg)
{
	struct pairs *p = arg;

	if (p->n == p->cap) {
		p->cap = p->cap == 0 ? 64 : p->cap * 2;
		p->v = mem_grow(p->v, p->cap, sizeof(*p->v));
	}
	p->v[p->n++] = (struct rec_range){ uid,
		counter_uid(p->c, p->c->to_box, p->applied_uidnext) };
}

static void
propose_pairs(struct change *c, const struct pairs *p)
{
	struct rec_copy r = { .from = c->box, .to = c->to_box, .move = c->op != 0 };
	struct wire_out out;
	struct span body;

	for (size_t at = 0; at < p->n; at += r.n) {
		r.n = p->n - at < REC_RANGES_MAX ? (unsigned)(p->n - at) : REC_RANGES_MAX;
		r.modseq = counter_modseq(c->ss);
		r.gone_modseq = r.move ? counter_modseq(c->ss) : 0;
		wire_out_init(&out);
		rec_copy_put(&out, &r, p->v + at);
		body = wire_out_span(&out);
		change_propose(c, REC_COPY, &body, 1);
		wire_out_clear(&out);
	}
}

enum mail_rc
copy_start(struct change *c)
{
	struct pairs p = { .c = c };
	struct store_box box;
	enum mail_rc rc = shard_box_by_id(c->ss->sh, c->box, &box);

	if (rc == MAIL_OK)
		rc = shard_box_by_id(c->ss->sh, c->to_box, &box);
	p.applied_uidnext = box.uid_free;
	for (size_t i = 0; i < c->nranges && rc == MAIL_OK; i++)
		rc = shard_uids(c->ss->sh, c->box, c->ranges[i].lo, c->ranges[i].hi, add_pair, &p);
	if (rc == MAIL_OK)
		propose_pairs(c, &p);
	free(p.v);
	return rc;
}

/* ---- store.h ---- */

/* The same layout, but the types are strangers to the compiler. */
static void
take_ranges(struct change *c, const struct store_uids *uids)
{
	c->ranges = mem_array(uids->n + 1, sizeof(*c->ranges));
	for (size_t i = 0; i < uids->n; i++)
		c->ranges[i] = (struct rec_range){ uids->r[i].lo, uids->r[i].hi };
	c->nranges = uids->n;
}

void
store_flags(struct store *st, uint16_t shard, uint64_t box, const struct store_uids *uids,
    enum store_flag_op op, uint32_t flags, const char *keywords, store_done_cb *done, void *arg)
{
	struct change *c = change_new(st, shard, CHANGE_FLAGS, done, arg);

	c->box = box;
	c->op = (uint8_t)op;
	c->flags = flags;
	c->keywords = mem_dup(keywords);
	take_ranges(c, uids);
	change_submit(c);
}

void
store_expunge(struct store *st, uint16_t shard, uint64_t box, const struct store_uids *uids,
    bool only_deleted, store_done_cb *done, void *arg)
{
	struct change *c = change_new(st, shard, CHANGE_EXPUNGE, done, arg);

	c->box = box;
	c->op = only_deleted;
	take_ranges(c, uids);
	change_submit(c);
}

void
store_copy(struct store *st, uint16_t shard, uint64_t box, const struct store_uids *uids,
    uint64_t to_box, bool move, store_done_cb *done, void *arg)
{
	struct change *c = change_new(st, shard, CHANGE_COPY, done, arg);

	c->box = box;
	c->to_box = to_box;
	c->op = move;
	take_ranges(c, uids);
	change_submit(c);
}
