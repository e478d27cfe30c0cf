/* sim.c - seeded schedules of faults over a simulated pair, and the promises of
 * the design as checks after each step.  README.md says which check stands for which.
 *
 *   sim [-n SCHEDULES] [-s FIRST_SEED] [-b BUG] [-p SECONDS] [-d] [-v | -x]
 *
 * Exit 0 when every schedule keeps the promises, 1 at the first that does not; its
 * seed is printed.  `sim -n 1 -s SEED -v` tells its story, -x that of the shortest list
 * of its faults that was found to break a promise as well.  -b switches on a planned
 * mistake (only in a build with HOOKS=1), -p prints a line of progress to stderr so often.
 * -d: other schedules, in which disks are slow or full and standbys far behind as well.
 *
 * Real: hagent's policy, peer view, frames and their keys, the durable marks; syncer's
 * rules of commit, records with CRC and chain, recovery's scan, the history of generations
 * and what it says of a tail.  Modelled: the mail server (a counter), resource scripts
 * (results that come late or never), files (bytes that a crash tears), the session of the
 * syncds (there or not, in order), the clock, fence devices, the third voter, watchdogs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hook.h"
#include "sim.h"

struct totals {
	unsigned long schedules, acked, promotions, solos, split, faults, attacks, fenced, resets,
	    forced, forked;
};

/* False for a name that the policy, the commit rules and the log do not know, and in a
 * build without hooks. */
static bool
bug(const char *name)
{
	static const char *const known[] = { "promote-without-belief", "solo-without-evidence",
		"release-of-any-generation", "number-not-durable", "ignore-outdate",
		"release-before-stopped", "accept-replayed-frame", "accept-without-echo",
		"accept-old-boot", "restart-counts-as-silence", "ack-before-peer",
		"accept-old-generation", "fenced-acknowledges", "join-before-caught-up",
		"cut-acknowledged-tail", "keep-torn-record", "fence-unknown-is-off",
		"quorum-ignored", "lease-not-waited", "cold-start-unasked", "answer-after-pause" };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(name, known[i]) == 0)
			return setenv("MAILPAIR_HOOK", name, 1) == 0 && hook_on(name);
	return false;
}

static void
add(struct totals *t, const struct sim *s)
{
	t->schedules++;
	t->acked += s->acks;
	t->promotions += s->promotions;
	t->solos += s->solos;
	t->split += s->excused;
	t->faults += s->next_fault;
	t->attacks += s->attacks;
	t->fenced += s->fenced;
	t->resets += s->barked;
	t->forced += s->forced;
	t->forked += s->forked;
}

static void
print(FILE *to, const struct totals *t)
{
	fprintf(to, "schedules=%lu faults=%lu acknowledged=%lu promotions=%lu alone=%lu split=%lu "
	        "forced=%lu forked=%lu fenced=%lu resets=%lu attacks=%lu violations=0\n", t->schedules,
	    t->faults, t->acked, t->promotions, t->solos, t->split, t->forced, t->forked,
	    t->fenced, t->resets, t->attacks);
}

/* A line now and then of a campaign that takes hours. */
static void
progress(const struct totals *t, time_t every)
{
	static time_t next;
	struct timespec ts;

	if (every == 0 || t->schedules % 100 != 0)
		return;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	if (next == 0)
		next = ts.tv_sec + every;
	if (ts.tv_sec < next)
		return;
	next = ts.tv_sec + every;
	print(stderr, t);
}

static void
story(struct sim *s, struct plan *p)
{
	plan_shrink(s, p);
	plan_print(p);
	sim_run(s, p, true);
}

int
main(int argc, char **argv)
{
	static struct sim s;
	static struct plan p;
	struct totals t = { 0 };
	unsigned long n = 1000, first = 1;
	bool trace = false, shrink = false, disks = false;
	time_t every = 0;
	int c;

	while ((c = getopt(argc, argv, "n:s:b:p:dvx")) != -1) {
		if (c == 'n')
			n = strtoul(optarg, NULL, 10);
		else if (c == 's')
			first = strtoul(optarg, NULL, 10);
		else if (c == 'p')
			every = strtol(optarg, NULL, 10);
		else if (c == 'd')
			disks = true;
		else if (c == 'v')
			trace = true;
		else if (c == 'x')
			shrink = true;
		else if (c != 'b' || !bug(optarg))
			return 10;
	}
	for (unsigned long i = 0; i < n; i++) {
		plan_make(&p, first + i);
		p.disks = disks && !p.bare;
		if (trace)
			plan_print(&p);
		sim_run(&s, &p, trace);
		add(&t, &s);
		progress(&t, every);
		if (s.why[0] == '\0')
			continue;
		if (shrink)
			story(&s, &p);
		printf("seed=%lu violation: %s\n", first + i, s.why);
		return 1;
	}
	print(stdout, &t);
	return 0;
}
