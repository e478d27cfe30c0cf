/* policy.c - who is active.  A pure function of state and view; see policy.h.
 *
 * Kind of the new generation: RELEASE and MEETING clean (needs both nodes), REBOOT
 * takeover, FENCE and QUORUM takeover, SILENCE and HOLDER presumed, OPERATOR forced.
 *
 * Rules that hold in every role: the number is durable before the first act under
 * it; OUTDATE is honoured by idle nodes only and kept for ever for that generation;
 * a kept-out node never promotes; contents of the peer count only while it is alive
 * in the sense of peer.h. */
#include <string.h>

#include "hook.h"
#include "policy_int.h"

void
policy_init(struct policy *p, const struct policy_conf *conf, const struct state_marks *marks,
    uint32_t boot, int64_t now_ms)
{
	memset(p, 0, sizeof(*p));
	p->conf = conf;
	p->marks = *marks;
	p->role = ROLE_BOOT;
	p->boot = boot;
	p->slept = true;	/* syncd may have gone on believing while nobody listened */
	p->since_ms = p->start_ms = p->step_ms = p->turned_ms = p->awake_ms = now_ms;
	p->take_ms = -1;
	p->isolated_ms = p->syncd_gone_ms = p->data_standby_ms = p->ping_less_ms = -1;
	p->fence.wanted_ms = p->unquorate_ms = p->quorum_ms = -1;
	p->failback_ms = p->slow_ms = p->full_ms = p->mute_ms = -1;
	p->probe_ms = p->contest_ms = now_ms - (1 << 30);
	p->cycle = -1;
	p->last_active = state_newest(&p->marks) != NULL ? state_newest(&p->marks)->node : 255;
	for (unsigned i = 0; i < conf->nres; i++)
		p->res[i].state = RES_DOWN;
}

/* ---- what is taken note of in every role ---- */

/* In a pair without syncd nobody says ADOPTED: the frames of the node that serves do. */
static void
adopt_by_frame(struct turn *t)
{
	const struct frame *f = &t->v->peer.f;
	struct gen g = { .no = f->gen, .kind = f->gen_kind, .node = f->gen_node,
		.wall_ms = t->v->wall_ms };

	if (t->p->conf->syncd || g.no <= policy_newest(t->p, t->v).no)
		return;
	state_add_gen(&t->p->marks, &g);
	turn_save(t);
}

/* Who was paused for long does not know what the other node did meanwhile: an active
 * may have been replaced, a standby excluded.  Only the other node's own word, that
 * it holds nothing newer, or serves in our generation, ends that.  (Without syncd there
 * is no data: that it serves is enough.) */
static void
wake(struct turn *t)
{
	const struct frame *f = &t->v->peer.f;
	struct policy *p = t->p;

	/* An answer to what we sent since, not a word from before. */
	if (!p->slept || !t->v->peer.alive || t->v->peer.answers_ms < p->awake_ms)
		return;
	if ((f->flags & (FRAME_F_SYNCD | FRAME_F_NO_SYNCD)) == 0)
		return;
	if (policy_idle(p))
		p->slept = !policy_peer_serves(t->v)
		    || (p->conf->syncd && f->gen != policy_newest(p, t->v).no);
	else
		p->slept = f->gen > p->gen.no || policy_outranked(p, t->v);
}

/* It acknowledged alone in a generation that our log has not reached: then something is
 * missing here, whatever we believed while we could not hear it, and also when it falls
 * silent again. */
static void
note_alone(struct turn *t)
{
	const struct frame *f = &t->v->peer.f;
	struct policy *p = t->p;
	uint64_t no = policy_peer_alone(t->v);

	if (policy_peer_serves(t->v) && gen_kind_alone((enum gen_kind)f->gen_kind))
		no = f->gen;
	if (no > p->alone_heard)
		p->alone_heard = no;
}

