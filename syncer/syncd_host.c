/* syncd_host.c - syncd's answers to the mirror (seed.h) and to `hactl sync` (the
 * control socket): sync-status says where the log is on both nodes and what the
 * commit rule does now; sync-now starts a mirror pass. */
#include "syncd_host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent_link.h"
#include "core.h"
#include "ctl.h"
#include "hex.h"
#include "log.h"
#include "owners.h"
#include "peer_wire.h"
#include "ship.h"
#include "split.h"
#include "trim.h"
#include "verify.h"

/* ---- the mirror's host ---- */

static void
host_want_bulk(void *arg)
{
	peerlink_want_bulk(((struct syncd *)arg)->peer);
}

static void
host_send(void *arg, struct span body)
{
	peerlink_send(((struct syncd *)arg)->peer, PEER_MIRROR, &body, 1);
}

static size_t
host_shards(void *arg, uint16_t *shards, size_t max)
{
	return owners_shards(((struct syncd *)arg)->owners, shards, max);
}

static bool
host_absent(void *arg, uint16_t *shard)
{
	return owners_absent(((struct syncd *)arg)->owners, shard);
}

static int
host_ask_snapshot(void *arg, uint16_t shard)
{
	return owners_ask_snapshot(((struct syncd *)arg)->owners, shard);
}

static int
host_ask_object(void *arg, uint16_t shard, const uint8_t sha[32])
{
	return owners_ask_object(((struct syncd *)arg)->owners, shard, sha);
}

static int
host_offer_object(void *arg, uint16_t shard, const uint8_t sha[32], int fd)
{
	return owners_offer_object(((struct syncd *)arg)->owners, shard, sha, fd);
}

static int
host_offer_index(void *arg, uint16_t shard, uint64_t lsn, int fd)
{
	return owners_offer_index(((struct syncd *)arg)->owners, shard, lsn, fd);
}

static void
host_mended(void *arg, uint16_t shard, const uint8_t sha[32], enum owner_mend rc, int fd)
{
	owners_mended(((struct syncd *)arg)->owners, shard, sha, rc, fd);
}

static void
host_keep_from(void *arg, uint64_t lsn)
{
	trim_keep_from(((struct syncd *)arg)->trim, lsn);
}

static uint64_t
host_oldest(void *arg)
{
	return feed_oldest(((struct syncd *)arg)->feed);
}

static int
host_point(void *arg, uint64_t lsn, uint8_t hash[16], struct gen *gens, size_t max, size_t *ngens)
{
	struct syncd *s = arg;
	struct history h = *feed_history(s->feed);

	if (feed_hash(s->feed, lsn, hash) == -1)
		return -1;
	history_cut(&h, lsn);
	if (h.n > max) {
		errno = EMSGSIZE;
		return -1;
	}
	memcpy(gens, h.gen, h.n * sizeof(h.gen[0]));
	*ngens = h.n;
	return 0;
}

static bool
host_seed_may(void *arg)
{
	return ship_seed_may(((struct syncd *)arg)->ship);
}

static int
host_seed_start(void *arg)
{
	return core_mark_seeding(arg, true);
}

static int
host_seed_done(void *arg, uint64_t lsn, const uint8_t hash[16], const struct gen *gens,
    size_t ngens)
{
	struct syncd *s = arg;
	struct log_tip tip = { .lsn = lsn };
	struct history h = { .n = 0 };

	memcpy(tip.hash, hash, 16);
	for (size_t i = 0; i < ngens; i++)
		history_add(&h, &gens[i]);
	if (!log_writer_settle(s->writer) || feed_reset(s->feed, &tip, &h) == -1)
		return -1;
	core_log_changed(s);
	if (core_mark_seeding(s, false) == -1)
		return -1;
	log_info("seeded: the log goes on behind lsn=%llu", (unsigned long long)lsn);
	owners_anew(s->owners);
	agent_link_state(s->agent);
	ship_facts(s->ship);
	return 0;
}

void
syncd_host_mirror(struct syncd *s, int worker_fd)
{
	struct mirror_host host = { .arg = s, .base = s->base, .conf = &s->conf,
		.trees = &s->conf.mirror, .worker_fd = worker_fd,
		.spool_dir = s->conf.log_directory,
		.node_names = { s->conf.nodes[0].name, s->conf.nodes[1].name },
		.node = s->conf.node, .split = s->split, .commit = &s->commit, .want_bulk = host_want_bulk,
		.send = host_send, .shards = host_shards, .absent = host_absent, .ask_snapshot = host_ask_snapshot,
		.ask_object = host_ask_object, .offer_object = host_offer_object,
		.offer_index = host_offer_index, .mended = host_mended, .keep_from = host_keep_from, .oldest = host_oldest,
		.point = host_point, .seed_may = host_seed_may, .seed_start = host_seed_start, .seed_done = host_seed_done };

	s->mirror = mirror_new(&host, &s->mirror_ops);
	if (s->mirror != NULL)
		owners_seed_ops(s->owners, &s->mirror_ops->owner, s->mirror);
}

