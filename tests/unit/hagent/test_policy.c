/* test_policy.c - what the situations of tests/policy cannot say: contents of frames and
 * actions, the list that ends early, every reason and name, the largest configuration,
 * and that a step with the same input gives the same output. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "policy_int.h"

static struct policy_conf conf;
static struct policy_view view;
static struct policy policy;
static struct policy_actions acts;

static int
setup(void **state)
{
	struct state_marks marks = { 0 };

	(void)state;
	conf = (struct policy_conf) { .mode = POLICY_SERIAL_PING, .syncd = true, .pings = true,
		.nres = 1, .nvips = 1, .dead_ms = 2000, .initdead_ms = 10000, .isolated_ms = 2000,
		.ping_handover_ms = 1500, .evidence_ms = 1500, .probe_fresh_ms = 2000,
		.drain_ms = 500, .syncd_wait_ms = 3000, .join_wait_ms = 5000, .switch_ms = 20000,
		.retry_ms = 1000, .config = 77 };
	view = (struct policy_view) { .wall_ms = 1700000000123, .ping_ok = true,
		.syncd_up = true, .local_known = true,
		.data = { .mode = DATA_WAIT, .gen = { .no = 2, .kind = GEN_JOIN },
		.durable_lsn = 50, .applied_lsn = 49, .peer_heard_ms = -1 } };
	view.peer = (struct peer_view) { .silent = true, .links = 2 };
	policy_init(&policy, &conf, &marks, 3, 0);
	return 0;
}

static void
step(int64_t now, const struct policy_event *e)
{
	static const struct policy_event tick = { .type = EV_TICK };

	view.now_ms = now;
	view.peer.answers_ms = now;
	view.ev = e != NULL ? *e : tick;
	policy_step(&policy, &view, &acts);
}

static void
saved(int64_t now, const struct policy_event *e)
{
	step(now, e);
	view.saved = policy.save_no;
}

static const struct policy_action *
find(enum policy_act act)
{
	for (unsigned i = 0; i < acts.n; i++)
		if (acts.a[i].act == act)
			return &acts.a[i];
	return NULL;
}

static unsigned
place(enum policy_act act)
{
	for (unsigned i = 0; i < acts.n; i++)
		if (acts.a[i].act == act)
			return i;
	fail_msg("no action %s", policy_act_name(act));
	return 0;
}

static void
hear(enum ha_role role, uint64_t gen, unsigned flags)
{
	view.peer.silent = false;
	view.peer.silent_ms = 0;
	view.peer.alive = view.peer.have = view.peer.ever = true;
	view.peer.links_alive = 2;
	view.peer.boot = 5;
	view.peer.f = (struct frame) { .role = (uint8_t)role, .gen = gen, .fixed = gen,
		.durable = 50, .config = 77,
		.flags = (uint16_t)(FRAME_F_SYNCD | FRAME_F_HEALTHY | FRAME_F_PING | flags) };
}

static void
become_active(void)
{
	struct policy_event e = { .type = EV_SYNCD, .msg = AL_PROMOTED };

	saved(0, NULL);
	hear(ROLE_WAIT, 2, 0);
	saved(100, NULL);
	assert_int_equal(policy.role, ROLE_PROMOTE);
	e.gen = policy.gen;
	view.data.gen = policy.gen;
	view.data.role = DATA_ACTIVE;
	view.data.mode = DATA_FROZEN;
	saved(110, &e);
	e = (struct policy_event) { .type = EV_PROBE, .no = policy.probe_no,
		.probe = PROBE_CLEAR };
	saved(200, &e);
	e = (struct policy_event) { .type = EV_RES, .verb = POLICY_START,
		.result = POLICY_RUNNING };
	saved(210, &e);
	e = (struct policy_event) { .type = EV_VIP, .up = true, .ok = true };
	saved(220, &e);
	assert_int_equal(policy.role, ROLE_ACTIVE);
}

/* ---- order and durability ---- */

static void
number_is_saved_before_it_is_used(void **state)
{
	(void)state;
	saved(0, NULL);
	hear(ROLE_WAIT, 2, 0);
	step(100, NULL);
	assert_true(place(ACT_SAVE) < place(ACT_SYNCD_PROMOTE));
	assert_int_equal(policy.marks.fixed, find(ACT_SYNCD_PROMOTE)->gen.no);
	assert_int_equal(find(ACT_SYNCD_PROMOTE)->gen.no % 2, 0);	/* of node 0 */
	assert_memory_equal(find(ACT_SYNCD_PROMOTE)->gen.id, view.random, 16);
}

