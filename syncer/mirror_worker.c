/* mirror_worker.c - see mirror_worker.h.
 *
 * Three processes: syncd, the supervisor (waits, forks, passes a descriptor; reads
 * nothing foreign) and the worker.  When syncd goes away its end of the socket closes
 * and both end. */
#define _GNU_SOURCE
#include "mirror_worker.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <grp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "daemon.h"
#include "ipc.h"
#include "log.h"
#include "mirror_chan.h"
#include "mirror_conf.h"
#include "mirror_memory.h"
#include "mirror_source.h"
#include "mirror_target.h"
#include "mem.h"
#include "tree_changes.h"

#define RESTART_MS 1000
#define FILES_MAX 4096

/* A worker at work. */
struct worker {
	struct mirror_chan c;
	const struct mirror_conf *conf;
	const char *spool_dir;
	struct mirror_memory *memory;	/* of each tree */
	int epoll;			/* readable: some tree's events wait */
};

/* ---- change sources ---------------------------------------------------- */

static void
on_watch(void *arg)
{
	struct worker *w = arg;

	for (size_t i = 0; i < w->conf->ntrees; i++)
		tree_changes_drain(w->memory[i].changes);
}

/* A full walk made a new descriptor; closed ones leave by themselves. */
static void
watch(struct worker *w, int fd)
{
	struct epoll_event e = { .events = EPOLLIN };

	if (fd != -1 && epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &e) == -1 && errno != EEXIST)
		log_fatal("mirror: epoll: %s", strerror(errno));
}

static void
report_source(struct mirror_chan *c, const char *path, const struct mirror_memory *m)
{
	const char *why, *source = tree_changes_source(m->changes, &why);
	struct wire_out w;

	wire_out_init(&w);
	wire_put_str(&w, path);
	wire_put_str(&w, source);
	wire_put_str(&w, why);
	wire_put_u64(&w, tree_changes_watches(m->changes));
	wire_put_u64(&w, (uint64_t)m->walked_wall_ms);
	(void)mirror_chan_source(c, &w);	/* a broken channel ends the worker */
	wire_out_clear(&w);
}

/* ---- passes ------------------------------------------------------------ */

static void
end_pass(struct mirror_chan *c, const char *path, struct mirror_result *r, int rc,
    int64_t began_ms)
{
	if (rc == -1) {
		r->outcome = MIRROR_OK;		/* so that this becomes the first error */
		mirror_result_fail(r, MIRROR_FAILED, "%s: %s", path, c->why);
	}
	r->bytes_sent = c->sent;
	r->duration_ms = (uint64_t)(clock_ms() - began_ms);
	mirror_chan_end(c, rc == -1);
	if (!c->broken)
		(void)mirror_chan_report(c, path, r);
}

static void
run_source(struct worker *w, struct mirror_msg *m)
{
	struct mirror_chan *c = &w->c;
	struct mirror_result r = { 0 };
	struct mirror_memory *memory;
	const struct mirror_tree *tree;
	const char *why;
	char path[1200];
	int64_t now = clock_ms();
	uint8_t flags;
	int rc = 0;

	wire_get_str(&m->body, path, sizeof(path));
	flags = wire_get_u8(&m->body);
	if (!wire_in_done(&m->body) || (tree = mirror_conf_find(w->conf, path)) == NULL)
		return;			/* syncd has the same configuration */
	memory = &w->memory[tree - w->conf->trees];
	mirror_chan_begin(c, true, m->pass, &c->view.gen);
	if ((why = mirror_guard_source(&c->view)) != NULL)
		mirror_result_fail(&r, MIRROR_REFUSED, "%s: %s", path, why);
	else
		rc = mirror_source_run(c, tree, memory, flags, &r);
	watch(w, tree_changes_fd(memory->changes));
	if (!c->broken)
		report_source(c, path, memory);
	end_pass(c, path, &r, rc, now);
}

/* Says no to a pass that was offered; the channel is in it, so that the answer
 * carries its number. */
static int
refuse(struct mirror_chan *c, struct mirror_result *r, const char *why)
{
	struct wire_out w;
	int rc;

	mirror_result_fail(r, MIRROR_REFUSED, "the standby refused the pass: %s", why);
	mirror_result_hint(r, "hactl status");
	wire_out_init(&w);
	mirror_result_put(&w, r);
	rc = mirror_chan_send(c, MM_RESULT, &w);
	wire_out_clear(&w);
	return rc;
}

static void
run_target(struct worker *w, struct mirror_msg *m)
{
	struct mirror_chan *c = &w->c;
	struct mirror_result r = { 0 };
	const struct mirror_tree *tree = NULL;
	const char *why;
	char path[1200];
	int64_t now = clock_ms();
	uint16_t version = wire_get_u16(&m->body);
	uint32_t base;
	uint8_t flags;
	bool zstd;
	int rc;

	wire_get_str(&m->body, path, sizeof(path));
	flags = wire_get_u8(&m->body);
	zstd = wire_get_u8(&m->body) != 0;
	base = wire_get_u32(&m->body);
	mirror_chan_begin(c, false, m->pass, &m->gen);
	if (!wire_in_ok(&m->body) || version != MIRROR_PROTOCOL)
		rc = refuse(c, &r, "it speaks another version of the protocol");
	else if ((why = mirror_guard_target(&c->view, &m->gen)) != NULL)
		rc = refuse(c, &r, why);
	else if ((tree = mirror_conf_find(w->conf, path)) == NULL)
		rc = refuse(c, &r, "the path is not in a mirror block of its syncd.conf");
	else
		rc = mirror_target_run(c, tree, w->spool_dir, &w->memory[tree - w->conf->trees],
		    base, flags, zstd, &r);
	if (tree == NULL)
		mirror_chan_end(c, rc == -1);
	else
		end_pass(c, path, &r, rc, now);
}

