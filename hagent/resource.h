/* resource.h - what a resource is by its `script` option, and how each class is asked.
 *
 *   NAME or /path        a script of resource-path: start, stop, status, drain
 *   lsb:NAME             /etc/init.d/NAME: start, stop, status
 *   systemd:UNIT         systemctl start, stop, show
 *   ocf:PROVIDER:AGENT   OCF_ROOT/resource.d/PROVIDER/AGENT: start, stop, monitor
 *
 * Everything above this file knows four verbs and three answers (exec_proto.h).  Pure:
 * builds arguments and an environment, reads answers; runs nothing. */
#ifndef HAGENT_RESOURCE_H
#define HAGENT_RESOURCE_H

#include "exec_proto.h"
#include "hagent_conf.h"
#include "script.h"

#define RESOURCE_ARGV_MAX (HAGENT_ARGS_MAX + 8)
#define RESOURCE_ENV_MAX (HAGENT_PARAMS_MAX + 16)

/* argv and env own their texts and end with NULL. */
struct resource_command {
	char *argv[RESOURCE_ARGV_MAX];
	char *env[RESOURCE_ENV_MAX];
	struct script_conf script; /* points into this struct */
};
/* probe: a status of what nobody here has started.  OCF agents are told, and one that
 * answers that its software is not here is stopped, not failed. */
void resource_command(const struct hagent_conf *, const struct resource_conf *,
    enum exec_verb, bool probe, struct resource_command *);
/* The OCF agent's description of itself, on stdout. */
void resource_command_metadata(
    const struct hagent_conf *, const struct resource_conf *, struct resource_command *);
void resource_command_clear(struct resource_command *);

/* Puts the end of a command into the common answers.  out is what it wrote to stdout;
 * *main_pid becomes the process that a unit names as its own, else 0. */
void resource_judge(const struct resource_conf *, enum exec_verb, bool probe,
    struct span out, struct exec_ran *, pid_t *main_pid);

#endif