/* The save failed: no address, no resource, and after a moment it gives up. */
static void
a_promotion_without_its_save_goes_nowhere(void **state)
{
	struct policy_event e = { .type = EV_SYNCD, .msg = AL_PROMOTED };

	(void)state;
	saved(0, NULL);
	hear(ROLE_WAIT, 2, 0);
	step(100, NULL);
	e.gen = policy.gen;
	step(110, &e);
	assert_null(find(ACT_PROBE));
	step(300, NULL);
	assert_int_equal(policy.role, ROLE_DEMOTE);
	assert_int_equal(policy.reason, REASON_SAVE);
}

/* The state cannot be written: what is left out of the list, and what never is. */
static void
giving_up_needs_no_disk(void **state)
{
	static const enum policy_act never[] = { ACT_SYNCD_DEMOTE, ACT_SYNCD_DENY, ACT_SYNCD_OUTDATE,
		ACT_RES_STOP, ACT_VIP_DOWN, ACT_SELF_FENCE, ACT_GROUP, ACT_ALARM, ACT_OP_DONE };

	(void)state;
	assert_true(policy_act_needs_save(ACT_SYNCD_PROMOTE));
	assert_true(policy_act_needs_save(ACT_SYNCD_GRANT));
	assert_true(policy_act_needs_save(ACT_SEND_NOW));
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		assert_false(policy_act_needs_save(never[i]));
}

/* With the mark on the disk, or when the disk did not take it: not before that is known. */
static void
release_follows_the_mark(void **state)
{
	bool taken = *state == NULL;
	struct policy_event e = { .type = EV_OP, .op = OP_SWITCHOVER, .op_node = 1, .id = 9 };
	struct frame f;

	become_active();
	hear(ROLE_STANDBY, 4, FRAME_F_TAKE);
	saved(1000, &e);
	e = (struct policy_event) { .type = EV_VIP, .ok = true };
	saved(1100, &e);
	e = (struct policy_event) { .type = EV_RES, .verb = POLICY_STOP,
		.result = POLICY_STOPPED };
	saved(1200, &e);
	view.data.role = DATA_STANDBY;
	e = (struct policy_event) { .type = EV_SYNCD, .msg = AL_DEMOTED, .no = policy.gen.no,
		.lsn = 60 };
	step(1300, &e);
	assert_non_null(find(ACT_SAVE));
	assert_int_equal(policy.role, ROLE_DEMOTE);
	policy_fill(&policy, &view, &f);
	assert_int_equal(f.ncontrols, 0);
	if (taken)
		view.saved = policy.save_no;
	step(1400, NULL);
	assert_int_equal(policy.role, ROLE_WAIT);
	policy_fill(&policy, &view, &f);
	assert_int_equal(f.ncontrols, 1);
	assert_int_equal(f.controls[0].type, CTRL_RELEASE);
	assert_int_equal(f.controls[0].arg, REASON_PLANNED);
	assert_int_equal(f.controls[0].gen, policy.marks.released);
	assert_int_equal(f.controls[0].lsn, 60);
}

/* ---- frames ---- */

static void
what_a_frame_says(void **state)
{
	struct frame f;

	(void)state;
	become_active();
	view.data.mode = DATA_SYNC;
	policy_fill(&policy, &view, &f);
	assert_int_equal(f.role, ROLE_ACTIVE);
	assert_int_equal(f.mode, DATA_SYNC);
	assert_int_equal(f.gen, policy.gen.no);
	assert_int_equal(f.durable, 50);
	assert_int_equal(f.applied, 49);
	assert_int_equal(f.config, 77);
	assert_int_equal(f.flags, FRAME_F_SYNCD | FRAME_F_HEALTHY | FRAME_F_PING
	    | FRAME_F_DATA_ACTIVE);
	view.ping_ok = view.syncd_up = false;
	policy_fill(&policy, &view, &f);
	assert_int_equal(f.flags, FRAME_F_HEALTHY);
}

