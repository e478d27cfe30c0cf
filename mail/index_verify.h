/* index_verify.h - looks through an index.db beside the work of its process: the sum of
 * each page, and SQLite's own order of them, on a thread and a connection of its own. */
#ifndef MAIL_INDEX_VERIFY_H
#define MAIL_INDEX_VERIFY_H

#include <stdbool.h>

struct event_base;
struct index_verify;

/* done: once, from the loop, unless it is freed before.  ok: it could look; report: as
 * owner_verified() wants it, valid during the call, from which it may be freed.  moves: each
 * few seconds in which it got further. */
struct index_verify *index_verify_new(struct event_base *, const char *path,
    void (*done)(void *arg, bool ok, const char *report), void (*moves)(void *arg), void *arg);
void index_verify_free(struct index_verify *);	/* ends it; NULL is fine */

#endif
