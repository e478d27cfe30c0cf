/* store_part.c - large messages that nobody goes on with: their proposer died between
 * two pieces.  Their rows hold back the checkpoint, and so the log.
 *
 * Promise: the active node says so with a record, and both drop the pieces when they
 * apply it: no clock of a node decides, and one that catches up loses nothing.
 * Safe by order: while the role is live, all that was proposed by others has been
 * applied, and what this process proposes next comes behind the record.  The wait
 * before it is for what may still lie in a connection that has just died.
 * Failure: a refused proposal is made again a second later. */
#include <string.h>

#include "hex.h"
#include "log.h"
#include "store_priv.h"

/* Is the object on its way here, or its end proposed already? */
static bool
busy(const struct store_shard *ss, const uint8_t sha[32])
{
	const struct change *c;

	TAILQ_FOREACH(c, &ss->st->all, all)
		if (c->ss == ss && (c->kind == CHANGE_PART_DROP ||
		    (c->up != NULL && memcmp(c->up->sha, sha, 32) == 0)))
			return true;
	return false;
}

enum mail_rc
part_start(struct change *c)
{
	struct wire_out w;

	wire_out_init(&w);
	rec_drop_put(&w, c->sha);
	change_propose(c, REC_PART_DROP, (struct span[1]){ wire_out_span(&w) }, 1);
	wire_out_clear(&w);
	return MAIL_OK;
}

static void
drop(struct store_shard *ss, const struct shard_part *p)
{
	struct change *c = change_new(ss->st, ss->n, CHANGE_PART_DROP, NULL, NULL);
	char hex[65];

	log_info("store shard=%u object %s unfinished since lsn=%llu is given up", ss->n,
	    hex_encode(p->sha, 32, hex), (unsigned long long)p->first_lsn);
	memcpy(c->sha, p->sha, 32);
	change_submit(c);
}

/* Once a second.  All that was unfinished when the wait began has waited long enough
 * when it is over. */
void
part_tidy(struct store_shard *ss, int64_t now)
{
	const struct owner_role *role = owner_role(ss->st->owner);
	struct shard_facts f;
	struct shard_part p;

	if (!role->active || !role->live || ss->degraded ||
	    shard_part_first(ss->sh, &p) != 1) {
		ss->part_until = 0;
		return;
	}
	if (p.first_lsn > ss->part_until) {
		shard_facts(ss->sh, &f);
		ss->part_until = f.applied_lsn;
		ss->part_since = now;
	} else if (now - ss->part_since >= ss->st->conf.part_wait_ms && !busy(ss, p.sha)) {
		drop(ss, &p);
	}
}
