/* fault.h - the inside of the program that lets each call fail: what a subject is.
 *
 * A subject is a short fixed piece of work on one folder, and a model of what was
 * promised during it.  The model is memory that outlives the process. */
#ifndef FAULT_FAULT_H
#define FAULT_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct subject {
	const char *name;
	size_t model;			/* bytes; zeroed before each case */
	/* Once, before all cases, with faults off; scratch: a folder for what they share.  NULL:
	 * nothing to do. */
	void (*prepare)(const char *scratch);
	/* Notes in the model what was promised, at the moment when it is.  0: all done; -1: it
	 * has refused, and said so by return code. */
	int (*work)(const char *dir, void *model);
	/* In a fresh process, with faults off: all that was promised is there, and the work goes
	 * on; notes what is promised anew.  power: the machine went down in between.  Ends by
	 * fault_wrong() when it is not so. */
	void (*check)(const char *dir, void *model, bool power);
};

extern const struct subject fault_log, fault_store, fault_seed, fault_directory, fault_queue,
    fault_state, fault_files;

_Noreturn void fault_wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
