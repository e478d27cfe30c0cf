/* policy_run.c - runs situations (the .txt files here) against the real policy.
 *
 * A situation is text, one line an instant:
 *   node 0|1 · set NAME VALUE · marks NAME VALUE · use NAME · T WORD... -> EXPECTATION, ...
 * "set group started": services run here, and the executor remembers that they were started;
 * "found": they answer so, and nobody is known to have started them.  "set cannot 1": the
 * agent before could not keep them running here.
 * "use NAME" goes on with the lines of NAME.inc, and comes back.  T is the time in ms,
 * never going back; "+N" is N ms after the line before.  WORD... is one event or change
 * of the view.
 * After -> stand actions that this turn must have (a leading ! : must not have), by
 * name with optional text behind "=", or
 *   ~ACTION    in this turn or one of the ticks since the line before
 *   role=NAME, why=TEXT_OF_HISTORY, text=TEXT of some action, from its start, _ for blanks;
 *   hint=TEXT the same
 *   frame=FLAG what a frame sent now says: take, healthy, watchdog, maintenance, release,
 *              request, outdate, outdated, slow,
 *              full, score:N
 *   answers: clients are answered ("set answers T": until then, the agent before said) | complete | failback-due | maintained */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_int.h"

#define WALL_MS 1700000000000

/* The words:
 *   tick | pause (no tick since the line before: the process did not run)
 *   peer silent|heard|quiet|ROLE [gen=N] [kind=K] [durable=N] [boot=N] [take] [outdated] [ill]
 *       [no-ping] [no-syncd] [kept-out] [because=REASON] [release=G] [declined=G]
 *       [marked=G] [outdate=G] [alone=G] [switch=G] [watchdog] [maintenance] [score=N]
 *       [freed] [slow] [full] [before: an answer to nothing newer] [request=OP[:ARG]] [answer=CODE] [links=ALIVE]
 *   disk bad|good: ha/state cannot be written, or again · ping on|off|SCORE · wall STEP · quorum none|lost|have [peer] · watchdog MS
 *   fence off|failed|stale
 *   data MODE gen=N [kind=K] [by=NODE] [durable=N] [outdated] [heard[=MS]] [every=MS] [slow] [full]
 *       [peer-slow] [peer-full] [peer-lags] [peer-late] [no-index]
 *   syncd up|gone
 *   probe clear|taken|unknown
 *   promoted | demoted | refused [grant] | alone | join
 *   newer gen=N kind=K | adopted gen=N kind=K | log-lost
 *   res I start|stop|status running|stopped|failed
 *   died I
 *   vip I up|down ok|failed
 *   op switchover|failover|standby|online|cleanup|shutdown|maintenance [node=N] [off]
 *       [loss] [dry] [ms=N]
 *   op resource-start|resource-stop|resource-restart res=I [dry] */
struct run {
	struct policy p;
	struct policy_conf conf;
	struct policy_view v;
	struct state_marks marks;
	struct policy_actions acts;
	char since[8192];	/* descriptions of all actions since the last line, one a line */
	bool started, failed, quiet;
	bool disk_bad;		/* saves fail */
	int64_t answered_ms;	/* of our frames that the peer answered before the one now */
	int64_t wall_off;
	int64_t until_ms;	/* clients are answered */
	const char *file;
	int line;
	uint8_t salt;
	int because;		/* of the release or switch that the peer tells next */
};

static void
bad(struct run *r, const char *what, const char *word)
{
	printf("# %s:%d: %s: %s\n", r->file, r->line, what, word);
	r->failed = true;
}

static uint64_t
num(struct run *r, const char *s)
{
	char *end;
	uint64_t n = strtoull(s, &end, 10);

	if (end == s || *end != '\0')
		bad(r, "not a number", s);
	return n;
}

/* Index of name among n names given by a function; -1. */
static int
lookup(const char *name, const char *(*of)(int), int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(name, of(i)) == 0)
			return i;
	return -1;
}

static const char *
role_of(int i)
{
	return ha_role_name((enum ha_role)i);
}

static const char *
kind_of(int i)
{
	return gen_kind_name((enum gen_kind)i);
}

/* One word for each reason that a situation needs. */
static const char *
reason_of(int i)
{
	return i == REASON_PLANNED ? "planned" : i == REASON_PING ? "ping"
	    : i == REASON_SILENCE ? "silence" : i == REASON_RESOURCE ? "resource"
	    : i == REASON_FAILBACK ? "failback" : i == REASON_SLOW ? "slow"
	    : i == REASON_FULL ? "full" : i == REASON_INDEX ? "index"
	    : i == REASON_START ? "start" : "-";
}

