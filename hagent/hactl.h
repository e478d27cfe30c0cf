/* hactl.h - what the files of the command share: options, and a verb that is asked of
 * a daemon.  What is done by the command itself stands in hactl_local.h. */
#ifndef HAGENT_HACTL_H
#define HAGENT_HACTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum { O_JSON = 256, O_TIMEOUT, O_NOCOLOR, O_RUN, O_VERSION, O_WATCH, O_TO, O_DRY, O_OFF,
	O_LOSS, O_YES, O_PATH, O_DELETES, O_FOLLOW, O_LINES, O_FIRE, O_FOR, O_LIST,
	O_FULL, O_REPAIR };
#define BIT(option) (1u << ((option) - O_JSON))
#define ALWAYS (BIT(O_JSON) | BIT(O_TIMEOUT) | BIT(O_NOCOLOR) | BIT(O_RUN))
#define LOOK BIT(O_WATCH)		/* what prints a state */
#define TRY (BIT(O_DRY) | BIT(O_YES))	/* what changes one, and can be tried */

struct hactl_options {
	unsigned given;			/* BIT() of each */
	bool json, no_color, yes, dry_run, peer_is_off, accept_loss, watch;
	bool accept_deletes, full_walk, follow, fire, list, repair;
	int watch_s, timeout_ms, lines;		/* lines -1: all */
	int for_s;				/* 0: as long as the daemon is configured to */
	const char *to, *run_dir, *path;
};

typedef void print_fn(json_t *, bool color, FILE *);

/* What follows the verb: nothing, a node, a resource, perhaps one, or names of checks. */
enum operand {
	OPERAND_NONE,
	OPERAND_NODE,
	OPERAND_RESOURCE,
	OPERAND_ANY_RESOURCE,
	OPERAND_CHECKS,
};

struct verb {
	const char *noun, *verb, *op, *sock;
	enum operand operand;
	bool change;
	unsigned takes;			/* options, beside ALWAYS */
	print_fn *print;
};

/* hactl.c */
int hactl_usage(FILE *, int code);	/* prints it; gives code */

/* hactl_options.c; -1: go on, else the exit code */
int hactl_options_read(int argc, char **argv, struct hactl_options *);
/* An option that a verb would not look at is a mistake of who gave it: what it was
 * meant for would not happen.  False: said. */
bool hactl_options_fit(const struct verb *, const struct hactl_options *);
int hactl_number(const char *, int max);	/* -1: no whole number up to max */

/* hactl_ask.c; the exit code */
int hactl_ask(const struct verb *, const struct hactl_options *, const char *operand);
/* Before a failover: what it could lose.  Nothing when hagentd does not answer, which is
 * said by what follows. */
void hactl_show_loss(const struct hactl_options *, FILE *);
int hactl_watch(const struct verb *, const struct hactl_options *, const char *operand);
print_fn hactl_print_data;	/* all that the last line of an answer holds */

/* hactl_monitor.c; the exit code */
int hactl_check(const struct hactl_options *, int argc, char **argv);	/* names of checks */

#endif
