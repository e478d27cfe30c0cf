/* hactl.c - the operator's command for the pair.  Asks the local hagentd, or syncd
 * for "sync", over their control sockets, prints the answer, and exits with the code
 * that came with it (hactl.8 lists them).
 *
 * Decides nothing and edits nothing.  JSON output carries "schema": 1. */
#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "ctl.h"
#include "hactl_print.h"
#include "paths.h"

#define TIMEOUT_MS 60000
#define QUICK_MS 5000

enum { O_JSON = 256, O_TIMEOUT, O_NOCOLOR, O_RUN, O_VERSION, O_WATCH, O_TO, O_DRY, O_OFF,
	O_LOSS, O_YES, O_PATH, O_DELETES };
#define BIT(option) (1u << ((option) - O_JSON))
#define ALWAYS (BIT(O_JSON) | BIT(O_TIMEOUT) | BIT(O_NOCOLOR) | BIT(O_RUN))
#define LOOK BIT(O_WATCH)		/* what prints a state */
#define TRY (BIT(O_DRY) | BIT(O_YES))	/* what changes one, and can be tried */

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
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct options {
	unsigned given;			/* BIT() of each */
	bool json, no_color, yes, dry_run, peer_is_off, accept_loss, watch;
	bool accept_deletes;
	int watch_s, timeout_ms;
	const char *to, *run_dir, *path;
};

typedef void print_fn(json_t *, bool color, FILE *);

static void
print_data(json_t *o, bool color, FILE *out)
{
	(void)color;
	hactl_print_any(o, 0, out);
}

/* What may follow the verb: nothing, a node, a resource, or one of these words. */
enum operand { OPERAND_NONE, OPERAND_NODE, OPERAND_RESOURCE };

static const struct verb {
	const char *noun, *verb, *op, *sock;
	enum operand operand;
	bool change;
	unsigned takes;			/* options, beside ALWAYS */
	print_fn *print;
} verbs[] = {
	{ "status", NULL, "status", "hagentd.sock", OPERAND_NONE, false, LOOK,
	    hactl_print_status },
	{ "links", NULL, "links", "hagentd.sock", OPERAND_NONE, false, LOOK,
	    hactl_print_links },
	{ "history", NULL, "history", "hagentd.sock", OPERAND_NONE, false, LOOK,
	    hactl_print_history },
	{ "switchover", NULL, "switchover", "hagentd.sock", OPERAND_NONE, true,
	    TRY | BIT(O_TO), print_data },
	{ "failover", NULL, "failover", "hagentd.sock", OPERAND_NONE, true,
	    TRY | BIT(O_TO) | BIT(O_OFF) | BIT(O_LOSS), print_data },
	{ "standby", NULL, "standby", "hagentd.sock", OPERAND_NODE, true, TRY, print_data },
	{ "online", NULL, "online", "hagentd.sock", OPERAND_NODE, true, TRY, print_data },
	{ "resource", "cleanup", "cleanup", "hagentd.sock", OPERAND_RESOURCE, true, TRY,
	    print_data },
	{ "sync", "status", "sync-status", "syncd.sock", OPERAND_NONE, false, LOOK,
	    hactl_print_sync },
	{ "sync", "now", "sync-now", "syncd.sock", OPERAND_NONE, true,
	    BIT(O_YES) | BIT(O_PATH) | BIT(O_DELETES), print_data },
};

static int
usage(FILE *out, int code)
{
	fputs("usage: hactl status [--json] [-w [seconds]]\n"
	    "       hactl links | history [--json] [-w [seconds]]\n"
	    "       hactl switchover [--to NODE] [--dry-run]\n"
	    "       hactl failover [--to NODE] [--peer-is-off] [--accept-loss] [--dry-run]\n"
	    "       hactl standby NODE | online NODE\n"
	    "       hactl resource cleanup [NAME]\n"
	    "       hactl sync status [-w [seconds]] | sync now [--path DIR] [--accept-deletes]\n"
	    "options: --json --timeout SECONDS --no-color --yes --version --help\n", out);
	return code;
}

static int
whole_number(const char *s, int max)
{
	long n = 0;

	for (const char *p = s; *p != '\0'; p++) {
		if (!isdigit((unsigned char)*p) || (n = n * 10 + (*p - '0')) > max)
			return -1;
	}
	return s[0] == '\0' ? -1 : (int)n;
}

