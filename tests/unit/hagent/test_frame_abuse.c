/* test_frame_abuse.c - what somebody on the wire can do with recorded frames (I13, I14).
 *
 * Two nodes speak over three links, with real keys, encoder and view of the peer;
 * everything is recorded.  Then the recording is played in twenty ways, and changed a
 * million times.  A refused frame changes nothing of the view but one counter, by one.
 * What a receiver may accept (it restarted, and cannot know that it had the frame before)
 * breaks the silence at most, proves nothing and brings no contents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "frame.h"
#include "peer.h"
#include "sha256.h"
#include "wire.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LINKS 3
#define TAPE 4000
#define DEAD_MS 2000
#ifdef MAILPAIR_SAN
#define MUTATIONS 50000
#else
#define MUTATIONS 1000000
#endif

struct taped {
	int from;
	unsigned link;
	int len;
	uint8_t bytes[FRAME_MAX];
};

static struct peer node[2], before[2];
static uint32_t boots[2], peer_boots[2];	/* as in ha/state of each node */
static struct frame_keys keys[2][LINKS];	/* by sender */
static uint8_t cluster[16];
static struct taped tape[TAPE];
static unsigned ntape;
static int64_t now;
static uint64_t dice;

static uint64_t
roll(uint64_t below)
{
	uint64_t z = dice += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (z ^ z >> 31) % below;
}

/* ---- the pair ---- */

static void
boot(int n)
{
	uint8_t nonce[16];

	boots[n]++;
	for (size_t i = 0; i < sizeof(nonce); i++)
		nonce[i] = (uint8_t)roll(256);
	peer_init(&node[n], (uint8_t)n, boots[n], nonce, peer_boots[n], now);
	for (unsigned l = 0; l < LINKS; l++)
		peer_add_link(&node[n], 250, 1000, DEAD_MS);
}

/* As on_frame() of agent.c. */
static enum frame_rc
receive(int n, unsigned link, const uint8_t *p, size_t len)
{
	struct frame_expect want = { .sender = (uint8_t)!n, .channel = (uint8_t)link,
		.keys = &keys[!n][link] };
	enum frame_rc rc;
	struct frame f;

	memcpy(want.cluster, cluster, sizeof(want.cluster));
	rc = frame_decode(p, len, &want, &f);
	if (rc != FRAME_OK) {
		peer_refused(&node[n], link, rc);
		return rc;
	}
	if (f.boot > peer_boots[n])
		peer_boots[n] = f.boot;
	peer_kept(&node[n], f.boot);
	return peer_accept(&node[n], link, &f, now);
}

static struct taped
make(int n, unsigned link)
{
	struct taped t = { .from = n, .link = link };
	struct frame f = { .role = (uint8_t)(3 + 2 * n), .mode = (uint8_t)roll(8),
		.flags = (uint16_t)roll(1024), .gen = 10 + roll(5), .fixed = 20, .gen_kind = 1,
		.durable = (uint64_t)now, .ncontrols = (uint8_t)roll(FRAME_CONTROLS + 1) };

	for (unsigned i = 0; i < f.ncontrols; i++)
		f.controls[i] = (struct control) { (uint8_t)(1 + roll(CTRLS - 1)),
			(uint32_t)roll(100), roll(100), roll(100) };
	peer_stamp(&node[n], link, now, &f);
	t.len = frame_encode(&f, cluster, &keys[n][link].key[0], t.bytes, sizeof(t.bytes));
	assert_true(t.len > 0);
	return t;
}

static enum frame_rc
play(const struct taped *t)
{
	return receive(!t->from, t->link, t->bytes, (size_t)t->len);
}

static void
talk(int64_t ms)
{
	for (int64_t end = now + ms; now < end; now += 50)
		for (int n = 0; n < 2; n++)
			for (unsigned l = 0; l < LINKS; l++) {
				struct taped t = make(n, l);

				assert_int_equal(play(&t), FRAME_OK);
				assert_true(ntape < TAPE);
				tape[ntape++] = t;
			}
}

static bool
alive(int n)
{
	struct peer_view v;

	peer_look(&node[n], now, &v);
	return v.alive;
}

