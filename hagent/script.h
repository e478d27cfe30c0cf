/* script.h - one run of a program of root's under a time limit.
 *
 * It gets a process group of its own, the environment that it is given and no other,
 * its input as stdin, and a pipe as stderr whose last line is kept.  At the limit the
 * group gets TERM, two seconds later KILL.  What a start leaves running in the
 * background stays alive when the script itself has ended. */
#ifndef HAGENT_SCRIPT_H
#define HAGENT_SCRIPT_H

#include <sys/types.h>

#include "exec_proto.h"
#include "span.h"

/* The first word of every environment. */
#define SCRIPT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct event_base;
struct script;

#define SCRIPT_INPUT_MAX 16384

struct script_conf {
	char *const *argv;	/* [0] is the absolute path; ends with NULL */
	char *const *env;	/* all of it; ends with NULL */
	int limit_ms;		/* 0: none */
	size_t out_max;		/* so many bytes of stdout are kept; 0: it is /dev/null */
	const char *user;	/* NULL or "": root */
	struct span input;	/* its stdin, at most SCRIPT_INPUT_MAX; empty: /dev/null */
	bool tied;		/* gets TERM when this process ends */
};
typedef void script_done_cb(const struct exec_ran *, void *arg);

/* Never NULL; a program that may not or cannot be run ends with RAN_REFUSED from the
 * loop.  done is called exactly once, and the script is freed behind it. */
struct script *script_run(struct event_base *, const struct script_conf *,
    script_done_cb *, void *arg);
/* TERM now, KILL two seconds later; done is called when it has ended. */
void script_stop(struct script *);
/* For done: what it wrote to stdout, at most out_max bytes. */
struct span script_out(const struct script *);
/* Could nobody but root have had a hand in it, nor in a folder above it?  If not,
 * errno is EPERM. */
bool script_trusted(const char *path);
pid_t script_pid(const struct script *);
/* The caller's SIGCHLD found the end of script_pid(). */
void script_reaped(struct script *, int wait_status);
/* Without a loop: runs it and waits for its end.  *out is the caller's, with a 0 byte
 * behind it that is not counted. */
void script_run_alone(const struct script_conf *, struct exec_ran *, char **out, size_t *len);

#endif
