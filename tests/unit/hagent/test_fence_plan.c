/* test_fence_plan.c - one line a step: what is started, what is answered, how it ends;
 * the same in any order, against what must never be; and what devices are given. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "fence_args.h"
#include "fence_plan.h"

/* A plan as a text.  Units: "a1" name and level, "r1" reboots; each has 10 s, status is
 * asked each 500 ms.  Steps, with the time in ms in front:
 *   a:off    a is started with this verb      a=done a=off a=fail   a's answer
 *   wake N   the next look is due at N (-1)    end X                open failed off answers
 * Everything that is started has to be named before anything else. */
struct script {
	const char *name, *units;
	bool test;
	const char *steps[32];
};

static const struct script scripts[] = {
	{ "verified at once", "a1", false, { "0 a:off", "0 end open", "100 a=done",
	    "100 a:status", "100 end open", "150 a=off", "150 end off", "150 wake -1",
	    "150 idle", NULL } },
	{ "success is not enough", "a1", false, { "0 a:off", "100 a=done", "100 a:status",
	    "200 a=done", "200 end open", "200 wake 700", "699 wake 700", "700 a:status",
	    "9000 a=done", "9000 wake 9500", "9500 a:status", "9600 a=done",
	    "9600 wake 10000", "10000 end failed", "10000 idle", NULL } },
	{ "turns off late, but in time", "a1", false, { "0 a:off", "0 a=done", "0 a:status",
	    "10 a=done", "510 a:status", "520 a=done", "1020 a:status", "1030 a=off",
	    "1030 end off", NULL } },
	{ "status fails, then off", "a1", false, { "0 a:off", "0 a=done", "0 a:status",
	    "10 a=fail", "10 end open", "510 a:status", "511 a=off", "511 end off", NULL } },
	{ "off fails", "a1", false, { "0 a:off", "30 a=fail", "30 end failed", "30 idle",
	    NULL } },
	{ "off takes all the time", "a1", false, { "0 a:off", "10000 a=done",
	    "10000 end failed", NULL } },
	{ "a status of off before the order counts for nothing", "a1", false, { "0 a:off",
	    "50 a=off", "50 end failed", NULL } },
	{ "two supplies", "a1 b1", false, { "0 a:off", "0 b:off", "10 a=done",
	    "10 a:status", "20 a=off", "20 end open", "20 wake -1", "900 b=done",
	    "900 b:status", "901 b=off", "901 end off", NULL } },
	{ "one of two supplies stays on", "a1 b1", false, { "0 a:off", "0 b:off",
	    "10 a=done", "10 a:status", "20 a=off", "30 b=fail", "30 end failed", NULL } },
	{ "the next level", "a1 b2", false, { "0 a:off", "30 a=fail", "30 b:off",
	    "30 end open", "40 b=done", "40 b:status", "50 b=off", "50 end off", NULL } },
	{ "levels need not be next to each other, nor in order", "a7 b2 c7", false, {
	    "0 b:off", "5 b=fail", "5 a:off", "5 c:off", "6 a=done", "6 a:status",
	    "7 c=done", "7 c:status", "8 c=off", "9 a=off", "9 end off", NULL } },
	{ "who is given up is not waited for", "a1 b1 c2", false, { "0 a:off", "0 b:off",
	    "5 a=fail", "5 c:off", "6 b=done", "6 end open", "7 c=done", "7 c:status",
	    "8 c=off", "8 end off", "8 idle", NULL } },
	{ "a late answer of a level before does not help", "a1 b2", false, { "0 a:off",
	    "1 a=done", "1 a:status", "2 a=done", "10000 b:off", "10000 wake -1",
	    "10001 b=fail", "10001 end failed", NULL } },
	{ "every level has its own time", "a1 b2", false, { "0 a:off", "10000 a=fail",
	    "10000 b:off", "19999 b=done", "19999 b:status", "20000 b=done",
	    "20000 end failed", NULL } },
	{ "reboot: on when it is verified, and not before", "r1", false, { "0 r:off",
	    "10 r=done", "10 r:status", "20 r=off", "20 r:on", "20 end off", "20 busy",
	    "60 r=done", "60 idle", "60 end off", NULL } },
	{ "reboot: that it does not go on changes nothing", "r1", false, { "0 r:off",
	    "10 r=done", "10 r:status", "20 r=off", "20 r:on", "20 end off", "60 r=fail",
	    "60 idle", "60 end off", NULL } },
	{ "reboot of two supplies: both off before one is on", "r1 s1", false, { "0 r:off",
	    "0 s:off", "1 r=done", "1 r:status", "2 r=off", "3 s=done", "3 s:status",
	    "4 s=off", "4 r:on", "4 s:on", "4 end off", "9 s=done", "9 busy", "10 r=done",
	    "10 idle", NULL } },
	{ "test asks all, and only for the status", "a1 b2", true, { "0 a:status",
	    "0 b:status", "5 a=done", "5 end open", "6 b=off", "6 end answers", "6 idle",
	    NULL } },
	{ "test: one does not answer", "a1 b2", true, { "0 a:status", "0 b:status",
	    "5 a=fail", "5 end open", "6 b=off", "6 end failed", NULL } },
	{ "no device", "", false, { "0 end failed", "0 idle", NULL } },
};

