/* syncd.c - the daemon: options, keys, sockets, privileges, then the loop.  It
 * starts as root only to make its directories and to read its key; everything
 * foreign is read as the configured user.
 *
 * One process, two threads: the loop (this one) and the log's writer. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/bufferevent.h>
#include <event2/event.h>

#include "agent_link.h"
#include "core.h"
#include "ctl.h"
#include "daemon.h"
#include "fs.h"
#include "hex.h"
#include "ipc.h"
#include "log.h"
#include "mem.h"
#include "mirror_worker.h"
#include "owners.h"
#include "paths.h"
#include "ship.h"
#include "split.h"
#include "syncd_host.h"
#include "tls.h"
#include "trim.h"
#include "verify.h"

static const char usage[]
    = "usage: syncd [-dfknpVh] [-c FILE] [-N NODE]\n"
      "  -c FILE  configuration (" PATH_ETC "/syncd.conf)\n"
      "  -N NODE  this node's name (uname -n)\n"
      "  -f       stay in the foreground, log to stderr\n"
      "  -d       log debug lines\n"
      "  -n       check the configuration and exit\n"
      "  -k       make key and certificate where missing, print the pin\n"
      "  -p       print the pin of the certificate\n"
      "  -V       print the version\n";

/* ---- keys ---- */

static int
print_pin(const struct syncd_conf *c)
{
	struct tls_pin pin;
	char err[256], hex[65];

	if (tls_pin_of_file(c->certificate_file, &pin, err, sizeof(err)) == -1) {
		fprintf(stderr, "ERROR %s\nHINT  syncd -k\n", err);
		return 1;
	}
	printf("sha256:%s\n", hex_encode(pin.sha256, 32, hex));
	return 0;
}

static int
make_key(const struct syncd_conf *c)
{
	if (tls_make_cert(c->nodes[c->node].name, c->certificate_file, c->key_file) == -1 &&
	    errno != EEXIST) {
		fprintf(stderr, "ERROR %s: %s\n", c->certificate_file, strerror(errno));
		return 1;
	}
	return print_pin(c);
}

/* ---- start ---- */

static int
make_directories(const struct syncd_conf *c, const struct daemon_user *u)
{
	char *forks = mem_printf("%s/forks", c->log_directory);
	int rc = 0;

	if (fs_mkdirs(c->run_directory, 0755) == -1 || fs_mkdirs(c->log_directory, 0700) == -1 ||
	    fs_mkdirs(forks, 0700) == -1) {
		log_err("cannot make %s or %s: %s", c->log_directory, c->run_directory,
		    strerror(errno));
		rc = -1;
	}
	if (rc == 0 && u != NULL && (chown(c->log_directory, u->uid, u->gid) == -1 ||
	    chown(forks, u->uid, u->gid) == -1)) {
		log_err("cannot give %s to its user: %s", c->log_directory, strerror(errno));
		rc = -1;
	}
	free(forks);
	return rc;
}

static int
listen_at(const struct syncd_conf *c, const char *name)
{
	char *path = mem_printf("%s/%s", c->run_directory, name);
	gid_t group;
	int fd;

	if (daemon_group_find("mailpair", &group) == -1)
		group = getegid();
	fd = ipc_listen(path, 0660, group);
	if (fd == -1)
		log_err("cannot listen at %s: %s", path, strerror(errno));
	free(path);
	return fd;
}

static void
on_bulk(void *arg, struct bufferevent *bev)
{
	struct syncd *s = arg;

	if (s->mirror != NULL && s->mirror_ops->bulk != NULL)
		s->mirror_ops->bulk(s->mirror, bev);
	else if (bev != NULL)
		bufferevent_free(bev);
}

static void
on_up(void *arg)
{
	ship_up(((struct syncd *)arg)->ship);
}

static void
on_down(void *arg, const char *why)
{
	ship_down(((struct syncd *)arg)->ship, why);
}

static void
on_frame(void *arg, uint8_t type, struct span body)
{
	ship_frame(((struct syncd *)arg)->ship, type, body);
}

static void
on_room(void *arg)
{
	ship_kick(((struct syncd *)arg)->ship);
}

static int
open_peer(struct syncd *s, SSL_CTX *tls)
{
	static const struct peerlink_ops ops = { on_up, on_frame, on_down, on_room, on_bulk };
	struct peerlink_conf pc = { .cluster = s->conf.cluster, .node = s->conf.node,
		.addresses = s->conf.nodes[0].address, .naddresses = s->conf.nodes[0].naddresses,
		.from = s->conf.nodes[1].address, .nfrom = s->conf.nodes[1].naddresses,
		.port = s->conf.port, .silent_ms = s->conf.silent_ms, .ping_ms = s->conf.ping_ms,
		.retry_ms = s->conf.retry_ms, .tls = tls };

	s->peer = peerlink_new(s->base, &pc, &ops, s);
	return s->peer == NULL ? -1 : 0;
}

