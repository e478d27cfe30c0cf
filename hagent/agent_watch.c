/* agent_watch.c - what the agent makes of its links: silence and recovery as lines of
 * the log, and what corosync says as quorum.  Unknown is not quorum. */
#include "agent_parts.h"
#include "clock.h"

#define TICK_MS 50
#define QUERY_MS 20	/* between two questions to syncd, while nothing else is heard */
#define CALM_MS 250

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

/* That the channel between the syncds is silent too may be all that is waited for. */
static bool
wants_syncd(const struct agent *a, int64_t now_ms)
{
	struct peer_view v;

	peer_look(&a->peer, now_ms, &v);
	return a->syncd_up && a->data.peer_connected && v.silent_ms >= a->pconf.suspect_ms;
}

void
agent_ask_syncd(struct agent *a)
{
	int64_t now = clock_ms();

	if (a->asking_syncd || !wants_syncd(a, now) || now - a->queried_ms < QUERY_MS)
		return;
	a->asking_syncd = true;
	a->queried_ms = now;
	syncd_client_query(a->syncd);
}

/* Active or standby, every link works, and nothing is under way. */
static bool
calm(const struct agent *a, int64_t now_ms)
{
	const struct policy *p = &a->policy;
	struct peer_view v;

	if ((p->role != ROLE_ACTIVE && p->role != ROLE_STANDBY) || p->op.op != OP_NONE ||
	    a->actions.n > 0)
		return false;
	peer_look(&a->peer, now_ms, &v);
	return v.alive && v.links_alive == v.links;
}

/* Shorter when a moment is nearer at which silence alone changes something. */
static int64_t
until_news(const struct agent *a, int64_t now_ms, int64_t ms)
{
	int64_t link = peer_next_ms(&a->peer, now_ms) - now_ms, suspect;
	struct peer_view v;

	peer_look(&a->peer, now_ms, &v);
	suspect = a->pconf.suspect_ms - v.silent_ms;
	if (suspect > 0 && suspect < ms)
		ms = suspect;
	return link < ms ? link : ms;
}

int
agent_tick_ms(const struct agent *a)
{
	int64_t now = clock_ms(), ms = calm(a, now) ? CALM_MS : TICK_MS;

	/* Well below what the policy takes for a pause of this process, and what the
	 * watchdog takes for its end. */
	if (ms > a->pconf.dead_ms / 4)
		ms = a->pconf.dead_ms / 4;
	if (a->conf->watchdog.device[0] != '\0' && ms > a->conf->watchdog.timeout_ms / 8)
		ms = a->conf->watchdog.timeout_ms / 8;
	if (wants_syncd(a, now) && ms > QUERY_MS)
		ms = QUERY_MS;
	ms = until_news(a, now, ms);
	return ms > 1 ? (int)ms : 1;
}

static int
corosync_link(const struct agent *a)
{
	for (unsigned i = 0; i < a->conf->nlinks; i++)
		if (a->conf->links[i].medium == MEDIUM_COROSYNC)
			return (int)i;
	return -1;
}

const struct corosync_state *
agent_corosync(const struct agent *a, int64_t now_ms)
{
	int n = corosync_link(a);

	return n == -1 ? NULL : link_corosync_state(a->links[n].link, now_ms);
}

void
agent_view_quorum(const struct agent *a, struct policy_view *v)
{
	const struct corosync_state *s = agent_corosync(a, v->now_ms);
	bool have = s != NULL && s->quorate && s->why[0] == '\0';

	v->quorum = corosync_link(a) == -1 ? QUORUM_NONE : have ? QUORUM_HAVE : QUORUM_LOST;
	v->quorum_peer = s == NULL || s->peer_member;
}

/* "" unless it is lost. */
const char *
agent_quorum_why(const struct agent *a, const struct policy_view *v)
{
	const struct corosync_state *s = agent_corosync(a, v->now_ms);

	if (v->quorum != QUORUM_LOST)
		return "";
	return s == NULL ? "corosync does not answer" : s->why[0] != '\0' ? s->why
	    : "no majority of votes";
}