static void
note_peer(struct turn *t)
{
	const struct peer_view *v = &t->v->peer;
	const struct control *c = peer_control(v, CTRL_OUTDATED);
	struct policy *p = t->p;

	if (c != NULL && c->gen > p->peer_outdated)
		p->peer_outdated = c->gen;
	note_alone(t);
	if (!v->silent)
		p->peer_is_off = p->accept_loss = false;	/* somebody switched it on */
	if (v->alive) {
		if (v->f.fixed > p->marks.fixed)
			p->marks.fixed = v->f.fixed;
		turn_alarm(t, ALARM_CONFIG, v->f.config != p->conf->config,
		    "the two nodes have different configurations");
	}
	/* Without syncd nobody else tells which generation the other node serves in. */
	if (!p->conf->syncd && policy_idle(p) && policy_peer_serves(t->v)
	    && v->f.gen > policy_newest(p, t->v).no) {
		struct gen g = { .no = v->f.gen, .kind = v->f.gen_kind, .node = v->f.gen_node };

		state_add_gen(&p->marks, &g);
		turn_save(t);
	}
	/* It acknowledged without us. */
	if (policy_peer_serves(t->v) && p->complete != 0 && v->f.gen > p->complete
	    && gen_kind_alone((enum gen_kind)v->f.gen_kind))
		p->complete = 0;
	if (policy_peer_serves(t->v)) {
		p->peer_active_boot = v->boot;
		p->peer_active_gen = v->f.gen;
		/* Clients saw it at the latest when we heard it: silence is outage. */
		if (v->f.role == ROLE_ACTIVE) {
			p->served_ms = t->v->now_ms - v->silent_ms;
			p->last_active = !p->conf->node;
		}
		adopt_by_frame(t);
	}
	if (v->ever)
		turn_alarm(t, ALARM_LINKS, v->links_alive < v->links, "a link is silent");
	/* Switches may have forgotten us while a path was cut, and learned somebody else. */
	if (p->role == ROLE_ACTIVE && (v->links_alive > p->links_were
	    || t->v->ping_score > p->score_was)) {
		announce_soon(t);
		contest_soon(t);
	}
	p->links_were = v->links_alive;
	p->score_was = t->v->ping_score;
	switch_heard(t);
	wake(t);
}

static void
note_probe(struct turn *t)
{
	const struct policy_event *e = &t->v->ev;
	struct policy *p = t->p;

	if (e->type == EV_PROBE && e->no == p->probe_no) {
		p->probe_out = false;
		p->probe = e->probe;
	}
}

static void
note_vip(struct turn *t)
{
	const struct policy_event *e = &t->v->ev;
	struct policy *p = t->p;

	if (e->type != EV_VIP || e->index < 0 || (unsigned)e->index >= p->conf->nvips)
		return;
	p->vip_busy[e->index] = false;
	if (e->ok)
		p->vip_up[e->index] = e->up;
	else if (!e->up)
		p->vip_up[e->index] = true;	/* still there, as far as we know */
}

static void
note_disk(struct turn *t)
{
	unsigned all = DATA_OWN_TROUBLE | DATA_NO_INDEX;
	unsigned own = t->v->syncd_up ? t->v->data.trouble & all : 0;

	turn_alarm(t, ALARM_DISK, own != 0, (own & DATA_NO_INDEX) != 0 ? "an index is lost"
	    : (own & DATA_FULL) != 0 ? "the log's disk is full" : "the log's disk is slow");
}

static void
note_syncd(struct turn *t)
{
	const struct policy_event *e = &t->v->ev;
	struct policy *p = t->p;

	note_disk(t);
	if (e->type != EV_SYNCD)
		return;
	p->log_lost = p->log_lost || e->msg == AL_LOG_LOST;
	if (e->msg == AL_NEWER && e->gen.no > p->newer_no)
		p->newer_no = e->gen.no;
	if (e->msg != AL_ADOPTED)
		return;
	state_add_gen(&p->marks, &e->gen);
	turn_save(t);
	/* In a clean generation nothing is acknowledged before we joined it: who was
	 * complete is complete still.  Any other kind went on without us. */
	if (p->complete != 0)
		p->complete = e->gen.kind == GEN_CLEAN ? e->gen.no : 0;
}

