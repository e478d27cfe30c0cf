/* link_watch.h - what of a link's silence is worth a line in the log: once when it
 * lasts longer than warntime, once when it is dead, and once when it is over.  Pure. */
#ifndef HAGENT_LINK_WATCH_H
#define HAGENT_LINK_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "peer.h"

/* Worse ones last. */
enum link_news {
	LINK_NEWS_NONE,
	LINK_NEWS_SILENT,	/* longer than warntime */
	LINK_NEWS_ONE_WAY,	/* heard, but the peer does not say that it hears us */
	LINK_NEWS_DEAD,		/* longer than deadtime */
	LINK_NEWS_BACK,
};

struct link_watch {		/* zero-initialised */
	enum link_news told;	/* of this episode; NONE: all is well */
	bool ever;		/* it was all right once: an absence is news */
	int64_t well_ms;	/* when the frame was sent that the peer heard last */
};

/* To be asked after each frame and with each tick.  *ms, written with any news: how long
 * nothing was heard (ONE_WAY: heard of us), for BACK how long the whole episode was. */
enum link_news link_watch_step(struct link_watch *, const struct peer *, unsigned link,
    int64_t now_ms, int64_t *ms);

#endif
