/* test_fence.c - real programs as fence devices: honest, failing, hanging and lying
 * scripts, fence_dummy of the fence-agents package, and what may not be run.  A device's
 * state is a file "off" in a folder of its own; what it was told is kept there too. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "fence.h"
#include "fs.h"
#include "mem.h"

/* Below folders that only root may write to, as the real ones. */
static char dir[] = "/var/lib/test_fence.XXXXXX";

#define KEEP "cat >>DIR/stdin; echo \"$*\" >>DIR/argv; env >>DIR/env\n"
#define STATUS "status) test -e DIR/off && exit 3; exit 0;;\n"

static const struct { const char *name, *text; } programs[] = {
	{ "honest", "case $1 in off) touch DIR/off;; on) rm DIR/off;; " STATUS "esac\n" },
	{ "fails", "case $1 in off) echo 'no route to device' >&2; exit 1;; " STATUS "esac\n" },
	{ "hangs", "sleep 60\n" },
	{ "hangs-later", "case $1 in off) touch DIR/off;; status) sleep 60;; esac\n" },
	{ "lies", "case $1 in status) exit 0;; esac\n" },
	{ "late", "case $1 in off) (sleep 0.4; touch DIR/off) >/dev/null 2>&1 &;; "
	    STATUS "esac\n" },
	{ "broken", "case $1 in off) touch DIR/off;; status) exit 2;; esac\n" },
	{ "loud", "echo \"login with hunter22 refused\" >&2; exit 1\n" },
	{ "stays-off", "case $1 in off) touch DIR/off;; on) exit 1;; " STATUS "esac\n" },
};

static char *
at(const char *name)
{
	return mem_printf("%s/%s", dir, name);
}

static void
put(const char *name, const char *text, mode_t mode)
{
	assert_int_equal(fs_replace(dir, name, text, strlen(text), mode), 0);
}

/* The text with DIR replaced. */
static void
put_program(const char *name, const char *body)
{
	char *text = mem_printf("#!/bin/sh\n%s%s", KEEP, body), *d;
	size_t len = 0;
	char out[2048];

	for (char *p = text; *p != '\0'; p = d == NULL ? p + strlen(p) : d + 3) {
		d = strstr(p, "DIR");
		len += (size_t)snprintf(out + len, sizeof(out) - len, "%.*s%s",
		    d == NULL ? (int)strlen(p) : (int)(d - p), p, d == NULL ? "" : dir);
	}
	free(text);
	put(name, out, 0755);
}

struct bench {
	struct event_base *base;
	struct hagent_conf conf;
	struct fence *f;
	unsigned answers;
	enum exec_fenced result[8];
	uint32_t id[8];
	char words[8][EXEC_TEXT_MAX];
};

static void
on_done(void *arg, const struct fence_ask *ask, enum exec_fenced result, const char *words)
{
	struct bench *b = arg;

	assert_true(b->answers < 8);
	assert_int_equal(ask->agent, 7);
	b->id[b->answers] = ask->id;
	b->result[b->answers] = result;
	snprintf(b->words[b->answers++], EXEC_TEXT_MAX, "%s", words);
}

static struct fence_conf *
add(struct bench *b, const char *program, unsigned level)
{
	struct fence_conf *c = &b->conf.fences[b->conf.nfences++];
	const char *slash = strrchr(program, '/');

	c->name = mem_dup(slash == NULL ? program : slash + 1);
	c->agent = slash == NULL ? at(program) : mem_dup(program);
	c->program = strncmp(c->name, "fence_", 6) == 0;
	c->level = level;
	c->node = 1;
	c->timeout_ms = 1200;
	c->args_file = mem_dup("");
	return c;
}

