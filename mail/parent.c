/* parent.c - the root process of maild: directories, processes, channels.
 *
 * It starts the directory, the gates, the stores and the queue, hands each pair that
 * may talk (the table in mailipc.h) a socket pair, and starts a dead process again
 * within 100 ms; one that dies at once again and again waits a second between.  It reads only
 * frames of its own children.  Children get the TLS context and the configuration by
 * fork; all but the gates free the key first. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "clock.h"
#include "daemon.h"
#include "directory.h"
#include "fs.h"
#include "ctl.h"
#include "gate.h"
#include "layout.h"
#include "lease.h"
#include "log.h"
#include "mailipc.h"
#include "mem.h"
#include "parent.h"
#include "parent_int.h"
#include "queue.h"
#include "store_worker.h"
#include "tls.h"
#include "wire.h"

#define RESPAWN_MS 50
#define RESPAWN_SLOW_MS 1000
#define QUICK_MS 2000			/* an end this soon after the start is quick */
#define QUICK_MAX 5
#define END_MS 3000			/* for children to end by themselves */

/* What each kind runs, its name in the log, and who it may talk to. */
static const struct kind {
	int (*run)(const struct child_start *);
	const char *ident;
	unsigned peers;
} kinds[CHILD_KINDS] = {
	[CHILD_DIRECTORY] = { directory_main, "maild/directory", 1 << CHILD_GATE | 1 << CHILD_QUEUE },
	[CHILD_GATE] = { gate_main, "maild/gate",
	    1 << CHILD_DIRECTORY | 1 << CHILD_STORE | 1 << CHILD_QUEUE },
	[CHILD_STORE] = { store_worker_main, "maild/store", 1 << CHILD_GATE | 1 << CHILD_QUEUE },
	[CHILD_QUEUE] = { queue_main, "maild/queue",
	    1 << CHILD_DIRECTORY | 1 << CHILD_GATE | 1 << CHILD_STORE },
};

/* ---- directories --------------------------------------------------------- */

static int
make_dir(const char *path, mode_t mode, const char *user)
{
	struct daemon_user u = { 0, 0 };

	if (user != NULL && daemon_user_find(user, &u) == -1) {
		log_err("no user %s: create the users of mailpair first", user);
		return -1;
	}
	if (fs_mkdirs(path, mode) == -1 || chmod(path, mode) == -1
	    || (user != NULL && chown(path, u.uid, u.gid) == -1)) {
		log_err("cannot make %s for %s: %s", path, user != NULL ? user : "root",
		    strerror(errno));
		return -1;
	}
	return 0;
}

static int
make_sub(const struct maild_conf *c, const char *name, mode_t mode, const char *user)
{
	char *path = mem_printf("%s/%s", c->state_dir, name);
	int rc = make_dir(path, mode, user);

	free(path);
	return rc;
}

static int
make_dirs(const struct maild_conf *c)
{
	char *name;
	int rc = 0;

	if (make_dir(c->run_dir, 0755, NULL) == -1 || make_dir(c->state_dir, 0755, NULL) == -1
	    || make_sub(c, "empty", 0555, NULL) == -1 || make_sub(c, "shards", 0755, NULL) == -1
	    || make_sub(c, "shards/directory", 0700, "mailauth") == -1
	    || make_sub(c, "shards/queue", 0700, "mailqueue") == -1)
		return -1;
	for (unsigned i = 0; i < c->shards && rc == 0; i++) {
		name = mem_printf("shards/store-%02u", i);
		rc = make_sub(c, name, 0700, "mailstore");
		free(name);
	}
	return rc == 0 ? layout_make(c) : -1;
}

/* ---- channels ------------------------------------------------------------ */

static void
send_peer(struct proc *to, const struct proc *other, int fd)
{
	struct wire_out w;

	wire_out_init(&w);
	wire_put_u8(&w, (uint8_t)other->kind);
	wire_put_u16(&w, (uint16_t)other->index);
	if (ipc_send(to->ipc, PM_PEER, 0, w.p, w.len, fd) == -1)
		log_warn("cannot pass a channel to %s %u", child_kind_name(to->kind), to->index);
	wire_out_clear(&w);
}

static void
connect_all(struct parent *p, struct proc *a)
{
	for (size_t i = 0; i < p->nprocs; i++) {
		struct proc *b = &p->procs[i];
		int fd[2];

		if (b->ipc == NULL || (kinds[a->kind].peers & 1u << b->kind) == 0)
			continue;
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == -1)
			log_fatal("cannot make a channel: %s", strerror(errno));
		send_peer(a, b, fd[0]);
		send_peer(b, a, fd[1]);
	}
}

