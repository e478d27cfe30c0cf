/* test_commit.c - the rules of two copies as situations: a text each, one step a line.
 *
 *   TIME STEP ARGS -> what has to be done ; mode commit copies
 *
 * Steps: promote NO KIND, demote NO DRAIN, grant NO KIND, deny NO, outdate NO, marked,
 * append (one record: says write, hold or why not), durable LSN, up, down,
 * matched LSN INSYNC, ack NO LSN INSYNC, newer NO, batch NO FIRST (says ok, old, gap,
 * not), split, settle, merged, seen NO [1: only generations of both since], told LSN, got (a record of the active), gotgen NO KIND, failed, full N,
 * trouble BITS (1 slow, 2 full), peer-trouble BITS (4 slow, 8 full, 16 lags), tick.
 * CHANGED is left out of the acts.  A missing part is not compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "commit.h"

static const struct situation {
	const char *name;
	enum commit_rule rule;
	const char *text;
} situations[] = {
	{ "a new pair meets", COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1 ; frozen 0 0\n"
	    "1 durable 1 -> promoted ; frozen 0 0\n"
	    "2 append -> hold\n"
	    "3 up ->\n"
	    "4 matched 0 0 -> join? ; frozen 0 0\n"
	    "5 ack 2 1 0 -> commit@1x2 ; frozen 1 0\n"
	    "6 grant 4 join -> gen@2 release ; sync 1 2\n"
	    "7 durable 2 -> ; sync 1 2\n"
	    "8 ack 2 2 0 -> ; sync 1 2\n" /* an answer of the older generation is void */
	    "9 ack 4 2 1 -> commit@2x2 ; sync 2 2\n"
	    "10 append -> write\n"
	    "11 durable 3 -> ; sync 2 2\n"
	    "12 ack 4 3 1 -> commit@3x2 ; sync 3 2\n" },
	{ "the peer's disk may be first", COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "0 matched 0 0 -> join?\n0 grant 4 join -> gen@2\n0 ack 4 2 1 -> commit@1x2\n"
	    "1 durable 2 -> commit@2x2 ; sync 2 2\n"
	    "2 ack 4 9 1 -> ; sync 2 2\n" }, /* more than we have: not believed */
	{ "standby lost: held, asked, alone", COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "0 matched 0 0 -> join?\n0 grant 4 join -> gen@2\n0 durable 2 ->\n"
	    "0 ack 4 2 1 -> commit@2x2\n"
	    "1 append -> write\n"
	    "2 durable 3 -> ; sync 2 2\n"
	    "10 down -> ; frozen 2 0\n"
	    "11 append -> hold\n"
	    "100 tick -> ; frozen 2 0\n" /* who waits has waited since 1 */
	    "101 tick -> alone? ; frozen 2 0\n"
	    "111 grant 6 presumed -> gen@4 release ; solo 2 1\n"
	    "112 durable 4 -> commit@4x1 ; solo 4 1\n"
	    "113 append -> write\n"
	    "114 durable 5 -> commit@5x1 ; solo 5 1\n" },
	{ "denied: refused, and at once from then on", COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n"
	    "1 append -> hold\n"
	    "100 tick -> alone?\n"
	    "101 deny 2 -> undecided refuse:not-twice ; frozen 0 0\n"
	    "102 append -> not-twice\n"
	    "199 tick ->\n"
	    "200 tick -> alone?\n" },
	{ "nobody answers: refused after another hold", COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n1 append -> hold\n"
	    "100 tick -> alone?\n150 tick ->\n"
	    "200 tick -> undecided refuse:not-twice alone?\n" },
	{ "strict never asks", COMMIT_STRICT,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n1 append -> hold\n"
	    "100 tick -> undecided refuse:not-twice\n101 append -> not-twice\n900 tick ->\n"
	    "901 grant 4 solo -> refused ; frozen 0 0\n" },
	{ "strict: what is written stays open, who waits is told", COMMIT_STRICT,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "0 matched 0 0 -> join?\n0 grant 4 join -> gen@2\n0 durable 2 ->\n"
	    "0 ack 4 2 1 -> commit@2x2\n1 append -> write\n2 durable 3 -> ; sync 2 2\n"
	    "10 down -> ; frozen 2 0\n11 append -> hold\n"
	    "101 tick -> undecided refuse:not-twice ; frozen 2 0\n"
	    "102 append -> not-twice\n500 tick ->\n"
	    "600 up ->\n601 matched 2 1 -> ; frozen 2 0\n"
	    "602 ack 4 3 1 -> commit@3x2 ; sync 3 2\n603 append -> write\n" },
	{ "strict after a takeover: history is committed, news are not", COMMIT_STRICT,
	    "0 promote 2 presumed -> gen@1\n0 durable 1 -> promoted commit@1x2 ; frozen 1 0\n"
	    "1 append -> hold\n100 tick -> refuse:not-twice ; frozen 1 0\n" },
	{ "silent while connected", COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "0 matched 0 0 -> join?\n0 grant 4 join -> gen@2\n0 durable 2 ->\n"
	    "0 ack 4 2 1 -> commit@2x2\n"
	    "10 append -> write\n11 durable 3 ->\n39 tick -> ; sync 2 2\n"
	    "40 tick -> ; frozen 2 0\n41 append -> hold\n"
	    "50 ack 4 3 1 -> commit@3x2 release ; sync 3 2\n" },
	{ "a standby that answers late: alone, and not taken back while it does", COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "0 matched 0 0 -> join?\n0 grant 4 join -> gen@2\n0 durable 2 ->\n"
	    "0 ack 4 2 1 -> commit@2x2\n"
	    "10 append -> write\n11 durable 3 ->\n40 tick -> ; frozen 2 0\n"
	    "110 tick -> alone? ; frozen 2 0\n"
	    "111 ack 4 2 0 -> ; frozen 2 0\n" /* it marked itself: no JOIN for that */
	    "112 grant 6 solo -> gen@4 ; joining 2 1\n113 durable 4 -> commit@4x1\n"
	    "120 append -> write\n121 durable 5 -> commit@5x1\n"
	    "130 ack 6 5 0 ->\n131 append -> write\n132 durable 6 -> commit@6x1\n"
	    "161 tick ->\n300 ack 6 6 0 ->\n301 append -> write\n302 durable 7 -> commit@7x1\n"
	    "331 tick ->\n450 ack 6 7 0 ->\n600 tick ->\n779 tick ->\n780 tick -> join?\n" },
	{ "a blip: same generation", COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "0 matched 0 0 -> join?\n0 grant 4 join -> gen@2\n0 durable 2 ->\n"
	    "0 ack 4 2 1 -> commit@2x2\n"
	    "10 down -> ; frozen 2 0\n11 append -> hold\n12 up ->\n"
	    "13 matched 2 1 -> release ; sync 2 2\n" },
	{ "a standby that forgot needs a new generation", COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "0 matched 0 0 -> join?\n0 grant 4 join -> gen@2\n0 durable 2 ->\n"
	    "0 ack 4 2 1 -> commit@2x2\n"
	    "10 down -> ; frozen 2 0\n11 append -> hold\n12 up ->\n"
	    "13 matched 2 0 -> join? ; frozen 2 0\n14 grant 6 join -> gen@3 release ; sync 2 2\n" },
	{ "back after long alone: stable first", COMMIT_AUTO,
	    "0 promote 2 presumed -> gen@1\n1 durable 1 -> promoted commit@1x1 ; solo 1 1\n"
	    "500 up ->\n501 matched 1 0 -> ; joining 1 1\n700 tick -> ; joining 1 1\n"
	    "800 tick ->\n801 tick -> join?\n802 tick ->\n"
	    "803 grant 4 join -> gen@2 ; sync 1 2\n" },
	{ "lost again while joining", COMMIT_AUTO,
	    "0 promote 2 presumed -> gen@1\n1 durable 1 -> promoted commit@1x1\n"
	    "500 up ->\n501 matched 1 0 -> ; joining 1 1\n600 down -> ; solo 1 1\n"
	    "601 grant 4 join -> refused ; solo 1 1\n" },
	{ "a newer generation ends everything", COMMIT_AUTO,
	    "0 promote 2 presumed -> gen@1\n1 durable 1 -> promoted commit@1x1\n"
	    "2 append -> write\n3 newer 5 -> newer ; solo 1 0\n4 durable 2 -> ; solo 1 0\n"
	    "5 append -> not-active\n6 grant 6 solo -> refused\n"
	    "7 demote 2 500 -> demoted:0 ; wait 1 0\n8 promote 4 forced -> gen@3\n" },
	{ "drain", COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "0 matched 0 0 -> join?\n0 grant 4 join -> gen@2\n0 durable 2 ->\n"
	    "0 ack 4 2 1 -> commit@2x2\n1 append -> write\n2 demote 4 50 ->\n"
	    "3 append -> not-active\n4 durable 3 ->\n5 ack 4 3 1 -> commit@3x2 demoted:1 ; wait 3 0\n" },
	{ "drain in vain", COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "0 matched 0 0 -> join?\n0 grant 4 join -> gen@2\n0 durable 2 ->\n"
	    "0 ack 4 2 1 -> commit@2x2\n1 append -> write\n2 demote 4 20 ->\n"
	    "21 tick ->\n22 tick -> demoted:0 ; wait 2 0\n" },
	{ "standby: in sync by a JOIN record on its disk", COMMIT_AUTO,
	    "0 up ->\n0 seen 3 -> ; target 0 0\n1 batch 3 1 -> ok\n1 gotgen 3 clean ->\n"
	    "2 durable 1 -> adopted ; target 0 0\n3 told 9 -> commit@1x0\n"
	    "4 batch 5 2 -> ok\n4 gotgen 5 join -> ; target 1 0\n"
	    "5 durable 2 -> adopted commit@2x0 ; insync 2 0\n"
	    "6 down -> ; insync 2 0\n" },
	{ "standby: the belief outlives generations that need both", COMMIT_AUTO,
	    "0 up ->\n0 seen 3 ->\n1 batch 3 1 -> ok\n1 gotgen 3 join ->\n2 durable 1 -> adopted\n"
	    "3 seen 5 1 -> ; insync 0 0\n4 down -> ; insync 0 0\n"
	    "5 up ->\n5 seen 7 -> ; target 0 0\n6 down -> ; wait 0 0\n" },
	{ "standby: an older active, a gap", COMMIT_AUTO,
	    "0 up ->\n0 seen 5 ->\n1 batch 3 1 -> old\n2 batch 5 2 -> gap\n3 batch 5 1 -> ok\n"
	    "3 got ->\n4 promote 4 presumed -> refused\n5 promote 8 presumed -> gen@2\n" },
	{ "handed over in order, and the taker dies before its join: back again", COMMIT_AUTO,
	    "0 promote 2 forced -> gen@1\n1 durable 1 -> promoted commit@1x1\n"
	    "2 demote 2 0 -> demoted:1 ; wait 1 0\n3 up ->\n4 seen 5 -> ; target 1 0\n"
	    "5 down -> ; wait 1 0\n6 promote 6 presumed -> gen@2\n" },
	{ "standby: a solo record ends the belief", COMMIT_AUTO,
	    "0 up ->\n0 seen 3 ->\n1 batch 3 1 -> ok\n1 gotgen 3 join ->\n"
	    "2 durable 1 -> adopted ; insync 0 0\n3 batch 7 2 -> ok\n"
	    "3 gotgen 7 solo -> ; target 0 0\n4 durable 2 -> adopted ; target 0 0\n" },
	{ "standby: a JOIN that is not the newest is no belief", COMMIT_AUTO,
	    "0 up ->\n0 seen 7 ->\n1 batch 7 1 -> ok\n1 gotgen 3 join ->\n"
	    "2 durable 1 -> adopted ; target 0 0\n" },
	{ "outdated: durable first, then said", COMMIT_AUTO,
	    "0 up ->\n0 seen 3 ->\n1 batch 3 1 -> ok\n1 gotgen 3 join ->\n2 durable 1 -> adopted\n"
	    "3 outdate 3 -> mark@3 ; target 0 0\n4 marked -> outdated ; target 0 0\n"
	    "5 outdate 3 -> outdated\n6 promote 4 presumed -> refused\n"
	    "7 promote 6 forced -> gen@2\n" },
	{ "promotion: batches are refused from then on", COMMIT_AUTO,
	    "0 up ->\n0 seen 3 ->\n1 batch 3 1 -> ok\n1 gotgen 3 join ->\n2 durable 1 -> adopted\n"
	    "3 batch 3 2 -> ok\n3 got ->\n4 promote 4 presumed -> gen@3 ; frozen 0 0\n"
	    "5 batch 3 4 -> old\n6 durable 2 ->\n"
	    "7 durable 3 -> promoted commit@3x1 ; solo 3 1\n" },
	{ "a clean promotion waits for the other disk", COMMIT_AUTO,
	    "0 up ->\n0 seen 3 ->\n1 batch 3 1 -> ok\n1 gotgen 3 join ->\n2 durable 1 -> adopted\n"
	    "3 batch 3 2 -> ok\n3 got ->\n3 durable 2 ->\n4 promote 4 clean -> gen@3\n"
	    "5 durable 3 -> promoted ; frozen 0 0\n6 append -> not-active\n"
	    "7 matched 2 0 -> commit@2x2 join? ; frozen 2 0\n8 append -> hold\n" },
	{ "a split: all of the log is committed only when it is to be merged", COMMIT_AUTO,
	    "0 up ->\n0 seen 3 ->\n1 batch 3 1 -> ok\n1 gotgen 3 join ->\n2 got ->\n"
	    "2 durable 2 -> adopted\n3 settle -> ; insync 0 0\n3 merged -> ; insync 0 0\n"
	    "4 split -> ; split 0 0\n5 batch 3 3 -> not\n6 promote 8 presumed -> refused\n"
	    "7 settle -> commit@2x0 ; split 2 0\n8 merged -> ; target 2 0\n"
	    "9 batch 3 3 -> ok\n" },
	{ "the log dies", COMMIT_AUTO,
	    "0 promote 2 presumed -> gen@1\n1 durable 1 -> promoted commit@1x1\n2 append -> write\n"
	    "3 failed -> ; solo 1 0\n4 append -> failed\n5 durable 2 -> ; solo 1 0\n" },
	{ "the disk is full and recovers", COMMIT_AUTO,
	    "0 promote 2 presumed -> gen@1\n1 durable 1 -> promoted commit@1x1\n"
	    "2 full 1 ->\n3 append -> disk-full\n4 full 0 ->\n5 append -> write\n" },
	{ "a slow standby is left out while both acknowledge, and not taken back while slow",
	    COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "0 matched 0 0 -> join?\n0 grant 4 join -> gen@2\n0 durable 2 ->\n"
	    "0 ack 4 2 1 -> commit@2x2\n"
	    "10 peer-trouble 4 -> ; sync 2 2\n11 append -> write\n12 durable 3 ->\n"
	    "13 ack 4 3 1 -> commit@3x2 ; sync 3 2\n14 tick ->\n109 tick ->\n"
	    "110 tick -> alone? ; sync 3 2\n111 append -> write\n112 durable 4 ->\n"
	    "113 ack 4 4 1 -> commit@4x2\n209 tick ->\n"
	    "210 tick -> alone? ; sync 4 2\n" /* nobody answered: again, and nobody is refused */
	    "211 grant 6 solo -> gen@5 ; joining 4 1\n212 durable 5 -> commit@5x1\n"
	    "213 ack 6 5 0 -> ; joining 5 1\n800 tick ->\n801 grant 8 join -> refused\n"
	    "900 peer-trouble 0 ->\n1229 tick ->\n1230 tick -> join?\n"
	    "1231 grant 10 join -> gen@6 ; sync 5 2\n" },
	{ "it was out for a moment only: stable first all the same", COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "0 matched 0 0 -> join?\n0 grant 4 join -> gen@2\n0 durable 2 ->\n"
	    "0 ack 4 2 1 -> commit@2x2\n10 peer-trouble 16 -> alone?\n"
	    "11 grant 6 solo -> gen@3 ; joining 2 1\n12 durable 3 -> commit@3x1\n"
	    "13 ack 6 3 0 ->\n14 peer-trouble 0 ->\n343 tick ->\n344 tick -> join?\n" },
	{ "denied while in step: nobody is refused", COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "0 matched 0 0 -> join?\n0 grant 4 join -> gen@2\n0 durable 2 ->\n"
	    "0 ack 4 2 1 -> commit@2x2\n10 peer-trouble 16 -> alone?\n11 deny 4 -> ; sync 2 2\n"
	    "12 append -> write\n13 durable 3 ->\n14 ack 4 3 1 -> commit@3x2 ; sync 3 2\n" },
	{ "both disks are slow: nothing is won without the standby", COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "0 matched 0 0 -> join?\n0 grant 4 join -> gen@2\n0 durable 2 ->\n"
	    "0 ack 4 2 1 -> commit@2x2\n5 trouble 1 ->\n10 peer-trouble 4 ->\n500 tick ->\n"
	    "501 trouble 0 ->\n502 tick ->\n550 trouble 1 ->\n551 tick ->\n552 trouble 0 ->\n"
	    "602 tick ->\n653 tick ->\n702 tick -> alone?\n" },
	{ "strict: however slow or far behind, it is needed", COMMIT_STRICT,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "0 matched 0 0 -> join?\n0 grant 4 join -> gen@2\n0 durable 2 ->\n"
	    "0 ack 4 2 1 -> commit@2x2\n10 peer-trouble 20 -> ; sync 2 2\n500 tick ->\n"
	    "501 down -> ; frozen 2 0\n502 up ->\n503 peer-trouble 4 ->\n"
	    "504 matched 2 0 -> join?\n" },
	{ "strict: a full one cannot join", COMMIT_STRICT,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "1 peer-trouble 8 ->\n2 matched 0 0 ->\n3 grant 4 join -> refused\n"
	    "4 peer-trouble 0 -> join?\n" },
	{ "frozen, and the standby says why: asked at once", COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "0 matched 0 0 -> join?\n0 grant 4 join -> gen@2\n0 durable 2 ->\n"
	    "0 ack 4 2 1 -> commit@2x2\n10 append -> write\n11 durable 3 ->\n"
	    "40 tick -> ; frozen 2 0\n41 peer-trouble 8 -> alone? ; frozen 2 0\n"
	    "42 tick ->\n45 grant 6 solo -> gen@4 ; joining 2 1\n46 durable 4 -> commit@4x1\n" },
	{ "what the session said of the standby ends with it", COMMIT_AUTO,
	    "0 promote 2 clean -> gen@1\n0 durable 1 -> promoted\n0 up ->\n"
	    "0 matched 0 0 -> join?\n0 grant 4 join -> gen@2\n0 durable 2 ->\n"
	    "0 ack 4 2 1 -> commit@2x2\n10 peer-trouble 8 -> alone?\n11 down -> ; frozen 2 0\n"
	    "12 up ->\n13 matched 2 1 -> ; sync 2 2\n14 tick ->\n" },
	{ "standby: nothing is taken while there is no room", COMMIT_AUTO,
	    "0 up ->\n0 seen 3 ->\n1 batch 3 1 -> ok\n1 gotgen 3 join ->\n"
	    "2 durable 1 -> adopted ; insync 0 0\n3 trouble 2 -> ; insync 0 0\n"
	    "4 batch 3 2 -> full\n5 batch 2 2 -> old\n6 trouble 1 ->\n7 batch 3 2 -> ok\n" },
	{ "asked twice, answered twice", COMMIT_AUTO,
	    "0 promote 2 presumed -> gen@1\n0 promote 2 presumed ->\n"
	    "1 durable 1 -> promoted commit@1x1\n2 promote 2 presumed -> promoted\n"
	    "3 promote 3 presumed -> refused\n" },
};

