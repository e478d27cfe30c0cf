/* shard_apply_box.c - applying the records that change mailboxes: create, delete,
 * rename, subscribe.  Deterministic, as all applying.
 *
 * A deleted mailbox keeps its row and its messages until the undelete window is over
 * (shard_reap), so that deleting costs the same for any size.  Names below a
 * deleted or renamed mailbox: deleting keeps them, renaming takes them along. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "shard_priv.h"

/* The mailbox with this id, or the one that has the name already: a user cannot have
 * two of one name, and what is meant for the second goes to the first. */
int
apply_create_box(struct shard *sh, const struct rec_box *b, const struct owner_record *rec,
    uint64_t *id)
{
	sqlite3_stmt *st = shard_w(sh, W_BOX_FIND);
	int rc;

	(void)rec;
	modseq_used(sh, b->id);
	if (b->uidvalidity > sh->now.uidvalidity)
		sh->now.uidvalidity = b->uidvalidity;
	*id = b->id;
	if ((rc = sql_run(st, "it", (int64_t)b->user, b->name)) == -1)
		return -1;
	if (rc == 1) {
		*id = (uint64_t)sqlite3_column_int64(st, 0);
		sqlite3_reset(st);
		return 0;
	}
	if (sql_run(shard_w(sh, W_BOX_ADD), "iitgtiii", (int64_t)b->id, (int64_t)b->user, b->name,
	    b->guid, b->special, (int64_t)b->uidvalidity, (int64_t)b->id,
	    (int64_t)sh->now.gap_gen) == -1)
		return -1;
	return b->subscribe ? sql_run(shard_w(sh, W_SUB_ADD), "it", (int64_t)b->user, b->name) : 0;
}

static int
apply_create(struct shard *sh, const struct owner_record *rec, struct shard_outcome *out)
{
	struct rec_create c;
	struct rec_box box;
	uint64_t id;

	if (!rec_create_decode(rec->payload, &c))
		return 1;
	for (unsigned i = 0; i < c.n; i++) {
		rec_create_box(&c, &box);
		if (apply_create_box(sh, &box, rec, &id) == -1)
			return -1;
		out->uidvalidity = box.uidvalidity;
	}
	return 0;
}

static int
apply_delete(struct shard *sh, const struct owner_record *rec, const void *origin,
    struct shard_outcome *out)
{
	struct rec_delete d;
	struct box_row b;
	int rc;

	if (!rec_delete_decode(rec->payload, &d))
		return 1;
	modseq_used(sh, d.modseq);
	if ((rc = box_get(sh, d.box, &b)) == 0)
		out->rc = MAIL_UNKNOWN;
	if (rc != 1)
		return rc;
	shard_event(sh, STORE_BOX_DELETED, d.box, 0, origin);
	return sql_run(shard_w(sh, W_BOX_KILL), "iii", (int64_t)rec->lsn, rec->time_ms,
	    (int64_t)d.box);
}

struct child {
	int64_t id;
	char *tail;		/* behind the old parent's name */
};

/* All children first, because a new name may fall among the old ones. */
static int
children_get(struct shard *sh, const struct rec_rename *r, struct child **list, size_t *n)
{
	sqlite3_stmt *st = shard_w(sh, W_BOX_UNDER);
	char lo[STORE_NAME_MAX + 2], hi[STORE_NAME_MAX + 2];
	size_t from = strlen(r->from);
	int rc;

	memcpy(lo, r->from, from);
	memcpy(lo + from, "/", 2);
	memcpy(hi, r->from, from);
	memcpy(hi + from, "0", 2);
	while ((rc = sql_run(st, "itt", (int64_t)r->user, lo, hi)) == 1) {
		const char *name = (const char *)sqlite3_column_text(st, 1);

		*list = mem_grow(*list, *n + 1, sizeof(**list));
		(*list)[*n].id = sqlite3_column_int64(st, 0);
		(*list)[(*n)++].tail = mem_dup(name + from);
		if (span_copy(span_of(name), lo, sizeof(lo)) == -1)
			rc = -1;	/* names are bounded: the file is damaged */
		sqlite3_reset(st);
		if (rc == -1) {
			errno = EBADMSG;
			return -1;
		}
	}
	return rc;
}

