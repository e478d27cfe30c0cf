/* split.c - joins both halves of a merge to the bulk connection, to the owners and to
 * the control socket: which half a frame is for follows from its type, and SP_FAIL from
 * which half is at work. */
#include "split.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core.h"
#include "ctl.h"
#include "log.h"
#include "mem.h"
#include "mirror_wire.h"
#include "ship.h"
#include "split_giver.h"
#include "split_keeper.h"
#include "wire.h"

struct split {
	struct syncd *s;
	struct split_giver giver;
	struct split_keeper keeper;
};

struct split *
split_new(struct syncd *s)
{
	struct split *p = mem_alloc(sizeof(*p));

	p->s = s;
	split_giver_init(&p->giver, s);
	split_keeper_init(&p->keeper, s);
	return p;
}

void
split_free(struct split *p)
{
	if (p == NULL)
		return;
	split_keeper_clear(&p->keeper);
	split_giver_clear(&p->giver);
	free(p);
}

void
split_up(struct split *p, struct bulk *bulk)
{
	if (p != NULL)
		p->giver.bulk = p->keeper.bulk = bulk;
}

void
split_down(struct split *p)
{
	if (p == NULL)
		return;
	p->giver.bulk = p->keeper.bulk = NULL;
	split_giver_stop(&p->giver, "the bulk connection was lost");
	if (p->keeper.step > KEEPER_BULK)
		split_keeper_stop(&p->keeper, "the bulk connection was lost");
}

void
split_room(struct split *p)
{
	if (p != NULL)
		split_giver_pump(&p->giver);
}

bool
split_wants_bulk(const struct split *p)
{
	return p != NULL && p->keeper.step == KEEPER_BULK && p->keeper.bulk == NULL;
}

void
split_frame(struct split *p, uint8_t type, struct span whole)
{
	struct span body = { whole.p + MIRROR_HEAD, whole.len - MIRROR_HEAD };
	struct gen sender = { .no = wire_load64(whole.p + 5) };
	bool to_giver = type == SP_ASK || type == SP_TAKEN || type == SP_MERGED;

	if (p == NULL)
		return;
	memcpy(sender.id, whole.p + 13, sizeof(sender.id));
	if (to_giver || (type == SP_FAIL && p->giver.step != GIVER_IDLE))
		split_giver_frame(&p->giver, type, &sender, body);
	else
		split_keeper_frame(&p->keeper, type, body);
}

void
split_changed(struct split *p)
{
	const struct commit *c;

	if (p == NULL)
		return;
	c = &p->s->commit;
	if (!split_keeper_may(&p->keeper))
		split_keeper_stop(&p->keeper, "this node is not active any more");
	if (c->role != DATA_STANDBY || !c->split)
		split_giver_stop(&p->giver, "the other node is not what it was");
}

void
split_tick(struct split *p, int64_t now_ms)
{
	if (p == NULL)
		return;
	split_giver_tick(&p->giver);
	split_keeper_tick(&p->keeper, now_ms);
}

void
split_changes(struct split *p, uint16_t shard, int fd)
{
	split_giver_changes(&p->giver, shard, fd);
}

void
split_merged(struct split *p, uint16_t shard, bool ok, struct span report)
{
	split_keeper_merged(&p->keeper, shard, ok, report);
}

void
split_proposed(struct split *p, uint16_t shard)
{
	if (p != NULL)
		split_keeper_proposed(&p->keeper, shard);
}

void
split_gone(struct split *p, uint16_t shard)
{
	if (p == NULL)
		return;
	split_giver_gone(&p->giver, shard);
	split_keeper_gone(&p->keeper, shard);
}

/* ---- the control socket ---- */

static json_t *
gens_behind(const struct history *h, uint64_t fork)
{
	json_t *list = json_array();

	for (size_t i = 0; i < h->n; i++)
		if (h->gen[i].start_lsn > fork)
			json_array_append_new(list, json_pack("{s:I, s:s, s:i, s:I}", "no",
			    (json_int_t)h->gen[i].no, "kind",
			    gen_kind_name((enum gen_kind)h->gen[i].kind), "node", h->gen[i].node,
			    "start_lsn", (json_int_t)h->gen[i].start_lsn));
	return list;
}

void
split_show(struct split *p, struct ctl_call *call)
{
	struct syncd *s = p->s;
	const struct split_keeper *k = &p->keeper;
	uint64_t fork = 0, tip = 0;
	bool there = ship_peer_split(s->ship, &tip), known = ship_fork(s->ship, &fork);
	json_t *data = json_pack("{s:s, s:s, s:b, s:b, s:I, s:s, s:b}", "node",
	    s->conf.nodes[s->conf.node].name, "role", data_role_name(s->commit.role), "split",
	    there || s->commit.split, "here", s->commit.split, "tip_lsn",
	    (json_int_t)feed_tip(s->feed).lsn, "step", split_keeper_step_name(k->step), "merging",
	    k->step != KEEPER_IDLE || p->giver.step != GIVER_IDLE);

	if (there)
		json_object_set_new(data, "peer_tip_lsn", json_integer((json_int_t)tip));
	if (known) {
		json_object_set_new(data, "fork_lsn", json_integer((json_int_t)fork));
		json_object_set_new(data, "here_since", gens_behind(feed_history(s->feed), fork));
		json_object_set_new(data, "peer_since",
		    gens_behind(ship_peer_history(s->ship), fork));
	}
	if (k->step != KEEPER_IDLE)
		json_object_set(data, "so_far", k->totals);
	if (k->last != NULL)
		json_object_set(data, "last", k->last);
	ctl_done(call, CTL_OK, data, NULL, NULL, NULL);
}

void
split_resolve(struct split *p, struct ctl_call *call, json_t *request)
{
	struct syncd *s = p->s;
	bool dry = json_is_true(json_object_get(request, "dry_run"));
	char *hint;

	if (ctl_uid(call) != 0 && ctl_uid(call) != geteuid()) {
		ctl_done(call, CTL_DENIED, NULL, "only root may merge", NULL, NULL);
	} else if (p->keeper.owed != 0) {
		ctl_done(call, CTL_CONFLICT, NULL, "an owner still works for a merge that was stopped",
		    NULL, "repeat it in a moment");
	} else if (p->keeper.step != KEEPER_IDLE) {
		ctl_done(call, CTL_CONFLICT, NULL, "a merge is running", NULL, "hactl split show");
	} else if (s->commit.role != DATA_ACTIVE && s->commit.split) {
		hint = mem_printf("run it on %s, the active node",
		    s->conf.nodes[1 - s->conf.node].name);
		ctl_done(call, CTL_REFUSED, NULL, "this node gives way: its changes are merged into "
		    "the active node's", NULL, hint);
		free(hint);
	} else if (!split_keeper_may(&p->keeper)) {
		ctl_done(call, CTL_REFUSED, NULL, "this node is not active", NULL,
		    "hactl failover makes the one active whose history is to stay");
	} else if (!ship_peer_split(s->ship, NULL)) {
		ctl_done(call, CTL_REFUSED, NULL, "the other node is not connected, or there is no split",
		    NULL, "hactl split show");
	} else {
		split_keeper_resolve(&p->keeper, call, dry);
	}
}