static const char *
mode_of(int i)
{
	return data_mode_name((enum data_mode)i);
}

static void
defaults(struct run *r)
{
	struct policy_conf *c = &r->conf;

	memset(r, 0, sizeof(*r));
	*c = (struct policy_conf) { .mode = POLICY_SERIAL_PING, .cold_last_active = true,
		.syncd = true, .pings = true, .nres = 2, .nvips = 1, .dead_ms = 2000,
		.initdead_ms = 10000, .isolated_ms = 2000, .ping_handover_ms = 1500, .evidence_ms = 1500,
		.probe_fresh_ms = 2000, .suspect_ms = 1800,
		.drain_ms = 500, .syncd_wait_ms = 3000, .join_wait_ms = 5000,
		.switch_ms = 20000, .retry_ms = 1000, .fence_retry_max_ms = 4000, .preferred = -1,
		.failback_delay_ms = 5000, .moves_max = 4, .moves_window_ms = 60000 };
	for (int i = 0; i < 2; i++) {
		c->res[i].restarts = 1;
		c->res[i].window_ms = 600000;
	}
	r->v.local_known = r->v.syncd_up = r->v.ping_ok = true;
	r->v.ping_score = 1;
	r->v.peer.silent = true;
	r->v.peer.links = 2;
	r->v.data.rule = COMMIT_AUTO;
	r->v.data.mode = DATA_WAIT;
	r->v.data.peer_heard_ms = -1;
}

static const char *
policy_mode_of(int i)
{
	static const char *const names[] = { "serial+ping", "fencing", "quorum", "manual" };

	return names[i];
}

static bool
set_number(struct run *r, const char *name, const char *val)
{
	struct policy_conf *c = &r->conf;
	const struct {
		const char *name;
		int64_t *ms;
	} t[] = { { "ping-handover", &c->ping_handover_ms }, { "watchdog", &c->watchdog_ms },
		{ "fence-delay", &c->fence_delay_ms }, { "fence-retry-max", &c->fence_retry_max_ms },
		{ "failback-delay", &c->failback_delay_ms }, { "moves-window", &c->moves_window_ms },
		{ "vip-check", &c->vip_check_ms }, { "isolated", &c->isolated_ms },
		{ "known", &c->known_ms },
		{ "deadtime", &c->dead_ms }, { "syncd-wait", &c->syncd_wait_ms } };

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (strcmp(name, t[i].name) != 0)
			continue;
		*t[i].ms = (int64_t)num(r, val);
		return true;
	}
	if (strcmp(name, "moves") == 0)
		c->moves_max = (unsigned)num(r, val);
	else if (strcmp(name, "watchdog-required") == 0)
		c->watchdog_required = num(r, val) != 0;
	else if (strcmp(name, "preferred") == 0)
		c->preferred = (int)num(r, val);
	else
		return false;
	return true;
}

static bool
set(struct run *r, const char *name, const char *val)
{
	struct policy_conf *c = &r->conf;

	if (strcmp(name, "mode") == 0)
		c->mode = (enum policy_mode)lookup(val, policy_mode_of, POLICY_MANUAL + 1);
	else if (strcmp(name, "quorum") == 0)
		c->quorum_require = strcmp(val, "require") == 0;
	else if (strcmp(name, "failback") == 0)
		c->failback = strcmp(val, "auto") == 0 ? FAILBACK_AUTO : FAILBACK_MANUAL;
	else if (set_number(r, name, val))
		return true;
	else if (strcmp(name, "cold-start") == 0)
		c->cold_last_active = strcmp(val, "wait") != 0;
	else if (strcmp(name, "syncd") == 0)
		c->syncd = r->v.syncd_up = strcmp(val, "no") != 0;
	else if (strcmp(name, "pings") == 0)
		c->pings = strcmp(val, "no") != 0;
	else if (strcmp(name, "resources") == 0)
		c->nres = (unsigned)num(r, val);
	else if (strcmp(name, "vips") == 0)
		c->nvips = (unsigned)num(r, val);
	else if (strcmp(name, "drain") == 0)
		c->res[num(r, val) & 1].drain = true;
	else if (strcmp(name, "group") == 0) {
		r->v.group_found = strcmp(val, "found") == 0;
		r->v.group_started = r->v.group_found || strcmp(val, "started") == 0;
	}
	else if (strcmp(name, "cannot") == 0)
		r->v.cannot = num(r, val) != 0;
	else if (strcmp(name, "answers") == 0)
		r->until_ms = (int64_t)num(r, val);
	else if (strcmp(name, "restarts") == 0)
		c->res[0].restarts = c->res[1].restarts = (unsigned)num(r, val);
	else if (strcmp(name, "window") == 0)
		c->res[0].window_ms = c->res[1].window_ms = (int64_t)num(r, val);
	else if (strcmp(name, "monitor") == 0)
		c->res[0].monitor_ms = c->res[1].monitor_ms = (int64_t)num(r, val);
	else if (strcmp(name, "held") == 0)
		r->v.held |= 1u << (num(r, val) & 1);
	else if (strcmp(name, "rule") == 0)
		r->v.data.rule = strcmp(val, "available") == 0 ? COMMIT_AVAILABLE : COMMIT_AUTO;
	else
		return false;
	return true;
}

