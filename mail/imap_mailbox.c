/* imap_mailbox.c - CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS.
 *
 * Names travel in modified UTF-7 and are kept as UTF-8; "/" separates.  Names that
 * could not be listed or typed again are refused: empty parts, control characters,
 * the wildcards of LIST. */
#include <string.h>

#include "imap.h"

enum { STATUS_MESSAGES = 1, STATUS_RECENT = 2, STATUS_UIDNEXT = 4,
	STATUS_UIDVALIDITY = 8, STATUS_UNSEEN = 16 };

static bool
get_name(struct session *s, struct imap_cur *c, struct imap_box_name *name)
{
	struct span wire;

	if (imap_get_char(c, ' ') != PARSE_OK || imap_get_astring(c, &wire) != PARSE_OK) {
		imap_bad(s, "A mailbox name was expected");
		return false;
	}
	return imap_mailbox_name(s, wire, name);
}

static bool
at_end(struct session *s, struct imap_cur *c)
{
	if (imap_get_end(c) == PARSE_OK)
		return true;
	imap_bad(s, "No more arguments were expected");
	return false;
}

/* May a mailbox be made with this name?  A separator at its end is taken off: it only
 * says that children will follow (RFC 3501 6.3.3). */
static bool
name_ok(char *utf8)
{
	size_t len = strlen(utf8);

	if (len > 0 && utf8[len - 1] == '/')
		utf8[--len] = '\0';
	if (len == 0 || utf8[0] == '/' || strstr(utf8, "//") != NULL ||
	    utf8[len - 1] == '/')
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)utf8[i] < 0x20 || utf8[i] == 0x7f || utf8[i] == '*' ||
		    utf8[i] == '%')
			return false;
	return true;
}

/* SP "(" "USE" SP "(" \Attr... ")" ")" - RFC 6154 3; one attribute a mailbox */
static enum parse
get_use(struct imap_cur *c, char *special, size_t size)
{
	static const char *const known[] = { "\\Archive", "\\Drafts", "\\Flagged",
		"\\Junk", "\\Sent", "\\Trash" };
	struct span word;

	if (imap_get_char(c, ' ') != PARSE_OK || imap_get_char(c, '(') != PARSE_OK ||
	    imap_get_atom(c, &word) != PARSE_OK || !span_is_nocase(word, "USE") ||
	    imap_get_char(c, ' ') != PARSE_OK || imap_get_char(c, '(') != PARSE_OK ||
	    !imap_at(c, '\\'))
		return PARSE_BAD;
	word.p = c->p++;
	if (imap_get_atom(c, &(struct span) { 0 }) != PARSE_OK)
		return PARSE_BAD;
	word.len = (size_t)(c->p - word.p);
	while (imap_at(c, ' ')) {		/* more of them: not supported, but valid */
		c->p++;
		if (imap_get_char(c, '\\') != PARSE_OK ||
		    imap_get_atom(c, &(struct span) { 0 }) != PARSE_OK)
			return PARSE_BAD;
		word.len = 0;
	}
	for (int i = 0; i < 2; i++)
		if (imap_get_char(c, ')') != PARSE_OK)
			return PARSE_BAD;
	special[0] = '\0';
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (span_is_nocase(word, known[i]) && strlen(known[i]) < size)
			memcpy(special, known[i], strlen(known[i]) + 1);
	return PARSE_OK;
}

void
imap_cmd_create(struct session *s, struct imap_cur *c)
{
	struct imap_box_name name;
	char special[16] = "";

	if (!get_name(s, c, &name))
		return;
	if (imap_at(c, ' ')) {
		if (get_use(c, special, sizeof(special)) != PARSE_OK) {
			imap_bad(s, "USE and its attribute were expected");
			return;
		}
		if (special[0] == '\0') {
			imap_finish(s, "NO [USEATTR] Not supported");
			return;
		}
	}
	if (!at_end(s, c))
		return;
	if (!name_ok(name.utf8)) {
		imap_finish(s, "NO [CANNOT] Not a good name for a mailbox");
		return;
	}
	store_box_create(s->store, s->shard, s->user, name.utf8, special, session_done, s);
	session_wait(s, imap_done);
}

static void
deleted(struct session *s, const struct store_result *r)
{
	struct imap_view *v = s->imap->view;

	/* who deletes the mailbox that he has open has none open any more */
	if (r->rc == MAIL_OK && v != NULL && v->deleted)
		imap_select_clear(s);
	imap_done(s, r);
}

