/* store_merge.c - the side that stays takes over what the other one changed: plans are
 * made on the job thread (shard_merge.c), and carried out here as ordinary changes.
 *
 * Promises: the shard serves all the while; a few records are under way at a time, and
 * memory follows the number of changes, not the bytes of messages.  What clients change
 * meanwhile is not undone: a record that finds its rows changed does nothing, and the
 * merge then looks again, until a plan was carried out as it was made.  A merge that was
 * interrupted at any place is begun again by syncd, and what is done is not done twice.
 * Ends in exactly one owner_merge_done().
 * Order: mailboxes one by one, each alone in the shard; then messages that come; then
 * flags, removals and notes; then subscriptions.
 * What can still give way: of a mailbox that clients renamed between the end of the tail
 * and the first look, the other side's name may win. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hex.h"
#include "hook.h"
#include "log.h"
#include "mem.h"
#include "merge_plan.h"
#include "shard_job.h"
#include "store_priv.h"

#define ADDS_MAX 16			/* changes under way */
#define ADD_BYTES_MAX (16u << 20)	/* bytes of their messages, but at least one */
#define SETS_MAX 4			/* records under way */
#define LOOKS_MAX 20

struct store_merge {
	struct store_shard *ss;
	struct owner_merge ask;
	char stamp[OWNER_STAMP_MAX + 1];
	struct merge_plan *plan;	/* NULL: the job is under way */
	json_t *report;			/* of the first look */
	unsigned looks;
	size_t at;			/* what of the plan is next */
	unsigned open;			/* changes under way */
	uint64_t open_bytes;
	uint64_t proposed, missing;
	bool again;			/* rows had changed */
	enum mail_rc rc;		/* the first failure */
	uint8_t box_guid[16];		/* the mailbox that was looked for last, */
	uint64_t box_id;		/* and its id; 0: none */
};

static void run(struct store_merge *);

/* ---- the end ---- */

void
store_merge_free(struct store_shard *ss)
{
	struct store_merge *m = ss->merge;

	if (m == NULL)
		return;
	ss->merge = NULL;
	close(m->ask.tail_fd);
	close(m->ask.theirs_fd);
	merge_plan_free(m->plan);
	json_decref(m->report);
	free(m);
}

static void
end(struct store_merge *m, const char *error)
{
	struct store_shard *ss = m->ss;
	json_t *r = m->report == NULL ? json_object() : json_incref(m->report);
	char *text;

	json_object_set_new(r, "proposed", json_integer((json_int_t)m->proposed));
	json_object_set_new(r, "missing", json_integer((json_int_t)m->missing));
	json_object_set_new(r, "looks", json_integer(m->looks));
	if (error != NULL)
		json_object_set_new(r, "error", json_string(error));
	text = json_dumps(r, JSON_COMPACT);
	if (text != NULL && strlen(text) > OWNER_REPORT_MAX) {
		json_object_del(r, "conflicts");
		free(text);
		text = json_dumps(r, JSON_COMPACT);
	}
	if (error != NULL)
		log_warnx("store shard=%u merge fork=%llu: %s", ss->n,
		    (unsigned long long)m->ask.fork, error);
	else
		log_info("store shard=%u merge fork=%llu dry=%d proposed=%llu missing=%llu looks=%u",
		    ss->n, (unsigned long long)m->ask.fork, m->ask.dry,
		    (unsigned long long)m->proposed, (unsigned long long)m->missing, m->looks);
	store_merge_free(ss);
	owner_merge_done(ss->st->owner, ss->log_no, error == NULL,
	    text == NULL ? "{\"error\": \"no memory\"}" : text);
	free(text);
	json_decref(r);
}

static void
look(struct store_merge *m)
{
	merge_plan_free(m->plan);
	m->plan = NULL;
	m->at = 0;
	m->again = false;
	m->box_id = 0;
	m->looks++;
	if (m->looks > LOOKS_MAX)
		end(m, "clients change what has to be merged all the time");
	else if (job_merge(m->ss, &m->ask) == -1)
		end(m, strerror(errno));
}

/* ---- one part of the plan ---- */

