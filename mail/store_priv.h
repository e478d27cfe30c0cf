/* store_priv.h - the inside of a store, shared by the store*.c files only. */
#ifndef MAIL_STORE_PRIV_H
#define MAIL_STORE_PRIV_H

#include <event2/event.h>
#include <openssl/evp.h>
#include <sys/queue.h>

#include "owner.h"
#include "shard.h"
#include "shard_record.h"
#include "store_admin.h"

#define HASH_SLOTS 4096
#define WATCH_SLOTS 256
#define DEFAULT_BOXES 5
#define KNOWN_OBJECTS 64

enum change_kind {
	CHANGE_DELIVER, CHANGE_APPEND, CHANGE_FLAGS, CHANGE_EXPUNGE, CHANGE_COPY,
	CHANGE_SUBSCRIBE, CHANGE_PART_DROP, CHANGE_MERGE_ADD, CHANGE_MERGE_SET,
	CHANGE_STRUCTURE,		/* from here on: alone in the shard */
	CHANGE_CREATE = CHANGE_STRUCTURE, CHANGE_DELETE, CHANGE_RENAME, CHANGE_READY,
	CHANGE_MERGE_BOX,
};

struct upload {				/* the BLOB records of a large message */
	uint64_t at, size;
	uint8_t sha[32];
	EVP_MD_CTX *check;		/* what is read the second time must be the same */
};

/* One call of store.h on its way: held, or under way, or about to be told. */
struct change {
	TAILQ_ENTRY(change) all;
	TAILQ_ENTRY(change) queue;	/* held, or later */
	struct store_shard *ss;
	enum change_kind kind;
	bool forgotten;
	store_done_cb *done;
	void *arg;
	/* what is wanted */
	uint64_t user, box, to_box;
	uint64_t *users;
	size_t nusers;
	uint32_t flags;
	int64_t internal_s;
	uint8_t op;			/* flag op, only_deleted, move, subscribe on */
	int fd;				/* the message, from fd_at on */
	off_t fd_at;
	struct rec_range *ranges;
	size_t nranges;
	char *keywords, *name, *to_name, *special;
	uint8_t sha[32];		/* of the object whose pieces are dropped */
	struct store_merge *merge;	/* the merge that it is a part of, or NULL */
	size_t part, nparts;		/* which of its plan */
	uint64_t size;			/* MERGE_ADD: of the message */
	/* where it stands */
	bool started;
	bool undecided;			/* the caller was told so; counts in its shard */
	unsigned open;			/* records under way */
	struct upload *up;		/* while its pieces are under way */
	uint64_t *held_boxes;		/* volatile counters that it keeps alive */
	size_t nheld_boxes;
	uint64_t *held_users;
	size_t nheld_users;
	/* how it ended */
	enum mail_rc rc;
	uint64_t gen, lsn;
	uint8_t copies;
	uint32_t uidvalidity;
	uint32_t *src, *dst;
	size_t nsrc, ndst;
};
TAILQ_HEAD(change_list, change);

struct token {				/* a record under way, or applied and not committed */
	TAILQ_ENTRY(token) next;	/* of its slot, or of ss->applied */
	uint64_t token;
	struct change *c;
	enum mail_rc rc;
};
TAILQ_HEAD(token_list, token);

struct vbox {				/* a mailbox with proposals under way */
	TAILQ_ENTRY(vbox) next;
	uint64_t box;
	uint32_t uidnext;
	unsigned holds;
};
struct vuser {				/* a user whose first mailboxes are under way */
	TAILQ_ENTRY(vuser) next;
	uint64_t user;
	unsigned holds;
	struct rec_box boxes[DEFAULT_BOXES];
};
struct store_watch {
	LIST_ENTRY(store_watch) next;
	struct store_shard *ss;
	uint64_t box;
	void (*cb)(void *, const struct store_event *);
	void *arg;
	bool dead;			/* freed from inside a callback */
};

struct store_shard {
	struct store *st;
	struct shard *sh;
	uint16_t n, log_no;
	bool dirty;			/* has an open transaction */
	/* proposing */
	uint64_t modseq;		/* the newest given */
	uint32_t uidvalidity;
	TAILQ_HEAD(, vbox) vboxes[64];
	TAILQ_HEAD(, vuser) vusers;
	unsigned running;		/* changes under way */
	bool structure;			/* one of them changes the structure */
	unsigned undecided;		/* of running: their callers are gone */
	struct change_list held;
	struct token_list applied;	/* wait for the commit */
	/* a failure to apply */
	bool stopped;			/* records are not applied until the stream is anew */
	bool degraded;			/* until need_lsn is applied */
	enum mail_rc degraded_rc;
	uint64_t need_lsn, seen_lsn;
	int retry_ms;
	struct event *retry;
	LIST_HEAD(, store_watch) watches[WATCH_SLOTS];
	size_t nwatches;
	uint64_t part_until;		/* 0, or what is unfinished up to here may go */
	int64_t part_since;		/* when this wait has lasted */
	struct store_merge *merge;	/* or NULL */
	unsigned job;			/* jobs under way on this shard, */
	unsigned verifying;		/* and those that only look, and may take hours */
	struct verifying *asked;	/* by syncd; or NULL */
	int index_fd;			/* an index that waits for the job to end, or -1 */
	uint64_t index_lsn;
};