static void
clean(void)
{
	static const char *const names[] = { "off", "stdin", "argv", "env", "power" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(fs_unlink_durable(dir, names[i]), 0);
}

static struct bench *
begin(void)
{
	struct bench *b = mem_alloc(sizeof(*b));
	static char cluster[] = "c", one[] = "ha-1", two[] = "ha-2";

	clean();
	b->base = event_base_new();
	b->conf.cluster = cluster;
	b->conf.node[0] = one;
	b->conf.node[1] = two;
	b->conf.fence_poll_ms = 50;
	return b;
}

static void
ask(struct bench *b, uint32_t id, enum exec_fence verb)
{
	struct fence_ask a = { .id = id, .agent = 7, .verb = verb };

	if (b->f == NULL)
		b->f = fence_new(b->base, &b->conf, on_done, b);
	fence_ask(b->f, &a);
}

/* Until so many answers, or until nothing runs any more (0). */
static void
turn(struct bench *b, unsigned answers)
{
	int64_t limit = clock_ms() + 20000;
	int st;
	pid_t pid = 1;

	while (answers > 0 ? b->answers < answers : pid != -1) {
		assert_true(clock_ms() < limit);
		event_base_loop(b->base, EVLOOP_NONBLOCK);
		pid = waitpid(-1, &st, WNOHANG);
		if (pid > 0)
			assert_true(fence_reaped(b->f, pid, st));
		usleep(1000);
	}
}

static void
end(struct bench *b)
{
	turn(b, 0);
	fence_free(b->f);
	for (size_t i = 0; i < b->conf.nfences; i++) {
		struct fence_conf *c = &b->conf.fences[i];

		free(c->name);
		free(c->agent);
		free(c->args_file);
		for (size_t k = 0; k < HAGENT_ARGS_MAX; k++)
			free(c->args[k]);
	}
	event_base_free(b->base);
	free(b);
}

static char *
content(const char *name)
{
	char *path = at(name), *text;
	size_t len;

	if (fs_read(path, 65536, &text, &len) == -1)
		text = mem_dup("");
	free(path);
	return text;
}

static bool
is_off(void)
{
	char *path = at("off");
	bool off = access(path, F_OK) == 0;

	free(path);
	return off;
}

static void
devices(void **state)
{
	static const struct {
		const char *program, *words;
		enum exec_fenced want;
	} t[] = {
		{ "honest", "honest: off, verified after", FENCED_OFF },
		{ "late", "late: off, verified after", FENCED_OFF },
		{ "fails", "no route to device", FENCED_UNKNOWN },
		{ "hangs", "timed out", FENCED_UNKNOWN },
		{ "hangs-later", "timed out", FENCED_UNKNOWN },
		{ "lies", "it says that it switched off, but its status is on",
		    FENCED_UNKNOWN },
		{ "broken", "exit 2", FENCED_UNKNOWN },
		{ "nothing", "No such file", FENCED_UNKNOWN },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct bench *b = begin();
		int64_t began = clock_ms();

		add(b, t[i].program, 1);
		ask(b, 5, FENCE_OFF);
		turn(b, 1);
		if (b->result[0] != t[i].want || strstr(b->words[0], t[i].words) == NULL)
			fail_msg("%s: %d %s", t[i].program, b->result[0], b->words[0]);
		assert_int_equal(b->id[0], 5);
		/* Its limit, two seconds until KILL, and a slow machine. */
		assert_in_range(clock_ms() - began, 0, 1200 + 2000 + 3000);
		end(b);
	}
}

static void
levels(void **state)
{
	struct bench *b = begin();

	(void)state;
	add(b, "fails", 1);
	add(b, "honest", 2);
	add(b, "honest", 1)->node = 0;		/* switches this node off: never run here */
	ask(b, 1, FENCE_OFF);
	turn(b, 1);
	assert_int_equal(b->result[0], FENCED_OFF);
	assert_non_null(strstr(b->words[0], "; honest: off, verified"));
	end(b);

	b = begin();
	add(b, "honest", 1);
	add(b, "lies", 1);
	ask(b, 1, FENCE_OFF);
	turn(b, 1);
	assert_int_equal(b->result[0], FENCED_UNKNOWN);
	end(b);

	b = begin();
	ask(b, 1, FENCE_OFF);
	assert_int_equal(b->answers, 1);
	assert_string_equal(b->words[0], "no fence device for ha-2 is configured");
	end(b);
}

static void
reboot(void **state)
{
	static const char *const names[] = { "honest", "stays-off" };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct bench *b = begin();

		add(b, names[i], 1)->reboot = true;
		ask(b, 1, FENCE_OFF);
		turn(b, 1);
		assert_int_equal(b->result[0], FENCED_OFF);
		end(b);
		assert_int_equal(is_off(), i == 1);
	}
}

