/* conf_proof.c - what proves that a node does not serve: fence devices and the watchdog.
 *
 * Promise: the program of every device is there and nobody but root could have changed
 * it; an argument is one line, and no password stands where others can read it.  A
 * watchdog that is configured fits the other times.  The other node takes a
 * silent one for dead after deadtime-ms, and must not do so before the watchdog has
 * certainly fired: half a time-out in which it is still petted, a whole one until it
 * fires, and as much again as a margin for late timers. */
#include "conf_proof.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fence_args.h"
#include "mem.h"
#include "script.h"

const char *const conf_proof_actions[] = { "off", "reboot", NULL };

/* ---- fence devices ------------------------------------------------------- */

/* The first folder of fence-path that has it; "" when none has. */
static char *
find_agent(cfg_t *cfg, const char *name)
{
	if (name[0] == '/')
		return mem_dup(name);
	for (unsigned i = 0; name[0] != '\0' && i < cfg_size(cfg, "fence-path"); i++) {
		char *path = mem_printf("%s/%s", cfg_getnstr(cfg, "fence-path", i), name);

		if (access(path, F_OK) == 0)
			return path;
		free(path);
	}
	return mem_dup("");
}

static void
read_agent(struct hagent_conf *c, struct fence_conf *f, cfg_t *cfg, cfg_t *sec)
{
	const char *name = cfg_getstr(sec, "agent"), *slash = strrchr(name, '/');

	f->agent = find_agent(cfg, strstr(name, "..") != NULL ||
	    (name[0] != '/' && slash != NULL) ? "" : name);
	f->program = strncmp(slash == NULL ? name : slash + 1, "fence_", 6) == 0;
	if (f->agent[0] == '\0' || access(f->agent, X_OK) == -1)
		conf_error(c->path, conf_line(sec), "fence \"%s\": agent: no program \"%s\" "
		    "in fence-path", f->name, name);
	else if (!script_trusted(f->agent))
		conf_error(c->path, conf_line(sec), "fence \"%s\": %s, or a folder above it, "
		    "is writable by others than root", f->name, f->agent);
}

static bool
others_may_read(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && (st.st_mode & 077) != 0;
}

static void
read_args(struct hagent_conf *c, struct fence_conf *f, cfg_t *sec)
{
	unsigned n = cfg_size(sec, "args");
	int line = conf_line(sec);

	if (n > HAGENT_ARGS_MAX) {
		conf_error(c->path, line, "fence \"%s\": args: expected at most %d", f->name,
		    HAGENT_ARGS_MAX);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		const char *arg = cfg_getnstr(sec, "args", i);

		f->args[i] = mem_dup(arg);
		if (!fence_arg_ok(span_of(arg)))
			conf_error(c->path, line, "fence \"%s\": args: expected \"key=value\" "
			    "in one line, and not action, option or nodename", f->name);
		else if (fence_arg_secret(span_of(arg)) && others_may_read(c->path))
			conf_error(c->path, line, "fence \"%s\": args: a password in a file that "
			    "others can read; expected it in args-file", f->name);
	}
}

static void
read_args_file(struct hagent_conf *c, struct fence_conf *f, cfg_t *sec)
{
	int line = conf_line(sec);

	f->args_file = mem_dup(cfg_getstr(sec, "args-file"));
	if (f->args_file[0] == '\0' || f->node == c->self)
		return;
	if (f->args_file[0] != '/')
		conf_error(c->path, line, "fence \"%s\": args-file: expected an absolute path",
		    f->name);
	else if (access(f->args_file, R_OK) == -1)
		conf_error(c->path, line, "fence \"%s\": args-file: %s: %s", f->name,
		    f->args_file, strerror(errno));
	else if (others_may_read(f->args_file) || !script_trusted(f->args_file))
		conf_error(c->path, line, "fence \"%s\": args-file: %s: expected mode 0600, in "
		    "folders that only root may write to", f->name, f->args_file);
}

static void
read_victim(struct hagent_conf *c, struct fence_conf *f, cfg_t *sec)
{
	const char *name = cfg_getstr(sec, "node");

	for (unsigned i = 0; i < 2; i++) {
		if (c->node[i] == NULL || strcmp(c->node[i], name) != 0)
			continue;
		f->node = i;
		return;
	}
	conf_error(c->path, conf_line(sec), "fence \"%s\": node: expected the node that it "
	    "switches off, not \"%s\"", f->name, name);
}

static void
read_fence(struct hagent_conf *c, cfg_t *cfg, unsigned n)
{
	cfg_t *sec = cfg_getnsec(cfg, "fence", n);
	struct fence_conf *f = &c->fences[c->nfences++];

	f->name = mem_dup(cfg_title(sec));
	if (f->name[0] == '\0' || strlen(f->name) > 32)
		conf_error(c->path, conf_line(sec), "fence: expected a name of 1 to 32 "
		    "characters");
	read_victim(c, f, sec);
	read_agent(c, f, cfg, sec);
	read_args(c, f, sec);
	read_args_file(c, f, sec);
	f->level = (unsigned)cfg_getint(sec, "level");
	f->timeout_ms = (int)cfg_getint(sec, "timeout-ms");
	f->reboot = conf_word(conf_proof_actions, cfg_getstr(sec, "action")) == 1;
}