static const char *const kinds[] = { "none", "clean", "join", "takeover", "presumed", "solo",
	"unsafe", "forced", "merge" };
static const char *const modes[] = { "wait", "target", "insync", "sync", "frozen", "solo",
	"joining", "split" };
static const char *const refusals[] = { "none", "not-active", "not-twice", "disk-full", "busy",
	"failed" };

static struct gen
make_gen(unsigned long long no, const char *kind)
{
	struct gen g = { .no = no, .node = no & 1, .insync = 3 };

	for (uint8_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i], kind) == 0)
			g.kind = i;
	g.id[0] = (uint8_t)no;
	return g;
}

struct run {
	struct commit c;
	struct commit_acts acts;
	long long now;
	char did[256];
};

static void
say(struct run *r, const char *fmt, ...)
{
	size_t n = strlen(r->did);
	va_list ap;

	if (n > 0)
		r->did[n++] = ' ';
	va_start(ap, fmt);
	vsnprintf(r->did + n, sizeof(r->did) - n, fmt, ap);
	va_end(ap);
}

/* Says each act, and does the one that the caller of commit.c always does. */
static void
run_acts(struct run *r)
{
	static const uint8_t hash[16];

	for (size_t i = 0; i < r->acts.n; i++) {
		struct commit_act a = r->acts.act[i];

		switch (a.type) {
		case COMMIT_WRITE_GEN:
			say(r, "gen@%llu", (unsigned long long)a.lsn);
			commit_written(&r->c, a.lsn, hash, &a.gen, r->now, &r->acts);
			break;
		case COMMIT_RELEASE: say(r, "release"); break;
		case COMMIT_UNDECIDED: say(r, "undecided"); break;
		case COMMIT_REFUSE: say(r, "refuse:%s", refusals[a.refusal]); break;
		case COMMIT_ADVANCE:
			say(r, "commit@%llux%u", (unsigned long long)a.lsn, a.copies);
			break;
		case COMMIT_ALONE_WANTED: say(r, "alone?"); break;
		case COMMIT_JOIN_WANTED: say(r, "join?"); break;
		case COMMIT_PROMOTED: say(r, "promoted"); break;
		case COMMIT_REFUSED: say(r, "refused"); break;
		case COMMIT_DEMOTED: say(r, "demoted:%u", a.drained); break;
		case COMMIT_MARK: say(r, "mark@%llu", (unsigned long long)a.no); break;
		case COMMIT_OUTDATED: say(r, "outdated"); break;
		case COMMIT_ADOPTED: say(r, "adopted"); break;
		case COMMIT_NEWER: say(r, "newer"); break;
		case COMMIT_CHANGED: break;
		}
	}
	r->acts.n = 0;
}

