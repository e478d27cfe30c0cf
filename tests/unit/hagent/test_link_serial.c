/* test_link_serial.c - frames over a pty: whole, torn, after noise, and the line that
 * goes away. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "frame.h"
#include "link.h"
#include "privopen.h"

struct seen {
	unsigned frames, broken;
	size_t len;
	uint8_t last[FRAME_MAX];
};

static void
on_frame(void *arg, unsigned index, const uint8_t *p, size_t n)
{
	struct seen *s = arg;

	assert_int_equal(index, 3);
	s->frames++;
	s->len = n;
	memcpy(s->last, p, n);
}

static void
on_broken(void *arg, unsigned index, const char *why)
{
	(void)index;
	(void)why;
	((struct seen *)arg)->broken++;
}

static const struct link_ops ops = { on_frame, on_broken };

static int
open_pty(int *slave)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);

	assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	*slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_NONBLOCK);
	assert_true(*slave >= 0);
	assert_int_equal(privopen_tty_setup(*slave, 19200), 0);
	return master;
}

/* The kernel moves the bytes of a pty when it likes: until the counter is there, at
 * most two seconds. */
static void
until(struct event_base *base, const unsigned *counter, unsigned want)
{
	int64_t end = clock_ms() + 2000;

	while (*counter < want && clock_ms() < end)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(*counter, want);
}

static void
frames(void **state)
{
	struct event_base *base = event_base_new();
	struct link_conf conf = { .medium = MEDIUM_SERIAL, .baud = 19200 };
	struct seen seen = { 0 };
	struct link *l = link_new(base, &conf, 3, 0, &ops, &seen);
	uint8_t frame[FRAME_MAX], wire[SERIAL_MAX], back[SERIAL_MAX];
	int slave, master = open_pty(&slave), n;

	(void)state;
	link_send(l, frame, 10);	/* no descriptor yet: dropped */
	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 7);
	link_attach(l, slave);
	n = serial_wrap(frame, sizeof(frame), wire, sizeof(wire));
	assert_true(n > 0);
	/* A torn start, noise, then a frame byte by byte. */
	assert_int_equal(write(master, wire + 20, (size_t)n - 20), n - 20);
	assert_int_equal(write(master, "\377noise\0", 7), 7);
	for (int i = 0; i < n; i++) {
		assert_int_equal(seen.frames, 0);
		assert_int_equal(write(master, wire + i, 1), 1);
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	until(base, &seen.frames, 1);
	assert_int_equal(seen.len, sizeof(frame));
	assert_memory_equal(seen.last, frame, sizeof(frame));
	/* Out: the same bytes. */
	link_send(l, frame, sizeof(frame));
	assert_int_equal(poll(&(struct pollfd){ .fd = master, .events = POLLIN }, 1, 2000), 1);
	assert_int_equal(read(master, back, sizeof(back)), n);
	assert_memory_equal(back, wire, (size_t)n);
	/* Hung up: told once, and sending does nothing. */
	close(master);
	until(base, &seen.broken, 1);
	assert_false(link_up(l));
	link_send(l, frame, sizeof(frame));
	assert_int_equal(seen.broken, 1);
	link_free(l);
	event_base_free(base);
}

/* Asked for far more than the line carries: what is written follows its speed, so
 * that nothing piles up in front of a slow line. */
static void
paced(void **state)
{
	struct event_base *base = event_base_new();
	struct link_conf conf = { .medium = MEDIUM_SERIAL, .baud = 9600 };
	struct seen seen = { 0 };
	struct link *l = link_new(base, &conf, 3, 0, &ops, &seen);
	uint8_t frame[FRAME_MAX] = { 0 }, back[4096];
	int slave, master = open_pty(&slave);
	int64_t begin, now;
	size_t written = 0, sent = 0;

	(void)state;
	link_attach(l, slave);
	begin = now = clock_ms();
	while (now < begin + 1500) {
		ssize_t n;

		sent += link_send(l, frame, sizeof(frame));
		while ((n = read(master, back, sizeof(back))) > 0)
			written += (size_t)n;
		now = clock_ms();
		assert_true(written <= (size_t)(now - begin + 1) * 9600 / SERIAL_BITS / 1000 +
		    2 * SERIAL_MAX);
		poll(NULL, 0, 5);
	}
	assert_true(sent >= 5 && l->dropped > sent);
	link_free(l);
	close(master);
	event_base_free(base);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(frames),
		cmocka_unit_test(paced) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
