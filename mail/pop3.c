/* pop3.c - POP3 after the login: the TRANSACTION state of RFC 1939.
 *
 * The maildrop is the INBOX as it was at the login; one POP3 session of a user has it
 * at a time (RFC 2449 IN-USE), IMAP sessions beside it are not disturbed.  Messages
 * marked by DELE are removed at QUIT, as one change; the answer to QUIT follows its
 * commit.  A session that ends otherwise removes nothing.  RETR does not touch flags.
 * RETR and TOP go out piece by piece as the client takes them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hex.h"
#include "line.h"
#include "log.h"
#include "mem.h"
#include "pop3.h"

#define PIECE (32u << 10)
#define LINE_MAX_POP3 1024		/* RFC 2449 4: 255 and more */
#define BAD_MAX 20

struct verb {
	const char *name;
	void (*run)(struct session *, struct span args);
};

enum parse
pop3_parse_msgno(struct span in, size_t count, size_t *msgno)
{
	uint64_t n;

	if (in.len > 0 && count > 0 && span_u64(in, count, &n) == PARSE_OK && n > 0) {
		*msgno = (size_t)n;
		return PARSE_OK;
	}
	return PARSE_BAD;
}

void
pop3_put_stuffed(struct evbuffer *out, struct span in, bool *at_start)
{
	while (in.len > 0) {
		const char *lf = memchr(in.p, '\n', in.len);
		size_t n = lf != NULL ? (size_t)(lf - in.p) + 1 : in.len;

		if (*at_start && in.p[0] == '.')
			evbuffer_add(out, ".", 1);
		evbuffer_add(out, in.p, n);
		*at_start = lf != NULL;
		in.p += n;
		in.len -= n;
	}
}

static void
bad(struct session *s, const char *why)
{
	session_printf(s, "-ERR %s\r\n", why);
	if (++s->pop3->bad >= BAD_MAX)
		session_close(s);
}

static struct pop3_msg *
message(struct session *s, struct span arg)
{
	struct pop3 *p = s->pop3;
	size_t n;

	if (pop3_parse_msgno(arg, p->n, &n) != PARSE_OK || p->msg[n - 1].deleted) {
		session_printf(s, "-ERR No such message\r\n");
		return NULL;
	}
	return &p->msg[n - 1];
}

static void
totals(const struct pop3 *p, size_t *n, uint64_t *bytes)
{
	*n = 0;
	*bytes = 0;
	for (size_t i = 0; i < p->n; i++)
		if (!p->msg[i].deleted) {
			++*n;
			*bytes += p->msg[i].size;
		}
}

static void
cmd_stat(struct session *s, struct span args)
{
	uint64_t bytes;
	size_t n;

	if (args.len > 0) {
		bad(s, "No arguments were expected");
		return;
	}
	totals(s->pop3, &n, &bytes);
	session_printf(s, "+OK %zu %llu\r\n", n, (unsigned long long)bytes);
}

static void
put_size(struct session *s, const struct pop3_msg *m)
{
	session_printf(s, "%zu %llu\r\n", (size_t)(m - s->pop3->msg) + 1,
	    (unsigned long long)m->size);
}

static void
put_uid(struct session *s, const struct pop3_msg *m)
{
	char hex[sizeof(m->guid) * 2 + 1];

	session_printf(s, "%zu %s\r\n", (size_t)(m - s->pop3->msg) + 1,
	    hex_encode(m->guid, sizeof(m->guid), hex));
}

static void
listing(struct session *s, struct span arg,
    void (*put)(struct session *, const struct pop3_msg *))
{
	struct pop3 *p = s->pop3;
	struct pop3_msg *m;

	if (arg.len > 0) {
		if ((m = message(s, arg)) != NULL) {
			session_printf(s, "+OK ");
			put(s, m);
		}
		return;
	}
	session_printf(s, "+OK The list follows\r\n");
	for (size_t i = 0; i < p->n; i++)	/* a few bytes a message */
		if (!p->msg[i].deleted)
			put(s, &p->msg[i]);
	session_printf(s, ".\r\n");
}

static void
cmd_list(struct session *s, struct span args)
{
	listing(s, args, put_size);
}

static void
cmd_uidl(struct session *s, struct span args)
{
	listing(s, args, put_uid);
}

static void send_message(struct session *, struct pop3_msg *, uint64_t);

static void
mended(struct session *s, const struct store_result *r)
{
	(void)r;		/* whether it can be read now is seen when it is */
	send_message(s, s->pop3->mending, s->pop3->body_lines);
}

