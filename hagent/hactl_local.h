/* hactl_local.h - commands that hactl does itself, beside the daemons: files of a new or
 * imported pair, keys, reports.  Each reads its own options and gives the exit code.
 *
 * What they write never replaces a file without being told so, and what holds a key has
 * mode 0600 from its first byte on. */
#ifndef HAGENT_HACTL_LOCAL_H
#define HAGENT_HACTL_LOCAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct cluster_keys;

/* argv[0] is the verb. */
int hactl_import(int argc, char **argv); /* import-heartbeat */
int hactl_key(int argc, char **argv);
int hactl_report(int argc, char **argv);
int hactl_preflight(int argc, char **argv);
int hactl_setup(int argc, char **argv);
int hactl_join(int argc, char **argv);

/* hactl_file.c; what went wrong is printed */
int hactl_write(const char *path, const void *, size_t, mode_t); /* replaces it */
bool hactl_may_write(const char *path, bool force);
int hactl_write_keys(const char *path, const struct cluster_keys *);

#endif
