/* seed_link.c - joins both halves of seeding to the bulk connection: which half a
 * frame is for follows from its type, and SM_ABORT from which half is at work. */
#include "seed_link.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"
#include "mirror_wire.h"
#include "seed.h"
#include "seed_source.h"
#include "seed_target.h"

struct seed {
	struct seed_source out;
	struct seed_target in;
	bool swept;
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
	seed_source_clear(&s->out);
	seed_target_clear(&s->in);
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
	seed_target_pump(&s->in);
}

static bool
for_source(const struct seed *s, uint8_t type)
{
	if (type == SM_ABORT)
		return s->out.step != SEED_IDLE;
	return type == SM_MISSING || type == SM_TAKEN || type == SM_OK || type >= SM_FROM;
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

/* A node that serves is whole, however it came to that: what arrived is of no use. */
static void
sweep(struct seed *s)
{
	if (s->in.host->commit->role != DATA_ACTIVE)
		s->swept = false;
	else if (!s->swept) {
		s->swept = true;
		seed_recv_forget(&s->in.recv, s->in.host->spool_dir);
	}
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
	sweep(s);
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

/* Users are spread over the shards evenly, so a shard is a shard's share of the time; its
 * index counts as one more object.  In thousandths. */
unsigned
seed_progress_share(const struct seed_progress *p)
{
	uint64_t in_shard = 1000 * p->object / (p->objects + 1);

	if (p->shards == 0)
		return 0;
	return (unsigned)((1000 * (uint64_t)p->shard + (in_shard < 1000 ? in_shard : 1000)) /
	    p->shards);
}

int64_t
seed_progress_left_ms(const struct seed_progress *p, int64_t now_ms)
{
	unsigned share = seed_progress_share(p);

	if (share == 0)
		return -1;
	return share >= 1000 ? 0 : (now_ms - p->since_ms) * (1000 - (int64_t)share) / share;
}

json_t *
seed_status(const struct seed *s)
{
	const struct seed_source *o = &s->out;
	bool running = o->step != SEED_IDLE || s->in.on;
	bool out = o->step != SEED_IDLE || o->host->commit->role == DATA_ACTIVE;
	const struct seed_progress *p = out ? &o->at : &s->in.at;
	int64_t now = clock_ms(), left = seed_progress_left_ms(p, now);
	json_t *j = json_pack("{s:b, s:b, s:i, s:i, s:I, s:I, s:I}", "wanted", o->wanted,
	    "running", running, "shard", (int)p->shard, "shards", (int)p->shards, "objects",
	    (json_int_t)(out ? o->objects : s->in.files), "bytes",
	    (json_int_t)(out ? o->bytes : s->in.bytes), "resumed_bytes",
	    (json_int_t)(out ? o->resumed : s->in.resumed_bytes));

	if (running) {
		json_object_set_new(j, "permille", json_integer(seed_progress_share(p)));
		json_object_set_new(j, "running_ms", json_integer(now - p->since_ms));
		if (left >= 0)
			json_object_set_new(j, "left_ms", json_integer(left));
	}
	if (o->error[0] != '\0')
		json_object_set_new(j, "last_error", json_string(o->error));
	return j;
}

void
seed_snapshot(struct seed *s, uint16_t shard, uint64_t lsn, bool ok, int fd)
{
	if (s->out.step == SEED_IDLE)
		seed_target_snapshot(&s->in, shard, ok, fd);
	else
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
