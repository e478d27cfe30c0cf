/* fuzz_smtp.c - what strangers may say to a gate: SMTP on three kinds of port, POP3 and
 * IMAP before the login.  The first byte chooses the service and the size of the pieces;
 * whatever comes in pieces must be answered as when it comes whole. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>

#include "login.h"
#include "replay.h"
#include "smtp.h"

struct front {
	struct smtp *smtp;
	struct login *login;
	bool closed;
	size_t text;
};

static void
on_stamp(void *arg, struct smtp_stamp *s)
{
	(void)arg;
	memset(s, 0, sizeof(*s));
	memcpy(s->id, "id", 3);
}

static void
on_reset(void *arg)
{
	((struct front *)arg)->text = 0;
}

static void
on_smtp_auth(void *arg, const char *user, const char *password)
{
	struct front *f = arg;

	smtp_auth_done(f->smtp, strlen(user) > strlen(password) ? MAIL_OK : MAIL_DENIED, user);
}

static void
on_login_auth(void *arg, const char *user, const char *password)
{
	struct front *f = arg;

	login_auth_done(f->login, strlen(user) > strlen(password) ? MAIL_OK : MAIL_DENIED);
}

static void
on_rcpt(void *arg, const char *address)
{
	struct front *f = arg;

	smtp_rcpt_done(f->smtp, (enum mail_rc)(strlen(address) % (MAIL_BAD + 1)));
}

static enum mail_rc
on_data(void *arg, struct span s, bool insert)
{
	struct front *f = arg;

	(void)insert;
	f->text += s.len;
	return f->text > 100000 ? MAIL_DISK_FULL : MAIL_OK;
}

static void
on_message(void *arg, const char *from)
{
	struct front *f = arg;

	smtp_message_done(f->smtp, (enum mail_rc)(strlen(from) % (MAIL_BAD + 1)), 1, 2, 2);
}

static void
on_starttls(void *arg)
{
	struct front *f = arg;

	if (f->smtp != NULL)
		smtp_tls(f->smtp, "TLSv1.3");
	else
		login_tls(f->login);
}

static void
on_handover(void *arg, const char *tag)
{
	assert(strlen(tag) <= LOGIN_TAG_MAX);
	((struct front *)arg)->closed = true;
}

static void
on_closing(void *arg, const char *why)
{
	struct front *f = arg;

	assert(why != NULL && !f->closed);
	f->closed = true;
}

static const struct smtp_ops smtp_ops = { on_stamp, on_reset, on_smtp_auth, on_rcpt, on_data,
	on_message, on_starttls, on_closing };
static const struct login_ops login_ops = { on_login_auth, on_starttls, on_handover, on_closing };

static struct evbuffer *
talk(enum mail_service service, const uint8_t *p, size_t n, size_t piece)
{
	static const struct smtp_limits limits = { "mail.example.org", 65536, 100, 10, 20, 512, 1000, 3 };
	static const struct login_limits login_limits = { "mail.example.org", 20, 4096, 3 };
	struct smtp_peer peer = { service, "2001:db8::1", true };
	struct evbuffer *in = evbuffer_new(), *out = evbuffer_new();
	struct front f = { 0 };

	if (service <= MAIL_SUBMISSIONS)
		f.smtp = smtp_new(&limits, &peer, &smtp_ops, &f, out);
	else
		f.login = login_new(&login_limits, service, true, &login_ops, &f, out);
	if (service == MAIL_SUBMISSIONS || service == MAIL_POP3S || service == MAIL_IMAPS)
		on_starttls(&f);
	for (size_t at = 0; at < n && !f.closed; at += piece) {
		evbuffer_add(in, p + at, n - at < piece ? n - at : piece);
		if (f.smtp != NULL)
			smtp_input(f.smtp, in);
		else
			login_input(f.login, in);
		assert(f.closed || evbuffer_get_length(in) <= 12288 + piece);
	}
	smtp_free(f.smtp);
	login_free(f.login);
	evbuffer_free(in);
	return out;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct evbuffer *whole, *pieces;
	enum mail_service service;
	size_t n;

	if (size < 2)
		return 0;
	service = (enum mail_service)(MAIL_SMTP + data[0] % 7);
	whole = talk(service, data + 1, size - 1, size);
	pieces = talk(service, data + 1, size - 1, 1u + data[0] / 7);
	n = evbuffer_get_length(whole);
	assert(n == evbuffer_get_length(pieces));
	assert(n == 0 || memcmp(evbuffer_pullup(whole, -1), evbuffer_pullup(pieces, -1), n) == 0);
	evbuffer_free(whole);
	evbuffer_free(pieces);
	return 0;
}
