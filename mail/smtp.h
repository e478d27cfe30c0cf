/* smtp.h - one SMTP server session (RFC 5321, 1870, 2034, 2920, 3207, 4954, 6152,
 * 6409) as an engine: bytes in, bytes out, and questions to its owner.
 *
 * It owns no socket, clock or file.  Questions (auth, rcpt, message) are answered
 * later by smtp_*_done(), also from inside the call; until then no further input is
 * looked at.  After closing() the engine is deaf; the owner flushes and frees it. */
#ifndef MAIL_SMTP_H
#define MAIL_SMTP_H

#include <stdbool.h>
#include <stdint.h>

#include "mailipc.h"
#include "span.h"

struct evbuffer;
struct smtp;

struct smtp_limits {
	const char *hostname;
	uint64_t message_size_max;
	uint32_t recipients_max, hops_max, errors_max, command_line_max, data_line_max;
	uint32_t auth_failures_max;
};

struct smtp_peer {
	enum mail_service service;	/* MAIL_SMTP, MAIL_SUBMISSION(S) */
	char ip[64];
	bool tls_offered;		/* STARTTLS is possible */
};

struct smtp_stamp {			/* facts for the trace header of one message */
	char id[24];
	int64_t wall_s;
	uint64_t gen;
	uint8_t copies;
	char gen_kind[16];
};

struct smtp_ops {
	/* MAIL was accepted: a new message begins. */
	void (*stamp)(void *arg, struct smtp_stamp *);
	/* The transaction is over or was given up: forget recipients and text. */
	void (*reset)(void *arg);
	void (*auth)(void *arg, const char *user, const char *password);
	void (*rcpt)(void *arg, const char *address);
	/* Text of the message, the trace header first and in one piece; MAIL_OK,
	 * MAIL_DISK_FULL (no room: 452) or MAIL_TEMP.  insert: put it behind the trace
	 * header, before all other text. */
	enum mail_rc (*data)(void *arg, struct span, bool insert);
	void (*message)(void *arg, const char *return_path);
	/* 220 is in the output: flush it, then handshake, then smtp_tls(). */
	void (*starttls)(void *arg);
	void (*closing)(void *arg, const char *why);
};

struct smtp *smtp_new(const struct smtp_limits *, const struct smtp_peer *,
    const struct smtp_ops *, void *arg, struct evbuffer *out);	/* limits, ops are borrowed */
void smtp_free(struct smtp *);
void smtp_greet(struct smtp *);			/* 220 */
void smtp_refuse(struct smtp *, const char *text);	/* "421 4.7.0 ..." and closing */
/* Takes what it can from in; call again when more is there, and after each done. */
void smtp_input(struct smtp *, struct evbuffer *in);
/* TLS is up; version for the trace header.  Also for implicit TLS, before the greeting. */
void smtp_tls(struct smtp *, const char *version);
void smtp_auth_done(struct smtp *, enum mail_rc, const char *user);
void smtp_rcpt_done(struct smtp *, enum mail_rc);
void smtp_message_done(struct smtp *, enum mail_rc, uint64_t gen, uint64_t lsn, uint8_t copies);
void smtp_timeout(struct smtp *);
/* This node stops serving: now, or after the message that is being received. */
void smtp_drain(struct smtp *);
/* Is a message being received, or waiting for its answer? */
bool smtp_in_data(const struct smtp *);
bool smtp_waiting(const struct smtp *);		/* for the owner, not for the client */
const char *smtp_user(const struct smtp *);	/* authenticated as; NULL: nobody */

#endif
