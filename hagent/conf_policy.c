/* conf_policy.c - the options that decide when the active node changes: the mode and
 * its proof, quorum, fail-back, damping, ping targets with their scores. */
#include "conf_policy.h"

#include <stdlib.h>
#include <string.h>

#include "conf_links.h"
#include "mem.h"
#include "span.h"

#define SCORE_MAX 255	/* of all targets together: it travels in one byte */

const char *const conf_policy_modes[] = { "serial+ping", "manual", "fencing", "quorum", NULL };
const char *const conf_policy_cold[] = { "last-active", "wait", NULL };
const char *const conf_policy_quorum[] = { "ignore", "require", NULL };
const char *const conf_policy_failback[] = { "off", "manual", "auto", NULL };

const char *
pair_mode_name(enum pair_mode m)
{
	return conf_policy_modes[m];
}

const char *
failback_name(enum failback f)
{
	return conf_policy_failback[f];
}

/* "192.0.2.1" or "192.0.2.1=5" */
static void
read_ping(struct hagent_conf *c, const char *text)
{
	struct ping_conf *p = &c->pings[c->npings++];
	const char *eq = strchr(text, '=');
	uint64_t score = 1;

	p->name = mem_dup(text);
	if (eq != NULL)
		p->name[eq - text] = '\0';
	if (conf_links_address(p->name, 0, &p->address) == -1
	    || (eq != NULL && span_u64(span_of(eq + 1), SCORE_MAX, &score) != PARSE_OK)
	    || score == 0)
		conf_error(c->path, 0, "ping: expected a literal address, or one with its score "
		    "(1 to %d) such as \"192.0.2.1=5\", not \"%s\"", SCORE_MAX, text);
	p->score = (int)score;
}

static void
read_pings(struct hagent_conf *c, cfg_t *cfg)
{
	unsigned n = cfg_size(cfg, "ping");
	int sum = 0;

	if (n > HAGENT_PINGS_MAX) {
		conf_error(c->path, 0, "ping: expected at most %d addresses",
		    HAGENT_PINGS_MAX);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		read_ping(c, cfg_getnstr(cfg, "ping", i));
		sum += c->pings[i].score;
	}
	if (sum > SCORE_MAX)
		conf_error(c->path, 0, "ping: expected scores of at most %d together, not %d",
		    SCORE_MAX, sum);
}

/* -1: no node is preferred. */
static int
read_preferred(const struct hagent_conf *c, const char *name)
{
	if (name[0] == '\0')
		return -1;
	for (int i = 0; i < 2; i++)
		if (c->node[i] != NULL && strcmp(c->node[i], name) == 0)
			return i;
	conf_error(c->path, 0, "preferred: expected \"\" or the name of a node of this file, "
	    "not \"%s\"", name);
	return -1;
}

void
conf_policy_read(struct hagent_conf *c, cfg_t *cfg)
{
	c->mode = (enum pair_mode)conf_word(conf_policy_modes, cfg_getstr(cfg, "mode"));
	c->cold_start = (enum cold_start)conf_word(conf_policy_cold,
	    cfg_getstr(cfg, "cold-start"));
	c->quorum_require = conf_word(conf_policy_quorum, cfg_getstr(cfg, "quorum")) == 1;
	c->failback = (enum failback)conf_word(conf_policy_failback,
	    cfg_getstr(cfg, "failback"));
	c->failback_delay_s = (int)cfg_getint(cfg, "failback-delay-s");
	c->preferred = read_preferred(c, cfg_getstr(cfg, "preferred"));
	if (c->failback != FAILBACK_NEVER && c->preferred == -1)
		conf_error(c->path, 0, "failback: expected a preferred node for anything but "
		    "\"off\"");
	c->moves_max = (int)cfg_getint(cfg, "moves-max");
	c->moves_window_s = (int)cfg_getint(cfg, "moves-window-s");
	c->vip_check_ms = (int)cfg_getint(cfg, "vip-check-ms");
	c->maintenance_s = (int)cfg_getint(cfg, "maintenance-s");
	c->fence_retry_max_ms = (int)cfg_getint(cfg, "fence-retry-max-ms");
	for (unsigned i = 0; i < 2 && i < cfg_size(cfg, "node"); i++)
		c->fence_delay_ms[i] = (int)cfg_getint(cfg_getnsec(cfg, "node", i),
		    "fence-delay-ms");
	read_pings(c, cfg);
}

static bool
can_be_fenced(const struct hagent_conf *c, unsigned node)
{
	for (size_t i = 0; i < c->nfences; i++)
		if (c->fences[i].node == node)
			return true;
	return false;
}

void
conf_policy_check(const struct hagent_conf *c)
{
	int line = conf_option_line(c->path, "mode");

	if (c->mode == MODE_QUORUM && c->watchdog.device[0] == '\0')
		conf_error(c->path, line, "mode \"quorum\": expected a watchdog device: that it has "
		    "fired is the proof that a silent node stopped");
	for (unsigned i = 0; c->mode == MODE_FENCING && i < 2; i++)
		if (!can_be_fenced(c, i))
			conf_error(c->path, line, "mode \"fencing\": expected a fence section for node "
			    "\"%s\"", c->node[i] != NULL ? c->node[i] : "?");
}
