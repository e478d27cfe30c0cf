/* store.c - a worker's shards and their connection to the log: committed records are
 * applied as they come, a transaction ends with each batch, and only then do callers
 * and watches hear of it.
 *
 * Promise: done() of a change follows its commit in the log and in the index.  When a
 * record cannot be applied (full disk), the shard goes back to its last commit, takes
 * no new change, and asks for the records again: nothing is skipped.  A delivery that
 * is committed then is answered OK, because both logs hold it; others TEMP or full.
 * Changes are started in store_change.c, what they propose is in store_mail.c,
 * store_flags.c and store_box.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fs.h"
#include "log.h"
#include "mem.h"
#include "paths.h"
#include "store_priv.h"

#define RETRY_FIRST_MS 1000
#define RETRY_MAX_MS 30000
#define WAL_MAX (64u << 20)
#define KNOWN_MS 30000			/* its pages may have been dropped and read again since */
#define REAP_MAX 200			/* things tidied in one second and shard */

void
store_conf_default(struct store_conf *c)
{
	*c = (struct store_conf){ .dir = PATH_VAR "/shards",
		.owner_path = PATH_RUN "/syncd-owner.sock", .low_water = 256u << 20,
		.message_max = 50u << 20, .undelete_ms = 7ll * 86400 * 1000,
		.part_wait_ms = 600 * 1000, .mend_ms = 20000,
		.checkpoint_ms = 10000, .checkpoint_records = 100000, .pending_max = 10000,
		.pending_bytes_max = 256u << 20, .boxes_max = 10000 };
}

struct store_shard *
store_find(const struct store *st, uint16_t n)
{
	for (size_t i = 0; i < st->nshards; i++)
		if (st->shards[i]->n == n)
			return st->shards[i];
	return NULL;
}

bool
store_has_shard(const struct store *st, uint16_t n)
{
	return store_find(st, n) != NULL;
}

static struct store_shard *
find_log(const struct store *st, uint16_t log_no)
{
	return log_no < SHARD_STORE0 ? NULL : store_find(st, (uint16_t)(log_no - SHARD_STORE0));
}

/* Looked at once a second: new mail stops before the disk is full, so that what is
 * under way, and removing, still works. */
bool
store_low_space(struct store *st)
{
	int64_t now = clock_ms();
	uint64_t bytes;

	if (st->free_at != 0 && now - st->free_at < 1000)
		return st->low;
	st->free_at = now;
	if (fs_free(st->conf.dir, &bytes, NULL) == -1) {
		log_warn("store: cannot tell the free space of %s", st->conf.dir);
		return st->low;
	}
	if ((bytes < st->conf.low_water) != st->low) {
		st->low = !st->low;
		log_warnx("store: %llu bytes free, %s new mail", (unsigned long long)bytes,
		    st->low ? "refusing" : "accepting");
	}
	return st->low;
}

/* ---- failing to apply ---- */

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct store_shard *ss = arg;

	(void)fd;
	(void)what;
	ss->stopped = false;
	owner_attach(ss->st->owner, ss->log_no, shard_attach_from(ss->sh));
}

/* Everything since the last commit is undone and comes again.  Errno tells why. */
static void
shard_failed(struct store_shard *ss)
{
	int e = errno;
	struct timeval tv;
	struct token *t;

	shard_rollback(ss->sh);
	ss->dirty = false;
	ss->stopped = ss->degraded = true;
	ss->degraded_rc = e == ENOSPC || e == EDQUOT ? MAIL_DISK_FULL : MAIL_TEMP;
	ss->need_lsn = ss->seen_lsn;
	ss->retry_ms = ss->retry_ms == 0 ? RETRY_FIRST_MS : ss->retry_ms * 2;
	if (ss->retry_ms > RETRY_MAX_MS)
		ss->retry_ms = RETRY_MAX_MS;
	log_err("store shard=%u cannot apply up to lsn=%llu: %s; trying again in %d ms", ss->n,
	    (unsigned long long)ss->need_lsn, strerror(e), ss->retry_ms);
	tv = (struct timeval){ ss->retry_ms / 1000, ss->retry_ms % 1000 * 1000 };
	evtimer_add(ss->retry, &tv);
	while ((t = TAILQ_FIRST(&ss->applied)) != NULL) {
		TAILQ_REMOVE(&ss->applied, t, next);
		token_end(t, t->c->kind == CHANGE_DELIVER && t->c->up == NULL ? MAIL_OK :
		    ss->degraded_rc);
	}
	changes_drop_held(ss, ss->degraded_rc);
}