/* from/x becomes to/x.  The proposer checked lengths and that nothing is in the way;
 * should it be wrong, the child gets a name that nobody has. */
static int
child_name(struct shard *sh, const struct rec_rename *r, const struct child *c, bool last)
{
	char *name;
	int rc;

	if (!last || strlen(r->to) + strlen(c->tail) > STORE_NAME_MAX)
		name = mem_printf("renamed-%lld", (long long)c->id);
	else
		name = mem_printf("%s%s", r->to, c->tail);
	rc = sql_run(shard_w(sh, W_BOX_NAME), "ti", name, c->id);
	free(name);
	return rc;
}

static int
rename_children(struct shard *sh, const struct rec_rename *r)
{
	struct child *list = NULL;
	size_t n = 0;
	int rc = children_get(sh, r, &list, &n);

	for (int last = 0; last <= 1; last++)
		for (size_t i = 0; i < n && rc == 0; i++)
			rc = child_name(sh, r, &list[i], last == 1);
	for (size_t i = 0; i < n; i++)
		free(list[i].tail);
	free(list);
	return rc;
}

/* RFC 3501 6.3.5: the messages of INBOX move to the new mailbox, it stays, empty. */
static int
rename_inbox(struct shard *sh, const struct owner_record *rec, const struct rec_rename *r,
    const void *origin)
{
	struct box_row inbox, made;
	struct msg_row m, copy;
	uint64_t id;
	int rc;

	if (apply_create_box(sh, &r->made, rec, &id) == -1)
		return -1;
	if ((rc = box_get(sh, r->box, &inbox)) != 1 || (rc = box_get(sh, id, &made)) != 1)
		return rc;
	while ((rc = msg_next(sh, inbox.id, 0, &m)) == 1) {
		copy = m;
		copy.modseq = r->modseq;
		if (copy.uid < made.uidnext)
			copy.uid = made.uidnext;
		if (msg_add(sh, &made, &copy, origin) == -1 ||
		    msg_gone(sh, &inbox, &m, r->modseq, rec, origin) == -1)
			return -1;
	}
	if (rc == -1 || box_set(sh, &inbox) == -1 || box_set(sh, &made) == -1)
		return -1;
	return 0;
}

static int
apply_rename(struct shard *sh, const struct owner_record *rec, const void *origin,
    struct shard_outcome *out)
{
	struct rec_rename r;
	struct box_row b;
	int rc;

	if (!rec_rename_decode(rec->payload, &r))
		return 1;
	modseq_used(sh, r.modseq);
	if (r.inbox)
		return rename_inbox(sh, rec, &r, origin);
	if (r.box != 0) {
		if ((rc = box_get(sh, r.box, &b)) == 0)
			out->rc = MAIL_UNKNOWN;
		if (rc != 1)
			return rc;
		if (sql_run(shard_w(sh, W_BOX_NAME), "ti", r.to, (int64_t)r.box) == -1)
			return -1;
	}
	return rename_children(sh, &r);
}

static int
apply_subscribe(struct shard *sh, const struct owner_record *rec)
{
	struct rec_subscribe s;

	if (!rec_subscribe_decode(rec->payload, &s))
		return 1;
	return sql_run(shard_w(sh, s.on ? W_SUB_ADD : W_SUB_DEL), "it", (int64_t)s.user, s.name);
}

int
apply_box_record(struct shard *sh, const struct owner_record *rec, const void *origin,
    struct shard_outcome *out)
{
	switch (rec->type) {
	case REC_BOX_CREATE:
		return apply_create(sh, rec, out);
	case REC_BOX_DELETE:
		return apply_delete(sh, rec, origin, out);
	case REC_BOX_RENAME:
		return apply_rename(sh, rec, origin, out);
	case REC_BOX_SUBSCRIBE:
		return apply_subscribe(sh, rec);
	default:
		return 1;
	}
}
