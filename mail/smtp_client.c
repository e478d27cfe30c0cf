/* smtp_client.c - the SMTP client as a table of states: each says what a reply means.
 *
 * Replies come in order; with PIPELINING the recipients are sent at once, DATA never
 * is, so that no text goes out before it is known for whom.  A server that breaks the
 * protocol, stays silent or goes away ends the session, and what it had not accepted
 * is deferred.  Knows neither the queue nor names and connecting. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "hex.h"
#include "line.h"
#include "log.h"
#include "mem.h"
#include "smtp_client.h"
#include "smtp_reply.h"
#include "tls.h"

#define LINE_MAX_BYTES 4096		/* RFC 5321 wants 512; some say more */
#define TEXT_HIGH (128u << 10)		/* bytes of text in the output */
#define TEXT_LOW (32u << 10)
#define QUIT_S 5

enum state { ST_CONNECT, ST_GREETING, ST_EHLO, ST_HELO, ST_STARTTLS, ST_HANDSHAKE, ST_AUTH, ST_READY,
	ST_MAIL, ST_RCPT, ST_DATA, ST_TEXT, ST_DOT, ST_RSET, ST_QUIT, ST_CLOSED, STATES };

static const char *const state_names[STATES] = { "connecting", "the greeting", "EHLO", "HELO",
	"STARTTLS", "the TLS handshake", "AUTH", "waiting", "MAIL", "RCPT", "DATA",
	"sending the message", "the answer to the message", "RSET", "QUIT", "closed" };

struct smtp_client {
	struct event_base *base;
	struct bufferevent *bev;
	const struct smtp_client_rules *rules;
	const struct smtp_client_ops *ops;
	void *arg;
	struct event *timer;
	enum state state;
	bool tls;
	struct smtp_reply reply, caps;	/* caps: what the last EHLO said */
	const struct smtp_client_mail *mail;	/* NULL: none under way */
	bool settled[SMTP_CLIENT_RCPTS_MAX];
	size_t sent, answered, accepted;	/* recipients */
	uint64_t at;			/* bytes of text sent */
	bool bol;
	bool tls_failed;		/* of a closed one, with why */
	char why[SMTP_REPLY_TEXT + 80];
};

static void on_read(struct bufferevent *, void *);
static void on_write(struct bufferevent *, void *);
static void on_event(struct bufferevent *, short, void *);

/* RFC 5321 4.5.3.2, in parts of the step's time, which there is five minutes. */
static void
enter(struct smtp_client *c, enum state state)
{
	time_t s = c->rules->timeout_s;
	struct timeval tv = { s, 0 };

	c->state = state;
	if (state == ST_DATA)
		tv.tv_sec = s * 2 / 5;
	else if (state == ST_TEXT)
		tv.tv_sec = s * 3 / 5;
	else if (state == ST_DOT)
		tv.tv_sec = s * 2;
	else if (state == ST_QUIT)
		tv.tv_sec = QUIT_S;
	if (tv.tv_sec == 0)
		tv.tv_sec = 1;
	if (state == ST_READY)
		event_del(c->timer);
	else
		event_add(c->timer, &tv);
}

static void __attribute__((format(printf, 2, 3)))
say(struct smtp_client *c, const char *fmt, ...)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);
	va_list ap;

	va_start(ap, fmt);
	evbuffer_add_vprintf(out, fmt, ap);
	va_end(ap);
	evbuffer_add(out, "\r\n", 2);
}

/* ---- ends ---------------------------------------------------------------- */

static void
settle(struct smtp_client *c, size_t rcpt, enum smtp_outcome o, const char *reply)
{
	if (c->settled[rcpt])
		return;
	c->settled[rcpt] = true;
	c->ops->outcome(c->arg, rcpt, o, reply);
}

