/* store_box.c - proposing changes of mailboxes: create, delete, rename, subscribe, and
 * the default ones of a new user.
 *
 * All but subscribing run alone in their shard, so the checks made here still hold
 * when the record is applied.  Parents are not made: a name below one that does not
 * exist shows it as \Noselect (shard_box_list). */
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "store_priv.h"

static enum mail_rc
start_create(struct change *c)
{
	char name[STORE_NAME_MAX + 1];
	struct store_box have;
	struct rec_box box;
	struct wire_out out;
	struct span body;
	enum mail_rc rc;
	uint64_t n;

	if (!shard_name_clean(c->name, name) || strlen(c->special) >= REC_SPECIAL_MAX)
		return MAIL_BAD;
	rc = shard_box_by_name(c->ss->sh, c->user, name, &have);
	if (rc != MAIL_UNKNOWN)
		return rc == MAIL_OK ? MAIL_EXISTS : rc;
	if ((rc = shard_box_count(c->ss->sh, c->user, &n)) != MAIL_OK)
		return rc;
	if (n >= c->ss->st->conf.boxes_max)
		return MAIL_OVER_QUOTA;
	counter_box(c->ss, &box, c->user, name, c->special, false);
	wire_out_init(&out);
	rec_create_put(&out, &box, 1);
	body = wire_out_span(&out);
	change_propose(c, REC_BOX_CREATE, &body, 1);
	wire_out_clear(&out);
	return MAIL_OK;
}

static enum mail_rc
start_delete(struct change *c)
{
	struct rec_delete d = { .user = c->user };
	struct store_box box;
	struct wire_out out;
	struct span body;
	enum mail_rc rc = shard_box_by_name(c->ss->sh, c->user, c->name, &box);

	if (rc != MAIL_OK)
		return rc;
	if (strcmp(box.name, "INBOX") == 0)
		return MAIL_DENIED;
	d.box = box.id;
	d.modseq = counter_modseq(c->ss);
	wire_out_init(&out);
	rec_delete_put(&out, &d);
	body = wire_out_span(&out);
	change_propose(c, REC_BOX_DELETE, &body, 1);
	wire_out_clear(&out);
	return MAIL_OK;
}

/* ---- rename ---- */

struct rename_check {
	struct store_shard *ss;
	uint64_t user;
	const struct rec_rename *r;
	enum mail_rc rc;
};

/* Does this child's new name fit, and is it free? */
static void
check_child(const struct store_box *b, void *arg)
{
	struct rename_check *k = arg;
	size_t from = strlen(k->r->from);
	struct store_box have;
	enum mail_rc rc;
	char *name;

	if (b->noselect || strncmp(b->name, k->r->from, from) != 0 || b->name[from] != '/')
		return;
	name = mem_printf("%s%s", k->r->to, b->name + from);
	if (strlen(name) > STORE_NAME_MAX)
		k->rc = MAIL_BAD;
	else if ((rc = shard_box_by_name(k->ss->sh, k->user, name, &have)) == MAIL_OK &&
	    (strncmp(name, k->r->from, from) != 0 || name[from] != '/'))
		k->rc = MAIL_EXISTS;	/* and it does not move away itself */
	else if (rc != MAIL_OK && rc != MAIL_UNKNOWN)
		k->rc = rc;
	free(name);
}

static enum mail_rc
check_rename(struct change *c, struct rec_rename *r)
{
	struct rename_check k = { c->ss, c->user, r, MAIL_OK };
	struct store_box box;
	size_t from = strlen(r->from);
	enum mail_rc rc = shard_box_by_name(c->ss->sh, c->user, r->from, &box);

	if (rc == MAIL_OK)
		r->box = box.id;
	else if (rc != MAIL_UNKNOWN || !shard_box_children(c->ss->sh, c->user, r->from))
		return rc;
	rc = shard_box_by_name(c->ss->sh, c->user, r->to, &box);
	if (rc != MAIL_UNKNOWN)
		return rc == MAIL_OK ? MAIL_EXISTS : rc;
	r->inbox = strcmp(r->from, "INBOX") == 0;
	if (r->inbox)
		return MAIL_OK;		/* its children stay */
	if (strncmp(r->to, r->from, from) == 0 && r->to[from] == '/')
		return MAIL_BAD;
	rc = shard_box_list(c->ss->sh, c->user, false, check_child, &k);
	return rc == MAIL_OK ? k.rc : rc;
}

