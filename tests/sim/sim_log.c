/* sim_log.c - the log of a simulated node: bytes of real records (syncer/record.c) that a
 * crash tears, the real scan for the end (log_scan.c), the real list of generations and
 * search for the common point (history.c).
 *
 * Modelled: the files.  One run of bytes stands for all segments; up to `durable` it is on
 * the disk, up to `syncing` in the kernel, the rest in syncd's memory.  A killed process
 * leaves what the kernel has; of what was not synced a power cut leaves a piece that ends
 * at any byte, or any sectors.  Recovery then has to find what was written, all that was
 * durable and nothing else: that is checked against the records as they were before. */
#include <assert.h>
#include <string.h>

#include "log_scan.h"
#include "owner.h"
#include "sim.h"
#include "wire.h"

#define SECTOR 512

static size_t
behind(const struct log *l, uint64_t lsn)
{
	return lsn == 0 ? 0 : l->rec[lsn].at + record_size(l->rec[lsn].len - RECORD_HEADER);
}

static bool
generation(const struct record *r, struct gen *g)
{
	struct wire_in w;

	if (r->shard != SHARD_PAIR || r->type != RECORD_GEN)
		return false;
	wire_in_init(&w, r->payload.p, r->payload.len);
	gen_get(&w, g);
	return wire_in_done(&w);
}

/* Of the client's message; 0: a generation. */
static uint32_t
id_of(const struct record *r)
{
	return r->shard == SHARD_PAIR || r->payload.len < 8 ? 0
	    : (uint32_t)wire_load64((const uint8_t *)r->payload.p);
}

/* Which messages a log holds is kept beside it, so that I1 costs nothing to ask. */
static void
count_id(struct sim *s, int n, uint32_t id, bool in)
{
	uint8_t *here = &store.here[n][id];

	if (id == 0)
		return;
	if (in && (*here)++ == 0 && store.acked[id] == ACKED)
		s->missing[n]--;
	if (!in && --*here == 0 && store.acked[id] == ACKED)
		s->missing[n]++;
}

static void
note(struct sim *s, int n, const struct record *r, size_t at)
{
	struct node *x = &s->n[n];
	struct log *l = &store.log[n];
	struct rec *k = &l->rec[++x->tip];
	struct gen g;

	assert(r->lsn == x->tip);
	k->at = at;
	k->len = r->raw.len;
	k->id = id_of(r);
	memcpy(k->hash, r->hash, 16);
	count_id(s, n, k->id, true);
	if (x->tip > l->top)
		l->top = x->tip;
	if (behind(l, x->tip) > l->used)
		l->used = behind(l, x->tip);
	if (generation(r, &g))
		history_add(&x->history, &g);
}

static void
forget(struct sim *s, int n, uint64_t lsn)
{
	for (uint64_t i = lsn + 1; i <= s->n[n].tip; i++)
		count_id(s, n, store.log[n].rec[i].id, false);
	s->n[n].tip = lsn;
}

static uint8_t *
room(int n, uint64_t tip, size_t payload)
{
	size_t at = behind(&store.log[n], tip);

	assert(tip < LOG_MAX && at + record_size(payload) <= LOG_BYTES);
	return store.log[n].bytes + at;
}

void
log_reset(struct sim *s, int n)
{
	struct log *l = &store.log[n];

	(void)s;
	memset(l->bytes, 0, l->used);
	memset(l->rec, 0, (l->top + 1) * sizeof(l->rec[0]));
	memset(l->pending, 0, (l->top + 1) * sizeof(l->pending[0]));
	l->used = 0;
	l->top = 0;
}

void
log_append(struct sim *s, int n, uint32_t id, const struct gen *g)
{
	struct node *x = &s->n[n];
	struct log *l = &store.log[n];
	uint8_t text[32] = { 0 };
	struct wire_out w;
	struct record r = { .lsn = x->tip + 1, .gen_no = g != NULL ? g->no : x->c.gen.no,
		.time_ms = s->now + x->wall, .synced = x->durable };
	uint8_t *to;

	wire_out_init(&w);
	if (g != NULL) {
		gen_put(&w, g);
		r.shard = SHARD_PAIR;
		r.type = RECORD_GEN;
		r.payload = wire_out_span(&w);
	} else {
		memset(text, (int)(id & 0x7f), sizeof(text));
		wire_store64(text, id);
		r.shard = (uint16_t)(1 + id % 16);
		r.type = 1;
		r.payload = (struct span){ (const char *)text, 8 + id % 24 };
	}
	to = room(n, x->tip, r.payload.len);
	record_encode(&r, l->rec[x->tip].hash, to);
	note(s, n, &r, (size_t)(to - l->bytes));
	wire_out_clear(&w);
}

struct span
log_raw(int n, uint64_t lsn)
{
	const struct log *l = &store.log[n];
	size_t at = l->rec[lsn].at;

	return (struct span){ (const char *)l->bytes + at, behind(l, lsn) - at };
}

bool
log_take(struct sim *s, int n, struct span raw, struct gen *g, bool *is_gen)
{
	struct node *x = &s->n[n];
	struct log *l = &store.log[n];
	struct record r;
	size_t used;
	uint8_t *to;

	if (record_decode(raw, &r, &used) != PARSE_OK || used != raw.len ||
	    r.lsn != x->tip + 1 || !record_follows(&r, l->rec[x->tip].hash))
		return false;
	to = room(n, x->tip, r.payload.len);
	memcpy(to, raw.p, raw.len);
	record_stamp(to, x->durable);
	note(s, n, &r, (size_t)(to - l->bytes));
	*is_gen = generation(&r, g);
	return true;
}

/* ---- crash and recovery ---- */