static unsigned
unit_of(const struct fence_plan *p, char c)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->unit[i].name[0] == c)
			return i;
	fail_msg("no unit %c", c);
	return 0;
}

static void
begin(struct fence_plan *p, const struct script *s, char names[][2])
{
	memset(p, 0, sizeof(*p));
	p->poll_ms = 500;
	for (const char *u = s->units; *u != '\0'; u += u[2] == ' ' ? 3 : 2) {
		char *name = names[p->n];

		name[0] = *u;
		name[1] = '\0';
		fence_plan_add(p, name, (unsigned)(u[1] - '0'), 10000, *u == 'r' || *u == 's');
	}
	fence_plan_begin(p, s->test, 0);
}

static void
nothing_starts(const struct script *s, const char *step, struct fence_plan *p, int64_t now)
{
	unsigned unit;
	int limit;
	enum fence_do d = fence_plan_next(p, now, &unit, &limit);

	if (d != FENCE_DO_NOTHING)
		fail_msg("%s: before \"%s\" %s:%s is started", s->name, step,
		    p->unit[unit].name, fence_do_name(d));
}

static void
starts(const struct script *s, const char *step, struct fence_plan *p, int64_t now,
    const char *what)
{
	unsigned unit = 0;
	int limit = 0;
	enum fence_do d = fence_plan_next(p, now, &unit, &limit);

	if (d == FENCE_DO_NOTHING || p->unit[unit].name[0] != what[0] ||
	    strcmp(fence_do_name(d), what + 2) != 0)
		fail_msg("%s: \"%s\", but %s:%s is started", s->name, step,
		    p->unit[unit].name, fence_do_name(d));
	assert_in_range(limit, 1, 10000);
}

static void
states(const struct script *s, const char *step, struct fence_plan *p, const char *what)
{
	static const char *const ends[] = { "open", "failed", "off", "answers" };
	char seen[40];

	if (strncmp(what, "wake", 4) == 0)
		snprintf(seen, sizeof(seen), "wake %lld", (long long)fence_plan_wake(p));
	else if (strncmp(what, "end", 3) == 0)
		snprintf(seen, sizeof(seen), "end %s", ends[p->end]);
	else
		snprintf(seen, sizeof(seen), "%s", fence_plan_idle(p) ? "idle" : "busy");
	if (strcmp(seen, what) != 0)
		fail_msg("%s: \"%s\", but it is \"%s\"", s->name, step, seen);
}

static void
step(const struct script *s, const char *text, struct fence_plan *p)
{
	static const struct { const char *word; enum fence_said said; } said[] = {
		{ "done", FENCE_SAID_DONE }, { "off", FENCE_SAID_OFF },
		{ "fail", FENCE_SAID_FAILED },
	};
	long long now;
	char what[20];

	assert_int_equal(sscanf(text, "%lld %19[^\n]", &now, what), 2);
	if (what[1] == ':') {
		starts(s, text, p, now, what);
		return;
	}
	nothing_starts(s, text, p, now);
	if (what[1] != '=') {
		states(s, text, p, what);
		return;
	}
	for (size_t i = 0; i < 3; i++)
		if (strcmp(said[i].word, what + 2) == 0)
			fence_plan_said(p, unit_of(p, what[0]), said[i].said, "words", now);
}

