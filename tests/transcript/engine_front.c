/* engine_front.c - what a stranger meets before a login, in dialogues: engines smtp,
 * gate-imap and gate-pop3, with a directory and stores made of rules.
 *
 * Users alice@example.org (password secret) and bob@example.org; full@ is over quota,
 * temp@ fails for now; other domains are not ours.  Setup words, before "open":
 *   service NAME   smtp (default), submission, submissions, imap, imaps, pop3, pop3s
 *   size N, rcpts N, errors N, hops N, line N      limits
 * and at any time:
 *   tls            the handshake behind STARTTLS is done
 *   rc NAME        the stores answer this (mail_rc_name); room none: no memory
 *   echo           accepted messages are shown, each line behind "| "
 *   drain, timeout
 * The handover to a store is shown as "= handover TAG USER early=N". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "login.h"
#include "mem.h"
#include "smtp.h"
#include "transcript.h"

struct front {
	enum mail_service service;
	struct smtp_limits limits;
	struct login_limits login_limits;
	struct smtp *smtp;
	struct login *login;
	struct evbuffer *in, *out, *text;
	bool closed, upgrading, echo, no_room;
	enum mail_rc rc;
	size_t trace;			/* bytes of the trace header in text */
	char user[128];
};

static bool
ours(const char *address, const char *local)
{
	size_t n = strlen(local);

	return strncmp(address, local, n) == 0 && strcmp(address + n, "@example.org") == 0;
}

static enum mail_rc
check(struct front *f, const char *user, const char *password)
{
	if (strcmp(user, "temp") == 0)
		return MAIL_TEMP;
	snprintf(f->user, sizeof(f->user), "%s", user);
	return ours(user, "alice") && strcmp(password, "secret") == 0 ? MAIL_OK : MAIL_DENIED;
}

static void
on_stamp(void *arg, struct smtp_stamp *s)
{
	(void)arg;
	*s = (struct smtp_stamp){ "0123456789ab", 978307200, 5, 2, "join" };
}

static void
on_reset(void *arg)
{
	struct front *f = arg;

	evbuffer_drain(f->text, evbuffer_get_length(f->text));
}

static void
on_smtp_auth(void *arg, const char *user, const char *password)
{
	struct front *f = arg;

	smtp_auth_done(f->smtp, check(f, user, password), user);
}

static void
on_login_auth(void *arg, const char *user, const char *password)
{
	struct front *f = arg;

	login_auth_done(f->login, check(f, user, password));
}

static void
on_rcpt(void *arg, const char *a)
{
	struct front *f = arg;
	enum mail_rc rc = MAIL_UNKNOWN;

	if (strchr(a, '@') == NULL || ours(a, "alice") || ours(a, "bob"))
		rc = MAIL_OK;
	else if (ours(a, "full"))
		rc = MAIL_OVER_QUOTA;
	else if (ours(a, "temp"))
		rc = MAIL_TEMP;
	else if (strstr(a, "@example.org") == NULL)
		rc = smtp_user(f->smtp) != NULL ? MAIL_OK : MAIL_RELAY;
	smtp_rcpt_done(f->smtp, rc);
}

static enum mail_rc
on_data(void *arg, struct span s, bool insert)
{
	struct front *f = arg;
	struct evbuffer *tail;

	if (f->no_room)
		return MAIL_DISK_FULL;
	if (evbuffer_get_length(f->text) == 0)
		f->trace = s.len;
	if (!insert) {
		evbuffer_add(f->text, s.p, s.len);
		return MAIL_OK;
	}
	tail = evbuffer_new();
	evbuffer_remove_buffer(f->text, tail, f->trace);
	evbuffer_add(tail, s.p, s.len);
	evbuffer_prepend_buffer(f->text, tail);
	evbuffer_free(tail);
	return MAIL_OK;
}

static void
on_message(void *arg, const char *from)
{
	struct front *f = arg;
	char *line;

	(void)from;
	while (f->echo && (line = evbuffer_readln(f->text, NULL, EVBUFFER_EOL_CRLF_STRICT)) != NULL) {
		evbuffer_add_printf(f->out, "| %s\r\n", line);
		free(line);
	}
	smtp_message_done(f->smtp, f->rc, 5, 77, 2);
}

static void
on_starttls(void *arg)
{
	struct front *f = arg;

	f->upgrading = true;
}

static void
on_handover(void *arg, const char *tag)
{
	struct front *f = arg;

	evbuffer_add_printf(f->out, "= handover %s %s early=%zu\r\n", tag, f->user,
	    evbuffer_get_length(f->in));
	evbuffer_drain(f->in, evbuffer_get_length(f->in));
}

static void
on_closing(void *arg, const char *why)
{
	struct front *f = arg;

	(void)why;
	f->closed = true;
}

static const struct smtp_ops smtp_ops = { on_stamp, on_reset, on_smtp_auth, on_rcpt, on_data,
	on_message, on_starttls, on_closing };
static const struct login_ops login_ops = { on_login_auth, on_starttls, on_handover, on_closing };

static void *
front_new(enum mail_service service)
{
	struct front *f = mem_alloc(sizeof(*f));

	f->service = service;
	f->limits = (struct smtp_limits){ "mail.example.org", 100000, 100, 30, 5, 512, 1000, 3 };
	f->login_limits = (struct login_limits){ "mail.example.org", 5, 1000, 3 };
	f->in = evbuffer_new();
	f->out = evbuffer_new();
	f->text = evbuffer_new();
	return f;
}

