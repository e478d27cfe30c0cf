/* index_owner.h - the dealings with syncd of a process that owns one index_db (the
 * directory, the queue): how far it has applied, checkpoints by time and by number of
 * records, seeding.  What a record does, and who waits for it, is the process's own.
 *
 * When the file cannot take a record (full disk, I/O error), everything after its last
 * commit is asked for again 1 to 30 seconds later, for ever; syncd keeps the log.  What a
 * record's answer then is, the process says (why). */
#ifndef MAIL_INDEX_OWNER_H
#define MAIL_INDEX_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "mailipc.h"

struct event;
struct event_base;
struct index_db;
struct maild_conf;
struct owner;

struct index_owner {
	const char *name;		/* in log lines */
	uint16_t shard;
	struct index_db *db;		/* borrowed, as all here */
	struct owner *owner;
	const struct maild_conf *conf;
	struct event *timer;
	enum mail_rc why;		/* not MAIL_OK: it lags behind what was delivered */
	/* private */
	struct event *retry;
	bool stopped;			/* until the retry */
	int retry_ms;
	uint64_t records;		/* since the last checkpoint */
	uint64_t seen, need;		/* newest LSN delivered; to be applied before all is well */
	struct event_base *base;
	struct index_verify *verify;	/* under way; or NULL */
	uint32_t run;			/* of it */
};

/* Attaches the shard, from where its file is on.  The fields up to conf are set. */
void index_owner_start(struct index_owner *, struct event_base *);
void index_owner_stop(struct index_owner *);	/* before the base is freed */
/* After each record: it was given to the file. */
void index_owner_record(struct index_owner *, uint64_t lsn);
/* At the end of a batch: commits, and says how far.  When that fails, why is set. */
void index_owner_applied(struct index_owner *);
/* A checkpoint, when checkpoint-records have come since the last. */
void index_owner_checkpoint(struct index_owner *);

/* The answers to owner_ops.snapshot and .index_offered (fd is closed). */
void index_owner_snapshot(struct index_owner *);
void index_owner_offered(struct index_owner *, uint64_t lsn, int fd);
/* owner_ops.verify and .verify_stop */
void index_owner_verify(struct index_owner *, uint32_t run);
void index_owner_verify_stop(struct index_owner *);

#endif
