/* queue_dsn.h - what the sender of a message is told (RFC 3462, 3464): that it could
 * not be delivered, or not yet.  Pure. */
#ifndef MAIL_QUEUE_DSN_H
#define MAIL_QUEUE_DSN_H

#include <stdbool.h>
#include <stdint.h>

#include "queue_shard.h"

struct evbuffer;

struct queue_dsn {
	const char *hostname, *smart_host;
	const struct queue_message *message;
	const struct queue_rcpt *rcpts;	/* those that it is about */
	size_t nrcpts;
	bool delayed;			/* a warning, not the end */
	int64_t now_ms, end_ms;		/* end_ms: when a delayed one is given up */
	const char *id;			/* of the report */
	struct span header;		/* of the message, whole or cut */
};

/* The report as a message with CRLF lines.  local: with Return-Path on top, as it is
 * delivered; else as it is sent on. */
void queue_dsn_write(const struct queue_dsn *, bool local, struct evbuffer *out);
/* "5.1.1" of "550 5.1.1 no such user"; what the first digit says where there is none. */
void queue_dsn_status(const char *reply, bool failed, char out[12]);
/* The header at the front of a text, without the empty line. */
struct span queue_dsn_header(struct span text);

#endif
