/* hactl.c - the operator's command for the pair: its verbs.  Most ask the local hagentd,
 * or syncd for "sync" and "split", over their control sockets (hactl_ask.c).
 *
 * JSON output carries "schema": 1; hactl.8 lists the exit codes. */
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "hactl.h"
#include "hactl_local.h"
#include "hactl_print.h"
#include "paths.h"

static const struct verb verbs[] = {
	{ "status", NULL, "status", "hagentd.sock", OPERAND_NONE, false, LOOK,
	    hactl_print_status },
	{ "links", NULL, "links", "hagentd.sock", OPERAND_NONE, false, LOOK,
	    hactl_print_links },
	{ "history", NULL, "history", "hagentd.sock", OPERAND_NONE, false, LOOK,
	    hactl_print_history },
	{ "events", NULL, "events", "hagentd.sock", OPERAND_NONE, false,
	    BIT(O_FOLLOW) | BIT(O_LINES), hactl_print_event },
	{ "check", NULL, "status", "hagentd.sock", OPERAND_CHECKS, false, BIT(O_LIST), NULL },
	{ "switchover", NULL, "switchover", "hagentd.sock", OPERAND_NONE, true,
	    TRY | BIT(O_TO), hactl_print_data },
	{ "failover", NULL, "failover", "hagentd.sock", OPERAND_NONE, true,
	    TRY | BIT(O_TO) | BIT(O_OFF) | BIT(O_LOSS), hactl_print_data },
	{ "standby", NULL, "standby", "hagentd.sock", OPERAND_NODE, true, TRY, hactl_print_data },
	{ "online", NULL, "online", "hagentd.sock", OPERAND_NODE, true, TRY, hactl_print_data },
	{ "resource", "list", "resources", "hagentd.sock", OPERAND_NONE, false, LOOK,
	    hactl_print_resources },
	{ "resource", "start", "resource-start", "hagentd.sock", OPERAND_RESOURCE, true, TRY,
	    hactl_print_data },
	{ "resource", "stop", "resource-stop", "hagentd.sock", OPERAND_RESOURCE, true, TRY,
	    hactl_print_data },
	{ "resource", "restart", "resource-restart", "hagentd.sock", OPERAND_RESOURCE, true, TRY,
	    hactl_print_data },
	{ "resource", "cleanup", "cleanup", "hagentd.sock", OPERAND_ANY_RESOURCE, true, TRY,
	    hactl_print_data },
	{ "fence", "test", "fence-test", "hagentd.sock", OPERAND_NONE, true, 0,
	    hactl_print_data },
	{ "watchdog", "test", "watchdog-test", "hagentd.sock", OPERAND_NONE, false,
	    LOOK | TRY | BIT(O_FIRE), hactl_print_watchdog },
	{ "maintenance", "on", "maintenance", "hagentd.sock", OPERAND_NONE, true,
	    TRY | BIT(O_FOR), hactl_print_data },
	{ "maintenance", "off", "maintenance-off", "hagentd.sock", OPERAND_NONE, true, TRY,
	    hactl_print_data },
	{ "reload", NULL, "reload", "hagentd.sock", OPERAND_NONE, true, TRY, hactl_print_data },
	{ "sync", "status", "sync-status", "syncd.sock", OPERAND_NONE, false, LOOK,
	    hactl_print_sync },
	{ "sync", "now", "sync-now", "syncd.sock", OPERAND_NONE, true,
	    TRY | BIT(O_PATH) | BIT(O_DELETES) | BIT(O_FULL), hactl_print_pass },
	{ "sync", "verify", "sync-verify", "syncd.sock", OPERAND_NONE, true,
	    BIT(O_YES) | BIT(O_REPAIR), hactl_print_verify },
	{ "split", "show", "split-show", "syncd.sock", OPERAND_NONE, false, LOOK,
	    hactl_print_split },
	{ "split", "resolve", "split-resolve", "syncd.sock", OPERAND_NONE, true, TRY,
	    hactl_print_split },
};

