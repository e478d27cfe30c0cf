/* index_file.h - a shard's SQLite file as a whole: a frozen copy of it for seeding
 * the peer, and a copy from the peer put in its place. */
#ifndef MAIL_INDEX_FILE_H
#define MAIL_INDEX_FILE_H

#include <sqlite3.h>
#include <stdbool.h>

/* A self-contained copy of an open database, without a name; -1 after a log line. */
int index_file_copy(sqlite3 *, const char *dir);
/* Writes dir/seed.db from fd and checks it: probe must give a row.  -1 after a log line,
 * with nothing left behind. */
int index_file_receive(const char *dir, int fd, const char *probe);
/* Writes dir/seed.db from an open database, durable; the same. */
int index_file_anew(sqlite3 *, const char *dir);
/* Renames dir/seed.db to dir/index.db, which nobody may have open; the write-ahead log of
 * the old one goes, and the mark below is taken away. */
int index_file_install(const char *dir);
/* The mark that a sync of index.db has failed: a file that is always there, so that a disk
 * that takes no new names takes it.  Not durable, and need not be: after a power cut the
 * files tell the truth.  0, or -1 with errno. */
int index_file_suspect(const char *dir, bool is);
bool index_file_is_suspect(const char *dir);
bool index_file_marked(const char *dir);	/* it is there, whatever it says */
/* Is index.db gone, or empty, though it was in use?  The mark is made when the file is durable,
 * so that one without the other was lost. */
bool index_file_gone(const char *dir);

#endif
