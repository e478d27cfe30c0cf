/* imap_search.c - the SEARCH command: a job that asks one message a step.
 *
 * A message that others have expunged, or that cannot be read, does not match what
 * would have to be looked up; a message that cannot be read makes the answer NO, since
 * a search that silently missed something would be taken for the truth. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "imap_search.h"
#include "log.h"
#include "mem.h"
#include "object_map.h"

#define NODES_MAX 10000		/* asked of each message */

struct search_job {
	struct search_node *root;
	size_t at, end;
	uint32_t *hit;
	size_t n, cap;
	bool unreadable;
	bool mending;			/* the object of message `at` is being got anew */
};

static void
job_free(void *arg)
{
	struct search_job *j = arg;

	free(j->hit);
	free(j);
}

static void
add_hit(struct search_job *j, uint32_t number)
{
	if (j->n == j->cap) {
		j->cap = j->cap * 2 + 64;
		j->hit = mem_grow(j->hit, j->cap, sizeof(*j->hit));
	}
	j->hit[j->n++] = number;
}

static void
mend_done(struct session *s, const struct store_result *r)
{
	(void)s;
	(void)r;		/* whether it can be read now is seen when it is */
}

/* Header and body: from the object itself.  One that cannot be read is got from the other
 * node, once: then the session waits, and the answer does not count. */
static enum search_answer
ask_object(struct session *s, struct search_job *j, struct search_msg *m)
{
	struct object_map o = { 0 };
	struct mime mime = { 0 };
	enum search_answer answer;

	if (object_map_open(&o, s->store, s->shard, m->msg) == -1) {
		log_err("imap %s cannot read message uid=%u box=%llu: %s", s->sid,
		    m->view->uid, (unsigned long long)s->imap->view->box, strerror(errno));
		j->unreadable |= j->mending;
		j->mending = !j->mending;
		if (j->mending) {
			store_mend(s->store, s->shard, m->msg->sha, session_done, s);
			session_wait(s, mend_done);
		}
		return ANSWER_NO;
	}
	j->mending = false;
	m->head = mime_head_of(o.text);
	answer = imap_search_eval(j->root, m, LEVEL_HEAD);
	if (answer == ANSWER_UNKNOWN) {
		mime_parse(&mime, o.text);
		m->mime = &mime;
		answer = imap_search_eval(j->root, m, LEVEL_BODY);
		m->mime = NULL;
		mime_clear(&mime);
	}
	object_map_close(&o);
	return answer;
}

static bool
ask(struct session *s, struct search_job *j, size_t index)
{
	struct imap_view *v = s->imap->view;
	struct search_msg m = { .index = index, .view = &v->msg[index] };
	enum search_answer answer = imap_search_eval(j->root, &m, LEVEL_VIEW);
	struct store_msg msg;

	if (answer != ANSWER_UNKNOWN)
		return answer == ANSWER_YES;
	if (store_message(s->store, s->shard, v->box, v->msg[index].uid, &msg) != MAIL_OK)
		return false;
	m.msg = &msg;
	answer = imap_search_eval(j->root, &m, LEVEL_INDEX);
	if (answer == ANSWER_UNKNOWN)
		answer = ask_object(s, j, &m);
	free(msg.keywords);
	return answer == ANSWER_YES;
}

static bool
search_step(struct session *s)
{
	struct search_job *j = s->imap->job_data;
	struct imap_view *v = s->imap->view;

	if (j->at < j->end) {
		if (!(v->msg[j->at].state & VIEW_GONE) && ask(s, j, j->at))
			add_hit(j, s->imap->uid ? v->msg[j->at].uid : (uint32_t)j->at + 1);
		if (s->waiting)
			return false;
		j->mending = false;
		j->at++;
		return true;
	}
	imap_put(s->out, "* SEARCH");
	for (size_t i = 0; i < j->n; i++)
		session_printf(s, " %u", j->hit[i]);
	imap_put(s->out, "\r\n");
	if (j->unreadable)
		imap_finish(s, "NO [UNAVAILABLE] Some messages could not be read");
	else
		imap_finish(s, "OK SEARCH completed");
	return true;
}

/* Sets become indexes of the view; a number that is not there matches nothing. */
static bool
resolve(struct session *s, struct search_node *n, size_t *left)
{
	struct imap *im = s->imap;

	for (; n != NULL; n = n->a) {
		if ((*left)-- == 0)
			return false;
		if (n->key == KEY_SEQ || n->key == KEY_UID) {
			if (imap_view_resolve(im->view, &n->set, n->key == KEY_UID,
			    &im->arena, &n->found) != PARSE_OK)
				return false;
		}
		if (n->b != NULL && !resolve(s, n->b, left))
			return false;
	}
	return true;
}

void
imap_cmd_search(struct session *s, struct imap_cur *c)
{
	struct search_node *root = NULL;
	struct search_job *j;
	size_t left = NODES_MAX;

	if (imap_get_char(c, ' ') != PARSE_OK) {
		imap_bad(s, "Search keys were expected");
		return;
	}
	switch (imap_get_search(c, &root)) {
	case SEARCH_BAD:
		imap_bad(s, "Search keys were expected");
		return;
	case SEARCH_CHARSET:
		imap_finish(s, "NO [BADCHARSET (UTF-8 US-ASCII)] Unknown charset");
		return;
	case SEARCH_OK:
		break;
	}
	if (!resolve(s, root, &left)) {
		imap_bad(s, "No such message number, or too many keys");
		return;
	}
	j = mem_alloc(sizeof(*j));
	j->root = root;
	j->end = s->imap->view->told;
	imap_job_start(s, search_step, j, job_free);
}
