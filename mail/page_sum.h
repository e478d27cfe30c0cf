/* page_sum.h - a sum at the end of each page of an SQLite file: a page that is not what
 * was written is an error (SQLITE_IOERR_DATA) when it is read, and never rows.
 *
 * A VFS above the system's own.  It works on files that were made under it (8 reserved
 * bytes a page); others are read and written as ever.  Not covered: a page in the
 * write-ahead log, between its commit and the checkpoint that copies it; SQLite's own sums
 * cover the log when it is read after a restart. */
#ifndef MAIL_PAGE_SUM_H
#define MAIL_PAGE_SUM_H

#include <sqlite3.h>
#include <stdbool.h>

#define PAGE_SUM_VFS "page-sum"

/* sqlite3_open_v2() with this VFS, and a file that is made new, and each copy by VACUUM INTO, gets
 * its sums. */
int page_sum_open(const char *path, sqlite3 **db, int flags);
/* Does the last error of this connection say that the file is damaged? */
bool page_sum_damage(sqlite3 *);
/* The same, or has a damaged page been read since it was opened? */
bool page_sum_met(sqlite3 *);

#endif