/* Told by one, written down by the other: the same line. */
static void
a_switch_crosses_unchanged(void **state)
{
	static const struct state_switch cases[] = {
		{ .gen = 9, .kind = GEN_PRESUMED, .from = 1, .outage_ms = 2400,
		    .wall_ms = 1700000000123 },
		{ .gen = UINT64_MAX, .kind = GEN_MERGE, .from = 255, .outage_ms = -1 },
		{ .gen = 1, .kind = GEN_CLEAN, .from = 0, .outage_ms = 0, .wall_ms = 1 },
		{ .gen = 2, .outage_ms = (int64_t)UINT32_MAX, .wall_ms = ((int64_t)1 << 47) - 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct policy teller = { .told = cases[i], .told_reason = REASON_PLANNED };
		struct turn t = { &policy, &view, &acts };
		const struct state_switch *sw;

		setup(NULL);
		hear(ROLE_ACTIVE, cases[i].gen, 0);
		view.peer.f.controls[view.peer.f.ncontrols++] = switch_control(&teller);
		acts.n = 0;
		switch_heard(&t);
		assert_int_equal(acts.n, 1);
		sw = &acts.a[0].sw;
		assert_int_equal(sw->gen, cases[i].gen);
		assert_int_equal(sw->kind, cases[i].kind);
		assert_int_equal(sw->from, cases[i].from);
		assert_int_equal(sw->to, 1);
		assert_int_equal(sw->wall_ms, cases[i].wall_ms);
		/* what does not fit is unknown, not wrong */
		assert_int_equal(sw->outage_ms,
		    cases[i].outage_ms >= (int64_t)UINT32_MAX ? -1 : cases[i].outage_ms);
		assert_true(sw->planned);
		assert_string_equal(sw->reason, "planned switchover");
		acts.n = 0;
		switch_heard(&t);
		assert_int_equal(acts.n, 0);
	}
}

/* A peer of another version may use numbers that we do not know. */
static void
strange_numbers_are_harmless(void **state)
{
	struct control c = { .type = CTRL_SWITCH, .gen = 8, .lsn = UINT64_MAX, .arg = 1 };
	struct turn t = { &policy, &view, &acts };

	(void)state;
	hear(ROLE_ACTIVE, 8, 0);
	view.peer.f.controls[view.peer.f.ncontrols++] = c;
	acts.n = 0;
	switch_heard(&t);
	assert_int_equal(acts.n, 1);
	assert_int_equal(acts.a[0].sw.from, 255);
	assert_string_equal(acts.a[0].sw.reason, "unknown");
	assert_false(acts.a[0].sw.planned);
}

/* ---- the log that leads ---- */

static void
alone_counts_only_what_the_log_holds(void **state)
{
	struct gen alone = { .no = 7, .kind = GEN_SOLO }, later = { .no = 11, .kind = GEN_SOLO };

	(void)state;
	assert_int_equal(policy_alone(&policy, &view), 0);
	state_add_gen(&policy.marks, &alone);
	state_add_gen(&policy.marks, &later);	/* fixed, but it never came to the record */
	assert_int_equal(policy_alone(&policy, &view), 0);
	view.data.gen.no = 8;
	assert_int_equal(policy_alone(&policy, &view), 7);
	view.data.gen.no = 12;
	assert_int_equal(policy_alone(&policy, &view), 11);
	conf.syncd = false;
	assert_int_equal(policy_alone(&policy, &view), 0);
}

/* ---- limits ---- */

/* The longest lists: everything is started, and given up, with all that may be. */
static void
the_largest_configuration_fits(void **state)
{
	struct policy_event e = { .type = EV_OP, .op = OP_SHUTDOWN, .id = 1 };

	(void)state;
	conf.nres = POLICY_RES_MAX;
	conf.nvips = POLICY_VIPS_MAX;
	for (unsigned i = 0; i < conf.nres; i++) {
		conf.res[i].drain = true;
		conf.res[i].monitor_ms = 1;
	}
	view.group_started = true;
	view.data.role = DATA_ACTIVE;
	view.data.gen.node = 0;
	saved(0, NULL);
	assert_int_equal(policy.role, ROLE_ACTIVE);
	assert_true(acts.n >= POLICY_VIPS_MAX);
	saved(10, NULL);
	assert_true(acts.n >= POLICY_RES_MAX);
	for (unsigned i = 0; i < conf.nres; i++)
		policy.res[i].busy = false;
	saved(20, &e);
	assert_true(acts.n >= POLICY_RES_MAX && acts.n < POLICY_ACTIONS_MAX);
	for (int64_t now = 70; now < 5000; now += 50)
		saved(now, NULL);
}

static void
the_same_input_gives_the_same_output(void **state)
{
	static struct policy before, first;
	static struct policy_actions out;

	(void)state;
	become_active();
	hear(ROLE_STANDBY, 4, FRAME_F_TAKE);
	view.ping_ok = false;
	before = policy;
	step(5000, NULL);
	first = policy;
	out = acts;
	policy = before;
	step(5000, NULL);
	assert_memory_equal(&first, &policy, sizeof(policy));
	assert_int_equal(out.n, acts.n);
	assert_memory_equal(out.a, acts.a, out.n * sizeof(out.a[0]));
}

static void
everything_has_a_name(void **state)
{
	(void)state;
	for (int i = 0; i <= ACT_SELF_FENCE; i++)
		assert_string_not_equal(policy_act_name((enum policy_act)i), "unknown");
	for (int i = 0; i < ALARMS; i++)
		assert_string_not_equal(policy_alarm_name((enum policy_alarm)i), "unknown");
	for (int i = 0; i <= ROLE_DEMOTE; i++)
		assert_string_not_equal(ha_role_name((enum ha_role)i), "unknown");
	for (int i = REASON_NONE + 1; i < REASONS; i++) {
		const char *text = policy_reason_text((enum policy_reason)i);

		assert_non_null(text);
		assert_true(text[0] != '\0' && strlen(text)
		    < sizeof(((struct state_switch *)0)->reason));
	}
	assert_string_equal(policy_reason_text(REASONS), "unknown");
}

/* One line for each configuration, and what it says of the mode is true. */
static void
what_the_pair_relies_on(void **state)
{
	static const struct {
		enum policy_mode mode;
		bool quorum, pings, serial;
		int64_t watchdog_ms;
		const char *relies, *survives_not;
	} cases[] = {
		{ POLICY_SERIAL_PING, false, true, true, 0, "silence", "all links cut" },
		{ POLICY_SERIAL_PING, false, true, false, 0, "ping target", "one switch" },
		{ POLICY_SERIAL_PING, false, true, true, 4000, "the watchdog", "both serve" },
		{ POLICY_SERIAL_PING, false, false, true, 0, "silence", "without ping targets" },
		{ POLICY_SERIAL_PING, true, true, true, 0, "with a quorum", "all links cut" },
		{ POLICY_FENCING, false, true, true, 0, "fence device", "fence device and" },
		{ POLICY_FENCING, true, true, true, 0, "with a quorum", "fence device and" },
		{ POLICY_QUORUM, true, true, true, 4000, "armed watchdog", "quorum and" },
		{ POLICY_MANUAL, false, true, true, 0, "an operator", "by itself" },
	};
	char buf[300];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *text, *not;

		conf.mode = cases[i].mode;
		conf.quorum_require = cases[i].quorum;
		conf.pings = cases[i].pings;
		conf.watchdog_ms = cases[i].watchdog_ms;
		text = policy_reliance(&conf, cases[i].serial, buf, sizeof(buf));
		assert_true(strlen(text) < sizeof(buf) - 1 && strchr(text, '\n') == NULL);
		not = strstr(text, "; not survived: ");
		assert_non_null(not);
		assert_true(strstr(text, cases[i].relies) != NULL
		    && strstr(text, cases[i].relies) < not);
		assert_non_null(strstr(not, cases[i].survives_not));
	}
}

