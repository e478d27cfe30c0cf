/* gate_conn.c - one client of a gate: its stream, TLS, timers, and the engine that
 * speaks with it.
 *
 * conn_pump() is the only place where an engine gets input and where a finished
 * connection is freed, so that no callback finds its connection gone.  Whatever the
 * client does wrong ends in the engine's answer; a stream that breaks is freed without
 * a word.  Before STARTTLS's handshake the input must be empty.  While the node's lease has
 * run out (lease.h), no engine works and nothing of what it said leaves. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>

#include "clock.h"
#include "gate_int.h"
#include "hex.h"
#include "hold.h"
#include "log.h"
#include "mem.h"
#include "tls.h"

#define INPUT_HIGH (256u << 10)		/* unread input: then we stop reading */
#define OUTPUT_HIGH (64u << 10)		/* unsent answers: then we stop working */
#define SHORT_ANSWER 1024
#define CLOSING_S 30
#define LINGER_S 2

static void on_read(struct bufferevent *, void *);
static void on_write(struct bufferevent *, void *);
static void on_event(struct bufferevent *, short, void *);

static const struct login_ops login_ops = { conn_auth, conn_starttls, conn_handover,
	conn_closing };

static bool
implicit_tls(enum mail_service s)
{
	return s == MAIL_SUBMISSIONS || s == MAIL_POP3S || s == MAIL_IMAPS;
}

void
conn_arm(struct conn *c, unsigned seconds)
{
	struct timeval tv = { (time_t)seconds, 0 };

	event_add(c->timer, &tv);
}

/* How long the client, or the process we asked, has now. */
static void
arm_talk(struct conn *c)
{
	const struct maild_conf *k = c->gate->conf;

	if (c->login != NULL)
		return;			/* one limit for all until the login */
	if (smtp_waiting(c->smtp))
		conn_arm(c, k->delivery_timeout_s);
	else
		conn_arm(c, smtp_in_data(c->smtp) ? k->data_timeout_s : k->smtp_timeout_s);
}

static void
greet(struct conn *c)
{
	const char *version = tls_version(c->bev);

	c->state = CONN_TALK;
	if (version != NULL)
		snprintf(c->tls, sizeof(c->tls), "%s", version);
	if (c->smtp != NULL) {
		if (version != NULL)
			smtp_tls(c->smtp, version);
		smtp_greet(c->smtp);
	} else {
		if (version != NULL)
			login_tls(c->login);
		login_greet(c->login);
	}
	conn_arm(c, c->smtp != NULL ? c->gate->conf->smtp_timeout_s
				    : c->gate->conf->login_timeout_s);
	conn_pump(c);
}

static void
set_callbacks(struct conn *c)
{
	bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, INPUT_HIGH);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

void
conn_closing(void *arg, const char *why)
{
	struct conn *c = arg;

	log_info("%s %s close ip=%s why=%s", mail_service_name(c->service), c->sid, c->ip,
	    log_safe(why));
	c->state = CONN_CLOSING;
	conn_arm(c, CLOSING_S);
}

/* The answer to STARTTLS must reach the client in clear, so the handshake waits until
 * it has left. */
void
conn_starttls(void *arg)
{
	struct conn *c = arg;

	c->state = CONN_UPGRADE;
}

static void
upgrade(struct conn *c)
{
	struct bufferevent *tls;

	if (evbuffer_get_length(bufferevent_get_input(c->bev)) > 0) {
		log_info("%s %s close ip=%s why=input behind STARTTLS",
		    mail_service_name(c->service), c->sid, c->ip);
		conn_free(c);
		return;
	}
	if ((tls = tls_upgrade(c->bev, c->gate->tls)) == NULL) {
		log_warnx("%s %s cannot start TLS", mail_service_name(c->service), c->sid);
		c->bev = NULL;		/* the old one is gone either way */
		conn_free(c);
		return;
	}
	c->bev = tls;
	c->state = CONN_HANDSHAKE;
	set_callbacks(c);
	conn_arm(c, c->gate->conf->login_timeout_s);
}

/* Everything is said: close our side, and wait a moment for the client's, since
 * closing with unread input would destroy our last words on their way. */
static void
linger(struct conn *c)
{
	SSL *ssl = c->tls[0] != '\0' ? bufferevent_openssl_get_ssl(c->bev) : NULL;

	c->state = CONN_LINGER;
	if (ssl != NULL)
		SSL_shutdown(ssl);
	if (c->eof) {
		conn_free(c);
		return;
	}
	shutdown(bufferevent_getfd(c->bev), SHUT_WR);
	conn_arm(c, LINGER_S);
	gate_conn_ended(c->gate);
}

/* Does the engine wait for another process? */
static bool
waiting(const struct conn *c)
{
	return c->smtp != NULL ? smtp_waiting(c->smtp) : login_waiting(c->login);
}

static void
engine(struct conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);

	if (c->smtp != NULL)
		smtp_input(c->smtp, in);
	else
		login_input(c->login, in);
}

