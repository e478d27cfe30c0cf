/* clock.h - the two clocks.  Decisions use clock_ms() only. */
#ifndef LIB_CLOCK_H
#define LIB_CLOCK_H

#include <stdint.h>

int64_t clock_ms(void);		/* CLOCK_BOOTTIME in ms: counts suspend, never steps */
int64_t clock_us(void);		/* the same in microseconds, for measurements */
int64_t clock_wall_ms(void);	/* ms since 1970 UTC; for people and headers only */

#endif
