/* layout.h - how many shards the store of this node was made with: shards/layout, two
 * lines, "mailpair-layout 1" and "shards N".
 *
 * A user's mailboxes are in shard (hash mod N), so N never changes.  The file is made
 * with the first start; the directory's record DIR_LAYOUT, which both nodes apply, is
 * above it, so that two nodes that were set up differently do not both serve. */
#ifndef MAIL_LAYOUT_H
#define MAIL_LAYOUT_H

#include <stddef.h>

struct maild_conf;

/* 0: equal, or not made yet.  -1: `shards` is another one, or the file is damaged or
 * cannot be read; err says what is expected. */
int layout_check(const struct maild_conf *, char *err, size_t errlen);
/* Makes it where it is missing; -1 after a log line. */
int layout_make(const struct maild_conf *);
/* The pair's number, as the log has it, whatever the file says. */
int layout_set(const struct maild_conf *, unsigned shards);

#endif