static void
plans(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		struct fence_plan p;
		char names[FENCE_UNITS_MAX][2];

		begin(&p, &scripts[i], names);
		for (const char *const *t = scripts[i].steps; *t != NULL; t++)
			step(&scripts[i], *t, &p);
	}
}

/* ---- any order of answers -------------------------------------------------- */

/* What the test knows by itself of a unit. */
struct seen {
	bool busy, off_done, verified;
	enum fence_do what;
	int64_t ends_ms;
};

struct chaos {
	struct fence_plan p;
	struct seen seen[FENCE_UNITS_MAX];
	unsigned seed;
	int64_t now, limit;	/* of the whole plan */
};

static unsigned
pick(struct chaos *c, unsigned n)
{
	c->seed = c->seed * 1103515245 + 12345;
	return c->seed / 65536 % n;
}

static void
chaos_begin(struct chaos *c, unsigned seed, bool test)
{
	int longest[4] = { 0 }, all = 0;

	memset(c, 0, sizeof(*c));
	c->seed = seed;
	c->p.poll_ms = 50;
	for (unsigned i = 0, n = 1 + pick(c, 6); i < n; i++) {
		unsigned level = 1 + pick(c, 3);
		int ms = 100 + (int)pick(c, 900);

		fence_plan_add(&c->p, "u", level, ms, pick(c, 2) == 0);
		longest[level] = ms > longest[level] ? ms : longest[level];
		all = ms > all ? ms : all;
	}
	c->limit = test ? all : longest[1] + longest[2] + longest[3];
	fence_plan_begin(&c->p, test, 0);
}

static void
chaos_start(struct chaos *c)
{
	enum fence_do d;
	unsigned n;
	int limit;

	while ((d = fence_plan_next(&c->p, c->now, &n, &limit)) != FENCE_DO_NOTHING) {
		struct seen *s = &c->seen[n];

		assert_false(s->busy);
		assert_in_range(limit, 1, c->p.unit[n].limit_ms);
		assert_true(c->p.test ? d == FENCE_DO_STATUS : d != FENCE_DO_STATUS ||
		    s->off_done);
		assert_true(d != FENCE_DO_ON || c->p.end == FENCE_END_OFF);
		s->busy = true;
		s->what = d;
		s->ends_ms = c->now + 1 + pick(c, (unsigned)limit);
	}
}

/* The next end of something, or the plan's own time. */
static bool
chaos_turn(struct chaos *c)
{
	static const enum fence_said any[] = { FENCE_SAID_DONE, FENCE_SAID_DONE, FENCE_SAID_OFF,
		FENCE_SAID_OFF, FENCE_SAID_FAILED };
	int64_t at = fence_plan_wake(&c->p);
	unsigned n = UINT32_MAX;
	enum fence_said said = any[pick(c, 5)];
	struct seen *s;

	for (unsigned i = 0; i < c->p.n; i++) {
		if (c->seen[i].busy && (at == -1 || c->seen[i].ends_ms < at)) {
			at = c->seen[i].ends_ms;
			n = i;
		}
	}
	if (at == -1)
		return false;
	c->now = at > c->now ? at : c->now;
	if (n == UINT32_MAX)
		return true;
	s = &c->seen[n];
	s->busy = false;
	if (s->what == FENCE_DO_OFF)
		s->off_done = said == FENCE_SAID_DONE;
	if (s->what == FENCE_DO_STATUS && said == FENCE_SAID_OFF && s->off_done)
		s->verified = true;
	fence_plan_said(&c->p, n, said, "words", c->now);
	return true;
}

static bool
a_level_is_off(const struct chaos *c)
{
	bool whole[4] = { false, true, true, true }, there[4] = { false };

	for (unsigned i = 0; i < c->p.n; i++) {
		there[c->p.unit[i].level] = true;
		whole[c->p.unit[i].level] = whole[c->p.unit[i].level] && c->seen[i].verified;
	}
	return (whole[1] && there[1]) || (whole[2] && there[2]) || (whole[3] && there[3]);
}

