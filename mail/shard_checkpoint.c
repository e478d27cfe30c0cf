/* shard_checkpoint.c - the file `durable`: up to which LSN everything of this shard is
 * on the disk, and in which boot of the machine that was written.
 *
 * Order: the LSN is read, then the file system is synced (objects, write-ahead log),
 * then index.db takes in its log, then `durable` is replaced.  A crash before the last
 * step leaves the older `durable`, which is still true.
 * An unfinished object holds the checkpoint back to its first piece, so that after a
 * power cut, and on a seeded node, all its pieces come from the log again.
 * When the boot id differs at open, the machine went down: objects written since the
 * checkpoint may be short, and replay begins there. */
#define _GNU_SOURCE		/* syncfs */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "hook.h"
#include "index_aside.h"
#include "log.h"
#include "mem.h"
#include "merge_plan.h"
#include "page_sum.h"
#include "shard_job.h"
#include "shard_priv.h"

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_SIZE 40

/* Boot ids that no machine has.  SEEDED: replay as after a power cut.  SUSPECT: the same,
 * and what can be read may be in memory only. */
#define SEEDED "seeded"
#define SUSPECT "suspect"

static int
boot_id(char id[BOOT_ID_SIZE])
{
	const char *path = getenv("MAILPAIR_BOOT_ID_FILE");	/* tests play power cuts */
	char *buf;
	size_t len;
	int rc;

	if (fs_read(path != NULL ? path : BOOT_ID_FILE, 4096, &buf, &len) == -1)
		return -1;
	buf[strcspn(buf, "\n")] = '\0';
	rc = span_copy(span_of(buf), id, BOOT_ID_SIZE);
	free(buf);
	return rc;
}

static char *
durable_text(uint64_t lsn, const char *boot)
{
	return mem_printf("mailpair-shard 1\nlsn %llu\nboot %s\n", (unsigned long long)lsn,
	    boot);
}

int
durable_make(const char *dir, bool suspect)
{
	char boot[BOOT_ID_SIZE], *text, *path;
	int fd, rc = -1;

	if (boot_id(boot) == -1)
		return -1;
	path = mem_printf("%s/durable", dir);
	text = durable_text(0, suspect ? SUSPECT : boot);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd != -1) {
		rc = fs_write_all(fd, text, strlen(text));
		if (close(fd) == -1)
			rc = -1;
	}
	free(text);
	free(path);
	return rc;
}

static int
durable_write(const char *dir, uint64_t lsn, const char *boot)
{
	char *text = durable_text(lsn, boot);
	int rc = fs_replace(dir, "durable", text, strlen(text), 0600);

	free(text);
	return rc;
}

/* Nothing here has to be durable: after a power cut the files tell the truth.  A disk
 * without room takes it in place. */
void
durable_lost(const char *dir, uint64_t lsn)
{
	char *text = durable_text(lsn, SUSPECT);

	if (fs_replace(dir, "durable", text, strlen(text), 0600) == -1 &&
	    fs_overwrite(dir, "durable", text, strlen(text)) == -1)
		log_err("store %s: a sync failed, and it cannot be noted: %s; seed this node anew",
		    dir, strerror(errno));
	free(text);
}

/* "mailpair-shard 1\nlsn N\nboot ID\n" */
static bool
durable_parse(struct span rest, uint64_t *lsn, char boot[BOOT_ID_SIZE])
{
	struct span line, word;

	if (!span_cut(&rest, '\n', &line) || !span_is(line, "mailpair-shard 1"))
		return false;
	if (!span_cut(&rest, '\n', &line) || !span_cut(&line, ' ', &word) ||
	    !span_is(word, "lsn") || span_u64(line, INT64_MAX, lsn) != PARSE_OK)
		return false;
	return span_cut(&rest, '\n', &line) && span_cut(&line, ' ', &word) &&
	    span_is(word, "boot") && span_copy(line, boot, BOOT_ID_SIZE) == 0;
}

int
durable_known(const char *dir, uint64_t *lsn, bool *suspect)
{
	char *path = mem_printf("%s/durable", dir), *buf = NULL, boot[BOOT_ID_SIZE];
	size_t len = 0;
	int rc = -1;

	*lsn = 0;
	*suspect = false;
	if (fs_read(path, 4096, &buf, &len) == -1) {
		if (errno == ENOENT)
			rc = 0;
	} else if (durable_parse((struct span) { buf, len }, lsn, boot)) {
		*suspect = strcmp(boot, SUSPECT) == 0;
		rc = 0;
	} else {
		errno = EBADMSG;
	}
	free(buf);
	free(path);
	return rc;
}

