/* test_daemon.c - dropped processes can do their work and nothing else.  Each case runs
 * in a child whose exit status is the answer; needs root for the change of users. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <event2/event.h>

#include "ctl.h"
#include "daemon.h"
#include "daemon_box.h"
#include "fs.h"
#include "log.h"
#include "unit.h"

static int
in_child(int (*run)(void))
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(run());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 200;
}

static void *
thread_main(void *arg)
{
	return arg;
}

/* What every process of ours needs: 0, or the number of what failed. */
static int
works_at_all(void)
{
	struct event_base *base = event_base_new();
	struct timeval soon = { 0, 1000 };
	pthread_t t;
	int sv[2], fd;

	if (base == NULL || socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == -1)
		return 1;
	event_base_loopexit(base, &soon);
	if (event_base_dispatch(base) == -1)
		return 2;
	event_base_free(base);
	if (pthread_create(&t, NULL, thread_main, NULL) != 0 || pthread_join(t, NULL) != 0)
		return 3;
	fd = memfd_create("m", MFD_CLOEXEC);
	if (fd == -1 || ftruncate(fd, 10) == -1 || write(sv[0], "x", 1) != 1)
		return 4;
	return malloc(10000000) == NULL ? 5 : 0;
}

static int
net_box(void)
{
	char *const argv[] = { "true", NULL };
	int rc;

	daemon_drop("nobody", "/var/empty.test", DAEMON_BOX_NET);
	rc = works_at_all();
	if (rc != 0)
		return rc;
	if (getuid() == 0 || setuid(0) == 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 10;
	if (DAEMON_SANITIZED)
		return 0;
	if (open("/x", O_CREAT | O_WRONLY, 0600) != -1 || errno != EPERM)
		return 11;
	if (socket(AF_INET, SOCK_STREAM, 0) != -1 || socket(AF_UNIX, SOCK_STREAM, 0) != -1)
		return 12;
	if (execv("/bin/true", argv) != -1 && errno != EPERM)
		return 13;
	if (fork() != -1 || kill(getppid(), 0) != -1)
		return 14;
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
	    -1, 0) == MAP_FAILED ? 0 : 15;
}

static int
store_box(void)
{
	char dir[] = "/tmp/test_daemon.XXXXXX", *buf;
	size_t len;
	int rc;

	daemon_drop("nobody", NULL, DAEMON_BOX_STORE);
	rc = works_at_all();
	if (rc != 0)
		return rc;
	if (mkdtemp(dir) == NULL || fs_replace(dir, "f", "abc", 3, 0600) == -1
	    || fs_read_at(AT_FDCWD, "/etc/passwd", 1u << 20, &buf, &len) == -1)
		return 20;
	if (fs_remove_tree(dir) == -1)
		return 21;
	if (socket(AF_UNIX, SOCK_STREAM, 0) == -1)
		return 22;
	if (DAEMON_SANITIZED)
		return 0;
	if (socket(AF_INET, SOCK_STREAM, 0) != -1 || errno != EPERM)
		return 23;
	return fork() == -1 && errno == EPERM ? 0 : 24;
}

static int
netstore_box(void)
{
	int rc;

	daemon_drop("nobody", NULL, DAEMON_BOX_NETSTORE);
	rc = works_at_all();
	if (rc != 0)
		return rc;
	if (socket(AF_INET, SOCK_STREAM, 0) == -1 || socket(AF_INET6, SOCK_DGRAM, 0) == -1)
		return 30;
	return DAEMON_SANITIZED || (socket(AF_PACKET, SOCK_RAW, 0) == -1 && errno == EPERM) ? 0 : 31;
}

static int
unknown_user(void)
{
	log_level_set(LOG_LEVEL_ERR);
	close(2);
	daemon_drop("no-such-user", NULL, DAEMON_BOX_NONE);
	return 0;
}

static void
test_boxes(void **state)
{
	(void)state;
	if (getuid() != 0)
		skip();
	assert_int_equal(fs_mkdirs("/var/empty.test", 0755), 0);
	assert_int_equal(in_child(net_box), 0);
	rmdir("/var/empty.test");
	assert_int_equal(in_child(store_box), 0);
	assert_int_equal(in_child(netstore_box), 0);
	assert_int_equal(in_child(unknown_user), 1);
}

static char pidfile[] = "/tmp/test_daemon_pid.XXXXXX";