/* One that cannot be read is got from the other node, once, and then read again. */
static void
mend(struct session *s, struct pop3_msg *m, const uint8_t sha[32], uint64_t body_lines)
{
	s->pop3->mending = m;
	s->pop3->body_lines = body_lines;
	store_mend(s->store, s->shard, sha, session_done, s);
	session_wait(s, mended);
}

static void
send_message(struct session *s, struct pop3_msg *m, uint64_t body_lines)
{
	struct pop3 *p = s->pop3;
	struct store_msg msg;
	enum mail_rc rc;
	bool again = p->mending != NULL;

	p->mending = NULL;
	rc = store_message(s->store, s->shard, p->box, m->uid, &msg);
	if (rc != MAIL_OK) {
		session_printf(s, rc == MAIL_UNKNOWN
		    ? "-ERR The message was removed by another session\r\n"
		    : "-ERR [SYS/TEMP] Temporary failure\r\n");
		return;
	}
	if (object_map_open(&p->object, s->store, s->shard, &msg) == -1) {
		log_err("pop3 %s cannot read message uid=%u: %s", s->sid, m->uid,
		    strerror(errno));
		if (again)
			session_printf(s, "-ERR [SYS/TEMP] The message cannot be read now\r\n");
		else
			mend(s, m, msg.sha, body_lines);
	} else {
		session_printf(s, "+OK %llu octets\r\n", (unsigned long long)msg.size);
		p->rest = p->object.text;
		p->sending = p->line_start = p->in_head = true;
		p->body_lines = body_lines;
	}
	free(msg.keywords);
}

static void
cmd_retr(struct session *s, struct span args)
{
	struct pop3_msg *m = message(s, args);

	if (m != NULL)
		send_message(s, m, UINT64_MAX);
}

static void
cmd_top(struct session *s, struct span args)
{
	struct pop3_msg *m;
	struct span number;
	uint64_t lines;

	if (!span_cut(&args, ' ', &number) ||
	    span_u64(span_trim(args), UINT32_MAX, &lines) != PARSE_OK) {
		bad(s, "A message number and a number of lines were expected");
		return;
	}
	if ((m = message(s, number)) != NULL)
		send_message(s, m, lines);
}

static void
cmd_dele(struct session *s, struct span args)
{
	struct pop3_msg *m = message(s, args);

	if (m == NULL)
		return;
	m->deleted = true;
	session_printf(s, "+OK Marked to be removed\r\n");
}

static void
cmd_rset(struct session *s, struct span args)
{
	(void)args;
	for (size_t i = 0; i < s->pop3->n; i++)
		s->pop3->msg[i].deleted = false;
	session_printf(s, "+OK Nothing is marked\r\n");
}

static void
cmd_noop(struct session *s, struct span args)
{
	(void)args;
	session_printf(s, "+OK\r\n");
}

static void
cmd_capa(struct session *s, struct span args)
{
	(void)args;
	session_printf(s, "+OK Capabilities follow\r\nTOP\r\nUIDL\r\nRESP-CODES\r\n"
	    "AUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nIMPLEMENTATION mailpair\r\n"
	    ".\r\n");
}

static void
removed(struct session *s, const struct store_result *r)
{
	if (r->rc == MAIL_OK)
		session_printf(s, "+OK Removed, goodbye\r\n");
	else
		session_printf(s, "-ERR [SYS/TEMP] Marked messages were not removed\r\n");
	session_close(s);
}

static void
cmd_quit(struct session *s, struct span args)
{
	struct pop3 *p = s->pop3;
	struct { uint32_t lo, hi; } *r = mem_array(p->n + 1, sizeof(*r));
	struct store_uids uids = { (const void *)r, 0 };

	(void)args;
	for (size_t i = 0; i < p->n; i++)
		if (p->msg[i].deleted) {
			r[uids.n].lo = r[uids.n].hi = p->msg[i].uid;
			uids.n++;
		}
	if (uids.n == 0) {
		session_printf(s, "+OK Goodbye\r\n");
		session_close(s);
	} else {
		store_expunge(s->store, s->shard, p->box, &uids, false, session_done, s);
		session_wait(s, removed);
	}
	free(r);
}

static const struct verb verbs[] = {
	{ "CAPA", cmd_capa }, { "DELE", cmd_dele }, { "LIST", cmd_list },
	{ "NOOP", cmd_noop }, { "QUIT", cmd_quit }, { "RETR", cmd_retr },
	{ "RSET", cmd_rset }, { "STAT", cmd_stat }, { "TOP", cmd_top },
	{ "UIDL", cmd_uidl },
};

