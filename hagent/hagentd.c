/* hagentd.c - the heartbeat daemon: options, configuration, key, then the executor.
 *
 * Everything that can be wrong with the set-up is found here, before anything is
 * started: exit 10 for the command line, 19 for the configuration, 1 for the rest.
 * Runs as root; the agent that it keeps running does not. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "ctl.h"
#include "daemon.h"
#include "executor.h"
#include "fs.h"
#include "hagent_conf.h"
#include "log.h"
#include "paths.h"
#include "reload.h"

static const char usage[] = "usage: hagentd [-dfhnV] [-c file] [-N node]\n";

/* Folders that must be there before root is given up. */
static int
make_dirs(const struct hagent_conf *c)
{
	struct daemon_user u;
	gid_t gid;

	if (daemon_user_find(c->user, &u) == -1 || daemon_group_find(c->group, &gid) == -1) {
		errno = 0;
		log_err("user %s or group %s does not exist", c->user, c->group);
		return -1;
	}
	if (fs_mkdirs(c->run_dir, 0755) == -1 || fs_mkdirs(c->state_dir, 0755) == -1 ||
	    chown(c->state_dir, u.uid, u.gid) == -1 || chmod(c->state_dir, 0700) == -1) {
		log_err("folders %s and %s", c->run_dir, c->state_dir);
		return -1;
	}
	return 0;
}

static int
run(const struct daemon_options *o, struct hagent_conf *c, struct cluster_keys *keys)
{
	struct executor_start s = {
		.path = o->conf,
		.node = o->node,
		.conf = c,
		.keys = keys,
		.debug = o->debug,
		.to_stderr = o->foreground,
		.level = o->debug ? LOG_LEVEL_DEBUG : (enum log_level)c->log_level,
	};

	if (!o->foreground && daemon_detach() == -1) {
		fprintf(stderr, "ERROR cannot detach: %s\n", strerror(errno));
		return 1;
	}
	log_init("hagentd/executor", s.to_stderr, s.level);
	if (make_dirs(c) == -1 || daemon_pidfile_in(c->run_dir, "hagentd") == -1)
		return 1;
	return executor_run(&s);
}

int
main(int argc, char **argv)
{
	struct daemon_options o = { .conf = PATH_ETC "/hagent.conf" };
	struct hagent_conf *c;
	struct cluster_keys keys;
	int code = daemon_options(&o, "hagentd", "c:N:dfnVh", usage, argc, argv);

	if (code != -1)
		return code;
	daemon_start();
	c = reload_load(o.conf, o.node, &keys);
	if (c == NULL)
		return CTL_BAD_CONFIG;
	code = o.check ? CTL_OK : run(&o, c, &keys);
	cluster_keys_wipe(&keys);
	hagent_conf_free(c);
	return code;
}
