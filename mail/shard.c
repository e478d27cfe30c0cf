/* shard.c - opening, committing and tidying one store shard.
 *
 * Promise: commit makes all records since the last one visible together, with the
 * applied LSN that says so in the same transaction; after a failure nothing of them
 * is there and the same records have to come again.
 * Does not decide when: the store does, at the end of each batch. */
#include "shard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "index_aside.h"
#include "log.h"
#include "hook.h"
#include "mem.h"
#include "shard_priv.h"

struct shard *
shard_open(const char *dir, char *err, size_t errlen)
{
	struct shard *sh = mem_alloc(sizeof(*sh));

	sh->dir = mem_dup(dir);
	sh->objects_fd = -1;
	sh->unfilled = index_unfilled(dir);
	sh->reuse_uids = hook_on("reuse-uid");
	/* What is there needs no sync to be used: a checkpoint makes all names durable. */
	if ((access(dir, F_OK) == -1 && fs_mkdirs(dir, 0700) == -1) ||
	    object_dirs_make(dir, &sh->objects_fd) == -1)
		snprintf(err, errlen, "%s: %s", dir, strerror(errno));
	else if (shard_sql_open(sh, err, errlen) == 0 && durable_load(sh, err, errlen) == 0 &&
	    (!sh->suspect || shard_index_rewrite(sh, err, errlen) == 0))
		return sh;
	shard_close(sh);
	return NULL;
}

void
shard_close(struct shard *sh)
{
	int e = errno;

	if (sh == NULL)
		return;
	shard_rollback(sh);
	shard_sql_close(sh);
	if (sh->objects_fd != -1)
		close(sh->objects_fd);
	free(sh->events);
	free(sh->src.v);
	free(sh->dst.v);
	free(sh->dir);
	free(sh);
	errno = e;
}

const char *
shard_dir(const struct shard *sh)
{
	return sh->dir;
}

void
shard_facts(const struct shard *sh, struct shard_facts *f)
{
	const struct shard_state *s = &sh->committed;

	*f = (struct shard_facts){ .applied_lsn = s->applied_lsn, .modseq = s->modseq,
		.gen_no = s->gen_no, .gap_gen = s->gap_gen, .uidvalidity = s->uidvalidity,
		.gen_kind = s->gen_kind, .gen_node = s->gen_node, .last_ms = s->last_ms,
		.checkpoint_lsn = sh->checkpoint_lsn, .recovering = sh->recovering };
}

bool
shard_lost(const struct shard *sh)
{
	return sh->lost;
}

uint64_t
shard_attach_from(const struct shard *sh)
{
	if (sh->unfilled)
		return OWNER_FROM_LOST;
	return sh->recovering ? sh->checkpoint_lsn : sh->committed.applied_lsn;
}

int
shard_commit(struct shard *sh)
{
	const struct shard_state *s = &sh->now;
	int e;

	if (!sh->open)
		return 0;
	if (sql_run(shard_w(sh, W_STATE_SET), "iiiiiiii", (int64_t)s->applied_lsn, (int64_t)s->modseq,
	    (int64_t)s->uidvalidity, (int64_t)s->gen_no, (int64_t)s->gen_kind,
	    (int64_t)s->gen_node, (int64_t)s->gap_gen, s->last_ms) == -1 ||
	    sql_run(shard_w(sh, W_COMMIT), "") == -1) {
		e = errno;
		shard_rollback(sh);
		errno = e;
		return -1;
	}
	sh->open = false;
	sh->committed = sh->now;
	sh->nready = sh->nevents;
	return 0;
}

void
shard_rollback(struct shard *sh)
{
	if (!sh->open)
		return;
	/* SQLite may have rolled back by itself; then this one has nothing to do. */
	if (sqlite3_get_autocommit(sh->db) == 0)
		sql_run(shard_w(sh, W_ROLLBACK), "");
	sh->open = false;
	sh->now = sh->committed;
	sh->nevents = sh->nready;
}

