/* hactl_file.c - how commands that make files write them: whole or not at all, durable,
 * with the exact mode, and never over one that is there unless told so. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster_key.h"
#include "fs.h"
#include "hactl_local.h"
#include "mem.h"

int
hactl_write(const char *path, const void *data, size_t len, mode_t mode)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash == NULL   ? mem_dup(".")
		    : slash == path ? mem_dup("/")
				    : mem_printf("%.*s", (int)(slash - path), path);
	int rc = fs_replace(dir, slash == NULL ? path : slash + 1, data, len, mode);

	if (rc == -1)
		fprintf(stderr, "ERROR %s: %s\n", path, strerror(errno));
	free(dir);
	return rc;
}

bool
hactl_may_write(const char *path, bool force)
{
	if (force || access(path, F_OK) == -1)
		return true;
	fprintf(stderr,
	    "ERROR %s is there already; nothing was written\nHINT  add --force to "
	    "replace it\n",
	    path);
	return false;
}

int
hactl_write_keys(const char *path, const struct cluster_keys *keys)
{
	char text[CLUSTER_KEY_TEXT];
	size_t len = cluster_keys_print(keys, text);
	int rc = hactl_write(path, text, len, 0600);

	mem_wipe(text, sizeof(text));
	return rc;
}
