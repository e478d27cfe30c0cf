/* script.h - one run of a resource script under a time limit.
 *
 * The script gets a process group of its own, a clean environment, /dev/null as
 * stdin and stdout, and a pipe as stderr whose last line is kept.  At the limit the
 * group gets TERM, two seconds later KILL.  What a start leaves running in the
 * background stays alive when the script itself has ended. */
#ifndef HAGENT_SCRIPT_H
#define HAGENT_SCRIPT_H

#include <sys/types.h>

#include "exec_proto.h"

struct event_base;
struct script;

struct script_conf {
	const char *path;
	char *const *args;	/* after the verb; ends with NULL */
	const char *verb;
	const char *name;	/* of the resource */
	const char *cluster, *node;
	int limit_ms;
};
typedef void script_done_cb(const struct exec_ran *, void *arg);

/* Never NULL; a script that may not or cannot be run ends with RAN_REFUSED from the
 * loop.  done is called exactly once, and the script is freed behind it. */
struct script *script_run(struct event_base *, const struct script_conf *,
    script_done_cb *, void *arg);
/* Could nobody but root have had a hand in it, nor in a folder above it?  If not,
 * errno is EPERM. */
bool script_trusted(const char *path);
pid_t script_pid(const struct script *);
/* The caller's SIGCHLD found the end of script_pid(). */
void script_reaped(struct script *, int wait_status);

#endif
