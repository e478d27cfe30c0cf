/* answer.h - members of a daemon's JSON answer as text for people.  A member that is
 * missing, because another version answers, is "-" or 0; nothing here can fail. */
#ifndef HAGENT_ANSWER_H
#define HAGENT_ANSWER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

const char *answer_text(json_t *, const char *member);
long long answer_int(json_t *, const char *member);
bool answer_has(json_t *, const char *member);		/* a number */
bool answer_true(json_t *, const char *member);
json_t *answer_node(json_t *status, const char *role);	/* the node that has it; NULL */
/* "3d 04:12", "04:11:09", "41 s", "never" */
const char *answer_span(long long ms, char *buf, size_t size);

#endif
