/* queue_merge.c - two histories of the queue become one: what this side has and did, as a
 * file for the other node, with the bytes of its new messages; and what the other side
 * has, proposed here.  The rules are in merge_queue.h.
 *
 * The side that stays goes on serving: its records are read a few at a time.  A merge that
 * is cut short is begun again from the start, and goes on where it was. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <jansson.h>
#include <openssl/evp.h>

#include "change_file.h"
#include "fs.h"
#include "hex.h"
#include "index_db.h"
#include "log.h"
#include "mem.h"
#include "merge_queue.h"
#include "ownertail.h"
#include "queue_int.h"

#define UNDER_WAY_MAX 16
#define RECORDS_A_TURN 200
#define LIST 100
#define TEXT_PART (256u << 10)
#define DAMAGED "what the other node sent is damaged"

/* Items of the file. */
enum item {
	ITEM_ALL = 1,			/* u8: an operator held or released all */
	ITEM_MESSAGE,			/* u64 id, u8 BIT_, str trace, str sender, u64 size, u64
					 * created ms, u8 flags, u64 next ms, u32 attempts */
	ITEM_RCPT,			/* u64 id, u16 index, u8 failed, str address, str reply */
	ITEM_DONE,			/* u64 id, u16 index, u8 bounced */
	ITEM_TEXT,			/* u64 id, u64 size; as many raw bytes follow */
	ITEM_SUM,			/* u64 id, raw sha[32]: of its text */
};
enum { BIT_HERE = 1, BIT_MADE = 2, BIT_REMOVED = 4, BIT_HOLD = 8, BIT_HELD = 16, BIT_WARNED = 32,
	BIT_KNOWN = 64 };

struct queue_merge {
	struct queue *q;
	struct merge_queue_side ours, theirs;
	struct merge_queue merge;
	struct owner_tail tail;
	struct event *turn;
	int tail_fd, theirs_fd;
	uint64_t fork;
	bool dry;
	size_t at;			/* ops proposed */
	unsigned open;			/* and not answered */
	size_t overtaken;		/* somebody else was there before */
	const char *error;
};

/* ---- this node's side ------------------------------------------------------- */

static void
add_rcpts(struct queue *q, struct merge_queue_msg *m)
{
	struct queue_rcpt *list = mem_array(LIST, sizeof(*list));
	uint16_t from = 0;
	size_t got;

	while ((got = queue_shard_rcpts(q->shard, m->id, from, list, LIST)) > 0) {
		for (size_t i = 0; i < got; i++)
			merge_queue_rcpt(m, list[i].index, list[i].failed, list[i].address,
			    list[i].reply);
		if (list[got - 1].index == UINT16_MAX)
			break;
		from = (uint16_t)(list[got - 1].index + 1);
	}
	free(list);
}

static void
add_row(struct queue *q, struct merge_queue_side *s, const struct queue_message *row)
{
	struct merge_queue_msg *m = merge_queue_msg(s, row->id);

	m->here = true;
	free(m->trace);
	free(m->sender);
	m->trace = mem_dup(row->trace);
	m->sender = mem_dup(row->sender);
	m->size = row->size;
	m->created_ms = row->created_ms;
	m->next_ms = row->next_ms;
	m->flags = row->flags;
	m->attempts = row->attempts;
	m->held = row->held;
	m->warned = row->warned;
	add_rcpts(q, m);
}

static void
on_adopted(uint64_t id, void *arg)
{
	merge_queue_adopted(arg, id);
}

/* NULL, or why it cannot be told what is here. */
static const char *
add_rows(struct queue *q, struct merge_queue_side *s)
{
	uint64_t ids[LIST], last = 0, failures = index_db_failures(q->index.db);
	struct queue_message row;
	size_t n;

	while ((n = queue_shard_want(q->shard, QUEUE_WANT_LIST, (int64_t)last, 0, ids, LIST)) > 0) {
		for (size_t i = 0; i < n; i++)
			if (queue_shard_message(q->shard, ids[i], &row))
				add_row(q, s, &row);
		last = ids[n - 1];
	}
	queue_shard_adopted(q->shard, on_adopted, s);
	return index_db_failures(q->index.db) == failures ? NULL : "the queue cannot be read";
}

