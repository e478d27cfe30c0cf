/* mail_hook.h - planned mistakes, compiled in by HOOKS=1 only and chosen by the
 * environment variable MAILPAIR_HOOK; tests/fault proves that each is found.
 *   reuse-uid   after a takeover UIDs continue behind the messages that are present,
 *               instead of behind all that were ever given, with the gap */
#ifndef MAIL_HOOK_H
#define MAIL_HOOK_H

#include <stdbool.h>

#ifdef MAILPAIR_HOOKS
#include <stdlib.h>
#include <string.h>
static inline bool
mail_hook(const char *name)
{
	const char *v = getenv("MAILPAIR_HOOK");

	return v != NULL && strcmp(v, name) == 0;
}
#else
static inline bool
mail_hook(const char *name)
{
	(void)name;
	return false;
}
#endif

#endif
