/* page_sum.c - see page_sum.h.  Fletcher's sum over the words of a page, as SQLite's own
 * extension for this does: each single flipped bit, and nearly all else, changes it.
 *
 * Only the main file is looked at.  In WAL mode it is written by checkpoints alone, in
 * whole pages; the sum is put into a copy of the page on its way to the disk, so that
 * nothing that SQLite holds in memory is changed. */
#include "page_sum.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "log.h"

#define SUM 8			/* bytes at the end of a page */
#define PAGE_MAX 65536
#define HEAD 100		/* of the file: its magic, at 16 the page size, at 20 the reserve */

struct file {			/* behind it in memory: the system's */
	sqlite3_file base;
	bool summed;
	bool bad;			/* a page was not what was written */
	const char *name;
};

static sqlite3_vfs *
below(sqlite3_vfs *v)
{
	return v->pAppData;
}

static sqlite3_file *
real(sqlite3_file *f)
{
	return (sqlite3_file *)((struct file *)f + 1);
}

static void
sum_of(const uint8_t *p, size_t n, uint8_t sum[SUM])
{
	uint32_t a = 0, b = 0, x, y;

	for (size_t i = 0; i + 8 <= n; i += 8) {
		memcpy(&x, p + i, 4);
		memcpy(&y, p + i + 4, 4);
		a += x + b;
		b += y + a;
	}
	memcpy(sum, &a, 4);
	memcpy(sum + 4, &b, 4);
}

static bool
is_head(const void *p, int n, sqlite3_int64 at)
{
	return at == 0 && n >= HEAD && memcmp(p, "SQLite format 3", 16) == 0;
}

static bool
is_page(int n)
{
	return n >= 512 && n <= PAGE_MAX && (n & (n - 1)) == 0;
}

static bool
page_good(const uint8_t *p, size_t n)
{
	uint8_t sum[SUM];

	sum_of(p, n - SUM, sum);
	return memcmp(sum, p + n - SUM, SUM) == 0;
}

static int
f_read(sqlite3_file *f, void *buf, int n, sqlite3_int64 at)
{
	struct file *x = (struct file *)f;
	int rc = real(f)->pMethods->xRead(real(f), buf, n, at);

	if (rc != SQLITE_OK)
		return rc;
	if (is_head(buf, n, at))
		x->summed = ((const uint8_t *)buf)[20] == SUM;
	if (!x->summed || !is_page(n) || page_good(buf, (size_t)n))
		return SQLITE_OK;
	x->bad = true;
	log_err("%s: the page at %lld is not what was written", x->name, (long long)at);
	return SQLITE_IOERR_DATA;
}

static int
f_write(sqlite3_file *f, const void *buf, int n, sqlite3_int64 at)
{
	struct file *x = (struct file *)f;
	uint8_t page[PAGE_MAX];

	if (is_head(buf, n, at))
		x->summed = ((const uint8_t *)buf)[20] == SUM;
	if (!x->summed || !is_page(n))
		return real(f)->pMethods->xWrite(real(f), buf, n, at);
	memcpy(page, buf, (size_t)n);
	sum_of(page, (size_t)n - SUM, page + n - SUM);
	return real(f)->pMethods->xWrite(real(f), page, n, at);
}

/* The rest goes down as it is. */
#define DOWN(f) real(f)->pMethods

#define PLAIN(name, down) \
	static int name(sqlite3_file *f) { return DOWN(f)->down(real(f)); }
#define WITH(name, down, type) \
	static int name(sqlite3_file *f, type x) { return DOWN(f)->down(real(f), x); }

PLAIN(f_close, xClose)
WITH(f_truncate, xTruncate, sqlite3_int64)
WITH(f_sync, xSync, int)
WITH(f_size, xFileSize, sqlite3_int64 *)
WITH(f_lock, xLock, int)
WITH(f_unlock, xUnlock, int)
WITH(f_reserved, xCheckReservedLock, int *)
PLAIN(f_sector, xSectorSize)
PLAIN(f_traits, xDeviceCharacteristics)
WITH(f_shm_unmap, xShmUnmap, int)

static int
f_control(sqlite3_file *f, int op, void *arg)
{
	return DOWN(f)->xFileControl(real(f), op, arg);
}

static int
f_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **p)
{
	return DOWN(f)->xShmMap(real(f), region, size, extend, p);
}

static int
f_shm_lock(sqlite3_file *f, int at, int n, int how)
{
	return DOWN(f)->xShmLock(real(f), at, n, how);
}

static void
f_shm_barrier(sqlite3_file *f)
{
	DOWN(f)->xShmBarrier(real(f));
}

static const sqlite3_io_methods methods = { 2, f_close, f_read, f_write, f_truncate, f_sync,
	f_size, f_lock, f_unlock, f_reserved, f_control, f_sector, f_traits, f_shm_map, f_shm_lock,
	f_shm_barrier, f_shm_unmap, NULL, NULL };

static int
v_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *got)
{
	struct file *x = (struct file *)f;
	sqlite3_int64 size = 0;
	int rc;

	if ((flags & SQLITE_OPEN_MAIN_DB) == 0)
		return below(v)->xOpen(below(v), name, f, flags, got);
	memset(x, 0, sizeof(*x));
	x->name = name != NULL ? name : "-";
	rc = below(v)->xOpen(below(v), name, real(f), flags, got);
	if (rc != SQLITE_OK)
		return rc;
	x->base.pMethods = &methods;
	/* A copy's first page may be written last. */
	x->summed = (flags & SQLITE_OPEN_CREATE) != 0 &&
	    real(f)->pMethods->xFileSize(real(f), &size) == SQLITE_OK && size == 0;
	return SQLITE_OK;
}

static sqlite3_vfs vfs;

static void
make_vfs(void)
{
	sqlite3_vfs *os = sqlite3_vfs_find(NULL);

	if (os == NULL)
		log_fatal("SQLite has no VFS");
	vfs = *os;
	vfs.pNext = NULL;
	vfs.pAppData = os;
	vfs.zName = PAGE_SUM_VFS;
	vfs.szOsFile = (int)sizeof(struct file) + os->szOsFile;
	vfs.xOpen = v_open;
	if (sqlite3_vfs_register(&vfs, 0) != SQLITE_OK)
		log_fatal("SQLite takes no VFS");
}

int
page_sum_open(const char *path, sqlite3 **db, int flags)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int rc, reserve = SUM;

	pthread_once(&once, make_vfs);
	rc = sqlite3_open_v2(path, db, flags, PAGE_SUM_VFS);
	/* Of a file that is there it is what each copy of it gets. */
	if (rc == SQLITE_OK)
		rc = sqlite3_file_control(*db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
	return rc;
}

bool
page_sum_damage(sqlite3 *db)
{
	int rc = sqlite3_extended_errcode(db);

	return rc == SQLITE_IOERR_DATA || (rc & 0xff) == SQLITE_CORRUPT ||
	    (rc & 0xff) == SQLITE_NOTADB;
}

/* A statement that copies a file may end with a code that has forgotten why. */
bool
page_sum_met(sqlite3 *db)
{
	sqlite3_file *f = NULL;

	if (page_sum_damage(db))
		return true;
	return sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &f) == SQLITE_OK &&
	    f != NULL && f->pMethods == &methods && ((struct file *)f)->bad;
}