static void
step_append(struct run *r)
{
	static const uint8_t hash[16];
	enum owner_refusal why;

	switch (commit_append(&r->c, 100, &why)) {
	case COMMIT_DO_WRITE:
		say(r, "write");
		commit_written(&r->c, r->c.tip_lsn + 1, hash, NULL, r->now, &r->acts);
		break;
	case COMMIT_DO_HOLD: say(r, "hold"); break;
	case COMMIT_DO_REFUSE: say(r, "%s", refusals[why]); break;
	}
}

static void
step_batch(struct run *r, unsigned long long no, unsigned long long first)
{
	static const char *const verdicts[] = { "ok", "old", "gap", "not", "full" };
	static const uint8_t hash[16];

	say(r, "%s", verdicts[commit_batch(&r->c, no, first, hash)]);
}

static bool
step_peer(struct run *r, const char *what, unsigned long long x, unsigned long long y, int z)
{
	struct gen g = make_gen(x, "solo");

	if (strcmp(what, "up") == 0)
		commit_peer_up(&r->c, r->now, &r->acts);
	else if (strcmp(what, "down") == 0)
		commit_peer_down(&r->c, r->now, &r->acts);
	else if (strcmp(what, "matched") == 0)
		commit_peer_matched(&r->c, x, y != 0, r->now, &r->acts);
	else if (strcmp(what, "ack") == 0)
		commit_peer_ack(&r->c, x, y, z != 0, r->now, &r->acts);
	else if (strcmp(what, "newer") == 0)
		commit_peer_newer(&r->c, &g, &r->acts);
	else if (strcmp(what, "batch") == 0)
		step_batch(r, x, y);
	else if (strcmp(what, "seen") == 0)
		commit_active_seen(&r->c, x, y == 0, &r->acts);
	else if (strcmp(what, "split") == 0)
		commit_split(&r->c, &r->acts);
	else if (strcmp(what, "settle") == 0)
		commit_settle(&r->c, &r->acts);
	else if (strcmp(what, "merged") == 0)
		commit_merged(&r->c, &r->acts);
	else if (strcmp(what, "told") == 0)
		commit_told(&r->c, x, &r->acts);
	else if (strcmp(what, "peer-trouble") == 0)
		commit_peer_trouble(&r->c, (uint8_t)x, r->now, &r->acts);
	else
		return false;
	return true;
}

