/* pace.c - the rule of pace.h, over a ring of parts of the window.  Keeps no single
 * sync; forgets by time alone.  Cannot fail. */
#include "pace.h"

#include <string.h>

void
pace_init(struct pace *p, int64_t limit_ms, int64_t window_ms)
{
	memset(p, 0, sizeof(*p));
	p->limit_ms = limit_ms;
	p->part_ms = window_ms / PACE_PARTS > 0 ? window_ms / PACE_PARTS : 1;
	p->begun_ms = p->since_ms = -1;
}

static int64_t
window(const struct pace *p)
{
	return p->part_ms * PACE_PARTS;
}

/* The part of now; those that time has passed over are emptied. */
static struct pace_part *
part_now(struct pace *p, int64_t now_ms)
{
	int64_t no = now_ms / p->part_ms, passed = no - p->part_no;

	for (int64_t i = 1; i <= passed && i <= PACE_PARTS; i++)
		memset(&p->part[(p->part_no + i) % PACE_PARTS], 0, sizeof(p->part[0]));
	if (passed > 0)
		p->part_no = no;
	return &p->part[p->part_no % PACE_PARTS];
}

static void
saw_slow(struct pace *p, int64_t begun_ms, int64_t now_ms)
{
	if (p->since_ms < 0 || begun_ms - p->last_ms > window(p))
		p->since_ms = begun_ms;
	p->last_ms = now_ms;
}

void
pace_begin(struct pace *p, int64_t now_ms)
{
	p->begun_ms = now_ms;
}

void
pace_end(struct pace *p, int64_t now_ms)
{
	struct pace_part *part = part_now(p, now_ms);
	int64_t took = now_ms - p->begun_ms;

	part->syncs++;
	if (took > p->limit_ms) {
		part->slow++;
		part->slow_ms += took < window(p) ? took : window(p);
		saw_slow(p, p->begun_ms, now_ms);
	}
	p->begun_ms = -1;
}

/* What the window holds, with the sync under way once it is too long. */
static struct pace_part
sum(struct pace *p, int64_t now_ms)
{
	struct pace_part all = { 0, 0, 0 };
	int64_t runs = p->begun_ms >= 0 ? now_ms - p->begun_ms : 0;

	(void)part_now(p, now_ms);
	for (int i = 0; i < PACE_PARTS; i++) {
		all.syncs += p->part[i].syncs;
		all.slow += p->part[i].slow;
		all.slow_ms += p->part[i].slow_ms;
	}
	if (runs > p->limit_ms) {
		all.syncs++;
		all.slow++;
		all.slow_ms += runs;
		saw_slow(p, p->begun_ms, now_ms);
	}
	return all;
}

bool
pace_slow(struct pace *p, int64_t now_ms)
{
	struct pace_part all = sum(p, now_ms);

	if (p->since_ms >= 0 && now_ms - p->last_ms > window(p)) {
		p->since_ms = -1;
		p->slow = false;
	}
	if (p->since_ms >= 0 && now_ms - p->since_ms >= window(p)
	    && (uint64_t)all.slow * 100 > all.syncs && all.slow_ms >= window(p) / 2)
		p->slow = true;
	return p->slow;
}
