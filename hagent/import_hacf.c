/* import_hacf.c - ha.cf: one table of directives, each with what takes it, or with the
 * words that say what to do instead. */
#include <stdlib.h>
#include <string.h>

#include "import_int.h"

#define WARN_AT(im, line, ...)                                                           \
	import_note(im, IMPORT_WARN, IMPORT_HA_CF, line, __VA_ARGS__)
#define ERROR_AT(im, line, ...)                                                          \
	import_note(im, IMPORT_ERROR, IMPORT_HA_CF, line, __VA_ARGS__)

struct directive {
	const char *name;
	void (*take)(struct import *, const struct import_words *);
	const char *instead; /* of one that is not taken: "it ..." */
};

/* ---- times and numbers ---------------------------------------------------- */

static void
take_time(struct import *im, const struct import_words *ws)
{
	const struct {
		const char *name;
		struct import_time *t;
	} times[] = {
	    {"keepalive", &im->keepalive},
	    {"deadtime", &im->deadtime},
	    {"warntime", &im->warntime},
	    {"initdead", &im->initdead},
	    {"deadping", &im->deadping},
	};
	long ms = ws->n < 2 ? -1 : import_ms(ws->w[1]);

	if (ms <= 0) {
		ERROR_AT(
		    im, ws->line, "%s: expected a time such as 2 or 200ms", ws->w[0]);
		return;
	}
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		if (strcmp(times[i].name, ws->w[0]) == 0)
			*times[i].t = (struct import_time){ms, ws->line};
}

/* -1: no number from min to max; said. */
static long
number(struct import *im, const struct import_words *ws, long min, long max)
{
	uint64_t n;

	if (ws->n >= 2 && span_u64(span_of(ws->w[1]), (uint64_t)max, &n) == PARSE_OK &&
	    (long)n >= min)
		return (long)n;
	ERROR_AT(
	    im, ws->line, "%s: expected a number from %ld to %ld", ws->w[0], min, max);
	return -1;
}

static void
take_port(struct import *im, const struct import_words *ws)
{
	long n = number(im, ws, 1, 65535);

	if (n != -1) {
		im->port = n;
		im->port_line = ws->line;
	}
}

static void
take_baud(struct import *im, const struct import_words *ws)
{
	long n = number(im, ws, 1200, 921600);

	if (n != -1) {
		im->baud = n;
		im->baud_line = ws->line;
	}
}

static void
take_debug(struct import *im, const struct import_words *ws)
{
	long n = number(im, ws, 0, 255);

	if (n != -1)
		im->debug = (struct import_time){n, ws->line};
}

/* ---- nodes ------------------------------------------------------------------ */

static bool
is_name(const char *s)
{
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "0123456789-_.";

	return s[0] != '\0' && s[0] != '-' && s[strspn(s, letters)] == '\0';
}

static void
take_node(struct import *im, const struct import_words *ws)
{
	im->node_line = ws->line;
	for (unsigned i = 1; i < ws->n; i++) {
		if (!is_name(ws->w[i]) || strlen(ws->w[i]) >= sizeof(im->node[0]))
			ERROR_AT(im, ws->line,
			    "node: expected a name as uname -n prints it, not "
			    "\"%s\"",
			    ws->w[i]);
		else if (im->nnodes == 2)
			ERROR_AT(im, ws->line,
			    "node %s: a pair has two nodes; %s and %s are "
			    "already there",
			    ws->w[i], im->node[0], im->node[1]);
		else if (im->nnodes == 1 && strcmp(im->node[0], ws->w[i]) == 0)
			WARN_AT(im, ws->line, "node %s stands there twice", ws->w[i]);
		else
			(void)import_copy(
			    im->node[im->nnodes++], sizeof(im->node[0]), ws->w[i]);
	}
}

/* ---- links and ping targets ------------------------------------------------- */

static void
take_bcast(struct import *im, const struct import_words *ws)
{
	for (unsigned i = 1; i < ws->n; i++)
		import_link_udp(im, "bcast", ws->w[i], ws->line, 0, NULL);
}

/* mcast DEVICE GROUP PORT TTL LOOP */
static void
take_mcast(struct import *im, const struct import_words *ws)
{
	uint64_t port = 0;

	if (ws->n < 2 ||
	    (ws->n > 3 &&
		(span_u64(span_of(ws->w[3]), 65535, &port) != PARSE_OK || port == 0)))
		ERROR_AT(im, ws->line, "mcast: expected a device, a group and a port");
	else
		import_link_udp(im, "mcast", ws->w[1], ws->line, (uint16_t)port, NULL);
}

static void
take_ucast(struct import *im, const struct import_words *ws)
{
	int family;

	if (ws->n < 3 || !import_is_address(ws->w[2], &family))
		ERROR_AT(im, ws->line, "ucast: expected a device and a literal address");
	else
		import_link_udp(im, "ucast", ws->w[1], ws->line, 0, ws->w[2]);
}