/* A short answer to a client in clear goes out at once: waiting for the loop to say that
 * the socket takes it would cost more than the answer.  What it does not take, and what is
 * wrong with it, is the stream's matter. */
static void
write_now(struct conn *c, const struct evbuffer *before)
{
	size_t len = evbuffer_get_length(c->out);

	if (c->state == CONN_TALK && len > 0 && len <= SHORT_ANSWER
	    && evbuffer_get_length(before) == 0 && bufferevent_openssl_get_ssl(c->bev) == NULL)
		(void)evbuffer_write(c->out, bufferevent_getfd(c->bev));
}

static bool
hold(struct conn *c)
{
	if (hold_stream(c->gate->lease, c->bev, &c->held))
		gate_hold(c->gate);
	return c->held;
}

void
conn_release(struct gate *g)
{
	for (struct conn *c = g->conns, *next; c != NULL; c = next) {
		next = c->next;
		if (c->held && !hold(c))
			conn_pump(c);
	}
}

void
conn_pump(struct conn *c)
{
	struct evbuffer *to;

	if (c->pumping) {		/* an answer came from inside the engine's call */
		c->again = true;
		return;
	}
	c->pumping = true;
	do {
		c->again = false;
		if (c->state == CONN_TALK && !hold(c)
		    && evbuffer_get_length(bufferevent_get_output(c->bev)) < OUTPUT_HIGH)
			engine(c);
	} while (c->again && c->state == CONN_TALK);
	c->pumping = false;

	if (hold(c)) {
		if (c->state == CONN_CLOSING && !c->gate->serving)
			conn_free(c);	/* its last words will not be wanted */
		return;
	}
	to = bufferevent_get_output(c->bev);
	write_now(c, to);
	evbuffer_add_buffer(to, c->out);
	if (c->eof && c->state == CONN_TALK && !waiting(c) && evbuffer_get_length(to) < OUTPUT_HIGH)
		conn_closing(c, "client closed");
	if (c->state == CONN_TALK)
		arm_talk(c);
	else if (c->state == CONN_UPGRADE && evbuffer_get_length(to) == 0)
		upgrade(c);
	else if (c->state == CONN_CLOSING && evbuffer_get_length(to) == 0)
		linger(c);
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	struct conn *c = arg;

	if (c->state == CONN_LINGER || c->state == CONN_CLOSING) {
		struct evbuffer *in = bufferevent_get_input(bev);

		evbuffer_drain(in, evbuffer_get_length(in));
		return;
	}
	if (c->state == CONN_TALK)
		conn_pump(c);
}

static void
on_write(struct bufferevent *bev, void *arg)
{
	struct conn *c = arg;

	(void)bev;
	if (c->state != CONN_HANDSHAKE && c->state != CONN_LINGER)
		conn_pump(c);
}

static void
handshake_done(struct conn *c)
{
	const char *version = tls_version(c->bev);

	if (implicit_tls(c->service) && c->tls[0] == '\0') {
		greet(c);
		return;
	}
	snprintf(c->tls, sizeof(c->tls), "%s", version != NULL ? version : "TLS");
	c->state = CONN_TALK;
	if (c->smtp != NULL)
		smtp_tls(c->smtp, c->tls);
	else
		login_tls(c->login);
	conn_pump(c);
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct conn *c = arg;

	if (what & BEV_EVENT_CONNECTED) {
		if (c->state == CONN_HANDSHAKE)
			handshake_done(c);
		return;
	}
	/* A client may close its side behind its last command and still wants to hear. */
	if ((what & BEV_EVENT_EOF) && c->state == CONN_TALK && !c->eof) {
		c->eof = true;
		conn_pump(c);
		return;
	}
	if (c->state == CONN_HANDSHAKE)
		log_info("%s %s TLS failed ip=%s: %s", mail_service_name(c->service), c->sid,
		    c->ip, log_safe(tls_error(bev)));
	else if (c->state != CONN_LINGER)
		log_info("%s %s lost ip=%s", mail_service_name(c->service), c->sid, c->ip);
	conn_free(c);
}

/* Time is up: for the client, or for the answer of another process. */
static void
on_timer(int fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	if (c->state != CONN_TALK) {
		conn_free(c);
		return;
	}
	if (c->smtp != NULL && smtp_waiting(c->smtp))
		gate_mail_timeout(c->mail);
	else if (c->smtp != NULL)
		smtp_timeout(c->smtp);
	else
		login_bye(c->login, "timeout");
	conn_pump(c);
}

static void
on_later(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	conn_auth_later(arg);
}

static void
engine_new(struct conn *c)
{
	struct smtp_peer peer = { .service = c->service, .tls_offered = true };

	if (c->service > MAIL_SUBMISSIONS) {
		c->login = login_new(&c->gate->login_limits, c->service, true, &login_ops, c,
		    c->out);
		return;
	}
	snprintf(peer.ip, sizeof(peer.ip), "%s", c->ip);
	c->smtp = smtp_new(&c->gate->smtp_limits, &peer, &gate_smtp_ops, c, c->out);
	c->mail = gate_mail_new(c);
}

