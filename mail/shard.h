/* shard.h - one store shard: a directory with index.db and objects/, and the
 * function that turns committed records into its state.
 *
 * The state is a function of the records: applying the same ones in any batching, on
 * either node, gives the same rows.  Records at or below the applied LSN change
 * nothing.  What failed to apply (full disk) is rolled back whole; the records come
 * again from the log and nothing is skipped.  Reads see committed transactions only.
 * One thread uses a shard; shard_job.h is for what takes long. */
#ifndef MAIL_SHARD_H
#define MAIL_SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "gen.h"
#include "owner.h"
#include "store.h"

struct shard;

#define SHARD_UID_GAP 65536u	/* first write to a mailbox after a takeover without release */

/* Makes those shards that are not there yet, all at once: quicker than one by one. */
int shards_make(char *const *dirs, size_t n, char *err, size_t errlen);
/* What is left of a damaged index is kept, and the shard waits for one of the peer
 * (index_aside.h); -1 with errno. */
int shard_set_aside(const char *dir, const char *why);
/* Opens dir, making what is missing; NULL with errno (EBADMSG: its index is damaged) and a
 * message in err. */
struct shard *shard_open(const char *dir, char *err, size_t errlen);
void shard_close(struct shard *);
const char *shard_dir(const struct shard *);

struct shard_facts {		/* as of the last commit */
	uint64_t applied_lsn, modseq, gen_no, gap_gen;
	uint32_t uidvalidity;	/* the newest given */
	uint8_t gen_kind, gen_node;
	int64_t last_ms;
	uint64_t checkpoint_lsn;
	bool recovering;	/* the machine went down: objects are being looked through */
};
void shard_facts(const struct shard *, struct shard_facts *);
/* Where the stream of records has to begin; OWNER_FROM_LOST: its index is lost
 * (index_aside.h). */
uint64_t shard_attach_from(const struct shard *);

/* ---- applying ---- */
struct shard_event {		/* for watches, once committed */
	uint8_t what;		/* STORE_NEW, STORE_FLAGS, STORE_GONE, STORE_BOX_DELETED */
	uint32_t uid;
	uint64_t box;
	const void *origin;
};
struct shard_outcome {		/* what became of one record; valid until the next one */
	enum mail_rc rc;
	uint32_t uidvalidity;
	const uint32_t *src, *dst;
	size_t n;
};
/* 0, or -1 with errno after which the caller must shard_rollback(). */
int shard_apply(struct shard *, const struct owner_record *, const void *origin,
    struct shard_outcome *);
int shard_commit(struct shard *);	/* -1: rolled back */
void shard_rollback(struct shard *);
/* Events of the transactions committed since the last clear. */
size_t shard_events(const struct shard *, const struct shard_event **);
void shard_events_clear(struct shard *);
/* Removes at most max things whose time has come: objects that no row needs since
 * undelete_ms and a checkpoint, rows of deleted mailboxes.
 * Returns how many, -1 on failure. */
int shard_reap(struct shard *, int64_t now_ms, int64_t undelete_ms, unsigned max);

/* The unfinished object whose pieces began first, which holds the checkpoint back: 1 =
 * there is one, 0 = none, -1 = cannot say. */
struct shard_part { uint8_t sha[32]; uint64_t first_lsn; };
int shard_part_first(struct shard *, struct shard_part *);

/* Under a load that never pauses the checkpoint job cannot begin the write-ahead log
 * anew; this does, between two batches, when it is longer than max bytes. */
void shard_wal_trim(struct shard *, uint64_t max);

/* A sync has failed, in a job, in shard_wal_trim() or in shard_index_install(): the kernel
 * may have given up what it was to keep, and would say that the next one went well.  So the
 * process has to end.  The shard has noted it, and when it is opened next, it writes
 * everything since the checkpoint anew. */
bool shard_lost(const struct shard *);

/* ---- reading; the semantics of store.h ---- */
enum mail_rc shard_box_by_name(struct shard *, uint64_t user, const char *name,
    struct store_box *);
enum mail_rc shard_box_by_id(struct shard *, uint64_t box, struct store_box *);
enum mail_rc shard_box_by_guid(struct shard *, const uint8_t guid[16], struct store_box *);
enum mail_rc shard_box_list(struct shard *, uint64_t user, bool subscribed_only,
    void (*each)(const struct store_box *, void *), void *arg);
enum mail_rc shard_messages(struct shard *, uint64_t box, uint32_t from_uid,
    uint64_t since_modseq, void (*each)(const struct store_msg *, void *), void *arg);
enum mail_rc shard_message(struct shard *, uint64_t box, uint32_t uid, struct store_msg *);
int shard_object_open(struct shard *, const uint8_t sha[32]);
/* For proposing: the owner of a mailbox, and whether a name (or a child) exists. */
enum mail_rc shard_box_user(struct shard *, uint64_t box, uint64_t *user);
enum mail_rc shard_uids(struct shard *, uint64_t box, uint32_t lo, uint32_t hi,
    void (*each)(uint32_t uid, void *), void *arg);
enum mail_rc shard_box_count(struct shard *, uint64_t user, uint64_t *n);
bool shard_box_children(struct shard *, uint64_t user, const char *name);
/* INBOX whatever its case, also as the first part; false: not a mailbox name. */
bool shard_name_clean(const char *name, char clean[STORE_NAME_MAX + 1]);

/* ---- seeding ---- */
/* 1 = here and whole, 0 = not, -1 = cannot say. */
int shard_object_have(struct shard *, const uint8_t sha[32]);
int shard_object_install(struct shard *, const uint8_t sha[32], int fd);
/* Replaces the index by the one in fd, which needs records after lsn; durable.
 * On failure the old one is open as before; EBADMSG: the one in fd is damaged, of a format
 * to come, or not an index of a shard. */
int shard_index_install(struct shard *, uint64_t lsn, int fd);

/* All rows as text in a fixed order, for tests and digests. */
int shard_dump(struct shard *, void (*line)(const char *, void *), void *arg);

#endif