static int
second(void)
{
	pid_t other = 0;

	if (daemon_pidfile(pidfile, &other) != -1 || errno != EEXIST)
		return 1;
	return other == getppid() ? 0 : 2;
}

/* What a daemon with letters of its own makes of its command line. */
static void
test_options(void **state)
{
	static const struct {
		const char *argv[6];
		int code;		/* -1: go on */
		const char *conf, *node, *more;
		bool foreground, debug, check;
	} cases[] = {
		{ { "d" }, -1, "/d.conf", NULL, "", false, false, false },
		{ { "d", "-fdn" }, -1, "/d.conf", NULL, "", true, true, true },
		{ { "d", "-c", "x", "-N", "ha-1" }, -1, "x", "ha-1", "", false, false, false },
		{ { "d", "-kpk", "-f" }, -1, "/d.conf", NULL, "kp", true, false, false },
		{ { "d", "-f", "more" }, CTL_USAGE, NULL, NULL, NULL, false, false, false },
		{ { "d", "-x" }, CTL_USAGE, NULL, NULL, NULL, false, false, false },
		{ { "d", "-c" }, CTL_USAGE, NULL, NULL, NULL, false, false, false },
		{ { "d", "-V" }, CTL_OK, NULL, NULL, NULL, false, false, false },
		{ { "d", "-h", "-x" }, CTL_OK, NULL, NULL, NULL, false, false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct daemon_options o = { .conf = "/d.conf" };
		char *argv[7] = { NULL };
		int argc = 0;

		for (; argc < 6 && cases[i].argv[argc] != NULL; argc++)
			argv[argc] = strdup(cases[i].argv[argc]);
		optind = 0;		/* getopt starts anew */
		assert_int_equal(daemon_options(&o, "d", "c:N:dfnVhkp", "usage: d\n", argc, argv),
		    cases[i].code);
		if (cases[i].code == -1) {
			assert_string_equal(o.conf, cases[i].conf);
			if (cases[i].node == NULL)
				assert_null(o.node);
			else
				assert_string_equal(o.node, cases[i].node);
			assert_string_equal(o.more, cases[i].more);
			assert_int_equal(o.foreground, cases[i].foreground);
			assert_int_equal(o.debug, cases[i].debug);
			assert_int_equal(o.check, cases[i].check);
		}
		while (argc > 0)
			free(argv[--argc]);
	}
}

static void
test_pidfile(void **state)
{
	char *text;
	size_t len;
	pid_t other;

	(void)state;
	close(mkstemp(pidfile));
	assert_int_equal(fs_replace("/tmp", pidfile + 5, "99999999\n", 9, 0600), 0);
	assert_int_equal(daemon_pidfile(pidfile, &other), 0);	/* of a dead one: taken over */
	assert_int_equal(in_child(second), 0);
	assert_int_equal(fs_read(pidfile, 100, &text, &len), 0);
	assert_int_equal(strtol(text, NULL, 10), getpid());
	free(text);
	unlink(pidfile);
	assert_int_equal(daemon_pidfile("/nonexistent/x.pid", &other), -1);
	assert_int_equal(errno, ENOENT);
}

/* The process that was started ends 0 when its child is ready, 1 when it fails. */
static int
detach_ready(void)
{
	if (daemon_detach() == -1)
		return 5;
	daemon_ready();
	_exit(0);
}

static int
detach_fails(void)
{
	if (daemon_detach() == -1)
		return 5;
	_exit(7);
}

static void
test_detach(void **state)
{
	(void)state;
	assert_int_equal(in_child(detach_ready), 0);
	assert_int_equal(in_child(detach_fails), 1);
}

/* Who started it may go, and "reload" is sent to what has nothing to reload. */
static int
hangs_up(void)
{
	daemon_start();
	return raise(SIGHUP);
}

static void
test_hangup(void **state)
{
	(void)state;
	assert_int_equal(in_child(hangs_up), 0);
}

static void
test_find(void **state)
{
	struct daemon_user u;
	gid_t gid;

	(void)state;
	assert_int_equal(daemon_user_find("root", &u), 0);
	assert_int_equal(u.uid, 0);
	assert_int_equal(daemon_user_find("no-such-user", &u), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(daemon_group_find("no-such-group", &gid), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_boxes),
		cmocka_unit_test(test_pidfile),
		cmocka_unit_test(test_detach),
		cmocka_unit_test(test_hangup),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
