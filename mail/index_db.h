/* index_db.h - the index.db of a shard whose owner keeps everything in it (the
 * directory, the queue): statements, records of the log, checkpoint, seeding.
 *
 * Promise: a record is applied once, in the order of the log; how far is in the same
 * transaction (applied_lsn of table meta).  WAL, synchronous=NORMAL: what a power cut
 * may take is above the last checkpoint, and comes again from the log.
 * Failure: what the disk does (full, I/O error, a damaged file) undoes the transaction and
 * stops the applying, and the log keeps the records until index_db_resume(); looks find
 * nothing meanwhile, or something, and index_db_failures() tells.  A mistake in a
 * statement is fatal, and so is a sync that fails; the file is written anew then at the next
 * opening. */
#ifndef MAIL_INDEX_DB_H
#define MAIL_INDEX_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailipc.h"
#include "owner.h"

struct index_db;

/* Opens dir/index.db, or makes it; waits for another process that has it.  schema is run
 * at each opening, sql[0..n) are the statements of index_db_get(); both are borrowed. */
struct index_db *index_db_open(const char *dir, const char *schema, const char *const *sql,
    int n);
void index_db_close(struct index_db *);		/* commits */

/* Statement n, reset and with nothing bound; NULL, which the others take for one without rows,
 * after a failure, or while the index is lost (index_aside.h). */
sqlite3_stmt *index_db_get(struct index_db *, int n);
/* One step: is there a row?  The caller ends with sqlite3_reset(). */
bool index_db_row(struct index_db *, sqlite3_stmt *);
bool index_db_has(struct index_db *, sqlite3_stmt *);	/* the same, and resets */
/* Runs a change and resets; how many rows it changed; 0 when it failed. */
int index_db_change(struct index_db *, sqlite3_stmt *);
/* A column's text; "" when it is NULL or does not fit. */
void index_db_text(sqlite3_stmt *, int column, char *dst, size_t size);

uint64_t index_db_applied(const struct index_db *);
/* Where the stream of records has to begin; OWNER_FROM_LOST: the index is lost, and an empty
 * one is in its place (index_aside.h). */
uint64_t index_db_attach_from(const struct index_db *);
const char *index_db_path(const struct index_db *);
/* MAIL_OK; MAIL_DISK_FULL or MAIL_TEMP while nothing is applied. */
enum mail_rc index_db_why(const struct index_db *);
/* Tries again, with the record after index_db_applied(); -1: it cannot even be opened. */
int index_db_resume(struct index_db *);
/* Grows with each statement that failed: what was looked up since an earlier number may
 * not be all there is. */
uint64_t index_db_failures(const struct index_db *);
/* Applies by apply() what has not been applied yet (else MAIL_OK), and gives its answer;
 * MAIL_BAD is logged, and skips the record.  Kept by the next commit.  index_db_why()
 * when it is not applied. */
enum mail_rc index_db_apply(struct index_db *, const struct owner_record *,
    enum mail_rc (*apply)(void *arg, const struct owner_record *), void *arg);
/* What apply() would answer now, or why it cannot be told; nothing is kept. */
enum mail_rc index_db_try(struct index_db *, const struct owner_record *,
    enum mail_rc (*apply)(void *arg, const struct owner_record *), void *arg);
/* -1: all since the last commit is undone, and index_db_why() is set. */
int index_db_commit(struct index_db *);
/* A commit begins the write-ahead log anew when it has so many pages (1,000 unless told). */
void index_db_wal_pages(struct index_db *, int pages);
/* Makes the file durable; the LSN up to which it is; 0 after a log line when that failed. */
uint64_t index_db_checkpoint(struct index_db *);
/* Seeding: a frozen copy (descriptor, or -1); putting one in our place (0; -1 after a log
 * line: the old one stays). */
int index_db_snapshot(struct index_db *, uint64_t *lsn);
int index_db_replace(struct index_db *, int fd);

#endif
