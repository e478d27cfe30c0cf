/* test_ctl.c - both sides of a control socket, over a real one; the server in a thread
 * of its own, as it would be in its own process. */
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>
#include <event2/event.h>
#include <event2/thread.h>

#include "ctl.h"
#include "fs.h"
#include "ipc.h"
#include "unit.h"

static char dir[] = "/tmp/test_ctl.XXXXXX", path[64];
static struct event_base *base;
static pthread_t thread;
static struct ctl_call *parked;
static int gone;

static void
on_gone(struct ctl_call *call, void *arg)
{
	(void)call;
	parked = NULL;
	*(int *)arg += 1;
}

static void
on_request(struct ctl_call *call, json_t *r, void *arg)
{
	const char *op = json_string_value(json_object_get(r, "op"));

	(void)arg;
	if (strcmp(op, "parts") == 0) {
		for (int i = 0; i < 1000; i++)
			ctl_part(call, json_pack("{s:i, s:s}", "n", i, "pad", "0123456789"));
		ctl_done(call, CTL_OK, json_pack("{s:i}", "total", 1000), NULL, NULL, NULL);
	} else if (strcmp(op, "who") == 0)
		ctl_done(call, CTL_WARNING, json_integer(ctl_uid(call)), "not so good", "because",
		    "try: again");
	else if (strcmp(op, "park") == 0) {
		parked = call;
		ctl_on_gone(call, on_gone, &gone);
	} else if (strcmp(op, "gone") == 0)
		ctl_done(call, CTL_OK, json_pack("{s:i}", "gone", gone), NULL, NULL, NULL);
	else
		ctl_done(call, CTL_NOT_FOUND, NULL, "no such op", NULL, NULL);
}

static void *
loop(void *arg)
{
	event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
	return arg;
}

static struct ctl_server *server;

static int
set_up(void **state)
{
	int fd;

	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/ctl", dir);
	evthread_use_pthreads();
	base = event_base_new();
	fd = ipc_listen(path, 0600, (gid_t)-1);
	server = ctl_server_new(base, fd, on_request, NULL);
	return fd == -1 ? -1 : pthread_create(&thread, NULL, loop, NULL);
}

static int
tear_down(void **state)
{
	(void)state;
	event_base_loopbreak(base);
	pthread_join(thread, NULL);
	ctl_server_free(server);
	event_base_free(base);
	return fs_remove_tree(dir);
}

static void
count(json_t *part, void *arg)
{
	int *n = arg;

	assert_int_equal(json_integer_value(json_object_get(part, "n")), *n);
	++*n;
}

static enum ctl_exit
ask(const char *op, int timeout_ms, json_t **last)
{
	json_t *r = json_pack("{s:s}", "op", op);
	enum ctl_exit rc = ctl_ask(path, r, timeout_ms, NULL, NULL, last);

	json_decref(r);
	return rc;
}

static void
test_parts(void **state)
{
	json_t *r = json_pack("{s:s}", "op", "parts"), *last;
	int n = 0;

	(void)state;
	assert_int_equal(ctl_ask(path, r, 5000, count, &n, &last), CTL_OK);
	assert_int_equal(n, 1000);
	assert_int_equal(json_integer_value(json_object_get(last, "total")), 1000);
	assert_int_equal(json_integer_value(json_object_get(last, "schema")), 1);
	json_decref(last);
	json_decref(r);
}

static void
test_answer(void **state)
{
	json_t *last;

	(void)state;
	assert_int_equal(ask("who", 5000, &last), CTL_WARNING);
	assert_int_equal(json_integer_value(json_object_get(last, "data")), getuid());
	assert_string_equal(json_string_value(json_object_get(last, "error")), "not so good");
	assert_string_equal(json_string_value(json_object_get(last, "hint")), "try: again");
	json_decref(last);
	assert_int_equal(ask("nonsense", 5000, NULL), CTL_NOT_FOUND);
}

static void
test_nobody(void **state)
{
	json_t *r = json_object(), *last;

	(void)state;
	assert_int_equal(ctl_ask("/tmp/test_ctl.nobody", r, 100, NULL, NULL, &last), CTL_UNKNOWN);
	assert_null(last);
	json_decref(r);
}

/* The client gives up; the server hears of it. */
static void
test_hang_up(void **state)
{
	json_t *last;
	int seen = 0;

	(void)state;
	assert_int_equal(ask("park", 50, NULL), CTL_TIMEOUT);
	for (int i = 0; i < 100 && seen == 0; i++) {
		assert_int_equal(ask("gone", 5000, &last), CTL_OK);
		seen = (int)json_integer_value(json_object_get(last, "gone"));
		json_decref(last);
	}
	assert_int_equal(seen, 1);
}

static size_t
dialogue(const char *say, size_t len, size_t step, char *out, size_t size)
{
	int fd = ipc_connect(path);
	size_t got = 0;
	ssize_t n;

	assert_true(fd >= 0);
	for (size_t i = 0; i < len; i += step) {
		size_t k = len - i < step ? len - i : step;

		if (send(fd, say + i, k, MSG_NOSIGNAL) == -1)
			break;
	}
	shutdown(fd, SHUT_WR);
	while (got < size - 1 && (n = read(fd, out + got, size - 1 - got)) > 0)
		got += (size_t)n;
	out[got] = '\0';
	close(fd);
	return got;
}

static void
test_garbage(void **state)
{
	static const char *const lines[] = { "hello\n", "[]\n", "{}\n", "{\"op\":1}\n", "\n",
		"{\"op\":\"who\",\"op\":\"who\"}\n", "{\"op\":\"who\"}}\n", "{\"op\":\"a\rb\"}\n" };
	char out[1024];

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++)
		for (size_t step = 1; step <= 64; step += 63) {
			dialogue(lines[i], strlen(lines[i]), step, out, sizeof(out));
			assert_non_null(strstr(out, "\"exit\":10"));
		}
}

static void
test_long_line(void **state)
{
	size_t len = 100000;
	char *say = malloc(len), out[1024];

	(void)state;
	memset(say, 'x', len);
	dialogue(say, len, 1000, out, sizeof(out));
	assert_non_null(strstr(out, "\"exit\":10"));
	free(say);
}

static void
test_two_requests(void **state)
{
	static const char say[] = "{\"op\":\"who\"}\n{\"op\":\"nix\"}\n";
	char out[1024], *second;

	(void)state;
	dialogue(say, sizeof(say) - 1, 1, out, sizeof(out));
	second = strchr(out, '\n');
	assert_non_null(second);
	assert_non_null(strstr(out, "\"exit\":1,"));
	assert_non_null(strstr(second, "\"exit\":12"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_hang_up),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_two_requests),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
