/* policy_int.h - shared by the policy_*.c files only.  `struct turn` is one call of
 * policy_step(): the state, the view, and the list that the actions go to. */
#ifndef HAGENT_POLICY_INT_H
#define HAGENT_POLICY_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "policy.h"

struct turn {
	struct policy *p;
	const struct policy_view *v;
	struct policy_actions *out;
};

/* policy_util.c */
struct policy_action *turn_add(struct turn *, enum policy_act);
void turn_note(struct turn *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void turn_alarm(struct turn *, enum policy_alarm, bool on, const char *text);
void turn_role(struct turn *, enum ha_role, const char *why);
void turn_save(struct turn *);
bool turn_saved(const struct turn *);
struct gen turn_gen(struct turn *, enum gen_kind);	/* made, remembered, ACT_SAVE */
void turn_probe(struct turn *, bool peer_too, bool peer_only);
void turn_probe_due(struct turn *, bool peer_only);
void turn_op_done(struct turn *, int code, const char *text, const char *hint);
void turn_answer(struct turn *, uint32_t id, int code, const char *text, const char *hint);

struct gen policy_newest(const struct policy *, const struct policy_view *);
bool policy_peer_serves(const struct policy_view *);	/* alive, and promoting or active */
bool policy_outranked(const struct policy *, const struct policy_view *);	/* it serves, and we have to go */
bool policy_peer_ready(const struct policy_view *);	/* could take over now, by its word */
bool policy_probe_clear(const struct policy *, const struct policy_view *);
bool policy_silent(const struct policy *, const struct policy_view *);
bool policy_idle(const struct policy *);
bool policy_res_failed(const struct policy *);	/* one does not run, and is not mended now */
bool policy_just_woke(const struct policy *, const struct policy_view *);
bool policy_healthy(const struct policy *);
bool policy_fit(const struct policy *);		/* healthy, and may become active */
bool policy_barred(const struct policy *);	/* may not become active, whatever is proved */
uint64_t policy_alone(const struct policy *, const struct policy_view *);
uint64_t policy_peer_alone(const struct policy_view *);
bool policy_leads(const struct policy *, const struct policy_view *);

/* policy_promote.c */
void promote_begin(struct turn *, enum policy_proof, enum gen_kind, enum policy_reason);
void promote_turn(struct turn *);
/* policy_active.c */
void active_begin(struct turn *);
void active_turn(struct turn *);
void active_alone_marked(struct turn *);	/* promote: alone if the other node marked itself */
void active_join(struct turn *);
bool active_must_leave(struct turn *);	/* newer active, isolated: begins the demotion */
/* policy_res.c */
void res_note(struct turn *);		/* EV_RES, EV_DIED in every role */
void res_event(struct turn *);		/* an EV_RES while active */
void res_turn(struct turn *);
void res_begin(struct turn *);
void res_op(struct turn *, const struct policy_event *);	/* on the active node */
void res_release(struct turn *);	/* nothing is held by an operator any more */
void group_tell(struct turn *, bool on);	/* to the executor, for the next agent */
/* policy_demote.c */
enum demote_how { DEMOTE_PLANNED, DEMOTE_MOVE, DEMOTE_URGENT };
void demote_begin(struct turn *, enum demote_how, bool release, enum policy_reason);
void demote_turn(struct turn *);
void demote_stuck(struct turn *);	/* idle: tries on what was found and did not stop */
/* policy_switch.c */
void switch_made(struct turn *);	/* this node is active now */
void switch_heard(struct turn *);
struct control switch_control(const struct policy *);
/* policy_proof.c */
void proof_turn(struct turn *);		/* in every role, before it */
void proof_fence(struct turn *);	/* the other node is silent and stands in the way */
bool proof_fence_again(struct turn *);	/* at once; true: an attempt has begun */
bool proof_quorate(const struct policy *, const struct policy_view *);
bool proof_quorum_lost(const struct policy *, const struct policy_view *, int64_t more_ms);
bool proof_lease_over(const struct policy *, const struct policy_view *);
enum policy_proof proof_of_silence(const struct policy *, const struct policy_view *,
    const char **why);
/* policy_move.c */
bool move_begin(struct turn *, enum demote_how, enum policy_reason);	/* by choice */
bool move_failed(struct turn *, enum policy_reason);	/* false: in maintenance */
void move_cannot(struct turn *);	/* this node cannot serve: once more */
void move_can(struct turn *);		/* it serves, or somebody mended it */
int64_t move_pause(const struct policy *);	/* before it takes the role again */
void move_made(struct turn *);		/* this node became active */
void move_forget(struct turn *);	/* an operator mended what made it move */
void move_turn(struct turn *);		/* active */
/* policy_maint.c */
void maint_set(struct turn *, int64_t ms);
void maint_turn(struct turn *);		/* in every role */
/* policy_contest.c */
void contest_soon(struct turn *);	/* a path came back */
void announce_soon(struct turn *);	/* the addresses, as soon as they are ours for sure */
void contest_turn(struct turn *);	/* active */
/* policy_answers.c */
void answers_turn(struct turn *);
/* policy_op.c */
void op_tell_maintenance(struct turn *, int64_t ms, uint32_t caller);
void op_event(struct turn *);
void op_turn(struct turn *);

#endif
