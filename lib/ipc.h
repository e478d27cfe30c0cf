/* ipc.h - framed typed messages between our own processes, over a stream socket
 * pair or a Unix socket, with an optional descriptor on a message (SCM_RIGHTS).
 * Frame: u32 body length, u16 type, u8 version (1), u8 flags (1 = a descriptor
 * travels along), u32 id; big-endian; then the body.  Order is kept; nothing is
 * dropped; a frame over max_body, or of another version, ends the channel. */
#ifndef LIB_IPC_H
#define LIB_IPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "span.h"

struct event_base;
struct ipc;

struct ipc_msg {
	uint16_t type;
	uint32_t id;		/* chosen by the asker, repeated in the answer; 0 = none */
	struct span body;	/* valid during the callback */
	int fd;			/* -1, or a descriptor that the callee now owns */
};

/* May call ipc_free() on its own channel. */
typedef void ipc_msg_cb(struct ipc *, const struct ipc_msg *, void *arg);
/* The other end is gone, or broke the framing.  The channel is dead already; the
 * callee calls ipc_free(). */
typedef void ipc_gone_cb(struct ipc *, const char *why, void *arg);

#define IPC_BODY_MAX (2u << 20)

/* Owns fd from here on and makes it non-blocking. */
struct ipc *ipc_new(struct event_base *, int fd, uint32_t max_body, ipc_msg_cb *,
    ipc_gone_cb *, void *arg);
void ipc_free(struct ipc *);		/* NULL is fine; unsent messages are lost */
/* Queues a message; fd (or -1) is owned by the channel from here on, also on
 * failure.  -1 with EMSGSIZE (too large) or EPIPE (dead). */
int ipc_send(struct ipc *, uint16_t type, uint32_t id, const void *body, size_t len,
    int fd);
int ipc_send_parts(struct ipc *, uint16_t type, uint32_t id, const struct span *parts,
    size_t n, int fd);
/* Writes what waits without waiting itself, for who ends now; true: nothing is left. */
bool ipc_flush(struct ipc *);
size_t ipc_unsent(const struct ipc *);	/* bytes that wait for the socket */
void ipc_read_enable(struct ipc *, bool on);	/* back-pressure */
/* Called once when the bytes that wait fall below low; re-armed by each call. */
void ipc_on_drained(struct ipc *, size_t low, void (*cb)(struct ipc *, void *arg));
/* Credentials of the other end of a Unix socket. */
int ipc_peer(const struct ipc *, uid_t *, gid_t *, pid_t *);

/* Unix sockets.  Listening: an old socket file is replaced, mode and group set. */
int ipc_listen(const char *path, mode_t mode, gid_t group);	/* fd or -1 */
int ipc_connect(const char *path);				/* fd or -1 */
/* Blocking use, for small programs and start-up; timeout in ms for the whole.  passfd
 * stays the caller's; *passfd is -1 or a new descriptor, *body is freed by the caller. */
int ipc_send_wait(int fd, uint16_t type, uint32_t id, const void *, size_t, int passfd);
int ipc_recv_wait(int fd, int timeout_ms, uint32_t max_body, uint16_t *type,
    uint32_t *id, char **body, size_t *len, int *passfd);

#endif