void
imap_cmd_delete(struct session *s, struct imap_cur *c)
{
	struct imap_box_name name;

	if (!get_name(s, c, &name) || !at_end(s, c))
		return;
	if (strcmp(name.utf8, "INBOX") == 0) {
		imap_finish(s, "NO [CANNOT] INBOX cannot be deleted");
		return;
	}
	store_box_delete(s->store, s->shard, s->user, name.utf8, session_done, s);
	session_wait(s, deleted);
}

void
imap_cmd_rename(struct session *s, struct imap_cur *c)
{
	struct imap_box_name from, to;

	if (!get_name(s, c, &from) || !get_name(s, c, &to) || !at_end(s, c))
		return;
	if (!name_ok(to.utf8)) {
		imap_finish(s, "NO [CANNOT] Not a good name for a mailbox");
		return;
	}
	store_box_rename(s->store, s->shard, s->user, from.utf8, to.utf8, session_done, s);
	session_wait(s, imap_done);
}

static void
subscribe(struct session *s, struct imap_cur *c, bool on)
{
	struct imap_box_name name;

	if (!get_name(s, c, &name) || !at_end(s, c))
		return;
	store_box_subscribe(s->store, s->shard, s->user, name.utf8, on, session_done, s);
	session_wait(s, imap_done);
}

void
imap_cmd_subscribe(struct session *s, struct imap_cur *c)
{
	subscribe(s, c, true);
}

void
imap_cmd_unsubscribe(struct session *s, struct imap_cur *c)
{
	subscribe(s, c, false);
}

static enum parse
get_status_items(struct imap_cur *c, unsigned *items)
{
	static const struct {
		const char *name;
		unsigned bit;
	} known[] = {
		{ "MESSAGES", STATUS_MESSAGES }, { "RECENT", STATUS_RECENT },
		{ "UIDNEXT", STATUS_UIDNEXT }, { "UIDVALIDITY", STATUS_UIDVALIDITY },
		{ "UNSEEN", STATUS_UNSEEN },
	};
	const size_t n = sizeof(known) / sizeof(known[0]);
	struct span word;
	size_t i;

	*items = 0;
	if (imap_get_char(c, ' ') != PARSE_OK || imap_get_char(c, '(') != PARSE_OK)
		return PARSE_BAD;
	for (;;) {
		if (imap_get_atom(c, &word) != PARSE_OK)
			return PARSE_BAD;
		for (i = 0; i < n && !span_is_nocase(word, known[i].name); i++)
			;
		if (i == n)
			return PARSE_BAD;
		*items |= known[i].bit;
		if (!imap_at(c, ' '))
			return imap_get_char(c, ')');
		c->p++;
	}
}

static void
count(const struct store_msg *m, void *arg)
{
	(void)m;
	++*(uint32_t *)arg;
}

static void
put_status(struct session *s, const struct store_box *box, unsigned items, uint32_t recent)
{
	const struct {
		unsigned bit;
		const char *name;
		uint32_t value;
	} all[] = {
		{ STATUS_MESSAGES, "MESSAGES", box->exists },
		{ STATUS_RECENT, "RECENT", recent },
		{ STATUS_UIDNEXT, "UIDNEXT", box->uidnext },
		{ STATUS_UIDVALIDITY, "UIDVALIDITY", box->uidvalidity },
		{ STATUS_UNSEEN, "UNSEEN", box->unseen },
	};
	const char *sep = "";

	imap_put(s->out, "* STATUS ");
	imap_put_mailbox(s->out, box->name);
	imap_put(s->out, " (");
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (items & all[i].bit) {
			session_printf(s, "%s%s %u", sep, all[i].name, all[i].value);
			sep = " ";
		}
	imap_put(s->out, ")\r\n");
}

void
imap_cmd_status(struct session *s, struct imap_cur *c)
{
	struct imap_box_name name;
	struct store_box box;
	uint32_t recent = 0;
	unsigned items;
	enum mail_rc rc;

	if (!get_name(s, c, &name))
		return;
	if (get_status_items(c, &items) != PARSE_OK || imap_get_end(c) != PARSE_OK) {
		imap_bad(s, "A list of status items was expected");
		return;
	}
	rc = store_box_by_name(s->store, s->shard, s->user, name.utf8, &box);
	if (rc == MAIL_OK && box.noselect)
		rc = MAIL_UNKNOWN;
	if (rc == MAIL_OK && (items & STATUS_RECENT))
		rc = store_messages(s->store, s->shard, box.id,
		    session_recent(s->set, box.id, box.uidnext, false), 0, count, &recent);
	if (rc != MAIL_OK) {
		imap_no(s, rc, "NONEXISTENT");
		return;
	}
	put_status(s, &box, items, recent);
	imap_finish(s, "OK STATUS completed");
}
