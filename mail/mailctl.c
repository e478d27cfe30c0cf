/* mailctl.c - the operators' command for mail: domains, users, aliases, the store,
 * the queue, the listeners.  Speaks to the directory process over maild.sock (lib/ctl.h) and
 * prints; it opens no data itself.
 *
 * Exit codes are those of lib/ctl.h.  Lines on stderr start with ERROR, WHY or HINT. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "hex.h"
#include "mailctl_io.h"
#include "mailctl_wait.h"
#include "mem.h"
#include "paths.h"

#define IMPORT_BATCH 100		/* users a request */

static const char usage_text[]
    = "usage: mailctl [--json] [--timeout seconds] noun verb [arguments]\n"
      "  domain add|show|delete NAME        domain list\n"
      "  user add|passwd ADDRESS [--password-stdin]\n"
      "  user list [DOMAIN]                 user show|delete ADDRESS\n"
      "  user suspend ADDRESS [off]         user import CSV\n"
      "  alias add ADDRESS TARGET...        alias list\n"
      "  alias members ADDRESS              alias delete ADDRESS [TARGET...]\n"
      "  queue list                         queue show|delete ID\n"
      "  queue hold|release|retry ID|all\n"
      "  store stat|verify|checkpoint       listeners open|close|drain|status\n"
      "options: --json  --timeout seconds  --yes  --password-stdin  --dry-run  --socket path\n"
      "         --wait seconds (of listeners open: for a maild that is being started)\n";