int
durable_load(struct shard *sh, char *err, size_t errlen)
{
	char *path = mem_printf("%s/durable", sh->dir), *buf = NULL;
	char now[BOOT_ID_SIZE], then[BOOT_ID_SIZE];
	size_t len = 0;
	int rc = -1;

	if (boot_id(now) == -1) {
		snprintf(err, errlen, "%s: %s", BOOT_ID_FILE, strerror(errno));
	} else if (fs_read(path, 4096, &buf, &len) == -1 && errno != ENOENT) {
		snprintf(err, errlen, "%s: %s", path, strerror(errno));
	} else if (buf == NULL) {	/* new: nothing is durable, and nothing was lost */
		if ((rc = durable_write(sh->dir, 0, now)) == -1)
			snprintf(err, errlen, "%s: %s", path, strerror(errno));
	} else if (!durable_parse((struct span){ buf, len }, &sh->checkpoint_lsn, then)) {
		snprintf(err, errlen, "%s: not a checkpoint file", path);
		errno = EBADMSG;
	} else if (strcmp(then, "seeded") != 0 && sh->committed.applied_lsn < sh->checkpoint_lsn) {
		/* The write-ahead log lost what was durable: it ends at its first bad sum. */
		snprintf(err, errlen, "%s: index.db ends at record %llu, before its checkpoint", path,
		    (unsigned long long)sh->committed.applied_lsn);
		errno = EBADMSG;
	} else {
		rc = 0;
		sh->recover_until = sh->committed.applied_lsn;
		sh->recovering = strcmp(now, then) != 0 &&
		    sh->checkpoint_lsn < sh->recover_until;
		sh->suspect = strcmp(then, SUSPECT) == 0;
		if (sh->suspect)
			log_warnx("store %s: a sync had failed; what came after record %llu is written "
			    "anew", sh->dir, (unsigned long long)sh->checkpoint_lsn);
		if (sh->recovering)
			log_info("store %s: the machine went down; looking through objects of records "
			    "%llu to %llu", sh->dir, (unsigned long long)sh->checkpoint_lsn,
			    (unsigned long long)sh->recover_until);
	}
	free(buf);
	free(path);
	return rc;
}

/* ---- jobs ---- */

static uint64_t
part_bound(struct shard *sh, uint64_t lsn)
{
	struct shard_part p;
	int rc = shard_part_first(sh, &p);

	if (rc == -1)
		return 0;		/* cannot say: claim nothing */
	return rc == 1 && p.first_lsn <= lsn ? p.first_lsn - 1 : lsn;
}

struct shard_job *
shard_job_new(struct shard *sh, enum shard_job_kind kind)
{
	bool rows = kind != SHARD_CHECKPOINT && kind != SHARD_MEND && kind != SHARD_STAT;
	struct shard_job *j;
	int fd;

	if (sh->unfilled && rows) {	/* its rows are not what the shard holds */
		errno = ENODATA;
		return NULL;
	}
	fd = fcntl(sh->objects_fd, F_DUPFD_CLOEXEC, 3);

	if (fd == -1)
		return NULL;
	j = mem_alloc(sizeof(*j));
	j->kind = kind;
	j->dir = mem_dup(sh->dir);
	j->objects_fd = fd;
	j->index_fd = j->list_fd = j->from_fd = j->changes_fd = -1;
	j->before = sh->checkpoint_lsn;
	j->recovering = sh->recovering;
	j->idle = sh->committed.applied_lsn < sh->checkpoint_lsn;
	j->lsn = part_bound(sh, sh->committed.applied_lsn);
	if (j->lsn < sh->checkpoint_lsn)
		j->lsn = sh->checkpoint_lsn;
	return j;
}