static int
set_option(struct options *o, int ch)
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
	case O_OFF:
		o->peer_is_off = true;
		return 0;
	case O_LOSS:
		o->accept_loss = true;
		return 0;
	case O_TIMEOUT:
		o->timeout_ms = whole_number(optarg, 86400);
		if (o->timeout_ms <= 0) {
			fprintf(stderr, "ERROR --timeout: expected 1 to 86400 seconds\n");
			return -1;
		}
		o->timeout_ms *= 1000;
		return 0;
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
	default:
		return -1;
	}
}

/* -1: go on; else the exit code. */
static int
parse_options(int argc, char **argv, struct options *o)
{
	int ch;

	while ((ch = getopt_long(argc, argv, "wh", longs, NULL)) != -1) {
		if (ch == 'h')
			return usage(stdout, CTL_OK);
		if (ch == O_VERSION) {
			printf("hactl %s\n", MAILPAIR_VERSION);
			return CTL_OK;
		}
		if (ch == 'w')
			ch = O_WATCH;
		if (set_option(o, ch) == -1)
			return usage(stderr, CTL_USAGE);
		o->given |= BIT(ch);
	}
	return -1;
}

/* An option that a verb would not look at is a mistake of who gave it: what it was
 * meant for would not happen. */
static bool
options_fit(const struct verb *v, const struct options *o)
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

struct printer {
	const struct verb *verb;
	const struct options *o;
};

static bool
colored(const struct options *o)
{
	return !o->no_color && isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
}

static void
print_json(json_t *o)
{
	if (json_is_object(o) && json_object_get(o, "schema") == NULL)
		json_object_set_new(o, "schema", json_integer(1));
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
}

static void
on_part(json_t *part, void *arg)
{
	const struct printer *p = arg;

	if (p->o->json)
		print_json(part);
	else
		p->verb->print(part, colored(p->o), stdout);
	if (strcmp(p->verb->op, "status") == 0 && !p->o->json) {
		fflush(stdout);
		hactl_print_problems(part, stderr);
	}
}

static json_t *
request(const struct verb *v, const struct options *o, const char *operand)
{
	json_t *r = json_pack("{s:s}", "op", v->op);

	if (o->to != NULL)
		json_object_set_new(r, "node", json_string(o->to));
	if (operand != NULL)
		json_object_set_new(r, v->operand == OPERAND_NODE ? "node" : "resource",
		    json_string(operand));
	json_object_set_new(r, "dry_run", json_boolean(o->dry_run));
	json_object_set_new(r, "peer_is_off", json_boolean(o->peer_is_off));
	json_object_set_new(r, "accept_loss", json_boolean(o->accept_loss));
	json_object_set_new(r, "accept_deletes", json_boolean(o->accept_deletes));
	if (o->path != NULL)
		json_object_set_new(r, "path", json_string(o->path));
	return r;
}

static void
print_end(const struct printer *p, json_t *last, enum ctl_exit code)
{
	if (last == NULL) {
		if (code == CTL_UNKNOWN || code == CTL_DENIED)
			fprintf(stderr, "ERROR %s/%s %s\n", p->o->run_dir, p->verb->sock,
			    code == CTL_DENIED ? "may not be opened" : "does not answer");
		else if (code == CTL_TIMEOUT)
			fprintf(stderr, "ERROR timed out; the operation goes on\n"
			    "HINT  hactl status\n");
		return;
	}
	/* A pure end line says nothing more than the exit code. */
	bool has_data = p->verb->print == print_data || p->verb->print == hactl_print_sync;

	if (p->o->json && (p->verb->change || has_data || code >= CTL_USAGE))
		print_json(last);
	else if (!p->o->json && json_object_get(last, "text") != NULL)
		printf("%s\n", json_string_value(json_object_get(last, "text")));
	else if (!p->o->json && has_data &&
	    json_object_get(last, "error") == NULL)
		p->verb->print(last, colored(p->o), stdout);
	if (!p->o->json)
		ctl_complain(last);
}

static void
keep_part(json_t *part, void *arg)
{
	json_t **kept = arg;

	json_decref(*kept);
	*kept = json_incref(part);
}