static void
send_control(struct parent *p, struct proc *directory)
{
	int fd = fcntl(p->control_fd, F_DUPFD_CLOEXEC, 3);

	if (fd == -1)
		log_fatal("cannot copy the control socket: %s", strerror(errno));
	ipc_send(directory->ipc, PM_SOCKET, 0, NULL, 0, fd);
}

/* The gates' trace headers say what an acknowledgement means now. */
static void
tell_gate(struct parent *p, struct proc *c)
{
	if (c->kind == CHILD_GATE && c->ipc != NULL && p->state.len > 0)
		ipc_send(c->ipc, PM_STATE, 0, p->state.p, p->state.len, -1);
}

static void
tell_gates(struct parent *p, struct span state)
{
	wire_out_clear(&p->state);
	wire_put_raw(&p->state, state.p, state.len);
	for (size_t i = 0; i < p->nprocs; i++)
		tell_gate(p, &p->procs[i]);
}

static void
on_state(struct parent *p, struct proc *from, const struct ipc_msg *m)
{
	struct wire_in in;
	bool ready;

	wire_in_init(&in, m->body.p, m->body.len);
	ready = wire_get_u8(&in) != 0;
	from->gen = wire_get_u64(&in);
	from->lsn = wire_get_u64(&in);
	from->copies = wire_in_ok(&in) && in.left > 0 ? wire_get_u8(&in) : 0;
	if (ready != from->ready)
		log_info("%s %u is %s gen=%llu", child_kind_name(from->kind), from->index,
		    ready ? "active" : "standby", (unsigned long long)from->gen);
	from->ready = ready;
	if (from->kind == CHILD_DIRECTORY)
		tell_gates(p, m->body);
	parent_progress(p);
}

/* A node with another number would lack mailboxes, or look for them in the wrong shard. */
static void
on_layout(struct parent *p, const struct ipc_msg *m)
{
	struct wire_in in;
	unsigned n;

	wire_in_init(&in, m->body.p, m->body.len);
	n = wire_get_u16(&in);
	if (!wire_in_done(&in) || n == p->conf->shards)
		return;
	log_err("shards is %u, expected %u: the pair's store was made with that, and it cannot "
	    "change; correct maild.conf", p->conf->shards, n);
	layout_set(p->conf, n);
	p->rc = CTL_BAD_CONFIG;
	event_base_loopbreak(p->base);
}

static void
on_message(struct ipc *ipc, const struct ipc_msg *m, void *arg)
{
	struct proc *from = arg;
	struct parent *p = from->parent;

	(void)ipc;
	switch (m->type) {
	case PM_STATE:
		on_state(p, from, m);
		break;
	case PM_SERVING:
		if (from->kind == CHILD_GATE && m->body.len == 1)
			from->serving = m->body.p[0] != 0;
		parent_progress(p);
		break;
	case PM_LAYOUT:
		if (from->kind == CHILD_DIRECTORY)
			on_layout(p, m);
		break;
	case PM_CTL:
		if (from->kind == CHILD_DIRECTORY)
			parent_ctl(p, from, m->id, m->body);
		break;
	case PM_CTL_ANSWER:
		parent_ctl_answer(p, from, m->id, m->body);
		break;
	default:
		log_debug("message %u of %s %u has no use here", m->type,
		    child_kind_name(from->kind), from->index);
	}
	if (m->fd != -1)
		close(m->fd);
}

static void
channel_gone(struct proc *c)
{
	ipc_free(c->ipc);
	c->ipc = NULL;
	c->ready = c->serving = false;
	parent_ctl_gone(c->parent, c);
	parent_progress(c->parent);
}

/* A child that closed its channel is of no use any more, even if it still runs. */
static void
on_gone(struct ipc *ipc, const char *why, void *arg)
{
	struct proc *c = arg;

	(void)ipc;
	log_debug("channel of %s %u: %s", child_kind_name(c->kind), c->index, why);
	channel_gone(c);
	if (c->pid > 0)
		kill(c->pid, SIGKILL);
}

/* ---- processes ----------------------------------------------------------- */

