/* realtime.c - scheduling and memory of a process that must be on time.
 *
 * The lowest real-time priority is above every ordinary process and below whoever else
 * thinks that it matters.  A process that spins is ended by the kernel after RT_MAX_MS
 * without a pause, so that a mistake here never takes a processor from the mail server.
 *
 * Memory is locked as it is touched (MCL_ONFAULT): most of the libraries' code is never
 * used, and need not be kept.  The program itself and a stack deeper than any call here
 * are touched now.  Locked memory is limited by the kernel once root is given up, and
 * going over that limit would end the process; so without room for all that it may ever
 * map, nothing is locked. */
#include "realtime.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fs.h"
#include "log.h"
#include "span.h"

#define PRIORITY 1
#define RT_MAX_MS 500
#define STACK_BYTES (256 * 1024)
#define POPULATE_READ 22	/* MADV_POPULATE_READ, which older headers do not know */
#define MEMORY_BYTES (64UL << 20)	/* mapped at most, with room to spare */

static void
refused(struct realtime *r, const char *what)
{
	size_t used = strlen(r->why);

	log_warn("%s", what);
	snprintf(r->why + used, sizeof(r->why) - used, "%s%s: %s", used > 0 ? "; " : "", what,
	    strerror(errno));
}

static int
schedule_rr(void)
{
	struct sched_param p = { .sched_priority = PRIORITY };
	struct rlimit most = { RT_MAX_MS * 1000, RLIM_INFINITY };

	if (setrlimit(RLIMIT_RTTIME, &most) == -1)
		return -1;
	return sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &p);
}

extern const char __executable_start[], _end[];	/* from the linker */

/* Only helps against being late the first time, so an old kernel may refuse it. */
static void
touch_program(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = (uintptr_t)__executable_start & ~(page - 1);

	/* cppcheck-suppress intToPointerCast */
	(void)madvise((void *)from, (uintptr_t)_end - from, POPULATE_READ);
}

static void __attribute__((noinline))
touch_stack(void)
{
	volatile unsigned char deep[STACK_BYTES];

	for (size_t i = 0; i < sizeof(deep); i += 1024)
		deep[i] = 0;
}

/* What is mapped now; the most that a number can say when the kernel does not tell. */
static uint64_t
mapped_bytes(void)
{
	uint64_t pages = 0;
	struct span first, rest;
	char *text;
	size_t len;

	if (fs_read("/proc/self/statm", 4096, &text, &len) == -1)
		return UINT64_MAX;
	rest = (struct span){ text, len };
	if (!span_cut(&rest, ' ', &first) || span_u64(first, UINT32_MAX, &pages) != PARSE_OK)
		pages = UINT32_MAX;
	free(text);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int
lock_memory(void)
{
	struct rlimit room = { MEMORY_BYTES, MEMORY_BYTES }, now;

	if (mapped_bytes() > MEMORY_BYTES / 2) {
		errno = ENOMEM;		/* a sanitizer, for one, maps terabytes */
		return -1;
	}
	if (getrlimit(RLIMIT_MEMLOCK, &now) == -1)
		return -1;
	if (now.rlim_cur < MEMORY_BYTES && setrlimit(RLIMIT_MEMLOCK, &room) == -1)
		return -1;
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == -1)
		return -1;
	touch_stack();
	touch_program();
	return 0;
}

int
realtime_leave(void)
{
	struct sched_param ordinary = { .sched_priority = 0 };

	return sched_setscheduler(0, SCHED_OTHER, &ordinary);
}

void
realtime_enter(struct realtime *r, bool schedule, bool lock)
{
	memset(r, 0, sizeof(*r));
	r->scheduled = schedule && schedule_rr() == 0;
	if (schedule && !r->scheduled)
		refused(r, "real-time scheduling");
	r->locked = lock && lock_memory() == 0;
	if (lock && !r->locked)
		refused(r, "locking memory");
}
