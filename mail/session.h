/* session.h - IMAP and POP3 after the login, inside a store worker.  A session
 * owns its stream; it ends by itself when the client leaves, or by bye(). */
#ifndef MAIL_SESSION_H
#define MAIL_SESSION_H

#include <stdint.h>

#include "mailipc.h"
#include "span.h"

struct event_base;
struct lease;
struct store;
struct session;
struct session_set;	/* all sessions of the worker, and their limits */

struct session_limits {
	uint32_t idle_s;		/* IMAP without a command: at least 1800 (RFC 3501 5.4) */
	uint32_t pop3_idle_s;		/* at least 600 (RFC 1939 3) */
	uint32_t line_max;		/* bytes of a command line without literals */
	uint64_t literal_max;		/* bytes of all literals of a command but APPEND's */
	uint64_t append_max;		/* bytes of an appended message, */
	uint64_t append_memory_max;	/* and of all that are being received */
	uint32_t per_user;		/* sessions of one user */
};

struct session_login {
	enum mail_service service;	/* MAIL_IMAP(S), MAIL_POP3(S) */
	uint64_t user;
	uint16_t shard;
	const char *address, *sid, *ip, *tls, *tag;
	struct span early;		/* input that came behind the login */
};

struct session_set *session_set_new(struct event_base *, struct store *,
    const struct session_limits *, const struct lease *);	/* limits are copied; the lease is
							 * borrowed, NULL: without one */
void session_set_free(struct session_set *);
/* fd is owned from here on.  Greets ("tag OK [CAPABILITY ...] ..." or "+OK ..."). */
void session_start(struct session_set *, int fd, const struct session_login *);
/* Untagged BYE or a closed POP3 stream for all; whole answers go out first, but not when the
 * lease has run out. */
void session_bye_all(struct session_set *, const char *why);
size_t session_count(const struct session_set *);
/* The capabilities announced after login; the gate announces its own before. */
const char *session_imap_capabilities(void);

#endif