static void
read_fences(struct hagent_conf *c, cfg_t *cfg)
{
	unsigned n = cfg_size(cfg, "fence");

	c->fence_poll_ms = (int)cfg_getint(cfg, "fence-poll-ms");
	c->fence_check_s = (int)cfg_getint(cfg, "fence-check-s");
	if (n > HAGENT_FENCES_MAX) {
		conf_error(c->path, 0, "expected at most %d fence sections", HAGENT_FENCES_MAX);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		read_fence(c, cfg, i);
}

/* ---- watchdog ------------------------------------------------------------ */

static void
check_test_command(const struct hagent_conf *c, int line)
{
	const char *command = c->watchdog.test_command;

	if (command[0] == '\0')
		return;
	if (command[0] != '/' || access(command, X_OK) == -1)
		conf_error(c->path, line, "watchdog: test-command: expected the absolute path of "
		    "a program");
	else if (!script_trusted(command))
		conf_error(c->path, line, "watchdog: test-command: %s, or a folder above it, is "
		    "writable by others than root", command);
}

static void
check_watchdog(const struct hagent_conf *c, int line)
{
	const struct watchdog_conf *w = &c->watchdog;
	int least = 2 * w->timeout_ms + 1000, deadtime = conf_option_line(c->path, "deadtime-ms");

	if (w->device[0] == '\0' && w->required)
		conf_error(c->path, line, "watchdog: required: expected a device too");
	check_test_command(c, line);
	if (w->device[0] == '\0' && w->test_command[0] != '\0')
		conf_error(c->path, line, "watchdog: test-command: expected a device too");
	if (w->device[0] == '\0')
		return;
	if (w->device[0] != '/')
		conf_error(c->path, line, "watchdog: device: expected an absolute path, or \"\"");
	if (w->pet_ms > w->timeout_ms / 4)
		conf_error(c->path, line, "watchdog: pet-ms: expected at most a quarter of "
		    "timeout-s (%d ms), not %d", w->timeout_ms / 4, w->pet_ms);
	if (c->deadtime_ms < least)
		conf_error(c->path, deadtime > 0 ? deadtime : line, "deadtime-ms: expected at "
		    "least twice the watchdog's timeout-s and 1 s (%d), not %d", least,
		    c->deadtime_ms);
}

void
conf_proof_read(struct hagent_conf *c, cfg_t *cfg)
{
	cfg_t *sec = cfg_getsec(cfg, "watchdog");
	struct watchdog_conf *w = &c->watchdog;

	read_fences(c, cfg);
	w->device = mem_dup(cfg_getstr(sec, "device"));
	w->timeout_ms = (int)cfg_getint(sec, "timeout-s") * 1000;
	w->pet_ms = (int)cfg_getint(sec, "pet-ms");
	w->required = cfg_getbool(sec, "required");
	w->test_command = mem_dup(cfg_getstr(sec, "test-command"));
	w->test_interval_ms = (int)cfg_getint(sec, "test-interval-ms");
	w->test_timeout_ms = (int)cfg_getint(sec, "test-timeout-ms");
	check_watchdog(c, conf_line(sec));
}

void
conf_proof_wipe_file(cfg_t *cfg)
{
	for (unsigned i = 0; i < cfg_size(cfg, "fence"); i++) {
		cfg_t *sec = cfg_getnsec(cfg, "fence", i);

		for (unsigned k = 0; k < cfg_size(sec, "args"); k++) {
			char *arg = cfg_getnstr(sec, "args", k);

			mem_wipe(arg, strlen(arg));
		}
	}
}

size_t
conf_proof_secrets(const struct hagent_conf *c, struct span *out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < c->nfences; i++)
		for (char *const *arg = c->fences[i].args; *arg != NULL; arg++)
			if (fence_arg_secret(span_of(*arg)) && n < max)
				out[n++] = span_of(*arg);
	return n;
}

void
conf_proof_wipe(struct hagent_conf *c)
{
	for (size_t i = 0; i < c->nfences; i++)
		for (char **arg = c->fences[i].args; *arg != NULL; arg++)
			mem_wipe(*arg, strlen(*arg));
}

void
conf_proof_free(struct hagent_conf *c)
{
	conf_proof_wipe(c);
	for (size_t i = 0; i < c->nfences; i++) {
		struct fence_conf *f = &c->fences[i];

		free(f->name);
		free(f->agent);
		free(f->args_file);
		for (size_t k = 0; k < HAGENT_ARGS_MAX; k++)
			free(f->args[k]);
	}
	free(c->watchdog.device);
	free(c->watchdog.test_command);
}
