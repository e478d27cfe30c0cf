/* gen.c - generations: numbers that carry the node, kinds, and the wire form:
 * u64 no, raw id[16], u64 start_lsn, raw start_hash[16], u8 kind, u8 node,
 * u8 insync, u64 wall_ms (59 bytes). */
#include <assert.h>
#include <string.h>

#include "gen.h"
#include "hex.h"

const char *
gen_kind_name(enum gen_kind kind)
{
	static const char *const names[] = { "none", "clean", "join", "takeover", "presumed",
		"solo", "unsafe", "forced", "merge" };

	return (unsigned)kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "unknown";
}

bool
gen_kind_alone(enum gen_kind kind)
{
	switch (kind) {
	case GEN_TAKEOVER:
	case GEN_PRESUMED:
	case GEN_SOLO:
	case GEN_UNSAFE:
	case GEN_FORCED:
		return true;
	case GEN_NONE:
	case GEN_CLEAN:
	case GEN_JOIN:
	case GEN_MERGE:
		break;
	}
	return false;
}

/* A takeover without a RELEASE may follow UIDs that clients saw and we did not.  A
 * SOLO or UNSAFE active goes on with its own counters and knows them all. */
bool
gen_kind_gap(enum gen_kind kind)
{
	return kind == GEN_TAKEOVER || kind == GEN_PRESUMED || kind == GEN_FORCED;
}

uint64_t
gen_next_no(uint64_t above, unsigned node)
{
	uint64_t no = above + 1;

	assert(node <= 1 && above < UINT64_MAX - 2);
	return (no & 1) == node ? no : no + 1;
}

struct gen
gen_make(uint64_t above, unsigned node, enum gen_kind kind, uint8_t insync, int64_t wall_ms)
{
	struct gen g = { .no = gen_next_no(above, node), .kind = (uint8_t)kind,
		.node = (uint8_t)node, .insync = insync, .wall_ms = wall_ms };

	random_bytes(g.id, sizeof(g.id));
	return g;
}

void
gen_put(struct wire_out *o, const struct gen *g)
{
	wire_put_u64(o, g->no);
	wire_put_raw(o, g->id, sizeof(g->id));
	wire_put_u64(o, g->start_lsn);
	wire_put_raw(o, g->start_hash, sizeof(g->start_hash));
	wire_put_u8(o, g->kind);
	wire_put_u8(o, g->node);
	wire_put_u8(o, g->insync);
	wire_put_u64(o, (uint64_t)g->wall_ms);
}

void
gen_get(struct wire_in *in, struct gen *g)
{
	g->no = wire_get_u64(in);
	wire_get_raw(in, g->id, sizeof(g->id));
	g->start_lsn = wire_get_u64(in);
	wire_get_raw(in, g->start_hash, sizeof(g->start_hash));
	g->kind = wire_get_u8(in);
	g->node = wire_get_u8(in);
	g->insync = wire_get_u8(in);
	g->wall_ms = (int64_t)wire_get_u64(in);
	/* What no version of us writes is refused here, once for all readers. */
	if (g->kind > GEN_MERGE || g->node > 1 || g->insync > 3)
		in->bad = true;
	if (in->bad)
		memset(g, 0, sizeof(*g));
}

bool
gen_same(const struct gen *a, const struct gen *b)
{
	return a->no == b->no && memcmp(a->id, b->id, sizeof(a->id)) == 0;
}