static void
any_order(void **state)
{
	unsigned ends[4] = { 0 };

	(void)state;
	for (unsigned seed = 1; seed <= 20000; seed++) {
		struct chaos c;

		chaos_begin(&c, seed, seed % 5 == 0);
		do {
			chaos_start(&c);
			if (c.p.end == FENCE_END_OPEN && c.now > c.limit)
				fail_msg("seed %u: open at %lld", seed, (long long)c.now);
		} while (chaos_turn(&c));
		if (c.p.end == FENCE_END_OPEN || !fence_plan_idle(&c.p))
			fail_msg("seed %u: it does not end", seed);
		if (c.p.end == FENCE_END_OFF && !a_level_is_off(&c))
			fail_msg("seed %u: off, and no level is", seed);
		ends[c.p.end]++;
	}
	/* Each end is met often enough to mean something. */
	assert_true(ends[FENCE_END_OFF] > 1000 && ends[FENCE_END_FAILED] > 1000 &&
	    ends[FENCE_END_ANSWERS] > 100);
}

static void
texts(void **state)
{
	struct script two = { .name = "texts", .units = "a1 b2" };
	char names[FENCE_UNITS_MAX][2], buf[400];
	struct fence_plan p;

	(void)state;
	begin(&p, &two, names);
	step(&two, "0 a:off", &p);
	fence_plan_said(&p, 0, FENCE_SAID_FAILED, "exit 1 after 5 ms: no route", 5);
	step(&two, "5 b:off", &p);
	step(&two, "6 b=done", &p);
	step(&two, "6 b:status", &p);
	step(&two, "7 b=off", &p);
	assert_string_equal(fence_plan_text(&p, buf, sizeof(buf)),
	    "a: off: exit 1 after 5 ms: no route; b: off, verified after 2 ms");
	assert_string_equal(fence_plan_text(&p, buf, 8), "a: off:");
}

static void
arguments(void **state)
{
	static const struct { const char *text; bool good, secret; } t[] = {
		{ "ip=192.0.2.9", true, false },
		{ "plug=", true, false },
		{ "passwd=a b=c", true, true },
		{ "PASSWORD=x", true, true },
		{ "ssh_options=-o X=y", true, false },
		{ "no value", false, false },
		{ "=x", false, false },
		{ "a b=c", false, false },
		{ "ip=1\naction=on", false, false },
		{ "ip=1\r", false, false },
		{ "action=on", false, false },
		{ "Option=on", false, false },
		{ "nodename=ha-1", false, false },
		{ "", false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (fence_arg_ok(span_of(t[i].text)) != t[i].good)
			fail_msg("\"%s\"", t[i].text);
		if (t[i].good && fence_arg_secret(span_of(t[i].text)) != t[i].secret)
			fail_msg("secret \"%s\"", t[i].text);
	}
	assert_int_equal(fence_args_wrong_line(SPAN("# c\n\nip=1\nplug=2")), 0);
	assert_int_equal(fence_args_wrong_line(SPAN("ip=1\naction=on\n")), 2);
	assert_int_equal(fence_args_wrong_line(SPAN("")), 0);
}

static void
input(void **state)
{
	char a[] = "ip=1", b[] = "plug=2";
	char *args[] = { a, b, NULL }, *none[] = { NULL };
	char buf[100], words[] = "login s3cret!s3cret! failed for 1";

	(void)state;
	assert_int_equal(fence_args_build(buf, sizeof(buf), "off", "ha-2", args,
	    SPAN("passwd=x")), 46);
	assert_string_equal(buf, "action=off\nnodename=ha-2\nip=1\nplug=2\npasswd=x\n");
	fence_args_build(buf, sizeof(buf), "status", "n", none, SPAN(""));
	assert_string_equal(buf, "action=status\nnodename=n\n");
	/* One byte less than it needs with its NUL. */
	assert_int_equal(fence_args_build(buf, 25, "status", "n", none, SPAN("")), 0);
	assert_int_equal(fence_args_build(buf, 46, "off", "ha-2", args, SPAN("passwd=x")), 0);
	fence_args_hide(words, SPAN("ip=1\npasswd=s3cret!\ntoken=abc\n"));
	assert_string_equal(words, "login *******" "******* failed for 1");
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(plans), cmocka_unit_test(any_order), cmocka_unit_test(texts),
		cmocka_unit_test(arguments), cmocka_unit_test(input) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
