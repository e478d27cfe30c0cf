/* store_watch.c - selected mailboxes hear what was committed, in its order.
 * A callback may free any watch, also its own: freeing waits until all are called. */
#include <stdlib.h>

#include "mem.h"
#include "store_priv.h"

struct store_watch *
store_watch_new(struct store *st, uint16_t shard, uint64_t box,
    void (*cb)(void *arg, const struct store_event *), void *arg)
{
	struct store_shard *ss = store_find(st, shard);
	struct store_watch *w;

	if (ss == NULL)
		return NULL;
	w = mem_alloc(sizeof(*w));
	w->ss = ss;
	w->box = box;
	w->cb = cb;
	w->arg = arg;
	LIST_INSERT_HEAD(&ss->watches[box % WATCH_SLOTS], w, next);
	ss->nwatches++;
	return w;
}

static void
watch_remove(struct store_watch *w)
{
	LIST_REMOVE(w, next);
	w->ss->nwatches--;
	free(w);
}

void
store_watch_free(struct store_watch *w)
{
	if (w == NULL)
		return;
	if (w->ss->st->calling == 0) {
		watch_remove(w);
		return;
	}
	w->dead = true;
	w->ss->st->dead_watches = true;
}

static void
sweep(struct store *st)
{
	struct store_watch *w, *next;

	for (size_t s = 0; s < st->nshards; s++)
		for (size_t i = 0; i < WATCH_SLOTS; i++)
			for (w = LIST_FIRST(&st->shards[s]->watches[i]); w != NULL; w = next) {
				next = LIST_NEXT(w, next);
				if (w->dead)
					watch_remove(w);
			}
	st->dead_watches = false;
}

static void
tell_one(struct store_shard *ss, const struct shard_event *e)
{
	struct store_event ev = { .what = e->what, .uid = e->uid, .origin = e->origin };
	struct store_msg msg = { 0 };
	struct store_watch *w;
	bool looked = e->what == STORE_GONE || e->what == STORE_BOX_DELETED;

	LIST_FOREACH(w, &ss->watches[e->box % WATCH_SLOTS], next) {
		if (w->box != e->box || w->dead)
			continue;
		if (!looked) {
			/* Gone again in the same batch: GONE follows, and this is not told. */
			if (shard_message(ss->sh, e->box, e->uid, &msg) != MAIL_OK)
				return;
			ev.msg = &msg;
			looked = true;
		}
		w->cb(w->arg, &ev);
	}
	free(msg.keywords);
}

void
watch_tell(struct store_shard *ss)
{
	const struct shard_event *e;
	size_t n = shard_events(ss->sh, &e);

	ss->st->calling++;
	for (size_t i = 0; i < n && ss->nwatches > 0; i++)
		tell_one(ss, &e[i]);
	shard_events_clear(ss->sh);
	if (--ss->st->calling == 0 && ss->st->dead_watches)
		sweep(ss->st);
}