static void
on_done(void *arg, const struct store_result *r)
{
	struct store_merge *m = arg;

	m->open--;
	if (r->rc == MAIL_EXISTS)
		m->again = true;
	else if (r->rc != MAIL_OK && m->rc == MAIL_OK)
		m->rc = r->rc;
	run(m);
}

/* on_done() comes once for each, from the loop. */
static void
submit(struct store_merge *m, enum change_kind kind, size_t part, size_t n)
{
	struct change *c = change_new(m->ss->st, m->ss->n, kind, on_done, m);

	c->merge = m;
	c->part = part;
	c->nparts = n;
	m->open++;
	change_submit(c);
}

static const struct merge_op *
op_of(const struct change *c)
{
	return &c->merge->plan->m.ops[c->part];
}

/* ---- mailboxes ---- */

/* What it is called when this part is reached: a ring of names is opened with a rename of
 * its own. */
static const char *
name_now(const struct merge_plan *p, size_t part, const char *name)
{
	const struct merge_op *op = &p->m.ops[part];

	for (size_t i = 0; i < part; i++)
		if (p->m.ops[i].verb == MERGE_BOX_RENAME &&
		    memcmp(p->m.ops[i].box, op->box, 16) == 0)
			name = p->m.ops[i].name;
	return name;
}

static enum mail_rc
box_record(struct change *c, struct rec_merge_box *r)
{
	const struct merge_op *op = op_of(c);
	const struct merge_plan *p = c->merge->plan;
	const struct changes_box *seen = NULL;
	const struct merge_box *ours = merge_plan_box(p, op->box, &seen);

	memset(r, 0, sizeof(*r));
	r->user = op->user;
	r->modseq = counter_modseq(c->ss);
	r->since = p->ours.modseq;
	if (op->verb == MERGE_BOX_CREATE) {
		const struct changes_box *from = &p->theirs.box_more[op->from - p->theirs.boxes];

		r->verb = REC_MBOX_CREATE;
		r->box = r->modseq;
		r->uidvalidity = op->keep ? op->from->uidvalidity : counter_uidvalidity(c->ss);
		r->reserve = op->keep ? from->uidnext : 0;
		r->subscribe = from->subscribed;
		memcpy(r->guid, op->box, 16);
		if (span_copy(span_of(op->from->special), r->special, sizeof(r->special)) == -1)
			return MAIL_BAD;
	} else if (ours == NULL || ours->name == NULL) {
		return MAIL_BAD;	/* the plan is about mailboxes that were seen */
	} else {
		r->box = seen->id;
		r->verb = op->verb == MERGE_BOX_DELETE ? REC_MBOX_DELETE :
		    op->verb == MERGE_BOX_RENAME ? REC_MBOX_RENAME :
		    op->verb == MERGE_BOX_RESERVE ? REC_MBOX_RESERVE : REC_MBOX_RENUMBER;
		r->reserve = op->verb == MERGE_BOX_RESERVE ? op->from->uidnext : 0;
		r->was = ours->uidvalidity;
		if (op->verb == MERGE_BOX_RENUMBER)
			r->uidvalidity = counter_uidvalidity(c->ss);
		if (span_copy(span_of(name_now(p, c->part, ours->name)), r->from,
		    sizeof(r->from)) == -1)
			return MAIL_BAD;
	}
	return op->name != NULL && span_copy(span_of(op->name), r->name, sizeof(r->name)) == -1 ?
	    MAIL_BAD : MAIL_OK;
}

static enum mail_rc
box_propose(struct change *c)
{
	struct rec_merge_box r;
	struct wire_out out;
	struct span body;
	enum mail_rc rc = box_record(c, &r);

	if (rc != MAIL_OK)
		return rc;
	wire_out_init(&out);
	rec_merge_box_put(&out, &r);
	body = wire_out_span(&out);
	change_propose(c, REC_MERGE_BOX, &body, 1);
	wire_out_clear(&out);
	return MAIL_OK;
}

/* ---- messages ---- */