/* ---- what the owner connection says ---- */

static void
on_record(void *arg, const struct owner_record *rec, uint64_t token)
{
	struct store *st = arg;
	struct store_shard *ss = find_log(st, rec->shard);
	struct token *t = token == 0 ? NULL : token_take(st, token);
	struct shard_outcome out = { .rc = MAIL_OK };

	if (ss == NULL)
		return;
	if (t != NULL)
		TAILQ_INSERT_TAIL(&ss->applied, t, next);
	if (rec->lsn > ss->seen_lsn)
		ss->seen_lsn = rec->lsn;
	if (ss->stopped) {
		errno = ss->degraded_rc == MAIL_DISK_FULL ? ENOSPC : EIO;
	} else if (shard_apply(ss->sh, rec, t != NULL && !t->c->forgotten ? t->c->arg : NULL,
	    &out) == 0) {
		ss->dirty = true;
		if (t != NULL) {
			t->rc = out.rc;
			change_outcome(t->c, rec, &out);
		}
		return;
	}
	if (t != NULL)
		change_outcome(t->c, rec, &out);
	if (!ss->stopped) {
		shard_failed(ss);
		return;
	}
	ss->need_lsn = ss->seen_lsn;
	if (t != NULL) {
		TAILQ_REMOVE(&ss->applied, t, next);
		token_end(t, t->c->kind == CHANGE_DELIVER && t->c->up == NULL ? MAIL_OK :
		    ss->degraded_rc);
	}
}

static void
shard_batch_end(struct store_shard *ss)
{
	struct shard_facts f;
	struct token *t;

	ss->dirty = false;
	if (shard_commit(ss->sh) == -1) {
		shard_failed(ss);
		return;
	}
	shard_facts(ss->sh, &f);
	owner_applied(ss->st->owner, ss->log_no, f.applied_lsn);
	ss->retry_ms = 0;
	if (ss->degraded && f.applied_lsn >= ss->need_lsn) {
		ss->degraded = false;
		log_info("store shard=%u applies again, up to lsn=%llu", ss->n,
		    (unsigned long long)f.applied_lsn);
	}
	watch_tell(ss);
	while ((t = TAILQ_FIRST(&ss->applied)) != NULL) {
		TAILQ_REMOVE(&ss->applied, t, next);
		token_end(t, t->rc);
	}
}

static void
on_batch_end(void *arg)
{
	struct store *st = arg;

	for (size_t i = 0; i < st->nshards; i++)
		if (st->shards[i]->dirty)
			shard_batch_end(st->shards[i]);
}

static void
on_refused(void *arg, uint64_t token, enum owner_refusal why)
{
	struct store *st = arg;
	struct token *t = token_take(st, token);

	if (t != NULL)
		token_end(t, mail_rc_refused(why));
}

static void
on_undecided(void *arg, uint64_t token)
{
	change_undecided(arg, token);
}

static void
on_role(void *arg, const struct owner_role *role)
{
	struct store *st = arg;

	on_batch_end(st);	/* what was said before counts before */
	log_info("store role=%s live=%d gen=%llu kind=%s copies=%u",
	    role->active ? "active" : "standby", role->live, (unsigned long long)role->gen.no,
	    gen_kind_name(role->gen.kind), role->copies);
	if (!role->active)
		for (size_t i = 0; i < st->nshards; i++)
			changes_drop_held(st->shards[i], MAIL_NOT_ACTIVE);
	if (st->hooks.role != NULL)
		st->hooks.role(st->hooks_arg, role);
}

