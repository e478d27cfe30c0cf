/* owners_seed.c - questions of the seeding to owners, and their answers back, and
 * owners' questions for objects: frozen indexes and objects travel as descriptors.  What is kept is how many offers each
 * shard still has to answer: when its owner goes away the seeding is told, so that it
 * waits for nothing that cannot come. */
#include "owners_wire.h"

#include <errno.h>
#include <unistd.h>

#include "core.h"
#include "log.h"
#include "split.h"
#include "verify.h"
#include "wire.h"

void
owners_seed_ops(struct owners *o, const struct seed_owner_ops *ops, void *arg)
{
	o->seed = *ops;
	o->seed_arg = arg;
}

static void
close_fd(int fd)
{
	if (fd != -1)
		close(fd);
}

static bool
got_snapshot(struct owners *o, uint16_t type, struct wire_in *in, int fd)
{
	uint16_t shard = wire_get_u16(in);
	uint64_t lsn = type == OWN_SNAPSHOT_DONE ? wire_get_u64(in) : 0;
	bool ok = wire_get_u8(in) != 0, good = wire_in_done(in);

	if (good && type == OWN_SNAPSHOT_DONE && o->seed.snapshot != NULL)
		o->seed.snapshot(o->seed_arg, shard, lsn, ok && fd != -1, fd);
	else if (good && type == OWN_SNAPSHOT_LIST && o->seed.snapshot_list != NULL)
		o->seed.snapshot_list(o->seed_arg, shard, ok && fd != -1, fd);
	else
		close_fd(fd);
	return good;
}

static bool
got_object(struct owners *o, struct wire_in *in, int fd)
{
	uint16_t shard = wire_get_u16(in);
	uint8_t sha[32];
	bool ok, good;

	wire_get_raw(in, sha, 32);
	ok = wire_get_u8(in) != 0;
	good = wire_in_done(in);
	if (good && o->seed.object != NULL)
		o->seed.object(o->seed_arg, shard, sha, ok && fd != -1, fd);
	else
		close_fd(fd);
	return good;
}

static bool
got_offer(struct oconn *c, struct wire_in *in)
{
	struct owners *o = c->o;
	struct attach *a;
	uint16_t shard = wire_get_u16(in);
	bool ok = wire_get_u8(in) != 0;

	if (!wire_in_done(in))
		return false;
	if ((a = owners_attach_of(c, shard)) == NULL || a->offers == 0)
		return true;	/* somebody else's shard by now: that was said already */
	a->offers--;
	if (o->seed.offer != NULL)
		o->seed.offer(o->seed_arg, shard, ok);
	return true;
}

/* Answered by owners_mended(), here or later. */
static bool
got_mend(struct oconn *c, struct wire_in *in)
{
	struct owners *o = c->o;
	uint16_t shard = wire_get_u16(in);
	uint8_t sha[32];

	wire_get_raw(in, sha, 32);
	if (!wire_in_done(in) || owners_attach_of(c, shard) == NULL)
		return false;
	if (o->seed.mend != NULL)
		o->seed.mend(o->seed_arg, shard, sha);
	else
		owners_mended(o, shard, sha, OWNER_MEND_NO_PEER, -1);
	return true;
}

static bool
got_changes(struct owners *o, struct wire_in *in, int fd)
{
	uint16_t shard = wire_get_u16(in);
	bool ok = wire_get_u8(in) != 0, good = wire_in_done(in) && ok == (fd != -1);

	if (good)
		split_changes(o->s->split, shard, fd);
	else
		close_fd(fd);
	return good;
}

static bool
got_merged(struct owners *o, struct wire_in *in)
{
	uint16_t shard = wire_get_u16(in);
	bool ok = wire_get_u8(in) != 0;
	struct span report = wire_get_rest(in);

	if (!wire_in_ok(in) || report.len > OWNER_REPORT_MAX)
		return false;
	split_merged(o->s->split, shard, ok, report);
	return true;
}

