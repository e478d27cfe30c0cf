/* queue.c - the queue process (user mailqueue): takes messages for other hosts from
 * the gates, and decides what is to be done next.
 *
 * A message is answered for when its record is committed and applied.  Both nodes
 * apply; only the active one that serves sends.  It parses replies of other servers
 * and DNS, and reads the header of messages for nothing but reports. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "clock.h"
#include "daemon.h"
#include "hex.h"
#include "lease.h"
#include "log.h"
#include "mem.h"
#include "owner.h"
#include "queue.h"
#include "queue_int.h"
#include "wire.h"

#define LOOK_MS 1000			/* between two looks for old messages */
#define SWEEP_MS 600000
#define PAUSE_MIN_MS 20
#define PAUSE_MAX_MS 30000
#define IDS 50

bool
queue_active(const struct queue *q)
{
	return owner_role(q->owner)->active;
}

/* A file that lags may still show what was sent already, and so may a node that stood still. */
bool
queue_may_send(const struct queue *q)
{
	return queue_active(q) && owner_role(q->owner)->copies > 0 && q->index.why == MAIL_OK
	    && lease_holds(q->lease);
}

bool
queue_busy(const struct queue *q, uint64_t id)
{
	return queue_send_busy(q, id) || queue_report_busy(q, id);
}

void
queue_kick(struct queue *q)
{
	const struct timeval now = { 0, 0 };

	event_add(q->pump, &now);
}

/* ---- what to do next ----------------------------------------------------- */

static void
look_for_old(struct queue *q)
{
	int64_t now = clock_wall_ms();
	uint64_t ids[IDS];
	size_t n;

	n = queue_shard_want(q->shard, QUEUE_WANT_EXPIRE, queue_retry_expired(&q->rules, now), 0,
	    ids, IDS);
	for (size_t i = 0; i < n; i++)
		if (!queue_busy(q, ids[i]))
			queue_send_expire(q, ids[i]);
	n = queue_shard_want(q->shard, QUEUE_WANT_WARN, queue_retry_warned(&q->rules, now), 0,
	    ids, IDS);
	for (size_t i = 0; i < n && queue_report_room(q); i++)
		if (!queue_busy(q, ids[i]))
			queue_report_start(q, ids[i], true);
}

static void
look_for_failed(struct queue *q)
{
	uint64_t ids[IDS];
	size_t n = queue_shard_want(q->shard, QUEUE_WANT_REPORT, 0, 0, ids, IDS);

	for (size_t i = 0; i < n && queue_report_room(q); i++)
		if (!queue_report_busy(q, ids[i]))
			queue_report_start(q, ids[i], false);
}

static void
on_swept(void *arg, enum mail_rc rc, const struct queue_commit *commit)
{
	(void)arg;			/* what was refused is swept the next time */
	(void)rc;
	(void)commit;
}

/* Pieces of messages whose ENQUEUE never came. */
static void
sweep(struct queue *q)
{
	uint64_t ids[IDS];
	size_t n = queue_shard_want(q->shard, QUEUE_WANT_SWEEP, 0, 0, ids, IDS);
	struct wire_out w;

	for (size_t i = 0; i < n; i++) {
		if (queue_change_uploads(q, ids[i]))
			continue;
		wire_out_init(&w);
		wire_put_u64(&w, ids[i]);
		queue_change_put(q, QUEUE_DELETE, &w, on_swept, q);
	}
}

static int64_t
pause_ms(struct queue *q)
{
	int64_t wall = queue_shard_next(q->shard) - clock_wall_ms(), ms = PAUSE_MAX_MS;
	int64_t host = queue_send_next(q) != 0 ? queue_send_next(q) - clock_ms() : PAUSE_MAX_MS;

	/* What is due and has no session waits for one, which kicks. */
	if (wall > 0 && wall < ms)
		ms = wall;
	if (host < ms)
		ms = host;
	if (q->ntold > 0 || queue_shard_count(q->shard) > 0)
		ms = ms < LOOK_MS ? ms : LOOK_MS;
	return ms > PAUSE_MIN_MS ? ms : PAUSE_MIN_MS;
}

