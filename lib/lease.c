/* lease.c - see lease.h. */
#include "lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "fs.h"
#include "hook.h"
#include "mem.h"

struct lease {
	_Atomic int64_t *until_ms;
};

/* It never shrinks and has no hole, so a mapping of it never faults. */
static int
make_size(int fd)
{
	struct stat st;

	if (fchmod(fd, 0644) == -1 || fstat(fd, &st) == -1)
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		return -1;
	}
	errno = posix_fallocate(fd, 0, sizeof(int64_t));
	return errno == 0 ? 0 : -1;
}

/* A descriptor that can do no more than side needs. */
static int
open_side(const char *path, enum lease_side side)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644), ro;

	if (fd == -1)
		return -1;
	if (make_size(fd) == -1) {
		fs_close(&fd);
		return -1;
	}
	if (side == LEASE_GRANTER)
		return fd;
	ro = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	fs_close(&fd);
	return ro;
}

struct lease *
lease_open(const char *path, enum lease_side side)
{
	int fd = open_side(path, side), prot = PROT_READ | (side == LEASE_GRANTER ? PROT_WRITE : 0);
	struct lease *l;
	void *p;

	if (fd == -1)
		return NULL;
	p = mmap(NULL, sizeof(int64_t), prot, MAP_SHARED, fd, 0);
	fs_close(&fd);
	if (p == MAP_FAILED)
		return NULL;
	l = mem_alloc(sizeof(*l));
	l->until_ms = p;
	return l;
}

void
lease_close(struct lease *l)
{
	if (l == NULL)
		return;
	munmap((void *)l->until_ms, sizeof(int64_t));
	free(l);
}

void
lease_grant(struct lease *l, int64_t until_ms)
{
	*l->until_ms = until_ms;
}

bool
lease_holds(const struct lease *l)
{
	return l == NULL || clock_ms() < *l->until_ms || hook_on("answer-without-lease");
}