static bool
mark(struct run *r, const char *name, const char *val)
{
	struct gen g = { .no = num(r, val), .node = r->conf.node, .kind = GEN_CLEAN };

	if (strcmp(name, "released") == 0)
		r->marks.released = g.no;
	else if (strcmp(name, "outdated") == 0)
		r->marks.outdated = g.no;
	else if (strcmp(name, "kept-out") == 0)
		r->marks.kept_out = g.no != 0;
	else if (strcmp(name, "held") == 0)
		state_add_gen(&r->marks, &g);
	else if (strcmp(name, "maintenance") == 0) {
		r->marks.maint_ms = (int64_t)g.no;
		r->marks.maint_wall_ms = WALL_MS + (int64_t)g.no;
	}
	else
		return false;
	return true;
}

static enum policy_op
op_of(struct run *r, const char *name)
{
	static const char *const ops[] = { "switchover", "failover", "standby", "online",
		"cleanup", "shutdown", "resource-start", "resource-stop", "resource-restart",
		"maintenance" };

	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (strcmp(name, ops[i]) == 0)
			return (enum policy_op)(i + 1);
	bad(r, "unknown operation", name);
	return OP_NONE;
}

static void
control(struct run *r, enum control_type t, uint64_t gen)
{
	struct frame *f = &r->v.peer.f;

	f->controls[f->ncontrols++] = (struct control) { .type = (uint8_t)t, .gen = gen,
		.arg = t == CTRL_RELEASE ? (uint32_t)r->because : 0 };
}

/* What a peer says that became active in generation no, 0.4 s after somebody served. */
static struct control
told(const struct run *r, uint64_t no)
{
	struct policy p = { .told = { .gen = no, .kind = GEN_CLEAN, .from = r->conf.node,
		.wall_ms = 77000, .outage_ms = 400 },
		.told_reason = (enum policy_reason)r->because };

	return switch_control(&p);
}

/* OP or OP:ARG; each one of these words is a new request. */
static void
request(struct run *r, char *val)
{
	struct frame *f = &r->v.peer.f;
	char *arg = strchr(val, ':');

	if (arg != NULL)
		*arg++ = '\0';
	f->controls[f->ncontrols++] = (struct control) { .type = CTRL_REQUEST,
		.arg = 1000 + (uint32_t)r->line, .gen = (uint64_t)op_of(r, val),
		.lsn = arg != NULL ? num(r, arg) : 0 };
}