/* The mailbox with this GUID; they come sorted by mailbox. */
static enum mail_rc
box_find(struct store_merge *m, const uint8_t guid[16], struct store_box *b)
{
	enum mail_rc rc;

	if (m->box_id == 0 || memcmp(m->box_guid, guid, 16) != 0) {
		m->box_id = 0;
		if ((rc = shard_box_by_guid(m->ss->sh, guid, b)) != MAIL_OK)
			return rc;
		memcpy(m->box_guid, guid, 16);
		m->box_id = b->id;
		return MAIL_OK;
	}
	return shard_box_by_id(m->ss->sh, m->box_id, b);
}

enum mail_rc
merge_entry(struct change *c, struct rec_entry *e, struct wire_out *head)
{
	const struct merge_op *op = op_of(c);
	struct rec_key key = { .fork = c->merge->ask.fork };
	struct store_box box;
	enum mail_rc rc = box_find(c->merge, op->box, &box);

	if (rc != MAIL_OK)
		return rc == MAIL_UNKNOWN ? MAIL_EXISTS : rc;	/* deleted meanwhile */
	memset(e, 0, sizeof(*e));
	e->user = op->user;
	e->box = box.id;
	e->uid = op->keep ? op->msg->uid : counter_uid(c, box.id, box.uid_free);
	e->modseq = counter_modseq(c->ss);
	e->flags = op->flags;
	e->internal_s = op->msg->internal_s;
	memcpy(e->guid, op->guid, 16);
	if (span_copy(span_of(op->keywords), e->keywords, sizeof(e->keywords)) == -1)
		return MAIL_BAD;
	memcpy(key.box, op->msg->box, 16);
	memcpy(key.guid, op->msg->guid, 16);
	rec_added_begin(head, &key);
	return MAIL_OK;
}

/* The bytes: they came along, or are here, because a message that was removed lately
 * or another one has them.  -1: they are nowhere. */
