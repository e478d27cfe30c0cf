/* test_smtp_client.c - the SMTP client against scripted servers: each dialogue whole
 * and with the server's bytes one by one, over a socket pair in one event loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "fs.h"
#include "line.h"
#include "mem.h"
#include "smtp_client.h"
#include "smtp_reply.h"
#include "tls.h"

#define EHLO "EHLO me.test\n250-hi\n250-8BITMIME\n250 SIZE 1000\n"
#define PIPE "EHLO me.test\n250-hi\n250 PIPELINING\n"
#define TEXT "Subject: x\n\n..dot\n.\n"
#define MAIL "MAIL FROM:<me@our.test> SIZE=21\n250 ok\n"

/* A script: a line of the client, then what the server says.  Lines that begin with a
 * digit are the server's; "DROP" closes, "TLS" shakes hands, "SILENCE" says nothing. */
struct dialogue {
	const char *name, *script;
	enum smtp_client_tls tls;
	bool login, eight_bit;
	const char *outcomes;		/* of the recipients: D delivered, T deferred, R rejected */
	const char *reply;		/* part of the first recipient's */
	bool ready_again;		/* the session is of use behind the message */
};

static const struct dialogue dialogues[] = {
	{ "delivered", "220 hi\n" EHLO MAIL "RCPT TO:<a@x>\n250 ok\nRCPT TO:<b@x>\n250 ok\n"
	  "DATA\n354 go\n" TEXT "250 2.0.0 taken\n", 0, false, false, "DD", "250 2.0.0 taken", true },
	{ "pipelining", "220 hi\n" PIPE "MAIL FROM:<me@our.test>\nRCPT TO:<a@x>\nRCPT TO:<b@x>\n"
	  "250 ok\n250 ok\n550 5.1.1 no\nDATA\n354 go\n" TEXT "250 ok\n", 0, false, false, "DR", "250",
	  true },
	{ "mixed", "220 hi\n" EHLO MAIL "RCPT TO:<a@x>\n450 later\nRCPT TO:<b@x>\n550 never\n"
	  "RSET\n250 ok\n", 0, false, false, "TR", "450 later", true },
	{ "one of two", "220 hi\n" EHLO MAIL "RCPT TO:<a@x>\n550 never\nRCPT TO:<b@x>\n250 ok\n"
	  "DATA\n354 go\n" TEXT "250 ok\n", 0, false, false, "RD", "550 never", true },
	{ "552 to RCPT is temporary", "220 hi\n" EHLO MAIL "RCPT TO:<a@x>\n552 too many\n"
	  "RCPT TO:<b@x>\n250 ok\nDATA\n354 go\n" TEXT "250 ok\n", 0, false, false, "TD", "552", true },
	{ "MAIL refused", "220 hi\n" EHLO "MAIL FROM:<me@our.test> SIZE=21\n550 5.7.1 no\n"
	  "RSET\n250 ok\n", 0, false, false, "RR", "550 5.7.1 no", true },
	{ "MAIL deferred, pipelined", "220 hi\n" PIPE "MAIL FROM:<me@our.test>\nRCPT TO:<a@x>\n"
	  "RCPT TO:<b@x>\n451 wait\n503 no\n503 no\nRSET\n250 ok\n", 0, false, false, "TT", "451 wait",
	  true },
	{ "DATA refused", "220 hi\n" EHLO MAIL "RCPT TO:<a@x>\n250 ok\nRCPT TO:<b@x>\n250 ok\n"
	  "DATA\n554 no\nRSET\n250 ok\n", 0, false, false, "RR", "554 no", true },
	{ "message deferred", "220 hi\n" EHLO MAIL "RCPT TO:<a@x>\n250 ok\nRCPT TO:<b@x>\n250 ok\n"
	  "DATA\n354 go\n" TEXT "452 full\n", 0, false, false, "TT", "452 full", true },
	{ "message refused", "220 hi\n" EHLO MAIL "RCPT TO:<a@x>\n250 ok\nRCPT TO:<b@x>\n250 ok\n"
	  "DATA\n354 go\n" TEXT "554 5.6.0\n554 spam\n", 0, false, false, "RR", "554 5.6.0", true },
	{ "dropped behind the dot", "220 hi\n" EHLO MAIL "RCPT TO:<a@x>\n250 ok\n"
	  "RCPT TO:<b@x>\n550 no\nDATA\n354 go\n" TEXT "DROP\n", 0, false, false, "TR",
	  "may have arrived", false },
	{ "421 to the dot", "220 hi\n" EHLO MAIL "RCPT TO:<a@x>\n250 ok\nRCPT TO:<b@x>\n250 ok\n"
	  "DATA\n354 go\n" TEXT "421 bye\n", 0, false, false, "TT", "421 bye", false },
	{ "421 in between", "220 hi\n" EHLO MAIL "RCPT TO:<a@x>\n421 bye\n", 0, false, false, "TT",
	  "421 bye", false },
	{ "dropped at RCPT", "220 hi\n" EHLO MAIL "RCPT TO:<a@x>\nDROP\n", 0, false, false, "TT",
	  "4.4.2 connection closed at RCPT", false },
	{ "no 8BITMIME", "220 hi\n" PIPE, 0, false, true, "RR", "5.6.3", true },
	{ "8BITMIME", "220 hi\n" EHLO "MAIL FROM:<me@our.test> SIZE=21 BODY=8BITMIME\n250 ok\n"
	  "RCPT TO:<a@x>\n250 ok\nRCPT TO:<b@x>\n250 ok\nDATA\n354 go\n" TEXT "250 ok\n", 0, false, true,
	  "DD", "250", true },
	{ "SIZE", "220 hi\nEHLO me.test\n250-hi\n250 SIZE 20\n", 0, false, false, "RR", "5.3.4", true },
	{ "HELO", "220 hi\nEHLO me.test\n502 what\nHELO me.test\n250 hi\nMAIL FROM:<me@our.test>\n"
	  "250 ok\nRCPT TO:<a@x>\n250 ok\nRCPT TO:<b@x>\n250 ok\nDATA\n354 go\n" TEXT "250 ok\n", 0,
	  false, false, "DD", "250", true },
	{ "greeting", "554 go away\n", 0, false, false, NULL, "554 go away", false },
	{ "no SMTP", "hello\n", 0, false, false, NULL, "no SMTP reply", false },
	{ "codes differ", "220-hi\n250 hi\n", 0, false, false, NULL, "no SMTP reply", false },
	{ "silence", "220 hi\nEHLO me.test\nSILENCE\n", 0, false, false, NULL, "no answer in time", false },
	{ "STARTTLS", "220 hi\nEHLO me.test\n250-hi\n250-SIZE 1000\n250 STARTTLS\nSTARTTLS\n220 go\n"
	  "TLS\nEHLO me.test\n250-hi\n250 AUTH LOGIN PLAIN\nAUTH PLAIN AHVzZXIAc2VjcmV0\n235 ok\n"
	  "MAIL FROM:<me@our.test>\n250 ok\nRCPT TO:<a@x>\n250 ok\nRCPT TO:<b@x>\n250 ok\nDATA\n354 go\n"
	  TEXT "250 ok\n", SMTP_CLIENT_MAY, true, false, "DD", "250", true },
	{ "TLS is required", "220 hi\n" EHLO, SMTP_CLIENT_MUST, false, false, NULL, "4.7.4", false },
	{ "certificate not known", "220 hi\nEHLO me.test\n250-hi\n250 STARTTLS\nSTARTTLS\n220 go\nTLS\n",
	  SMTP_CLIENT_MUST, false, false, NULL, "TLS failed", false },
	{ "no password in the clear", "220 hi\n" EHLO, SMTP_CLIENT_MAY, true, false, NULL, "4.7.0",
	  false },
	{ "wrong password", "220 hi\nEHLO me.test\n250-hi\n250 AUTH PLAIN\n"
	  "AUTH PLAIN AHVzZXIAc2VjcmV0\n535 5.7.8 no\n", SMTP_CLIENT_PLAIN, true, false, NULL, "535",
	  false },
	{ "STARTTLS refused", "220 hi\nEHLO me.test\n250-hi\n250 STARTTLS\nSTARTTLS\n454 no\n"
	  "MAIL FROM:<me@our.test>\n250 ok\nRCPT TO:<a@x>\n250 ok\nRCPT TO:<b@x>\n250 ok\nDATA\n354 go\n"
	  TEXT "250 ok\n", SMTP_CLIENT_MAY, false, false, "DD", "250", true },
};

