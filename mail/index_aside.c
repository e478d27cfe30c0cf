/* index_aside.c - see index_aside.h.
 *
 * Order: the mark, index.db's logs, index.db, `durable` last.  A crash before the end leaves
 * a shard that is set aside again, or one that is marked though its old index opens: never a
 * new index without the mark, and never one beside an old write-ahead log.
 * The objects stay where they are: each is hashed before it is taken for one. */
#include <errno.h>
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
#define MARK "unfilled"

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
	char *to = NULL;
	int rc = fs_replace(dir, MARK, "", 0, 0600);

	if (rc == 0 && (to = make_folder(dir)) == NULL)
		rc = -1;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names) && rc == 0; i++)
		rc = move(dir, names[i], to);
	if (rc == 0 && (rc = fs_sync_dir(to)) == 0)
		rc = fs_sync_dir(dir);
	if (rc == 0)
		log_err("%s; what is left of the index is kept in %s, and the shard waits for one from "
		    "the other node", why, to);
	free(to);
	return rc;
}

bool
index_unfilled(const char *dir)
{
	char *path = mem_printf("%s/%s", dir, MARK);
	struct stat st;
	bool is = lstat(path, &st) == 0 || errno != ENOENT;

	free(path);
	return is;
}

int
index_filled(const char *dir)
{
	if (fs_unlink_durable(dir, MARK) == -1)
		return -1;
	log_info("%s: the index of the other node is in place", dir);
	return 0;
}
