/* merge_dir.h - two histories of the directory, which parted at a known place, become one.
 *
 * Pure: takes what each side has now and what it changed since they parted, and gives the
 * changes that the winner has to make.  No clock, socket, file or database; the same input
 * gives the same output.  When it was carried out, a second merge with the same loser
 * gives nothing.
 *
 * Promises (I5 of the pair):
 *   - every user id of either side is a user of the result with the same id, so that no
 *     mailbox loses its owner, and none gets another one: ids are never mapped;
 *   - the winner's users keep their addresses.  A user of the loser whose address somebody
 *     else has at the winner becomes recovered-ID@ the same domain, suspended;
 *   - a user that one side deleted and the other did not is kept, suspended: the other side
 *     may have taken mail for it.  Who meant it deletes it again;
 *   - an id that a deleted user of either side had is never given again;
 *   - a password or suspension that one side changed is changed; both: the winner's stands;
 *   - domains and targets of aliases: what one side added is there, what one side removed
 *     and the other left alone is not; a domain stays while anything is in it. */
#ifndef MAIL_MERGE_DIR_H
#define MAIL_MERGE_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dir_shard.h"

/* made, password, suspend: since they parted.  Texts are borrowed, in lower case. */
struct merge_dir_user {
	uint64_t id;
	uint16_t shard;
	bool suspended, made, password, suspend;
	const char *address, *hash;
};
struct merge_dir_domain {
	const char *name;
	bool made;
};
struct merge_dir_alias {
	const char *address, *target;
	bool made;
};
/* Removed since: a domain, the user of an address, a target of an alias (name, "": all). */
enum merge_dir_kind { MERGE_DIR_DOMAIN, MERGE_DIR_USER, MERGE_DIR_ALIAS };
struct merge_dir_cut {
	enum merge_dir_kind kind;
	const char *name, *target;	/* target: "" where there is none */
};

struct merge_dir_side {
	bool whole;			/* all that was done since is known; false: some of it */
	uint16_t layout;		/* number of shards, 0 unknown */
	struct merge_dir_user *users;	/* in any order; merge_dir() sorts them all */
	struct merge_dir_domain *domains;
	struct merge_dir_alias *aliases;
	struct merge_dir_cut *cuts;
	uint64_t *gone;			/* ids of deleted users */
	size_t nusers, ndomains, naliases, ncuts, ngone;
};

/* One record to propose, in the order given. */
struct merge_dir_op {
	enum dir_record type;		/* any but LAYOUT and USER_DELETE */
	const struct merge_dir_user *user;	/* USER_ADD: id and shard; else NULL */
	const char *name;		/* domain or address */
	const char *text;		/* hash, or an alias's only target */
	uint64_t id;			/* ID_GONE */
	bool on;			/* USER_SUSPEND */
	size_t seq;			/* private */
};
void merge_dir_record(const struct merge_dir_op *, struct wire_out *);	/* its payload */

/* What an operator should look at. */
enum merge_dir_why {
	MERGE_DIR_KEPT,		/* name: deleted by one side only, kept suspended */
	MERGE_DIR_APART,	/* name: somebody else has it; the loser's user is now `other` */
	MERGE_DIR_PASSWORD,	/* name: both changed it, the winner's stands */
	MERGE_DIR_SUSPENSION,	/* the same */
	MERGE_DIR_UNSURE,	/* name: not known whether it was deleted; kept suspended */
	MERGE_DIR_IN_USE,	/* name: a domain that one side deleted, the other uses it */
};
const char *merge_dir_why_name(enum merge_dir_why);
struct merge_dir_note {
	enum merge_dir_why why;
	const char *name, *other;	/* other: "" where there is none */
};

struct merge_dir_report {
	size_t users_added, users_kept, users_apart, passwords, suspensions, conflicts;
	size_t domains_added, domains_deleted, aliases_added, aliases_deleted;
};

struct merge_dir {
	struct merge_dir_op *ops;
	size_t nops;
	struct merge_dir_note *notes;
	size_t nnotes;
	struct merge_dir_report report;
	char **texts;			/* private */
	size_t ntexts;
};

/* Texts of the result are borrowed from the sides, which have to outlive it.  -1 with EINVAL
 * when nothing may be done, and *why: the nodes have other numbers of shards, one id is of
 * two addresses, a name that is needed is taken. */
int merge_dir(struct merge_dir *, struct merge_dir_side *winner, struct merge_dir_side *loser,
    const char **why);
void merge_dir_clear(struct merge_dir *);

/* ---- what a side did, from its records ------------------------------------ */

struct merge_dir_marks;			/* owns its texts */
struct merge_dir_marks *merge_dir_marks_new(void);
void merge_dir_marks_free(struct merge_dir_marks *);
/* A record of the shard behind the place where they parted, in order; false: malformed
 * (it had no effect). */
bool merge_dir_marks_add(struct merge_dir_marks *, uint8_t type, struct span payload);
/* Sets the flags of users, domains and aliases, and the cuts (borrowed from the marks). */
void merge_dir_marks_set(const struct merge_dir_marks *, struct merge_dir_side *);

#endif
