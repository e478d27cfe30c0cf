/* failsync.c - a disk that loses a write: preloaded into a lab node's daemons, the
 * first fdatasync() of a syncd that finds /run/lab/fail-fdatasync fails with EIO.  What
 * was written stays readable, as the page cache keeps it after a real failure. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

int
fdatasync(int fd)
{
	static int (*real)(int);
	static bool failed;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
	if (!failed && strcmp(program_invocation_short_name, "syncd") == 0 &&
	    access("/run/lab/fail-fdatasync", F_OK) == 0) {
		failed = true;
		errno = EIO;
		return -1;
	}
	return real(fd);
}