static bool
step_rest(struct run *r, const char *what, unsigned long long x, unsigned long long y,
    const struct gen *g)
{
	static const uint8_t hash[16];

	if (strcmp(what, "promote") == 0)
		commit_promote(&r->c, g, r->now, &r->acts);
	else if (strcmp(what, "grant") == 0)
		commit_grant(&r->c, g, r->now, &r->acts);
	else if (strcmp(what, "demote") == 0)
		commit_demote(&r->c, x, (int)y, r->now, &r->acts);
	else if (strcmp(what, "deny") == 0)
		commit_deny(&r->c, x, r->now, &r->acts);
	else if (strcmp(what, "outdate") == 0)
		commit_outdate(&r->c, x, &r->acts);
	else if (strcmp(what, "marked") == 0)
		commit_marked(&r->c, &r->acts);
	else if (strcmp(what, "append") == 0)
		step_append(r);
	else if (strcmp(what, "durable") == 0)
		commit_durable(&r->c, x, hash, r->now, &r->acts);
	else if (strcmp(what, "got") == 0 || strcmp(what, "gotgen") == 0) {
		struct gen in = *g;

		in.start_lsn = r->c.tip_lsn + 1;
		commit_written(&r->c, in.start_lsn, hash, what[3] != '\0' ? &in : NULL, r->now,
		    &r->acts);
	} else if (strcmp(what, "failed") == 0)
		commit_failed(&r->c, &r->acts);
	else if (strcmp(what, "full") == 0)
		commit_full(&r->c, x != 0, &r->acts);
	else if (strcmp(what, "trouble") == 0)
		commit_trouble(&r->c, (uint8_t)x, &r->acts);
	else if (strcmp(what, "tick") == 0)
		commit_tick(&r->c, r->now, &r->acts);
	else
		return false;
	return true;
}