/* Everybody without an outcome gets this one, and the message is over. */
static void
finish(struct smtp_client *c, enum smtp_outcome o, const char *reply)
{
	if (c->mail == NULL)
		return;
	for (size_t i = 0; i < c->mail->nrcpts; i++)
		settle(c, i, o, reply);
	c->mail = NULL;
	c->ops->done(c->arg);
}

static void
end(struct smtp_client *c, bool tls, const char *why)
{
	const struct timeval now = { 0, 0 };

	if (c->state == ST_CLOSED)
		return;
	c->state = ST_CLOSED;
	c->tls_failed = tls;
	snprintf(c->why, sizeof(c->why), "%s", why);
	bufferevent_disable(c->bev, EV_READ | EV_WRITE);
	event_add(c->timer, &now);	/* closed() comes from the loop */
	finish(c, SMTP_DEFERRED, c->why);
}

/* The session ends because of what the server said or did. */
static void
broke(struct smtp_client *c, const char *what)
{
	char why[SMTP_REPLY_TEXT + 80];
	const char *more = c->state == ST_DOT ? "; it may have arrived" : "";

	snprintf(why, sizeof(why), "4.4.2 %s at %s%s", what, state_names[c->state], more);
	end(c, c->state == ST_HANDSHAKE, why);
}

static void
refused(struct smtp_client *c)
{
	char why[SMTP_REPLY_TEXT + 80];

	snprintf(why, sizeof(why), "4.3.0 %s was answered: %s", state_names[c->state],
	    c->reply.text);
	end(c, false, why);
}

static void
on_timer(int fd, short what, void *arg)
{
	struct smtp_client *c = arg;

	(void)fd;
	(void)what;
	if (c->state == ST_CLOSED)
		c->ops->closed(c->arg, c->tls_failed, c->why);
	else
		broke(c, "no answer in time");
}

bool
smtp_client_abort(struct smtp_client *c, const char *why)
{
	if (c->state == ST_DOT)
		return false;
	end(c, false, why);
	return true;
}

/* ---- the beginning of a session ------------------------------------------ */

static void
start_ehlo(struct smtp_client *c)
{
	say(c, "EHLO %s", c->rules->helo);
	enter(c, ST_EHLO);
}

static void
start_tls(struct smtp_client *c)
{
	int fd;

	/* What came in the clear behind the answer could be anybody's. */
	if (evbuffer_get_length(bufferevent_get_input(c->bev)) > 0) {
		broke(c, "unexpected bytes");
		return;
	}
	fd = (int)bufferevent_getfd(c->bev);
	bufferevent_setfd(c->bev, -1);
	bufferevent_free(c->bev);
	c->bev = tls_connect(c->base, c->rules->ctx, fd, c->rules->server);
	bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	enter(c, ST_HANDSHAKE);
}

static void
ready(struct smtp_client *c)
{
	enter(c, ST_READY);
	c->ops->ready(c->arg);
}

static void
start_auth(struct smtp_client *c)
{
	size_t nu = strlen(c->rules->user), np = strlen(c->rules->password), n = nu + np + 2;
	char *plain = mem_alloc(n + 1), *text = mem_alloc(4 * ((n + 2) / 3) + 1);

	memcpy(plain + 1, c->rules->user, nu);
	memcpy(plain + nu + 2, c->rules->password, np);
	base64_encode(plain, n, text);
	say(c, "AUTH PLAIN %s", text);
	mem_wipe(plain, n);
	mem_wipe(text, strlen(text));
	free(plain);
	free(text);
	enter(c, ST_AUTH);
}

/* EHLO or HELO was answered: TLS, then the login, then mail. */
static void
greeted(struct smtp_client *c)
{
	enum smtp_client_tls want = c->rules->tls;

	if (!c->tls && want != SMTP_CLIENT_PLAIN && c->caps.starttls) {
		say(c, "STARTTLS");
		enter(c, ST_STARTTLS);
	} else if (!c->tls && want == SMTP_CLIENT_MUST)
		end(c, false, "4.7.4 the server offers no TLS, which is required");
	else if (c->rules->user == NULL)
		ready(c);
	else if (!c->tls && want != SMTP_CLIENT_PLAIN)
		end(c, false, "4.7.0 the server offers no TLS: the password is not sent");
	else if (!c->caps.auth_plain)
		end(c, false, "4.7.0 the server offers no AUTH PLAIN");
	else
		start_auth(c);
}