static void
peer_word(struct run *r, char *w)
{
	struct frame *f = &r->v.peer.f;
	char *val = strchr(w, '=');

	if (val != NULL)
		*val++ = '\0';
	if (strcmp(w, "take") == 0)
		f->flags |= FRAME_F_TAKE;
	else if (strcmp(w, "freed") == 0)
		f->flags |= FRAME_F_FREED;
	else if (strcmp(w, "outdated") == 0)
		f->flags |= FRAME_F_OUTDATED;
	else if (strcmp(w, "slow") == 0)
		f->flags |= FRAME_F_SLOW;
	else if (strcmp(w, "full") == 0)
		f->flags |= FRAME_F_FULL;
	else if (strcmp(w, "ill") == 0)
		f->flags &= (uint16_t)~FRAME_F_HEALTHY;
	else if (strcmp(w, "kept-out") == 0)
		f->flags |= FRAME_F_KEPT_OUT;
	else if (strcmp(w, "watchdog") == 0)
		f->flags |= FRAME_F_WATCHDOG;
	else if (strcmp(w, "maintenance") == 0)
		f->flags |= FRAME_F_MAINTENANCE;
	else if (strcmp(w, "before") == 0)
		r->v.peer.answers_ms = r->answered_ms;
	else if (strcmp(w, "no-ping") == 0)
		f->flags &= (uint16_t)~FRAME_F_PING;
	else if (strcmp(w, "no-syncd") == 0)
		f->flags &= (uint16_t)~FRAME_F_SYNCD;
	else if (val == NULL)
		bad(r, "unknown word of the peer", w);
	else if (strcmp(w, "gen") == 0)
		f->gen = f->fixed = num(r, val);
	else if (strcmp(w, "kind") == 0)
		f->gen_kind = (uint8_t)lookup(val, kind_of, GEN_MERGE + 1);
	else if (strcmp(w, "because") == 0)
		r->because = lookup(val, reason_of, REASONS);
	else if (strcmp(w, "switch") == 0)
		f->controls[f->ncontrols++] = told(r, num(r, val));
	else if (strcmp(w, "links") == 0)
		r->v.peer.links_alive = (unsigned)num(r, val);
	else if (strcmp(w, "score") == 0)
		f->score = (uint8_t)num(r, val);
	else if (strcmp(w, "request") == 0)
		request(r, val);
	else if (strcmp(w, "answer") == 0)
		f->controls[f->ncontrols++] = (struct control) { .type = CTRL_ANSWER,
			.arg = r->p.req_id, .gen = num(r, val) };
	else if (strcmp(w, "durable") == 0)
		f->durable = num(r, val);
	else if (strcmp(w, "boot") == 0)
		r->v.peer.boot = (uint32_t)num(r, val);
	else if (strcmp(w, "release") == 0)
		control(r, CTRL_RELEASE, num(r, val));
	else if (strcmp(w, "declined") == 0)
		control(r, CTRL_DECLINE, num(r, val));
	else if (strcmp(w, "marked") == 0)
		control(r, CTRL_OUTDATED, num(r, val));
	else if (strcmp(w, "alone") == 0)
		control(r, CTRL_ALONE, num(r, val));
	else if (strcmp(w, "outdate") == 0)
		control(r, CTRL_OUTDATE, num(r, val));
	else
		bad(r, "unknown word of the peer", w);
}

static void
ev_peer(struct run *r, char **w, int n)
{
	struct peer_view *p = &r->v.peer;

	/* Its last frame was just heard; alive until deadtime says otherwise. */
	if (n > 0 && strcmp(w[0], "quiet") == 0) {
		r->quiet = true;
		return;
	}
	p->silent = n > 0 && strcmp(w[0], "silent") == 0;
	p->alive = !p->silent && n > 0 && strcmp(w[0], "heard") != 0;
	p->links_alive = p->alive ? p->links : 0;
	if (p->silent) {
		p->silent_ms = r->quiet ? p->silent_ms : 2001;
		r->quiet = false;
		return;
	}
	p->silent_ms = 0;
	r->quiet = false;
	if (!p->alive)
		return;
	p->have = p->ever = true;
	p->boot = p->boot == 0 ? 1 : p->boot;
	r->answered_ms = p->answers_ms;
	p->answers_ms = r->v.now_ms;
	p->f.ncontrols = 0;
	p->f.flags = FRAME_F_HEALTHY | FRAME_F_PING
	    | (r->conf.syncd ? FRAME_F_SYNCD : FRAME_F_NO_SYNCD);
	p->f.role = (uint8_t)lookup(w[0], role_of, ROLE_DEMOTE + 1);
	if (p->f.role > ROLE_DEMOTE)
		bad(r, "unknown role", w[0]);
	for (int i = 1; i < n; i++)
		peer_word(r, w[i]);
}

static bool
trouble_word(struct run *r, const char *w)
{
	static const struct {
		const char *word;
		unsigned bit;
	} words[] = { { "slow", DATA_SLOW }, { "full", DATA_FULL }, { "peer-slow", DATA_PEER_SLOW },
		{ "peer-full", DATA_PEER_FULL }, { "peer-lags", DATA_PEER_LAGS },
		{ "peer-late", DATA_PEER_LATE }, { "no-index", DATA_NO_INDEX } };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(w, words[i].word) == 0) {
			r->v.data.trouble |= (uint8_t)words[i].bit;
			return true;
		}
	return false;
}

