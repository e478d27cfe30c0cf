/* shard_apply_merge.c - applying what a merge proposes (store_merge.c).  Deterministic,
 * as all applying.
 *
 * Promises: for each fork a message of the side that gave way is dealt with once: the
 * table `merged` says for which it was, whatever was done to it since.  What clients
 * changed between the computing and the record is not undone: a record that finds its
 * rows changed says MAIL_EXISTS and leaves them, and the merge looks again. */
#include <errno.h>
#include <string.h>

#include "hook.h"
#include "shard_priv.h"

/* ---- which messages were dealt with ---- */

static int
merged_has(struct shard *sh, const struct rec_key *k)
{
	sqlite3_stmt *st = shard_w(sh, W_MERGED_GET);
	int rc = hook_on("merge-takes-twice") ? 0 :
	    sql_run(st, "igg", (int64_t)k->fork, k->box, k->guid);

	if (rc == 1)
		sqlite3_reset(st);
	return rc;
}

/* Those of an older fork are needed no more: its loser was seeded anew since. */
static int
merged_add(struct shard *sh, const struct rec_key *k)
{
	if (sql_run(shard_w(sh, W_MERGED_OLD), "i", (int64_t)k->fork) == -1)
		return -1;
	return sql_run(shard_w(sh, W_MERGED_ADD), "igg", (int64_t)k->fork, k->box, k->guid);
}

/* ---- a message that comes ---- */

static int
apply_added(struct shard *sh, const struct owner_record *rec, const void *origin,
    struct shard_outcome *out)
{
	struct rec_key key;
	struct rec_mail m;
	struct rec_entry e;
	struct box_row b;
	struct msg_row row;
	int rc;

	if (!rec_added_decode(rec->payload, &key, &m))
		return 1;
	rec_mail_entry(&m, &e);
	if ((rc = merged_has(sh, &key)) == -1)
		return -1;
	if (rc == 1)		/* its pieces may be those of another proposal as well */
		return m.inlined ? 0 : mail_object(sh, &m, rec->lsn);
	if ((rc = box_get(sh, e.box, &b)) == -1)
		return -1;
	if (rc == 0) {			/* deleted meanwhile; the message must not be lost */
		out->rc = MAIL_EXISTS;
		return m.inlined ? 0 : mail_object(sh, &m, rec->lsn);
	}
	if (mail_object(sh, &m, rec->lsn) == -1)
		return -1;
	row = (struct msg_row){ .uid = e.uid, .flags = e.flags, .modseq = e.modseq,
		.size = m.size, .internal_s = e.internal_s };
	memcpy(row.sha, m.sha, 32);
	memcpy(row.guid, e.guid, 16);
	memcpy(row.keywords, e.keywords, sizeof(row.keywords));
	/* Somebody else's message may have come into the mailbox since it was made: then this
	 * one goes behind it. */
	if (row.uid < b.uidnext)
		row.uid = b.uidnext > b.reserve ? b.uidnext : b.reserve;
	if (msg_add(sh, &b, &row, origin) == -1 || box_set(sh, &b) == -1)
		return -1;
	outcome_uids(&sh->dst, row.uid);
	out->uidvalidity = b.uidvalidity;
	return merged_add(sh, &key);
}

/* ---- messages that change or go ---- */

static int
set_one(struct shard *sh, const struct owner_record *rec, const struct rec_set *s,
    uint64_t modseq, const void *origin, struct shard_outcome *out)
{
	struct rec_flags f = { .op = STORE_FLAGS_SET, .flags = s->flags, .modseq = modseq };
	struct box_row b;
	struct msg_row m;
	int rc = box_get(sh, s->box, &b);

	if (rc == 1)
		rc = msg_next(sh, s->box, s->uid, &m);
	if (rc == -1)
		return -1;
	if (rc == 0 || m.uid != s->uid)
		return merged_add(sh, &s->key);	/* removed by a client meanwhile */
	if (m.modseq != s->seen) {
		out->rc = MAIL_EXISTS;
		return 0;
	}
	memcpy(f.keywords, s->keywords, sizeof(f.keywords));
	rc = s->what == REC_SET_FLAGS ? msg_flags(sh, &f, &b, &m, origin) :
	    msg_gone(sh, &b, &m, modseq, rec, origin);
	if (rc == -1 || box_set(sh, &b) == -1)
		return -1;
	return merged_add(sh, &s->key);
}

static int
apply_sets(struct shard *sh, const struct owner_record *rec, const void *origin,
    struct shard_outcome *out)
{
	struct rec_sets r;
	struct rec_set s;
	int rc = 0;

	if (!rec_sets_decode(rec->payload, &r))
		return 1;
	modseq_used(sh, r.modseq);
	for (unsigned i = 0; i < r.n && rc == 0; i++) {
		rec_set_get(&r, &s);
		if ((rc = merged_has(sh, &s.key)) == 0)
			rc = s.what == REC_SET_NOTE ? merged_add(sh, &s.key) :
			    set_one(sh, rec, &s, r.modseq, origin, out);
		else if (rc == 1)
			rc = 0;
	}
	return rc;
}

