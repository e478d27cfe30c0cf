/* fence_args.h - what a fence device is told: lines "key=value" on its standard input.
 * Pure.  Values hold what a device needs, passwords too: never log them. */
#ifndef HAGENT_FENCE_ARGS_H
#define HAGENT_FENCE_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include "span.h"

#define FENCE_ARGS_BYTES 8192	/* of all lines together */

/* "key=value": a key of letters, digits, '-' and '_', not one that we set ourselves; a
 * value without control characters.  So an argument can never become two. */
bool fence_arg_ok(struct span);
bool fence_arg_secret(struct span);	/* its key names a password */
/* Each line of a file: empty, "# comment", or an argument.  0, or the line that is
 * neither. */
unsigned fence_args_wrong_line(struct span file);

/* "action=...", "nodename=...", the arguments, the file.  Bytes written, without the
 * NUL behind them; 0: it does not fit. */
size_t fence_args_build(char *buf, size_t size, const char *action, const char *node,
    char *const *args, struct span file);
/* Replaces the secret values of the lines, where they stand in words, by stars: a device
 * that repeats its password in an error must not put it into our log. */
void fence_args_hide(char *words, struct span lines);

#endif