static const struct option longs[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "timeout", required_argument, NULL, 't' },
	{ "yes", no_argument, NULL, 'y' },
	{ "password-stdin", no_argument, NULL, 'p' },
	{ "dry-run", no_argument, NULL, 'n' },
	{ "no-color", no_argument, NULL, 'c' },
	{ "socket", required_argument, NULL, 's' },
	{ "wait", required_argument, NULL, 'w' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

/* Which of them were given, and which a verb looks at beside those that all do. */
enum { YES = 1, PASSWORD = 2, DRY = 4, WAIT = 8, CHANGE = YES | DRY };

static const struct {
	int letter;			/* of longs */
	unsigned bit;
} own[] = { { 'y', YES }, { 'p', PASSWORD }, { 'n', DRY }, { 'w', WAIT } };

struct cmd {
	unsigned given;
	const char *socket;
	int timeout_ms;			/* -1: the verb's own */
	int wait_ms;			/* for a maild that is being started */
	bool json;
	char **argv;			/* behind noun and verb */
	int argc;
	const char *noun, *verb;
};

static int
usage(void)
{
	fputs(usage_text, stderr);
	return CTL_USAGE;
}

/* ---- asking -------------------------------------------------------------- */

static void
on_part(json_t *part, void *arg)
{
	mailctl_print(part, ((const struct cmd *)arg)->json);
}

/* Takes the reference of req. */
static int
ask(const struct cmd *c, json_t *req, int timeout_ms)
{
	json_t *last = NULL;
	enum ctl_exit rc;

	if (c->timeout_ms != -1)
		timeout_ms = c->timeout_ms;
	/* The server's limit is a little shorter than ours, so that it can say why. */
	json_object_set_new(req, "timeout_ms", json_integer(timeout_ms));
	json_object_set_new(req, "dry_run", json_boolean((c->given & DRY) != 0));
	rc = ctl_ask(c->socket, req, timeout_ms + 1000, on_part, (void *)c, &last);
	if (last != NULL)
		mailctl_print_last(last, c->json);
	if (rc != CTL_OK && json_object_get(last, "error") != NULL)
		ctl_complain(last);
	else if (rc != CTL_OK && last == NULL)
		fprintf(stderr, "ERROR maild does not answer on %s\n"
				"HINT  systemctl status maild\n", c->socket);
	json_decref(last);
	json_decref(req);
	return (int)rc;
}

static json_t *
request(const struct cmd *c)
{
	char *op = mem_printf("%s.%s", c->noun, c->verb);
	json_t *req = json_pack("{s:s}", "op", op);

	free(op);
	return req;
}

static bool
confirmed(const struct cmd *c)
{
	char line[16];

	if ((c->given & (YES | DRY)) != 0 || !isatty(STDIN_FILENO))
		return true;
	fprintf(stderr, "delete %s? [y/N] ", c->argv[0]);
	return fgets(line, sizeof(line), stdin) != NULL && (line[0] == 'y' || line[0] == 'Y');
}

/* ---- verbs --------------------------------------------------------------- */

static int
cmd_plain(struct cmd *c)
{
	if (c->wait_ms > 0)
		(void)mailctl_wait(c->socket, c->wait_ms);	/* else the answer says it */
	return ask(c, request(c), 15000);
}

/* One argument: a domain's name or an address. */
static int
cmd_named(struct cmd *c)
{
	json_t *req = request(c);

	json_object_set_new(req, strcmp(c->noun, "domain") == 0 ? "name" : "address",
	    json_string(c->argv[0]));
	if (strcmp(c->verb, "delete") == 0 && !confirmed(c)) {
		json_decref(req);
		return CTL_OK;
	}
	return ask(c, req, 15000);
}

static int
cmd_user_list(struct cmd *c)
{
	json_t *req = request(c);

	if (c->argc > 0)
		json_object_set_new(req, "name", json_string(c->argv[0]));
	return ask(c, req, 60000);
}

static int
cmd_user_password(struct cmd *c)
{
	char password[512];
	json_t *req;
	int rc;

	if (mailctl_password((c->given & PASSWORD) != 0, password, sizeof(password)) == -1)
		return CTL_USAGE;
	req = request(c);
	json_object_set_new(req, "address", json_string(c->argv[0]));
	if (json_object_set_new(req, "password", json_string(password)) == -1) {
		fprintf(stderr, "ERROR the password is not valid UTF-8\n");
		json_decref(req);
		return CTL_USAGE;
	}
	mem_wipe(password, sizeof(password));
	rc = ask(c, req, 15000);
	return rc;
}

static int
cmd_user_suspend(struct cmd *c)
{
	json_t *req = request(c);
	bool off = c->argc > 1 && strcmp(c->argv[1], "off") == 0;

	if (c->argc > 1 && !off && strcmp(c->argv[1], "on") != 0) {
		json_decref(req);
		return usage();
	}
	json_object_set_new(req, "address", json_string(c->argv[0]));
	json_object_set_new(req, "on", json_boolean(!off));
	return ask(c, req, 15000);
}

static int
cmd_alias(struct cmd *c)
{
	json_t *req = request(c), *targets = json_array();

	for (int i = 1; i < c->argc; i++)
		json_array_append_new(targets, json_string(c->argv[i]));
	json_object_set_new(req, "address", json_string(c->argv[0]));
	json_object_set_new(req, "targets", targets);
	return ask(c, req, 15000);
}

static int
send_batch(struct cmd *c, json_t **users, int worst)
{
	json_t *req = request(c);
	int rc;

	json_object_set_new(req, "users", *users);
	*users = json_array();
	rc = ask(c, req, 60000);
	if (worst == CTL_OK || rc == CTL_OK)
		return rc > worst ? rc : worst;
	return rc == worst ? rc : CTL_HALF_DONE;
}

static int
cmd_user_import(struct cmd *c)
{
	FILE *f = fopen(c->argv[0], "r");
	json_t *users = json_array(), *user;
	int line = 0, rc = CTL_OK, bad = 0;
	size_t total = 0;

	if (f == NULL) {
		fprintf(stderr, "ERROR cannot read %s: %s\n", c->argv[0], strerror(errno));
		json_decref(users);
		return CTL_NOT_FOUND;
	}
	while (rc != CTL_REFUSED && rc != CTL_UNKNOWN && mailctl_csv(f, &line, &user)) {
		if (user == NULL) {
			fprintf(stderr, "ERROR %s:%d: expected address,password\n", c->argv[0], line);
			bad++;
			continue;
		}
		total++;
		json_array_append_new(users, user);
		if (json_array_size(users) == IMPORT_BATCH)
			rc = send_batch(c, &users, rc);
	}
	if (json_array_size(users) > 0 && rc != CTL_REFUSED && rc != CTL_UNKNOWN)
		rc = send_batch(c, &users, rc);
	if ((c->given & DRY) != 0 && !c->json)
		printf("nothing changed; %zu users were checked, %d lines are malformed\n", total, bad);
	fclose(f);
	json_decref(users);
	return rc == CTL_OK && bad > 0 ? CTL_HALF_DONE : rc;
}

static int
cmd_store(struct cmd *c)
{
	return ask(c, request(c), 600000);
}

static int
cmd_queue(struct cmd *c)
{
	json_t *req = request(c);

	json_object_set_new(req, "id", json_string(c->argv[0]));
	if (strcmp(c->verb, "delete") == 0 && !confirmed(c)) {
		json_decref(req);
		return CTL_OK;
	}
	return ask(c, req, 15000);
}

static const struct verb {
	const char *noun, *verb;
	int min, max;			/* arguments */
	unsigned takes;			/* options, beside those of all */
	int (*run)(struct cmd *);
} verbs[] = {
	{ "domain", "add", 1, 1, CHANGE, cmd_named },
	{ "domain", "list", 0, 0, 0, cmd_plain },
	{ "domain", "show", 1, 1, 0, cmd_named },
	{ "domain", "delete", 1, 1, CHANGE, cmd_named },
	{ "user", "add", 1, 1, CHANGE | PASSWORD, cmd_user_password },
	{ "user", "passwd", 1, 1, CHANGE | PASSWORD, cmd_user_password },
	{ "user", "list", 0, 1, 0, cmd_user_list },
	{ "user", "show", 1, 1, 0, cmd_named },
	{ "user", "delete", 1, 1, CHANGE, cmd_named },
	{ "user", "suspend", 1, 2, CHANGE, cmd_user_suspend },
	{ "user", "import", 1, 1, CHANGE, cmd_user_import },
	{ "alias", "add", 2, 1000, CHANGE, cmd_alias },
	{ "alias", "list", 0, 0, 0, cmd_plain },
	{ "alias", "members", 1, 1, 0, cmd_named },
	{ "alias", "delete", 1, 1000, CHANGE, cmd_alias },
	{ "store", "stat", 0, 0, 0, cmd_store },
	{ "store", "verify", 0, 0, 0, cmd_store },
	{ "store", "checkpoint", 0, 0, YES, cmd_store },
	{ "queue", "list", 0, 0, 0, cmd_plain },
	{ "queue", "show", 1, 1, 0, cmd_queue },
	{ "queue", "hold", 1, 1, YES, cmd_queue },
	{ "queue", "release", 1, 1, YES, cmd_queue },
	{ "queue", "retry", 1, 1, YES, cmd_queue },
	{ "queue", "delete", 1, 1, YES, cmd_queue },
	{ "listeners", "open", 0, 0, YES | WAIT, cmd_plain },
	{ "listeners", "close", 0, 0, YES, cmd_plain },
	{ "listeners", "drain", 0, 0, YES, cmd_plain },
	{ "listeners", "status", 0, 0, 0, cmd_plain },
};

/* An option that a verb would not look at is a mistake of who gave it: what it was
 * meant for would not happen.  Only changes of the directory can be tried, because
 * only these can be applied and undone. */
static bool
options_fit(const struct verb *v, const struct cmd *c)
{
	for (const struct option *l = longs; l->name != NULL; l++) {
		for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
			if (own[i].letter != l->val || (c->given & ~v->takes & own[i].bit) == 0)
				continue;
			fprintf(stderr, "ERROR mailctl %s %s does not take --%s\n", v->noun,
			    v->verb, l->name);
			return false;
		}
	}
	return true;
}

