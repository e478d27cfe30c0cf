/* mailipc.h - the messages between maild's processes (lib/ipc).  Who may talk to
 * whom:
 *
 *              parent  directory  gate   store  queue
 *   parent       -        x         x      x      x      PM_: serving, reload, status, ctl
 *   directory    x        -         x      -      x      DM_: addresses and passwords
 *   gate         x        x         -      x      x      SM_, QM_
 *   store        x        -         x      -      x      SM_: delivery and sessions
 *   queue        x        x         x      x      -      QM_
 *
 * Every question carries an id; its answer has the same id and the type named
 * beside it.  Numbers as in wire.h. */
#ifndef MAIL_MAILIPC_H
#define MAIL_MAILIPC_H

#include <stdint.h>

#include "owner.h"

/* What the gate puts above a message on top of message-size-max: trace headers. */
#define MAIL_TRACE_MAX 65536

/* how a request ended; the same numbers in every answer */
enum mail_rc {
	MAIL_OK,
	MAIL_TEMP,		/* 451 4.3.0 */
	MAIL_NOT_TWICE,		/* 451 4.4.0 not stored twice yet */
	MAIL_DISK_FULL,		/* 452 4.3.1 */
	MAIL_NOT_ACTIVE,	/* 421 4.3.2: this node serves no more */
	MAIL_OVER_QUOTA,	/* 452 4.2.2 */
	MAIL_UNKNOWN,		/* 550 5.1.1: no such user, mailbox, domain */
	MAIL_DENIED,		/* 535 5.7.8 or 550 5.7.1 */
	MAIL_EXISTS,
	MAIL_RELAY,		/* the address is not ours */
	MAIL_BAD,		/* the request made no sense */
};
const char *mail_rc_name(enum mail_rc);
enum mail_rc mail_rc_refused(enum owner_refusal);	/* the log did not take it */

enum mailipc_type {
	/* any -> parent, parent -> any.  SERVE u8 on (to gates also u32
	 * grace ms when off): gates open (after one message
	 * LISTEN per socket: u8 enum mail_service, str address; fd) or say goodbye and
	 * close; stores end their sessions; the queue
	 * stops sending.  SERVING u8 on: done.  STATE u8 ready, u64
	 * gen no, u64 applied lsn, u8 copies, str gen kind: owners (directory, stores,
	 * queue) tell the parent on each change whether syncd made them active; the
	 * parent tells the gates what the directory said.  CTL: directory -> parent,
	 * whole body = JSON request, the answer has the same id and is JSON with "exit"
	 * as in lib/ctl.h; the parent asks stores and queue with the same types.
	 * PEER u8 enum child_kind, u16 index; fd: your channel to that process, new or
	 * instead of the broken one.  SOCKET fd: the listening control socket.  LAYOUT u16
	 * shards: what the directory's log says; another number ends maild. */
	PM_SERVE = 1, PM_LISTEN, PM_SERVING, PM_STATE, PM_RELOAD, PM_CTL, PM_CTL_ANSWER,
	PM_PEER, PM_SOCKET, PM_LAYOUT,

	/* gate, queue -> directory */
	DM_AUTH = 32,		/* str user, str password, str service, str client ip */
	DM_AUTH_ANSWER,		/* u8 rc, u64 user id, u16 shard, str canonical address */
	DM_RCPT,		/* str address */
	DM_RCPT_ANSWER,		/* u8 rc (OK, UNKNOWN, RELAY, TEMP, ...), u16 n locals x (u64 user id,
				 * u16 shard, str address), u16 n remotes x (str address) */

	/* gate, queue -> store */
	SM_DELIVER = 64,	/* str trace id, str return path, u16 n x (u64 user id, u16 shard);
				 * fd = the whole message, trace headers on top, CRLF lines; its offset
				 * is shared with other readers: pread or mmap only */
	SM_DELIVER_ANSWER,	/* u8 rc, u64 gen, u64 lsn, u8 copies */
	SM_SESSION,		/* u8 enum mail_service, u64 user id, u16 shard, str address, str
				 * session id, str client ip, str tls version or "", str tag (IMAP: the tag
				 * that the store answers OK to), bytes = input that came behind the login;
				 * fd = the stream.  The store greets and serves; closing ends it. */

	/* gate -> queue */
	QM_ENQUEUE = 96,	/* str trace id, str return path, u16 n x str recipient; fd = message */
	QM_ENQUEUE_ANSWER,	/* u8 rc, str queue id, u64 gen, u64 lsn, u8 copies */
};

/* The store worker that owns a shard, of `stores` workers. */
static inline unsigned
mail_store_of(uint16_t shard, unsigned stores)
{
	return shard % stores;
}

enum mail_service {
	MAIL_SMTP = 1, MAIL_SUBMISSION, MAIL_SUBMISSIONS, MAIL_POP3, MAIL_POP3S,
	MAIL_IMAP, MAIL_IMAPS,
};
const char *mail_service_name(enum mail_service);

#endif
