/* dir_resolve.h - what an envelope address means here: mailboxes, and addresses of
 * other hosts. */
#ifndef MAIL_DIR_RESOLVE_H
#define MAIL_DIR_RESOLVE_H

#include "dir_shard.h"

struct dir_rules {
	char delimiter;			/* user+ext, 0 = off */
	const char *postmaster;		/* "" = the oldest user of the domain */
	const char *default_domain;	/* of <postmaster> alone, "" = the first with a user */
	unsigned depth, targets_max;
};

struct dir_local {
	uint64_t user;
	uint16_t shard;
	char address[ADDRESS_MAX + 1];
};

struct dir_targets {
	struct dir_local *locals;
	size_t nlocals;
	char **remotes;
	size_t nremotes;
};

/* MAIL_OK; MAIL_RELAY: the domain is not ours (the address is the one remote);
 * MAIL_UNKNOWN: nobody; MAIL_TEMP: aliases lead too far, or to too many.  *out is filled
 * with MAIL_OK and MAIL_RELAY, and cleared by dir_targets_clear() in any case. */
enum mail_rc dir_resolve(struct dir_shard *, const struct dir_rules *, const char *address,
    struct dir_targets *out);
void dir_targets_clear(struct dir_targets *);

#endif