/* gen=, kind=, by=, durable= and plain words of a generation or of the data. */
static void
gen_words(struct run *r, char **w, int n, struct gen *g)
{
	for (int i = 0; i < n; i++) {
		char *val = strchr(w[i], '=');

		if (val != NULL)
			*val++ = '\0';
		if (strcmp(w[i], "outdated") == 0)
			r->v.data.outdated = 1;
		else if (strcmp(w[i], "heard") == 0)
			r->v.data.peer_connected = 1,
			r->v.data.peer_heard_ms = val != NULL ? (int64_t)num(r, val) : 100;
		else if (strcmp(w[i], "every") == 0 && val != NULL)
			r->v.data.peer_every_ms = (uint32_t)num(r, val);
		else if (val == NULL && trouble_word(r, w[i]))
			continue;
		else if (val == NULL)
			bad(r, "unknown word", w[i]);
		else if (strcmp(w[i], "gen") == 0)
			g->no = num(r, val);
		else if (strcmp(w[i], "kind") == 0)
			g->kind = (uint8_t)lookup(val, kind_of, GEN_MERGE + 1);
		else if (strcmp(w[i], "by") == 0)
			g->node = (uint8_t)num(r, val);
		else if (strcmp(w[i], "durable") == 0)
			r->v.data.durable_lsn = num(r, val);
		else
			bad(r, "unknown word", w[i]);
	}
}

static void
ev_data(struct run *r, char **w, int n)
{
	int mode = n > 0 ? lookup(w[0], mode_of, DATA_SPLIT + 1) : -1;
	struct data_state *d = &r->v.data;

	if (mode < 0) {
		bad(r, "unknown mode", n > 0 ? w[0] : "");
		return;
	}
	d->mode = (uint8_t)mode;
	d->insync = mode == DATA_INSYNC;
	d->peer_connected = 0;
	d->peer_heard_ms = -1;
	d->outdated = d->trouble = 0;
	d->role = mode == DATA_SYNC || mode == DATA_FROZEN || mode == DATA_SOLO
	    || mode == DATA_JOINING ? DATA_ACTIVE : DATA_STANDBY;
	gen_words(r, w + 1, n - 1, &d->gen);
}

static void
ev_res(struct run *r, char **w, int n)
{
	static const char *const verbs[] = { "start", "stop", "status", "drain" };
	static const char *const results[] = { "running", "stopped", "failed" };
	struct policy_event *e = &r->v.ev;

	e->type = EV_RES;
	if (n != 3) {
		bad(r, "res INDEX VERB RESULT", "");
		return;
	}
	e->index = (int)num(r, w[0]);
	for (unsigned i = 0; i < 4; i++)
		if (strcmp(w[1], verbs[i]) == 0)
			e->verb = (enum policy_res_verb)i;
	for (unsigned i = 0; i < 3; i++)
		if (strcmp(w[2], results[i]) == 0)
			e->result = (enum policy_res_result)i;
}

static void
ev_op(struct run *r, char **w, int n)
{
	struct policy_event *e = &r->v.ev;

	e->type = EV_OP;
	e->id = 7;
	e->index = -1;
	e->op_node = r->conf.node;
	e->op = op_of(r, n > 0 ? w[0] : "");
	for (int i = 1; i < n; i++) {
		if (strncmp(w[i], "node=", 5) == 0)
			e->op_node = (uint8_t)num(r, w[i] + 5);
		if (strncmp(w[i], "res=", 4) == 0)
			e->index = (int)num(r, w[i] + 4);
		if (strncmp(w[i], "ms=", 3) == 0)
			e->ms = (int64_t)num(r, w[i] + 3);
		e->peer_is_off = e->peer_is_off || strcmp(w[i], "off") == 0;
		e->accept_loss = e->accept_loss || strcmp(w[i], "loss") == 0;
		e->dry_run = e->dry_run || strcmp(w[i], "dry") == 0;
	}
}

static bool
ev_syncd(struct run *r, char **w, int n)
{
	static const struct {
		const char *word;
		enum agentlink_type msg;
	} t[] = { { "promoted", AL_PROMOTED }, { "demoted", AL_DEMOTED }, { "refused", AL_REFUSED },
		{ "alone", AL_ALONE_WANTED }, { "join", AL_JOIN_WANTED }, { "newer", AL_NEWER },
		{ "adopted", AL_ADOPTED }, { "log-lost", AL_LOG_LOST } };
	struct policy_event *e = &r->v.ev;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (strcmp(w[0], t[i].word) != 0)
			continue;
		e->type = EV_SYNCD;
		e->msg = t[i].msg;
		e->no = e->msg == AL_REFUSED ? (uint64_t)AL_PROMOTE : r->v.data.gen.no;
		if (e->msg == AL_REFUSED && n > 1 && strcmp(w[1], "grant") == 0) {
			e->no = AL_GRANT;
			n = 1;
		}
		if (e->msg == AL_PROMOTED) {
			e->gen = r->p.gen;
			r->v.data.gen = r->p.gen;
			r->v.data.role = DATA_ACTIVE;
			r->v.data.mode = gen_kind_alone((enum gen_kind)e->gen.kind) ? DATA_SOLO : DATA_FROZEN;
		} else if (e->msg == AL_DEMOTED) {
			r->v.data.role = DATA_STANDBY;
			r->v.data.mode = DATA_WAIT;
			r->v.data.insync = 0;
		}
		gen_words(r, w + 1, n - 1, &e->gen);
		return true;
	}
	return false;
}