static int
add_source(struct change *c)
{
	const struct merge_op *op = op_of(c);
	const struct changes_object *o = changes_object(&c->merge->plan->theirs, op->msg->sha);
	struct stat st;

	if (o != NULL) {
		c->fd = dup(c->merge->ask.theirs_fd);
		c->fd_at = o->at;
		c->size = o->size;
	} else if ((c->fd = shard_object_open(c->ss->sh, op->msg->sha)) != -1) {
		c->size = fstat(c->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	}
	memcpy(c->sha, op->msg->sha, 32);
	return c->fd == -1 ? -1 : 0;
}

static enum mail_rc
sets_propose(struct change *c)
{
	const struct merge_plan *p = c->merge->plan;
	struct rec_set s;
	struct wire_out out;
	struct span body;

	wire_out_init(&out);
	rec_sets_begin(&out, c->merge->ask.fork, counter_modseq(c->ss), (unsigned)c->nparts);
	for (size_t i = 0; i < c->nparts; i++) {
		merge_plan_set(p, c->part + i, &s);
		rec_set_put(&out, &s);
	}
	body = wire_out_span(&out);
	change_propose(c, REC_MERGE_SET, &body, 1);
	wire_out_clear(&out);
	return MAIL_OK;
}

enum mail_rc
merge_start(struct change *c)
{
	enum mail_rc rc;

	if (c->kind == CHANGE_MERGE_ADD)
		rc = add_source(c) == -1 ? MAIL_TEMP : mail_start(c);
	else
		rc = c->kind == CHANGE_MERGE_BOX ? box_propose(c) : sets_propose(c);
	c->merge->proposed += c->open > 0;
	return rc;
}

/* ---- the whole ---- */

/* A message whose bytes are nowhere is told in the report, and not noted as dealt with. */
static bool
have_bytes(struct store_merge *m, const struct merge_op *op)
{
	return changes_object(&m->plan->theirs, op->msg->sha) != NULL ||
	    shard_object_have(m->ss->sh, op->msg->sha) == 1;
}

static void
tell_missing(struct store_merge *m, const struct merge_op *op)
{
	char hex[33];

	hex_encode(op->msg->guid, 16, hex);
	m->missing++;
	merge_plan_conflict(m->plan, op->user, "missing",
	    op->from == NULL || op->from->name == NULL ? "" : op->from->name, hex);
}

static void
run_adds(struct store_merge *m)
{
	size_t all = m->plan->nbox + m->plan->nadd;

	if (m->open == 0)
		m->open_bytes = 0;
	while (m->at < all && m->open < ADDS_MAX) {
		const struct merge_op *op = &m->plan->m.ops[m->at];

		if (m->open > 0 && m->open_bytes + op->msg->size > ADD_BYTES_MAX)
			return;
		m->at++;
		if (!have_bytes(m, op)) {
			tell_missing(m, op);
			continue;
		}
		if (op->msg->what == MERGE_ADDED && hook_on("merge-drops-added"))
			continue;
		m->open_bytes += op->msg->size;
		submit(m, CHANGE_MERGE_ADD, m->at - 1, 1);
	}
}

static void
run_sets(struct store_merge *m)
{
	size_t before = m->plan->nbox + m->plan->nadd;

	while (m->at < before + m->plan->nsets && m->open < SETS_MAX) {
		size_t left = before + m->plan->nsets - m->at;
		size_t n = left < REC_SETS_MAX ? left : REC_SETS_MAX;

		submit(m, CHANGE_MERGE_SET, m->at - before, n);
		m->at += n;
	}
}

static void
run_subs(struct store_merge *m)
{
	size_t before = m->plan->nbox + m->plan->nadd + m->plan->nsets;

	while (m->at >= before && m->at < before + m->plan->nsubs && m->open < SETS_MAX) {
		const struct changes_sub *s = m->plan->subs[m->at++ - before];

		m->open++;
		m->proposed++;
		store_box_subscribe(m->ss->st, m->ss->n, s->user, s->name, s->on, on_done, m);
	}
}

/* The next of the plan; also called when nothing can be done. */
static void
run(struct store_merge *m)
{
	size_t nbox = m->plan->nbox, adds = nbox + m->plan->nadd;
	char error[64];

	if (m->rc != MAIL_OK) {
		if (m->open > 0)
			return;
		snprintf(error, sizeof(error), "not done: %s", mail_rc_name(m->rc));
		end(m, error);
		return;
	}
	if (m->at <= nbox && m->open > 0)
		return;			/* mailboxes one by one, and before their messages */
	if (m->at <= nbox && m->again) {
		look(m);
		return;
	}
	if (m->at < nbox) {
		submit(m, CHANGE_MERGE_BOX, m->at++, 1);
		return;
	}
	if (m->at < adds)
		run_adds(m);
	if (m->at < adds || (m->open > 0 && m->at == adds))
		return;
	run_sets(m);
	run_subs(m);
	if (m->open > 0)
		return;
	if (m->again)
		look(m);
	else
		end(m, NULL);
}

void
store_merge_planned(struct store_shard *ss, struct shard_job *job)
{
	struct store_merge *m = ss->merge;

	if (!job->ok) {
		end(m, job->error);
		return;
	}
	m->plan = job->plan;
	job->plan = NULL;
	m->missing = 0;
	if (m->report == NULL)
		m->report = json_incref(m->plan->report);
	if (!m->ask.dry) {
		run(m);
		return;
	}
	for (size_t i = m->plan->nbox; i < m->plan->nbox + m->plan->nadd; i++)
		if (!have_bytes(m, &m->plan->m.ops[i]))
			tell_missing(m, &m->plan->m.ops[i]);
	end(m, NULL);
}

void
store_merge_begin(struct store_shard *ss, const struct owner_merge *ask)
{
	struct store_merge *m;
	const char *why = ss->merge != NULL ? "a merge of this shard is under way" :
	    !owner_role(ss->st->owner)->active ? "this node is not active" :
	    ss->degraded || ss->stopped ? "records of the shard cannot be applied" : NULL;
	char *text;

	if (why != NULL) {
		text = mem_printf("{\"error\": \"%s\"}", why);
		close(ask->tail_fd);
		close(ask->theirs_fd);
		owner_merge_done(ss->st->owner, ss->log_no, false, text);
		free(text);
		return;
	}
	m = mem_alloc(sizeof(*m));
	m->ss = ss;
	m->ask = *ask;
	m->ask.stamp = m->stamp;
	if (span_copy(span_of(ask->stamp), m->stamp, sizeof(m->stamp)) == -1)
		m->stamp[0] = '\0';	/* owner.h bounds it */
	ss->merge = m;
	look(m);
}
