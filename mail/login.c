/* login.c - what POP3 and IMAP before the login share: counting mistakes, TLS,
 * SASL PLAIN, and the end.  Passwords are wiped wherever they were copied. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "hex.h"
#include "line.h"
#include "login_int.h"
#include "mem.h"

void
login_line(struct login *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	evbuffer_add_vprintf(l->out, fmt, ap);
	va_end(ap);
	evbuffer_add(l->out, "\r\n", 2);
}

void
login_close(struct login *l, const char *why)
{
	if (l->closed)
		return;
	l->closed = true;
	l->ops->closing(l->arg, why);
}

void
login_error(struct login *l, const char *text)
{
	l->proto->bad(l, text);
	if (++l->errors >= l->limits->errors_max)
		login_bye(l, "too many errors");
}

void
login_bye(struct login *l, const char *why)
{
	if (l->closed)
		return;
	l->proto->bye(l, why);
	login_close(l, why);
}

void
login_ask(struct login *l, const char *user, const char *password)
{
	l->waiting = true;
	l->ops->auth(l->arg, user, password);
}

void
login_starttls(struct login *l)
{
	l->waiting = true;			/* until login_tls() */
	l->ops->starttls(l->arg);
}

bool
login_take_line(struct login *l, struct evbuffer *in, void (*command)(struct login *, struct span))
{
	struct span text;
	struct line line;

	if (l->skipping) {
		if (!line_skip(in))
			return false;
		l->skipping = false;
	}
	switch (line_get_lf(in, l->limits->command_max, &line)) {
	case PARSE_MORE:
		return false;
	case PARSE_BAD:
		l->skipping = true;
		l->sasl = false;
		l->cmd_len = 0;
		l->tag[0] = '\0';
		login_error(l, "line too long or malformed");
		return true;
	case PARSE_OK:
		break;
	}
	text = (struct span){ line.text, line.len };
	if (l->sasl)
		login_sasl(l, text);
	else
		command(l, text);
	mem_wipe(line.text, line.len);		/* it may hold a password */
	line_free(&line);
	return true;
}

/* authzid NUL authcid NUL password (RFC 4616). */
static void
sasl_plain(struct login *l, char *msg, size_t len)
{
	char *user = memchr(msg, '\0', len), *end = msg + len, *pass;

	pass = user == NULL ? NULL : memchr(user + 1, '\0', (size_t)(end - user - 1));
	if (pass == NULL || user + 1 == pass || strlen(pass + 1) != (size_t)(end - pass - 1)) {
		login_error(l, "malformed PLAIN message");
		return;
	}
	if (msg[0] != '\0' && strcmp(msg, user + 1) != 0)
		l->proto->failed(l, MAIL_DENIED);
	else
		login_ask(l, user + 1, pass + 1);
}

void
login_sasl(struct login *l, struct span line)
{
	char msg[LOGIN_SECRET_MAX + 1];
	size_t n;

	l->sasl = false;
	if (span_is(line, "*"))
		login_error(l, "authentication cancelled");
	else if (line.len > LOGIN_SECRET_MAX / 3 * 4 || base64_decode(line, msg, &n) == -1)
		login_error(l, "malformed base64");
	else {
		msg[n] = '\0';
		sasl_plain(l, msg, n);
	}
	mem_wipe(msg, sizeof(msg));
}

void
login_auth_done(struct login *l, enum mail_rc rc)
{
	if (l->closed || !l->waiting)
		return;
	if (rc == MAIL_OK) {			/* stays waiting: it is finished */
		l->ops->handover(l->arg, l->tag);
		return;
	}
	l->waiting = false;
	l->proto->failed(l, rc);
	if (rc != MAIL_TEMP && ++l->failures >= l->limits->auth_failures_max)
		login_bye(l, "too many failures");
}

struct login *
login_new(const struct login_limits *limits, enum mail_service service, bool tls_offered,
    const struct login_ops *ops, void *arg, struct evbuffer *out)
{
	struct login *l = mem_alloc(sizeof(*l));

	l->limits = limits;
	l->ops = ops;
	l->arg = arg;
	l->out = out;
	l->tls_offered = tls_offered;
	l->proto = service == MAIL_IMAP || service == MAIL_IMAPS ? &login_imap : &login_pop3;
	return l;
}

void
login_free(struct login *l)
{
	if (l == NULL)
		return;
	if (l->cmd != NULL)
		mem_wipe(l->cmd, l->cmd_len);
	free(l->cmd);
	free(l->user);
	free(l);
}

void
login_greet(struct login *l)
{
	l->proto->greet(l);
}

void
login_input(struct login *l, struct evbuffer *in)
{
	bool more = true;

	while (more && !l->closed && !l->waiting)
		more = l->proto->take(l, in);
	if (l->closed)
		evbuffer_drain(in, evbuffer_get_length(in));
}

void
login_tls(struct login *l)
{
	l->tls = true;
	l->waiting = false;
	free(l->user);				/* RFC 2595 4: nothing said before counts */
	l->user = NULL;
}

bool
login_waiting(const struct login *l)
{
	return l->waiting;
}
