/* store.h - the mailboxes of the shards that this worker owns.
 *
 * Reads come straight from the shard's index and show committed data only.  Every
 * change is proposed to the log; done() is called when the record is committed AND
 * applied here, or when it is refused; never from inside the call.  Several changes
 * may be under way at once; they are applied in the order of the calls.  When a
 * session goes away it calls store_forget() with its arg, and no done() comes any
 * more (the change itself still happens). */
#ifndef MAIL_STORE_H
#define MAIL_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "mailipc.h"
#include "span.h"

struct event_base;
struct store;

/* System flags as bits; keywords are a sorted, space-separated atom list. */
enum { FLAG_SEEN = 1, FLAG_ANSWERED = 2, FLAG_FLAGGED = 4, FLAG_DELETED = 8, FLAG_DRAFT = 16 };
#define STORE_KEYWORDS_MAX 1000		/* bytes of keywords of one message */
#define STORE_NAME_MAX 1000		/* bytes of a mailbox name, UTF-8, '/' separates */

struct store_msg {
	uint32_t uid;
	uint32_t flags;
	uint64_t modseq;
	uint64_t size;			/* bytes of the object */
	int64_t internal_s;		/* INTERNALDATE, seconds since 1970 */
	uint8_t sha[32];		/* names the object */
	uint8_t guid[16];		/* POP3 UIDL, hex */
	char *keywords;			/* NULL = none */
};

struct store_box {			/* facts of a mailbox */
	uint64_t id;
	char name[STORE_NAME_MAX + 1];	/* "INBOX", "Sent", "Work/2024"; UTF-8 */
	uint32_t uidvalidity, uidnext, exists, unseen, recent;
	uint32_t uid_free;		/* what the next message gets; above uidnext while a merge
					 * still brings messages that keep lower ones */
	uint64_t modseq;		/* HIGHESTMODSEQ */
	bool subscribed, noselect;
	char special[16];		/* "\\Sent" and so on, or "" (RFC 6154) */
};

struct store_result {
	enum mail_rc rc;
	uint64_t gen, lsn;
	uint8_t copies;
	uint32_t uidvalidity;		/* APPEND, COPY, MOVE: of the target (RFC 4315) */
	const uint32_t *src_uids, *dst_uids;	/* n pairs; src_uids NULL for APPEND */
	size_t n;
};
typedef void store_done_cb(void *arg, const struct store_result *);

/* An ordered set of UIDs: n inclusive ranges. */
struct store_uids { const struct { uint32_t lo, hi; } *r; size_t n; };

/* ---- reading (synchronous); each() must not call the function that calls it ---- */
/* MAIL_OK, MAIL_UNKNOWN (no such mailbox), MAIL_TEMP.  INBOX always exists for a
 * known user and is found whatever its case. */
enum mail_rc store_box_by_name(struct store *, uint16_t shard, uint64_t user, const char *name,
    struct store_box *);
enum mail_rc store_box_by_id(struct store *, uint16_t shard, uint64_t box, struct store_box *);
/* Calls each() in name order, also for parents that only exist because of children
 * (noselect).  subscribed_only: what LSUB lists, even when the mailbox is gone. */
enum mail_rc store_box_list(struct store *, uint16_t shard, uint64_t user, bool subscribed_only,
    void (*each)(const struct store_box *, void *), void *arg);
/* Messages with uid >= from_uid and modseq > since, in UID order. */
enum mail_rc store_messages(struct store *, uint16_t shard, uint64_t box, uint32_t from_uid,
    uint64_t since_modseq, void (*each)(const struct store_msg *, void *), void *arg);
enum mail_rc store_message(struct store *, uint16_t shard, uint64_t box, uint32_t uid,
    struct store_msg *);		/* keywords freed by the caller */
/* Opens the object for reading; -1 with errno.  The bytes are CRLF lines. */
int store_object_open(struct store *, uint16_t shard, const uint8_t sha[32]);
/* For an object that is missing or not what its name says: it is got from the other node,
 * compared, and put in place durably.  done() as with a change: MAIL_OK, then it can be
 * opened, or MAIL_TEMP after at most mend_ms. */
void store_mend(struct store *, uint16_t shard, const uint8_t sha[32], store_done_cb *,
    void *arg);
/* Were the bytes of this object compared with their name lately, and is the file the same
 * since (stamp: of its inode and times)?  object_map asks, so that a client which reads a
 * message piece by piece does not have it hashed for each. */
bool store_object_known(const struct store *, const uint8_t sha[32], uint64_t stamp);
void store_object_good(struct store *, const uint8_t sha[32], uint64_t stamp);

/* ---- watching: what a selected mailbox hears, after the change is applied ---- */
struct store_watch;
struct store_event {
	enum { STORE_NEW, STORE_FLAGS, STORE_GONE, STORE_BOX_DELETED } what;
	uint32_t uid;
	const struct store_msg *msg;	/* NEW, FLAGS */
	const void *origin;		/* the arg of the change's caller, or NULL */
};
struct store_watch *store_watch_new(struct store *, uint16_t shard, uint64_t box,
    void (*cb)(void *arg, const struct store_event *), void *arg);
void store_watch_free(struct store_watch *);

/* ---- changing (asynchronous) ---- */
/* Delivery into the INBOXes of users of one shard; fd is borrowed during the call. */
void store_deliver(struct store *, uint16_t shard, const uint64_t *users, size_t n, int fd,
    store_done_cb *, void *arg);
/* APPEND: the whole message in fd (borrowed during the call, read from its start). */
void store_append(struct store *, uint16_t shard, uint64_t user, uint64_t box, uint32_t flags,
    const char *keywords, int64_t internal_s, int fd, store_done_cb *, void *arg);
enum store_flag_op { STORE_FLAGS_SET, STORE_FLAGS_ADD, STORE_FLAGS_REMOVE };
void store_flags(struct store *, uint16_t shard, uint64_t box, const struct store_uids *,
    enum store_flag_op, uint32_t flags, const char *keywords, store_done_cb *, void *arg);
/* Removes those of the set that carry \Deleted (only_deleted) or all of them. */
void store_expunge(struct store *, uint16_t shard, uint64_t box, const struct store_uids *,
    bool only_deleted, store_done_cb *, void *arg);
void store_copy(struct store *, uint16_t shard, uint64_t box, const struct store_uids *,
    uint64_t to_box, bool move, store_done_cb *, void *arg);
void store_box_create(struct store *, uint16_t shard, uint64_t user, const char *name,
    const char *special, store_done_cb *, void *arg);
void store_box_delete(struct store *, uint16_t shard, uint64_t user, const char *name,
    store_done_cb *, void *arg);
/* RFC 3501 6.3.5: children move along; renaming INBOX moves its messages. */
void store_box_rename(struct store *, uint16_t shard, uint64_t user, const char *from,
    const char *to, store_done_cb *, void *arg);
void store_box_subscribe(struct store *, uint16_t shard, uint64_t user, const char *name,
    bool on, store_done_cb *, void *arg);
void store_forget(struct store *, const void *arg);

#endif
