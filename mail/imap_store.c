/* imap_store.c - STORE, EXPUNGE, COPY and MOVE.
 *
 * Each proposes one change and answers in its done(): an OK means that the change is
 * committed.  COPY and MOVE are all or nothing, because they are one record. */
#include <string.h>

#include "imap.h"
#include "log.h"

static enum parse
get_store_item(struct imap_cur *c, enum store_flag_op *op, bool *silent)
{
	static const struct {
		const char *name;
		enum store_flag_op op;
		bool silent;
	} items[] = {
		{ "FLAGS", STORE_FLAGS_SET, false },
		{ "FLAGS.SILENT", STORE_FLAGS_SET, true },
		{ "+FLAGS", STORE_FLAGS_ADD, false },
		{ "+FLAGS.SILENT", STORE_FLAGS_ADD, true },
		{ "-FLAGS", STORE_FLAGS_REMOVE, false },
		{ "-FLAGS.SILENT", STORE_FLAGS_REMOVE, true },
	};
	struct span word;
	enum parse rc;

	if ((rc = imap_get_char(c, ' ')) != PARSE_OK ||
	    (rc = imap_get_atom(c, &word)) != PARSE_OK)
		return rc;
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++)
		if (span_is_nocase(word, items[i].name)) {
			*op = items[i].op;
			*silent = items[i].silent;
			return PARSE_OK;
		}
	return PARSE_BAD;
}

static void
stored(struct session *s, const struct store_result *r)
{
	struct view_set *set = s->imap->job_data;

	s->imap->job_data = NULL;
	if (r->rc == MAIL_OK)
		imap_fetch_flags(s, set, "STORE completed");
	else
		imap_no(s, r->rc, "NONEXISTENT");
}

void
imap_cmd_store(struct session *s, struct imap_cur *c)
{
	struct imap *im = s->imap;
	struct view_set *set = arena_alloc(&im->arena, sizeof(*set));
	enum store_flag_op op;
	struct imap_flags flags;
	struct store_uids uids;
	bool silent;

	if (set == NULL || !imap_arg_set(s, c, set))
		return;
	if (get_store_item(c, &op, &silent) != PARSE_OK ||
	    imap_get_char(c, ' ') != PARSE_OK || imap_get_flags(c, true, &flags) != PARSE_OK ||
	    imap_get_end(c) != PARSE_OK) {
		imap_bad(s, "FLAGS and a list of flags were expected");
		return;
	}
	if (set->n == 0) {
		imap_finish(s, "OK STORE completed, of no message");
		return;
	}
	uids = imap_view_uids(im->view, set, &im->arena);
	store_flags(s->store, s->shard, im->view->box, &uids, op, flags.bits, flags.keywords,
	    session_done, s);
	im->job_data = silent ? NULL : set;	/* lives in the command's arena */
	session_wait(s, silent ? imap_done : stored);
}

void
imap_cmd_expunge(struct session *s, struct imap_cur *c)
{
	struct imap *im = s->imap;
	struct view_range all = { 0, im->view->told - 1 };
	struct view_set set = { &all, im->view->told > 0 };
	struct store_uids uids;

	if (im->uid && !imap_arg_set(s, c, &set))
		return;
	if (imap_get_end(c) != PARSE_OK) {
		imap_bad(s, "No more arguments were expected");
		return;
	}
	/* only what the client knows of: never a message that it was not told */
	if (set.n == 0) {
		imap_finish(s, "OK EXPUNGE completed");
		return;
	}
	uids = imap_view_uids(im->view, &set, &im->arena);
	store_expunge(s->store, s->shard, im->view->box, &uids, true, session_done, s);
	session_wait(s, imap_done);
}

static void
copied(struct session *s, const struct store_result *r)
{
	struct evbuffer *code;

	if (r->rc != MAIL_OK) {
		imap_no(s, r->rc, "TRYCREATE");
		return;
	}
	if (r->n == 0) {
		imap_finish(s, "NO [EXPUNGEISSUED] The messages are no longer there");
		return;
	}
	if ((code = evbuffer_new()) == NULL)
		log_fatal("imap: out of memory");
	imap_put_copyuid(code, r);
	evbuffer_add(code, "", 1);
	imap_finish(s, "OK %s COPY completed", (const char *)evbuffer_pullup(code, -1));
	evbuffer_free(code);
}

/* RFC 6851 4.3: COPYUID goes untagged, in front of the EXPUNGEs. */
static void
moved(struct session *s, const struct store_result *r)
{
	if (r->rc != MAIL_OK) {
		imap_no(s, r->rc, "TRYCREATE");
		return;
	}
	if (r->n == 0) {
		imap_finish(s, "NO [EXPUNGEISSUED] The messages are no longer there");
		return;
	}
	imap_put(s->out, "* OK ");
	imap_put_copyuid(s->out, r);
	imap_put(s->out, " Moved\r\n");
	imap_finish(s, "OK MOVE completed");
}

static void
copy_or_move(struct session *s, struct imap_cur *c, bool move)
{
	struct imap *im = s->imap;
	struct imap_box_name name;
	struct view_set set;
	struct store_uids uids;
	struct store_box to;
	struct span wire;
	enum mail_rc rc;

	if (!imap_arg_set(s, c, &set))
		return;
	if (imap_get_char(c, ' ') != PARSE_OK || imap_get_astring(c, &wire) != PARSE_OK ||
	    imap_get_end(c) != PARSE_OK) {
		imap_bad(s, "A mailbox name was expected");
		return;
	}
	if (!imap_mailbox_name(s, wire, &name))
		return;
	rc = store_box_by_name(s->store, s->shard, s->user, name.utf8, &to);
	if (rc == MAIL_OK && to.noselect)
		rc = MAIL_UNKNOWN;
	if (rc != MAIL_OK) {
		imap_no(s, rc, "TRYCREATE");
		return;
	}
	if (set.n == 0) {
		imap_finish(s, "OK %s completed, of no message", move ? "MOVE" : "COPY");
		return;
	}
	uids = imap_view_uids(im->view, &set, &im->arena);
	store_copy(s->store, s->shard, im->view->box, &uids, to.id, move, session_done, s);
	session_wait(s, move ? moved : copied);
}

void
imap_cmd_copy(struct session *s, struct imap_cur *c)
{
	copy_or_move(s, c, false);
}

void
imap_cmd_move(struct session *s, struct imap_cur *c)
{
	copy_or_move(s, c, true);
}
