/* state.h - what the agent must not forget: PATH_VAR/ha/state and its twin
 * state.2, each with CRC, written by lib/fs one after the other.
 *
 * state_load(): 0 the newer good copy; 1 there is no file at all, a new node (the
 * struct holds a fresh state); -1 both copies bad or of another version (EBADMSG; the
 * log says which) or unreadable: refuse
 * to start, because a node that forgot its generations could repeat one. */
#ifndef HAGENT_STATE_H
#define HAGENT_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gen.h"
#include "wire.h"

#define STATE_GENS 64
#define STATE_SWITCHES 32

/* The marks that the policy makes and reads. */
struct state_marks {
	uint64_t fixed;		/* highest generation number used or heard of */
	uint64_t released;	/* our own generation that we gave up in order; 0 none */
	uint64_t outdated;	/* never promote while the log's generation is <= this */
	bool kept_out;		/* operator: hactl standby NODE */
	int64_t maint_wall_ms;	/* maintenance ends then; 0 none */
	int64_t maint_ms;	/* how long it was meant to be */
	unsigned ngens;
	struct gen gens[STATE_GENS];	/* oldest first */
};

/* One line of `hactl history`. */
struct state_switch {
	int64_t wall_ms;
	uint64_t gen;
	uint8_t kind;		/* enum gen_kind */
	uint8_t from, to;	/* node; 255 nobody */
	bool planned;
	int64_t outage_ms;	/* -1 unknown */
	char reason[80];
};

struct state {
	uint8_t cluster[16];
	uint8_t node;
	uint64_t serial;	/* of this file; the higher copy is the newer */
	uint32_t boot, peer_boot;
	struct state_marks marks;
	unsigned nswitches;
	struct state_switch switches[STATE_SWITCHES];
};

void state_init(struct state *, const uint8_t cluster[16], uint8_t node);
void state_encode(const struct state *, struct wire_out *);
/* -1: EBADMSG; EPROTO when it is whole, but of another version. */
int state_decode(struct state *, const void *, size_t);
int state_load(struct state *, const char *dir);
/* serial + 1, both copies.  -1: at least the copy that was there before stands. */
int state_save(struct state *, const char *dir);

const struct gen *state_newest(const struct state_marks *);	/* NULL: none */
void state_add_gen(struct state_marks *, const struct gen *);	/* same number: replaced */
void state_add_switch(struct state *, const struct state_switch *);

#endif
