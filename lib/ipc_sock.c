/* ipc_sock.c - Unix sockets and the blocking use of ipc frames: for small programs
 * and for start-up, before there is a loop.  Reads never take more than one frame,
 * so the descriptor can go into ipc_new() afterwards. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "fs.h"
#include "ipc.h"
#include "ipc_frame.h"
#include "mem.h"
#include "wire.h"

#define BACKLOG 128
#define SEND_WAIT_MS 10000

void
ipc_frame_encode(uint8_t dst[IPC_HEADER], const struct ipc_frame *f)
{
	wire_store32(dst, f->len);
	wire_store16(dst + 4, f->type);
	dst[6] = f->version;
	dst[7] = f->flags;
	wire_store32(dst + 8, f->id);
}

void
ipc_frame_decode(const uint8_t src[IPC_HEADER], struct ipc_frame *f)
{
	f->len = wire_load32(src);
	f->type = wire_load16(src + 4);
	f->version = src[6];
	f->flags = src[7];
	f->id = wire_load32(src + 8);
}

ssize_t
ipc_frame_send(int sock, struct iovec *iov, size_t n, int passfd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} u = { 0 };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };

	if (passfd != -1) {
		struct cmsghdr *h;

		m.msg_control = u.buf;
		m.msg_controllen = sizeof(u.buf);
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(h), &passfd, sizeof(int));
	}
	return sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t
ipc_frame_recv(int sock, void *dst, size_t room, struct ipc_fds *fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(IPC_FDS_MAX * sizeof(int))];
	} u;
	struct iovec iov = { dst, room };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.buf,
		.msg_controllen = sizeof(u.buf) };
	ssize_t n;

	*fds = (struct ipc_fds){ .n = 0 };
	n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n == -1)
		return -1;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h != NULL; h = CMSG_NXTHDR(&m, h)) {
		size_t bytes = h->cmsg_len - CMSG_LEN(0);

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds->fd, CMSG_DATA(h), bytes);	/* the kernel keeps to the room */
		fds->n = bytes / sizeof(int);
	}
	fds->lost = (m.msg_flags & MSG_CTRUNC) != 0;
	return n;
}

static int
fill(struct sockaddr_un *a, const char *path)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (span_copy(span_of(path), a->sun_path, sizeof(a->sun_path)) == 0)
		return 0;
	errno = ENAMETOOLONG;
	return -1;
}

/* Bound and listening under a name of its own, then moved over the old one: whoever
 * connects reaches a listener, with the right mode, at any moment. */
int
ipc_listen(const char *path, mode_t mode, gid_t group)
{
	struct sockaddr_un a;
	struct stat st;
	char *tmp;
	int fd, saved;

	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		errno = EEXIST;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return -1;
	tmp = mem_printf("%s.new", path);
	unlink(tmp);
	if (fill(&a, tmp) == 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0
	    && (group == (gid_t)-1 || lchown(tmp, (uid_t)-1, group) == 0)
	    && chmod(tmp, mode) == 0 && listen(fd, BACKLOG) == 0 && rename(tmp, path) == 0) {
		free(tmp);
		return fd;
	}
	saved = errno;
	unlink(tmp);
	close(fd);
	free(tmp);
	errno = saved;
	return -1;
}

int
ipc_connect(const char *path)
{
	struct sockaddr_un a;
	int fd, saved;

	if (fill(&a, path) == -1)
		return -1;
	/* Not blocking: a full backlog must not stop an event loop. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return -1;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && fcntl(fd, F_SETFL, 0) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static int
wait_for(int fd, short what, int64_t until_ms)
{
	int64_t left = until_ms - clock_ms();
	struct pollfd p = { fd, what, 0 };
	int n;

	if (left < 0)
		left = 0;
	n = poll(&p, 1, (int)left);
	if (n == 0)
		errno = ETIMEDOUT;
	return n == 1 || (n == -1 && errno == EINTR) ? 0 : -1;
}

int
ipc_send_wait(int fd, uint16_t type, uint32_t id, const void *body, size_t len, int passfd)
{
	int64_t until = clock_ms() + SEND_WAIT_MS;
	uint8_t head[IPC_HEADER];
	struct iovec iov[2] = { { head, sizeof(head) }, { (void *)(uintptr_t)body, len } };
	struct iovec *at = iov;

	if (len > UINT32_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	ipc_frame_encode(head, &(struct ipc_frame){ (uint32_t)len, id, type, IPC_VERSION,
	    passfd == -1 ? 0 : IPC_HAS_FD });
	while (at < iov + 2) {
		ssize_t n = ipc_frame_send(fd, at, (size_t)(iov + 2 - at), passfd);

		if (n == -1 && errno != EAGAIN && errno != EINTR)
			return -1;
		if (n == -1) {
			if (wait_for(fd, POLLOUT, until) == -1)
				return -1;
			continue;
		}
		passfd = -1;	/* went with the first byte */
		while (at < iov + 2 && (size_t)n >= at->iov_len)
			n -= (ssize_t)(at++)->iov_len;
		if (at < iov + 2) {
			at->iov_base = (char *)at->iov_base + n;
			at->iov_len -= (size_t)n;
		}
	}
	return 0;
}

/* Exactly len bytes; a descriptor that comes along goes to *got. */
static int
recv_exactly(int fd, void *dst, size_t len, int64_t until, int *got)
{
	uint8_t *p = dst;

	while (len > 0) {
		struct ipc_fds fds;
		ssize_t n = ipc_frame_recv(fd, p, len, &fds);

		if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
			if (wait_for(fd, POLLIN, until) == -1)
				return -1;
			continue;
		}
		for (size_t i = 0; n >= 0 && i < fds.n; i++) {
			if (*got == -1)
				*got = fds.fd[i];
			else
				close(fds.fd[i]);
		}
		if (n == 0)
			errno = EPIPE;
		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int
recv_failed(int got, char *text, int error)
{
	if (got != -1)
		close(got);
	free(text);
	errno = error;
	return -1;
}

int
ipc_recv_wait(int fd, int timeout_ms, uint32_t max_body, uint16_t *type, uint32_t *id,
    char **body, size_t *len, int *passfd)
{
	int64_t until = clock_ms() + timeout_ms;
	uint8_t head[IPC_HEADER];
	struct ipc_frame f;
	char *text;
	int got = -1;

	if (recv_exactly(fd, head, sizeof(head), until, &got) == -1)
		return recv_failed(got, NULL, errno);
	ipc_frame_decode(head, &f);
	if (f.version != IPC_VERSION || f.len > max_body)
		return recv_failed(got, NULL, EPROTO);
	text = mem_alloc((size_t)f.len + 1);
	if (recv_exactly(fd, text, f.len, until, &got) == -1)
		return recv_failed(got, text, errno);
	if (((f.flags & IPC_HAS_FD) != 0) != (got != -1))
		return recv_failed(got, text, EPROTO);
	*type = f.type;
	*id = f.id;
	*body = text;
	*len = f.len;
	if (passfd != NULL)
		*passfd = got;
	else if (got != -1)
		close(got);
	return 0;
}
