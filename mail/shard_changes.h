/* shard_changes.h - what a shard changed since a place in the log: its index, and the
 * records behind that place, become a struct changes (change_set.h). */
#ifndef MAIL_SHARD_CHANGES_H
#define MAIL_SHARD_CHANGES_H

#include <sqlite3.h>

#include "change_set.h"

struct owner_tail;

/* db: a connection with an open read transaction, of which all is told.  tail: the
 * shard's records behind c->fork; when c->whole is false some of the first are lost, and
 * every message that may have been changed by them is there as changed and unknown.
 * A message that was changed by a record behind the tail's last one is there as changed
 * too, with a touch that keeps it.  That a copy was made of it is known from the tail only.  users: whose mailboxes are told besides; may be NULL.
 * c has shard, fork and whole set; -1 with errno, EBADMSG: the tail or the index. */
int shard_changes(struct changes *c, sqlite3 *db, struct owner_tail *tail,
    const uint64_t *users, size_t nusers);

#endif
