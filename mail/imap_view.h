/* imap_view.h - a selected mailbox as one client knows it: which UID has which
 * sequence number now.  Changes that others make are noted at once and told when the
 * protocol allows it; until then the numbers stand still.  Pure bookkeeping. */
#ifndef MAIL_IMAP_VIEW_H
#define MAIL_IMAP_VIEW_H

#include <stdint.h>

#include "imap_parse.h"
#include "store.h"

enum {
	VIEW_RECENT = 1,	/* \Recent for this session */
	VIEW_GONE = 2,		/* expunged, not yet told */
	VIEW_DIRTY = 4,		/* flags changed by others, not yet told */
	VIEW_SEEN_NOW = 8,	/* \Seen was set by the FETCH under way */
};

struct view_msg {
	uint32_t uid;
	uint16_t flags;		/* FLAG_ bits as committed */
	uint16_t state;
};

struct imap_view {
	uint64_t box;
	uint32_t uidvalidity;
	bool readonly, deleted;
	struct view_msg *msg;	/* by UID; msg[i] has sequence number i + 1 */
	size_t n, cap;
	size_t told;		/* the first `told` have been announced (EXISTS) */
	size_t gone, dirty;	/* how many of the told ones */
	uint32_t recent_from;	/* UIDs from here on are \Recent here */
	char **keywords;	/* seen in this mailbox, sorted */
	size_t n_keywords;
	bool keywords_new;	/* FLAGS is to be told again */
};

struct view_range {		/* indexes, inclusive */
	size_t first, last;
};
struct view_set {
	struct view_range *r;
	size_t n;
};

struct imap_view *imap_view_new(uint64_t box, bool readonly);
void imap_view_free(struct imap_view *);
void imap_view_add(struct imap_view *, const struct store_msg *);
void imap_view_flags(struct imap_view *, const struct store_msg *, bool tell);
void imap_view_gone(struct imap_view *, uint32_t uid);
/* Takes the gone ones out, calling each(seq) from the highest down. */
void imap_view_expunge(struct imap_view *, void (*each)(uint32_t seq, void *), void *);
bool imap_view_find(const struct imap_view *, uint32_t uid, size_t *index);
size_t imap_view_recent(const struct imap_view *);	/* of the told ones */
/* The told messages of a set as ordered, merged ranges, in the arena.  PARSE_BAD: a
 * sequence number beyond the last one (UIDs may name what is not there). */
enum parse imap_view_resolve(const struct imap_view *, const struct imap_set *,
    bool by_uid, struct arena *, struct view_set *);
/* The UIDs of such ranges, for the store. */
struct store_uids imap_view_uids(const struct imap_view *, const struct view_set *,
    struct arena *);

#endif
