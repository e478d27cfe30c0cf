/* executor.h - the root process of hagentd: does what needs root, by index only,
 * and keeps an agent running. */
#ifndef HAGENT_EXECUTOR_H
#define HAGENT_EXECUTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "hagent_conf.h"
#include "log.h"

struct executor_start {
	const struct hagent_conf *conf;
	uint8_t *key;			/* 32 bytes; handed to the agent by fork, wiped in other
					 * children */
	bool to_stderr;
	enum log_level level;
};

/* Runs until SIGTERM, SIGINT, or an agent that left or may not run; returns the
 * process's exit code.  Also returns in the child, with the agent's code. */
int executor_run(const struct executor_start *);

#endif
