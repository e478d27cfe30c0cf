/* index_file.h - a shard's SQLite file as a whole: a frozen copy of it for seeding
 * the peer, and a copy from the peer put in its place. */
#ifndef MAIL_INDEX_FILE_H
#define MAIL_INDEX_FILE_H

#include <sqlite3.h>

/* A self-contained copy of an open database, without a name; -1 after a log line. */
int index_file_copy(sqlite3 *, const char *dir);
/* Writes dir/seed.db from fd and checks it: probe must give a row.  -1 after a log line,
 * with nothing left behind. */
int index_file_receive(const char *dir, int fd, const char *probe);
/* Renames dir/seed.db to dir/index.db, which nobody may have open. */
int index_file_install(const char *dir);

#endif
