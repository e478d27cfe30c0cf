/* queue_ctl.c - what operators ask of the queue, brought by the parent: list, show,
 * hold, release, retry, delete.  Who may was decided before; the answer of a change
 * comes when it is committed, or was refused. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "ctl.h"
#include "hex.h"
#include "log.h"
#include "mem.h"
#include "owner.h"
#include "queue_int.h"
#include "wire.h"

#define LIST_MAX 1000
#define SHOW_MAX 1000

static void
answer(struct queue *q, uint32_t id, json_t *body)
{
	struct ipc *parent = child_peer(q->child, CHILD_PARENT, 0);
	char *text = json_dumps(body, JSON_COMPACT);

	if (text == NULL)
		log_fatal("out of memory");
	if (parent != NULL && ipc_send(parent, PM_CTL_ANSWER, id, text, strlen(text), -1) == -1)
		log_warn("an answer of %zu bytes cannot be passed on", strlen(text));
	free(text);
	json_decref(body);
}

static void
fail(struct queue *q, uint32_t id, enum ctl_exit rc, const char *error, const char *hint)
{
	json_t *j = json_pack("{s:i, s:s}", "exit", rc, "error", error);

	if (hint != NULL)
		json_object_set_new(j, "hint", json_string(hint));
	answer(q, id, j);
}

static json_t *
message_json(struct queue *q, const struct queue_message *m)
{
	uint8_t be[8];
	char id[24];

	wire_store64(be, m->id);
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:b, s:I, s:I}", "id",
	    hex_encode(be, sizeof(be), id), "trace", m->trace, "sender", m->sender, "bytes",
	    (json_int_t)m->size, "created_ms", (json_int_t)m->created_ms, "next_ms",
	    (json_int_t)m->next_ms, "attempts", (json_int_t)m->attempts, "held", m->held, "sending",
	    queue_send_busy(q, m->id), "pending", (json_int_t)m->pending, "failed",
	    (json_int_t)m->failed);
}

static json_t *
rcpts_json(struct queue *q, uint64_t id, size_t max)
{
	struct queue_rcpt *list = mem_array(max, sizeof(*list));
	size_t n = queue_shard_rcpts(q->shard, id, 0, list, max);
	json_t *out = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, json_pack("{s:s, s:b, s:s}", "address", list[i].address,
		    "failed", list[i].failed, "reply", list[i].reply));
	free(list);
	return out;
}

/* The first recipient stands for all in a list. */
static void
op_list(struct queue *q, uint32_t id)
{
	uint64_t *ids = mem_array(LIST_MAX, sizeof(*ids));
	size_t n = queue_shard_want(q->shard, QUEUE_WANT_LIST, 0, 0, ids, LIST_MAX);
	json_t *list = json_array(), *one;
	struct queue_message m;

	for (size_t i = 0; i < n; i++) {
		if (!queue_shard_message(q->shard, ids[i], &m))
			continue;
		one = message_json(q, &m);
		json_object_set_new(one, "recipients", rcpts_json(q, ids[i], 1));
		json_array_append_new(list, one);
	}
	free(ids);
	answer(q, id, json_pack("{s:i, s:o, s:I, s:s}", "exit", CTL_OK, "messages", list, "total",
	    (json_int_t)queue_shard_count(q->shard), "blocked",
	    q->host.blocked != NULL ? q->host.blocked : ""));
}

static void
op_show(struct queue *q, uint32_t id, uint64_t message)
{
	struct queue_message m;
	json_t *one;

	if (!queue_shard_message(q->shard, message, &m)) {
		fail(q, id, CTL_NOT_FOUND, "there is no such message in the queue",
		    "mailctl queue list");
		return;
	}
	one = message_json(q, &m);
	json_object_set_new(one, "recipients", rcpts_json(q, message, SHOW_MAX));
	answer(q, id, json_pack("{s:i, s:[o]}", "exit", CTL_OK, "messages", one));
}

struct operation {
	struct queue *q;
	uint32_t id;
};

static void
on_changed(void *arg, enum mail_rc rc, const struct queue_commit *commit)
{
	struct operation *o = arg;

	(void)commit;
	if (rc == MAIL_OK)
		answer(o->q, o->id, json_pack("{s:i}", "exit", CTL_OK));
	else if (rc == MAIL_UNKNOWN)
		fail(o->q, o->id, CTL_NOT_FOUND, "there is no such message in the queue",
		    "mailctl queue list");
	else if (rc == MAIL_NOT_ACTIVE)
		fail(o->q, o->id, CTL_REFUSED, "refused: this node is standby",
		    "run it on the active node (hactl status names it)");
	else if (rc == MAIL_NOT_TWICE)
		fail(o->q, o->id, CTL_NO_PEER, "refused: it cannot be stored on both nodes now",
		    "hactl status");
	else
		fail(o->q, o->id, CTL_CRITICAL, "the log does not take changes now", "hactl status");
	free(o);
}

static void
op_change(struct queue *q, uint32_t id, enum queue_record type, uint64_t message)
{
	struct operation *o = mem_alloc(sizeof(*o));
	struct wire_out w;

	o->q = q;
	o->id = id;
	if (type == QUEUE_RETRY)	/* the host as well, at once */
		q->host.next_ms = 0;
	wire_out_init(&w);
	wire_put_u64(&w, message);
	queue_change_put(q, type, &w, on_changed, o);
}

static const struct op {
	const char *name;
	enum queue_record type;		/* 0: reading */
	bool all;			/* "all" is possible */
} ops[] = {
	{ "queue.list", 0, true },
	{ "queue.show", 0, false },
	{ "queue.hold", QUEUE_HOLD, true },
	{ "queue.release", QUEUE_RELEASE, true },
	{ "queue.retry", QUEUE_RETRY, true },
	{ "queue.delete", QUEUE_DELETE, false },
};

/* The message's id, 0 for all; false when it is neither. */
static bool
id_arg(const struct op *op, const char *text, uint64_t *id)
{
	uint8_t be[8];

	*id = 0;
	if (text == NULL || strcmp(text, "all") == 0)
		return op->all;
	if (hex_decode(span_of(text), be, sizeof(be)) == -1)
		return false;
	*id = wire_load64(be);
	return *id != 0;
}

void
queue_ctl(struct queue *q, uint32_t id, struct span json)
{
	json_t *req = json_loadb(json.p, json.len, 0, NULL);
	const char *name = json_string_value(json_object_get(req, "op"));
	const char *text = json_string_value(json_object_get(req, "id"));
	const struct op *op = NULL;
	uint64_t message;

	for (size_t i = 0; name != NULL && i < sizeof(ops) / sizeof(ops[0]); i++)
		if (strcmp(ops[i].name, name) == 0)
			op = &ops[i];
	if (op == NULL)
		fail(q, id, CTL_USAGE, "no such operation", NULL);
	else if (!id_arg(op, text, &message))
		fail(q, id, CTL_USAGE, "that is no message id", "mailctl queue list");
	else if (op->type != 0)
		op_change(q, id, op->type, message);
	else if (strcmp(name, "queue.list") == 0)
		op_list(q, id);
	else
		op_show(q, id, message);
	json_decref(req);
}
