/* failsync.c - a disk that loses a write or takes its time, preloaded into a syncd:
 *  - in a lab node the first fdatasync() that finds /run/lab/fail-fdatasync fails with
 *    EIO; what was written stays readable, as the page cache keeps it after a real one;
 *  - while the FIFO that SYNC_GATE names is there, fdatasync() waits until somebody
 *    has opened it for writing and closed it again. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
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
	wait_at_gate();
	return real(fd);
}
