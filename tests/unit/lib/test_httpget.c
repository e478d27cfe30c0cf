/* test_httpget.c - requests whole and byte by byte, limits, many clients, addresses. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <event2/buffer.h>
#include <event2/event.h>

#include "fs.h"
#include "httpget.h"
#include "ipc.h"

static char dir[64], path[96];
static struct event_base *base;
static struct httpget *server;

static void
body(struct evbuffer *out, void *arg)
{
	evbuffer_add_printf(out, "%s", (const char *)arg);
}

static int
setup(void **state)
{
	int fd;

	(void)state;
	strncpy(dir, "/tmp/test_httpget.XXXXXX", sizeof(dir) - 1);
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/s", dir);
	fd = ipc_listen(path, 0600, (gid_t)-1);
	base = event_base_new();
	server = httpget_new(base, fd, "/metrics", "text/x", body, (void *)"up 1\n");
	return fd == -1 ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	httpget_free(server);
	event_base_free(base);
	return fs_remove_tree(dir);
}

static void
turn(void)
{
	for (int i = 0; i < 3; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static int
client(void)
{
	int fd = ipc_connect(path);

	assert_int_not_equal(fd, -1);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	turn();
	return fd;
}

/* All that comes until the server has ended its side; "" when it stays open silent. */
static const char *
answer(int fd)
{
	static char buf[4096];
	size_t len = 0;
	ssize_t n;

	turn();
	while ((n = read(fd, buf + len, sizeof(buf) - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	return buf;
}

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nContent-Length: 5\r\n" \
	"Cache-Control: no-store\r\nConnection: close\r\n\r\n"
static const struct row {
	const char *request, *begins;
} table[] = {
	{ "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n", OK_HEAD "up 1\n" },
	{ "GET /metrics HTTP/1.0\r\n\r\n", OK_HEAD "up 1\n" },
	{ "GET /metrics?x=1 HTTP/1.1\r\n\r\n", OK_HEAD "up 1\n" },
	{ "GET /metrics HTTP/1.1\n\n", OK_HEAD "up 1\n" },
	{ "HEAD /metrics HTTP/1.1\r\n\r\n", OK_HEAD },
	{ "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found\r\n" },
	{ "GET /metricsx HTTP/1.1\r\n\r\n", "HTTP/1.1 404 " },
	{ "GET /../metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 404 " },
	{ "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 405 Method Not Allowed" },
	{ "get /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 " },
	{ "GET /metrics\r\n\r\n", "HTTP/1.1 400 " },
	{ "GET  /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 400 " },
	{ "GET /metrics HTTP/2.0\r\n\r\n", "HTTP/1.1 400 " },
	{ "\r\n\r\n", "HTTP/1.1 400 " },
	{ "GET /metrics HTTP/1.1\rX\r\n\r\n", "HTTP/1.1 400 " },
	/* Nothing before the empty line. */
	{ "GET /metrics HTTP/1.1\r\nHost: x\r\n", "" },
	{ "", "" },
};

static void
requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		for (size_t piece = 1; piece <= 4096; piece += 4095) {
			const struct row *r = &table[i];
			size_t len = strlen(r->request), at = 0;
			int fd = client();
			const char *seen;

			for (; at < len; at += piece) {
				size_t n = len - at < piece ? len - at : piece;

				/* Behind a refusal it may have stopped to read. */
				(void)!write(fd, r->request + at, n);
				turn();
			}
			seen = answer(fd);
			assert_memory_equal(seen, r->begins, strlen(r->begins));
			if (r->begins[0] == '\0')
				assert_string_equal(seen, "");
			close(fd);
			turn();
		}
	}
}

static void
too_long(void **state)
{
	static const char line[] = "X-Filler: 0123456789012345678901234567890123456789\r\n";
	char big[9000];
	int fd = client();

	(void)state;
	memset(big, 'a', sizeof(big));
	assert_int_equal(write(fd, big, sizeof(big)), sizeof(big));
	assert_memory_equal(answer(fd), "HTTP/1.1 431 ", 13);
	close(fd);
	fd = client();
	(void)!write(fd, "GET /metrics HTTP/1.1\r\n", 23);
	for (int i = 0; i < 200; i++) {
		(void)!write(fd, line, sizeof(line) - 1);
		turn();
	}
	assert_memory_equal(answer(fd), "HTTP/1.1 431 ", 13);
	close(fd);
	turn();
}

static void
many_clients(void **state)
{
	int fd[40];

	(void)state;
	/* Eight that say nothing; the next are told to come later, none holds a place. */
	for (size_t i = 0; i < 40; i++)
		fd[i] = client();
	assert_string_equal(answer(fd[39]) + 9, "503 Service Unavailable\r\nContent-Type: "
	    "text/plain\r\nContent-Length: 24\r\nCache-Control: no-store\r\nConnection: close\r\n"
	    "\r\n503 Service Unavailable\n");
	for (size_t i = 0; i < 40; i++)
		close(fd[i]);
	turn();
	fd[0] = client();
	assert_int_equal(write(fd[0], "GET /metrics HTTP/1.1\r\n\r\n", 25), 25);
	assert_string_equal(answer(fd[0]), OK_HEAD "up 1\n");
	close(fd[0]);
}

static void
half_closed(void **state)
{
	int fd = client();

	(void)state;
	assert_int_equal(write(fd, "GET /metrics HTTP/1.1\r\n\r\n", 25), 25);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_string_equal(answer(fd), OK_HEAD "up 1\n");
	turn();
	assert_int_equal(read(fd, path, 1), 0);
	close(fd);
}

static void
addresses(void **state)
{
	static const struct { const char *text; int family; } t[] = {
		{ "127.0.0.1:9694", AF_INET }, { "0.0.0.0:1", AF_INET }, { "[::1]:9694", AF_INET6 },
		{ "[::]:65535", AF_INET6 }, { "127.0.0.1", 0 }, { "127.0.0.1:0", 0 },
		{ "127.0.0.1:65536", 0 }, { "::1:9694", 0 }, { "[::1]", 0 }, { "[::1:9694", 0 },
		{ "[]:9694", 0 }, { "[:9694", 0 }, { ":9694", 0 }, { "localhost:9694", 0 }, { "", 0 },
		{ "[127.0.0.1]:9694", 0 }, { "127.0.0.1:+5", 0 }, { "127.0.0.1:9694 ", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct sockaddr_storage ss;

		errno = 0;
		assert_int_equal(httpget_address(t[i].text, &ss), t[i].family == 0 ? -1 : 0);
		if (t[i].family == 0)
			assert_int_equal(errno, EINVAL);
		else
			assert_int_equal(ss.ss_family, t[i].family);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(requests, setup, teardown),
		cmocka_unit_test_setup_teardown(too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(many_clients, setup, teardown),
		cmocka_unit_test_setup_teardown(half_closed, setup, teardown),
		cmocka_unit_test(addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