struct run {
	struct event_base *base;
	const struct dialogue *d;
	const char *at;			/* in the script */
	struct bufferevent *server;
	struct evbuffer *slow;		/* what the server still has to say, byte by byte */
	struct event *tick;
	bool trickle, sent, ready_again, closed, wrong;
	SSL_CTX *tls;
	char outcomes[3], replies[2][512];
	int done;
	struct smtp_client *client;
	struct smtp_client_mail mail;
};

static const char text[] = "Subject: x\r\n\r\n.dot\r\n";
static const char *const to[] = { "a@x", "b@x" };

/* ---- the client's owner -------------------------------------------------- */

static void
on_ready(void *arg)
{
	struct run *r = arg;

	if (r->sent) {
		r->ready_again = true;
		event_base_loopbreak(r->base);
		return;
	}
	r->sent = true;
	r->mail = (struct smtp_client_mail){ "me@our.test", to, 2, sizeof(text), r->d->eight_bit };
	smtp_client_send(r->client, &r->mail);
}

static ssize_t
on_text(void *arg, uint64_t at, char *buf, size_t n)
{
	(void)arg;
	(void)n;
	if (at >= sizeof(text) - 1)
		return 0;
	buf[0] = text[at];		/* one byte at a time: the hardest for dots */
	return 1;
}