static void
ev_ping(struct run *r, const char *w)
{
	r->v.ping_score = strcmp(w, "on") == 0 ? 1 : strcmp(w, "off") == 0 ? 0 : (unsigned)num(r, w);
	r->v.ping_ok = r->v.ping_score > 0;
}

static void
event(struct run *r, char **w, int n)
{
	struct policy_event *e = &r->v.ev;

	memset(e, 0, sizeof(*e));
	if (strcmp(w[0], "peer") == 0)
		ev_peer(r, w + 1, n - 1);
	else if (strcmp(w[0], "data") == 0)
		ev_data(r, w + 1, n - 1);
	else if (strcmp(w[0], "res") == 0)
		ev_res(r, w + 1, n - 1);
	else if (strcmp(w[0], "died") == 0 && n == 2) {
		e->type = EV_DIED;
		e->index = (int)num(r, w[1]);
	} else if (strcmp(w[0], "op") == 0)
		ev_op(r, w + 1, n - 1);
	else if (strcmp(w[0], "ping") == 0 && n == 2)
		ev_ping(r, w[1]);
	else if (strcmp(w[0], "wall") == 0 && n == 2)
		r->wall_off += strtoll(w[1], NULL, 10);
	else if (strcmp(w[0], "watchdog") == 0 && n == 2)
		r->v.watchdog_ms = (int64_t)num(r, w[1]);
	else if (strcmp(w[0], "quorum") == 0 && n >= 2) {
		r->v.quorum = strcmp(w[1], "have") == 0 ? QUORUM_HAVE
		    : strcmp(w[1], "lost") == 0     ? QUORUM_LOST
		                                    : QUORUM_NONE;
		r->v.quorum_peer = n == 3;
	} else if (strcmp(w[0], "fence") == 0 && n == 2) {
		e->type = EV_FENCE;
		e->no = r->p.fence.no - (strcmp(w[1], "stale") == 0);
		e->ok = strcmp(w[1], "failed") != 0;
	} else if (strcmp(w[0], "disk") == 0 && n == 2)
		r->disk_bad = strcmp(w[1], "bad") == 0;
	else if (strcmp(w[0], "syncd") == 0 && n == 2)
		r->v.syncd_up = strcmp(w[1], "up") == 0;
	else if (strcmp(w[0], "probe") == 0 && n == 2) {
		e->type = EV_PROBE;
		e->no = r->p.probe_no;
		e->probe = strcmp(w[1], "clear") == 0 ? PROBE_CLEAR
		    : strcmp(w[1], "taken") == 0      ? PROBE_TAKEN
		                                      : PROBE_UNKNOWN;
	} else if (strcmp(w[0], "vip") == 0 && n == 4) {
		e->type = EV_VIP;
		e->index = (int)num(r, w[1]);
		e->up = strcmp(w[2], "up") == 0;
		e->ok = strcmp(w[3], "ok") == 0;
	} else if (strcmp(w[0], "tick") != 0 && strcmp(w[0], "pause") != 0 && !ev_syncd(r, w, n))
		bad(r, "unknown event", w[0]);
}

static void
describe(const struct policy_action *a, char *buf, size_t size)
{
	switch (a->act) {
	case ACT_SYNCD_PROMOTE:
	case ACT_SYNCD_GRANT:
		snprintf(buf, size, "%s=%s", policy_act_name(a->act), gen_kind_name((enum gen_kind)a->gen.kind));
		break;
	case ACT_RES_START: case ACT_RES_STOP: case ACT_RES_STATUS: case ACT_RES_DRAIN:
	case ACT_VIP_UP: case ACT_VIP_DOWN:
		snprintf(buf, size, "%s=%d", policy_act_name(a->act), a->index);
		break;
	case ACT_GROUP:
		snprintf(buf, size, "group=%s%s", a->on ? "up" : "down", a->cannot ? ":cannot" : "");
		break;
	case ACT_HISTORY:
		/* history=EPOCH:KIND:FROM:TO:OUTAGE:planned|- */
		snprintf(buf, size, "history=%llu:%s:%d:%d:%lld:%s", (unsigned long long)a->sw.gen,
		    gen_kind_name((enum gen_kind)a->sw.kind), a->sw.from, a->sw.to,
		    (long long)a->sw.outage_ms, a->sw.planned ? "planned" : "-");
		break;
	case ACT_ALARM:
		snprintf(buf, size, "alarm=%s:%s", policy_alarm_name(a->alarm), a->on ? "on" : "off");
		break;
	case ACT_OP_DONE:
		snprintf(buf, size, "op-done=%d", a->code);
		break;
	default:
		snprintf(buf, size, "%s", policy_act_name(a->act));
		break;
	}
}

