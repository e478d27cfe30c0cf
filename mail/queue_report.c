/* queue_report.c - tells senders about failures and delays: asks the directory who the
 * sender is, delivers the report to the stores or, for a sender elsewhere, through the
 * queue itself, and records that it was done.
 *
 * The record comes last: a crash in between tells the sender twice, never not at all.
 * A bounce has no sender, and nobody is told of its failure (RFC 5321 6.1). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <event2/buffer.h>

#include "clock.h"
#include "hex.h"
#include "log.h"
#include "mem.h"
#include "queue_dsn.h"
#include "queue_int.h"
#include "wire.h"

#define RCPTS_MAX 100			/* in one report */
#define REPORTS_MAX 20			/* at a time */
#define HEADER_MAX 65536		/* of the message, shown to its sender */
#define AGAIN_MS 15000

struct queue_told {
	TAILQ_ENTRY(queue_told) next;
	struct queue *q;
	struct queue_message message;
	struct queue_rcpt *rcpts;
	size_t n;
	bool delayed;
	char id[24];
	unsigned open;			/* answers that are still to come */
	enum mail_rc rc;		/* the first that was not MAIL_OK */
	int64_t again_ms;		/* it failed: forget it then */
};

static void
told_free(struct queue_told *t)
{
	struct queue *q = t->q;

	waits_forget(q->waits, t);
	TAILQ_REMOVE(&q->told, t, next);
	q->ntold--;
	free(t->rcpts);
	free(t);
}

static void
try_again(struct queue_told *t)
{
	log_info("queue %016llx the sender cannot be told now: %s",
	    (unsigned long long)t->message.id, mail_rc_name(t->rc));
	t->again_ms = clock_ms() + AGAIN_MS;
}

static void
on_recorded(void *arg, enum mail_rc rc, const struct queue_commit *commit)
{
	struct queue_told *t = arg;

	(void)commit;
	if (rc == MAIL_OK || rc == MAIL_UNKNOWN || rc == MAIL_BAD) {
		struct queue *q = t->q;

		told_free(t);
		queue_kick(q);
		return;
	}
	t->rc = rc;
	try_again(t);
}

static void
record(struct queue_told *t)
{
	uint16_t list[RCPTS_MAX];
	struct wire_out w;

	for (size_t i = 0; i < t->n; i++)
		list[i] = t->rcpts[i].index;
	wire_out_init(&w);
	queue_reported_put(&w, t->message.id, list, t->delayed ? 0 : (uint16_t)t->n);
	queue_change_put(t->q, QUEUE_REPORTED, &w, on_recorded, t);
}

static void
answered(struct queue_told *t, enum mail_rc rc)
{
	if (rc != MAIL_OK && t->rc == MAIL_OK)
		t->rc = rc;
	if (--t->open > 0)
		return;
	if (t->rc != MAIL_OK) {
		try_again(t);
		return;
	}
	log_info("queue %016llx %s sender=<%s> report=%s recipients=%zu",
	    (unsigned long long)t->message.id, t->delayed ? "warned" : "bounced",
	    log_safe(t->message.sender), t->id, t->n);
	record(t);
}

/* ---- the report itself --------------------------------------------------- */

static int
report(const struct queue_told *t, bool local)
{
	struct queue *q = t->q;
	struct evbuffer *out = evbuffer_new();
	char *text = mem_alloc(HEADER_MAX);
	size_t n = queue_shard_text(q->shard, t->message.id, 0, text, HEADER_MAX);
	struct queue_dsn d = { .hostname = q->conf->hostname, .smart_host = q->host.name,
		.message = &t->message, .rcpts = t->rcpts, .nrcpts = t->n, .delayed = t->delayed,
		.now_ms = clock_wall_ms(), .id = t->id,
		.end_ms = t->message.created_ms + (int64_t)q->rules.lifetime_s * 1000,
		.header = queue_dsn_header((struct span){ text, n }) };
	int fd = memfd_create("report", MFD_CLOEXEC);

	if (out == NULL)
		log_fatal("out of memory");
	queue_dsn_write(&d, local, out);
	while (fd != -1 && evbuffer_get_length(out) > 0)
		if (evbuffer_write(out, fd) <= 0) {
			close(fd);
			fd = -1;
		}
	if (fd == -1)
		log_warn("queue: cannot write a report");
	evbuffer_free(out);
	free(text);
	return fd;
}

static void
on_delivered(void *arg, const struct ipc_msg *m)
{
	answered(arg, m != NULL && m->body.len > 0 ? (enum mail_rc)m->body.p[0] : MAIL_TEMP);
}

static void
deliver(struct queue_told *t, uint64_t user, uint16_t shard)
{
	struct queue *q = t->q;
	unsigned worker = mail_store_of(shard, q->conf->stores);
	struct ipc *store = child_peer(q->child, CHILD_STORE, worker);
	struct wire_out w;
	uint32_t id;
	int fd;

	t->open++;
	if (store == NULL || (fd = report(t, true)) == -1) {
		answered(t, MAIL_TEMP);
		return;
	}
	wire_out_init(&w);
	wire_put_str(&w, t->id);
	wire_put_str(&w, "");
	wire_put_u16(&w, 1);
	wire_put_u64(&w, user);
	wire_put_u16(&w, shard);
	id = waits_add(q->waits, CHILD_STORE, worker, on_delivered, t);
	if (ipc_send(store, SM_DELIVER, id, w.p, w.len, fd) == -1) {
		waits_cancel(q->waits, id);
		answered(t, MAIL_TEMP);
	}
	wire_out_clear(&w);
}

