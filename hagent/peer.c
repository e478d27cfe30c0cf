/* peer.c - the view of the peer, built from authentic frames.
 *
 * A frame is accepted when it is newer: of a higher boot, or of the same boot and
 * inside the channel's window.  It is *proven* when it also echoes the nonce that
 * this process drew at its start; only then do its contents count.  A link is
 * alive when a proven frame came lately and echoed a frame that we sent lately: a
 * frame that was recorded, or delayed for long, cannot do that.  A boot that is not
 * durable here proves nothing.
 *
 * Promises: peer_accept() of a refused frame changes counters only; peer_boot only
 * grows.  Does not authenticate, and does not decide what silence means. */
#include <assert.h>
#include <string.h>

#include "peer.h"
#include "hook.h"

const char *
peer_link_state_name(enum peer_link_state s)
{
	static const char *const names[] = { "never", "ok", "warn", "one-way", "dead" };

	return (unsigned)s < sizeof(names) / sizeof(names[0]) ? names[s] : "unknown";
}

void
peer_init(struct peer *p, uint8_t node, uint32_t boot, const uint8_t nonce[16],
    uint32_t peer_boot, int64_t now_ms)
{
	memset(p, 0, sizeof(*p));
	p->node = node;
	p->boot = boot;
	memcpy(p->nonce, nonce, 16);
	p->peer_boot = p->kept_boot = peer_boot;
	p->start_ms = now_ms;
}

int
peer_add_link(struct peer *p, int64_t keepalive_ms, int64_t warn_ms, int64_t dead_ms)
{
	struct peer_link *l;

	if (p->nlinks >= PEER_LINKS)
		return -1;
	l = &p->link[p->nlinks];
	l->keepalive_ms = keepalive_ms;
	l->warn_ms = warn_ms;
	l->dead_ms = dead_ms;
	l->heard_ms = l->proof_ms = l->echoed_ms = -1;
	return (int)p->nlinks++;
}

void
peer_stamp(struct peer *p, unsigned link, int64_t now_ms, struct frame *f)
{
	struct peer_link *l = &p->link[link];

	assert(link < p->nlinks);
	l->seq++;
	l->sent_ms[l->seq % PEER_SENT] = now_ms;
	l->stat.sent++;
	f->type = FRAME_HEARTBEAT;
	f->sender = p->node;
	f->channel = (uint8_t)link;
	f->boot = p->boot;
	f->seq = l->seq;
	f->order = ++p->order;
	memcpy(f->nonce, p->nonce, 16);
	/* What we have of the peer; zeros until its present boot was heard. */
	f->echo_boot = p->peer_nonce_known ? p->peer_boot : 0;
	f->echo_seq = p->peer_nonce_known ? l->echo_seq : 0;
	memcpy(f->echo_nonce, p->peer_nonce, 16);
}

/* The peer restarted: nothing of its former life counts any more. */
static void
new_boot(struct peer *p, const struct frame *f)
{
	p->peer_boot = f->boot;
	p->have = false;
	p->peer_nonce_known = true;
	memcpy(p->peer_nonce, f->nonce, 16);
	for (unsigned i = 0; i < p->nlinks; i++) {
		struct peer_link *l = &p->link[i];

		l->window = (struct frame_window) { 0, 0 };
		l->echo_seq = 0;
		l->proof_ms = l->echoed_ms = -1;
	}
}

static void
count_late(struct peer_link *l, uint64_t gap, int64_t now_ms)
{
	int64_t late;
	unsigned b = 0;

	if (l->heard_ms < 0 || gap == 0)
		return;
	/* Lost frames are counted as lost; lateness is of those that came. */
	late = now_ms - l->heard_ms - (int64_t)gap * l->keepalive_ms;
	if (late < 0)
		late = 0;
	if (late > l->stat.late_max_ms)
		l->stat.late_max_ms = late;
	l->stat.late_sum_ms += (uint64_t)late;
	while (b < PEER_BUCKETS - 1 && late >= (int64_t)1 << b)
		b++;
	l->stat.late[b]++;
}

void
peer_kept(struct peer *p, uint32_t boot)
{
	if (boot > p->kept_boot)
		p->kept_boot = boot;
}

static bool
proven(const struct peer *p, const struct frame *f)
{
	return f->boot <= p->kept_boot && ((f->echo_boot == p->boot
	    && memcmp(f->echo_nonce, p->nonce, 16) == 0) || hook_on("accept-without-echo"));
}

static void
take_echo(struct peer *p, struct peer_link *l, const struct frame *f, int64_t now_ms)
{
	int64_t sent;

	l->proof_ms = now_ms;
	if (f->echo_seq == 0 || f->echo_seq > l->seq || l->seq - f->echo_seq >= PEER_SENT)
		return;
	sent = l->sent_ms[f->echo_seq % PEER_SENT];
	if (sent > l->echoed_ms)
		l->echoed_ms = sent;
	/* Contents only from a frame that answers a recent one of ours, and never from an
	 * older frame than the one we have: links deliver in different order. */
	if (now_ms - sent > 2 * l->dead_ms || (p->have && f->order <= p->last.order))
		return;
	p->last = *f;
	p->last_ms = now_ms;
	p->answers_ms = sent;
	p->have = p->ever = true;
}