static void
on_snapshot(void *arg, uint16_t log_no)
{
	struct store_shard *ss = find_log(arg, log_no);

	if (ss != NULL)
		job_owner_snapshot(ss);
	else
		owner_snapshot_done(((struct store *)arg)->owner, log_no, 0, -1, -1);
}

static void
on_object_wanted(void *arg, uint16_t log_no, const uint8_t sha[32])
{
	struct store_shard *ss = find_log(arg, log_no);

	if (ss != NULL)
		job_object_wanted(ss, sha);
}

static void
on_object_offered(void *arg, uint16_t log_no, const uint8_t sha[32], int fd)
{
	struct store_shard *ss = find_log(arg, log_no);

	if (ss != NULL)
		job_object_offered(ss, sha, fd);
}

static void
on_index_offered(void *arg, uint16_t log_no, uint64_t lsn, int fd)
{
	struct store_shard *ss = find_log(arg, log_no);

	if (ss != NULL)
		job_index_offered(ss, lsn, fd);
}

static void
on_mended(void *arg, uint16_t log_no, const uint8_t sha[32], enum owner_mend rc, int fd)
{
	struct store_shard *ss = find_log(arg, log_no);

	if (ss != NULL)
		mend_answer(ss, sha, rc, fd);
	else if (fd != -1)
		evutil_closesocket(fd);
}

static void
on_changes(void *arg, uint16_t log_no, uint64_t fork, bool whole, int tail_fd)
{
	struct store *st = arg;
	struct store_shard *ss = find_log(st, log_no);

	if (ss != NULL) {
		job_changes(ss, fork, whole, tail_fd);
		return;
	}
	evutil_closesocket(tail_fd);
	owner_changes_done(st->owner, log_no, -1);
}

static void
on_merge(void *arg, const struct owner_merge *m)
{
	struct store *st = arg;
	struct store_shard *ss = find_log(st, m->shard);

	if (ss != NULL) {
		store_merge_begin(ss, m);
		return;
	}
	evutil_closesocket(m->tail_fd);
	evutil_closesocket(m->theirs_fd);
	owner_merge_done(st->owner, m->shard, false, "{\"error\": \"no such shard here\"}");
}

static void
on_verify(void *arg, uint16_t log_no, const struct owner_verify *v)
{
	struct store_shard *ss = find_log(arg, log_no);

	if (ss != NULL)
		verify_begin(ss, v);
}

static void
on_verify_stop(void *arg, uint16_t log_no)
{
	struct store_shard *ss = find_log(arg, log_no);

	if (ss != NULL)
		verify_stop(ss);
}

/* ---- the second hand ---- */

void
store_trusts(const struct store_shard *ss)
{
	if (shard_lost(ss->sh))
		log_fatal("store shard=%u: a sync failed; ends, and begins again with what the log "
		    "has since the last checkpoint", ss->n);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval second = { 1, 0 };
	struct store *st = arg;
	int64_t now = clock_ms();
	bool due = now - st->checkpoint_at >= st->conf.checkpoint_ms;
	bool moves = jobs_verify_moves(st);

	(void)fd;
	(void)what;
	for (size_t i = 0; i < st->nshards; i++) {
		struct store_shard *ss = st->shards[i];
		struct shard_facts f;

		shard_facts(ss->sh, &f);
		due = due || f.applied_lsn - f.checkpoint_lsn > st->conf.checkpoint_records;
		if (moves)
			verify_tick(ss);
		if (ss->job == 0 && ss->verifying == 0)
			shard_wal_trim(ss->sh, WAL_MAX);
		store_trusts(ss);
		if (!ss->dirty && !ss->stopped && !ss->job &&
		    shard_reap(ss->sh, clock_wall_ms(), st->conf.undelete_ms, REAP_MAX) == -1)
			log_warn("store shard=%u: tidying failed", ss->n);
		if (!ss->dirty && !ss->stopped)
			part_tidy(ss, now);
	}
	mends_tick(st, now);
	if (due) {
		st->checkpoint_at = now;
		jobs_checkpoint(st);
	}
	evtimer_add(st->tick, &second);
}

