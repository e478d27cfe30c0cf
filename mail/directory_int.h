/* directory_int.h - the inside of the directory process, shared by directory.c
 * (channels, questions of gates), dir_change.c (records), dir_merge.c
 * (two histories) and dir_ctl.c (operators). */
#ifndef MAIL_DIRECTORY_INT_H
#define MAIL_DIRECTORY_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "child.h"
#include "ctl.h"
#include "dir_hash.h"
#include "dir_resolve.h"
#include "dir_shard.h"
#include "index_owner.h"
#include "maild_conf.h"
#include "owner.h"
#include "waits.h"
#include "wire.h"

struct event_base;
struct dir_change;
struct dir_merge;

struct directory {
	struct event_base *base;
	const struct maild_conf *conf;
	struct child *child;
	struct dir_shard *shard;
	struct owner *owner;
	struct dir_hash *hash;
	struct dir_cache *cache;
	struct dir_rules rules;
	struct ctl_server *ctl;
	struct waits *waits;		/* questions to the parent */
	struct dir_change *changes;	/* proposed, not yet answered */
	struct index_owner index;
	struct dir_merge *merge;	/* that is being proposed; NULL */
	bool layout_known;		/* the log and maild.conf agree on the number of shards */
	bool layout_asked;		/* a record about it is under way */
};

/* dir_change.c: a proposed record and who waits for it.  done() comes exactly once;
 * refused is 0, or why the log did not take it. */
typedef void dir_change_cb(void *arg, enum mail_rc rc, enum owner_refusal refused);
void dir_change_put(struct directory *d, enum dir_record, struct wire_out *body, dir_change_cb *cb,
    void *arg);
extern const struct owner_ops dir_owner_ops;
void dir_change_free_all(struct directory *);

/* dir_merge.c: owner_ops.changes and .merge. */
void dir_merge_changes(struct directory *, uint64_t fork, bool whole, int tail_fd);
void dir_merge_start(struct directory *, const struct owner_merge *);

/* dir_ctl.c */
void dir_ctl_request(struct ctl_call *, json_t *request, void *directory);

#endif