/* ---- mailboxes ---- */

/* 1 = the user has no mailbox of this name */
static int
name_free(struct shard *sh, uint64_t user, const char *name)
{
	sqlite3_stmt *st = shard_w(sh, W_BOX_FIND);
	int rc = sql_run(st, "it", (int64_t)user, name);

	if (rc == 1)
		sqlite3_reset(st);
	return rc == -1 ? -1 : rc == 0;
}

static int
box_make(struct shard *sh, const struct owner_record *rec, const struct rec_merge_box *r,
    struct shard_outcome *out)
{
	struct rec_box b = { .id = r->box, .user = r->user, .uidvalidity = r->uidvalidity,
		.subscribe = r->subscribe };
	sqlite3_stmt *st = shard_w(sh, W_BOX_GUID);
	uint64_t id;
	int rc = sql_run(st, "g", r->guid);

	if (rc == 1)
		sqlite3_reset(st);
	if (rc != 0)
		return rc == -1 ? -1 : 0;	/* made by a merge before this one */
	if ((rc = name_free(sh, r->user, r->name)) != 1) {
		out->rc = MAIL_EXISTS;
		return rc;
	}
	memcpy(b.guid, r->guid, 16);
	memcpy(b.name, r->name, sizeof(b.name));
	memcpy(b.special, r->special, sizeof(b.special));
	if (apply_create_box(sh, &b, rec, &id) == -1)
		return -1;
	return sql_run(shard_w(sh, W_BOX_RESERVE), "iii", (int64_t)r->reserve, (int64_t)id,
	    (int64_t)0);
}

static int
box_rename(struct shard *sh, const struct rec_merge_box *r, struct shard_outcome *out)
{
	sqlite3_stmt *st = shard_w(sh, W_BOX_IS);
	int rc = sql_run(st, "it", (int64_t)r->box, r->from);

	if (rc == 1) {
		sqlite3_reset(st);
		rc = name_free(sh, r->user, r->name);
	}
	if (rc == 0)
		out->rc = MAIL_EXISTS;
	return rc != 1 ? rc : sql_run(shard_w(sh, W_BOX_NAME), "ti", r->name, (int64_t)r->box);
}

static int
box_drop(struct shard *sh, const struct owner_record *rec, const struct rec_merge_box *r,
    const void *origin, struct shard_outcome *out)
{
	sqlite3_stmt *st = shard_w(sh, W_MSG_LATER);
	int rc = sql_run(st, "ii", (int64_t)r->box, (int64_t)r->since);

	if (rc == 1) {
		sqlite3_reset(st);
		out->rc = MAIL_EXISTS;
		return 0;
	}
	if (rc == -1)
		return -1;
	shard_event(sh, STORE_BOX_DELETED, r->box, 0, origin);
	return sql_run(shard_w(sh, W_BOX_KILL), "iii", (int64_t)rec->lsn, rec->time_ms,
	    (int64_t)r->box);
}

/* Who has it open must open it anew: its UIDs mean something else now. */
static int
box_renumber(struct shard *sh, const struct rec_merge_box *r, const struct box_row *b,
    const void *origin)
{
	if (b->uidvalidity != r->was)
		return 0;
	if (r->uidvalidity > sh->now.uidvalidity)
		sh->now.uidvalidity = r->uidvalidity;
	shard_event(sh, STORE_BOX_DELETED, r->box, 0, origin);
	return sql_run(shard_w(sh, W_BOX_RENUMBER), "ii", (int64_t)r->uidvalidity, (int64_t)r->box);
}

static int
apply_mbox(struct shard *sh, const struct owner_record *rec, const void *origin,
    struct shard_outcome *out)
{
	struct rec_merge_box r;
	struct box_row b;
	int rc;

	if (!rec_merge_box_decode(rec->payload, &r))
		return 1;
	modseq_used(sh, r.modseq);
	if (r.verb == REC_MBOX_CREATE)
		return box_make(sh, rec, &r, out);
	if ((rc = box_get(sh, r.box, &b)) != 1) {
		out->rc = MAIL_EXISTS;	/* deleted meanwhile */
		return rc;
	}
	if (r.verb == REC_MBOX_RENAME)
		return box_rename(sh, &r, out);
	if (r.verb == REC_MBOX_RENUMBER)
		return box_renumber(sh, &r, &b, origin);
	/* With another UIDVALIDITY they are other UIDs.  Clients saw this UIDNEXT there. */
	if (r.verb == REC_MBOX_RESERVE)
		return b.uidvalidity != r.was ? 0 : sql_run(shard_w(sh, W_BOX_RESERVE), "iii",
		    (int64_t)r.reserve, (int64_t)r.box, (int64_t)1);
	return box_drop(sh, rec, &r, origin, out);
}

int
apply_merge_record(struct shard *sh, const struct owner_record *rec, const void *origin,
    struct shard_outcome *out)
{
	switch (rec->type) {
	case REC_MERGE_ADD:
		return apply_added(sh, rec, origin, out);
	case REC_MERGE_SET:
		return apply_sets(sh, rec, origin, out);
	default:
		return apply_mbox(sh, rec, origin, out);
	}
}