static void
on_outcome(void *arg, size_t i, enum smtp_outcome o, const char *reply)
{
	struct run *r = arg;

	assert_int_equal(r->outcomes[i], 0);
	r->outcomes[i] = "?DTR"[o];
	snprintf(r->replies[i], sizeof(r->replies[i]), "%s", reply);
}

static void
on_done(void *arg)
{
	((struct run *)arg)->done++;
}

static void
on_closed(void *arg, bool tls, const char *why)
{
	struct run *r = arg;

	assert_int_equal(tls, strstr(why, "TLS failed") != NULL);
	r->closed = true;
	if (r->replies[0][0] == '\0')
		snprintf(r->replies[0], sizeof(r->replies[0]), "%s", why);
	event_base_loopbreak(r->base);
}

static const struct smtp_client_ops ops = { on_ready, on_text, on_outcome, on_done, on_closed };

/* ---- the server ---------------------------------------------------------- */

static void server_read(struct bufferevent *, void *);

static void
put(struct run *r, const char *p, size_t n)
{
	struct evbuffer *out = r->trickle ? r->slow : bufferevent_get_output(r->server);

	evbuffer_add(out, p, n);
	evbuffer_add(out, "\r\n", 2);
}

/* Says everything up to the next line of the client. */
static void
server_speak(struct run *r)
{
	while (*r->at >= '0' && *r->at <= '9') {
		size_t n = strcspn(r->at, "\n");

		put(r, r->at, n);
		r->at += n + 1;
	}
	if (strncmp(r->at, "hello\n", 6) == 0) {
		put(r, "hello", 5);
		r->at += 6;
	}
	if (strncmp(r->at, "DROP", 4) == 0) {
		bufferevent_free(r->server);
		r->server = NULL;
	}
}

