/* index_aside.c - an index that is damaged, or gone from a shard that was in use: what is
 * left of it is kept in a folder of its own beside the objects, so that the shard can be
 * opened as an empty one.
 *
 * An empty shard asks syncd for all its records.  When the log holds them all, it becomes
 * what it was; when it does not, syncd gives it none: a standby is filled anew by the other
 * node, and an active node does not serve with it.  So nothing is shown that is not whole.
 * The objects stay where they are: each is hashed before it is taken for one.
 *
 * Order: index.db's logs, index.db, `durable` last.  A crash before that leaves a shard
 * that is set aside again, and never a new index beside an old one's write-ahead log. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "clock.h"
#include "fs.h"
#include "index_aside.h"
#include "log.h"
#include "mem.h"

#define TRIES 100		/* folders of one second */

static char *
make_folder(const char *dir)
{
	time_t now = (time_t)(clock_wall_ms() / 1000);
	char stamp[24], *path;
	struct tm tm;

	gmtime_r(&now, &tm);
	(void)strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
	for (int i = 0; i < TRIES; i++) {
		path = i == 0 ? mem_printf("%s/damaged-%s", dir, stamp) :
		    mem_printf("%s/damaged-%s-%d", dir, stamp, i);
		if (mkdir(path, 0700) == 0)
			return path;
		free(path);
		if (errno != EEXIST)
			break;
	}
	return NULL;
}

static int
move(const char *dir, const char *name, const char *to)
{
	char *from = mem_printf("%s/%s", dir, name), *into = mem_printf("%s/%s", to, name);
	int rc = rename(from, into) == 0 || errno == ENOENT ? 0 : -1;

	free(from);
	free(into);
	return rc;
}

int
index_set_aside(const char *dir, const char *why)
{
	static const char *const names[] = { "index.db-wal", "index.db-shm", "index.db", "durable" };
	char *to = make_folder(dir);
	int rc = to != NULL ? 0 : -1;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names) && rc == 0; i++)
		rc = move(dir, names[i], to);
	if (rc == 0 && ((rc = fs_sync_dir(to)) == -1 || (rc = fs_sync_dir(dir)) == -1))
		rc = -1;
	if (rc == 0)
		log_err("%s; what is left of the index is kept in %s, and the shard begins anew", why, to);
	free(to);
	return rc;
}
