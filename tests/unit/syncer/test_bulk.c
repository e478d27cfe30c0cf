/* test_bulk.c - the limit of the bulk connection, over a socket pair on a loop: exact over
 * seconds, and another connection on the same loop does not feel it. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "bulk.h"
#include "clock.h"
#include "mem.h"
#include "mirror_wire.h"
#include "mend.h"

#define LIMIT 2000000u
#define FRAME (64u << 10)
#define SECONDS 3

struct line {
	struct event_base *base;
	struct bulk *bulk;
	struct bufferevent *out, *in;		/* the other connection */
	int far;				/* where the frames come out */
	uint64_t got;
	int64_t began_ms, first_ms;
	int64_t asked_ms, worst_ms;		/* of the other connection */
	unsigned asked;
};

static void
on_frame(void *arg, uint8_t type, struct span whole)
{
	(void)arg;
	(void)type;
	(void)whole;
}

static void
on_gone(void *arg, const char *why)
{
	(void)arg;
	fail_msg("gone: %s", why);
}

/* There is always more to send. */
static void
on_room(void *arg)
{
	struct line *l = arg;
	static const uint8_t body[FRAME];
	struct gen gen = { .no = 1 };

	while (bulk_unsent(l->bulk) < 512 << 10)
		bulk_send(l->bulk, MM_DATA, &gen, body, sizeof(body));
}

static void
on_far(evutil_socket_t fd, short what, void *arg)
{
	static uint8_t buf[1 << 20];
	struct line *l = arg;
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	(void)what;
	assert_true(n > 0);
	l->got += (uint64_t)n;
}

static void
ask(struct line *l)
{
	l->asked_ms = clock_ms();
	l->asked++;
	assert_int_equal(bufferevent_write(l->out, "?", 1), 0);
}

static void
on_asked(struct bufferevent *bev, void *arg)
{
	struct line *l = arg;
	int64_t took = clock_ms() - l->asked_ms;

	evbuffer_drain(bufferevent_get_input(bev), 1);
	if (took > l->worst_ms)
		l->worst_ms = took;
	ask(l);
}

static void
line_open(struct line *l, uint64_t limit)
{
	static const struct bulk_ops ops = { on_frame, on_gone, on_room, NULL };
	int a[2], b[2], small = 64 << 10;

	*l = (struct line){ .base = event_base_new() };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
	(void)setsockopt(a[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	l->bulk = bulk_new(bufferevent_socket_new(l->base, a[0], BEV_OPT_CLOSE_ON_FREE), &ops, l);
	bulk_limit(l->bulk, limit);
	l->far = a[1];
	l->out = bufferevent_socket_new(l->base, b[0], BEV_OPT_CLOSE_ON_FREE);
	l->in = bufferevent_socket_new(l->base, b[1], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(l->in, on_asked, NULL, NULL, l);
	bufferevent_enable(l->in, EV_READ);
}

static double
rate_of(struct line *l, int seconds)
{
	struct event *far = event_new(l->base, l->far, EV_READ | EV_PERSIST, on_far, l);
	struct timeval end = { seconds, 0 };
	double rate;

	event_add(far, NULL);
	on_room(l);
	ask(l);
	l->began_ms = clock_ms();
	event_base_loopexit(l->base, &end);
	event_base_dispatch(l->base);
	rate = (double)l->got * 1000 / (double)(clock_ms() - l->began_ms);
	event_free(far);
	return rate;
}

static void
line_close(struct line *l)
{
	bulk_free(l->bulk);
	bufferevent_free(l->out);
	bufferevent_free(l->in);
	event_base_free(l->base);
	close(l->far);
}

static void
exact(void **state)
{
	struct line l;
	double rate;

	(void)state;
	line_open(&l, LIMIT);
	rate = rate_of(&l, SECONDS);
	line_close(&l);
	if (rate < LIMIT * 0.9 || rate > LIMIT * 1.1)
		fail_msg("%.0f bytes/s instead of %u", rate, LIMIT);
	/* The other connection went round all the time, never behind the limit. */
	assert_true(l.asked > 1000);
	if (l.worst_ms > 500)
		fail_msg("the other connection waited %lld ms", (long long)l.worst_ms);
}

/* ---- what goes first ---- */

struct first {
	struct line l;
	struct evbuffer *came;
	unsigned frames, marks;
	int64_t sent_ms, took_ms;
};

/* Whole frames only, each as it was sent. */
static void
on_first_far(evutil_socket_t fd, short what, void *arg)
{
	struct first *f = arg;
	uint8_t head[5];

	(void)what;
	assert_true(evbuffer_read(f->came, fd, 1 << 20) > 0);
	while (evbuffer_copyout(f->came, head, sizeof(head)) == sizeof(head)) {
		size_t len = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];

		assert_true(head[4] == MM_DATA ? len == MIRROR_HEAD + FRAME : head[4] == MD_WANT &&
		    len == MIRROR_HEAD + 38);
		if (evbuffer_get_length(f->came) < 4 + len)
			return;
		evbuffer_drain(f->came, 4 + len);
		f->frames++;
		if (head[4] == MD_WANT && f->marks++ == 0)
			f->took_ms = clock_ms() - f->sent_ms;
	}
}

static void
on_mark(evutil_socket_t fd, short what, void *arg)
{
	static const uint8_t body[38];
	struct first *f = arg;
	struct gen gen = { .no = 1 };

	(void)fd;
	(void)what;
	f->sent_ms = clock_ms();
	assert_true(bulk_unsent(f->l.bulk) > 256 << 10);	/* of which some seconds wait */
	for (int i = 0; i < 3; i++)
		bulk_send_first(f->l.bulk, MD_WANT, &gen, body, sizeof(body));
}

static void
goes_first(void **state)
{
	const struct timeval mark = { 0, 700000 }, end = { 3, 0 };
	struct first f = { .came = evbuffer_new() };
	struct event *far, *at;

	(void)state;
	line_open(&f.l, 100000);
	far = event_new(f.l.base, f.l.far, EV_READ | EV_PERSIST, on_first_far, &f);
	at = event_new(f.l.base, -1, 0, on_mark, &f);
	assert_int_equal(event_add(far, NULL), 0);
	assert_int_equal(event_add(at, &mark), 0);
	on_room(&f.l);
	event_base_loopexit(f.l.base, &end);
	event_base_dispatch(f.l.base);
	assert_int_equal(f.marks, 3);
	if (f.took_ms > 300)
		fail_msg("it waited %lld ms", (long long)f.took_ms);
	assert_true(f.frames >= 3 + 2 && f.frames <= 3 + 5);	/* the others keep to the limit */
	event_free(far);
	event_free(at);
	evbuffer_free(f.came);
	line_close(&f.l);
}

static void
lifted(void **state)
{
	struct line l;

	(void)state;
	line_open(&l, LIMIT);
	bulk_limit(l.bulk, 0);
	assert_true(rate_of(&l, 1) > 4.0 * LIMIT);
	line_close(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exact),
		cmocka_unit_test(lifted), cmocka_unit_test(goes_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
