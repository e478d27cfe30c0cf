/* hactl_print.h - the answers of hagentd and syncd as text for people. */
#ifndef HAGENT_HACTL_PRINT_H
#define HAGENT_HACTL_PRINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

void hactl_print_status(json_t *, bool color, FILE *);
void hactl_print_links(json_t *, bool color, FILE *);
void hactl_print_watchdog(json_t *, bool color, FILE *);
void hactl_print_history(json_t *, bool color, FILE *);
void hactl_print_resources(json_t *, bool color, FILE *);
void hactl_print_event(json_t *, bool color, FILE *);	/* one, or a gap */
/* The last line of the answer, which holds "status". */
void hactl_print_sync(json_t *, bool color, FILE *);
/* A part (something damaged, how far it is), or the last line. */
void hactl_print_verify(json_t *, bool color, FILE *);
void hactl_print_split(json_t *, bool color, FILE *);
void hactl_print_pass(json_t *, bool color, FILE *);	/* of sync now */
/* Any object: one "name  value" line per member, nested ones indented. */
void hactl_print_any(json_t *, int indent, FILE *);
/* What an operation that was allowed as a dry run would do; node may be NULL. */
void hactl_print_plan(json_t *status, const char *op, const char *node, FILE *);
/* What a failover to the node that was asked could lose; nothing when to is another one. */
void hactl_print_loss(json_t *status, const char *to, FILE *);
/* What is wrong, why, and what to do: WARN, WHY and HINT lines. */
void hactl_print_problems(json_t *status, FILE *);

#endif
