/* hactl_run.h - another program's output, under a time limit; for reports and checks. */
#ifndef HAGENT_HACTL_RUN_H
#define HAGENT_HACTL_RUN_H

#include <stddef.h>

#define HACTL_RUN_MAX (512u << 10) /* bytes kept of the output */

/* stdout and stderr together in *text (freed by the caller, NUL-terminated, never NULL).
 * The exit code; -1: it could not be run, was killed or took longer.  Back at most two
 * seconds behind limit_ms, whatever the program does, and nothing of it is left. */
int hactl_run(const char *const argv[], int limit_ms, char **text, size_t *len);
/* The path of a program of ours: beside this one, or only its name.  Static buffer. */
const char *hactl_program(const char *name);

#endif
