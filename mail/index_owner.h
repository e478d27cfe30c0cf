/* index_owner.h - the dealings with syncd of a process that owns one index_db (the
 * directory, the queue): how far it has applied, checkpoints by time and by number of
 * records, seeding.  What a record does, and who waits for it, is the process's own.
 *
 * Records and their answers do not pass here; nothing here fails but with a log line. */
#ifndef MAIL_INDEX_OWNER_H
#define MAIL_INDEX_OWNER_H

#include <stdint.h>

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
	uint64_t records;		/* applied since the last checkpoint: the owner counts */
};

/* Attaches the shard, from where its file is on.  The fields up to conf are set. */
void index_owner_start(struct index_owner *, struct event_base *);
void index_owner_stop(struct index_owner *);	/* before the base is freed */
/* At the end of a batch: commits, and says how far. */
void index_owner_applied(struct index_owner *);
/* A checkpoint, when checkpoint-records have come since the last. */
void index_owner_checkpoint(struct index_owner *);

/* The answers to owner_ops.snapshot and .index_offered (fd is closed). */
void index_owner_snapshot(struct index_owner *);
void index_owner_offered(struct index_owner *, uint64_t lsn, int fd);

#endif