/* Only of a shard that this connection owns. */
static bool
its_shard(struct oconn *c, const struct wire_in *in)
{
	struct wire_in peek = *in;

	return owners_attach_of(c, wire_get_u16(&peek)) != NULL;
}

static bool
got_verify(struct oconn *c, uint16_t type, struct wire_in *in)
{
	struct verify *v = c->o->s->verify;
	uint16_t shard = wire_get_u16(in);
	uint32_t run = wire_get_u32(in);

	if (type == OWN_VERIFIED) {
		bool ok = wire_get_u8(in) != 0;
		struct span report = wire_get_rest(in);

		if (wire_in_ok(in) && owners_attach_of(c, shard) != NULL)
			verify_shard_done(v, shard, run, ok, report);
		return wire_in_ok(in);
	}
	uint64_t done = wire_get_u64(in), of = wire_get_u64(in);

	if (wire_in_done(in) && owners_attach_of(c, shard) != NULL)
		verify_shard_progress(v, shard, run, done, of);
	return wire_in_done(in);
}

bool
owners_seed_message(struct oconn *c, const struct ipc_msg *m, struct wire_in *in)
{
	switch (m->type) {
	case OWN_SNAPSHOT_DONE:
	case OWN_SNAPSHOT_LIST:
		return got_snapshot(c->o, m->type, in, m->fd);
	case OWN_OBJECT_ANSWER:
		return got_object(c->o, in, m->fd);
	case OWN_OFFER_ANSWER:
		close_fd(m->fd);
		return got_offer(c, in);
	case OWN_MEND:
		close_fd(m->fd);
		return got_mend(c, in);
	case OWN_VERIFIED:
	case OWN_VERIFYING:
		close_fd(m->fd);
		return got_verify(c, m->type, in);
	case OWN_CHANGES:
		if (its_shard(c, in))
			return got_changes(c->o, in, m->fd);
		close_fd(m->fd);
		return true;
	case OWN_MERGED:
		close_fd(m->fd);
		return !its_shard(c, in) || got_merged(c->o, in);
	default:
		close_fd(m->fd);
		log_debug("owner sent an unknown message type=%u", m->type);
		return true;
	}
}

void
owners_seed_gone(struct owners *o, const struct attach *a)
{
	if (o->seed.gone != NULL)
		o->seed.gone(o->seed_arg, a->shard, a->offers);
	split_gone(o->s->split, a->shard);
	verify_shard_gone(o->s->verify, a->shard);
}

bool
owners_absent(const struct owners *o, uint16_t *shard)
{
	struct oconn *c;

	for (uint16_t n = 0; n < SHARD_MAX; n++) {
		if (!o->known_shard[n])
			continue;
		c = owners_of((struct owners *)(uintptr_t)o, n);
		if (c == NULL || owners_lost(owners_attach_of(c, n))) {
			*shard = n;
			return true;
		}
	}
	return false;
}

size_t
owners_shards(const struct owners *o, uint16_t *shards, size_t max)
{
	const struct oconn *c;
	size_t n = 0;

	TAILQ_FOREACH(c, &o->conns, next)
		for (size_t i = 0; i < c->nattach && n < max; i++)
			shards[n++] = c->attach[i].shard;
	return n;
}

static int
send_to(struct owners *o, uint16_t shard, uint16_t type, const struct wire_out *w, int fd)
{
	struct oconn *c = owners_of(o, shard);

	if (c != NULL)
		return ipc_send(c->ipc, type, 0, w->p, w->len, fd);
	close_fd(fd);
	errno = ENOENT;
	return -1;
}

static int
offer_to(struct owners *o, uint16_t shard, uint16_t type, const struct wire_out *w, int fd)
{
	struct oconn *c = owners_of(o, shard);

	if (send_to(o, shard, type, w, fd) == -1)
		return -1;
	owners_attach_of(c, shard)->offers++;
	return 0;
}

