/* index_file.c - copying SQLite files out and in.  What comes from the peer is synced
 * and checked before it takes the place of anything; a crash leaves the old index, or
 * the new one, and perhaps a seed.db that is written over next time. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "index_file.h"
#include "log.h"
#include "mem.h"
#include "page_sum.h"

static int
gone(const char *dir, const char *name)
{
	char *path = mem_printf("%s/%s", dir, name);
	int rc = unlink(path) == 0 || errno == ENOENT ? 0 : -1;

	free(path);
	return rc;
}

int
index_file_copy(sqlite3 *db, const char *dir)
{
	char *path = mem_printf("%s/snapshot.db", dir);
	char *cmd = sqlite3_mprintf("VACUUM INTO %Q", path);
	int fd = -1;

	if (cmd == NULL)
		log_fatal("out of memory");
	unlink(path);
	if (sqlite3_exec(db, cmd, NULL, NULL, NULL) != SQLITE_OK)
		log_warnx("%s: snapshot failed: %s", dir, sqlite3_errmsg(db));
	else if ((fd = open(path, O_RDONLY | O_CLOEXEC)) == -1)
		log_warn("%s: cannot open the snapshot", dir);
	unlink(path);
	sqlite3_free(cmd);
	free(path);
	return fd;
}

static int
write_copy(int from, const char *path)
{
	int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), rc = 0;
	size_t cap = 256u << 10;
	char *buf = mem_alloc(cap);
	ssize_t n = 0;
	off_t at = 0;

	while (to != -1 && (n = fs_pread_all(from, buf, cap, at)) > 0) {
		if (fs_write_all(to, buf, (size_t)n) == -1) {
			n = -1;
			break;
		}
		at += n;
	}
	free(buf);
	if (to == -1)
		return -1;
	rc = n == 0 ? fsync(to) : -1;
	return close(to) == -1 ? -1 : rc;
}

static bool
gives(sqlite3 *db, const char *sql, const char *text)
{
	sqlite3_stmt *q = NULL;
	bool ok = sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK
	    && sqlite3_step(q) == SQLITE_ROW;

	if (ok && text != NULL) {
		const char *is = (const char *)sqlite3_column_text(q, 0);

		ok = is != NULL && strcmp(is, text) == 0;
	}
	sqlite3_finalize(q);
	return ok;
}

static bool
sound(const char *path, const char *probe)
{
	sqlite3 *db = NULL;
	bool ok = page_sum_open(path, &db, SQLITE_OPEN_READWRITE) == SQLITE_OK
	    && gives(db, probe, NULL) && gives(db, "PRAGMA quick_check", "ok");

	sqlite3_close(db);
	return ok;
}

int
index_file_receive(const char *dir, int fd, const char *probe)
{
	char *path = mem_printf("%s/seed.db", dir);
	int rc = -1;

	if (write_copy(fd, path) == -1)
		log_warn("%s: cannot write the seed", dir);
	else if (!sound(path, probe))
		log_warnx("%s: the seed is damaged, refused", dir);
	else
		rc = 0;
	if (rc == -1)
		unlink(path);
	free(path);
	return rc;
}

int
index_file_anew(sqlite3 *db, const char *dir)
{
	char *path = mem_printf("%s/seed.db", dir);
	char *cmd = sqlite3_mprintf("VACUUM INTO %Q", path);
	int fd = -1, rc = -1;

	if (cmd == NULL)
		log_fatal("out of memory");
	if (gone(dir, "seed.db") == -1)
		log_warn("%s: cannot be removed", path);
	else if (sqlite3_exec(db, cmd, NULL, NULL, NULL) != SQLITE_OK)
		log_warnx("%s: cannot be written anew: %s", path, sqlite3_errmsg(db));
	else if ((fd = open(path, O_RDWR | O_CLOEXEC)) == -1 || fsync(fd) == -1)
		log_warn("%s: cannot be written anew", path);
	else
		rc = 0;
	if (fd != -1)
		close(fd);
	sqlite3_free(cmd);
	free(path);
	return rc;
}

/* The old write-ahead log goes first: it must never meet the new file. */
int
index_file_install(const char *dir)
{
	char *from = mem_printf("%s/seed.db", dir), *to = mem_printf("%s/index.db", dir);
	int rc = -1;

	if (gone(dir, "index.db-wal") == 0 && gone(dir, "index.db-shm") == 0 &&
	    rename(from, to) == 0 && fs_sync_dir(dir) == 0)
		rc = index_file_suspect(dir, false);
	if (rc == -1)
		log_warn("%s: cannot put the new index in place", dir);
	free(from);
	free(to);
	return rc;
}

int
index_file_suspect(const char *dir, bool is)
{
	char *path = mem_printf("%s/suspect", dir);
	const char *text = is ? "yes\n" : "no \n";
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), rc = -1;

	if (fd != -1) {
		rc = fs_pwrite_all(fd, text, 4, 0);
		if (close(fd) == -1)
			rc = -1;
	}
	free(path);
	return rc;
}

bool
index_file_marked(const char *dir)
{
	char *path = mem_printf("%s/suspect", dir);
	bool is = access(path, F_OK) == 0;

	free(path);
	return is;
}

bool
index_file_gone(const char *dir)
{
	char *path = mem_printf("%s/index.db", dir);
	struct stat st;
	bool gone = index_file_marked(dir) &&
	    (stat(path, &st) == 0 ? st.st_size == 0 : errno == ENOENT);

	free(path);
	return gone;
}

bool
index_file_is_suspect(const char *dir)
{
	char *path = mem_printf("%s/suspect", dir), *text = NULL;
	size_t len = 0;
	bool is = fs_read(path, 16, &text, &len) == 0 && len > 0 && text[0] == 'y';

	free(text);
	free(path);
	return is;
}
