/* shard_job.h - what takes long on a shard: checkpoint, snapshot, verify.  A job is
 * prepared and ended on the owner's thread; shard_job_run() in between may run on
 * another one: it uses a connection and descriptors of its own. */
#ifndef MAIL_SHARD_JOB_H
#define MAIL_SHARD_JOB_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct merge_plan;
struct shard;

enum shard_job_kind {
	SHARD_CHECKPOINT, SHARD_SNAPSHOT, SHARD_STAT, SHARD_MEND,
	SHARD_CHANGES, SHARD_MERGE,
	SHARD_VERIFY,			/* the only one that may take hours */
};
struct shard_job {
	enum shard_job_kind kind;
	char *dir;
	int objects_fd;
	bool ok;
	bool lost;			/* CHECKPOINT: a sync failed, see shard_lost() */
	bool recovering;		/* CHECKPOINT: objects were being looked through */
	bool idle;			/* CHECKPOINT: seeded at a record behind its index's last */
	uint64_t before;		/* the checkpoint that stands */
	char error[200];
	uint64_t lsn;			/* CHECKPOINT, SNAPSHOT: what it holds */
	int index_fd, list_fd;		/* SNAPSHOT; taken by the caller or closed */
	json_t *report;			/* VERIFY, STAT */
	uint8_t sha[32];		/* MEND: the object in from_fd, owned, is put in place */
	int from_fd;
	/* CHANGES, MERGE: what syncd asked for (owner.h); set by the caller, borrowed */
	uint16_t shard;
	uint64_t fork;
	bool whole;
	const char *stamp;
	int tail_fd, theirs_fd;
	int changes_fd;			/* CHANGES; taken by the caller or closed */
	struct merge_plan *plan;	/* MERGE; taken by the caller or freed */
	/* VERIFY; rate: bytes of objects read in a second, 0: without a limit */
	uint64_t rate;
	atomic_bool stop;		/* from any thread: it ends soon, and is not ok */
	_Atomic uint64_t done, of;	/* bytes of objects */
	_Atomic uint64_t steps;		/* grows while the index is looked through */
	bool index_bad;			/* index.db is damaged, or its rows contradict each other */
	uint8_t (*bad_objects)[32];	/* missing or damaged, at most SHARD_BAD_OBJECTS */
	size_t nbad_objects;
};
#define SHARD_BAD_OBJECTS 100000
/* NULL with errno when it cannot begin (a transaction is open, no descriptor). */
struct shard_job *shard_job_new(struct shard *, enum shard_job_kind);
void shard_job_run(struct shard_job *);
/* Takes over what the job found; a checkpoint that went well is known from here on. */
void shard_job_end(struct shard *, struct shard_job *);
void shard_job_free(struct shard_job *);

#endif
