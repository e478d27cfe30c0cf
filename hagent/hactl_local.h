/* hactl_local.h - commands that hactl does itself, beside the daemons: files of a new or
 * imported pair, keys, reports.  Each reads its own options and gives the exit code.
 *
 * What they write never replaces a file without being told so, and what holds a key has
 * mode 0600 from its first byte on. */
#ifndef HAGENT_HACTL_LOCAL_H
#define HAGENT_HACTL_LOCAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct cluster_keys;

/* What each of them takes beside its own options; LOCAL_WAITS where it asks or runs
 * others.  Nothing here is coloured, so that --no-color has nothing to take away. */
struct hactl_local {
	bool json;
	int timeout_ms;		/* of each question or program; 0: as usual */
	const char *run_dir;	/* NULL: as usual */
};
enum { LOCAL_JSON = 512, LOCAL_NOCOLOR, LOCAL_TIMEOUT, LOCAL_RUN };
#define LOCAL_OPTIONS                                                                    \
	{"json", no_argument, NULL, LOCAL_JSON},                                         \
	    {"no-color", no_argument, NULL, LOCAL_NOCOLOR}, {"help", no_argument, NULL, 'h'}
#define LOCAL_WAITS                                                                      \
	{"timeout", required_argument, NULL, LOCAL_TIMEOUT},                             \
	    {"run-dir", required_argument, NULL, LOCAL_RUN}

/* argv[0] is the verb. */
int hactl_import(int argc, char **argv); /* import-heartbeat */
int hactl_key(int argc, char **argv);
int hactl_report(int argc, char **argv);
int hactl_preflight(int argc, char **argv);
int hactl_setup(int argc, char **argv);
int hactl_join(int argc, char **argv);

/* hactl_options.c; of getopt_long(): true when ch was one of those and is good */
bool hactl_local_option(struct hactl_local *, int ch);
/* hactl_ask.c */
void hactl_put_json(json_t *); /* one line with "schema"; takes the reference */
/* The last part of the answer to a request without arguments (new reference), or NULL. */
json_t *hactl_part(const char *run_dir, const char *sock, const char *op, int timeout_ms);

/* hactl_file.c; what went wrong is printed */
int hactl_write(const char *path, const void *, size_t, mode_t); /* replaces it */
bool hactl_may_write(const char *path, bool force);
int hactl_write_keys(const char *path, const struct cluster_keys *);

#endif
