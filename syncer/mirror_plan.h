/* mirror_plan.h - the rows of a dry run: what a pass would do, as JSON.  Pure. */
#ifndef SYNCER_MIRROR_PLAN_H
#define SYNCER_MIRROR_PLAN_H

#include <jansson.h>

#include "wire.h"

/* Takes one row of an MM_PLAN: {"tree", "what", "type", "path"}.  what is create, content,
 * metadata, link or delete.  JSON is UTF-8 and file names are not: where the path is not,
 * its odd bytes are \xNN and "path_hex" has all of them.  NULL: malformed. */
json_t *mirror_plan_row(struct wire_in *, const char *tree);

#endif