static enum mail_rc
start_rename(struct change *c)
{
	struct rec_rename r = { .user = c->user };
	struct wire_out out;
	struct span body;
	enum mail_rc rc;

	if (!shard_name_clean(c->name, r.from) || !shard_name_clean(c->to_name, r.to))
		return MAIL_BAD;
	if ((rc = check_rename(c, &r)) != MAIL_OK)
		return rc;
	if (r.inbox)
		counter_box(c->ss, &r.made, c->user, r.to, "", false);
	r.modseq = counter_modseq(c->ss);
	wire_out_init(&out);
	rec_rename_put(&out, &r);
	body = wire_out_span(&out);
	change_propose(c, REC_BOX_RENAME, &body, 1);
	wire_out_clear(&out);
	return MAIL_OK;
}

static enum mail_rc
start_subscribe(struct change *c)
{
	struct rec_subscribe s = { .user = c->user, .on = c->op != 0 };
	struct wire_out out;
	struct span body;

	if (!shard_name_clean(c->name, s.name))
		return MAIL_BAD;
	wire_out_init(&out);
	rec_subscribe_put(&out, &s);
	body = wire_out_span(&out);
	change_propose(c, REC_BOX_SUBSCRIBE, &body, 1);
	wire_out_clear(&out);
	return MAIL_OK;
}

static enum mail_rc
start_ready(struct change *c)
{
	const struct rec_box *make;
	struct store_box inbox;
	struct wire_out out;
	struct span body;
	enum mail_rc rc = counter_inbox(c, c->user, &inbox, &make);

	if (rc != MAIL_OK || make == NULL)
		return rc;
	wire_out_init(&out);
	rec_create_put(&out, make, DEFAULT_BOXES);
	body = wire_out_span(&out);
	change_propose(c, REC_BOX_CREATE, &body, 1);
	wire_out_clear(&out);
	return MAIL_OK;
}

enum mail_rc
box_start(struct change *c)
{
	switch (c->kind) {
	case CHANGE_CREATE:
		return start_create(c);
	case CHANGE_DELETE:
		return start_delete(c);
	case CHANGE_RENAME:
		return start_rename(c);
	case CHANGE_SUBSCRIBE:
		return start_subscribe(c);
	default:
		return start_ready(c);
	}
}

/* ---- store.h ---- */

void
store_box_create(struct store *st, uint16_t shard, uint64_t user, const char *name,
    const char *special, store_done_cb *done, void *arg)
{
	struct change *c = change_new(st, shard, CHANGE_CREATE, done, arg);

	c->user = user;
	c->name = mem_dup(name);
	c->special = mem_dup(special == NULL ? "" : special);
	change_submit(c);
}

void
store_box_delete(struct store *st, uint16_t shard, uint64_t user, const char *name,
    store_done_cb *done, void *arg)
{
	struct change *c = change_new(st, shard, CHANGE_DELETE, done, arg);

	c->user = user;
	c->name = mem_dup(name);
	change_submit(c);
}

void
store_box_rename(struct store *st, uint16_t shard, uint64_t user, const char *from,
    const char *to, store_done_cb *done, void *arg)
{
	struct change *c = change_new(st, shard, CHANGE_RENAME, done, arg);

	c->user = user;
	c->name = mem_dup(from);
	c->to_name = mem_dup(to);
	change_submit(c);
}

void
store_box_subscribe(struct store *st, uint16_t shard, uint64_t user, const char *name,
    bool on, store_done_cb *done, void *arg)
{
	struct change *c = change_new(st, shard, CHANGE_SUBSCRIBE, done, arg);

	c->user = user;
	c->name = mem_dup(name);
	c->op = on;
	change_submit(c);
}

void
store_user_ready(struct store *st, uint16_t shard, uint64_t user, store_done_cb *done,
    void *arg)
{
	struct change *c = change_new(st, shard, CHANGE_READY, done, arg);
	struct store_box inbox;

	c->user = user;
	if (c->ss != NULL && shard_box_by_name(c->ss->sh, user, "INBOX", &inbox) == MAIL_OK)
		change_end(c, MAIL_OK);	/* nothing to propose, also on a standby */
	else
		change_submit(c);
}
