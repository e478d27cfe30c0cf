/* conf_visible.c - who is told, and where can be looked: the port for metrics, the
 * script that is told of changes, the events that are kept. */
#include "conf_visible.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "httpget.h"
#include "mem.h"
#include "script.h"

static void
read_metrics(struct hagent_conf *c, cfg_t *cfg)
{
	c->metrics = mem_dup(cfg_getstr(cfg, "metrics"));
	if (c->metrics[0] != '\0' && httpget_address(c->metrics, &c->metrics_address) == -1)
		conf_error(c->path, conf_option_line(c->path, "metrics"), "metrics: expected a "
		    "literal address and a port, such as \"127.0.0.1:9694\" or \"[::1]:9694\", or "
		    "\"\", not \"%s\"", c->metrics);
}

static void
read_notify(struct hagent_conf *c, cfg_t *cfg)
{
	int line = conf_option_line(c->path, "notify");

	c->notify = mem_dup(cfg_getstr(cfg, "notify"));
	c->notify_timeout_ms = (int)cfg_getint(cfg, "notify-timeout-ms");
	c->notify_max = (int)cfg_getint(cfg, "notify-max");
	if (c->notify[0] == '\0')
		return;
	if (c->notify[0] != '/')
		conf_error(c->path, line, "notify: expected the absolute path of a script, or \"\"");
	else if (access(c->notify, X_OK) == -1)
		conf_error(c->path, line, "notify: %s cannot be run: %s", c->notify,
		    strerror(errno));
	else if (!script_trusted(c->notify))
		conf_error(c->path, line, "notify: %s, or a folder above it, is writable by others "
		    "than root", c->notify);
}

void
conf_visible_read(struct hagent_conf *c, cfg_t *cfg)
{
	read_metrics(c, cfg);
	read_notify(c, cfg);
	c->events_max = (int)cfg_getint(cfg, "events-max");
}

void
conf_visible_free(struct hagent_conf *c)
{
	free(c->metrics);
	free(c->notify);
}
