/* fault_state.c - the agent's state, and the functions of lib/fs.c that promise
 * durability.
 *
 * Promised: a state that was saved, or a newer one, is loaded; a file that was replaced
 * holds the new bytes, whole; what was removed durably stays away. */
#include "fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs.h"
#include "mem.h"
#include "state.h"

/* ---- the agent's state ---- */

#define SAVES 8

struct state_model { uint64_t saved; };		/* serial number */

static void
mark(struct state *s)
{
	s->marks.fixed = s->marks.outdated = s->serial + 1;
	s->boot++;
}

static int
state_work(const char *dir, void *model)
{
	struct state_model *m = model;
	const uint8_t cluster[16] = { 1, 2, 3 };
	struct state s;
	int failed = 0;

	state_init(&s, cluster, 1);
	for (int i = 0; i < SAVES && failed < 3; i++) {
		mark(&s);
		if (state_save(&s, dir) == 0)
			m->saved = s.serial;
		else
			failed++;
	}
	return failed == 0 ? 0 : -1;
}

static void
state_check(const char *dir, void *model, bool power)
{
	struct state_model *m = model;
	const uint8_t cluster[16] = { 1, 2, 3 };
	struct state s;
	int rc;

	(void)power;
	state_init(&s, cluster, 1);
	rc = state_load(&s, dir);
	if (rc == -1)
		fault_wrong("no copy is good: %s", strerror(errno));
	if (rc == 1 && m->saved != 0)
		fault_wrong("the state is gone");
	if (s.serial < m->saved || (rc == 0 && (s.marks.fixed != s.serial || s.boot == 0)))
		fault_wrong("state %llu, saved was %llu", (unsigned long long)s.serial,
		    (unsigned long long)m->saved);
	mark(&s);
	if (state_save(&s, dir) == -1)
		fault_wrong("cannot go on: %s", strerror(errno));
	m->saved = s.serial;
	if (state_load(&s, dir) != 0 || s.serial != m->saved)
		fault_wrong("not there after going on");
}

const struct subject fault_state = { "state", sizeof(struct state_model), NULL, state_work,
	state_check };

/* ---- files ---- */

struct files_model {
	bool made, gone, trying;	/* the folder; the file "away", or it may be */
	unsigned version, two;		/* of "file", and of "one" and "two" */
};

static int
write_version(const char *dir, const char *const names[], size_t n, unsigned v)
{
	char text[3000];

	memset(text, (int)('a' + v % 26), sizeof(text));
	return n == 1 ? fs_replace(dir, names[0], text, sizeof(text) - v, 0600) :
	    fs_replace_copies(dir, names, n, text, sizeof(text) - v, 0600);
}

static const char *const one[] = { "file" }, *const both[] = { "one", "two" };

static int
files_steps(const char *dir, struct files_model *m)
{
	char *deep = mem_printf("%s/some/where", dir);
	int rc = -1;

	if (fs_mkdirs(deep, 0750) == -1)
		goto done;
	m->made = true;
	for (unsigned v = 1; v <= 3; v++) {
		if (write_version(deep, one, 1, v) == -1)
			goto done;
		m->version = v;
		if (write_version(deep, both, 2, v) == -1)
			goto done;
		m->two = v;
	}
	if (fs_replace(deep, "away", "x", 1, 0600) == -1)
		goto done;
	m->trying = true;
	if (fs_unlink_durable(deep, "away") == -1)
		goto done;
	m->gone = true;
	rc = 0;
done:
	free(deep);
	return rc;
}

static int
files_work(const char *dir, void *model)
{
	return files_steps(dir, model);
}

/* Which version it is; 0: not there. */
static unsigned
version_of(const char *dir, const char *name)
{
	char *path = mem_printf("%s/%s", dir, name), *buf;
	unsigned v;
	size_t len;

	if (fs_read(path, 4000, &buf, &len) == -1) {
		free(path);
		return 0;
	}
	v = (unsigned)(3000 - len);
	for (size_t i = 0; i < len; i++)
		if (len > 3000 || buf[i] != (char)('a' + v % 26))
			fault_wrong("%s is not one version", name);
	free(buf);
	free(path);
	return v;
}

static void
files_check(const char *dir, void *model, bool power)
{
	struct files_model *m = model;
	char *deep = mem_printf("%s/some/where", dir), *away = mem_printf("%s/away", deep);

	(void)power;
	if (m->made && access(deep, F_OK) == -1)
		fault_wrong("the folder is gone");
	if (version_of(deep, "file") < m->version || version_of(deep, "one") < m->two ||
	    version_of(deep, "two") < m->two)
		fault_wrong("an older version");
	if (m->gone && access(away, F_OK) == 0)
		fault_wrong("a file that was removed is there");
	if (files_steps(dir, m) == -1)
		fault_wrong("cannot go on: %s", strerror(errno));
	free(away);
	free(deep);
}

const struct subject fault_files = { "files", sizeof(struct files_model), NULL, files_work,
	files_check };
