/* parent_ctl.c - what operators ask of the parent, brought by the directory process:
 * listeners open, close, drain, status; "store ..." questions, passed on to every
 * store worker, whose answers are put together; and "queue ..." ones for the queue.
 *
 * Every call ends: by its answer, by its time limit, or with the directory process
 * that brought it.  The JSON comes from a process of ours, but is checked like any. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "clock.h"
#include "ctl.h"
#include "log.h"
#include "mailipc.h"
#include "mem.h"
#include "parent_int.h"

#define TIMEOUT_MS 15000
#define TIMEOUT_MAX_MS 3600000
#define CLOSE_GRACE_MS 300

struct parent_call {
	struct parent_call *next;
	struct parent *parent;
	enum { WANT_OPEN, WANT_CLOSED, WANT_STORES, WANT_QUEUE } want;
	enum child_kind kind;		/* who was asked */
	uint32_t id;			/* of the directory's question */
	uint32_t asked_id;		/* of ours to them */
	bool asked[CONF_STORES_MAX];
	unsigned open;
	json_t *answers;
	struct event *timer;
};

static void
answer(struct parent *p, uint32_t id, json_t *body)
{
	struct ipc *dir = p->procs[0].ipc;	/* the directory is always the first */
	char *text = json_dumps(body, JSON_COMPACT);

	if (text == NULL)
		log_fatal("out of memory");
	if (dir != NULL && ipc_send(dir, PM_CTL_ANSWER, id, text, strlen(text), -1) == -1)
		log_warn("an answer of %zu bytes cannot be passed on", strlen(text));
	free(text);
	json_decref(body);
}

static void
fail(struct parent *p, uint32_t id, enum ctl_exit rc, const char *error, const char *why,
    const char *hint)
{
	json_t *j = json_pack("{s:i, s:s}", "exit", rc, "error", error);

	if (why != NULL)
		json_object_set_new(j, "why", json_string(why));
	if (hint != NULL)
		json_object_set_new(j, "hint", json_string(hint));
	answer(p, id, j);
}

static void
call_free(struct parent_call *call)
{
	struct parent_call **at = &call->parent->calls;

	while (*at != call)
		at = &(*at)->next;
	*at = call->next;
	event_free(call->timer);
	json_decref(call->answers);
	free(call);
}

void
parent_ctl_free(struct parent *p)
{
	while (p->calls != NULL)
		call_free(p->calls);
}

/* ---- status -------------------------------------------------------------- */

static json_t *
status(const struct parent *p)
{
	json_t *procs = json_array();

	for (size_t i = 0; i < p->nprocs; i++) {
		const struct proc *c = &p->procs[i];

		json_array_append_new(procs,
		    json_pack("{s:s, s:i, s:i, s:i, s:b, s:b, s:I, s:I, s:i}", "kind",
			child_kind_name(c->kind), "index", (int)c->index, "pid", (int)c->pid,
			"starts", (int)c->starts, "active", c->ready, "serving", c->serving, "gen",
			(json_int_t)c->gen, "lsn", (json_int_t)c->lsn, "copies", c->copies));
	}
	return json_pack("{s:s, s:b, s:o}", "state", parent_listening_name(p), "active",
	    parent_owners_ready(p), "processes", procs);
}

/* 0 open and well, 3 closed (as init scripts say "stopped"), 2 anything else. */
static enum ctl_exit
status_exit(const struct parent *p)
{
	if (p->listening == LISTEN_CLOSED)
		return CTL_UNKNOWN;
	if (p->listening != LISTEN_OPEN)
		return CTL_CRITICAL;
	for (size_t i = 0; i < p->nprocs; i++)
		if (p->procs[i].pid == 0)
			return CTL_CRITICAL;
	return parent_owners_ready(p) ? CTL_OK : CTL_CRITICAL;
}

static void
answer_status(struct parent *p, uint32_t id, enum ctl_exit rc)
{
	json_t *j = status(p);

	json_object_set_new(j, "exit", json_integer(rc));
	if (rc != CTL_OK && rc != CTL_UNKNOWN)
		json_object_set_new(j, "error", json_string("not every part of maild is ready"));
	answer(p, id, j);
}

/* ---- calls that wait ----------------------------------------------------- */

static json_t *
stores_answer(struct parent_call *call)
{
	json_t *one;
	size_t i;
	int worst = CTL_OK;
	const char *error = NULL;

	json_array_foreach(call->answers, i, one) {
		int rc = (int)json_integer_value(json_object_get(one, "exit"));

		if (rc > worst) {
			worst = rc;
			error = json_string_value(json_object_get(one, "error"));
		}
	}
	one = json_pack("{s:i, s:O}", "exit", worst, "stores", call->answers);
	if (worst != CTL_OK)
		json_object_set_new(one, "error", json_string(error ? error : "a store reports a problem"));
	return one;
}

static void
on_timeout(int fd, short what, void *arg)
{
	struct parent_call *call = arg;
	struct parent *p = call->parent;

	(void)fd;
	(void)what;
	if (call->want == WANT_OPEN) {
		if (p->listening == LISTEN_OPENING)
			p->listening = LISTEN_CLOSED;
		fail(p, call->id, CTL_REFUSED, "refused: this node does not own the data",
		    "syncd has not made every owner active", "hactl status");
	} else
		fail(p, call->id, CTL_TIMEOUT, "timed out; the operation goes on", NULL,
		    "mailctl listeners status");
	call_free(call);
}

static struct parent_call *
call_new(struct parent *p, uint32_t id, int want, int timeout_ms)
{
	struct parent_call *call = mem_alloc(sizeof(*call));
	struct timeval tv = { timeout_ms / 1000, (timeout_ms % 1000) * 1000 };

	call->parent = p;
	call->id = id;
	call->want = want;
	call->answers = json_array();
	call->next = p->calls;
	p->calls = call;
	if ((call->timer = event_new(p->base, -1, 0, on_timeout, call)) == NULL)
		log_fatal("out of memory");
	event_add(call->timer, &tv);
	return call;
}

