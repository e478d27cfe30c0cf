/* seed.h - where the mirror and the seeding of a standby are joined to syncd.
 *
 * syncd owns one struct mirror (opaque; NULL members of mirror_ops are allowed) and
 * calls it at the moments below; mirror_host is what the mirror may ask of syncd.
 * Everything runs on syncd's event loop. */
#ifndef SYNCER_SEED_H
#define SYNCER_SEED_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "commit.h"
#include "owner.h"
#include "span.h"

struct bufferevent;
struct ctl_call;
struct event_base;
struct owners;
struct split;
struct syncd_conf;

/* The answers of owners (lib/owner.h), handed through; fds are the callee's. */
struct seed_owner_ops {
	void (*snapshot)(void *arg, uint16_t shard, uint64_t lsn, bool ok, int index_fd);
	void (*snapshot_list)(void *arg, uint16_t shard, bool ok, int list_fd);
	void (*object)(void *arg, uint16_t shard, const uint8_t sha[32], bool ok, int fd);
	void (*offer)(void *arg, uint16_t shard, bool ok);
	/* The shard's owner went away, or another took over: what it was asked, of that
	 * `offers` offers, is not answered any more. */
	void (*gone)(void *arg, uint16_t shard, unsigned offers);
	/* An object is missing or damaged here: host->mended() answers. */
	void (*mend)(void *arg, uint16_t shard, const uint8_t sha[32]);
};

/* What syncd gives to the mirror. */
struct mirror_conf;
struct mirror_host {
	void *arg;				/* first argument of each function */
	struct event_base *base;
	const struct syncd_conf *conf;
	const struct mirror_conf *trees;	/* mirror_conf.h */
	int worker_fd;				/* mirror_worker_start(); -1: no mirroring */
	const char *spool_dir;			/* for unnamed files: PATH_VAR "/log" */
	const char *node_names[2];
	unsigned node;
	struct split *split;			/* shares the bulk connection; or NULL */
	const struct commit *commit;		/* read only: role, generation, LSNs */
	/* A bulk connection, through ops.bulk on both nodes. */
	void (*want_bulk)(void *arg);
	/* A small message over the log channel, to the peer's ops.message. */
	void (*send)(void *arg, struct span body);
	/* Owners: all attached store shards; ask; fd is given away (-1: "do you have it?"). */
	size_t (*shards)(void *arg, uint16_t *shards, size_t max);
	/* Is there one that was attached once and is not now? */
	bool (*absent)(void *arg, uint16_t *shard);
	int (*ask_snapshot)(void *arg, uint16_t shard);
	int (*ask_object)(void *arg, uint16_t shard, const uint8_t sha[32]);
	int (*offer_object)(void *arg, uint16_t shard, const uint8_t sha[32], int fd);
	int (*offer_index)(void *arg, uint16_t shard, uint64_t lsn, int fd);
	/* The end of an owner's mend(); fd is given away. */
	void (*mended)(void *arg, uint16_t shard, const uint8_t sha[32], enum owner_mend, int fd);
	/* Active: hold the log from lsn on until released (0): nothing above is trimmed. */
	void (*keep_from)(void *arg, uint64_t lsn);
	/* Active: the first LSN that the log still has.  What was trimmed before it is in
	 * every owner's checkpoint, so a snapshot of an idle shard counts as that old. */
	uint64_t (*oldest)(void *arg);
	/* Active: the chain hash of a kept lsn, and the generations up to it. */
	int (*point)(void *arg, uint64_t lsn, uint8_t hash[16], struct gen *gens, size_t max,
	    size_t *ngens);
	/* Standby: before anything is replaced (true), durable; then the log is emptied
	 * and goes on behind (lsn, hash): seed_done clears the mark and the session
	 * continues with the log. */
	bool (*seed_may)(void *arg);	/* false: there is something that must stay */
	int (*seed_start)(void *arg);	/* -1: errno, the mark cannot be written */
	int (*seed_done)(void *arg, uint64_t lsn, const uint8_t hash[16], const struct gen *gens,
	    size_t ngens);
};

struct mirror;
struct mirror_ops {
	void (*bulk)(struct mirror *, struct bufferevent *);
	void (*message)(struct mirror *, struct span body);
	void (*peer)(struct mirror *, bool up);
	/* Role, generation or mode changed: passes of another generation end here. */
	void (*changed)(struct mirror *);
	/* Active: the standby's log ends before our oldest record: copy the state. */
	void (*seed_wanted)(struct mirror *);
	void (*sync_now)(struct mirror *, struct ctl_call *, json_t *request);
	json_t *(*status)(struct mirror *);	/* new reference, for sync-status */
	void (*free)(struct mirror *);
	struct seed_owner_ops owner;		/* their arg is the struct mirror */
};

/* Implemented by the mirror. */
struct mirror *mirror_new(const struct mirror_host *, const struct mirror_ops **ops);

#endif
