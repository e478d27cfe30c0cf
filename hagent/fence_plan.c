/* fence_plan.c - levels, limits and the verification of fence devices; pure.
 *
 * Promise: the plan ends (end is not FENCE_END_OPEN) at most the sum over the levels of
 * their longest limit after its begin, if everything that is started ends within the
 * limit given with it.  FENCE_END_OFF is said only when each device of one level
 * answered a status with "off" after its own successful "off". */
#include "fence_plan.h"

#include <stdio.h>
#include <string.h>

const char *
fence_do_name(enum fence_do d)
{
	static const char *const names[] = { "", "off", "status", "on" };

	return (unsigned)d < 4 ? names[d] : "";
}

void
fence_plan_add(struct fence_plan *p, const char *name, unsigned level, int limit_ms,
    bool reboot)
{
	struct fence_unit *u;

	if (p->n == FENCE_UNITS_MAX)
		return;
	u = &p->unit[p->n++];
	u->name = name;
	u->level = level;
	u->limit_ms = limit_ms;
	u->reboot = reboot;
}

/* ---- levels -------------------------------------------------------------- */

static bool
works(const struct fence_plan *p, const struct fence_unit *u)
{
	return p->test || u->level == p->level;
}

/* 0: there is none above this one. */
static unsigned
level_above(const struct fence_plan *p, unsigned level)
{
	unsigned found = 0;

	for (unsigned i = 0; i < p->n; i++)
		if (p->unit[i].level > level && (found == 0 || p->unit[i].level < found))
			found = p->unit[i].level;
	return found;
}

static void
level_begin(struct fence_plan *p, unsigned level, int64_t now)
{
	p->level = level;
	for (unsigned i = 0; i < p->n; i++) {
		struct fence_unit *u = &p->unit[i];

		if (!works(p, u))
			continue;
		u->stage = p->test ? STAGE_STATUS : STAGE_OFF;
		u->began_ms = u->ask_ms = now;
	}
}

void
fence_plan_begin(struct fence_plan *p, bool test, int64_t now)
{
	for (unsigned i = 0; i < p->n; i++) {
		p->unit[i].stage = STAGE_WAITS;
		p->unit[i].running = false;
		p->unit[i].text[0] = '\0';
	}
	p->test = test;
	p->end = p->n == 0 ? FENCE_END_FAILED : FENCE_END_OPEN;
	level_begin(p, level_above(p, 0), now);
}

/* All of the level are off: the plan's end, and time to switch on what shall reboot. */
static void
level_verified(struct fence_plan *p, int64_t now)
{
	p->end = FENCE_END_OFF;
	for (unsigned i = 0; i < p->n; i++) {
		struct fence_unit *u = &p->unit[i];

		if (!works(p, u))
			continue;
		u->stage = u->reboot ? STAGE_ON : STAGE_DONE;
		u->began_ms = now;
	}
}

/* The next level, or the end, when this one has come to a result. */
static void
settle(struct fence_plan *p, int64_t now)
{
	bool all = true, failed = false;

	for (unsigned i = 0; i < p->n; i++) {
		if (!works(p, &p->unit[i]))
			continue;
		all = all && p->unit[i].stage >= STAGE_VERIFIED;
		failed = failed || p->unit[i].stage == STAGE_FAILED;
	}
	if (p->end != FENCE_END_OPEN || (p->test && !all) || (!failed && !all))
		return;
	if (p->test)
		p->end = failed ? FENCE_END_FAILED : FENCE_END_ANSWERS;
	else if (!failed)
		level_verified(p, now);
	else if (level_above(p, p->level) == 0)
		p->end = FENCE_END_FAILED;
	else
		level_begin(p, level_above(p, p->level), now);
}

/* ---- one device ---------------------------------------------------------- */

static int64_t
deadline(const struct fence_unit *u)
{
	return u->began_ms + u->limit_ms;
}

static void
fail(struct fence_unit *u, const char *verb, const char *words)
{
	u->stage = STAGE_FAILED;
	snprintf(u->text, sizeof(u->text), "%s: %s", verb, words);
}

