/* index_owner.c - one index_db and the socket of syncd: when the one changes, the other
 * hears of it.
 *
 * A record that cannot be applied is never skipped: see look().
 * A checkpoint that fails is tried again at the next time; until then syncd keeps the
 * log.  There are no objects beside the index: their list is empty when the peer is
 * seeded, and lib/owner answers what is asked about one. */
#include <sys/mman.h>
#include <unistd.h>

#include <event2/event.h>

#include "index_db.h"
#include "index_owner.h"
#include "index_verify.h"
#include "log.h"
#include "maild_conf.h"
#include "owner.h"

#define RETRY_FIRST_MS 1000
#define RETRY_MAX_MS 30000

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
	owner_attach(o->owner, o->shard, index_db_attach_from(o->db));
}

/* ---- failing to apply ---------------------------------------------------- */

/* Does the file not take records now?  Then it is tried again later. */
static bool
look(struct index_owner *o)
{
	struct timeval tv;

	if (index_db_why(o->db) == MAIL_OK)
		return false;
	o->why = index_db_why(o->db);
	o->need = o->seen;
	if (o->stopped)
		return true;
	/* A full disk may stay full; one that fails so long is left to the other node. */
	if (o->why != MAIL_DISK_FULL && o->retry_ms >= RETRY_MAX_MS)
		log_fatal("%s cannot read or write its file for long: giving up", o->name);
	o->stopped = true;
	o->retry_ms = o->retry_ms == 0 ? RETRY_FIRST_MS : o->retry_ms * 2;
	if (o->retry_ms > RETRY_MAX_MS)
		o->retry_ms = RETRY_MAX_MS;
	log_err("%s cannot apply up to lsn=%llu: %s; trying again in %d ms", o->name,
	    (unsigned long long)o->need, mail_rc_name(o->why), o->retry_ms);
	tv = (struct timeval){ o->retry_ms / 1000, o->retry_ms % 1000 * 1000 };
	event_add(o->retry, &tv);
	return true;
}

static void
on_retry(int fd, short what, void *arg)
{
	struct index_owner *o = arg;

	(void)fd;
	(void)what;
	o->stopped = false;
	index_db_resume(o->db);
	if (!look(o))
		attach(o);
}

static void
well(struct index_owner *o)
{
	if (o->why == MAIL_OK || index_db_applied(o->db) < o->need)
		return;
	o->why = MAIL_OK;
	o->retry_ms = 0;
	log_info("%s applies again, up to lsn=%llu", o->name,
	    (unsigned long long)index_db_applied(o->db));
}

/* ---- what the process says ----------------------------------------------- */

void
index_owner_start(struct index_owner *o, struct event_base *base)
{
	if ((o->timer = event_new(base, -1, 0, on_timer, o)) == NULL
	    || (o->retry = event_new(base, -1, 0, on_retry, o)) == NULL)
		log_fatal("cannot make an event");
	o->base = base;
	timer_start(o);
	if (!look(o))
		attach(o);
}

void
index_owner_stop(struct index_owner *o)
{
	index_owner_verify_stop(o);
	event_free(o->timer);
	event_free(o->retry);
	o->timer = o->retry = NULL;
}

void
index_owner_record(struct index_owner *o, uint64_t lsn)
{
	o->records++;
	if (lsn > o->seen)
		o->seen = lsn;
	look(o);
}

void
index_owner_applied(struct index_owner *o)
{
	index_db_commit(o->db);
	if (look(o))
		return;
	owner_applied(o->owner, o->shard, index_db_applied(o->db));
	well(o);
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
	bool ok;

	index_owner_verify_stop(o);	/* it has the old file open */
	ok = index_db_replace(o->db, fd) == 0;

	close(fd);
	log_info("%s seeded lsn=%llu ok=%d", o->name, (unsigned long long)lsn, ok);
	owner_offer_answer(o->owner, o->shard, ok);
	if (!look(o) && ok)
		attach(o);
}

static void
on_verified(void *arg, bool ok, const char *report)
{
	struct index_owner *o = arg;

	owner_verified(o->owner, o->shard, o->run, ok, report);
	index_owner_verify_stop(o);
}

static void
on_verify_moves(void *arg)
{
	struct index_owner *o = arg;

	owner_verifying(o->owner, o->shard, o->run, 0, 0);
}

void
index_owner_verify(struct index_owner *o, uint32_t run)
{
	index_owner_verify_stop(o);
	o->run = run;
	o->verify = index_verify_new(o->base, index_db_path(o->db), on_verified, on_verify_moves,
	    o);
}

void
index_owner_verify_stop(struct index_owner *o)
{
	index_verify_free(o->verify);
	o->verify = NULL;
}