/* Up to max records; 1: there may be more, 0: the end, -1. */
static int
add_records(struct merge_queue_side *s, struct owner_tail *t, size_t max)
{
	struct owner_record r;
	int rc = 1;

	for (size_t i = 0; i < max && (rc = owner_tail_next(t, &r)) == 1; i++)
		if (r.shard == SHARD_QUEUE && !merge_queue_record(s, r.type, r.payload, r.time_ms))
			log_warnx("merge: record lsn=%llu type=%u is malformed, left out",
			    (unsigned long long)r.lsn, r.type);
	return rc;
}

static const char *
read_tail(struct queue *q, struct merge_queue_side *s, int fd)
{
	struct owner_tail t;
	int rc;

	if (q->index.why != MAIL_OK)
		return "the queue's file does not take records now";
	if (owner_tail_open(&t, fd) == -1)
		return "the records cannot be read";
	rc = add_records(s, &t, SIZE_MAX);
	owner_tail_close(&t);
	if (rc == -1)
		return "the records cannot be read";
	return t.lsn > index_db_applied(q->index.db) ? "not all records are applied here" : NULL;
}

/* ---- the file: writing -------------------------------------------------------- */

static bool
write_text(struct queue *q, struct change_out *o, const struct merge_queue_msg *m)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	char *buf = mem_alloc(TEXT_PART);
	uint8_t sha[32];
	struct wire_out w;
	uint64_t at = 0;
	size_t n;

	if (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
		log_fatal("no SHA-256");
	wire_out_init(&w);
	wire_put_u64(&w, m->id);
	wire_put_u64(&w, m->size);
	change_out_item(o, ITEM_TEXT, &w);
	for (; at < m->size && (n = queue_shard_text(q->shard, m->id, at, buf, TEXT_PART)) > 0;
	    at += n) {
		EVP_DigestUpdate(md, buf, n);
		change_out_raw(o, buf, n);
	}
	EVP_DigestFinal_ex(md, sha, NULL);
	wire_put_u64(&w, m->id);
	wire_put_raw(&w, sha, sizeof(sha));
	change_out_item(o, ITEM_SUM, &w);
	EVP_MD_CTX_free(md);
	free(buf);
	return at == m->size;
}

static void
write_message(struct change_out *o, const struct merge_queue_msg *m)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u64(&w, m->id);
	wire_put_u8(&w, (uint8_t)((m->here ? BIT_HERE : 0) | (m->made ? BIT_MADE : 0)
	    | (m->removed ? BIT_REMOVED : 0) | (m->hold ? BIT_HOLD : 0) | (m->held ? BIT_HELD : 0)
	    | (m->warned ? BIT_WARNED : 0) | (m->trace != NULL ? BIT_KNOWN : 0)));
	wire_put_str(&w, m->trace);
	wire_put_str(&w, m->sender);
	wire_put_u64(&w, m->size);
	wire_put_u64(&w, (uint64_t)m->created_ms);
	wire_put_u8(&w, m->flags);
	wire_put_u64(&w, (uint64_t)m->next_ms);
	wire_put_u32(&w, m->attempts);
	change_out_item(o, ITEM_MESSAGE, &w);
	for (size_t i = 0; i < m->nrcpts; i++) {
		wire_put_u64(&w, m->id);
		wire_put_u16(&w, m->rcpts[i].index);
		wire_put_u8(&w, m->rcpts[i].failed);
		wire_put_str(&w, m->rcpts[i].address);
		wire_put_str(&w, m->rcpts[i].reply);
		change_out_item(o, ITEM_RCPT, &w);
	}
	for (size_t i = 0; i < m->ndone; i++) {
		wire_put_u64(&w, m->id);
		wire_put_u16(&w, m->done[i].index);
		wire_put_u8(&w, m->done[i].bounced);
		change_out_item(o, ITEM_DONE, &w);
	}
}

/* NULL, or why not.  What was there before both sides parted has its bytes there, too. */
static const char *
write_side(struct queue *q, struct change_out *o, const struct merge_queue_side *s)
{
	uint64_t failures = index_db_failures(q->index.db);
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u8(&w, s->hold_all);
	change_out_item(o, ITEM_ALL, &w);
	for (size_t i = 0; i < s->nmsgs; i++) {
		const struct merge_queue_msg *m = &s->msgs[i];

		write_message(o, m);
		if (m->here && (m->made || !s->whole) && !write_text(q, o, m))
			return "the text of a message cannot be read";
	}
	return index_db_failures(q->index.db) == failures ? NULL : "the queue cannot be read";
}

