/* imap_fetch.c - FETCH: one message after the other, as the client drains them.
 *
 * The job holds one mapped message at a time and gives PIECE bytes of it to the stream
 * while there is room, so a FETCH of a large mailbox costs no more memory than one of a
 * small.  \Seen is set ahead for SEEN_BATCH messages at a time and its commit is waited
 * for, so a FLAGS that is sent is true; when it cannot be stored now, the text is served
 * all the same.  A message that others have expunged is left out, and the command ends
 * with NO [EXPUNGEISSUED] (RFC 5530). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "imap_body.h"
#include "log.h"
#include "mem.h"
#include "object_map.h"

#define PIECE (64u << 10)
#define SEEN_BATCH 64

struct fetch_job {
	struct imap_fetch what;
	struct view_set set;
	size_t range, at;		/* the next message: set.r[range], index at */
	size_t seen_ahead;		/* messages whose \Seen is settled */
	bool no_seen;			/* \Seen cannot be stored now */
	const char *text;		/* "FETCH completed" */
	bool missing, unreadable;
	bool mending;			/* the object of message `index` is being got anew */
	size_t index;
	/* the message under way */
	struct store_msg msg;
	struct object_map object;
	struct mime mime;
	struct imap_section *section;	/* the next to write */
	struct evbuffer *fields;
	struct span rest;		/* of a literal, not yet given to the stream */
	bool first;			/* no item written yet */
};

static void
end_message(struct fetch_job *j)
{
	object_map_close(&j->object);
	mime_clear(&j->mime);
	free(j->msg.keywords);
	j->msg.keywords = NULL;
}

static void
job_free(void *arg)
{
	struct fetch_job *j = arg;

	end_message(j);
	evbuffer_free(j->fields);
	free(j);
}

static bool
next_index(struct fetch_job *j, size_t *index)
{
	while (j->range < j->set.n) {
		if (j->at < j->set.r[j->range].first)
			j->at = j->set.r[j->range].first;
		if (j->at <= j->set.r[j->range].last) {
			*index = j->at++;
			return true;
		}
		j->range++;
	}
	return false;
}

static void
seen_done(struct session *s, const struct store_result *r)
{
	struct fetch_job *j = s->imap->job_data;

	if (r->rc != MAIL_OK) {
		j->no_seen = true;
		log_info("imap %s seen not stored rc=%d", s->sid, (int)r->rc);
	}
}

/* Before the first of a batch is written; true: wait for the commit. */
static bool
set_seen(struct session *s)
{
	struct fetch_job *j = s->imap->job_data;
	struct imap_view *v = s->imap->view;
	struct fetch_job look = *j;
	struct { uint32_t lo, hi; } r[SEEN_BATCH];
	struct store_uids uids = { (const void *)r, 0 };
	size_t i, n = 0;

	if (!j->what.sets_seen || j->no_seen || v->readonly || j->seen_ahead > 0)
		return false;
	for (; n < SEEN_BATCH && next_index(&look, &i); n++) {
		if ((v->msg[i].flags & FLAG_SEEN) || (v->msg[i].state & VIEW_GONE))
			continue;
		r[uids.n].lo = r[uids.n].hi = v->msg[i].uid;
		uids.n++;
		v->msg[i].state |= VIEW_SEEN_NOW;
	}
	j->seen_ahead = n;
	if (uids.n == 0)
		return false;
	store_flags(s->store, s->shard, v->box, &uids, STORE_FLAGS_ADD, FLAG_SEEN, "",
	    session_done, s);
	session_wait(s, seen_done);
	return true;
}

static void
item(struct session *s, struct fetch_job *j, const char *name)
{
	if (!j->first)
		imap_put(s->out, " ");
	j->first = false;
	imap_put(s->out, name);
}

static void
put_items(struct session *s, struct fetch_job *j, unsigned items, bool recent)
{
	struct evbuffer *out = s->out;

	if (items & ITEM_UID) {
		item(s, j, "UID ");
		evbuffer_add_printf(out, "%u", j->msg.uid);
	}
	if (items & ITEM_FLAGS) {
		item(s, j, "FLAGS ");
		imap_put_flags(out, j->msg.flags, j->msg.keywords, recent);
	}
	if (items & ITEM_DATE) {
		item(s, j, "INTERNALDATE ");
		imap_put_date(out, j->msg.internal_s);
	}
	if (items & ITEM_SIZE) {
		item(s, j, "RFC822.SIZE ");
		evbuffer_add_printf(out, "%llu", (unsigned long long)j->msg.size);
	}
	if (items & ITEM_ENVELOPE) {
		item(s, j, "ENVELOPE ");
		imap_put_envelope(out, mime_head_of(j->object.text));
	}
	if (items & ITEM_BODY) {
		item(s, j, "BODY ");
		imap_put_body(out, &j->mime, false);
	}
	if (items & ITEM_BODYSTRUCTURE) {
		item(s, j, "BODYSTRUCTURE ");
		imap_put_body(out, &j->mime, true);
	}
}

static bool
needs_mime(const struct imap_fetch *f)
{
	if (f->items & (ITEM_BODY | ITEM_BODYSTRUCTURE))
		return true;
	for (const struct imap_section *x = f->sections; x != NULL; x = x->next)
		if (imap_section_needs_mime(x))
			return true;
	return false;
}

static void
mend_done(struct session *s, const struct store_result *r)
{
	(void)s;
	(void)r;		/* whether it can be read now is seen when it is */
}

/* Everything that can fail is done before the first byte of the response.  A message that
 * cannot be read is got from the other node, once, and then read again. */
