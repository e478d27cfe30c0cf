/* clock.c - the two clocks.  CLOCK_BOOTTIME because a lease must also run out while
 * the machine is suspended; the wall clock may step and decides nothing. */
#include <time.h>

#include "clock.h"

static int64_t
read_us(clockid_t which)
{
	struct timespec ts;

	/* Cannot fail: both clocks exist on every kernel that we run on. */
	clock_gettime(which, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
clock_ms(void)
{
	return read_us(CLOCK_BOOTTIME) / 1000;
}

int64_t
clock_us(void)
{
	return read_us(CLOCK_BOOTTIME);
}

int64_t
clock_wall_ms(void)
{
	return read_us(CLOCK_REALTIME) / 1000;
}