static void
st_greeting(struct smtp_client *c, const struct smtp_reply *r)
{
	if (r->code / 100 == 2)
		start_ehlo(c);
	else
		refused(c);
}

static void
st_ehlo(struct smtp_client *c, const struct smtp_reply *r)
{
	if (r->code / 100 == 2) {
		c->caps = *r;
		greeted(c);
	} else if (r->code / 100 == 5 && !c->tls) {
		say(c, "HELO %s", c->rules->helo);
		enter(c, ST_HELO);
	} else
		refused(c);
}

static void
st_helo(struct smtp_client *c, const struct smtp_reply *r)
{
	if (r->code / 100 != 2) {
		refused(c);
		return;
	}
	smtp_reply_init(&c->caps);
	greeted(c);
}

static void
st_starttls(struct smtp_client *c, const struct smtp_reply *r)
{
	if (r->code == 220)
		start_tls(c);
	else if (c->rules->tls == SMTP_CLIENT_MAY) {
		c->caps.starttls = false;
		greeted(c);
	} else
		refused(c);
}

static void
st_auth(struct smtp_client *c, const struct smtp_reply *r)
{
	if (r->code / 100 == 2)
		ready(c);
	else
		refused(c);
}

/* ---- a message ----------------------------------------------------------- */

static void
send_rcpt(struct smtp_client *c)
{
	say(c, "RCPT TO:<%s>", c->mail->rcpts[c->sent++]);
}

void
smtp_client_send(struct smtp_client *c, const struct smtp_client_mail *m)
{
	char size[32] = "";

	assert(c->state == ST_READY && c->mail == NULL);
	assert(m->nrcpts > 0 && m->nrcpts <= SMTP_CLIENT_RCPTS_MAX);
	c->mail = m;
	memset(c->settled, 0, sizeof(c->settled));
	c->sent = c->answered = c->accepted = 0;
	if (m->eight_bit && !c->caps.eight_bit)	/* RFC 6152 3: it must not be sent */
		finish(c, SMTP_REJECTED, "5.6.3 the server does not take 8-bit text");
	else if (c->caps.size_max > 0 && m->size > c->caps.size_max)
		finish(c, SMTP_REJECTED, "5.3.4 the message is larger than the server takes");
	if (c->mail == NULL) {
		ready(c);
		return;
	}
	if (c->caps.size)
		snprintf(size, sizeof(size), " SIZE=%llu", (unsigned long long)m->size);
	say(c, "MAIL FROM:<%s>%s%s", m->sender, size, m->eight_bit ? " BODY=8BITMIME" : "");
	while (c->caps.pipelining && c->sent < m->nrcpts)
		send_rcpt(c);
	enter(c, ST_MAIL);
}

/* The transaction is of no use any more. */
static void
start_rset(struct smtp_client *c)
{
	say(c, "RSET");
	enter(c, ST_RSET);
}

static void
st_rset(struct smtp_client *c, const struct smtp_reply *r)
{
	if (r->code / 100 == 2)
		ready(c);
	else
		refused(c);
}

static enum smtp_outcome
outcome(const struct smtp_reply *r)
{
	return r->code / 100 == 5 ? SMTP_REJECTED : SMTP_DEFERRED;
}

static void
next_rcpt(struct smtp_client *c)
{
	if (c->answered < c->mail->nrcpts) {
		if (c->sent == c->answered)
			send_rcpt(c);
		enter(c, ST_RCPT);
	} else if (c->accepted > 0) {
		say(c, "DATA");
		enter(c, ST_DATA);
	} else {
		finish(c, SMTP_DEFERRED, "4.0.0 not accepted");
		start_rset(c);
	}
}