struct mending;
struct shard_job;
struct store_jobs;
struct store_merge;
struct store {
	struct event_base *base;
	struct store_conf conf;
	struct store_hooks hooks;
	void *hooks_arg;
	struct owner *owner;
	struct store_shard **shards;
	size_t nshards;
	struct token_list tokens[HASH_SLOTS];
	struct change_list all, later;
	size_t nall;
	struct event *later_ev, *tick;
	int64_t free_at;		/* when the free space was looked at */
	bool low;
	unsigned calling;		/* watches are being called */
	bool dead_watches;
	struct store_jobs *jobs;
	int64_t checkpoint_at;
	uint8_t known[KNOWN_OBJECTS][32];	/* the newest that were found good */
	unsigned known_next;
	uint64_t known_stamp[KNOWN_OBJECTS];
	int64_t known_until[KNOWN_OBJECTS];	/* then it is compared again */
	TAILQ_HEAD(mending_list, mending) mending;
	size_t nmending;
	struct event *mend_ev;
	uint64_t mended, unmended;	/* objects, since the start */
};

/* ---- store.c ---- */
struct store_shard *store_find(const struct store *, uint16_t n);
bool store_low_space(struct store *);

/* ---- store_change.c ---- */
struct change *change_new(struct store *, uint16_t shard, enum change_kind, store_done_cb *,
    void *arg);
void change_submit(struct change *);
void change_end(struct change *, enum mail_rc);	/* told later, from the loop */
void change_propose(struct change *, uint8_t type, const struct span *parts, size_t n);
struct token *token_take(struct store *, uint64_t token);
void token_end(struct token *, enum mail_rc);
void change_undecided(struct store *, uint64_t token);
void shard_pump(struct store_shard *);
void changes_drop_held(struct store_shard *, enum mail_rc);
void changes_free(struct store *);
void change_outcome(struct change *, const struct owner_record *,
    const struct shard_outcome *);

/* ---- store_counter.c ---- */
uint64_t counter_modseq(struct store_shard *);
uint32_t counter_uidvalidity(struct store_shard *);
uint32_t counter_uid(struct change *, uint64_t box, uint32_t applied_uidnext);
/* Finds the INBOX: 0 with *box; or the mailboxes to create along (borrowed). */
enum mail_rc counter_inbox(struct change *, uint64_t user, struct store_box *,
    const struct rec_box **make);
void counter_box(struct store_shard *, struct rec_box *, uint64_t user, const char *name,
    const char *special, bool subscribe);
void counter_release(struct change *);
void counters_free(struct store_shard *);

/* ---- starting; each proposes at least one record, or returns how it ended: not OK
 * or with c->open == 0 ---- */
enum mail_rc mail_start(struct change *);
void mail_upload_next(struct change *);
enum mail_rc flags_start(struct change *);
enum mail_rc copy_start(struct change *);
enum mail_rc box_start(struct change *);
enum mail_rc part_start(struct change *);

/* ---- store_merge.c ---- */
void store_merge_begin(struct store_shard *, const struct owner_merge *);
void store_merge_planned(struct store_shard *, struct shard_job *);
void store_merge_free(struct store_shard *);
enum mail_rc merge_start(struct change *);
/* MERGE_ADD: the row of its message; *head gets what goes before the record's body. */
enum mail_rc merge_entry(struct change *, struct rec_entry *, struct wire_out *head);

/* ---- store_part.c ---- */
void part_tidy(struct store_shard *, int64_t now_ms);

/* ---- store_watch.c ---- */
void watch_tell(struct store_shard *);

/* ---- store_mend.c ---- */
void mends_init(struct store *);
void mends_free(struct store *);
void mends_forget(struct store *, const void *arg);
void mends_tick(struct store *, int64_t now_ms);
/* What syncd answered; fd is owned. */
void mend_answer(struct store_shard *, const uint8_t sha[32], enum owner_mend, int fd);
/* The end of job_mend(). */
void mend_placed(struct store_shard *, const uint8_t sha[32], bool ok, const char *error);

/* ---- store_verify.c ---- */
struct shard_job;
void verify_begin(struct store_shard *, const struct owner_verify *);
void verify_stop(struct store_shard *);
void verify_looked(struct store_shard *, struct shard_job *);	/* the job has ended */
void verify_tick(struct store_shard *);
void verify_free(struct store_shard *);

/* ---- store_job.c ---- */
struct store_jobs *jobs_new(struct store *);
void jobs_free(struct store_jobs *);
/* Ends the process when a sync of the shard has failed. */
void store_trusts(const struct store_shard *);
void jobs_checkpoint(struct store *);		/* those shards that moved */
void job_owner_snapshot(struct store_shard *);
void job_object_wanted(struct store_shard *, const uint8_t sha[32]);
void job_object_offered(struct store_shard *, const uint8_t sha[32], int fd);
void job_index_offered(struct store_shard *, uint64_t lsn, int fd);
/* Puts the object in fd, owned, in place; mend_placed() follows.  -1: it does not. */
int job_mend(struct store_shard *, const uint8_t sha[32], int fd);
void job_changes(struct store_shard *, uint64_t fork, bool whole, int tail_fd);
/* The descriptors and the stamp stay the caller's until store_merge_planned(). */
int job_merge(struct store_shard *, const struct owner_merge *);
/* verify_looked() follows, until which the job may be looked at; NULL: it does not. */
struct shard_job *job_verify(struct store_shard *, uint64_t rate);
void job_verify_stop(struct store_shard *);
/* Asked once a second: does what is being verified now get further? */
bool jobs_verify_moves(struct store *);

#endif
