/* ipc.c - a channel of frames over a Unix stream socket, on plain libevent events
 * because bufferevents cannot pass descriptors.
 *
 * Sending: frames wait in a list; each turn of the loop gathers as many as one
 * sendmsg() takes.  A frame with a descriptor begins its own sendmsg(), so the
 * descriptor arrives with the frame's first byte.  Receiving: descriptors go into a
 * queue in their order of arrival, and each frame whose flag says so takes the first.
 * A frame without its descriptor, or a descriptor without a frame, ends the channel.
 *
 * Callbacks may free the channel: depth counts the callbacks that are running and
 * the last one out frees.  What the other end sent before it went away is delivered
 * before the gone callback. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <event2/event.h>

#include "fs.h"
#include "ipc.h"
#include "ipc_frame.h"
#include "log.h"
#include "mem.h"

#define READ_ROOM (64u << 10)	/* free bytes offered to one recvmsg */
#define READ_TURN (1u << 20)	/* bytes taken before other events get their turn */
#define KEEP_MAX (256u << 10)	/* an idle channel keeps no larger buffer */
#define GATHER 32		/* frames in one sendmsg */
#define FD_QUEUE 8

struct out {
	struct out *next;
	size_t len, off;
	int fd;			/* -1 when there is none or it has been sent */
	uint8_t data[];
};

struct ipc {
	int fd;
	uint32_t max_body;
	ipc_msg_cb *on_msg;
	ipc_gone_cb *on_gone;
	void *arg;
	struct event *ev_read, *ev_write, *ev_again;
	unsigned depth;		/* callbacks that are running */
	bool reading, dead, freed, eof;
	const char *write_failed;

	uint8_t *in;		/* frames from in_off to in_len */
	size_t in_off, in_len, in_cap;
	int fds[FD_QUEUE];
	size_t nfds;

	struct out *head, **tail;
	size_t unsent;

	void (*drained)(struct ipc *, void *);
	size_t low;
};

static void
drop_output(struct ipc *c)
{
	while (c->head != NULL) {
		struct out *o = c->head;

		c->head = o->next;
		if (o->fd != -1)
			close(o->fd);
		free(o);
	}
	c->tail = &c->head;
	c->unsent = 0;
}

/* From here on the channel does nothing by itself. */
static void
make_dead(struct ipc *c)
{
	c->dead = true;
	event_del(c->ev_read);
	event_del(c->ev_write);
	event_del(c->ev_again);
	drop_output(c);
}

static void
destroy(struct ipc *c)
{
	for (size_t i = 0; i < c->nfds; i++)
		close(c->fds[i]);
	event_free(c->ev_read);
	event_free(c->ev_write);
	event_free(c->ev_again);
	close(c->fd);
	free(c->in);
	free(c);
}

static void
leave(struct ipc *c)
{
	assert(c->depth > 0);
	if (--c->depth == 0 && c->freed)
		destroy(c);
}

void
ipc_free(struct ipc *c)
{
	if (c == NULL || c->freed)
		return;
	make_dead(c);
	c->freed = true;
	if (c->depth == 0)
		destroy(c);
}

/* The end of the channel, told once.  Only called between enter and leave. */
static void
gone(struct ipc *c, const char *why)
{
	if (c->dead)
		return;
	make_dead(c);
	c->on_gone(c, why, c->arg);
}

/* ---- receiving ----------------------------------------------------------- */

/* Hands one frame out; false when no whole frame is there or the channel ended. */
static bool
deliver_one(struct ipc *c)
{
	struct ipc_msg m = { .fd = -1 };
	struct ipc_frame f;
	size_t have = c->in_len - c->in_off;

	if (have < IPC_HEADER)
		return false;
	ipc_frame_decode(c->in + c->in_off, &f);
	if (f.version != IPC_VERSION) {
		gone(c, "frame of another version");
		return false;
	}
	if (f.len > c->max_body) {
		gone(c, "frame too large");
		return false;
	}
	if (have - IPC_HEADER < f.len)
		return false;
	if ((f.flags & IPC_HAS_FD) != 0) {
		if (c->nfds == 0) {
			gone(c, "descriptor missing");
			return false;
		}
		m.fd = c->fds[0];
		memmove(c->fds, c->fds + 1, --c->nfds * sizeof(c->fds[0]));
	}
	m.type = f.type;
	m.id = f.id;
	m.body = (struct span){ (const char *)c->in + c->in_off + IPC_HEADER, f.len };
	c->in_off += IPC_HEADER + f.len;
	c->on_msg(c, &m, c->arg);
	return true;
}