int
owners_verify(struct owners *o, uint16_t shard, uint32_t run, uint64_t rate, bool repair)
{
	struct oconn *c = owners_of(o, shard);
	struct wire_out w;
	int rc;

	if (c != NULL && owners_lost(owners_attach_of(c, shard))) {
		errno = ENODATA;
		return -1;
	}
	wire_out_init(&w);
	wire_put_u16(&w, shard);
	wire_put_u32(&w, run);
	wire_put_u64(&w, rate);
	wire_put_u8(&w, repair);
	rc = send_to(o, shard, OWN_VERIFY, &w, -1);
	wire_out_clear(&w);
	return rc;
}

void
owners_verify_stop(struct owners *o, uint16_t shard)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u16(&w, shard);
	if (send_to(o, shard, OWN_VERIFY_STOP, &w, -1) == -1)
		log_debug("no owner to be stopped shard=%u", shard);
	wire_out_clear(&w);
}

int
owners_ask_snapshot(struct owners *o, uint16_t shard)
{
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_u16(&w, shard);
	rc = send_to(o, shard, OWN_SNAPSHOT, &w, -1);
	wire_out_clear(&w);
	return rc;
}

int
owners_ask_object(struct owners *o, uint16_t shard, const uint8_t sha[32])
{
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_u16(&w, shard);
	wire_put_raw(&w, sha, 32);
	rc = send_to(o, shard, OWN_OBJECT_WANTED, &w, -1);
	wire_out_clear(&w);
	return rc;
}

int
owners_offer_object(struct owners *o, uint16_t shard, const uint8_t sha[32], int fd)
{
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_u16(&w, shard);
	wire_put_raw(&w, sha, 32);
	wire_put_u8(&w, fd != -1);
	rc = offer_to(o, shard, OWN_OBJECT_OFFERED, &w, fd);
	wire_out_clear(&w);
	return rc;
}

int
owners_offer_index(struct owners *o, uint16_t shard, uint64_t lsn, int fd)
{
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_u16(&w, shard);
	wire_put_u64(&w, lsn);
	rc = offer_to(o, shard, OWN_INDEX_OFFERED, &w, fd);
	wire_out_clear(&w);
	return rc;
}

void
owners_mended(struct owners *o, uint16_t shard, const uint8_t sha[32], enum owner_mend rc, int fd)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u16(&w, shard);
	wire_put_raw(&w, sha, 32);
	wire_put_u8(&w, (uint8_t)rc);
	if (send_to(o, shard, OWN_MENDED, &w, fd) == -1)
		log_debug("nobody waits for an object any more shard=%u", shard);
	wire_out_clear(&w);
}

int
owners_ask_changes(struct owners *o, uint16_t shard, uint64_t fork, bool whole, int tail_fd)
{
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_u16(&w, shard);
	wire_put_u64(&w, fork);
	wire_put_u8(&w, whole);
	rc = send_to(o, shard, OWN_CHANGES_WANTED, &w, tail_fd);
	wire_out_clear(&w);
	return rc;
}

int
owners_ask_merge(struct owners *o, const struct owner_merge *m)
{
	struct wire_out w;
	int rc;

	wire_out_init(&w);
	wire_put_u16(&w, m->shard);
	wire_put_u64(&w, m->fork);
	wire_put_u8(&w, m->whole);
	wire_put_u8(&w, m->dry);
	wire_put_str(&w, m->stamp);
	rc = send_to(o, m->shard, OWN_MERGE, &w, m->tail_fd);
	wire_out_clear(&w);
	if (rc == -1) {
		close_fd(m->theirs_fd);
		return -1;
	}
	wire_out_init(&w);
	wire_put_u16(&w, m->shard);
	rc = send_to(o, m->shard, OWN_MERGE_THEIRS, &w, m->theirs_fd);
	wire_out_clear(&w);
	return rc;
}