static void
ip_text(const struct sockaddr *sa, char *out, size_t size)
{
	const struct in6_addr *a6 = &((const struct sockaddr_in6 *)sa)->sin6_addr;

	if (sa->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)sa)->sin_addr, out,
		    (socklen_t)size);
	else if (IN6_IS_ADDR_V4MAPPED(a6))
		inet_ntop(AF_INET, a6->s6_addr + 12, out, (socklen_t)size);
	else
		inet_ntop(AF_INET6, a6, out, (socklen_t)size);
}

static struct conn *
conn_new(struct gate *g, enum mail_service service, const struct sockaddr *sa)
{
	struct conn *c = mem_alloc(sizeof(*c));
	uint8_t r[5];

	c->gate = g;
	c->service = service;
	c->key = ip_table_key(sa);
	ip_text(sa, c->ip, sizeof(c->ip));
	random_bytes(r, sizeof(r));
	hex_encode(r, sizeof(r), c->sid);
	if ((c->out = evbuffer_new()) == NULL
	    || (c->timer = event_new(g->base, -1, 0, on_timer, c)) == NULL
	    || (c->later = event_new(g->base, -1, 0, on_later, c)) == NULL)
		log_fatal("out of memory");
	c->next = g->conns;
	if (c->next != NULL)
		c->next->prevp = &c->next;
	c->prevp = &g->conns;
	g->conns = c;
	g->nconns++;
	g->sessions++;
	return c;
}

/* No room: the client hears why, as far as one write goes. */
static void
refuse(struct gate *g, enum mail_service service, int fd, const char *ip)
{
	static struct log_rate rate;
	unsigned long held;
	char text[256] = "";

	if (service == MAIL_SMTP || service == MAIL_SUBMISSION)
		snprintf(text, sizeof(text), "421 4.7.0 %.100s too many connections\r\n",
		    g->conf->hostname);
	else if (service == MAIL_POP3)
		snprintf(text, sizeof(text), "-ERR [SYS/TEMP] too many connections\r\n");
	else if (service == MAIL_IMAP)
		snprintf(text, sizeof(text), "* BYE too many connections\r\n");
	if (text[0] != '\0' && send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) == -1)
		log_debug("refused client did not wait for the reason");
	close(fd);
	if (log_rate_ok(&rate, 10000, &held))
		log_warnx("%s refused ip=%s: too many connections (%lu more not logged)",
		    mail_service_name(service), ip, held);
}

void
conn_accept(struct gate *g, enum mail_service service, int fd, const struct sockaddr *sa)
{
	struct conn *c;
	char ip[64];
	int on = 1;

	ip_text(sa, ip, sizeof(ip));
	if (g->nconns >= g->conf->connections_max
	    || !ip_table_enter(g->ips, ip_table_key(sa), clock_ms())) {
		refuse(g, service, fd, ip);
		return;
	}
	c = conn_new(g, service, sa);
	/* Both only help; a socket without them works. */
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->bev = implicit_tls(service)
	    ? tls_accept(g->base, g->tls, fd)
	    : bufferevent_socket_new(g->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (c->bev == NULL) {
		log_warnx("%s %s cannot set up the stream", mail_service_name(service), c->sid);
		conn_free(c);
		return;
	}
	engine_new(c);
	log_debug("%s %s open ip=%s", mail_service_name(service), c->sid, c->ip);
	set_callbacks(c);
	if (implicit_tls(service)) {
		c->state = CONN_HANDSHAKE;
		conn_arm(c, g->conf->login_timeout_s);
	} else
		greet(c);
}

void
conn_free(struct conn *c)
{
	struct gate *g = c->gate;

	waits_forget(g->waits, c);
	gate_mail_free(c->mail);
	smtp_free(c->smtp);
	login_free(c->login);
	proxy_free(c->proxy);
	if (c->bev != NULL)
		bufferevent_free(c->bev);
	evbuffer_free(c->out);
	event_free(c->timer);
	event_free(c->later);
	ip_table_leave(g->ips, c->key);
	*c->prevp = c->next;
	if (c->next != NULL)
		c->next->prevp = c->prevp;
	g->nconns--;
	free(c);
	gate_conn_ended(g);
}

void
conn_drain(struct conn *c)
{
	if ((c->state == CONN_TALK || c->state == CONN_CLOSING) && hold(c)) {
		conn_free(c);
		return;
	}
	switch (c->state) {
	case CONN_HANDSHAKE:
	case CONN_UPGRADE:
		conn_free(c);
		return;
	case CONN_TALK:
		if (c->smtp != NULL)
			smtp_drain(c->smtp);
		else
			login_bye(c->login, "server is going down, try again");
		conn_pump(c);
		return;
	case CONN_PROXY:		/* the store worker says goodbye */
	case CONN_CLOSING:
	case CONN_LINGER:
		return;
	}
}
