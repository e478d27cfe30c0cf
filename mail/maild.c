/* maild.c - the mail server's command line: reads the configuration, opens the TLS
 * key, and becomes the parent process (parent.c).
 *
 * Mistakes on the command line exit 10, in the configuration 19, with nothing started. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "daemon.h"
#include "fs.h"
#include "log.h"
#include "maild_conf.h"
#include "mem.h"
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

struct options {
	const char *conf;
	bool foreground, debug, check;
};

static void
options_read(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt(argc, argv, "c:dfhnV")) != -1)
		switch (c) {
		case 'c':
			o->conf = optarg;
			break;
		case 'd':
			o->debug = true;
			break;
		case 'f':
			o->foreground = true;
			break;
		case 'n':
			o->check = true;
			break;
		case 'V':
			printf("maild %s\n", MAILPAIR_VERSION);
			exit(CTL_OK);
		case 'h':
			fputs(usage_text, stdout);
			exit(CTL_OK);
		default:
			fputs(usage_text, stderr);
			exit(CTL_USAGE);
		}
	if (optind != argc) {
		fputs(usage_text, stderr);
		exit(CTL_USAGE);
	}
}

static int
pid_file(const struct maild_conf *conf)
{
	char *path = mem_printf("%s/maild.pid", conf->run_dir);
	pid_t other = 0;
	int rc = fs_mkdirs(conf->run_dir, 0755);

	if (rc == 0)
		rc = daemon_pidfile(path, &other);
	if (rc == -1 && errno == EEXIST)
		log_err("maild runs already, pid %d", (int)other);
	else if (rc == -1)
		log_err("cannot write %s: %s", path, strerror(errno));
	free(path);
	return rc;
}

static int
run(const struct maild_conf *conf, const struct options *o)
{
	char err[256];
	SSL_CTX *tls = tls_server_new(conf->tls_cert_file, conf->tls_key_file, err, sizeof(err));
	int rc;

	if (tls == NULL) {
		fprintf(stderr, "ERROR %s: %s\n", o->conf, err);
		return CTL_BAD_CONFIG;
	}
	if (o->check)
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
	struct options o = { .conf = PATH_ETC "/maild.conf" };
	struct maild_conf *conf;
	int rc;

	daemon_start();
	options_read(argc, argv, &o);
	log_init("maild", true, o.debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	if ((conf = maild_conf_load(o.conf)) == NULL)
		return CTL_BAD_CONFIG;
	rc = run(conf, &o);
	maild_conf_free(conf);
	return rc;
}