struct sockets {
	int owner, agent, ctl;
};

static int
open_sockets(const struct syncd_conf *c, struct sockets *fds)
{
	fds->owner = listen_at(c, "syncd-owner.sock");
	fds->agent = listen_at(c, "syncd-agent.sock");
	fds->ctl = listen_at(c, "syncd.sock");
	return fds->owner == -1 || fds->agent == -1 || fds->ctl == -1 ? -1 : 0;
}

static void
on_signal(evutil_socket_t sig, short what, void *arg)
{
	(void)what;
	log_info("ends signal=%d", (int)sig);
	event_base_loopexit(arg, NULL);
}

/* Owners and the peer go after it, and would tell it so. */
static void
close_mirror(struct syncd *s)
{
	static const struct seed_owner_ops none;

	if (s->mirror == NULL)
		return;
	owners_seed_ops(s->owners, &none, NULL);
	if (s->mirror_ops->free != NULL)
		s->mirror_ops->free(s->mirror);
	s->mirror = NULL;
}

static int
run(struct syncd *s, const struct daemon_options *o, SSL_CTX *tls)
{
	struct daemon_user user;
	struct sockets fds;
	struct event *term, *intr;
	bool drop = geteuid() == 0 && s->conf.user[0] != '\0';
	int worker = -1;

	if (drop && daemon_user_find(s->conf.user, &user) == -1) {
		log_err("no such user: %s", s->conf.user);
		return 1;
	}
	if (make_directories(&s->conf, drop ? &user : NULL) == -1)
		return 1;
	if (!o->foreground && daemon_detach() == -1)
		return 1;
	if (s->conf.mirror.ntrees > 0) {
		worker = mirror_worker_start(&s->conf.mirror, drop ? s->conf.user : NULL,
		    s->conf.log_directory);
		if (worker == -1)
			log_warn("cannot start the mirror's worker: nothing is mirrored");
	}
	if (daemon_pidfile_in(s->conf.run_directory, "syncd") == -1 || open_sockets(&s->conf, &fds) == -1)
		return 1;
	if (drop)
		daemon_drop(s->conf.user, NULL, DAEMON_BOX_NETSTORE);
	s->base = event_base_new();
	if (core_open(s) == -1)
		return 1;
	s->ship = ship_new(s);
	s->owners = owners_new(s, fds.owner);
	s->agent = agent_link_new(s, fds.agent);
	s->trim = trim_new(s);
	s->verify = verify_new(s);
	s->ctl = ctl_server_new(s->base, fds.ctl, syncd_host_request, s);
	if (open_peer(s, tls) == -1)
		return 1;
	s->split = split_new(s);
	syncd_host_mirror(s, worker);
	core_start_timer(s);
	term = evsignal_new(s->base, SIGTERM, on_signal, s->base);
	intr = evsignal_new(s->base, SIGINT, on_signal, s->base);
	event_add(term, NULL);
	event_add(intr, NULL);
	if (!o->foreground)
		daemon_ready();
	log_info("syncd ready node=%s pid=%ld", s->conf.nodes[s->conf.node].name,
	    (long)getpid());
	event_base_dispatch(s->base);

	close_mirror(s);
	split_free(s->split);
	s->split = NULL;
	verify_free(s->verify);
	s->verify = NULL;
	ctl_server_free(s->ctl);
	owners_free(s->owners);
	agent_link_free(s->agent);
	peerlink_free(s->peer);
	ship_free(s->ship);
	trim_free(s->trim);
	core_close(s);
	event_free(term);
	event_free(intr);
	event_base_free(s->base);
	return 0;
}

int
main(int argc, char **argv)
{
	static struct syncd s;
	struct daemon_options o = { .conf = PATH_ETC "/syncd.conf" };
	SSL_CTX *tls = NULL;
	int rc = daemon_options(&o, "syncd", "c:N:fdnkpVh", usage, argc, argv);

	if (rc != -1)
		return rc;
	daemon_start();
	log_init("syncd", o.foreground || o.check, o.debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	if (syncd_conf_load(o.conf, o.node, &s.conf) == -1)
		return CTL_BAD_CONFIG;
	if (strchr(o.more, 'k') != NULL)
		rc = make_key(&s.conf);
	else if (strchr(o.more, 'p') != NULL)
		rc = print_pin(&s.conf);
	else if ((tls = syncd_conf_tls(o.conf, &s.conf)) == NULL)
		rc = CTL_BAD_CONFIG;
	else
		rc = o.check ? 0 : run(&s, &o, tls);
	SSL_CTX_free(tls);
	syncd_conf_clear(&s.conf);
	return rc;
}
