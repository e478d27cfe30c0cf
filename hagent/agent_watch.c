/* agent_watch.c - what the agent tells of its links: silence and recovery in the log. */
#include "agent_parts.h"
#include "clock.h"

void
agent_watch_link(struct agent *a, unsigned n)
{
	const char *name = a->conf->links[n].name;
	int64_t ms = 0;

	switch (link_watch_step(&a->links[n].watch, &a->peer, n, clock_ms(), &ms)) {
	case LINK_NEWS_SILENT:
		log_warnx("link %s silent for %lld ms", name, (long long)ms);
		break;
	case LINK_NEWS_ONE_WAY:
		log_warnx("link %s one-way: for %lld ms the peer does not say that it hears "
		    "this node", name, (long long)ms);
		break;
	case LINK_NEWS_DEAD:
		log_warnx("link %s dead: silent for %lld ms", name, (long long)ms);
		break;
	case LINK_NEWS_BACK:
		log_info("link %s works again after %lld ms", name, (long long)ms);
		break;
	case LINK_NEWS_NONE:
		break;
	}
}

void
agent_watch_links(struct agent *a)
{
	for (unsigned i = 0; i < a->conf->nlinks; i++)
		agent_watch_link(a, i);
}

void
agent_link_sent(struct agent *a, unsigned n)
{
	struct agent_link *l = &a->links[n];

	if (l->why[0] == '\0')
		return;
	if (l->told)
		log_info("link %s is open again", a->conf->links[n].name);
	l->told = false;
	l->why[0] = '\0';
}