int
hactl_usage(FILE *out, int code)
{
	fputs("usage: hactl status | links | history [-w [SECONDS]]\n"
	    "       hactl events [-f] [-n LINES]\n"
	    "       hactl check [NAME...] [--list]\n"
	    "       hactl switchover [--to NODE] [--dry-run]\n"
	    "       hactl failover [--to NODE] [--peer-is-off] [--accept-loss] [--dry-run]\n"
	    "       hactl standby NODE | online NODE [--dry-run]\n"
	    "       hactl resource list [-w [SECONDS]]\n"
	    "       hactl resource start | stop | restart NAME | cleanup [NAME] [--dry-run]\n"
	    "       hactl maintenance on [--for 2h] [--dry-run] | maintenance off [--dry-run]\n"
	    "       hactl fence test | watchdog test [--fire] [--dry-run] [-w [SECONDS]]\n"
	    "       hactl sync status [-w [SECONDS]]\n"
	    "       hactl sync now [--path DIR] [--accept-deletes] [--full-walk] [--dry-run]\n"
	    "       hactl sync verify [--repair]\n"
	    "       hactl split show [-w [SECONDS]] | split resolve [--dry-run]\n"
	    "       hactl reload [--dry-run]\n"
	    "       hactl key show | new | use | drop [--key-file FILE] [--dry-run]\n"
	    "       hactl setup [--answers FILE] [--bundle FILE] [--force] [--dry-run]\n"
	    "       hactl join FILE [--fingerprint DIGITS] [--force] [--dry-run]\n"
	    "       hactl preflight [--config FILE] [--node NAME]\n"
	    "       hactl report [--output FILE]\n"
	    "       hactl import-heartbeat DIR [--output FILE] [--force] [--dry-run] ...\n"
	    "options of all: --json --no-color --help; of what asks a daemon: --timeout SECONDS\n"
	    "--run-dir DIR; of what may lose something: --yes (do not ask); alone: --version\n",
	    out);
	return code;
}

/* A change that may lose mail, or the node, is asked for once more, when somebody can
 * answer. */
static bool
asks(const struct hactl_options *o)
{
	return !o->yes && !o->dry_run && (o->peer_is_off || o->accept_loss || o->fire)
	    && isatty(STDIN_FILENO);
}

/* To reset a node somebody must answer. */
static bool
confirmed(const struct hactl_options *o)
{
	char line[16];

	if (!asks(o))
		return !o->fire || o->yes || o->dry_run;
	fprintf(stderr, o->fire ? "The watchdog will reset this node. Type yes to go on: "
	    : "This overrides a safety rule. Type yes to go on: ");
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
operands(const struct verb *v, struct hactl_options *o, int argc, char **argv, const char **operand)
{
	if (v->operand != OPERAND_NONE && argc > 0) {
		*operand = *argv++;
		argc--;
	} else if (o->watch && argc > 0) {
		o->watch_s = hactl_number(*argv++, 3600);
		argc--;
	}
	if (o->watch_s <= 0)
		fprintf(stderr, "ERROR --watch: expected 1 to 3600 seconds\n");
	else if (argc > 0)
		fprintf(stderr, "ERROR unexpected argument \"%s\"\n", argv[0]);
	else if (v->operand == OPERAND_NODE && *operand == NULL)
		fprintf(stderr, "ERROR hactl %s: expected the name of a node\n", v->noun);
	else if (v->operand == OPERAND_RESOURCE && *operand == NULL)
		fprintf(stderr, "ERROR hactl %s %s: expected the name of a resource\n", v->noun,
		    v->verb);
	else
		return true;
	return false;
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} locals[] = {
	{ "import-heartbeat", hactl_import },
	{ "key", hactl_key },
	{ "report", hactl_report },
	{ "setup", hactl_setup },
	{ "preflight", hactl_preflight },
	{ "join", hactl_join },
};

int
main(int argc, char **argv)
{
	struct hactl_options o = { .run_dir = PATH_RUN, .watch_s = 2, .lines = -1 };
	const struct verb *v;
	const char *operand = NULL;
	int used, code;

	for (size_t i = 0; argc > 1 && i < sizeof(locals) / sizeof(locals[0]); i++)
		if (strcmp(locals[i].name, argv[1]) == 0)
			return locals[i].run(argc - 1, argv + 1);
	code = hactl_options_read(argc, argv, &o);
	if (code != -1)
		return code;
	argv += optind;
	argc -= optind;
	if (argc == 0 || (v = find_verb(argv, argc, &used)) == NULL)
		return hactl_usage(stderr, CTL_USAGE);
	argv += used;
	argc -= used;
	if (!hactl_options_fit(v, &o))
		return CTL_USAGE;
	if (v->operand == OPERAND_CHECKS)
		return hactl_check(&o, argc, argv);
	if (!operands(v, &o, argc, argv, &operand))
		return CTL_USAGE;
	if (strcmp(v->op, "failover") == 0 && !o.json)
		hactl_show_loss(&o, asks(&o) ? stderr : stdout);
	if (!confirmed(&o)) {
		fprintf(stderr, "ERROR not confirmed; nothing changed\n");
		return CTL_USAGE;
	}
	return o.watch ? hactl_watch(v, &o, operand) : hactl_ask(v, &o, operand);
}
