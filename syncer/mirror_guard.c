/* mirror_guard.c - data flows from the active to the standby of the same generation,
 * and in no other case: a pass in the wrong direction replaces new data by old. */
#include "mirror_guard.h"

#include <stddef.h>

#include "hook.h"

static bool
skipped(void)
{
	return hook_on("mirror-wrong-direction");
}

const char *
mirror_guard_source(const struct mirror_view *v)
{
	if (skipped())
		return v->connected ? NULL : "the peer is not connected";
	if (!v->active)
		return "this node is not active";
	if (v->gen.no == 0)
		return "there is no generation yet";
	if (!v->connected)
		return "the peer is not connected";
	return NULL;
}

const char *
mirror_guard_target(const struct mirror_view *v, const struct gen *sender)
{
	if (skipped())
		return NULL;
	if (v->active)
		return "the receiving node is active itself";
	if (!v->standby)
		return "the receiving node is not a whole standby";
	if (sender->no < v->gen.no)
		return "the sender is of an older generation";
	if (!gen_same(sender, &v->gen))
		return "the receiving node does not know this generation yet";
	return NULL;
}