static int
run_checkpoint(struct shard_job *j)
{
	char boot[BOOT_ID_SIZE];
	sqlite3 *db;
	int rc;

	/* Until all are looked through, the old checkpoint stands, and the boot in which it was
	 * made: with this one's name the next process would not go on looking. */
	if (j->recovering) {
		snprintf(j->error, sizeof(j->error), "%s: no checkpoint: objects are being looked "
		    "through after the machine went down", j->dir);
		return -1;
	}
	if (!hook_on("objects-not-synced") && syncfs(j->objects_fd) == -1) {
		j->lost = !hook_on("checkpoint-retried");
		return -1;
	}
	if (boot_id(boot) == -1)
		return -1;
	if ((db = shard_sql_extra(j->dir, false)) == NULL)
		return -1;
	/* PASSIVE takes in what no reader or writer is using; the rest stays in the
	 * write-ahead log, which syncfs has made durable. */
	rc = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	if (rc != SQLITE_OK && rc != SQLITE_BUSY && rc != SQLITE_LOCKED) {
		errno = sql_errno(db);
		j->lost = sql_sync_failed(db);
		sqlite3_close(db);
		return -1;
	}
	sqlite3_close(db);
	return durable_write(j->dir, j->lsn, j->idle ? SEEDED : boot);
}

void
shard_job_run(struct shard_job *j)
{
	int rc = -1;

	switch (j->kind) {
	case SHARD_CHECKPOINT:
		rc = run_checkpoint(j);
		if (j->lost)
			durable_lost(j->dir, j->before);
		break;
	case SHARD_SNAPSHOT:
		rc = shard_snapshot_run(j);
		break;
	case SHARD_MEND:
		rc = object_mend(j->objects_fd, j->sha, j->from_fd);
		break;
	case SHARD_VERIFY:
	case SHARD_STAT:
		rc = shard_verify_run(j);
		break;
	case SHARD_CHANGES:
		rc = shard_changes_run(j);
		break;
	case SHARD_MERGE:
		rc = shard_merge_run(j);
		break;
	}
	j->ok = rc == 0;
	if (rc == -1 && j->error[0] == '\0')
		snprintf(j->error, sizeof(j->error), "%s: %s", j->dir, strerror(errno));
}

void
shard_job_end(struct shard *sh, struct shard_job *j)
{
	sh->lost |= j->lost;
	/* A batch that is open takes it along; should that be undone, the next verify says so. */
	if (j->kind == SHARD_MEND && j->ok && sql_run(shard_w(sh, W_MISSING_DEL), "b", j->sha) == -1)
		log_warn("store %s: an object that is mended is still noted as missing", sh->dir);
	if (j->kind != SHARD_CHECKPOINT || !j->ok)
		return;
	if (!sh->recovering)
		sh->suspect = false;
	if (j->lsn > sh->checkpoint_lsn)
		sh->checkpoint_lsn = j->lsn;
}

void
shard_job_free(struct shard_job *j)
{
	if (j == NULL)
		return;
	close(j->objects_fd);
	if (j->index_fd != -1)
		close(j->index_fd);
	if (j->list_fd != -1)
		close(j->list_fd);
	if (j->from_fd != -1)
		close(j->from_fd);
	if (j->changes_fd != -1)
		close(j->changes_fd);
	merge_plan_free(j->plan);
	json_decref(j->report);
	free(j->bad_objects);
	free(j->dir);
	free(j);
}

/* ---- an index from the peer ---- */

static int
index_write(struct shard *sh, int fd)
{
	char *name = mem_printf("%s/index.db.new", sh->dir);
	int to = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), rc = -1, e;
	char *buf = mem_alloc(1 << 20);
	off_t at = 0;
	ssize_t n = -1;

	while (to != -1 && (n = fs_pread_all(fd, buf, 1 << 20, at)) > 0) {
		if (fs_write_all(to, buf, (size_t)n) == -1) {
			n = -1;
			break;
		}
		at += n;
	}
	if (to != -1 && n == 0 && fsync(to) == 0)
		rc = 0;
	e = errno;
	if (to != -1 && close(to) == -1)
		rc = -1;
	if (rc == -1)
		unlink(name);
	free(buf);
	free(name);
	errno = e;
	return rc;
}

