/* imap.c - IMAP4rev1 after the login: reads commands, knows which is legal when, and
 * answers each exactly once.
 *
 *            SELECT, EXAMINE
 *   AUTH  ------------------>  SELECTED      (the login itself is the gate's:
 *         <------------------                 login.c)
 *            CLOSE, UNSELECT, a failed SELECT
 *
 * Commands run one after the other, however many came in one packet: while a job or
 * a change is under way nothing more is read.  Anything that a client can send ends
 * in an answer; twenty commands in a row that make no sense end the session. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "imap.h"
#include "log.h"
#include "mem.h"
#include "mutf7.h"

#define ARENA_EXTRA (4u << 20)	/* for parsed lists, besides the literals */
#define BAD_MAX 20

#define CAPABILITIES "IMAP4rev1 LITERAL+ UIDPLUS MOVE IDLE UNSELECT NAMESPACE ID CHILDREN " \
	"SPECIAL-USE CREATE-SPECIAL-USE"

static void cmd_append(struct session *, struct imap_cur *);
static void cmd_capability(struct session *, struct imap_cur *);
static void cmd_id(struct session *, struct imap_cur *);
static void cmd_logged_in(struct session *, struct imap_cur *);
static void cmd_logout(struct session *, struct imap_cur *);
static void cmd_namespace(struct session *, struct imap_cur *);
static void cmd_noop(struct session *, struct imap_cur *);

const struct imap_command imap_commands[] = {
	{ "APPEND", IMAP_ANY, 0, cmd_append },
	{ "AUTHENTICATE", IMAP_ANY, 0, cmd_logged_in },
	{ "CAPABILITY", IMAP_ANY, 0, cmd_capability },
	{ "CHECK", IMAP_SELECTED, 0, imap_cmd_check },
	{ "CLOSE", IMAP_SELECTED, 0, imap_cmd_close },
	{ "COPY", IMAP_SELECTED, CMD_UID, imap_cmd_copy },
	{ "CREATE", IMAP_ANY, 0, imap_cmd_create },
	{ "DELETE", IMAP_ANY, 0, imap_cmd_delete },
	{ "EXAMINE", IMAP_ANY, 0, imap_cmd_examine },
	{ "EXPUNGE", IMAP_SELECTED, CMD_UID | CMD_WRITES, imap_cmd_expunge },
	{ "FETCH", IMAP_SELECTED, CMD_UID | CMD_NO_EXPUNGE, imap_cmd_fetch },
	{ "ID", IMAP_ANY, 0, cmd_id },
	{ "IDLE", IMAP_ANY, 0, imap_cmd_idle },
	{ "LIST", IMAP_ANY, 0, imap_cmd_list },
	{ "LOGIN", IMAP_ANY, 0, cmd_logged_in },
	{ "LOGOUT", IMAP_ANY, 0, cmd_logout },
	{ "LSUB", IMAP_ANY, 0, imap_cmd_lsub },
	{ "MOVE", IMAP_SELECTED, CMD_UID | CMD_WRITES, imap_cmd_move },
	{ "NAMESPACE", IMAP_ANY, 0, cmd_namespace },
	{ "NOOP", IMAP_ANY, 0, cmd_noop },
	{ "RENAME", IMAP_ANY, 0, imap_cmd_rename },
	{ "SEARCH", IMAP_SELECTED, CMD_UID | CMD_NO_EXPUNGE, imap_cmd_search },
	{ "SELECT", IMAP_ANY, 0, imap_cmd_select },
	{ "STARTTLS", IMAP_ANY, 0, cmd_logged_in },
	{ "STATUS", IMAP_ANY, 0, imap_cmd_status },
	{ "STORE", IMAP_SELECTED, CMD_UID | CMD_NO_EXPUNGE | CMD_WRITES, imap_cmd_store },
	{ "SUBSCRIBE", IMAP_ANY, 0, imap_cmd_subscribe },
	{ "UNSELECT", IMAP_SELECTED, 0, imap_cmd_unselect },
	{ "UNSUBSCRIBE", IMAP_ANY, 0, imap_cmd_unsubscribe },
	{ NULL, 0, 0, NULL },
};

const char *
session_imap_capabilities(void)
{
	return CAPABILITIES;
}

const struct imap_command *
imap_command_find(struct span name)
{
	for (const struct imap_command *c = imap_commands; c->name != NULL; c++)
		if (span_is_nocase(name, c->name))
			return c;
	return NULL;
}

void
imap_job_start(struct session *s, bool (*job)(struct session *), void *data,
    void (*job_free)(void *))
{
	s->imap->job = job;
	s->imap->job_data = data;
	s->imap->job_free = job_free;
}

