/* ipc_frame.h - the frame of lib/ipc and the two system calls that move it; shared
 * by the event-driven channel (ipc.c) and the blocking one (ipc_sock.c) only. */
#ifndef LIB_IPC_FRAME_H
#define LIB_IPC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct iovec;

#define IPC_HEADER 12
#define IPC_VERSION 1
#define IPC_HAS_FD 1

struct ipc_frame {
	uint32_t len, id;
	uint16_t type;
	uint8_t version, flags;
};

void ipc_frame_encode(uint8_t dst[IPC_HEADER], const struct ipc_frame *);
void ipc_frame_decode(const uint8_t src[IPC_HEADER], struct ipc_frame *);

/* sendmsg/recvmsg that never wait and raise no signal. */
ssize_t ipc_frame_send(int sock, struct iovec *, size_t n, int passfd);
#define IPC_FDS_MAX 4
struct ipc_fds {
	int fd[IPC_FDS_MAX];
	size_t n;
	bool lost;	/* the kernel could not hand over all of them */
};
ssize_t ipc_frame_recv(int sock, void *dst, size_t room, struct ipc_fds *);

#endif
