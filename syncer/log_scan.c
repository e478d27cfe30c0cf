/* log_scan.c - the scan of a run of records at recovery.  Pure; used for the last segment
 * of a log, which alone may end in an interrupted write.
 *
 * The torn tail rule: a record carries `synced`, the LSN that was durable when it was
 * written.  Behind a bad place, a good record whose `synced` lies at or past it proves that
 * the bad record had been durable: damage, not an interrupted write.  A batch may reach
 * the disk in any order, so good records alone behind a bad one prove nothing. */
#include "log_scan.h"

#include <string.h>

#include "hook.h"
#include "wire.h"

void
log_scan_init(struct log_scan *c, struct span in, uint64_t last, const uint8_t hash[16])
{
	memset(c, 0, sizeof(*c));
	c->in = in;
	c->last = last;
	memcpy(c->hash, hash, 16);
}

bool
log_scan_next(struct log_scan *c, struct record *r)
{
	struct span in = { c->in.p + c->end, c->in.len - c->end };
	size_t used;

	if (record_decode(in, r, &used) != PARSE_OK || r->lsn != c->last + 1 ||
	    (!record_follows(r, c->hash) && !hook_on("keep-torn-record")))
		return false;
	c->end += used;
	c->last = r->lsn;
	memcpy(c->hash, r->hash, 16);
	if (r->synced > c->synced)
		c->synced = r->synced;
	return true;
}

static bool
all_zero(const char *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

enum log_end
log_scan_end(const struct log_scan *c)
{
	struct span rest = { c->in.p + c->end, c->in.len - c->end };
	struct record r;
	size_t used;

	if (all_zero(rest.p, rest.len))
		return LOG_END_CLEAN;
	for (; rest.len >= RECORD_HEADER; rest.p += RECORD_ALIGN, rest.len -= RECORD_ALIGN)
		if (wire_load32((const uint8_t *)rest.p) == RECORD_MAGIC &&
		    record_decode(rest, &r, &used) == PARSE_OK && r.synced > c->last)
			return LOG_END_DAMAGED;
	return LOG_END_TORN;
}