/* Looks at index.db.new before it takes the place of anything. */
static int
index_check(struct shard *sh)
{
	static const char *const beside[] = { "index.db.new-wal", "index.db.new-shm" };
	char *path = mem_printf("%s/index.db.new", sh->dir), *old, err[300];
	int rc = 0, e;

	/* What an earlier one left must not meet this one. */
	for (size_t i = 0; i < 2 && rc == 0; i++) {
		old = mem_printf("%s/%s", sh->dir, beside[i]);
		if (unlink(old) == -1 && errno != ENOENT)
			rc = -1;
		free(old);
	}
	if (rc == 0 && (rc = shard_sql_sound(path, err, sizeof(err))) == -1)
		log_err("store %s: the index that came from the other node is refused: %s",
		    sh->dir, err);
	if (rc == -1) {
		e = errno;
		unlink(path);
		errno = e;
	}
	free(path);
	return rc;
}

/* index.db.new becomes index.db.  The old one's write-ahead log goes first: it must
 * never meet the new file.  A crash in between leaves the old file as of its last
 * checkpoint, which is consistent, and the seeding begins again. */
static int
index_swap(struct shard *sh)
{
	char *from = mem_printf("%s/index.db.new", sh->dir);
	char *to = mem_printf("%s/index.db", sh->dir);
	char *wal = mem_printf("%s/index.db-wal", sh->dir);
	char *shm = mem_printf("%s/index.db-shm", sh->dir);
	int rc = -1;

	if ((unlink(wal) == 0 || errno == ENOENT) && (unlink(shm) == 0 || errno == ENOENT) &&
	    rename(from, to) == 0)
		rc = fs_sync_dir(sh->dir);
	free(from);
	free(to);
	free(wal);
	free(shm);
	return rc;
}

int
shard_index_install(struct shard *sh, uint64_t lsn, int fd)
{
	char boot[BOOT_ID_SIZE], err[256];
	int rc = -1, e;

	shard_rollback(sh);
	if (boot_id(boot) == -1 || index_write(sh, fd) == -1 || index_check(sh) == -1)
		return -1;
	if (syncfs(sh->objects_fd) == -1) {
		e = errno;
		sh->lost = true;
		durable_lost(sh->dir, sh->checkpoint_lsn);
		errno = e;
		return -1;
	}
	/* Closing takes the old log into the old file, so that both are whole. */
	shard_sql_close(sh);
	/* A boot id that is not ours: until the next checkpoint everything from lsn on is
	 * taken as after a power cut, so unfinished objects get all their pieces. */
	/* Between the two the old number would promise too much of the new index. */
	if (durable_write(sh->dir, 0, SEEDED) == 0 && index_swap(sh) == 0 &&
	    durable_write(sh->dir, lsn, SEEDED) == 0 &&
	    (!sh->unfilled || index_filled(sh->dir) == 0)) {
		sh->unfilled = false;
		rc = 0;
	}
	e = errno;
	if (shard_sql_open(sh, err, sizeof(err)) == -1)
		log_fatal("store %s: cannot open the index after seeding: %s", sh->dir, err);
	if (durable_load(sh, err, sizeof(err)) == -1)
		log_fatal("store %s: %s", sh->dir, err);
	sh->nevents = sh->nready = 0;
	errno = e;
	return rc;
}

/* A copy of what can be read, which is what was committed; the old file and its log may
 * have holes on the disk that nobody can see. */
int
shard_index_rewrite(struct shard *sh, char *err, size_t errlen)
{
	char *name = mem_printf("%s/index.db.new", sh->dir);
	sqlite3_stmt *st = NULL;
	int fd = -1, rc = -1, e = 0;

	if ((unlink(name) == 0 || errno == ENOENT) &&
	    sqlite3_prepare_v2(sh->db, "VACUUM INTO ?", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_DONE && (fd = open(name, O_RDWR | O_CLOEXEC)) != -1 &&
	    fsync(fd) == 0)
		rc = 0;
	if (rc == -1) {
		e = fd != -1 ? errno : page_sum_met(sh->db) ? EBADMSG : sql_errno(sh->db);
		snprintf(err, errlen, "%s: cannot be written anew: %s", name,
		    fd == -1 ? sqlite3_errmsg(sh->db) : strerror(e));
	}
	sqlite3_finalize(st);
	if (fd != -1)
		close(fd);
	if (rc == 0) {
		shard_sql_close(sh);
		if ((rc = index_swap(sh)) == -1)
			snprintf(err, errlen, "%s: %s", name, strerror(errno));
		else
			rc = shard_sql_open(sh, err, errlen);
	} else {
		errno = e;
	}
	free(name);
	return rc;
}
