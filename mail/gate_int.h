/* gate_int.h - the inside of the gate process, shared by gate.c (listening, channels,
 * serving), gate_conn.c (one client), gate_auth.c, gate_smtp.c and gate_proxy.c. */
#ifndef MAIL_GATE_INT_H
#define MAIL_GATE_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "child.h"
#include "ip_table.h"
#include "login.h"
#include "maild_conf.h"
#include "mailipc.h"
#include "smtp.h"
#include "waits.h"

struct bufferevent;
struct evbuffer;
struct event;
struct event_base;
struct lease;
struct conn;
struct gate_mail;
struct proxy;

struct gate_listener {
	struct gate *gate;
	struct event *event;
	enum mail_service service;
	int fd;
};

struct gate {
	struct event_base *base;
	const struct maild_conf *conf;
	SSL_CTX *tls;
	struct child *child;
	struct waits *waits;
	struct ip_table *ips;
	uint8_t tried_key[16];		/* of the digests in ips, for the life of this process */
	struct smtp_limits smtp_limits;
	struct login_limits login_limits;
	struct gate_listener listeners[CONF_LISTENS_MAX];
	size_t nlisteners;
	struct conn *conns;
	uint32_t nconns;
	uint64_t data_bytes;		/* in all message files of this gate */
	bool serving, leaving;		/* leaving: SERVE 0 came, SERVING 0 is owed */
	const struct lease *lease;
	struct event *grace, *pause, *release;
	uint64_t gen;			/* what the directory's owner role said last */
	uint8_t copies;
	char gen_kind[16];
	uint64_t sessions;
};

enum conn_state {
	CONN_HANDSHAKE,		/* TLS is being set up */
	CONN_TALK,		/* an engine reads and writes */
	CONN_UPGRADE,		/* the answer to STARTTLS is on its way out */
	CONN_PROXY,		/* the store worker has the stream */
	CONN_CLOSING,		/* last words are on their way out */
	CONN_LINGER,		/* we are done, the client has not closed yet */
};

struct conn {
	struct gate *gate;
	struct conn *next, **prevp;
	enum conn_state state;
	enum mail_service service;
	char sid[12], ip[64], tls[16];
	struct ip_key key;
	struct bufferevent *bev;
	struct evbuffer *out;		/* what the engine wrote and bev has not yet */
	struct event *timer, *later;
	struct smtp *smtp;		/* exactly one of these two */
	struct login *login;
	struct gate_mail *mail;		/* SMTP: recipients and text */
	struct proxy *proxy;
	bool pumping, again;
	bool held;			/* nothing leaves: the lease has run out */
	bool eof;			/* the client said its last */
	enum mail_rc auth_rc;		/* waits in `later` */
	uint64_t tried;			/* keyed digest of the last name and password */
	uint64_t user;			/* after the login */
	uint16_t shard;
	char address[ADDRESS_MAX + 1];
};

/* gate_conn.c */
void conn_accept(struct gate *, enum mail_service, int fd, const struct sockaddr *);
void conn_pump(struct conn *);		/* lets the engine work; may free the conn */
void conn_free(struct conn *);
void conn_drain(struct conn *);		/* the node stops serving; may free the conn */
void conn_closing(void *arg, const char *why);
void conn_starttls(void *arg);
void conn_release(struct gate *);	/* lets go on whom a lease that ran out had held */
void conn_arm(struct conn *, unsigned seconds);
/* gate_auth.c */
void conn_auth(void *arg, const char *user, const char *password);
void conn_auth_later(struct conn *);	/* the pause behind a wrong password is over */
/* gate_proxy.c */
void conn_handover(void *arg, const char *tag);
void proxy_free(struct proxy *);
/* gate_smtp.c */
extern const struct smtp_ops gate_smtp_ops;
struct gate_mail *gate_mail_new(struct conn *);
void gate_mail_free(struct gate_mail *);
void gate_mail_timeout(struct gate_mail *);	/* no answer came in time */
/* gate.c */
void gate_conn_ended(struct gate *);	/* freed, or only lingering */
void gate_hold(struct gate *);		/* calls conn_release() when the lease holds again */

#endif