static void
server_tls(struct run *r)
{
	int fd = (int)bufferevent_getfd(r->server);

	bufferevent_setfd(r->server, -1);
	bufferevent_free(r->server);
	r->server = tls_accept(r->base, r->tls, fd);
	bufferevent_setcb(r->server, server_read, NULL, NULL, r);
	bufferevent_enable(r->server, EV_READ | EV_WRITE);
	r->at += 4;
}

static void
on_tick(int fd, short what, void *arg)
{
	const struct timeval soon = { 0, 100 };
	struct run *r = arg;
	char c;

	(void)fd;
	(void)what;
	if (r->server != NULL && evbuffer_remove(r->slow, &c, 1) == 1)
		bufferevent_write(r->server, &c, 1);
	if (r->server != NULL && strncmp(r->at, "TLS\n", 4) == 0
	    && evbuffer_get_length(r->slow) == 0
	    && evbuffer_get_length(bufferevent_get_output(r->server)) == 0)
		server_tls(r);
	event_add(r->tick, &soon);
}

static void
server_read(struct bufferevent *bev, void *arg)
{
	struct run *r = arg;
	char *line;
	size_t n;

	while (r->server == bev) {
		line = evbuffer_readln(bufferevent_get_input(bev), &n, EVBUFFER_EOL_CRLF_STRICT);
		if (line == NULL)
			return;
		if (strcmp(line, "QUIT") == 0) {
			free(line);
			continue;
		}
		if (strncmp(r->at, line, n) != 0 || r->at[n] != '\n') {
			print_message("%s: got \"%s\"\n", r->d->name, line);
			r->wrong = true;
			event_base_loopbreak(r->base);
		} else {
			r->at += n + 1;
			server_speak(r);
			if (strncmp(r->at, "TLS\n", 4) == 0)	/* once that is out */
				bufferevent_disable(bev, EV_READ);
		}
		free(line);
	}
}

/* ---- one run ------------------------------------------------------------- */

