/* session_int.h - what IMAP and POP3 share of a session: the stream, the timers and
 * one doorway.  Every callback (bytes, room, timer, store) only notes what happened
 * and calls session_kick(); the work is done in session.c's turn, which calls the
 * protocol's step() again and again, and frees the session when it is over.  So no
 * callback finds a session half way, and no session frees itself in a callee. */
#ifndef MAIL_SESSION_INT_H
#define MAIL_SESSION_INT_H

#include <sys/queue.h>
#include <event2/buffer.h>

#include "session.h"
#include "store.h"

#define SESSION_OUT_HIGH (256u << 10)	/* above: nothing more is produced or read */
#define SESSION_OUT_LOW (64u << 10)	/* below: go on */

struct bufferevent;
struct event;
struct imap;
struct pop3;

struct session_proto {
	void (*start)(struct session *);
	/* Does a bounded piece of work; false: nothing to do until something happens. */
	bool (*step)(struct session *);
	/* The session ends from our side: says so in the protocol's words and calls
	 * session_close(), at once or when the answer under way is whole. */
	void (*bye)(struct session *, const char *why);
	void (*clear)(struct session *);	/* frees what it hung on the session */
};

struct session {
	TAILQ_ENTRY(session) link;
	struct session_set *set;
	struct store *store;
	const struct session_proto *proto;
	struct bufferevent *bev;
	struct evbuffer *in;		/* what came in, ours to take from */
	struct evbuffer *out;		/* the stream's output */
	struct event *turn, *idle;
	uint64_t user;
	uint16_t shard;
	enum mail_service service;
	char *address, *sid, *ip, *tls, *tag;
	bool eof;			/* the client sends no more */
	bool closing;			/* ends when the output has drained */
	bool leaving;			/* bye() was called; it may take LINGER_S */
	bool broken;			/* ends now */
	bool held;			/* nothing leaves: the lease has run out */
	bool waiting;			/* a change is under way: session_wait() */
	void (*done)(struct session *, const struct store_result *);
	struct imap *imap;
	struct pop3 *pop3;
};

extern const struct session_proto imap_proto, pop3_proto;

const struct session_limits *session_limits(const struct session *);
/* Takes, or gives back, memory for an APPEND; false: the worker has no more for it. */
bool session_append_take(struct session *, uint64_t bytes);
void session_append_give(struct session *, uint64_t bytes);
bool session_room(const struct session *);	/* output below high water */
void session_kick(struct session *);
void session_close(struct session *);		/* after the output has gone out */
/* For every change: "store_x(..., session_done, s)" and session_wait(s, continue). */
void session_wait(struct session *, void (*done)(struct session *,
    const struct store_result *));
void session_done(void *session, const struct store_result *);
/* The first UID of the mailbox that no session has been told of as \Recent; claim:
 * everything below next is told now.  Kept for the life of the worker. */
uint32_t session_recent(struct session_set *, uint64_t box, uint32_t next, bool claim);
/* The maildrop lock: false when another POP3 session of the user has it. */
bool session_pop3_lock(const struct session *);
void session_printf(struct session *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