void
imap_job_end(struct session *s)
{
	struct imap *im = s->imap;

	if (im->job_free != NULL)
		im->job_free(im->job_data);
	im->job = NULL;
	im->job_free = NULL;
	im->job_data = NULL;
	im->in_message = false;
}

void
imap_begin(struct session *s, struct span tag, const struct imap_command *cmd, bool uid)
{
	struct imap *im = s->imap;

	if (span_copy(tag, im->tag, sizeof(im->tag)) == -1)
		im->tag[0] = '\0';
	im->cmd = cmd;
	im->uid = uid;
}

static void
say_bye(struct session *s, const char *why)
{
	session_printf(s, "* BYE %s\r\n", why);
	session_close(s);
}

/* The command is over: forget everything that was its own. */
static void
end_command(struct session *s)
{
	struct imap *im = s->imap;

	imap_job_end(s);
	imap_append_free(im->append);
	im->append = NULL;
	im->refusal = NULL;
	im->cmd = NULL;
	im->uid = false;
	im->idling = false;
	im->tag[0] = '\0';
	imap_input_next(&im->input);
	arena_clear(&im->arena);
}

static void
answer(struct session *s, const char *fmt, va_list ap)
{
	struct imap *im = s->imap;

	session_printf(s, "%s ", im->tag[0] != '\0' ? im->tag : "*");
	evbuffer_add_vprintf(s->out, fmt, ap);
	imap_put(s->out, "\r\n");
	end_command(s);
}

void
imap_finish(struct session *s, const char *fmt, ...)
{
	struct imap *im = s->imap;
	va_list ap;

	if (im->view != NULL && im->cmd != NULL)
		imap_tell(s, im->uid || !(im->cmd->flags & CMD_NO_EXPUNGE));
	im->bad = 0;
	va_start(ap, fmt);
	answer(s, fmt, ap);
	va_end(ap);
}

static void
answer_bad(struct session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	answer(s, fmt, ap);
	va_end(ap);
}

void
imap_bad(struct session *s, const char *why)
{
	answer_bad(s, "BAD %s", why);
	if (++s->imap->bad >= BAD_MAX)
		say_bye(s, "Too many commands that make no sense");
}

void
imap_no(struct session *s, enum mail_rc rc, const char *unknown_code)
{
	switch (rc) {
	case MAIL_NOT_TWICE:
		imap_finish(s, "NO [UNAVAILABLE] Not stored twice yet, try again");
		return;
	case MAIL_NOT_ACTIVE:
		imap_finish(s, "NO [UNAVAILABLE] This node serves no more");
		return;
	case MAIL_DISK_FULL:
		imap_finish(s, "NO [UNAVAILABLE] No space left on the server");
		return;
	case MAIL_OVER_QUOTA:
		imap_finish(s, "NO [OVERQUOTA] Over quota");
		return;
	case MAIL_UNKNOWN:
		imap_finish(s, "NO [%s] No such mailbox", unknown_code);
		return;
	case MAIL_EXISTS:
		imap_finish(s, "NO [ALREADYEXISTS] The mailbox exists already");
		return;
	case MAIL_DENIED:
		imap_finish(s, "NO [NOPERM] Not allowed");
		return;
	case MAIL_BAD:
		imap_finish(s, "NO [CANNOT] Not possible");
		return;
	case MAIL_OK:
	case MAIL_TEMP:
	case MAIL_RELAY:
		break;
	}
	imap_finish(s, "NO [UNAVAILABLE] Temporary failure");
}

void
imap_done(struct session *s, const struct store_result *r)
{
	if (r->rc == MAIL_OK)
		imap_finish(s, "OK %s completed", s->imap->cmd->name);
	else
		imap_no(s, r->rc, "NONEXISTENT");
}

bool
imap_name_decode(struct span wire, struct imap_box_name *name)
{
	char *utf8 = name->utf8;

	if (wire.len == 0 || mutf7_decode(wire, utf8, sizeof(name->utf8)) == -1)
		return false;
	if (strncasecmp(utf8, "INBOX", 5) == 0 && (utf8[5] == '\0' || utf8[5] == '/'))
		memcpy(utf8, "INBOX", 5);
	return true;
}

bool
imap_mailbox_name(struct session *s, struct span wire, struct imap_box_name *name)
{
	if (imap_name_decode(wire, name))
		return true;
	imap_finish(s, "NO [CANNOT] Not a mailbox name");
	return false;
}

