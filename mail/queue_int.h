/* queue_int.h - the inside of the queue process, shared by queue.c (channels, what to
 * do next), queue_change.c (records), queue_send.c (transfers), queue_report.c (senders
 * are told), queue_merge.c (two histories) and queue_ctl.c (operators). */
#ifndef MAIL_QUEUE_INT_H
#define MAIL_QUEUE_INT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "child.h"
#include "index_owner.h"
#include "maild_conf.h"
#include "owner.h"
#include "queue_retry.h"
#include "queue_shard.h"
#include "smtp_client.h"
#include "waits.h"

struct event;
struct event_base;
struct evdns_base;
struct lease;
struct queue_change;
struct queue_job;
struct queue_merge;
struct queue_session;
struct queue_told;

struct queue_host {			/* the smart host */
	char name[256];
	uint16_t port;
	bool numeric;
	struct smtp_client_rules rules, plain;	/* plain: the same without TLS */
	char *user, *password;
	struct evdns_base *dns;
	const char *blocked;		/* why nothing can be sent; NULL: it can */
	uint32_t failures;		/* connections in a row */
	int64_t next_ms;		/* monotonic: not before */
	bool skip_tls;			/* the handshake failed, and TLS may be left out */
};

struct queue {
	struct event_base *base;
	const struct maild_conf *conf;
	char *dir;
	struct child *child;
	const struct lease *lease;
	struct waits *waits;
	struct queue_shard *shard;
	struct owner *owner;
	struct queue_retry rules;
	struct queue_host host;
	bool serving;			/* PM_SERVE */
	TAILQ_HEAD(, queue_change) changes;	/* proposed, or waiting for the log */
	size_t nchanges;
	TAILQ_HEAD(, queue_job) jobs;
	TAILQ_HEAD(, queue_session) sessions;
	size_t nsessions;
	TAILQ_HEAD(, queue_told) told;
	size_t ntold;
	struct index_owner index;
	struct queue_merge *merge;	/* that is under way; NULL */
	struct event *pump;
	int64_t expired_ms, swept_ms;	/* monotonic: looked last */
};

/* queue_change.c: a proposal and who waits for it.  The callback comes exactly once, from
 * the loop; gen, lsn and copies are those of the last record. */
struct queue_commit { uint64_t id, gen, lsn; uint8_t copies; };
typedef void queue_change_cb(void *arg, enum mail_rc, const struct queue_commit *);
void queue_change_put(struct queue *, enum queue_record, struct wire_out *body,
    queue_change_cb *, void *arg);
/* A new message: the text of fd (owned by the call) behind its Return-Path. */
void queue_change_enqueue(struct queue *, const char *trace, const char *sender,
    const char *const *rcpts, uint16_t n, int fd, queue_change_cb *, void *arg);
/* A message of another node: its QUEUE_ADOPT without the text (emptied by the call), and
 * the text, from `at` on in fd, which is owned by the call. */
void queue_change_adopt(struct queue *, uint64_t id, struct wire_out *head, int fd, uint64_t at,
    uint64_t size, queue_change_cb *, void *arg);
/* Calls back whose changes have ended. */
void queue_change_tell(struct queue *);
bool queue_change_uploads(const struct queue *, uint64_t id);
void queue_change_free_all(struct queue *);
extern const struct owner_ops queue_owner_ops;

/* queue.c */
bool queue_active(const struct queue *);	/* may change things */
bool queue_may_send(const struct queue *);	/* the log takes the outcome, the file is up to date,
							 * the lease holds */
void queue_kick(struct queue *);	/* look soon what is to be done */
bool queue_busy(const struct queue *, uint64_t id);

/* queue_send.c */
void queue_host_init(struct queue *);
void queue_host_clear(struct queue *);
void queue_send_pump(struct queue *);
bool queue_send_busy(const struct queue *, uint64_t id);
int64_t queue_send_next(const struct queue *);	/* monotonic: when the host may be tried */
void queue_send_expire(struct queue *, uint64_t id);	/* gives up on it */
void queue_send_stop(struct queue *);	/* this node serves no more */
void queue_send_free(struct queue *);

/* queue_report.c: the sender is told of failures, or of a delay.  Ends by itself. */
void queue_report_start(struct queue *, uint64_t id, bool delayed);
bool queue_report_busy(const struct queue *, uint64_t id);
bool queue_report_room(const struct queue *);
void queue_report_again(struct queue *);	/* forgets those that failed a while ago */
void queue_report_free(struct queue *);

/* queue_merge.c: owner_ops.changes and .merge. */
void queue_merge_changes(struct queue *, uint64_t fork, bool whole, int tail_fd);
void queue_merge_start(struct queue *, const struct owner_merge *);
void queue_merge_free(struct queue *);	/* after its changes */

/* queue_ctl.c */
void queue_ctl(struct queue *, uint32_t id, struct span json);

#endif