static void
command(struct session *s, struct span line)
{
	struct span verb = line, args = { 0 };
	const char *sp = memchr(line.p, ' ', line.len);

	if (sp != NULL) {
		verb.len = (size_t)(sp - line.p);
		args = span_trim((struct span) { sp, line.len - verb.len });
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (span_is_nocase(verb, verbs[i].name)) {
			verbs[i].run(s, args);
			return;
		}
	bad(s, "No such command here");
}

/* TOP: how much of the piece is header and wanted body lines? */
static size_t
wanted(struct pop3 *p, struct span piece)
{
	size_t at = 0;

	if (p->body_lines == UINT64_MAX)
		return piece.len;
	while (at < piece.len) {
		const char *lf = memchr(piece.p + at, '\n', piece.len - at);
		size_t end = lf != NULL ? (size_t)(lf - piece.p) + 1 : piece.len;

		if (!p->in_head && p->body_lines == 0) {
			p->rest.len = 0;		/* nothing behind it is sent */
			return at;
		}
		if (p->in_head && lf != NULL && p->line_start && end - at <= 2 &&
		    (piece.p[at] == '\r' || piece.p[at] == '\n'))
			p->in_head = false;
		else if (!p->in_head && lf != NULL)
			p->body_lines--;
		p->line_start = lf != NULL;
		at = end;
	}
	return at;
}

static void
send_piece(struct session *s)
{
	struct pop3 *p = s->pop3;
	struct span piece = p->rest;
	bool at_start = p->line_start;

	if (piece.len > PIECE)
		piece.len = PIECE;
	p->rest.p += piece.len;
	p->rest.len -= piece.len;
	piece.len = wanted(p, piece);
	p->line_start = at_start;
	pop3_put_stuffed(s->out, piece, &p->line_start);
	if (p->rest.len > 0)
		return;
	session_printf(s, p->line_start ? ".\r\n" : "\r\n.\r\n");
	p->sending = false;
	object_map_close(&p->object);
}

static bool
read_line(struct session *s)
{
	struct pop3 *p = s->pop3;
	struct line line;

	if (p->skipping) {
		p->skipping = !line_skip(s->in);
		return !p->skipping;
	}
	switch (line_get_lf(s->in, LINE_MAX_POP3, &line)) {
	case PARSE_MORE:
		return false;
	case PARSE_BAD:
		p->skipping = !line_skip(s->in);
		bad(s, "Line too long or malformed");
		return true;
	case PARSE_OK:
		break;
	}
	command(s, (struct span) { line.text, line.len });
	line_free(&line);
	return !s->waiting;
}

static bool
pop3_step(struct session *s)
{
	struct pop3 *p = s->pop3;

	if (s->waiting)
		return false;
	if (p->sending) {
		send_piece(s);
		return true;
	}
	if (p->bye != NULL) {
		session_printf(s, "-ERR [SYS/TEMP] %s\r\n", p->bye);
		session_close(s);
		return false;
	}
	return read_line(s);
}

static void
collect(const struct store_msg *m, void *arg)
{
	struct pop3 *p = arg;
	struct pop3_msg *new;

	if (p->n == p->cap) {
		p->cap = p->cap * 2 + 64;
		p->msg = mem_grow(p->msg, p->cap, sizeof(*p->msg));
	}
	new = &p->msg[p->n++];
	*new = (struct pop3_msg) { .uid = m->uid, .size = m->size };
	memcpy(new->guid, m->guid, sizeof(new->guid));
}

static void
pop3_start(struct session *s)
{
	struct pop3 *p = s->pop3 = mem_alloc(sizeof(*p));
	struct store_box box;
	uint64_t bytes;
	size_t n;

	if (!session_pop3_lock(s)) {
		session_printf(s, "-ERR [IN-USE] Another POP3 session has the maildrop\r\n");
		session_close(s);
		return;
	}
	if (store_box_by_name(s->store, s->shard, s->user, "INBOX", &box) != MAIL_OK ||
	    store_messages(s->store, s->shard, box.id, 1, 0, collect, p) != MAIL_OK) {
		session_printf(s, "-ERR [SYS/TEMP] Temporary failure\r\n");
		session_close(s);
		return;
	}
	p->box = box.id;
	totals(p, &n, &bytes);
	session_printf(s, "+OK Maildrop has %zu messages (%llu octets)\r\n", n,
	    (unsigned long long)bytes);
}

static void
pop3_bye(struct session *s, const char *why)
{
	if (s->pop3->bye == NULL)
		s->pop3->bye = mem_dup(why);
	session_kick(s);
}

static void
pop3_clear(struct session *s)
{
	struct pop3 *p = s->pop3;

	if (p == NULL)
		return;
	object_map_close(&p->object);
	free(p->msg);
	free(p->bye);
	free(p);
	s->pop3 = NULL;
}

const struct session_proto pop3_proto = { pop3_start, pop3_step, pop3_bye, pop3_clear };