static void
st_mail(struct smtp_client *c, const struct smtp_reply *r)
{
	if (r->code / 100 != 2) {
		for (size_t i = 0; i < c->mail->nrcpts; i++)
			settle(c, i, outcome(r), r->text);
		c->answered = c->sent == 0 ? c->mail->nrcpts : 0;
	}
	next_rcpt(c);			/* pipelined ones are answered in any case */
}

static void
st_rcpt(struct smtp_client *c, const struct smtp_reply *r)
{
	size_t i = c->answered++;

	if (c->settled[i])
		;			/* MAIL was refused already */
	else if (r->code / 100 == 2)
		c->accepted++;
	else if (r->code == 552)	/* RFC 5321 4.5.3.1.10: means 452 */
		settle(c, i, SMTP_DEFERRED, r->text);
	else
		settle(c, i, outcome(r), r->text);
	next_rcpt(c);
}

void
smtp_client_stuff(struct evbuffer *out, const char *p, size_t n, bool *bol)
{
	while (n > 0) {
		const char *nl = memchr(p, '\n', n);
		size_t len = nl != NULL ? (size_t)(nl - p) + 1 : n;

		if (*bol && *p == '.')
			evbuffer_add(out, ".", 1);
		evbuffer_add(out, p, len);
		*bol = nl != NULL;
		p += len;
		n -= len;
	}
}

static void
send_text(struct smtp_client *c)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);
	char buf[16384];
	ssize_t n = 1;

	enter(c, ST_TEXT);		/* something moved: the time starts again */
	while (evbuffer_get_length(out) < TEXT_HIGH
	    && (n = c->ops->text(c->arg, c->at, buf, sizeof(buf))) > 0) {
		smtp_client_stuff(out, buf, (size_t)n, &c->bol);
		c->at += (uint64_t)n;
	}
	if (n < 0)
		end(c, false, "4.3.0 the message cannot be read");
	else if (n == 0) {
		say(c, c->bol ? "." : "\r\n.");
		enter(c, ST_DOT);
	}
}

static void
st_data(struct smtp_client *c, const struct smtp_reply *r)
{
	if (r->code != 354) {
		finish(c, outcome(r), r->text);
		start_rset(c);
		return;
	}
	c->at = 0;
	c->bol = true;
	bufferevent_setwatermark(c->bev, EV_WRITE, TEXT_LOW, 0);
	send_text(c);
}

/* A reply in the middle of the text: the server will not take it. */
static void
st_text(struct smtp_client *c, const struct smtp_reply *r)
{
	if (r->code / 100 == 5 && r->code != 552)
		finish(c, SMTP_REJECTED, r->text);
	refused(c);
}

static void
st_dot(struct smtp_client *c, const struct smtp_reply *r)
{
	finish(c, r->code / 100 == 2 ? SMTP_DELIVERED : outcome(r), r->text);
	if (r->code == 421) {
		c->state = ST_READY;	/* nothing is open: it ends like an idle one */
		refused(c);
	} else
		ready(c);
}

static void
st_quit(struct smtp_client *c, const struct smtp_reply *r)
{
	(void)r;
	end(c, false, "done");
}

/* Nobody asked: 421 as a rule. */
static void
st_unasked(struct smtp_client *c, const struct smtp_reply *r)
{
	(void)r;
	refused(c);
}

static void (*const states[STATES])(struct smtp_client *, const struct smtp_reply *) = {
	[ST_CONNECT] = st_unasked, [ST_GREETING] = st_greeting, [ST_EHLO] = st_ehlo,
	[ST_HELO] = st_helo, [ST_STARTTLS] = st_starttls, [ST_HANDSHAKE] = st_unasked,
	[ST_AUTH] = st_auth, [ST_READY] = st_unasked, [ST_MAIL] = st_mail, [ST_RCPT] = st_rcpt,
	[ST_DATA] = st_data, [ST_TEXT] = st_text, [ST_DOT] = st_dot, [ST_RSET] = st_rset,
	[ST_QUIT] = st_quit, [ST_CLOSED] = st_unasked,
};