/* Is a the beginning of b?  "_" in a stands for a blank. */
static bool
same_words(const char *a, const char *b)
{
	for (; *a != '\0' && (*a == *b || (*a == '_' && *b == ' ')); a++)
		b++;
	return *a == '\0';
}

/* What a frame would say. */
static bool
frame_says(const struct run *r, const char *what)
{
	static const struct {
		const char *word;
		unsigned flag;
	} flags[] = { { "take", FRAME_F_TAKE }, { "healthy", FRAME_F_HEALTHY }, { "watchdog", FRAME_F_WATCHDOG },
		{ "maintenance", FRAME_F_MAINTENANCE }, { "slow", FRAME_F_SLOW },
		{ "full", FRAME_F_FULL } };
	struct frame f;

	policy_fill(&r->p, &r->v, &f);
	for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (strcmp(what, flags[i].word) == 0)
			return (f.flags & flags[i].flag) != 0;
	if (strncmp(what, "score:", 6) == 0)
		return f.score == strtoul(what + 6, NULL, 10);
	for (unsigned i = 0; i < f.ncontrols; i++)
		if ((f.controls[i].type == CTRL_REQUEST && strcmp(what, "request") == 0)
		    || (f.controls[i].type == CTRL_OUTDATE && strcmp(what, "outdate") == 0)
		    || (f.controls[i].type == CTRL_OUTDATED && strcmp(what, "outdated") == 0)
		    || (f.controls[i].type == CTRL_RELEASE && strcmp(what, "release") == 0))
			return true;
	return false;
}

/* A whole line of r->since, or a line up to its "=". */
static bool
since_has(const struct run *r, const char *want)
{
	size_t len = strlen(want);

	for (const char *s = r->since; *s != '\0'; s += strcspn(s, "\n") + 1)
		if (strncmp(s, want, len) == 0 && (s[len] == '\n' || s[len] == '='))
			return true;
	return false;
}

static bool
happened(const struct run *r, const char *want)
{
	char buf[120];

	if (want[0] == '~')
		return since_has(r, want + 1);
	if (strncmp(want, "frame=", 6) == 0)
		return frame_says(r, want + 6);
	if (strcmp(want, "complete") == 0)
		return policy_complete(&r->p, &r->v);
	if (strcmp(want, "answers") == 0)
		return r->v.now_ms < r->until_ms;
	if (strcmp(want, "failback-due") == 0)
		return policy_failback_due(&r->p, &r->v);
	if (strcmp(want, "maintained") == 0)
		return policy_maintained(&r->p, &r->v);
	if (strncmp(want, "role=", 5) == 0)
		return strcmp(want + 5, ha_role_name(r->p.role)) == 0;
	for (unsigned i = 0; i < r->acts.n; i++) {
		if (strncmp(want, "why=", 4) == 0 && r->acts.a[i].act == ACT_HISTORY
		    && same_words(want + 4, r->acts.a[i].sw.reason))
			return true;
		if (strncmp(want, "text=", 5) == 0 && same_words(want + 5, r->acts.a[i].text))
			return true;
		if (strncmp(want, "hint=", 5) == 0 && same_words(want + 5, r->acts.a[i].hint))
			return true;
		describe(&r->acts.a[i], buf, sizeof(buf));
		if (strcmp(buf, want) == 0
		    || strcmp(policy_act_name(r->acts.a[i].act), want) == 0)
			return true;
	}
	return false;
}

static void
expect(struct run *r, char *text)
{
	char buf[120], *save = NULL;

	for (char *w = strtok_r(text, ", \n", &save); w != NULL; w = strtok_r(NULL, ", \n", &save)) {
		bool not = w[0] == '!';

		if (happened(r, w + not) != not)
			continue;
		bad(r, not ? "must not happen" : "did not happen", w + not);
		printf("#   role %s:", ha_role_name(r->p.role));
		for (unsigned i = 0; i < r->acts.n; i++) {
			describe(&r->acts.a[i], buf, sizeof(buf));
			printf(" %s", buf);
		}
		printf("\n");
	}
}