bool
imap_arg_set(struct session *s, struct imap_cur *c, struct view_set *set)
{
	struct imap *im = s->imap;
	struct imap_set words;

	if (imap_get_char(c, ' ') != PARSE_OK || imap_get_set(c, &words) != PARSE_OK) {
		imap_bad(s, "A set of messages was expected");
		return false;
	}
	if (imap_view_resolve(im->view, &words, im->uid, &im->arena, set) != PARSE_OK) {
		imap_bad(s, "No such message number");
		return false;
	}
	return true;
}

bool
imap_no_args(struct session *s, struct imap_cur *c)
{
	if (imap_get_end(c) == PARSE_OK)
		return true;
	imap_bad(s, "No arguments were expected");
	return false;
}

static void
cmd_capability(struct session *s, struct imap_cur *c)
{
	if (!imap_no_args(s, c))
		return;
	session_printf(s, "* CAPABILITY %s\r\n", CAPABILITIES);
	imap_finish(s, "OK CAPABILITY completed");
}

static void
cmd_noop(struct session *s, struct imap_cur *c)
{
	if (imap_no_args(s, c))
		imap_finish(s, "OK NOOP completed");
}

static void
cmd_logout(struct session *s, struct imap_cur *c)
{
	if (!imap_no_args(s, c))
		return;
	imap_select_clear(s);
	imap_put(s->out, "* BYE Logging out\r\n");
	imap_finish(s, "OK LOGOUT completed");
	session_close(s);
}

static void
cmd_logged_in(struct session *s, struct imap_cur *c)
{
	(void)c;
	imap_bad(s, "Logged in already");
}

static void
cmd_append(struct session *s, struct imap_cur *c)
{
	(void)c;			/* with a message it comes by imap_append_literal() */
	imap_bad(s, "A mailbox and a message as a literal were expected");
}