/* ---- idle roles ---- */

static void
outdate(struct turn *t, uint64_t gen, const char *why)
{
	struct policy *p = t->p;

	p->marks.outdated = gen;
	p->complete = 0;
	turn_save(t);
	p->outdate_save = p->save_no;
	if (p->conf->syncd && t->v->syncd_up)
		turn_add(t, ACT_SYNCD_OUTDATE)->no = gen;
	turn_add(t, ACT_SEND_NOW);
	turn_note(t, "marked outdated up to gen=%llu%s", (unsigned long long)gen, why);
}

static void
honour_outdate(struct turn *t)
{
	const struct control *c = peer_control(&t->v->peer, CTRL_OUTDATE);
	struct policy *p = t->p;

	if (c != NULL && c->gen > p->marks.outdated && c->gen >= policy_newest(p, t->v).no)
		outdate(t, c->gen, "");
}

/* syncd knows that there are two histories as long as it runs.  Whose was not chosen is
 * kept as it is until an operator looks: not to be served from after a restart either. */
static void
keep_split(struct turn *t)
{
	uint64_t gen = t->v->data.gen.no;

	if (t->v->syncd_up && t->v->data.mode == DATA_SPLIT && gen > t->p->marks.outdated)
		outdate(t, gen, ": two histories");
}

/* The last active by its own log, and the other one acknowledged alone after it: that is said
 * once, and must not be forgotten. */
static void
keep_behind(struct turn *t)
{
	uint64_t gen = policy_newest(t->p, t->v).no;

	if (t->p->conf->syncd && t->p->alone_heard > gen && policy_holder(t->p, t->v))
		outdate(t, gen, ": the other node acknowledged in a newer generation");
}

/* A RELEASE that is for us and that we shall not take: say so, once for all. */
static void
decline(struct turn *t)
{
	const struct control *r = peer_control(&t->v->peer, CTRL_RELEASE);
	struct policy *p = t->p;

	if (r == NULL || !policy_complete(p, t->v) || r->gen != policy_newest(p, t->v).no
	    || r->gen == p->declined)
		return;
	if (p->complete == 0 && (p->marks.kept_out || !policy_fit(p))) {
		p->declined = r->gen;
		turn_add(t, ACT_SEND_NOW);
	}
}

static void
follow_role(struct turn *t)
{
	struct policy *p = t->p;

	if (policy_complete(p, t->v) && (p->peer_active_boot != 0 || p->complete != 0))
		turn_role(t, ROLE_STANDBY, "everything that was acknowledged is here");
	else if (policy_peer_serves(t->v))
		turn_role(t, ROLE_TARGET, "the other node is active");
	else
		turn_role(t, ROLE_WAIT, "no active node is known");
}

/* In its own words, when it says them. */
static enum policy_reason
released_why(const struct policy_view *v)
{
	const struct control *r = peer_control(&v->peer, CTRL_RELEASE);

	return r != NULL && r->arg > REASON_NONE && r->arg < REASONS
	    ? (enum policy_reason)r->arg : REASON_RELEASE;
}

static bool
promote_alive(struct turn *t)
{
	const char *why = "";

	switch (policy_evidence(t->p, t->v, &why)) {
	case PROOF_RELEASE:
		/* In maintenance too: only an operator makes a node release then. */
		promote_begin(t, PROOF_RELEASE, GEN_CLEAN, released_why(t->v));
		return true;
	case PROOF_REBOOT:
		if (policy_maintained(t->p, t->v))
			return false;
		promote_begin(t, PROOF_REBOOT, GEN_TAKEOVER, REASON_REBOOT);
		return true;
	case PROOF_MEETING:
		if (policy_maintained(t->p, t->v))
			return false;
		promote_begin(t, PROOF_MEETING, GEN_CLEAN, REASON_MEETING);
		return true;
	default:
		return false;
	}
}

