/* waits.h - who waits for the answer of another process.  A session that asks puts
 * itself here; when it ends it takes itself out, and its answer is dropped. */
#ifndef MAIL_WAITS_H
#define MAIL_WAITS_H

#include <stddef.h>
#include <stdint.h>

#include "child.h"

struct waits;

/* msg is NULL when the asked process went away before it answered. */
typedef void waits_cb(void *arg, const struct ipc_msg *msg);

struct waits *waits_new(void);
void waits_free(struct waits *);		/* nobody is called */
/* The id to send with the question; never 0, never one that still waits. */
uint32_t waits_add(struct waits *w, enum child_kind kind, unsigned index, waits_cb *cb, void *arg);
/* Finds the waiter, removes it, calls it.  An unknown id is counted, not an error. */
void waits_answer(struct waits *, enum child_kind, unsigned index, const struct ipc_msg *);
void waits_gone(struct waits *, enum child_kind, unsigned index);
void waits_cancel(struct waits *, uint32_t id);	/* the question was not sent */
void waits_forget(struct waits *, const void *arg);
size_t waits_count(const struct waits *);
uint64_t waits_dropped(const struct waits *);

#endif