/* A test switches nothing, and gives way to an order; each is answered once. */
static void
requests(void **state)
{
	struct bench *b = begin();

	(void)state;
	add(b, "honest", 1);
	add(b, "fails", 2);
	ask(b, 1, FENCE_TEST);
	turn(b, 1);
	assert_int_equal(b->result[0], FENCED_ANSWERS);
	assert_string_equal(b->words[0], "honest: answers, the node is on; "
	    "fails: answers, the node is on");
	assert_false(is_off());
	ask(b, 2, FENCE_OFF);
	ask(b, 3, FENCE_OFF);
	turn(b, 3);
	assert_int_equal(b->id[1], 2);
	assert_int_equal(b->id[2], 3);
	assert_int_equal(b->result[1], FENCED_OFF);
	assert_int_equal(b->result[2], FENCED_OFF);
	end(b);

	b = begin();
	add(b, "hangs", 1);
	add(b, "honest", 2);
	b->conf.fences[0].timeout_ms = 10000;
	ask(b, 1, FENCE_TEST);
	ask(b, 2, FENCE_OFF);
	assert_int_equal(b->answers, 1);
	assert_int_equal(b->result[0], FENCED_UNKNOWN);
	b->conf.fences[0].timeout_ms = 10000;
	ask(b, 3, FENCE_TEST);
	fence_forget_waiting(b->f);		/* its agent died: neither is answered */
	end(b);
}

/* Other contents in the place of the old ones while a device works: it is judged by what
 * it was when it began, the next request uses the new ones. */
static void
reloaded(void **state)
{
	struct bench *b = begin();
	struct fence_conf *c = add(b, "late", 1);

	(void)state;
	ask(b, 1, FENCE_OFF);
	c->program = true;		/* would take another code for "off" */
	memset(c->name, 'x', strlen(c->name));
	free(c->agent);
	c->agent = at("fails");
	fence_reload(b->f);
	turn(b, 1);
	if (b->result[0] != FENCED_OFF || strncmp(b->words[0], "late: off, verified", 19) != 0)
		fail_msg("%s", b->words[0]);
	c->program = false;
	ask(b, 2, FENCE_OFF);
	turn(b, 2);
	assert_int_equal(b->result[1], FENCED_UNKNOWN);
	assert_string_equal(b->words[1] + strlen(b->words[1]) - 18, "no route to device");
	assert_true(strncmp(b->words[1], "xxxx: off: exit 1", 17) == 0);
	b->conf.nfences = 0;
	fence_reload(b->f);
	ask(b, 3, FENCE_OFF);
	assert_string_equal(b->words[2], "no fence device for ha-2 is configured");
	b->conf.nfences = 1;
	end(b);
}