static void
cmd_namespace(struct session *s, struct imap_cur *c)
{
	if (!imap_no_args(s, c))
		return;
	imap_put(s->out, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
	imap_finish(s, "OK NAMESPACE completed");
}

/* RFC 2971: what clients say of themselves is logged, bounded. */
static enum parse
parse_id(struct imap_cur *c, char *text, size_t size)
{
	struct span field, value;
	size_t n = 0;
	enum parse rc;

	if ((rc = imap_get_char(c, ' ')) != PARSE_OK)
		return rc;
	if (!imap_at(c, '('))
		return imap_get_nstring(c, &value);
	c->p++;
	while (!imap_at(c, ')')) {
		if (n++ == 30)
			return PARSE_BAD;
		if ((rc = imap_get_string(c, &field)) != PARSE_OK ||
		    (rc = imap_get_char(c, ' ')) != PARSE_OK ||
		    (rc = imap_get_nstring(c, &value)) != PARSE_OK)
			return rc;
		if (span_is_nocase(field, "name") && value.len < size) {
			memcpy(text, value.p, value.len);
			text[value.len] = '\0';
		}
		if (imap_at(c, ' '))
			c->p++;
	}
	return imap_get_char(c, ')');
}

static void
cmd_id(struct session *s, struct imap_cur *c)
{
	char name[64] = "";

	if (parse_id(c, name, sizeof(name)) != PARSE_OK || imap_get_end(c) != PARSE_OK) {
		imap_bad(s, "A list of names and values, or NIL, was expected");
		return;
	}
	if (name[0] != '\0')
		log_info("imap %s client name=%s", s->sid, log_safe(name));
	imap_put(s->out, "* ID (\"name\" \"mailpair\")\r\n");
	imap_finish(s, "OK ID completed");
}

/* The rights of the state, before the command sees its arguments. */
static bool
allowed(struct session *s, const struct imap_command *cmd)
{
	struct imap *im = s->imap;

	if (im->uid && !(cmd->flags & (CMD_UID | CMD_UID_ONLY))) {
		imap_bad(s, "No such UID command");
		return false;
	}
	if (!(cmd->states & (im->view != NULL ? IMAP_SELECTED : IMAP_AUTH))) {
		imap_bad(s, "No mailbox is selected");
		return false;
	}
	if ((cmd->flags & CMD_WRITES) && im->view != NULL && im->view->readonly) {
		imap_finish(s, "NO [READ-ONLY] The mailbox was opened with EXAMINE");
		return false;
	}
	return true;
}

static void
dispatch(struct session *s)
{
	struct imap *im = s->imap;
	const struct imap_command *cmd;
	struct imap_cur c;
	struct span tag, verb;
	bool uid = false;

	imap_cur_init(&c, imap_input_text(&im->input), &im->arena);
	if (imap_get_tag(&c, &tag) != PARSE_OK || tag.len > IMAP_TAG_MAX ||
	    imap_get_char(&c, ' ') != PARSE_OK) {
		imap_bad(s, "A tag was expected");
		return;
	}
	imap_begin(s, tag, NULL, false);
	if (imap_get_atom(&c, &verb) == PARSE_OK && span_is_nocase(verb, "UID")) {
		uid = true;
		if (imap_get_char(&c, ' ') != PARSE_OK || imap_get_atom(&c, &verb) != PARSE_OK)
			verb = SPAN("");
	}
	if ((cmd = imap_command_find(verb)) == NULL) {
		imap_bad(s, "No such command");
		return;
	}
	imap_begin(s, tag, cmd, uid);
	if (allowed(s, cmd))
		cmd->run(s, &c);
}

/* An answer for what was not understood at all; the tag where there is one. */
static void
refuse(struct session *s, const char *text)
{
	struct imap *im = s->imap;
	struct imap_cur c;
	struct span tag;

	imap_cur_init(&c, imap_input_text(&im->input), &im->arena);
	if (im->tag[0] == '\0' && imap_get_tag(&c, &tag) == PARSE_OK &&
	    tag.len <= IMAP_TAG_MAX && imap_at(&c, ' '))
		imap_begin(s, tag, im->cmd, false);
	if (strncmp(text, "BAD ", 4) == 0)
		imap_bad(s, text + 4);
	else
		imap_finish(s, "%s", text);
}

static void
literal(struct session *s)
{
	struct imap *im = s->imap;
	const struct session_limits *l = session_limits(s);

	if (im->input.refused || im->append != NULL) {
		if (im->append != NULL)
			im->refusal = "BAD One message at a time";
		imap_input_skip(&im->input);
		return;
	}
	if (imap_append_literal(s))
		return;
	if (im->input.size > l->literal_max ||
	    im->input.literal_bytes + im->input.size > l->literal_max) {
		im->refusal = "BAD [TOOBIG] Literal too large";
		if (im->input.nonsync)
			imap_input_skip(&im->input);
		else
			refuse(s, im->refusal);
		return;
	}
	if (!im->input.nonsync)
		imap_put(s->out, "+ OK\r\n");
	imap_input_take(&im->input);
}

static void
complete(struct session *s)
{
	struct imap *im = s->imap;

	if (im->input.refused)
		refuse(s, im->refusal != NULL ? im->refusal : "BAD Not understood");
	else if (im->append != NULL)
		imap_append_end(s);
	else
		dispatch(s);
}

static bool
read_command(struct session *s)
{
	struct imap *im = s->imap;
	struct evbuffer_iovec v;
	enum imap_in rc;
	size_t used;

	if (evbuffer_peek(s->in, -1, NULL, &v, 1) < 1 || v.iov_len == 0)
		return false;
	rc = imap_input_feed(&im->input, v.iov_base, v.iov_len, &used);
	evbuffer_drain(s->in, used);
	switch (rc) {
	case IMAP_IN_MORE:
		break;
	case IMAP_IN_COMMAND:
		complete(s);
		break;
	case IMAP_IN_LITERAL:
		literal(s);
		break;
	case IMAP_IN_BAD:
		refuse(s, "BAD Line too long or with a NUL");
		break;
	}
	return true;
}

static bool
imap_step(struct session *s)
{
	struct imap *im = s->imap;

	if (s->waiting)
		return false;
	if (im->bye != NULL && !im->in_message) {
		say_bye(s, im->bye);
		return false;
	}
	if (im->cmd == NULL && im->view != NULL && im->view->deleted) {
		say_bye(s, "The selected mailbox was deleted");
		return false;
	}
	if (im->job != NULL)
		return im->job(s);
	return read_command(s);
}

static void
imap_start(struct session *s)
{
	const struct session_limits *l = session_limits(s);
	struct imap *im = mem_alloc(sizeof(*im));

	s->imap = im;
	imap_input_init(&im->input, l->line_max);
	arena_init(&im->arena, (size_t)l->literal_max + l->line_max * 8 + ARENA_EXTRA);
	session_printf(s, "%s OK [CAPABILITY %s] Logged in\r\n",
	    s->tag[0] != '\0' ? s->tag : "*", CAPABILITIES);
}

static void
imap_bye(struct session *s, const char *why)
{
	struct imap *im = s->imap;

	if (im->bye == NULL)
		im->bye = mem_dup(why);
	session_kick(s);
}

static void
imap_clear(struct session *s)
{
	if (s->imap == NULL)
		return;
	imap_select_clear(s);
	end_command(s);
	imap_input_clear(&s->imap->input);
	free(s->imap->bye);
	free(s->imap);
	s->imap = NULL;
}

const struct session_proto imap_proto = { imap_start, imap_step, imap_bye, imap_clear };
