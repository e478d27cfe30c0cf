/* eventlog.h - the last events of this node, oldest first, kept over restarts.
 *
 * In memory a ring of `max`; on disk DIR/events and DIR/events.1 (PROTOCOL.md), written
 * without a sync and turned over when the first one holds `max`.  A torn or damaged
 * tail loses what stands behind it and nothing more.  Nothing here fails its caller:
 * what cannot be written is in memory only, and that is logged once.  Decisions never
 * read it. */
#ifndef HAGENT_EVENTLOG_H
#define HAGENT_EVENTLOG_H

#include <stddef.h>
#include <stdint.h>

#define EVENTLOG_TEXT 240

/* Numbers on disk and to the executor: never used again for something else. */
enum eventlog_kind {
	EVENTLOG_AGENT,		/* started, leaves, found */
	EVENTLOG_ROLE,		/* of this node */
	EVENTLOG_SWITCH,	/* a line of history */
	EVENTLOG_ALARM,
	EVENTLOG_PEER,		/* silent, back, restarted */
	EVENTLOG_LINK,
	EVENTLOG_PING,
	EVENTLOG_RESOURCE,	/* state, failures */
	EVENTLOG_VIP,
	EVENTLOG_OPERATOR,	/* commands and how they ended */
	EVENTLOG_CONFIG,
	EVENTLOG_DATA,		/* mode of the replicated log */
	EVENTLOG_NOTE,		/* other decisions */
	EVENTLOG_KINDS
};
const char *eventlog_kind_name(enum eventlog_kind);

struct eventlog_entry {
	uint64_t no;		/* counts from 1 over all restarts */
	int64_t wall_ms;
	uint64_t epoch;
	enum eventlog_kind kind;
	char text[EVENTLOG_TEXT];	/* printable ASCII */
};
struct eventlog;

struct eventlog *eventlog_open(const char *dir, unsigned max);
void eventlog_free(struct eventlog *);			/* NULL is fine */
/* Foreign bytes in text become '?'.  The result lives until the ring comes round. */
const struct eventlog_entry *eventlog_add(struct eventlog *, int64_t wall_ms, uint64_t epoch,
    enum eventlog_kind, const char *text);
/* Numbers of the oldest and of the newest that are kept; first = last + 1: none. */
uint64_t eventlog_first(const struct eventlog *);
uint64_t eventlog_last(const struct eventlog *);
const struct eventlog_entry *eventlog_get(const struct eventlog *, uint64_t no);	/* NULL: gone */

#endif