/* Opening was undone by a close, or closing by an open: the older call has failed. */
static void
overtaken(struct parent *p, int want)
{
	for (struct parent_call *c = p->calls, *next; c != NULL; c = next) {
		next = c->next;
		if ((int)c->want != want)
			continue;
		fail(p, c->id, CTL_CONFLICT, "overtaken by a later command", NULL, NULL);
		call_free(c);
	}
}

void
parent_ctl_progress(struct parent *p)
{
	for (struct parent_call *c = p->calls, *next; c != NULL; c = next) {
		next = c->next;
		if ((c->want == WANT_OPEN && p->listening == LISTEN_OPEN)
		    || (c->want == WANT_CLOSED && p->listening == LISTEN_CLOSED)) {
			answer_status(p, c->id, CTL_OK);
			call_free(c);
		} else if (c->want == WANT_STORES && c->open == 0) {
			answer(p, c->id, stores_answer(c));
			call_free(c);
		} else if (c->want == WANT_QUEUE && c->open == 0) {
			answer(p, c->id, json_incref(json_array_get(c->answers, 0)));
			call_free(c);
		}
	}
}

static json_t *
no_answer(void)
{
	return json_pack("{s:i, s:s}", "exit", CTL_CRITICAL, "error",
	    "a process of maild is being restarted");
}

static void
ask(struct parent *p, uint32_t id, enum child_kind kind, struct span json, int timeout_ms)
{
	struct parent_call *call
	    = call_new(p, id, kind == CHILD_STORE ? WANT_STORES : WANT_QUEUE, timeout_ms);

	if (++p->last_id == 0)
		p->last_id = 1;
	call->asked_id = p->last_id;
	call->kind = kind;
	for (size_t i = 0; i < p->nprocs; i++) {
		struct proc *c = &p->procs[i];

		if (c->kind != kind)
			continue;
		if (c->ipc == NULL
		    || ipc_send(c->ipc, PM_CTL, call->asked_id, json.p, json.len, -1) == -1) {
			json_array_append_new(call->answers, no_answer());
			continue;
		}
		call->asked[c->index] = true;
		call->open++;
	}
	parent_ctl_progress(p);
}

static struct parent_call *
call_of(struct parent *p, struct proc *from, uint32_t id)
{
	for (struct parent_call *c = p->calls; c != NULL; c = c->next)
		if ((c->want == WANT_STORES || c->want == WANT_QUEUE) && c->kind == from->kind
		    && c->asked[from->index] && (id == 0 || c->asked_id == id))
			return c;
	return NULL;
}

void
parent_ctl_answer(struct parent *p, struct proc *from, uint32_t id, struct span json)
{
	struct parent_call *call;
	json_t *j;

	if (from->index >= CONF_STORES_MAX || id == 0 || (call = call_of(p, from, id)) == NULL)
		return;
	j = json_loadb(json.p, json.len, 0, NULL);
	if (j == NULL || !json_is_object(j)) {
		json_decref(j);
		j = json_pack("{s:i, s:s}", "exit", CTL_CRITICAL, "error", "malformed answer");
	}
	json_array_append_new(call->answers, j);
	call->asked[from->index] = false;
	call->open--;
	parent_ctl_progress(p);
}

void
parent_ctl_gone(struct parent *p, struct proc *gone)
{
	struct parent_call *call;

	if (gone->kind == CHILD_DIRECTORY) {
		parent_ctl_free(p);
		return;
	}
	while ((call = call_of(p, gone, 0)) != NULL) {
		json_array_append_new(call->answers, no_answer());
		call->asked[gone->index] = false;
		call->open--;
		parent_ctl_progress(p);
	}
}

static void
listeners(struct parent *p, uint32_t id, const char *op, int timeout_ms)
{
	if (strcmp(op, "listeners.status") == 0)
		answer_status(p, id, status_exit(p));
	else if (strcmp(op, "listeners.open") == 0) {
		overtaken(p, WANT_CLOSED);
		call_new(p, id, WANT_OPEN, timeout_ms);
		parent_open(p);
		parent_ctl_progress(p);
	} else if (strcmp(op, "listeners.close") == 0 || strcmp(op, "listeners.drain") == 0) {
		bool drain = strcmp(op, "listeners.drain") == 0;

		overtaken(p, WANT_OPEN);
		call_new(p, id, WANT_CLOSED, timeout_ms);
		parent_close(p, drain ? p->conf->drain_ms : CLOSE_GRACE_MS);
	} else
		fail(p, id, CTL_USAGE, "no such operation", NULL, NULL);
}

void
parent_ctl(struct parent *p, struct proc *directory, uint32_t id, struct span json)
{
	json_t *req = json_loadb(json.p, json.len, 0, NULL);
	const char *op = json_string_value(json_object_get(req, "op"));
	json_int_t ms = json_integer_value(json_object_get(req, "timeout_ms"));
	int timeout_ms = ms > 0 && ms <= TIMEOUT_MAX_MS ? (int)ms : TIMEOUT_MS;

	(void)directory;
	if (op == NULL)
		fail(p, id, CTL_USAGE, "malformed request", NULL, NULL);
	else if (strncmp(op, "store.", 6) == 0)
		ask(p, id, CHILD_STORE, json, timeout_ms);
	else if (strncmp(op, "queue.", 6) == 0)
		ask(p, id, CHILD_QUEUE, json, timeout_ms);
	else
		listeners(p, id, op, timeout_ms);
	json_decref(req);
}
