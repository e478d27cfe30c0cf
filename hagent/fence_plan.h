/* fence_plan.h - which fence device is told what next, and what it all amounts to.
 * Pure: no clock, process or file.
 *
 * The devices of a level work at the same time; every one of them must be verified (two
 * power supplies), else the next higher level is tried.  Verified: it was told to switch
 * the victim off and said that it did, and when asked behind that it says "off".  What
 * it says first is never enough, and what it says too late counts as not at all. */
#ifndef HAGENT_FENCE_PLAN_H
#define HAGENT_FENCE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FENCE_UNITS_MAX 16
#define FENCE_TEXT 160

enum fence_do { FENCE_DO_NOTHING, FENCE_DO_OFF, FENCE_DO_STATUS, FENCE_DO_ON };
const char *fence_do_name(enum fence_do);	/* the word that devices know */

enum fence_said {
	FENCE_SAID_DONE,	/* it did it; of a status: the victim is on */
	FENCE_SAID_OFF,		/* of a status only */
	FENCE_SAID_FAILED,	/* anything else, and no answer */
};

enum fence_end { FENCE_END_OPEN, FENCE_END_FAILED, FENCE_END_OFF, FENCE_END_ANSWERS };

enum fence_stage {
	STAGE_WAITS,		/* its level has not begun */
	STAGE_OFF, STAGE_STATUS, STAGE_ON,
	STAGE_VERIFIED,
	STAGE_DONE,		/* and nothing more to do */
	STAGE_FAILED,
};

struct fence_unit {
	const char *name;
	unsigned level;		/* 1 is tried first */
	int limit_ms;		/* for off and its verification; once more for on */
	bool reboot;		/* on again, when the whole level is verified */
	enum fence_stage stage;
	bool running;
	int64_t began_ms, ask_ms;	/* its level began; status not before */
	char text[FENCE_TEXT];
};

struct fence_plan {
	unsigned n;
	struct fence_unit unit[FENCE_UNITS_MAX];
	int poll_ms;		/* between two questions for the status */
	bool test;		/* every device is asked for its status, and nothing else */
	unsigned level;
	enum fence_end end;
};

/* A plan that is all zero but for poll_ms has no units; without any it fails. */
void fence_plan_add(struct fence_plan *, const char *name, unsigned level, int limit_ms,
    bool reboot);
void fence_plan_begin(struct fence_plan *, bool test, int64_t now_ms);
/* What to start now, and how long it may take at most; called until it says nothing. */
enum fence_do fence_plan_next(struct fence_plan *, int64_t now_ms, unsigned *unit,
    int *limit_ms);
/* The end of what was started; words for people. */
void fence_plan_said(struct fence_plan *, unsigned unit, enum fence_said, const char *words,
    int64_t now_ms);
/* When to call fence_plan_next() though nobody said anything; -1: not at all. */
int64_t fence_plan_wake(const struct fence_plan *);
/* Nothing runs and nothing is left to do, such as switching on again. */
bool fence_plan_idle(const struct fence_plan *);
/* "ipmi: off, verified after 1200 ms; pdu-a: ..."; the units that were asked. */
const char *fence_plan_text(const struct fence_plan *, char *buf, size_t size);

#endif
