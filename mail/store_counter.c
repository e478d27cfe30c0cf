/* store_counter.c - the numbers that the active's store hands out when it proposes:
 * MODSEQ, UIDVALIDITY, UID, and the ids of first mailboxes.
 *
 * They run ahead of the applied state while proposals are under way, and are
 * forgotten when nothing is: then the applied state alone counts.  UIDs of refused
 * proposals may be given again, because nobody ever saw them.
 * A takeover without release raises UIDs by the gap (shard_read.c shows UIDNEXT so);
 * in generations where the other node may serve as well, only UIDs and UIDVALIDITYs of
 * the own parity
 * are given, so that one UID never names two messages. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "hex.h"
#include "mem.h"
#include "store_priv.h"

static const struct { const char *name, *special; } defaults[DEFAULT_BOXES] = {
	{ "INBOX", "" }, { "Drafts", "\\Drafts" }, { "Sent", "\\Sent" },
	{ "Trash", "\\Trash" }, { "Junk", "\\Junk" },
};

/* gen * 2^40 + n, above all that were given or applied */
uint64_t
counter_modseq(struct store_shard *ss)
{
	uint64_t gen = owner_role(ss->st->owner)->gen.no << 40;
	struct shard_facts f;

	shard_facts(ss->sh, &f);
	if (ss->modseq < f.modseq)
		ss->modseq = f.modseq;
	if (ss->modseq < gen)
		ss->modseq = gen;
	return ++ss->modseq;
}

/* Where the other node may serve as well: its numbers are the other half. */
static bool
of_other_node(const struct store_shard *ss, uint32_t number)
{
	const struct gen *g = &owner_role(ss->st->owner)->gen;
	bool parity = g->kind == GEN_PRESUMED || g->kind == GEN_UNSAFE || g->kind == GEN_FORCED;

	return parity && (number & 1) != g->node;
}

/* max(now, all before): no mailbox ever gets one that another of this name had */
uint32_t
counter_uidvalidity(struct store_shard *ss)
{
	uint32_t now = (uint32_t)(clock_wall_ms() / 1000);
	struct shard_facts f;

	shard_facts(ss->sh, &f);
	if (ss->uidvalidity < f.uidvalidity)
		ss->uidvalidity = f.uidvalidity;
	ss->uidvalidity = ss->uidvalidity + 1 > now ? ss->uidvalidity + 1 : now;
	if (of_other_node(ss, ss->uidvalidity))
		ss->uidvalidity++;
	return ss->uidvalidity;
}

static struct vbox *
vbox_find(struct store_shard *ss, uint64_t box)
{
	struct vbox *v;

	TAILQ_FOREACH(v, &ss->vboxes[box % 64], next)
		if (v->box == box)
			return v;
	return NULL;
}

static bool
holds(const uint64_t *list, size_t n, uint64_t what)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == what)
			return true;
	return false;
}

uint32_t
counter_uid(struct change *c, uint64_t box, uint32_t applied_uidnext)
{
	struct vbox *v = vbox_find(c->ss, box);
	uint32_t uid;

	if (v == NULL) {
		v = mem_alloc(sizeof(*v));
		v->box = box;
		TAILQ_INSERT_HEAD(&c->ss->vboxes[box % 64], v, next);
	}
	if (!holds(c->held_boxes, c->nheld_boxes, box)) {
		c->held_boxes = mem_grow(c->held_boxes, c->nheld_boxes + 1, sizeof(box));
		c->held_boxes[c->nheld_boxes++] = box;
		v->holds++;
	}
	uid = v->uidnext > applied_uidnext ? v->uidnext : applied_uidnext;
	if (of_other_node(c->ss, uid))
		uid++;
	v->uidnext = uid + 1;
	return uid;
}

void
counter_box(struct store_shard *ss, struct rec_box *b, uint64_t user, const char *name,
    const char *special, bool subscribe)
{
	memset(b, 0, sizeof(*b));
	b->id = counter_modseq(ss);
	b->user = user;
	b->uidvalidity = counter_uidvalidity(ss);
	b->subscribe = subscribe;
	random_bytes(b->guid, sizeof(b->guid));
	if (span_copy(span_of(name), b->name, sizeof(b->name)) == -1 ||
	    span_copy(span_of(special), b->special, sizeof(b->special)) == -1)
		b->special[0] = '\0';	/* lengths were checked by the caller */
}

/* Until one of the proposals that make a user's first mailboxes is applied, each of
 * them carries the same ones: any may be refused, and making is idempotent. */
enum mail_rc
counter_inbox(struct change *c, uint64_t user, struct store_box *box,
    const struct rec_box **make)
{
	struct store_shard *ss = c->ss;
	enum mail_rc rc = shard_box_by_name(ss->sh, user, "INBOX", box);
	struct vuser *u;

	*make = NULL;
	if (rc != MAIL_UNKNOWN)
		return rc;
	TAILQ_FOREACH(u, &ss->vusers, next)
		if (u->user == user)
			break;
	if (u == NULL) {
		u = mem_alloc(sizeof(*u));
		u->user = user;
		for (size_t i = 0; i < DEFAULT_BOXES; i++)
			counter_box(ss, &u->boxes[i], user, defaults[i].name, defaults[i].special, true);
		TAILQ_INSERT_HEAD(&ss->vusers, u, next);
	}
	if (!holds(c->held_users, c->nheld_users, user)) {
		c->held_users = mem_grow(c->held_users, c->nheld_users + 1, sizeof(user));
		c->held_users[c->nheld_users++] = user;
		u->holds++;
	}
	*make = u->boxes;
	return MAIL_OK;
}

void
counter_release(struct change *c)
{
	struct store_shard *ss = c->ss;
	struct vbox *v;
	struct vuser *u, *next;

	for (size_t i = 0; i < c->nheld_boxes; i++) {
		v = vbox_find(ss, c->held_boxes[i]);
		if (v != NULL && --v->holds == 0) {
			TAILQ_REMOVE(&ss->vboxes[v->box % 64], v, next);
			free(v);
		}
	}
	for (u = c->nheld_users == 0 ? NULL : TAILQ_FIRST(&ss->vusers); u != NULL; u = next) {
		next = TAILQ_NEXT(u, next);
		if (holds(c->held_users, c->nheld_users, u->user) && --u->holds == 0) {
			TAILQ_REMOVE(&ss->vusers, u, next);
			free(u);
		}
	}
	c->nheld_boxes = c->nheld_users = 0;
}

void
counters_free(struct store_shard *ss)
{
	struct vbox *v;
	struct vuser *u;

	for (size_t i = 0; i < 64; i++)
		while ((v = TAILQ_FIRST(&ss->vboxes[i])) != NULL) {
			TAILQ_REMOVE(&ss->vboxes[i], v, next);
			free(v);
		}
	while ((u = TAILQ_FIRST(&ss->vusers)) != NULL) {
		TAILQ_REMOVE(&ss->vusers, u, next);
		free(u);
	}
}