static void
on_enqueued(void *arg, enum mail_rc rc, const struct queue_commit *commit)
{
	(void)commit;
	answered(arg, rc);
}

static void
send_on(struct queue_told *t, const char *address)
{
	int fd = report(t, false);

	t->open++;
	if (fd == -1)
		answered(t, MAIL_TEMP);
	else
		queue_change_enqueue(t->q, t->id, "", &address, 1, fd, on_enqueued, t);
}

/* ---- whom ---------------------------------------------------------------- */

static void
to_everybody(struct queue_told *t, struct wire_in *in)
{
	char address[ADDRESS_MAX + 1];

	for (unsigned n = wire_get_u16(in); n > 0 && wire_in_ok(in); n--) {
		uint64_t user = wire_get_u64(in);
		uint16_t shard = wire_get_u16(in);

		wire_get_str(in, address, sizeof(address));
		if (wire_in_ok(in))
			deliver(t, user, shard);
	}
	for (unsigned n = wire_get_u16(in); n > 0 && wire_in_ok(in); n--) {
		wire_get_str(in, address, sizeof(address));
		if (wire_in_ok(in))
			send_on(t, address);
	}
}

static void
on_sender(void *arg, const struct ipc_msg *m)
{
	struct queue_told *t = arg;
	enum mail_rc rc = MAIL_TEMP;
	struct wire_in in = { 0 };

	if (m != NULL) {
		wire_in_init(&in, m->body.p, m->body.len);
		rc = (enum mail_rc)wire_get_u8(&in);
	}
	t->open = 1;			/* ours, until all are asked */
	t->rc = MAIL_OK;
	if (rc == MAIL_OK)
		to_everybody(t, &in);
	else if (rc == MAIL_RELAY)
		send_on(t, t->message.sender);
	else if (rc == MAIL_UNKNOWN || rc == MAIL_BAD || rc == MAIL_DENIED)
		log_warnx("queue %016llx nobody can be told: no sender <%s>",
		    (unsigned long long)t->message.id, log_safe(t->message.sender));
	else
		t->rc = MAIL_TEMP;
	answered(t, MAIL_OK);
}

static void
ask(struct queue_told *t)
{
	struct queue *q = t->q;
	struct ipc *dir = child_peer(q->child, CHILD_DIRECTORY, 0);
	uint32_t id = waits_add(q->waits, CHILD_DIRECTORY, 0, on_sender, t);
	struct wire_out w;

	wire_out_init(&w);
	wire_put_str(&w, t->message.sender);
	if (dir == NULL || ipc_send(dir, DM_RCPT, id, w.p, w.len, -1) == -1) {
		waits_cancel(q->waits, id);
		t->rc = MAIL_TEMP;
		try_again(t);
	}
	wire_out_clear(&w);
}

/* The recipients that it is about. */
static size_t
collect(struct queue_told *t)
{
	struct queue_rcpt *list = mem_array(RCPTS_MAX, sizeof(*list));
	uint16_t from = 0;
	size_t got;

	t->rcpts = mem_array(RCPTS_MAX, sizeof(*t->rcpts));
	while (t->n < RCPTS_MAX
	    && (got = queue_shard_rcpts(t->q->shard, t->message.id, from, list, RCPTS_MAX)) > 0) {
		for (size_t i = 0; i < got && t->n < RCPTS_MAX; i++)
			if (list[i].failed != t->delayed)
				t->rcpts[t->n++] = list[i];
		if (list[got - 1].index == UINT16_MAX)
			break;
		from = (uint16_t)(list[got - 1].index + 1);
	}
	free(list);
	return t->n;
}

void
queue_report_start(struct queue *q, uint64_t id, bool delayed)
{
	struct queue_told *t = mem_alloc(sizeof(*t));
	uint8_t r[6];

	t->q = q;
	t->delayed = delayed;
	TAILQ_INSERT_TAIL(&q->told, t, next);
	q->ntold++;
	random_bytes(r, sizeof(r));
	hex_encode(r, sizeof(r), t->id);
	if (!queue_shard_message(q->shard, id, &t->message) || (collect(t) == 0 && !delayed)) {
		told_free(t);
		return;
	}
	if (t->message.sender[0] != '\0' && t->n > 0) {
		ask(t);
		return;
	}
	if (!delayed)
		log_warnx("queue %016llx a bounce for <%s> could not be delivered, dropped",
		    (unsigned long long)id, log_safe(t->rcpts[0].address));
	record(t);
}

bool
queue_report_busy(const struct queue *q, uint64_t id)
{
	const struct queue_told *t;

	TAILQ_FOREACH(t, &q->told, next)
		if (t->message.id == id)
			return true;
	return false;
}

bool
queue_report_room(const struct queue *q)
{
	return q->ntold < REPORTS_MAX;
}

void
queue_report_again(struct queue *q)
{
	struct queue_told *t, *next;

	for (t = TAILQ_FIRST(&q->told); t != NULL; t = next) {
		next = TAILQ_NEXT(t, next);
		if (t->again_ms != 0 && clock_ms() >= t->again_ms)
			told_free(t);
	}
}

void
queue_report_free(struct queue *q)
{
	struct queue_told *t;

	while ((t = TAILQ_FIRST(&q->told)) != NULL)
		told_free(t);
}