/* ---- making ---- */

struct store *
store_new(struct event_base *base, const struct store_conf *conf,
    const struct store_hooks *hooks, void *arg)
{
	static const struct owner_ops ops = { .record = on_record, .batch_end = on_batch_end,
		.refused = on_refused, .undecided = on_undecided, .role = on_role,
		.snapshot = on_snapshot,
		.object_wanted = on_object_wanted, .object_offered = on_object_offered,
		.index_offered = on_index_offered, .mended = on_mended,
		.changes = on_changes, .merge = on_merge,
		.verify = on_verify, .verify_stop = on_verify_stop };
	const struct timeval second = { 1, 0 };
	struct store *st = mem_alloc(sizeof(*st));

	st->base = base;
	st->conf = *conf;
	st->conf.dir = mem_dup(conf->dir);
	st->conf.owner_path = mem_dup(conf->owner_path);
	if (hooks != NULL)
		st->hooks = *hooks;
	st->hooks_arg = arg;
	TAILQ_INIT(&st->all);
	TAILQ_INIT(&st->later);
	for (size_t i = 0; i < HASH_SLOTS; i++)
		TAILQ_INIT(&st->tokens[i]);
	st->checkpoint_at = clock_ms();
	mends_init(st);
	st->owner = owner_new(base, st->conf.owner_path, &ops, st);
	st->tick = evtimer_new(base, on_tick, st);
	st->jobs = jobs_new(st);
	if (st->tick == NULL)
		log_fatal("store: no event");
	evtimer_add(st->tick, &second);
	return st;
}

static void
store_shard_free(struct store_shard *ss)
{
	struct token *t;

	while ((t = TAILQ_FIRST(&ss->applied)) != NULL) {
		TAILQ_REMOVE(&ss->applied, t, next);
		free(t);
	}
	counters_free(ss);
	store_merge_free(ss);
	verify_free(ss);
	if (ss->index_fd != -1)
		evutil_closesocket(ss->index_fd);
	event_free(ss->retry);
	shard_close(ss->sh);
	free(ss);
}

void
store_free(struct store *st)
{
	if (st == NULL)
		return;
	jobs_free(st->jobs);
	owner_free(st->owner);
	changes_free(st);
	mends_free(st);
	for (size_t i = 0; i < st->nshards; i++)
		store_shard_free(st->shards[i]);
	event_free(st->tick);
	if (st->later_ev != NULL)
		event_free(st->later_ev);
	free(st->shards);
	free((char *)(uintptr_t)st->conf.dir);
	free((char *)(uintptr_t)st->conf.owner_path);
	free(st);
}

static char *
shard_path(const struct store *st, uint16_t n)
{
	return mem_printf("%s/store-%02u", st->conf.dir, n);
}

int
store_make_shards(struct store *st, const uint16_t *shards, size_t n, char *err, size_t errlen)
{
	char **dirs = mem_array(n + 1, sizeof(*dirs));
	int rc;

	for (size_t i = 0; i < n; i++)
		dirs[i] = shard_path(st, shards[i]);
	rc = shards_make(dirs, n, err, errlen);
	for (size_t i = 0; i < n; i++)
		free(dirs[i]);
	free(dirs);
	return rc;
}

