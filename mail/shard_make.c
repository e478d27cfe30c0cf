/* shard_make.c - new shards: their index, folders and checkpoint file, for as many
 * shards as a worker starts with at once.
 *
 * Order: everything is written under DIR/new, unsynced; one sync of the file system;
 * then the names are given, and one sync more.  So an index.db is whole or not there,
 * whatever the moment of a power cut, and sixteen shards cost two syncs instead of two
 * hundred.  Nothing is made where an index.db is; where one was in use its rest is set aside
 * before (index_aside.h); what stands under DIR/new is of an attempt that was cut off.
 * Fails with a message; what is there then is taken up by the next start. */
#define _GNU_SOURCE		/* syncfs */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "index_aside.h"
#include "mem.h"
#include "shard_priv.h"

static bool
there(const char *dir, const char *name)
{
	char *path = mem_printf("%s/%s", dir, name);
	struct stat st;
	bool is = lstat(path, &st) == 0 ? st.st_size > 0 : errno != ENOENT;

	free(path);
	return is;
}

/* A folder in use whose index.db is gone is no new shard: its records are trimmed from
 * the log, so a fresh index alone would begin UIDs anew and show empty mailboxes.  What is
 * left is set aside.  suspect: a sync had failed there, so that objects may be in memory only. */
static int
used_aside(const char *dir, bool *suspect, char *err, size_t errlen)
{
	uint64_t lsn;
	bool known = durable_known(dir, &lsn, suspect) == 0;

	if (!known && errno != EBADMSG) {
		snprintf(err, errlen, "%s/durable: %s", dir, strerror(errno));
		return -1;
	}
	/* A write-ahead log is of an index that was, and must not meet the new one. */
	if (known && lsn == 0 && !there(dir, "index.db-wal"))
		return 0;
	snprintf(err, errlen, "%s: index.db is gone or empty, but the shard was in use", dir);
	if (index_set_aside(dir, err) == 0)
		return 0;
	snprintf(err, errlen, "%s: cannot be set aside: %s", dir, strerror(errno));
	return -1;
}

static int
make(const char *path)
{
	return mkdir(path, 0700) == -1 && errno != EEXIST ? -1 : 0;
}

static int
prepare_one(const char *dir, bool suspect, char *err, size_t errlen)
{
	char *new = mem_printf("%s/new", dir), *index = mem_printf("%s/index.db", new);
	char *objects = mem_printf("%s/objects", dir), *tmp = mem_printf("%s/tmp", objects);
	int rc = -1;

	if (fs_mkdirs(dir, 0700) == -1 || fs_remove_tree(new) == -1 || make(new) == -1 ||
	    make(objects) == -1 || make(tmp) == -1 || durable_make(new, suspect) == -1)
		snprintf(err, errlen, "%s: %s", dir, strerror(errno));
	else
		rc = shard_sql_make(index, err, errlen);
	free(new);
	free(index);
	free(objects);
	free(tmp);
	return rc;
}

static int
name_one(const char *dir, char *err, size_t errlen)
{
	char *new = mem_printf("%s/new", dir);
	int from = open(new, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int to = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = -1;

	if (from != -1 && to != -1 && renameat(from, "durable", to, "durable") == 0 &&
	    renameat(from, "index.db", to, "index.db") == 0 && fs_remove_tree(new) == 0)
		rc = 0;
	else
		snprintf(err, errlen, "%s: %s", dir, strerror(errno));
	if (from != -1)
		close(from);
	if (to != -1)
		close(to);
	free(new);
	return rc;
}

static int
sync_all(const char *dir, char *err, size_t errlen)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = -1;

	if (fd == -1 || (rc = syncfs(fd)) == -1)
		snprintf(err, errlen, "%s: %s", dir, strerror(errno));
	if (fd != -1)
		close(fd);
	return rc;
}

int
shard_set_aside(const char *dir, const char *why)
{
	bool suspect;
	uint64_t lsn;

	if (durable_known(dir, &lsn, &suspect) == -1 && errno != EBADMSG)
		return -1;
	if (index_set_aside(dir, why) == -1)
		return -1;
	if (suspect)
		durable_lost(dir, 0);
	return 0;
}

int
shards_make(char *const *dirs, size_t n, char *err, size_t errlen)
{
	bool *missing = mem_array(n + 1, sizeof(*missing)), suspect;
	const char *one = NULL;
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		assert(dirs[i] != NULL);
		if ((missing[i] = !there(dirs[i], "index.db"))) {
			one = dirs[i];
			rc = used_aside(one, &suspect, err, errlen);
			if (rc == 0)
				rc = prepare_one(one, suspect, err, errlen);
		}
	}
	if (rc == 0 && one != NULL)
		rc = sync_all(one, err, errlen);
	for (size_t i = 0; i < n && rc == 0; i++)
		if (missing[i])
			rc = name_one(dirs[i], err, errlen);
	if (rc == 0 && one != NULL)
		rc = sync_all(one, err, errlen);
	free(missing);
	return rc;
}