/* The peer hands over and has said that its addresses are down: whether a third host
 * has one of them is known by the time that RELEASE is here. */
static void
probe_freed(struct turn *t)
{
	struct policy *p = t->p;

	if (policy_peer_serves(t->v))
		p->freed_ms = 0;
	if (!t->v->peer.alive || (t->v->peer.f.flags & FRAME_F_FREED) == 0 || p->freed_ms != 0)
		return;
	p->freed_ms = t->v->now_ms;
	if (policy_complete(p, t->v) && p->conf->nvips > 0)
		turn_probe(t, false, false);
}

/* Asked while the silence is still short of dead_ms, and anew in each silence: an answer
 * from before this one says nothing.  For a presumption the peer's own addresses are
 * asked too.  Before a fence it only saves the time later: that the addresses are free
 * while the other node is dead holds when it is verified off, too. */
static void
probe_silent(struct turn *t)
{
	const struct policy *p = t->p;
	bool presume = p->conf->mode == POLICY_SERIAL_PING;

	if (!presume && (p->conf->mode != POLICY_FENCING || p->conf->nvips == 0))
		return;
	if (((presume || p->conf->pings) && !t->v->ping_ok) || !proof_quorate(p, t->v)
	    || t->v->peer.silent_ms < p->conf->suspect_ms)
		return;
	if (t->v->now_ms - p->probe_ms > t->v->peer.silent_ms)
		turn_probe(t, presume, false);
	else if (presume)
		turn_probe_due(t, false);
}

static void
promote_silent(struct turn *t)
{
	struct policy *p = t->p;
	bool complete = policy_complete(p, t->v);
	bool cold = p->conf->cold_last_active && t->v->now_ms - p->start_ms >= p->conf->initdead_ms
	    && (policy_holder(p, t->v) || hook_on("cold-start-unasked"));
	const char *why = "";

	if (!complete && !cold)
		return;
	switch (t->v->peer.silent ? policy_evidence(p, t->v, &why) : PROOF_NONE) {
	case PROOF_SILENCE:
		promote_begin(t, PROOF_SILENCE, GEN_PRESUMED, complete ? REASON_SILENCE
		    : REASON_HOLDER);
		return;
	case PROOF_FENCE:
		promote_begin(t, PROOF_FENCE, GEN_TAKEOVER, REASON_FENCED);
		return;
	case PROOF_QUORUM:
		promote_begin(t, PROOF_QUORUM, GEN_TAKEOVER, REASON_QUORUM);
		return;
	case PROOF_OPERATOR:
		promote_begin(t, PROOF_OPERATOR, GEN_FORCED, REASON_OFF);
		return;
	default:
		probe_silent(t);
	}
	if (complete)
		proof_fence(t);
}

static void
no_leader(struct turn *t)
{
	bool stuck = t->v->peer.alive && !policy_peer_serves(t->v)
	    && t->v->now_ms - t->p->since_ms > 3 * t->p->conf->initdead_ms;

	turn_alarm(t, ALARM_NO_LEADER, stuck, "both nodes wait: see hactl status on both");
}

/* What was wrong when it served lasts as long as the reason.  Who answers for the
 * addresses now is the one that serves, and how many copies there are it says as well. */
static void
no_more_alarms(struct turn *t)
{
	const struct policy_view *v = t->v;

	turn_alarm(t, ALARM_FLAPPING, false, "");
	if (policy_peer_serves(v)) {
		turn_alarm(t, ALARM_CONTESTED, false, "");
		turn_alarm(t, ALARM_ALONE, false, "");
	}
	if (!v->peer.silent || (v->ping_ok && v->quorum != QUORUM_LOST))
		turn_alarm(t, ALARM_ISOLATED, false, "");
}