int
store_add_shard(struct store *st, uint16_t n, char *err, size_t errlen)
{
	char *dir = shard_path(st, n);
	struct shard *sh = shard_open(dir, err, errlen);
	struct store_shard *ss;

	if (sh == NULL && errno == EBADMSG && shard_set_aside(dir, err) == 0)
		sh = shard_open(dir, err, errlen);
	free(dir);
	if (sh == NULL)
		return -1;
	ss = mem_alloc(sizeof(*ss));
	ss->st = st;
	ss->sh = sh;
	ss->n = n;
	ss->log_no = (uint16_t)(SHARD_STORE0 + n);
	ss->index_fd = -1;
	for (size_t i = 0; i < sizeof(ss->vboxes) / sizeof(*ss->vboxes); i++)
		TAILQ_INIT(&ss->vboxes[i]);
	TAILQ_INIT(&ss->vusers);
	TAILQ_INIT(&ss->held);
	TAILQ_INIT(&ss->applied);
	if ((ss->retry = evtimer_new(st->base, on_retry, ss)) == NULL)
		log_fatal("store: no event");
	st->shards = mem_grow(st->shards, st->nshards + 1, sizeof(*st->shards));
	st->shards[st->nshards++] = ss;
	owner_attach(st->owner, ss->log_no, shard_attach_from(sh));
	return 0;
}

const struct owner_role *
store_role(const struct store *st)
{
	return owner_role(st->owner);
}

uint64_t
store_applied(const struct store *st)
{
	uint64_t low = UINT64_MAX;
	struct shard_facts f;

	for (size_t i = 0; i < st->nshards; i++) {
		shard_facts(st->shards[i]->sh, &f);
		low = f.applied_lsn < low ? f.applied_lsn : low;
	}
	return low == UINT64_MAX ? 0 : low;
}

bool
store_degraded(const struct store *st)
{
	for (size_t i = 0; i < st->nshards; i++)
		if (st->shards[i]->degraded)
			return true;
	return false;
}

/* ---- reading ---- */

enum mail_rc
store_box_by_name(struct store *st, uint16_t shard, uint64_t user, const char *name,
    struct store_box *b)
{
	struct store_shard *ss = store_find(st, shard);

	return ss == NULL ? MAIL_TEMP : shard_box_by_name(ss->sh, user, name, b);
}

enum mail_rc
store_box_by_id(struct store *st, uint16_t shard, uint64_t box, struct store_box *b)
{
	struct store_shard *ss = store_find(st, shard);

	return ss == NULL ? MAIL_TEMP : shard_box_by_id(ss->sh, box, b);
}

enum mail_rc
store_box_list(struct store *st, uint16_t shard, uint64_t user, bool subscribed_only,
    void (*each)(const struct store_box *, void *), void *arg)
{
	struct store_shard *ss = store_find(st, shard);

	return ss == NULL ? MAIL_TEMP :
	    shard_box_list(ss->sh, user, subscribed_only, each, arg);
}

enum mail_rc
store_messages(struct store *st, uint16_t shard, uint64_t box, uint32_t from_uid,
    uint64_t since_modseq, void (*each)(const struct store_msg *, void *), void *arg)
{
	struct store_shard *ss = store_find(st, shard);

	return ss == NULL ? MAIL_TEMP :
	    shard_messages(ss->sh, box, from_uid, since_modseq, each, arg);
}

enum mail_rc
store_message(struct store *st, uint16_t shard, uint64_t box, uint32_t uid,
    struct store_msg *m)
{
	struct store_shard *ss = store_find(st, shard);

	return ss == NULL ? MAIL_TEMP : shard_message(ss->sh, box, uid, m);
}

int
store_object_open(struct store *st, uint16_t shard, const uint8_t sha[32])
{
	struct store_shard *ss = store_find(st, shard);

	if (ss != NULL)
		return shard_object_open(ss->sh, sha);
	errno = ENOENT;
	return -1;
}

bool
store_object_known(const struct store *st, const uint8_t sha[32], uint64_t stamp)
{
	int64_t now = clock_ms();

	for (size_t i = 0; i < KNOWN_OBJECTS; i++)
		if (st->known_until[i] > now && st->known_stamp[i] == stamp &&
		    memcmp(st->known[i], sha, 32) == 0)
			return true;
	return false;
}

void
store_object_good(struct store *st, const uint8_t sha[32], uint64_t stamp)
{
	unsigned i = st->known_next++ % KNOWN_OBJECTS;

	memcpy(st->known[i], sha, 32);
	st->known_stamp[i] = stamp;
	st->known_until[i] = clock_ms() + KNOWN_MS;
}