/* The daemon allowed it; the words are made of its status. */
static void
print_plan(const struct verb *v, const struct options *o, const char *operand)
{
	json_t *req = json_pack("{s:s}", "op", "status"), *status = NULL, *last = NULL;
	char path[4096];

	snprintf(path, sizeof(path), "%s/hagentd.sock", o->run_dir);
	ctl_ask(path, req, QUICK_MS, keep_part, &status, &last);
	if (status != NULL)
		hactl_print_plan(status, v->op, operand != NULL ? operand : o->to, stdout);
	json_decref(status);
	json_decref(last);
	json_decref(req);
}

static int
ask_once(const struct verb *v, const struct options *o, const char *operand)
{
	struct printer p = { v, o };
	json_t *req = request(v, o, operand), *last = NULL;
	char path[4096];
	enum ctl_exit code;
	int limit = o->timeout_ms > 0 ? o->timeout_ms : v->change ? TIMEOUT_MS : QUICK_MS;

	snprintf(path, sizeof(path), "%s/%s", o->run_dir, v->sock);
	code = ctl_ask(path, req, limit, on_part, &p, &last);
	print_end(&p, last, code);
	if (o->dry_run && v->change && code == CTL_OK && !o->json)
		print_plan(v, o, operand);
	json_decref(last);
	json_decref(req);
	fflush(stdout);
	return (int)code;
}

static int
watch(const struct verb *v, const struct options *o, const char *operand)
{
	struct timespec pause = { o->watch_s, 0 };

	for (;;) {
		if (isatty(STDOUT_FILENO))
			fputs("\033[H\033[2J", stdout);
		ask_once(v, o, operand);
		if (ferror(stdout) || nanosleep(&pause, NULL) == -1)
			return CTL_OK;
	}
}

/* A change that may lose mail is asked for once more, when somebody can answer. */
static bool
confirmed(const struct options *o)
{
	char line[16];

	if (o->yes || o->dry_run || !(o->peer_is_off || o->accept_loss) ||
	    !isatty(STDIN_FILENO))
		return true;
	fprintf(stderr, "This overrides a safety rule. Type yes to go on: ");
	return fgets(line, sizeof(line), stdin) != NULL && strcmp(line, "yes\n") == 0;
}

static const struct verb *
find_verb(char **argv, int argc, int *used)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verbs[i].noun, argv[0]) != 0)
			continue;
		*used = verbs[i].verb == NULL ? 1 : 2;
		if (verbs[i].verb == NULL ||
		    (argc > 1 && strcmp(verbs[i].verb, argv[1]) == 0))
			return &verbs[i];
	}
	return NULL;
}

/* What stands behind the verb: what it is about, or the pause of --watch. */
static bool
operands(const struct verb *v, struct options *o, int argc, char **argv, const char **operand)
{
	if (v->operand != OPERAND_NONE && argc > 0) {
		*operand = *argv++;
		argc--;
	} else if (o->watch && argc > 0) {
		o->watch_s = whole_number(*argv++, 3600);
		argc--;
	}
	if (o->watch_s <= 0)
		fprintf(stderr, "ERROR --watch: expected 1 to 3600 seconds\n");
	else if (argc > 0)
		fprintf(stderr, "ERROR unexpected argument \"%s\"\n", argv[0]);
	else if (v->operand == OPERAND_NODE && *operand == NULL)
		fprintf(stderr, "ERROR hactl %s: expected the name of a node\n", v->noun);
	else
		return true;
	return false;
}

int
main(int argc, char **argv)
{
	struct options o = { .run_dir = PATH_RUN, .watch_s = 2 };
	const struct verb *v;
	const char *operand = NULL;
	int used, code = parse_options(argc, argv, &o);

	if (code != -1)
		return code;
	argv += optind;
	argc -= optind;
	if (argc == 0 || (v = find_verb(argv, argc, &used)) == NULL)
		return usage(stderr, CTL_USAGE);
	argv += used;
	argc -= used;
	if (!options_fit(v, &o) || !operands(v, &o, argc, argv, &operand))
		return CTL_USAGE;
	if (!confirmed(&o)) {
		fprintf(stderr, "ERROR not confirmed; nothing changed\n");
		return CTL_USAGE;
	}
	return o.watch ? watch(v, &o, operand) : ask_once(v, &o, operand);
}
