/* hactl_local.h - commands that hactl does itself, beside the daemons: files of a new or
 * imported pair, keys, reports.  Each reads its own options and gives the exit code.
 *
 * What they write never replaces a file without being told so, and what holds a key has
 * mode 0600 from its first byte on. */
#ifndef HAGENT_HACTL_LOCAL_H
#define HAGENT_HACTL_LOCAL_H

int hactl_import(int argc, char **argv); /* import-heartbeat; argv[0] is the verb */

#endif