enum frame_rc
peer_accept(struct peer *p, unsigned link, const struct frame *f, int64_t now_ms)
{
	struct peer_link *l = &p->link[link];
	uint64_t gap;

	assert(link < p->nlinks);
	if (f->boot < p->peer_boot && !hook_on("accept-old-boot")) {
		peer_refused(p, link, FRAME_OLD_BOOT);
		return FRAME_OLD_BOOT;
	}
	if (f->boot != p->peer_boot)
		new_boot(p, f);
	/* After our own restart the boot is known from the disk, the nonce is not.  A
	 * recorded frame may teach us a nonce of the same boot, which is the right one. */
	if (!p->peer_nonce_known) {
		p->peer_nonce_known = true;
		memcpy(p->peer_nonce, f->nonce, 16);
	}
	gap = f->seq > l->window.top && l->window.top != 0 ? f->seq - l->window.top : 0;
	if (memcmp(p->peer_nonce, f->nonce, 16) != 0 || !frame_window_take(&l->window, f->seq)) {
		peer_refused(p, link, FRAME_REPLAY);
		return FRAME_REPLAY;
	}
	if (gap > 1)
		l->stat.lost += gap - 1;
	else if (f->seq < l->window.top && l->stat.lost > 0)
		l->stat.lost--;		/* not lost, overtaken */
	count_late(l, gap, now_ms);
	l->stat.accepted++;
	l->heard_ms = now_ms;
	/* A late one inside the window is life, but says nothing new. */
	if (f->seq == l->window.top) {
		l->echo_seq = f->seq;
		if (proven(p, f))
			take_echo(p, l, f, now_ms);
	}
	return FRAME_OK;
}

void
peer_refused(struct peer *p, unsigned link, enum frame_rc rc)
{
	if (link < p->nlinks && (unsigned)rc < FRAME_RCS)
		p->link[link].stat.refused[rc]++;
}

static bool
link_alive(const struct peer_link *l, int64_t now_ms)
{
	return l->proof_ms >= 0 && now_ms - l->proof_ms <= l->dead_ms && l->echoed_ms >= 0
	    && now_ms - l->echoed_ms <= 2 * l->dead_ms;
}

void
peer_look(const struct peer *p, int64_t now_ms, struct peer_view *v)
{
	int64_t heard = p->start_ms;

	memset(v, 0, sizeof(*v));
	v->links = p->nlinks;
	v->silent = true;
	v->boot = p->peer_boot;
	for (unsigned i = 0; i < p->nlinks; i++) {
		const struct peer_link *l = &p->link[i];

		if (l->heard_ms > heard)
			heard = l->heard_ms;
		/* From our start, too: a node that just began has not listened yet. */
		if (now_ms - (l->heard_ms >= 0 ? l->heard_ms : p->start_ms) <= l->dead_ms
		    && !(l->heard_ms < 0 && hook_on("restart-counts-as-silence")))
			v->silent = false;
		if (link_alive(l, now_ms))
			v->links_alive++;
	}
	v->silent_ms = now_ms - heard;
	v->alive = v->links_alive > 0 && p->have;
	v->have = p->have;
	v->ever = p->ever;
	v->answers_ms = p->answers_ms;
	if (p->have)
		v->f = p->last;
}

enum peer_link_state
peer_link_state(const struct peer *p, unsigned link, int64_t now_ms)
{
	const struct peer_link *l = &p->link[link];

	assert(link < p->nlinks);
	if (l->heard_ms < 0)
		return PEER_LINK_NEVER;
	if (now_ms - l->heard_ms > l->dead_ms)
		return PEER_LINK_DEAD;
	if (!link_alive(l, now_ms))
		return PEER_LINK_ONE_WAY;
	return now_ms - l->heard_ms > l->warn_ms ? PEER_LINK_WARN : PEER_LINK_OK;
}

/* Just behind since + after, if that is still to come and nearer than before. */
static int64_t
nearer(int64_t before, int64_t since, int64_t after, int64_t now_ms)
{
	int64_t then = since + after + 1;

	return since >= 0 && then > now_ms && then < before ? then : before;
}

int64_t
peer_next_ms(const struct peer *p, int64_t now_ms)
{
	int64_t next = INT64_MAX;

	for (unsigned i = 0; i < p->nlinks; i++) {
		const struct peer_link *l = &p->link[i];

		next = nearer(next, l->heard_ms, l->warn_ms, now_ms);
		next = nearer(next, l->heard_ms >= 0 ? l->heard_ms : p->start_ms, l->dead_ms, now_ms);
		next = nearer(next, l->proof_ms, l->dead_ms, now_ms);
		next = nearer(next, l->echoed_ms, 2 * l->dead_ms, now_ms);
	}
	return next;
}

int64_t
peer_late_ms(const struct peer_link_stat *s, unsigned percent)
{
	uint64_t all = 0, upto = 0;
	int64_t bound;
	unsigned b = 0;

	for (unsigned i = 0; i < PEER_BUCKETS; i++)
		all += s->late[i];
	if (all == 0)
		return 0;
	for (upto = s->late[0]; b < PEER_BUCKETS - 1 && upto * 100 < all * percent; b++)
		upto += s->late[b + 1];
	bound = b == PEER_BUCKETS - 1 ? INT64_MAX : ((int64_t)1 << b) - 1;
	return bound < s->late_max_ms ? bound : s->late_max_ms;
}

const struct control *
peer_control(const struct peer_view *v, enum control_type type)
{
	if (!v->alive)
		return NULL;
	for (unsigned i = 0; i < v->f.ncontrols; i++)
		if (v->f.controls[i].type == type)
			return &v->f.controls[i];
	return NULL;
}
