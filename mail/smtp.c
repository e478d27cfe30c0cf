/* smtp.c - the session part of the SMTP engine: lines, verbs, states, replies.
 *
 * One table says which verb is legal in which state.  A client's mistake gets the
 * RFC's answer and is counted; too many of them end the session.  Input behind
 * STARTTLS ends it at once: nothing said in clear may be taken for encrypted
 * (RFC 3207 4.2 and the command injections that came of it). */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "line.h"
#include "mem.h"
#include "smtp_int.h"

void
smtp_reply(struct smtp *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	evbuffer_add_vprintf(s->out, fmt, ap);
	va_end(ap);
	evbuffer_add(s->out, "\r\n", 2);
}

void
smtp_close(struct smtp *s, const char *why)
{
	if (s->closed)
		return;
	s->closed = true;
	smtp_reset(s);
	s->ops->closing(s->arg, why);
}

void
smtp_error(struct smtp *s, const char *text)
{
	smtp_reply(s, "%s", text);
	if (++s->errors < s->limits->errors_max)
		return;
	smtp_reply(s, "421 4.7.0 %s too many errors", s->limits->hostname);
	smtp_close(s, "too many errors");
}

bool
smtp_submission(const struct smtp *s)
{
	return s->peer.service != MAIL_SMTP;
}

void
smtp_reset(struct smtp *s)
{
	if (s->state == ST_START)
		return;
	s->state = ST_IDLE;
	s->from[0] = s->first_rcpt[0] = '\0';
	s->nrcpt = 0;
	s->ops->reset(s->arg);
}

/* The name a client gives itself goes into headers and the log: no spaces, no
 * control characters, nothing that could end a comment. */
static bool
helo_ok(struct span a)
{
	if (a.len == 0 || a.len > ADDRESS_DOMAIN_MAX)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (a.p[i] <= ' ' || a.p[i] >= 0x7f || strchr("()<>\\\"", a.p[i]) != NULL)
			return false;
	return true;
}

static bool
hello(struct smtp *s, struct span arg)
{
	if (!helo_ok(arg)) {
		smtp_error(s, "501 5.5.4 your host name is missing or malformed");
		return false;
	}
	smtp_reset(s);
	span_copy(arg, s->helo, sizeof(s->helo));
	s->state = ST_IDLE;
	return true;
}

static void
cmd_helo(struct smtp *s, struct span arg)
{
	if (!hello(s, arg))
		return;
	s->esmtp = false;
	smtp_reply(s, "250 %s", s->limits->hostname);
}

static void
cmd_ehlo(struct smtp *s, struct span arg)
{
	if (!hello(s, arg))
		return;
	s->esmtp = true;
	smtp_reply(s, "250-%s", s->limits->hostname);
	smtp_reply(s, "250-PIPELINING");
	smtp_reply(s, "250-SIZE %llu", (unsigned long long)s->limits->message_size_max);
	smtp_reply(s, "250-8BITMIME");
	if (s->peer.tls_offered && s->tls[0] == '\0')
		smtp_reply(s, "250-STARTTLS");
	if (smtp_submission(s) && s->tls[0] != '\0' && s->user == NULL)
		smtp_reply(s, "250-AUTH PLAIN LOGIN");
	smtp_reply(s, "250 ENHANCEDSTATUSCODES");
}

static void
cmd_rset(struct smtp *s, struct span arg)
{
	if (arg.len > 0) {
		smtp_error(s, "501 5.5.4 RSET takes no argument");
		return;
	}
	smtp_reset(s);
	smtp_reply(s, "250 2.0.0 Ok");
}

static void
cmd_noop(struct smtp *s, struct span arg)
{
	(void)arg;
	smtp_reply(s, "250 2.0.0 Ok");
}

static void
cmd_vrfy(struct smtp *s, struct span arg)
{
	if (arg.len == 0)
		smtp_error(s, "501 5.5.4 VRFY needs an address");
	else
		smtp_reply(s, "252 2.5.0 send some mail, I will do my best");
}