static void
step(struct run *r, const char *line)
{
	unsigned long long x = 0, y = 0;
	char what[16], kind[16] = "solo";
	struct gen g;
	int z = 0;

	if (sscanf(line, "%lld %15s", &r->now, what) != 2)
		fail_msg("cannot read: %s", line);
	(void)sscanf(line, "%*d %*s %llu %llu %d", &x, &y, &z);
	(void)sscanf(line, "%*d %*s %*u %15[a-z]", kind);
	g = make_gen(x, kind);
	r->did[0] = '\0';
	if (!step_peer(r, what, x, y, z) && !step_rest(r, what, x, y, &g))
		fail_msg("unknown step: %s", line);
	run_acts(r);
}

/* want: "acts ; mode commit copies" */
static void
check(const struct situation *s, struct run *r, const char *line, char *want)
{
	char *facts = strchr(want, ';'), have[64];
	size_t n;

	if (facts != NULL)
		*facts++ = '\0';
	while (*want == ' ')
		want++;
	for (n = strlen(want); n > 0 && want[n - 1] == ' ';)
		want[--n] = '\0';
	if (strcmp(want, r->did) != 0)
		fail_msg("%s: \"%s\": did \"%s\", wanted \"%s\"", s->name, line, r->did, want);
	if (facts == NULL)
		return;
	while (*facts == ' ')
		facts++;
	snprintf(have, sizeof(have), "%s %llu %u", modes[r->c.mode],
	    (unsigned long long)r->c.commit_lsn, commit_copies(&r->c));
	if (strcmp(have, facts) != 0)
		fail_msg("%s: \"%s\": is \"%s\", wanted \"%s\"", s->name, line, have, facts);
}