static void
idle_turn(struct turn *t)
{
	struct policy *p = t->p;

	honour_outdate(t);
	keep_split(t);
	keep_behind(t);
	/* syncd may have outlived an agent that died between two acts. */
	if (t->v->syncd_up && t->v->data.role == DATA_ACTIVE
	    && t->v->now_ms - p->step_ms > p->conf->retry_ms) {
		struct policy_action *a = turn_add(t, ACT_SYNCD_DEMOTE);

		a->no = t->v->data.gen.no;
		p->step_ms = t->v->now_ms;
	}
	if (!turn_saved(t) && t->v->now_ms - p->saved_ms > p->conf->retry_ms)
		turn_save(t);
	decline(t);
	if (p->marks.kept_out || p->leaving || p->stuck || !policy_complete(p, t->v))
		p->take_ms = -1;
	else if (p->take_ms < 0)
		p->take_ms = t->v->now_ms;
	follow_role(t);
	no_leader(t);
	no_more_alarms(t);
	demote_stuck(t);
	/* Nothing may stand on a step of this turn that is not on the disk yet. */
	if (policy_barred(p) || t->v->now_ms < p->retry_ms || !turn_saved(t))
		return;
	probe_freed(t);
	if (!promote_alive(t) && !policy_maintained(p, t->v))
		promote_silent(t);
}

/* ---- BOOT ---- */

static void
reattach(struct turn *t)
{
	struct policy *p = t->p;
	struct gen g = policy_newest(p, t->v);

	p->gen = g;
	for (unsigned i = 0; i < p->conf->nres; i++) {
		p->res[i].state = RES_UP;
		p->res[i].look = true;	/* nobody saw the end of its process meanwhile */
	}
	for (unsigned i = 0; i < p->conf->nvips; i++)
		p->vip_up[i] = true;	/* as far as we know: a demotion must remove it */
	if (g.no == 0 || g.node != p->conf->node || p->marks.released == g.no
	    || (p->conf->syncd && (!t->v->syncd_up || t->v->data.role != DATA_ACTIVE))) {
		demote_begin(t, DEMOTE_MOVE, false, REASON_STRANGE);
		return;
	}
	state_add_gen(&p->marks, &g);
	p->proof = PROOF_NONE;
	p->served_ms = t->v->now_ms;
	p->last_active = p->conf->node;
	p->slept = true;
	p->isolated_ms = p->syncd_gone_ms = p->data_standby_ms = p->ping_less_ms = -1;
	/* The agent before may have counted already: the other node does not count anew. */
	if (t->v->quorum == QUORUM_LOST && p->unquorate_ms >= 0)
		p->unquorate_ms = t->v->now_ms - p->conf->isolated_ms;
	for (unsigned i = 0; i < p->conf->nres; i++)
		p->res[i].held = (t->v->held >> i & 1) != 0;
	p->found = false;
	group_tell(t, true);
	turn_role(t, ROLE_ACTIVE, "the agent restarted, services went on");
	/* The agent before may have died half-way through the start: setting an address
	 * that is set only announces it, and resources are asked for their status now. */
	for (unsigned i = 0; i < p->conf->nvips; i++) {
		p->vip_busy[i] = true;
		turn_add(t, ACT_VIP_UP)->index = (int)i;
	}
}

static void
boot_turn(struct turn *t)
{
	struct policy *p = t->p;

	if (!t->v->local_known)
		return;
	/* A syncd that does not run serves nothing, but wait for it a little. */
	if (p->conf->syncd && !t->v->syncd_up
	    && t->v->now_ms - p->start_ms < p->conf->syncd_wait_ms)
		return;
	p->found = t->v->group_started && t->v->group_found;
	p->group_on = t->v->group_started && !p->found;
	p->start_failed = t->v->cannot;
	turn_alarm(t, ALARM_RES_FAILED, p->start_failed,
	    "this node could not serve, before its agent restarted");
	if (t->v->group_started)
		reattach(t);
	else
		turn_role(t, ROLE_WAIT, "nothing runs here");
}

