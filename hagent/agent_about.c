/* agent_about.c - what the nodes tell each other for people (about.h): puts ours into
 * frames that have room, keeps the peer's.
 *
 * On udp links only: a serial line has no time for it.  The disk is asked once in
 * DISK_MS, not for every frame. */
#include <string.h>

#include "agent.h"
#include "agent_parts.h"
#include "clock.h"
#include "fs.h"

#define DISK_MS 5000
#define FRESH_MS 10000		/* older than this it is not shown */

int
agent_disk_used(struct agent *a, int64_t now)
{
	uint64_t bytes;
	unsigned used;

	if (a->disk_asked_ms != 0 && now - a->disk_asked_ms < DISK_MS)
		return a->disk_used;
	a->disk_asked_ms = now;
	a->disk_used = fs_free(a->conf->state_dir, &bytes, &used) == 0 ? (int)used : -1;
	return a->disk_used;
}

unsigned
agent_resources_up(const struct agent *a)
{
	unsigned n = 0;

	for (unsigned i = 0; i < a->conf->nresources; i++)
		n += a->policy.res[i].state == RES_UP;
	return n;
}

void
agent_about_send(struct agent *a, unsigned link, const struct policy_view *v, struct frame *f)
{
	struct about b = {
		.wall_ms = v->wall_ms,
		.role_s = (uint32_t)((v->now_ms - a->policy.since_ms) / 1000),
		.res_up = (uint8_t)agent_resources_up(a),
		.res_all = (uint8_t)a->conf->nresources,
	};

	if (a->conf->links[link].medium != MEDIUM_UDP)
		return;
	b.disk_used = agent_disk_used(a, v->now_ms);
	about_version_set(&b, MAILPAIR_VERSION);
	about_put(&b, f);
	if (v->peer.alive && v->peer.have && v->peer.f.config != a->config.all)
		about_files_put(&a->config, f);
}

const char *
agent_config_differ(const struct agent *a, const struct policy_view *v, char *buf, size_t size)
{
	buf[0] = '\0';
	/* What it told belongs to the configuration that it has now. */
	if (v->peer.have && v->peer.f.config != a->config.all &&
	    a->peer_config.all == v->peer.f.config)
		config_digest_differ(a->config.file, a->peer_config.file, buf, size);
	return buf;
}

static void
files_heard(struct agent *a, const struct frame *f)
{
	struct config_digest d;
	char names[64];

	if (!about_files_get(f, &d) || memcmp(&d, &a->peer_config, sizeof(d)) == 0)
		return;
	a->peer_config = d;
	if (d.all == a->config.all || d.all != f->config)
		return;
	config_digest_differ(a->config.file, d.file, names, sizeof(names));
	log_info("configuration differs from the other node's in: %s", names);
	agent_record(a, EVENTLOG_CONFIG, "other than on %s: %s", a->conf->node[1 - a->conf->self],
	    names);
}

/* Only of a frame that has just become the newest proven one: an old one is no clock. */
void
agent_about_heard(struct agent *a, const struct frame *f)
{
	if (!a->peer.have || a->peer.last.order != f->order)
		return;
	files_heard(a, f);
	if (!about_get(f, &a->about))
		return;
	if (a->about_boot != f->boot)
		memset(&a->about_clock, 0, sizeof(a->about_clock));
	a->about_boot = f->boot;
	a->about_ms = clock_ms();
	about_clock_add(&a->about_clock, a->about.wall_ms, clock_wall_ms());
}

bool
agent_about_known(const struct agent *a, int64_t now)
{
	return a->about_ms != 0 && now - a->about_ms <= FRESH_MS;
}