static int
run(struct cmd *c)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		const struct verb *v = &verbs[i];

		if (strcmp(v->noun, c->noun) != 0 || strcmp(v->verb, c->verb) != 0)
			continue;
		if (!options_fit(v, c))
			return CTL_USAGE;
		return c->argc < v->min || c->argc > v->max ? usage() : v->run(c);
	}
	return usage();
}

/* -1: go on; else the exit code. */
static int
options_read(int argc, char **argv, struct cmd *c)
{
	uint64_t n;
	int o;

	while ((o = getopt_long(argc, argv, "hV", longs, NULL)) != -1)
		switch (o) {
		case 'j':
			c->json = true;
			break;
		case 't':
			if (span_u64(span_of(optarg), 86400, &n) != PARSE_OK || n == 0)
				return usage();
			c->timeout_ms = (int)n * 1000;
			break;
		case 'y':
			c->given |= YES;
			break;
		case 'p':
			c->given |= PASSWORD;
			break;
		case 'n':
			c->given |= DRY;
			break;
		case 'c':
			break;			/* nothing of ours is coloured */
		case 's':
			c->socket = optarg;
			break;
		case 'w':
			if (span_u64(span_of(optarg), 86400, &n) != PARSE_OK || n == 0)
				return usage();
			c->wait_ms = (int)n * 1000;
			c->given |= WAIT;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return CTL_OK;
		case 'V':
			printf("mailctl %s\n", MAILPAIR_VERSION);
			return CTL_OK;
		default:
			return usage();
		}
	return argc - optind < 2 ? usage() : -1;
}

int
main(int argc, char **argv)
{
	struct cmd c = { .socket = PATH_RUN "/maild.sock", .timeout_ms = -1 };
	int rc = options_read(argc, argv, &c);

	if (rc != -1)
		return rc;
	c.noun = argv[optind];
	c.verb = argv[optind + 1];
	c.argv = argv + optind + 2;
	c.argc = argc - optind - 2;
	return run(&c);
}
