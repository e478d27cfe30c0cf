/* conf_respawn.c - helpers: what is run, as whom, and that nobody but root had a hand in
 * it. */
#include "conf_respawn.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf_resource.h"
#include "daemon.h"
#include "mem.h"
#include "script.h"

const char *const conf_respawn_whens[] = {"always", "active", NULL};

static void
read_command(const struct hagent_conf *c, struct respawn_conf *r, cfg_t *sec)
{
	unsigned n = cfg_size(sec, "command");
	int line = conf_line(sec);

	if (n == 0 || n > HAGENT_ARGS_MAX + 1) {
		conf_error(c->path, line,
		    "respawn \"%s\": command: expected a program and at "
		    "most %d arguments",
		    r->name, HAGENT_ARGS_MAX);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		r->command[i] = mem_dup(cfg_getnstr(sec, "command", i));
		if (!conf_text_clean(r->command[i]))
			conf_error(c->path, line,
			    "respawn \"%s\": command: a control character in "
			    "the %u. word",
			    r->name, i + 1);
	}
	if (r->command[0][0] != '/' || access(r->command[0], X_OK) == -1)
		conf_error(c->path, line,
		    "respawn \"%s\": command: expected the absolute path of a "
		    "program, not \"%s\"",
		    r->name, r->command[0]);
	else if (!script_trusted(r->command[0]))
		conf_error(c->path, line,
		    "respawn \"%s\": %s, or a folder above it, is writable by "
		    "others than root",
		    r->name, r->command[0]);
}

static void
read_one(struct hagent_conf *c, cfg_t *sec)
{
	struct respawn_conf *r = &c->respawns[c->nrespawns++];
	struct daemon_user user;
	int line = conf_line(sec);

	r->name = mem_dup(cfg_title(sec));
	if (r->name[0] == '\0' || strlen(r->name) > 64 || !conf_text_clean(r->name))
		conf_error(c->path, line,
		    "respawn: expected a name of 1 to 64 printable characters");
	read_command(c, r, sec);
	r->user = mem_dup(cfg_getstr(sec, "user"));
	if (r->user[0] != '\0' && daemon_user_find(r->user, &user) == -1)
		conf_error(c->path, line, "respawn \"%s\": no user \"%s\" on this node",
		    r->name, r->user);
	r->active_only = conf_word(conf_respawn_whens, cfg_getstr(sec, "when")) == 1;
	r->delay_ms = (int)cfg_getint(sec, "delay-ms");
	r->delay_max_ms = (int)cfg_getint(sec, "delay-max-ms");
	if (r->delay_max_ms < r->delay_ms)
		conf_error(c->path, line,
		    "respawn \"%s\": delay-max-ms: expected at least delay-ms (%d), "
		    "not %d",
		    r->name, r->delay_ms, r->delay_max_ms);
}

void
conf_respawn_read(struct hagent_conf *c, cfg_t *cfg)
{
	unsigned n = cfg_size(cfg, "respawn");

	if (n > HAGENT_RESPAWNS_MAX) {
		conf_error(c->path, 0, "expected at most %d respawn sections",
		    HAGENT_RESPAWNS_MAX);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		read_one(c, cfg_getnsec(cfg, "respawn", i));
}

void
conf_respawn_free(struct hagent_conf *c)
{
	for (size_t i = 0; i < c->nrespawns; i++) {
		struct respawn_conf *r = &c->respawns[i];

		free(r->name);
		free(r->user);
		for (size_t k = 0; r->command[k] != NULL; k++)
			free(r->command[k]);
	}
}
