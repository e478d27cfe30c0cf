/* hook.h - planned mistakes, for tests/fault only.  They are compiled in with HOOKS=1
 * and one is chosen by the environment variable MAILPAIR_HOOK; each has a test that
 * must find it.  In a normal build hook_on() is the constant false.
 *   promote-without-belief     being in step is not asked for before a promotion
 *   solo-without-evidence      every wish to go on alone is granted
 *   release-of-any-generation  a RELEASE counts whatever its generation
 *   ack-before-peer            acknowledged before the other node has it
 *   ack-before-fsync           acknowledged before it is on the own disk
 *   accept-old-generation      batches of an older generation are taken
 *   keep-torn-record           recovery of the log looks at lengths and LSNs only
 *   mirror-wrong-direction     the standby sends its tree to the active
 *   reuse-uid                  after a takeover UIDs continue behind the messages that
 *                              are present, instead of behind all ever given */
#ifndef LIB_HOOK_H
#define LIB_HOOK_H

#include <stdbool.h>

#ifdef MAILPAIR_HOOKS
#include <stdlib.h>
#include <string.h>

static inline bool
hook_on(const char *name)
{
	const char *on = getenv("MAILPAIR_HOOK");

	return on != NULL && strcmp(on, name) == 0;
}
#else
static inline bool
hook_on(const char *name)
{
	(void)name;
	return false;
}
#endif

#endif