static void
talk(const struct dialogue *d, bool trickle, SSL_CTX *tls)
{
	struct run r = { .d = d, .at = d->script, .trickle = trickle, .tls = tls };
	struct timeval limit = { 10, 0 }, now = { 0, 0 };
	struct smtp_client_rules rules = { .helo = "me.test", .server = "localhost", .tls = d->tls,
		.user = d->login ? "user" : NULL, .password = d->login ? "secret" : NULL,
		.timeout_s = strcmp(d->name, "silence") == 0 ? 1 : 60 };
	char err[256];
	int fd[2];

	rules.ctx = tls_client_new(d->tls != SMTP_CLIENT_MUST, err, sizeof(err));
	assert_non_null(rules.ctx);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	r.base = event_base_new();
	r.slow = evbuffer_new();
	r.tick = event_new(r.base, -1, 0, on_tick, &r);
	event_add(r.tick, &now);
	r.server = bufferevent_socket_new(r.base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(r.server, server_read, NULL, NULL, &r);
	bufferevent_enable(r.server, EV_READ | EV_WRITE);
	server_speak(&r);
	r.client = smtp_client_new(r.base, bufferevent_socket_new(r.base, fd[1],
	    BEV_OPT_CLOSE_ON_FREE), true, &rules, &ops, &r);
	event_base_loopexit(r.base, &limit);
	event_base_dispatch(r.base);

	if (r.wrong || r.ready_again != d->ready_again || r.closed == d->ready_again)
		fail_msg("%s: ready=%d closed=%d %s", d->name, r.ready_again, r.closed, r.replies[0]);
	if (strcmp(r.outcomes, d->outcomes != NULL ? d->outcomes : "") != 0
	    || strstr(r.replies[0], d->reply) == NULL)
		fail_msg("%s: outcomes %s, %s", d->name, r.outcomes, r.replies[0]);
	assert_int_equal(r.done, d->outcomes != NULL);
	smtp_client_free(r.client);
	if (r.server != NULL)
		tls_close(r.server);
	event_free(r.tick);
	evbuffer_free(r.slow);
	event_base_free(r.base);
	SSL_CTX_free(rules.ctx);
}

static void
all(bool trickle)
{
	char dir[] = "/tmp/test_smtp_client.XXXXXX", err[256];
	char *cert, *key;
	SSL_CTX *tls;

	assert_non_null(mkdtemp(dir));
	cert = mem_printf("%s/c", dir);
	key = mem_printf("%s/k", dir);
	assert_int_equal(tls_make_cert("localhost", cert, key), 0);
	tls = tls_server_new(cert, key, err, sizeof(err));
	assert_non_null(tls);
	for (size_t i = 0; i < sizeof(dialogues) / sizeof(dialogues[0]); i++)
		talk(&dialogues[i], trickle, tls);
	SSL_CTX_free(tls);
	free(cert);
	free(key);
	fs_remove_tree(dir);
}

static void
whole(void **state)
{
	(void)state;
	all(false);
}

static void
byte_by_byte(void **state)
{
	(void)state;
	all(true);
}

/* ---- pure parts ---------------------------------------------------------- */

static void
stuffing(void **state)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "", "" }, { ".", ".." }, { "a.b\r\n", "a.b\r\n" }, { ".\r\n", "..\r\n" },
		{ "a\r\n.\r\n..\r\n", "a\r\n..\r\n...\r\n" }, { "a\r\n\r\n.", "a\r\n\r\n.." },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t step = 1; step < 9; step++) {
			struct evbuffer *out = evbuffer_new();
			size_t n = strlen(cases[i].in);
			bool bol = true;

			for (size_t k = 0; k < n; k += step)
				smtp_client_stuff(out, cases[i].in + k, n - k < step ? n - k : step, &bol);
			evbuffer_add(out, "", 1);
			assert_string_equal((char *)evbuffer_pullup(out, -1), cases[i].out);
			evbuffer_free(out);
		}
}

static void
replies(void **state)
{
	static const struct { const char *line; enum parse rc; } cases[] = {
		{ "250", PARSE_OK }, { "250 ", PARSE_OK }, { "250 ok", PARSE_OK },
		{ "250-ok", PARSE_MORE }, { "25", PARSE_BAD }, { "2500 ok", PARSE_BAD },
		{ "199 x", PARSE_BAD }, { "600 x", PARSE_BAD }, { "abc", PARSE_BAD }, { "", PARSE_BAD },
		{ "+50 x", PARSE_BAD },
	};
	struct smtp_reply r;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		smtp_reply_init(&r);
		assert_int_equal(smtp_reply_line(&r, span_of(cases[i].line)), cases[i].rc);
	}
	smtp_reply_init(&r);
	assert_int_equal(smtp_reply_line(&r, span_of("250-a\tb\xc3\xa4")), PARSE_MORE);
	assert_int_equal(smtp_reply_line(&r, span_of("250-size 99")), PARSE_MORE);
	assert_int_equal(smtp_reply_line(&r, span_of("250 auth login plain")), PARSE_OK);
	assert_string_equal(r.text, "250 a?b?? size 99 auth login plain");
	assert_true(r.size && r.auth_plain && r.auth_login && !r.starttls);
	assert_int_equal(r.size_max, 99);
	smtp_reply_init(&r);
	for (int i = 0; i < SMTP_REPLY_LINES; i++)
		assert_int_equal(smtp_reply_line(&r, span_of("250-a long line of words")), PARSE_MORE);
	assert_int_equal(smtp_reply_line(&r, span_of("250 end")), PARSE_BAD);
	assert_int_equal(strlen(r.text), SMTP_REPLY_TEXT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),
		cmocka_unit_test(byte_by_byte),
		cmocka_unit_test(stuffing),
		cmocka_unit_test(replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
