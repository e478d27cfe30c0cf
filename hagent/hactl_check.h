/* hactl_check.h - monitoring checks made of one status answer.  Pure: JSON in, results
 * out; the same answer gives the same lines. */
#ifndef HAGENT_HACTL_CHECK_H
#define HAGENT_HACTL_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "ctl.h"

struct check_result {
	const char *name;
	enum ctl_exit code;	/* CTL_OK, _WARNING, _CRITICAL or _UNKNOWN */
	char text[240];
};

size_t check_count(void);
/* Name of check n in the order of the list, and what it looks at. */
const char *check_name(size_t n, const char **about);
bool check_known(const char *name);
/* status NULL: the daemon did not answer, every check is unknown. */
void check_run(size_t n, json_t *status, struct check_result *);
const char *check_code_name(enum ctl_exit);
/* Critical outweighs warning, warning unknown, unknown ok. */
enum ctl_exit check_worst(enum ctl_exit, enum ctl_exit);

#endif
