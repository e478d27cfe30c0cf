/* sim_attack.c - somebody on the wire: records frames of both nodes and all links, and
 * plays them later as they were, to their sender, on another link, or changed.
 *
 * Checked (I13, I14): what was changed, reflected, crossed over or played again is
 * refused; then nothing of the peer's view differs but a counter, and that one grew.
 * A frame that the receiver never had is no replay: networks deliver late.  One that was
 * sent before the receiver's process began may break the silence (peer.h), and proves
 * nothing. */
#include <stddef.h>
#include <string.h>

#include "sim.h"

enum trick { REPLAY, REFLECT, CROSS, FLIP, CUT, SPLICE, EDIT, TRICKS };
static const char *const trick_names[TRICKS] = { "replayed", "reflected", "crossed", "flipped",
	"cut", "spliced", "edited" };

void
attack_tape(struct sim *s, int from, unsigned link, const uint8_t *p, int len)
{
	struct taped *t = &s->tape[s->tape_next];

	/* Some stay for long, so that frames of old boots are among them. */
	if ((s->plan->noise & NOISE_ATTACK) == 0 || !sim_chance(s, 100))
		return;
	if (s->ntape == TAPE_MAX && sim_chance(s, 300))
		return;
	*t = (struct taped) { .from = from, .link = link, .len = len, .sent_ms = s->now };
	memcpy(t->bytes, p, (size_t)len);
	s->tape_next = (unsigned)sim_random(s, TAPE_MAX);
	if (s->ntape < TAPE_MAX)
		s->tape_next = ++s->ntape % TAPE_MAX;
}

void
attack_taken(struct sim *s, int n, const struct msg *m)
{
	for (unsigned i = 0; i < s->ntape; i++) {
		struct taped *t = &s->tape[i];

		if (t->from != n && t->link == m->link && t->len == m->len
		    && memcmp(t->bytes, m->u.bytes, (size_t)m->len) == 0)
			t->taken = s->n[n].agent_life;
	}
}

/* False when nothing was changed. */
static bool
change(struct sim *s, enum trick trick, struct taped *t)
{
	static const uint8_t fields[] = { 4, 5, 16, 17, 18, 20, 22, 31, 43, 51, 59, 67, 91 };
	const struct taped *other = &s->tape[sim_random(s, s->ntape)];
	struct taped was = *t;
	size_t at;

	switch (trick) {
	case FLIP:
		for (uint64_t n = 1 + sim_random(s, 4); n > 0; n--)
			t->bytes[sim_random(s, (uint64_t)t->len)] ^= (uint8_t)(1u << sim_random(s, 8));
		break;
	case CUT:
		t->len = (int)sim_random(s, FRAME_MAX + 1);
		break;
	case SPLICE:
		at = sim_random(s, (uint64_t)t->len);
		memcpy(t->bytes + at, other->bytes + at, sizeof(t->bytes) - at);
		t->len = other->len;
		break;
	case EDIT:
		t->bytes[fields[sim_random(s, sizeof(fields))]] = (uint8_t)sim_random(s, 256);
		break;
	case CROSS:
		t->link = (t->link + 1 + (unsigned)sim_random(s, LINKS - 1)) % LINKS;
		return true;
	default:
		return true;
	}
	return t->len != was.len || memcmp(t->bytes, was.bytes, (size_t)t->len) != 0;
}

/* A spliced frame may be one that was sent. */
static bool
genuine(const struct sim *s, const struct taped *t)
{
	for (unsigned i = 0; i < s->ntape; i++)
		if (s->tape[i].from == t->from && s->tape[i].link == t->link
		    && s->tape[i].len == t->len
		    && memcmp(s->tape[i].bytes, t->bytes, (size_t)t->len) == 0)
			return true;
	return false;
}

static uint64_t
refusals(const struct peer *p)
{
	uint64_t n = 0;

	for (unsigned l = 0; l < p->nlinks; l++)
		for (unsigned rc = 0; rc < FRAME_RCS; rc++)
			n += p->link[l].stat.refused[rc];
	return n;
}

static bool
same_but_counters(const struct peer *was, const struct peer *is)
{
	static struct peer a, b;

	memcpy(&a, was, sizeof(a));
	memcpy(&b, is, sizeof(b));
	for (unsigned l = 0; l < PEER_LINKS; l++) {
		memset(&a.link[l].stat, 0, sizeof(a.link[l].stat));
		memset(&b.link[l].stat, 0, sizeof(b.link[l].stat));
	}
	return memcmp(&a, &b, sizeof(a)) == 0;
}

static void
judge(struct sim *s, int n, const struct taped *t, enum trick trick, const struct peer *was,
    enum frame_rc rc)
{
	const struct node *x = &s->n[n];
	bool again = t->taken == x->agent_life;

	if (rc != FRAME_OK && !same_but_counters(was, &x->peer))
		sim_fail(s, "I13: a frame that was %s and refused (%s) changed what node %d knows",
		    trick_names[trick], frame_rc_name(rc), n);
	else if (rc != FRAME_OK && refusals(&x->peer) != refusals(was) + 1)
		sim_fail(s, "I14: node %d did not count a frame that was %s", n,
		    trick_names[trick]);
	else if (rc == FRAME_OK && (trick != REPLAY || again))
		sim_fail(s, "I14: node %d accepted a frame that was %s", n, trick_names[trick]);
	else if (rc == FRAME_OK && t->sent_ms < x->agent_since
	    && (was->last_ms != x->peer.last_ms
	        || was->link[t->link].proof_ms < x->peer.link[t->link].proof_ms))
		sim_fail(s, "I14: node %d believed a frame from before its start", n);
}

void
attack(struct sim *s)
{
	static struct peer was;
	enum trick trick = (enum trick)sim_random(s, TRICKS);
	struct taped *source, t;
	struct node *x;
	enum frame_rc rc;
	int to;

	if (s->ntape == 0)
		return;
	source = &s->tape[sim_random(s, s->ntape)];
	t = *source;
	to = trick == REFLECT ? t.from : !t.from;
	x = &s->n[to];
	if (!x->agent || !sim_runs(s, to) || s->now < x->agent_paused || !change(s, trick, &t)
	    || (trick == SPLICE && genuine(s, &t)))
		return;
	memcpy(&was, &x->peer, sizeof(was));
	s->attacks++;
	rc = agent_take(s, to, t.link, t.bytes, t.len);
	judge(s, to, &t, trick, &was, rc);
	if (rc == FRAME_OK) {
		source->taken = x->agent_life;
		x->heard_ms = s->now;
	}
}