static int
setup(void **state)
{
	static const char *const media[LINKS] = { "udp", "udp", "serial" };
	static const uint8_t secret[32] = "thirty-two bytes of cluster key";

	(void)state;
	memset(boots, 0, sizeof(boots));
	memset(peer_boots, 0, sizeof(peer_boots));
	now = 1000;
	dice = 7;
	ntape = 0;
	assert_int_equal(frame_cluster_id("mail", cluster), 0);
	for (unsigned n = 0; n < 2; n++)
		for (unsigned l = 0; l < LINKS; l++) {
			keys[n][l].nkeys = 1;
			assert_int_equal(frame_derive(secret, 1, "mail", media[l], (uint8_t)l, (uint8_t)n,
			    &keys[n][l].key[0]), 0);
		}
	boot(0);
	boot(1);
	talk(5000);
	assert_true(alive(0) && alive(1));
	return 0;
}

/* ---- what is expected ---- */

static void
look_before(void)
{
	memcpy(before, node, sizeof(before));
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

/* Nothing but the counters differs, on either node, and they grew by `by`. */
static void
expect_only_counted(uint64_t by)
{
	uint64_t grew = 0;

	for (int n = 0; n < 2; n++) {
		struct peer *is = &node[n], *was = &before[n];

		grew += refusals(is) - refusals(was);
		for (unsigned l = 0; l < LINKS; l++) {
			assert_int_equal(is->link[l].stat.accepted, was->link[l].stat.accepted);
			assert_int_equal(is->link[l].stat.lost, was->link[l].stat.lost);
			was->link[l].stat = is->link[l].stat;
		}
		assert_memory_equal(is, was, sizeof(*is));
	}
	assert_int_equal(grew, by);
}

static void
expect_refused(const struct taped *t, enum frame_rc want)
{
	look_before();
	assert_int_equal(play(t), want);
	expect_only_counted(1);
}

/* Whatever it does to the silence: nothing is believed. */
static void
expect_not_believed(const struct taped *t)
{
	int n = !t->from;
	struct frame last = node[n].last;

	play(t);
	assert_false(alive(n));
	assert_false(node[n].have);
	assert_memory_equal(&node[n].last, &last, sizeof(last));
	for (unsigned l = 0; l < LINKS; l++)
		assert_int_equal(node[n].link[l].proof_ms, -1);
}

/* ---- twenty ways to play a recording ---- */

static void
way_last(void)
{
	for (unsigned i = ntape - 6; i < ntape; i++)
		expect_refused(&tape[i], FRAME_REPLAY);
}

static void
way_after_silence(void)
{
	now += 3 * DEAD_MS;
	assert_false(alive(0) || alive(1));
	for (unsigned i = 0; i < ntape; i++)
		expect_refused(&tape[i], FRAME_REPLAY);
	assert_false(alive(0) || alive(1));
}

static void
way_in_order(void)
{
	for (unsigned i = 0; i < ntape; i++)
		expect_refused(&tape[i], FRAME_REPLAY);
}

static void
way_backwards(void)
{
	for (unsigned i = ntape; i-- > 0;)
		expect_refused(&tape[i], FRAME_REPLAY);
}

static void
way_shuffled(void)
{
	for (unsigned i = 0; i < 1000; i++)
		expect_refused(&tape[roll(ntape)], FRAME_REPLAY);
}

static void
way_storm(void)
{
	for (unsigned i = 0; i < 1000; i++)
		expect_refused(&tape[ntape - 1], FRAME_REPLAY);
}

static void
way_between_live_ones(void)
{
	for (unsigned i = 0; i < 50; i++) {
		talk(50);
		for (unsigned k = 0; k < 5; k++)
			expect_refused(&tape[roll(ntape)], FRAME_REPLAY);
	}
}

static void
way_reflected(void)
{
	for (unsigned i = 0; i < ntape; i++) {
		struct taped t = tape[i];

		t.from = !t.from;
		expect_refused(&t, FRAME_SENDER);
	}
}

/* The sender's byte is changed to what the other direction expects. */
static void
way_other_direction(void)
{
	for (unsigned i = 0; i < ntape; i++) {
		struct taped t = tape[i];

		t.from = !t.from;
		t.bytes[16] = (uint8_t)t.from;
		expect_refused(&t, FRAME_BAD_MAC);
	}
}

static void
way_other_link(void)
{
	for (unsigned i = 0; i < ntape; i++) {
		struct taped t = tape[i];

		t.link = (t.link + 1 + i % 2) % LINKS;
		expect_refused(&t, FRAME_CHANNEL);
	}
}

static void
way_other_link_renamed(void)
{
	for (unsigned i = 0; i < ntape; i++) {
		struct taped t = tape[i];

		t.link = (t.link + 1 + i % 2) % LINKS;
		t.bytes[5] = (uint8_t)t.link;
		expect_refused(&t, FRAME_BAD_MAC);
	}
}

static void
way_other_cluster(void)
{
	cluster[3] ^= 1;
	for (unsigned i = 0; i < ntape; i++)
		expect_refused(&tape[i], FRAME_CLUSTER);
}

static void
way_old_key(void)
{
	for (unsigned l = 0; l < LINKS; l++)
		keys[0][l].key[0].id = keys[1][l].key[0].id = 2;	/* rotated; 1 is gone */
	for (unsigned i = 0; i < ntape; i++)
		expect_refused(&tape[i], FRAME_KEY);
}

static void
way_sender_restarted(void)
{
	unsigned old = ntape;

	boot(0);
	talk(500);
	for (unsigned i = 0; i < old; i++)
		expect_refused(&tape[i], tape[i].from == 0 ? FRAME_OLD_BOOT : FRAME_REPLAY);
}

/* The boot is on the disk of the receiver, which restarts as well. */
static void
way_old_boot_both_restarted(void)
{
	unsigned old = ntape;

	boot(0);
	talk(500);
	boot(1);
	for (unsigned i = 0; i < old; i++)
		if (tape[i].from == 0)
			expect_refused(&tape[i], FRAME_OLD_BOOT);
}

static void
way_receiver_restarted(void)
{
	boot(1);
	for (unsigned i = 0; i < ntape; i++)
		if (tape[i].from == 0)
			expect_not_believed(&tape[i]);
	/* Each of them breaks the silence at most once. */
	for (unsigned i = 0; i < ntape; i++)
		if (tape[i].from == 0)
			expect_refused(&tape[i], FRAME_REPLAY);
	now += DEAD_MS + 1;
	assert_true(({ struct peer_view v; peer_look(&node[1], now, &v); v.silent; }));
}

static void
way_receiver_restarted_and_met(void)
{
	unsigned old = ntape;

	boot(1);
	talk(500);
	assert_true(alive(1));
	for (unsigned i = 0; i < old; i++)
		expect_refused(&tape[i], tape[i].from == 0 ? FRAME_REPLAY : FRAME_OLD_BOOT);
}

static void
way_handshake_against_live_one(void)
{
	unsigned old = ntape;

	/* The recorded handshake of the first start, against the second. */
	boot(0);
	boot(1);
	for (unsigned i = 0; i < old && i < 60; i++)
		expect_not_believed(&tape[i]);
	talk(500);
	assert_true(alive(0) && alive(1));
}

/* It never arrived, and comes when nobody waits for it any more. */
static void
way_held_back(void)
{
	struct taped held[2 * LINKS];
	unsigned n = 0;

	for (int from = 0; from < 2; from++)
		for (unsigned l = 0; l < LINKS; l++)
			held[n++] = make(from, l);
	now += 5 * DEAD_MS;
	for (unsigned i = 0; i < n; i++) {
		struct frame last = node[!held[i].from].last;

		play(&held[i]);
		assert_false(alive(!held[i].from));
		assert_memory_equal(&node[!held[i].from].last, &last, sizeof(last));
	}
}

/* Held back, and overtaken by live ones: too old for the window. */
static void
way_held_back_behind_window(void)
{
	struct taped held = make(0, 1);

	talk(64 * 50);
	expect_refused(&held, FRAME_REPLAY);
}

static const struct {
	const char *name;
	void (*play)(void);
} ways[] = {
	{ "the last ones at once", way_last },
	{ "all after a silence", way_after_silence },
	{ "all in order", way_in_order },
	{ "all backwards", way_backwards },
	{ "shuffled", way_shuffled },
	{ "one a thousand times", way_storm },
	{ "between live ones", way_between_live_ones },
	{ "to their sender", way_reflected },
	{ "to their sender, renamed", way_other_direction },
	{ "on another link", way_other_link },
	{ "on another link, renumbered", way_other_link_renamed },
	{ "in another cluster", way_other_cluster },
	{ "after the key was changed", way_old_key },
	{ "after the sender restarted", way_sender_restarted },
	{ "an old boot, after both restarted", way_old_boot_both_restarted },
	{ "after the receiver restarted", way_receiver_restarted },
	{ "after it restarted and met", way_receiver_restarted_and_met },
	{ "the handshake of a former start", way_handshake_against_live_one },
	{ "held back for long", way_held_back },
	{ "held back, behind the window", way_held_back_behind_window },
};

static void
test_recording(void **state)
{
	assert_int_equal(COUNT(ways), 20);
	for (size_t i = 0; i < COUNT(ways); i++) {
		setup(state);
		print_message("# %s\n", ways[i].name);
		ways[i].play();
	}
}

/* ---- a million changes ---- */

enum change { FLIP, CUT, LONGER, SPLICE, FIELD, FOREIGN_KEY, NO_MAC, ZEROS, CHANGES };

static void
sign(struct taped *t, const uint8_t secret[32])
{
	size_t len = (size_t)t->len - FRAME_MAC;

	assert_int_equal(sha256_hmac(secret, (struct span){ (const char *)t->bytes, len },
	    t->bytes + len), 0);
}

static void
change_field(struct taped *t)
{
	static const uint8_t at[] = { 3, 4, 5, 6, 7, 17, 18, 19, 20, 21, 22, 24, 28, 31, 35, 43, 51,
		59, 67, 75, 83, 91, 92, 108, 124, 125 };

	t->bytes[at[roll(sizeof(at))]] ^= (uint8_t)(1 + roll(255));
}

static struct taped
mutated(enum change how)
{
	struct taped t = tape[roll(ntape)];
	const struct taped *u = &tape[roll(ntape)];
	size_t at = roll((uint64_t)t.len);
	uint8_t wrong[32] = { 1 };

	switch (how) {
	case FLIP:
		t.bytes[at] ^= (uint8_t)(1u << roll(8));
		for (uint64_t n = roll(4); n > 0; n--)
			t.bytes[roll((uint64_t)t.len)] ^= (uint8_t)(1u << roll(8));
		break;
	case CUT:
		t.len = (int)at;
		break;
	case LONGER:
		t.len = t.len + 1 + (int)roll((uint64_t)(FRAME_MAX + 1 - t.len));
		if (t.len > FRAME_MAX)
			t.len = FRAME_MAX;
		if (roll(2) == 0)
			wire_store16(t.bytes + 6, (uint16_t)t.len);
		break;
	case SPLICE:
		memcpy(t.bytes + at, u->bytes + at, sizeof(t.bytes) - at);
		t.len = u->len;
		break;
	case FIELD:
		change_field(&t);
		break;
	case FOREIGN_KEY:
		change_field(&t);
		sign(&t, roll(2) == 0 ? wrong : keys[!t.from][t.link].key[0].secret);
		break;
	case NO_MAC:
		change_field(&t);
		memset(t.bytes + t.len - FRAME_MAC, 0, FRAME_MAC);
		break;
	default:
		memset(t.bytes + at, 0, (size_t)t.len - at);
		break;
	}
	return t;
}

/* Also with a receiver that restarts between them: then a frame that the changes made
 * whole again would be accepted, and none is. */
static void
test_mutations(void **state)
{
	unsigned long refused[FRAME_RCS] = { 0 }, total = 0;

	setup(state);
	for (unsigned i = 0; i < MUTATIONS; i++) {
		struct taped t = mutated((enum change)(i % CHANGES));
		int n = !t.from;
		enum frame_rc rc;

		if (i % 1000 == 999)
			talk(50);
		ntape = ntape > 1000 ? 600 : ntape;
		memcpy(&before[n], &node[n], sizeof(before[n]));
		rc = play(&t);
		assert_int_not_equal(rc, FRAME_OK);
		refused[rc]++;
		before[n].link[t.link].stat = node[n].link[t.link].stat;
		assert_true(memcmp(&before[n], &node[n], sizeof(before[n])) == 0);
	}
	for (int n = 0; n < 2; n++)
		total += refusals(&node[n]);
	assert_int_equal(total, MUTATIONS);
	for (unsigned rc = 0; rc < FRAME_RCS; rc++)
		if (refused[rc] != 0)
			print_message("# refused %s %lu\n", frame_rc_name((enum frame_rc)rc), refused[rc]);
	assert_true(alive(0) && alive(1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recording),
		cmocka_unit_test(test_mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
