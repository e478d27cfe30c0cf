/* seed_link.c - joins both halves of seeding to the bulk connection: which half a
 * frame is for follows from its type, and SM_ABORT from which half is at work. */
#include "seed_link.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "mirror_wire.h"
#include "seed.h"
#include "seed_source.h"
#include "seed_target.h"

struct seed {
	struct seed_source out;
	struct seed_target in;
};

struct seed *
seed_new(const struct mirror_host *host)
{
	struct seed *s = mem_alloc(sizeof(*s));

	seed_source_init(&s->out, host);
	seed_target_init(&s->in, host);
	return s;
}

void
seed_free(struct seed *s)
{
	if (s == NULL)
		return;
	seed_down(s);
	free(s);
}

void
seed_up(struct seed *s, struct bulk *b)
{
	s->out.bulk = s->in.bulk = b;
	s->out.retry_ms = 0;
}

void
seed_down(struct seed *s)
{
	s->out.bulk = s->in.bulk = NULL;
	seed_source_stop(&s->out, "the bulk connection was lost");
	seed_target_stop(&s->in, "the bulk connection was lost");
}

void
seed_room(struct seed *s)
{
	seed_source_pump(&s->out);
}

static bool
for_source(const struct seed *s, uint8_t type)
{
	if (type == SM_ABORT)
		return s->out.step != SEED_IDLE;
	return type == SM_MISSING || type == SM_TAKEN || type == SM_OK;
}

void
seed_frame(struct seed *s, uint8_t type, struct span whole)
{
	struct span body = { whole.p + MIRROR_HEAD, whole.len - MIRROR_HEAD };
	struct gen sender = { .no = wire_load64(whole.p + 5) };

	memcpy(sender.id, whole.p + 13, sizeof(sender.id));
	if (for_source(s, type))
		seed_source_frame(&s->out, type, body);
	else
		seed_target_frame(&s->in, type, &sender, body);
}

void
seed_changed(struct seed *s)
{
	if (!seed_source_may(&s->out)) {
		s->out.wanted = false;
		seed_source_stop(&s->out, "this node is not active any more");
	}
	if (s->in.host->commit->role != DATA_STANDBY)
		seed_target_stop(&s->in, "this node is not standby any more");
}

void
seed_begin(struct seed *s)
{
	if (seed_source_may(&s->out))
		s->out.wanted = true;
}

bool
seed_wants_bulk(const struct seed *s)
{
	return s->out.wanted && s->out.bulk == NULL;
}

void
seed_tick(struct seed *s, int64_t now_ms)
{
	seed_source_tick(&s->out, now_ms);
}

json_t *
seed_status(const struct seed *s)
{
	const struct seed_source *o = &s->out;
	json_t *j = json_pack("{s:b, s:b, s:i, s:i, s:I, s:I}", "wanted", o->wanted,
	    "running", o->step != SEED_IDLE || s->in.on, "shard", (int)o->at_shard,
	    "shards", (int)o->nshards, "objects", (json_int_t)o->objects,
	    "bytes", (json_int_t)o->bytes);

	if (o->error[0] != '\0')
		json_object_set_new(j, "last_error", json_string(o->error));
	return j;
}

void
seed_snapshot(struct seed *s, uint16_t shard, uint64_t lsn, bool ok, int fd)
{
	seed_source_snapshot(&s->out, shard, lsn, ok, fd);
}

void
seed_snapshot_list(struct seed *s, uint16_t shard, bool ok, int fd)
{
	seed_source_list(&s->out, shard, ok, fd);
}

void
seed_object(struct seed *s, uint16_t shard, const uint8_t sha[32], bool ok, int fd)
{
	seed_source_object(&s->out, shard, sha, ok, fd);
}

void
seed_offer(struct seed *s, uint16_t shard, bool ok)
{
	seed_target_offer(&s->in, shard, ok);
}

void
seed_gone(struct seed *s, uint16_t shard, unsigned offers)
{
	seed_source_gone(&s->out, shard);
	seed_target_gone(&s->in, shard, offers);
}
