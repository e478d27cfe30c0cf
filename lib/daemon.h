/* daemon.h - what every daemon does once: options, pid file, users, sandbox. */
#ifndef LIB_DAEMON_H
#define LIB_DAEMON_H

#include <stdbool.h>
#include <sys/types.h>

struct event_base;

struct daemon_options {
	const char *conf, *node;		/* -c, -N */
	bool foreground, debug, check;		/* -f, -d, -n */
	char more[8];				/* the daemon's own letters that were given */
};
/* Reads the command line by getopt's letters; the fields that are not given stay.  -1:
 * go on; else the exit code, after -h, -V or a mistake, with all that is to be said
 * printed. */
int daemon_options(struct daemon_options *, const char *name, const char *letters,
    const char *usage, int argc, char **argv);

/* Ties libevent's allocator to mem.h, ignores SIGPIPE and SIGHUP (who
 * reloads sets a handler), closes 3 and above, sets umask 077. */
void daemon_start(void);
/* Background: fork, setsid, stdio to /dev/null.  The parent process exits 0 once
 * the child calls daemon_ready(), or 1 when the child ends before it does. */
int daemon_detach(void);
void daemon_ready(void);
/* Writes and locks the pid file; -1 and EEXIST with the other pid in *other. */
int daemon_pidfile(const char *path, pid_t *other);
int daemon_pidfile_in(const char *dir, const char *name);	/* dir/name.pid; -1: logged */

struct daemon_user { uid_t uid; gid_t gid; };
int daemon_user_find(const char *name, struct daemon_user *);	/* -1: ENOENT */
int daemon_group_find(const char *name, gid_t *);

enum daemon_box {		/* seccomp filters; what is not allowed is EPERM or death */
	DAEMON_BOX_NONE,	/* no filter, only no_new_privs */
	DAEMON_BOX_NET,		/* sockets it has and accept, memory, time; no open, no exec */
	DAEMON_BOX_STORE,	/* and files; no exec, no ptrace, no mount, no new sockets but unix */
	DAEMON_BOX_NETSTORE,	/* STORE plus inet sockets */
};
/* Supplementary groups of the user, chroot (NULL: none) and chdir, gid, uid,
 * no_new_privs, seccomp.  Fatal when any step fails. */
void daemon_drop(const char *user, const char *chroot_dir, enum daemon_box);

#endif
