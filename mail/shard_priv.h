/* shard_priv.h - the inside of a shard, shared by the shard_*.c files only. */
#ifndef MAIL_SHARD_PRIV_H
#define MAIL_SHARD_PRIV_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "shard.h"
#include "shard_record.h"

enum shard_write {		/* statements of the applying connection */
	W_BEGIN, W_COMMIT, W_ROLLBACK, W_STATE_SET,
	W_BOX_GET, W_BOX_FIND, W_BOX_ADD, W_BOX_SET, W_BOX_KILL, W_BOX_NAME, W_BOX_UNDER,
	W_MSG_ADD, W_MSG_NEXT, W_MSG_FLAGS, W_MSG_DEL,
	W_TOMB_ADD, W_TOMB_GET,
	W_OBJ_GET, W_OBJ_REF, W_OBJ_UNREF, W_OBJ_DEAD, W_OBJ_DEL,
	W_PART_SET, W_PART_DEL, W_PART_FIRST,
	W_SUB_ADD, W_SUB_DEL, W_MISSING_ADD, W_MISSING_DEL, W_MISSING_GONE,
	W_BOX_DEAD, W_BOX_REAPED, W_REUSE_UIDS,
	W_BOX_IS, W_BOX_GUID, W_BOX_RENUMBER, W_BOX_RESERVE, W_MSG_LATER,
	W_MERGED_GET, W_MERGED_ADD, W_MERGED_OLD,
	W_COUNT,
};
enum shard_readq {		/* of the reading connection */
	R_BOX_NAME, R_BOX_ID, R_BOX_GUID, R_BOX_LIST, R_SUB_LIST, R_CHILD,
	R_MSGS, R_MSGS_SINCE, R_MSG, R_UIDS, R_BOX_COUNT,
	R_COUNT,
};

struct shard_state {		/* the row of table state */
	uint64_t applied_lsn, modseq, gen_no, gap_gen;
	uint32_t uidvalidity;
	uint8_t gen_kind, gen_node;
	int64_t last_ms;
};

struct shard_uids {		/* of the outcome */
	uint32_t *v;
	size_t n, cap;
};

struct shard {
	char *dir;
	int objects_fd;			/* of dir/objects */
	sqlite3 *db, *rd;
	sqlite3_stmt *w[W_COUNT], *r[R_COUNT];	/* NULL: not needed so far */
	struct shard_state now;		/* inside the open transaction */
	struct shard_state committed;
	bool open;			/* a transaction is open */
	bool reuse_uids;		/* planned mistake of tests/fault */
	/* after a power cut: records up to recover_until only mend objects */
	uint64_t checkpoint_lsn, recover_until;
	bool recovering;
	bool unfilled;			/* its index is lost: it waits for one from the peer */
	bool lost;			/* a sync has failed: nothing more is promised */
	bool suspect;			/* of an earlier process one has: no file since the
					 * checkpoint is believed, all are written anew */
	uint8_t good[32];		/* the object that was verified last, recovering */
	struct shard_event *events;
	size_t nevents, nready, events_cap;	/* nready are committed */
	struct shard_uids src, dst;
};

/* ---- shard_sql.c ---- */
/* A statement, ready to be run; NULL with errno. */
sqlite3_stmt *shard_w(struct shard *, enum shard_write);
sqlite3_stmt *shard_r(struct shard *, enum shard_readq);
/* Binds by fmt (i = int64_t, t = text, T = span, b = 32 bytes, g = 16 bytes) and makes
 * one step: 1 = a row (the caller ends with sqlite3_reset), 0 = done, -1 with errno, also
 * for the NULL of the two above. */
int sql_run(sqlite3_stmt *, const char *fmt, ...);
int sql_errno(sqlite3 *);
/* A new, empty index that is closed again; nothing is synced. */
int shard_sql_make(const char *path, char *err, size_t errlen);
int shard_sql_open(struct shard *, char *err, size_t errlen);
void shard_sql_close(struct shard *);
/* Could the index at path take a shard's place?  0; or -1 with
 * errno EBADMSG and a message in err: damaged, of a format to come, or of something else. */
int shard_sql_sound(const char *path, char *err, size_t errlen);
int shard_state_load(struct shard *);
/* Of a failed checkpoint: was it a sync that failed? */
bool sql_sync_failed(sqlite3 *);
/* Opens index.db of dir once more, for a job. */
sqlite3 *shard_sql_extra(const char *dir, bool readonly);

