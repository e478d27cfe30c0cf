/* hactl_options.c - the command line of hactl: one table of options for all verbs, and
 * which verb takes which. */
#include <ctype.h>
#include <getopt.h>
#include <string.h>

#include "agent.h"
#include "ctl.h"
#include "hactl.h"
#include "hactl_local.h"

static const struct option longs[] = {
	{ "json", no_argument, NULL, O_JSON },
	{ "timeout", required_argument, NULL, O_TIMEOUT },
	{ "no-color", no_argument, NULL, O_NOCOLOR },
	{ "run-dir", required_argument, NULL, O_RUN },
	{ "version", no_argument, NULL, O_VERSION },
	{ "watch", no_argument, NULL, O_WATCH },
	{ "to", required_argument, NULL, O_TO },
	{ "dry-run", no_argument, NULL, O_DRY },
	{ "peer-is-off", no_argument, NULL, O_OFF },
	{ "accept-loss", no_argument, NULL, O_LOSS },
	{ "yes", no_argument, NULL, O_YES },
	{ "path", required_argument, NULL, O_PATH },
	{ "accept-deletes", no_argument, NULL, O_DELETES },
	{ "full-walk", no_argument, NULL, O_FULL },
	{ "follow", no_argument, NULL, O_FOLLOW },
	{ "lines", required_argument, NULL, O_LINES },
	{ "fire", no_argument, NULL, O_FIRE },
	{ "for", required_argument, NULL, O_FOR },
	{ "list", no_argument, NULL, O_LIST },
	{ "repair", no_argument, NULL, O_REPAIR },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

int
hactl_number(const char *s, int max)
{
	long n = 0;

	for (const char *p = s; *p != '\0'; p++) {
		if (!isdigit((unsigned char)*p) || (n = n * 10 + (*p - '0')) > max)
			return -1;
	}
	return s[0] == '\0' ? -1 : (int)n;
}

/* "90s", "30m", "2h", "1d"; -1 for anything else or nothing. */
static int
span_seconds(const char *s)
{
	static const struct { char unit; int s; } units[] = { { 's', 1 }, { 'm', 60 },
		{ 'h', 3600 }, { 'd', 86400 } };
	size_t len = strlen(s);
	char number[8];
	int n;

	if (len < 2 || len > sizeof(number))
		return -1;
	memcpy(number, s, len - 1);
	number[len - 1] = '\0';
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (units[i].unit != s[len - 1])
			continue;
		n = hactl_number(number, AGENT_MAINTENANCE_MAX_S / units[i].s);
		return n > 0 ? n * units[i].s : -1;
	}
	return -1;
}

/* -1: said. */
static int
timeout_ms(const char *text)
{
	int s = hactl_number(text, 86400);

	if (s > 0)
		return s * 1000;
	fprintf(stderr, "ERROR --timeout: expected 1 to 86400 seconds\n");
	return -1;
}

static int
set_option(struct hactl_options *o, int ch)
{
	switch (ch) {
	case O_WATCH:
		o->watch = true;
		return 0;
	case O_JSON:
		o->json = true;
		return 0;
	case O_TO:
		o->to = optarg;
		return 0;
	case O_DRY:
		o->dry_run = true;
		return 0;
	case O_FIRE:
		o->fire = true;
		return 0;
	case O_OFF:
		o->peer_is_off = true;
		return 0;
	case O_LOSS:
		o->accept_loss = true;
		return 0;
	case O_TIMEOUT:
		o->timeout_ms = timeout_ms(optarg);
		return o->timeout_ms == -1 ? -1 : 0;
	case O_NOCOLOR:
		o->no_color = true;
		return 0;
	case O_YES:
		o->yes = true;
		return 0;
	case O_RUN:
		o->run_dir = optarg;
		return 0;
	case O_PATH:
		o->path = optarg;
		return 0;
	case O_DELETES:
		o->accept_deletes = true;
		return 0;
	case O_FULL:
		o->full_walk = true;
		return 0;
	case O_FOLLOW:
		o->follow = true;
		return 0;
	case O_LIST:
		o->list = true;
		return 0;
	case O_REPAIR:
		o->repair = true;
		return 0;
	case O_LINES:
		o->lines = hactl_number(optarg, 1000000);
		if (o->lines == -1)
			fprintf(stderr, "ERROR --lines: expected a number\n");
		return o->lines == -1 ? -1 : 0;
	case O_FOR:
		o->for_s = span_seconds(optarg);
		if (o->for_s == -1)
			fprintf(stderr, "ERROR --for: expected a span up to 30 days such as 30m, 2h "
			    "or 1d\n");
		return o->for_s == -1 ? -1 : 0;
	default:
		return -1;
	}
}

int
hactl_options_read(int argc, char **argv, struct hactl_options *o)
{
	int ch;

	while ((ch = getopt_long(argc, argv, "wfn:h", longs, NULL)) != -1) {
		if (ch == 'h')
			return hactl_usage(stdout, CTL_OK);
		if (ch == O_VERSION) {
			printf("hactl %s\n", MAILPAIR_VERSION);
			return CTL_OK;
		}
		ch = ch == 'w' ? O_WATCH : ch == 'f' ? O_FOLLOW : ch == 'n' ? O_LINES : ch;
		if (set_option(o, ch) == -1)
			return hactl_usage(stderr, CTL_USAGE);
		o->given |= BIT(ch);
	}
	return -1;
}

bool
hactl_options_fit(const struct verb *v, const struct hactl_options *o)
{
	for (const struct option *l = longs; l->name != NULL; l++) {
		if (l->val < O_JSON || (o->given & ~(ALWAYS | v->takes) & BIT(l->val)) == 0)
			continue;
		fprintf(stderr, "ERROR hactl %s%s%s does not take --%s\n", v->noun,
		    v->verb == NULL ? "" : " ", v->verb == NULL ? "" : v->verb, l->name);
		return false;
	}
	return true;
}

bool
hactl_local_option(struct hactl_local *o, int ch)
{
	switch (ch) {
	case LOCAL_JSON:
		o->json = true;
		return true;
	case LOCAL_NOCOLOR:
		return true;
	case LOCAL_TIMEOUT:
		o->timeout_ms = timeout_ms(optarg);
		return o->timeout_ms != -1;
	case LOCAL_RUN:
		o->run_dir = optarg;
		return true;
	default:
		return false;
	}
}