void
queue_merge_changes(struct queue *q, uint64_t fork, bool whole, int tail_fd)
{
	struct merge_queue_side s;
	struct change_out o;
	const char *why;
	int fd = -1;

	merge_queue_init(&s, whole);
	if ((why = read_tail(q, &s, tail_fd)) == NULL && (why = add_rows(q, &s)) == NULL) {
		change_out_open(&o, q->dir, SHARD_QUEUE, fork, whole);
		why = write_side(q, &o, &s);
		fd = change_out_end(&o);
		if (fd == -1 && why == NULL)
			why = strerror(errno);
	}
	if (why != NULL) {
		log_err("queue: its changes behind lsn=%llu cannot be written: %s",
		    (unsigned long long)fork, why);
		if (fd != -1)
			close(fd);
		fd = -1;
	} else
		log_info("queue: changes behind lsn=%llu written messages=%zu",
		    (unsigned long long)fork, s.nmsgs);
	owner_changes_done(q->owner, SHARD_QUEUE, fd);
	merge_queue_clear(&s);
	close(tail_fd);
}

/* ---- the file: reading --------------------------------------------------------- */

static bool
read_message(struct merge_queue_side *s, uint64_t id, struct wire_in *in)
{
	char trace[QUEUE_TRACE_MAX + 1], sender[ADDRESS_MAX + 1];
	struct merge_queue_msg *m = merge_queue_msg(s, id);
	uint8_t bits = wire_get_u8(in);

	m->here = (bits & BIT_HERE) != 0;
	m->made = (bits & BIT_MADE) != 0;
	m->removed = (bits & BIT_REMOVED) != 0;
	m->hold = (bits & BIT_HOLD) != 0;
	m->held = (bits & BIT_HELD) != 0;
	m->warned = (bits & BIT_WARNED) != 0;
	wire_get_str(in, trace, sizeof(trace));
	wire_get_str(in, sender, sizeof(sender));
	m->size = wire_get_u64(in);
	m->created_ms = (int64_t)wire_get_u64(in);
	m->flags = wire_get_u8(in);
	m->next_ms = (int64_t)wire_get_u64(in);
	m->attempts = wire_get_u32(in);
	if (m->trace != NULL || m->size > INT64_MAX || m->created_ms < 0 || m->next_ms < 0
	    || (m->here && (bits & BIT_KNOWN) == 0))
		return false;
	if ((bits & BIT_KNOWN) != 0) {
		m->trace = mem_dup(trace);
		m->sender = mem_dup(sender);
	}
	return true;
}

static bool
read_rcpt(struct merge_queue_side *s, uint64_t id, struct wire_in *in)
{
	char address[ADDRESS_MAX + 1], reply[QUEUE_REPLY_MAX + 1];
	uint16_t index = wire_get_u16(in);
	bool failed = wire_get_u8(in) != 0;

	wire_get_str(in, address, sizeof(address));
	wire_get_str(in, reply, sizeof(reply));
	if (!wire_in_ok(in) || address[0] == '\0')
		return false;
	merge_queue_rcpt(merge_queue_msg(s, id), index, failed, address, reply);
	return true;
}

static bool
read_item(struct merge_queue_side *s, struct change_in *file, uint8_t type, struct span body)
{
	struct wire_in in;
	uint64_t id;
	bool good;

	wire_in_init(&in, body.p, body.len);
	if (type == ITEM_ALL) {
		s->hold_all = wire_get_u8(&in) != 0;
		return wire_in_done(&in);
	}
	id = wire_get_u64(&in);
	if (id == 0 || id > INT64_MAX)
		return false;
	if (type == ITEM_MESSAGE)
		good = read_message(s, id, &in);
	else if (type == ITEM_RCPT)
		good = read_rcpt(s, id, &in);
	else if (type == ITEM_DONE) {
		uint16_t index = wire_get_u16(&in);

		merge_queue_done(merge_queue_msg(s, id), index, wire_get_u8(&in) != 0);
		good = true;
	} else if (type == ITEM_TEXT) {
		uint64_t size = wire_get_u64(&in);
		struct merge_queue_msg *m = merge_queue_msg(s, id);

		m->text_at = change_in_skip(file, size);
		good = size == m->size;
	} else {
		good = type == ITEM_SUM;
		wire_get_raw(&in, merge_queue_msg(s, id)->sha, 32);
	}
	return good && wire_in_done(&in);
}

