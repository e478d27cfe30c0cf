/* login.h - what the POP3 and IMAP engines before the login have in common: their
 * limits, their questions, and how they are driven.
 *
 * Like the SMTP engine they own no socket, clock or file.  auth() is answered by
 * login_auth_done(), also from inside the call.  After MAIL_OK the engine calls
 * handover() and is finished: what is left in the input belongs to the store worker,
 * which gives the positive answer itself. */
#ifndef MAIL_LOGIN_H
#define MAIL_LOGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "mailipc.h"

struct evbuffer;
struct login;

#define LOGIN_TAG_MAX 64

struct login_limits {
	const char *hostname;
	uint32_t errors_max, command_max;	/* bytes of a command with its literals */
	uint32_t auth_failures_max;
};

struct login_ops {
	void (*auth)(void *arg, const char *user, const char *password);
	void (*starttls)(void *arg);		/* flush, handshake, then login_tls() */
	void (*handover)(void *arg, const char *tag);	/* tag "" for POP3 */
	void (*closing)(void *arg, const char *why);
};

/* service: MAIL_POP3(S) or MAIL_IMAP(S).  limits and ops are borrowed. */
struct login *login_new(const struct login_limits *, enum mail_service, bool tls_offered,
    const struct login_ops *, void *arg, struct evbuffer *out);
void login_free(struct login *);
void login_greet(struct login *);
/* A reason such as "too many connections"; says goodbye and closes. */
void login_bye(struct login *, const char *why);
void login_input(struct login *, struct evbuffer *in);
void login_tls(struct login *);
void login_auth_done(struct login *, enum mail_rc);
bool login_waiting(const struct login *);

#endif
