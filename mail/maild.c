/* maild.c - the mail server's command line: reads the configuration, opens the TLS
 * key, and becomes the parent process (parent.c).
 *
 * Mistakes on the command line exit 10, in the configuration 19, with nothing started. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "daemon.h"
#include "fs.h"
#include "layout.h"
#include "log.h"
#include "maild_conf.h"
#include "parent.h"
#include "paths.h"
#include "tls.h"

static const char usage_text[]
    = "usage: maild [-dfhnV] [-c file]\n"
      "  -c file  configuration (" PATH_ETC "/maild.conf)\n"
      "  -f       stay in the foreground, log to stderr\n"
      "  -d       log for developers as well\n"
      "  -n       check the configuration and exit: 0, or 19\n"
      "  -V, -h   version, this text\n";

static int
pid_file(const struct maild_conf *conf)
{
	if (fs_mkdirs(conf->run_dir, 0755) == -1) {
		log_err("cannot make %s: %s", conf->run_dir, strerror(errno));
		return -1;
	}
	return daemon_pidfile_in(conf->run_dir, "maild");
}

static int
run(const struct maild_conf *conf, const struct daemon_options *o)
{
	char err[512];
	SSL_CTX *tls = tls_server_new(conf->tls_cert_file, conf->tls_key_file, err, sizeof(err));
	int rc;

	if (tls == NULL) {
		fprintf(stderr, "ERROR %s: %s\n", o->conf, err);
		return CTL_BAD_CONFIG;
	}
	if (layout_check(conf, err, sizeof(err)) == -1) {
		fprintf(stderr, "ERROR %s: %s\n", o->conf, err);
		rc = CTL_BAD_CONFIG;
	} else if (o->check)
		rc = 0;
	else if (geteuid() != 0) {
		fprintf(stderr, "ERROR maild starts as root and drops its rights itself\n");
		rc = CTL_DENIED;
	} else if (!o->foreground && daemon_detach() == -1) {
		fprintf(stderr, "ERROR cannot go to the background: %s\n", strerror(errno));
		rc = 1;
	} else {
		log_init("maild", o->foreground, o->debug ? LOG_LEVEL_DEBUG : conf->log_level);
		rc = pid_file(conf) == -1 ? 1 : parent_main(conf, tls);
	}
	SSL_CTX_free(tls);
	return rc;
}

int
main(int argc, char **argv)
{
	struct daemon_options o = { .conf = PATH_ETC "/maild.conf" };
	struct maild_conf *conf;
	int rc;

	daemon_start();
	if ((rc = daemon_options(&o, "maild", "c:dfhnV", usage_text, argc, argv)) != -1)
		return rc;
	log_init("maild", true, o.debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	if ((conf = maild_conf_load(o.conf)) == NULL)
		return CTL_BAD_CONFIG;
	rc = run(conf, &o);
	maild_conf_free(conf);
	return rc;
}
