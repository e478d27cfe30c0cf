/* executor.h - the root process of hagentd: does what needs root, by index only,
 * and keeps an agent running. */
#ifndef HAGENT_EXECUTOR_H
#define HAGENT_EXECUTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "hagent_conf.h"
#include "log.h"

struct executor_start {
	const char *path, *node;	/* of the configuration, to read it again */
	struct hagent_conf *conf;	/* the caller's; a new one is put into the same place */
	struct cluster_keys *keys;	/* the same; handed to the agent by fork,
					 * wiped in other children */
	bool debug;			/* log-level does not count */
	bool to_stderr;
	enum log_level level;
};

/* Runs until SIGTERM, SIGINT, or an agent that left or may not run; returns the
 * process's exit code.  Also returns in the child, with the agent's code. */
int executor_run(const struct executor_start *);

#endif