/*
 *   BOOT ── syncd and the executor say that nothing runs ──────────────→ WAIT
 *    └──── services still run (only the agent restarted) ──→ ACTIVE, or DEMOTE
 *   WAIT ── peer active ──→ TARGET ── complete (P1) ──→ STANDBY
 *    │  ↖── silent peer ──────┘                            │
 *    │ MEETING: both idle, none complete: newest history   │ P1 and P2: RELEASE, REBOOT,
 *    │ HOLDER: alone, but only it could extend its data    │ SILENCE, OPERATOR
 *    │                        │                            │ FENCE, QUORUM
 *    └────────────────────────┬────────────────────────────┘
 *                             ↓
 *   PROMOTE  number durable → syncd's record → resources left to right, and beside
 *      │     them the duplicate-address probe → addresses
 *      ├── failed ──────────────────────────────→ DEMOTE
 *      ↓
 *   ACTIVE ── newer active seen · isolated · planned · resource failed · no ping ──→ DEMOTE
 *   DEMOTE   (drain) → addresses → resources right to left → syncd → released mark,
 *            durable if the disk takes it → WAIT with RELEASE(gen, lsn) in every frame
 *            an address or resource that stays keeps the node in DEMOTE, alarmed
 */
void
policy_step(struct policy *p, const struct policy_view *v, struct policy_actions *out)
{
	struct turn turn = { p, v, out }, *t = &turn;

	out->n = 0;
	if (v->now_ms - p->turned_ms > p->conf->dead_ms / 2) {
		p->awake_ms = v->now_ms;
		p->slept = true;
	}
	p->turned_ms = v->now_ms;
	p->unguarded = p->conf->watchdog_required && v->watchdog_ms == 0;
	note_peer(t);
	note_probe(t);
	note_vip(t);
	res_note(t);
	note_syncd(t);
	proof_turn(t);
	maint_turn(t);
	answers_turn(t);
	if (v->ev.type == EV_OP)
		op_event(t);
	switch (p->role) {
	case ROLE_BOOT:
		boot_turn(t);
		break;
	case ROLE_WAIT:
	case ROLE_TARGET:
	case ROLE_STANDBY:
		idle_turn(t);
		break;
	case ROLE_PROMOTE:
		promote_turn(t);
		break;
	case ROLE_ACTIVE:
		active_turn(t);
		break;
	case ROLE_DEMOTE:
		demote_turn(t);
		break;
	}
	op_turn(t);
}

/* ---- frames ---- */

static void
add_control(struct frame *f, enum control_type type, uint32_t arg, uint64_t gen, uint64_t lsn)
{
	if (f->ncontrols < FRAME_CONTROLS)
		f->controls[f->ncontrols++] = (struct control) { (uint8_t)type, arg, gen, lsn };
}

static uint16_t
flags(const struct policy *p, const struct policy_view *v)
{
	unsigned f = 0;

	if (!p->conf->syncd)
		f |= FRAME_F_NO_SYNCD;
	else if (v->syncd_up)
		f |= FRAME_F_SYNCD | (v->data.outdated ? FRAME_F_OUTDATED : 0)
		    | (v->data.empty ? FRAME_F_EMPTY : 0)
		    | (v->data.role == DATA_ACTIVE ? FRAME_F_DATA_ACTIVE : 0);
	if (p->marks.outdated != 0 && p->marks.outdated >= policy_newest(p, v).no)
		f |= FRAME_F_OUTDATED;
	if (policy_idle(p) && !policy_barred(p) && policy_complete(p, v))
		f |= FRAME_F_TAKE;
	if (p->marks.kept_out)
		f |= FRAME_F_KEPT_OUT;
	if (policy_fit(p) && !(v->syncd_up && (v->data.trouble & DATA_NO_INDEX) != 0))
		f |= FRAME_F_HEALTHY;
	if (v->syncd_up && (v->data.trouble & DATA_SLOW) != 0)
		f |= FRAME_F_SLOW;
	if (v->syncd_up && (v->data.trouble & DATA_FULL) != 0)
		f |= FRAME_F_FULL;
	if (v->ping_ok)
		f |= FRAME_F_PING;
	if (policy_maintenance_ms(p, v->now_ms) > 0)
		f |= FRAME_F_MAINTENANCE;
	if (v->watchdog_ms > 0 && v->watchdog_ms <= p->conf->watchdog_ms)
		f |= FRAME_F_WATCHDOG;
	if (p->leaving)
		f |= FRAME_F_LEAVING;
	if (p->role == ROLE_DEMOTE && p->demote > DEM_VIP)
		f |= FRAME_F_FREED;
	return (uint16_t)f;
}