static bool
load(struct session *s, struct fetch_job *j, uint32_t uid)
{
	struct imap_view *v = s->imap->view;
	enum mail_rc rc = store_message(s->store, s->shard, v->box, uid, &j->msg);

	if (rc != MAIL_OK) {
		j->msg.keywords = NULL;
		j->mending = false;
		j->missing |= rc == MAIL_UNKNOWN;
		j->unreadable |= rc != MAIL_UNKNOWN;
		return false;
	}
	if (j->what.sections == NULL &&
	    !(j->what.items & (ITEM_ENVELOPE | ITEM_BODY | ITEM_BODYSTRUCTURE)))
		return true;
	if (object_map_open(&j->object, s->store, s->shard, &j->msg) == -1) {
		log_err("imap %s cannot read message uid=%u box=%llu: %s", s->sid, uid,
		    (unsigned long long)v->box, strerror(errno));
		j->unreadable |= j->mending;
		j->mending = !j->mending;
		if (j->mending) {
			store_mend(s->store, s->shard, j->msg.sha, session_done, s);
			session_wait(s, mend_done);
		}
		end_message(j);
		return false;
	}
	if (needs_mime(&j->what))
		mime_parse(&j->mime, j->object.text);
	return true;
}

static void
begin_message(struct session *s, struct fetch_job *j, size_t index)
{
	struct view_msg *vm = &s->imap->view->msg[index];
	unsigned items = j->what.items;

	if (j->seen_ahead > 0 && !j->mending)
		j->seen_ahead--;
	j->index = index;
	if (vm->state & VIEW_GONE) {
		j->missing = true;
		j->mending = false;
		return;
	}
	if (!load(s, j, vm->uid))
		return;
	j->mending = false;
	if (s->imap->uid)
		items |= ITEM_UID;
	if ((vm->state & VIEW_SEEN_NOW) && !j->no_seen)
		items |= ITEM_FLAGS;
	vm->state &= (uint16_t)~VIEW_SEEN_NOW;
	session_printf(s, "* %zu FETCH (", index + 1);
	j->first = true;
	put_items(s, j, items, vm->state & VIEW_RECENT);
	j->section = j->what.sections;
	s->imap->in_message = true;
}

static void
begin_section(struct session *s, struct fetch_job *j)
{
	struct imap_section *x = j->section;
	struct span bytes;

	evbuffer_drain(j->fields, evbuffer_get_length(j->fields));
	bytes = imap_section_bytes(x, j->object.text, &j->mime, j->fields);
	item(s, j, x->rfc822 != NULL ? x->rfc822 : "BODY[");
	if (x->rfc822 == NULL) {
		evbuffer_add(s->out, x->text.p, x->text.len);
		imap_put(s->out, "]");
	}
	if (x->partial) {
		uint64_t from = x->from < bytes.len ? x->from : bytes.len;

		session_printf(s, "<%llu>", (unsigned long long)x->from);
		if (bytes.p != NULL)
			bytes.p += from;
		bytes.len -= (size_t)from;
		if (bytes.len > x->most)
			bytes.len = (size_t)x->most;
	}
	if (bytes.p == NULL)
		imap_put(s->out, " NIL");
	else
		session_printf(s, " {%zu}\r\n", bytes.len);
	j->rest = bytes;
	j->section = x->next;
}

static void
put_piece(struct session *s, struct fetch_job *j)
{
	size_t n = j->rest.len < PIECE ? j->rest.len : PIECE;

	evbuffer_add(s->out, j->rest.p, n);
	j->rest.p += n;
	j->rest.len -= n;
}

static void
finish(struct session *s, struct fetch_job *j)
{
	const char *text = j->text;

	if (j->unreadable)
		imap_finish(s, "NO [UNAVAILABLE] Some messages could not be read");
	else if (j->missing)
		imap_finish(s, "NO [EXPUNGEISSUED] Some messages are no longer there");
	else
		imap_finish(s, "OK %s", text);
}

static bool
fetch_step(struct session *s)
{
	struct fetch_job *j = s->imap->job_data;
	size_t index;

	if (j->rest.len > 0) {
		put_piece(s, j);
	} else if (s->imap->in_message && j->section != NULL) {
		begin_section(s, j);
	} else if (s->imap->in_message) {
		imap_put(s->out, ")\r\n");
		end_message(j);
		s->imap->in_message = false;
	} else if (j->mending) {
		begin_message(s, j, j->index);
		return !s->waiting;
	} else if (set_seen(s)) {
		return false;
	} else if (next_index(j, &index)) {
		begin_message(s, j, index);
		return !s->waiting;
	} else {
		finish(s, j);
	}
	return true;
}

static struct fetch_job *
job_new(const struct imap_fetch *what, const struct view_set *set, const char *text)
{
	struct fetch_job *j = mem_alloc(sizeof(*j));

	j->what = *what;
	j->set = *set;
	j->text = text;
	if ((j->fields = evbuffer_new()) == NULL)
		log_fatal("imap: out of memory");
	return j;
}

void
imap_cmd_fetch(struct session *s, struct imap_cur *c)
{
	struct imap_fetch what;
	struct view_set set;

	if (!imap_arg_set(s, c, &set))
		return;
	if (imap_get_char(c, ' ') != PARSE_OK || imap_get_fetch(c, &what) != PARSE_OK ||
	    imap_get_end(c) != PARSE_OK) {
		imap_bad(s, "Items to fetch were expected");
		return;
	}
	imap_job_start(s, fetch_step, job_new(&what, &set, "FETCH completed"), job_free);
}

void
imap_fetch_flags(struct session *s, const struct view_set *set, const char *text)
{
	struct imap_fetch what = { .items = ITEM_FLAGS };

	imap_job_start(s, fetch_step, job_new(&what, set, text), job_free);
}
