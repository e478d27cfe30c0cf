/* nthcall.h - what tests/fault asks of nthcall.c, a library that is preloaded: the n-th
 * call on files below one folder fails, is cut short, or is the last of its process; and a
 * picture of what the disk holds, from which a power cut can be made at any moment.
 *
 * The state is shared by all processes forked after nthcall_begin().  Found by dlsym(),
 * so that the program also links without the library. */
#ifndef LAB_NTHCALL_H
#define LAB_NTHCALL_H

#include <stdbool.h>

#define NTH_LATER 12

enum nth_how {
	NTH_COUNT,	/* only count */
	NTH_LIST,	/* count, and remember the names for nthcall_name() */
	NTH_FAIL,	/* -1 with the errno; what a failed sync was to keep is lost for good */
	NTH_FAIL_KILL,	/* the same, and SIGKILL so many calls later */
	NTH_KILL,	/* SIGKILL before the call */
	NTH_AFTER,	/* SIGKILL behind it, of a write in the middle */
	NTH_SHORT,	/* a write takes a part of its bytes, which is no failure */
};

enum nth_cut {		/* of what was not synced, there is after the cut */
	NTH_NOTHING,	/* neither names nor bytes */
	NTH_NAMES,	/* all names, no bytes */
	NTH_SOME,	/* all names or none, some bytes */
	NTH_CUTS
};

struct nth_facts {
	long calls;		/* since nthcall_arm() */
	bool hit;		/* the n-th has come, and the fault applies to it */
	char call[200];		/* which it was */
};

/* Watches root; all that is there now is durable.  shadow: an empty folder for the
 * picture.  Both on a tmpfs, whose inode numbers never come again. */
typedef void nthcall_begin_fn(const char *root, const char *shadow);
/* Counts anew; at 0: nothing happens.  sticky: all that come after it fail as well. */
typedef void nthcall_arm_fn(long at, enum nth_how, int err, bool sticky);
typedef void nthcall_facts_fn(struct nth_facts *);
typedef const char *nthcall_name_fn(long n);	/* "fsync /path/below/root, call n"; "" */
/* Makes dst, a new folder, as the machine would find root after a power cut now. */
typedef void nthcall_cut_fn(const char *dst, enum nth_cut, unsigned seed);

#endif