static void
play(const struct situation *s)
{
	struct commit_conf conf = { .node = 0, .rule = s->rule, .ship = true, .hold_ms = 100,
		.stable_ms = 300, .silent_ms = 30, .held_max_bytes = 1000, .join_lag = 4 };
	struct run r = { .now = 0 };
	char *text = strdup(s->text), *save = NULL;

	commit_init(&r.c, &conf);
	for (char *line = strtok_r(text, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		char *arrow = strstr(line, " ->");

		assert_non_null(arrow);
		*arrow = '\0';
		step(&r, line);
		check(s, &r, line, arrow + 3);
	}
	free(text);
}

static void
test_situations(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(situations) / sizeof(situations[0]); i++)
		play(&situations[i]);
}

static void
test_held_limit(void **state)
{
	struct commit_conf conf = { .ship = true, .rule = COMMIT_AUTO, .hold_ms = 100,
		.held_max_bytes = 250 };
	struct run r = { .now = 0 };
	struct gen g = make_gen(2, "clean");
	enum owner_refusal why;
	static const uint8_t hash[16];

	(void)state;
	commit_init(&r.c, &conf);
	commit_promote(&r.c, &g, 0, &r.acts);
	run_acts(&r);
	commit_durable(&r.c, 1, hash, 0, &r.acts);
	run_acts(&r);
	assert_int_equal(commit_append(&r.c, 100, &why), COMMIT_DO_HOLD);
	assert_int_equal(commit_append(&r.c, 100, &why), COMMIT_DO_HOLD);
	assert_int_equal(commit_append(&r.c, 100, &why), COMMIT_DO_REFUSE);
	assert_int_equal(why, OWNER_BUSY);
	commit_unheld(&r.c, 1, 100);
	assert_int_equal(commit_append(&r.c, 100, &why), COMMIT_DO_HOLD);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_situations),
		cmocka_unit_test(test_held_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
