/* group_mark.h - a file that is there while the group is started on this node.  It is in a
 * folder that a reboot empties, so it tells a hagentd that comes after this one what was
 * started here since the boot, and nothing of the time before. */
#ifndef HAGENT_GROUP_MARK_H
#define HAGENT_GROUP_MARK_H

#include <stdbool.h>

bool group_mark_is(const char *run_dir);	/* false also when nobody can tell */
int group_mark_set(const char *run_dir, bool started);	/* -1 with errno */

#endif