/* All but the TLS context, which a gate keeps. */
static void
parent_clear(struct parent *p)
{
	parent_ctl_free(p);
	for (size_t i = 0; i < p->nprocs; i++) {
		ipc_free(p->procs[i].ipc);
		event_free(p->procs[i].respawn);
	}
	event_free(p->sig_term);
	event_free(p->sig_int);
	event_free(p->sig_hup);
	event_free(p->sig_chld);
	event_base_free(p->base);
	close(p->control_fd);
	wire_out_clear(&p->state);
}

/* In the child: everything of the parent but the channel goes. */
static _Noreturn void
run_child(struct parent *p, struct proc *c, int fd)
{
	const struct kind *k = &kinds[c->kind];
	struct child_start start = { p->conf, c->index, fd, NULL, p->lease };

	if (event_reinit(p->base) == -1)
		_exit(1);
	parent_clear(p);
	if (c->kind == CHILD_GATE)
		start.tls = p->tls;
	else
		SSL_CTX_free(p->tls);
	log_ident(k->ident);
	exit(k->run(&start));
}

static void
spawn(struct parent *p, struct proc *c)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == -1)
		log_fatal("cannot make a channel: %s", strerror(errno));
	c->pid = fork();
	if (c->pid == -1)
		log_fatal("cannot fork: %s", strerror(errno));
	if (c->pid == 0) {
		close(fd[0]);
		run_child(p, c, fd[1]);
	}
	close(fd[1]);
	c->started_ms = clock_ms();
	c->starts++;
	c->ipc = ipc_new(p->base, fd[0], IPC_BODY_MAX, on_message, on_gone, c);
	connect_all(p, c);
	if (c->kind == CHILD_DIRECTORY)
		send_control(p, c);
	tell_gate(p, c);
	parent_serve_one(p, c);
}

static void
on_respawn(int fd, short what, void *arg)
{
	struct proc *c = arg;

	(void)fd;
	(void)what;
	spawn(c->parent, c);
}

static void
ended(struct parent *p, struct proc *c, int status)
{
	bool quick = clock_ms() - c->started_ms < QUICK_MS;
	struct timeval tv = { 0, RESPAWN_MS * 1000 };

	c->pid = 0;
	if (c->ipc != NULL)
		channel_gone(c);
	if (p->ending)
		return;
	if (WIFSIGNALED(status))
		log_err("%s %u was ended by signal %d, starting it again",
		    child_kind_name(c->kind), c->index, WTERMSIG(status));
	else
		log_err("%s %u ended with %d, starting it again", child_kind_name(c->kind),
		    c->index, WEXITSTATUS(status));
	c->quick = quick ? c->quick + 1 : 0;
	if (c->quick >= QUICK_MAX)
		tv = (struct timeval){ RESPAWN_SLOW_MS / 1000, 0 };
	event_add(c->respawn, &tv);
}

static void
on_chld(int sig, short what, void *arg)
{
	struct parent *p = arg;
	int status;
	pid_t pid;

	(void)sig;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < p->nprocs; i++)
			if (p->procs[i].pid == pid)
				ended(p, &p->procs[i], status);
}

static void
on_end(int sig, short what, void *arg)
{
	struct parent *p = arg;

	(void)sig;
	(void)what;
	event_base_loopexit(p->base, NULL);
}

/* SIGHUP: the certificate and key are read anew; the gates get their text.  Both are
 * tried here first, so that a mistake leaves everything as it was. */
static void
on_hup(int sig, short what, void *arg)
{
	struct parent *p = arg;
	char err[256], *cert = NULL, *key = NULL;
	size_t cert_len = 0, key_len = 0;
	SSL_CTX *tls = tls_server_new(p->conf->tls_cert_file, p->conf->tls_key_file, err,
	    sizeof(err));
	struct wire_out w;

	(void)sig;
	(void)what;
	if (tls == NULL || fs_read(p->conf->tls_cert_file, 1u << 18, &cert, &cert_len) == -1
	    || fs_read(p->conf->tls_key_file, 1u << 16, &key, &key_len) == -1) {
		log_err("reload refused, the old certificate stays: %s",
		    tls == NULL ? err : strerror(errno));
		SSL_CTX_free(tls);
		free(cert);
		return;
	}
	SSL_CTX_free(p->tls);
	p->tls = tls;
	wire_out_init(&w);
	wire_put_bytes(&w, cert, cert_len);
	wire_put_bytes(&w, key, key_len);
	for (size_t i = 0; i < p->nprocs; i++)
		if (p->procs[i].kind == CHILD_GATE && p->procs[i].ipc != NULL)
			ipc_send(p->procs[i].ipc, PM_RELOAD, 0, w.p, w.len, -1);
	log_info("certificate read anew");
	mem_wipe(w.p, w.len);
	mem_wipe(key, key_len);
	wire_out_clear(&w);
	free(cert);
	free(key);
}