/* ---- shard_object.c ---- */
void object_name(const uint8_t sha[32], char name[72]);	/* ab/<sha> */
int object_put(struct shard *, const uint8_t sha[32], struct span content);
/* Is the object in place, and does it have this hash (and size, unless UINT64_MAX)?  1 = it
 * is, 0 = it is not, -1 = it cannot be opened now (no memory, no descriptor, EIO): a reason
 * to try again, not to take it for lost.  object_good(): the first only. */
int object_check(int objects_fd, const uint8_t sha[32], uint64_t size);
bool object_good(int objects_fd, const uint8_t sha[32], uint64_t size);
int object_part_write(struct shard *, const struct rec_blob *);
/* Makes the object of its finished part.  0; 1 = the part is not what it should be; -1. */
int object_part_finish(struct shard *, const uint8_t sha[32], uint64_t size);
int object_part_unlink(struct shard *, const uint8_t sha[32]);
int object_unlink(struct shard *, const uint8_t sha[32]);
int object_dirs_make(const char *dir, int *objects_fd);
/* Puts the object in fd in place of a missing or damaged one, durably, from any thread
 * but one at a time.  -1 with errno: EBADMSG, it is not what it is called. */
int object_mend(int objects_fd, const uint8_t sha[32], int fd);

/* ---- shard_apply.c ---- */
struct box_row {
	uint64_t id, user, modseq, gap_gen, digest;
	uint32_t uidvalidity, uidnext, exists, unseen;
	uint32_t reserve;		/* UIDs below are only for what a merge brings */
};
struct msg_row {
	uint32_t uid, flags;
	uint64_t modseq, size;
	int64_t internal_s;
	uint8_t sha[32], guid[16];
	char keywords[STORE_KEYWORDS_MAX + 1];
};
/* 1 = there, 0 = not, -1 = failed */
int box_get(struct shard *, uint64_t id, struct box_row *);
int box_set(struct shard *, const struct box_row *);
int msg_next(struct shard *, uint64_t box, uint32_t from, struct msg_row *);
/* Adds the message under m->uid, or a higher one when that was given before (which is
 * a mistake of the proposer, said in the log); m->uid is what it got. */
int msg_add(struct shard *, struct box_row *, struct msg_row *, const void *origin);
/* Sets or changes its flags and keywords. */
int msg_flags(struct shard *, const struct rec_flags *, struct box_row *, struct msg_row *,
    const void *origin);
/* Puts the bytes of the message in place, from the record or from its pieces. */
int mail_object(struct shard *, struct rec_mail *, uint64_t lsn);
/* Removes it, leaving a tombstone. */
int msg_gone(struct shard *, struct box_row *, const struct msg_row *, uint64_t modseq,
    const struct owner_record *, const void *origin);
/* One message less has the object; nobody misses what no message has. */
int object_unref(struct shard *, uint64_t lsn, int64_t ms, const uint8_t sha[32]);
void modseq_used(struct shard *, uint64_t);
uint64_t msg_digest(const struct msg_row *);
void shard_event(struct shard *, int what, uint64_t box, uint32_t uid, const void *origin);
void outcome_uids(struct shard_uids *, uint32_t);

/* ---- shard_apply_box.c ---- */
int apply_create_box(struct shard *, const struct rec_box *, const struct owner_record *,
    uint64_t *id);
int apply_box_record(struct shard *, const struct owner_record *, const void *origin,
    struct shard_outcome *);

/* ---- shard_apply_merge.c ---- */
int apply_merge_record(struct shard *, const struct owner_record *, const void *origin,
    struct shard_outcome *);

struct shard_job;
/* ---- shard_verify.c, shard_snapshot.c: -1 with errno, or with a text in the job ---- */
int shard_verify_run(struct shard_job *);
int shard_snapshot_run(struct shard_job *);
/* ---- shard_merge.c: the same ---- */
int shard_changes_run(struct shard_job *);
int shard_merge_run(struct shard_job *);

/* ---- shard_checkpoint.c ---- */
int durable_make(const char *dir, bool suspect);	/* the file of a new shard; not synced */
int durable_load(struct shard *, char *err, size_t errlen);
/* Up to which LSN a shard folder was made durable; 0: it holds no such file. */
int durable_known(const char *dir, uint64_t *lsn, bool *suspect);
/* A sync failed.  Says so to the process that comes after this one. */
void durable_lost(const char *dir, uint64_t lsn);
/* After durable_load() found that: the index as a new file, durable. */
int shard_index_rewrite(struct shard *, char *err, size_t errlen);

#endif
