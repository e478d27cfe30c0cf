/* hooks.h - planned mistakes, for tests/fault only: each must be found by the
 * simulator.  In a normal build HOOK() is the constant false and the variable does
 * not exist.  Included by the policy and by the test that sets the variable. */
#ifndef HAGENT_HOOKS_H
#define HAGENT_HOOKS_H

#include <stdbool.h>
#include <string.h>

#ifdef MAILPAIR_HOOKS
struct policy_bugs {
	bool promote_without_belief;	/* being in sync is not asked for */
	bool solo_without_evidence;	/* every ALONE_WANTED is granted */
	bool release_of_any_gen;	/* a RELEASE counts whatever its generation */
};
struct policy_bugs policy_bugs __attribute__((weak));
#define HOOK(name) (policy_bugs.name)

static inline bool
hook_set(const char *name)
{
	if (strcmp(name, "promote-without-belief") == 0)
		policy_bugs.promote_without_belief = true;
	else if (strcmp(name, "solo-without-evidence") == 0)
		policy_bugs.solo_without_evidence = true;
	else if (strcmp(name, "release-of-any-generation") == 0)
		policy_bugs.release_of_any_gen = true;
	else
		return false;
	return true;
}
#else
#define HOOK(name) false

static inline bool
hook_set(const char *name)
{
	(void)name;
	return false;
}
#endif

#endif