/* ---- the control socket ---- */

static json_t *
number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *
gen_json(const struct gen *g)
{
	char id[33];

	return json_pack("{s:o, s:s, s:s, s:o, s:i, s:i}", "no", number(g->no), "id",
	    hex_encode(g->id, 16, id), "kind", gen_kind_name((enum gen_kind)g->kind), "start_lsn",
	    number(g->start_lsn), "node", g->node, "insync", g->insync);
}

static json_t *
peer_json(const struct syncd *s, const struct data_state *st)
{
	const char *why = ship_trouble(s->ship);

	return json_pack("{s:s, s:b, s:s, s:I, s:o, s:o, s:s?}", "name",
	    s->conf.nodes[1 - s->conf.node].name, "connected", (int)st->peer_connected, "path",
	    peerlink_path(s->peer), "heard_ms", (json_int_t)st->peer_heard_ms, "durable_lsn",
	    number(st->peer_durable_lsn), "applied_lsn", number(st->peer_applied_lsn), "trouble",
	    why);
}

static json_t *
writer_json(const struct syncd *s)
{
	struct log_writer_count c = log_writer_count(s->writer);

	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "syncs", number(c.syncs), "records",
	    number(c.records), "bytes", number(c.bytes), "batch_max", number(c.batch_max),
	    "waiting_bytes", number(log_writer_bytes(s->writer)));
}

static json_t *
status_json(struct syncd *s)
{
	struct data_state st;
	const struct commit *c = &s->commit;

	core_state(s, &st);
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:b, s:b, s:b, s:b, s:b, s:o, s:o, s:o, s:o, "
			 "s:o, s:I, s:o, s:o, s:i, s:i, s:o, s:o, s:s}",
	    "node", s->conf.nodes[s->conf.node].name, "role", data_role_name(c->role), "mode",
	    data_mode_name(c->mode), "rule", commit_rule_name(c->conf.rule), "generation",
	    gen_json(&st.gen), "insync", (int)st.insync, "outdated", (int)st.outdated, "serving",
	    (int)commit_serving(c), "failed", (int)c->failed, "disk_full", (int)c->full,
	    "durable_lsn", number(st.durable_lsn), "commit_lsn", number(st.commit_lsn),
	    "applied_lsn", number(st.applied_lsn), "oldest_lsn", number(feed_oldest(s->feed)),
	    "at_risk", number(st.at_risk), "alone_since_ms", (json_int_t)st.alone_since_ms,
	    "log_bytes", number(log_store_bytes(s->store)), "unsent_bytes",
	    number(peerlink_unsent(s->peer)), "copies", commit_copies(c), "held", (int)c->held,
	    "peer", peer_json(s, &st), "writer", writer_json(s), "ship", s->conf.ship_log ? "log" : "interval");
}

static void
op_status(struct syncd *s, struct ctl_call *call)
{
	json_t *status = status_json(s), *last = json_object();

	if (s->mirror != NULL && s->mirror_ops->status != NULL)
		json_object_set_new(status, "mirror", s->mirror_ops->status(s->mirror));
	json_object_set_new(status, "verify", verify_status(s->verify));
	json_object_set_new(last, "status", status);
	ctl_done(call, CTL_OK, last, NULL, NULL, NULL);
}

static void
op_now(struct syncd *s, struct ctl_call *call, json_t *request)
{
	if (ctl_uid(call) != 0 && ctl_uid(call) != geteuid())
		ctl_done(call, CTL_DENIED, NULL, "only root may start a mirror pass", NULL, NULL);
	else if (s->mirror == NULL || s->mirror_ops->sync_now == NULL)
		ctl_done(call, CTL_NOT_FOUND, NULL, "no mirror is configured", NULL, NULL);
	else
		s->mirror_ops->sync_now(s->mirror, call, request);
}

void
syncd_host_request(struct ctl_call *call, json_t *request, void *arg)
{
	struct syncd *s = arg;
	const char *op = json_string_value(json_object_get(request, "op"));

	if (op != NULL && strcmp(op, "sync-status") == 0)
		op_status(s, call);
	else if (op != NULL && strcmp(op, "sync-now") == 0)
		op_now(s, call, request);
	else if (op != NULL && strcmp(op, "sync-verify") == 0)
		verify_request(s->verify, call, request);
	else if (op != NULL && strcmp(op, "split-show") == 0)
		split_show(s->split, call);
	else if (op != NULL && strcmp(op, "split-resolve") == 0)
		split_resolve(s->split, call, request);
	else
		ctl_done(call, CTL_USAGE, NULL, "unknown operation", NULL,
		    "sync-status, sync-now, sync-verify, split-show or split-resolve");
}
