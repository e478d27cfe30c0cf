/* core.h - the parts of one syncd joined together, and the execution of what
 * commit.c decides.  struct syncd is the process: there is one, owned by main(). */
#ifndef SYNCER_CORE_H
#define SYNCER_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "commit.h"
#include "feed.h"
#include "fitness.h"
#include "log_store.h"
#include "log_writer.h"
#include "peerlink.h"
#include "seed.h"
#include "syncd_conf.h"

struct agent_link;
struct ctl_server;
struct event;
struct event_base;
struct owners;
struct ship;
struct split;
struct trim;
struct verify;

struct syncd {
	struct event_base *base;
	struct syncd_conf conf;
	struct log_store *store;
	struct log_writer *writer;
	struct feed *feed;
	struct commit commit;
	struct peerlink *peer;
	struct ship *ship;
	struct owners *owners;
	struct agent_link *agent;
	struct trim *trim;
	struct verify *verify;
	struct ctl_server *ctl;
	struct fitness fitness;
	struct split *split;
	struct mirror *mirror;
	const struct mirror_ops *mirror_ops;
	struct event *tick;
	int64_t second_ms;		/* when the once-a-second work was done */
	int64_t alone_wall_ms;		/* since when one copy, for people */
	uint8_t ack_copies;		/* of what was committed last */
	bool low_room;			/* free space is below low-water-size */
	bool no_room;			/* the writer waits: no segment can be made */
	enum data_role seen_role;
	enum data_mode seen_mode;
};

/* Opens the log and starts the writer; -1: logged. */
int core_open(struct syncd *);
void core_start_timer(struct syncd *);
void core_close(struct syncd *);
/* Carries out acts, also those that are added on the way. */
void core_run(struct syncd *, struct commit_acts *);
/* Writes one record of an owner (the commit rule has said so); returns its LSN. */
uint64_t core_write(struct syncd *, uint16_t shard, uint8_t type, uint64_t origin,
    struct span payload);
/* The log was cut or reset by the ship: commit starts from what is there now. */
void core_log_changed(struct syncd *);
/* The log's disk failed: says so, marks this node outdated when the other one has
 * everything, and ends the process.  Nothing is tried twice. */
void core_log_lost(struct syncd *, const char *what, int err) __attribute__((noreturn));
/* A durable mark in the log directory. */
int core_mark_seeding(struct syncd *, bool on);
/* A standby whose copy is damaged: all of it is made anew from the active, if that may be
 * (true); logged. */
bool core_refill(struct syncd *, const char *why);
void core_state(struct syncd *, struct data_state *);

#endif