static void
cmd_expn(struct smtp *s, struct span arg)
{
	(void)arg;
	smtp_error(s, "502 5.5.1 EXPN is not offered");
}

static void
cmd_help(struct smtp *s, struct span arg)
{
	(void)arg;
	smtp_reply(s, "214 2.0.0 RFC 5321; EHLO MAIL RCPT DATA RSET NOOP VRFY STARTTLS AUTH QUIT");
}

static void
cmd_quit(struct smtp *s, struct span arg)
{
	if (arg.len > 0) {
		smtp_error(s, "501 5.5.4 QUIT takes no argument");
		return;
	}
	smtp_reply(s, "221 2.0.0 %s bye", s->limits->hostname);
	smtp_close(s, "quit");
}

static void
cmd_starttls(struct smtp *s, struct span arg)
{
	if (s->tls[0] != '\0')
		smtp_error(s, "503 5.5.1 TLS is active already");
	else if (!s->peer.tls_offered)
		smtp_error(s, "502 5.5.1 STARTTLS is not offered");
	else if (arg.len > 0)
		smtp_error(s, "501 5.5.4 STARTTLS takes no argument");
	else {
		s->waiting = true;		/* until smtp_tls() */
		smtp_reply(s, "220 2.0.0 ready for TLS");
		s->ops->starttls(s->arg);
	}
}

static const struct verb {
	const char *name;
	int states;
	void (*run)(struct smtp *, struct span);
} verbs[] = {
	{ "HELO", ST_ANY, cmd_helo },
	{ "EHLO", ST_ANY, cmd_ehlo },
	{ "MAIL", ST_IDLE, smtp_cmd_mail },
	{ "RCPT", ST_MAIL | ST_RCPT, smtp_cmd_rcpt },
	{ "DATA", ST_RCPT, smtp_cmd_data },
	{ "RSET", ST_ANY, cmd_rset },
	{ "NOOP", ST_ANY, cmd_noop },
	{ "QUIT", ST_ANY, cmd_quit },
	{ "VRFY", ST_ANY, cmd_vrfy },
	{ "EXPN", ST_ANY, cmd_expn },
	{ "HELP", ST_ANY, cmd_help },
	{ "STARTTLS", ST_START | ST_IDLE, cmd_starttls },
	{ "AUTH", ST_IDLE, smtp_cmd_auth },
};

/* Why a verb is refused where it stands. */
static const char *
wrong_state(const struct smtp *s, const struct verb *v)
{
	if (s->state == ST_START)
		return "503 5.5.1 send EHLO first";
	if (v->run == smtp_cmd_mail)
		return "503 5.5.1 a transaction is under way";
	if (v->run == smtp_cmd_rcpt)
		return "503 5.5.1 send MAIL first";
	if (v->run == smtp_cmd_data)
		return s->state == ST_MAIL ? "554 5.5.1 no valid recipients"
					   : "503 5.5.1 send MAIL and RCPT first";
	return "503 5.5.1 not during a transaction";
}

static void
command(struct smtp *s, struct span line)
{
	struct span arg = line, verb;

	if (!span_cut(&arg, ' ', &verb) || verb.len == 0) {
		smtp_error(s, "500 5.5.2 no command");
		return;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!span_is_nocase(verb, verbs[i].name))
			continue;
		if ((verbs[i].states & (int)s->state) == 0)
			smtp_error(s, wrong_state(s, &verbs[i]));
		else
			verbs[i].run(s, span_trim(arg));
		return;
	}
	smtp_error(s, "500 5.5.1 command not recognised");
}