static void
take_serial(struct import *im, const struct import_words *ws)
{
	for (unsigned i = 1; i < ws->n; i++)
		import_link_serial(im, ws->w[i], ws->line);
}

static void
add_ping(struct import *im, const char *address, int line)
{
	int family;

	if (!import_is_address(address, &family))
		WARN_AT(im, line,
		    "ping target %s left out: write its address into ping instead "
		    "of its name",
		    address);
	else if (im->npings == HAGENT_PINGS_MAX)
		WARN_AT(im, line,
		    "ping target %s left out: at most %d; choose those that "
		    "clients need",
		    address, HAGENT_PINGS_MAX);
	else {
		im->ping_line[im->npings] = line;
		(void)import_copy(im->pings[im->npings++], sizeof(im->pings[0]), address);
	}
}

static void
take_ping(struct import *im, const struct import_words *ws)
{
	for (unsigned i = 1; i < ws->n; i++)
		add_ping(im, ws->w[i], ws->line);
}

static void
take_ping_group(struct import *im, const struct import_words *ws)
{
	WARN_AT(im, ws->line,
	    "ping_group %s: each of its targets stands by itself in ping; any "
	    "that answers shows that this node is not cut off",
	    ws->n > 1 ? ws->w[1] : "");
	for (unsigned i = 2; i < ws->n; i++)
		add_ping(im, ws->w[i], ws->line);
}

/* ---- what decides ------------------------------------------------------------- */

/* 1 on, 0 off, -1 neither. */
static int
on_or_off(const char *word)
{
	static const char *const words[][5] = {
	    {"off", "no", "false", "n", "0"},
	    {"on", "yes", "true", "y", "1"},
	};

	for (int on = 0; on < 2; on++)
		for (size_t i = 0; i < 5; i++)
			if (strcmp(words[on][i], word) == 0)
				return on;
	return -1;
}

static void
take_failback(struct import *im, const struct import_words *ws)
{
	bool inverse = strcmp(ws->w[0], "nice_failback") == 0;
	int on = strcmp(ws->w[1], "legacy") == 0 ? 1 : on_or_off(ws->w[1]);

	if (on == -1)
		ERROR_AT(im, ws->line, "%s: expected on, off or legacy", ws->w[0]);
	else
		im->failback = (struct import_time){inverse ? !on : on, ws->line};
}

static void
take_realtime(struct import *im, const struct import_words *ws)
{
	int on = on_or_off(ws->w[1]);

	if (on == -1)
		ERROR_AT(im, ws->line, "%s: expected on or off", ws->w[0]);
	else
		im->realtime = (struct import_time){on, ws->line};
}

static void
take_watchdog(struct import *im, const struct import_words *ws)
{
	if (ws->n < 2 || ws->w[1][0] != '/' ||
	    strlen(ws->w[1]) >= sizeof(im->watchdog_device)) {
		ERROR_AT(
		    im, ws->line, "watchdog: expected a device such as /dev/watchdog");
		return;
	}
	(void)import_copy(im->watchdog_device, sizeof(im->watchdog_device), ws->w[1]);
	im->watchdog.line = ws->line;
}

static void
take_stonith(struct import *im, const struct import_words *ws)
{
	const char *type =
	    ws->n > 2 ? ws->w[strcmp(ws->w[0], "stonith_host") == 0 ? 2 : 1] : "...";

	WARN_AT(im, ws->line,
	    "%s: nothing of it is used, its parameters hold passwords and "
	    "have other names; find the fence agent that replaces %s with ls "
	    "/usr/sbin/fence_*",
	    ws->w[0], type);
}

static void
take_respawn(struct import *im, const struct import_words *ws)
{
	const char *program = ws->n > 2 ? ws->w[2] : "";
	const char *base =
	    strrchr(program, '/') == NULL ? program : strrchr(program, '/') + 1;
	struct import_respawn *r = &im->respawns[im->nrespawns];

	/* The agent does this itself. */
	if (strcmp(base, "ipfail") == 0)
		return;
	if (strstr(program, "/heartbeat/") != NULL || strcmp(base, "dopd") == 0) {
		WARN_AT(im, ws->line, "respawn %s: a part of Heartbeat, left out", program);
		return;
	}
	if (program[0] != '/' || ws->n - 2 > HAGENT_ARGS_MAX + 1 ||
	    im->nrespawns == HAGENT_RESPAWNS_MAX ||
	    !import_copy(r->user, sizeof(r->user), ws->w[1])) {
		WARN_AT(im, ws->line,
		    "respawn %s: left out, write it as a respawn section with the whole path",
		    program);
		return;
	}
	for (unsigned i = 2; i < ws->n; i++)
		memcpy(r->command[r->nwords++], ws->w[i], IMPORT_WORD);
	r->line = ws->line;
	r->there = im->env->have_script(im->env->arg, program);
	if (!r->there)
		WARN_AT(im, ws->line, "respawn %s: not on this machine, or not root's own: "
		    "written as a comment", program);
	im->nrespawns++;
}

