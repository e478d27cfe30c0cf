/* index_aside.h - what is left of a shard's damaged index, kept as it is. */
#ifndef MAIL_INDEX_ASIDE_H
#define MAIL_INDEX_ASIDE_H

/* Moves index.db, its write-ahead log and `durable` to a folder dir/damaged-TIME, so that
 * the shard can be opened as an empty one, which asks for all records.  Durable, and said in
 * the log with why; -1 with errno. */
int index_set_aside(const char *dir, const char *why);

#endif
