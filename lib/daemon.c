/* daemon.c - what every daemon does once at its start: options, a clean process,
 * background, pid file, and the way down from root.  A failure to give up a right is fatal: no
 * process of ours goes on with more than it was meant to have.  The filters are in
 * daemon_box.c. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <event2/event.h>

#include "ctl.h"
#include "daemon.h"
#include "daemon_box.h"
#include "log.h"
#include "mem.h"
#include "paths.h"

static int ready_fd = -1;	/* the waiting parent's pipe */
static int no_leak_check;

/* Asked by LeakSanitizer, where it is linked in: behind a chroot it cannot see /proc
 * and would call its own failure a leak. */
int __lsan_is_turned_off(void);
int
__lsan_is_turned_off(void)
{
	return no_leak_check;
}

static void *
event_malloc(size_t n)
{
	void *p = malloc(n == 0 ? 1 : n);

	if (p == NULL)
		log_fatal("out of memory: %zu bytes for libevent", n);
	return p;
}

static void *
event_realloc(void *old, size_t n)
{
	return mem_grow(old, n == 0 ? 1 : n, 1);
}

/* ---- command line -------------------------------------------------------- */

static void
option(struct daemon_options *o, int letter)
{
	size_t n = strlen(o->more);

	switch (letter) {
	case 'c':
		o->conf = optarg;
		break;
	case 'N':
		o->node = optarg;
		break;
	case 'd':
		o->debug = true;
		break;
	case 'f':
		o->foreground = true;
		break;
	case 'n':
		o->check = true;
		break;
	default:
		if (strchr(o->more, letter) == NULL && n + 1 < sizeof(o->more))
			o->more[n] = (char)letter;
	}
}

int
daemon_options(struct daemon_options *o, const char *name, const char *letters,
    const char *usage, int argc, char **argv)
{
	int letter;

	while ((letter = getopt(argc, argv, letters)) != -1) {
		if (letter == 'V') {
			printf("%s %s\n", name, MAILPAIR_VERSION);
			return CTL_OK;
		}
		if (letter == 'h') {
			fputs(usage, stdout);
			return CTL_OK;
		}
		if (letter == '?')
			break;
		option(o, letter);
	}
	if (letter == -1 && optind == argc)
		return -1;
	fputs(usage, stderr);
	return CTL_USAGE;
}

/* ---- a clean process ----------------------------------------------------- */

void
daemon_start(void)
{
	event_set_mem_functions(event_malloc, event_realloc, free);
	signal(SIGPIPE, SIG_IGN);
	/* "reload" of a daemon that has nothing to reload, or the end of the terminal it
	 * was started from, must not end it in the middle of its commits. */
	signal(SIGHUP, SIG_IGN);
	if (close_range(3, UINT_MAX, 0) == -1)
		for (int fd = 3; fd < 1024; fd++)
			close(fd);
	umask(077);
}

static void
stdio_to_null(int from, int to)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd == -1)
		log_fatal("/dev/null: %s", strerror(errno));
	for (int i = from; i <= to; i++)
		if (dup2(fd, i) == -1)
			log_fatal("/dev/null: %s", strerror(errno));
	if (fd > STDERR_FILENO)
		close(fd);
}

/* In the process that the administrator started: its exit status tells. */
static void __attribute__((noreturn))
wait_for_child(int fd)
{
	char byte;
	ssize_t n;

	do {
		n = read(fd, &byte, 1);
	} while (n == -1 && errno == EINTR);
	_exit(n == 1 ? 0 : 1);
}

int
daemon_detach(void)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) == -1)
		return -1;
	pid = fork();
	if (pid == -1) {
		int saved = errno;

		close(fds[0]);
		close(fds[1]);
		errno = saved;
		return -1;
	}
	close(fds[pid > 0 ? 1 : 0]);
	if (pid > 0)
		wait_for_child(fds[0]);
	ready_fd = fds[1];
	if (setsid() == -1)
		return -1;
	/* What goes wrong until daemon_ready() may still be printed. */
	stdio_to_null(STDIN_FILENO, STDIN_FILENO);
	return 0;
}

