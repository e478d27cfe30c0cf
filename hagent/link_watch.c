/* link_watch.c - silence of one link as episodes.
 *
 * An episode begins when the link leaves PEER_LINK_OK and ends when it is back; within
 * one, news is told only when it is worse than what was told before.  A link that never
 * worked is no episode: status shows it, and the peer may just not be there yet.  The
 * handshake after a restart of the peer looks like a one-way link for some frames, so
 * that is told after warntime as well. */
#include "link_watch.h"

static enum link_news
news_of(enum peer_link_state s)
{
	switch (s) {
	case PEER_LINK_WARN:
		return LINK_NEWS_SILENT;
	case PEER_LINK_ONE_WAY:
		return LINK_NEWS_ONE_WAY;
	case PEER_LINK_DEAD:
		return LINK_NEWS_DEAD;
	default:
		return LINK_NEWS_NONE;
	}
}

enum link_news
link_watch_step(struct link_watch *w, const struct peer *p, unsigned link, int64_t now_ms,
    int64_t *ms)
{
	const struct peer_link *l = &p->link[link];
	enum peer_link_state s = peer_link_state(p, link, now_ms);
	enum link_news news = news_of(s), told = w->told;

	if (s == PEER_LINK_OK) {
		if (told != LINK_NEWS_NONE)
			*ms = now_ms - w->well_ms;
		w->well_ms = l->echoed_ms;
		w->ever = true;
		w->told = LINK_NEWS_NONE;
		return told == LINK_NEWS_NONE ? LINK_NEWS_NONE : LINK_NEWS_BACK;
	}
	if (!w->ever || news <= told)
		return LINK_NEWS_NONE;
	if (news == LINK_NEWS_ONE_WAY && now_ms - w->well_ms <= l->warn_ms)
		return LINK_NEWS_NONE;
	w->told = news;
	*ms = now_ms - (news == LINK_NEWS_ONE_WAY ? w->well_ms : l->heard_ms);
	return news;
}