size_t
shard_events(const struct shard *sh, const struct shard_event **events)
{
	*events = sh->events;
	return sh->nready;
}

void
shard_events_clear(struct shard *sh)
{
	sh->nevents -= sh->nready;
	if (sh->nevents > 0)
		memmove(sh->events, sh->events + sh->nready, sh->nevents * sizeof(*sh->events));
	sh->nready = 0;
}

/* ---- tidying ---- */

void
shard_wal_trim(struct shard *sh, uint64_t max)
{
	char *path = mem_printf("%s/index.db-wal", sh->dir);
	struct stat st;

	if (sh->open || stat(path, &st) == -1 || (uint64_t)st.st_size <= max) {
		free(path);
		return;
	}
	/* BUSY: a job reads; the next call may find it gone. */
	if (sqlite3_wal_checkpoint_v2(sh->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) ==
	    SQLITE_OK) {
		log_debug("store %s: write-ahead log begins anew", sh->dir);
	} else if (sql_sync_failed(sh->db)) {
		sh->lost = true;
		durable_lost(sh->dir, sh->checkpoint_lsn);
	}
	free(path);
}

/* The row goes first and is committed, then the file: a file without a row is
 * written over or found by verify.  After a power cut it may be the other way round;
 * so applying takes a row that nothing refers to as no row.  An object whose pieces
 * arrive again stays: the message behind them may count on it. */
static int
reap_object(struct shard *sh, int64_t before_ms)
{
	sqlite3_stmt *st = shard_w(sh, W_OBJ_DEAD);
	uint8_t sha[32];
	int rc = sql_run(st, "ii", before_ms, (int64_t)sh->checkpoint_lsn);

	if (rc != 1)
		return rc;
	memcpy(sha, sqlite3_column_blob(st, 0), 32);
	sqlite3_reset(st);
	if (sql_run(shard_w(sh, W_OBJ_DEL), "b", sha) == -1 || object_unlink(sh, sha) == -1)
		return -1;
	return 1;
}

/* One message of a mailbox that was deleted long ago. */
static int
reap_message(struct shard *sh, int64_t before_ms)
{
	sqlite3_stmt *st = shard_w(sh, W_BOX_DEAD);
	struct msg_row m;
	int64_t box, lsn, ms;
	int rc = sql_run(st, "i", before_ms);

	if (rc != 1)
		return rc;
	box = sqlite3_column_int64(st, 0);
	lsn = sqlite3_column_int64(st, 1);
	ms = sqlite3_column_int64(st, 2);
	sqlite3_reset(st);
	if ((rc = msg_next(sh, (uint64_t)box, 0, &m)) == -1)
		return -1;
	if (rc == 0)
		return sql_run(shard_w(sh, W_BOX_REAPED), "i", box) == -1 ? -1 : 1;
	if (sql_run(shard_w(sh, W_MSG_DEL), "ii", box, (int64_t)m.uid) == -1 ||
	    object_unref(sh, (uint64_t)lsn, ms, m.sha) == -1)
		return -1;
	return 1;
}

int
shard_part_first(struct shard *sh, struct shard_part *p)
{
	sqlite3_stmt *st = shard_w(sh, W_PART_FIRST);
	int rc = sql_run(st, "");

	if (rc != 1)
		return rc;
	memcpy(p->sha, sqlite3_column_blob(st, 0), 32);
	p->first_lsn = (uint64_t)sqlite3_column_int64(st, 1);
	sqlite3_reset(st);
	return 1;
}

int
shard_reap(struct shard *sh, int64_t now_ms, int64_t undelete_ms, unsigned max)
{
	unsigned n = 0;
	int rc = 1;

	if (sh->open || sh->recovering)
		return 0;		/* later: a batch is under way, or objects are looked at */
	while (n < max && rc == 1) {
		if ((rc = reap_message(sh, now_ms - undelete_ms)) == 0)
			rc = reap_object(sh, now_ms - undelete_ms);
		n += rc == 1;
	}
	return rc == -1 ? -1 : (int)n;
}
