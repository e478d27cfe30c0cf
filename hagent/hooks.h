/* hooks.h - planned mistakes, for tests/fault only: each must be found by the
 * simulator.  In a normal build HOOK() is the constant false and the variable does
 * not exist.  Include it in policy.c and in the test that sets the variable. */
#ifndef HAGENT_HOOKS_H
#define HAGENT_HOOKS_H

#ifdef MAILPAIR_HOOKS
#include <stdbool.h>

struct policy_bugs {
	bool promote_without_belief;	/* being in sync is not asked for */
	bool solo_without_evidence;	/* every ALONE_WANTED is granted */
	bool release_of_any_gen;	/* a RELEASE counts whatever its generation */
};
struct policy_bugs policy_bugs __attribute__((weak));
#define HOOK(name) (policy_bugs.name)
#else
#define HOOK(name) false
#endif

#endif