static void
tear(struct sim *s, int n)
{
	struct log *l = &store.log[n];
	size_t from = behind(l, s->n[n].durable), to = behind(l, s->n[n].syncing), cut;

	if (sim_chance(s, 600)) {
		cut = from + sim_random(s, to - from + 1);
		memset(l->bytes + cut, 0, to - cut);
		return;
	}
	for (size_t at = from; at < to; at = cut) {
		cut = (at / SECTOR + 1) * SECTOR;
		if (cut > to)
			cut = to;
		if (sim_chance(s, 500))
			memset(l->bytes + at, 0, cut - at);
	}
}

void
log_crash(struct sim *s, int n, bool power)
{
	struct node *x = &s->n[n];
	struct log *l = &store.log[n];
	size_t kernel = behind(l, x->syncing);

	memset(l->bytes + kernel, 0, behind(l, x->tip) - kernel);
	if (power && x->syncing > x->durable)
		tear(s, n);
}

/* A bit of a record rots that a later one proves to have been durable: the log must be
 * refused there, never cut as if a write had been interrupted. */
static void
probe_damage(struct sim *s, int n, size_t len)
{
	static const uint8_t zero[16];
	const struct node *x = &s->n[n];
	struct log *l = &store.log[n];
	struct log_scan c;
	struct record r;
	uint64_t i, proved;
	uint8_t *p, bit = (uint8_t)(1u << sim_random(s, 8));
	size_t used;

	if (x->tip < 2 || record_decode(log_raw(n, x->tip), &r, &used) != PARSE_OK)
		return;
	proved = r.synced < x->tip - 1 ? r.synced : x->tip - 1;
	if (proved == 0)
		return;
	i = 1 + sim_random(s, proved);
	p = l->bytes + l->rec[i].at + sim_random(s, l->rec[i].len);
	*p ^= bit;
	log_scan_init(&c, (struct span){ (const char *)l->bytes, len }, 0, zero);
	while (log_scan_next(&c, &r))
		;
	if (log_scan_end(&c) != LOG_END_DAMAGED || c.last != i - 1)
		sim_fail(s, "node %d: damage at lsn %llu of its log was not noticed", n,
		    (unsigned long long)i);
	*p ^= bit;
}

void
log_recover(struct sim *s, int n)
{
	struct node *x = &s->n[n];
	struct log *l = &store.log[n];
	size_t len = behind(l, x->tip), at;
	struct log_scan c;
	struct record r;

	forget(s, n, 0);
	memset(&x->history, 0, sizeof(x->history));
	log_scan_init(&c, (struct span){ (const char *)l->bytes, len }, 0, l->rec[0].hash);
	for (at = 0; log_scan_next(&c, &r); at = c.end) {
		const struct rec *was = &l->rec[r.lsn];

		if (r.lsn > x->syncing || was->at != at || was->id != id_of(&r) ||
		    memcmp(was->hash, r.hash, 16) != 0) {
			sim_fail(s, "node %d: recovery kept lsn %llu, which was never written so",
			    n, (unsigned long long)r.lsn);
			break;
		}
		note(s, n, &r, at);
	}
	if (x->tip < x->durable)
		sim_fail(s, "node %d: recovery lost lsn %llu, which was durable", n,
		    (unsigned long long)x->tip + 1);
	if (log_scan_end(&c) == LOG_END_DAMAGED)
		sim_fail(s, "node %d: recovery calls an interrupted write damage", n);
	if (x->syncing > x->tip)
		sim_say(s, "node %d: recovery cut lsn %llu to %llu", n,
		    (unsigned long long)x->tip + 1, (unsigned long long)x->syncing);
	memset(l->bytes + c.end, 0, len - c.end);
	x->durable = x->syncing = x->tip;
	if ((s->plan->noise & NOISE_ROT) != 0 && sim_chance(s, 50))
		probe_damage(s, n, len);
}

void
log_cut(struct sim *s, int n, uint64_t lsn)
{
	struct node *x = &s->n[n];
	struct log *l = &store.log[n];
	size_t from = behind(l, lsn);

	memset(l->bytes + from, 0, behind(l, x->tip) - from);
	forget(s, n, lsn);
	x->durable = x->syncing = lsn;
	history_cut(&x->history, lsn);
}

/* ---- two logs ---- */

/* As ship.c asks its peer; the answers come at once. */
bool
log_common(struct sim *s, uint64_t *lsn)
{
	const struct node *x = &s->n[0], *y = &s->n[1];
	const struct rec *p = store.log[0].rec, *q = store.log[1].rec;
	struct history_log a = { &x->history, 1, x->tip }, b = { &y->history, 1, y->tip };
	uint64_t lo, hi, ask;

	if (!history_common(&a, &b, &lo, &hi))
		return false;
	for (ask = hi; lo < hi; ask = lo + (hi - lo + 1) / 2) {
		if (memcmp(p[ask].hash, q[ask].hash, 16) == 0)
			lo = ask;
		else
			hi = ask - 1;
	}
	*lsn = lo;
	if (memcmp(p[lo].hash, q[lo].hash, 16) != 0 || (lo < x->tip && lo < y->tip &&
	    memcmp(p[lo + 1].hash, q[lo + 1].hash, 16) == 0))
		sim_fail(s, "lsn %llu is not where the logs part", (unsigned long long)lo);
	return true;
}

enum history_tail
log_tail(const struct sim *s, int n, uint64_t fork)
{
	const struct node *x = &s->n[n];
	uint64_t committed = x->known > x->c.commit_lsn ? x->known : x->c.commit_lsn;
	bool data = false;

	for (uint64_t i = fork + 1; i <= x->tip && !data; i++)
		data = store.log[n].rec[i].id != 0;
	return history_tail(&x->history, fork, x->tip, committed, data);
}
