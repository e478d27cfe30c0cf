/* fs.h - the only place that knows the order write, fsync, rename, fsync the
 * directory.  Every function returns 0 (or a descriptor) or -1 with errno, and on
 * failure leaves what was there before.  A failed fsync is never retried. */
#ifndef LIB_FS_H
#define LIB_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FS_COPIES_MAX 2

/* Makes path/name hold exactly these bytes, durably: written beside, synced,
 * renamed, the directory synced.  mode is exact, the umask is not used. */
int fs_replace(const char *dir, const char *name, const void *, size_t, mode_t mode);
int fs_replace_at(int dirfd, const char *name, const void *, size_t, mode_t mode);
/* The same bytes under several names, with fewer syncs than one after the other: all
 * are synced before the first takes its name, so each is whole at every moment.  A
 * failure leaves each with what it was before, or with all of the new bytes. */
int fs_replace_copies(const char *dir, const char *const names[], size_t n, const void *, size_t,
    mode_t mode);
/* Writes over path/name, which must exist, in place: for a disk without room (ENOSPC when
 * it would need some).  A crash or failure leaves it half written, so only where another
 * copy is good meanwhile. */
int fs_overwrite(const char *dir, const char *name, const void *, size_t);
/* Reads a whole file of at most max bytes; *buf is freed by the caller and has a
 * NUL behind the last byte.  EFBIG when it is larger. */
int fs_read(const char *path, size_t max, char **buf, size_t *len);
int fs_read_at(int dirfd, const char *name, size_t max, char **buf, size_t *len);
int fs_write_all(int fd, const void *, size_t);		/* EINTR and short writes */
int fs_pwrite_all(int fd, const void *, size_t, off_t);
ssize_t fs_pread_all(int fd, void *, size_t, off_t);	/* short only at the end */
/* Closes what was only read, or has no name; -1 is none, and *fd is -1 then. */
void fs_close(int *fd);
int fs_sync_dir(const char *path);
/* Creates path with exactly this mode, and its parents (0755), where missing; all of them
 * are durable then.  What exists keeps its mode. */
int fs_mkdirs(const char *path, mode_t mode);
int fs_unlink_durable(const char *dir, const char *name);	/* ENOENT is success */
int fs_remove_tree(const char *path);			/* not durable; ENOENT is success */
/* Free bytes for us on path's file system, and the share used in per cent. */
int fs_free(const char *path, uint64_t *free_bytes, unsigned *used_percent);
/* Refuses (EPERM) what others than root, or its group, could have written. */
int fs_trusted(const char *path);
/* The same, and on failure in why[] who could, and the command that mends it. */
int fs_trusted_why(const char *path, char *why, size_t size);
int fs_cloexec(int fd, bool nonblock);

#endif