static void
take_crm(struct import *im, const struct import_words *ws)
{
	if (ws->n > 1 && strcmp(ws->w[1], "off") != 0 && strcmp(ws->w[1], "no") != 0 &&
	    strcmp(ws->w[1], "false") != 0)
		WARN_AT(im, ws->line,
		    "%s: resources of the cluster manager stand in its CIB and "
		    "not in haresources: write them as resource and vip sections "
		    "(cibadmin -Q "
		    "shows them)",
		    ws->w[0]);
}

static const struct directive directives[] = {
    {"keepalive", take_time, NULL},
    {"deadtime", take_time, NULL},
    {"warntime", take_time, NULL},
    {"initdead", take_time, NULL},
    {"deadping", take_time, NULL},
    {"udpport", take_port, NULL},
    {"baud", take_baud, NULL},
    {"debug", take_debug, NULL},
    {"node", take_node, NULL},
    {"bcast", take_bcast, NULL},
    {"udp", take_bcast, NULL},
    {"mcast", take_mcast, NULL},
    {"ucast", take_ucast, NULL},
    {"serial", take_serial, NULL},
    {"ping", take_ping, NULL},
    {"ping_group", take_ping_group, NULL},
    {"auto_failback", take_failback, NULL},
    {"nice_failback", take_failback, NULL},
    {"realtime", take_realtime, NULL},
    {"watchdog", take_watchdog, NULL},
    {"stonith", take_stonith, NULL},
    {"stonith_host", take_stonith, NULL},
    {"respawn", take_respawn, NULL},
    {"crm", take_crm, NULL},
    {"pacemaker", take_crm, NULL},
    {"release2", take_crm, NULL},
    {"apiauth", NULL, "members of the group in group may look (hactl), root may change"},
    {"logfile", NULL, "lines go to syslog or the journal: journalctl -t hagentd/agent"},
    {"debugfile", NULL, "lines go to syslog or the journal: journalctl -t hagentd/agent"},
    {"logfacility", NULL, "lines go to syslog with facility mail"},
    {"use_logd", NULL, "no log daemon is needed, writing a line never waits"},
    {"conn_logd_time", NULL, "no log daemon is needed"},
    {"syslogmsgfmt", NULL, "there is one format of lines"},
    {"msgfmt", NULL, "there is one form of frames (hagent/PROTOCOL.md)"},
    {"hopfudge", NULL, "frames are never forwarded, there is no ring to go round"},
    {"rtprio", NULL, "the priority is always the lowest of the real-time ones; realtime in "
	"hagent.conf says whether there is one at all"},
    {"gracefulstop", NULL, "systemctl stop hagentd stops the resources in order"},
    {"coredumps", NULL, "set LimitCORE= in the unit when one is asked for"},
    {"compression", NULL, "frames are small, nothing is compressed"},
    {"compression_threshold", NULL, "frames are small, nothing is compressed"},
    {"traditional_compression", NULL, "frames are small, nothing is compressed"},
    {"autojoin", NULL, "a pair has exactly the two nodes of its file"},
    {"uuidfrom", NULL, "a node is known by its name and the cluster key"},
    {"hbgenmethod", NULL, "the boot counter is in state-dir"},
    {"enable_config_writes_on_disk", NULL, "no file is written behind your back"},
    {"max_rexmit_delay", NULL, "frames are states and are never sent again"},
    {"quorum_server", NULL, "a third host votes through corosync's quorum device"},
    {"tiebreaker", NULL, "a third host votes through corosync's quorum device"},
    {"cluster", NULL, "the pair's name is cluster, give it with --cluster"},
};

static void
take(struct import *im, const struct import_words *ws)
{
	for (size_t i = 0; i < sizeof(directives) / sizeof(directives[0]); i++) {
		const struct directive *d = &directives[i];

		if (strcmp(d->name, ws->w[0]) != 0)
			continue;
		if (d->take != NULL && ws->n > 1)
			d->take(im, ws);
		else if (d->take != NULL)
			WARN_AT(im, ws->line, "%s: nothing behind it, ignored", d->name);
		else
			WARN_AT(im, ws->line, "%s has no equivalent: %s", d->name,
			    d->instead);
		return;
	}
	WARN_AT(im, ws->line,
	    "%s is not known and was ignored: look for it in "
	    "hagent.conf(5)",
	    ws->w[0]);
}

void
import_ha_cf(struct import *im, struct span text)
{
	struct import_words *ws = malloc(sizeof(*ws));
	int line = 0;

	if (ws == NULL)
		abort();
	while (import_next(im, IMPORT_HA_CF, " \t\r\f,", &text, &line, ws))
		take(im, ws);
	free(ws);
	if (im->nnodes != 2)
		ERROR_AT(im, im->node_line, "expected two nodes, found %u", im->nnodes);
}