/* One line of commands or of an AUTH exchange; false when there is none. */
static bool
take_line(struct smtp *s, struct evbuffer *in)
{
	struct line line;

	if (s->skipping) {
		if (!line_skip(in))
			return false;
		s->skipping = false;
	}
	/* RFC 4954 4: a line of the exchange may have 12,288 bytes. */
	switch (line_get(in, s->auth != AUTH_NO ? 12288 : s->limits->command_line_max, &line)) {
	case PARSE_MORE:
		return false;
	case PARSE_BAD:
		s->skipping = true;
		s->auth = AUTH_NO;
		smtp_error(s, "500 5.5.2 line too long, or not ended by CRLF");
		return true;
	case PARSE_OK:
		break;
	}
	if (s->auth != AUTH_NO)
		smtp_auth_line(s, (struct span){ line.text, line.len });
	else
		command(s, (struct span){ line.text, line.len });
	mem_wipe(line.text, line.len);		/* it may have been a password */
	line_free(&line);
	return true;
}

/* Text of a message as far as it is there; false when more is needed. */
static bool
take_data(struct smtp *s, struct evbuffer *in)
{
	struct evbuffer_iovec v;
	char out[16385];
	size_t taken, n;
	enum parse rc;

	if (evbuffer_peek(in, -1, NULL, &v, 1) < 1 || v.iov_len == 0)
		return false;
	if (v.iov_len > sizeof(out) - 1)
		v.iov_len = sizeof(out) - 1;
	rc = smtp_data_step(&s->data, (struct span){ v.iov_base, v.iov_len }, &taken, out, &n);
	evbuffer_drain(in, taken);
	if (n > 0 && s->data_rc == MAIL_OK && s->data.size <= s->limits->message_size_max)
		s->data_rc = s->ops->data(s->arg, (struct span){ out, n }, false);
	if (rc == PARSE_OK)
		smtp_data_end(s);
	return true;
}

void
smtp_input(struct smtp *s, struct evbuffer *in)
{
	bool more = true;

	while (more && !s->closed && !s->waiting)
		more = s->state == ST_DATA ? take_data(s, in) : take_line(s, in);
	if (s->closed)
		evbuffer_drain(in, evbuffer_get_length(in));
}

struct smtp *
smtp_new(const struct smtp_limits *limits, const struct smtp_peer *peer,
    const struct smtp_ops *ops, void *arg, struct evbuffer *out)
{
	struct smtp *s = mem_alloc(sizeof(*s));

	s->limits = limits;
	s->ops = ops;
	s->arg = arg;
	s->out = out;
	s->peer = *peer;
	s->state = ST_START;
	return s;
}

void
smtp_free(struct smtp *s)
{
	if (s == NULL)
		return;
	free(s->user);
	free(s->auth_user);
	free(s);
}

void
smtp_greet(struct smtp *s)
{
	smtp_reply(s, "220 %s ESMTP", s->limits->hostname);
}

void
smtp_refuse(struct smtp *s, const char *text)
{
	smtp_reply(s, "%s", text);
	smtp_close(s, text);
}

void
smtp_tls(struct smtp *s, const char *version)
{
	snprintf(s->tls, sizeof(s->tls), "%s", version);
	s->waiting = false;
	s->esmtp = false;
	s->helo[0] = '\0';
	s->state = ST_START;		/* RFC 3207 4.2: nothing said before counts */
}

void
smtp_timeout(struct smtp *s)
{
	smtp_reply(s, "421 4.4.2 %s timeout", s->limits->hostname);
	smtp_close(s, "timeout");
}

void
smtp_drain(struct smtp *s)
{
	s->draining = true;
	if (smtp_in_data(s) || s->closed)
		return;
	smtp_reply(s, "421 4.3.2 %s is going down, try again", s->limits->hostname);
	smtp_close(s, "drained");
}

bool
smtp_in_data(const struct smtp *s)
{
	return s->state == ST_DATA;
}

bool
smtp_waiting(const struct smtp *s)
{
	return s->waiting;
}

const char *
smtp_user(const struct smtp *s)
{
	return s->user;
}