void
daemon_ready(void)
{
	if (ready_fd == -1)
		return;
	stdio_to_null(STDIN_FILENO, STDERR_FILENO);
	/* A parent that was killed meanwhile does not matter. */
	(void)!write(ready_fd, "", 1);
	close(ready_fd);
	ready_fd = -1;
}

int
daemon_pidfile(const char *path, pid_t *other)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644), saved;

	if (fd == -1)
		return -1;
	/* A POSIX lock, because it says whose it is and ends with this very process;
	 * the descriptor stays open for as long. */
	if (fcntl(fd, F_SETLK, &lock) == -1) {
		*other = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? lock.l_pid : 0;
		close(fd);
		errno = EEXIST;
		return -1;
	}
	if (fchmod(fd, 0644) == 0 && ftruncate(fd, 0) == 0
	    && dprintf(fd, "%d\n", (int)getpid()) > 0)
		return 0;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

int
daemon_pidfile_in(const char *dir, const char *name)
{
	char *path = mem_printf("%s/%s.pid", dir, name);
	pid_t other = 0;
	int rc = daemon_pidfile(path, &other);

	if (rc == -1 && errno == EEXIST)
		log_err("%s runs already, pid %d", name, (int)other);
	else if (rc == -1)
		log_err("cannot write %s: %s", path, strerror(errno));
	free(path);
	return rc;
}

int
daemon_user_find(const char *name, struct daemon_user *user)
{
	struct passwd *pw;

	errno = 0;
	pw = getpwnam(name);
	if (pw == NULL) {
		if (errno == 0)
			errno = ENOENT;
		return -1;
	}
	*user = (struct daemon_user){ pw->pw_uid, pw->pw_gid };
	return 0;
}

int
daemon_group_find(const char *name, gid_t *gid)
{
	struct group *gr;

	errno = 0;
	gr = getgrnam(name);
	if (gr == NULL) {
		if (errno == 0)
			errno = ENOENT;
		return -1;
	}
	*gid = gr->gr_gid;
	return 0;
}

static void
become(const char *name, const struct daemon_user *u, const char *chroot_dir)
{
	/* The groups need /etc/group, so they come before the chroot. */
	if (initgroups(name, u->gid) == -1)
		log_fatal("groups of %s: %s", name, strerror(errno));
	if (chroot_dir != NULL && chroot(chroot_dir) == -1)
		log_fatal("chroot %s: %s", chroot_dir, strerror(errno));
	if (chdir("/") == -1)
		log_fatal("chdir /: %s", strerror(errno));
	if (setresgid(u->gid, u->gid, u->gid) == -1 || setresuid(u->uid, u->uid, u->uid) == -1)
		log_fatal("becoming %s: %s", name, strerror(errno));
	if (u->uid != 0 && (setuid(0) == 0 || getuid() != u->uid || geteuid() != u->uid))
		log_fatal("becoming %s: the way back is open", name);
}

void
daemon_drop(const char *user, const char *chroot_dir, enum daemon_box box)
{
	struct daemon_user u;

	if (daemon_user_find(user, &u) == -1)
		log_fatal("user %s: %s", user, strerror(errno));
	if (geteuid() == 0)
		become(user, &u, chroot_dir);
	else if (geteuid() != u.uid || chroot_dir != NULL)
		log_fatal("becoming %s: not started by root", user);
	no_leak_check = chroot_dir != NULL;
	/* Changing users made the process undumpable, which keeps mail out of core files;
	 * the sanitizers' leak check needs to look at its own process. */
	if (DAEMON_SANITIZED && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == -1)
		log_fatal("dumpable: %s", strerror(errno));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		log_fatal("no_new_privs: %s", strerror(errno));
	if (daemon_box_enter(box) == -1)
		log_fatal("seccomp: %s", strerror(errno));
}