static void
on_pump(int fd, short what, void *arg)
{
	struct queue *q = arg;
	int64_t now = clock_ms(), ms;
	struct timeval tv;

	(void)fd;
	(void)what;
	queue_change_tell(q);
	/* A log that takes nothing now is not asked to: what it said no to comes again. */
	if (queue_may_send(q)) {
		queue_report_again(q);
		if (now - q->expired_ms >= LOOK_MS) {
			q->expired_ms = now;
			look_for_old(q);
		}
		if (now - q->swept_ms >= SWEEP_MS) {
			q->swept_ms = now;
			sweep(q);
		}
		look_for_failed(q);
	}
	queue_send_pump(q);
	ms = pause_ms(q);
	tv = (struct timeval){ (time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000 };
	if (!event_pending(q->pump, EV_TIMEOUT, NULL))
		event_add(q->pump, &tv);
}

/* ---- messages of gates --------------------------------------------------- */

struct asked {				/* who waits for a QM_ENQUEUE */
	struct queue *q;
	unsigned gate;
	uint32_t id;
	char trace[QUEUE_TRACE_MAX + 1];
};

static void
on_enqueued(void *arg, enum mail_rc rc, const struct queue_commit *c)
{
	struct asked *a = arg;
	struct ipc *gate = child_peer(a->q->child, CHILD_GATE, a->gate);
	struct wire_out w;
	char id[24];
	uint8_t be[8];

	if (rc == MAIL_EXISTS || rc == MAIL_UNKNOWN)
		rc = MAIL_TEMP;
	wire_store64(be, c->id);
	hex_encode(be, sizeof(be), id);
	wire_out_init(&w);
	wire_put_u8(&w, (uint8_t)rc);
	wire_put_str(&w, id);
	wire_put_u64(&w, c->gen);
	wire_put_u64(&w, c->lsn);
	wire_put_u8(&w, c->copies);
	if (gate != NULL)
		ipc_send(gate, QM_ENQUEUE_ANSWER, a->id, w.p, w.len, -1);
	wire_out_clear(&w);
	log_info("queue %s %s id=%s gen=%llu lsn=%llu copies=%u", id,
	    rc == MAIL_OK ? "take" : mail_rc_name(rc), log_safe(a->trace),
	    (unsigned long long)c->gen, (unsigned long long)c->lsn, c->copies);
	free(a);
}

static void
on_enqueue(struct queue *q, unsigned gate, const struct ipc_msg *m)
{
	char sender[ADDRESS_MAX + 1], (*addresses)[ADDRESS_MAX + 1];
	struct asked *a = mem_alloc(sizeof(*a));
	const char **rcpts;
	struct wire_in in;
	uint16_t n;

	*a = (struct asked){ .q = q, .gate = gate, .id = m->id };
	wire_in_init(&in, m->body.p, m->body.len);
	wire_get_str(&in, a->trace, sizeof(a->trace));
	wire_get_str(&in, sender, sizeof(sender));
	n = wire_get_u16(&in);
	addresses = mem_array((size_t)n + 1, sizeof(*addresses));
	rcpts = mem_array((size_t)n + 1, sizeof(*rcpts));
	for (uint16_t i = 0; i < n; i++) {
		wire_get_str(&in, addresses[i], sizeof(addresses[i]));
		rcpts[i] = addresses[i];
	}
	if (!wire_in_done(&in) || n == 0) {
		on_enqueued(a, MAIL_BAD, &(struct queue_commit){ 0 });
		if (m->fd != -1)
			close(m->fd);
	} else
		queue_change_enqueue(q, a->trace, sender, rcpts, n, m->fd, on_enqueued, a);
	free(addresses);
	free(rcpts);
}

/* ---- channels ------------------------------------------------------------ */

static void
on_parent(struct queue *q, const struct ipc_msg *m)
{
	if (m->type == PM_CTL)
		queue_ctl(q, m->id, m->body);
	else if (m->type == PM_SERVE && m->body.len >= 1) {
		q->serving = m->body.p[0] != 0;
		if (!q->serving)
			queue_send_stop(q);
		queue_kick(q);
	}
}

static void
on_message(void *arg, enum child_kind from, unsigned index, struct ipc *ipc,
    const struct ipc_msg *m)
{
	struct queue *q = arg;

	(void)ipc;
	if (from == CHILD_GATE && m->type == QM_ENQUEUE) {
		on_enqueue(q, index, m);	/* has the descriptor */
		return;
	}
	if (from == CHILD_PARENT)
		on_parent(q, m);
	else if (m->type == DM_RCPT_ANSWER || m->type == SM_DELIVER_ANSWER)
		waits_answer(q->waits, from, index, m);
	else
		log_debug("message %u of %s has no use here", m->type, child_kind_name(from));
	if (m->fd != -1)
		close(m->fd);
}

static void
on_peer(void *arg, enum child_kind kind, unsigned index, bool up)
{
	struct queue *q = arg;

	if (!up)
		waits_gone(q->waits, kind, index);
}

static const struct child_ops ops = { on_message, on_peer };

/* ---- the process --------------------------------------------------------- */

static void
queue_init(struct queue *q, const struct child_start *start)
{
	const struct maild_conf *c = q->conf;

	TAILQ_INIT(&q->changes);
	TAILQ_INIT(&q->jobs);
	TAILQ_INIT(&q->sessions);
	TAILQ_INIT(&q->told);
	if ((q->base = event_base_new()) == NULL
	    || (q->pump = event_new(q->base, -1, 0, on_pump, q)) == NULL)
		log_fatal("cannot make an event base");
	q->rules = (struct queue_retry){ c->queue_retry_min_s, c->queue_retry_max_s,
		c->queue_lifetime_s, c->queue_warn_s };
	q->swept_ms = clock_ms() - SWEEP_MS;
	q->dir = mem_printf("%s/shards/queue", c->state_dir);
	q->shard = queue_shard_open(q->dir);
	queue_host_init(q);
	q->waits = waits_new();
	q->child = child_new(q->base, start, &ops, q);
	q->owner = owner_new(q->base, c->owner_socket, &queue_owner_ops, q);
	q->index = (struct index_owner){ .name = "queue", .shard = SHARD_QUEUE,
		.db = queue_shard_index(q->shard), .owner = q->owner, .conf = c };
	index_owner_start(&q->index, q->base);
	queue_kick(q);
}

int
queue_main(const struct child_start *start)
{
	struct queue q = { .conf = start->conf, .lease = start->lease };

	daemon_drop("mailqueue", NULL, DAEMON_BOX_NETSTORE);
	queue_init(&q, start);
	event_base_dispatch(q.base);
	queue_report_free(&q);
	queue_send_free(&q);
	queue_host_clear(&q);
	owner_free(q.owner);
	child_free(q.child);
	queue_change_free_all(&q);
	queue_merge_free(&q);
	waits_free(q.waits);
	queue_shard_close(q.shard);
	index_owner_stop(&q.index);
	event_free(q.pump);
	event_base_free(q.base);
	free(q.dir);
	return 0;
}
