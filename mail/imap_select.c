/* imap_select.c - SELECT, EXAMINE, CLOSE, UNSELECT, CHECK, and the untagged news of
 * the selected mailbox.
 *
 * The watch is set before the messages are read, in one turn of the loop, so no change
 * falls between.  News is told at the end of each command, during IDLE at once; numbers
 * of expunged messages only where RFC 3501 7.4.1 allows it. */
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "log.h"
#include "mem.h"

#define TELL_MAX 2000		/* changed flags at a time; the others come next time */

void
imap_select_clear(struct session *s)
{
	struct imap *im = s->imap;

	if (im->watch != NULL)
		store_watch_free(im->watch);
	im->watch = NULL;
	imap_view_free(im->view);
	im->view = NULL;
}

static void
on_news(void *arg, const struct store_event *e)
{
	struct session *s = arg;
	struct imap_view *v = s->imap->view;
	if (v == NULL)
		return;
	switch (e->what) {
	case STORE_NEW:
		imap_view_add(v, e->msg);
		break;
	case STORE_FLAGS:
		imap_view_flags(v, e->msg, e->origin != s);
		break;
	case STORE_GONE:
		imap_view_gone(v, e->uid);
		break;
	case STORE_BOX_DELETED:
		v->deleted = true;
		break;
	}
	if (s->imap->idling || v->deleted)
		session_kick(s);
}

static void
tell_expunge(uint32_t seq, void *arg)
{
	evbuffer_add_printf(arg, "* %u EXPUNGE\r\n", seq);
}

static void
tell_new(struct session *s)
{
	struct imap_view *v = s->imap->view;
	size_t first = v->told;
	uint32_t recent;

	/* \Recent goes to the first session that is told of a message */
	v->told = v->n;
	recent = session_recent(s->set, v->box, v->msg[v->n - 1].uid + 1, !v->readonly);
	for (size_t i = first; i < v->told; i++)
		if (v->msg[i].uid < recent)
			v->msg[i].state &= (uint16_t)~VIEW_RECENT;
	session_printf(s, "* %zu EXISTS\r\n* %zu RECENT\r\n", v->told, imap_view_recent(v));
}

static void
tell_flags(struct session *s)
{
	struct imap_view *v = s->imap->view;
	struct store_msg m;
	size_t left = TELL_MAX;

	for (size_t i = 0; i < v->told && v->dirty > 0 && left > 0; i++) {
		if (!(v->msg[i].state & VIEW_DIRTY))
			continue;
		v->msg[i].state &= (uint16_t)~VIEW_DIRTY;
		v->dirty--;
		left--;
		if (store_message(s->store, s->shard, v->box, v->msg[i].uid, &m) != MAIL_OK)
			continue;		/* gone by now: that is the news */
		session_printf(s, "* %zu FETCH (", i + 1);
		if (s->imap->uid)
			session_printf(s, "UID %u ", m.uid);
		imap_put(s->out, "FLAGS ");
		imap_put_flags(s->out, m.flags, m.keywords, v->msg[i].state & VIEW_RECENT);
		imap_put(s->out, ")\r\n");
		free(m.keywords);
	}
}

static void
tell_keywords(struct session *s)
{
	struct imap_view *v = s->imap->view;
	imap_put(s->out, "* FLAGS ");
	imap_put_flag_names(s->out, v, false);
	imap_put(s->out, "\r\n");
	if (!v->readonly) {
		imap_put(s->out, "* OK [PERMANENTFLAGS ");
		imap_put_flag_names(s->out, v, true);
		imap_put(s->out, "] Limited\r\n");
	}
	v->keywords_new = false;
}

void
imap_tell(struct session *s, bool expunges)
{
	struct imap_view *v = s->imap->view;
	if (expunges)
		imap_view_expunge(v, tell_expunge, s->out);
	if (v->n > v->told)
		tell_new(s);
	if (v->keywords_new)
		tell_keywords(s);
	if (v->dirty > 0)
		tell_flags(s);
}

static void
collect(const struct store_msg *m, void *arg)
{
	imap_view_add(arg, m);
}

