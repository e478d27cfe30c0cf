/* test_ipc.c - the channel between our processes: whole and byte by byte, large,
 * with descriptors in order, freed from inside, with a dead or broken other end. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <event2/event.h>

#include "ipc.h"
#include "ipc_frame.h"
#include "log.h"
#include "unit.h"
#include "wire.h"

struct end {
	struct event_base *base;
	struct ipc *c;
	unsigned got, gone, fds;
	size_t bytes, drained;
	uint32_t last_id;
	char why[64];
	unsigned free_at, stop_at, pause_at;
	bool in_order, fd_ok;
};

static void
on_msg(struct ipc *c, const struct ipc_msg *m, void *arg)
{
	struct end *e = arg;

	e->got++;
	e->bytes += m->body.len;
	if (m->id != e->last_id + 1)
		e->in_order = false;
	e->last_id = m->id;
	if (m->fd != -1) {
		struct stat st;

		/* Senders pass a file whose size is the frame's id. */
		e->fds++;
		if (fstat(m->fd, &st) == -1 || st.st_size != (off_t)m->id)
			e->fd_ok = false;
		close(m->fd);
	}
	if (e->got == e->free_at) {
		ipc_free(c);
		e->c = NULL;
		event_base_loopbreak(e->base);
	}
	if (e->got == e->pause_at)
		ipc_read_enable(c, false);
	if (e->got == e->stop_at)
		event_base_loopbreak(e->base);
}

static void
on_gone(struct ipc *c, const char *why, void *arg)
{
	struct end *e = arg;

	e->gone++;
	snprintf(e->why, sizeof(e->why), "%s", why);
	assert_int_equal(ipc_send(c, 1, 0, "x", 1, -1), -1);
	ipc_free(c);
	e->c = NULL;
	event_base_loopbreak(e->base);
}

static void
on_drained(struct ipc *c, void *arg)
{
	struct end *e = arg;

	(void)c;
	e->drained++;
}

static void
start(struct end *e, struct event_base *base, int fd)
{
	*e = (struct end){ .base = base, .in_order = true, .fd_ok = true };
	e->c = ipc_new(base, fd, IPC_BODY_MAX, on_msg, on_gone, e);
}

