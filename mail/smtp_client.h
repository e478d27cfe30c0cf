/* smtp_client.h - one SMTP session as a client (RFC 5321, 1870, 2920, 3207, 4954,
 * 6152) over a bufferevent: greeting, EHLO, STARTTLS, AUTH PLAIN, then any number of
 * messages, one after another.
 *
 * Every recipient of a message gets exactly one outcome, then done() comes, whatever
 * happens.  250 to the final dot is what makes one DELIVERED; a connection that ends
 * between the dot and the answer leaves them DEFERRED.  A password goes out only
 * inside TLS, unless the rules say that there is none. */
#ifndef MAIL_SMTP_CLIENT_H
#define MAIL_SMTP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <openssl/ssl.h>

struct bufferevent;
struct evbuffer;
struct event_base;
struct smtp_client;

#define SMTP_CLIENT_RCPTS_MAX 100	/* RFC 5321 4.5.3.1.8 */

struct smtp_client_rules {
	const char *helo;		/* our name */
	const char *server;		/* its name or address, for the certificate */
	const char *user, *password;	/* NULL: no login */
	enum smtp_client_tls { SMTP_CLIENT_PLAIN, SMTP_CLIENT_MAY, SMTP_CLIENT_MUST } tls;
	bool implicit;			/* TLS from the first byte (port 465) */
	SSL_CTX *ctx;			/* NULL with SMTP_CLIENT_PLAIN only */
	unsigned timeout_s;		/* a step; RFC 5321 4.5.3.2's times for 300 */
};

enum smtp_outcome { SMTP_DELIVERED = 1, SMTP_DEFERRED, SMTP_REJECTED };

struct smtp_client_mail {		/* borrowed until done() */
	const char *sender;
	const char *const *rcpts;
	size_t nrcpts;			/* 1 to SMTP_CLIENT_RCPTS_MAX */
	uint64_t size;
	bool eight_bit;
};

struct smtp_client_ops {
	/* A message may be given now. */
	void (*ready)(void *arg);
	/* The next bytes of the message, from `at` on: how many, 0 at its end, or -1. */
	ssize_t (*text)(void *arg, uint64_t at, char *buf, size_t n);
	void (*outcome)(void *arg, size_t rcpt, enum smtp_outcome, const char *reply);
	void (*done)(void *arg);
	/* The session is over.  Comes from the loop; only here, or outside of every
	 * callback, may the engine be freed.  tls: it was the handshake that failed. */
	void (*closed)(void *arg, bool tls, const char *why);
};

/* Owns bev, a stream over a descriptor, connected or about to be.  rules, ops are borrowed. */
struct smtp_client *smtp_client_new(struct event_base *, struct bufferevent *bev, bool connected,
    const struct smtp_client_rules *, const struct smtp_client_ops *, void *arg);
void smtp_client_free(struct smtp_client *);	/* no callbacks; NULL is fine */
void smtp_client_send(struct smtp_client *, const struct smtp_client_mail *);
void smtp_client_quit(struct smtp_client *);	/* between messages; closed() follows */
/* Ends the session unless the final dot is out: then the answer is waited for, and
 * false is returned. */
bool smtp_client_abort(struct smtp_client *, const char *why);

/* Dot-stuffing (RFC 5321 4.5.2) of the next piece of a text; *bol: it begins a line,
 * true at first.  Exported for its test. */
void smtp_client_stuff(struct evbuffer *out, const char *p, size_t n, bool *bol);

#endif
