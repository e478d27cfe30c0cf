/* smtp_int.h - the inside of the SMTP engine, shared by smtp.c (session), smtp_auth.c
 * and smtp_mail.c (transaction).  Nobody else includes it. */
#ifndef MAIL_SMTP_INT_H
#define MAIL_SMTP_INT_H

#include "address.h"
#include "smtp.h"
#include "smtp_data.h"

/* Where a session is; a set of them says where a command is legal. */
enum smtp_state {
	ST_START = 1,		/* no HELO yet */
	ST_IDLE = 2,		/* HELO, no transaction */
	ST_MAIL = 4,		/* MAIL was accepted */
	ST_RCPT = 8,		/* and at least one RCPT */
	ST_DATA = 16,		/* text is coming */
	ST_ANY = ST_START | ST_IDLE | ST_MAIL | ST_RCPT,
};

struct smtp {
	const struct smtp_limits *limits;
	const struct smtp_ops *ops;
	void *arg;
	struct evbuffer *out;
	struct smtp_peer peer;

	enum smtp_state state;
	bool waiting;		/* for a done() */
	bool closed, draining, skipping;	/* skipping: the rest of a line too long */
	bool esmtp;
	uint32_t errors, auth_failures;
	char helo[ADDRESS_DOMAIN_MAX + 1];
	char tls[16];		/* version, "" = plain */
	char *user;
	enum { AUTH_NO, AUTH_PLAIN, AUTH_LOGIN_USER, AUTH_LOGIN_PASS } auth;
	char *auth_user;	/* LOGIN, between its two steps */

	char from[ADDRESS_MAX + 1], first_rcpt[ADDRESS_MAX + 1], asked[ADDRESS_MAX + 1];
	uint32_t nrcpt;
	struct smtp_stamp stamp;
	struct smtp_data data;
	enum mail_rc data_rc;	/* first failure of ops->data */
};

void smtp_reply(struct smtp *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A reply that counts as the client's mistake; too many end the session. */
void smtp_error(struct smtp *, const char *text);
void smtp_close(struct smtp *, const char *why);
void smtp_reset(struct smtp *);		/* ends the transaction, if any */
bool smtp_submission(const struct smtp *);

void smtp_cmd_mail(struct smtp *, struct span arg);
void smtp_cmd_rcpt(struct smtp *, struct span arg);
void smtp_cmd_data(struct smtp *, struct span arg);
void smtp_data_end(struct smtp *);
void smtp_cmd_auth(struct smtp *, struct span arg);
void smtp_auth_line(struct smtp *, struct span line);	/* a line of the exchange */

#endif
