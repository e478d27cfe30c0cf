/* tree_purge.c - empties the hold folder of a tree: batches of deleted files that
 * have been held long enough.  Part of tree_apply.h.
 *
 * The age is in the batch's name (wall clock of its pass): it must survive a restart
 * of the machine.  Never follows a link; what cannot be removed stays and is tried
 * again in the next pass. */
#define _GNU_SOURCE
#include "tree_apply.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "tree.h"

static DIR *
open_dir(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd == -1 ? NULL : fdopendir(fd);

	if (d == NULL && fd != -1)
		close(fd);
	return d;
}

static bool
dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* The inside of a batch is at most TREE_DEPTH_MAX deep: open_hold made it. */
static void
remove_below(int at, const char *name, unsigned depth)
{
	DIR *d;
	struct dirent *de;

	if (unlinkat(at, name, 0) == 0 || depth > TREE_DEPTH_MAX + 2)
		return;
	if ((d = open_dir(at, name)) == NULL)
		return;
	while ((de = readdir(d)) != NULL)
		if (!dots(de->d_name))
			remove_below(dirfd(d), de->d_name, depth + 1);
	closedir(d);
	(void)unlinkat(at, name, AT_REMOVEDIR);
}

void
tree_apply_purge(int root_fd, int64_t now_s, int64_t hold_s)
{
	DIR *d = open_dir(root_fd, TREE_HOLD_NAME);
	struct dirent *de;

	if (d == NULL)
		return;
	while ((de = readdir(d)) != NULL) {
		char *end;
		long long made = strtoll(de->d_name, &end, 10);

		if (dots(de->d_name) || end == de->d_name || *end != '-' ||
		    made > now_s - hold_s)
			continue;
		remove_below(dirfd(d), de->d_name, 0);
		log_info("mirror purged held=%s", log_safe(de->d_name));
	}
	closedir(d);
}