void
smtp_client_quit(struct smtp_client *c)
{
	say(c, "QUIT");
	enter(c, ST_QUIT);
}

/* ---- the stream ---------------------------------------------------------- */

/* 421 ends every session; it answers what was asked as well.  To the text and to the
 * final dot it is an answer like any other. */
static void
take_reply(struct smtp_client *c)
{
	if (c->reply.code == 421 && c->state != ST_DOT && c->state != ST_TEXT)
		refused(c);
	else
		states[c->state](c, &c->reply);
	smtp_reply_init(&c->reply);
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	struct smtp_client *c = arg;
	struct line line;
	enum parse rc;

	/* STARTTLS puts another stream in the place of this one. */
	while (bev == c->bev && c->state != ST_CLOSED
	    && (rc = line_get_lf(bufferevent_get_input(bev), LINE_MAX_BYTES, &line)) != PARSE_MORE) {
		if (rc == PARSE_OK)
			rc = smtp_reply_line(&c->reply, (struct span){ line.text, line.len });
		line_free(&line);
		if (rc == PARSE_OK)
			take_reply(c);
		else if (rc == PARSE_BAD)
			broke(c, "no SMTP reply");
	}
}

static void
on_write(struct bufferevent *bev, void *arg)
{
	struct smtp_client *c = arg;

	(void)bev;
	if (c->state == ST_TEXT)
		send_text(c);
}

static void
connected(struct smtp_client *c)
{
	if (c->state == ST_HANDSHAKE) {
		c->tls = true;
		smtp_reply_init(&c->reply);
		if (c->rules->implicit)
			enter(c, ST_GREETING);
		else
			start_ehlo(c);
	} else if (c->rules->implicit)
		start_tls(c);
	else
		enter(c, ST_GREETING);
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct smtp_client *c = arg;
	char text[200];
	int err = EVUTIL_SOCKET_ERROR(), dns;

	if (what & BEV_EVENT_CONNECTED) {
		if (c->state == ST_CONNECT || c->state == ST_HANDSHAKE)
			connected(c);
		return;
	}
	if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) == 0 || c->state == ST_CLOSED)
		return;
	dns = c->state == ST_CONNECT ? bufferevent_socket_get_dns_error(bev) : 0;
	if (dns != 0)
		snprintf(text, sizeof(text), "no address: %s", evutil_gai_strerror(dns));
	else if (c->state == ST_HANDSHAKE)
		snprintf(text, sizeof(text), "TLS failed: %s", tls_error(bev));
	else if (what & BEV_EVENT_ERROR && err != 0)
		snprintf(text, sizeof(text), "%s", evutil_socket_error_to_string(err));
	else
		snprintf(text, sizeof(text), "connection closed");
	if (c->state == ST_QUIT)
		end(c, false, "done");
	else
		broke(c, text);
}

struct smtp_client *
smtp_client_new(struct event_base *base, struct bufferevent *bev, bool is_connected,
    const struct smtp_client_rules *rules, const struct smtp_client_ops *ops, void *arg)
{
	struct smtp_client *c = mem_alloc(sizeof(*c));

	assert(rules->tls == SMTP_CLIENT_PLAIN || rules->ctx != NULL);
	c->base = base;
	c->bev = bev;
	c->rules = rules;
	c->ops = ops;
	c->arg = arg;
	if ((c->timer = evtimer_new(base, on_timer, c)) == NULL)
		log_fatal("out of memory");
	bufferevent_setcb(bev, on_read, on_write, on_event, c);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	enter(c, ST_CONNECT);
	if (is_connected)
		connected(c);
	return c;
}

void
smtp_client_free(struct smtp_client *c)
{
	if (c == NULL)
		return;
	event_free(c->timer);
	tls_close(c->bev);
	free(c);
}