static enum mail_rc
open_box(struct session *s, const char *name, bool readonly, struct store_box *box)
{
	struct imap *im = s->imap;
	enum mail_rc rc;

	rc = store_box_by_name(s->store, s->shard, s->user, name, box);
	if (rc == MAIL_OK && box->noselect)
		rc = MAIL_UNKNOWN;
	if (rc != MAIL_OK)
		return rc;
	im->view = imap_view_new(box->id, readonly);
	im->view->uidvalidity = box->uidvalidity;
	im->view->recent_from = session_recent(s->set, box->id, box->uidnext, !readonly);
	im->watch = store_watch_new(s->store, s->shard, box->id, on_news, s);
	rc = store_messages(s->store, s->shard, box->id, 1, 0, collect, im->view);
	if (rc != MAIL_OK)
		imap_select_clear(s);
	return rc;
}

static void
describe(struct session *s, const struct store_box *box)
{
	struct imap_view *v = s->imap->view;
	size_t unseen = 0;

	v->told = v->n;
	while (unseen < v->n && (v->msg[unseen].flags & FLAG_SEEN))
		unseen++;
	imap_put(s->out, "* FLAGS ");
	imap_put_flag_names(s->out, v, false);
	session_printf(s, "\r\n* %zu EXISTS\r\n* %zu RECENT\r\n", v->told,
	    imap_view_recent(v));
	if (unseen < v->n)
		session_printf(s, "* OK [UNSEEN %zu] First unseen\r\n", unseen + 1);
	imap_put(s->out, "* OK [PERMANENTFLAGS ");
	if (v->readonly)
		imap_put(s->out, "()");
	else
		imap_put_flag_names(s->out, v, true);
	session_printf(s, "] %s\r\n* OK [UIDVALIDITY %u] UIDs valid\r\n"
	    "* OK [UIDNEXT %u] Predicted next UID\r\n",
	    v->readonly ? "Read-only" : "Limited", box->uidvalidity, box->uidnext);
	v->keywords_new = false;
}

static void
do_select(struct session *s, struct imap_cur *c, bool readonly)
{
	struct imap_box_name name;
	struct store_box box;
	struct span wire;
	enum mail_rc rc;

	if (imap_get_char(c, ' ') != PARSE_OK || imap_get_astring(c, &wire) != PARSE_OK ||
	    imap_get_end(c) != PARSE_OK) {
		imap_bad(s, "A mailbox name was expected");
		return;
	}
	/* RFC 3501 6.3.1: a failed SELECT leaves nothing selected */
	imap_select_clear(s);
	if (!imap_mailbox_name(s, wire, &name))
		return;
	if ((rc = open_box(s, name.utf8, readonly, &box)) != MAIL_OK) {
		imap_no(s, rc, "NONEXISTENT");
		return;
	}
	describe(s, &box);
	imap_finish(s, readonly ? "OK [READ-ONLY] EXAMINE completed"
				: "OK [READ-WRITE] SELECT completed");
}

void
imap_cmd_select(struct session *s, struct imap_cur *c)
{
	do_select(s, c, false);
}

void
imap_cmd_examine(struct session *s, struct imap_cur *c)
{
	do_select(s, c, true);
}

void
imap_cmd_check(struct session *s, struct imap_cur *c)
{
	if (imap_no_args(s, c))		/* what was acknowledged is stored already */
		imap_finish(s, "OK CHECK completed");
}

void
imap_cmd_unselect(struct session *s, struct imap_cur *c)
{
	if (!imap_no_args(s, c))
		return;
	imap_select_clear(s);
	imap_finish(s, "OK UNSELECT completed");
}

static void
closed(struct session *s, const struct store_result *r)
{
	if (r->rc != MAIL_OK && r->rc != MAIL_UNKNOWN) {
		imap_no(s, r->rc, "NONEXISTENT");	/* still selected */
		return;
	}
	imap_select_clear(s);
	imap_finish(s, "OK CLOSE completed");
}

void
imap_cmd_close(struct session *s, struct imap_cur *c)
{
	struct imap_view *v = s->imap->view;
	struct view_range all = { 0, v->told - 1 };
	struct view_set set = { &all, 1 };
	struct store_uids uids;
	bool deleted = false;

	if (!imap_no_args(s, c))
		return;
	for (size_t i = 0; i < v->told && !deleted; i++)
		deleted = (v->msg[i].flags & FLAG_DELETED) != 0;
	if (v->readonly || !deleted) {
		imap_select_clear(s);
		imap_finish(s, "OK CLOSE completed");
		return;
	}
	uids = imap_view_uids(v, &set, &s->imap->arena);
	store_expunge(s->store, s->shard, v->box, &uids, true, session_done, s);
	session_wait(s, closed);
}