/* A forced number is far above what the other node may have made unheard; the next attempt
 * is not, unless something else was heard of in between. */
static void
a_forced_number_leaps_once(void **state)
{
	struct turn t = { &policy, &view, &acts };
	struct gen one, two, three;

	(void)state;
	acts.n = 0;
	policy.marks.fixed = 8;
	one = turn_gen(&t, GEN_FORCED);
	two = turn_gen(&t, GEN_FORCED);
	assert_true(one.no > 1000 && one.no < 1020);
	assert_true(two.no > one.no && two.no < one.no + 20);
	policy.marks.fixed = two.no + 40;
	three = turn_gen(&t, GEN_FORCED);
	assert_true(three.no > two.no + 1000);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(number_is_saved_before_it_is_used, setup),
		cmocka_unit_test_setup(a_promotion_without_its_save_goes_nowhere, setup),
		cmocka_unit_test_setup(release_follows_the_mark, setup),
		cmocka_unit_test_prestate_setup_teardown(release_follows_the_mark, setup, NULL,
		    "not taken"),
		cmocka_unit_test(giving_up_needs_no_disk),
		cmocka_unit_test_setup(what_a_frame_says, setup),
		cmocka_unit_test_setup(a_switch_crosses_unchanged, setup),
		cmocka_unit_test_setup(strange_numbers_are_harmless, setup),
		cmocka_unit_test_setup(alone_counts_only_what_the_log_holds, setup),
		cmocka_unit_test_setup(the_largest_configuration_fits, setup),
		cmocka_unit_test_setup(the_same_input_gives_the_same_output, setup),
		cmocka_unit_test_setup(a_forced_number_leaps_once, setup),
		cmocka_unit_test_setup(what_the_pair_relies_on, setup),
		cmocka_unit_test_setup(everything_has_a_name, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
