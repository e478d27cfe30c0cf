/* dir_shard.h - the directory shard: domains, users, aliases in one SQLite file, a
 * function of the log's records.  Lookups see everything applied so far.
 *
 * Addresses are stored and looked up in lower case (address_fold).  What a
 * failing disk does is in index_db.h: a lookup that found nothing, or not all, is an
 * answer only when index_db_failures() has not grown. */
#ifndef MAIL_DIR_SHARD_H
#define MAIL_DIR_SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "mailipc.h"
#include "owner.h"
#include "wire.h"

#define DIR_HASH_MAX 384		/* a crypt(3) hash; longest is 383 */

struct dir_shard;
struct index_db;

enum dir_record {			/* payloads in wire.h terms */
	DIR_DOMAIN_ADD = 1,		/* str name */
	DIR_DOMAIN_DELETE,		/* str name; refused while addresses are in it */
	DIR_USER_ADD,			/* u64 id, u16 shard, str address, str hash */
	DIR_USER_PASSWORD,		/* str address, str hash */
	DIR_USER_SUSPEND,		/* str address, u8 on */
	DIR_USER_DELETE,		/* str address */
	DIR_ALIAS_ADD,			/* str address, u16 n x str target */
	DIR_ALIAS_DELETE,		/* str address, u16 n x str target; n = 0: all */
	DIR_LAYOUT,			/* u16 shards; only the first counts */
	DIR_ID_GONE,			/* u64 id: of a user who is no more; never given again */
};

struct dir_user {
	uint64_t id;
	uint16_t shard;
	bool suspended;
	int64_t created_ms;
	char address[ADDRESS_MAX + 1];
	char hash[DIR_HASH_MAX];
};

/* dir: shards/directory.  Makes index.db where it is missing. */
struct dir_shard *dir_shard_open(const char *dir);
void dir_shard_close(struct dir_shard *);
/* Its file: how far it is applied, commit, checkpoint, seeding. */
struct index_db *dir_shard_index(struct dir_shard *);
/* MAIL_OK, MAIL_EXISTS, MAIL_UNKNOWN (nothing to change), MAIL_BAD (malformed; skipped).
 * Changes are kept by the next index_db_commit(). */
enum mail_rc dir_shard_apply(struct dir_shard *, const struct owner_record *);
/* What apply would answer now; nothing is kept. */
enum mail_rc dir_shard_try(struct dir_shard *, enum dir_record, struct span payload);

/* The number of shards of the pair; 0: no record said it yet. */
unsigned dir_shard_layout(struct dir_shard *);

/* The id for a user that is made now: never one that somebody has, or had. */
uint64_t dir_shard_new_id(struct dir_shard *, const char *address);

bool dir_shard_domain(struct dir_shard *, const char *name);
bool dir_shard_user(struct dir_shard *, const char *address, struct dir_user *);
/* The user made first in a domain: who reads postmaster's mail. */
bool dir_shard_oldest(struct dir_shard *, const char *domain, struct dir_user *);
void dir_shard_domains(struct dir_shard *, void (*each)(const char *name, int64_t created_ms,
    uint64_t users, uint64_t aliases, void *), void *arg);
/* domain NULL: all. */
void dir_shard_users(struct dir_shard *, const char *domain,
    void (*each)(const struct dir_user *, void *), void *arg);
void dir_shard_gone(struct dir_shard *, void (*each)(uint64_t id, void *), void *arg);
/* Targets of one alias (address), or all pairs (NULL); how many. */
uint64_t dir_shard_aliases(struct dir_shard *, const char *address,
    void (*each)(const char *address, const char *target, void *), void *arg);

#endif