static void
pair(int sv[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
}

static int
sized_file(off_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	return fd;
}

/* Runs the loop, with an end even when nothing ends it. */
static void
run(struct event_base *base)
{
	struct timeval limit = { 20, 0 };

	event_base_loopexit(base, &limit);
	event_base_dispatch(base);
}

static void
turns(struct event_base *base, int n)
{
	while (n-- > 0)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void
test_many_in_order(void **state)
{
	struct event_base *base = event_base_new();
	struct end a, b;
	static char big[300000];
	int sv[2];

	(void)state;
	pair(sv);
	start(&a, base, sv[0]);
	start(&b, base, sv[1]);
	b.stop_at = 2000;
	for (uint32_t id = 1; id <= 2000; id++) {
		struct span parts[3] = { SPAN("abc"), { NULL, 0 },
			{ big, id % 100 == 0 ? sizeof(big) : id } };

		assert_int_equal(ipc_send_parts(a.c, 7, id, parts, 3,
		    id % 3 == 0 ? sized_file((off_t)id) : -1), 0);
	}
	assert_true(ipc_unsent(a.c) > 6000000);
	run(base);
	assert_int_equal(b.got, 2000);
	assert_int_equal(b.fds, 666);
	assert_true(b.in_order);
	assert_true(b.fd_ok);
	assert_int_equal(ipc_unsent(a.c), 0);
	ipc_free(a.c);
	ipc_free(b.c);
	event_base_free(base);
}

/* Frames written by hand, cut everywhere, the descriptor with the first byte. */
static void
test_byte_by_byte(void **state)
{
	struct event_base *base = event_base_new();
	struct end b;
	int sv[2];

	(void)state;
	pair(sv);
	start(&b, base, sv[1]);
	for (uint32_t id = 1; id <= 20; id++) {
		uint8_t frame[IPC_HEADER + 20] = { 0 };
		struct ipc_frame f = { id - 1, id, 9, IPC_VERSION, id % 2 == 0 ? IPC_HAS_FD : 0 };

		ipc_frame_encode(frame, &f);
		for (size_t i = 0; i < IPC_HEADER + id - 1; i++) {
			struct iovec iov = { frame + i, 1 };
			int fd = i == 0 && id % 2 == 0 ? sized_file((off_t)id) : -1;

			assert_int_equal(b.got, id - 1);
			assert_int_equal(ipc_frame_send(sv[0], &iov, 1, fd), 1);
			if (fd != -1)
				close(fd);
			event_base_loop(base, EVLOOP_NONBLOCK);
		}
		assert_int_equal(b.got, id);
	}
	assert_true(b.in_order);
	assert_true(b.fd_ok);
	assert_int_equal(b.fds, 10);
	assert_int_equal(b.bytes, 190);
	ipc_free(b.c);
	close(sv[0]);
	event_base_free(base);
}

/* The last words of an end that is gone are heard first. */
static void
test_last_words(void **state)
{
	struct event_base *base = event_base_new();
	struct end b;
	int sv[2];

	(void)state;
	pair(sv);
	start(&b, base, sv[1]);
	for (uint32_t id = 1; id <= 10; id++)
		assert_int_equal(ipc_send_wait(sv[0], 1, id, "bye", 3, -1), 0);
	close(sv[0]);
	/* Something to send too, so that the failing write is seen first or not. */
	assert_int_equal(ipc_send(b.c, 1, 1, "x", 1, -1), 0);
	run(base);
	assert_int_equal(b.got, 10);
	assert_int_equal(b.gone, 1);
	event_base_free(base);
}

static void
test_write_fails_while_not_reading(void **state)
{
	struct event_base *base = event_base_new();
	struct end b;
	int sv[2];

	(void)state;
	pair(sv);
	start(&b, base, sv[1]);
	ipc_read_enable(b.c, false);
	close(sv[0]);
	assert_int_equal(ipc_send(b.c, 1, 1, "x", 1, -1), 0);
	run(base);
	assert_int_equal(b.gone, 1);
	event_base_free(base);
}

static void
test_free_inside(void **state)
{
	(void)state;
	for (unsigned at = 1; at <= 3; at++) {
		struct event_base *base = event_base_new();
		struct end b;
		int sv[2];

		pair(sv);
		start(&b, base, sv[1]);
		b.free_at = at;
		for (uint32_t id = 1; id <= 5; id++)
			assert_int_equal(ipc_send_wait(sv[0], 1, id, "body!", 5, -1), 0);
		run(base);
		assert_int_equal(b.got, at);
		assert_int_equal(b.gone, 0);
		close(sv[0]);
		event_base_free(base);
	}
}

/* Nothing is handed out while reading is off, though it is in memory already. */
static void
test_pause(void **state)
{
	struct event_base *base = event_base_new();
	struct end b;
	int sv[2];

	(void)state;
	pair(sv);
	start(&b, base, sv[1]);
	b.pause_at = 3;
	for (uint32_t id = 1; id <= 5; id++)
		assert_int_equal(ipc_send_wait(sv[0], 1, id, "body", 4, -1), 0);
	close(sv[0]);
	turns(base, 5);
	assert_int_equal(b.got, 3);
	assert_int_equal(b.gone, 0);
	ipc_read_enable(b.c, true);
	run(base);
	assert_int_equal(b.got, 5);
	assert_int_equal(b.gone, 1);
	assert_string_equal(b.why, "closed");
	event_base_free(base);
}

static void
test_drained(void **state)
{
	struct event_base *base = event_base_new();
	static char body[100000];
	struct end a, b;
	int sv[2];

	(void)state;
	pair(sv);
	start(&a, base, sv[0]);
	start(&b, base, sv[1]);
	ipc_read_enable(b.c, false);
	for (uint32_t id = 1; id <= 50; id++)
		assert_int_equal(ipc_send(a.c, 1, id, body, sizeof(body), -1), 0);
	ipc_on_drained(a.c, 1000000, on_drained);
	turns(base, 20);
	assert_int_equal(a.drained, 0);
	ipc_read_enable(b.c, true);
	b.stop_at = 50;
	run(base);
	assert_int_equal(a.drained, 1);
	/* Already low: told from the loop, not from inside the call, and once. */
	ipc_on_drained(a.c, 1000, on_drained);
	assert_int_equal(a.drained, 1);
	turns(base, 5);
	assert_int_equal(a.drained, 2);
	ipc_free(a.c);
	ipc_free(b.c);
	event_base_free(base);
}

static void
test_broken_frames(void **state)
{
	static const struct {
		struct ipc_frame f;
		bool with_fd;
		const char *why;
	} cases[] = {
		{ { 0, 1, 1, 2, 0 }, false, "frame of another version" },
		{ { IPC_BODY_MAX + 1, 1, 1, 1, 0 }, false, "frame too large" },
		{ { 0xffffffff, 1, 1, 1, 0 }, false, "frame too large" },
		{ { 0, 1, 1, 1, IPC_HAS_FD }, false, "descriptor missing" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct event_base *base = event_base_new();
		uint8_t head[IPC_HEADER];
		struct end b;
		int sv[2];

		pair(sv);
		start(&b, base, sv[1]);
		ipc_frame_encode(head, &cases[i].f);
		assert_int_equal(write(sv[0], head, sizeof(head)), sizeof(head));
		run(base);
		assert_int_equal(b.gone, 1);
		assert_int_equal(b.got, 0);
		assert_string_equal(b.why, cases[i].why);
		close(sv[0]);
		event_base_free(base);
	}
}

static void
test_closed_within(void **state)
{
	struct event_base *base = event_base_new();
	struct end b;
	int sv[2];

	(void)state;
	pair(sv);
	start(&b, base, sv[1]);
	assert_int_equal(write(sv[0], "\0\0\0", 3), 3);
	close(sv[0]);
	run(base);
	assert_string_equal(b.why, "closed within a frame");
	event_base_free(base);
}

/* Descriptors that no frame speaks of are closed, and end the channel. */
static void
test_stray_descriptors(void **state)
{
	struct event_base *base = event_base_new();
	struct end b;
	uint8_t head[IPC_HEADER];
	int sv[2], fd = sized_file(1);

	(void)state;
	pair(sv);
	start(&b, base, sv[1]);
	for (uint32_t id = 1; id <= 2; id++) {
		struct iovec iov = { head, sizeof(head) };

		ipc_frame_encode(head, &(struct ipc_frame){ 0, id, 1, IPC_VERSION, 0 });
		assert_int_equal(ipc_frame_send(sv[0], &iov, 1, fd), sizeof(head));
	}
	run(base);
	assert_int_equal(b.gone, 1);
	assert_string_equal(b.why, "descriptor without a frame");
	close(fd);
	close(sv[0]);
	event_base_free(base);
}

static void
test_too_large_to_send(void **state)
{
	struct event_base *base = event_base_new();
	char *body = calloc(1, IPC_BODY_MAX + 1);
	struct end a;
	int sv[2], fd = sized_file(1);

	(void)state;
	pair(sv);
	start(&a, base, sv[0]);
	assert_int_equal(ipc_send(a.c, 1, 1, body, IPC_BODY_MAX + 1, fd), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(fcntl(fd, F_GETFD), -1);	/* owned, so closed */
	assert_int_equal(ipc_send(a.c, 1, 1, body, IPC_BODY_MAX, -1), 0);
	ipc_free(a.c);
	close(sv[1]);
	free(body);
	event_base_free(base);
}

static void
test_blocking(void **state)
{
	int sv[2], fd = sized_file(5), got;
	uint16_t type;
	uint32_t id;
	struct stat st;
	char *body;
	size_t len;

	(void)state;
	pair(sv);
	assert_int_equal(ipc_send_wait(sv[0], 3, 4, "hello", 5, fd), 0);
	assert_int_equal(ipc_send_wait(sv[0], 4, 5, NULL, 0, -1), 0);
	assert_true(fcntl(fd, F_GETFD) != -1);		/* borrowed */
	assert_int_equal(ipc_recv_wait(sv[1], 1000, 100, &type, &id, &body, &len, &got), 0);
	assert_int_equal(type, 3);
	assert_int_equal(id, 4);
	assert_string_equal(body, "hello");
	assert_int_equal(fstat(got, &st), 0);
	assert_int_equal(st.st_size, 5);
	close(got);
	free(body);
	assert_int_equal(ipc_recv_wait(sv[1], 1000, 100, &type, &id, &body, &len, &got), 0);
	assert_int_equal(len, 0);
	assert_int_equal(got, -1);
	free(body);
	assert_int_equal(ipc_recv_wait(sv[1], 20, 100, &type, &id, &body, &len, &got), -1);
	assert_int_equal(errno, ETIMEDOUT);
	assert_int_equal(ipc_send_wait(sv[0], 3, 4, "hello", 5, -1), 0);
	assert_int_equal(ipc_recv_wait(sv[1], 1000, 4, &type, &id, &body, &len, &got), -1);
	assert_int_equal(errno, EPROTO);
	close(fd);
	close(sv[0]);
	close(sv[1]);
}

static void
test_listen(void **state)
{
	char dir[] = "/tmp/test_ipc.XXXXXX", path[64];
	struct stat st;
	int l, again, c;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
	assert_int_equal(ipc_connect(path), -1);
	l = ipc_listen(path, 0660, getgid());
	assert_true(l >= 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	again = ipc_listen(path, 0600, (gid_t)-1);	/* a restart: the old file is replaced */
	assert_true(again >= 0);
	c = ipc_connect(path);
	assert_true(c >= 0);
	close(c);
	close(l);
	close(again);
	unlink(path);
	c = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(ipc_listen(path, 0600, (gid_t)-1), -1);	/* not a socket: kept */
	assert_int_equal(errno, EEXIST);
	close(c);
	unlink(path);
	rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_in_order),
		cmocka_unit_test(test_byte_by_byte),
		cmocka_unit_test(test_last_words),
		cmocka_unit_test(test_write_fails_while_not_reading),
		cmocka_unit_test(test_free_inside),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_drained),
		cmocka_unit_test(test_broken_frames),
		cmocka_unit_test(test_closed_within),
		cmocka_unit_test(test_stray_descriptors),
		cmocka_unit_test(test_too_large_to_send),
		cmocka_unit_test(test_blocking),
		cmocka_unit_test(test_listen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