/* Saves succeed at once, unless the disk is bad; a second turn lets what waited for the disk go on. */
static void
turn(struct run *r)
{
	int64_t until;

	memset(r->v.random, ++r->salt, sizeof(r->v.random));
	r->v.wall_ms = WALL_MS + r->v.now_ms + r->wall_off;
	r->v.answers = r->v.now_ms < r->until_ms;
	policy_step(&r->p, &r->v, &r->acts);
	until = policy_answers_until(&r->p, &r->v);
	r->until_ms = until == POLICY_NO_ANSWERS ? 0 : until != 0 ? until : r->until_ms;
	if (!r->disk_bad)
		r->v.saved = r->p.save_no;
	for (unsigned i = 0; i < r->acts.n; i++) {
		char buf[120];
		size_t len = strlen(r->since);

		describe(&r->acts.a[i], buf, sizeof(buf));
		snprintf(r->since + len, sizeof(r->since) - len, "%s\n", buf);
	}
}

static void
instant(struct run *r, char *line)
{
	char *arrow = strstr(line, "->"), *w[16], *word, *save = NULL;
	int64_t at;
	int n = 0;

	if (arrow != NULL) {
		*arrow = '\0';
		arrow += 2;
	}
	word = strtok_r(line, " \t\n", &save);
	at = word[0] == '+' ? r->v.now_ms + (int64_t)num(r, word + 1) : (int64_t)num(r, word);
	r->since[0] = '\0';
	while (n < 16 && (w[n] = strtok_r(NULL, " \t\n", &save)) != NULL)
		n++;
	if (!r->started) {
		policy_init(&r->p, &r->conf, &r->marks, 3, 0);
		r->started = true;
	}
	/* The daemon calls every 50 ms; a situation tells only what changes. */
	while (r->v.now_ms + 200 < at && (n == 0 || strcmp(w[0], "pause") != 0)) {
		r->v.now_ms += 200;
		r->v.peer.silent_ms += r->v.peer.silent || r->quiet ? 200 : 0;
		r->v.peer.answers_ms = r->v.peer.alive && !r->quiet ? r->v.now_ms : r->v.peer.answers_ms;
		memset(&r->v.ev, 0, sizeof(r->v.ev));
		turn(r);
	}
	r->v.peer.silent_ms += r->v.peer.silent || r->quiet ? at - r->v.now_ms : 0;
	r->v.now_ms = at;
	if (n > 0)
		event(r, w, n);
	turn(r);
	if (arrow != NULL)
		expect(r, arrow);
}

static void one_line(struct run *, char *);

static bool
run_lines(struct run *r, const char *path)
{
	char line[400];
	FILE *f = fopen(path, "r");

	if (f == NULL) {
		bad(r, "cannot open", path);
		return false;
	}
	while (fgets(line, sizeof(line), f) != NULL) {
		r->line++;
		one_line(r, line);
	}
	fclose(f);
	return true;
}

/* Lines that many situations begin with stand in the same folder. */
static void
use(struct run *r, const char *name)
{
	const char *slash = strrchr(r->file, '/');
	int dir = slash == NULL ? 0 : (int)(slash + 1 - r->file), line = r->line;
	char path[512];

	snprintf(path, sizeof(path), "%.*s%s.inc", dir, r->file, name);
	r->line = 0;
	run_lines(r, path);
	r->line = line;
}

static void
one_line(struct run *r, char *line)
{
	char word[32], name[32], val[64];
	int n;

	line[strcspn(line, "#\n")] = '\0';
	if (isdigit((unsigned char)line[0]) || line[0] == '+') {
		instant(r, line);
		return;
	}
	n = sscanf(line, "%31s %31s %63s", word, name, val);
	if (n <= 0)
		return;
	if (n == 2 && strcmp(word, "use") == 0)
		use(r, name);
	else if (n == 2 && strcmp(word, "node") == 0)
		r->conf.node = (uint8_t)num(r, name);
	else if (n != 3 || (strcmp(word, "set") == 0   ? !set(r, name, val)
	                      : strcmp(word, "marks") == 0 ? !mark(r, name, val)
	                                                   : true))
		bad(r, "unknown line", word);
}

static bool
run_file(const char *path)
{
	static struct run r;

	defaults(&r);
	r.file = path;
	return run_lines(&r, path) && !r.failed;
}

int
main(int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc; i++) {
		bool ok = run_file(argv[i]);

		printf("%s policy %s\n", ok ? "ok" : "not ok", argv[i]);
		failed += !ok;
	}
	return failed != 0;
}