/* The status behind a successful off. */
static void
verify(struct fence_plan *p, struct fence_unit *u, enum fence_said said, const char *words,
    int64_t now)
{
	if (said == FENCE_SAID_OFF) {
		u->stage = STAGE_VERIFIED;
		snprintf(u->text, sizeof(u->text), "off, verified after %lld ms",
		    (long long)(now - u->began_ms));
		return;
	}
	/* It may take a moment, or a second try; the limit is the law. */
	u->ask_ms = now + p->poll_ms;
	if (said == FENCE_SAID_DONE)
		snprintf(u->text, sizeof(u->text), "it says that it switched off, but its "
		    "status is on");
	else if (u->text[0] == '\0' || now < deadline(u))	/* not what the limit cut short */
		snprintf(u->text, sizeof(u->text), "status: %s", words);
}

static void
tested(struct fence_unit *u, enum fence_said said, const char *words)
{
	if (said == FENCE_SAID_FAILED) {
		fail(u, "status", words);
		return;
	}
	u->stage = STAGE_DONE;
	snprintf(u->text, sizeof(u->text), "answers, the node is %s",
	    said == FENCE_SAID_OFF ? "off" : "on");
}

static void
switched_on(struct fence_unit *u, enum fence_said said, const char *words)
{
	size_t len = strlen(u->text);

	u->stage = STAGE_DONE;
	if (said != FENCE_SAID_DONE)
		snprintf(u->text + len, sizeof(u->text) - len, ", not on again: %s", words);
}

void
fence_plan_said(struct fence_plan *p, unsigned n, enum fence_said said, const char *words,
    int64_t now)
{
	struct fence_unit *u = &p->unit[n];

	if (n >= p->n || !u->running)
		return;
	u->running = false;
	if (u->stage == STAGE_ON) {
		switched_on(u, said, words);
		return;
	}
	/* A device of a level that was given up: nobody waits for it. */
	if (!works(p, u) || p->end != FENCE_END_OPEN)
		return;
	if (p->test)
		tested(u, said, words);
	else if (u->stage == STAGE_STATUS)
		verify(p, u, said, words, now);
	else if (said != FENCE_SAID_DONE)
		fail(u, "off", words);
	else
		u->stage = STAGE_STATUS;
	settle(p, now);
}

enum fence_do
fence_plan_next(struct fence_plan *p, int64_t now, unsigned *n, int *limit_ms)
{
	static const enum fence_do what[] = { [STAGE_OFF] = FENCE_DO_OFF,
		[STAGE_STATUS] = FENCE_DO_STATUS, [STAGE_ON] = FENCE_DO_ON };

	for (unsigned i = 0; i < p->n; i++) {
		struct fence_unit *u = &p->unit[i];

		if (!works(p, u) || u->running || u->stage < STAGE_OFF || u->stage > STAGE_ON)
			continue;
		if (p->end != FENCE_END_OPEN && u->stage != STAGE_ON)
			continue;
		if (now >= deadline(u)) {
			if (u->text[0] == '\0')
				fail(u, fence_do_name(what[u->stage]), "no time is left for it");
			u->stage = STAGE_FAILED;
			settle(p, now);
			i = UINT32_MAX;		/* another level may have begun: from the start */
			continue;
		}
		if (u->stage == STAGE_STATUS && now < u->ask_ms)
			continue;
		u->running = true;
		*n = i;
		*limit_ms = (int)(deadline(u) - now);
		return what[u->stage];
	}
	return FENCE_DO_NOTHING;
}

int64_t
fence_plan_wake(const struct fence_plan *p)
{
	int64_t wake = -1;

	for (unsigned i = 0; i < p->n; i++) {
		const struct fence_unit *u = &p->unit[i];
		int64_t at = u->ask_ms < deadline(u) ? u->ask_ms : deadline(u);

		if (p->end != FENCE_END_OPEN || !works(p, u) || u->running ||
		    u->stage != STAGE_STATUS)
			continue;
		if (wake == -1 || at < wake)
			wake = at;
	}
	return wake;
}

bool
fence_plan_idle(const struct fence_plan *p)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->unit[i].running || p->unit[i].stage == STAGE_ON)
			return false;
	return p->end != FENCE_END_OPEN;
}

const char *
fence_plan_text(const struct fence_plan *p, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < p->n && len < size - 1; i++) {
		const struct fence_unit *u = &p->unit[i];

		if (u->stage == STAGE_WAITS)
			continue;
		snprintf(buf + len, size - len, "%s%s: %s", len > 0 ? "; " : "", u->name,
		    u->text[0] != '\0' ? u->text : "not waited for");
		len = strlen(buf);
	}
	return buf;
}
