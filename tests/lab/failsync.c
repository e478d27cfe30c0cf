/* failsync.c - a disk that loses a write or takes its time, preloaded into a syncd:
 *  - in a lab node the first fdatasync() that finds /run/lab/fail-fdatasync fails with
 *    EIO; what was written stays readable, as the page cache keeps it after a real one;
 *  - while /run/lab/slow-fdatasync is there, fdatasync() takes the milliseconds in it longer;
 *  - while the FIFO that SYNC_GATE names is there, fdatasync() waits until somebody
 *    has opened it for writing and closed it again. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void
wait_at_gate(void)
{
	const char *gate = getenv("SYNC_GATE");
	int fd = gate != NULL ? open(gate, O_RDONLY | O_CLOEXEC) : -1;
	char c;

	if (fd == -1)
		return;
	while (read(fd, &c, 1) > 0)
		;
	close(fd);
}

static void
take_time(void)
{
	int fd = open("/run/lab/slow-fdatasync", O_RDONLY | O_CLOEXEC);
	char buf[16];
	ssize_t n = fd == -1 ? 0 : read(fd, buf, sizeof(buf) - 1);
	struct timespec t;
	long ms;

	if (fd != -1)
		close(fd);
	if (n <= 0)
		return;
	buf[n] = '\0';
	ms = strtol(buf, NULL, 10);
	t = (struct timespec) { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	while (nanosleep(&t, &t) == -1 && errno == EINTR)
		;
}

int
fdatasync(int fd)
{
	static int (*real)(int);
	static bool failed;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
	if (strcmp(program_invocation_short_name, "syncd") != 0)
		return real(fd);
	if (!failed && access("/run/lab/fail-fdatasync", F_OK) == 0) {
		failed = true;
		errno = EIO;
		return -1;
	}
	take_time();
	wait_at_gate();
	return real(fd);
}
