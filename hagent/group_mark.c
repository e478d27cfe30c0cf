/* group_mark.c - see group_mark.h.  Not synced: a machine that loses its power forgets what
 * ran as well, and nothing here waits for a disk. */
#include "group_mark.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int
path_of(const char *dir, char *buf, size_t size)
{
	int n = snprintf(buf, size, "%s/group-started", dir);

	if (n > 0 && (size_t)n < size)
		return 0;
	errno = ENAMETOOLONG;
	return -1;
}

bool
group_mark_is(const char *run_dir)
{
	char path[1024];
	struct stat st;

	return path_of(run_dir, path, sizeof(path)) == 0 && lstat(path, &st) == 0 &&
	    S_ISREG(st.st_mode);
}

int
group_mark_set(const char *run_dir, bool started)
{
	char path[1024];
	int fd;

	if (path_of(run_dir, path, sizeof(path)) == -1)
		return -1;
	if (!started)
		return unlink(path) == 0 || errno == ENOENT ? 0 : -1;
	fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd == -1 ? -1 : close(fd);
}