static void
deliver(struct ipc *c)
{
	while (!c->dead && c->reading && deliver_one(c))
		;
	if (c->dead)
		return;
	/* One may have come ahead with the first bytes of its frame. */
	if (c->reading && c->nfds > 1) {
		gone(c, "descriptor without a frame");
		return;
	}
	if (c->in_off == c->in_len) {
		c->in_off = c->in_len = 0;
		if (c->in_cap > KEEP_MAX) {
			free(c->in);
			c->in = NULL;
			c->in_cap = 0;
		}
	}
}

/* Room for the rest of the frame that has begun, in one step: a large frame is
 * neither moved nor copied again and again. */
static void
make_room(struct ipc *c)
{
	size_t have = c->in_len - c->in_off, want = have + READ_ROOM;
	struct ipc_frame f;

	if (have >= IPC_HEADER) {
		ipc_frame_decode(c->in + c->in_off, &f);
		if (f.len <= c->max_body && IPC_HEADER + f.len > want)
			want = IPC_HEADER + f.len;
	}
	if (c->in_cap - c->in_off >= want)
		return;
	if (c->in_off > 0 && have > 0)
		memmove(c->in, c->in + c->in_off, have);
	c->in_off = 0;
	c->in_len = have;
	if (c->in_cap < want) {
		c->in = mem_grow(c->in, want, 1);
		c->in_cap = want;
	}
}

/* -1 when the channel cannot go on; 0 nothing there; else bytes. */
static ssize_t
receive(struct ipc *c)
{
	struct ipc_fds got;
	ssize_t n;

	make_room(c);
	n = ipc_frame_recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, &got);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		c->eof = n == 0;
		return -1;
	}
	c->in_len += (size_t)n;
	for (size_t i = 0; i < got.n; i++) {
		if (c->nfds == FD_QUEUE)
			close(got.fd[i]);
		else
			c->fds[c->nfds++] = got.fd[i];
	}
	if (got.lost) {
		errno = EMFILE;
		return -1;
	}
	return n;
}

/* Everything that is there, but not for ever: READ_TURN bytes, then others. */
static void
read_turn(struct ipc *c)
{
	size_t taken = 0;

	deliver(c);		/* what waited while reading was off */
	while (!c->dead && c->reading && !c->eof && taken < READ_TURN) {
		ssize_t n = receive(c);

		if (n == 0)
			break;
		if (n == -1 && !c->eof) {
			gone(c, strerror(errno));
			return;
		}
		if (n > 0)
			taken += (size_t)n;
		deliver(c);
	}
	if (c->dead || !c->reading)
		return;
	if (c->eof)
		gone(c, c->in_len > c->in_off ? "closed within a frame" : "closed");
	else if (c->write_failed != NULL && taken < READ_TURN)
		gone(c, c->write_failed);
	else if (c->write_failed != NULL)
		event_active(c->ev_read, EV_READ, 0);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct ipc *c = arg;

	(void)fd, (void)what;
	c->depth++;
	read_turn(c);
	leave(c);
}

void
ipc_read_enable(struct ipc *c, bool on)
{
	if (c->dead || c->reading == on)
		return;
	c->reading = on;
	if (!on) {
		event_del(c->ev_read);
		return;
	}
	event_add(c->ev_read, NULL);
	/* Frames may already be here, and the socket may stay silent. */
	event_active(c->ev_read, EV_READ, 0);
}

/* ---- sending ------------------------------------------------------------- */

static void
sent(struct ipc *c, size_t n)
{
	assert(n <= c->unsent);
	c->unsent -= n;
	if (c->head->fd != -1) {
		close(c->head->fd);
		c->head->fd = -1;
	}
	while (n > 0) {
		struct out *o = c->head;

		assert(o != NULL);
		size_t k = o->len - o->off < n ? o->len - o->off : n;

		o->off += k;
		n -= k;
		if (o->off < o->len)
			return;
		c->head = o->next;
		if (c->head == NULL)
			c->tail = &c->head;
		free(o);
	}
}

/* One sendmsg: the first frame, with its descriptor, and those behind it up to the
 * next one that has a descriptor. */
static ssize_t
send_some(struct ipc *c)
{
	struct iovec iov[GATHER];
	size_t n = 0;

	for (struct out *o = c->head; o != NULL && n < GATHER; o = o->next) {
		if (n > 0 && o->fd != -1)
			break;
		iov[n++] = (struct iovec){ o->data + o->off, o->len - o->off };
	}
	return ipc_frame_send(c->fd, iov, n, c->head->fd);
}

static void
check_drained(struct ipc *c)
{
	void (*cb)(struct ipc *, void *) = c->drained;

	if (c->dead || cb == NULL || (c->unsent > 0 && c->unsent >= c->low))
		return;
	c->drained = NULL;
	cb(c, c->arg);
}

/* The kernel is short of buffers, or too many descriptors are on their way: the
 * socket stays writable, so a timer asks again. */
