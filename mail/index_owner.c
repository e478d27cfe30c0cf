/* index_owner.c - one index_db and the socket of syncd: when the one changes, the other
 * hears of it.
 *
 * A checkpoint that fails is tried again at the next time; until then syncd keeps the
 * log.  There are no objects beside the index: their list is empty when the peer is
 * seeded, and lib/owner answers what is asked about one. */
#include <sys/mman.h>
#include <unistd.h>

#include <event2/event.h>

#include "index_db.h"
#include "index_owner.h"
#include "log.h"
#include "maild_conf.h"
#include "owner.h"

static void
checkpoint(struct index_owner *o)
{
	uint64_t lsn;

	if (o->records == 0 || (lsn = index_db_checkpoint(o->db)) == 0)
		return;
	o->records = 0;
	owner_checkpoint(o->owner, o->shard, lsn);
}

static void
timer_start(struct index_owner *o)
{
	struct timeval tv = { (time_t)o->conf->checkpoint_s, 0 };

	event_add(o->timer, &tv);
}

static void
on_timer(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	checkpoint(arg);
	timer_start(arg);
}

static void
attach(struct index_owner *o)
{
	owner_attach(o->owner, o->shard, index_db_applied(o->db));
}

void
index_owner_start(struct index_owner *o, struct event_base *base)
{
	if ((o->timer = event_new(base, -1, 0, on_timer, o)) == NULL)
		log_fatal("cannot make an event");
	timer_start(o);
	attach(o);
}

void
index_owner_stop(struct index_owner *o)
{
	event_free(o->timer);
	o->timer = NULL;
}

void
index_owner_applied(struct index_owner *o)
{
	index_db_commit(o->db);
	owner_applied(o->owner, o->shard, index_db_applied(o->db));
}

void
index_owner_checkpoint(struct index_owner *o)
{
	if (o->records >= o->conf->checkpoint_records)
		checkpoint(o);
}

void
index_owner_snapshot(struct index_owner *o)
{
	uint64_t lsn;
	int index = index_db_snapshot(o->db, &lsn), objects = -1;

	if (index != -1 && (objects = memfd_create("objects", MFD_CLOEXEC)) == -1) {
		close(index);
		index = -1;
	}
	owner_snapshot_done(o->owner, o->shard, lsn, index, objects);
}

void
index_owner_offered(struct index_owner *o, uint64_t lsn, int fd)
{
	bool ok = index_db_replace(o->db, fd) == 0;

	close(fd);
	log_info("%s seeded lsn=%llu ok=%d", o->name, (unsigned long long)lsn, ok);
	owner_offer_answer(o->owner, o->shard, ok);
	if (ok)
		attach(o);
}