static void *
new_smtp(void)
{
	return front_new(MAIL_SMTP);
}

static void *
new_imap(void)
{
	return front_new(MAIL_IMAP);
}

static void *
new_pop3(void)
{
	return front_new(MAIL_POP3);
}

static void
front_free(void *arg)
{
	struct front *f = arg;

	smtp_free(f->smtp);
	login_free(f->login);
	evbuffer_free(f->in);
	evbuffer_free(f->out);
	evbuffer_free(f->text);
	free(f);
}

static void
work(struct front *f)
{
	if (f->closed || f->upgrading)
		return;
	if (f->smtp != NULL)
		smtp_input(f->smtp, f->in);
	else if (f->login != NULL)
		login_input(f->login, f->in);
	/* As the gate does it: input behind STARTTLS ends the connection. */
	if (f->upgrading && evbuffer_get_length(f->in) > 0)
		f->closed = true;
}

static bool
tls_done(struct front *f)
{
	if (!f->upgrading || f->closed)
		return false;
	f->upgrading = false;
	if (f->smtp != NULL)
		smtp_tls(f->smtp, "TLSv1.3");
	else
		login_tls(f->login);
	return true;
}

static bool
set_service(struct front *f, const char *name)
{
	for (int s = MAIL_SMTP; s <= MAIL_IMAPS; s++)
		if (strcmp(mail_service_name((enum mail_service)s), name) == 0) {
			f->service = (enum mail_service)s;
			return true;
		}
	return false;
}

static bool
set_number(struct front *f, const char *what, const char *value)
{
	uint32_t n = (uint32_t)strtoul(value, NULL, 10);

	if (strcmp(what, "size") == 0)
		f->limits.message_size_max = n;
	else if (strcmp(what, "rcpts") == 0)
		f->limits.recipients_max = n;
	else if (strcmp(what, "errors") == 0)
		f->limits.errors_max = f->login_limits.errors_max = n;
	else if (strcmp(what, "hops") == 0)
		f->limits.hops_max = n;
	else if (strcmp(what, "line") == 0)
		f->limits.data_line_max = n;
	else
		return false;
	return true;
}

static bool
set_rc(struct front *f, const char *name)
{
	for (int rc = MAIL_OK; rc <= MAIL_BAD; rc++)
		if (strcmp(mail_rc_name((enum mail_rc)rc), name) == 0) {
			f->rc = (enum mail_rc)rc;
			return true;
		}
	return false;
}

static bool
front_setup(void *arg, const char *words)
{
	struct front *f = arg;
	char what[32] = "", value[64] = "";

	if (sscanf(words, "%31s %63s", what, value) < 1)
		return false;
	if (strcmp(what, "service") == 0)
		return set_service(f, value);
	if (strcmp(what, "rc") == 0)
		return set_rc(f, value);
	if (strcmp(what, "tls") == 0)
		return tls_done(f);
	if (strcmp(what, "echo") == 0)
		f->echo = true;
	else if (strcmp(what, "room") == 0)
		f->no_room = strcmp(value, "none") == 0;
	else if (strcmp(what, "drain") == 0 && f->smtp != NULL)
		smtp_drain(f->smtp);
	else if (strcmp(what, "timeout") == 0 && f->smtp != NULL)
		smtp_timeout(f->smtp);
	else if (strcmp(what, "timeout") == 0 && f->login != NULL)
		login_bye(f->login, "timeout");
	else
		return set_number(f, what, value);
	return true;
}

static bool
front_open(void *arg, int conn)
{
	struct front *f = arg;
	struct smtp_peer peer = { f->service, "192.0.2.7", true };
	bool tls = f->service == MAIL_SUBMISSIONS || f->service == MAIL_POP3S
	    || f->service == MAIL_IMAPS;

	if (conn != 1)
		return false;
	if (f->service <= MAIL_SUBMISSIONS) {
		f->smtp = smtp_new(&f->limits, &peer, &smtp_ops, f, f->out);
		if (tls)
			smtp_tls(f->smtp, "TLSv1.3");
		smtp_greet(f->smtp);
	} else {
		f->login = login_new(&f->login_limits, f->service, true, &login_ops, f, f->out);
		if (tls)
			login_tls(f->login);
		login_greet(f->login);
	}
	return true;
}

static void
front_input(void *arg, int conn, const char *p, size_t n)
{
	struct front *f = arg;

	(void)conn;
	evbuffer_add(f->in, p, n);
	if (f->upgrading)		/* in clear, where a handshake should be */
		f->closed = true;
	work(f);
}

static void
front_eof(void *arg, int conn)
{
	struct front *f = arg;

	(void)conn;
	f->closed = true;
}

static void
front_output(void *arg, int conn, struct evbuffer *out)
{
	struct front *f = arg;

	if (conn == 1)
		evbuffer_add_buffer(out, f->out);
}

static bool
front_closed(void *arg, int conn)
{
	(void)conn;
	return ((struct front *)arg)->closed;
}

const struct engine engine_smtp = { "smtp", new_smtp, front_free, front_setup, front_open,
	front_input, front_eof, front_output, front_closed };
const struct engine engine_gate_imap = { "gate-imap", new_imap, front_free, front_setup,
	front_open, front_input, front_eof, front_output, front_closed };
const struct engine engine_gate_pop3 = { "gate-pop3", new_pop3, front_free, front_setup,
	front_open, front_input, front_eof, front_output, front_closed };
