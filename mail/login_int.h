/* login_int.h - the inside shared by login.c, gate_imap.c and gate_pop3.c. */
#ifndef MAIL_LOGIN_INT_H
#define MAIL_LOGIN_INT_H

#include <stddef.h>

#include "login.h"
#include "span.h"

#define LOGIN_SECRET_MAX 3072

struct login {
	const struct login_limits *limits;
	const struct login_ops *ops;
	const struct login_proto *proto;
	void *arg;
	struct evbuffer *out;
	bool tls, tls_offered;
	bool waiting, closed, skipping;
	bool sasl;			/* the next line answers AUTH's challenge */
	uint32_t errors, failures;
	char tag[LOGIN_TAG_MAX + 1];	/* IMAP: of the command under way */
	char *user;			/* POP3: of USER */
	char *cmd;			/* IMAP: the command so far, with its literals */
	size_t cmd_len;
	uint64_t literal_left;
};

struct login_proto {
	void (*greet)(struct login *);
	void (*bye)(struct login *, const char *why);
	bool (*take)(struct login *, struct evbuffer *in);	/* false: more is needed */
	void (*failed)(struct login *, enum mail_rc);
	void (*bad)(struct login *, const char *text);		/* a mistake of the client */
};
extern const struct login_proto login_imap, login_pop3;

void login_line(struct login *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void login_error(struct login *, const char *text);	/* counted */
void login_close(struct login *, const char *why);
void login_ask(struct login *, const char *user, const char *password);
void login_starttls(struct login *);
/* Takes one line: what AUTH waits for, or a command.  False: more input is needed. */
bool login_take_line(struct login *, struct evbuffer *in,
    void (*command)(struct login *, struct span));
/* The base64 of a SASL PLAIN message, or "*". */
void login_sasl(struct login *, struct span line);

#endif