static const char *
read_theirs(struct merge_queue_side *s, uint64_t fork, int fd)
{
	struct change_in in;
	struct span body;
	uint8_t type;
	int rc;

	if (change_in_open(&in, fd, SHARD_QUEUE, fork) == -1)
		return "what the other node sent is no such file";
	while ((rc = change_in_next(&in, &type, &body)) == 1)
		if (!read_item(s, &in, type, body)) {
			rc = -1;
			break;
		}
	s->whole = in.whole;
	change_in_close(&in);
	return rc == 0 ? NULL : DAMAGED;
}

/* ---- the end ------------------------------------------------------------------ */

static char *
report(const struct queue_merge *m)
{
	const struct merge_queue_report *r = &m->merge.report;
	json_t *j = json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
			      "s:I, s:I, s:I}",
	    "part", "queue", "dry", m->dry, "proposed", (json_int_t)m->merge.nops, "queued",
	    (json_int_t)r->adopted, "queued_recipients", (json_int_t)r->recipients, "queue_delivered",
	    (json_int_t)r->delivered, "queue_bounced", (json_int_t)r->bounced, "queue_removed",
	    (json_int_t)r->removed, "queue_failed", (json_int_t)r->failed, "queue_finished",
	    (json_int_t)r->finished, "queue_warned", (json_int_t)r->warned, "queue_held", (json_int_t)r->held,
	    "queue_released", (json_int_t)r->released, "queue_renamed", (json_int_t)r->renamed, "queue_unsure",
	    (json_int_t)r->unsure, "overtaken", (json_int_t)m->overtaken);
	char *text = json_dumps(j, JSON_COMPACT);

	json_decref(j);
	if (text == NULL)
		log_fatal("out of memory");
	return text;
}

static void
merge_free(struct queue_merge *m)
{
	if (m->q->merge == m)
		m->q->merge = NULL;
	if (m->turn != NULL)
		event_free(m->turn);
	owner_tail_close(&m->tail);
	merge_queue_free(&m->merge);
	merge_queue_clear(&m->ours);
	merge_queue_clear(&m->theirs);
	close(m->tail_fd);
	close(m->theirs_fd);
	free(m);
}

void
queue_merge_free(struct queue *q)
{
	if (q->merge != NULL)
		merge_free(q->merge);
}

static void
answer(struct queue_merge *m)
{
	struct queue *q = m->q;
	char *text;

	if (m->error != NULL) {
		log_err("queue: not merged: %s", m->error);
		text = mem_printf("{\"error\": \"queue: %s\"}", m->error);
	} else {
		log_info("queue: merged dry=%d proposed=%zu messages=%zu recipients=%zu", m->dry,
		    m->merge.nops, m->merge.report.adopted, m->merge.report.recipients);
		text = report(m);
	}
	owner_merge_done(q->owner, SHARD_QUEUE, m->error == NULL, text);
	free(text);
	merge_free(m);
	queue_kick(q);
}

/* ---- proposing ------------------------------------------------------------------ */

static void propose(struct queue_merge *);

static void
on_proposed(void *arg, enum mail_rc rc, const struct queue_commit *commit)
{
	struct queue_merge *m = arg;

	(void)commit;
	m->open--;
	if (rc == MAIL_EXISTS || rc == MAIL_UNKNOWN)
		m->overtaken++;		/* finished, or removed, in the meantime */
	else if (rc != MAIL_OK)
		m->error = rc == MAIL_BAD ? DAMAGED : mail_rc_name(rc);
	propose(m);
}

/* A short text is part of its record, and nobody looks at its sum again. */
static bool
text_sound(const struct queue_merge *m, const struct merge_queue_msg *msg)
{
	uint8_t sha[32];
	char *text;
	bool good;

	if (msg->text_at == 0 || msg->size == 0)
		return false;
	if (msg->size > QUEUE_INLINE_MAX)
		return true;
	text = mem_alloc((size_t)msg->size);
	good = fs_pread_all(m->theirs_fd, text, (size_t)msg->size, (off_t)msg->text_at)
	    == (ssize_t)msg->size;
	sha256(text, (size_t)msg->size, sha);
	free(text);
	return good && memcmp(sha, msg->sha, sizeof(sha)) == 0;
}