static bool
passing(int error)
{
	return error == ENOBUFS || error == ENOMEM || error == ETOOMANYREFS;
}

static void
write_turn(struct ipc *c)
{
	static const struct timeval soon = { 0, 10000 };

	while (c->head != NULL) {
		ssize_t n = send_some(c);

		if (n >= 0) {
			sent(c, (size_t)n);
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN)
			break;
		event_del(c->ev_write);
		if (passing(errno)) {
			event_add(c->ev_again, &soon);
			return;
		}
		c->write_failed = strerror(errno);
		drop_output(c);
		/* Its last words first; but with reading off nobody would ever hear. */
		if (c->reading)
			event_active(c->ev_read, EV_READ, 0);
		else
			gone(c, c->write_failed);
		return;
	}
	if (c->head == NULL)
		event_del(c->ev_write);
	check_drained(c);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct ipc *c = arg;

	(void)fd, (void)what;
	c->depth++;
	write_turn(c);
	leave(c);
}

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	struct ipc *c = arg;

	(void)fd, (void)what;
	event_add(c->ev_write, NULL);
}

static int
refuse(int fd, int error)
{
	if (fd != -1)
		close(fd);
	errno = error;
	return -1;
}

int
ipc_send_parts(struct ipc *c, uint16_t type, uint32_t id, const struct span *parts,
    size_t n, int fd)
{
	struct out *o;
	size_t len = 0, at = IPC_HEADER;

	if (c->dead || c->write_failed != NULL)
		return refuse(fd, EPIPE);
	for (size_t i = 0; i < n; i++) {
		if (parts[i].len > c->max_body - len)
			return refuse(fd, EMSGSIZE);
		len += parts[i].len;
	}
	o = malloc(sizeof(*o) + IPC_HEADER + len);
	if (o == NULL)
		log_fatal("out of memory: a message of %zu bytes", len);
	*o = (struct out){ NULL, IPC_HEADER + len, 0, fd };
	ipc_frame_encode(o->data, &(struct ipc_frame){ (uint32_t)len, id, type, IPC_VERSION,
	    fd == -1 ? 0 : IPC_HAS_FD });
	for (size_t i = 0; i < n; i++) {
		if (parts[i].len > 0)
			memcpy(o->data + at, parts[i].p, parts[i].len);
		at += parts[i].len;
	}
	*c->tail = o;
	c->tail = &o->next;
	c->unsent += o->len;
	if (!evtimer_pending(c->ev_again, NULL))
		event_add(c->ev_write, NULL);
	return 0;
}

int
ipc_send(struct ipc *c, uint16_t type, uint32_t id, const void *body, size_t len, int fd)
{
	struct span part = { body, len };

	return ipc_send_parts(c, type, id, &part, 1, fd);
}

bool
ipc_flush(struct ipc *c)
{
	bool done;

	c->depth++;
	if (!c->dead && c->head != NULL)
		write_turn(c);
	done = !c->dead && c->head == NULL && c->write_failed == NULL;
	leave(c);
	return done;
}

size_t
ipc_unsent(const struct ipc *c)
{
	return c->unsent;
}

void
ipc_on_drained(struct ipc *c, size_t low, void (*cb)(struct ipc *, void *))
{
	c->low = low;
	c->drained = cb;
	if (!c->dead && cb != NULL && (c->unsent == 0 || c->unsent < low))
		event_active(c->ev_write, EV_WRITE, 0);
}

/* ---- the channel --------------------------------------------------------- */

struct ipc *
ipc_new(struct event_base *base, int fd, uint32_t max_body, ipc_msg_cb *on_msg,
    ipc_gone_cb *on_gone, void *arg)
{
	struct ipc *c = mem_alloc(sizeof(*c));

	if (fs_cloexec(fd, true) == -1)
		log_fatal("ipc: descriptor %d: %s", fd, strerror(errno));
	c->fd = fd;
	c->max_body = max_body;
	c->on_msg = on_msg;
	c->on_gone = on_gone;
	c->arg = arg;
	c->tail = &c->head;
	c->reading = true;
	c->ev_read = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->ev_write = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	c->ev_again = evtimer_new(base, on_again, c);
	if (c->ev_read == NULL || c->ev_write == NULL || c->ev_again == NULL
	    || event_add(c->ev_read, NULL) == -1)
		log_fatal("ipc: cannot make events for descriptor %d", fd);
	return c;
}

int
ipc_peer(const struct ipc *c, uid_t *uid, gid_t *gid, pid_t *pid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1)
		return -1;
	if (uid != NULL)
		*uid = cred.uid;
	if (gid != NULL)
		*gid = cred.gid;
	if (pid != NULL)
		*pid = cred.pid;
	return 0;
}