static void
add_procs(struct parent *p, enum child_kind kind, unsigned n)
{
	if (kinds[kind].run == NULL)
		return;
	for (unsigned i = 0; i < n; i++) {
		struct proc *c = &p->procs[p->nprocs++];

		c->parent = p;
		c->kind = kind;
		c->index = i;
		if ((c->respawn = event_new(p->base, -1, 0, on_respawn, c)) == NULL)
			log_fatal("out of memory");
	}
}

/* Ends all children: their channels close, which ends them in order; who stays is
 * killed. */
static void
end_all(struct parent *p)
{
	int64_t until = clock_ms() + END_MS;
	size_t left = 0;

	p->ending = true;
	for (size_t i = 0; i < p->nprocs; i++)
		if (p->procs[i].pid > 0) {
			kill(p->procs[i].pid, SIGTERM);
			left++;
		}
	while (left > 0) {
		struct timespec ts = { 0, 5000000 };
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid > 0)
			left--;
		else if (pid == -1 && errno == ECHILD)
			break;
		else if (clock_ms() > until) {
			for (size_t i = 0; i < p->nprocs; i++)
				if (p->procs[i].pid > 0)
					kill(p->procs[i].pid, SIGKILL);
			until = INT64_MAX;
		} else
			nanosleep(&ts, NULL);
	}
}

static int
parent_init(struct parent *p)
{
	char *path = mem_printf("%s/maild.sock", p->conf->run_dir);
	gid_t group;

	if (daemon_group_find("mailpair", &group) == -1) {
		log_err("no group mailpair: create it first");
		free(path);
		return -1;
	}
	p->control_fd = ipc_listen(path, 0660, group);
	if (p->control_fd == -1)
		log_err("cannot listen on %s: %s", path, strerror(errno));
	free(path);
	if (p->control_fd == -1)
		return -1;
	if ((p->base = event_base_new()) == NULL
	    || (p->sig_term = evsignal_new(p->base, SIGTERM, on_end, p)) == NULL
	    || (p->sig_int = evsignal_new(p->base, SIGINT, on_end, p)) == NULL
	    || (p->sig_hup = evsignal_new(p->base, SIGHUP, on_hup, p)) == NULL
	    || (p->sig_chld = evsignal_new(p->base, SIGCHLD, on_chld, p)) == NULL)
		log_fatal("cannot make an event base");
	event_add(p->sig_term, NULL);
	event_add(p->sig_int, NULL);
	event_add(p->sig_hup, NULL);
	event_add(p->sig_chld, NULL);
	return 0;
}

/* Before anybody is forked, so that a process that starts again has it as well. */
static int
open_lease(struct parent *p)
{
	const char *path = p->conf->lease_file;

	if (path[0] == '\0')
		return 0;
	if ((p->lease = lease_open(path, LEASE_HOLDER)) == NULL) {
		log_err("the agent's lease %s (serving-lease): %s", path, strerror(errno));
		return -1;
	}
	return 0;
}

int
parent_main(const struct maild_conf *conf, SSL_CTX *tls)
{
	static struct parent p;

	p.conf = conf;
	p.tls = tls;
	SSL_CTX_up_ref(tls);
	wire_out_init(&p.state);
	if (make_dirs(conf) == -1 || open_lease(&p) == -1 || parent_init(&p) == -1)
		return 1;
	add_procs(&p, CHILD_DIRECTORY, 1);
	add_procs(&p, CHILD_STORE, conf->stores);
	add_procs(&p, CHILD_QUEUE, 1);
	add_procs(&p, CHILD_GATE, conf->gates);
	daemon_ready();			/* before the children inherit descriptors 0 to 2 */
	for (size_t i = 0; i < p.nprocs; i++)
		spawn(&p, &p.procs[i]);
	log_info("maild runs: %u gates, %u stores, %u shards", conf->gates, conf->stores,
	    conf->shards);
	event_base_dispatch(p.base);
	log_info("maild ends");
	end_all(&p);
	parent_clear(&p);
	lease_close(p.lease);
	SSL_CTX_free(p.tls);
	return p.rc;
}