/* Answers of other servers are left out where they are too many for one record. */
static void
adopt_head(const struct merge_queue_op *op, bool replies, struct wire_out *w)
{
	const struct merge_queue_msg *b = op->msg;
	struct queue_adopt a = { .id = op->id, .size = b->size, .flags = b->flags,
		.created_ms = b->created_ms, .next_ms = b->next_ms, .attempts = b->attempts,
		.held = b->held, .warned = b->warned, .nrcpts = (uint16_t)op->n };

	span_copy(span_of(b->trace), a.trace, sizeof(a.trace));	/* it came out of one as large */
	span_copy(span_of(b->sender), a.sender, sizeof(a.sender));
	memcpy(a.sha, b->sha, sizeof(a.sha));
	wire_out_init(w);
	queue_adopt_put(w, &a);
	for (size_t i = 0; i < op->n; i++)
		queue_adopt_rcpt_put(w, op->rcpts[i]->index, op->rcpts[i]->failed,
		    op->rcpts[i]->address, replies ? op->rcpts[i]->reply : "");
	if (replies && w->len > QUEUE_INLINE_MAX) {
		wire_out_clear(w);
		adopt_head(op, false, w);
	}
}

static void
adopt(struct queue_merge *m, const struct merge_queue_op *op)
{
	struct wire_out w;

	if (!text_sound(m, op->msg)) {
		m->error = DAMAGED;
		return;
	}
	adopt_head(op, true, &w);
	if (w.len > OWNER_PAYLOAD_MAX) {
		m->error = DAMAGED;	/* no queue has taken so many recipients */
		wire_out_clear(&w);
		return;
	}
	m->open++;
	log_info("queue %016llx adopt id=%s sender=<%s> recipients=%zu", (unsigned long long)op->id,
	    log_safe(op->msg->trace), log_safe(op->msg->sender), op->n);
	queue_change_adopt(m->q, op->id, &w, fcntl(m->theirs_fd, F_DUPFD_CLOEXEC, 3),
	    op->msg->text_at, op->msg->size, on_proposed, m);
}

static void
propose(struct queue_merge *m)
{
	enum queue_record type;
	struct wire_out w;

	while (m->error == NULL && m->open < UNDER_WAY_MAX && m->at < m->merge.nops) {
		const struct merge_queue_op *op = &m->merge.ops[m->at++];

		if (op->verb == MERGE_QUEUE_ADOPT) {
			adopt(m, op);
			continue;
		}
		m->open++;
		wire_out_init(&w);
		type = merge_queue_payload(op, &w);
		queue_change_put(m->q, type, &w, on_proposed, m);
	}
	if (m->open == 0)
		answer(m);
}

/* ---- a merge ---------------------------------------------------------------------- */

/* All records are read: now it is looked at what is here. */
static void
decide(struct queue_merge *m)
{
	struct queue *q = m->q;

	if (m->tail.lsn > index_db_applied(q->index.db))
		m->error = "not all records are applied here";
	else if (!m->dry && !queue_active(q))
		m->error = "this node is not active";
	if (m->error == NULL)
		m->error = add_rows(q, &m->ours);
	if (m->error == NULL)
		merge_queue(&m->merge, &m->ours, &m->theirs);
	if (m->error != NULL || m->dry)
		answer(m);
	else
		propose(m);
}

static void
on_turn(int fd, short what, void *arg)
{
	const struct timeval now = { 0, 0 };
	struct queue_merge *m = arg;
	int rc = add_records(&m->ours, &m->tail, RECORDS_A_TURN);

	(void)fd;
	(void)what;
	if (rc == 1) {
		event_add(m->turn, &now);
		return;
	}
	if (rc == -1)
		m->error = "the records cannot be read";
	decide(m);
}

void
queue_merge_start(struct queue *q, const struct owner_merge *how)
{
	const struct timeval now = { 0, 0 };
	struct queue_merge *m = mem_alloc(sizeof(*m));

	m->q = q;
	m->tail_fd = how->tail_fd;
	m->theirs_fd = how->theirs_fd;
	m->fork = how->fork;
	m->dry = how->dry;
	merge_queue_init(&m->ours, how->whole);
	merge_queue_init(&m->theirs, true);
	if ((m->turn = event_new(q->base, -1, 0, on_turn, m)) == NULL)
		log_fatal("cannot make an event");
	if (q->merge != NULL)
		m->error = "a merge is under way";
	else if (q->index.why != MAIL_OK)
		m->error = "the queue's file does not take records now";
	else if (owner_tail_open(&m->tail, m->tail_fd) == -1)
		m->error = "the records cannot be read";
	else
		m->error = read_theirs(&m->theirs, m->fork, m->theirs_fd);
	if (m->error != NULL) {
		answer(m);
		return;
	}
	q->merge = m;
	event_add(m->turn, &now);
}