static void
secrets(void **state)
{
	struct bench *b = begin();
	struct fence_conf *c = add(b, "honest", 1);
	char *text;

	(void)state;
	put("args", "# of the card\npassword=hunter22\n", 0600);
	free(c->args_file);
	c->args_file = at("args");
	c->args[0] = mem_dup("ip=192.0.2.9; touch /x");
	ask(b, 1, FENCE_OFF);
	turn(b, 1);
	assert_int_equal(b->result[0], FENCED_OFF);
	text = content("stdin");
	assert_string_equal(text, "action=off\nnodename=ha-2\nip=192.0.2.9; touch /x\n"
	    "# of the card\npassword=hunter22\n"
	    "action=status\nnodename=ha-2\nip=192.0.2.9; touch /x\n"
	    "# of the card\npassword=hunter22\n");
	free(text);
	text = content("argv");
	assert_string_equal(text, "off ha-2 ip=192.0.2.9; touch /x\n"
	    "status ha-2 ip=192.0.2.9; touch /x\n");
	free(text);
	text = content("env");
	assert_null(strstr(text, "hunter22"));
	free(text);
	end(b);

	b = begin();
	c = add(b, "loud", 1);
	free(c->args_file);
	c->args_file = at("args");
	ask(b, 1, FENCE_OFF);
	turn(b, 1);
	assert_non_null(strstr(b->words[0], "login with ******** refused"));
	end(b);
}

static void
refused(void **state)
{
	static const struct { const char *file; mode_t mode; const char *words; } t[] = {
		{ "args", 0644, "others than root may read args-file" },
		{ "args", 0622, "args-file cannot be read, or others" },
		{ "args", 0600, "args-file has a line" },
		{ "honest", 0777, "writable by others than root" },
	};

	(void)state;
	put("args", "password=x\nnot an argument\n", 0600);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct bench *b = begin();
		struct fence_conf *c = add(b, "honest", 1);
		char *path = at(t[i].file);

		if (strcmp(t[i].file, "args") == 0) {
			free(c->args_file);
			c->args_file = mem_dup(path);
		}
		assert_int_equal(chmod(path, t[i].mode), 0);
		ask(b, 1, FENCE_OFF);
		turn(b, 1);
		if (b->result[0] != FENCED_UNKNOWN || strstr(b->words[0], t[i].words) == NULL)
			fail_msg("%s %o: %s", t[i].file, t[i].mode, b->words[0]);
		assert_false(is_off());
		assert_int_equal(chmod(path, 0755), 0);
		free(path);
		end(b);
	}
}

/* A program of the package, which says "off" of a file that says nothing else. */
static void
package(void **state)
{
	struct bench *b = begin();
	struct fence_conf *c = add(b, "/usr/sbin/fence_dummy", 1);
	char *text;

	(void)state;
	c->timeout_ms = 30000;
	c->args[0] = mem_printf("status_file=%s/power", dir);
	put("power", "on", 0600);
	ask(b, 1, FENCE_TEST);
	turn(b, 1);
	assert_string_equal(b->words[0], "fence_dummy: answers, the node is on");
	ask(b, 2, FENCE_OFF);
	turn(b, 2);
	if (b->result[1] != FENCED_OFF)
		fail_msg("%s", b->words[1]);
	text = content("power");
	assert_string_equal(text, "off");
	free(text);
	end(b);

	b = begin();
	c = add(b, "/usr/sbin/fence_dummy", 1);
	c->timeout_ms = 30000;
	c->args[0] = mem_dup("type=fail");
	c->args[1] = mem_dup("power_timeout=1");
	ask(b, 1, FENCE_OFF);
	turn(b, 1);
	assert_int_equal(b->result[0], FENCED_UNKNOWN);
	assert_non_null(strstr(b->words[0], "Timed out waiting to power OFF"));
	end(b);
}

static int
set_up(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL || chmod(dir, 0755) == -1)
		return -1;
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		put_program(programs[i].name, programs[i].text);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	return fs_remove_tree(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices), cmocka_unit_test(levels), cmocka_unit_test(reboot),
		cmocka_unit_test(requests), cmocka_unit_test(reloaded),
		cmocka_unit_test(secrets), cmocka_unit_test(refused),
		cmocka_unit_test(package),
	};

	return geteuid() == 0 ? cmocka_run_group_tests(tests, set_up, tear_down) : 0;
}
