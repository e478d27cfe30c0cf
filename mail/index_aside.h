/* index_aside.h - a shard whose index is lost: what is left of it is kept as it is, and the
 * shard is marked as unfilled until an index from the peer is in its place.
 *
 * The log may hold only the last of its records, so an unfilled shard asks for none
 * (OWNER_FROM_LOST), gives the peer no snapshot, and is never active. */
#ifndef MAIL_INDEX_ASIDE_H
#define MAIL_INDEX_ASIDE_H

#include <stdbool.h>

/* Marks dir as unfilled, then moves index.db, its write-ahead log and `durable` to a folder
 * dir/damaged-TIME, so that an empty index can be made.  Durable, and said in the log with
 * why; -1 with errno: to be called again. */
int index_set_aside(const char *dir, const char *why);
/* Is the mark there?  One that cannot be looked at is. */
bool index_unfilled(const char *dir);
/* An index from the peer is in place, durable: removes the mark, durably.  -1 with errno. */
int index_filled(const char *dir);

#endif