void
mirror_worker_run(const struct mirror_conf *conf, const char *spool_dir, int fd)
{
	struct worker w = { .conf = conf, .spool_dir = spool_dir };
	struct mirror_msg m;

	mirror_chan_init(&w.c, fd);
	if ((w.epoll = epoll_create1(EPOLL_CLOEXEC)) == -1)
		log_fatal("mirror: epoll: %s", strerror(errno));
	w.c.watch_fd = w.epoll;
	w.c.on_watch = on_watch;
	w.c.watch_arg = &w;
	w.memory = mem_array(conf->ntrees, sizeof(*w.memory));
	for (size_t i = 0; i < conf->ntrees; i++)
		w.memory[i].changes = tree_changes_new(&conf->trees[i]);
	while (!w.c.broken && mirror_chan_next(&w.c, &m) == 0) {
		if (m.kind == MW_RUN)
			run_source(&w, &m);
		else if (m.kind == MW_PEER && m.type == MM_BEGIN)
			run_target(&w, &m);
		/* else: the rest of a pass that is over */
	}
	for (size_t i = 0; i < conf->ntrees; i++)
		tree_changes_free(w.memory[i].changes);
	free(w.memory);
	close(w.epoll);
	mirror_chan_clear(&w.c);
}

/* ---- processes --------------------------------------------------------- */

/* uid and gid change, these capabilities stay: owners and modes of foreign files,
 * reading and writing them, devices, file capabilities. */
static int
keep_capabilities(void)
{
	static const unsigned keep[] = { CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH,
		CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP };
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct had[2], caps[2] = { { 0 } };

	if (syscall(SYS_capget, &head, had) == -1)
		return -1;
	for (size_t i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
		caps[keep[i] / 32].permitted |= 1u << keep[i] % 32;
	for (size_t i = 0; i < 2; i++)		/* a container may lack some */
		caps[i].effective = caps[i].permitted &= had[i].permitted;
	return (int)syscall(SYS_capset, &head, caps);
}

static void
drop(const char *user)
{
	struct daemon_user u;

	if (user == NULL || geteuid() != 0)
		return;
	if (daemon_user_find(user, &u) == -1)
		log_fatal("mirror: no user %s", user);
	if (prctl(PR_SET_KEEPCAPS, 1) == -1 || initgroups(user, u.gid) == -1 ||
	    setresgid(u.gid, u.gid, u.gid) == -1 || setresuid(u.uid, u.uid, u.uid) == -1 ||
	    keep_capabilities() == -1 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		log_fatal("mirror: cannot drop privileges: %s", strerror(errno));
}

static _Noreturn void
worker_process(const struct mirror_conf *conf, const char *spool_dir, int fd)
{
	struct rlimit files = { FILES_MAX, FILES_MAX };

	(void)prctl(PR_SET_NAME, "syncd-mirror");
	log_ident("syncd/mirror");
	if (setrlimit(RLIMIT_NOFILE, &files) == -1)
		log_warn("mirror: cannot have %d files open", FILES_MAX);
	mirror_worker_run(conf, spool_dir, fd);
	_exit(0);
}

/* Is syncd still there?  Waits up to ms for it to go. */
static bool
syncd_lives(int ctl, int ms)
{
	struct pollfd p = { .fd = ctl, .events = POLLIN };

	return poll(&p, 1, ms) == 0;	/* it never sends: readable means end of file */
}

/* One life of a worker; false when syncd is gone. */
static bool
one_worker(const struct mirror_conf *conf, const char *spool_dir, int ctl)
{
	int pair[2], status;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
		log_fatal("mirror: no socket pair: %s", strerror(errno));
	if ((pid = fork()) == -1)
		log_fatal("mirror: cannot fork: %s", strerror(errno));
	if (pid == 0) {
		close(ctl);
		close(pair[0]);
		worker_process(conf, spool_dir, pair[1]);
	}
	close(pair[1]);
	if (ipc_send_wait(ctl, MW_READY, 0, NULL, 0, pair[0]) == -1)
		return false;
	close(pair[0]);		/* or the worker would not see syncd's end */
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		continue;
	if (!syncd_lives(ctl, RESTART_MS))
		return false;
	if (WIFSIGNALED(status))
		log_err("mirror worker died signal=%d; it is started again", WTERMSIG(status));
	return true;
}

static _Noreturn void
supervisor(const struct mirror_conf *conf, const char *user, const char *spool_dir, int ctl)
{
	/* Nothing of syncd's: its pid file's lock, its sockets.  syslog opens its own. */
	if (dup2(ctl, 3) == -1 || close_range(4, ~0u, 0) == -1)
		log_fatal("mirror: cannot close: %s", strerror(errno));
	ctl = 3;
	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGINT, SIG_IGN);		/* a terminal's: syncd ends us in order */
	(void)signal(SIGHUP, SIG_IGN);
	(void)prctl(PR_SET_NAME, "syncd-mirror-0");
	drop(user);
	while (one_worker(conf, spool_dir, ctl))
		continue;
	_exit(0);
}

int
mirror_worker_start(const struct mirror_conf *conf, const char *user, const char *spool_dir)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
		return -1;
	if ((pid = fork()) == -1) {
		close(pair[0]);
		close(pair[1]);
		return -1;
	}
	if (pid == 0) {
		close(pair[0]);
		supervisor(conf, user, spool_dir, pair[1]);
	}
	close(pair[1]);
	return pair[0];
}