/* The mark is durable, of this life or a former one.  Or this disk takes no mark (a file system
 * that became read only), and syncd, if there is one still, gave its belief up: belief dies
 * with its process, and no number can be made durable that this node could serve under. */
static bool
outdated_for_good(const struct policy *p, const struct policy_view *v)
{
	if (p->outdate_save == 0 || v->saved >= p->outdate_save)
		return true;
	return p->conf->syncd && (!v->syncd_up || v->data.outdated);
}

void
policy_fill(const struct policy *p, const struct policy_view *v, struct frame *f)
{
	bool serving = p->role == ROLE_PROMOTE || p->role == ROLE_ACTIVE || p->role == ROLE_DEMOTE;
	/* A grant may fail on its way: what the log says is told, not what was meant. */
	bool logged = p->role == ROLE_ACTIVE && v->syncd_up && v->data.role == DATA_ACTIVE;
	struct gen g = serving && !logged ? p->gen : policy_newest(p, v);

	memset(f, 0, sizeof(*f));
	f->role = (uint8_t)p->role;
	f->mode = v->data.mode;
	f->flags = flags(p, v);
	f->score = (uint8_t)(v->ping_score < UINT8_MAX ? v->ping_score : UINT8_MAX);
	f->config = p->conf->config;
	f->gen = g.no;
	f->gen_kind = g.kind;
	f->gen_node = g.node;
	f->fixed = p->marks.fixed;
	f->durable = v->data.durable_lsn;
	f->applied = v->data.applied_lsn;
	if (policy_idle(p) && p->marks.released != 0 && p->marks.released == g.no)
		add_control(f, CTRL_RELEASE, (uint32_t)p->reason, g.no, p->released_lsn);
	/* Early: what decides who leads must not fall out of a full frame. */
	if (policy_idle(p) && policy_alone(p, v) != 0)
		add_control(f, CTRL_ALONE, 0, policy_alone(p, v), 0);
	if ((p->role == ROLE_ACTIVE || p->role == ROLE_PROMOTE) && p->outdate_out != 0)
		add_control(f, CTRL_OUTDATE, 0, p->outdate_out, 0);
	if (policy_idle(p) && p->marks.outdated != 0 && outdated_for_good(p, v))
		add_control(f, CTRL_OUTDATED, 0, p->marks.outdated, 0);
	if (policy_idle(p) && p->declined != 0)
		add_control(f, CTRL_DECLINE, 0, p->declined, 0);
	if (p->ans_id != 0)
		add_control(f, CTRL_ANSWER, p->ans_id, (uint64_t)p->ans_code, 0);
	if (p->role == ROLE_ACTIVE && p->told.gen != 0 && f->ncontrols < FRAME_CONTROLS)
		f->controls[f->ncontrols++] = switch_control(p);
	if (p->req_op != OP_NONE)
		add_control(f, CTRL_REQUEST, p->req_id, (uint64_t)p->req_op, (uint64_t)p->req_arg);
}
