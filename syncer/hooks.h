/* hooks.h - planned mistakes, compiled in only with HOOKS=1 and switched on by the
 * environment variable MAILPAIR_HOOK; each one has a test that must find it. */
#ifndef SYNCER_HOOKS_H
#define SYNCER_HOOKS_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static inline bool
hook_on(const char *name)
{
#ifdef MAILPAIR_HOOKS
	const char *on = getenv("MAILPAIR_HOOK");

	return on != NULL && strcmp(on, name) == 0;
#else
	(void)name;
	return false;
#endif
}

#endif
