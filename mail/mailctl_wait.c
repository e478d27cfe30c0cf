/* mailctl_wait.c - waits for a maild that is being started, as long as it is worth it.
 *
 * A change in the folder of the socket wakes it; because a socket is made before it is
 * listened on, and nothing tells of the latter, it also looks again after LOOK_MS. */
#include "mailctl_wait.h"

#include <libgen.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"

#define LOOK_MS 20

static bool
listens(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd, rc;

	if (strlen(path) >= sizeof(sun.sun_path))
		return true; /* who asks will say what is wrong with it */
	memcpy(sun.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return true;
	rc = connect(fd, (const struct sockaddr *)(const void *)&sun, sizeof(sun));
	close(fd);
	return rc == 0;
}

/* A folder that is not there yet is looked for without being told. */
static int
watch_folder(const char *path)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char *copy = mem_dup(path);

	if (fd != -1 && inotify_add_watch(fd, dirname(copy),
			    IN_CREATE | IN_MOVED_TO | IN_ATTRIB) == -1) {
		close(fd);
		fd = -1;
	}
	free(copy);
	return fd;
}

int
mailctl_wait(const char *path, int limit_ms)
{
	int64_t until = clock_ms() + limit_ms;
	int fd = watch_folder(path);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char events[4096];
	bool there;

	while (!(there = listens(path)) && clock_ms() < until)
		if (poll(&p, 1, LOOK_MS) > 0)
			(void)!read(fd, events, sizeof(events));
	if (fd != -1)
		close(fd);
	return there ? 0 : -1;
}
